//! A disk that is lost in part at a crash, and the store on it: one committer that takes everything that is complete,
//! writes it as one batch and syncs it, at once or from time to time.
//!
//! What was written and not synced is in the hands of the disk: it has written any of it, in any order, and of the last
//! piece perhaps a part. Batches are numbered and each piece is checked, so the store finds again the batches that are
//! whole before the first that is not. What was synced may still be damaged, if a plan asks for it: the store finds
//! that, says so, and is repaired by dropping whole sessions. The state is compacted as the keys of a table are: what is
//! superseded or removed is not there.

use crate::rng::Rng;
use mqtt_broker_lite::core::{Cause, Change, MessageNumber, Part, SessionNumber, ShardId};
use mqtt_broker_lite::store::{Memory, Pending, Written};
use std::collections::{BTreeSet, VecDeque};

/// A batch on its way to the disk.
#[derive(Debug)]
struct Batch {
    /// When it was handed to the disk, and to the disk's cache alone.
    at: u64,
    /// Counts without a gap.
    number: u64,
    changes: Vec<Change>,
}

/// A piece of a batch, as the store finds it after a crash.
#[derive(Debug)]
struct Piece {
    batch: u64,
    /// Which piece of how many.
    index: usize,
    of: usize,
    /// Whether its checksum is right.
    is_whole: bool,
    change: Change,
}

/// What a crash did.
#[derive(Debug, Default)]
pub struct Loss {
    /// When the oldest of what was lost had been written.
    pub since: Option<u64>,
    /// Clients whose sessions were dropped, because something of them was damaged.
    pub dropped: BTreeSet<Box<str>>,
    /// Topics whose retained messages were damaged.
    pub topics: Vec<String>,
    /// How many entries were damaged, and found to be.
    pub damaged: usize,
}

/// The disk.
///
/// What one cause changes is durable together, and what one shard writes is durable in its order: a cause of which
/// parts are missing holds up what its writers wrote behind it.
#[derive(Debug, Default)]
pub struct Disk {
    table: Memory,
    pending: Pending,
    /// What was written and is not synced, oldest first.
    written: VecDeque<Batch>,
    /// How many of them the sync under way is about.
    syncing: usize,
    /// Who is to be told when it is over.
    waiting: Vec<(u16, Cause)>,
    last_batch: u64,
}

impl Disk {
    /// A shard wants this to be durable.
    pub fn write(&mut self, cause: Cause, part: Part, writer: u16, changes: Vec<Change>) {
        self.pending.write(ShardId(writer), cause, part, changes);
    }

    /// Whether everything is durable.
    pub fn is_idle(&self) -> bool {
        self.syncing == 0 && self.written.is_empty() && self.pending.is_empty()
    }

    /// Writes everything that can be durable now as one batch: all that is complete, less what is behind something
    /// else. Returns whom that concerns.
    fn put(&mut self, now: u64) -> Vec<(u16, Cause)> {
        let batch = self.pending.take();
        let causes = batch.iter().map(|written: &Written| (written.writer.0, written.cause)).collect();
        if !batch.is_empty() {
            self.last_batch += 1;
            let changes = batch.into_iter().flat_map(|written| written.changes).collect();
            self.written.push_back(Batch { at: now, number: self.last_batch, changes });
        }
        causes
    }

    /// Writes what there is and starts to sync it, if there is something and nobody does it: who wrote it hears of it
    /// when it is safe.
    pub fn begin(&mut self, now: u64) -> bool {
        if self.syncing > 0 {
            return false;
        }
        self.waiting = self.put(now);
        self.start_sync()
    }

    /// Writes what there is, and says so at once, though it is not safe: a sync follows in its own time.
    pub fn write_behind(&mut self, now: u64) -> Vec<(u16, Cause)> {
        self.put(now)
    }

    /// Starts to sync what was written so far.
    pub fn start_sync(&mut self) -> bool {
        self.syncing = self.written.len();
        self.syncing > 0
    }

    /// The sync is over: these causes are durable, and these shards wrote them.
    pub fn finish(&mut self) -> Vec<(u16, Cause)> {
        for batch in self.written.drain(..std::mem::take(&mut self.syncing)) {
            batch.changes.into_iter().for_each(|change| self.table.apply(change));
        }
        std::mem::take(&mut self.waiting)
    }

