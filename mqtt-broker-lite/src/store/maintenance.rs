//! What an operator does with a store that nobody has open: look whether it is whole, use what is left of it, read it.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

#[cfg(unix)]
use super::CONTROL;
use super::directory::Directory;
use super::durable::Durable;
use super::fjall::Fjall;
use super::json;
use super::record::{self, Kind};
use super::{StoreError, SyncMode, journals, scan, tables};
use std::fs;
use std::io::Write;
#[cfg(unix)]
use std::io::{ErrorKind, Read};
#[cfg(unix)]
use std::os::unix::{ffi::OsStrExt, net::UnixStream};
use std::path::Path;

/// Something about a store, and whether it is a fault.
#[derive(Debug)]
pub struct Finding {
    /// One line.
    pub text: String,
    /// Whether something is missing that was stored.
    pub is_damage: bool,
}

impl Finding {
    fn note(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_damage: false }
    }

    fn damage(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_damage: true }
    }
}

/// Looks at everything in a store, without changing it.
///
/// # Errors
/// It cannot be looked at: somebody has it open, or it is none.
pub fn check(directory: &Path) -> Result<Vec<Finding>, StoreError> {
    let directory = Directory::existing(directory)?;
    if !directory.has_store()? {
        return Ok(vec![Finding::note("nothing was stored yet")]);
    }
    let database = directory.database();
    let journals = journals::read(&database)?;
    let (mut findings, log, below) = check_log(&directory, journals.known)?;
    findings.extend(tables::damage(&database)?.into_iter().map(Finding::damage));
    let last = journals.last.unwrap_or_default();
    findings
        .push(Finding::note(format!("{} batches in the journals, up to number {last}", journals.batches)));
    if let Some(damage) = journals.damage {
        findings.push(Finding::damage(damage.what));
    } else if let Err(error) = directory.check_ending(last, log) {
        findings.push(Finding::damage(error.to_string()));
    } else if journals.last.is_some() && below > last && !directory.is_repaired() {
        findings.push(Finding::damage(format!(
            "the journals end with batch {last}, but the log was written after batch {below}"
        )));
    }
    if let Some((file, at, length)) = journals.torn {
        let name = file.file_name().unwrap_or_default().display();
        findings.push(Finding::note(format!(
            "{name} at byte {at}: {length} bytes of a batch that was not written to its end"
        )));
    }
    Ok(findings)
}

/// What is in the log, its last batch, and after which batch of the database it was written.
fn check_log(
    directory: &Directory,
    known: Option<u64>,
) -> Result<(Vec<Finding>, Option<u64>, u64), StoreError> {
    let found = match directory.read_log() {
        Ok(found) => found.unwrap_or_default(),
        Err(StoreError::Damaged(what)) => return Ok((vec![Finding::damage(what)], None, 0)),
        Err(error) => return Err(error),
    };
    let last = found.last();
    let known = if directory.is_closed() { last.max(known) } else { known }.unwrap_or_default();
    let needed = found.needed(known);
    let mut findings = vec![Finding::note(format!(
        "{needed} batches in the log that the database may not have, up to number {}",
        last.unwrap_or_default()
    ))];
    let verdict = found.judge(known, directory.is_repaired());
    findings.extend(verdict.damage.into_iter().map(Finding::damage));
    findings.extend(verdict.torn.map(Finding::note));
    Ok((findings, last, found.below()))
}

