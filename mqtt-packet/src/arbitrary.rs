//! Valid packets out of a fuzzer's bytes, borrowed from these bytes: no allocation here either.
//!
//! A packet that is not valid cannot exist, so bytes that say something invalid are not refused but cut: of a string,
//! a property block or a list of filters the longest valid front is taken. A fuzzer that changes one byte then still
//! gets a packet.

use crate::reader::Reader;
use crate::{
    Ack, AckKind, Auth, ConnAck, Connect, DecodeError, Delivery, Disconnect, Filters, Packet, PacketType,
    PingReq, PingResp, Properties, PropertyId, PropertyPlace, Publish, ReasonCode, ReasonCodes, SubAck,
    Subscribe, SubscribeFilter, SubscribeFilters, SubscribeOptions, TopicFilter, TopicName, UnsubAck,
    Unsubscribe, Utf8Str, Version, Will,
};
use arbitrary::{Arbitrary, Result, Unstructured};

/// A list is not looked through any further: its front is validated anew for each of its entries.
const MOST_ENTRIES: usize = 16;

impl<'a> Packet<'a> {
    /// A packet that is valid in `version`, in which it can be encoded and decoded again.
    ///
    /// # Errors
    /// The input is used up.
    pub fn arbitrary_of(version: Version, input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.int_in_range(1..=15_u8)? {
            1 => Self::Connect(connect(version, input)?),
            2 => Self::ConnAck(connack(version, input)?),
            3 => Self::Publish(publish(version, input)?),
            number @ 4..=7 => Self::Ack(ack(number, version, input)?),
            8 => Self::Subscribe(subscribe(version, input)?),
            9 => Self::SubAck(suback(version, input)?),
            10 => Self::Unsubscribe(unsubscribe(version, input)?),
            11 => Self::UnsubAck(unsuback(version, input)?),
            12 => Self::PingReq(PingReq),
            15 if version.is_v5() => Self::Auth(auth(version, input)?),
            14 => Self::Disconnect(Disconnect {
                reason_code: reason_code(PacketType::Disconnect, version, input)?,
                properties: properties(PacketType::Disconnect, version, input)?,
            }),
            _ => Self::PingResp(PingResp),
        })
    }
}

/// A packet that is valid in the newest version that is built in; [`Packet::arbitrary_of`] chooses another.
impl<'a> Arbitrary<'a> for Packet<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let newest = if Version::V5.is_supported() { Version::V5 } else { Version::V3_1_1 };
        Self::arbitrary_of(newest, input)
    }
}

fn connect<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<Connect<'a>> {
    let mut connect = Connect {
        bridge: input.arbitrary()?,
        clean_start: input.arbitrary()?,
        keep_alive: input.arbitrary()?,
        properties: properties(PacketType::Connect, version, input)?,
        client_id: input.arbitrary()?,
        will: optional(input, |input| will(version, input))?,
        user_name: input.arbitrary()?,
        password: optional(input, bytes)?,
        ..Connect::new(version, Utf8Str::default())
    };
    if version.is_v5() {
        connect.bridge = false;
        if connect.properties.contains(PropertyId::AuthenticationData) {
            connect.properties = with_method(PacketType::Connect, connect.properties);
        }
    } else {
        // Only 5.0 has a password alone [MQTT-3.1.2-22], and a nameless client that stays [MQTT-3.1.3-7].
        connect.password = connect.password.filter(|_| connect.user_name.is_some());
        if connect.client_id.is_empty() && !(connect.clean_start && version == Version::V3_1_1) {
            connect.client_id = Utf8Str::trusted(b"c");
        }
    }
    Ok(connect)
}

fn will<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<Will<'a>> {
    Ok(Will {
        topic: input.arbitrary()?,
        payload: bytes(input)?,
        qos: input.arbitrary()?,
        retain: input.arbitrary()?,
        properties: properties_at(PropertyPlace::WILL, version, input)?,
    })
}

