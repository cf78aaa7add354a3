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
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
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
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn decode(input: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        let Some(packet_type) = PacketType::from_number(first >> 4) else {
            return Err(DecodeError::ReservedPacketType);
        };
        Ok(varint::read(rest)?.map(|integer| Self {
            packet_type,
            flags: first & 0x0F,
            remaining_length: integer.value,
            header_len: integer.len.wrapping_add(1),
            overlong: integer.overlong,
        }))
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
        let (remaining_length, len, overlong, behind) = match varint::read_short(behind) {
            Some((value, len, behind)) => (value, len, false, behind),
            None => {
                let Some(VarInt { value, len, overlong }) = varint::read(behind)? else { return Ok(None) };
                let Some((_, behind)) = behind.split_at_checked(usize::from(len)) else { return Ok(None) };
                (value, len, overlong, behind)
            }
        };
        Ok(behind.split_at_checked(remaining_length as usize).map(|(body, rest)| {
            let head = Head { first, header_len: len.wrapping_add(1), overlong, strict: false };
            (Self { head, body }, rest)
        }))
    }

    /// The frame of a header and as many bytes behind it as that says.
    #[inline]
    pub(crate) const fn new(header: FixedHeader, body: &'a [u8], strict: bool) -> Self {
        let FixedHeader { packet_type, flags, header_len, overlong, .. } = header;
        let head = Head { first: (packet_type as u8) << 4 | flags, header_len, overlong, strict };
        Self { head, body }
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
    #[must_use]
    pub const fn strict(self) -> Self {
        Self { head: Head { strict: true, ..self.head }, ..self }
    }

    /// Which packet.
    #[inline]
    pub const fn packet_type(&self) -> PacketType {
        match PacketType::from_number(self.head.first >> 4) {
            Some(packet_type) => packet_type,
            // Never: a frame is made of a header that has a type.
            None => PacketType::Auth,
        }
    }

    /// The fixed header.
    #[inline]
    pub const fn header(&self) -> FixedHeader {
        FixedHeader {
            packet_type: self.packet_type(),
            flags: self.flags(),
            remaining_length: self.body.len() as u32,
            header_len: self.head.header_len,
            overlong: self.head.overlong,
        }
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
        check_first(self.head.first, expected, version)?;
        check_version(version, self.head.overlong)?;
        Ok(Reader::new(self.body, self.head.strict))
    }

    #[inline]
    pub(crate) const fn is_strict(&self) -> bool {
        self.head.strict
    }
}

/// What it is and how long; nothing of its content, which may be a password.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.packet_type(), self.len())
    }
}

/// Whether a packet that begins like this is of the expected type, with the flags of that type.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
const fn check_first(first: u8, expected: PacketType, version: Version) -> Result<(), DecodeError> {
    if first == expected.first_byte() {
        return Ok(());
    }
    if first >> 4 != expected as u8 {
        return Err(DecodeError::UnexpectedPacket);
    }
    // The flags of a PUBLISH mean something; 3.1 prescribes none, so nothing is checked there.
    if version as u8 == Version::V3_1 as u8 || expected as u8 == PacketType::Publish as u8 {
        return Ok(());
    }
    Err(DecodeError::ReservedFlags)
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
