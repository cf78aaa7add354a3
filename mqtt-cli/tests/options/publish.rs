//! The options of `mosquitto_pub`.

use crate::servers;
use crate::world::{HAS_DEBIANS, Observer, Program, Tool, fresh_topic, normalized, run, words};

/// Options, what stands on standard input, and how many messages come of it.
pub const OPTIONS: &[(&str, &str, usize)] = &[
    ("-t T -m hello", "", 1),
    ("--topic T --message hello", "", 1),
    ("-t T -m -5", "", 1),
    ("-t T -m ~", "", 1),
    ("-t T -m ", "", 0),
    ("-t T -n", "", 1),
    ("-t T --null-message", "", 1),
    ("-t T -f FILE", "", 1),
    ("-t T --file FILE", "", 1),
    ("-t T -f /no/such/file", "", 0),
    ("-t T -s", "all\nof it\n", 1),
    ("-t T --stdin-file", "x", 1),
    ("-t T -s", "", 0),
    ("-t T -l -q 1", "one\n\ntwo\nthree", 4),
    ("-t T --stdin-line -q 2", "one\ntwo\n", 2),
    ("-t T -l", "", 0),
    ("-t T -m hello -r", "", 1),
    ("-t T -m hello --retain -q 1", "", 1),
    ("-t T -m hello --repeat 3", "", 3),
    ("-t T -m hello --repeat 3 --repeat-delay 0.05 -q 1", "", 3),
    ("-t T -m hello --repeat 0", "", 0),
    ("-t T -m hello --repeat-delay -1", "", 0),
    ("-t T -m a -n", "", 0),
    ("-m hello", "", 0),
    ("-t T", "", 0),
    ("-t T/# -m hello", "", 0),
    ("-t T/+ -m hello", "", 0),
    ("-t T -m hello -D publish content-type text/plain", "", 1),
    ("-t T -m hello -D publish correlation-data abc -D publish response-topic T/r", "", 1),
    ("-t T -m hello -D publish message-expiry-interval 60", "", 1),
    ("-t T -m hello -D publish payload-format-indicator 1", "", 1),
    ("-t T -m hello -D publish user-property a b -D publish user-property a c", "", 1),
    ("-t T -m hello -D publish topic-alias 1 --repeat 3 -q 1", "", 3),
    ("-t T -m hello -D publish subscription-identifier 1", "", 0),
    ("-t T -m hello -D publish content-type", "", 0),
    ("-t T -m hello -D publish message-expiry-interval -1", "", 0),
    ("-t T -m hello -C 1", "", 0),
    ("-t T -m hello -v", "", 0),
];

fn arguments(line: &str, topic: &str, port: u16) -> Vec<String> {
    let file = crate::files::payload();
    let mut arguments = words(&format!("-h 127.0.0.1 -p {port}"));
    let own = words(line).into_iter().map(|word| match word.as_str() {
        "T" => topic.to_owned(),
        "FILE" => file.clone(),
        _ if word.starts_with("T/") => word.replacen('T', topic, 1),
        _ => word,
    });
    arguments.extend(own);
    arguments
}

#[test]
fn options_of_pub() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        for (line, input, count) in OPTIONS {
            let [ours, theirs] = [Program::Ours, Program::Debians].map(|program| {
                if program == Program::Debians && !*HAS_DEBIANS {
                    return None;
                }
                let topic = fresh_topic();
                let mut watch = observer.watch(&topic);
                let result = run(program, Tool::Pub, &arguments(line, &topic, server.port), input.as_bytes());
                let seen: Vec<String> =
                    watch.take(*count).iter().map(|line| line.replace(&topic, "T")).collect();
                Some((result, seen))
            });
            let place = format!("{line} at {}", server.name);
            let (ours, we) = ours.unwrap();
            assert_eq!(we.len(), *count, "{place}: {we:?} {ours:?}");
            let Some((theirs, they)) = theirs else { continue };
            assert_eq!(ours.code, theirs.code, "{place}: {} / {}", ours.err, theirs.err);
            // Where something is missing theirs prints its whole help.
            let is_help = theirs.out.starts_with("mosquitto_pub is a simple");
            let expected = if is_help { "" } else { &theirs.out };
            assert_eq!(normalized(&ours.out), normalized(expected), "{place}");
            assert_eq!(we, they, "{place}");
        }
    }
}

/// What the server refuses is no success. Theirs says success in 5.0, so there is nothing to compare.
#[test]
fn a_message_that_is_too_large_is_a_failure() {
    let Some(server) = small_mosquitto() else { return };
    let payload = "x".repeat(5000);
    for options in ["-q 0 -V 5", "-q 1 -V 5", "-q 1 -V 311"] {
        let mut arguments = words(&format!("-h 127.0.0.1 -p {} -t a {options} -m", server.port()));
        arguments.push(payload.clone());
        let result = run(Program::Ours, Tool::Pub, &arguments, b"");
        assert!([25, 7, 149].contains(&result.code), "{options}: {result:?}");
        assert!(!result.err.is_empty(), "{options}");
    }
}

fn small_mosquitto() -> Option<crate::files::Small> {
    crate::files::Small::start("max_packet_size 2000\n")
}
