//! The options of `mosquitto_sub`.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use mqtt_client_async::{Property, Publish, QoS, Utf8Str};

use crate::servers;
use crate::world::{HAS_DEBIANS, Observer, Program, Tool, fresh_topic, normalized, run, start, words};

/// Options for messages that the server keeps: `T/1` "one", `T/2` {"a": 1}, `T/3` any bytes.
pub const OPTIONS: &[&str] = &[
    "-t T/1 -C 1",
    "--topic T/1 -C 1",
    "-t T/1 -t T/2 -C 2",
    "-t T/+ -C 3",
    "-t T/+ -C 3 -v",
    "-t T/+ -C 3 --verbose -N",
    "-t T/+ -C 3 -N",
    "-t T/+ -C 0",
    "-t T/+ -C many",
    "-t T/+ -E",
    "-t T/+ -W 1",
    "-t T/none -W 1 -C 1",
    "-t T/+ -W 0",
    "-t T/+ -W 1 -R",
    "-t T/+ -R --retained-only",
    "-t T/+ -C 2 -T T/2",
    "-t T/+ -C 2 --filter-out T/2",
    "-t T/+ -C 1 -T T/2 -T T/1",
    "-t T/+ -C 1 -T T/#/x",
    "-t T/+ -C 3 --retained-only",
    "-t T/+ -C 3 --random-filter 0.01",
    "-t T/+ -C 3 -V 5 --retain-as-published -F %r",
    "-U T/9 -t T/1 -C 1",
    "--unsubscribe T/9 -t T/1 -C 1 -V 5",
    "-U T/#/9 -t T/1 -C 1",
    "-t T/+ -C 3 -q 1 -F %t:%q:%r:%l",
    "-t T/+ -C 3 -F %p",
    "-t T/+ -C 3 -F %x@@%X",
    "-t T/+ -C 3 -F [%20t][%-20t][%.2t][%020l][%-4l][%m]",
    "-t T/1 -C 1 -F [%10p][%-10p][%010p][%2p]",
    "-t T/1 -C 1 -F a\\tb\\nc\\\\d\\0\\a\\e\\r\\v%%@@ -N",
    "-t T/1 -C 1 -F @Y-@m-@d",
    "-t T/+ -C 3 -F %J",
    "-t T/+ -C 2 -T T/3 -F %j",
    "-t T/2 -C 1 -F %J --pretty",
    "-t T/1 -C 1 -F %j --pretty",
    "-t T/1 -C 1 -F %z",
    "-t T/1 -C 1 -F \\q",
    "-t T/1 -C 1 -F @",
    "-t T/1 -C 1 -F %",
    "-V 5 -t T/p -C 1 -F %C|%D|%E|%F|%P|%R|%S|%A",
    "-V 5 -t T/p -C 1 -F [%20C][%-20C][%4E][%04E][%3F][%5S][%2A]",
    "-V 5 -t T/p -C 1 -F %j -q 1",
    "-V 5 -t T/p -C 1 -F %j --pretty",
    "-V 5 -t T/1 -C 1 -F %S -D subscribe subscription-identifier 42",
    "-V 5 -t T/1 -C 1 -F %j -D subscribe subscription-identifier 42",
    "-V 5 -t T/1 -C 1 -D subscribe user-property a b -D unsubscribe user-property a b -U T/9",
    "-V 5 -t T/1 -C 1 -D subscribe content-type x",
    "-t T/1 -C 1 -d",
    "-t T/1 -C 1 -d -V 5",
    "-t T/1 -C 1 -q 1 -d",
    "-t T/1 -C 1 -m hello",
    "-t T/#/x",
    "",
];

fn prepare(observer: &Observer, topic: &str) {
    let retained = |name: &str, payload: &[u8]| {
        Publish::new(format!("{topic}/{name}"), payload.to_vec()).retain(true).qos(QoS::ExactlyOnce)
    };
    observer.publish(retained("1", b"one"));
    observer.publish(retained("2", b"{\"a\": 1, \"b\": [1.5, true, null, {}], \"c\": \"\\u00e9\"}"));
    observer.publish(retained("3", &[0x80, 0xff, b'x']));
    let text = |text| Utf8Str::new(text).unwrap();
    let full = retained("p", b"with properties")
        .content_type("text/plain")
        .response_topic("answer/here")
        .correlation_data(b"abc")
        .property(Property::PayloadFormatIndicator(true))
        .property(Property::UserProperty(text("k1"), text("v1")))
        .property(Property::UserProperty(text("k2"), text("v2")));
    observer.publish(full);
}

/// JSON objects have their members in any order.
fn comparable(text: &str, topic: &str) -> String {
    let text = normalized(&text.replace(topic, "T"));
    if text.contains("sending PUBACK") {
        // Ours acknowledges what is printed, theirs before.
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        return lines.join("\n");
    }
    if !text.contains("\"properties\"") || text.lines().count() != 1 {
        return text;
    }
    let mut value: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    value.sort_all_objects();
    value.to_string()
}

#[test]
fn options_of_sub() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        let topic = fresh_topic();
        prepare(&observer, &topic);
        for line in OPTIONS {
            let mut arguments = words(&format!("-h 127.0.0.1 -p {}", server.port));
            arguments.extend(
                words(line)
                    .into_iter()
                    .map(|word| if word.starts_with("T/") { word.replacen('T', &topic, 1) } else { word }),
            );
            let place = format!("{line} at {}", server.name);
            let ours = run(Program::Ours, Tool::Sub, &arguments, b"");
            if !*HAS_DEBIANS {
                continue;
            }
            let theirs = run(Program::Debians, Tool::Sub, &arguments, b"");
            assert_eq!(ours.code, theirs.code, "{place}: {ours:?} / {theirs:?}");
            assert_eq!(comparable(&ours.out, &topic), comparable(&theirs.out, &topic), "{place}");
            assert_eq!(ours.err.is_empty(), theirs.err.is_empty(), "{place}: {} / {}", ours.err, theirs.err);
        }
    }
}

