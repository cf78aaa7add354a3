//! The program's face: what it says and how it ends.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"))
        .args(arguments)
        .stdin(Stdio::null())
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap()
}

#[track_caller]
fn fails(arguments: &[&str], code: i32, says: &str) {
    let output = run(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(says), "{text}");
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_it_cannot_do_is_one_line_and_a_code() {
    fails(&["--no-such-option"], 2, "--no-such-option");
    fails(&["--listen"], 2, "--listen");
    fails(&["--listen", "127.0.0.1:1883"], 1, "mqtt://127.0.0.1:1883");
    fails(&["--listen", "https://127.0.0.1:1883"], 1, "mqtt://");
    fails(&["--listen", "mqtt://127.0.0.1:99999"], 1, "no such host or port");
    fails(&["--listen", "mqtt://0.0.0.0:0"], 1, "reachable from other machines");
    fails(&["--data-dir", "/usr"], 1, "/usr: /usr is not empty");
    fails(&["--data-dir", "a", "--in-memory"], 2, "--in-memory");
    fails(&["--sync", "sometimes"], 2, "always, off, or milliseconds");
    fails(&["--log", "no=such=filter"], 1, "--log");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", taken.local_addr().unwrap());
    fails(&["--listen", &url, "--in-memory"], 1, &url);
}

#[test]
fn help_and_version_are_answers() {
    for (option, says) in [("--help", "--listen"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = run(&[option]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(says));
    }
}

#[cfg(unix)]
#[test]
fn it_says_where_it_listens_and_stops_when_told() {
    for signal in ["-TERM", "-INT"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"))
            .args(["--in-memory", "--listen", "mqtt://127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let address = line.strip_prefix("listening on mqtt://").unwrap();
        let hint = lines.next().unwrap().unwrap();
        assert!(hint.contains("mosquitto_sub -t ELC -d"), "{hint}");
        // A 5.0 client is told, and its connection is closed.
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a").unwrap();
        let mut connack = [0; 2];
        client.read_exact(&mut connack).unwrap();
        assert_eq!(connack[0], 0x20);
        let mut rest = vec![0; usize::from(connack[1])];
        client.read_exact(&mut rest).unwrap();
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let mut farewell = Vec::new();
        client.read_to_end(&mut farewell).unwrap();
        assert_eq!((farewell[0], farewell[2]), (0xE0, 0x8B));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
