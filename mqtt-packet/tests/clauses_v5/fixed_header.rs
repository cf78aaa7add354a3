//! Section 2: packet types, flags, Remaining Length, Packet Identifiers, Property Length.

use crate::refused;
use crate::wire::{self, encoded, stands, wire};
use mqtt_packet::{
    Connect, DecodeError, FixedHeader, Frame, Packet, PacketId, Publish, ReasonCode, TopicName, UnsubAck,
    Utf8Str, Version,
};

const MALFORMED: ReasonCode = ReasonCode::MALFORMED_PACKET;

/// A valid packet of each type but PUBLISH, with the flags that section 2.1.3 prescribes.
const PRESCRIBED: [&str; 14] = [
    "10 .. 0004'MQTT' 05 02 003C {} \"c\"",
    "20 .. 00 00 {}",
    "40 02 0001",
    "50 02 0001",
    "62 02 0001",
    "70 02 0001",
    "82 .. 0001 {} \"a\" 00",
    "90 .. 0001 {} 00",
    "A2 .. 0001 {} \"a\"",
    "B0 .. 0001 {} 00",
    "C0 00",
    "D0 00",
    "E0 00",
    "F0 .. 18 {15 \"m\"}",
];

#[test]
fn flags_are_the_prescribed_ones() {
    // [MQTT-2.1.3-1], of which these are cases:
    // [MQTT-3.6.1-1 @5.0] [MQTT-3.8.1-1 @5.0] [MQTT-3.10.1-1 @5.0] [MQTT-3.14.1-1 @5.0] [MQTT-3.15.1-1]
    for notation in PRESCRIBED {
        let mut bytes = wire(notation);
        stands(&bytes, Version::V5);
        let prescribed = bytes[0];
        for flags in (0..16).filter(|flags| *flags != prescribed & 0x0F) {
            bytes[0] = prescribed & 0xF0 | flags;
            wire::refused(&bytes, Version::V5, DecodeError::ReservedFlags, "MQTT-2.1.3-1", MALFORMED);
        }
    }
}

#[test]
fn packet_type_0_is_refused() {
    for flags in 0..16 {
        let error = Frame::split(&[flags, 0]).unwrap_err();
        assert_eq!(error, DecodeError::ReservedPacketType);
        assert_eq!(error.rule(Version::V5), "MQTT-4.13.1-1");
        assert_eq!(error.reason_code(), MALFORMED);
    }
}

#[test]
fn variable_byte_integers_have_at_most_four_bytes() {
    // [U5-1.5.5-1]: Remaining Length, Property Length, Subscription Identifier
    let error = DecodeError::RemainingLength;
    for last in 0x80..=0xFF {
        assert_eq!(Frame::split(&[0x30, 0x80, 0x80, 0x80, last]).unwrap_err(), error);
    }
    assert_eq!(error.rule(Version::V5), "U5-1.5.5-1");
    assert_eq!(error.reason_code(), MALFORMED);
    for notation in [
        "30 .. \"a\" FFFFFFFF 7F",
        "30 .. \"a\" 80808080 01",
        "30 .. \"a\" {0B FFFFFFFF 01}",
        "82 .. 0001 {0B 80808080 01} \"a\" 00",
        "10 .. 0004'MQTT' 05 02 003C 80808080 00 \"c\"",
    ] {
        refused(notation, error, "U5-1.5.5-1", MALFORMED);
    }
}

#[test]
fn variable_byte_integers_are_as_short_as_can_be() {
    // [MQTT-1.5.5-1]
    let overlong = [
        "C0 8000",
        "C0 808000",
        "C0 80808000",
        "30 8300 0001'a'",
        "30 .. \"a\" 8000",
        "30 .. \"a\" 80808000",
        "30 .. \"a\" 8200 01 00",
        "30 .. \"a\" {0B 8100}",
        "30 .. \"a\" {0B FFFF00}",
        "30 .. \"a\" {0B 8000}",
        "82 .. 0001 {0B 818000} \"a\" 00",
        "10 .. 0004'MQTT' 05 02 003C 8000 \"c\"",
        "10 8E00 0004'MQTT' 05 02 003C 00 \"c\"",
        "10 .. 0004'MQTT' 05 06 003C 00 \"c\" 8000 \"t\" \"m\"",
    ];
    for notation in overlong {
        refused(notation, DecodeError::OverlongInteger, "MQTT-1.5.5-1", MALFORMED);
    }
    let shortest: [(u32, &str); 8] = [
        (1, "01"),
        (127, "7F"),
        (128, "8001"),
        (16_383, "FF7F"),
        (16_384, "808001"),
        (2_097_151, "FFFF7F"),
        (2_097_152, "80808001"),
        (268_435_455, "FFFFFF7F"),
    ];
    for (value, notation) in shortest {
        let bytes = wire(&format!("30 .. \"a\" {{0B {notation}}} 'payload'"));
        let Packet::Publish(publish) = stands(&bytes, Version::V5) else { panic!("not a PUBLISH") };
        assert_eq!(publish.properties.subscription_identifiers().collect::<Vec<_>>(), [value]);
        let bytes = [&[0x30][..], &wire(notation)].concat();
        let header = FixedHeader::decode(&bytes).unwrap().unwrap();
        assert_eq!(header.remaining_length, value);
    }
}

