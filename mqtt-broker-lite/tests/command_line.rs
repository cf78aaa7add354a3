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

/// What comes of a configuration of mosquitto: the translation, and what is said about the rest.
fn import(directory: &Directory, text: &str) -> (String, String) {
    let file = directory.write("mosquitto.conf", text);
    let output = run(&["import-mosquitto", file.to_str().unwrap()]);
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn rights_of_single_listeners_are_translated() {
    let directory = Directory::new();
    let acl = directory.write("acl", "topic t\n");
    let text = format!(
        "per_listener_settings true\nlistener 1883 127.0.0.1\nallow_anonymous true\nacl_file {}\n\
         listener 1884 127.0.0.1\nallow_anonymous true\n",
        acl.display()
    );
    let (toml, rest) = import(&directory, &text);
    assert_eq!(rest, "");
    let first = format!("1883\"\nallow_anonymous = true\nacl_file = \"{}\"\n\n[[listener]]\n", acl.display());
    assert!(toml.contains(&first), "{toml}");
    assert_eq!(toml.matches("acl_file").count(), 1, "{toml}");
    let file = directory.write("translated.toml", toml);
    let output = run(&["--config", file.to_str().unwrap(), "--check-config"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_configuration_of_mosquitto_is_translated_and_the_rest_is_named() {
    let directory = Directory::new();
    let passwords = directory.write("passwords", "");
    let acl = directory.write("acl", "");
    let text = format!(
        "# as it grew\n\nper_listener_settings false\nlistener 0 {}/mqtt.sock\nlistener 1883 127.0.0.1\n\
         max_connections 7\nlistener 9001 ::1\nprotocol websockets\nwebsockets_origin https://a.example\n\
         allow_anonymous false\npassword_file {}\nacl_file {}\npersistence true\npersistence_location {}/data\n\
         persistent_client_expiration 2d\nmax_inflight_messages 0\nmax_queued_messages 50\n\
         queue_qos0_messages true\nmax_keepalive 600\nlog_type all\nno_such_thing 1\n\
         connection cloud\naddress example.org:1883\ntopic # out\n",
        directory.0.display(),
        passwords.display(),
        acl.display(),
        directory.0.display(),
    );
    let (toml, rest) = import(&directory, &text);
    for line in [
        format!("url = \"unix://{}/mqtt.sock\"", directory.0.display()).as_str(),
        "url = \"mqtt://127.0.0.1:1883\"",
        "max_connections = 7",
        "url = \"ws://[::1]:9001\"",
        "origins = [\"https://a.example\"]",
        "allow_anonymous = false",
        &format!("data_dir = \"{}/data\"", directory.0.display()),
        "max_session_expiry_seconds = 172800",
        "max_inflight = 65535",
        "max_queue_messages = 50",
        "queue_qos0_offline = true",
        "max_keep_alive_seconds = 600",
    ] {
        assert!(toml.lines().any(|one| one == line), "{line} is missing in:\n{toml}");
    }
    for (line, what) in [
        (20, "log_type: logs go"),
        (21, "no_such_thing: it is not known"),
        (22, "connection: there are no bridges"),
        (23, "address: there are no bridges"),
        (24, "topic: there are no bridges"),
    ] {
        let note = format!("mosquitto.conf:{line}: {what}");
        assert!(rest.contains(&note) && toml.contains(&note), "{note} is missing in:\n{rest}");
    }
    assert_eq!(rest.lines().count(), 5, "{rest}");
    let file = directory.write("translated.toml", toml);
    let output = run(&["--config", file.to_str().unwrap(), "--check-config"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn certificates_and_defaults_of_mosquitto_are_translated() {
    let directory = Directory::new();
    let (toml, rest) = import(
        &directory,
        "port 8883\ncafile /ca.pem\ncertfile /server.pem\nkeyfile /server.key\nrequire_certificate true\n\
         use_identity_as_username true\ntls_version tlsv1.3\nlistener 8884\ncafile /ca.pem\n\
         certfile /server.pem\nkeyfile /server.key\nprotocol websockets\n",
    );
    assert_eq!(rest, "");
    let first = "[[listener]]\nurl = \"mqtts://0.0.0.0:8883\"\nclient_ca = \"/ca.pem\"\ncertificate = \"/server.pem\"\n\
                 key = \"/server.key\"\nclient_certificates = \"required\"\nuse_common_name = true\nonly_tls13 = true\n";
    // Who asks for no certificates has no use for a CA.
    let second =
        "[[listener]]\nurl = \"wss://0.0.0.0:8884\"\ncertificate = \"/server.pem\"\nkey = \"/server.key\"\n";
    assert!(toml.contains(first) && toml.contains(second), "{toml}");
    let (toml, _) = import(&directory, "");
    assert!(toml.contains("in_memory = true") && toml.contains("url = \"mqtt://127.0.0.1:1883\""), "{toml}");
}
