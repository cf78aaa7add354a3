//! Publishers at full speed, and subscribers with a session that stays.

use crate::traffic::client::{Client, PUBACK, Packet};
use crate::traffic::publisher::Publisher;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const PAYLOAD: usize = 256;
/// A subscriber acknowledges a message when so many later ones have come: what is stored is removed later, not in the
/// batch that it came with.
pub const BEHIND: usize = 600;
const NAME: &str = "subscriber";

/// How many publish at once, and how much each has on its way.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub connections: u8,
    pub in_flight: usize,
}

/// Publishes at QoS 1 for this time; returns the publishers and how long it really was.
pub fn publish(
    address: &str,
    load: Load,
    time: Duration,
    at_end: impl FnOnce(),
) -> (Vec<Publisher>, Duration) {
    let make = |number| Publisher::new(number, 1).with(load.in_flight, PAYLOAD);
    let mut publishers: Vec<_> = (0..load.connections).map(make).collect();
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for publisher in &mut publishers {
            scope.spawn(|| publisher.publish_until(address, &stop));
        }
        std::thread::sleep(time);
        at_end();
        stop.store(true, Ordering::Relaxed);
    });
    (publishers, begin.elapsed())
}

/// Makes the session, and leaves it.
pub fn subscribe(address: &str) -> Client {
    let mut client = Client::connect(address, NAME).unwrap();
    client.subscribe("k/#", 1, 1);
    client.await_granted(1).unwrap();
    client
}

/// Receives until the connection ends; what it has not acknowledged then stays.
pub fn receive_behind(address: &str, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let mut client = subscribe(address);
    client.wait_at_most(Duration::from_millis(200));
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut behind = VecDeque::new();
        while !stop.load(Ordering::Relaxed) {
            let Ok(packet) = client.next() else {
                continue;
            };
            if let Packet::Publish { qos: 1, id, .. } = packet {
                behind.push_back(id);
            }
            while behind.len() > BEHIND {
                client.ack(PUBACK, behind.pop_front().unwrap_or_default());
            }
            if !client.has_packet() && client.flush().is_err() {
                return;
            }
        }
    })
}

/// Everything that comes to the session, by topic, until nothing came for this time.
pub fn receive_all(address: &str, silence: Duration) -> BTreeMap<String, HashSet<u64>> {
    let mut came: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
    let mut client = Client::connect(address, NAME).unwrap();
    client.wait_at_most(silence);
    if !client.is_present {
        return came;
    }
    while let Ok(packet) = client.next() {
        if let Packet::Publish { qos: 1, id, topic, payload, .. } = packet {
            let message = u64::from_be_bytes(payload[..8].try_into().unwrap());
            came.entry(topic).or_default().insert(message);
            client.ack(PUBACK, id);
        }
        if !client.has_packet() && client.flush().is_err() {
            break;
        }
    }
    came
}

/// How many were acknowledged and did not come.
pub fn lost(publishers: &[Publisher], came: &BTreeMap<String, HashSet<u64>>) -> usize {
    let nothing = HashSet::new();
    let lost = (0..).zip(publishers).map(|(number, publisher)| {
        let came = came.get(&format!("k/{number}")).unwrap_or(&nothing);
        publisher.acknowledged_messages().filter(|message| !came.contains(message)).count()
    });
    lost.sum()
}
