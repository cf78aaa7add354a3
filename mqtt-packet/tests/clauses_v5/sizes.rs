//! Maximum Packet Size: a sender knows the size of a packet, fixed header included, before it writes it, and leaves
//! Reason String and User Properties out where they do not fit.

use crate::wire::{accepted, encoded, wire};
use mqtt_packet::{
    ConnAck, EncodeError, Packet, PacketType, Property, PropertyPlace, PropertyWriter, Publish, ReasonCode,
    SliceSink, TopicName, Version,
};

/// Each packet that can have them, `@` being the block, and what says that they are left out of it.
const PACKETS: [(&str, &str); 9] = [
    ("20 .. 00 87 {@}", "[MQTT-3.2.2-19] [MQTT-3.2.2-20]"),
    ("40 .. 0001 87 {@}", "[MQTT-3.4.2-2] [MQTT-3.4.2-3]"),
    ("50 .. 0001 87 {@}", "[MQTT-3.5.2-2] [MQTT-3.5.2-3]"),
    ("62 .. 0001 92 {@}", "[MQTT-3.6.2-2] [MQTT-3.6.2-3]"),
    ("70 .. 0001 92 {@}", "[MQTT-3.7.2-2] [MQTT-3.7.2-3]"),
    ("90 .. 0001 {@} 87", "[MQTT-3.9.2-1] [MQTT-3.9.2-2]"),
    ("B0 .. 0001 {@} 87", "[MQTT-3.11.2-1] [MQTT-3.11.2-2]"),
    ("E0 .. 87 {@}", "[MQTT-3.14.2-3] [MQTT-3.14.2-4]"),
    ("F0 .. 18 {15 \"m\" @}", "[MQTT-3.15.2-2] [MQTT-3.15.2-3]"),
];

/// Writes the packet where there are `maximum` bytes for it.
fn within(maximum: usize, packet: &Packet<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut memory = vec![0xEE; maximum];
    let mut out = SliceSink::new(&mut memory);
    let result = packet.encode(Version::V5, &mut out);
    let written = out.written().to_vec();
    assert!(result.is_ok() || memory.iter().all(|&byte| byte == 0xEE), "written in part");
    result.map(|()| written)
}

#[test]
fn what_explains_is_left_out_of_a_packet_that_would_be_too_large() {
    let explained = "1F \"the reason in words\" 26 \"name\" \"value\"";
    for (template, rules) in PACKETS {
        let (long, short) = (wire(&template.replace('@', explained)), wire(&template.replace('@', "")));
        let (long_packet, short_packet) = (accepted(&long, Version::V5), accepted(&short, Version::V5));
        let (long_len, short_len) =
            (long_packet.encoded_len(Version::V5), encoded(&short_packet, Version::V5).len());
        assert_eq!(long_len, long.len(), "{rules}");
        for maximum in short_len..=long_len {
            let fits = long_packet.encoded_len(Version::V5) <= maximum;
            assert_eq!(fits, maximum == long_len, "exactly the maximum is allowed");
            let chosen = if fits { long_packet } else { short_packet };
            let written = within(maximum, &chosen).unwrap();
            assert!(written.len() <= maximum, "{rules}");
            if !fits {
                assert_eq!(within(maximum, &long_packet), Err(EncodeError::NoRoom), "{rules}");
            }
        }
    }
}

#[test]
fn one_of_them_can_be_left_out_alone() {
    // [MQTT-3.2.2-19] [MQTT-3.2.2-20]: of a CONNACK whose other properties must stay
    let bytes = wire("20 .. 00 00 {12 \"given\" 1F \"welcome\" 26 \"n\" \"v\" 13 0010}");
    let Packet::ConnAck(connack) = accepted(&bytes, Version::V5) else { panic!("not a CONNACK") };
    let mut memory = [0; 64];
    let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::ConnAck), &mut memory);
    for property in connack.properties {
        if !matches!(property, Property::ReasonString(_) | Property::UserProperty(..)) {
            writer.push(property).unwrap();
        }
    }
    let connack = Packet::ConnAck(ConnAck { properties: writer.finish(), ..connack });
    assert_eq!(encoded(&connack, Version::V5), wire("20 .. 00 00 {12 \"given\" 13 0010}"));
}

#[test]
fn no_packet_is_written_beyond_the_maximum_packet_size() {
    // [MQTT-3.1.2-24 @5.0]: the whole packet counts, and nothing of it is written where it does not fit
    let payload = [b'x'; 200];
    for payload_len in [0, 100, 121, 122, 123, 124, 125, 200] {
        let publish = Publish::new(TopicName::new("a").unwrap(), &payload[..payload_len]);
        let packet = Packet::Publish(publish);
        let len = publish.encoded_len(Version::V5);
        assert_eq!(within(len, &packet).unwrap().len(), len);
        assert_eq!(within(len - 1, &packet), Err(EncodeError::NoRoom));
        let remaining_length = 4 + payload_len;
        assert_eq!(len, remaining_length + if remaining_length < 128 { 2 } else { 3 });
    }
}

#[test]
fn too_large_has_its_reason_code() {
    let error = mqtt_packet::DecodeError::PacketTooLarge;
    assert_eq!(error.reason_code(), ReasonCode::PACKET_TOO_LARGE);
    assert_eq!(error.rule(Version::V5), "MQTT-3.2.2-15");
}
