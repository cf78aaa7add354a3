//! Exit codes and words where nothing goes well.

use crate::servers;
use crate::world::{HAS_DEBIANS, Program, TOOLS, Tool, run, words};

fn base(tool: Tool) -> &'static str {
    match tool {
        Tool::Pub => "-t a -m b",
        Tool::Sub => "-t a",
        Tool::Rr => "-t a -e b -m c",
    }
}

#[test]
fn no_server_and_no_such_name() {
    let [port] = servers::free_ports();
    for tool in TOOLS {
        for address in [format!("-h 127.0.0.1 -p {port}"), "-h no-such-host.invalid".to_owned()] {
            let line = format!("{address} {}", base(tool));
            let ours = run(Program::Ours, tool, &words(&line), b"");
            assert_eq!((ours.code, ours.out.as_str()), (1, ""), "{line}");
            assert!(ours.err.starts_with("Error: "), "{line}: {}", ours.err);
            let quiet = run(Program::Ours, tool, &words(&format!("{line} --quiet")), b"");
            assert_eq!((quiet.code, quiet.err.as_str()), (1, ""), "{line}");
            if *HAS_DEBIANS {
                assert_eq!(run(Program::Debians, tool, &words(&line), b"").code, 1, "{line}");
            }
        }
    }
}

#[test]
fn the_code_of_connack_is_the_exit_code() {
    let Some(server) = servers::mosquitto() else { return };
    let port = server.more.as_ref().unwrap().password;
    for tool in TOOLS {
        for (options, code) in [("-V 311", 5), ("-V 31", 5), ("-V 5", 135), ("-V 5 -u me -P wrong", 135)] {
            let line = format!("-h 127.0.0.1 -p {port} {} {options}", base(tool));
            let ours = run(Program::Ours, tool, &words(&line), b"");
            assert_eq!(ours.code, code, "{tool:?} {options}: {ours:?}");
            if *HAS_DEBIANS {
                let theirs = run(Program::Debians, tool, &words(&line), b"");
                assert_eq!(ours.code, theirs.code, "{tool:?} {options}");
                if tool != Tool::Rr {
                    assert_eq!(ours.err.lines().next(), theirs.err.lines().next(), "{tool:?} {options}");
                }
            }
        }
    }
}

/// As later versions have it: nobody could ever come back to such a session.
#[test]
fn a_session_without_end_needs_a_name() {
    for tool in TOOLS {
        for options in ["-x -1", "-c -V 5", "-c"] {
            let ours = run(Program::Ours, tool, &words(&format!("{} {options}", base(tool))), b"");
            assert_eq!(ours.code, 1, "{tool:?} {options}");
            assert!(ours.err.contains("You must provide a client id"), "{}", ours.err);
        }
    }
}

#[test]
fn an_option_without_its_value() {
    for tool in TOOLS {
        for option in ["-h", "-p", "-t", "-D", "--cafile", "-q", "-i"] {
            let ours = run(Program::Ours, tool, &words(option), b"");
            assert_eq!(ours.code, 1, "{tool:?} {option}");
            assert!(ours.err.starts_with("Error: ") && ours.err.contains("--help"), "{}", ours.err);
        }
    }
}

/// What cannot be supported says so, and what to do instead.
#[test]
fn what_is_not_supported_says_so() {
    for tool in TOOLS {
        for options in [
            "--tls-engine pkcs11 --cafile /dev/null",
            "--tls-engine-kpass-sha1 00 --cafile /dev/null",
            "--keyform engine --cert a --key b --cafile /dev/null",
            "--psk 00 --psk-identity me",
            "--tls-version tlsv1.1 --cafile /dev/null",
        ] {
            let ours = run(Program::Ours, tool, &words(&format!("{} {options}", base(tool))), b"");
            assert_eq!(ours.code, 1, "{options}");
            assert!(ours.err.contains("not supported"), "{options}: {}", ours.err);
        }
    }
}
