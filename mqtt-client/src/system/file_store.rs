//! A store in a file: a log of batches of changes, each with a number and checksums, that is written anew when most of it
//! is history.
//!
//! A batch is what one `sync` makes safe, so one is written only after the one before it is on the disk. That tells a torn
//! write from damage: behind a torn batch there is never a whole one.

use crate::engine::Key;
use crate::store::Store;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file's first bytes: what it is, and the version of its format.
const MAGIC: &[u8; 8] = b"mqttses2";
/// Of a batch: its number, its length, the checksum of its changes and that of these three, four bytes each.
const HEAD: usize = 16;
/// Key and length of a change.
const CHANGE_HEAD: usize = 8;
/// The length of a removal.
const REMOVED: u32 = u32::MAX;
/// History of less than this is not worth writing the file anew.
const HISTORY: u64 = 64 * 1024;

/// A [`Store`] in a file.
///
/// What a crash tore at the end of the file is cut off when it is opened: nothing was promised on it. Damage before the end
/// is an error, and the file stays as it is.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    file: File,
    records: BTreeMap<Key, Vec<u8>>,
    /// Changes that are not written yet, and the number of the batch that they will be.
    pending: Vec<u8>,
    number: u32,
    /// How long the file is, and how long one without history would be.
    len: u64,
    live: u64,
}

impl FileStore {
    /// Opens the store in the file at `path`, or makes an empty one there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] for a file that is no store, or damaged; those of the system.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_path_buf();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(&bytes) {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(MAGIC)?;
            file.sync_all()?;
            sync_directory(&path)?;
            bytes = MAGIC.to_vec();
        }
        let Some(changes) = bytes.strip_prefix(MAGIC) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let Log { records, number, whole } = replay(changes)?;
        let len = MAGIC.len().wrapping_add(whole) as u64;
        file.set_len(len)?;
        file.seek(SeekFrom::Start(len))?;
        let live = records.values().map(|record| size(record)).sum();
        Ok(Self { path, file, records, pending: Vec::new(), number, len, live })
    }

    /// How many records are kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Writes the records alone into a new file, and puts it in place of the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut changes = Vec::new();
        for (key, record) in &self.records {
            push_change(&mut changes, *key, Some(record));
        }
        let bytes = [MAGIC, &head(0, &changes)?[..], &changes].concat();
        let path = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&path, &self.path)?;
        // The old file has no name any more: whatever happens next, changes go to the new one.
        self.len = bytes.len() as u64;
        self.file = file;
        self.number = 1;
        sync_directory(&self.path)
    }
}

/// The length of a change that keeps `record`.
fn size(record: &[u8]) -> u64 {
    record.len().wrapping_add(CHANGE_HEAD) as u64
}

fn push_change(bytes: &mut Vec<u8>, key: Key, record: Option<&[u8]>) {
    let (len, record) = match record {
        Some(record) => (record.len() as u32, record),
        None => (REMOVED, &[][..]),
    };
    bytes.extend_from_slice(&key.to_be_bytes());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(record);
}

/// The front of a batch.
fn head(number: u32, changes: &[u8]) -> io::Result<[u8; HEAD]> {
    let len = u32::try_from(changes.len()).map_err(|_| ErrorKind::FileTooLarge)?;
    let words = [number, len, checksum(changes)].map(u32::to_be_bytes);
    let [number, len, sum] = words;
    let mut head = [0; HEAD];
    for (place, word) in
        head.chunks_exact_mut(4).zip([number, len, sum, checksum(words.as_flattened()).to_be_bytes()])
    {
        place.copy_from_slice(&word);
    }
    Ok(head)
}

/// CRC-32 (IEEE).
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| {
                if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 }
            },
        )
    })
}

/// What a file's batches leave: the records, the next batch's number, and how many bytes are whole batches.
struct Log {
    records: BTreeMap<Key, Vec<u8>>,
    number: u32,
    whole: usize,
}

fn replay(batches: &[u8]) -> io::Result<Log> {
    let mut log = Log { records: BTreeMap::new(), number: 0, whole: 0 };
    let mut rest = batches;
    while let Some((number, changes, behind)) = batch(rest).filter(|(number, ..)| *number == log.number) {
        apply(changes, &mut log.records).ok_or(ErrorKind::InvalidData)?;
        log.number = number.wrapping_add(1);
        rest = behind;
    }
    let later = |at| rest.get(at..).and_then(batch).is_some_and(|(number, ..)| number > log.number);
    if (1..rest.len()).any(later) {
        return Err(ErrorKind::InvalidData.into());
    }
    log.whole = batches.len().wrapping_sub(rest.len());
    Ok(log)
}

/// The whole batch at the front of `bytes`: its number, its changes, and what stands behind it.
fn batch(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (head, behind) = bytes.split_first_chunk::<HEAD>()?;
    let (checked, head_sum) = head.split_last_chunk::<4>()?;
    if checksum(checked) != u32::from_be_bytes(*head_sum) {
        return None;
    }
    let mut words = checked.chunks_exact(4).filter_map(|word| Some(u32::from_be_bytes(*word.first_chunk()?)));
    let (number, len, sum) = (words.next()?, words.next()?, words.next()?);
    let (changes, behind) = behind.split_at_checked(len as usize)?;
    (checksum(changes) == sum).then_some((number, changes, behind))
}

/// Replays the changes of a batch; `None` if they are not what a batch holds.
fn apply(changes: &[u8], records: &mut BTreeMap<Key, Vec<u8>>) -> Option<()> {
    let mut rest = changes;
    while !rest.is_empty() {
        let (key, behind) = rest.split_first_chunk::<4>()?;
        let (len, behind) = behind.split_first_chunk::<4>()?;
        let (key, len) = (Key::from_be_bytes(*key), u32::from_be_bytes(*len));
        if len == REMOVED {
            records.remove(&key);
            rest = behind;
            continue;
        }
        let (record, behind) = behind.split_at_checked(len as usize)?;
        records.insert(key, record.to_vec());
        rest = behind;
    }
    Some(())
}

/// A new name is safe once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

impl Store for FileStore {
    type Error = io::Error;

    fn put(&mut self, key: Key, record: &[u8]) -> io::Result<()> {
        push_change(&mut self.pending, key, Some(record));
        let old = self.records.insert(key, record.to_vec());
        self.live = self.live.wrapping_add(size(record)).wrapping_sub(old.map_or(0, |old| size(&old)));
        Ok(())
    }

    fn remove(&mut self, key: Key) -> io::Result<()> {
        if let Some(old) = self.records.remove(&key) {
            push_change(&mut self.pending, key, None);
            self.live = self.live.wrapping_sub(size(&old));
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let len = self.len.wrapping_add(HEAD.wrapping_add(self.pending.len()) as u64);
        if len > HISTORY && len / 2 > self.live {
            self.rewrite()?;
            self.pending.clear();
            return Ok(());
        }
        // A failed write may have left a part: the next one goes over it.
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(&[&head(self.number, &self.pending)?[..], &self.pending].concat())?;
        self.file.sync_data()?;
        self.len = len;
        self.number = self.number.wrapping_add(1);
        self.pending.clear();
        Ok(())
    }

    fn next(&mut self, from: Key, buffer: &mut [u8]) -> io::Result<Option<(Key, usize)>> {
        let Some((key, record)) = self.records.range(from..).next() else {
            return Ok(None);
        };
        let place = buffer.get_mut(..record.len()).ok_or(ErrorKind::OutOfMemory)?;
        place.copy_from_slice(record);
        Ok(Some((*key, record.len())))
    }
}
