//! The database below the log: the tables of an embedded database, written by batches that are numbered and checked.

#![allow(clippy::disallowed_methods)] // A store touches files.

use super::batch::Batch;
use super::directory::Directory;
use super::durable::Durable;
use super::journals;
use super::moving::Record;
use super::record::{self, Kind, Unreadable};
use super::restoring::Restoring;
use super::{Limits, Restored, Store, StoreError, SyncMode, tables};
use crate::core::{Change, MessageNumber, SessionNumber, ShardId};
use fjall::{
    Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Slice, Snapshot,
};
use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;

/// Under which key of [`Kind::Meta`] the count of shards is.
const SHARDS: &[u8] = b"shards";
/// How much is copied at once.
const COPY: usize = 1 << 20;
/// So many records are removed at once.
const MANY: usize = 10_000;
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
            // Something that it did beside has failed, and it does not say what.
            fjall::Error::Poisoned => {
                Self::Io(std::io::Error::other("tables could not be written: is the disk full or faulty?"))
            }
            error => Self::Database(Box::new(error)),
        }
    }
}

/// The database of a store.
pub(super) struct Fjall {
    directory: Directory,
    database: Database,
    /// In the order of [`Kind::ALL`].
    tables: [Keyspace; Kind::ALL.len()],
    sync: SyncMode,
    last_batch: u64,
    limits: Limits,
    cut_off: Vec<String>,
}

/// Looks at a key and its value.
pub(super) type Show<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;

/// The store as it was at a moment.
pub(super) struct Still {
    snapshot: Snapshot,
    tables: [Keyspace; Kind::ALL.len()],
}

impl Still {
    /// Writes it as a store of its own into a directory that is missing or empty.
    pub(super) fn copy_to(&self, target: &Path) -> Result<(), StoreError> {
        let mut store = Durable::open(target, SyncMode::Off)?;
        let copy = store.whole()?;
        if copy.last_batch > 0 {
            return Err(StoreError::Foreign(target.to_owned()));
        }
        for (kind, table) in Kind::ALL.into_iter().zip(&self.tables) {
            let mut batch = Batch::default();
            let mut size = 0_usize;
            for guard in self.snapshot.iter(table).filter(|_| kind != Kind::Meta) {
                let (key, value) = guard.into_inner()?;
                size = size.saturating_add(key.len()).saturating_add(value.len());
                batch.put(kind, key, value);
                if size > COPY {
                    copy.write(&mut batch)?;
                    size = 0;
                }
            }
            copy.write(&mut batch)?;
        }
        store.close()
    }
}

impl std::fmt::Debug for Fjall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fjall").field("directory", &self.directory.path).finish_non_exhaustive()
    }
}

impl Fjall {
    /// Opens the database in a directory, which is made if there is none; the log ends with this batch.
    pub(super) fn open(directory: Directory, sync: SyncMode, log: Option<u64>) -> Result<Self, StoreError> {
        let journals = if directory.has_store()? { examine(&directory, log)? } else { Examined::default() };
        let mut database = Self::open_database(directory, sync)?;
        database.cut_off = journals.cut_off;
        // Tables may know of batches that the journals have lost.
        if journals.last.is_some_and(|last| last != database.last_batch) && !database.directory.is_repaired()
        {
            let last = journals.last.unwrap_or_default();
            let what =
                format!("the journals end with batch {last}, but there was batch {}", database.last_batch);
            return Err(StoreError::Damaged(what));
        }
        Ok(database)
    }

    /// Opens it though it is damaged, to read what is left.
    pub(super) fn open_damaged(directory: &Path) -> Result<Self, StoreError> {
        Self::open_database(Directory::existing(directory)?, SyncMode::Always)
    }

