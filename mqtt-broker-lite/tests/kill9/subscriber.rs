//! Receives everything at QoS 2: at QoS 1 published once or more often, at QoS 2 exactly once.

use crate::broker::Broker;
use crate::traffic::client::{Client, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet};
use crate::traffic::publisher::Publisher;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Subscriber {
    name: &'static str,
    /// What came of each publisher: everything below a number, and these beyond it.
    came: BTreeMap<String, (u64, BTreeSet<u64>)>,
    /// QoS 2 identifiers that came and were not released.
    known: BTreeSet<u16>,
    pub repeats: u64,
}

impl Subscriber {
    pub fn new(name: &'static str) -> Self {
        Self { name, came: BTreeMap::new(), known: BTreeSet::new(), repeats: 0 }
    }

    pub fn subscribe(&self, broker: &Broker) {
        let mut client = Client::connect(&broker.address, self.name).unwrap();
        client.subscribe("k/#", 2, 1);
        client.await_granted(1).unwrap();
    }

    fn connect(&self, address: &str) -> io::Result<Client> {
        let client = Client::connect(address, self.name)?;
        assert!(client.is_present, "the session of the {} subscriber is lost", self.name);
        Ok(client)
    }

    pub fn receive_until(&mut self, address: &str, stop: &AtomicBool) {
        let Ok(mut client) = self.connect(address) else {
            return;
        };
        // The connection ends with the broker.
        while !stop.load(Ordering::Relaxed) && self.receive(&mut client).is_ok() {}
    }

    fn receive(&mut self, client: &mut Client) -> io::Result<()> {
        loop {
            match client.next()? {
                Packet::Publish { qos: 1, id, topic, payload, .. } => {
                    self.note(&topic, &payload, 1);
                    client.ack(PUBACK, id);
                }
                Packet::Publish { qos: 2, id, topic, payload, .. } => {
                    if self.known.insert(id) {
                        self.note(&topic, &payload, 2);
                    }
                    client.ack(PUBREC, id);
                }
                Packet::Ack(PUBREL, id) => {
                    self.known.remove(&id);
                    client.ack(PUBCOMP, id);
                }
                _ => {}
            }
            if !client.has_packet() {
                return client.flush();
            }
        }
    }

    fn note(&mut self, topic: &str, payload: &[u8], qos: u8) {
        let message = u64::from_be_bytes(payload[..8].try_into().unwrap());
        let (below, beyond) = self.came.entry(topic.to_owned()).or_default();
        if message < *below || !beyond.insert(message) {
            assert_eq!(qos, 1, "message {message} of {topic} came twice to the {} subscriber", self.name);
            self.repeats += 1;
        }
        while beyond.remove(below) {
            *below += 1;
        }
    }

    /// Everything is acknowledged, so everything must come.
    pub fn receive_all(&mut self, address: &str, publishers: &[Publisher]) {
        let mut client = self.connect(address).unwrap();
        loop {
            let missing: Vec<_> = (0..)
                .zip(publishers)
                .filter_map(|(number, publisher)| {
                    let topic = format!("k/{number}");
                    let below = self.came.get(&topic).map_or(0, |came| came.0);
                    (below < publisher.published()).then_some((topic, below, publisher.published()))
                })
                .collect();
            if missing.is_empty() && self.known.is_empty() {
                break;
            }
            if let Err(error) = self.receive(&mut client) {
                panic!("{} subscriber: {error}; from here to there did not come: {missing:?}", self.name);
            }
        }
    }
}
