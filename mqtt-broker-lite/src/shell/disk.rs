//! The committer: one thread that makes safe what the shards write. It takes everything that waits as one batch, and
//! the next batch gathers while the disk is busy with this one.

use super::mailbox::{FEW, Letter, Mailbox};
use crate::core::{Cause, Change, Input, Now, Output, Part, SessionNumber, Shard, ShardId};
use crate::store::{Pending, Restored, Store, StoreError, SyncMode, Written};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After so many changes a batch is closed, so that the first in it do not wait for ever.
const BATCH: usize = 512;
/// How long what nobody waits for may wait for a batch that somebody waits for.
const RIDE: Duration = Duration::from_millis(5);
/// How often it is looked whether the disk has room.
const LOOK: Duration = Duration::from_millis(200);

/// What to do when the store fails: nothing is acknowledged any more.
pub(super) type OnFault = Box<dyn FnOnce(&StoreError) + Send>;

/// Is told how long each commit took.
pub(super) type OnCommit = Box<dyn Fn(Duration) + Send>;

/// What a shard wants of the committer.
enum Order {
    Write(ShardId, Cause, Part, Vec<Change>),
    /// What waits for a session behind this place, up to so many.
    Fetch(Fetch),
    /// A copy into this directory.
    Backup(PathBuf, SyncSender<Result<(), StoreError>>),
    Close,
}

struct Fetch {
    reader: ShardId,
    session: SessionNumber,
    after: u64,
    limit: usize,
    /// How much the shard wrote before that is not committed.
    behind: usize,
}

/// The way to the committer from a shard.
#[derive(Clone)]
pub(super) struct Disk(Sender<Order>);

impl Disk {
    pub(super) fn write(&self, writer: ShardId, cause: Cause, part: Part, changes: Vec<Change>) {
        // A committer that is gone has failed, and said so.
        let _ = self.0.send(Order::Write(writer, cause, part, changes));
    }
}

impl Disk {
    pub(super) fn fetch(&self, reader: ShardId, session: SessionNumber, after: u64, limit: usize) {
        let _ = self.0.send(Order::Fetch(Fetch { reader, session, after, limit, behind: 0 }));
    }

    /// Copies everything that is committed into a directory.
    pub(super) fn backup(&self, target: PathBuf) -> Result<(), StoreError> {
        let gone = || StoreError::Io(std::io::Error::other("the store has failed before"));
        let (sender, receiver) = sync_channel(1);
        self.0.send(Order::Backup(target, sender)).map_err(|_| gone())?;
        receiver.recv().map_err(|_| gone())?
    }
}

/// The committer, from outside.
pub(super) struct Committer {
    pub(super) disk: Disk,
    thread: JoinHandle<()>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(
        store: Box<dyn Store>,
        sync: SyncMode,
        shards: Vec<Mailbox>,
        on_commit: OnCommit,
        on_fault: OnFault,
    ) -> std::io::Result<Self> {
        let (sender, orders) = channel();
        let every = match sync {
            SyncMode::Interval(every) => Some(every),
            SyncMode::Always | SyncMode::Off => None,
        };
        let mut writer = Writer {
            store,
            orders,
            shards,
            on_commit,
            every,
            unsynced: None,
            pending: Pending::default(),
            is_awaited: false,
            riding: None,
            fetches: Vec::new(),
            looked: None,
            is_full: false,
        };
        let thread = std::thread::Builder::new().name("mqtt-disk".to_owned()).spawn(move || {
            if let Err(error) = writer.run() {
                on_fault(&error);
                // Nothing more is acknowledged, so there is nothing to be connected for.
                for shard in &writer.shards {
                    shard.send(Letter::ShutDown);
                }
            }
        })?;
        Ok(Self { disk: Disk(sender), thread })
    }

    /// Waits until everything is safe that was written.
    pub(super) fn close(self) {
        let _ = self.disk.0.send(Order::Close);
        if self.thread.join().is_err() {
            tracing::error!("the committer panicked");
        }
    }
}

