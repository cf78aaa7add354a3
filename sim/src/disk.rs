//! A disk that is lost in part at a crash, and the store on it: one committer that takes everything that is complete,
//! writes it as one batch and syncs it.
//!
//! Batches are numbered and checked, so of what was not synced a store finds again those that reached the disk before
//! the first that did not: a torn batch and everything behind it are gone, also if the disk had written it already.
//! The state is compacted as the keys of a table are: what is superseded or removed is not there.

use crate::rng::Rng;
use mqtt_broker_lite::core::{Cause, Change, Part, ShardId, home};
use mqtt_broker_lite::store::{Pending, Written};
use std::collections::{BTreeMap, BTreeSet};

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session(u64),
    Group(u64),
    Subscription(u64, Box<str>),
    Message(u64),
    Queued(u64, u64),
    InFlight(u64, u64),
    Received(u64, u16),
    Retained(Vec<u8>),
}

/// The disk.
///
/// What one cause changes is durable together, and what one shard writes is durable in its order: a cause of which
/// parts are missing holds up what its writers wrote behind it.
#[derive(Debug, Default)]
pub struct Disk {
    table: BTreeMap<Key, Change>,
    pending: Pending,
    /// The batch that is written now.
    writing: Vec<Written>,
    syncing: bool,
}

impl Disk {
    /// A shard wants this to be durable.
    pub fn write(&mut self, cause: Cause, part: Part, writer: u16, changes: Vec<Change>) {
        self.pending.write(ShardId(writer), cause, part, changes);
    }

    /// Whether everything is durable.
    pub fn is_idle(&self) -> bool {
        !self.syncing && self.pending.is_empty()
    }

    /// Starts to sync everything that can be durable now, if there is something and nobody does it: all that is
    /// complete, less what is behind something else.
    pub fn begin(&mut self) -> bool {
        if self.syncing {
            return false;
        }
        self.writing = self.pending.take();
        self.syncing = !self.writing.is_empty();
        self.syncing
    }

    /// The sync is over: these causes are durable, and these shards wrote them.
    pub fn finish(&mut self) -> Vec<(u16, Cause)> {
        self.syncing = false;
        let batch = std::mem::take(&mut self.writing);
        let causes = batch.iter().map(|written| (written.writer.0, written.cause)).collect();
        self.apply(batch);
        causes
    }

    /// The power is cut. A batch that was being written is there or is not; what waited is lost.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.syncing = false;
        self.pending = Pending::default();
        let batch = std::mem::take(&mut self.writing);
        if rng.chance(50) {
            self.apply(batch);
        }
    }

    fn apply(&mut self, batch: Vec<Written>) {
        for change in batch.into_iter().flat_map(|written| written.changes) {
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

    /// What a shard has that is durable, kind by kind in the order of [`Change`].
    pub fn contents(&self, shard: u16, shards: u16) -> impl Iterator<Item = &Change> {
        let is_its_own = move |key: &Key| match key {
            Key::Session(number)
            | Key::Group(number)
            | Key::Subscription(number, _)
            | Key::Message(number)
            | Key::Queued(number, _)
            | Key::InFlight(number, _)
            | Key::Received(number, _) => number >> 48 == u64::from(shard),
            Key::Retained(topic) => home(topic, shards).0 == shard,
        };
        self.table.iter().filter(move |(key, _)| is_its_own(key)).map(|(_, change)| change)
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
