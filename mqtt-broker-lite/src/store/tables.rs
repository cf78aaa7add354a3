//! The files of the database's tables, compared with the checksums that it wrote of them: it looks at a part only when
//! it needs it, and believes some without looking.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

use super::StoreError;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// Compares all files; returns what is wrong.
pub(super) fn damage(database: &Path) -> Result<Vec<String>, StoreError> {
    let mut damage = Vec::new();
    let tables = database.join("keyspaces");
    let mut directories = Vec::new();
    for entry in fs::read_dir(&tables)? {
        directories.push(entry?.path());
    }
    directories.sort();
    for directory in directories {
        let name = directory.file_name().unwrap_or_default().display().to_string();
        match check(&directory) {
            Ok(()) => {}
            Err(StoreError::Damaged(what)) => damage.push(format!("table {name}: {what}")),
            Err(error) => return Err(error),
        }
    }
    Ok(damage)
}

fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged(what.into())
}

fn check(directory: &Path) -> Result<(), StoreError> {
    let current = match fs::read(directory.join("current")) {
        Ok(current) => current,
        // It was being made when the power was cut; there is nothing in it yet.
        Err(error) if error.kind() == ErrorKind::NotFound && is_unfinished(directory)? => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(damaged("the file `current` is gone"));
        }
        Err(error) => return Err(error.into()),
    };
    let Some((version, rest)) = current.split_first_chunk::<8>() else {
        return Err(damaged("`current` is too short"));
    };
    let Some((stated, [0])) = rest.split_first_chunk::<16>() else {
        return Err(damaged("`current` has not its length"));
    };
    let name = format!("v{}", u64::from_le_bytes(*version));
    let path = directory.join(&name);
    if sum(&path)? != Some(u128::from_le_bytes(*stated)) {
        return Err(damaged(format!("`{name}` is not as it was written")));
    }
    for (number, stated) in listed(&path)? {
        let found = sum(&directory.join("tables").join(number.to_string()))?;
        if found != Some(stated) {
            return Err(damaged(format!("file {number} is not as it was written")));
        }
    }
    Ok(())
}

fn is_unfinished(directory: &Path) -> Result<bool, StoreError> {
    let tables = directory.join("tables");
    Ok(!tables.exists() || fs::read_dir(tables)?.next().is_none())
}

/// The checksum of a file; nothing where there is none.
fn sum(path: &Path) -> Result<Option<u128>, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut sum = Xxh3::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some(sum.digest128())),
            read => sum.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// The files of a version, each with its checksum.
fn listed(path: &Path) -> Result<Vec<(u64, u128)>, StoreError> {
    let unreadable = || damaged("the list of files cannot be read");
    let reader = sfa::Reader::new(path).map_err(|_| unreadable())?;
    let section = reader.toc().section(b"tables").ok_or_else(unreadable)?;
    let mut bytes = Vec::new();
    section.reader(path)?.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(unreadable)
}

/// Levels of runs of files.
fn parse(bytes: &[u8]) -> Option<Vec<(u64, u128)>> {
    let mut rest = bytes;
    let mut files = Vec::new();
    let [levels] = take(&mut rest)?;
    for _ in 0..levels {
        let [runs] = take(&mut rest)?;
        for _ in 0..runs {
            for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
                let number = u64::from_le_bytes(take(&mut rest)?);
                let [_] = take(&mut rest)?;
                let sum = u128::from_le_bytes(take(&mut rest)?);
                let _ = take::<8>(&mut rest)?;
                files.push((number, sum));
            }
        }
    }
    Some(files)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}
