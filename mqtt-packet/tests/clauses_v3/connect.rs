//! Sections 3.1 and 3.2: CONNECT and CONNACK.

use crate::wire::{V3, accepted, encode, refused, stands, wire};
use mqtt_packet::{
    ConnAck, Connect, DecodeError, EncodeError, Packet, QoS, ReasonCode, StringError, Utf8Str, Version, Will,
};

const MALFORMED: ReasonCode = ReasonCode::MALFORMED_PACKET;

/// A CONNECT of 3.1.1 with these flags and this payload.
fn connect(flags: u8, payload: &str) -> Vec<u8> {
    wire(&format!("10 .. 0004'MQTT' 04 {flags:02X} 003C {payload}"))
}

fn is(packet: Packet<'_>) -> Connect<'_> {
    match packet {
        Packet::Connect(connect) => connect,
        other => panic!("{other}"),
    }
}

fn text(text: &str) -> Utf8Str<'_> {
    Utf8Str::new(text).unwrap()
}

#[test]
fn reserved_flag_is_refused() {
    // [MQTT-3.1.2-3 @3.1.1]
    for flags in [0x03, 0x07, 0xC3] {
        let bytes = connect(flags, "\"c\" \"t\" \"m\" \"u\" \"p\"");
        refused(&bytes, Version::V3_1_1, DecodeError::ConnectFlagReserved, "MQTT-3.1.2-3", MALFORMED);
    }
    // Nobody looked at it in 3.1.
    let bytes = wire("10 .. 0006'MQIsdp' 03 03 003C \"c\"");
    assert!(is(accepted(&bytes, Version::V3_1)).clean_start);
}

#[test]
fn will_flag_announces_topic_and_message() {
    // [MQTT-3.1.2-9 @3.1.1]
    let bytes = connect(0x2E, "\"c\" \"t\" \"m\"");
    let will = is(stands(&bytes, Version::V3_1_1)).will.unwrap();
    assert_eq!((will.topic.as_str(), will.payload), ("t", &b"m"[..]));
    assert_eq!((will.qos, will.retain), (QoS::AtLeastOnce, true));
    for payload in ["\"c\"", "\"c\" 00", "\"c\" 0002 't'", "\"c\" \"t\"", "\"c\" \"t\" 0002 'm'"] {
        let error = DecodeError::WillMissing;
        refused(&connect(0x06, payload), Version::V3_1_1, error, "MQTT-3.1.2-9", MALFORMED);
    }
}

#[test]
fn without_will_flag_there_is_no_will() {
    // [MQTT-3.1.2-11 @3.1.1]
    assert_eq!(is(stands(&connect(0x02, "\"c\""), Version::V3_1_1)).will, None);
    let bytes = connect(0x02, "\"c\" \"t\" \"m\"");
    refused(&bytes, Version::V3_1_1, DecodeError::TrailingBytes, "MQTT-4.8.0-1", MALFORMED);
}

#[test]
fn will_qos_needs_the_will_flag() {
    // [MQTT-3.1.2-13 @3.1.1] [MQTT-3.1.2-11 @3.1.1]
    for flags in [0x0A, 0x12] {
        let error = DecodeError::WillQosWithoutWill;
        refused(&connect(flags, "\"c\""), Version::V3_1_1, error, "MQTT-3.1.2-13", MALFORMED);
    }
}

#[test]
fn will_qos_is_0_1_or_2() {
    // [MQTT-3.1.2-14 @3.1.1]
    for (flags, qos) in [(0x06, QoS::AtMostOnce), (0x0E, QoS::AtLeastOnce), (0x16, QoS::ExactlyOnce)] {
        let bytes = connect(flags, "\"c\" \"t\" \"m\"");
        assert_eq!(is(stands(&bytes, Version::V3_1_1)).will.unwrap().qos, qos);
    }
    for flags in [0x1E, 0x1A, 0x3E] {
        let bytes = connect(flags, "\"c\" \"t\" \"m\"");
        refused(&bytes, Version::V3_1_1, DecodeError::WillQosReserved, "MQTT-3.1.2-14", MALFORMED);
    }
}

