//! The data directory: whose it is, which format it has, and that nobody else uses it.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

use super::StoreError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The format of everything in the directory. A version that cannot read what the one before wrote counts up.
const FORMAT: u32 = 1;
const TITLE: &str = "mqtt-broker-lite data, format ";

/// A data directory that is ours alone for as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
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
            None => write_whole(path, "format", format!("{TITLE}{FORMAT}\n").as_bytes())?,
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
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
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
