//! CONNACK: the server's answer to CONNECT (3.1.1 and 5.0 section 3.2).

use super::{check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::sink::{framed_len, start};
use crate::{
    DecodeError, EncodeError, Frame, PacketType, Properties, PropertyPlace, ReasonCode, Sink, Version,
};
use core::fmt;

/// Whether the client is connected, and to what.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnAck<'a> {
    /// Whether the server continues an earlier session; never in a refusal, and never in 3.1.
    pub session_present: bool,
    /// Success or why not. The return codes of 3.x read as their counterparts of 5.0.
    pub reason_code: ReasonCode,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
}

impl<'a> ConnAck<'a> {
    /// An answer without properties.
    pub const fn new(session_present: bool, reason_code: ReasonCode) -> Self {
        Self { session_present, reason_code, properties: Properties::EMPTY }
    }

    /// Decodes a CONNACK.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut reader = frame.open(PacketType::ConnAck, version)?;
        let flags = reader.u8()?;
        let code = reader.u8()?;
        let reason_code = if version.is_v5() {
            Some(ReasonCode(code)).filter(|code| code.is_allowed_in(PacketType::ConnAck))
        } else {
            ReasonCode::from_connack_3(code)
        };
        let Some(reason_code) = reason_code else {
            return Err(DecodeError::ReasonCode(PacketType::ConnAck));
        };
        let mut properties = Properties::EMPTY;
        if version.is_v5() {
            properties.decode(&mut reader, PropertyPlace::of(PacketType::ConnAck))?;
        }
        reader.finish()?;
        if version == Version::V3_1 {
            // The byte is reserved there and was never checked.
            return Ok(Self { session_present: false, reason_code, properties });
        }
        if flags > 1 {
            return Err(DecodeError::ConnAckFlags);
        }
        let connack = Self { session_present: flags == 1, reason_code, properties };
        connack.check()?;
        Ok(connack)
    }

    /// A refusal has no session [MQTT-3.2.2-4 of 3.1.1, MQTT-3.2.2-6 of 5.0].
    fn check(&self) -> Result<(), DecodeError> {
        if self.session_present && self.reason_code != ReasonCode::SUCCESS {
            return Err(DecodeError::SessionPresentInRefusal);
        }
        Ok(())
    }

    fn body_len(&self, version: Version) -> usize {
        properties_len(self.properties, version).saturating_add(2)
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(self.body_len(version))
    }

    /// Writes the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then. [`EncodeError::NotInVersion`] for a reason that 3.x has no return
    /// code for: the server then closes without a CONNACK [MQTT-3.2.2-6].
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        check_encode(&self.properties, PropertyPlace::of(PacketType::ConnAck), version)?;
        self.check()?;
        let code = if version.is_v5() {
            if !self.reason_code.is_allowed_in(PacketType::ConnAck) {
                return Err(DecodeError::ReasonCode(PacketType::ConnAck).into());
            }
            self.reason_code.0
        } else {
            self.reason_code.to_connack_3().ok_or(EncodeError::NotInVersion)?
        };
        let mut writer = start(out, PacketType::ConnAck.first_byte(), self.body_len(version))?;
        writer.put_u8(u8::from(self.session_present && version != Version::V3_1));
        writer.put_u8(code);
        put_properties(&mut writer, self.properties, version);
        Ok(())
    }
}

impl fmt::Display for ConnAck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CONNACK {}", self.reason_code)?;
        if self.session_present {
            f.write_str(" session present")?;
        }
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(ConnAck<'_>);
