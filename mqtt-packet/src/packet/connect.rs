//! CONNECT: a client wants a session (3.1.1 and 5.0 section 3.1).

use super::{check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::reader::Reader;
use crate::sink::{binary_len, check_binary, framed_len, start, sum};
use crate::{
    DecodeError, EncodeError, Frame, PacketType, Properties, PropertyId, PropertyPlace, QoS, Sink,
    StringError, TopicName, Utf8Str, Version,
};
use core::fmt;

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS_SHIFT: u8 = 3;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// Bit 7 of the Protocol Level: the client is a bridge. A practice of brokers, not of the standard.
const BRIDGE: u8 = 0x80;

/// The first packet of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that everything after this packet is in.
    pub version: Version,
    /// Whether the client calls itself a bridge (levels 0x83 and 0x84): its subscriptions then behave as with
    /// Retain As Published and No Local. Not in 5.0, where these are options.
    pub bridge: bool,
    /// Whether an earlier session is thrown away first; Clean Session in 3.x, where it also ends this session with
    /// the connection.
    pub clean_start: bool,
    /// The longest time in seconds between two packets of the client; 0 switches the supervision off.
    pub keep_alive: u16,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// Who the client is; empty to have the server choose.
    pub client_id: Utf8Str<'a>,
    /// What the server publishes when the client is lost.
    pub will: Option<Will<'a>>,
    /// Who the user is.
    pub user_name: Option<Utf8Str<'a>>,
    /// The user's secret, any bytes.
    pub password: Option<&'a [u8]>,
}

/// The message that the server publishes when the client is lost (3.1.1 section 3.1.2.5, 5.0 section 3.1.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// What is published.
    pub payload: &'a [u8],
    /// With which QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Its properties, the Will Delay Interval among them; empty in 3.x.
    pub properties: Properties<'a>,
}

impl<'a> Connect<'a> {
    /// A clean start without will or credentials, with a Keep Alive of 60 seconds.
    pub const fn new(version: Version, client_id: Utf8Str<'a>) -> Self {
        Self {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 60,
            properties: Properties::EMPTY,
            client_id,
            will: None,
            user_name: None,
            password: None,
        }
    }

    /// For how many seconds the session outlives the connection; `u32::MAX` is for ever. In 3.x that is what the
    /// Clean Session flag says.
    pub fn session_expiry_interval(&self) -> u32 {
        match self.version {
            Version::V5 => self.properties.session_expiry_interval().unwrap_or(0),
            _ if self.clean_start => 0,
            _ => u32::MAX,
        }
    }

    /// The version of a CONNECT that may have something wrong further on, to answer it in its own language.
    pub fn version_of(frame: Frame<'_>) -> Option<Version> {
        let mut reader = Reader::new(frame.body(), false);
        protocol(&mut reader).ok().map(|(version, _)| version)
    }

