//! What is still alive in the oldest files of the log goes into the database's tables, by a thread beside the committer.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

use super::StoreError;
use super::record::Kind;
use super::young::{Entry, Item};
use crate::core::SessionNumber;
use fjall::{Keyspace, Slice};
use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// With more records than this files are read as a whole.
const MANY: usize = 1000;
/// So many runs that are not merged are too many.
const RUNS: usize = 16;
/// How long to wait until they are fewer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A record with its value; without one it is removed.
pub(super) type Record = (Kind, Slice, Option<Slice>);

/// What is to be moved.
pub(super) struct Load {
    pub(super) forgotten: Vec<SessionNumber>,
    pub(super) items: Vec<Item>,
    pub(super) files: HashMap<u64, Arc<File>>,
    /// In the order of [`Kind::ALL`].
    pub(super) tables: [Keyspace; Kind::ALL.len()],
    /// With so many bytes a table of the database is written directly.
    pub(super) direct: usize,
    /// The last batch of what is moved.
    pub(super) last: u64,
}

/// What was moved: what is left is to be written as a batch.
pub(super) struct Moved {
    pub(super) load: Load,
    pub(super) rest: Vec<Record>,
}

/// A move that goes on.
pub(super) struct Move(JoinHandle<Result<Moved, StoreError>>);

impl Move {
    pub(super) fn start(load: Load) -> Result<Self, StoreError> {
        let thread = std::thread::Builder::new().name("mqtt-move".to_owned());
        Ok(Self(thread.spawn(move || load.run())?))
    }

    pub(super) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    pub(super) fn wait(self) -> Result<Moved, StoreError> {
        self.0.join().unwrap_or_else(|_| Err(StoreError::Io(std::io::Error::other("a move panicked"))))
    }
}

impl Load {
    pub(super) fn run(self) -> Result<Moved, StoreError> {
        let mut values = Values { files: &self.files, whole: HashMap::new() };
        if self.items.len() > MANY {
            values.read_all()?;
        }
        let mut rest = Vec::new();
        for of_kind in self.items.chunk_by(|one, other| one.kind == other.kind) {
            let Some(kind) = of_kind.first().map(|item| item.kind) else {
                continue;
            };
            let size = |item: &Item| item.key.len().saturating_add(item.entry.length.unwrap_or(0) as usize);
            match self.tables.get(kind as usize) {
                Some(table) if of_kind.iter().map(size).sum::<usize>() >= self.direct => {
                    ingest(table, of_kind, &values)?;
                }
                _ => {
                    for item in of_kind {
                        rest.push((kind, item.key.clone(), values.get(&item.entry)?));
                    }
                }
            }
        }
        drop(values);
        Ok(Moved { load: self, rest })
    }
}

/// Writes a table of these, without the way over the journal.
fn ingest(table: &Keyspace, items: &[Item], values: &Values<'_>) -> Result<(), StoreError> {
    // Its own writes wait in the same way. If it has failed, it says so when it is written.
    let begin = Instant::now();
    while table.l0_table_count() > RUNS && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut ingestion = table.start_ingestion()?;
    for item in items {
        match values.get(&item.entry)? {
            Some(value) => ingestion.write(item.key.clone(), value)?,
            None => ingestion.write_tombstone(item.key.clone())?,
        }
    }
    Ok(ingestion.finish()?)
}

/// The values in the log.
struct Values<'a> {
    files: &'a HashMap<u64, Arc<File>>,
    whole: HashMap<u64, Vec<u8>>,
}

impl Values<'_> {
    fn read_all(&mut self) -> Result<(), StoreError> {
        for (serial, file) in self.files {
            let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, 0)?;
            self.whole.insert(*serial, bytes);
        }
        Ok(())
    }

    fn get(&self, entry: &Entry) -> Result<Option<Slice>, StoreError> {
        let Some(length) = entry.length else {
            return Ok(None);
        };
        match self.whole.get(&entry.segment) {
            Some(bytes) => {
                let at = usize::try_from(entry.at).unwrap_or(usize::MAX);
                let value = bytes.get(at..at.saturating_add(length as usize));
                value.map(|value| Some(value.into())).ok_or(StoreError::Io(ErrorKind::UnexpectedEof.into()))
            }
            None => value(self.files.get(&entry.segment), entry.at, length).map(Some),
        }
    }
}

/// Reads a value from a file of the log.
pub(super) fn value(file: Option<&Arc<File>>, at: u64, length: u32) -> Result<Slice, StoreError> {
    let file = file.ok_or(StoreError::Io(ErrorKind::NotFound.into()))?;
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.into())
}