#[test]
fn will_retain_needs_the_will_flag() {
    // [MQTT-3.1.2-15 @3.1.1] [MQTT-3.1.2-11 @3.1.1]
    let error = DecodeError::WillRetainWithoutWill;
    refused(&connect(0x22, "\"c\""), Version::V3_1_1, error, "MQTT-3.1.2-15", MALFORMED);
}

#[test]
fn user_name_follows_its_flag() {
    // [MQTT-3.1.2-18 @3.1.1] [MQTT-3.1.2-19 @3.1.1]
    assert_eq!(is(stands(&connect(0x82, "\"c\" \"u\""), Version::V3_1_1)).user_name, Some(text("u")));
    assert_eq!(is(stands(&connect(0x82, "\"c\" \"\""), Version::V3_1_1)).user_name, Some(text("")));
    assert_eq!(is(stands(&connect(0x02, "\"c\""), Version::V3_1_1)).user_name, None);
    let left = connect(0x02, "\"c\" \"u\"");
    refused(&left, Version::V3_1_1, DecodeError::TrailingBytes, "MQTT-4.8.0-1", MALFORMED);
    for payload in ["\"c\"", "\"c\" 00", "\"c\" 0001", "\"c\" 0005 'user'"] {
        let error = DecodeError::UserNameMissing;
        refused(&connect(0x82, payload), Version::V3_1_1, error, "MQTT-3.1.2-19", MALFORMED);
    }
}

#[test]
fn password_follows_its_flag() {
    // [MQTT-3.1.2-20 @3.1.1] [MQTT-3.1.2-21 @3.1.1]
    let bytes = connect(0xC2, "\"c\" \"u\" 0003 00FF80");
    assert_eq!(is(stands(&bytes, Version::V3_1_1)).password, Some(&b"\x00\xFF\x80"[..]), "any bytes");
    let bytes = connect(0x82, "\"c\" \"u\"");
    assert_eq!(is(stands(&bytes, Version::V3_1_1)).password, None);
    let left = connect(0x82, "\"c\" \"u\" \"p\"");
    refused(&left, Version::V3_1_1, DecodeError::TrailingBytes, "MQTT-4.8.0-1", MALFORMED);
    for payload in ["\"c\" \"u\"", "\"c\" \"u\" 00", "\"c\" \"u\" 0001", "\"c\" \"u\" FFFF 'p'"] {
        let error = DecodeError::PasswordMissing;
        refused(&connect(0xC2, payload), Version::V3_1_1, error, "MQTT-3.1.2-21", MALFORMED);
    }
}

#[test]
fn password_needs_a_user_name() {
    // [MQTT-3.1.2-22 @3.1.1]
    let error = DecodeError::PasswordWithoutUserName;
    refused(&connect(0x42, "\"c\" \"p\""), Version::V3_1_1, error, "MQTT-3.1.2-22", MALFORMED);
    for version in V3 {
        let connect = Connect { password: Some(b"p"), ..Connect::new(version, text("c")) };
        assert_eq!(encode(&Packet::Connect(connect), version), Err(EncodeError::Rule(error)));
    }
}

#[test]
fn payload_is_in_order() {
    // [MQTT-3.1.3-1 @3.1.1]
    let bytes = connect(0xEE, "\"client\" \"topic\" \"message\" \"user\" \"password\"");
    let connect = is(stands(&bytes, Version::V3_1_1));
    let will = connect.will.unwrap();
    assert_eq!(connect.client_id, "client");
    assert_eq!((will.topic.as_str(), will.payload), ("topic", &b"message"[..]));
    assert_eq!((connect.user_name, connect.password), (Some(text("user")), Some(&b"password"[..])));
    // Any one of them left out moves the others up.
    let bytes = wire("10 .. 0004'MQTT' 04 C2 003C \"client\" \"user\" \"password\"");
    let connect = is(stands(&bytes, Version::V3_1_1));
    assert_eq!((connect.client_id, connect.user_name), (text("client"), Some(text("user"))));
}

