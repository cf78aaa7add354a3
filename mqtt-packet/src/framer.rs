//! Cuts packets out of a byte stream that arrives in any pieces, in memory that the caller lends.
//!
//! A packet that fits the buffer comes out whole. A PUBLISH that does not, with the feature `streaming`, comes out as
//! its head and then its payload in chunks, so a device takes messages larger than its memory. Everything else that
//! does not fit is refused as soon as its length is known, before a byte of its body is kept.

use crate::header::Head;
use crate::sink::copy;
use crate::{DecodeError, FixedHeader, Frame, PacketType, Publish, PublishHead, Version};
use core::fmt;

/// Whether a PUBLISH larger than the buffer comes out in pieces; a constant, so that without the feature all of it falls
/// out at link time.
const STREAMS: bool = cfg!(feature = "streaming");

/// What comes out of a [`Framer`].
#[derive(Clone, Copy)]
pub enum Piece<'a> {
    /// A whole packet.
    Packet(Frame<'a>),
    /// The front of a PUBLISH that is larger than the buffer; its payload follows in chunks.
    PublishStart(PublishHead<'a>),
    /// The next bytes of that payload.
    Chunk {
        /// At least one byte.
        bytes: &'a [u8],
        /// Whether the payload ends here.
        last: bool,
    },
}

/// A resumable cutter of packets over a lent buffer.
///
/// The loop: read into [`spare`](Self::spare), say how much came with [`filled`](Self::filled), and take
/// [`next`](Self::next) for as long as there is something [`ready`](Self::ready).
///
/// ```
/// use mqtt_packet::{Framer, PacketType, Piece, Version};
/// let mut memory = [0; 32];
/// let mut framer = Framer::new(&mut memory, Version::V3_1_1);
/// // PINGRESP and half of a PUBACK arrive.
/// framer.spare()[..4].copy_from_slice(&[0xD0, 0x00, 0x40, 0x02]);
/// framer.filled(4);
/// assert!(framer.ready().unwrap());
/// let Some(Piece::Packet(frame)) = framer.next() else { panic!("a packet was ready") };
/// assert_eq!(frame.packet_type(), PacketType::PingResp);
/// assert!(!framer.ready().unwrap());
/// ```
pub struct Framer<'b> {
    buffer: &'b mut [u8],
    /// Where what was read and not handed out starts and ends.
    start: usize,
    end: usize,
    /// The head of the packet that comes next, if it was read, and how long its body is.
    head: Head,
    body_len: u32,
    /// How much of a payload in chunks is still to come.
    #[cfg(feature = "streaming")]
    payload_left: u32,
    version: Version,
    max_packet_len: u32,
    strict: bool,
}

impl<'b> Framer<'b> {
    /// A framer over `buffer`, which should hold any packet but a large PUBLISH: 128 bytes do for a small device.
    pub const fn new(buffer: &'b mut [u8], version: Version) -> Self {
        Self {
            buffer,
            start: 0,
            end: 0,
            head: Head::NONE,
            body_len: 0,
            #[cfg(feature = "streaming")]
            payload_left: 0,
            version,
            max_packet_len: u32::MAX,
            strict: false,
        }
    }

    /// Refuses packets above `len` bytes, fixed header included, with [`DecodeError::PacketTooLarge`].
    #[must_use]
    pub const fn with_max_packet_len(mut self, len: u32) -> Self {
        self.max_packet_len = len;
        self
    }

