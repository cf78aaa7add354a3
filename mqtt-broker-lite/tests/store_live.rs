//! A broker on a real store: long queues that are read back, and copies that are made while it works.

#![cfg(feature = "persistence")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod made;
mod traffic;

use made::Directory;
use mqtt_broker_lite::store::{Limits, SyncMode, dump};
use mqtt_broker_lite::{Broker, StoreError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use traffic::client::{Client, PUBACK, Packet};
use traffic::publisher::Publisher;

fn start(directory: &Path, workers: u16) -> (Broker, String) {
    let builder = Broker::builder().listen("mqtt://127.0.0.1:0").data(directory, SyncMode::Always);
    let broker = builder.workers(workers.try_into().unwrap()).start().unwrap();
    let address = broker.addresses()[0].to_string();
    (broker, address)
}

fn subscribe(address: &str) {
    let mut client = Client::connect(address, "away").unwrap();
    client.subscribe("k/#", 1, 1);
    client.await_granted(1).unwrap();
}

/// Receives so many messages; their numbers.
fn receive(address: &str, count: usize) -> Vec<u64> {
    let mut client = Client::connect(address, "away").unwrap();
    assert!(client.is_present);
    let mut came = Vec::new();
    while came.len() < count {
        if let Packet::Publish { id, payload, .. } = client.next().unwrap() {
            came.push(u64::from_be_bytes(payload[..8].try_into().unwrap()));
            client.ack(PUBACK, id);
        }
        if !client.has_packet() || came.len() == count {
            client.flush().unwrap();
        }
    }
    // What was acknowledged is taken when this is answered.
    client.ping();
    client.flush().unwrap();
    client.wait_at_most(Duration::from_secs(10));
    assert!(matches!(client.next().unwrap(), Packet::Other), "more came than was published");
    came
}

/// Ends what goes on beside a test, however that ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn stored(directory: &Path, kind: &str) -> usize {
    let mut out = Vec::new();
    dump(directory, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count()
}

/// More than the window of a thousand: the rest is on the disk only, before a restart and after it, and with another
/// count of workers.
#[test]
fn a_long_queue_is_read_back_in_order() {
    const MESSAGES: u64 = 4500;
    let directory = Directory::new();
    let (mut broker, mut address) = start(&directory.0, 2);
    subscribe(&address);
    let mut publisher = Publisher::new(0, 1).with(100, 100);
    publisher.publish_so_many(&address, MESSAGES);
    let mut came = receive_and_restart(&mut broker, &mut address, &directory.0, 500, 2);
    came.extend(receive_and_restart(&mut broker, &mut address, &directory.0, 1500, 1));
    came.extend(receive(&address, 2500));
    assert!(came.into_iter().eq(0..MESSAGES), "not all, not once, or not in order");
    broker.shutdown();
    assert_eq!([stored(&directory.0, "message"), stored(&directory.0, "queued")], [0, 0]);
}

/// Takes a part of the queue, all of it acknowledged, and starts the broker again.
fn receive_and_restart(
    broker: &mut Broker,
    address: &mut String,
    directory: &Path,
    count: usize,
    workers: u16,
) -> Vec<u64> {
    let mut client = Client::connect(address, "away").unwrap();
    let mut came = Vec::new();
    while came.len() < count {
        if let Packet::Publish { id, payload, .. } = client.next().unwrap() {
            came.push(u64::from_be_bytes(payload[..8].try_into().unwrap()));
            client.ack(PUBACK, id);
            client.flush().unwrap();
        }
    }
    // Acknowledgements are read before this is answered.
    client.subscribe("other", 1, 5);
    client.await_granted(5).unwrap();
    drop(client);
    // One directory has one broker.
    let (nobody, _) = start_in_memory();
    std::mem::replace(broker, nobody).shutdown();
    (*broker, *address) = start(directory, workers);
    came
}

fn start_in_memory() -> (Broker, String) {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap();
    let address = broker.addresses()[0].to_string();
    (broker, address)
}

#[test]
fn a_copy_is_whole_while_everything_goes_on() {
    let directory = Directory::new();
    let (broker, address) = start(&directory.0.join("data"), 2);
    subscribe(&address);
    let stop = AtomicBool::new(false);
    let mut publisher = Publisher::new(0, 1).with(1, 100);
    let acknowledged = publisher.count();
    std::thread::scope(|scope| {
        scope.spawn(|| publisher.publish_until(&address, &stop));
        let _end = End(&stop);
        for number in 0..3 {
            while acknowledged.load(Ordering::SeqCst) < 100 * (number + 1) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let target = directory.0.join(format!("copy-{number}"));
            let before = acknowledged.load(Ordering::SeqCst);
            broker.backup(&target).unwrap();
            let after = acknowledged.load(Ordering::SeqCst);
            let copied = stored(&target, "message") as u64;
            assert!((before..=after + 1).contains(&copied), "{copied} of {before} to {after}");
            assert_eq!(stored(&target, "queued") as u64, copied);
            let (copy, address) = start(&target, 1);
            assert!(receive(&address, usize::try_from(copied).unwrap()).into_iter().eq(0..copied));
            copy.shutdown();
            assert!(matches!(broker.backup(&target), Err(StoreError::Foreign(_))), "it was written over");
        }
    });
    let all = usize::try_from(publisher.published()).unwrap();
    assert!(receive(&address, all).into_iter().eq(0..publisher.published()));
}

/// A store that may not grow any more refuses, and goes on when what was taken is given back.
#[test]
fn a_largest_size_is_kept() {
    let directory = Directory::new();
    let limits = Limits { max_size: 100 << 20, ..Limits::default() };
    let builder = Broker::builder().listen("mqtt://127.0.0.1:0").data(&directory.0, SyncMode::Always);
    let broker = builder.data_limits(limits).start().unwrap();
    let address = broker.addresses()[0].to_string();
    subscribe(&address);
    // 3.1.1 cannot be told anything: its messages are taken up to the limit, and then nothing is read from it.
    let mut publisher = Publisher::new(0, 1).with(4, 500_000);
    let stop = AtomicBool::new(false);
    let acknowledged = publisher.count();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| publisher.publish_until(&address, &stop));
        let _end = End(&stop);
        let mut last = (0, Instant::now());
        while last.1.elapsed() < Duration::from_secs(3) {
            assert!(begin.elapsed() < Duration::from_secs(60), "there is no end of it");
            let now = acknowledged.load(Ordering::SeqCst);
            if now > last.0 {
                last = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(last.0 * 500_000 > 20 << 20, "only {} were taken", last.0);
        let size = size(&directory.0);
        assert!(size < 200 << 20, "{size} bytes");
        // The connection that is held ends with the broker.
        broker.shutdown();
    });
}

fn size(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut size = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        size += if metadata.is_dir() { self::size(&entry.path()) } else { metadata.blocks() * 512 };
    }
    size
}
