//! How much memory clients can make a broker take: `cargo bench -p mqtt-broker-lite --bench bounds`, ours beside mosquitto.
//!
//! Each row has a broker of its own, and counts what its memory grew by at most (or, for what is there many times, what
//! it grew by for one). As `cargo bench -- --test` everything is tried once, with little.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

#[path = "../durability/server.rs"]
mod server;
#[path = "../../tests/traffic/mod.rs"]
mod traffic;

use server::{Kind, Server, directory};
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use traffic::client::{Client, PUBACK, Packet};

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

/// How much is done, as a part of the whole.
#[derive(Clone, Copy)]
struct Effort(usize);

/// A row: what it is, its goal, the unit, and what a broker grows by.
struct Row {
    name: &'static str,
    goal: f64,
    unit: &'static str,
    is_durable: bool,
    grow: fn(&Server, Effort) -> f64,
}

const ROWS: [Row; 8] = [
    Row { name: "50 claims of 256 MiB", goal: 1.0, unit: "MiB", is_durable: false, grow: claims },
    Row {
        name: "a stalled reader, 128 MiB offered",
        goal: 16.0,
        unit: "MiB",
        is_durable: false,
        grow: |broker, effort| stalled(broker, 1, 128 / effort.0),
    },
    Row {
        name: "50 stalled readers, 16 MiB each",
        goal: 32.0,
        unit: "MiB",
        is_durable: false,
        grow: |broker, effort| stalled(broker, 50, 16 / effort.0.min(8)),
    },
    Row { name: "64 MiB for an absent session", goal: 16.0, unit: "MiB", is_durable: true, grow: absent },
    Row { name: "an idle connection", goal: 1.5, unit: "KiB", is_durable: false, grow: connections },
    Row { name: "a persistent session", goal: 0.6, unit: "KiB", is_durable: false, grow: sessions },
    Row { name: "a subscription", goal: 0.4, unit: "KiB", is_durable: false, grow: subscriptions },
    Row { name: "a silent connection", goal: 10.0, unit: "s", is_durable: false, grow: silence },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_trial = arguments.iter().any(|argument| argument == "--test");
    let effort = Effort(if is_trial { 64 } else { 1 });
    let wanted = |row: &&Row| {
        let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|name| row.name.contains(name.as_str()))
    };
    println!("{:<36} {:>14} {:>14} {:>14}", "", "goal", "ours", "mosquitto");
    for row in ROWS.iter().filter(wanted) {
        // It waits for half a minute.
        let kinds = [Kind::Ours, Kind::Mosquitto].into_iter().filter(|_| !(is_trial && row.unit == "s"));
        let seen: Vec<String> = kinds
            .map(|kind| match start(kind, row.is_durable) {
                Some(broker) => format!("{:.2} {}", (row.grow)(&broker, effort), row.unit),
                None => "is not here".to_owned(),
            })
            .collect();
        let goal = format!("{} {}", row.goal, row.unit);
        let [ours, other] = [0, 1].map(|at| seen.get(at).map_or("", String::as_str));
        println!("{:<36} {goal:>14} {ours:>14} {other:>14}", row.name);
    }
}

/// One with its defaults, but for the limits of mosquitto's queues, which would drop what is offered.
fn start(kind: Kind, is_durable: bool) -> Option<Server> {
    match kind {
        Kind::Ours if !is_durable => Some(Server::in_memory()),
        kind => Server::start(kind, &directory("bounds")),
    }
}

/// A client whose session ends with it.
fn connect(broker: &Server, client_id: String) -> Client {
    Client::connect_as(&broker.address, &client_id, true).unwrap()
}

/// By how much memory grew, in bytes.
fn grown(now: u64, before: u64) -> f64 {
    now as f64 - before as f64
}

/// Clients that are let in, say that 256 MiB follow, and send a little of it.
fn claims(broker: &Server, _: Effort) -> f64 {
    let before = broker.memory();
    let mut clients: Vec<_> = (0..50).map(|number| connect(broker, format!("claims-{number}"))).collect();
    for client in &mut clients {
        client.raw(&[b"\x30\xFF\xFF\xFF\x7F\0\x01t".as_slice(), &[b'x'; 1000]].concat());
        // Who claims too much may be gone already.
        let _ = client.flush();
    }
    std::thread::sleep(Duration::from_secs(1));
    grown(broker.peak_memory(), before) / MIB
}

