//! Where a session is kept so that it survives a power cut.

use crate::engine::{Change, Engine, Key};
use crate::error::RequestError;
use crate::memory::get_mut;
use thiserror::Error;

/// A map of records that keeps them.
pub trait Store {
    /// What can go wrong.
    type Error;

    /// Whether there is anything to do at all; false for [`NoStore`] only.
    const KEEPS: bool = true;

    /// Keeps `record`, which may be empty, under `key`, in place of another if there is one. It need not be safe before
    /// [`sync`](Self::sync), but must be kept or not kept as a whole.
    ///
    /// # Errors
    /// It could not be kept.
    fn put(&mut self, key: Key, record: &[u8]) -> Result<(), Self::Error>;

    /// Forgets `key`, if it is there.
    ///
    /// # Errors
    /// It could not be forgotten.
    fn remove(&mut self, key: Key) -> Result<(), Self::Error>;

    /// Returns when everything before it is safe.
    ///
    /// # Errors
    /// It cannot be known to be safe; nothing is promised to the server then.
    fn sync(&mut self) -> Result<(), Self::Error>;

    /// The record with the smallest key at or above `from`: copied to the front of `buffer`, with its key and length.
    ///
    /// # Errors
    /// It could not be read, for example because it is longer than `buffer`.
    fn next(&mut self, from: Key, buffer: &mut [u8]) -> Result<Option<(Key, usize)>, Self::Error>;
}

/// Why a session was not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum LoadError<E> {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(E),
    /// The engine has less memory than the session needs, or the records are not its own.
    #[error("the session does not fit: {0}")]
    Session(RequestError),
}

/// Hands everything that changed to the store, and tells the engine once it is safe.
///
/// # Errors
/// That of the store. What waits goes on waiting.
pub fn save<S: Store>(engine: &mut Engine<'_>, store: &mut S) -> Result<(), S::Error> {
    let mut changed = false;
    while let Some(change) = engine.poll_change() {
        match change {
            Change::Put(key, record) => store.put(key, record)?,
            Change::Remove(key) => store.remove(key)?,
        }
        changed = true;
    }
    if changed {
        store.sync()?;
        engine.synced();
    }
    Ok(())
}

/// Gives a new engine the session that a store kept. `buffer` must hold its longest message.
///
/// # Errors
/// [`LoadError`]. The engine may have a part of the session then, and is of no use.
pub fn load<S: Store>(
    engine: &mut Engine<'_>,
    store: &mut S,
    buffer: &mut [u8],
) -> Result<(), LoadError<S::Error>> {
    // Identifiers are given out in turn and wrap: the oldest is the one behind the widest gap.
    let mut oldest = 0;
    let mut widest = 0;
    let mut first = None;
    let mut last: Key = 0;
    while let Some((key, _)) = store.next(last.wrapping_add(1), buffer).map_err(LoadError::Store)? {
        if key > Key::from(u16::MAX) {
            break;
        }
        let gap = key.wrapping_sub(last);
        if first.is_none() {
            first = Some(key);
        } else if gap > widest {
            (widest, oldest) = (gap, key);
        }
        last = key;
    }
    let around = first.map_or(0, |first| Key::from(u16::MAX).wrapping_sub(last).wrapping_add(first));
    if around >= widest {
        oldest = first.unwrap_or(1);
    }
    let mut restore = |from: Key, to: Key| {
        let mut from = from;
        while let Some((key, len)) = store.next(from, buffer).map_err(LoadError::Store)? {
            if key > to {
                break;
            }
            let record = get_mut(buffer, 0, len);
            engine.restore(key, record).map_err(LoadError::Session)?;
            from = key.wrapping_add(1);
        }
        Ok(())
    };
    restore(oldest, Key::from(u16::MAX))?;
    restore(1, oldest.saturating_sub(1))?;
    restore(Key::from(u16::MAX).wrapping_add(1), Key::MAX)
}

/// No store: the session ends with the program.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

impl Store for NoStore {
    type Error = core::convert::Infallible;
    const KEEPS: bool = false;

