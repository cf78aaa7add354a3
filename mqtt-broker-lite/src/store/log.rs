//! The log: what is committed is written here first, batch behind batch, into files that are used again and again. A file
//! that is written over has all its blocks, so that a sync of it has nothing to do but the bytes.
//!
//! A batch is a header and steps, see [`super::step`], and begins where a page of the disk does. Batches have consecutive
//! numbers over all files and starts, so what is behind the last one is known: it has lower numbers, or is none.
//! A header says up to which number the database has everything; what is above that is in the log, without a gap.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

use super::directory::{private, write_whole};
use super::{StoreError, SyncMode};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Of the disk: what was written here is not touched by what is written there.
pub(super) const PAGE: usize = 4096;
pub(super) const HEADER: usize = 56;
const MAGIC: [u8; 8] = *b"mqttlog\x01";
/// Memory that is kept for the next batch.
const KEPT: usize = 1 << 20;
/// The file with the seed of all checksums: nobody outside can make a message that looks like a batch.
pub(super) const SEED: &str = "seed";

/// What a batch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    /// The database has everything up to this batch.
    pub(super) base: u64,
    /// A batch of the database that was on the disk when this one was written.
    pub(super) below: u64,
    /// How long the steps are.
    pub(super) length: u64,
    /// Their checksum.
    pub(super) sum: u64,
}

/// What the first bytes of a page say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    Of(Header),
    /// It was one, and is not as it was written.
    Spoiled,
    Other(u64),
}

impl Header {
    fn write(self, seed: u64, to: &mut [u8]) {
        let fields =
            [self.number, self.base, self.below, self.length, self.sum].map(u64::to_be_bytes).concat();
        let stated = [&MAGIC[..], &fields].concat();
        let sum = xxh3_64_with_seed(&stated, seed).to_be_bytes();
        for (to, from) in to.iter_mut().zip(stated.iter().chain(&sum)) {
            *to = *from;
        }
    }

    pub(super) fn read(seed: u64, page: &[u8]) -> Beginning {
        let fields = page.as_chunks::<8>().0;
        let Some([magic, rest @ ..]) = fields.first_chunk::<7>() else {
            return Beginning::Other(0);
        };
        let [number, base, below, length, sum, own] = rest.map(u64::from_be_bytes);
        let stated = page.get(..HEADER.saturating_sub(8)).unwrap_or_default();
        match (*magic == MAGIC, xxh3_64_with_seed(stated, seed) == own) {
            (true, true) => Beginning::Of(Self { number, base, below, length, sum }),
            (true, false) => Beginning::Spoiled,
            (false, _) => Beginning::Other(number),
        }
    }

    /// How much of the file the batch takes.
    pub(super) fn pages(&self) -> u64 {
        pages(self.length.saturating_add(HEADER as u64))
    }
}

pub(super) fn sum(seed: u64, steps: &[u8]) -> u64 {
    xxh3_64_with_seed(steps, seed)
}

/// Rounded up to whole pages.
fn pages(length: u64) -> u64 {
    length.checked_next_multiple_of(PAGE as u64).unwrap_or(u64::MAX)
}

/// A file of the log. Its name is its number among the files and its length.
#[derive(Debug)]
pub(super) struct Segment {
    /// The how many-th it is in the order in which they were written.
    pub(super) serial: u64,
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    /// The last batch in it.
    pub(super) last: u64,
    /// How many steps were written to it.
    pub(super) steps: usize,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    /// Where its steps begin.
    pub(super) at: u64,
}

/// The log, to be written.
pub(super) struct Log {
    directory: PathBuf,
    seed: u64,
    pub(super) sync: SyncMode,
    /// How long a file is.
    size: u64,
    /// What is needed, the oldest first; the last is being written.
    pub(super) segments: VecDeque<Segment>,
    /// Not needed any more, which is not on the disk yet.
    leaving: Vec<Segment>,
    free: Vec<Segment>,
    /// Where the next batch begins in the last file.
    at: u64,
    /// The number of the last batch.
    pub(super) number: u64,
    /// The database has everything up to this batch.
    pub(super) base: u64,
    /// A batch of the database that is on the disk.
    pub(super) below: u64,
    next_file: u64,
    next_serial: u64,
    /// The batch that is being made.
    pub(super) batch: Vec<u8>,
}

