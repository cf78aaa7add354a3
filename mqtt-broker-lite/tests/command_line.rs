//! The program's face: what it says and how it ends.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod made;

use made::Directory;
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
    fails(&["--config", "/no/such/file.toml"], 1, "/no/such/file.toml");
    fails(&["passwd", "/no/such/directory/file", "a:b"], 1, "cannot be a user name");
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

/// In a terminal, which is where it is started first.
#[cfg(target_os = "linux")]
#[test]
fn it_says_where_it_listens_to_a_terminal_too() {
    let broker = concat!(env!("CARGO_BIN_EXE_mqtt-broker-lite"), " --in-memory --listen mqtt://127.0.0.1:0");
    // `script`, of util-linux, brings the terminal.
    let mut command = Command::new("script");
    let command = command.args(["-qec", broker, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        assert!(std::env::var_os("CI").is_none(), "script is not installed");
        let _ = std::io::stderr().write_all(b"SKIPPED: script is not installed\n");
        return;
    };
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // Ctrl-C, as somebody types it.
    child.stdin.take().unwrap().write_all(b"\x03").unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("listening on mqtt://127.0.0.1:"), "{line}");
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

#[test]
fn a_configuration_is_checked_as_a_whole() {
    let directory = Directory::new();
    let file = directory.write("x.toml", "workers = 0\n[limits]\nmax_inflight = \"many\"\nnothing = 1\n");
    let output = run(&["--config", file.to_str().unwrap(), "--check-config"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for line in ["x.toml:1: workers", "x.toml:3: max_inflight", "x.toml:4: there is no key \"nothing\""] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(text.lines().count(), 3, "{text}");
    let passwords = directory.write("passwords", "alice:nonsense\n");
    let toml = format!(
        "[access]\npassword_file = \"{}\"\nacl_file = \"/no/such/acl\"\n[[listener]]\nurl = \"mqtts://127.0.0.1:0\"\n",
        passwords.display()
    );
    let file = directory.write("y.toml", toml);
    let output = run(&["--config", file.to_str().unwrap(), "--check-config"]);
    let text = String::from_utf8(output.stderr).unwrap();
    for says in ["passwords:1:", "/no/such/acl", "it needs a certificate and a key"] {
        assert!(text.contains(says), "{text}");
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/mqtt-broker-lite.toml");
    let output = run(&["--config", example, "--check-config"]);
    assert!(output.status.success(), "{output:?}");
    let open =
        directory.write("z.toml", "[access]\nacl_file = \"acl\"\n[[listener]]\nurl = \"mqtt://0.0.0.0:0\"\n");
    let output = run(&["--config", open.to_str().unwrap(), "--check-config"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("nobody can come in"));
}

/// Sets a password as a script does.
fn passwd(file: &std::path::Path, name: &str, password: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"))
        .args(["passwd", file.to_str().unwrap(), name])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The return code of CONNACK of 3.1.1 for this user.
fn connect(address: &str, name: &str, password: &str) -> u8 {
    let string =
        |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    let body =
        [b"\x00\x04MQTT\x04\xC2\x00\x00".to_vec(), string("c"), string(name), string(password)].concat();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(&[&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat()).unwrap();
    let mut connack = [0; 4];
    client.read_exact(&mut connack).unwrap();
    connack[3]
}

#[cfg(unix)]
#[test]
fn passwords_are_set_and_read_again_at_sighup() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let file = directory.0.join("passwords");
    passwd(&file, "alice", "secret");
    passwd(&file, "bob", "other");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let toml = format!("[access]\npassword_file = \"{}\"\n", file.display());
    let toml = directory.write("x.toml", toml);
    let mut child = Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"))
        .args(["--config", toml.to_str().unwrap(), "--workers", "2", "--in-memory"])
        .env("MQTT_BROKER_LITE_LISTEN", "mqtt://127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let address = line.strip_prefix("listening on mqtt://").unwrap().to_owned();
    assert_eq!(connect(&address, "alice", "secret"), 0);
    assert_eq!(connect(&address, "alice", "changed"), 4);
    let mut hang_up = |says: &str| {
        assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
        let line = lines.find(|line| line.as_ref().unwrap().contains("reloaded"));
        assert!(line.unwrap().unwrap().contains(says));
    };
    passwd(&file, "alice", "changed");
    hang_up("reloaded passwords");
    assert_eq!(connect(&address, "alice", "secret"), 4);
    assert_eq!(connect(&address, "alice", "changed"), 0);
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}mallory\n")).unwrap();
    hang_up("not reloaded");
    assert_eq!(connect(&address, "alice", "changed"), 0);
    std::fs::write(&file, good).unwrap();
    assert!(run(&["passwd", file.to_str().unwrap(), "alice", "--delete"]).status.success());
    hang_up("reloaded passwords");
    assert_eq!(connect(&address, "alice", "changed"), 4);
    assert_eq!(connect(&address, "bob", "other"), 0);
    assert!(Command::new("kill").args([child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
