//! Sections 3.3 to 3.7: PUBLISH and its acknowledgements.

use crate::wire::{V3, accepted, encode, refused, stands, wire};
use mqtt_packet::{
    Ack, AckKind, DecodeError, Delivery, EncodeError, Packet, PacketId, Publish, ReasonCode, StringError,
    TopicName, Version,
};

fn is(packet: Packet<'_>) -> Publish<'_> {
    match packet {
        Packet::Publish(publish) => publish,
        other => panic!("{other}"),
    }
}

#[test]
fn at_qos_0_there_is_no_packet_identifier() {
    // [MQTT-2.3.1-5]
    for version in V3 {
        let bytes = wire("30 .. \"a/b\" 000A 'hi'");
        let publish = is(stands(&bytes, version));
        assert_eq!((publish.delivery, publish.payload), (Delivery::AtMostOnce, &b"\x00\x0Ahi"[..]));
        for (first, dup) in [(0x32, false), (0x3A, true)] {
            let bytes = wire(&format!("{first:02X} .. \"a/b\" 000A 'hi'"));
            let publish = is(stands(&bytes, version));
            let id = PacketId::new(10).unwrap();
            assert_eq!(publish.delivery, Delivery::AtLeastOnce { id, dup });
            assert_eq!(publish.payload, b"hi");
        }
    }
}

#[test]
fn dup_is_0_at_qos_0() {
    // [MQTT-3.3.1-2 @3.1.1]: the encoder has no way to say it
    for first in [0x38, 0x39] {
        let bytes = wire(&format!("{first:02X} .. \"a\""));
        let (error, code) = (DecodeError::DupAtQos0, ReasonCode::MALFORMED_PACKET);
        refused(&bytes, Version::V3_1_1, error, "MQTT-3.3.1-2", code);
        // 3.1 has no rule for it; the flag means nothing.
        assert_eq!(is(accepted(&bytes, Version::V3_1)).delivery, Delivery::AtMostOnce);
    }
}

#[test]
fn qos_3_is_refused() {
    // [MQTT-3.3.1-4 @3.1.1]
    for first in [0x36, 0x37, 0x3E, 0x3F] {
        for version in V3 {
            let bytes = wire(&format!("{first:02X} .. \"a\" 0001 'hi'"));
            let (error, code) = (DecodeError::QosReserved, ReasonCode::MALFORMED_PACKET);
            refused(&bytes, version, error, "MQTT-3.3.1-4", code);
        }
    }
}

#[test]
fn every_combination_of_flags() {
    // [MQTT-2.2.2-1 @3.1.1]: those of PUBLISH mean something, each bit by itself
    for first in 0x30..=0x3F_u8 {
        let (dup, qos, retain) = (first & 8 != 0, first >> 1 & 3, first & 1 != 0);
        let id = if qos > 0 { "0007" } else { "" };
        let bytes = wire(&format!("{first:02X} .. \"a\" {id} 'x'"));
        if qos == 3 || qos == 0 && dup {
            continue;
        }
        let publish = is(stands(&bytes, Version::V3_1_1));
        assert_eq!((publish.delivery.dup(), publish.retain), (dup, retain));
        assert_eq!(publish.delivery.qos() as u8, qos);
        assert_eq!(publish.delivery.id().map_or(0, PacketId::get), if qos > 0 { 7 } else { 0 });
    }
}

#[test]
fn topic_name_comes_first() {
    // [MQTT-3.3.2-1 @3.1.1]
    let bytes = wire("32 .. \"topic\" 0001 'payload'");
    let publish = is(stands(&bytes, Version::V3_1_1));
    assert_eq!((publish.topic.as_str(), publish.payload), ("topic", &b"payload"[..]));
    for cut in ["30 00", "30 01 00", "30 02 0001", "30 04 0003 'ab'", "32 .. \"a\"", "32 .. \"a\" 00"] {
        for version in V3 {
            let (error, code) = (DecodeError::Truncated, ReasonCode::MALFORMED_PACKET);
            refused(&wire(cut), version, error, "MQTT-4.8.0-1", code);
        }
    }
}

#[test]
fn topic_name_has_no_wildcard() {
    // [MQTT-3.3.2-2 @3.1.1] [MQTT-4.7.1-1 @3.1.1]
    for topic in ["#", "+", "a/#", "+/b", "a+", "a long topic name with a # in it", "a long topic name/+"] {
        for version in V3 {
            let bytes = wire(&format!("30 .. \"{topic}\" 'x'"));
            let (error, code) = (DecodeError::String(StringError::Wildcard), ReasonCode::TOPIC_NAME_INVALID);
            refused(&bytes, version, error, "MQTT-3.3.2-2", code);
        }
        assert_eq!(TopicName::new(topic), Err(StringError::Wildcard));
    }
    let will = wire("10 .. 0004'MQTT' 04 06 003C \"c\" \"a/+\" \"m\"");
    let code = ReasonCode::TOPIC_NAME_INVALID;
    refused(&will, Version::V3_1_1, DecodeError::WillTopicWildcard, "MQTT-4.7.1-1", code);
}

#[test]
fn payload_may_be_empty() {
    // [U311-3.3.2-1]
    for version in V3 {
        for notation in ["31 .. \"a\"", "35 .. \"a\" 0001"] {
            assert_eq!(is(stands(&wire(notation), version)).payload, b"");
        }
    }
}

#[test]
fn topic_name_is_never_absent() {
    // Topic aliases came with 5.0.
    let publish = Packet::Publish(Publish::new(TopicName::ALIASED, b"x"));
    for version in V3 {
        let error = EncodeError::Rule(DecodeError::TopicMissing);
        assert_eq!(encode(&publish, version), Err(error));
    }
}

#[test]
fn acknowledgements_say_no_reason() {
    for version in V3 {
        for (kind, first) in [
            (AckKind::PubAck, 0x40),
            (AckKind::PubRec, 0x50),
            (AckKind::PubRel, 0x62),
            (AckKind::PubComp, 0x70),
        ] {
            let bytes = [first, 2, 0x12, 0x34];
            let ack = Ack::new(kind, PacketId::new(0x1234).unwrap());
            assert_eq!(stands(&bytes, version), Packet::Ack(ack));
            let negative = Ack { reason_code: ReasonCode::NOT_AUTHORIZED, ..ack };
            assert_eq!(encode(&Packet::Ack(negative), version), Err(EncodeError::NotInVersion));
        }
    }
}