/// After so many steps a file is full, whatever they are, so that those in memory are not too many.
const STEPS: usize = 100_000;

impl Log {
    /// A log without files.
    pub(super) fn new(directory: PathBuf, seed: u64, sync: SyncMode, size: u64) -> Self {
        Self {
            directory,
            seed,
            sync,
            size: pages(size),
            segments: VecDeque::new(),
            leaving: Vec::new(),
            free: Vec::new(),
            at: 0,
            number: 0,
            base: 0,
            below: 0,
            next_file: 0,
            next_serial: 1,
            batch: Vec::new(),
        }
    }

    /// Takes a file that was found as the newest of those that are needed; its number.
    pub(super) fn adopt(&mut self, (path, file, length): &(PathBuf, Arc<File>, u64)) -> u64 {
        let serial = self.serial();
        let (path, file, length) = (path.clone(), Arc::clone(file), *length);
        self.segments.push_back(Segment { serial, file, path, length, last: 0, steps: 0 });
        serial
    }

    /// A batch of the newest file ends here; the next comes behind it.
    pub(super) fn resume(&mut self, number: u64, end: u64) {
        self.at = end;
        if let Some(segment) = self.segments.back_mut() {
            segment.last = number;
        }
    }

    /// Has the rest of what was found for what comes.
    pub(super) fn keep(&mut self, files: Vec<(PathBuf, Arc<File>, u64)>) -> io::Result<()> {
        for (path, file, length) in files {
            let number = name_of(&path).map_or(0, |(number, _)| number);
            self.next_file = self.next_file.max(number.saturating_add(1));
            if self.segments.iter().all(|segment| segment.path != path) {
                self.leaving.push(Segment { serial: 0, file, path, length, last: 0, steps: 0 });
            }
        }
        self.release()
    }

    fn serial(&mut self) -> u64 {
        let serial = self.next_serial;
        self.next_serial = serial.saturating_add(1);
        serial
    }

    /// What all files take.
    pub(super) fn size(&self) -> u64 {
        let all = self.segments.iter().chain(&self.leaving).chain(&self.free);
        all.map(|segment| segment.length).sum()
    }

    pub(super) fn file(&self, serial: u64) -> Option<&Arc<File>> {
        let first = self.segments.front()?.serial;
        let index = usize::try_from(serial.checked_sub(first)?).ok()?;
        self.segments.get(index).map(|segment| &segment.file)
    }

