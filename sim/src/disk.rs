//! A disk that is lost in part at a crash, and the store on it: one committer that takes everything that is complete,
//! writes it as one batch and syncs it.
//!
//! Batches are numbered and checked, so of what was not synced a store finds again those that reached the disk before
//! the first that did not: a torn batch and everything behind it are gone, also if the disk had written it already.
//! The state is compacted as the keys of a table are: what is superseded or removed is not there.

use crate::rng::Rng;
use mqtt_broker_lite::core::{Cause, Change, Part};
use std::collections::{BTreeMap, BTreeSet};

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session(u64),
    Subscription(u64, Box<str>),
    Message(u64),
    Queued(u64, u64),
    InFlight(u64, u64),
    Received(u64, u16),
    Retained(Vec<u8>),
    Group(u64),
}

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    table: BTreeMap<Key, Change>,
    /// Causes of which parts are missing.
    incomplete: BTreeMap<Cause, BTreeMap<u16, Vec<Change>>>,
    /// Causes that are complete and not in a batch yet, in their order.
    ready: Vec<(Cause, Vec<Change>)>,
    /// The batch that is written now.
    writing: Vec<(Cause, Vec<Change>)>,
    syncing: bool,
}

impl Disk {
    /// A shard wants this to be durable.
    pub fn write(&mut self, cause: Cause, part: Part, changes: Vec<Change>) {
        let parts = self.incomplete.entry(cause).or_default();
        parts.insert(part.index, changes);
        if parts.len() == usize::from(part.of) {
            let parts = self.incomplete.remove(&cause).unwrap_or_default();
            self.ready.push((cause, parts.into_values().flatten().collect()));
        }
    }

    /// Whether there is something to sync and nobody does it.
    pub fn wants_sync(&self) -> bool {
        !self.syncing && !self.ready.is_empty()
    }

    /// Whether everything is durable.
    pub fn is_idle(&self) -> bool {
        !self.syncing && self.ready.is_empty() && self.incomplete.is_empty()
    }

    /// Starts to sync everything that is complete.
    pub fn begin(&mut self) {
        self.syncing = true;
        self.writing = std::mem::take(&mut self.ready);
    }

    /// The sync is over: these causes are durable.
    pub fn finish(&mut self) -> Vec<Cause> {
        self.syncing = false;
        let batch = std::mem::take(&mut self.writing);
        let causes = batch.iter().map(|(cause, _)| *cause).collect();
        self.apply(batch);
        causes
    }

    /// The power is cut. A batch that was being written is there or is not; what waited is lost.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.syncing = false;
        self.incomplete.clear();
        let batch = std::mem::take(&mut self.writing);
        if rng.chance(50) {
            self.apply(batch);
        }
        // The next batch may have been on its way, too.
        self.ready.clear();
    }

    fn apply(&mut self, batch: Vec<(Cause, Vec<Change>)>) {
        for change in batch.into_iter().flat_map(|(_, changes)| changes) {
            self.change(change);
        }
    }

    fn change(&mut self, change: Change) {
        let key = match &change {
            Change::Session(session, _) => Key::Session(session.0),
            Change::Subscription(session, filter, _) => Key::Subscription(session.0, filter.clone()),
            Change::Message(message, _) => Key::Message(message.0),
            Change::Queued { session, sequence, .. } => Key::Queued(session.0, *sequence),
            Change::InFlight { session, serial, .. } => Key::InFlight(session.0, *serial),
            Change::Received(session, id) => Key::Received(session.0, id.get()),
            Change::Retained(message) => Key::Retained(message.topic.to_vec()),
            Change::Group(session, _) => Key::Group(session.0),
            Change::GroupGone(session) => return self.remove(&Key::Group(session.0)),
            Change::SessionGone(session) => return self.remove_session(session.0),
            Change::SubscriptionGone(session, filter) => {
                return self.remove(&Key::Subscription(session.0, filter.clone()));
            }
            Change::MessageGone(message) => return self.remove(&Key::Message(message.0)),
            Change::QueuedGone(session, sequence) => return self.remove(&Key::Queued(session.0, *sequence)),
            Change::InFlightGone(session, serial) => return self.remove(&Key::InFlight(session.0, *serial)),
            Change::ReceivedGone(session, id) => return self.remove(&Key::Received(session.0, id.get())),
            Change::RetainedGone(topic) => return self.remove(&Key::Retained(topic.as_bytes().to_vec())),
        };
        self.table.insert(key, change);
    }

    fn remove(&mut self, key: &Key) {
        self.table.remove(key);
    }

    /// A session ends with everything under its number.
    fn remove_session(&mut self, number: u64) {
        self.table.retain(|key, _| match key {
            Key::Session(session)
            | Key::Group(session)
            | Key::Subscription(session, _)
            | Key::Queued(session, _)
            | Key::InFlight(session, _)
            | Key::Received(session, _) => *session != number,
            Key::Message(_) | Key::Retained(_) => true,
        });
    }

    /// Everything that is durable, kind by kind in the order of [`Change`].
    pub fn contents(&self) -> impl Iterator<Item = &Change> {
        self.table.values()
    }

    /// What should not be there when everything was delivered: messages that nobody waits for, exchanges that are
    /// over, identifiers that nobody remembers.
    pub fn remains(&self) -> Vec<String> {
        let wanted: BTreeSet<_> = self
            .table
            .values()
            .filter_map(|change| match change {
                Change::Queued { message, .. } => Some(message.0),
                _ => None,
            })
            .collect();
        let sessions: BTreeSet<_> = self
            .table
            .keys()
            .filter_map(|key| match key {
                Key::Session(number) => Some(*number),
                _ => None,
            })
            .collect();
        self.table
            .keys()
            .filter(|key| match key {
                Key::Message(number) => !wanted.contains(number),
                Key::Queued(session, _) | Key::Subscription(session, _) => !sessions.contains(session),
                Key::InFlight(..) | Key::Received(..) => true,
                Key::Session(_) | Key::Group(_) | Key::Retained(_) => false,
            })
            .map(|key| format!("{key:?}"))
            .collect()
    }
}
