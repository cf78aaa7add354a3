//! What broke other MQTT software, sent to this codec. Each test names the reports that it is made after.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod wire;

use mqtt_packet::{
    Connect, DecodeError, FixedHeader, Frame, Framer, Packet, PacketType, Publish, Role, StringError,
    TopicFilter, TopicName, Version,
};
use wire::{ALL, V3, accepted, decode, wire};

/// The versions that this build speaks.
fn spoken() -> impl Iterator<Item = Version> {
    ALL.into_iter().filter(|version| version.is_supported())
}

/// A body with `{}` for the properties of 5.0, as the version has it.
fn of(version: Version, notation: &str) -> Vec<u8> {
    match version {
        Version::V5 => wire(notation),
        _ => wire(&notation.replace("{}", "")),
    }
}

#[test]
fn announced_lengths_cost_no_memory() {
    // CVE-2017-7651, CVE-2021-33175, CVE-2021-33176, CVE-2021-22116: memory for what a length announces
    let announced = [0x10, 0xFF, 0xFF, 0xFF, 0x7F];
    assert!(Frame::split(&announced).unwrap().is_none());
    let mut memory = [0; 64];
    for version in spoken() {
        let mut framer = Framer::new(&mut memory, version);
        framer.spare()[..5].copy_from_slice(&announced);
        framer.filled(5);
        assert_eq!(framer.ready(), Err(DecodeError::PacketTooLarge));
    }
}

#[test]
fn lengths_do_not_overflow() {
    // CVE-2019-19307, CVE-2025-66168, CVE-2026-40046, CVE-2026-21888: a fifth length byte, and what wraps with it
    let header = FixedHeader::decode(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).unwrap().unwrap();
    assert_eq!((header.remaining_length, header.packet_len()), (268_435_455, 268_435_460));
    let mut memory = [0; 64];
    let mut framer = Framer::new(&mut memory, Version::V3_1_1);
    // The packet behind it must not be read as one: the stream stays refused.
    let stream = [0xC0, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xE0, 0x00];
    framer.spare()[..8].copy_from_slice(&stream);
    framer.filled(8);
    for _ in 0..3 {
        assert_eq!(framer.ready(), Err(DecodeError::RemainingLength));
        assert!(framer.next().is_none());
    }
}

#[test]
fn packet_that_is_longer_than_its_bytes_is_not_there_yet() {
    // CVE-2026-25627: a Remaining Length larger than the WebSocket frame that it came in
    for bytes in [&[0x30, 0x7F, 0x00, 0x01][..], &[0x82, 0x03, 0x00, 0x01], &[0x10, 0x80, 0x01, 0x00]] {
        assert!(Frame::split(bytes).unwrap().is_none());
    }
}

#[test]
fn prefixed_lengths_stay_inside_the_packet() {
    // CVE-2026-54412, CVE-2019-17210, CVE-2017-10910, NanoMQ 1153 to 1155 and 1167, Mongoose 984, 3419 and 3525,
    // npm advisory NSWG-ECO-500, Paho C 1084: a length in the packet that reaches behind its end
    let bodies = [
        "30 .. FFFF 't'",
        "30 .. 0003 'to'",
        "32 .. 0001 't' 00",
        "34 .. 0001 't'",
        "82 .. 0001 {} 0002 'a'",
        "82 .. 0001 {} FFFF 'a' 00",
        "82 .. 0001 {} 0001 'a'",
        "A2 .. 0001 {} 0002 'a'",
        "A2 .. 0001 {} 0001 'a' 00",
    ];
    for version in spoken() {
        for body in bodies {
            // Behind the packet there are bytes which it must not reach.
            let stream = [of(version, body), vec![b'x'; 70_000]].concat();
            let (frame, _) = Frame::split(&stream).unwrap().unwrap();
            let decoded = Packet::decode(frame, version);
            assert_eq!(decoded, Err(DecodeError::Truncated), "{body} in {version:?}");
        }
    }
}

