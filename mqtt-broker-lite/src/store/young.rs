//! The index of what the log has and the database does not: where each record is, or that it is removed. What is put and
//! removed again before it is moved never gets to the database.

use super::log::Place;
use super::record::{self, Kind};
use super::step::{Action, Key, Steps};
use crate::core::SessionNumber;
use fjall::Slice;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The last word on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) segment: u64,
    /// Where its value begins.
    pub(super) at: u64,
    /// How long it is; nothing if the record is removed.
    pub(super) length: Option<u32>,
    /// The database may have an older one.
    is_below: bool,
}

/// A record that is to be moved.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) key: Slice,
    pub(super) entry: Entry,
}

/// The index.
#[derive(Default)]
pub(super) struct Young {
    places: BTreeMap<(SessionNumber, u64), Entry>,
    others: BTreeMap<(Kind, Slice), Entry>,
    /// Of which numbers the database may have something that is gone, and in which file that is said.
    forgotten: BTreeMap<SessionNumber, u64>,
    /// How many entries are in each file.
    alive: BTreeMap<u64, usize>,
    /// What is in files up to this one is being moved.
    pub(super) moving: Option<u64>,
    /// Anything may be in the database: a move of it may have been interrupted.
    pub(super) is_replaying: bool,
}

/// What keys are under a number.
const OWNED: [Kind; 5] = [Kind::Session, Kind::Group, Kind::Subscription, Kind::InFlight, Kind::Received];

impl Young {
    /// Takes note of the steps of a batch; how many they are, or nothing if they cannot be read.
    pub(super) fn apply(&mut self, steps: &[u8], place: Place) -> Option<usize> {
        let mut count = 0_usize;
        for step in Steps::new(steps) {
            count = count.saturating_add(1);
            match step? {
                Action::Put(key, at, length) => {
                    let at = place.at.saturating_add(at as u64);
                    let length = Some(u32::try_from(length).ok()?);
                    self.put(key, Entry { segment: place.segment, at, length, is_below: false });
                }
                Action::Remove(key) => self.remove(key, place.segment),
                Action::Forget(number) => self.forget(number, place.segment),
            }
        }
        Some(count)
    }

    fn put(&mut self, key: Key<'_>, mut entry: Entry) {
        let old = self.get(key);
        // Places in queues and numbers of messages are given once.
        let is_once = matches!(key, Key::Place(..) | Key::Of(Kind::Message, _));
        entry.is_below = match old {
            Some(old) => self.may_be_below(&old),
            None => self.is_replaying || !is_once,
        };
        self.set(key, Some(entry));
    }

    fn remove(&mut self, key: Key<'_>, segment: u64) {
        let is_below = self.get(key).is_none_or(|old| self.may_be_below(&old));
        self.set(key, is_below.then_some(Entry { segment, at: 0, length: None, is_below }));
    }

    /// Whether the database has something under the key of an entry, or gets it just now.
    fn may_be_below(&self, entry: &Entry) -> bool {
        entry.is_below || self.moving.is_some_and(|moving| entry.segment <= moving)
    }

    fn forget(&mut self, number: SessionNumber, segment: u64) {
        let places: Vec<u64> =
            self.places.range(all_of(number)).map(|((_, sequence), _)| *sequence).collect();
        for sequence in places {
            self.set(Key::Place(number, sequence), None);
        }
        let prefix = record::key(number);
        for kind in OWNED {
            let from = (kind, prefix.clone());
            let under = self
                .others
                .range(from..)
                .take_while(|((of, key), _)| *of == kind && key.starts_with(&prefix));
            let keys: Vec<Slice> = under.map(|((_, key), _)| key.clone()).collect();
            for key in keys {
                self.set(Key::Of(kind, &key), None);
            }
        }
        if let Some(old) = self.forgotten.insert(number, segment) {
            self.less(old);
        }
        self.more(segment);
    }

    fn get(&self, key: Key<'_>) -> Option<Entry> {
        match key {
            Key::Place(session, sequence) => self.places.get(&(session, sequence)).copied(),
            Key::Of(kind, key) => self.others.get(&(kind, Slice::from(key))).copied(),
        }
    }

