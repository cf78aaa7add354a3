//! What durability costs: `scripts/durability [rates|brokers|start|memory]`, all of them if none is named.
//!
//! - `rates`: messages of QoS 1 that are on the disk before they are acknowledged, beside the raw disk, the bare database
//!   and the prototype of the log that write the same. Numbers: so many in flight, instead of 1, 64 and 512.
//! - `brokers`: the same publishers at other brokers; each is killed at the end, and what was acknowledged is counted.
//! - `start`: the start with a million messages. `memory`: with ten million.
//!
//! As `cargo bench -- --test` everything is tried once, with little.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod bare;
mod big;
mod load;
mod server;
#[path = "../../tests/traffic/mod.rs"]
mod traffic;

use bare::Outcome;
use load::Load;
use server::{Kind, Server, batches, directory};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use traffic::publisher::Publisher;

/// How much is done.
#[derive(Clone, Copy)]
struct Effort {
    time: Duration,
    rounds: usize,
    /// Messages of `start` and of `memory`.
    messages: [u64; 2],
}

const WHOLE: Effort = Effort { time: Duration::from_secs(4), rounds: 3, messages: [1_000_000, 10_000_000] };
const TRIED: Effort = Effort { time: Duration::from_millis(100), rounds: 1, messages: [2000, 2000] };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let effort = if arguments.iter().any(|argument| argument == "--test") { TRIED } else { WHOLE };
    let named = |name| arguments.iter().any(|argument| argument == name);
    let all = !["rates", "brokers", "start", "memory"].into_iter().any(named);
    if all || named("rates") {
        let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
        rates(effort, if numbers.is_empty() { &[1, 64, 512] } else { &numbers });
    }
    if all || named("brokers") {
        brokers(effort);
    }
    if all || named("start") {
        big::start(effort.messages[0]);
    }
    if all || named("memory") {
        big::memory(effort.messages[1]);
    }
}

/// What one round gives: how many messages a batch had, and what ours, the raw disk, the database and the log do.
type Round = (f64, [Outcome; 4]);

fn rates(effort: Effort, numbers: &[usize]) {
    println!(
        "QoS 1, payload of {} bytes, one publisher; removed {} messages later",
        load::PAYLOAD,
        load::BEHIND
    );
    println!(
        "{:>9} {:>7} {:>8} | {:>8} {:>6} | {:>8} {:>6} | {:>8} {:>8} | {:>6} {:>6} {:>5} | {:>7} {:>7}",
        "in flight",
        "a batch",
        "ours/s",
        "raw/s",
        "ours",
        "fjall/s",
        "ours",
        "log/s",
        "fjall",
        "us",
        "fjall",
        "times",
        "written",
        "fjall"
    );
    for &in_flight in numbers {
        let mut rounds: Vec<Round> = (0..effort.rounds).map(|_| one_round(in_flight, effort.time)).collect();
        rounds.sort_by(|(_, [one, ..]), (_, [other, ..])| one.rate.total_cmp(&other.rate));
        let (batch, [ours, raw, fjall, log]) = rounds[rounds.len() / 2];
        println!(
            "{in_flight:>9} {batch:>7.1} {:>8.0} | {:>8.0} {:>5.0}% | {:>8.0} {:>5.0}% | {:>8.0} {:>7.0}% | {:>6.1} {:>6.1} {:>5.2} | {:>7.2} {:>7.2}",
            ours.rate,
            raw.rate,
            100.0 * ours.rate / raw.rate,
            fjall.rate,
            100.0 * ours.rate / fjall.rate,
            log.rate,
            100.0 * fjall.rate / log.rate,
            ours.cpu,
            fjall.cpu,
            ours.cpu / fjall.cpu,
            ours.written,
            fjall.written
        );
    }
}

fn one_round(in_flight: usize, time: Duration) -> Round {
    let directory = directory("ours");
    let server = Server::ours(&directory, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let subscriber = load::receive_behind(&server.address, &stop);
    let before = server.usage();
    let load = Load { connections: 1, in_flight };
    let (publishers, took) = load::publish(&server.address, load, time, || {});
    let usage = server.usage().since(before);
    stop.store(true, Ordering::Relaxed);
    subscriber.join().unwrap();
    server.stop();
    let messages = acknowledged(&publishers);
    let batch = messages as f64 / batches(&directory) as f64;
    let ours = Outcome::new(messages, took, usage);
    let whole = (batch.round() as u64).max(1);
    (batch, [ours, bare::raw(whole, time / 2), bare::database(whole, time), bare::log(whole, time / 2)])
}

fn acknowledged(publishers: &[Publisher]) -> u64 {
    publishers.iter().map(Publisher::acknowledged).sum()
}

fn brokers(effort: Effort) {
    let load = Load { connections: 10, in_flight: 64 };
    println!(
        "QoS 1, payload of {} bytes, {} publishers with {} on the way each, for an absent session; then SIGKILL",
        load::PAYLOAD,
        load.connections,
        load.in_flight
    );
    println!("{:<38} {:>10} {:>12} {:>10}", "", "messages/s", "acknowledged", "lost");
    for kind in Kind::ALL {
        let mut results = Vec::new();
        for _ in 0..effort.rounds {
            results.extend(one_broker(kind, load, effort.time));
        }
        results.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
        match results.get(results.len() / 2) {
            Some((rate, ..)) => {
                let all: u64 = results.iter().map(|(_, all, _)| all).sum();
                let lost: usize = results.iter().map(|(.., lost)| lost).sum();
                println!("{:<38} {rate:>10.0} {all:>12} {lost:>10}", kind.name());
            }
            None => println!("{:<38} is not here", kind.name()),
        }
    }
}

/// Messages a second, how many were acknowledged, how many of them were lost.
fn one_broker(kind: Kind, load: Load, time: Duration) -> Option<(f64, u64, usize)> {
    let directory = directory("broker");
    let server = Server::start(kind, &directory)?;
    drop(load::subscribe(&server.address));
    let address = server.address.clone();
    let (publishers, took) = load::publish(&address, load, time, || server.kill());
    let all = acknowledged(&publishers);
    let server = Server::start(kind, &directory)?;
    let came = load::receive_all(&server.address, Duration::from_secs(5));
    Some((all as f64 / took.as_secs_f64(), all, load::lost(&publishers, &came)))
}
