//! The options of `mosquitto_rr`.

use crate::servers;
use crate::world::{HAS_DEBIANS, Observer, Program, Tool, fresh_topic, normalized, run, words};

pub const OPTIONS: &[(&str, &str)] = &[
    ("-t T -e T/r -m hello", ""),
    ("-t T -e T/r --message hello -v", ""),
    ("--topic T -e T/r -m hello --verbose -N", ""),
    ("-t T -e T/r -n", ""),
    ("-t T -e T/r --null-message", ""),
    ("-t T -e T/r -m hello -N", ""),
    ("-t T -e T/r -m hello -R", ""),
    ("-t T -e T/r -m hello -q 1 -F %t|%p|%q", ""),
    ("-t T -e T/r -m hello --pretty -F %j", ""),
    ("-t T -e T/r -m hello --retain-as-published", ""),
    ("-t T -e T/r -m hello -V 311", ""),
    ("-t T -e T/r -m hello -D publish correlation-data abc -F %D", ""),
    ("-t T/nobody -e T/r -m hello -W 1", ""),
    ("-t T -m hello", ""),
    ("-e T/r -m hello", ""),
    ("-t T -e T/r", ""),
    ("-t T -e T/# -m hello", ""),
    ("-t T -e T/r -m hello -C 1", ""),
];

#[test]
fn options_of_rr() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        for (line, input) in OPTIONS {
            let topic = fresh_topic();
            observer.respond(&topic);
            let mut arguments = words(&format!("-h 127.0.0.1 -p {} -W 10", server.port));
            arguments.extend(words(line).into_iter().map(|word| match word.as_str() {
                "T" => topic.clone(),
                _ if word.starts_with("T/") => word.replacen('T', &topic, 1),
                _ => word,
            }));
            let place = format!("{line} at {}", server.name);
            let ours = run(Program::Ours, Tool::Rr, &arguments, input.as_bytes());
            if !*HAS_DEBIANS {
                continue;
            }
            let theirs = run(Program::Debians, Tool::Rr, &arguments, input.as_bytes());
            assert_eq!(ours.code, theirs.code, "{place}: {ours:?} / {theirs:?}");
            assert_eq!(normalized(&ours.out), normalized(&theirs.out), "{place}");
        }
    }
}

/// Lines, retained requests and latency: what Debian's version lacks or leaves undone.
#[test]
fn newer_options_of_rr() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        let topic = fresh_topic();
        observer.respond(&topic);
        let base = format!("-h 127.0.0.1 -p {} -W 10 -t {topic} -e {topic}/r", server.port);
        let result = run(Program::Ours, Tool::Rr, &words(&format!("{base} -m a --latency")), b"");
        let lines: Vec<&str> = result.out.lines().collect();
        assert!(matches!(lines[..], ["re: a", latency] if latency.starts_with("Latency: ")), "{result:?}");
        // Theirs sends an empty request for these.
        let file = crate::files::payload();
        for (option, answer) in [
            (format!("-f {file}"), "re: from\na file\n"),
            (format!("--file {file}"), "re: from\na file\n"),
            ("-s".to_owned(), "re: input\n"),
            ("--stdin-file".to_owned(), "re: input\n"),
        ] {
            let result = run(Program::Ours, Tool::Rr, &words(&format!("{base} {option}")), b"input");
            assert_eq!((result.code, result.out.as_str()), (0, answer), "{option}");
        }
        for option in ["-l", "--stdin-line"] {
            let result = run(Program::Ours, Tool::Rr, &words(&format!("{base} {option}")), b"a\nb\n");
            assert_eq!((result.code, result.out.as_str()), (0, "re: a\nre: b\n"));
        }
        for (option, retained) in [("-r", true), ("--retain", true), ("--retain-handling new", false)] {
            let result = run(Program::Ours, Tool::Rr, &words(&format!("{base} -m a {option}")), b"");
            assert_eq!((result.code, result.out.as_str()), (0, "re: a\n"), "{option}");
            assert_eq!(observer.retained(&topic), retained, "{option}");
            observer.retain(&topic, "");
        }
    }
}
