//! Where what must survive is kept. The core writes changes under causes; the one committer of a store waits for all
//! parts of a cause and keeps them together or not at all.

#[cfg(feature = "persistence")]
mod batch;
#[cfg(feature = "persistence")]
mod directory;
#[cfg(feature = "persistence")]
mod durable;
#[cfg(feature = "persistence")]
mod fjall;
#[cfg(feature = "persistence")]
mod journals;
#[cfg(feature = "persistence")]
mod json;
#[cfg(feature = "persistence")]
mod log;
#[cfg(feature = "persistence")]
mod maintenance;
mod memory;
#[cfg(feature = "persistence")]
mod moving;
#[cfg(feature = "persistence")]
mod record;
#[cfg(feature = "persistence")]
mod restoring;
#[cfg(feature = "persistence")]
mod scan;
#[cfg(feature = "persistence")]
mod step;
#[cfg(feature = "persistence")]
mod tables;
#[cfg(feature = "persistence")]
mod young;

#[cfg(feature = "persistence")]
pub use durable::Durable;
#[cfg(feature = "persistence")]
pub use maintenance::{Finding, backup, check, compact, dump, repair};
pub use memory::Memory;

use crate::core::{Cause, Change, MessageNumber, Part, SessionNumber, ShardId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// When what was written is on the disk for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// Before it is acknowledged.
    #[default]
    Always,
    /// Within this time: a power cut takes what was acknowledged in the last of it. The end of the process takes nothing.
    Interval(Duration),
    /// When the system likes.
    Off,
}

/// As on the command line and in the configuration.
impl std::str::FromStr for SyncMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Self::Always),
            "off" => Ok(Self::Off),
            text => text
                .strip_suffix("ms")
                .and_then(|number| number.parse().ok())
                .filter(|&every| every > 0)
                .map(|every| Self::Interval(Duration::from_millis(every)))
                .ok_or("always, off, or milliseconds such as 100ms"),
        }
    }
}

/// How much of the disk a store may take. Beyond that new messages of QoS 1 and 2 are refused, until there is room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many bytes of the disk stay free.
    pub min_free: u64,
    /// No more bytes than this are taken, apart from what is on its way.
    pub max_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_free: 128 << 20, max_size: u64::MAX }
    }
}

