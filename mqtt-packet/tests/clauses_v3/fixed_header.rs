//! Section 2: packet types, flags, Remaining Length, Packet Identifiers.

use crate::wire::{V3, accepted, decode, refused, stands, wire};
use mqtt_packet::{DecodeError, FixedHeader, Frame, Packet, PacketId, PacketType, ReasonCode, Version};

/// A valid packet of each type of 3.1.1 but PUBLISH, with the flags that section 2.2.2 prescribes.
const PRESCRIBED: [&str; 13] = [
    "10 .. 0004'MQTT' 04 02 003C \"c\"",
    "20 02 00 00",
    "40 02 0001",
    "50 02 0001",
    "62 02 0001",
    "70 02 0001",
    "82 .. 0001 \"a\" 00",
    "90 03 0001 00",
    "A2 .. 0001 \"a\"",
    "B0 02 0001",
    "C0 00",
    "D0 00",
    "E0 00",
];

#[test]
fn packets_have_the_prescribed_flags() {
    // [MQTT-2.2.2-1 @3.1.1]
    for notation in PRESCRIBED {
        stands(&wire(notation), Version::V3_1_1);
    }
}

#[test]
fn other_flags_are_refused() {
    // [MQTT-2.2.2-2], of which these are cases:
    // [MQTT-3.6.1-1 @3.1.1] [MQTT-3.8.1-1 @3.1.1] [MQTT-3.10.1-1 @3.1.1] [MQTT-3.14.1-1 @3.1.1]
    for notation in PRESCRIBED {
        let mut bytes = wire(notation);
        let prescribed = bytes[0];
        for flags in (0..16).filter(|flags| *flags != prescribed & 0x0F) {
            bytes[0] = prescribed & 0xF0 | flags;
            let (error, code) = (DecodeError::ReservedFlags, ReasonCode::MALFORMED_PACKET);
            refused(&bytes, Version::V3_1_1, error, "MQTT-2.2.2-2", code);
        }
    }
}

#[test]
fn flags_are_not_looked_at_in_3_1() {
    // SUBSCRIBE, UNSUBSCRIBE and PUBREL are QoS 1 messages there and may have DUP.
    for notation in &PRESCRIBED[1..] {
        for flags in 0..16 {
            let mut bytes = wire(notation);
            bytes[0] = bytes[0] & 0xF0 | flags;
            accepted(&bytes, Version::V3_1);
        }
    }
    accepted(&wire("1F .. 0006'MQIsdp' 03 02 003C \"c\""), Version::V3_1);
}

#[test]
fn reserved_packet_types_are_refused() {
    // [U311-2.2.1-1]
    for flags in 0..16 {
        assert_eq!(Frame::split(&[flags, 0]).unwrap_err(), DecodeError::ReservedPacketType);
        for version in V3 {
            let error = DecodeError::ReservedPacketType;
            let bytes = [0xF0 | flags, 0];
            refused(&bytes, version, error, "U311-2.2.1-1", ReasonCode::MALFORMED_PACKET);
        }
    }
    for number in 16..=255 {
        assert_eq!(PacketType::from_number(number), None);
    }
}

#[test]
fn remaining_length_has_at_most_four_bytes() {
    // [U311-2.2.3-1]
    let limits = [
        ("30 00", 0),
        ("30 7F", 127),
        ("30 80 01", 128),
        ("30 FF 7F", 16_383),
        ("30 80 80 01", 16_384),
        ("30 FF FF 7F", 2_097_151),
        ("30 80 80 80 01", 2_097_152),
        ("30 FF FF FF 7F", 268_435_455),
    ];
    for (notation, length) in limits {
        let bytes = wire(notation);
        let header = FixedHeader::decode(&bytes).unwrap().unwrap();
        assert_eq!(header.remaining_length, length, "{notation}");
        assert_eq!(usize::from(header.header_len), bytes.len(), "{notation}");
        assert_eq!(header.packet_len() as usize, length as usize + bytes.len());
        for cut in 0..bytes.len() {
            assert_eq!(FixedHeader::decode(&bytes[..cut]), Ok(None), "{notation} to {cut}");
        }
    }
    for last in 0x80..=0xFF {
        let bytes = [0x30, 0xFF, 0x80, 0xFF, last];
        let error = Frame::split(&bytes).unwrap_err();
        assert_eq!(error, DecodeError::RemainingLength);
        assert_eq!(error.rule(Version::V3_1_1), "U311-2.2.3-1");
        assert_eq!(error.reason_code(), ReasonCode::MALFORMED_PACKET);
    }
}

#[test]
fn remaining_length_may_be_longer_than_needed() {
    // 3.1.1 has no rule against it, and receivers of 3.1.1 take it.
    for notation in ["C0 80 00", "C0 80 80 00", "C0 80 80 80 00"] {
        for version in V3 {
            assert!(matches!(accepted(&wire(notation), version), Packet::PingReq(_)));
        }
    }
}

#[test]
fn packet_identifier_is_never_0() {
    // [MQTT-2.3.1-1]: a value 0 cannot be made, so no encoder writes it
    assert_eq!(PacketId::new(0), None);
    let zero = [
        "32 .. \"a\" 0000",
        "34 .. \"a\" 0000",
        "40 02 0000",
        "50 02 0000",
        "62 02 0000",
        "70 02 0000",
        "82 .. 0000 \"a\" 00",
        "90 03 0000 00",
        "A2 .. 0000 \"a\"",
        "B0 02 0000",
    ];
    for notation in zero {
        for version in V3 {
            let (error, code) = (DecodeError::PacketIdZero, ReasonCode::PROTOCOL_ERROR);
            refused(&wire(notation), version, error, "MQTT-2.3.1-1", code);
        }
        let bytes = wire(&notation.replace("0000", "FFFF"));
        stands(&bytes, Version::V3_1_1);
    }
}

#[test]
fn subscribe_and_unsubscribe_always_have_a_packet_identifier() {
    // [MQTT-2.3.1-1]: whatever QoS is asked for
    for qos in ["00", "01", "02"] {
        let bytes = wire(&format!("82 .. 1234 \"a\" {qos}"));
        let Packet::Subscribe(subscribe) = stands(&bytes, Version::V3_1_1) else { panic!("not a SUBSCRIBE") };
        assert_eq!(subscribe.id.get(), 0x1234);
    }
    let bytes = wire("A2 .. 1234 \"a\"");
    let Packet::Unsubscribe(unsubscribe) = stands(&bytes, Version::V3_1_1) else {
        panic!("not an UNSUBSCRIBE")
    };
    assert_eq!(unsubscribe.id.get(), 0x1234);
}

#[test]
fn fixed_size_packets_have_their_size() {
    let fixed = [
        "20 02 00 00",
        "40 02 0001",
        "50 02 0001",
        "62 02 0001",
        "70 02 0001",
        "B0 02 0001",
        "C0 00",
        "D0 00",
        "E0 00",
    ];
    for version in V3 {
        for notation in fixed {
            let mut bytes = wire(notation);
            let code = ReasonCode::MALFORMED_PACKET;
            bytes[1] += 1;
            bytes.push(0);
            refused(&bytes, version, DecodeError::TrailingBytes, "MQTT-4.8.0-1", code);
            if bytes.len() > 3 {
                bytes.truncate(3);
                bytes[1] = 1;
                assert_eq!(decode(&bytes, version), Err(DecodeError::Truncated), "{notation}");
            }
        }
    }
}