    fn set(&mut self, key: Key<'_>, entry: Option<Entry>) {
        let old = match (key, entry) {
            (Key::Place(session, sequence), Some(entry)) => self.places.insert((session, sequence), entry),
            (Key::Place(session, sequence), None) => self.places.remove(&(session, sequence)),
            (Key::Of(kind, key), Some(entry)) => self.others.insert((kind, Slice::from(key)), entry),
            (Key::Of(kind, key), None) => self.others.remove(&(kind, Slice::from(key))),
        };
        if let Some(old) = old {
            self.less(old.segment);
        }
        if let Some(entry) = entry {
            self.more(entry.segment);
        }
    }

    fn more(&mut self, segment: u64) {
        let count = self.alive.entry(segment).or_default();
        *count = count.saturating_add(1);
    }

    fn less(&mut self, segment: u64) {
        if let Some(count) = self.alive.get_mut(&segment) {
            *count = count.saturating_sub(1);
        }
    }

    /// How many entries there are in a file.
    pub(super) fn alive(&self, segment: u64) -> usize {
        self.alive.get(&segment).copied().unwrap_or_default()
    }

    /// Nothing is in a file any more, and nothing comes.
    pub(super) fn leave(&mut self, segment: u64) {
        self.alive.remove(&segment);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.others.is_empty() && self.forgotten.is_empty()
    }

    /// What is said of a record that is not of a queue: nothing if nothing is.
    pub(super) fn find(&self, kind: Kind, key: &[u8]) -> Option<Entry> {
        self.get(Key::Of(kind, key))
    }

    /// What is said of the places of a queue, in their order.
    pub(super) fn queue(
        &self,
        session: SessionNumber,
        behind: RangeInclusive<u64>,
    ) -> impl Iterator<Item = (u64, Entry)> {
        let range = (session, *behind.start())..=(session, *behind.end());
        self.places.range(range).map(|((_, sequence), entry)| (*sequence, *entry))
    }

    /// Whether the database has nothing under this number, whatever it has.
    pub(super) fn is_forgotten(&self, number: SessionNumber) -> bool {
        self.forgotten.contains_key(&number)
    }

    /// Begins to move what is in files up to this one: what is gone from the database before that, and what is put or
    /// removed, in the order of the tables.
    pub(super) fn begin_move(&mut self, last: u64) -> (Vec<SessionNumber>, Vec<Item>) {
        self.moving = Some(last);
        let forgotten = self.forgotten.iter().filter(|(_, segment)| **segment <= last);
        let forgotten = forgotten.map(|(number, _)| *number).collect();
        let mut items = Vec::new();
        let others = |kinds: std::ops::Range<usize>| {
            let is_of = move |kind: &Kind| kinds.contains(&(*kind as usize));
            self.others.iter().filter(move |((kind, _), entry)| entry.segment <= last && is_of(kind))
        };
        let item = |((kind, key), entry): (&(Kind, Slice), &Entry)| Item {
            kind: *kind,
            key: key.clone(),
            entry: *entry,
        };
        let queue = Kind::Queue as usize;
        items.extend(others(0..queue).map(item));
        let places = self.places.iter().filter(|(_, entry)| entry.segment <= last);
        items.extend(places.map(|((session, sequence), entry)| Item {
            kind: Kind::Queue,
            key: record::pair(*session, *sequence),
            entry: *entry,
        }));
        items.extend(others(queue..Kind::ALL.len()).map(item));
        (forgotten, items)
    }

    /// The database has these now; what is newer than that stays.
    pub(super) fn end_move(&mut self, forgotten: &[SessionNumber], items: &[Item]) {
        let last = self.moving.take().unwrap_or_default();
        for Item { kind, key, entry } in items {
            let key = match key.as_chunks::<8>() {
                ([session, sequence], []) if *kind == Kind::Queue => {
                    Key::Place(SessionNumber(u64::from_be_bytes(*session)), u64::from_be_bytes(*sequence))
                }
                _ => Key::Of(*kind, key),
            };
            let is_same =
                |now: Entry| (now.segment, now.at, now.length) == (entry.segment, entry.at, entry.length);
            if self.get(key).is_some_and(is_same) {
                self.set(key, None);
            }
        }
        for number in forgotten {
            if let Some(segment) = self.forgotten.get(number).copied().filter(|segment| *segment <= last) {
                self.forgotten.remove(number);
                self.less(segment);
            }
        }
    }
}

fn all_of(number: SessionNumber) -> RangeInclusive<(SessionNumber, u64)> {
    (number, 0)..=(number, u64::MAX)
}