    fn open_database(directory: Directory, sync: SyncMode) -> Result<Self, StoreError> {
        let database = Database::builder(directory.database())
            .worker_threads(1)
            .cache_size(16 * MIB)
            .max_journaling_size(JOURNALS)
            .open()?;
        let table = |kind: Kind| database.keyspace(kind.name(), || options(kind));
        let [a, b, c, d, e, f, g, h, i] = Kind::ALL.map(table);
        let tables = [a?, b?, c?, d?, e?, f?, g?, h?, i?];
        let mut store = Self {
            directory,
            database,
            tables,
            sync,
            last_batch: 0,
            limits: Limits::default(),
            cut_off: Vec::new(),
        };
        if let Some(value) = store.table(Kind::Meta).get(Batch::KEY)? {
            store.last_batch = Batch::number(&value).ok_or(Unreadable(Kind::Meta))?;
        }
        Ok(store)
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn cut_off(&self) -> &[String] {
        &self.cut_off
    }

    pub(super) fn tables(&self) -> [Keyspace; Kind::ALL.len()] {
        self.tables.clone()
    }

    /// The number of its own last batch.
    pub(super) fn last_batch(&self) -> u64 {
        self.last_batch
    }

    /// Up to which batch everything of the log is here.
    pub(super) fn log_base(&self) -> Result<u64, StoreError> {
        match self.table(Kind::Meta).get(Batch::LOG)? {
            Some(value) => Ok(u64::from_be_bytes(*value.first_chunk().ok_or(Unreadable(Kind::Meta))?)),
            None => Ok(0),
        }
    }

    /// Takes what is left of the log up to a batch; it is on the disk then.
    pub(super) fn take(&mut self, records: Vec<Record>, last: u64) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (kind, key, value) in records {
            match value {
                Some(value) => batch.put(kind, key, value),
                None => batch.remove(kind, key),
            }
        }
        batch.put(Kind::Meta, Batch::LOG.into(), last.to_be_bytes().into());
        self.write(&mut batch)?;
        self.persist(PersistMode::SyncAll)
    }

    /// Removes everything under a number, bit by bit: who begins again ends with the same.
    pub(super) fn forget(&mut self, number: SessionNumber) -> Result<(), StoreError> {
        let prefix = record::key(number);
        let mut batch = Batch::default();
        for kind in [Kind::Subscription, Kind::Queue, Kind::InFlight, Kind::Received] {
            for guard in self.table(kind).clone().prefix(&prefix) {
                batch.remove(kind, guard.key()?);
                if batch.len() >= MANY {
                    self.write(&mut batch)?;
                }
            }
        }
        for kind in [Kind::Session, Kind::Group] {
            if self.table(kind).contains_key(&prefix)? {
                batch.remove(kind, prefix.clone());
            }
        }
        self.write(&mut batch)
    }

