//! Packets to bytes and back.

use bytes::BytesMut;
use mqtt_packet::{
    Connect, DecodeError, EncodeError, Frame, Packet, Sink, SliceSink, StringError, TopicFilter, TopicName,
    Utf8Str, Version, slice_of,
};
use proptest::prelude::*;

use crate::generate::{any_packet, packet, version};
use crate::wire::{encode, encoded, frame};

proptest! {
    #[test]
    fn what_is_written_is_read((version, packet) in any_packet()) {
        let bytes = encoded(&packet, version);
        prop_assert_eq!(bytes.len(), packet.encoded_len(version));
        let frame = frame(&bytes);
        prop_assert_eq!(frame.packet_type(), packet.packet_type());
        let decoded = Packet::decode(frame, version).unwrap();
        prop_assert_eq!(decoded, packet);
        // And what was read is written in the same bytes.
        prop_assert_eq!(decoded.encoded_len(version), bytes.len());
        prop_assert_eq!(encoded(&decoded, version), bytes);
    }

    #[test]
    fn strict_decoding_refuses_doubtful_characters_only((version, packet) in any_packet()) {
        let bytes = encoded(&packet, version);
        match Packet::decode(frame(&bytes).strict(), version) {
            Ok(decoded) => prop_assert_eq!(decoded, packet),
            Err(error) => {
                prop_assert_eq!(error, DecodeError::String(StringError::DisallowedCharacter));
            }
        }
    }

    #[test]
    fn without_room_nothing_is_written((version, packet) in any_packet(), room: prop::sample::Index) {
        let len = packet.encoded_len(version);
        let mut memory = vec![0xEE; room.index(len)];
        let mut out = SliceSink::new(&mut memory);
        prop_assert_eq!(packet.encode(version, &mut out), Err(EncodeError::NoRoom));
        prop_assert!(out.is_empty());
        prop_assert!(memory.iter().all(|&byte| byte == 0xEE));
    }

    #[test]
    fn packets_are_written_one_behind_the_other(
        (version, packets) in version().prop_flat_map(|version| {
            (Just(version), prop::collection::vec(packet(version), 0..6))
        }),
    ) {
        let len = packets.iter().map(|packet| packet.encoded_len(version)).sum();
        let (mut memory, mut growing) = (vec![0xEE; len], BytesMut::new());
        let mut out = SliceSink::new(&mut memory);
        for packet in &packets {
            packet.encode(version, &mut out).unwrap();
            packet.encode(version, &mut growing).unwrap();
        }
        prop_assert_eq!(out.len(), len);
        prop_assert_eq!(out.written(), &growing[..]);
        let mut rest = out.into_written();
        for packet in packets {
            let (frame, behind) = Frame::split(rest).unwrap().unwrap();
            prop_assert_eq!(Packet::decode(frame, version).unwrap(), packet);
            rest = behind;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn another_version_writes_what_it_can_say(
        (version, packet) in any_packet(),
        other in version(),
    ) {
        // A CONNECT says its version itself.
        let written = match packet {
            Packet::Connect(connect) => encode(&Packet::Connect(Connect { version: other, ..connect }), other),
            packet => encode(&packet, other),
        };
        let Ok(bytes) = written else {
            prop_assert!(version != other, "{:?}", written);
            return Ok(());
        };
        let decoded = Packet::decode(frame(&bytes), other).unwrap();
        prop_assert_eq!(decoded.packet_type(), packet.packet_type());
        prop_assert_eq!(encoded(&decoded, other), bytes);
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(mut bytes: Vec<u8>, version in version()) {
        if let [_, length, body @ ..] = &mut bytes[..] {
            *length = body.len().min(127) as u8;
        }
        if let Ok(Some((frame, _))) = Frame::split(&bytes) {
            if let Ok(packet) = Packet::decode(frame, version) {
                let written = encoded(&packet, version);
                prop_assert_eq!(Packet::decode(crate::wire::frame(&written), version), Ok(packet));
            }
        }
    }

    #[test]
    fn parts_outlive_the_packet_without_a_copy(packet in packet(Version::V3_1_1)) {
        let bytes = bytes::Bytes::from(encoded(&packet, Version::V3_1_1));
        if let Packet::Publish(publish) = Packet::decode(frame(&bytes), Version::V3_1_1).unwrap() {
            let payload = slice_of(&bytes, publish.payload).unwrap();
            prop_assert_eq!(payload.as_ptr(), publish.payload.as_ptr());
            prop_assert_eq!(&payload[..], publish.payload);
            let topic = slice_of(&bytes, publish.topic.as_bytes()).unwrap();
            prop_assert_eq!(&topic[..], publish.topic.as_bytes());
        }
        prop_assert_eq!(slice_of(&bytes, &Vec::from(&bytes[..])), None);
    }
}

#[test]
fn a_packet_is_as_long_as_its_length_can_say() {
    // A sink that only counts: the largest packet of all is not made.
    struct Count(usize);
    impl Sink for Count {
        fn room(&mut self, len: usize) -> Result<&mut [u8], EncodeError> {
            self.0 = len;
            Err(EncodeError::NoRoom)
        }
    }
    let publish = mqtt_packet::Publish::new(TopicName::new("t").unwrap(), b"");
    let head = |payload_len| {
        let mut count = Count(0);
        (publish.encode_head(payload_len, Version::V3_1_1, &mut count), count.0)
    };
    // 3 bytes of topic, the rest is payload; 5 bytes of fixed header in front.
    assert_eq!(head(mqtt_packet::MAX_REMAINING_LENGTH - 3), (Err(EncodeError::NoRoom), 8));
    assert_eq!(head(mqtt_packet::MAX_REMAINING_LENGTH - 2), (Err(EncodeError::TooLong), 0));
    assert_eq!(head(u32::MAX), (Err(EncodeError::TooLong), 0));
}

#[test]
fn strings_are_made_in_const() {
    const TOPIC: Result<TopicName<'static>, StringError> =
        TopicName::new("plant/1/temperature/of the \u{20AC}");
    const WILDCARD: Result<TopicName<'static>, StringError> = TopicName::new("plant/+");
    const FILTER: Result<TopicFilter<'static>, StringError> =
        TopicFilter::new("plant/+/temperature/of the/#");
    const NO_FILTER: Result<TopicFilter<'static>, StringError> = TopicFilter::new("plant/#/temperature");
    const TEXT: Result<Utf8Str<'static>, StringError> = Utf8Str::new("caf\u{E9}");
    const NUL: Result<Utf8Str<'static>, StringError> = Utf8Str::new("a\0b");
    const ILL_FORMED: Result<Utf8Str<'static>, StringError> = Utf8Str::from_bytes(b"\xC3");
    assert_eq!(TOPIC.unwrap().as_str(), "plant/1/temperature/of the \u{20AC}");
    assert_eq!(FILTER.unwrap().as_str(), "plant/+/temperature/of the/#");
    assert_eq!(TEXT.unwrap().as_str(), "caf\u{E9}");
    assert_eq!(
        (WILDCARD, NO_FILTER, NUL, ILL_FORMED),
        (
            Err(StringError::Wildcard),
            Err(StringError::MultiLevelWildcard),
            Err(StringError::NullCharacter),
            Err(StringError::IllFormed),
        )
    );
}