/// What is wrong with a store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else has it open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A newer version of this program wrote it.
    #[error(
        "the store has format {found}, and this version knows formats up to {known}: use a newer version"
    )]
    Newer {
        /// The format there.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// There is something else in the directory.
    #[error("{} is not empty, and no data directory of this program", .0.display())]
    Foreign(PathBuf),
    /// What was stored is not there any more, or not as it was stored.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The system refused something.
    #[error("the store failed: {0}")]
    Io(#[from] io::Error),
    /// The database below failed.
    #[error("the store failed: {0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

/// Bytes of a session's queue that are in memory: a window ends with as many messages as there may be in one, or with
/// these, but has at least one message.
pub const WINDOW_BYTES: usize = 4 << 20;

/// The socket in a data directory by which the broker that has it open is asked for a copy.
#[cfg(all(unix, feature = "persistence"))]
pub(crate) const CONTROL: &str = "control";

/// A piece of what is stored.
#[derive(Debug)]
pub enum Restored<'a> {
    /// For [`Shard::restore`](crate::core::Shard::restore).
    Changes(Vec<Change>),
    /// Of a session, up to which place, what waits for it: for
    /// [`Shard::restore_rest`](crate::core::Shard::restore_rest).
    Rest(SessionNumber, u64, &'a [MessageNumber]),
}

/// Makes a copy of a store.
pub type Copier = Box<dyn FnOnce(&Path) -> Result<(), StoreError> + Send>;

/// A place for what must survive.
pub trait Store: Send {
    /// Makes all changes of a batch, in their order, or none. Afterwards they are as safe as the store is told to make
    /// them.
    ///
    /// # Errors
    /// It cannot, and nothing may be acknowledged any more: it is not known what of the batch is there.
    fn commit(&mut self, batch: &[Written]) -> Result<(), StoreError>;

    /// Makes everything safe that was committed.
    ///
    /// # Errors
    /// It cannot, and it is not known what is safe.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// The highest number of a session, a group or a message, without the shard that gave it.
    ///
    /// # Errors
    /// It cannot be read.
    fn last_number(&mut self) -> Result<u64, StoreError>;

    /// Gives back what is stored, to each of so many shards what is at home there, in the order in which
    /// [`Shard::restore`](crate::core::Shard::restore) wants it, piece by piece. Of each session's messages as many as
    /// fit its window, see [`WINDOW_BYTES`]; of the others only how many there are.
    ///
    /// # Errors
    /// It cannot be read.
    fn restore(
        &mut self,
        shards: u16,
        window: usize,
        give: &mut dyn FnMut(ShardId, Restored<'_>),
    ) -> Result<(), StoreError>;

    /// Reads up to so many messages that wait for a session behind a place in its order, see [`WINDOW_BYTES`].
    ///
    /// # Errors
    /// It cannot be read.
    fn read_queue(&self, session: SessionNumber, after: u64, limit: usize)
    -> Result<Vec<Change>, StoreError>;

    /// Removes messages that nothing refers to, if the store was used with another count of shards before.
    ///
    /// # Errors
    /// It cannot be read or written.
    fn tidy(&mut self, shards: u16) -> Result<(), StoreError>;

    /// Whether there is room for more.
    ///
    /// # Errors
    /// That cannot be found out.
    fn has_room(&self) -> Result<bool, StoreError>;

    /// What makes a consistent copy of everything that is committed now, into a directory, by another thread; nothing
    /// where that is not possible.
    ///
    /// # Errors
    /// It cannot be read or written.
    fn copier(&mut self) -> Result<Option<Copier>, StoreError> {
        Ok(None)
    }

    /// Makes everything safe at the end.
    ///
    /// # Errors
    /// It cannot, and it is not known what is safe.
    fn close(&mut self) -> Result<(), StoreError>;
}

/// What a shard wrote under a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which shard; it is told when the cause is safe.
    pub writer: ShardId,
    /// Under which cause.
    pub cause: Cause,
    /// What changes, in this order.
    pub changes: Vec<Change>,
}

/// What shards wrote and no batch has yet.
///
/// What one cause changes becomes safe together, and what one shard writes becomes safe in its order: a cause of which
/// parts are missing holds up what its writers wrote behind it.
#[derive(Debug, Default)]
pub struct Pending {
    /// What each shard wrote, in its order, counted over all shards.
    waiting: BTreeMap<ShardId, VecDeque<(u64, Written)>>,
    count: u64,
    /// How many parts are still missing of causes that are not complete.
    missing: BTreeMap<Cause, u16>,
}

impl Pending {
    /// A shard wants this to become safe.
    pub fn write(&mut self, writer: ShardId, cause: Cause, part: Part, changes: Vec<Change>) {
        if part.of > 1 {
            let missing = self.missing.entry(cause).or_insert(part.of);
            *missing = missing.saturating_sub(1);
            if *missing == 0 {
                self.missing.remove(&cause);
            }
        }
        self.count = self.count.saturating_add(1);
        let written = (self.count, Written { writer, cause, changes });
        self.waiting.entry(writer).or_default().push_back(written);
    }

    /// How much of a shard's waits.
    #[must_use]
    pub fn waiting(&self, writer: ShardId) -> usize {
        self.waiting.get(&writer).map_or(0, VecDeque::len)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.values().all(VecDeque::is_empty)
    }

    /// Everything that can become safe now, as one batch that is kept whole or not at all: causes wait for each other
    /// where two shards wrote them in different orders. In the batch everything stands in the order in which it was
    /// written: what a shard wrote because of what another had written before comes after it.
    ///
    /// Who reads, and how much of what waits of his he wrote before: what he wrote behind that is not to be seen by the
    /// reading, and waits for it.
    pub fn take(&mut self, reads: &[(ShardId, usize)]) -> Vec<Written> {
        let held_up = self.held_up_for(reads);
        let mut batch = Vec::new();
        for queue in self.waiting.values_mut() {
            while queue.front().is_some_and(|(_, written)| !held_up.contains(&written.cause)) {
                batch.extend(queue.pop_front());
            }
        }
        // Of each shard it is sorted already.
        batch.sort_by_key(|(count, _)| *count);
        batch.into_iter().map(|(_, written)| written).collect()
    }

    fn held_up_for(&self, reads: &[(ShardId, usize)]) -> BTreeSet<Cause> {
        let incomplete = self.missing.keys().copied().collect();
        let plain = self.held_up(incomplete);
        if reads.is_empty() {
            return plain;
        }
        let of = |reader: &ShardId| self.waiting.get(reader).into_iter().flatten();
        let behind = reads.iter().flat_map(|(reader, before)| of(reader).skip(*before));
        let mut with_reads = plain.clone();
        with_reads.extend(behind.map(|(_, written)| written.cause));
        if with_reads.len() == plain.len() {
            return plain;
        }
        let with_reads = self.held_up(with_reads);
        // Two shards may have written in different orders what stands before and behind: that is one batch all the same.
        let mut before = reads.iter().flat_map(|(reader, before)| of(reader).take(*before));
        let waits_for_itself =
            before.any(|(_, written)| with_reads.contains(&written.cause) && !plain.contains(&written.cause));
        if waits_for_itself { plain } else { with_reads }
    }

    /// These causes, and those of which something stands behind one that is held up.
    fn held_up(&self, mut held_up: BTreeSet<Cause>) -> BTreeSet<Cause> {
        loop {
            let before = held_up.len();
            // Most of the time everything is complete.
            for queue in self.waiting.values().filter(|_| before > 0) {
                let behind = queue.iter().skip_while(|(_, written)| !held_up.contains(&written.cause));
                let behind: Vec<Cause> = behind.map(|(_, written)| written.cause).collect();
                held_up.extend(behind);
            }
            if held_up.len() == before {
                return held_up;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    fn cause(number: u64) -> Cause {
        Cause { shard: A, number }
    }

    fn batch(pending: &mut Pending) -> Vec<(ShardId, u64)> {
        pending.take(&[]).into_iter().map(|written| (written.writer, written.cause.number)).collect()
    }

    #[test]
    fn a_cause_is_kept_whole() {
        let mut pending = Pending::default();
        pending.write(A, cause(1), Part { index: 0, of: 2 }, Vec::new());
        assert_eq!(batch(&mut pending), []);
        pending.write(B, cause(1), Part { index: 1, of: 2 }, Vec::new());
        assert_eq!(batch(&mut pending), [(A, 1), (B, 1)]);
        assert!(pending.is_empty());
    }

    #[test]
    fn what_is_written_behind_a_reading_waits_for_it() {
        let mut pending = Pending::default();
        let whole = Part { index: 0, of: 1 };
        pending.write(A, cause(1), Part { index: 0, of: 2 }, Vec::new());
        pending.write(A, cause(2), whole, Vec::new());
        pending.write(B, cause(1), Part { index: 1, of: 2 }, Vec::new());
        pending.write(B, cause(3), whole, Vec::new());
        let causes = |batch: Vec<Written>| -> Vec<u64> { batch.iter().map(|one| one.cause.number).collect() };
        assert_eq!(causes(pending.take(&[(A, 1)])), [1, 1, 3]);
        assert!(pending.take(&[(A, 0)]).is_empty());
        assert_eq!(causes(pending.take(&[])), [2]);
    }

    #[test]
    fn a_reading_does_not_part_what_waits_for_each_other() {
        let mut pending = Pending::default();
        for (writer, number, index) in [(A, 1, 0), (B, 2, 0), (A, 2, 1), (B, 1, 1)] {
            pending.write(writer, cause(number), Part { index, of: 2 }, Vec::new());
        }
        assert_eq!(pending.take(&[(A, 1)]).len(), 4);
    }

    #[test]
    fn nothing_overtakes_what_its_shard_wrote_before() {
        let mut pending = Pending::default();
        pending.write(A, cause(1), Part { index: 0, of: 2 }, Vec::new());
        pending.write(A, cause(2), Part::WHOLE, Vec::new());
        pending.write(B, cause(3), Part::WHOLE, Vec::new());
        assert_eq!(batch(&mut pending), [(B, 3)]);
        pending.write(B, cause(1), Part { index: 1, of: 2 }, Vec::new());
        assert_eq!(batch(&mut pending), [(A, 1), (A, 2), (B, 1)]);
    }

    #[test]
    fn what_follows_from_another_shard_comes_after_it() {
        let mut pending = Pending::default();
        pending.write(A, cause(1), Part { index: 0, of: 2 }, Vec::new());
        pending.write(B, cause(1), Part { index: 1, of: 2 }, Vec::new());
        pending.write(A, cause(2), Part::WHOLE, Vec::new());
        assert_eq!(batch(&mut pending), [(A, 1), (B, 1), (A, 2)]);
    }

    #[test]
    fn causes_in_two_orders_are_one_batch() {
        let mut pending = Pending::default();
        pending.write(A, cause(1), Part { index: 0, of: 2 }, Vec::new());
        pending.write(A, cause(2), Part { index: 0, of: 2 }, Vec::new());
        pending.write(B, cause(2), Part { index: 1, of: 2 }, Vec::new());
        assert_eq!(batch(&mut pending), []);
        pending.write(B, cause(1), Part { index: 1, of: 2 }, Vec::new());
        assert_eq!(batch(&mut pending), [(A, 1), (A, 2), (B, 2), (B, 1)]);
    }
}
