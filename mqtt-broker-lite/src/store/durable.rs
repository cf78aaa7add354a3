//! The store on disk: a log of what is new in front of a database of what stays.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

use super::directory::Directory;
use super::fjall::Fjall;
use super::log::{self, Log, Place};
use super::moving::{self, Load, Move, Moved};
use super::record::{self, Kind, Unreadable};
use super::scan::Found;
use super::young::{Entry, Young};
use super::{Copier, Limits, Restored, Store, StoreError, SyncMode, WINDOW_BYTES, Written};
use crate::core::{Change, SessionNumber, ShardId};
use fjall::{Slice, Snapshot};
use std::collections::HashSet;
use std::path::Path;

/// How large the parts of the log are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// A file, in bytes.
    pub(super) segment: u64,
    /// With more files than this the oldest are moved into the database.
    pub(super) files: usize,
    /// So many of them at once.
    pub(super) moved: usize,
    /// With more files than this what is new waits for the move.
    pub(super) most: usize,
    /// With not more records than this a file is moved as soon as it is not new any more.
    pub(super) few: usize,
    /// With so many bytes a table of the database is written directly.
    pub(super) direct: usize,
}

// Of what is moved the values are in memory: 4 MiB.
const SIZES: Sizes = Sizes { segment: 4 << 20, files: 8, moved: 1, most: 16, few: 1000, direct: 1 << 20 };

/// The store.
pub struct Durable {
    log: Log,
    young: Young,
    moving: Option<Move>,
    database: Fjall,
    sizes: Sizes,
    cut_off: Vec<String>,
    /// What is in flight under a record of its own: most of it is stored with its place in the queue.
    in_flight: HashSet<(SessionNumber, u64)>,
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Durable {
    /// Opens the store in a directory; an empty or missing one becomes a new store.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(directory: &Path, sync: SyncMode) -> Result<Self, StoreError> {
        Self::open_with(directory, sync, SIZES)
    }

    pub(super) fn open_with(directory: &Path, sync: SyncMode, sizes: Sizes) -> Result<Self, StoreError> {
        let directory = Directory::open(directory)?;
        let found = match directory.has_store()? {
            true => directory.read_log()?,
            false => None,
        };
        let database = Fjall::open(directory, sync, found.as_ref().and_then(Found::last))?;
        let directory = database.directory();
        let found = match found {
            Some(found) => found,
            None => Found::empty(log::make(&directory.log())?),
        };
        let known = database.log_base()?;
        let (below, is) = (found.below(), database.last_batch());
        if below > is && !directory.is_repaired() {
            return Err(StoreError::Damaged(format!(
                "the journals end with batch {is}, but the log was written after batch {below}"
            )));
        }
        let mut cut_off = database.cut_off().to_vec();
        let (start, last) = judge(&found, directory, known, &mut cut_off)?;
        let (is_closed, is_repaired) = (directory.is_closed(), directory.is_repaired());
        directory.begin(sync)?;
        if !is_closed {
            found.clear(last)?;
        }
        let log = Log::new(directory.log(), found.seed, sync, sizes.segment);
        let mut store = Self {
            log,
            young: Young::default(),
            moving: None,
            database,
            sizes,
            cut_off,
            in_flight: HashSet::new(),
        };
        let is_shown = found.batches.contains_key(&last) && !is_repaired;
        store.replay(found, start, last)?;
        if last > 0 && !is_shown {
            // The log has to show how far it went.
            store.log.begin();
            store.log.write()?;
        }
        for change in store.database.all(Kind::InFlight)? {
            if let Change::InFlight { session, serial, .. } = change {
                store.in_flight.insert((session, serial));
            }
        }
        Ok(store)
    }

    /// Moves what the database may not have into it: the batches from one up to another.
    fn replay(&mut self, found: Found, start: u64, last: u64) -> Result<(), StoreError> {
        self.log.number = last;
        let below = found.below().min(self.database.last_batch());
        self.young.is_replaying = true;
        // The last file stays in use, because it shows how far the log went.
        let mut current = None;
        for (number, whole) in found.batches.range(start.min(last)..=last) {
            let end = whole.at.saturating_add(whole.header.pages());
            if current.is_none_or(|(file, _)| file != whole.file) {
                let serial = found.files.get(whole.file).map_or(0, |file| self.log.adopt(file));
                current = Some((whole.file, serial));
            }
            self.log.resume(*number, end);
            let Some((_, segment)) = current.filter(|_| *number >= start) else {
                continue;
            };
            let place = Place { segment, at: whole.at.saturating_add(log::HEADER as u64) };
            let steps = found.steps(whole)?;
            if self.young.apply(&steps, place).is_none() {
                return Err(StoreError::Damaged(format!("batch {number} of the log is none")));
            }
        }
        self.log.keep(found.files)?;
        self.move_all()?;
        self.young.is_replaying = false;
        self.log.base = last;
        self.log.below = self.log.below.max(below);
        Ok(())
    }