struct Writer {
    store: Box<dyn Store>,
    orders: Receiver<Order>,
    shards: Vec<Mailbox>,
    on_commit: OnCommit,
    /// How often the disk is synced, if not with each batch.
    every: Option<Duration>,
    /// When the first thing was committed that is not synced.
    unsynced: Option<Instant>,
    pending: Pending,
    /// Whether somebody waits for something of what is pending.
    is_awaited: bool,
    /// Since when something is pending that nobody waits for.
    riding: Option<Instant>,
    fetches: Vec<Fetch>,
    /// When it was looked last whether there is room.
    looked: Option<Instant>,
    is_full: bool,
}

impl Writer {
    fn run(&mut self) -> Result<(), StoreError> {
        loop {
            let is_closing = self.gather()?;
            self.look_for_room()?;
            let is_late = self.riding.is_some_and(|since| since.elapsed() >= RIDE);
            if self.is_awaited || is_late || is_closing || !self.fetches.is_empty() {
                self.commit()?;
            }
            if is_closing {
                return self.store.close();
            }
        }
    }

    /// Makes safe what is complete.
    fn commit(&mut self) -> Result<(), StoreError> {
        let reads: Vec<_> = self.fetches.iter().map(|fetch| (fetch.reader, fetch.behind)).collect();
        let batch = self.pending.take(&reads);
        // What is not complete may be awaited.
        self.is_awaited &= !self.pending.is_empty();
        self.riding = (!self.pending.is_empty()).then(Instant::now);
        if !batch.is_empty() {
            let begin = Instant::now();
            self.store.commit(&batch)?;
            (self.on_commit)(begin.elapsed());
            if self.every.is_some() {
                self.unsynced.get_or_insert_with(Instant::now);
            }
            self.tell(&batch);
        }
        self.fetch(&batch)
    }

    /// Waits for something to write and takes what there is; true if it is the last.
    fn gather(&mut self) -> Result<bool, StoreError> {
        let mut next = self.first()?;
        let mut changes = 0_usize;
        while let Some(order) = next {
            match order {
                Order::Write(writer, cause, part, written) => {
                    changes = changes.saturating_add(written.len());
                    self.is_awaited |= written.is_empty() || !written.iter().all(Change::only_forgets);
                    self.riding.get_or_insert_with(Instant::now);
                    self.pending.write(writer, cause, part, written);
                }
                Order::Fetch(fetch) => {
                    let behind = self.pending.waiting(fetch.reader);
                    self.fetches.push(Fetch { behind, ..fetch });
                    // What comes later is not to be seen.
                    return Ok(false);
                }
                Order::Backup(target, done) => self.backup(target, done)?,
                Order::Close => return Ok(true),
            }
            if changes >= BATCH {
                break;
            }
            next = self.orders.try_recv().ok();
        }
        Ok(false)
    }

