//! `-D PACKET NAME VALUE`: properties of 5.0 by their names in mosquitto's programs.

use std::ffi::OsString;

use mqtt_client_async::{Property, PropertyList, PropertyPlace, TopicName, Utf8Str, Version};
use mqtt_packet::{PacketType, PropertyId};

use super::settings::Settings;
use super::{bytes, text};
use crate::failure::{Failure, Outcome};

const NAMES: [(&str, PropertyId); 20] = [
    ("payload-format-indicator", PropertyId::PayloadFormatIndicator),
    ("message-expiry-interval", PropertyId::MessageExpiryInterval),
    ("content-type", PropertyId::ContentType),
    ("response-topic", PropertyId::ResponseTopic),
    ("correlation-data", PropertyId::CorrelationData),
    ("subscription-identifier", PropertyId::SubscriptionIdentifier),
    ("session-expiry-interval", PropertyId::SessionExpiryInterval),
    ("authentication-method", PropertyId::AuthenticationMethod),
    ("authentication-data", PropertyId::AuthenticationData),
    ("request-problem-information", PropertyId::RequestProblemInformation),
    ("will-delay-interval", PropertyId::WillDelayInterval),
    ("request-response-information", PropertyId::RequestResponseInformation),
    ("receive-maximum", PropertyId::ReceiveMaximum),
    ("topic-alias-maximum", PropertyId::TopicAliasMaximum),
    ("topic-alias", PropertyId::TopicAlias),
    ("user-property", PropertyId::UserProperty),
    ("maximum-packet-size", PropertyId::MaximumPacketSize),
    ("reason-string", PropertyId::ReasonString),
    ("server-reference", PropertyId::ServerReference),
    ("server-keep-alive", PropertyId::ServerKeepAlive),
];

/// The packets that take properties from the command line, and those that take none.
const PLACES: [(&str, PropertyPlace, bool); 13] = [
    ("connect", PropertyPlace::of(PacketType::Connect), true),
    ("publish", PropertyPlace::of(PacketType::Publish), true),
    ("subscribe", PropertyPlace::of(PacketType::Subscribe), true),
    ("unsubscribe", PropertyPlace::of(PacketType::Unsubscribe), true),
    ("disconnect", PropertyPlace::of(PacketType::Disconnect), true),
    ("will", PropertyPlace::WILL, true),
    ("puback", PropertyPlace::of(PacketType::PubAck), false),
    ("pubrec", PropertyPlace::of(PacketType::PubRec), false),
    ("pubrel", PropertyPlace::of(PacketType::PubRel), false),
    ("pubcomp", PropertyPlace::of(PacketType::PubComp), false),
    ("suback", PropertyPlace::of(PacketType::SubAck), false),
    ("unsuback", PropertyPlace::of(PacketType::UnsubAck), false),
    ("auth", PropertyPlace::of(PacketType::Auth), false),
];

/// The name of a property.
pub(crate) fn property_name(id: PropertyId) -> &'static str {
    NAMES.into_iter().find(|(_, known)| *known == id).map_or("", |(name, _)| name)
}

/// Whether `-D PACKET NAME` has two values.
pub(super) fn is_pair(name: &OsString) -> bool {
    name == "user-property"
}

/// Adds a property to those of its packet.
pub(super) fn take(settings: &mut Settings, values: &[OsString]) -> Outcome {
    let packet = text(values.get(..1).unwrap_or_default())?;
    let name = text(values.get(1..2).unwrap_or_default())?;
    let known = PLACES.into_iter().find(|(known, ..)| *known == packet);
    let (_, place, is_supported) = known
        .ok_or_else(|| Failure::usage(format!("Invalid command {packet} given in --property argument.")))?;
    let id = NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, id)| id);
    let id = id.ok_or_else(|| {
        Failure::usage(format!("Invalid property name {name} given in --property argument."))
    })?;
    if !place.allows(id) {
        let words = format!("{name} property not allowed for {packet} in --property argument.");
        return Err(Failure::usage(words));
    }
    if !is_supported || packet == "publish" && id == PropertyId::SubscriptionIdentifier {
        let words = format!("{name} property not supported for {packet} in --property argument.");
        return Err(Failure::usage(words));
    }
    settings.asked_version = Some(Version::V5);
    let values = values.get(2..).unwrap_or_default();
    if special(settings, &packet, id, values)? {
        return Ok(());
    }
    let list = match packet.as_str() {
        "connect" => &mut settings.properties.connect,
        "publish" => &mut settings.properties.publish,
        "subscribe" => &mut settings.properties.subscribe,
        "unsubscribe" => &mut settings.properties.unsubscribe,
        "disconnect" => &mut settings.properties.disconnect,
        _ => &mut settings.properties.will,
    };
    let longer = parse(core::mem::take(list), id, values)?;
    longer.at(place).map_err(|rule| Failure::usage(format!("{name} property: {rule}.")))?;
    *list = longer;
    Ok(())
}

