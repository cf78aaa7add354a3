//! Retained messages and subscriptions that change all the time.

use crate::traffic::client::{Client, PUBACK, Packet};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Retained messages: of each topic the version that was acknowledged last and the one that was sent last.
#[derive(Default)]
pub struct Retained {
    versions: BTreeMap<u64, (u64, u64)>,
    next: u64,
    pub acknowledged: u64,
}

const TOPICS: u64 = 16;

impl Retained {
    pub fn change_until(&mut self, address: &str, stop: &AtomicBool) {
        let _ = self.change(address, stop);
    }

    fn change(&mut self, address: &str, stop: &AtomicBool) -> io::Result<()> {
        let mut client = Client::connect(address, "retainer")?;
        while !stop.load(Ordering::Relaxed) {
            self.next += 1;
            let (topic, version) = (self.next % TOPICS, self.next);
            self.versions.entry(topic).or_default().1 = version;
            client.publish(&format!("r/{topic}"), version.to_string().as_bytes(), 1, 1, false, true);
            client.flush()?;
            while !matches!(client.next()?, Packet::Ack(PUBACK, 1)) {}
            self.versions.entry(topic).or_default().0 = version;
            self.acknowledged += 1;
        }
        Ok(())
    }

    pub fn check(&mut self, address: &str) {
        let mut client = Client::connect(address, "retained-reader").unwrap();
        client.subscribe("r/+", 0, 1);
        let mut came = BTreeMap::new();
        let mut packets = client.await_granted(1).unwrap();
        client.ping();
        client.flush().unwrap();
        client.wait_at_most(Duration::from_secs(10));
        let acknowledged = self.versions.iter().filter(|(_, (acknowledged, _))| *acknowledged > 0);
        let wanted: Vec<_> = acknowledged.map(|(topic, _)| format!("r/{topic}")).collect();
        loop {
            for packet in packets.drain(..) {
                if let Packet::Publish { topic, payload, retain: true, .. } = packet {
                    let version: u64 = String::from_utf8(payload).unwrap().parse().unwrap();
                    came.insert(topic, version);
                }
            }
            if wanted.iter().all(|topic| came.contains_key(topic)) {
                break;
            }
            packets
                .push(client.next().unwrap_or_else(|error| panic!("{error}: of {wanted:?} came {came:?}")));
        }
        for (topic, (acknowledged, sent)) in &mut self.versions {
            let found = came.get(&format!("r/{topic}")).copied().unwrap_or(0);
            assert!(
                (*acknowledged..=*sent).contains(&found),
                "r/{topic} has version {found}, acknowledged was {acknowledged}, sent was {sent}"
            );
            // From now on nothing older may come.
            *acknowledged = found;
        }
        client.unsubscribe("r/+", 2);
        client.await_granted(2).unwrap();
    }
}

/// Subscriptions of one session: whether each is there, if that is known.
#[derive(Default)]
pub struct Filters {
    there: BTreeMap<u16, Option<bool>>,
    next: u16,
    pub acknowledged: u64,
}

const FILTERS: u16 = 12;

impl Filters {
    pub fn change_until(&mut self, address: &str, stop: &AtomicBool) {
        let _ = self.change(address, stop);
    }

    fn change(&mut self, address: &str, stop: &AtomicBool) -> io::Result<()> {
        let mut client = Client::connect(address, "changer")?;
        assert!(client.is_present || self.acknowledged == 0, "the session with the subscriptions is lost");
        while !stop.load(Ordering::Relaxed) {
            self.next = self.next.wrapping_add(5);
            let filter = self.next % FILTERS;
            let wanted = self.there.get(&filter).copied().flatten() != Some(true);
            self.there.insert(filter, None);
            let name = format!("s/{filter}");
            if wanted {
                client.subscribe(&name, 1, 7);
            } else {
                client.unsubscribe(&name, 7);
            }
            client.await_granted(7)?;
            self.there.insert(filter, Some(wanted));
            self.acknowledged += 1;
        }
        Ok(())
    }

    /// One message to each; those come whose subscription is there.
    pub fn check(&mut self, address: &str) {
        let mut client = Client::connect(address, "changer").unwrap();
        let mut probe = Client::connect(address, "prober").unwrap();
        for filter in 0..FILTERS {
            probe.publish(&format!("s/{filter}"), b"probe", 1, filter + 1, false, false);
        }
        probe.flush().unwrap();
        for _ in 0..FILTERS {
            while !matches!(probe.next().unwrap(), Packet::Ack(PUBACK, _)) {}
        }
        // Everything is on its way to the session; this comes behind it.
        client.subscribe("s/end", 1, 9);
        let mut packets = client.await_granted(9).unwrap();
        probe.publish("s/end", b"end", 1, 1, false, false);
        probe.flush().unwrap();
        let mut came = BTreeMap::new();
        while !came.contains_key("s/end") {
            packets.push(client.next().expect("the last probe"));
            for packet in packets.drain(..) {
                if let Packet::Publish { id, topic, .. } = packet {
                    client.ack(PUBACK, id);
                    came.insert(topic, ());
                }
            }
        }
        client.flush().unwrap();
        for filter in 0..FILTERS {
            let found = came.contains_key(&format!("s/{filter}"));
            let known = self.there.get(&filter).copied().unwrap_or(Some(false));
            assert!(known.is_none_or(|known| known == found), "s/{filter}: {known:?}, found {found}");
            self.there.insert(filter, Some(found));
        }
    }
}