#[test]
fn client_identifier_is_always_there() {
    // [MQTT-3.1.3-3 @3.1.1]
    for payload in ["", "00", "0001", "0003 'ab'"] {
        let error = DecodeError::ClientIdMissing;
        refused(&connect(0x02, payload), Version::V3_1_1, error, "MQTT-3.1.3-3", MALFORMED);
    }
    assert!(is(stands(&connect(0x02, "\"\""), Version::V3_1_1)).client_id.is_empty());
    let longest = "c".repeat(65_535);
    let bytes = connect(0x02, &format!("\"{longest}\""));
    assert_eq!(is(stands(&bytes, Version::V3_1_1)).client_id, *longest);
}

#[test]
fn empty_client_identifier_needs_a_clean_session() {
    // [MQTT-3.1.3-7 @3.1.1]: decoder and encoder
    let (error, code) = (DecodeError::ClientIdEmpty, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
    refused(&connect(0x00, "\"\""), Version::V3_1_1, error, "MQTT-3.1.3-7", code);
    stands(&connect(0x02, "\"\""), Version::V3_1_1);
    let packet =
        |version, clean_start| Packet::Connect(Connect { clean_start, ..Connect::new(version, text("")) });
    assert_eq!(encode(&packet(Version::V3_1_1, false), Version::V3_1_1), Err(EncodeError::Rule(error)));
    assert!(encode(&packet(Version::V3_1_1, true), Version::V3_1_1).is_ok());
    // 3.1 has no empty Client Identifier at all.
    let bytes = wire("10 .. 0006'MQIsdp' 03 02 003C \"\"");
    refused(&bytes, Version::V3_1, error, "MQTT-3.1.3-7", code);
    assert_eq!(encode(&packet(Version::V3_1, true), Version::V3_1), Err(EncodeError::Rule(error)));
}

#[test]
fn protocol_name_and_level_are_judged_first() {
    // The server's part of [MQTT-3.1.2-1 @3.1.1] and [MQTT-3.1.2-2 @3.1.1]: whatever else is wrong behind them.
    let code = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
    for name in ["\"mqtt\"", "\"MQTTX\"", "\"MQT\"", "\"\"", "\"MQIsdq\"", "\"HTTP\""] {
        let bytes = wire(&format!("10 .. {name} 04 FF FFFF"));
        refused(&bytes, Version::V3_1_1, DecodeError::ProtocolName, "MQTT-3.1.2-1", code);
    }
    let levels = (0..=255).map(|level| ("MQTT", level)).chain((0..=255).map(|level| ("MQIsdp", level)));
    for (name, level) in levels {
        let bytes = wire(&format!("10 .. \"{name}\" {level:02X} FF FFFF"));
        let is_known = match (name, level) {
            ("MQTT", 4 | 0x84) | ("MQIsdp", 3 | 0x83) => true,
            ("MQTT", 5) => Version::V5.is_supported(),
            _ => false,
        };
        if is_known {
            assert_ne!(crate::wire::decode(&bytes, Version::V3_1_1), Err(DecodeError::ProtocolLevel));
        } else {
            refused(&bytes, Version::V3_1_1, DecodeError::ProtocolLevel, "MQTT-3.1.2-2", code);
        }
    }
}

#[test]
fn bridges_say_so_in_the_level() {
    for (name, level, version) in [("MQIsdp", 0x83, Version::V3_1), ("MQTT", 0x84, Version::V3_1_1)] {
        let bytes = wire(&format!("10 .. \"{name}\" {level:02X} 02 003C \"c\""));
        let connect = is(stands(&bytes, version));
        assert_eq!((connect.version, connect.bridge), (version, true));
    }
    let connect = Connect { bridge: true, ..Connect::new(Version::V5, text("c")) };
    assert_eq!(encode(&Packet::Connect(connect), Version::V5), Err(EncodeError::NotInVersion));
}

#[test]
fn in_3_1_the_length_decides_about_user_name_and_password() {
    let connect = |payload| wire(&format!("10 .. 0006'MQIsdp' 03 C2 003C {payload}"));
    let bytes = connect("\"c\"");
    let packet = is(accepted(&bytes, Version::V3_1));
    assert_eq!((packet.user_name, packet.password), (None, None));
    let bytes = connect("\"c\" \"u\"");
    let packet = is(accepted(&bytes, Version::V3_1));
    assert_eq!((packet.user_name, packet.password), (Some(text("u")), None));
    let bytes = connect("\"c\" \"u\" \"p\"");
    assert_eq!(is(stands(&bytes, Version::V3_1)).password, Some(&b"p"[..]));
    // A field that is begun must end.
    let bytes = connect("\"c\" 0002 'u'");
    refused(&bytes, Version::V3_1, DecodeError::UserNameMissing, "MQTT-3.1.2-19", MALFORMED);
}

#[test]
fn will_that_breaks_a_rule_is_not_encoded() {
    let will = |topic, payload| Will {
        topic,
        payload,
        qos: QoS::AtMostOnce,
        retain: false,
        properties: mqtt_packet::Properties::EMPTY,
    };
    let with =
        |will| Packet::Connect(Connect { will: Some(will), ..Connect::new(Version::V3_1_1, text("c")) });
    let too_long = vec![0; 65_536];
    let topic = mqtt_packet::TopicName::new("t").unwrap();
    assert_eq!(encode(&with(will(topic, &too_long)), Version::V3_1_1), Err(EncodeError::TooLong));
    let empty = EncodeError::Rule(DecodeError::String(StringError::Empty));
    let absent = mqtt_packet::TopicName::ALIASED;
    assert_eq!(encode(&with(will(absent, b"m")), Version::V3_1_1), Err(empty));
    let password = Connect {
        user_name: Some(text("u")),
        password: Some(&too_long),
        ..Connect::new(Version::V3_1_1, text("c"))
    };
    assert_eq!(encode(&Packet::Connect(password), Version::V3_1_1), Err(EncodeError::TooLong));
}

#[test]
fn connack_flags_are_reserved() {
    // [U311-3.1.2-1]
    for flags in 2..=255 {
        let error = DecodeError::ConnAckFlags;
        refused(&[0x20, 2, flags, 0], Version::V3_1_1, error, "U311-3.1.2-1", MALFORMED);
        // The whole byte is reserved in 3.1.
        accepted(&[0x20, 2, flags, 0], Version::V3_1);
    }
}

#[test]
fn refusal_has_no_session() {
    // [MQTT-3.2.2-4 @3.1.1]: decoder and encoder
    stands(&[0x20, 2, 1, 0], Version::V3_1_1);
    let error = DecodeError::SessionPresentInRefusal;
    for code in 1..=5 {
        refused(&[0x20, 2, 1, code], Version::V3_1_1, error, "MQTT-3.2.2-4", ReasonCode::PROTOCOL_ERROR);
        let bytes = [0x20, 2, 0, code];
        let Packet::ConnAck(connack) = stands(&bytes, Version::V3_1_1) else { panic!("not a CONNACK") };
        let connack = ConnAck { session_present: true, ..connack };
        assert_eq!(encode(&Packet::ConnAck(connack), Version::V3_1_1), Err(EncodeError::Rule(error)));
    }
}

#[test]
fn return_codes_are_reason_codes_of_5_0() {
    let codes = [0x00, 0x84, 0x85, 0x88, 0x86, 0x87];
    for version in V3 {
        for (code, &reason) in (0..).zip(&codes) {
            let bytes = [0x20, 2, 0, code];
            let Packet::ConnAck(connack) = stands(&bytes, version) else { panic!("not a CONNACK") };
            assert_eq!(connack.reason_code.0, reason);
        }
        for code in 6..=255 {
            let error = DecodeError::ReasonCode(mqtt_packet::PacketType::ConnAck);
            refused(&[0x20, 2, 0, code], version, error, "MQTT-3.2.2-6", ReasonCode::PROTOCOL_ERROR);
        }
        for reason in (0..=255).filter(|reason| !codes.contains(reason)) {
            let connack = ConnAck::new(false, ReasonCode(reason));
            assert_eq!(encode(&Packet::ConnAck(connack), version), Err(EncodeError::NotInVersion));
        }
    }
}