    /// How much of the disk it may take.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.database.set_limits(limits);
        self
    }

    /// What opening it cut off: the rest of a batch that was not written to its end.
    pub fn cut_off(&self) -> &[String] {
        &self.cut_off
    }

    /// Writes everything into tables without what was removed, which gives back its space.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.move_all()?;
        self.database.compact()
    }

    /// The database, with everything in it.
    pub(super) fn whole(&mut self) -> Result<&mut Fjall, StoreError> {
        self.move_all()?;
        Ok(&mut self.database)
    }

    /// Adds the steps of changes to the batch that is being made.
    fn add(&mut self, changes: &[Change]) {
        let mut rest = changes;
        while let Some(first) = rest.first() {
            // It may be stored with its place in the queue, and go with that.
            let is_there = match first {
                Change::InFlightGone(session, serial) => self.in_flight.remove(&(*session, *serial)),
                _ => true,
            };
            let used = match is_there {
                true => record::add_step(rest, &mut self.log.batch).unwrap_or(1),
                false => 1,
            };
            match first {
                Change::InFlight { session, serial, .. } => drop(self.in_flight.insert((*session, *serial))),
                Change::SessionGone(number) => self.in_flight.retain(|(session, _)| session != number),
                _ => {}
            }
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Leaves files of the log in which nothing is, and moves what is in the oldest.
    fn clean(&mut self) -> Result<(), StoreError> {
        if let Some(moved) = self.moving.take_if(|moving| moving.is_finished()) {
            let moved = moved.wait()?;
            self.end_move(moved)?;
        }
        if self.moving.is_some() {
            if self.log.segments.len() <= self.sizes.most {
                return Ok(());
            }
            self.wait()?;
        }
        self.leave_empty();
        // The one before the last is new, too.
        let old = self.log.segments.len().saturating_sub(2);
        let is_few = |serial| self.young.alive(serial) <= self.sizes.few;
        let few = self.log.segments.iter().take(old).take_while(|segment| is_few(segment.serial)).count();
        let count = match self.log.segments.len() > self.sizes.files {
            true => self.sizes.moved.min(old).max(few),
            false => few,
        };
        if count > 0 {
            let load = self.load(count)?;
            self.moving = Some(Move::start(load)?);
        }
        Ok(())
    }

    fn leave_empty(&mut self) {
        while self.log.segments.len() > 1
            && let Some(first) = self.log.segments.front().filter(|first| self.young.alive(first.serial) == 0)
        {
            self.young.leave(first.serial);
            self.log.leave_first();
        }
    }

    /// What is in so many of the oldest files. What is gone with a session goes from the database at once.
    fn load(&mut self, count: usize) -> Result<Load, StoreError> {
        let files = || self.log.segments.iter().take(count);
        let last = files().next_back().map_or((0, 0), |segment| (segment.serial, segment.last));
        if self.log.sync != SyncMode::Always {
            files().try_for_each(|segment| segment.file.sync_data())?;
        }
        let files = files().map(|segment| (segment.serial, segment.file.clone())).collect();
        let (forgotten, items) = self.young.begin_move(last.0);
        for number in &forgotten {
            self.database.forget(*number)?;
        }
        let tables = self.database.tables();
        Ok(Load { forgotten, items, files, tables, direct: self.sizes.direct, last: last.1 })
    }

    fn end_move(&mut self, moved: Moved) -> Result<(), StoreError> {
        let Moved { load, rest } = moved;
        self.database.take(rest, load.last)?;
        self.log.below = self.database.last_batch();
        self.young.end_move(&load.forgotten, &load.items);
        self.leave_empty();
        Ok(())
    }

    /// Waits for a move that goes on.
    fn wait(&mut self) -> Result<(), StoreError> {
        match self.moving.take() {
            Some(moving) => self.end_move(moving.wait()?),
            None => Ok(()),
        }
    }

    /// Moves everything into the database.
    fn move_all(&mut self) -> Result<(), StoreError> {
        self.wait()?;
        if !self.young.is_empty() || self.database.log_base()? < self.log.number {
            let load = self.load(self.log.segments.len())?;
            self.end_move(Load { last: self.log.number, ..load }.run()?)?;
            self.log.base = self.log.number;
        }
        Ok(())
    }

    fn value(&self, entry: &Entry) -> Result<Option<Slice>, StoreError> {
        match entry.length {
            Some(length) => moving::value(self.log.file(entry.segment), entry.at, length).map(Some),
            None => Ok(None),
        }
    }

    /// The message of a place in a queue.
    fn message_of(
        &self,
        snapshot: &Snapshot,
        queued: &Change,
        with: Option<Change>,
    ) -> Result<Option<Change>, StoreError> {
        if let (None, Change::Queued { message, .. }) = (&with, queued) {
            let key = message.0.to_be_bytes();
            if let Some(entry) = self.young.find(Kind::Message, &key) {
                let value = self.value(&entry)?;
                return Ok(value.map(|value| record::change(Kind::Message, &key, &value)).transpose()?);
            }
        }
        self.database.message_of(snapshot, queued, with)
    }
}

/// The first batch that the database may not have, and the last; what is missing behind that is cut off.
fn judge(
    found: &Found,
    directory: &Directory,
    known: u64,
    cut_off: &mut Vec<String>,
) -> Result<(u64, u64), StoreError> {
    let is_repaired = directory.is_repaired();
    let verdict = found.judge(known, is_repaired);
    let mut cuts = Vec::new();
    if !verdict.damage.is_empty() {
        let what = verdict.damage.join("; ");
        if directory.was_always_synced() {
            return Err(StoreError::Damaged(what));
        }
        // What was not synced may have reached the disk in any order before the power was cut.
        cuts.push(format!("{what}: what follows was not synced yet and is cut off"));
    }
    cuts.extend(verdict.torn);
    for cut in &cuts {
        tracing::warn!("{cut}");
    }
    cut_off.extend(cuts);
    let last = verdict.usable;
    // A log that ends before what the database knows has nothing for it.
    let start = match is_repaired && found.last() >= Some(known) {
        true => found.run_to(last),
        false => found.base().max(known).saturating_add(1),
    };
    Ok((start, last))
}

impl Store for Durable {
    fn commit(&mut self, batch: &[Written]) -> Result<(), StoreError> {
        self.log.begin();
        for written in batch {
            self.add(&written.changes);
        }
        if self.log.steps().is_empty() {
            return Ok(());
        }
        let (place, is_new) = self.log.write()?;
        let steps = self.young.apply(self.log.steps(), place).ok_or(Unreadable(Kind::Meta))?;
        self.log.count(steps);
        if is_new || self.moving.as_ref().is_some_and(Move::is_finished) {
            self.clean()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(self.log.sync()?)
    }

    fn last_number(&mut self) -> Result<u64, StoreError> {
        self.whole()?.last_number()
    }

    fn restore(
        &mut self,
        shards: u16,
        window: usize,
        give: &mut dyn FnMut(ShardId, Restored<'_>),
    ) -> Result<(), StoreError> {
        self.whole()?.restore(shards, window, give)
    }

    fn read_queue(
        &self,
        session: SessionNumber,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let snapshot = self.database.now();
        let behind = after.saturating_add(1)..=u64::MAX;
        let mut young = self.young.queue(session, behind.clone()).peekable();
        let mut old = self.database.queue(&snapshot, session, behind);
        let is_forgotten = self.young.is_forgotten(session);
        let mut next_old = move || if is_forgotten { None } else { old.next() };
        let mut waiting = next_old().transpose()?;
        let (mut found, mut bytes, mut count) = (Vec::new(), 0_usize, 0_usize);
        while count < limit && bytes < WINDOW_BYTES {
            let is_young = match (young.peek(), &waiting) {
                (Some((young, _)), Some((old, _))) => young <= old,
                (young, _) => young.is_some(),
            };
            let (sequence, value) = if is_young {
                let Some((sequence, entry)) = young.next() else {
                    break;
                };
                // What is newer counts.
                if waiting.as_ref().is_some_and(|(old, _)| *old == sequence) {
                    waiting = next_old().transpose()?;
                }
                match self.value(&entry)? {
                    Some(value) => (sequence, value),
                    None => continue,
                }
            } else {
                let Some(old) = std::mem::replace(&mut waiting, next_old().transpose()?) else {
                    break;
                };
                old
            };
            count = count.saturating_add(1);
            let (queued, with, _) = record::place_of(&record::pair(session, sequence), &value)?;
            // Whoever wants all only wants to know which.
            if limit < usize::MAX {
                let message = self.message_of(&snapshot, &queued, with)?;
                bytes = bytes.saturating_add(message.as_ref().map_or(0, record::size));
                found.extend(message);
            }
            found.push(queued);
        }
        Ok(found)
    }

    fn tidy(&mut self, shards: u16) -> Result<(), StoreError> {
        if self.database.is_tidy(shards)? {
            return Ok(());
        }
        self.whole()?.tidy(shards)
    }

    fn has_room(&self) -> Result<bool, StoreError> {
        self.database.has_room(self.log.size())
    }

    fn copier(&mut self) -> Result<Option<Copier>, StoreError> {
        let still = self.whole()?.snapshot();
        Ok(Some(Box::new(move |target| still.copy_to(target))))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.move_all()?;
        self.database.close(Some(self.log.number).filter(|number| *number > 0))
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        // Nobody else may open it while something is written.
        if let Some(moving) = self.moving.take() {
            let _ = moving.wait();
        }
    }
}

#[cfg(test)]
mod tests;