    /// Hands out [strict](Frame::strict) frames.
    #[cfg(feature = "strict")]
    #[must_use]
    pub const fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// The version of the packets to come, for whoever learns it from the first one.
    pub const fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// How many bytes the buffer has in all.
    pub const fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Room for what is read next, as much as there is. Empty only while something is [`ready`](Self::ready) or
    /// refused.
    pub fn spare(&mut self) -> &mut [u8] {
        let moves_at_once = self.end.wrapping_sub(self.start) <= self.start;
        if moves_at_once || self.end == self.buffer.len() {
            self.move_to_front();
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Room for what is read next, but not beyond the packet that is being read: costs a second read per packet and
    /// never moves a byte inside the buffer.
    pub fn spare_exact(&mut self) -> &mut [u8] {
        let wanted = self.wanted();
        let spare = self.spare();
        match spare.len() {
            len if len <= wanted => spare,
            _ => spare.get_mut(..wanted).unwrap_or_default(),
        }
    }

    /// How many bytes are certainly missing for the next piece; at least 1.
    fn wanted(&self) -> usize {
        let have = self.unread().len();
        let whole = match FixedHeader::decode(self.unread()) {
            _ if self.payload_left() > 0 => self.payload_left() as usize,
            Ok(Some(header)) => header.packet_len() as usize,
            // Two bytes make the shortest packet; a longer length comes byte by byte.
            _ => have.wrapping_add(1).max(2),
        };
        whole.saturating_sub(have).max(1)
    }

    /// Takes the first `n` bytes of the [`spare`](Self::spare) room as read.
    pub fn filled(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.buffer.len());
    }

    /// Forgets everything that was read: the next byte is the first of a new connection.
    pub const fn reset(&mut self) {
        self.start = 0;
        self.end = 0;
        self.head = Head::NONE;
        self.set_payload_left(0);
    }

    const fn payload_left(&self) -> u32 {
        #[cfg(feature = "streaming")]
        return self.payload_left;
        #[cfg(not(feature = "streaming"))]
        return 0;
    }

    const fn set_payload_left(&mut self, len: u32) {
        #[cfg(feature = "streaming")]
        {
            self.payload_left = len;
        }
        let _ = len;
    }

    /// Whether a packet was begun and is not whole yet, or a payload has more to come.
    pub const fn is_inside_packet(&self) -> bool {
        self.start < self.end || self.payload_left() > 0
    }

    /// Which packet [`next`](Self::next) is going to give, or a part of; `None` before its first byte is there.
    pub fn peek(&self) -> Option<PacketType> {
        if self.payload_left() > 0 {
            return Some(PacketType::Publish);
        }
        PacketType::from_number(self.unread().first()? >> 4)
    }

    /// Whether [`next`](Self::next) has something to give.
    ///
    /// # Errors
    /// What comes next is not a packet, or one that is refused for its size. The stream cannot be read any further.
    pub fn ready(&mut self) -> Result<bool, DecodeError> {
        if self.payload_left() > 0 {
            return Ok(self.start < self.end);
        }
        if self.head.is_none() {
            let Some((head, body_len)) = Head::read(self.unread())? else {
                return self.not_yet();
            };
            (self.head, self.body_len) = (head.with_strict(self.strict), body_len);
        }
        let len = self.packet_len();
        if len > self.max_packet_len {
            return Err(DecodeError::PacketTooLarge);
        }
        if len as usize <= self.buffer.len() {
            return Ok(self.unread().len() >= len as usize);
        }
        if !STREAMS || self.head.packet_type() != PacketType::Publish {
            return Err(DecodeError::PacketTooLarge);
        }
        match self.publish_head(self.head.header(self.body_len))? {
            Some(_) => Ok(true),
            None => self.not_yet(),
        }
    }

    /// The length of the packet whose head was read.
    const fn packet_len(&self) -> u32 {
        self.body_len.wrapping_add(self.head.header_len() as u32)
    }

    /// More is needed, for which a full buffer has no room.
    fn not_yet(&self) -> Result<bool, DecodeError> {
        if self.unread().len() == self.buffer.len() { Err(DecodeError::PacketTooLarge) } else { Ok(false) }
    }

    /// The next piece; `None` where nothing is [`ready`](Self::ready).
    // Inlined, a whole packet, which is the rule, never stands in memory as a piece.
    #[inline]
    #[allow(clippy::should_implement_trait)] // It lends from itself, which an iterator cannot.
    pub fn next(&mut self) -> Option<Piece<'_>> {
        if self.payload_left() > 0 {
            return self.next_chunk();
        }
        if !self.ready().ok()? {
            return None;
        }
        let head = core::mem::replace(&mut self.head, Head::NONE);
        if STREAMS && self.body_len as usize > self.buffer.len().wrapping_sub(head.header_len().into()) {
            return self.next_head(head);
        }
        let body = self.start.wrapping_add(head.header_len().into());
        self.start = body.wrapping_add(self.body_len as usize);
        Some(Piece::Packet(Frame::of(head, self.buffer.get(body..self.start)?)))
    }

