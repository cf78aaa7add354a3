//! AUTH: a step of an extended authentication, new in 5.0 (section 3.15).

use super::{check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::sink::{framed_len, start};
use crate::{
    DecodeError, EncodeError, Frame, PacketType, Properties, PropertyId, PropertyPlace, ReasonCode, Role,
    Sink, Version,
};
use core::fmt;

/// A step of an extended authentication.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue, or (from the client) start again.
    pub reason_code: ReasonCode,
    /// The properties, the Authentication Method always among them.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    /// A step; `properties` must name the method.
    pub const fn new(reason_code: ReasonCode, properties: Properties<'a>) -> Self {
        Self { reason_code, properties }
    }

    /// Decodes an AUTH.
    ///
    /// The short form without reason code and properties, which one section of the standard has, is refused by
    /// another that wants the Authentication Method in every AUTH.
    ///
    /// # Errors
    /// Whatever rule the packet breaks; before 5.0 the packet type is reserved.
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        if !version.is_v5() {
            return Err(DecodeError::ReservedPacketType);
        }
        let mut reader = frame.open(PacketType::Auth, version)?;
        if reader.is_empty() {
            return Err(DecodeError::AuthMethodMissing);
        }
        let reason_code = ReasonCode(reader.u8()?);
        let mut properties = Properties::EMPTY;
        if !reader.is_empty() {
            properties.decode(&mut reader, PropertyPlace::of(PacketType::Auth))?;
        }
        reader.finish()?;
        let auth = Self { reason_code, properties };
        auth.check()?;
        Ok(auth)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if !self.reason_code.is_allowed_in(PacketType::Auth) {
            return Err(DecodeError::ReasonCode(PacketType::Auth)); // [MQTT-3.15.2-1]
        }
        if !self.properties.contains(PropertyId::AuthenticationMethod) {
            return Err(DecodeError::AuthMethodMissing);
        }
        Ok(())
    }

    /// Refuses what only the other side may say: only a server reports success, only a client starts again.
    ///
    /// # Errors
    /// [`DecodeError::ReasonCode`].
    pub fn check_sender(&self, role: Role) -> Result<(), DecodeError> {
        let is_allowed = match role {
            Role::Client => self.reason_code != ReasonCode::SUCCESS,
            Role::Server => self.reason_code != ReasonCode::RE_AUTHENTICATE,
        };
        if is_allowed { Ok(()) } else { Err(DecodeError::ReasonCode(PacketType::Auth)) }
    }

    fn body_len(&self, version: Version) -> usize {
        properties_len(self.properties, version).saturating_add(1)
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(self.body_len(version))
    }

    /// Writes the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then. [`EncodeError::NotInVersion`] before 5.0.
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        if !version.is_v5() {
            return Err(EncodeError::NotInVersion);
        }
        check_encode(&self.properties, PropertyPlace::of(PacketType::Auth), version)?;
        self.check()?;
        let mut writer = start(out, PacketType::Auth.first_byte(), self.body_len(version))?;
        writer.put_u8(self.reason_code.0);
        put_properties(&mut writer, self.properties, version);
        Ok(())
    }
}

impl fmt::Display for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AUTH {}", self.reason_code)?;
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(Auth<'_>);