    /// The power is cut: what waited is lost, and of what was written the disk keeps what it likes. So many entries of
    /// what was synced are damaged.
    pub fn crash(&mut self, rng: &mut Rng, damaged: u32) -> Loss {
        let mut loss = Loss::default();
        self.syncing = 0;
        self.waiting.clear();
        self.pending = Pending::default();
        let batches = std::mem::take(&mut self.written);
        let first = batches.front().map_or(0, |batch| batch.number);
        let times: Vec<_> = batches.iter().map(|batch| batch.at).collect();
        let pieces = survivors(batches, rng);
        let kept = self.recover(pieces, first);
        loss.since = times.get(kept).copied();
        self.last_batch = 0;
        for _ in 0..damaged {
            self.damage(rng, &mut loss);
        }
        loss
    }

    /// Reads what the disk has of batches from number `first` on, in whatever order it lies there: those that are whole,
    /// up to the first that is not. Returns how many.
    fn recover(&mut self, mut pieces: Vec<Piece>, first: u64) -> usize {
        pieces.sort_by_key(|piece| (piece.batch, piece.index));
        let mut kept = 0;
        let mut rest = pieces.into_iter().filter(|piece| piece.is_whole).peekable();
        loop {
            let number = first + kept as u64;
            let mut changes = Vec::new();
            let mut of = 1;
            while let Some(piece) = rest.next_if(|piece| piece.batch == number) {
                of = piece.of;
                changes.push(piece.change);
            }
            if changes.len() < of {
                return kept;
            }
            changes.into_iter().for_each(|change| self.table.apply(change));
            kept += 1;
        }
    }

    /// A bit of one entry flips. The store finds it, because entries have checksums, and is repaired: what the entry
    /// belonged to is dropped whole, so that nobody is promised a session that is there in part.
    fn damage(&mut self, rng: &mut Rng, loss: &mut Loss) {
        let entries = self.table.stored().count() as u64;
        let Some(entry) = self.table.stored().nth(rng.below(entries) as usize) else {
            return;
        };
        loss.damaged += 1;
        match entry {
            Change::Session(number, _)
            | Change::Group(number, _)
            | Change::Subscription(number, ..)
            | Change::Queued { session: number, .. }
            | Change::InFlight { session: number, .. }
            | Change::Received(number, _) => self.drop_session(number, loss),
            Change::Message(damaged, _) => {
                let wanting: Vec<_> = self.table.stored().filter_map(queued).collect();
                for (session, _) in wanting.iter().filter(|(_, message)| *message == damaged) {
                    self.drop_session(*session, loss);
                }
                self.table.apply(Change::MessageGone(damaged));
            }
            Change::Retained(message) => {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                self.table.apply(Change::RetainedGone(topic.as_str().into()));
                loss.topics.push(topic);
            }
            _ => {}
        }
    }

    fn drop_session(&mut self, number: SessionNumber, loss: &mut Loss) {
        for change in self.table.stored() {
            match change {
                Change::Session(known, record) if known == number => {
                    loss.dropped.insert(record.client.client_id.clone());
                }
                Change::Group(known, name) if known == number => {
                    loss.dropped.insert(name);
                }
                _ => {}
            }
        }
        self.table.apply(Change::SessionGone(number));
        for unwanted in self.unwanted() {
            self.table.apply(Change::MessageGone(unwanted));
        }
    }

    /// Messages that nothing refers to.
    fn unwanted(&self) -> Vec<MessageNumber> {
        let wanted: BTreeSet<_> =
            self.table.stored().filter_map(queued).map(|(_, message)| message).collect();
        let messages = self.table.stored().filter_map(|change| match change {
            Change::Message(number, _) => Some(number),
            _ => None,
        });
        messages.filter(|number| !wanted.contains(number)).collect()
    }

    /// What a shard has that is durable, kind by kind in the order of [`Change`].
    pub fn contents(&self, shard: u16, shards: u16) -> impl Iterator<Item = Change> {
        self.table.stored_at(ShardId(shard), shards)
    }

    /// How many messages wait for a session, or are in flight to it, at most.
    pub fn longest_queue(&self) -> usize {
        let mut queues = std::collections::BTreeMap::<_, usize>::new();
        for (session, _) in self.table.stored().filter_map(queued) {
            *queues.entry(session).or_default() += 1;
        }
        queues.into_values().max().unwrap_or(0)
    }