    /// Decodes a CONNECT of any version.
    ///
    /// # Errors
    /// Whatever rule the packet breaks. The order is that of the checks that a server owes: protocol name and level
    /// first, then the format, the Client Identifier last (3.1.1 section 3.1.4).
    pub fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        Self::decode_here(frame)
    }

    /// The same within its caller, which wants it as part of something larger: the largest packet is not copied.
    #[inline(always)]
    pub(super) fn decode_here(frame: Frame<'a>) -> Result<Self, DecodeError> {
        if frame.first_byte() >> 4 != PacketType::Connect as u8 {
            return Err(DecodeError::UnexpectedPacket);
        }
        let mut reader = Reader::new(frame.body(), frame.is_strict());
        let (version, bridge) = protocol(&mut reader)?;
        frame.open(PacketType::Connect, version)?;
        // One branch for the version, in front of everything; small machines have it once.
        match version {
            Version::V3_1_1 if cfg!(target_pointer_width = "64") => {
                Self::decode_fields(reader, Version::V3_1_1, bridge)
            }
            Version::V5 if cfg!(target_pointer_width = "64") => {
                Self::decode_fields(reader, Version::V5, false)
            }
            _ => Self::decode_fields(reader, version, bridge),
        }
    }

    #[inline(always)]
    fn decode_fields(mut reader: Reader<'a>, version: Version, bridge: bool) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16()?;
        let mut properties = Properties::EMPTY;
        if version.is_v5() {
            properties.decode(&mut reader, PropertyPlace::of(PacketType::Connect))?;
            check_authentication(&properties)?;
        }
        let client_id = reader.utf8().map_err(missing(DecodeError::ClientIdMissing))?;
        let mut will = None;
        if flags & WILL != 0 {
            decode_will(&mut will, flags, &mut reader, version).map_err(missing(DecodeError::WillMissing))?;
        }
        // In 3.1 the length decides: a flag may announce a field that is not there.
        let ends_early = |reader: &Reader<'_>| version == Version::V3_1 && reader.is_empty();
        let user_name = if flags & USER_NAME != 0 && !ends_early(&reader) {
            Some(reader.utf8().map_err(missing(DecodeError::UserNameMissing))?)
        } else {
            None
        };
        let password = if flags & PASSWORD != 0 && !ends_early(&reader) {
            Some(reader.binary().map_err(missing(DecodeError::PasswordMissing))?)
        } else {
            None
        };
        reader.finish()?;
        let clean_start = flags & CLEAN_START != 0;
        check_client_id(client_id, clean_start, version)?;
        Ok(Self {
            version,
            bridge,
            clean_start,
            keep_alive,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }

    #[inline(always)]
    fn body_len(&self, version: Version) -> usize {
        // All but the properties are at most 65,535 bytes, or refused.
        let name: usize = if version == Version::V3_1 { 8 } else { 6 };
        let mut len = name.wrapping_add(4).wrapping_add(binary_len(self.client_id.as_bytes()));
        if let Some(will) = &self.will {
            len = len.wrapping_add(binary_len(will.topic.as_bytes())).wrapping_add(binary_len(will.payload));
        }
        if let Some(user_name) = self.user_name {
            len = len.wrapping_add(binary_len(user_name.as_bytes()));
        }
        if let Some(password) = self.password {
            len = len.wrapping_add(binary_len(password));
        }
        let will = self.will.as_ref().map_or(0, |will| properties_len(will.properties, version));
        sum(sum(len, will), properties_len(self.properties, version))
    }

    /// The length of the encoded packet with its fixed header, in bytes. The packet's own version counts.
    pub fn encoded_len(&self, _version: Version) -> usize {
        framed_len(self.body_len(self.version))
    }

    /// Writes the packet, in its own version.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then.
    pub fn encode(&self, _version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        // One branch for the version, in front of everything; small machines have it once.
        match self.version {
            Version::V3_1_1 if cfg!(target_pointer_width = "64") => self.encode_as(Version::V3_1_1, out),
            Version::V5 if cfg!(target_pointer_width = "64") => self.encode_as(Version::V5, out),
            version => self.encode_as(version, out),
        }
    }

    #[inline(always)]
    fn encode_as(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        self.check(version)?;
        let mut writer = start(out, PacketType::Connect.first_byte(), self.body_len(version))?;
        let level = version.level() | if self.bridge { BRIDGE } else { 0 };
        match version {
            Version::V3_1 => writer.put(b"\0\x06MQIsdp"),
            _ => writer.put(b"\0\x04MQTT"),
        }
        let [high, low] = self.keep_alive.to_be_bytes();
        writer.put(&[level, self.flags(), high, low]);
        put_properties(&mut writer, self.properties, version);
        writer.put_binary(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            put_properties(&mut writer, will.properties, version);
            writer.put_binary(will.topic.as_bytes());
            writer.put_binary(will.payload);
        }
        if let Some(user_name) = self.user_name {
            writer.put_binary(user_name.as_bytes());
        }
        if let Some(password) = self.password {
            writer.put_binary(password);
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let will = self.will.map_or(0, |will| {
            WILL | (will.qos as u8) << WILL_QOS_SHIFT | if will.retain { WILL_RETAIN } else { 0 }
        });
        will | if self.clean_start { CLEAN_START } else { 0 }
            | if self.user_name.is_some() { USER_NAME } else { 0 }
            | if self.password.is_some() { PASSWORD } else { 0 }
    }

    #[inline(always)]
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        check_encode(&self.properties, PropertyPlace::of(PacketType::Connect), version)?;
        if version.is_v5() {
            check_authentication(&self.properties)?;
        }
        if self.bridge && version == Version::V5 {
            return Err(EncodeError::NotInVersion);
        }
        if let Some(will) = &self.will {
            check_encode(&will.properties, PropertyPlace::WILL, version)?;
            check_binary(will.payload)?;
            if will.topic.is_empty() {
                return Err(DecodeError::from(StringError::Empty).into());
            }
        }
        if let Some(password) = self.password {
            check_binary(password)?;
        }
        check_client_id(self.client_id, self.clean_start, version)?;
        if self.password.is_some() && self.user_name.is_none() && !version.is_v5() {
            return Err(DecodeError::PasswordWithoutUserName.into());
        }
        Ok(())
    }
}

/// Takes Protocol Name and Protocol Level; `true` for a bridge.
#[inline(always)]
fn protocol(reader: &mut Reader<'_>) -> Result<(Version, bool), DecodeError> {
    // The name of 3.1.1 and 5.0 is looked at as a whole; small machines do without the shortcut.
    let (version, bridge) = match reader.rest().strip_prefix(b"\0\x04MQTT") {
        Some([4, ..]) if cfg!(target_pointer_width = "64") => (Version::V3_1_1, false),
        Some([5, ..]) if cfg!(target_pointer_width = "64") => (Version::V5, false),
        _ => any_protocol(reader.rest())?,
    };
    if !version.is_supported() {
        return Err(DecodeError::ProtocolLevel);
    }
    reader.take(if version == Version::V3_1 { 9 } else { 7 })?;
    Ok((version, bridge))
}

#[inline(never)]
fn any_protocol(bytes: &[u8]) -> Result<(Version, bool), DecodeError> {
    let mut reader = Reader::new(bytes, false);
    let name = reader.binary()?;
    let level = reader.u8()?;
    let version = match (name, level & !BRIDGE) {
        (b"MQIsdp", 3) => Version::V3_1,
        (b"MQTT", 4) => Version::V3_1_1,
        (b"MQTT", 5) if level & BRIDGE == 0 => Version::V5,
        (b"MQIsdp" | b"MQTT", _) => return Err(DecodeError::ProtocolLevel), // [MQTT-3.1.2-2]
        _ => return Err(DecodeError::ProtocolName),                         // [MQTT-3.1.2-1]
    };
    Ok((version, level & BRIDGE != 0))
}

fn check_flags(flags: u8, version: Version) -> Result<(), DecodeError> {
    if flags & RESERVED != 0 && version != Version::V3_1 {
        return Err(DecodeError::ConnectFlagReserved); // [MQTT-3.1.2-3]
    }
    let will_qos = QoS::from_bits(flags >> WILL_QOS_SHIFT & 3).ok_or(DecodeError::WillQosReserved)?;
    if flags & WILL == 0 {
        if will_qos != QoS::AtMostOnce {
            return Err(DecodeError::WillQosWithoutWill);
        }
        if flags & WILL_RETAIN != 0 {
            return Err(DecodeError::WillRetainWithoutWill);
        }
    }
    if flags & PASSWORD != 0 && flags & USER_NAME == 0 && !version.is_v5() {
        return Err(DecodeError::PasswordWithoutUserName); // [MQTT-3.1.2-22]
    }
    Ok(())
}

/// Authentication Data is data of a method (5.0 section 3.1.2.11.10).
fn check_authentication(properties: &Properties<'_>) -> Result<(), DecodeError> {
    if properties.contains(PropertyId::AuthenticationData)
        && !properties.contains(PropertyId::AuthenticationMethod)
    {
        return Err(DecodeError::AuthDataWithoutMethod);
    }
    Ok(())
}

fn check_client_id(client_id: Utf8Str<'_>, clean_start: bool, version: Version) -> Result<(), DecodeError> {
    let may_be_empty = match version {
        Version::V3_1 => false,
        Version::V3_1_1 => clean_start, // [MQTT-3.1.3-7]
        Version::V5 => true,
    };
    if client_id.is_empty() && !may_be_empty { Err(DecodeError::ClientIdEmpty) } else { Ok(()) }
}

#[inline(always)]
fn decode_will<'a>(
    will: &mut Option<Will<'a>>,
    flags: u8,
    reader: &mut Reader<'a>,
    version: Version,
) -> Result<(), DecodeError> {
    let mut properties = Properties::EMPTY;
    if version.is_v5() {
        properties.decode(reader, PropertyPlace::WILL)?;
    }
    *will = Some(Will {
        properties,
        topic: reader.topic_name().map_err(will_topic)?,
        payload: reader.binary()?,
        qos: QoS::from_bits(flags >> WILL_QOS_SHIFT & 3).ok_or(DecodeError::WillQosReserved)?,
        retain: flags & WILL_RETAIN != 0,
    });
    Ok(())
}

/// Names the rule that a wildcard breaks here: not that of PUBLISH.
fn will_topic(error: DecodeError) -> DecodeError {
    if error == DecodeError::String(StringError::Wildcard) { DecodeError::WillTopicWildcard } else { error }
}

/// Names the field that is cut off.
fn missing(field: DecodeError) -> impl Fn(DecodeError) -> DecodeError {
    move |error| {
        if error == DecodeError::Truncated { field } else { error }
    }
}

impl fmt::Display for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CONNECT {:?} client {:?} keep alive {} s", self.version, self.client_id, self.keep_alive)?;
        if self.clean_start {
            f.write_str(" clean")?;
        }
        if self.bridge {
            f.write_str(" bridge")?;
        }
        if let Some(user_name) = self.user_name {
            write!(f, " user {user_name:?}")?;
        }
        if self.password.is_some() {
            f.write_str(" password ***")?;
        }
        fmt_properties(&self.properties, f)?;
        if let Some(will) = &self.will {
            write!(f, " {will}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Will<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "will {:?} qos {}", self.topic, self.qos as u8)?;
        if self.retain {
            f.write_str(" retain")?;
        }
        write!(f, " {} bytes", self.payload.len())?;
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(Connect<'_>, Will<'_>);
