//! The steps of a batch in the log: which record is put or removed. A byte says what is done to which kind, the key
//! follows, and the value where there is one, with its length in front. The places of queues, of which there are the
//! most, have short keys.

use super::record::Kind;
use crate::core::SessionNumber;

const PUT: u8 = 0x10;
const REMOVE: u8 = 0x20;
const FORGET: u8 = 0x30;

/// Which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// A place in a queue.
    Place(SessionNumber, u64),
    Of(Kind, &'a [u8]),
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action<'a> {
    /// The value begins here, and is so long.
    Put(Key<'a>, usize, usize),
    Remove(Key<'a>),
    /// Everything under this number.
    Forget(SessionNumber),
}

pub(super) fn put(out: &mut Vec<u8>, kind: Kind, key: &[&[u8]], value: impl FnOnce(&mut Vec<u8>)) {
    add_key(out, PUT, kind, key);
    add_value(out, value);
}

pub(super) fn remove(out: &mut Vec<u8>, kind: Kind, key: &[&[u8]]) {
    add_key(out, REMOVE, kind, key);
}

pub(super) fn put_place(
    out: &mut Vec<u8>,
    session: SessionNumber,
    sequence: u64,
    value: impl FnOnce(&mut Vec<u8>),
) {
    add_place(out, PUT, session, sequence);
    add_value(out, value);
}

pub(super) fn remove_place(out: &mut Vec<u8>, session: SessionNumber, sequence: u64) {
    add_place(out, REMOVE, session, sequence);
}

pub(super) fn forget(out: &mut Vec<u8>, number: SessionNumber) {
    out.push(FORGET);
    out.extend(number.0.to_be_bytes());
}

fn add_key(out: &mut Vec<u8>, action: u8, kind: Kind, key: &[&[u8]]) {
    out.push(action | kind as u8);
    add_int(out, key.iter().map(|part| part.len() as u64).sum());
    key.iter().for_each(|part| out.extend_from_slice(part));
}

/// The shard is in the upper bits of the number, which would be long otherwise.
fn add_place(out: &mut Vec<u8>, action: u8, session: SessionNumber, sequence: u64) {
    out.push(action | Kind::Queue as u8);
    add_int(out, session.0.rotate_left(16));
    add_int(out, sequence);
}

fn add_value(out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; 4]);
    value(out);
    let length = u32::try_from(out.len().saturating_sub(at).saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(stated) = out.get_mut(at..at.saturating_add(4)) {
        stated.copy_from_slice(&length.to_be_bytes());
    }
}

/// Seven bits a byte, the lowest first.
pub(super) fn add_int(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What [`add_int`] wrote.
pub(super) fn read_int(mut next: impl FnMut() -> Option<u8>) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        let bits = u64::from(byte & 0x7F);
        value |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The steps of a batch, in their order; the last is nothing if the rest cannot be read.
pub(super) struct Steps<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Steps<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    fn read(&mut self) -> Option<Action<'a>> {
        let first = self.byte()?;
        if first == FORGET {
            return Some(Action::Forget(SessionNumber(u64::from_be_bytes(*self.take(8)?.first_chunk()?))));
        }
        let kind = *Kind::ALL.get(usize::from(first & 0x0F))?;
        let key = if kind == Kind::Queue {
            let session = self.int()?.rotate_right(16);
            Key::Place(SessionNumber(session), self.int()?)
        } else {
            let length = usize::try_from(self.int()?).ok()?;
            Key::Of(kind, self.take(length)?)
        };
        match first & 0xF0 {
            PUT => {
                let length = u32::from_be_bytes(*self.take(4)?.first_chunk()?) as usize;
                let at = self.at;
                self.take(length)?;
                Some(Action::Put(key, at, length))
            }
            REMOVE => Some(Action::Remove(key)),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.all.get(self.at)?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.all.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn int(&mut self) -> Option<u64> {
        read_int(|| self.byte())
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Option<Action<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.all.len() {
            return None;
        }
        let read = self.read();
        if read.is_none() {
            self.at = self.all.len();
        }
        Some(read)
    }
}