/// Properties that the client minds itself: it is told what they say.
fn special(settings: &mut Settings, packet: &str, id: PropertyId, values: &[OsString]) -> Outcome<bool> {
    let number = || integer(id, values, u32::MAX);
    let short = || integer(id, values, u32::from(u16::MAX)).map(|n| u16::try_from(n).unwrap_or(u16::MAX));
    let properties = &mut settings.properties;
    match (packet, id) {
        ("connect", PropertyId::SessionExpiryInterval) => settings.session_expiry = Some(number()?),
        ("connect", PropertyId::ReceiveMaximum) => properties.receive_maximum = Some(short()?),
        ("connect", PropertyId::TopicAliasMaximum) => properties.topic_alias_maximum = short()?,
        ("connect", PropertyId::MaximumPacketSize) => properties.maximum_packet_size = Some(number()?),
        ("publish", PropertyId::TopicAlias) => properties.topic_alias = short()? > 0,
        ("will", PropertyId::WillDelayInterval) => properties.will_delay = number()?,
        ("subscribe", PropertyId::SubscriptionIdentifier) => {
            properties.subscription_identifier = Some(number()?);
            return Ok(false);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The same properties and one more.
fn parse(list: PropertyList, id: PropertyId, values: &[OsString]) -> Outcome<PropertyList> {
    let (first, second) = (text_or_bytes(values, 0), text_or_bytes(values, 1));
    let string = |bytes| {
        Utf8Str::from_bytes(bytes)
            .map_err(|fault| Failure::usage(format!("{} property: {fault}.", property_name(id))))
    };
    let flag = || integer(id, values, 1).map(|number| number == 1);
    let number = || integer(id, values, u32::MAX);
    let property = match id {
        PropertyId::PayloadFormatIndicator => Property::PayloadFormatIndicator(flag()?),
        PropertyId::MessageExpiryInterval => Property::MessageExpiryInterval(number()?),
        PropertyId::ContentType => Property::ContentType(string(&first)?),
        PropertyId::ResponseTopic => {
            let topic = TopicName::from_bytes(&first)
                .map_err(|fault| Failure::usage(format!("{} property: {fault}.", property_name(id))))?;
            Property::ResponseTopic(topic)
        }
        PropertyId::CorrelationData => Property::CorrelationData(&first),
        PropertyId::SubscriptionIdentifier => Property::SubscriptionIdentifier(number()?),
        PropertyId::SessionExpiryInterval => Property::SessionExpiryInterval(number()?),
        PropertyId::AuthenticationMethod => Property::AuthenticationMethod(string(&first)?),
        PropertyId::AuthenticationData => Property::AuthenticationData(&first),
        PropertyId::RequestProblemInformation => Property::RequestProblemInformation(flag()?),
        PropertyId::RequestResponseInformation => Property::RequestResponseInformation(flag()?),
        PropertyId::ReasonString => Property::ReasonString(string(&first)?),
        PropertyId::UserProperty => Property::UserProperty(string(&first)?, string(&second)?),
        other => return Err(Failure::usage(format!("{} property not supported.", property_name(other)))),
    };
    Ok(list.with(property))
}

fn text_or_bytes(values: &[OsString], at: usize) -> Vec<u8> {
    bytes(values.get(at..).unwrap_or_default())
}

fn integer(id: PropertyId, values: &[OsString], largest: u32) -> Outcome<u32> {
    let (name, value) = (property_name(id), text(values)?);
    let digits = value.strip_prefix("0x").map(|hex| i64::from_str_radix(hex, 16));
    let Ok(number) = digits.unwrap_or_else(|| value.parse::<i64>()) else {
        return Err(Failure::usage(format!("Property value '{value}' not a number.")));
    };
    match u32::try_from(number) {
        Ok(number) if number <= largest => Ok(number),
        _ => Err(Failure::usage(format!("Property value ({number}) out of range for property {name}."))),
    }
}
