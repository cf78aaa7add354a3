//! The program below a service manager: what it says to it, and the sockets that it gets from it.

#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::disallowed_types)]

mod made;

use made::Directory;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(30);
const PROGRAM: &str = env!("CARGO_BIN_EXE_mqtt-broker-lite");
/// CONNECT of 3.1.1, and its answer.
const CONNECT: &[u8] = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01w";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn is_accepted(mut stream: impl Read + Write) -> bool {
    stream.write_all(CONNECT).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    answer == CONNACK
}

#[test]
fn it_says_when_it_is_ready_when_it_reloads_and_when_it_stops() {
    let directory = Directory::new();
    let manager = UnixDatagram::bind(directory.0.join("notify")).unwrap();
    manager.set_read_timeout(Some(WAIT)).unwrap();
    let acl = directory.write("acl", "topic #\n");
    let toml = format!("[access]\nallow_anonymous = true\nacl_file = {acl:?}\n");
    let mut child = Command::new(PROGRAM)
        .args(["--in-memory", "--listen", "mqtt://127.0.0.1:0", "--config"])
        .arg(directory.write("broker.toml", toml))
        .env("NOTIFY_SOCKET", directory.0.join("notify"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let hear = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(buffer.get(..length).unwrap()).into_owned()
    };
    assert_eq!(hear(), "READY=1\n");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let stream = TcpStream::connect(line.strip_prefix("listening on mqtt://").unwrap()).unwrap();
    assert!(is_accepted(stream));
    // A reload that fails is a reload that has ended, too.
    for (rights, says) in [("topic read #\n", "reloaded"), ("topc read #\n", "not reloaded")] {
        directory.write("acl", rights);
        signal(&child, "-HUP");
        let words = hear();
        let time = words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{words}"));
        assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{words}");
        assert_eq!(hear(), "READY=1\n");
        lines.find(|line| line.as_ref().unwrap().contains(says)).unwrap().unwrap();
    }
    signal(&child, "-TERM");
    assert_eq!(hear(), "STOPPING=1\n");
    assert!(child.wait().unwrap().success());
}

/// Opens a TCP and a unix socket, says the port, waits for a line, and becomes the broker with both.
const LAUNCHER: &str = r#"
import os, socket, sys
program, path, claims = sys.argv[1:]
tcp = socket.create_server(("127.0.0.1", 0))
local = socket.socket(socket.AF_UNIX)
local.bind(path)
local.listen()
port = tcp.getsockname()[1]
print(port, flush=True)
sys.stdin.readline()
os.dup2(tcp.fileno(), 3) if tcp.fileno() != 3 else os.set_inheritable(3, True)
os.dup2(local.fileno(), 4) if local.fileno() != 4 else os.set_inheritable(4, True)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
listen = ["--listen", f"mqtt://127.0.0.1:{port}"]
listen += ["--listen", f"unix://{path}"] if claims == "both" else []
os.execv(program, [program, "--in-memory", *listen])
"#;

/// The program with sockets, before it becomes the broker; and its port.
fn launch(path: &std::path::Path, claims: &str) -> Option<(Child, u16)> {
    let mut command = Command::new("python3");
    let command = command.args(["-c", LAUNCHER, PROGRAM]).arg(path).arg(claims);
    let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    else {
        assert!(std::env::var_os("CI").is_none(), "python3 is not installed");
        let _ = std::io::stderr().write_all(b"SKIPPED: python3 is not installed\n");
        return None;
    };
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Some((child, line.trim().parse().unwrap()))
}

fn go_on(child: &mut Child) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

#[test]
fn it_takes_sockets_that_were_open_before_it() {
    let directory = Directory::new();
    let path = directory.0.join("mqtt.sock");
    let Some((mut child, port)) = launch(&path, "both") else {
        return;
    };
    // Both come before there is a broker, and lose nothing by it.
    let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let local = UnixStream::connect(&path).unwrap();
    tcp.set_read_timeout(Some(WAIT)).unwrap();
    local.set_read_timeout(Some(WAIT)).unwrap();
    go_on(&mut child);
    assert!(is_accepted(tcp));
    assert!(is_accepted(local));
    signal(&child, "-TERM");
    assert!(child.wait().unwrap().success());
    assert!(path.exists(), "the socket of somebody else was removed");
}

#[test]
fn a_socket_that_nobody_wants_is_an_error() {
    let directory = Directory::new();
    let path = directory.0.join("mqtt.sock");
    let Some((mut child, _)) = launch(&path, "one") else {
        return;
    };
    go_on(&mut child);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let words = "was handed over, but no listener has this address";
    assert!(text.contains(words) && text.contains("mqtt.sock"), "{text}");
}