#[test]
fn connect_may_be_cut_anywhere() {
    // NanoMQ 1181 and 1722, CVE-2017-7654, CVE-2021-34431, wolfMQTT 377, 394, 430, 472 and 473: cut CONNECTs, and
    // wills that are longer than their packet
    let whole = [
        "10 .. 0004'MQTT' 04 EE 003C 0001 'c' 0004 'will' 0007 'message' 0004 'user' 0004 'pass'",
        "10 .. 0006'MQIsdp' 03 EE 003C 0001 'c' 0004 'will' 0007 'message' 0004 'user' 0004 'pass'",
    ];
    for (notation, version) in whole.into_iter().zip([Version::V3_1_1, Version::V3_1]) {
        let bytes = wire(notation);
        let body = wire::frame(&bytes).body();
        for cut in 0..body.len() {
            let bytes = wire::packet(0x10, &[&body[..cut]]);
            let decoded = decode(&bytes, version);
            // Only in 3.1 may the last two fields be left out whole.
            let user_name_or_password_left_out = [body.len() - 6, body.len() - 12].contains(&cut);
            let may_end = version == Version::V3_1 && user_name_or_password_left_out;
            assert_eq!(decoded.is_ok(), may_end, "cut at {cut}");
        }
        for (field, lengths) in [
            ("0004 'will'", ["0005 'will'", "FFFF 'will'"]),
            ("0007 'message'", ["0008 'message'", "FFFF 'message'"]),
        ] {
            for length in lengths {
                let bytes = wire(&notation.replace(field, length));
                assert!(decode(&bytes, version).is_err(), "{length}");
            }
        }
    }
}

#[test]
fn connect_without_a_user_name_has_none() {
    // CVE-2026-32696: code behind the codec took the user name for granted
    let bytes = wire("10 .. 0004'MQTT' 04 02 003C \"c\"");
    let Packet::Connect(connect) = accepted(&bytes, Version::V3_1_1) else { panic!("not a CONNECT") };
    assert_eq!((connect.user_name, connect.password, connect.will), (None, None, None));
}

#[test]
fn packets_of_the_other_side_are_told_from_ours() {
    // CVE-2021-28166, rumqtt 812: a client sends CONNACK or UNSUBACK; sol 15, CVE-2023-0809: not CONNECT first
    for version in spoken() {
        for notation in ["20 .. 00 00 {}", "B0 .. 0001 {}", "90 .. 0001 {} 00", "D0 00", "40 02 0001"] {
            let notation = if version == Version::V5 {
                notation.replace("0001 {}", "0001 {} 00")
            } else {
                notation.into()
            };
            let bytes = of(version, &notation);
            assert_eq!(Connect::decode(wire::frame(&bytes)), Err(DecodeError::UnexpectedPacket));
            let packet = accepted(&bytes, version);
            let from_client = packet.check_sender(Role::Client, version);
            let is_puback = packet.packet_type() == PacketType::PubAck;
            assert_eq!(from_client, if is_puback { Ok(()) } else { Err(DecodeError::UnexpectedPacket) });
        }
    }
}

#[test]
fn topic_name_is_not_empty() {
    // CVE-2021-34432: PUBLISH with an empty topic
    for version in spoken() {
        let bytes = of(version, "30 .. 0000 {} 'payload'");
        assert_eq!(decode(&bytes, version), Err(DecodeError::TopicMissing));
        assert_eq!(TopicName::new(""), Err(StringError::Empty));
    }
}

#[test]
fn topics_of_the_server_are_topics() {
    // CVE-2018-12543: PUBLISH to a topic that starts with `$` and is not `$SYS`
    for topic in ["$", "$x", "$x/y", "$share/g/a"] {
        let bytes = wire(&format!("30 .. \"{topic}\" 'x'"));
        let Packet::Publish(publish) = accepted(&bytes, Version::V3_1_1) else { panic!("not a PUBLISH") };
        assert_eq!(publish.topic, topic);
        assert!(!TopicFilter::new("#").unwrap().matches(publish.topic));
    }
}

