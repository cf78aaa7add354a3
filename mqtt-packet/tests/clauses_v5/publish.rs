//! Section 3.3: PUBLISH.

use crate::refused;
use crate::wire::{encode, stands, wire};
use mqtt_packet::{
    DecodeError, Delivery, EncodeError, Packet, PacketId, PacketType, Property, PropertyId, PropertyPlace,
    PropertyWriter, Publish, ReasonCode, Role, TopicName, Version,
};

const PROTOCOL_ERROR: ReasonCode = ReasonCode::PROTOCOL_ERROR;

#[track_caller]
fn is(notation: &str) -> Publish<'static> {
    match stands(wire(notation).leak(), Version::V5) {
        Packet::Publish(publish) => publish,
        other => panic!("{other}"),
    }
}

#[test]
fn dup_is_0_at_qos_0() {
    // [MQTT-3.3.1-2 @5.0]: the encoder has no way to say it
    for first in [0x38, 0x39] {
        let notation = format!("{first:02X} .. \"a\" {{}}");
        refused(&notation, DecodeError::DupAtQos0, "MQTT-3.3.1-2", ReasonCode::MALFORMED_PACKET);
    }
    let id = PacketId::new(7).unwrap();
    assert_eq!(is("3A .. \"a\" 0007 {}").delivery, Delivery::AtLeastOnce { id, dup: true });
    assert_eq!(is("3C .. \"a\" 0007 {}").delivery, Delivery::ExactlyOnce { id, dup: true });
}

#[test]
fn qos_3_is_refused() {
    // [MQTT-3.3.1-4 @5.0]
    for first in [0x36, 0x37, 0x3E, 0x3F] {
        let notation = format!("{first:02X} .. \"a\" 0001 {{}}");
        refused(&notation, DecodeError::QosReserved, "MQTT-3.3.1-4", ReasonCode::MALFORMED_PACKET);
    }
}

#[test]
fn topic_name_comes_first() {
    // [MQTT-3.3.2-1 @5.0]
    let publish = is("32 .. \"topic\" 0001 {01 01} 'payload'");
    assert_eq!((publish.topic.as_str(), publish.payload), ("topic", &b"payload"[..]));
    for cut in ["30 00", "30 01 00", "30 02 0001", "32 .. \"a\" 00", "32 .. \"a\" 0001"] {
        refused(cut, DecodeError::Truncated, "MQTT-4.13.1-1", ReasonCode::MALFORMED_PACKET);
    }
}

#[test]
fn absent_topic_name_needs_an_alias() {
    // [U5-3.3.2-1]: decoder and encoder
    for notation in ["30 .. \"\" {}", "30 .. \"\" {01 01} 'x'", "32 .. \"\" 0001 {}"] {
        refused(notation, DecodeError::TopicMissing, "U5-3.3.2-1", PROTOCOL_ERROR);
    }
    let publish = is("30 .. \"\" {23 0005} 'x'");
    assert_eq!((publish.topic, publish.properties.topic_alias()), (TopicName::ALIASED, Some(5)));
    assert_eq!(is("30 .. \"a\" {23 0005} 'x'").topic, "a");
    let absent = Packet::Publish(Publish::new(TopicName::ALIASED, b"x"));
    assert_eq!(encode(&absent, Version::V5), Err(EncodeError::Rule(DecodeError::TopicMissing)));
    // The same packet said to a peer that speaks 3.1.1 has no name at all.
    let aliased = Packet::Publish(publish);
    assert_eq!(encode(&aliased, Version::V3_1_1), Err(EncodeError::Rule(DecodeError::TopicMissing)));
}

#[test]
fn topic_alias_is_never_0() {
    // [MQTT-3.3.2-8]: decoder and encoder
    let error = DecodeError::PropertyValue(PropertyId::TopicAlias);
    for notation in ["30 .. \"a\" {23 0000}", "30 .. \"\" {23 0000}"] {
        refused(notation, error, "MQTT-3.3.2-8", ReasonCode::TOPIC_ALIAS_INVALID);
    }
    for alias in ["0001", "FFFF"] {
        is(&format!("30 .. \"\" {{23 {alias}}}"));
    }
    let mut memory = [0; 8];
    let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::Publish), &mut memory);
    assert_eq!(writer.push(Property::TopicAlias(0)).unwrap_err(), EncodeError::Rule(error));
}

#[test]
fn subscription_identifier_is_never_0() {
    // [U5-3.3.2-5]: decoder and encoder
    let error = DecodeError::PropertyValue(PropertyId::SubscriptionIdentifier);
    for notation in ["30 .. \"a\" {0B 00}", "30 .. \"a\" {0B 01 0B 00}", "82 .. 0001 {0B 00} \"a\" 00"] {
        refused(notation, error, "U5-3.3.2-5", PROTOCOL_ERROR);
    }
    for packet in [PacketType::Publish, PacketType::Subscribe] {
        let mut memory = [0; 8];
        let mut writer = PropertyWriter::new(PropertyPlace::of(packet), &mut memory);
        for value in [0, 268_435_456, u32::MAX] {
            let property = Property::SubscriptionIdentifier(value);
            assert_eq!(writer.push(property).unwrap_err(), EncodeError::Rule(error));
        }
        writer.push(Property::SubscriptionIdentifier(268_435_455)).unwrap();
    }
}

#[test]
fn subscription_identifiers_come_from_the_server_only() {
    // [MQTT-3.3.4-6]
    let publish = is("30 .. \"a\" {0B 01 26 \"n\" \"v\" 0B 8001}");
    assert_eq!(publish.properties.subscription_identifiers().collect::<Vec<_>>(), [1, 128]);
    let packet = Packet::Publish(publish);
    assert_eq!(packet.check_sender(Role::Server, Version::V5), Ok(()));
    let error = DecodeError::SubscriptionIdFromClient;
    assert_eq!(packet.check_sender(Role::Client, Version::V5), Err(error));
    assert_eq!((error.rule(Version::V5), error.reason_code()), ("MQTT-3.3.4-6", PROTOCOL_ERROR));
    let without = Packet::Publish(is("30 .. \"a\" {23 0001}"));
    assert_eq!(without.check_sender(Role::Client, Version::V5), Ok(()));
}

#[test]
fn every_property_of_a_message_arrives() {
    let publish = is(concat!(
        "33 .. \"a/b\" 0102 {",
        "01 01 02 0000003C 03 \"text/plain\" 08 \"reply/to\" 09 0003 0A0B0C 0B 01 0B FFFFFF7F 23 0010",
        " 26 \"n\" \"v\" 26 \"n\" \"\"} 'hi'"
    ));
    let properties = publish.properties;
    assert_eq!(properties.payload_format_indicator(), Some(true));
    assert_eq!(properties.message_expiry_interval(), Some(60));
    assert_eq!(properties.content_type().unwrap(), "text/plain");
    assert_eq!(properties.response_topic().unwrap(), "reply/to");
    assert_eq!(properties.correlation_data(), Some(&[0x0A, 0x0B, 0x0C][..]));
    assert_eq!(properties.subscription_identifiers().collect::<Vec<_>>(), [1, 268_435_455]);
    assert_eq!(properties.topic_alias(), Some(16));
    let users: Vec<_> = properties.user_properties().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(users, [("n", "v"), ("n", "")]);
    assert_eq!(properties.iter().count(), 10);
}
