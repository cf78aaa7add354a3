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
use mqtt_broker_lite::store::{Memory, Pending, Store, Written};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Of a session, up to which place in its order, what waits for it on the disk only.
pub type Rest = (SessionNumber, u64, Vec<MessageNumber>);

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

/// Something that a shard wants of the disk.
#[derive(Debug)]
enum Order {
    Write(u16, Cause, Part, Vec<Change>),
    Fetch(Fetch),
}

/// A shard reads messages that wait for a session behind a place in its order.
#[derive(Debug)]
struct Fetch {
    reader: u16,
    session: SessionNumber,
    after: u64,
    limit: usize,
    /// How much of what its reader wrote before is not committed.
    behind: usize,
}

/// What a shard asked for.
#[derive(Debug)]
pub struct Fetched {
    /// Who asked.
    pub reader: u16,
    /// For which session.
    pub session: SessionNumber,
    /// What there is.
    pub changes: Vec<Change>,
}

/// What shards hear of the disk.
#[derive(Debug, Default)]
pub struct Report {
    /// What counts as safe now, and who wrote it.
    pub safe: Vec<(u16, Cause)>,
    /// What was asked for.
    pub found: Vec<Fetched>,
}

/// The disk.
///
/// What one cause changes is durable together, and what one shard writes is durable in its order: a cause of which
/// parts are missing holds up what its writers wrote behind it.
#[derive(Debug, Default)]
pub struct Disk {
    table: Memory,
    /// What nobody has looked at yet.
    orders: VecDeque<Order>,
    pending: Pending,
    fetches: Vec<Fetch>,
    /// Whether a batch is being made safe, be it that there is only something to read.
    is_busy: bool,
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
        self.orders.push_back(Order::Write(writer, cause, part, changes));
    }

    /// A shard wants to read up to so many of the messages that wait for a session behind a place in its order:
    /// everything that it wrote before counts.
    pub fn fetch(&mut self, reader: u16, session: SessionNumber, after: u64, limit: usize) {
        self.orders.push_back(Order::Fetch(Fetch { reader, session, after, limit, behind: 0 }));
    }

    /// Whether everything is durable, and everything was read.
    pub fn is_idle(&self) -> bool {
        !self.is_busy
            && self.orders.is_empty()
            && self.fetches.is_empty()
            && self.syncing == 0
            && self.written.is_empty()
            && self.pending.is_empty()
    }

    /// Takes orders up to the next that reads: what comes behind it is not to be seen by it.
    fn gather(&mut self) {
        while let Some(order) = self.orders.pop_front() {
            match order {
                Order::Write(writer, cause, part, changes) => {
                    self.pending.write(ShardId(writer), cause, part, changes);
                }
                Order::Fetch(fetch) => {
                    let behind = self.pending.waiting(ShardId(fetch.reader));
                    self.fetches.push(Fetch { behind, ..fetch });
                    return;
                }
            }
        }
    }

    /// Reads for those of whom everything is committed that they wrote before, now that this is.
    fn read(&mut self, committed: &[(u16, Cause)]) -> Vec<Fetched> {
        if self.fetches.is_empty() {
            return Vec::new();
        }
        let mut visible = self.table.clone();
        let changes = self.written.iter().flat_map(|batch| &batch.changes);
        changes.for_each(|change| visible.apply(change.clone()));
        let mut found = Vec::new();
        for mut fetch in std::mem::take(&mut self.fetches) {
            let done = committed.iter().filter(|(writer, _)| *writer == fetch.reader).count();
            fetch.behind = fetch.behind.saturating_sub(done);
            if fetch.behind > 0 {
                self.fetches.push(fetch);
                continue;
            }
            // Memory cannot fail.
            let changes = visible.read_queue(fetch.session, fetch.after, fetch.limit).unwrap_or_default();
            found.push(Fetched { reader: fetch.reader, session: fetch.session, changes });
        }
        found
    }

    /// Writes everything that can be durable now as one batch: all that is complete, less what is behind something
    /// else. Returns whom that concerns.
    fn put(&mut self, now: u64) -> Vec<(u16, Cause)> {
        self.gather();
        let reads: Vec<_> = self.fetches.iter().map(|fetch| (ShardId(fetch.reader), fetch.behind)).collect();
        let batch = self.pending.take(&reads);
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
        if self.is_busy {
            return false;
        }
        self.waiting = self.put(now);
        self.is_busy = self.start_sync() || self.fetches.iter().any(|fetch| fetch.behind == 0);
        self.is_busy
    }

    /// Writes what there is, and says so at once, though it is not safe: a sync follows in its own time. What can be
    /// read now is read.
    pub fn write_behind(&mut self, now: u64) -> Report {
        let mut report = Report::default();
        loop {
            let committed = self.put(now);
            report.found.extend(self.read(&committed));
            report.safe.extend(committed);
            if self.orders.is_empty() {
                return report;
            }
        }
    }

    /// Starts to sync what was written so far.
    pub fn start_sync(&mut self) -> bool {
        self.syncing = self.written.len();
        self.syncing > 0
    }

    /// The sync is over: these causes are durable, and these shards wrote them; and what was asked for is read.
    pub fn finish(&mut self) -> Report {
        for batch in self.written.drain(..std::mem::take(&mut self.syncing)) {
            batch.changes.into_iter().for_each(|change| self.table.apply(change));
        }
        if !std::mem::take(&mut self.is_busy) {
            return Report::default();
        }
        let safe = std::mem::take(&mut self.waiting);
        let found = self.read(&safe);
        Report { safe, found }
    }

    /// The power is cut: what waited is lost, and of what was written the disk keeps what it likes. So many entries of
    /// what was synced are damaged.
    pub fn crash(&mut self, rng: &mut Rng, damaged: u32) -> Loss {
        let mut loss = Loss::default();
        self.syncing = 0;
        self.is_busy = false;
        self.waiting.clear();
        self.orders.clear();
        self.fetches.clear();
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
                let topic = String::from_utf8_lossy(message.topic()).into_owned();
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

    /// What a shard has that is durable, kind by kind in the order of [`Change`]. Of the messages that wait for a session
    /// only as many as fit a window, or have to be in memory for another reason; then of each session, up to which place,
    /// the rest.
    pub fn contents(&self, shard: u16, shards: u16, window: usize) -> (Vec<Change>, Vec<Rest>) {
        let stored: Vec<_> = self.table.stored_at(ShardId(shard), shards).collect();
        if window == usize::MAX {
            return (stored, Vec::new());
        }
        let mut in_flight: BTreeMap<SessionNumber, u64> = BTreeMap::new();
        let mut sessions = BTreeSet::new();
        for change in &stored {
            match change {
                Change::InFlight { session, sequence, .. } => {
                    let last = in_flight.entry(*session).or_default();
                    *last = (*last).max(*sequence);
                }
                Change::Session(number, _) => drop(sessions.insert(*number)),
                _ => {}
            }
        }
        let mut given: BTreeMap<SessionNumber, usize> = BTreeMap::new();
        let mut rest: BTreeMap<SessionNumber, Rest> = BTreeMap::new();
        let is_given = |change: &Change| {
            let Change::Queued { session, sequence, message, .. } = change else {
                return true;
            };
            let given = given.entry(*session).or_default();
            let is_first = !sessions.contains(session) || *given < window;
            if is_first || in_flight.get(session).is_some_and(|last| sequence <= last) {
                *given += 1;
                return true;
            }
            let left = rest.entry(*session).or_insert((*session, 0, Vec::new()));
            left.1 = *sequence;
            left.2.push(*message);
            false
        };
        let kept = stored.into_iter().filter(is_given).collect();
        (kept, rest.into_values().collect())
    }

    /// How many messages wait for a session, or are in flight to it, at most.
    pub fn longest_queue(&self) -> usize {
        let mut queues = BTreeMap::<_, usize>::new();
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
            assert_eq!(disk.finish().safe, [(0, cause(1))]);
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
