//! The journals of the database, read by ourselves before the database reads them: it takes a damaged record for the
//! end and cuts off what follows. Each batch has a number of ours and a checksum, so what is missing is known.
//!
//! A batch is a start (1, how many items, its place in the database's order), its items (2, what it does, how it is
//! packed, table, lengths, key, value) and an end (3, a checksum of the items, a magic word). Integers are in
//! little-endian order. Behind the last batch of a file there may be zeros.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

use super::StoreError;
use super::batch::{self, Batch};
use super::directory;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 4] = b"FJL\x03";

/// What was found in the journals.
#[derive(Debug, Default)]
pub(super) struct Journals {
    /// The number of the last batch, if there is one.
    pub(super) last: Option<u64>,
    /// Up to which batch the database has everything of the log, if a batch says that.
    pub(super) known: Option<u64>,
    /// How many batches there are.
    pub(super) batches: u64,
    /// What is wrong, and where the journals could be cut to be right again.
    pub(super) damage: Option<Damage>,
    /// What follows the last batch and is no whole batch: the file, where it begins and how much it is. A crash while a
    /// batch is written leaves that.
    pub(super) torn: Option<(PathBuf, usize, usize)>,
}

/// Batches are missing that were there.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) what: String,
    /// The file from which on nothing follows that could be used, and where in it.
    pub(super) file: PathBuf,
    pub(super) at: usize,
}

/// The journals of a database, the oldest first.
pub(super) fn files(database: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl")
            && let Some(number) = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok())
        {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// Reads all journals.
pub(super) fn read(database: &Path) -> Result<Journals, StoreError> {
    let mut journals = Journals::default();
    let files = files(database)?;
    for (index, path) in files.iter().enumerate() {
        let bytes = fs::read(path)?;
        let is_last = index.saturating_add(1) == files.len();
        journals.read_file(path, &bytes, is_last);
        if journals.damage.is_some() {
            break;
        }
    }
    Ok(journals)
}

impl Journals {
    fn read_file(&mut self, path: &Path, bytes: &[u8], is_last: bool) {
        let mut at = 0_usize;
        while let Some(seen) = bytes.get(at..).and_then(read_batch) {
            if let Some(number) = seen.number {
                if self.last.is_some_and(|last| last.checked_add(1) != Some(number)) {
                    let last = self.last.unwrap_or_default();
                    self.damaged(path, at, format!("batch {last} is followed by batch {number}"));
                    return;
                }
                self.last = Some(number);
                self.known = seen.known.or(self.known);
                self.batches = self.batches.saturating_add(1);
            }
            at = at.saturating_add(seen.length);
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let used = rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
        if used == 0 {
            return;
        }
        let later = (1..used)
            .find_map(|skip| rest.get(skip..).filter(|rest| rest.first() == Some(&1)).and_then(read_batch));
        match later {
            Some(later) => {
                let number = later.number.map_or_else(String::new, |number| format!(" {number}"));
                self.damaged(path, at, format!("a batch cannot be read, and batch{number} follows it"));
            }
            None if is_last => self.torn = Some((path.to_owned(), at, used)),
            None => self.damaged(path, at, "its end cannot be read, and another file follows it".to_owned()),
        }
    }

    fn damaged(&mut self, path: &Path, at: usize, what: String) {
        let name = path.file_name().unwrap_or_default().display();
        let what = format!("{name} at byte {at}: {what}");
        self.damage = Some(Damage { what, file: path.to_owned(), at });
    }
}

/// Ends a journal here.
pub(super) fn cut(path: &Path, at: usize) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(at as u64)?;
    file.sync_all()
}

/// Ends the journals where the damage begins. What is cut off is kept beside the database.
pub(super) fn cut_all(database: &Path, damage: &Damage) -> io::Result<()> {
    let aside = database.with_file_name("damaged");
    directory::make(&aside)?;
    let mut is_behind = false;
    for file in files(database)? {
        let name = file.file_name().unwrap_or_default();
        if file == damage.file {
            is_behind = true;
            fs::copy(&file, aside.join(name))?;
            cut(&file, damage.at)?;
        } else if is_behind {
            fs::copy(&file, aside.join(name))?;
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

struct Seen {
    length: usize,
    /// Our number; the database has batches of its own that have none.
    number: Option<u64>,
    known: Option<u64>,
}

/// The batch that begins here, if it is whole.
fn read_batch(bytes: &[u8]) -> Option<Seen> {
    let mut rest = bytes;
    if take::<1>(&mut rest)? != [1] {
        return None;
    }
    let items = u32::from_le_bytes(take(&mut rest)?);
    let _ = take::<8>(&mut rest)?;
    let body = rest;
    let mut sum = Xxh3::new();
    let (mut number, mut known) = (None, None);
    let mut before: Option<Item<'_>> = None;
    for left in (0..items).rev() {
        let item = read_item(&mut rest)?;
        let Item { table, key, value } = item;
        // The last word is about the batch itself.
        if left == 0
            && key == Batch::KEY
            && let Some(sealed) = value.and_then(Batch::number)
        {
            sum.update(&sealed.to_be_bytes());
            // Our checksum is part of the item that the database's covers.
            if value?.get(8..)? != sum.digest().to_be_bytes() {
                return None;
            }
            number = Some(sealed);
            let before = before.filter(|before| before.table == table && before.key == Batch::LOG);
            known =
                before.and_then(|before| before.value?.first_chunk()).map(|value| u64::from_be_bytes(*value));
        }
        batch::add(&mut sum, key, value);
        before = Some(item);
    }
    let length = body.len().checked_sub(rest.len())?;
    if take::<1>(&mut rest)? != [3] {
        return None;
    }
    let stated = u64::from_le_bytes(take(&mut rest)?);
    if &take::<4>(&mut rest)? != MAGIC || xxhash_rust::xxh3::xxh3_64(body.get(..length)?) != stated {
        return None;
    }
    Some(Seen { length: bytes.len().checked_sub(rest.len())?, number, known })
}

/// What is put or removed.
#[derive(Clone, Copy)]
struct Item<'a> {
    table: [u8; 8],
    key: &'a [u8],
    /// Nothing where it is removed.
    value: Option<&'a [u8]>,
}

fn read_item<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    match take::<1>(rest)? {
        [2] => {}
        // A table was emptied, which we never do.
        _ => return None,
    }
    let [kind, packing] = take(rest)?;
    let table = take(rest)?;
    let key = u16::from_le_bytes(take(rest)?);
    let _ = take::<4>(rest)?;
    let value = u32::from_le_bytes(take(rest)?);
    if kind > 2 || packing != 0 {
        return None;
    }
    let (key, behind) = rest.split_at_checked(usize::from(key))?;
    let (value, behind) = behind.split_at_checked(usize::try_from(value).ok()?)?;
    *rest = behind;
    Some(Item { table, key, value: (kind == 0).then_some(value) })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}
