//! SUBACK and UNSUBACK: an answer for each topic filter (3.1.1 and 5.0 sections 3.9 and 3.11).

use super::{Answer, check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::sink::{Writer, framed_len, start};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, Properties, PropertyPlace, ReasonCode, Sink,
    Version,
};
use core::fmt;

/// The failure code of 3.1.1, the only one there.
///
/// In 3.1 a server cannot refuse a subscription, and the byte is two bits of QoS below six that are reserved. 0x80 is
/// right for both kinds of clients that speak 3.1: who looks at the two bits reads QoS 0, the least promise, and who
/// knows 3.1.1 reads the refusal. That is also how it is read here, whatever the version, because a granted
/// subscription on which nothing comes is worse than a refused one.
const FAILURE_3: u8 = 0x80;

/// The answer to SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// The Packet Identifier of the SUBSCRIBE.
    pub id: PacketId,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// For each filter the QoS that was granted, or why it was refused. In 3.x every refusal is 0x80.
    pub reason_codes: ReasonCodes<'a>,
}

/// The answer to UNSUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// The Packet Identifier of the UNSUBSCRIBE.
    pub id: PacketId,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// For each filter what became of it; empty in 3.x, which does not say.
    pub reason_codes: ReasonCodes<'a>,
}

/// Reason codes, one for each topic filter and in their order.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ReasonCodes<'a>(&'a [u8]);

impl<'a> ReasonCodes<'a> {
    /// Codes by their numbers on the wire; what a packet may carry is checked when it is encoded.
    pub const fn new(codes: &'a [u8]) -> Self {
        Self(codes)
    }

    /// Each code.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReasonCode> + 'a {
        self.0.iter().map(|&code| ReasonCode(code))
    }

    /// How many codes.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no code.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All codes exist in this packet, and there is one where there must be.
    pub(super) fn check(&self, packet: PacketType, version: Version) -> Result<(), DecodeError> {
        if self.is_empty() {
            return Err(DecodeError::NoReasonCodes(packet));
        }
        let is_allowed = |code: ReasonCode| {
            if version.is_v5() { code.is_allowed_in(packet) } else { code.0 <= 2 || code.0 == FAILURE_3 }
        };
        if self.iter().all(is_allowed) { Ok(()) } else { Err(DecodeError::ReasonCode(packet)) }
    }
}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn encode_head<'s>(
    (id, properties): (PacketId, &Properties<'_>),
    codes: usize,
    packet: PacketType,
    version: Version,
    out: &'s mut impl Sink,
) -> Result<Writer<'s>, EncodeError> {
    check_encode(properties, PropertyPlace::of(packet), version)?;
    let mut writer = start(out, packet.first_byte(), body_len(properties, codes, version))?;
    writer.put_u16(id.get());
    put_properties(&mut writer, *properties, version);
    Ok(writer)
}

fn body_len(properties: &Properties<'_>, codes: usize, version: Version) -> usize {
    properties_len(*properties, version).saturating_add(codes).saturating_add(2)
}

impl<'a> SubAck<'a> {
    /// An answer without properties.
    pub const fn new(id: PacketId, reason_codes: &'a [u8]) -> Self {
        Self { id, properties: Properties::EMPTY, reason_codes: ReasonCodes(reason_codes) }
    }

    /// Decodes a SUBACK.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let reader = frame.open(PacketType::SubAck, version)?;
        let answer = Answer::decode_fields(PacketType::SubAck, false, reader, version)?;
        Ok(Self { id: answer.id, properties: answer.properties, reason_codes: answer.reason_codes })
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(body_len(&self.properties, self.reason_codes.len(), version))
    }

    /// Writes the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then.
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        // Every refusal of 5.0 has its one counterpart in 3.x.
        let code_of = |code: ReasonCode| {
            if code.is_error() && !version.is_v5() { FAILURE_3 } else { code.0 }
        };
        if self.reason_codes.is_empty() {
            return Err(DecodeError::NoReasonCodes(PacketType::SubAck).into());
        }
        if self.reason_codes.iter().any(|code| !code.can_be_told(version, PacketType::SubAck)) {
            return Err(DecodeError::ReasonCode(PacketType::SubAck).into());
        }
        let head = (self.id, &self.properties);
        let mut writer = encode_head(head, self.reason_codes.len(), PacketType::SubAck, version, out)?;
        for code in self.reason_codes.iter() {
            writer.put_u8(code_of(code));
        }
        Ok(())
    }
}

impl<'a> UnsubAck<'a> {
    /// An answer without properties; the codes are left out in 3.x.
    pub const fn new(id: PacketId, reason_codes: &'a [u8]) -> Self {
        Self { id, properties: Properties::EMPTY, reason_codes: ReasonCodes(reason_codes) }
    }

    /// Decodes an UNSUBACK.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let reader = frame.open(PacketType::UnsubAck, version)?;
        let answer = Answer::decode_fields(PacketType::UnsubAck, false, reader, version)?;
        Ok(Self { id: answer.id, properties: answer.properties, reason_codes: answer.reason_codes })
    }

    fn codes(&self, version: Version) -> &'a [u8] {
        if version.is_v5() { self.reason_codes.0 } else { &[] }
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(body_len(&self.properties, self.codes(version).len(), version))
    }

    /// Writes the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then.
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        if version.is_v5() {
            self.reason_codes.check(PacketType::UnsubAck, version)?;
        }
        let codes = self.codes(version);
        let mut writer =
            encode_head((self.id, &self.properties), codes.len(), PacketType::UnsubAck, version, out)?;
        writer.put(codes);
        Ok(())
    }
}

impl fmt::Display for SubAck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SUBACK id {} {:?}", self.id, self.reason_codes)?;
        fmt_properties(&self.properties, f)
    }
}

impl fmt::Display for UnsubAck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UNSUBACK id {} {:?}", self.id, self.reason_codes)?;
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(SubAck<'_>, UnsubAck<'_>);