/// Makes a store usable again that is damaged: what cannot be read is left out, and kept beside it in `damaged`.
///
/// # Errors
/// Nothing can be done.
pub fn repair(directory: &Path) -> Result<Vec<Finding>, StoreError> {
    let findings = check(directory)?;
    if !findings.iter().any(|finding| finding.is_damage) {
        return Ok(vec![Finding::note("nothing to repair")]);
    }
    let mut done = Vec::new();
    let owned = Directory::existing(directory)?;
    done.extend(scan::repair(&owned.log())?.into_iter().map(Finding::damage));
    let database = owned.database();
    while let Some(damage) = journals::read(&database)?.damage {
        done.push(Finding::damage(format!("{}: cut off here", damage.what)));
        journals::cut_all(&database, &damage)?;
    }
    if let Some((file, at, length)) = journals::read(&database)?.torn {
        done.push(Finding::note(format!("{length} bytes of an unfinished batch: cut off")));
        journals::cut(&file, at)?;
    }
    owned.set_repaired()?;
    let damaged_tables = tables::damage(&database)?;
    if damaged_tables.is_empty() {
        return Ok(done);
    }
    done.extend(damaged_tables.into_iter().map(Finding::damage));
    drop(owned);
    done.push(salvage(directory)?);
    Ok(done)
}

/// Copies what can be read into a new store, which takes the place of the old one.
fn salvage(directory: &Path) -> Result<Finding, StoreError> {
    let fresh = directory.with_extension("repaired");
    let aside = directory.join("damaged");
    let kept = {
        let old = Fjall::open_damaged(directory)?;
        let mut new = Fjall::open(Directory::open(&fresh)?, SyncMode::Always, None)?;
        let mut kept = 0_u64;
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Meta) {
            kept = kept.saturating_add(new.copy_table(&old, kind)?);
        }
        // The log goes on where it was.
        new.take(Vec::new(), old.log_base().unwrap_or_default())?;
        new.close(None)?;
        kept
    };
    super::directory::make(&aside)?;
    let _ = fs::remove_dir_all(aside.join("db"));
    fs::rename(directory.join("db"), aside.join("db"))?;
    fs::rename(fresh.join("db"), directory.join("db"))?;
    fs::remove_dir_all(&fresh)?;
    Ok(Finding::note(format!(
        "{kept} records were read and are in a new database; the old one is in `damaged`"
    )))
}

/// Writes every record as one line of JSON.
///
/// # Errors
/// It cannot be read, or not be written.
pub fn dump(directory: &Path, out: &mut impl Write) -> Result<(), StoreError> {
    drop(Directory::existing(directory)?);
    let mut store = Durable::open(directory, SyncMode::Always)?;
    let database = store.whole()?;
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Meta) {
        database.each(kind, &mut |key, value| {
            for change in record::changes(kind, key, value)? {
                writeln!(out, "{}", json::line(&change))?;
            }
            Ok(())
        })?;
    }
    super::Store::close(&mut store)
}

/// Copies a store to a directory that is missing or empty. If a broker has it open, the broker makes the copy, while it
/// goes on.
///
/// # Errors
/// It cannot be read, or not be written there.
pub fn backup(directory: &Path, target: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    match Directory::existing(directory) {
        Err(StoreError::InUse(_)) => return ask_for_backup(directory, target),
        other => drop(other?),
    }
    #[cfg(not(unix))]
    drop(Directory::existing(directory)?);
    let mut store = Durable::open(directory, SyncMode::Always)?;
    store.whole()?.snapshot().copy_to(target)?;
    super::Store::close(&mut store)
}

/// Lets the broker that has it open copy it.
#[cfg(unix)]
fn ask_for_backup(directory: &Path, target: &Path) -> Result<(), StoreError> {
    // Another of these commands may have it.
    let Ok(mut stream) = UnixStream::connect(directory.join(CONTROL)) else {
        return Err(StoreError::InUse(directory.to_owned()));
    };
    let target = std::path::absolute(target)?;
    stream.write_all(target.as_os_str().as_bytes())?;
    stream.write_all(b"\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.trim_end() {
        "done" => Ok(()),
        "" => Err(StoreError::Io(ErrorKind::UnexpectedEof.into())),
        fault => Err(StoreError::Io(std::io::Error::other(fault.to_owned()))),
    }
}

/// Gives back the space of what was removed.
///
/// # Errors
/// It cannot be read or written.
pub fn compact(directory: &Path) -> Result<(), StoreError> {
    drop(Directory::existing(directory)?);
    let mut store = Durable::open(directory, SyncMode::Always)?;
    store.compact()?;
    super::Store::close(&mut store)
}