    /// The next order, if there is one before something else is to be done; syncs if it is time.
    fn first(&mut self) -> Result<Option<Order>, StoreError> {
        let left = |since: Instant, patience: Duration| patience.saturating_sub(since.elapsed());
        let sync_in = self.every.zip(self.unsynced).map(|(every, since)| left(since, every));
        let ride_in = self.riding.map(|since| left(since, RIDE));
        // Room comes without anybody saying so.
        let look_in = self.is_full.then_some(LOOK);
        let patience = [sync_in, ride_in, look_in].into_iter().flatten().min().unwrap_or(Duration::MAX);
        let order = match self.orders.recv_timeout(patience) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Order::Close),
        };
        if self.every.zip(self.unsynced).is_some_and(|(every, since)| since.elapsed() >= every) {
            self.store.sync()?;
            self.unsynced = None;
        }
        Ok(order)
    }

    /// Says to all shards when the disk is full, and when it is not any more.
    fn look_for_room(&mut self) -> Result<(), StoreError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let is_full = !self.store.has_room()?;
        if is_full != std::mem::replace(&mut self.is_full, is_full) {
            if is_full {
                tracing::warn!(
                    "the disk is full: new messages of QoS 1 and 2 are refused until there is room"
                );
            } else {
                tracing::warn!("the disk has room again");
            }
            for shard in &self.shards {
                shard.send(Letter::Full(is_full));
            }
        }
        Ok(())
    }

    /// Reads for those shards of which everything is committed that they wrote before they asked.
    fn fetch(&mut self, batch: &[Written]) -> Result<(), StoreError> {
        for mut fetch in std::mem::take(&mut self.fetches) {
            let done = batch.iter().filter(|written| written.writer == fetch.reader).count();
            fetch.behind = fetch.behind.saturating_sub(done);
            if fetch.behind > 0 {
                self.fetches.push(fetch);
                continue;
            }
            let found = self.store.read_queue(fetch.session, fetch.after, fetch.limit)?;
            if let Some(shard) = self.shards.get(usize::from(fetch.reader.0)) {
                shard.send(Letter::Fetched(fetch.session, found));
            }
        }
        Ok(())
    }

    /// Lets another thread copy what is committed now.
    fn backup(
        &mut self,
        target: PathBuf,
        done: SyncSender<Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let Some(copy) = self.store.copier()? else {
            return Ok(());
        };
        let thread = std::thread::Builder::new().name("mqtt-backup".to_owned());
        // If there is no thread, whoever waits learns that nobody answers.
        let _ = thread.spawn(move || done.send(copy(&target)));
        Ok(())
    }

    /// Says to each shard what of its is safe.
    fn tell(&self, batch: &[Written]) {
        let mut safe: BTreeMap<ShardId, Vec<Cause>> = BTreeMap::new();
        for written in batch {
            safe.entry(written.writer).or_default().push(written.cause);
        }
        for (shard, causes) in safe {
            if let Some(mailbox) = self.shards.get(usize::from(shard.0)) {
                mailbox.post(Letter::Synced(causes));
                match batch.len() <= FEW {
                    true => mailbox.read(),
                    false => mailbox.call(),
                }
            }
        }
    }
}

/// Gives shards back what is stored, and lets them settle among themselves: all routes are known and everything that
/// the start changed is safe before anybody connects.
pub(super) fn recover(
    shards: &mut [Shard],
    store: &mut dyn Store,
    window: usize,
    now: Now,
) -> Result<Vec<Option<u64>>, StoreError> {
    let last = store.last_number()?;
    for shard in shards.iter_mut() {
        shard.restore_numbers(last);
    }
    let count = u16::try_from(shards.len()).unwrap_or(u16::MAX);
    store.restore(count, window, &mut |shard, restored| {
        if let Some(shard) = shards.get_mut(usize::from(shard.0)) {
            match restored {
                Restored::Changes(changes) => shard.restore(now, changes),
                Restored::Rest(session, last, messages) => shard.restore_rest(session, last, messages),
            }
        }
    })?;
    let wake_at = settle(shards, store, now)?;
    store.tidy(count)?;
    Ok(wake_at)
}

/// Carries what shards say to each other and to the store until all are silent; returns when each wants to be woken.
fn settle(shards: &mut [Shard], store: &mut dyn Store, now: Now) -> Result<Vec<Option<u64>>, StoreError> {
    let mut wake_at = vec![None; shards.len()];
    let mut letters = VecDeque::new();
    let mut pending = Pending::default();
    loop {
        for (own, (shard, wake_at)) in (0..).map(ShardId).zip(shards.iter_mut().zip(&mut wake_at)) {
            while let Some(output) = shard.poll() {
                match output {
                    Output::Link(to, envelope) => letters.push_back((own, to, envelope)),
                    Output::Write(cause, part, changes) => pending.write(own, cause, part, changes),
                    Output::WakeAt(at) => *wake_at = Some(at),
                    // There are no connections yet.
                    _ => {}
                }
            }
        }
        let batch = pending.take(&[]);
        if letters.is_empty() && batch.is_empty() {
            return Ok(wake_at);
        }
        for (from, to, envelope) in letters.drain(..) {
            if let Some(shard) = shards.get_mut(usize::from(to.0)) {
                shard.handle(now, Input::Link(from, envelope));
            }
        }
        store.commit(&batch)?;
        for written in batch {
            if let Some(shard) = shards.get_mut(usize::from(written.writer.0)) {
                shard.handle(now, Input::Synced(written.cause));
            }
        }
    }
}
