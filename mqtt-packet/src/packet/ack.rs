//! PUBACK, PUBREC, PUBREL and PUBCOMP: four steps of two handshakes, one shape
//! (3.1.1 and 5.0 sections 3.4 to 3.7).

use super::{Answer, check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::header::Head;
use crate::sink::{Writer, framed_len, start};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, Properties, PropertyPlace, ReasonCode, Sink,
    Version,
};
use core::fmt;

/// Which step; the number of each is its packet type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum AckKind {
    /// The receiver of a QoS 1 message has it.
    PubAck = 4,
    /// The receiver of a QoS 2 message has it and remembers its identifier.
    PubRec = 5,
    /// The sender of a QoS 2 message knows that; the receiver may forget the identifier.
    PubRel = 6,
    /// The receiver of a QoS 2 message has forgotten the identifier.
    PubComp = 7,
}

impl AckKind {
    /// The step of a packet type; `None` for a packet that is none.
    #[inline]
    pub const fn from_packet_type(packet_type: PacketType) -> Option<Self> {
        Some(match packet_type {
            PacketType::PubAck => Self::PubAck,
            PacketType::PubRec => Self::PubRec,
            PacketType::PubRel => Self::PubRel,
            PacketType::PubComp => Self::PubComp,
            _ => return None,
        })
    }

    /// The packet type of this step.
    #[inline]
    pub const fn packet_type(self) -> PacketType {
        match self {
            Self::PubAck => PacketType::PubAck,
            Self::PubRec => PacketType::PubRec,
            Self::PubRel => PacketType::PubRel,
            Self::PubComp => PacketType::PubComp,
        }
    }

    /// The first byte of a packet of this kind.
    #[inline(always)]
    const fn first_byte(self) -> u8 {
        (self as u8) << 4 | if matches!(self, Self::PubRel) { 0b0010 } else { 0 }
    }
}

/// A step of the QoS 1 or QoS 2 handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Which step.
    pub kind: AckKind,
    /// The Packet Identifier of the PUBLISH that all this is about.
    pub id: PacketId,
    /// Success or why not; always success in 3.x.
    pub reason_code: ReasonCode,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    /// A step that went well.
    #[inline]
    pub const fn new(kind: AckKind, id: PacketId) -> Self {
        Self { kind, id, reason_code: ReasonCode::SUCCESS, properties: Properties::EMPTY }
    }

    /// Decodes a PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    #[inline]
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        match Self::usual(&frame, version) {
            Some((kind, id)) => Ok(Self::new(kind, id)),
            None => Self::decode_any(frame.head(), frame.body(), version),
        }
    }

    #[cfg_attr(target_pointer_width = "64", inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub(super) fn decode_any(head: Head, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let frame = Frame::of(head, body);
        let Some(kind) = AckKind::from_packet_type(frame.packet_type()) else {
            return Err(DecodeError::UnexpectedPacket);
        };
        let packet_type = kind.packet_type();
        let answer = Answer::decode_fields(packet_type, true, frame.open(packet_type, version)?, version)?;
        let Answer { id, reason_code, properties, .. } = answer;
        Ok(Self { kind, id, reason_code, properties })
    }

    /// Kind and identifier of the usual acknowledgement, which has nothing else; small machines do without the shortcut.
    /// They travel in registers: an `Ack` that is stored and at once copied into a `Packet` costs more time than all of
    /// its decoding.
    #[inline(always)]
    pub(super) fn usual(frame: &Frame<'_>, version: Version) -> Option<(AckKind, PacketId)> {
        if cfg!(not(target_pointer_width = "64")) {
            return None;
        }
        let kind = match frame.first_byte() {
            0x40 => AckKind::PubAck,
            0x50 => AckKind::PubRec,
            0x62 => AckKind::PubRel,
            0x70 => AckKind::PubComp,
            _ => return None,
        };
        match *frame.body() {
            // Four bytes in all: the length is in its shortest form.
            [high, low] if frame.len() == 4 && version.is_supported() => {
                PacketId::new(u16::from_be_bytes([high, low])).map(|id| (kind, id))
            }
            _ => None,
        }
    }

    #[inline]
    fn body_len(&self, version: Version) -> usize {
        if !version.is_v5() || self.reason_code == ReasonCode::SUCCESS && self.properties.is_empty() {
            2
        } else if self.properties.is_empty() {
            3
        } else {
            properties_len(self.properties, version).saturating_add(3)
        }
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    #[inline]
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(self.body_len(version))
    }

    /// Writes the packet, in its shortest form.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then. [`EncodeError::NotInVersion`] for a failure in 3.x, which has no
    /// negative acknowledgement.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        let [high, low] = self.id.get().to_be_bytes();
        if self.reason_code == ReasonCode::SUCCESS
            && (self.properties.is_empty() || !version.is_v5())
            && version.is_supported()
        {
            Writer::new(out.room(4)?).put(&[self.kind.first_byte(), 2, high, low]);
            return Ok(());
        }
        self.encode_reason(version, out)
    }

    #[inline(never)]
    fn encode_reason(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        let packet_type = self.kind.packet_type();
        check_encode(&self.properties, PropertyPlace::of(packet_type), version)?;
        if !version.is_v5() {
            return Err(EncodeError::NotInVersion);
        }
        if !self.reason_code.is_allowed_in(packet_type) {
            return Err(DecodeError::ReasonCode(packet_type).into());
        }
        let mut writer = start(out, packet_type.first_byte(), self.body_len(version))?;
        writer.put_u16(self.id.get());
        writer.put_u8(self.reason_code.0);
        if !self.properties.is_empty() {
            put_properties(&mut writer, self.properties, version);
        }
        Ok(())
    }
}

impl fmt::Display for Ack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            AckKind::PubAck => "PUBACK",
            AckKind::PubRec => "PUBREC",
            AckKind::PubRel => "PUBREL",
            AckKind::PubComp => "PUBCOMP",
        };
        write!(f, "{name} id {}", self.id)?;
        if self.reason_code != ReasonCode::SUCCESS {
            write!(f, " {}", self.reason_code)?;
        }
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(Ack<'_>);
