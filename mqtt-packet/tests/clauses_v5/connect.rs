//! Sections 3.1 and 3.2: CONNECT and CONNACK.

use crate::wire::{accepted, encode, stands, wire};
use crate::{refused, wire};
use mqtt_packet::{
    ConnAck, Connect, DecodeError, EncodeError, Packet, Properties, Property, PropertyPlace, PropertyWriter,
    QoS, ReasonCode, TopicName, Utf8Str, Version, Will,
};

const MALFORMED: ReasonCode = ReasonCode::MALFORMED_PACKET;

/// A CONNECT with these flags, no properties and this payload.
fn connect(flags: u8, payload: &str) -> String {
    format!("10 .. 0004'MQTT' 05 {flags:02X} 003C {{}} {payload}")
}

#[track_caller]
fn is(notation: &str) -> Connect<'static> {
    match stands(wire(notation).leak(), Version::V5) {
        Packet::Connect(connect) => connect,
        other => panic!("{other}"),
    }
}

#[test]
fn protocol_name_is_mqtt() {
    // [MQTT-3.1.2-1 @5.0]
    let code = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
    for name in ["mqtt", "MQTT ", "MQT", "", "MQTTS", "\u{FEFF}MQTT"] {
        let notation = format!("10 .. \"{name}\" 05 02 003C {{}} \"c\"");
        refused(&notation, DecodeError::ProtocolName, "MQTT-3.1.2-1", code);
    }
    // The name of 3.1 has no level 5.
    refused("10 .. \"MQIsdp\" 05 02 003C {} \"c\"", DecodeError::ProtocolLevel, "MQTT-3.1.2-2", code);
}

#[test]
fn protocol_version_must_be_known() {
    // [MQTT-3.1.2-2 @5.0]
    for level in (0..=255).filter(|level| ![4, 5, 0x84].contains(level)) {
        let notation = format!("10 .. \"MQTT\" {level:02X} 02 003C {{}} \"c\"");
        let code = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
        refused(&notation, DecodeError::ProtocolLevel, "MQTT-3.1.2-2", code);
    }
    let bytes = wire("10 .. \"MQTT\" 05 FF");
    assert_eq!(Connect::version_of(wire::frame(&bytes)), Some(Version::V5));
    let bytes = wire("10 .. \"MQTT\" 06 02 003C {} \"c\"");
    assert_eq!(Connect::version_of(wire::frame(&bytes)), None);
}

#[test]
fn reserved_flag_is_refused() {
    // [MQTT-3.1.2-3 @5.0]
    for flags in [0x01, 0x03, 0xC3, 0xFF] {
        refused(&connect(flags, "\"c\""), DecodeError::ConnectFlagReserved, "MQTT-3.1.2-3", MALFORMED);
    }
}

#[test]
fn will_flag_announces_properties_topic_and_payload() {
    // [MQTT-3.1.2-9 @5.0]
    let will = is(&connect(0x2E, "\"c\" {18 00000005} \"t\" \"m\"")).will.unwrap();
    assert_eq!((will.topic.as_str(), will.payload), ("t", &b"m"[..]));
    assert_eq!((will.qos, will.retain), (QoS::AtLeastOnce, true));
    assert_eq!(will.properties.will_delay_interval(), Some(5));
    for payload in ["\"c\"", "\"c\" {}", "\"c\" {} 00", "\"c\" {} \"t\"", "\"c\" {} \"t\" 0002 'm'"] {
        refused(&connect(0x06, payload), DecodeError::WillMissing, "MQTT-3.1.2-9", MALFORMED);
    }
    refused(&connect(0x02, "\"c\" {} \"t\" \"m\""), DecodeError::TrailingBytes, "MQTT-4.13.1-1", MALFORMED);
}

#[test]
fn will_qos_needs_the_will_flag() {
    // [MQTT-3.1.2-11 @5.0]
    for flags in [0x08, 0x10] {
        refused(&connect(flags, "\"c\""), DecodeError::WillQosWithoutWill, "MQTT-3.1.2-11", MALFORMED);
    }
}

