//! The options that all three programs have.

use crate::servers::{self, Server};
use crate::world::{HAS_DEBIANS, Observer, Program, Run, TOOLS, Tool, fresh_topic, normalized, run, words};

/// What is added to a command that works already. Both programs do the same with it.
pub const OPTIONS: &[&str] = &[
    "",
    "-A 127.0.0.1",
    "--nodelay",
    "-u me -P secret",
    "--username me --pw secret",
    "-i CLIENT",
    "--id CLIENT",
    "-I prefix-",
    "--id-prefix prefix-",
    "-k 30",
    "--keepalive 30",
    "-k 4",
    "-k x",
    "-c -i CLIENT",
    "--disable-clean-session -i CLIENT",
    "-c",
    "-x 10 -i CLIENT",
    "-x -1 -i CLIENT",
    "-x ∞ -i CLIENT",
    "-x minutes",
    "-V mqttv31",
    "-V mqttv311",
    "-V mqttv5",
    "-V 4",
    "--protocol-version 5",
    "-D connect user-property name value",
    "--property connect receive-maximum 10",
    "-D connect session-expiry-interval 10",
    "-D connect topic-alias-maximum 3",
    "-D connect request-problem-information 1",
    "-D connect request-response-information 1",
    "-D connect maximum-packet-size 200000",
    "-D disconnect user-property name value",
    "-D disconnect content-type x",
    "-D puback reason-string x",
    "-D auth authentication-method x",
    "-D nothing user-property a b",
    "-D connect nothing x",
    "-q 0",
    "-q 1",
    "--qos 2",
    "-q 3",
    "-M 5",
    "-M 0",
    "-d",
    "--debug -V mqttv5",
    "-d --quiet",
    "--quiet",
    "--will-topic w --will-payload gone --will-qos 1 --will-retain",
    "--will-topic w",
    "--will-payload gone",
    "--will-retain",
    "--will-topic w --will-qos 3",
    "--will-topic w/#",
    "-V 5 --will-topic w -D will will-delay-interval 5 -D will content-type x",
    "--no-such-option",
];

/// A command that works, with a message waiting for it.
fn base(tool: Tool, topic: &str) -> Vec<String> {
    words(&match tool {
        Tool::Pub => format!("-t {topic} -m hello"),
        Tool::Sub => format!("-t {topic} -C 1 -W 10"),
        Tool::Rr => format!("-t {topic} -e {topic}/r -m hello -W 10"),
    })
}

/// A run of a command, and what others saw of it.
pub fn observed(
    observer: &Observer,
    program: Program,
    tool: Tool,
    address: &str,
    options: &str,
) -> (Run, Vec<String>) {
    let topic = fresh_topic();
    let mut watch = observer.watch(&topic);
    match tool {
        Tool::Pub => {}
        Tool::Sub => {
            observer.retain(&topic, "kept");
            watch.take(1);
        }
        Tool::Rr => observer.respond(&topic),
    }
    let options = options.replace("CLIENT", &format!("id-{topic}"));
    let mut arguments = words(address);
    arguments.extend(base(tool, &topic));
    arguments.extend(words(&options));
    let mut result = run(program, tool, &arguments, b"");
    let sends = tool != Tool::Sub && result.code == 0;
    let seen = watch.take(usize::from(sends)).into_iter().map(|line| line.replace(&topic, "TOPIC")).collect();
    result.out = normalized(&result.out.replace(&topic, "TOPIC"));
    if tool == Tool::Rr {
        // Theirs leaves without a goodbye.
        result.out = result.out.lines().filter(|line| !line.ends_with("sending DISCONNECT")).collect();
    }
    (result, seen)
}

/// Both programs, the same command, the same server.
pub fn compare(server: &Server, observer: &Observer, tool: Tool, address: &str, options: &str) {
    let place = format!("{} {options} at {}", tool.name(), server.name);
    let (ours, we) = observed(observer, Program::Ours, tool, address, options);
    if !*HAS_DEBIANS {
        return;
    }
    let (theirs, they) = observed(observer, Program::Debians, tool, address, options);
    assert_eq!(ours.code, theirs.code, "{place}: {} / {}", ours.err, theirs.err);
    assert_eq!(ours.out, theirs.out, "{place}");
    assert_eq!(we, they, "{place}");
    // Their -V of a wrong use says nothing on standard error, and so on; but who complains complains in both.
    assert_eq!(ours.err.is_empty(), theirs.err.is_empty(), "{place}: {} / {}", ours.err, theirs.err);
}

fn all_with(tool: Tool) {
    for server in servers::all() {
        let observer = Observer::new(&server);
        let address = format!("-h 127.0.0.1 -p {}", server.port);
        for options in OPTIONS {
            compare(&server, &observer, tool, &address, options);
        }
        compare(&server, &observer, tool, &format!("--host localhost --port {}", server.port), "");
    }
}

#[test]
fn common_options_of_pub() {
    all_with(Tool::Pub);
}

#[test]
fn common_options_of_sub() {
    all_with(Tool::Sub);
}

#[test]
fn common_options_of_rr() {
    all_with(Tool::Rr);
}

/// Options that the version of mosquitto in Debian 12 does not have, which later ones do.
#[test]
fn newer_common_options() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        for tool in TOOLS {
            let address = format!("-h 127.0.0.1 -p {}", server.port);
            let (result, _) = observed(&observer, Program::Ours, tool, &address, "--no-tls");
            assert_eq!(result.code, 0, "{tool:?}: {}", result.err);
            for option in ["--help", "--version"] {
                let result = run(Program::Ours, tool, &words(option), b"");
                assert_eq!(result.code, 0, "{tool:?} {option}");
                assert!(result.out.contains(tool.name()), "{tool:?} {option}: {}", result.out);
            }
        }
    }
}
