//! A client's store: what was synced survives a crash, of the rest the first few changes. The application's effect of
//! a QoS 2 message is in the same transaction as its identifier.

use crate::oracle::Delivered;
use crate::rng::Rng;
use crate::scene::{Event, Scene};
use mqtt_client::{Key, PacketId};
use std::collections::BTreeMap;

/// The keys of received messages begin here.
const RECEIVED: Key = 0x1_0000;

#[derive(Debug)]
enum Change {
    Put { key: Key, record: Vec<u8>, message: Option<usize>, effect: Option<Delivered> },
    Remove(Key),
}

#[derive(Debug)]
struct Record {
    /// Its place among the others.
    order: u64,
    bytes: Vec<u8>,
    /// Which message it is.
    message: Option<usize>,
}

/// The store.
#[derive(Debug, Default)]
pub(super) struct Store {
    records: BTreeMap<Key, Record>,
    pending: Vec<Change>,
    /// How many of the pending changes the sync under way is about.
    syncing: usize,
    /// What the application did, until its identifier comes by.
    effects: BTreeMap<Key, Delivered>,
    order: u64,
}

impl Store {
    pub(super) fn is_at_rest(&self) -> bool {
        self.pending.is_empty() && self.effects.is_empty()
    }

    /// The application took over a QoS 2 message; its identifier follows.
    pub(super) fn expect(&mut self, id: PacketId, delivered: Delivered) {
        self.effects.insert(RECEIVED + Key::from(id.get()), delivered);
    }

    pub(super) fn put(&mut self, key: Key, record: Vec<u8>, message: Option<usize>) {
        let effect = self.effects.remove(&key);
        self.pending.push(Change::Put { key, record, message, effect });
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.pending.push(Change::Remove(key));
    }

    /// Starts to sync, if there is reason to.
    pub(super) fn sync(&mut self, client: usize, life: u32, scene: &mut Scene) {
        if self.syncing == 0 && !self.pending.is_empty() {
            self.syncing = self.pending.len();
            let delay = scene.rng.delay(50);
            scene.after(delay, Event::StoreSynced(client, life));
        }
    }

    /// The sync is over; returns what the application did and is safe now.
    pub(super) fn synced(&mut self) -> Vec<Delivered> {
        let n = std::mem::take(&mut self.syncing);
        self.apply(n)
    }

    /// Some of what was not synced survives; returns what the application did by that.
    pub(super) fn crash(&mut self, rng: &mut Rng) -> Vec<Delivered> {
        let survives = rng.below(self.pending.len() as u64 + 1) as usize;
        let effects = self.apply(survives);
        self.pending.clear();
        self.effects.clear();
        self.syncing = 0;
        effects
    }

    fn apply(&mut self, n: usize) -> Vec<Delivered> {
        let mut effects = Vec::new();
        for change in self.pending.drain(..n) {
            match change {
                Change::Put { key, record, message, effect } => {
                    self.order += 1;
                    let order = self.records.get(&key).map_or(self.order, |known| known.order);
                    self.records.insert(key, Record { order, bytes: record, message });
                    effects.extend(effect);
                }
                Change::Remove(key) => drop(self.records.remove(&key)),
            }
        }
        effects
    }

    /// Everything that is safe, in the order of its publication.
    pub(super) fn records(&self) -> Vec<(Key, &[u8])> {
        let mut records: Vec<_> = self.records.iter().collect();
        records.sort_by_key(|(_, record)| record.order);
        records.into_iter().map(|(key, record)| (*key, &record.bytes[..])).collect()
    }

    /// The messages on their way out that are safe.
    pub(super) fn messages(&self) -> impl Iterator<Item = (PacketId, usize)> {
        self.records
            .iter()
            .filter(|(key, _)| **key < RECEIVED)
            .filter_map(|(key, record)| Some((PacketId::new(u16::try_from(*key).ok()?)?, record.message?)))
    }
}