#[test]
fn will_qos_is_0_1_or_2() {
    // [MQTT-3.1.2-12 @5.0]
    for (flags, qos) in [(0x04, QoS::AtMostOnce), (0x0C, QoS::AtLeastOnce), (0x14, QoS::ExactlyOnce)] {
        assert_eq!(is(&connect(flags, "\"c\" {} \"t\" \"m\"")).will.unwrap().qos, qos);
    }
    for flags in [0x1C, 0x18, 0x3E] {
        let notation = connect(flags, "\"c\" {} \"t\" \"m\"");
        refused(&notation, DecodeError::WillQosReserved, "MQTT-3.1.2-12", MALFORMED);
    }
}

#[test]
fn will_retain_needs_the_will_flag() {
    // [MQTT-3.1.2-13 @5.0]
    refused(&connect(0x20, "\"c\""), DecodeError::WillRetainWithoutWill, "MQTT-3.1.2-13", MALFORMED);
    assert!(is(&connect(0x24, "\"c\" {} \"t\" \"m\"")).will.unwrap().retain);
    assert!(!is(&connect(0x04, "\"c\" {} \"t\" \"m\"")).will.unwrap().retain);
}

#[test]
fn user_name_follows_its_flag() {
    // [MQTT-3.1.2-16 @5.0] [MQTT-3.1.2-17 @5.0]
    assert_eq!(is(&connect(0x82, "\"c\" \"u\"")).user_name.unwrap(), "u");
    assert_eq!(is(&connect(0x02, "\"c\"")).user_name, None);
    refused(&connect(0x02, "\"c\" \"u\""), DecodeError::TrailingBytes, "MQTT-4.13.1-1", MALFORMED);
    for payload in ["\"c\"", "\"c\" 00", "\"c\" 0002 'u'"] {
        refused(&connect(0x82, payload), DecodeError::UserNameMissing, "MQTT-3.1.2-17", MALFORMED);
    }
}

#[test]
fn password_follows_its_flag() {
    // [MQTT-3.1.2-18 @5.0] [MQTT-3.1.2-19 @5.0]
    assert_eq!(is(&connect(0xC2, "\"c\" \"u\" 0002 00FF")).password, Some(&b"\x00\xFF"[..]));
    // Unlike in 3.1.1 it needs no user name.
    let alone = is(&connect(0x42, "\"c\" \"token\""));
    assert_eq!((alone.user_name, alone.password), (None, Some(&b"token"[..])));
    refused(&connect(0x82, "\"c\" \"u\" \"p\""), DecodeError::TrailingBytes, "MQTT-4.13.1-1", MALFORMED);
    for payload in ["\"c\" \"u\"", "\"c\" \"u\" 00", "\"c\" \"u\" 0002 'p'"] {
        refused(&connect(0xC2, payload), DecodeError::PasswordMissing, "MQTT-3.1.2-19", MALFORMED);
    }
    refused(&connect(0x42, "\"c\""), DecodeError::PasswordMissing, "MQTT-3.1.2-19", MALFORMED);
}

#[test]
fn payload_is_in_order() {
    // [MQTT-3.1.3-1 @5.0]
    let connect = is(&connect(0xEE, "\"client\" {01 01} \"topic\" \"message\" \"user\" \"password\""));
    let will = connect.will.unwrap();
    assert_eq!(connect.client_id, "client");
    assert_eq!(will.properties.payload_format_indicator(), Some(true));
    assert_eq!((will.topic.as_str(), will.payload), ("topic", &b"message"[..]));
    assert_eq!((connect.user_name.unwrap().as_str(), connect.password.unwrap()), ("user", &b"password"[..]));
}

#[test]
fn client_identifier_is_always_there() {
    // [MQTT-3.1.3-3 @5.0]
    for payload in ["", "00", "0002 'c'"] {
        refused(&connect(0x02, payload), DecodeError::ClientIdMissing, "MQTT-3.1.3-3", MALFORMED);
    }
    // The server gives one where it is empty, whatever Clean Start says.
    assert!(is(&connect(0x02, "\"\"")).client_id.is_empty());
    assert!(is(&connect(0x00, "\"\"")).client_id.is_empty());
}