    /// The places of a queue between these, and their values.
    pub(super) fn queue<'a>(
        &'a self,
        snapshot: &Snapshot,
        session: SessionNumber,
        between: RangeInclusive<u64>,
    ) -> impl Iterator<Item = Result<(u64, Slice), StoreError>> + use<'a> {
        let keys = record::pair(session, *between.start())..=record::pair(session, *between.end());
        snapshot.range(self.table(Kind::Queue), keys).map(|guard| {
            let (key, value) = guard.into_inner()?;
            let (_, [sequence]) = key
                .as_chunks::<8>()
                .0
                .split_at_checked(1)
                .and_then(|(one, other)| Some((one, other.first_chunk::<1>()?)))
                .ok_or(Unreadable(Kind::Queue))?;
            Ok((u64::from_be_bytes(*sequence), value))
        })
    }

    /// The changes that made the records of a kind.
    pub(super) fn all(&self, kind: Kind) -> Result<Vec<Change>, StoreError> {
        let mut found = Vec::new();
        self.each(kind, &mut |key, value| {
            found.extend(record::changes(kind, key, value)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Writes everything into tables without what was removed, which gives back its space.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn compact(&self) -> Result<(), StoreError> {
        for table in &self.tables {
            table.rotate_memtable_and_wait()?;
            table.major_compact()?;
        }
        Ok(())
    }

    /// Everything as it is now, to be read while more is written.
    pub(super) fn snapshot(&self) -> Still {
        Still { snapshot: self.database.snapshot(), tables: self.tables.clone() }
    }

    /// Shows every record of a table.
    pub(super) fn each(&self, kind: Kind, show: Show<'_>) -> Result<(), StoreError> {
        for entry in self.records(&self.database.snapshot(), kind) {
            let (key, value) = entry?;
            show(&key, &value)?;
        }
        Ok(())
    }

    /// Copies what can be read of another store's table: from the front up to the damage, and from the back.
    pub(super) fn copy_table(&mut self, from: &Self, kind: Kind) -> Result<u64, StoreError> {
        let mut records = BTreeMap::new();
        let table = from.table(kind);
        let halves: [Box<dyn Iterator<Item = Guard>>; 2] =
            [Box::new(table.iter()), Box::new(table.iter().rev())];
        for half in halves {
            for guard in half {
                let Ok((key, value)) = guard.into_inner() else {
                    break;
                };
                if record::changes(kind, &key, &value).is_ok() && records.insert(key, value).is_some() {
                    break;
                }
            }
        }
        let count = records.len() as u64;
        let mut batch = Batch::default();
        for (key, value) in records {
            batch.put(kind, key, value);
        }
        self.write(&mut batch)?;
        Ok(count)
    }

    pub(super) fn table(&self, kind: Kind) -> &Keyspace {
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

    pub(super) fn now(&self) -> Snapshot {
        self.database.snapshot()
    }

    pub(super) fn records<'a>(
        &'a self,
        snapshot: &Snapshot,
        kind: Kind,
    ) -> impl Iterator<Item = Result<(fjall::Slice, fjall::Slice), StoreError>> + use<'a> {
        snapshot.iter(self.table(kind)).map(|guard| Ok(guard.into_inner()?))
    }

    /// The message of a place in a queue, which may be stored with it.
    pub(super) fn message_of(
        &self,
        snapshot: &Snapshot,
        queued: &Change,
        with: Option<Change>,
    ) -> Result<Option<Change>, StoreError> {
        match (with, queued) {
            (None, Change::Queued { message, .. }) => self.message(snapshot, *message),
            (with, _) => Ok(with),
        }
    }

    fn message(&self, snapshot: &Snapshot, number: MessageNumber) -> Result<Option<Change>, StoreError> {
        let key = number.0.to_be_bytes();
        match snapshot.get(self.table(Kind::Message), key)? {
            Some(value) => Ok(Some(record::change(Kind::Message, &key, &value)?)),
            None => Ok(None),
        }
    }

    /// Writes a batch under the next number.
    fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let number = self.last_batch.saturating_add(1);
        let durability = match self.sync {
            SyncMode::Always => PersistMode::SyncData,
            SyncMode::Interval(_) | SyncMode::Off => PersistMode::Buffer,
        };
        let database = self.database.clone();
        let mut written = OwnedWriteBatch::with_capacity(database, batch.len().saturating_add(1))
            .durability(Some(durability));
        for (kind, key, value) in batch.finish(number) {
            let table = self.table(kind);
            match value {
                Some(value) => written.insert(table, key, value),
                None => written.remove(table, key),
            }
        }
        written.commit()?;
        self.last_batch = number;
        Ok(())
    }

    fn persist(&self, mode: PersistMode) -> Result<(), StoreError> {
        Ok(self.database.persist(mode)?)
    }
}

/// What is in the journals, and what was cut off.
#[derive(Default)]
struct Examined {
    last: Option<u64>,
    cut_off: Vec<String>,
}

/// Looks at all files before the database does. What an interrupted write left at the end is cut off; what was stored and
/// is not there is an error.
fn examine(directory: &Directory, log: Option<u64>) -> Result<Examined, StoreError> {
    let database = directory.database();
    let damage = tables::damage(&database)?;
    if !damage.is_empty() {
        return Err(StoreError::Damaged(damage.join("; ")));
    }
    let mut journals = journals::read(&database)?;
    let mut cut_off = Vec::new();
    if let Some(damage) = &journals.damage {
        if directory.was_always_synced() {
            return Err(StoreError::Damaged(damage.what.clone()));
        }
        // What was not synced may have reached the disk in any order before the power was cut.
        cut_off.push(format!("{}: what follows was not synced yet and is cut off", damage.what));
        journals::cut_all(&database, damage)?;
        journals = journals::read(&database)?;
    }
    if let Some(last) = journals.last {
        directory.check_ending(last, log)?;
    }
    if let Some((file, at, length)) = &journals.torn {
        let file_name = file.file_name().unwrap_or_default().display();
        cut_off.push(format!(
            "{file_name} at byte {at}: the last {length} bytes are no whole batch and are cut off, as after a crash in \
             the middle of a write"
        ));
        journals::cut(file, *at)?;
    }
    for cut in &cut_off {
        tracing::warn!("{cut}");
    }
    Ok(Examined { last: journals.last, cut_off })
}

/// What is not in tables yet is in memory. A small table is written early, so that it does not hold up the journals.
fn options(kind: Kind) -> KeyspaceCreateOptions {
    let memtable = if kind == Kind::Meta { 256 * KIB } else { 4 * MIB };
    KeyspaceCreateOptions::default().max_memtable_size(memtable)
}

impl Fjall {
    /// See [`Store`].
    pub(super) fn last_number(&self) -> Result<u64, StoreError> {
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
                last = last.max(MessageNumber(number).count());
                above = Some((number >> 48 << 48).to_be_bytes().to_vec());
            }
        }
        Ok(last)
    }

    /// See [`Store`].
    pub(super) fn restore(
        &self,
        shards: u16,
        window: usize,
        give: &mut dyn FnMut(ShardId, Restored<'_>),
    ) -> Result<(), StoreError> {
        Restoring::new(self, shards, window).run(give)
    }

    /// Whether it was used with so many shards the last time.
    pub(super) fn is_tidy(&self, shards: u16) -> Result<bool, StoreError> {
        Ok(self.table(Kind::Meta).get(SHARDS)?.as_deref() == Some(&shards.to_be_bytes()))
    }

    /// See [`Store`].
    pub(super) fn tidy(&mut self, shards: u16) -> Result<(), StoreError> {
        let now = shards.to_be_bytes();
        let before = self.table(Kind::Meta).get(SHARDS)?;
        if before.as_deref() == Some(&now) {
            return Ok(());
        }
        let mut batch = Batch::default();
        if before.is_some() {
            let mut wanted = HashSet::new();
            for entry in self.records(&self.database.snapshot(), Kind::Queue) {
                let (key, value) = entry?;
                if let (Change::Queued { message, .. }, None, _) = record::place_of(&key, &value)? {
                    wanted.insert(message);
                }
            }
            for guard in self.table(Kind::Message).iter() {
                let key = guard.key()?;
                let number = key.first_chunk().map(|key| MessageNumber(u64::from_be_bytes(*key)));
                if number.is_none_or(|number| !wanted.contains(&number)) {
                    batch.remove(Kind::Message, key);
                }
            }
        }
        batch.put(Kind::Meta, SHARDS.into(), now.into());
        self.write(&mut batch)
    }

    /// Whether there is room for more, beside so much that is taken.
    pub(super) fn has_room(&self, beside: u64) -> Result<bool, StoreError> {
        let disk = rustix::fs::statvfs(&self.directory.path).map_err(std::io::Error::from)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let size = self.database.disk_space()?.saturating_add(beside);
        Ok(free >= self.limits.min_free && size <= self.limits.max_size)
    }

    /// Makes everything safe at the end, if the log ends with this batch.
    pub(super) fn close(&mut self, log: Option<u64>) -> Result<(), StoreError> {
        self.persist(PersistMode::SyncAll)?;
        self.directory.end(self.last_batch, log)
    }
}
