//! A store on disk: the tables of an embedded database, written by batches that are numbered and checked.

#![allow(clippy::disallowed_methods)] // A store touches files.

use super::batch::Batch;
use super::directory::Directory;
use super::record::{self, Kind, Unreadable};
use super::{Store, StoreError, SyncMode, Written};
use crate::core::{Change, MessageNumber, SessionNumber, ShardId, home};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use std::collections::HashMap;
use std::path::Path;

/// How many changes are given back at once.
const CHUNK: usize = 512;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// What the journals may take before tables are written to be rid of them.
const JOURNALS: u64 = 160 * MIB;

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Damaged(unreadable.to_string())
    }
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => Self::Io(source),
            error => Self::Database(Box::new(error)),
        }
    }
}

/// The store.
pub struct Fjall {
    directory: Directory,
    database: Database,
    /// In the order of [`Kind::ALL`].
    tables: [Keyspace; Kind::ALL.len()],
    sync: SyncMode,
    last_batch: u64,
}

impl std::fmt::Debug for Fjall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fjall").field("directory", &self.directory.path).finish_non_exhaustive()
    }
}

impl Fjall {
    /// Opens the store in a directory; an empty or missing one becomes a new store.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(directory: &Path, sync: SyncMode) -> Result<Self, StoreError> {
        let directory = Directory::open(directory)?;
        let database = Database::builder(directory.database())
            .worker_threads(1)
            .cache_size(16 * MIB)
            .max_journaling_size(JOURNALS)
            .open()?;
        let table = |kind: Kind| database.keyspace(kind.name(), || options(kind));
        let [a, b, c, d, e, f, g, h, i] = Kind::ALL.map(table);
        let tables = [a?, b?, c?, d?, e?, f?, g?, h?, i?];
        let mut store = Self { directory, database, tables, sync, last_batch: 0 };
        if let Some(value) = store.table(Kind::Meta).get(Batch::KEY)? {
            store.last_batch = Batch::number(&value).ok_or(Unreadable(Kind::Meta))?;
        }
        Ok(store)
    }

    fn table(&self, kind: Kind) -> &Keyspace {
        let [meta, session, group, subscription, message, queue, in_flight, received, retained] =
            &self.tables;
        match kind {
            Kind::Meta => meta,
            Kind::Session => session,
            Kind::Group => group,
            Kind::Subscription => subscription,
            Kind::Message => message,
            Kind::Queue => queue,
            Kind::InFlight => in_flight,
            Kind::Received => received,
            Kind::Retained => retained,
        }
    }

    fn records<'a>(
        &'a self,
        snapshot: &Snapshot,
        kind: Kind,
    ) -> impl Iterator<Item = Result<(fjall::Slice, fjall::Slice), StoreError>> + use<'a> {
        snapshot.iter(self.table(kind)).map(|guard| Ok(guard.into_inner()?))
    }

    fn message(&self, snapshot: &Snapshot, number: MessageNumber) -> Result<Option<Change>, StoreError> {
        let key = number.0.to_be_bytes();
        match snapshot.get(self.table(Kind::Message), key)? {
            Some(value) => Ok(Some(record::change(Kind::Message, &key, &value)?)),
            None => Ok(None),
        }
    }

    fn persist(&self, mode: PersistMode) -> Result<(), StoreError> {
        Ok(self.database.persist(mode)?)
    }
}

/// Small tables are kept in small pieces, so that they do not hold up the journals.
fn options(kind: Kind) -> KeyspaceCreateOptions {
    let memtable = match kind {
        Kind::Meta => 256 * KIB,
        Kind::Message | Kind::Retained => 32 * MIB,
        _ => 8 * MIB,
    };
    KeyspaceCreateOptions::default().max_memtable_size(memtable)
}

