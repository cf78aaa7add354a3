//! A store in memory: forgets with the process, and is what the simulated disk is made of.

use super::{Restored, Store, StoreError, Written};
use crate::core::{Change, MessageNumber, SessionNumber, ShardId, home};
use mqtt_packet::PacketId;
use std::collections::{BTreeMap, BTreeSet};

/// What is left of all changes, each under its key.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    sessions: BTreeMap<SessionNumber, Change>,
    groups: BTreeMap<SessionNumber, Change>,
    subscriptions: BTreeMap<(SessionNumber, Box<str>), Change>,
    messages: BTreeMap<MessageNumber, Change>,
    queued: BTreeMap<(SessionNumber, u64), Change>,
    in_flight: BTreeMap<(SessionNumber, u64), Change>,
    received: BTreeMap<(SessionNumber, PacketId), Change>,
    retained: BTreeMap<Vec<u8>, Change>,
}

impl Memory {
    /// Makes one change.
    pub fn apply(&mut self, change: Change) {
        match &change {
            Change::Session(number, _) => {
                self.sessions.insert(*number, change);
            }
            Change::Group(number, _) => {
                self.groups.insert(*number, change);
            }
            Change::SessionGone(number) | Change::GroupGone(number) => self.forget(*number),
            Change::Subscription(number, filter, _) => {
                self.subscriptions.insert((*number, filter.clone()), change);
            }
            Change::SubscriptionGone(number, filter) => {
                self.subscriptions.remove(&(*number, filter.clone()));
            }
            Change::Message(number, _) => {
                self.messages.insert(*number, change);
            }
            Change::MessageGone(number) => {
                self.messages.remove(number);
            }
            Change::Queued { session, sequence, .. } => {
                self.queued.insert((*session, *sequence), change);
            }
            Change::QueuedGone(session, sequence) => {
                self.queued.remove(&(*session, *sequence));
            }
            Change::InFlight { session, serial, .. } => {
                self.in_flight.insert((*session, *serial), change);
            }
            Change::InFlightGone(session, serial) => {
                self.in_flight.remove(&(*session, *serial));
            }
            Change::Received(session, id) => {
                self.received.insert((*session, *id), change);
            }
            Change::ReceivedGone(session, id) => {
                self.received.remove(&(*session, *id));
            }
            Change::Retained(message) => {
                self.retained.insert(message.topic().to_vec(), change);
            }
            Change::RetainedGone(topic) => {
                self.retained.remove(topic.as_bytes());
            }
        }
    }

    /// A session ends with everything under its number.
    fn forget(&mut self, session: SessionNumber) {
        self.sessions.remove(&session);
        self.groups.remove(&session);
        self.subscriptions.retain(|(of, _), _| *of != session);
        self.queued.retain(|(of, _), _| *of != session);
        self.in_flight.retain(|(of, _), _| *of != session);
        self.received.retain(|(of, _), _| *of != session);
    }

    /// What is left for one of so many shards, in the order in which it wants it back. How many there were before does
    /// not matter.
    pub fn stored_at(&self, shard: ShardId, shards: u16) -> impl Iterator<Item = Change> {
        let is_here = move |name: &[u8]| home(name, shards) == shard;
        let sessions = self.sessions.values().filter_map(move |change| match change {
            Change::Session(number, record) => is_here(record.client.client_id.as_bytes()).then_some(*number),
            _ => None,
        });
        let groups = self.groups.values().filter_map(move |change| match change {
            Change::Group(number, name) => is_here(name.as_bytes()).then_some(*number),
            _ => None,
        });
        let owners: BTreeSet<_> = sessions.chain(groups).collect();
        self.stored().filter(move |change| match change {
            Change::Session(owner, _)
            | Change::Group(owner, _)
            | Change::Subscription(owner, ..)
            | Change::Queued { session: owner, .. }
            | Change::InFlight { session: owner, .. }
            | Change::Received(owner, _) => owners.contains(owner),
            Change::Retained(message) => is_here(message.topic()),
            _ => true,
        })
    }

    /// What is left, in the order in which a shard wants it back.
    pub fn stored(&self) -> impl Iterator<Item = Change> {
        let sessions = self.sessions.values();
        sessions
            .chain(self.groups.values())
            .chain(self.subscriptions.values())
            .chain(self.messages.values())
            .chain(self.queued.values())
            .chain(self.in_flight.values())
            .chain(self.received.values())
            .chain(self.retained.values())
            .cloned()
    }
}

impl Store for Memory {
    fn commit(&mut self, batch: &[Written]) -> Result<(), StoreError> {
        for change in batch.iter().flat_map(|written| &written.changes) {
            self.apply(change.clone());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn last_number(&mut self) -> Result<u64, StoreError> {
        let sessions = self.sessions.keys().chain(self.groups.keys()).map(|number| number.0);
        let numbers = sessions.chain(self.messages.keys().map(|number| number.0));
        Ok(numbers.map(|number| MessageNumber(number).count()).max().unwrap_or(0))
    }

    fn restore(
        &mut self,
        shards: u16,
        _: usize,
        give: &mut dyn FnMut(ShardId, Restored<'_>),
    ) -> Result<(), StoreError> {
        for shard in (0..shards).map(ShardId) {
            give(shard, Restored::Changes(self.stored_at(shard, shards).collect()));
        }
        Ok(())
    }

    fn read_queue(
        &self,
        session: SessionNumber,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let behind = (session, after.saturating_add(1))..=(session, u64::MAX);
        let mut found = Vec::new();
        for change in self.queued.range(behind).map(|(_, change)| change).take(limit) {
            if let Change::Queued { message, .. } = change {
                found.extend(self.messages.get(message).cloned());
            }
            found.push(change.clone());
        }
        Ok(found)
    }

    fn tidy(&mut self, _: u16) -> Result<(), StoreError> {
        let wanted: BTreeSet<_> = self
            .queued
            .values()
            .filter_map(|change| match change {
                Change::Queued { message, .. } => Some(*message),
                _ => None,
            })
            .collect();
        self.messages.retain(|number, _| wanted.contains(number));
        Ok(())
    }

    fn has_room(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
