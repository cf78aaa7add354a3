//! A store in a file: a log of changes, each with a checksum, that is written anew when most of it is history.

use crate::engine::Key;
use crate::store::Store;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file's first bytes: what it is, and the version of its format.
const MAGIC: &[u8; 8] = b"mqttses1";
/// Key, length and checksum of a change.
const HEAD: usize = 12;
/// The length of a removal.
const REMOVED: u32 = u32::MAX;
/// History of less than this is not worth writing the file anew.
const HISTORY: u64 = 64 * 1024;

/// A [`Store`] in a file.
///
/// A change that a crash tore at the end of the file is cut off when it is opened: nothing was promised on it. Damage
/// before the end is an error, and the file stays as it is.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    file: File,
    records: BTreeMap<Key, Vec<u8>>,
    /// Changes that are not written yet.
    pending: Vec<u8>,
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
        let (records, whole) = replay(changes)?;
        let len = MAGIC.len().wrapping_add(whole) as u64;
        file.set_len(len)?;
        file.seek(SeekFrom::Start(len))?;
        let live = records.values().map(|record| size(record)).sum();
        Ok(Self { path, file, records, pending: Vec::new(), len, live })
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
        let mut bytes = MAGIC.to_vec();
        for (key, record) in &self.records {
            push_change(&mut bytes, *key, Some(record));
        }
        let path = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&path, &self.path)?;
        sync_directory(&self.path)?;
        self.len = bytes.len() as u64;
        self.file = file;
        Ok(())
    }
}

/// The length of a change that keeps `record`.
fn size(record: &[u8]) -> u64 {
    record.len().wrapping_add(HEAD) as u64
}

fn push_change(bytes: &mut Vec<u8>, key: Key, record: Option<&[u8]>) {
    let (len, record) = match record {
        Some(record) => (record.len() as u32, record),
        None => (REMOVED, &[][..]),
    };
    bytes.extend_from_slice(&key.to_be_bytes());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&checksum(key, len, record).to_be_bytes());
    bytes.extend_from_slice(record);
}

/// CRC-32 (IEEE) of a change.
fn checksum(key: Key, len: u32, record: &[u8]) -> u32 {
    let head = key.to_be_bytes().into_iter().chain(len.to_be_bytes());
    !head.chain(record.iter().copied()).fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| {
                if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 }
            },
        )
    })
}

/// What the changes leave, and how many bytes of them are whole.
fn replay(changes: &[u8]) -> io::Result<(BTreeMap<Key, Vec<u8>>, usize)> {
    let mut records = BTreeMap::new();
    let mut rest = changes;
    while let Some((key, len, sum, behind)) = head(rest) {
        let record_len = if len == REMOVED { 0 } else { len as usize };
        let Some((record, next)) = behind.split_at_checked(record_len) else {
            break;
        };
        if checksum(key, len, record) != sum {
            // A torn write leaves what was there before, which is nothing: the file ends with it.
            if next.iter().all(|&byte| byte == 0) {
                break;
            }
            return Err(ErrorKind::InvalidData.into());
        }
        if len == REMOVED {
            records.remove(&key);
        } else {
            records.insert(key, record.to_vec());
        }
        rest = next;
    }
    Ok((records, changes.len().wrapping_sub(rest.len())))
}

fn head(bytes: &[u8]) -> Option<(Key, u32, u32, &[u8])> {
    let (key, bytes) = bytes.split_first_chunk::<4>()?;
    let (len, bytes) = bytes.split_first_chunk::<4>()?;
    let (sum, bytes) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*key), u32::from_be_bytes(*len), u32::from_be_bytes(*sum), bytes))
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
        let len = self.len.wrapping_add(self.pending.len() as u64);
        if len > HISTORY && len / 2 > self.live {
            self.pending.clear();
            return self.rewrite();
        }
        // A failed write may have left a part: the next one goes over it.
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(&self.pending)?;
        self.file.sync_data()?;
        self.len = len;
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
