//! Sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL and PUBCOMP; 3.9 and 3.11: SUBACK and UNSUBACK.

use crate::refused;
use crate::wire::{accepted, encode, encoded, stands, wire};
use mqtt_packet::{
    Ack, AckKind, DecodeError, EncodeError, Packet, PacketId, PacketType, ReasonCode, SubAck, UnsubAck,
    Version,
};

const STEPS: [(u8, AckKind); 4] =
    [(0x40, AckKind::PubAck), (0x50, AckKind::PubRec), (0x62, AckKind::PubRel), (0x70, AckKind::PubComp)];

#[test]
fn short_forms_mean_success_and_no_properties() {
    // [U5-3.4.2-1]
    for (first, kind) in STEPS {
        let ack = Packet::Ack(Ack::new(kind, PacketId::new(0x0102).unwrap()));
        let short = wire(&format!("{first:02X} 02 0102"));
        assert_eq!(stands(&short, Version::V5), ack);
        for long in [format!("{first:02X} 03 0102 00"), format!("{first:02X} 04 0102 00 00")] {
            let bytes = wire(&long);
            assert_eq!(accepted(&bytes, Version::V5), ack);
            assert_eq!(encoded(&ack, Version::V5), short, "written in the shortest form");
        }
        let refusal = wire(&format!("{first:02X} 03 0102 92"));
        if matches!(kind, AckKind::PubRel | AckKind::PubComp) {
            let Packet::Ack(ack) = stands(&refusal, Version::V5) else { panic!("not an acknowledgement") };
            assert_eq!(ack.reason_code, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
            assert!(ack.properties.is_empty());
        }
    }
    for short in ["40 00", "50 00", "62 00", "70 00", "40 01 00", "62 01 01"] {
        refused(short, DecodeError::Truncated, "MQTT-4.13.1-1", ReasonCode::MALFORMED_PACKET);
    }
}

#[test]
fn properties_of_a_success_are_written_with_its_code() {
    for (first, _) in STEPS {
        let bytes = wire(&format!("{first:02X} .. 0102 00 {{26 \"n\" \"v\"}}"));
        let Packet::Ack(ack) = stands(&bytes, Version::V5) else { panic!("not an acknowledgement") };
        assert_eq!(ack.properties.user_properties().count(), 1);
        // 3.1.1 has no place for them.
        assert_eq!(encoded(&Packet::Ack(ack), Version::V3_1_1), [first, 2, 1, 2]);
    }
}

#[test]
fn subscription_answers_have_a_code_for_each_filter() {
    let codes = [0, 1, 2, 0x80, 0x87];
    let bytes = wire("90 .. 0001 {} 00 01 02 80 87");
    assert_eq!(stands(&bytes, Version::V5), Packet::SubAck(SubAck::new(PacketId::MIN, &codes)));
    let codes = [0, 0x11, 0x87];
    let bytes = wire("B0 .. 0001 {1F \"why\"} 00 11 87");
    let Packet::UnsubAck(unsuback) = stands(&bytes, Version::V5) else { panic!("not an UNSUBACK") };
    assert_eq!(unsuback.reason_codes.iter().map(|code| code.0).collect::<Vec<_>>(), codes);
    assert_eq!(unsuback.properties.reason_string().unwrap(), "why");
}

#[test]
fn subscription_answers_have_a_code() {
    let code = ReasonCode::PROTOCOL_ERROR;
    let error = DecodeError::NoReasonCodes(PacketType::SubAck);
    refused("90 .. 0001 {}", error, "MQTT-3.8.4-6", code);
    let none = Packet::SubAck(SubAck::new(PacketId::MIN, &[]));
    assert_eq!(encode(&none, Version::V5), Err(EncodeError::Rule(error)));
    let error = DecodeError::NoReasonCodes(PacketType::UnsubAck);
    refused("B0 .. 0001 {}", error, "MQTT-3.11.3-1", code);
    let none = Packet::UnsubAck(UnsubAck::new(PacketId::MIN, &[]));
    assert_eq!(encode(&none, Version::V5), Err(EncodeError::Rule(error)));
}
