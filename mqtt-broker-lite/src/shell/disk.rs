//! The committer: one thread that makes safe what the shards write. It takes everything that waits as one batch, and
//! the next batch gathers while the disk is busy with this one.

use super::worker::{Letter, Mailbox};
use crate::core::{Cause, Change, Input, Now, Output, Part, Shard, ShardId};
use crate::store::{Pending, Store, StoreError, SyncMode, Written};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After so many changes a batch is closed, so that the first in it do not wait for ever.
const BATCH: usize = 512;

/// What to do when the store fails: nothing is acknowledged any more.
pub(super) type OnFault = Box<dyn FnOnce(&StoreError) + Send>;

/// What a shard wants of the committer.
enum Order {
    Write(ShardId, Cause, Part, Vec<Change>),
    Close,
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
        on_fault: OnFault,
    ) -> std::io::Result<Self> {
        let (sender, orders) = channel();
        let every = match sync {
            SyncMode::Interval(every) => Some(every),
            SyncMode::Always | SyncMode::Off => None,
        };
        let mut writer = Writer { store, orders, shards, every, unsynced: None, pending: Pending::default() };
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
    /// How often the disk is synced, if not with each batch.
    every: Option<Duration>,
    /// When the first thing was committed that is not synced.
    unsynced: Option<Instant>,
    pending: Pending,
}

impl Writer {
    fn run(&mut self) -> Result<(), StoreError> {
        loop {
            let is_closing = self.gather()?;
            let batch = self.pending.take();
            if !batch.is_empty() {
                self.store.commit(&batch)?;
                if self.every.is_some() {
                    self.unsynced.get_or_insert_with(Instant::now);
                }
                self.tell(&batch);
            }
            if is_closing {
                return self.store.close();
            }
        }
    }

    /// Waits for something to write and takes what there is; true if it is the last.
    fn gather(&mut self) -> Result<bool, StoreError> {
        let mut next = self.first()?;
        let mut changes = 0_usize;
        while let Some(order) = next {
            match order {
                Order::Write(writer, cause, part, written) => {
                    changes = changes.saturating_add(written.len());
                    self.pending.write(writer, cause, part, written);
                }
                Order::Close => return Ok(true),
            }
            if changes >= BATCH {
                break;
            }
            next = self.orders.try_recv().ok();
        }
        Ok(false)
    }

    /// The next order; syncs meanwhile if it is time.
    fn first(&mut self) -> Result<Option<Order>, StoreError> {
        let (Some(every), Some(since)) = (self.every, self.unsynced) else {
            return Ok(Some(self.orders.recv().unwrap_or(Order::Close)));
        };
        match self.orders.recv_timeout(every.saturating_sub(since.elapsed())) {
            Ok(order) if since.elapsed() < every => Ok(Some(order)),
            late => {
                self.store.sync()?;
                self.unsynced = None;
                match late {
                    Ok(order) => Ok(Some(order)),
                    Err(RecvTimeoutError::Timeout) => Ok(None),
                    Err(RecvTimeoutError::Disconnected) => Ok(Some(Order::Close)),
                }
            }
        }
    }

    /// Says to each shard what of its is safe.
    fn tell(&self, batch: &[Written]) {
        let mut safe: BTreeMap<ShardId, Vec<Cause>> = BTreeMap::new();
        for written in batch {
            safe.entry(written.writer).or_default().push(written.cause);
        }
        for (shard, causes) in safe {
            if let Some(mailbox) = self.shards.get(usize::from(shard.0)) {
                mailbox.send(Letter::Synced(causes));
            }
        }
    }
}

/// Gives shards back what is stored, and lets them settle among themselves: all routes are known and everything that
/// the start changed is safe before anybody connects.
pub(super) fn recover(
    shards: &mut [Shard],
    store: &mut dyn Store,
    now: Now,
) -> Result<Vec<Option<u64>>, StoreError> {
    let last = store.last_number()?;
    for shard in shards.iter_mut() {
        shard.restore_numbers(last);
    }
    let count = u16::try_from(shards.len()).unwrap_or(u16::MAX);
    store.restore(count, &mut |shard, changes| {
        if let Some(shard) = shards.get_mut(usize::from(shard.0)) {
            shard.restore(now, changes);
        }
    })?;
    settle(shards, store, now)
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
        let batch = pending.take();
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
