//! What this turn changes of what must survive, under one cause, and which causes are not safe yet.

use super::{Cause, Change, Message, MessageNumber, SessionNumber, ShardId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Journal {
    durable: bool,
    shard: ShardId,
    last_cause: u64,
    last_message: u64,
    /// The cause of this turn, once there is something to write.
    open: Option<Cause>,
    changes: Vec<Change>,
    /// Causes that are not safe yet, each with the sessions that wait for them.
    unsynced: BTreeMap<Cause, Vec<SessionNumber>>,
    /// Those of them that are something else than a write.
    waits: BTreeSet<Cause>,
    /// How many queues refer to each stored message.
    references: References,
}

/// Counts by message number, in pages: numbers that are in use are near each other.
#[derive(Debug, Default)]
struct References(BTreeMap<u64, Box<[u32; PAGE]>>);

const PAGE: usize = 64;

/// The page of a number, and its place there.
const fn place(number: MessageNumber) -> (u64, usize) {
    (number.0 >> PAGE.trailing_zeros(), number.0 as usize & (PAGE - 1))
}

impl References {
    fn count(&mut self, number: MessageNumber) -> Option<&mut u32> {
        let (page, at) = place(number);
        self.0.entry(page).or_insert_with(|| Box::new([0; PAGE])).get_mut(at)
    }

    fn add(&mut self, number: MessageNumber) {
        if let Some(count) = self.count(number) {
            *count = count.saturating_add(1);
        }
    }

    /// One less; true if that was the last.
    fn remove(&mut self, number: MessageNumber) -> bool {
        let (page, at) = place(number);
        let Some(counts) = self.0.get_mut(&page) else {
            return false;
        };
        let Some(count) = counts.get_mut(at).filter(|count| **count > 0) else {
            return false;
        };
        *count = count.saturating_sub(1);
        let is_last = *count == 0;
        if is_last && counts.iter().all(|count| *count == 0) {
            self.0.remove(&page);
        }
        is_last
    }
}

impl Journal {
    pub(super) fn new(durable: bool, shard: ShardId) -> Self {
        Self {
            durable,
            shard,
            last_cause: 0,
            last_message: 0,
            open: None,
            changes: Vec::new(),
            unsynced: BTreeMap::new(),
            waits: BTreeSet::new(),
            references: References::default(),
        }
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Notes a change under the cause of this turn.
    pub(super) fn record(&mut self, change: Change) {
        if !self.durable {
            return;
        }
        if self.open.is_none() {
            self.open = Some(self.begin());
        }
        self.changes.push(change);
    }

    /// Something else to wait for, under a number of its own.
    pub(super) fn begin_wait(&mut self) -> Cause {
        let cause = self.begin();
        self.waits.insert(cause);
        cause
    }

    fn begin(&mut self) -> Cause {
        self.last_cause = self.last_cause.saturating_add(1);
        let cause = Cause { shard: self.shard, number: self.last_cause };
        self.unsynced.insert(cause, Vec::new());
        cause
    }

    /// Begins the cause of this turn, even if this shard has nothing to write for it.
    pub(super) fn open(&mut self) {
        if self.durable && self.open.is_none() {
            self.open = Some(self.begin());
        }
    }

    /// This turn is a part of another shard's cause.
    pub(super) fn adopt(&mut self, cause: Cause) {
        self.unsynced.insert(cause, Vec::new());
        self.open = Some(cause);
    }

    /// The cause of this turn, if anything was written: what promises it waits for that.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.open
    }

    /// Something of a session waits for a cause.
    pub(super) fn watch(&mut self, cause: Cause, session: SessionNumber) {
        if let Some(sessions) = self.unsynced.get_mut(&cause)
            && sessions.last() != Some(&session)
        {
            sessions.push(session);
        }
    }

    /// Everything that was written and is not safe yet, this turn included.
    pub(super) fn unsynced(&self) -> impl Iterator<Item = Cause> {
        self.unsynced.keys().filter(|cause| !self.waits.contains(cause)).copied()
    }

    /// Ends the turn.
    pub(super) fn take(&mut self) -> Option<(Cause, Vec<Change>)> {
        let cause = self.open.take()?;
        Some((cause, std::mem::take(&mut self.changes)))
    }

    pub(super) fn is_synced(&self, cause: Cause) -> bool {
        !self.unsynced.contains_key(&cause)
    }

    /// A cause is safe; returns the sessions that may wait for it.
    pub(super) fn synced(&mut self, cause: Cause) -> Vec<SessionNumber> {
        self.waits.remove(&cause);
        self.unsynced.remove(&cause).unwrap_or_default()
    }

    /// Stores a message, once, and counts one more reference to it.
    pub(super) fn refer(
        &mut self,
        number: &mut Option<MessageNumber>,
        message: &Arc<Message>,
    ) -> MessageNumber {
        let stored = match *number {
            Some(stored) => stored,
            None => self.store(MessageNumber::shared, message),
        };
        *number = Some(stored);
        self.references.add(stored);
        stored
    }

    /// Stores a message that one queue refers to, and never another.
    pub(super) fn refer_alone(&mut self, message: &Arc<Message>) -> MessageNumber {
        self.store(MessageNumber::alone, message)
    }

    fn store(&mut self, number: fn(ShardId, u64) -> MessageNumber, message: &Arc<Message>) -> MessageNumber {
        self.last_message = self.last_message.saturating_add(1);
        let stored = number(self.shard, self.last_message);
        self.record(Change::Message(stored, Arc::clone(message)));
        stored
    }

    /// Takes back a count whose reference is counted elsewhere.
    pub(super) fn release_silently(&mut self, number: MessageNumber) {
        self.references.remove(number);
    }

    /// Stores a message for a queue of another shard, which lets go of it.
    pub(super) fn deposit(&mut self, message: &Arc<Message>) -> MessageNumber {
        let mut number = None;
        let stored = self.refer(&mut number, message);
        self.references.remove(stored);
        stored
    }

    /// What this turn lets wait for a session, behind a place in its order.
    pub(super) fn queued(&self, owner: SessionNumber, after: u64) -> Vec<MessageNumber> {
        let queued = self.changes.iter().filter_map(|change| match change {
            Change::Queued { session, sequence, message, .. } if *session == owner && *sequence > after => {
                Some(*message)
            }
            _ => None,
        });
        queued.collect()
    }

    /// One reference less.
    pub(super) fn release(&mut self, number: Option<MessageNumber>) {
        let Some(number) = number else {
            return;
        };
        if number.is_alone() || self.references.remove(number) {
            self.record(Change::MessageGone(number));
        }
    }

    /// Numbers up to this one were given to messages.
    pub(super) fn count_message(&mut self, last: u64) {
        self.last_message = self.last_message.max(last);
    }

    /// A message and a reference to it that were stored before a restart.
    pub(super) fn restore(&mut self, number: MessageNumber) {
        if !number.is_alone() {
            self.references.add(number);
        }
        if number.shard() == self.shard {
            self.last_message = self.last_message.max(number.count());
        }
    }
}