fn connack<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<ConnAck<'a>> {
    let reason_code = reason_code(PacketType::ConnAck, version, input)?;
    let session_present: bool = input.arbitrary()?;
    Ok(ConnAck {
        session_present: session_present && reason_code == ReasonCode::SUCCESS && version != Version::V3_1,
        reason_code,
        properties: properties(PacketType::ConnAck, version, input)?,
    })
}

fn publish<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<Publish<'a>> {
    let retain = input.arbitrary()?;
    let delivery: Delivery = input.arbitrary()?;
    let properties = properties(PacketType::Publish, version, input)?;
    let may_be_aliased = properties.contains(PropertyId::TopicAlias);
    Ok(Publish {
        retain,
        delivery,
        topic: if may_be_aliased && input.arbitrary()? { TopicName::ALIASED } else { input.arbitrary()? },
        properties,
        payload: input.bytes(input.len())?,
    })
}

fn ack<'a>(number: u8, version: Version, input: &mut Unstructured<'a>) -> Result<Ack<'a>> {
    let kind = match number {
        4 => AckKind::PubAck,
        5 => AckKind::PubRec,
        6 => AckKind::PubRel,
        _ => AckKind::PubComp,
    };
    Ok(Ack {
        kind,
        id: input.arbitrary()?,
        reason_code: reason_code(kind.packet_type(), version, input)?,
        properties: properties(kind.packet_type(), version, input)?,
    })
}

fn subscribe<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<Subscribe<'a>> {
    const EVERYTHING: &[SubscribeFilter<'_>] = &[SubscribeFilter {
        filter: TopicFilter::trusted(b"#"),
        options: SubscribeOptions::new(crate::QoS::AtMostOnce),
    }];
    let id = input.arbitrary()?;
    let properties = properties(PacketType::Subscribe, version, input)?;
    let list = input.bytes(input.len())?;
    let skip = |reader: &mut Reader<'a>| reader.binary().and_then(|_| reader.u8()).map(drop);
    let parse = |front| SubscribeFilters::decode(front, false, version);
    Ok(Subscribe {
        id,
        properties,
        filters: longest_front(list, skip, parse).unwrap_or(SubscribeFilters::new(EVERYTHING)),
    })
}

fn unsubscribe<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<Unsubscribe<'a>> {
    const EVERYTHING: &[TopicFilter<'_>] = &[TopicFilter::trusted(b"#")];
    let id = input.arbitrary()?;
    let properties = properties(PacketType::Unsubscribe, version, input)?;
    let list = input.bytes(input.len())?;
    let skip = |reader: &mut Reader<'a>| reader.binary().map(drop);
    let parse = |front| Filters::decode(front, false, version);
    Ok(Unsubscribe {
        id,
        properties,
        filters: longest_front(list, skip, parse).unwrap_or(Filters::new(EVERYTHING)),
    })
}

fn suback<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<SubAck<'a>> {
    Ok(SubAck {
        id: input.arbitrary()?,
        properties: properties(PacketType::SubAck, version, input)?,
        reason_codes: reason_codes(PacketType::SubAck, version, input)?,
    })
}

fn unsuback<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<UnsubAck<'a>> {
    Ok(UnsubAck {
        id: input.arbitrary()?,
        properties: properties(PacketType::UnsubAck, version, input)?,
        reason_codes: if version.is_v5() {
            reason_codes(PacketType::UnsubAck, version, input)?
        } else {
            ReasonCodes::default()
        },
    })
}

fn auth<'a>(version: Version, input: &mut Unstructured<'a>) -> Result<Auth<'a>> {
    // Both sides may ask for another step; Success is for servers alone, but decodes.
    Ok(Auth {
        reason_code: reason_code(PacketType::Auth, version, input)?,
        properties: with_method(PacketType::Auth, properties(PacketType::Auth, version, input)?),
    })
}

