//! Everything that is stored, table by table, each record to the shard where it is at home. Of queues only the beginning
//! is read with its messages; what is behind it is counted.

use super::fjall::Fjall;
use super::record::{self, Kind};
use super::{Restored, StoreError, WINDOW_BYTES};
use crate::core::{Change, MessageNumber, SessionNumber, ShardId, home};
use fjall::Snapshot;
use std::collections::HashMap;

/// How much is given back at once.
const CHUNK: usize = 512;

/// Receives a piece.
type Give<'a> = &'a mut dyn FnMut(ShardId, Restored<'_>);

pub(super) struct Restoring<'a> {
    store: &'a Fjall,
    snapshot: Snapshot,
    shards: u16,
    window: usize,
    /// Where each session and group is at home, and whether it has a window.
    homes: HashMap<SessionNumber, (ShardId, bool)>,
    /// The last message that each session has in flight: its window reaches at least up to there.
    in_flight: HashMap<SessionNumber, u64>,
    chunks: Vec<Vec<Change>>,
}

/// The queue that is being read.
#[derive(Default)]
struct Queue {
    owner: Option<SessionNumber>,
    given: usize,
    bytes: usize,
    last: u64,
    rest: Vec<MessageNumber>,
}

impl<'a> Restoring<'a> {
    pub(super) fn new(store: &'a Fjall, shards: u16, window: usize) -> Self {
        Self {
            store,
            snapshot: store.now(),
            shards,
            window,
            homes: HashMap::new(),
            in_flight: HashMap::new(),
            chunks: vec![Vec::new(); usize::from(shards.max(1))],
        }
    }

    pub(super) fn run(mut self, give: Give<'_>) -> Result<(), StoreError> {
        for kind in [Kind::Session, Kind::Group, Kind::Subscription] {
            self.table(kind, give)?;
        }
        for entry in self.store.records(&self.snapshot, Kind::InFlight) {
            let (key, value) = entry?;
            if let Change::InFlight { session, sequence, .. } = record::change(Kind::InFlight, &key, &value)?
            {
                let last = self.in_flight.entry(session).or_default();
                *last = sequence.max(*last);
            }
        }
        self.queues(give)?;
        for kind in [Kind::InFlight, Kind::Received, Kind::Retained] {
            self.table(kind, give)?;
        }
        Ok(())
    }

    fn table(&mut self, kind: Kind, give: Give<'_>) -> Result<(), StoreError> {
        let store = self.store;
        for entry in store.records(&self.snapshot.clone(), kind) {
            let (key, value) = entry?;
            let change = record::change(kind, &key, &value)?;
            if let Some(shard) = self.home_of(&change) {
                self.add(shard, [change], give);
            }
        }
        // One kind is complete before the next begins.
        self.flush(give);
        Ok(())
    }

    fn home_of(&mut self, change: &Change) -> Option<ShardId> {
        match change {
            Change::Session(number, record) => {
                let shard = home(record.client.client_id.as_bytes(), self.shards);
                self.homes.insert(*number, (shard, true));
                Some(shard)
            }
            Change::Group(number, name) => {
                let shard = home(name.as_bytes(), self.shards);
                self.homes.insert(*number, (shard, false));
                Some(shard)
            }
            Change::Subscription(owner, ..)
            | Change::InFlight { session: owner, .. }
            | Change::Received(owner, _) => self.homes.get(owner).map(|(shard, _)| *shard),
            Change::Retained(message) => Some(home(message.topic(), self.shards)),
            _ => None,
        }
    }

    fn queues(&mut self, give: Give<'_>) -> Result<(), StoreError> {
        let store = self.store;
        let mut queue = Queue::default();
        for entry in store.records(&self.snapshot.clone(), Kind::Queue) {
            let (key, value) = entry?;
            let (session, sequence, message, is_in_flight) = record::peek(&key, &value)?;
            if queue.owner != Some(session) {
                self.end(&mut queue, give);
                queue.owner = Some(session);
            }
            let Some(&(shard, has_window)) = self.homes.get(&session) else {
                continue;
            };
            let is_first =
                !has_window || queue.given < self.window && queue.bytes < WINDOW_BYTES || is_in_flight;
            let is_away = message.shard() != shard;
            if is_first || is_away || self.in_flight.get(&session).is_some_and(|last| sequence <= *last) {
                queue.given = queue.given.saturating_add(1);
                let (change, with, in_flight) = record::place_of(&key, &value)?;
                if let Some(message) = store.message_of(&self.snapshot, &change, with)? {
                    queue.bytes = queue.bytes.saturating_add(record::size(&message));
                    self.add(shard, [message, change].into_iter().chain(in_flight), give);
                }
            } else {
                queue.last = sequence;
                queue.rest.push(message);
                if queue.rest.len() >= CHUNK {
                    self.give_rest(&mut queue, give);
                }
            }
        }
        self.end(&mut queue, give);
        Ok(())
    }

    fn end(&mut self, queue: &mut Queue, give: Give<'_>) {
        self.give_rest(queue, give);
        self.flush(give);
        *queue = Queue::default();
    }

    fn give_rest(&mut self, queue: &mut Queue, give: Give<'_>) {
        // What is in memory comes first.
        self.flush(give);
        if let Some(session) = queue.owner
            && let Some((shard, _)) = self.homes.get(&session)
            && !queue.rest.is_empty()
        {
            give(*shard, Restored::Rest(session, queue.last, &queue.rest));
        }
        queue.rest.clear();
    }

    /// Adds what is to stay together.
    fn add(&mut self, shard: ShardId, changes: impl IntoIterator<Item = Change>, give: Give<'_>) {
        let Some(chunk) = self.chunks.get_mut(usize::from(shard.0)) else {
            return;
        };
        chunk.extend(changes);
        if chunk.len() >= CHUNK {
            give(shard, Restored::Changes(std::mem::take(chunk)));
        }
    }

    fn flush(&mut self, give: Give<'_>) {
        for (shard, chunk) in (0..).map(ShardId).zip(&mut self.chunks) {
            if !chunk.is_empty() {
                give(shard, Restored::Changes(std::mem::take(chunk)));
            }
        }
    }
}
