//! Where packets are written to.

use crate::{EncodeError, MAX_REMAINING_LENGTH, varint};
use core::fmt;

/// Memory that takes encoded packets.
///
/// An encoder asks once for exactly as much as the packet takes, so a packet is written whole or not at all.
pub trait Sink {
    /// The next `len` bytes, for the encoder to fill; they count as written.
    ///
    /// # Errors
    /// [`EncodeError::NoRoom`] where there are not that many; nothing counts as written then.
    fn room(&mut self, len: usize) -> Result<&mut [u8], EncodeError>;
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

/// How much was written; nothing of what.
impl fmt::Debug for SliceSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceSink").field("len", &self.len).field("capacity", &self.buffer.len()).finish()
    }
}

impl Sink for SliceSink<'_> {
    #[inline(always)]
    fn room(&mut self, len: usize) -> Result<&mut [u8], EncodeError> {
        let (_, free) = self.buffer.split_at_mut_checked(self.len).ok_or(EncodeError::NoRoom)?;
        let room = free.get_mut(..len).ok_or(EncodeError::NoRoom)?;
        self.len = self.len.wrapping_add(len);
        Ok(room)
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    #[inline(always)]
    fn room(&mut self, len: usize) -> Result<&mut [u8], EncodeError> {
        (**self).room(len)
    }
}

/// Fills the room of a packet, front to back, with the types of the wire.
pub(crate) struct Writer<'s> {
    rest: &'s mut [u8],
}

impl<'s> Writer<'s> {
    #[inline(always)]
    pub(crate) const fn new(room: &'s mut [u8]) -> Self {
        Self { rest: room }
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        // Always enough: the room was asked for by the same lengths.
        if let Some((room, rest)) = core::mem::take(&mut self.rest).split_at_mut_checked(bytes.len()) {
            copy(room, bytes);
            self.rest = rest;
        }
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(all(not(target_pointer_width = "64"), feature = "v5"), inline(never))]
    pub(crate) fn put_varint(&mut self, value: u32) {
        let mut left = value;
        // Most take one byte; small machines do without the shortcut.
        if cfg!(target_pointer_width = "64") && left < 0x80 {
            return self.put_u8(left as u8);
        }
        loop {
            let more = left >= 0x80;
            self.put_u8(left as u8 & 0x7F | u8::from(more) << 7);
            left >>= 7;
            if !more {
                return;
            }
        }
    }

    /// A length of at most 65,535, checked before, and the bytes.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn put_binary(&mut self, bytes: &[u8]) {
        // One look at the room for both.
        if cfg!(not(target_pointer_width = "64")) {
            self.put_u16(bytes.len() as u16);
            return self.put(bytes);
        }
        if let Some((room, rest)) = core::mem::take(&mut self.rest).split_at_mut_checked(binary_len(bytes)) {
            if let Some((prefix, room)) = room.split_first_chunk_mut() {
                *prefix = (bytes.len() as u16).to_be_bytes();
                copy(room, bytes);
            }
            self.rest = rest;
        }
    }
}

/// Asks for the room of a whole packet and writes its fixed header.
#[inline(always)]
pub(crate) fn start<'s>(
    out: &'s mut (impl Sink + ?Sized),
    first: u8,
    body_len: usize,
) -> Result<Writer<'s>, EncodeError> {
    start_head(out, first, body_len, 0)
}

/// The same for a packet whose last `behind` bytes others will write.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn start_head<'s>(
    out: &'s mut (impl Sink + ?Sized),
    first: u8,
    body_len: usize,
    behind: usize,
) -> Result<Writer<'s>, EncodeError> {
    if cfg!(target_pointer_width = "64") && body_len < 0x80 {
        // Most fixed headers, written at once.
        let mut writer = Writer::new(out.room(body_len.wrapping_add(2).wrapping_sub(behind))?);
        writer.put(&[first, body_len as u8]);
        return Ok(writer);
    }
    if body_len > MAX_REMAINING_LENGTH as usize {
        return Err(EncodeError::TooLong);
    }
    let mut writer = Writer::new(out.room(framed_len(body_len).wrapping_sub(behind))?);
    writer.put_u8(first);
    writer.put_varint(body_len as u32);
    Ok(writer)
}

/// Copies all of `from` to as many bytes, in the way that suits the machine.
#[doc(hidden)]
#[inline(always)]
pub fn copy(to: &mut [u8], from: &[u8]) {
    if cfg!(not(target_pointer_width = "64")) {
        // Optimized for size, `copy_from_slice` would link a panic for lengths that differ, which they never do.
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        return;
    }
    let is_copied = if from.len() > 32 {
        from.len() <= 64 && copy_ends::<32>(to, from)
    } else {
        copy_ends::<16>(to, from) || copy_ends::<8>(to, from) || copy_ends::<4>(to, from)
    };
    if !is_copied {
        to.copy_from_slice(from);
    }
}

/// Copies from `N` to twice `N` bytes without a call, as two pieces that may overlap; `false` for fewer.
#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) -> bool {
    let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else { return false };
    if let Some(to) = to.first_chunk_mut() {
        *to = *first;
    }
    if let Some(to) = to.last_chunk_mut() {
        *to = *last;
    }
    true
}

/// The length of a packet with its fixed header.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn framed_len(body_len: usize) -> usize {
    let remaining_length =
        if body_len > MAX_REMAINING_LENGTH as usize { MAX_REMAINING_LENGTH } else { body_len as u32 };
    sum(body_len, varint::len(remaining_length).wrapping_add(1))
}

/// The sum of two lengths; where it would be too much for this machine, the largest, which no packet has.
#[inline(always)]
pub(crate) const fn sum(one: usize, other: usize) -> usize {
    // Two slices do not fill an address space of 64 bits.
    if cfg!(target_pointer_width = "64") { one.wrapping_add(other) } else { one.saturating_add(other) }
}

/// The length of Binary Data or a string with its prefix.
#[inline(always)]
pub(crate) const fn binary_len(bytes: &[u8]) -> usize {
    // No slice is so long that this is too much.
    bytes.len().wrapping_add(2)
}

/// Whether a length prefix can say how long `bytes` is.
#[inline(always)]
pub(crate) const fn check_binary(bytes: &[u8]) -> Result<(), EncodeError> {
    if bytes.len() > 0xFFFF { Err(EncodeError::TooLong) } else { Ok(()) }
}
