//! What a fuzzer's bytes make is valid, and different bytes make different packets.

#![cfg(feature = "v5")] // They are packets of all versions.
#![allow(clippy::unwrap_used)]

use arbitrary::{Arbitrary, Unstructured};
use mqtt_packet::{
    Frame, Packet, PacketType, Properties, SliceSink, TopicFilter, TopicName, Utf8Str, Version,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

/// Encodes the packet that `bytes` make and decodes it again.
fn survives(bytes: &[u8], version: Version) -> Option<Packet<'_>> {
    let packet = Packet::arbitrary_of(version, &mut Unstructured::new(bytes)).ok()?;
    let mut memory = vec![0; packet.encoded_len(version)];
    let mut out = SliceSink::new(&mut memory);
    packet.encode(version, &mut out).unwrap();
    let (frame, rest) = Frame::split(out.written()).unwrap().unwrap();
    assert!(rest.is_empty());
    assert_eq!(Packet::decode(frame, version), Ok(packet));
    Some(packet)
}

proptest! {
    #[test]
    fn every_packet_survives_the_wire(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for version in VERSIONS {
            survives(&bytes, version);
        }
    }

    #[test]
    fn every_string_is_one(bytes: Vec<u8>) {
        if let Ok(text) = Utf8Str::arbitrary(&mut Unstructured::new(&bytes)) {
            prop_assert!(Utf8Str::from_bytes(text.as_bytes()).is_ok());
        }
        if let Ok(topic) = TopicName::arbitrary(&mut Unstructured::new(&bytes)) {
            prop_assert!(TopicName::from_bytes(topic.as_bytes()).is_ok());
        }
        if let Ok(filter) = TopicFilter::arbitrary(&mut Unstructured::new(&bytes)) {
            prop_assert!(TopicFilter::from_bytes(filter.as_bytes()).is_ok());
        }
    }
}

#[test]
fn every_packet_of_every_version_is_made() {
    for version in VERSIONS {
        let made: BTreeSet<_> = (0..=255)
            .filter_map(|first| {
                survives(&[&[first][..], &[1; 40]].concat(), version).map(|packet| packet.packet_type())
            })
            .collect();
        let last = if version == Version::V5 { PacketType::Auth } else { PacketType::Disconnect } as u8;
        let all: BTreeSet<_> = (1..=last).filter_map(PacketType::from_number).collect();
        assert_eq!(made, all, "{version:?}");
    }
}

/// The valid front of each part is taken, not nothing.
#[test]
fn parts_are_borrowed_from_the_input_up_to_where_they_are_valid() {
    let publish = |input: &'static [u8]| match Packet::arbitrary(&mut Unstructured::new(input)).unwrap() {
        Packet::Publish(publish) => publish,
        other => panic!("{other}"),
    };
    // Type 3, not retained, QoS 0, then 10 bytes of properties with a second that is cut off.
    let made = publish(b"\x02\x00\x00\x00\x00\x00\x0A\x02\0\0\0\x3C\x03\0\x09ab\x05a/b#cpayload");
    assert_eq!(made.properties.message_expiry_interval(), Some(60));
    assert_eq!(made.properties.iter().count(), 1);
    assert_eq!(made.topic, "a/b");
    assert_eq!(made.payload, b"payload");
    assert_eq!(publish(b"\x02\0\0\0\0\0\0\x01#").properties, Properties::EMPTY);
    assert_eq!(publish(b"\x02\0\0\0\0\0\0\x01#").topic, "t");
}