/// These properties, and a method where they do not name one.
fn with_method(packet: PacketType, properties: Properties<'_>) -> Properties<'_> {
    let method = Properties::from_block(b"\x15\x00\x01m", PropertyPlace::of(packet)).unwrap_or_default();
    method.followed_by(properties).unwrap_or(properties)
}

fn reason_code(packet: PacketType, version: Version, input: &mut Unstructured<'_>) -> Result<ReasonCode> {
    let code: ReasonCode = input.arbitrary()?;
    Ok(Some(code).filter(|code| code.can_be_told(version, packet)).unwrap_or_default())
}

fn reason_codes<'a>(
    packet: PacketType,
    version: Version,
    input: &mut Unstructured<'a>,
) -> Result<ReasonCodes<'a>> {
    let codes = input.bytes(input.len())?;
    // Before 5.0 all refusals are one code.
    let is_told = |&code: &u8| {
        ReasonCode(code).can_be_told(version, packet) && (version.is_v5() || matches!(code, 0..=2 | 0x80))
    };
    let valid = codes.iter().take_while(|code| is_told(code)).count();
    Ok(ReasonCodes::new(match codes.get(..valid) {
        Some(codes) if !codes.is_empty() => codes,
        _ => &[0],
    }))
}

fn properties<'a>(
    packet: PacketType,
    version: Version,
    input: &mut Unstructured<'a>,
) -> Result<Properties<'a>> {
    properties_at(PropertyPlace::of(packet), version, input)
}

fn properties_at<'a>(
    place: PropertyPlace,
    version: Version,
    input: &mut Unstructured<'a>,
) -> Result<Properties<'a>> {
    if !version.is_v5() {
        return Ok(Properties::EMPTY);
    }
    let skip = |reader: &mut Reader<'a>| Properties::skip_one(reader);
    let parse = |front| Properties::from_block(front, place);
    Ok(longest_front(bytes(input)?, skip, parse).unwrap_or_default())
}

/// The value of the longest front of `list` that is valid, of at most [`MOST_ENTRIES`] entries.
fn longest_front<'a, T>(
    list: &'a [u8],
    skip: impl Fn(&mut Reader<'a>) -> core::result::Result<(), DecodeError>,
    parse: impl Fn(&'a [u8]) -> core::result::Result<T, DecodeError>,
) -> Option<T> {
    let mut reader = Reader::new(list, false);
    let mut longest = None;
    for _ in 0..MOST_ENTRIES {
        if reader.is_empty() || skip(&mut reader).is_err() {
            break;
        }
        let front = list.get(..list.len().saturating_sub(reader.rest().len()))?;
        let Ok(value) = parse(front) else { break };
        longest = Some(value);
    }
    longest
}

/// Up to 255 bytes, their number first.
fn bytes<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let len = usize::from(input.arbitrary::<u8>()?).min(input.len());
    input.bytes(len)
}

fn optional<'a, T>(
    input: &mut Unstructured<'a>,
    some: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if input.arbitrary()? { some(input).map(Some) } else { Ok(None) }
}

/// The valid front of some bytes.
fn text<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let bytes = bytes(input)?;
    let well_formed = match core::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) => error.valid_up_to(),
    };
    let text = bytes.get(..well_formed).unwrap_or_default();
    Ok(front_without(text, |byte| byte == 0))
}

/// Everything in front of the first byte that is not wanted.
fn front_without(text: &[u8], is_unwanted: impl Fn(u8) -> bool) -> &[u8] {
    text.split(|&byte| is_unwanted(byte)).next().unwrap_or_default()
}

impl<'a> Arbitrary<'a> for Utf8Str<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        text(input).map(Self::trusted)
    }
}

impl<'a> Arbitrary<'a> for TopicName<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let name = front_without(text(input)?, |byte| matches!(byte, b'#' | b'+'));
        Ok(Self::from_bytes(name).unwrap_or(Self::trusted(b"t")))
    }
}

impl<'a> Arbitrary<'a> for TopicFilter<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let text = text(input)?;
        let plain = front_without(text, |byte| matches!(byte, b'#' | b'+'));
        Ok(Self::from_bytes(text).or(Self::from_bytes(plain)).unwrap_or(Self::trusted(b"#")))
    }
}
