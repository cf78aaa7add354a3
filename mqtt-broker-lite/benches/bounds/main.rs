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

mod broker;
mod wire;

use broker::{Broker, Kind};
use std::io::Read;
use std::time::{Duration, Instant};
use wire::Wire;

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
    grow: fn(&Broker, Effort) -> f64,
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
            .map(|kind| match Broker::start(kind, row.is_durable) {
                Some(broker) => format!("{:.2} {}", (row.grow)(&broker, effort), row.unit),
                None => "is not here".to_owned(),
            })
            .collect();
        let goal = format!("{} {}", row.goal, row.unit);
        let [ours, other] = [0, 1].map(|at| seen.get(at).map_or("", String::as_str));
        println!("{:<36} {goal:>14} {ours:>14} {other:>14}", row.name);
    }
}

/// Clients that are let in, say that 256 MiB follow, and send a little of it.
fn claims(broker: &Broker, _: Effort) -> f64 {
    let before = broker.memory();
    let mut clients: Vec<_> =
        (0..50).map(|number| broker.connect(&format!("claims-{number}"), true)).collect();
    for client in &mut clients {
        let _ = client.send(&[b"\x30\xFF\xFF\xFF\x7F\0\x01t".as_slice(), &[b'x'; 1000]].concat());
    }
    std::thread::sleep(Duration::from_secs(1));
    (broker.most_memory() - before) / MIB
}

/// Readers of the same topic each that read nothing, and publishers that send so many MiB at QoS 0 as long as they can.
fn stalled(broker: &Broker, readers: usize, offered: usize) -> f64 {
    let mut idle: Vec<_> = (0..readers)
        .map(|number| {
            let mut reader = broker.connect(&format!("stalled-{number}"), true);
            reader.subscribe(&format!("stalled/{number}"), 0);
            reader
        })
        .collect();
    let before = broker.memory();
    std::thread::scope(|scope| {
        for number in 0..readers {
            let mut publisher = broker.connect(&format!("publisher-{number}"), true);
            scope.spawn(move || {
                let packet = wire::publish(&format!("stalled/{number}"), &[b'x'; 16 << 10], None);
                let end = Instant::now() + Duration::from_secs(15);
                // Who is not read from any more waits in vain.
                publisher.give_up_after(Duration::from_secs(5));
                for _ in 0..offered * 64 {
                    if Instant::now() > end || publisher.send(&packet).is_err() {
                        break;
                    }
                }
            });
        }
    });
    idle.clear();
    (broker.most_memory() - before) / MIB
}

/// Messages of QoS 1 for somebody who is away.
fn absent(broker: &Broker, effort: Effort) -> f64 {
    let mut owner = broker.connect("absent", false);
    owner.subscribe("absent/#", 1);
    drop(owner);
    let mut publisher = broker.connect("publisher", true);
    let before = broker.memory();
    let count = (64 << 10) / effort.0;
    let mut acknowledged = 0;
    for number in 0..count {
        let id = u16::try_from(number % 60_000 + 1).unwrap();
        publisher.send(&wire::publish("absent/one", &[b'x'; 1000], Some(id))).unwrap();
        if number - acknowledged >= 200 {
            publisher.await_packet(0x40);
            acknowledged += 1;
        }
    }
    for _ in acknowledged..count {
        publisher.await_packet(0x40);
    }
    (broker.most_memory() - before) / MIB
}

fn connections(broker: &Broker, effort: Effort) -> f64 {
    let count = 4000 / effort.0;
    let before = broker.memory();
    let clients: Vec<Wire> =
        (0..count).map(|number| broker.connect(&format!("idle-{number}"), true)).collect();
    (broker.memory() - before) / KIB / clients.len() as f64
}

fn sessions(broker: &Broker, effort: Effort) -> f64 {
    let count = 20_000 / effort.0;
    let before = broker.memory();
    for number in 0..count {
        drop(broker.connect(&format!("session-{number}"), false));
    }
    std::thread::sleep(Duration::from_millis(500));
    (broker.memory() - before) / KIB / count as f64
}

/// Of a hundred clients with a thousand each, nobody else having the same.
fn subscriptions(broker: &Broker, effort: Effort) -> f64 {
    let count = 1000 / effort.0;
    let mut clients: Vec<_> =
        (0..100).map(|client| broker.connect(&format!("client-{client}"), true)).collect();
    let before = broker.memory();
    for (client, wire) in clients.iter_mut().enumerate() {
        for number in 0..count {
            wire.subscribe(&format!("site/{client}/device-{number}/state"), 1);
        }
    }
    (broker.memory() - before) / KIB / (100 * count) as f64
}

/// How long somebody is kept who says nothing at all.
fn silence(broker: &Broker, _: Effort) -> f64 {
    let mut stream = broker.open();
    stream.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
    let begin = Instant::now();
    let _ = stream.read(&mut [0]);
    begin.elapsed().as_secs_f64()
}