    /// Begins a batch; its steps are appended to it.
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.batch.clear();
        self.batch.resize(HEADER, 0);
        &mut self.batch
    }

    /// The steps of the batch that is being made.
    pub(super) fn steps(&self) -> &[u8] {
        self.batch.get(HEADER..).unwrap_or_default()
    }

    /// Writes the batch, and makes it as safe as it is to be; true if a new file was begun for it.
    pub(super) fn write(&mut self) -> Result<(Place, bool), StoreError> {
        let end = self.batch.len();
        self.batch.resize(usize::try_from(pages(end as u64)).unwrap_or(usize::MAX), 0);
        let taken = self.batch.len() as u64;
        let is_full = self
            .segments
            .back()
            .is_none_or(|segment| self.at.saturating_add(taken) > segment.length || segment.steps > STEPS);
        if is_full {
            self.next_segment(taken)?;
        }
        let number = self.number.saturating_add(1);
        let steps = self.batch.get(HEADER..end).unwrap_or_default();
        let (base, below, length) = (self.base, self.below, steps.len() as u64);
        let header = Header { number, base, below, length, sum: sum(self.seed, steps) };
        header.write(self.seed, &mut self.batch);
        let Some(segment) = self.segments.back_mut() else {
            return Err(StoreError::Io(ErrorKind::NotFound.into()));
        };
        segment.file.write_all_at(&self.batch, self.at)?;
        // What is written over must not be needed any more.
        if self.sync == SyncMode::Always || !self.leaving.is_empty() {
            segment.file.sync_data()?;
        }
        segment.last = number;
        let place = Place { segment: segment.serial, at: self.at.saturating_add(HEADER as u64) };
        self.number = number;
        self.at = self.at.saturating_add(taken);
        self.batch.truncate(end);
        self.release()?;
        Ok((place, is_full))
    }

    /// What is said to be not needed is on the disk now, so it can be written over.
    fn release(&mut self) -> io::Result<()> {
        for segment in self.leaving.drain(..) {
            if segment.length == self.size {
                self.free.push(segment);
            } else {
                fs::remove_file(&segment.path)?;
            }
        }
        Ok(())
    }

    /// Counts steps that were written to the last file.
    pub(super) fn count(&mut self, steps: usize) {
        if let Some(segment) = self.segments.back_mut() {
            segment.steps = segment.steps.saturating_add(steps);
        }
        // One large batch does not keep its memory for ever.
        if self.batch.capacity() > KEPT {
            self.batch.clear();
            self.batch.shrink_to(KEPT);
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.segments.back().map_or(Ok(()), |segment| segment.file.sync_data())
    }

    /// The oldest file is not needed any more.
    pub(super) fn leave_first(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            self.base = self.base.max(segment.last);
            self.leaving.push(segment);
        }
    }

    /// Has a file behind those that are written, for a batch that takes so much.
    fn next_segment(&mut self, taken: u64) -> Result<(), StoreError> {
        if matches!(self.sync, SyncMode::Interval(_)) {
            self.sync()?;
        }
        let free = self.free.iter().position(|segment| segment.length >= taken);
        let mut segment = match free {
            Some(at) => self.free.swap_remove(at),
            None => self.make_segment(taken.max(self.size))?,
        };
        segment.serial = self.serial();
        segment.steps = 0;
        self.segments.push_back(segment);
        self.at = 0;
        Ok(())
    }

    /// A file that has all its blocks.
    fn make_segment(&mut self, length: u64) -> io::Result<Segment> {
        let name = format!("{:08}.{length}", self.next_file);
        self.next_file = self.next_file.saturating_add(1);
        let new = self.directory.join("new");
        let mut options = OpenOptions::new();
        let file = private(options.create(true).truncate(true).read(true).write(true)).open(&new)?;
        // Page by page: the system keeps what is written at once as one, and all of that is written for a page of it.
        for at in (0..length).step_by(PAGE) {
            file.write_all_at(&[0; PAGE], at)?;
        }
        file.sync_all()?;
        let path = self.directory.join(name);
        fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()?;
        Ok(Segment { serial: 0, file: Arc::new(file), path, length, last: 0, steps: 0 })
    }
}

/// The number and the length in the name of a file.
pub(super) fn name_of(path: &Path) -> Option<(u64, u64)> {
    let (number, length) = path.file_name()?.to_str()?.split_once('.')?;
    Some((number.parse().ok()?, length.parse().ok()?))
}

/// Makes the directory, with a seed of its own.
pub(super) fn make(directory: &Path) -> io::Result<u64> {
    super::directory::make(directory)?;
    let seed = std::hash::RandomState::new().build_hasher().finish();
    write_whole(
        directory,
        SEED,
        format!("{seed:016x} {:016x}\n", xxh3_64_with_seed(b"seed", seed)).as_bytes(),
    )?;
    if let Some(parent) = directory.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(seed)
}

/// The seed of all checksums in a log; nothing where it is not what it was.
pub(super) fn seed(directory: &Path) -> io::Result<Option<u64>> {
    let text = match fs::read(directory.join(SEED)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let read = || {
        let (seed, sum) = std::str::from_utf8(&text).ok()?.trim_end().split_once(' ')?;
        let seed = u64::from_str_radix(seed, 16).ok()?;
        (u64::from_str_radix(sum, 16).ok()? == xxh3_64_with_seed(b"seed", seed)).then_some(seed)
    };
    Ok(read())
}