    fn put(&mut self, _: Key, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn remove(&mut self, _: Key) -> Result<(), Self::Error> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn next(&mut self, _: Key, _: &mut [u8]) -> Result<Option<(Key, usize)>, Self::Error> {
        Ok(None)
    }
}

/// The memory of a [`RamStore`] is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("the memory of the store is full, or a record is longer than the buffer")]
pub struct StoreFull;

/// A store in lent memory: for memory that outlives the program, as that of a device in deep sleep, and for tests.
///
/// The memory is a sequence of records, each a key of four bytes, a length of four bytes and as many bytes; a key of 0
/// ends it. So zeroed memory is an empty store, and memory that was written is the store again.
#[derive(Debug)]
pub struct RamStore<'b> {
    memory: &'b mut [u8],
}

/// Key and length of a record.
const HEAD: usize = 8;

impl<'b> RamStore<'b> {
    /// The store in `memory`, which is either zeroed or was one before.
    pub const fn new(memory: &'b mut [u8]) -> Self {
        Self { memory }
    }

    /// Key, start of the bytes and their end of the record at `at`; `None` at the end of the sequence.
    fn record(&self, at: usize) -> Option<(Key, usize, usize)> {
        let (key, behind) = self.memory.get(at..)?.split_first_chunk::<4>()?;
        let (len, _) = behind.split_first_chunk::<4>()?;
        let start = at.wrapping_add(HEAD);
        let end = start.checked_add(u32::from_be_bytes(*len) as usize)?;
        let key = Key::from_be_bytes(*key);
        (key != 0 && end <= self.memory.len()).then_some((key, start, end))
    }

    /// Where the record of `key` is, and where the sequence ends.
    fn find(&self, wanted: Key) -> (Option<(usize, usize)>, usize) {
        let mut at = 0;
        let mut found = None;
        while let Some((key, _, end)) = self.record(at) {
            if key == wanted {
                found = Some((at, end));
            }
            at = end;
        }
        (found, at)
    }

    /// Closes the gap between `to` and `from`, byte by byte; returns the new end.
    fn close_gap(&mut self, to: usize, from: usize, end: usize) -> usize {
        let mut to = to;
        for at in from..end {
            let byte = self.memory.get(at).copied().unwrap_or_default();
            if let Some(place) = self.memory.get_mut(to) {
                *place = byte;
            }
            to = to.wrapping_add(1);
        }
        self.end_at(to);
        to
    }

    fn end_at(&mut self, end: usize) {
        let most = end.saturating_add(4).min(self.memory.len());
        get_mut(self.memory, end, most).fill(0);
    }
}

impl Store for RamStore<'_> {
    type Error = StoreFull;

    fn put(&mut self, key: Key, record: &[u8]) -> Result<(), StoreFull> {
        let (found, end) = self.find(key);
        let freed = found.map_or(0, |(start, end)| end.wrapping_sub(start));
        let needed = record.len().saturating_add(HEAD);
        if self.memory.len().wrapping_sub(end).saturating_add(freed) < needed {
            return Err(StoreFull);
        }
        let start = match found {
            Some((start, behind)) => self.close_gap(start, behind, end),
            None => end,
        };
        let place = get_mut(self.memory, start, start.wrapping_add(needed));
        if let Some((head, bytes)) = place.split_at_mut_checked(HEAD) {
            let (key_place, len_place) = head.split_at_mut(4);
            key_place.copy_from_slice(&key.to_be_bytes());
            len_place.copy_from_slice(&(record.len() as u32).to_be_bytes());
            bytes.copy_from_slice(record);
        }
        self.end_at(start.wrapping_add(needed));
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Result<(), StoreFull> {
        if let (Some((start, behind)), end) = self.find(key) {
            self.close_gap(start, behind, end);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreFull> {
        Ok(())
    }

    fn next(&mut self, from: Key, buffer: &mut [u8]) -> Result<Option<(Key, usize)>, StoreFull> {
        let mut at = 0;
        let mut best: Option<(Key, usize, usize)> = None;
        while let Some((key, start, end)) = self.record(at) {
            if key >= from && best.is_none_or(|(smallest, ..)| key < smallest) {
                best = Some((key, start, end));
            }
            at = end;
        }
        let Some((key, start, end)) = best else {
            return Ok(None);
        };
        let record = self.memory.get(start..end).unwrap_or_default();
        buffer.get_mut(..record.len()).ok_or(StoreFull)?.copy_from_slice(record);
        Ok(Some((key, record.len())))
    }
}
