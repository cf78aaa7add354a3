//! Section 2.1.2: which side may send which packet, in every version.

use crate::wire::{ALL, accepted, wire};
use mqtt_packet::{DecodeError, PacketType, ReasonCode, Role, Version};

/// A packet of each type for 3.x and for 5.0, and whether a client and a server may send it.
const DIRECTIONS: [(&str, &str, bool, bool); 15] = [
    ("10 .. 0004'MQTT' 04 02 003C \"c\"", "10 .. 0004'MQTT' 05 02 003C {} \"c\"", true, false),
    ("20 02 00 00", "20 .. 00 00 {}", false, true),
    ("30 .. \"a\"", "30 .. \"a\" {}", true, true),
    ("40 02 0001", "40 02 0001", true, true),
    ("50 02 0001", "50 02 0001", true, true),
    ("62 02 0001", "62 02 0001", true, true),
    ("70 02 0001", "70 02 0001", true, true),
    ("82 .. 0001 \"a\" 00", "82 .. 0001 {} \"a\" 00", true, false),
    ("90 03 0001 00", "90 .. 0001 {} 00", false, true),
    ("A2 .. 0001 \"a\"", "A2 .. 0001 {} \"a\"", true, false),
    ("B0 02 0001", "B0 .. 0001 {} 00", false, true),
    ("C0 00", "C0 00", true, false),
    ("D0 00", "D0 00", false, true),
    // From a server only in 5.0.
    ("E0 00", "E0 00", true, true),
    // Not in 3.x at all.
    ("", "F0 .. 18 {15 \"m\"}", true, true),
];

#[test]
fn packets_come_from_their_side() {
    for (number, (before_5, in_5, client, server)) in (1..).zip(DIRECTIONS) {
        let packet_type = PacketType::from_number(number).unwrap();
        assert_eq!(packet_type.is_sent_by(Role::Client), client, "{packet_type:?}");
        assert_eq!(packet_type.is_sent_by(Role::Server), server, "{packet_type:?}");
        for version in ALL {
            let notation = if version == Version::V5 { in_5 } else { before_5 };
            if notation.is_empty() {
                continue;
            }
            let bytes = wire(notation);
            let packet = accepted(&bytes, version);
            assert_eq!(packet.packet_type(), packet_type);
            let server = server && !(packet_type == PacketType::Disconnect && version != Version::V5);
            for (role, may_send) in [(Role::Client, client), (Role::Server, server)] {
                let expected = if may_send { Ok(()) } else { Err(DecodeError::UnexpectedPacket) };
                assert_eq!(packet.check_sender(role, version), expected, "{packet} from {role:?}");
            }
        }
    }
}

#[test]
fn packet_from_the_wrong_side_is_a_protocol_error() {
    let error = DecodeError::UnexpectedPacket;
    assert_eq!(error.reason_code(), ReasonCode::PROTOCOL_ERROR);
    assert_eq!(error.rule(Version::V5), "MQTT-4.13.1-1");
    assert_eq!(error.rule(Version::V3_1_1), "MQTT-4.8.0-1");
}

#[test]
fn each_decoder_takes_its_own_packet_only() {
    use mqtt_packet::*;
    for (number, (_, notation, ..)) in (1..).zip(DIRECTIONS) {
        let bytes = wire(notation);
        let frame = crate::wire::frame(&bytes);
        let v5 = Version::V5;
        let results = [
            (1..=1, Connect::decode(frame).map(|_| ())),
            (2..=2, ConnAck::decode(frame, v5).map(|_| ())),
            (3..=3, Publish::decode(frame, v5).map(|_| ())),
            (4..=7, Ack::decode(frame, v5).map(|_| ())),
            (8..=8, Subscribe::decode(frame, v5).map(|_| ())),
            (9..=9, SubAck::decode(frame, v5).map(|_| ())),
            (10..=10, Unsubscribe::decode(frame, v5).map(|_| ())),
            (11..=11, UnsubAck::decode(frame, v5).map(|_| ())),
            (12..=12, PingReq::decode(frame, v5).map(|_| ())),
            (13..=13, PingResp::decode(frame, v5).map(|_| ())),
            (14..=14, Disconnect::decode(frame, v5).map(|_| ())),
            (15..=15, Auth::decode(frame, v5).map(|_| ())),
        ];
        for (own, result) in results {
            let expected = if own.contains(&number) { Ok(()) } else { Err(DecodeError::UnexpectedPacket) };
            assert_eq!(result, expected, "{number} by the decoder of {own:?}");
        }
    }
}
