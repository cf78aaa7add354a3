//! The fixed header: packet type, flags and Remaining Length (3.1.1 section 2.2, 5.0 section 2.1).

use crate::reader::Reader;
use crate::varint::{self, VarInt};
use crate::{DecodeError, Version};
use core::fmt;

/// The fifteen control packets; the number of each is its type on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
#[allow(missing_docs)] // The names say it; each packet's struct explains.
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

/// Who sent a packet: some rules bind only one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names say it.
pub enum Role {
    Client,
    Server,
}

impl PacketType {
    /// The type of its number; `None` for 0 and for 16 and above.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The flags that a packet of this type must have [MQTT-2.2.2-1]; those of PUBLISH mean something.
    pub const fn required_flags(self) -> u8 {
        required_flags(self as u8)
    }

    /// Whether packets of this type may come from a client, or from a server (5.0 section 2.1.2).
    pub const fn is_sent_by(self, role: Role) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::PingReq => {
                matches!(role, Role::Client)
            }
            Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp => matches!(role, Role::Server),
            _ => true,
        }
    }

    /// The first byte of a packet of this type with its required flags.
    #[inline]
    pub(crate) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.required_flags()
    }
}

/// The flags that packets with this number must have. One bit of a set: a table takes more flash.
#[inline(always)]
const fn required_flags(number: u8) -> u8 {
    const TWO: u16 =
        1 << PacketType::PubRel as u8 | 1 << PacketType::Subscribe as u8 | 1 << PacketType::Unsubscribe as u8;
    ((TWO >> (number & 0x0F) & 1) as u8) << 1
}

/// The first two to five bytes of every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// Which packet.
    pub packet_type: PacketType,
    /// The lower four bits of the first byte.
    pub flags: u8,
    /// How many bytes follow this header: 0 to 268,435,455.
    pub remaining_length: u32,
    /// How many bytes this header itself takes: 2 to 5.
    pub header_len: u8,
    /// Whether Remaining Length has a longer form than it needs, which 5.0 forbids.
    pub(crate) overlong: bool,
}

impl FixedHeader {
    /// Reads the header at the front of `input`; `None` where more bytes are needed to know.
    ///
    /// # Errors
    /// [`DecodeError::ReservedPacketType`] for type 0, [`DecodeError::RemainingLength`] for a fifth length byte.
    #[inline]
    pub fn decode(input: &[u8]) -> Result<Option<Self>, DecodeError> {
        Ok(Head::read(input)?.map(|(head, remaining_length)| head.header(remaining_length)))
    }

    /// The length of the whole packet, which Maximum Packet Size limits: 2 to 268,435,460.
    #[inline]
    pub const fn packet_len(&self) -> u32 {
        // At most 5 + 268,435,455.
        self.remaining_length.wrapping_add(self.header_len as u32)
    }
}

/// One packet cut off the stream and not yet looked into: its header and its body.
// In this order, an error that takes the place of a frame covers bytes of the frame and not a part of its pointer,
// which would be taken apart and joined again.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Frame<'a> {
    head: Head,
    body: &'a [u8],
}

/// What a frame knows beside its body. Small enough to be passed in a register: a function that is rarely called takes
/// head and body, because for a whole frame there would be memory to fill, called or not.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Head {
    first: u8,
    header_len: u8,
    overlong: bool,
    strict: bool,
}

impl Head {
    /// Where there is no packet.
    pub(crate) const NONE: Self = Self { first: 0, header_len: 0, overlong: false, strict: false };

    /// The head of the packet at the front of `input`, and the length of its body; `None` where more bytes are needed.
    #[inline]
    pub(crate) fn read(input: &[u8]) -> Result<Option<(Self, u32)>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        if first < 0x10 {
            return Err(DecodeError::ReservedPacketType);
        }
        let integer = varint::read(rest);
        if integer.len == VarInt::ENDLESS {
            return Err(DecodeError::RemainingLength);
        }
        if integer.len == 0 {
            return Ok(None);
        }
        let header_len = (integer.len as u8).wrapping_add(1);
        Ok(Some((Self { first, header_len, overlong: integer.is_overlong(), strict: false }, integer.value)))
    }

    /// Whether there is no packet.
    #[inline]
    pub(crate) const fn is_none(self) -> bool {
        self.first == 0
    }

    #[inline]
    pub(crate) const fn header_len(self) -> u8 {
        self.header_len
    }

    #[inline]
    pub(crate) const fn packet_type(self) -> PacketType {
        match PacketType::from_number(self.first >> 4) {
            Some(packet_type) => packet_type,
            // Never: a head is made of bytes that have a type.
            None => PacketType::Auth,
        }
    }

    /// The header of a packet whose body is so long.
    #[inline]
    pub(crate) const fn header(self, remaining_length: u32) -> FixedHeader {
        FixedHeader {
            packet_type: self.packet_type(),
            flags: self.first & 0x0F,
            remaining_length,
            header_len: self.header_len,
            overlong: self.overlong,
        }
    }

    /// Whether the flags are those of the type, and the version has such a header.
    #[inline(always)]
    const fn check(self, version: Version) -> Result<(), DecodeError> {
        // The flags of a PUBLISH mean something; 3.1 prescribes none, so nothing is checked there.
        let is_free = version as u8 == Version::V3_1 as u8 || self.first >> 4 == PacketType::Publish as u8;
        if !is_free && self.first & 0x0F != required_flags(self.first >> 4) {
            return Err(DecodeError::ReservedFlags);
        }
        check_version(version, self.overlong)
    }

    /// The same, decoded strictly or not.
    #[inline]
    pub(crate) const fn with_strict(self, strict: bool) -> Self {
        Self { strict: cfg!(feature = "strict") && strict, ..self }
    }
}