#[test]
fn many_levels_are_many_levels() {
    // CVE-2019-11779, FlashMQ 174: 65,400 times `/` in a filter
    let slashes = "/".repeat(65_400);
    for version in spoken() {
        let bytes = of(version, &format!("82 .. 0001 {{}} \"{slashes}\" 00"));
        let Packet::Subscribe(subscribe) = accepted(&bytes, version) else { panic!("not a SUBSCRIBE") };
        let filter = subscribe.filters.iter().next().unwrap().filter;
        assert!(filter.matches(TopicName::new(&slashes).unwrap()));
        let fewer = "/".repeat(65_399);
        assert!(!filter.matches(TopicName::new(&fewer).unwrap()));
    }
    let any = TopicFilter::new("+/+/#").unwrap();
    assert!(any.matches(TopicName::new(&slashes).unwrap()));
}

#[test]
fn many_filters_need_no_place_of_the_caller() {
    // Paho embedded C 242: more filters than the arrays of the caller
    let entries = "\"f\" 01".repeat(5_000);
    for version in V3 {
        let bytes = wire(&format!("82 .. 0001 {entries}"));
        let Packet::Subscribe(subscribe) = accepted(&bytes, version) else { panic!("not a SUBSCRIBE") };
        assert_eq!(subscribe.filters.iter().filter(|entry| entry.filter == "f").count(), 5_000);
    }
}

#[test]
fn answer_without_codes_is_refused() {
    // CVE-2024-10525: SUBACK without a code
    let bytes = [0x90, 2, 0, 1];
    for version in V3 {
        assert_eq!(decode(&bytes, version), Err(DecodeError::NoReasonCodes(PacketType::SubAck)));
    }
}

#[test]
fn acknowledgement_of_anything_is_a_value() {
    // rumqtt 201, 239 and 384: acknowledgements of identifiers that nobody sent
    for version in spoken() {
        for id in [1, 0x7FFF, 0x8000, 0xFFFF_u16] {
            let [high, low] = id.to_be_bytes();
            let bytes = [0x40, 2, high, low];
            let Packet::Ack(ack) = accepted(&bytes, version) else { panic!("not an acknowledgement") };
            assert_eq!(ack.id.get(), id);
        }
    }
}

#[test]
fn packets_larger_than_the_buffer_do_not_overflow_it() {
    // Contiki-NG 600, rust-mqtt 45, commit 6035ea2 of Paho embedded C: a variable header larger than the buffer
    let mut memory = [0; 32];
    for first in [0x10, 0x30, 0x3D, 0x82, 0x90] {
        let mut framer = Framer::new(&mut memory, Version::V3_1_1);
        let packet = wire::packet(first, &[&[0, 100], &[b'x'; 100]]);
        let mut fed = 0;
        let refused = loop {
            match framer.ready() {
                Ok(false) => {
                    let spare = framer.spare();
                    let count = spare.len().min(5);
                    spare[..count].copy_from_slice(&packet[fed..fed + count]);
                    framer.filled(count);
                    fed += count;
                }
                other => break other,
            }
        };
        assert_eq!(refused, Err(DecodeError::PacketTooLarge), "{first:#x}");
        assert!(fed <= 32);
    }
}

#[test]
fn partial_writes_do_not_happen() {
    // Paho embedded C 267: a packet written in part
    let publish = Publish::new(TopicName::new("t").unwrap(), b"payload");
    let len = publish.encoded_len(Version::V3_1_1);
    for room in 0..len {
        let mut memory = vec![0xEE; room];
        assert!(publish.encode(Version::V3_1_1, &mut mqtt_packet::SliceSink::new(&mut memory)).is_err());
        assert!(memory.iter().all(|&byte| byte == 0xEE));
    }
}

#[cfg(feature = "v5")]
mod properties {
    use super::*;
    use mqtt_packet::PropertyId;

    #[test]
    fn thousands_of_user_properties_are_read_once() {
        // CVE-2021-41039: user properties that cost more than their bytes
        let properties = "26 0001 'n' 0001 'v'".repeat(20_000);
        let bytes = wire(&format!("10 .. 0004'MQTT' 05 02 003C {{{properties}}} \"c\""));
        let Packet::Connect(connect) = accepted(&bytes, Version::V5) else { panic!("not a CONNECT") };
        assert_eq!(connect.properties.user_properties().count(), 20_000);
        assert_eq!(connect.properties.receive_maximum(), None, "answered without reading them");
    }