#[test]
fn retained_messages_are_removed() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        for program in [Program::Ours, Program::Debians] {
            if program == Program::Debians && !*HAS_DEBIANS {
                continue;
            }
            let topic = fresh_topic();
            for name in ["a", "b"] {
                observer.retain(&format!("{topic}/{name}"), name);
            }
            let line = format!("-p {} -t {topic}/+ -T {topic}/b --remove-retained -W 1 -v", server.port);
            let result = run(program, Tool::Sub, &words(&format!("-h 127.0.0.1 {line}")), b"");
            // The message that removes it comes, too.
            assert_eq!(
                (result.code, result.out),
                (27, format!("{topic}/a a\n{topic}/a (null)\n")),
                "{program:?}"
            );
            assert!(!observer.retained(&format!("{topic}/a")), "{program:?} at {}", server.name);
            assert!(observer.retained(&format!("{topic}/b")), "{program:?} at {}", server.name);
        }
    }
}

/// A persistent session gets what was published while nobody was there.
#[test]
fn a_session_goes_on() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        for options in ["-c -q 1", "-c -q 1 -V 5", "-x 60 -q 2 -V 5 -c", "-c -q 1 -V mqttv31"] {
            let runs = [Program::Ours, Program::Debians].map(|program| {
                if program == Program::Debians && !*HAS_DEBIANS {
                    return None;
                }
                let topic = fresh_topic();
                let line = format!("-h 127.0.0.1 -p {} -i id-{topic} -t {topic} {options}", server.port);
                let subscribed = run(program, Tool::Sub, &words(&format!("{line} -E")), b"");
                assert_eq!(subscribed.code, 0, "{program:?} {line}: {}", subscribed.err);
                for number in 1..=3 {
                    observer.publish(Publish::new(&topic, number.to_string()).qos(QoS::ExactlyOnce));
                }
                let rest = run(program, Tool::Sub, &words(&format!("{line} -C 3 -W 10 -F %q:%p")), b"");
                Some((rest.code, rest.out))
            });
            let qos = if options.contains("-q 2") { 2 } else { 1 };
            let expected = (0, (1..=3).map(|number| format!("{qos}:{number}\n")).collect());
            for run in runs.into_iter().flatten() {
                assert_eq!(run, expected, "{options} at {}", server.name);
            }
        }
    }
}

/// Starts, waits for the subscription, and gives the rest of the output.
fn live(options: &str, port: u16, publish: impl FnOnce()) -> (String, std::process::ExitStatus) {
    let arguments = words(&format!("-h 127.0.0.1 -p {port} -d {options}"));
    let mut child = start(Program::Ours, Tool::Sub, &arguments);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("Subscribed") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{options}");
    }
    publish();
    std::thread::sleep(Duration::from_millis(1500));
    let _ = std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    let mut out = String::new();
    reader.read_to_string(&mut out).unwrap();
    (out, child.wait().unwrap())
}

/// Options that the version of mosquitto in Debian 12 does not have, which later ones do.
#[test]
fn newer_options_of_sub() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        let topic = fresh_topic();
        let publish = || {
            for number in 0..5 {
                observer.publish(Publish::new(&topic, number.to_string()));
            }
        };
        for option in ["-w", "--watch"] {
            let (out, status) = live(&format!("-t {topic} {option}"), server.port, publish);
            assert!(status.success());
            assert!(out.contains(&format!("\x1b[2;1H\x1b[K{topic} 4")), "{out:?}");
        }
        let (out, status) = live(&format!("-t {topic} --message-rate"), server.port, publish);
        assert!(status.success());
        assert!(out.lines().any(|line| line == "5"), "{out:?}");

        observer.retain(&topic, "kept");
        for (when, expected) in [("always", "kept\n"), ("new", "kept\n"), ("never", "")] {
            let line =
                format!("-h 127.0.0.1 -p {} -V 5 -t {topic} --retain-handling {when} -W 1", server.port);
            let result = run(Program::Ours, Tool::Sub, &words(&line), b"");
            assert_eq!((result.code, result.out.as_str()), (27, expected), "{when} at {}", server.name);
        }
        // Debian's takes 100 percent for ten.
        let line = format!("-h 127.0.0.1 -p {} -t {topic} -C 1 --random-filter 100", server.port);
        assert_eq!(run(Program::Ours, Tool::Sub, &words(&line), b"").out, "kept\n");
        let line = format!("-h 127.0.0.1 -p {} -t {topic} -W 1 --random-filter 0.1", server.port);
        assert_eq!(run(Program::Ours, Tool::Sub, &words(&line), b"").code, 27);
        // What 2.1 groups, separates and reads as numbers.
        observer.retain(&topic, "hello wo");
        let line = format!("-h 127.0.0.1 -p {} -t {topic} -C 1 -F %.4x|%.2:x|%d", server.port);
        let result = run(Program::Ours, Tool::Sub, &words(&line), b"");
        // Debian's halves a payload that has a field width.
        let padded = format!("-h 127.0.0.1 -p {} -t {topic} -C 1 -F [%20x][%-20x][%2x]", server.port);
        let padded = run(Program::Ours, Tool::Sub, &words(&padded), b"").out;
        assert_eq!(padded, "[    68656c6c6f20776f][68656c6c6f20776f    ][6865]\n");
        let number = f64::from_ne_bytes(*b"hello wo");
        assert_eq!(result.out, format!("6865 6c6c 6f20 776f|68:65:6c:6c:6f:20:77:6f|{number:.6}\n"));
    }
}
