//! The data directory: whose it is, which format it has, and that nobody else uses it.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

use super::scan::{self, Found};
use super::{StoreError, SyncMode, journals};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The format of everything in the directory; what has changed counts it up. What is older is read as it is, and new
/// records beside it are of the newest format: 2 keeps a message for one queue with its place there, 3 has a log.
const FORMAT: u32 = 3;
/// Since then there is a log.
const WITH_LOG: u32 = 3;
const TITLE: &str = "mqtt-broker-lite data, format ";

/// A data directory that is ours alone for as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    format: u32,
    _lock: File,
}

impl Directory {
    /// Takes a directory, making it one of ours if it is empty or missing.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        make(path)?;
        let format = path.join("format");
        let found = match fs::read_to_string(&format) {
            Ok(text) => Some(read_format(&text)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if found.is_none() && !is_empty(path)? {
            return Err(StoreError::Foreign(path.to_owned()));
        }
        let lock = lock(path)?;
        match found {
            Some(found) if found > FORMAT => return Err(StoreError::Newer { found, known: FORMAT }),
            Some(_) => {}
            None => write_format(path)?,
        }
        Ok(Self { path: path.to_owned(), format: found.unwrap_or(FORMAT), _lock: lock })
    }

    /// Takes a directory that is one of ours already.
    pub(super) fn existing(path: &Path) -> Result<Self, StoreError> {
        if path.join("format").exists() {
            Self::open(path)
        } else {
            Err(StoreError::Foreign(path.to_owned()))
        }
    }

    /// Whether there is a store here, or only the beginning of one.
    pub(super) fn has_store(&self) -> Result<bool, StoreError> {
        let database = self.database();
        if database.join("version").exists() {
            return Ok(true);
        }
        if self.path.join("mode").exists() {
            return Err(StoreError::Damaged("the database is gone".to_owned()));
        }
        // It was never opened, so nothing was ever stored.
        match fs::remove_dir_all(&database) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(false),
        }
    }

    /// How the last process to write here made things safe.
    pub(super) fn was_always_synced(&self) -> bool {
        fs::read_to_string(self.path.join("mode")).is_ok_and(|mode| mode.trim_end() == "always")
    }

    /// From now on somebody writes here.
    pub(super) fn begin(&self, mode: SyncMode) -> Result<(), StoreError> {
        // Before anything is written that an older version could not read.
        if self.format < FORMAT {
            tracing::info!("the store has format {} and goes on with {FORMAT}", self.format);
            write_format(&self.path)?;
        }
        let mode = match mode {
            SyncMode::Always => "always\n",
            SyncMode::Interval(_) | SyncMode::Off => "later\n",
        };
        write_whole(&self.path, "mode", mode.as_bytes())?;
        for name in ["closed", "repaired"] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(File::open(&self.path)?.sync_all()?)
    }

    /// Nobody writes here any more: what was written last, and how long the journals are.
    pub(super) fn end(&self, last_batch: u64, log: Option<u64>) -> Result<(), StoreError> {
        Ok(write_whole(&self.path, "closed", self.ending(last_batch, log)?.as_bytes())?)
    }

    fn ending(&self, last_batch: u64, log: Option<u64>) -> Result<String, StoreError> {
        let mut text = format!("batch {last_batch}\n");
        for journal in journals::files(&self.database())? {
            let name = journal.file_name().unwrap_or_default().display().to_string();
            text.push_str(&format!("{name} {}\n", fs::metadata(&journal)?.len()));
        }
        if let Some(last) = log {
            text.push_str(&format!("log {last}\n"));
        }
        Ok(text)
    }

    /// What a proper end left is still there: the last batches of the journals and of the log.
    pub(super) fn check_ending(&self, last_batch: u64, log: Option<u64>) -> Result<(), StoreError> {
        match fs::read_to_string(self.path.join("closed")) {
            Ok(text) if text == self.ending(last_batch, log)? => Ok(()),
            Ok(_) => Err(StoreError::Damaged(
                "the journals or the log do not end as they did when it was closed".to_owned(),
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(StoreError::Damaged("the file `closed` cannot be read".to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether everything was moved into the database when it was used last.
    pub(super) fn is_closed(&self) -> bool {
        self.path.join("closed").exists()
    }

    /// What is in the log; nothing where there is none yet.
    pub(super) fn read_log(&self) -> Result<Option<Found>, StoreError> {
        let found = scan::read(&self.log())?;
        if found.is_none() && self.format >= WITH_LOG && self.path.join("mode").exists() {
            return Err(StoreError::Damaged("the log is gone".to_owned()));
        }
        Ok(found)
    }

    /// What was missing was found to be missing, and the rest is to be used.
    pub(super) fn set_repaired(&self) -> Result<(), StoreError> {
        match fs::remove_file(self.path.join("closed")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        Ok(write_whole(&self.path, "repaired", b"")?)
    }

    pub(super) fn is_repaired(&self) -> bool {
        self.path.join("repaired").exists()
    }

    /// Where the log is.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the database is.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join("db")
    }
}

/// The directory itself, for its owner only.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn write_format(path: &Path) -> io::Result<()> {
    write_whole(path, "format", format!("{TITLE}{FORMAT}\n").as_bytes())
}

fn read_format(text: &str) -> Result<u32, StoreError> {
    let number = text.strip_prefix(TITLE).and_then(|rest| rest.trim_end().parse().ok());
    number
        .ok_or_else(|| StoreError::Damaged("the file `format` does not say which format this is".to_owned()))
}

/// Nothing in it but what an interrupted start may have left.
fn is_empty(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != "lock" && name != "format.new" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let lock =
        private(OpenOptions::new().create(true).truncate(false).write(true)).open(path.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Writes a file so that it is there whole or not at all.
pub(super) fn write_whole(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = private(OpenOptions::new().create(true).truncate(true).write(true)).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, directory.join(name))?;
    File::open(directory)?.sync_all()
}

/// Files that only their owner may read.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
