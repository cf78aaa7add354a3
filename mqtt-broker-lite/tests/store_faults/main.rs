//! A data directory that cannot be used, and a disk that fails: the program says so, and nothing that it acknowledged is
//! lost. The disks are real ones, made by the system; only a sync that fails has to be made up.

#![cfg(all(target_os = "linux", feature = "cli", feature = "persistence"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

#[path = "../made/mod.rs"]
mod made;
mod process;
#[path = "../traffic/mod.rs"]
mod traffic;

use made::Directory;
use process::{Process, in_namespace};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use traffic::client::{Client, PUBACK, Packet};

/// Makes the session "away" with a subscription.
fn subscribe(address: &str) {
    let mut client = Client::connect(address, "away").unwrap();
    client.subscribe("k/#", 1, 1);
    client.await_granted(1).unwrap();
}

/// Publishes one after the other from this number on until that is not acknowledged, or this one was; returns the next.
fn publish(address: &str, from: u64, to: u64, size: usize) -> u64 {
    let Ok(mut client) = Client::connect(address, "publisher") else {
        return from;
    };
    for number in from..to {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(size, b'x');
        client.publish("k/0", &payload, 1, 1, false, false);
        if client.flush().is_err() || !matches!(client.next(), Ok(Packet::Ack(PUBACK, 1))) {
            return number;
        }
    }
    to
}

/// The numbers of all messages that come, in their order: so many must, and what comes at once behind them.
fn receive(address: &str, must: u64) -> Vec<u64> {
    let mut client = Client::connect(address, "away").unwrap();
    assert!(client.is_present);
    let mut came = Vec::new();
    loop {
        if came.len() as u64 >= must {
            client.wait_at_most(Duration::from_millis(300));
        }
        let packet = match client.next() {
            Ok(packet) => packet,
            Err(_) if came.len() as u64 >= must => return came,
            Err(error) => panic!("{error}: of {must} came {came:?}"),
        };
        if let Packet::Publish { qos: 1, id, payload, .. } = packet {
            came.push(u64::from_be_bytes(payload[..8].try_into().unwrap()));
            client.ack(PUBACK, id);
        }
        if !client.has_packet() {
            client.flush().unwrap();
        }
    }
}

/// Everything up to here came, once and in order; one more may, that was not acknowledged.
#[track_caller]
fn all_came(address: &str, acknowledged: u64) {
    let came = receive(address, acknowledged);
    assert!(came.iter().copied().eq(0..came.len() as u64), "{came:?}");
    assert!(
        (acknowledged..=acknowledged + 1).contains(&(came.len() as u64)),
        "{} of {acknowledged}",
        came.len()
    );
}

fn refused(command: &mut Command, says: &str) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(says), "{text}");
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
}

fn start_command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"));
    command.args(["--listen", "mqtt://127.0.0.1:0", "--log", "warn", "--data-dir"]).arg(directory);
    command
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let directory = Directory::new();
    let process = Process::start(&mut start_command(&directory.0));
    subscribe(&process.address);
    refused(&mut start_command(&directory.0), "is in use by another process");
    for command in ["check", "repair", "dump", "compact"] {
        let mut store = Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"));
        refused(store.args(["store", command]).arg(&directory.0), "is in use by another process");
    }
    assert_eq!(publish(&process.address, 0, 10, 100), 10);
    // Only a copy can be had, and the broker itself makes it.
    let copy = directory.0.with_extension("copy");
    let backup = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"));
        command.args(["store", "backup"]).args([&directory.0, &copy]);
        command
    };
    assert!(backup().status().unwrap().success());
    refused(&mut backup(), "is not empty");
    let copied = Process::start(&mut start_command(&copy));
    all_came(&copied.address, 10);
    drop(copied);
    std::fs::remove_dir_all(&copy).unwrap();
    process.kill();
    // The lock goes with the process.
    let process = Process::start(&mut start_command(&directory.0));
    all_came(&process.address, 10);
}

/// CVE-2017-9868: whoever else is on the machine reads nothing of it, and of no copy, however careless the umask is.
#[test]
fn the_store_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    fn check(path: &Path) -> usize {
        let data = std::fs::metadata(path).unwrap();
        let mode = data.permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        if data.is_file() {
            return 1;
        }
        std::fs::read_dir(path).unwrap().map(|entry| check(&entry.unwrap().path())).sum()
    }
    let directory = Directory::new();
    let [data, copy] = ["data", "copy"].map(|name| directory.0.join(name));
    let careless = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_mqtt-broker-lite")]);
        command.args(arguments);
        command
    };
    let path = data.to_str().unwrap();
    let arguments = ["--listen", "mqtt://127.0.0.1:0", "--log", "warn", "--data-dir", path];
    let process = Process::start(&mut careless(&arguments));
    subscribe(&process.address);
    assert_eq!(publish(&process.address, 0, 100, 1000), 100);
    let backup = ["store", "backup", path, copy.to_str().unwrap()];
    assert!(careless(&backup).status().unwrap().success());
    process.stop();
    for place in [&data, &copy] {
        assert!(check(place) > 1, "there are no files in {}", place.display());
    }
}

