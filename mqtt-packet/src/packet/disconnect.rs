//! DISCONNECT: the last packet of a connection; in 3.x only from the client (3.1.1 and 5.0 section 3.14).

use super::{check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::sink::{framed_len, start};
use crate::{
    DecodeError, EncodeError, Frame, PacketType, Properties, PropertyId, PropertyPlace, ReasonCode, Role,
    Sink, Version,
};
use core::fmt;

/// One side leaves, and says why.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Disconnect<'a> {
    /// Why; always success in 3.x.
    pub reason_code: ReasonCode,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A reason without properties.
    pub const fn new(reason_code: ReasonCode) -> Self {
        Self { reason_code, properties: Properties::EMPTY }
    }

    /// Decodes a DISCONNECT.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut reader = frame.open(PacketType::Disconnect, version)?;
        let mut disconnect = Self::default();
        // Short forms: no code is success, no Property Length is no property (5.0 section 3.14.2).
        if version.is_v5() && !reader.is_empty() {
            disconnect.reason_code = ReasonCode(reader.u8()?);
            if !disconnect.reason_code.is_allowed_in(PacketType::Disconnect) {
                return Err(DecodeError::ReasonCode(PacketType::Disconnect));
            }
            if !reader.is_empty() {
                disconnect.properties.decode(&mut reader, PropertyPlace::of(PacketType::Disconnect))?;
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }

    /// Refuses what only the other side may say: some reason codes [MQTT-3.14.2-1], the Session Expiry Interval of
    /// a server [MQTT-3.14.2-2], the Server Reference of a client, and every DISCONNECT of a server before 5.0.
    ///
    /// # Errors
    /// The rule about the content.
    pub fn check_sender(&self, role: Role, version: Version) -> Result<(), DecodeError> {
        if role == Role::Server && !version.is_v5() {
            return Err(DecodeError::UnexpectedPacket);
        }
        if !self.reason_code.is_allowed_from(role, PacketType::Disconnect) {
            return Err(DecodeError::ReasonCode(PacketType::Disconnect));
        }
        match role {
            Role::Server if self.properties.contains(PropertyId::SessionExpiryInterval) => {
                Err(DecodeError::SessionExpiryFromServer)
            }
            Role::Client if self.properties.contains(PropertyId::ServerReference) => {
                Err(DecodeError::ServerReferenceFromClient)
            }
            _ => Ok(()),
        }
    }

    fn body_len(&self, version: Version) -> usize {
        if !version.is_v5() || self.reason_code == ReasonCode::SUCCESS && self.properties.is_empty() {
            0
        } else if self.properties.is_empty() {
            1
        } else {
            properties_len(self.properties, version).saturating_add(1)
        }
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(self.body_len(version))
    }

    /// Writes the packet, in its shortest form.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then. [`EncodeError::NotInVersion`] for a reason other than success in
    /// 3.x, which does not say why.
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        check_encode(&self.properties, PropertyPlace::of(PacketType::Disconnect), version)?;
        if !version.is_v5() && self.reason_code != ReasonCode::SUCCESS {
            return Err(EncodeError::NotInVersion);
        }
        if !self.reason_code.is_allowed_in(PacketType::Disconnect) {
            return Err(DecodeError::ReasonCode(PacketType::Disconnect).into());
        }
        let body_len = self.body_len(version);
        let mut writer = start(out, PacketType::Disconnect.first_byte(), body_len)?;
        if body_len > 0 {
            writer.put_u8(self.reason_code.0);
        }
        if body_len > 1 {
            put_properties(&mut writer, self.properties, version);
        }
        Ok(())
    }
}

impl fmt::Display for Disconnect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DISCONNECT")?;
        if self.reason_code != ReasonCode::SUCCESS {
            write!(f, " {}", self.reason_code)?;
        }
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(Disconnect<'_>);