    #[test]
    fn properties_end_with_their_section() {
        // NanoMQ 1169 and 1722, aedes 612, mqtt-packet 107: property lengths beyond the packet, a byte too far
        let cases = [
            ("30 .. \"t\" FFFFFF7F 01", DecodeError::PropertyLength),
            ("30 .. \"t\" 02 01", DecodeError::PropertyLength),
            ("30 .. \"t\" {01}", DecodeError::PropertyLength),
            ("30 .. \"t\" {02 000000}", DecodeError::PropertyLength),
            ("30 .. \"t\" {26 0001 'n'}", DecodeError::PropertyLength),
            ("30 .. \"t\" {0B 80}", DecodeError::PropertyLength),
            ("30 .. \"t\" 80", DecodeError::Truncated),
            ("B0 02 0001", DecodeError::Truncated),
            ("B0 03 0001 01", DecodeError::PropertyLength),
            ("40 04 0001 00 01", DecodeError::PropertyLength),
        ];
        for (notation, error) in cases {
            let stream = [wire(notation), vec![1; 300]].concat();
            let (frame, _) = Frame::split(&stream).unwrap().unwrap();
            assert_eq!(Packet::decode(frame, Version::V5), Err(error), "{notation}");
        }
    }

    #[test]
    fn will_with_bad_properties_is_refused() {
        // CVE-2023-3592
        let template = "10 .. 0004'MQTT' 05 06 003C {} \"c\" {@} \"t\" \"m\"";
        for (properties, error) in [
            ("23 0001", DecodeError::PropertyNotAllowed),
            ("18 00000001 18 00000001", DecodeError::PropertyRepeated(PropertyId::WillDelayInterval)),
            ("01 02", DecodeError::PropertyValue(PropertyId::PayloadFormatIndicator)),
            ("03 0009 'text'", DecodeError::PropertyLength),
            ("08 0001 '#'", DecodeError::ResponseTopic),
        ] {
            assert_eq!(
                decode(&wire(&template.replace('@', properties)), Version::V5),
                Err(error),
                "{properties}"
            );
        }
    }

    #[test]
    fn answers_of_a_server_are_checked_as_well() {
        // NanoMQ 2145: a malformed CONNACK from a remote broker; CVE-2024-10525 in 5.0
        let cases = [
            ("20 00", DecodeError::Truncated),
            ("20 02 00 00", DecodeError::Truncated),
            ("20 .. 00 00 05", DecodeError::PropertyLength),
            ("20 .. 00 00 {1F 0009 'short'}", DecodeError::PropertyLength),
            ("20 .. 00 01 {}", DecodeError::ReasonCode(PacketType::ConnAck)),
            ("90 .. 0001 {}", DecodeError::NoReasonCodes(PacketType::SubAck)),
            ("B0 .. 0001 {}", DecodeError::NoReasonCodes(PacketType::UnsubAck)),
        ];
        for (notation, error) in cases {
            assert_eq!(decode(&wire(notation), Version::V5), Err(error), "{notation}");
        }
    }

    #[test]
    fn shared_and_ordinary_filters_are_not_mixed_up() {
        // CVE-2024-8376: SUBSCRIBE to a shared filter, UNSUBSCRIBE from the ordinary one
        let shared = TopicFilter::new("$share/g/a").unwrap();
        let ordinary = TopicFilter::new("a").unwrap();
        assert_ne!(shared, ordinary);
        assert_eq!(shared.shared().unwrap().unwrap().filter, ordinary);
        assert_eq!(ordinary.shared(), Ok(None));
        for notation in ["A2 .. 0001 {} \"$share/g\"", "A2 .. 0001 {} \"$share//a\""] {
            assert!(decode(&wire(notation), Version::V5).is_err());
        }
    }
}