/// Readers with a topic each that read nothing, and publishers that send so many MiB at QoS 0 as long as they can.
fn stalled(broker: &Server, readers: usize, offered: usize) -> f64 {
    let idle: Vec<_> = (0..readers)
        .map(|number| {
            let mut reader = connect(broker, format!("stalled-{number}"));
            reader.subscribe(&format!("stalled/{number}"), 0, 1);
            reader.await_granted(1).unwrap();
            reader
        })
        .collect();
    let before = broker.memory();
    std::thread::scope(|scope| {
        for number in 0..readers {
            let mut publisher = connect(broker, format!("publisher-{number}"));
            scope.spawn(move || {
                let end = Instant::now() + Duration::from_secs(15);
                // Who is not read from any more waits in vain.
                publisher.write_at_most(Duration::from_secs(5));
                for _ in 0..offered * 64 {
                    publisher.publish(&format!("stalled/{number}"), &[b'x'; 16 << 10], 0, 0, false, false);
                    if publisher.flush().is_err() || Instant::now() > end {
                        break;
                    }
                }
            });
        }
    });
    drop(idle);
    grown(broker.peak_memory(), before) / MIB
}

/// Messages of QoS 1 for somebody who is away.
fn absent(broker: &Server, effort: Effort) -> f64 {
    let mut owner = Client::connect(&broker.address, "absent").unwrap();
    owner.subscribe("absent/#", 1, 1);
    owner.await_granted(1).unwrap();
    drop(owner);
    let mut publisher = connect(broker, "publisher".to_owned());
    let before = broker.memory();
    let count = (64 << 10) / effort.0;
    let mut acknowledged = 0;
    for number in 0..count {
        let id = u16::try_from(number % 60_000 + 1).unwrap();
        publisher.publish("absent/one", &[b'x'; 1000], 1, id, false, false);
        publisher.flush().unwrap();
        if number - acknowledged >= 200 {
            assert!(matches!(publisher.next().unwrap(), Packet::Ack(PUBACK, _)));
            acknowledged += 1;
        }
    }
    for _ in acknowledged..count {
        assert!(matches!(publisher.next().unwrap(), Packet::Ack(PUBACK, _)));
    }
    grown(broker.peak_memory(), before) / MIB
}

fn connections(broker: &Server, effort: Effort) -> f64 {
    let count = 4000 / effort.0;
    let before = broker.memory();
    let clients: Vec<_> = (0..count).map(|number| connect(broker, format!("idle-{number}"))).collect();
    grown(broker.memory(), before) / KIB / clients.len() as f64
}

fn sessions(broker: &Server, effort: Effort) -> f64 {
    let count = 20_000 / effort.0;
    let before = broker.memory();
    for number in 0..count {
        drop(Client::connect(&broker.address, &format!("session-{number}")).unwrap());
    }
    std::thread::sleep(Duration::from_millis(500));
    grown(broker.memory(), before) / KIB / count as f64
}

/// Of a hundred clients with a thousand each, nobody else having the same.
fn subscriptions(broker: &Server, effort: Effort) -> f64 {
    let count = 1000 / effort.0;
    let mut clients: Vec<_> = (0..100).map(|number| connect(broker, format!("client-{number}"))).collect();
    let before = broker.memory();
    for (number, client) in clients.iter_mut().enumerate() {
        for device in 0..count {
            client.subscribe(&format!("site/{number}/device-{device}/state"), 1, 1);
            client.await_granted(1).unwrap();
        }
    }
    grown(broker.memory(), before) / KIB / (100 * count) as f64
}

/// How long somebody is kept who says nothing at all.
fn silence(broker: &Server, _: Effort) -> f64 {
    let mut stream = TcpStream::connect(&broker.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    let begin = Instant::now();
    let _ = stream.read(&mut [0]);
    begin.elapsed().as_secs_f64()
}