#[test]
fn a_newer_format_is_refused_and_not_touched() {
    let directory = Directory::new();
    Process::start(&mut start_command(&directory.0)).stop();
    directory.write("format", "mqtt-broker-lite data, format 4711\n");
    let before = everything(&directory.0);
    refused(
        &mut start_command(&directory.0),
        "the store has format 4711, and this version knows formats up to",
    );
    assert!(everything(&directory.0) == before, "something was changed");
    directory.write("format", "something else\n");
    refused(&mut start_command(&directory.0), "does not say which format");
}

/// All files, each with its content.
fn everything(directory: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            let content = std::fs::read(&path).unwrap();
            found.push((path, content));
        }
    }
    found.sort();
    found
}

#[test]
fn a_read_only_directory_is_refused() {
    let directory = Directory::new();
    let data = directory.0.join("data");
    let process = Process::start(&mut start_command(&data));
    subscribe(&process.address);
    process.stop();
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    refused(&mut in_namespace(script, &data, &[]), "Read-only file system");
    // One that is not there yet cannot be made.
    let script = "mount -t tmpfs none \"$(dirname \"$1\")\" && mount -o remount,ro \"$(dirname \"$1\")\"";
    refused(&mut in_namespace(script, &data, &[]), "Read-only file system");
    let process = Process::start(&mut start_command(&data));
    assert_eq!(receive(&process.address, 0), []);
}

#[test]
fn a_failed_sync_ends_everything_and_is_not_tried_again() {
    let directory = Directory::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store_faults/failing_sync.c");
    let library = directory.0.join("failing_sync.so");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.expect("a C compiler").success());
    let (data, log) = (directory.0.join("data"), directory.0.join("log"));
    let mut command = start_command(&data);
    command.env("LD_PRELOAD", &library).env("FAIL_SYNC", "40").env("FAIL_SYNC_LOG", &log);
    let process = Process::start(&mut command);
    subscribe(&process.address);
    let acknowledged = publish(&process.address, 0, 1000, 100);
    let (code, said) = process.wait();
    assert!((10..40).contains(&acknowledged), "{acknowledged}");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the store failed") && said.contains("Input/output error"), "{said}");
    assert!(said.contains("nothing was acknowledged that is not safe"), "{said}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "failed\n", "the sync was tried again");
    let process = Process::start(&mut start_command(&data));
    all_came(&process.address, acknowledged);
}

/// A small disk of its own for the data, which is removed with the process.
const SMALL_DISK: &str = "mount -t tmpfs -o size=192m none \"$1\"";

#[test]
fn a_full_disk_refuses_until_there_is_room() {
    let directory = Directory::new();
    let process = Process::start(&mut in_namespace(SMALL_DISK, &directory.0, &[]));
    subscribe(&process.address);
    assert_eq!(publish(&process.address, 0, 20, 1000), 20);
    // Something else takes the room.
    let filler = process.root().join(directory.0.strip_prefix("/").unwrap()).join("filler");
    std::fs::write(&filler, vec![1; 100 << 20]).unwrap();
    // It is looked five times a second, when there is something to do.
    let begin = Instant::now();
    let mut taken = 20;
    while publish_5(&process.address) != 0x97 {
        taken += 1;
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not notice");
    }
    // What is there is delivered meanwhile.
    let before = receive(&process.address, taken);
    assert!(before.iter().copied().take(20).eq(0..20));
    assert_eq!(before.len() as u64, taken, "what was refused came");
    std::fs::remove_file(&filler).unwrap();
    while publish_5(&process.address) != 0 {
        assert!(begin.elapsed() < Duration::from_secs(40), "it does not recover");
    }
    assert_eq!(receive(&process.address, 1).len(), 1);
    assert!(process.stop().contains("the disk is full"));
}

/// Publishes one message of QoS 1 by 5.0, and returns the reason code of its PUBACK.
fn publish_5(address: &str) -> u8 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x015").unwrap();
    stream.write_all(b"\x32\x12\x00\x03k/5\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00xx").unwrap();
    let mut packet = || {
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(head[1])];
        stream.read_exact(&mut body).unwrap();
        (head[0], body)
    };
    assert_eq!(packet().0, 0x20);
    let (first, body) = packet();
    assert_eq!(first, 0x40);
    // It is really gone: who comes again and again while it is still there is turned away after a while.
    stream.write_all(b"\xE0\x00").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    body.get(2).copied().unwrap_or(0)
}

#[test]
fn a_write_that_fails_ends_everything() {
    let directory = Directory::new();
    let kept = Directory::new();
    // No reserve: so the disk is really full, in the middle of a batch.
    let config = kept.write("config.toml", "[limits]\nmin_free_disk = 0\n");
    let arguments = ["--config", config.to_str().unwrap()];
    let process = Process::start(&mut in_namespace(SMALL_DISK, &directory.0, &arguments));
    subscribe(&process.address);
    // Keeps the disk when the process is gone.
    let disk = File::open(process.root().join(directory.0.strip_prefix("/").unwrap())).unwrap();
    let acknowledged = publish(&process.address, 0, 4000, 60_000);
    assert!(acknowledged < 4000, "more than the disk has was acknowledged");
    let (code, said) = process.wait();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("No space left on device") || said.contains("is the disk full"), "{said}");
    let copy = kept.0.join("data");
    let inside = format!("/proc/{}/fd/{}/.", std::process::id(), disk.as_raw_fd());
    assert!(Command::new("cp").arg("-r").arg(&inside).arg(&copy).status().unwrap().success());
    let process = Process::start(&mut start_command(&copy));
    all_came(&process.address, acknowledged);
}
