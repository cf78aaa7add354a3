//! What PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK have in common: a Packet Identifier, and what became of
//! that for which it stands (3.1.1 and 5.0 sections 3.4 to 3.7, 3.9 and 3.11).

use super::{AckKind, ReasonCodes, debug_is_display, fmt_properties};
use crate::reader::Reader;
use crate::{DecodeError, Frame, PacketId, PacketType, Properties, PropertyPlace, ReasonCode, Version};
use core::fmt;

/// Any packet that answers another one by its Packet Identifier: a step of a handshake ([`Ack`](crate::Ack)), a
/// [`SubAck`](crate::SubAck) or an [`UnsubAck`](crate::UnsubAck). For whoever takes all of them: six decoders in one are
/// a third of six.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Which packet.
    pub packet_type: PacketType,
    /// The Packet Identifier of what is answered.
    pub id: PacketId,
    /// What a step of a handshake says; success in SUBACK, UNSUBACK and in 3.x.
    pub reason_code: ReasonCode,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// What SUBACK and UNSUBACK say of each topic filter; empty in a step of a handshake.
    pub reason_codes: ReasonCodes<'a>,
}

impl<'a> Answer<'a> {
    /// Decodes a PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK or UNSUBACK.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    #[inline]
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let packet_type = frame.packet_type();
        let is_step = AckKind::from_packet_type(packet_type).is_some();
        if !is_step && !matches!(packet_type, PacketType::SubAck | PacketType::UnsubAck) {
            return Err(DecodeError::UnexpectedPacket);
        }
        Self::decode_fields(packet_type, is_step, frame.open(packet_type, version)?, version)
    }

    /// The same behind the fixed header of a packet that is a step of a handshake, or is none.
    #[inline(always)]
    pub(super) fn decode_fields(
        packet_type: PacketType,
        is_step: bool,
        mut reader: Reader<'a>,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let Some(id) = reader.packet_id() else { return Err(reader.no_packet_id()) };
        let mut answer = Self {
            packet_type,
            id,
            reason_code: ReasonCode::SUCCESS,
            properties: Properties::EMPTY,
            reason_codes: ReasonCodes::default(),
        };
        if version.is_v5() {
            // Short forms of a step: no code is success, no Property Length is no property (5.0 section 3.4.2).
            let mut is_short = false;
            if is_step {
                if !reader.is_empty() {
                    answer.reason_code = ReasonCode(reader.u8()?);
                    if !answer.reason_code.is_allowed_in(packet_type) {
                        return Err(DecodeError::ReasonCode(packet_type));
                    }
                }
                is_short = reader.is_empty();
            }
            if !is_short {
                answer.properties.decode(&mut reader, PropertyPlace::of(packet_type))?;
            }
        }
        if is_step || packet_type == PacketType::UnsubAck && !version.is_v5() {
            reader.finish()?;
        } else {
            answer.reason_codes = ReasonCodes::new(reader.rest());
            answer.reason_codes.check(packet_type, version)?;
        }
        Ok(answer)
    }
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} id {} {} {:?}", self.packet_type, self.id, self.reason_code, self.reason_codes)?;
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(Answer<'_>);