#[test]
fn authentication_data_needs_a_method() {
    // [U5-3.1.2-5]: decoder and encoder
    let (error, code) = (DecodeError::AuthDataWithoutMethod, ReasonCode::PROTOCOL_ERROR);
    refused("10 .. 0004'MQTT' 05 02 003C {16 0001 FF} \"c\"", error, "U5-3.1.2-5", code);
    stands(&wire("10 .. 0004'MQTT' 05 02 003C {15 \"m\" 16 0001 FF} \"c\""), Version::V5);
    stands(&wire("10 .. 0004'MQTT' 05 02 003C {16 0000 15 \"m\"} \"c\""), Version::V5);
    stands(&wire("10 .. 0004'MQTT' 05 02 003C {15 \"m\"} \"c\""), Version::V5);
    let mut memory = [0; 16];
    let mut writer = PropertyWriter::new(PropertyPlace::of(mqtt_packet::PacketType::Connect), &mut memory);
    writer.push(Property::AuthenticationData(b"\xFF")).unwrap();
    let client_id = Utf8Str::new("c").unwrap();
    let packet = Connect { properties: writer.finish(), ..Connect::new(Version::V5, client_id) };
    assert_eq!(encode(&Packet::Connect(packet), Version::V5), Err(EncodeError::Rule(error)));
    // Properties do not exist in 3.1.1, so nothing is wrong with them there.
    let packet = Connect { version: Version::V3_1_1, ..packet };
    assert!(encode(&Packet::Connect(packet), Version::V3_1_1).is_ok());
}

#[test]
fn session_expiry_reads_alike_in_all_versions() {
    let expiry = |notation: &str| {
        let bytes = wire(notation);
        match accepted(&bytes, Version::V5) {
            Packet::Connect(connect) => connect.session_expiry_interval(),
            other => panic!("{other}"),
        }
    };
    assert_eq!(expiry("10 .. 0004'MQTT' 05 00 003C {} \"c\""), 0);
    assert_eq!(expiry("10 .. 0004'MQTT' 05 02 003C {11 0000003C} \"c\""), 60);
    assert_eq!(expiry("10 .. 0004'MQTT' 05 02 003C {11 FFFFFFFF} \"c\""), u32::MAX);
    assert_eq!(expiry("10 .. 0004'MQTT' 04 02 003C \"c\""), 0);
    assert_eq!(expiry("10 .. 0004'MQTT' 04 00 003C \"c\""), u32::MAX);
}

#[test]
fn wills_that_break_a_rule_are_not_encoded() {
    // [MQTT-3.1.2-9 @5.0]: what the encoder would have to announce
    let mut memory = [0; 16];
    let mut writer = PropertyWriter::new(PropertyPlace::of(mqtt_packet::PacketType::Publish), &mut memory);
    writer.push(Property::TopicAlias(1)).unwrap();
    let will = Will {
        topic: TopicName::new("t").unwrap(),
        payload: b"m",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: writer.finish(),
    };
    let connect = Connect { will: Some(will), ..Connect::new(Version::V5, Utf8Str::new("c").unwrap()) };
    let error = EncodeError::Rule(DecodeError::PropertyNotAllowed);
    assert_eq!(encode(&Packet::Connect(connect), Version::V5), Err(error));
}

#[test]
fn connack_flags_are_reserved() {
    // [MQTT-3.2.2-1 @5.0]
    for flags in 2..=255 {
        let notation = format!("20 .. {flags:02X} 00 {{}}");
        refused(&notation, DecodeError::ConnAckFlags, "MQTT-3.2.2-1", MALFORMED);
    }
}

#[test]
fn refusal_has_no_session() {
    // [MQTT-3.2.2-6 @5.0]: decoder and encoder
    stands(&wire("20 .. 01 00 {}"), Version::V5);
    let error = DecodeError::SessionPresentInRefusal;
    for code in (0x80..=0x9F).filter(|code| ReasonCode(*code).is_allowed_in(mqtt_packet::PacketType::ConnAck))
    {
        let notation = format!("20 .. 01 {code:02X} {{}}");
        refused(&notation, error, "MQTT-3.2.2-6", ReasonCode::PROTOCOL_ERROR);
        let connack =
            ConnAck { session_present: true, reason_code: ReasonCode(code), properties: Properties::EMPTY };
        assert_eq!(encode(&Packet::ConnAck(connack), Version::V5), Err(EncodeError::Rule(error)));
    }
}
