//! Every sequence of `tests/bytes` over TCP: our broker answers byte by byte, and Debian's mosquitto with the same
//! packets and codes, or as the sequence says and for a reason that is explained.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

#[path = "bytes/mod.rs"]
mod bytes;

use bytes::{Sequence, Step};
use mqtt_broker_lite::Broker;
use mqtt_packet::{FixedHeader, Frame};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// How many sequences are played at once.
const AT_ONCE: usize = 16;

#[test]
fn our_broker_answers_byte_by_byte() {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap();
    let address = broker.addresses()[0];
    play_all(|sequence| {
        let mut peers = Peers::new(address, Duration::from_secs(10));
        for (number, step) in sequence.steps.iter().enumerate() {
            let (got, closed) = peers.play(step, |data| {
                data.len() >= step.gets.len() && !step.closes || data.len() > step.gets.len()
            });
            if got != step.gets || closed != step.closes {
                return Err(format!("step {number}: {got:02x?}"));
            }
        }
        Ok(())
    });
    broker.shutdown();
}

#[test]
fn mosquitto_answers_the_same_or_for_a_known_reason() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let explained = include_str!("bytes/README.md");
    play_all(|sequence| {
        // It is waited for packets that may not come, but not for long.
        let mut peers = Peers::new(mosquitto.address, Duration::from_millis(700));
        for (number, step) in sequence.steps.iter().enumerate() {
            let expected = words(step, &step.gets, step.closes);
            let count = packets(&step.gets).len();
            let (got, closed) = peers.play(step, |data| packets(data).len() >= count && !step.closes);
            let got = words(step, &got, closed);
            if let Some(difference) = sequence.difference.as_ref().filter(|known| known.step == number) {
                assert!(explained.contains(&format!("| `{}` |", difference.reason)), "{}", difference.reason);
                return if got == difference.words { Ok(()) } else { Err(format!("step {number}: {got}")) };
            }
            if got != expected {
                return Err(format!("step {number}: {got} instead of {expected}"));
            }
        }
        Ok(())
    });
}

/// Plays every sequence and says which went wrong. Those with a filter that may match what others publish have the broker
/// to themselves.
fn play_all(play: impl Fn(&Sequence) -> Result<(), String> + Sync) {
    let (alone, together): (Vec<_>, Vec<_>) =
        bytes::all().into_iter().partition(|sequence| sequence.name.contains("SUBSCRIBE to '"));
    let mut wrong = play_at_once(1, alone, &play);
    wrong.extend(play_at_once(AT_ONCE, together, &play));
    assert!(wrong.is_empty(), "{} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

fn play_at_once(
    at_once: usize,
    sequences: Vec<Sequence>,
    play: &(impl Fn(&Sequence) -> Result<(), String> + Sync),
) -> Vec<String> {
    let sequences = Mutex::new(sequences.into_iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = sequences.lock().unwrap().next();
                    let Some(sequence) = next else { return };
                    if let Err(what) = play(&sequence) {
                        wrong.lock().unwrap().push(format!("{}: {what}", sequence.name));
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

/// The clients of one sequence.
struct Peers {
    address: SocketAddr,
    patience: Duration,
    streams: BTreeMap<char, TcpStream>,
}

impl Peers {
    fn new(address: SocketAddr, patience: Duration) -> Self {
        Self { address, patience, streams: BTreeMap::new() }
    }

    /// Sends what a step sends; returns what comes, up to when it is enough, and whether that was the end.
    fn play(&mut self, step: &Step, is_enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, bool) {
        let stream = self.streams.entry(step.client).or_insert_with(|| {
            let stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(self.patience)).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        });
        // Whether the peer still listens shows when it is read from.
        let _ = stream.write_all(&step.sends);
        let mut data = Vec::new();
        let mut buffer = [0; 4096];
        while !is_enough(&data) {
            match stream.read(&mut buffer) {
                Ok(0) => return (data, true),
                Ok(read) => data.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(_) => return (data, true),
            }
        }
        (data, false)
    }
}

fn packets(data: &[u8]) -> Vec<Frame<'_>> {
    let mut rest = data;
    let mut frames = Vec::new();
    while let Ok(Some((frame, behind))) = Frame::split(rest) {
        frames.push(frame);
        rest = behind;
    }
    frames
}

/// An answer as both brokers should give it: without properties and words, which are each its own.
fn words(step: &Step, data: &[u8], closed: bool) -> String {
    let mut words: Vec<_> = packets(data).into_iter().map(|frame| word(frame, step.is_new)).collect();
    if closed {
        words.push("closed".to_owned());
    }
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn word(frame: Frame<'_>, is_new: bool) -> String {
    let FixedHeader { packet_type, .. } = frame.header();
    let (name, body) = (format!("{packet_type:?}").to_uppercase(), frame.body());
    let byte = |index: usize| body.get(index).copied().unwrap_or(0);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match &name[..] {
        "CONNACK" => format!("CONNACK {} {:02x}", byte(0), byte(1)),
        "DISCONNECT" | "AUTH" => format!("{name} {:02x}", byte(0)),
        "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP" => format!("{name} {} {:02x}", hex(&body[..2]), byte(2)),
        "SUBACK" | "UNSUBACK" => {
            let codes = hex(&body[if is_new { 3 } else { 2 }..]);
            format!("{name} {} {codes}", hex(&body[..2])).trim_end().to_owned()
        }
        "PUBLISH" => format!("PUBLISH {:04b} {}", frame.header().flags, hex(body)),
        _ => name,
    }
}

/// Debian's mosquitto, as it comes.
struct Mosquitto {
    process: Child,
    address: SocketAddr,
}

impl Mosquitto {
    fn start() -> Option<Self> {
        let program = ["mosquitto", "/usr/sbin/mosquitto"]
            .into_iter()
            .find(|program| Command::new(program).arg("-h").output().is_ok());
        let Some(program) = program else {
            assert!(std::env::var_os("CI").is_none(), "mosquitto must be installed here");
            std::io::stderr().write_all(b"SKIPPED: mosquitto is not installed\n").unwrap();
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = std::env::temp_dir().join(format!("mosquitto-{}.conf", address.port()));
        let text =
            format!("listener {} 127.0.0.1\nallow_anonymous true\nmax_topic_alias 32\n", address.port());
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        let process = command.arg("-c").arg(&config).stderr(Stdio::null()).spawn().unwrap();
        let mosquitto = Self { process, address };
        for _ in 0..200 {
            if TcpStream::connect(address).is_ok() {
                std::fs::remove_file(config).unwrap();
                return Some(mosquitto);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("mosquitto does not listen")
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
