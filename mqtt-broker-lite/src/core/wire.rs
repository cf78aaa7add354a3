//! Bytes for one connection: small packets one behind the other in one buffer, large payloads beside it, counted
//! and not copied.

use bytes::Bytes;
use mqtt_packet::{EncodeError, Sink};

/// Above this a payload is not copied into the buffer. Below, one copy is cheaper than one more piece in a write.
pub(super) const LARGE: usize = 1024;

/// What is sent on one connection in one turn.
#[derive(Debug, Default)]
pub struct Wire {
    small: Vec<u8>,
    /// Where in `small` each large payload stands, and the payload.
    large: Vec<(usize, Bytes)>,
    large_len: usize,
}

impl Wire {
    pub(super) fn reusing(mut small: Vec<u8>) -> Self {
        small.clear();
        Self { small, ..Self::default() }
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.small.len().saturating_add(self.large_len)
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
    }

    pub(super) fn put_large(&mut self, payload: Bytes) {
        self.large_len = self.large_len.saturating_add(payload.len());
        self.large.push((self.small.len(), payload));
    }

    /// Moves everything of `other` behind this.
    pub(super) fn append(&mut self, other: Self) {
        let shift = self.small.len();
        self.small.extend_from_slice(&other.small);
        self.large_len = self.large_len.saturating_add(other.large_len);
        let moved = other.large.into_iter().map(|(at, payload)| (at.saturating_add(shift), payload));
        self.large.extend(moved);
    }

    pub(super) fn capacity(&self) -> usize {
        self.small.capacity()
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.small
    }

    /// The bytes behind the first `sent`, in pieces, for a vectored write.
    pub fn pieces(&self, sent: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = sent;
        let mut at = 0;
        let large = self.large.iter().map(|(end, payload)| (*end, &payload[..]));
        large
            .chain([(self.small.len(), &[][..])])
            .flat_map(move |(end, payload)| {
                let small = self.small.get(at..end).unwrap_or_default();
                at = end;
                [small, payload]
            })
            .filter_map(move |piece| {
                let from = skip.min(piece.len());
                skip = skip.saturating_sub(from);
                piece.get(from..).filter(|rest| !rest.is_empty())
            })
    }

    /// Everything in one piece, for carriers that cannot write several and for tests.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces(0).collect::<Vec<_>>().concat()
    }
}

impl Sink for Wire {
    fn room(&mut self, len: usize) -> Result<&mut [u8], EncodeError> {
        room(&mut self.small, len)
    }
}

/// The next `len` bytes of a growing buffer.
pub(super) fn room(buffer: &mut Vec<u8>, len: usize) -> Result<&mut [u8], EncodeError> {
    let start = buffer.len();
    buffer.resize(start.saturating_add(len), 0);
    buffer.get_mut(start..).ok_or(EncodeError::NoRoom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_go_on_where_a_write_ended() {
        let mut wire = Wire::default();
        wire.put(b"ab");
        wire.put_large(Bytes::from_static(b"CDE"));
        wire.put_large(Bytes::from_static(b"F"));
        wire.put(b"g");
        assert_eq!(wire.len(), 7);
        for sent in 0..=7 {
            let rest = wire.pieces(sent).collect::<Vec<_>>().concat();
            assert_eq!(rest, &b"abCDEFg"[sent..]);
        }
        assert!(wire.pieces(3).all(|piece| !piece.is_empty()));
    }
}