#[test]
fn remaining_length_is_written_as_short_as_can_be() {
    // [MQTT-1.5.5-1]: on both sides of each border
    let payload = vec![b'x'; 2_097_152];
    let borders = [(127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4)];
    for (remaining_length, length_len) in borders {
        let topic = TopicName::new("a").unwrap();
        let publish = Publish::new(topic, &payload[..remaining_length - 4]);
        let mut bytes = vec![0; publish.encoded_len(Version::V5)];
        publish.encode(Version::V5, &mut mqtt_packet::SliceSink::new(&mut bytes)).unwrap();
        assert_eq!(bytes.len(), 1 + length_len + remaining_length);
        let header = FixedHeader::decode(&bytes).unwrap().unwrap();
        assert_eq!(usize::from(header.header_len), 1 + length_len);
        assert_eq!(header.remaining_length as usize, remaining_length);
    }
}

#[test]
fn property_length_is_written_as_short_as_can_be() {
    // [MQTT-1.5.5-1]
    for (len, prefix) in [(127, vec![0x7F]), (128, vec![0x80, 0x01]), (16_383, vec![0xFF, 0x7F])] {
        let data = vec![0xDA; len - 3];
        let block = [&[0x09][..], &wire::prefixed(&data)].concat();
        let bytes = wire::packet(0x30, &[&[0, 1, b'a'], &prefix, &block, b"payload"]);
        let Packet::Publish(publish) = stands(&bytes, Version::V5) else { panic!("not a PUBLISH") };
        assert_eq!(publish.properties.len(), len);
        assert_eq!(publish.properties.correlation_data(), Some(&data[..]));
    }
}

#[test]
fn packet_identifier_is_never_0() {
    // [MQTT-2.2.1-3] from the client, [MQTT-2.2.1-4] from the server: a value 0 cannot be made, so none is written
    assert_eq!(PacketId::new(0), None);
    let zero = [
        "32 .. \"a\" 0000 {}",
        "34 .. \"a\" 0000 {}",
        "40 02 0000",
        "50 02 0000",
        "62 02 0000",
        "70 02 0000",
        "82 .. 0000 {} \"a\" 00",
        "90 .. 0000 {} 00",
        "A2 .. 0000 {} \"a\"",
        "B0 .. 0000 {} 00",
    ];
    for notation in zero {
        refused(notation, DecodeError::PacketIdZero, "MQTT-2.2.1-3", ReasonCode::PROTOCOL_ERROR);
        stands(&wire(&notation.replace("0000", "FFFF")), Version::V5);
    }
}

#[test]
fn at_qos_0_there_is_no_packet_identifier() {
    // [MQTT-2.2.1-2]
    let bytes = wire("30 .. \"a\" {} 0001 'x'");
    let Packet::Publish(publish) = stands(&bytes, Version::V5) else { panic!("not a PUBLISH") };
    assert_eq!((publish.delivery.id(), publish.payload), (None, &b"\x00\x01x"[..]));
}

#[test]
fn no_properties_are_property_length_0() {
    // [MQTT-2.2.2-1 @5.0]
    let (id, text) = (PacketId::MIN, Utf8Str::new("c").unwrap());
    let topic = TopicName::new("a").unwrap();
    let packets = [
        (Packet::Connect(Connect::new(Version::V5, text)), "10 0E 0004'MQTT' 05 02 003C 00 0001'c'"),
        (Packet::Publish(Publish::new(topic, b"x")), "30 05 0001'a' 00 'x'"),
        (Packet::UnsubAck(UnsubAck::new(id, &[0])), "B0 04 0001 00 00"),
    ];
    for (packet, notation) in packets {
        assert_eq!(encoded(&packet, Version::V5), wire(notation));
    }
    for notation in
        ["20 03 00 00 00", "82 07 0001 00 0001'a' 00", "90 04 0001 00 00", "A2 06 0001 00 0001'a'"]
    {
        stands(&wire(notation), Version::V5);
    }
    stands(&wire("10 15 0004'MQTT' 05 06 003C 00 0001'c' 00 0001't' 0001'm'"), Version::V5);
    // It is not left out but in the short forms of acknowledgements and DISCONNECT.
    for notation in ["20 02 00 00", "90 02 0001", "B0 02 0001", "82 02 0001", "A2 02 0001", "30 03 0001'a'"] {
        refused(notation, DecodeError::Truncated, "MQTT-4.13.1-1", MALFORMED);
    }
}

#[test]
fn nothing_is_behind_the_last_field() {
    for notation in [
        "10 .. 0004'MQTT' 05 02 003C {} \"c\" 00",
        "20 .. 00 00 {} 00",
        "40 .. 0001 00 {} 00",
        "50 .. 0001 00 {} 00",
        "62 .. 0001 00 {} 00",
        "70 .. 0001 00 {} 00",
        "C0 01 00",
        "D0 01 00",
        "E0 .. 00 {} 00",
        "F0 .. 00 {15 \"m\"} 00",
    ] {
        refused(notation, DecodeError::TrailingBytes, "MQTT-4.13.1-1", MALFORMED);
    }
}