    /// The next bytes of a payload.
    fn next_chunk(&mut self) -> Option<Piece<'_>> {
        let len = self.unread().len().min(self.payload_left() as usize);
        let left = self.payload_left().wrapping_sub(len as u32);
        let start = self.take(len);
        self.set_payload_left(left);
        let bytes = self.buffer.get(start..self.start).filter(|bytes| !bytes.is_empty())?;
        Some(Piece::Chunk { bytes, last: left == 0 })
    }

    /// The front of a PUBLISH that is larger than the buffer.
    fn next_head(&mut self, head: Head) -> Option<Piece<'_>> {
        let header = head.header(self.body_len);
        let head_len = self.publish_head(header).ok()??.head_len;
        let start = self.take(head_len.wrapping_add(usize::from(header.header_len)));
        let body = self.buffer.get(start..self.start)?.get(usize::from(header.header_len)..)?;
        let head = Publish::decode_head_with(header, body, self.version, self.strict).ok()??;
        #[cfg(feature = "streaming")]
        {
            self.payload_left = head.payload_len;
        }
        Some(Piece::PublishStart(head))
    }

    /// Takes `len` unread bytes; returns where they start.
    fn take(&mut self, len: usize) -> usize {
        let start = self.start;
        self.start = start.saturating_add(len).min(self.end);
        start
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The head of a PUBLISH that is larger than the buffer, once it is there.
    fn publish_head(&self, header: FixedHeader) -> Result<Option<PublishHead<'_>>, DecodeError> {
        let body = self.unread().get(usize::from(header.header_len)..).unwrap_or_default();
        Publish::decode_head_with(header, body, self.version, self.strict)
    }

    /// Moves what is unread to the front, in strides that do not overlap: a `memmove` would cost more flash than
    /// everything else here.
    fn move_to_front(&mut self) {
        let distance = self.start;
        let mut moved = 0_usize;
        let len = self.end.wrapping_sub(self.start);
        if cfg!(not(target_pointer_width = "64")) {
            // Byte by byte it takes the least flash.
            for at in 0..len {
                let byte = self.buffer.get(distance.wrapping_add(at)).copied().unwrap_or_default();
                if let Some(place) = self.buffer.get_mut(at) {
                    *place = byte;
                }
            }
            moved = len;
        }
        while distance > 0 && moved < len {
            let stride = distance.min(len.wrapping_sub(moved));
            let Some((front, back)) = self.buffer.split_at_mut_checked(moved.wrapping_add(distance)) else {
                break; // Never.
            };
            if let (Some(to), Some(from)) =
                (front.get_mut(moved..moved.wrapping_add(stride)), back.get(..stride))
            {
                copy(to, from);
            }
            moved = moved.wrapping_add(stride);
        }
        self.start = 0;
        self.end = len;
    }
}

/// Payloads are shown by their length.
impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(frame) => f.debug_tuple("Packet").field(frame).finish(),
            Self::PublishStart(head) => f.debug_tuple("PublishStart").field(head).finish(),
            Self::Chunk { bytes, last } => {
                f.debug_struct("Chunk").field("len", &bytes.len()).field("last", last).finish()
            }
        }
    }
}

/// How much there is; nothing of what was read.
impl fmt::Debug for Framer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer")
            .field("version", &self.version)
            .field("capacity", &self.capacity())
            .field("unread", &self.unread().len())
            .field("payload_left", &self.payload_left())
            .finish_non_exhaustive()
    }
}