impl Store for Fjall {
    fn commit(&mut self, batch: &[Written]) -> Result<(), StoreError> {
        let mut steps = Batch::default();
        for change in batch.iter().flat_map(|written| &written.changes) {
            match record::step(change) {
                record::Step::Put(kind, key, value) => steps.put(kind, key, value),
                record::Step::Remove(kind, key) => steps.remove(kind, key),
                record::Step::Forget(number) => {
                    let prefix = record::key(number);
                    for kind in [Kind::Subscription, Kind::Queue, Kind::InFlight, Kind::Received] {
                        steps.forget(kind, &prefix);
                        for guard in self.table(kind).prefix(&prefix) {
                            steps.remove(kind, guard.key()?.to_vec());
                        }
                    }
                    steps.remove(Kind::Session, prefix.clone());
                    steps.remove(Kind::Group, prefix);
                }
            }
        }
        if steps.is_empty() {
            return Ok(());
        }
        let number = self.last_batch.saturating_add(1);
        let durability = match self.sync {
            SyncMode::Always => PersistMode::SyncData,
            SyncMode::Interval(_) | SyncMode::Off => PersistMode::Buffer,
        };
        let mut written = self.database.batch().durability(Some(durability));
        for (kind, key, value) in steps.finish(number) {
            let table = self.table(kind);
            match value {
                Some(value) => written.insert(table, key, value),
                None if kind == Kind::Message => written.remove_weak(table, key),
                None => written.remove(table, key),
            }
        }
        written.commit()?;
        self.last_batch = number;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.persist(PersistMode::SyncData)
    }

    fn last_number(&self) -> Result<u64, StoreError> {
        let mut last = 0;
        for kind in [Kind::Session, Kind::Group, Kind::Message] {
            let table = self.table(kind);
            // The highest of each shard, which is in the upper bits.
            let mut above: Option<Vec<u8>> = None;
            loop {
                let found = match &above {
                    None => table.last_key_value(),
                    Some(key) => table.range(..key.clone()).next_back(),
                };
                let Some(found) = found.map(Guard::key).transpose()? else {
                    break;
                };
                let number = found.first_chunk().map(|key| u64::from_be_bytes(*key));
                let number = number.ok_or(Unreadable(kind))?;
                last = last.max(number & 0xFFFF_FFFF_FFFF);
                above = Some((number >> 48 << 48).to_be_bytes().to_vec());
            }
        }
        Ok(last)
    }

    fn restore(&self, shards: u16, give: &mut dyn FnMut(ShardId, Vec<Change>)) -> Result<(), StoreError> {
        let snapshot = self.database.snapshot();
        let mut homes: HashMap<SessionNumber, ShardId> = HashMap::new();
        let mut chunks: Vec<Vec<Change>> = vec![Vec::new(); usize::from(shards.max(1))];
        for kind in Kind::ALL {
            if matches!(kind, Kind::Meta | Kind::Message) {
                continue;
            }
            for entry in self.records(&snapshot, kind) {
                let (key, value) = entry?;
                let change = record::change(kind, &key, &value)?;
                let shard = match &change {
                    Change::Session(number, record) => {
                        let shard = home(record.client.client_id.as_bytes(), shards);
                        homes.insert(*number, shard);
                        Some(shard)
                    }
                    Change::Group(number, name) => {
                        let shard = home(name.as_bytes(), shards);
                        homes.insert(*number, shard);
                        Some(shard)
                    }
                    Change::Subscription(owner, ..)
                    | Change::Queued { session: owner, .. }
                    | Change::InFlight { session: owner, .. }
                    | Change::Received(owner, _) => homes.get(owner).copied(),
                    Change::Retained(message) => Some(home(&message.topic, shards)),
                    _ => None,
                };
                let Some((shard, chunk)) =
                    shard.and_then(|shard| Some((shard, chunks.get_mut(usize::from(shard.0))?)))
                else {
                    continue;
                };
                if let Change::Queued { message, .. } = &change {
                    chunk.extend(self.message(&snapshot, *message)?);
                }
                chunk.push(change);
                if chunk.len() >= CHUNK {
                    give(shard, std::mem::take(chunk));
                }
            }
            // One kind is complete before the next begins.
            for (shard, chunk) in (0..).map(ShardId).zip(&mut chunks) {
                if !chunk.is_empty() {
                    give(shard, std::mem::take(chunk));
                }
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.persist(PersistMode::SyncAll)
    }
}