    /// What should not be there when everything was delivered: messages that nobody waits for, exchanges that are
    /// over, identifiers that nobody remembers.
    pub fn remains(&self) -> Vec<String> {
        let owners: BTreeSet<_> = self
            .table
            .stored()
            .filter_map(|change| match change {
                Change::Session(number, _) | Change::Group(number, _) => Some(number),
                _ => None,
            })
            .collect();
        let unwanted: BTreeSet<_> = self.unwanted().into_iter().collect();
        self.table
            .stored()
            .filter(|change| match change {
                Change::Message(number, _) => unwanted.contains(number),
                Change::Queued { session, .. } | Change::Subscription(session, ..) => {
                    !owners.contains(session)
                }
                Change::InFlight { .. } | Change::Received(..) => true,
                _ => false,
            })
            .map(|change| format!("{change:?}"))
            .collect()
    }
}

/// Who waits for which message.
fn queued(change: Change) -> Option<(SessionNumber, MessageNumber)> {
    match change {
        Change::Queued { session, message, .. } => Some((session, message)),
        _ => None,
    }
}

/// What is left of batches that were not synced: all, nothing, what came first, or anything. The last piece that was
/// being written may be torn.
fn survivors(batches: VecDeque<Batch>, rng: &mut Rng) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for Batch { number, changes, .. } in batches {
        let of = changes.len();
        let piece = |(index, change)| Piece { batch: number, index, of, is_whole: true, change };
        pieces.extend(changes.into_iter().enumerate().map(piece));
    }
    match rng.below(4) {
        0 => pieces.clear(),
        1 => {}
        2 => {
            let kept = rng.below(pieces.len() as u64 + 1) as usize;
            pieces.truncate(kept);
            if let Some(last) = pieces.last_mut() {
                last.is_whole = rng.chance(50);
            }
        }
        _ => {
            let percent = rng.pick(&[50, 90, 99]);
            pieces.retain(|_| rng.chance(percent));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_packet::PacketId;

    const SESSION: SessionNumber = SessionNumber(7);

    fn received(id: u16) -> Change {
        Change::Received(SESSION, PacketId::new(id).unwrap())
    }

    fn piece(batch: u64, index: usize, of: usize, id: u16) -> Piece {
        Piece { batch, index, of, is_whole: true, change: received(id) }
    }

    fn recovered(pieces: Vec<Piece>) -> (usize, usize) {
        let mut disk = Disk::default();
        (disk.recover(pieces, 4), disk.table.stored().count())
    }

    #[test]
    fn batches_are_found_whole_and_without_a_gap() {
        assert_eq!(recovered(vec![]), (0, 0));
        assert_eq!(recovered(vec![piece(5, 0, 1, 3), piece(4, 1, 2, 2), piece(4, 0, 2, 1)]), (2, 3));
        // A piece is missing, a batch is missing, a piece is torn.
        assert_eq!(recovered(vec![piece(4, 1, 2, 2), piece(5, 0, 1, 3)]), (0, 0));
        assert_eq!(recovered(vec![piece(5, 0, 1, 3)]), (0, 0));
        let torn = Piece { is_whole: false, ..piece(5, 1, 2, 4) };
        assert_eq!(recovered(vec![piece(4, 0, 1, 1), piece(5, 0, 2, 3), torn]), (1, 1));
    }

    #[test]
    fn what_is_synced_survives_and_what_is_not_may_be_lost() {
        let mut lost = 0;
        for seed in 0..100 {
            let mut disk = Disk::default();
            let cause = |number| Cause { shard: ShardId(0), number };
            disk.write(cause(1), Part::WHOLE, 0, vec![received(1)]);
            assert!(disk.begin(10));
            assert_eq!(disk.finish(), [(0, cause(1))]);
            disk.write(cause(2), Part::WHOLE, 0, vec![received(2), received(3)]);
            assert!(disk.begin(20));
            let loss = disk.crash(&mut Rng::new(seed), 0);
            let left = disk.table.stored().count();
            assert!(left == 1 || left == 3, "seed {seed}: {left}");
            assert_eq!(loss.since, (left == 1).then_some(20));
            lost += usize::from(left == 1);
        }
        assert!((20..80).contains(&lost), "{lost}");
    }

    #[test]
    fn a_flipped_bit_takes_the_whole_session_with_it() {
        let mut disk = Disk::default();
        disk.write(Cause { shard: ShardId(0), number: 1 }, Part::WHOLE, 0, vec![received(1), received(2)]);
        assert!(disk.begin(0));
        disk.finish();
        let loss = disk.crash(&mut Rng::new(0), 1);
        assert_eq!((loss.damaged, disk.table.stored().count()), (1, 0));
    }
}