impl<'a> Frame<'a> {
    /// Cuts the first packet off `input`; returns it and the bytes behind it, or `None` where it is not whole yet.
    ///
    /// # Errors
    /// Those of [`FixedHeader::decode`].
    #[inline(always)]
    pub fn split(input: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, DecodeError> {
        let Some((&first, behind)) = input.split_first() else { return Ok(None) };
        if first < 0x10 {
            return Err(DecodeError::ReservedPacketType);
        }
        let Some((remaining_length, len, behind)) = varint::read_short(behind) else {
            return Self::split_long(input);
        };
        Ok(behind.split_at_checked(remaining_length as usize).map(|(body, rest)| {
            let head = Head { first, header_len: len.wrapping_add(1), overlong: false, strict: false };
            (Self { head, body }, rest)
        }))
    }

    /// The same for any length.
    #[cold]
    #[inline(never)]
    fn split_long(input: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, DecodeError> {
        let Some((head, body_len)) = Head::read(input)? else { return Ok(None) };
        let Some((_, behind)) = input.split_at_checked(usize::from(head.header_len)) else { return Ok(None) };
        Ok(behind.split_at_checked(body_len as usize).map(|(body, rest)| (Self { head, body }, rest)))
    }

    /// The frame of its parts.
    #[inline(always)]
    pub(crate) const fn of(head: Head, body: &'a [u8]) -> Self {
        Self { head, body }
    }

    /// The first of the two parts.
    #[inline(always)]
    pub(crate) const fn head(&self) -> Head {
        self.head
    }

    /// The same frame, decoded strictly: strings with control characters or Unicode non-characters, which the
    /// standard leaves to the receiver, are refused (3.1.1 section 1.5.3, 5.0 section 1.5.4).
    #[cfg(feature = "strict")]
    #[must_use]
    pub const fn strict(self) -> Self {
        Self { head: self.head.with_strict(true), ..self }
    }

    /// Which packet.
    #[inline]
    pub const fn packet_type(&self) -> PacketType {
        self.head.packet_type()
    }

    /// The fixed header.
    #[inline]
    pub const fn header(&self) -> FixedHeader {
        self.head.header(self.body.len() as u32)
    }

    /// The lower four bits of the first byte.
    #[inline]
    pub const fn flags(&self) -> u8 {
        self.head.first & 0x0F
    }

    /// Everything behind the fixed header.
    #[inline]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The length of the whole packet, fixed header included: 2 to 268,435,460 bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // No packet is empty.
    pub const fn len(&self) -> usize {
        self.body.len().wrapping_add(self.head.header_len as usize)
    }

    /// The first byte, packet type and flags.
    #[inline(always)]
    pub(crate) const fn first_byte(&self) -> u8 {
        self.head.first
    }

    /// Checks type and flags, and opens the body.
    #[inline(always)]
    pub(crate) fn open(&self, expected: PacketType, version: Version) -> Result<Reader<'a>, DecodeError> {
        // The usual first byte is looked at as a whole; small machines do without the shortcut.
        if cfg!(target_pointer_width = "64") && self.head.first == expected.first_byte() {
            check_version(version, self.head.overlong)?;
        } else if self.head.first >> 4 == expected as u8 {
            self.head.check(version)?;
        } else {
            return Err(DecodeError::UnexpectedPacket);
        }
        Ok(Reader::new(self.body, self.is_strict()))
    }

    #[inline]
    pub(crate) const fn is_strict(&self) -> bool {
        cfg!(feature = "strict") && self.head.strict
    }
}

/// What it is and how long; nothing of its content, which may be a password.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.packet_type(), self.len())
    }
}

/// What a header must be for its version: one that is built in, and in 5.0 with a Remaining Length as short as it can
/// be [MQTT-1.5.5-1].
#[inline(always)]
pub(crate) const fn check_version(version: Version, overlong: bool) -> Result<(), DecodeError> {
    if !version.is_supported() {
        return Err(DecodeError::ProtocolLevel);
    }
    if overlong && version.is_v5() {
        return Err(DecodeError::OverlongInteger);
    }
    Ok(())
}
