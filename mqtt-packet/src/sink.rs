//! Where packets are written to.

use crate::{EncodeError, MAX_REMAINING_LENGTH, varint};

/// Memory that takes an encoded packet.
///
/// An encoder first says how much it is going to write, once, and then writes exactly that: a packet is written
/// whole or not at all.
pub trait Sink {
    /// Makes sure that `len` more bytes fit.
    ///
    /// # Errors
    /// [`EncodeError::NoRoom`] where they do not; nothing was written then.
    fn reserve(&mut self, len: usize) -> Result<(), EncodeError>;

    /// Appends `bytes`; called only for what was reserved.
    fn put(&mut self, bytes: &[u8]);
}

/// A [`Sink`] over a lent slice.
///
/// ```
/// use mqtt_packet::{PingReq, SliceSink, Version};
/// let mut buffer = [0; 8];
/// let mut out = SliceSink::new(&mut buffer);
/// PingReq.encode(Version::V3_1_1, &mut out).unwrap();
/// assert_eq!(out.written(), [0xC0, 0x00]);
/// ```
#[derive(Debug)]
pub struct SliceSink<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> SliceSink<'b> {
    /// An empty sink over `buffer`.
    #[inline]
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// What was written so far.
    #[inline]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// What was written, for as long as the buffer was lent.
    #[inline]
    pub fn into_written(self) -> &'b [u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// How many bytes were written so far.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Sink for SliceSink<'_> {
    #[inline(always)]
    fn reserve(&mut self, len: usize) -> Result<(), EncodeError> {
        if self.buffer.len().wrapping_sub(self.len) < len { Err(EncodeError::NoRoom) } else { Ok(()) }
    }

    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.wrapping_add(bytes.len());
        if let Some(room) = self.buffer.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
            self.len = end;
        }
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    #[inline(always)]
    fn reserve(&mut self, len: usize) -> Result<(), EncodeError> {
        (**self).reserve(len)
    }

    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        (**self).put(bytes);
    }
}

/// What encoders write: the types of the wire.
pub(crate) trait Write: Sink {
    #[inline(always)]
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    #[inline(always)]
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    #[inline(always)]
    fn put_varint(&mut self, value: u32) {
        let bytes = varint::write(value);
        if value < 0x80 {
            self.put_u8(bytes[0]);
        } else {
            self.put(bytes.get(..varint::len(value)).unwrap_or_default());
        }
    }

    /// A length of at most 65,535, checked before, and the bytes.
    #[inline(always)]
    fn put_binary(&mut self, bytes: &[u8]) {
        self.put_u16(bytes.len() as u16);
        self.put(bytes);
    }
}

impl<S: Sink + ?Sized> Write for S {}

/// Reserves the whole packet and writes its fixed header.
#[inline]
pub(crate) fn start(out: &mut impl Sink, first: u8, body_len: usize) -> Result<(), EncodeError> {
    let remaining_length = match u32::try_from(body_len) {
        Ok(len) if len <= MAX_REMAINING_LENGTH => len,
        _ => return Err(EncodeError::TooLong),
    };
    out.reserve(framed_len(body_len))?;
    out.put_u8(first);
    out.put_varint(remaining_length);
    Ok(())
}

/// The length of a packet with its fixed header.
#[inline]
pub(crate) const fn framed_len(body_len: usize) -> usize {
    let remaining_length =
        if body_len > MAX_REMAINING_LENGTH as usize { MAX_REMAINING_LENGTH } else { body_len as u32 };
    body_len.saturating_add(varint::len(remaining_length)).saturating_add(1)
}

/// The length of Binary Data or a string with its prefix.
#[inline(always)]
pub(crate) const fn binary_len(bytes: &[u8]) -> usize {
    bytes.len().saturating_add(2)
}

/// Whether a length prefix can say how long `bytes` is.
#[inline(always)]
pub(crate) const fn check_binary(bytes: &[u8]) -> Result<(), EncodeError> {
    if bytes.len() > 0xFFFF { Err(EncodeError::TooLong) } else { Ok(()) }
}
