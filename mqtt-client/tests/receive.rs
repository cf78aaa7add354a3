//! Messages that come in: what is delivered, what is acknowledged, in which order, and what ends the connection.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod scripted;

use scripted::*;

fn manual(version: Version) -> Peer {
    let settings = Settings { manual_acknowledgement: true, ..Settings::new(version) };
    let mut peer = Peer::new(memory(4), settings);
    peer.connect(&lasting(), "");
    peer
}

/// A PUBLISH of the server to the topic `t`.
fn publish(version: Version, first: u8, id: u16, payload: &str) -> Vec<u8> {
    let mut packet = vec![first, 0, 0, 1, b't'];
    if first & 6 != 0 {
        packet.extend(id.to_be_bytes());
    }
    if version == Version::V5 {
        packet.push(0);
    }
    packet.extend(payload.as_bytes());
    packet[1] = packet.len() as u8 - 2;
    packet
}

fn delivered(payload: &str, qos: QoS) -> Happened {
    Happened::Message("t".to_owned(), payload.as_bytes().to_vec(), qos, None)
}

fn receipt(happened: &[Happened]) -> Receipt {
    match happened {
        [Happened::Message(_, _, _, Some(receipt)) | Happened::Chunk(_, true, Some(receipt))] => *receipt,
        other => panic!("{other:?}"),
    }
}

// [MQTT-3.3.4-1 @3.1.1] [MQTT-3.3.4-1 @5.0] [MQTT-4.3.2-2 @3.1.1] [MQTT-4.3.2-4 @5.0] [MQTT-4.3.3-8 @5.0]
// [MQTT-4.5.0-2 @3.1.1] [MQTT-4.5.0-2 @5.0] [MQTT-2.3.1-6 @3.1.1] [MQTT-2.2.1-5 @5.0]
#[test]
fn every_message_is_acknowledged_by_its_qos() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        assert_eq!(peer.gets(&publish(version, 0x30, 0, "0")), [delivered("0", QoS::AtMostOnce)]);
        peer.sends("");
        assert_eq!(peer.gets(&publish(version, 0x32, 7, "1")), [delivered("1", QoS::AtLeastOnce)]);
        peer.sends("40 02 0007");
        assert_eq!(peer.gets(&publish(version, 0x34, 8, "2")), [delivered("2", QoS::ExactlyOnce)]);
        peer.sends("50 02 0008");
        assert_eq!(peer.receives("62 02 0008"), []);
        peer.sends("70 02 0008");
    }
}

// [MQTT-4.3.2-2 @3.1.1] [MQTT-4.3.2-5 @5.0]
#[test]
fn after_puback_the_identifier_is_a_new_message() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        for first in [0x32, 0x3A, 0x32] {
            assert_eq!(peer.gets(&publish(version, first, 7, "1")).len(), 1);
            peer.sends("40 02 0007");
        }
    }
}

// [MQTT-4.3.3-2 @3.1.1] [MQTT-4.3.3-10 @5.0] [MQTT-4.3.3-11 @5.0] [MQTT-4.3.3-12 @5.0] [MQTT-4.3.3-13 @5.0]
#[test]
fn a_repeat_is_acknowledged_and_not_delivered_until_pubrel() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        // It had expired when it was sent: that changes nothing.
        let (first, repeat) = match version {
            Version::V5 => {
                (hex("34 0C 0001 74 0007 05 02 00000000 32"), hex("3C 0C 0001 74 0007 05 02 00000000 32"))
            }
            _ => (publish(version, 0x34, 7, "2"), publish(version, 0x3C, 7, "2")),
        };
        assert_eq!(peer.gets(&first), [delivered("2", QoS::ExactlyOnce)]);
        peer.sends("50 02 0007");
        for _ in 0..3 {
            assert_eq!(peer.gets(&repeat), []);
            peer.sends("50 02 0007");
        }
        peer.resume("");
        assert_eq!(peer.gets(&repeat), []);
        peer.sends("50 02 0007");
        peer.receives("62 02 0007");
        peer.sends("70 02 0007");
        assert_eq!(peer.gets(&first), [delivered("2", QoS::ExactlyOnce)]);
        peer.sends("50 02 0007");
    }
}

// [MQTT-4.3.3-2 @3.1.1] [MQTT-4.3.3-11 @5.0]
#[test]
fn pubrel_for_nothing_is_answered() {
    for (version, answer) in [(Version::V3_1_1, "70 02 0009"), (Version::V5, "70 03 0009 92")] {
        let mut peer = Peer::connected(version);
        assert_eq!(peer.receives("62 02 0009"), []);
        peer.sends(answer);
    }
}

// [MQTT-4.6.0-2 @3.1.1] [MQTT-4.6.0-3 @3.1.1] [MQTT-4.6.0-2 @5.0] [MQTT-4.6.0-3 @5.0]
#[test]
fn a1_12_acknowledgements_leave_in_the_order_of_the_messages() {
    for version in BOTH {
        let mut peer = manual(version);
        let receipts: Vec<Receipt> = [(0x32, 11), (0x34, 12), (0x32, 13), (0x34, 14)]
            .iter()
            .map(|&(first, id)| receipt(&peer.gets(&publish(version, first, id, ""))))
            .collect();
        peer.sends("");
        for at in [3, 1, 2] {
            peer.engine.accept(receipts[at], ReasonCode::SUCCESS).unwrap();
            peer.sends("");
        }
        peer.engine.accept(receipts[0], ReasonCode::SUCCESS).unwrap();
        peer.sends("40 02 000B 50 02 000C 40 02 000D 50 02 000E");
    }
}

// A message that was accepted before the connection broke is not acknowledged before one that was not and comes again in
// front of it. [MQTT-4.6.0-3 @3.1.1] [MQTT-4.6.0-3 @5.0]
#[test]
fn a_repeat_is_acknowledged_behind_what_came_before_it() {
    for version in BOTH {
        let mut peer = manual(version);
        peer.gets(&publish(version, 0x34, 1, ""));
        let two = receipt(&peer.gets(&publish(version, 0x34, 2, "")));
        peer.engine.accept(two, ReasonCode::SUCCESS).unwrap();
        peer.sends("");
        peer.resume("");
        let one = receipt(&peer.gets(&publish(version, 0x3C, 1, "")));
        assert_eq!(peer.gets(&publish(version, 0x3C, 2, "")), []);
        peer.sends("");
        peer.engine.accept(one, ReasonCode::SUCCESS).unwrap();
        peer.sends("50 02 0001 50 02 0002");
    }
}

#[test]
fn a_message_is_accepted_once_and_on_its_connection() {
    for version in BOTH {
        let mut peer = manual(version);
        let one = receipt(&peer.gets(&publish(version, 0x32, 1, "")));
        peer.engine.accept(one, ReasonCode::SUCCESS).unwrap();
        assert_eq!(peer.engine.accept(one, ReasonCode::SUCCESS), Err(RequestError::Stale));
        peer.sends("40 02 0001");
        let two = receipt(&peer.gets(&publish(version, 0x34, 2, "")));
        peer.resume("");
        assert_eq!(peer.engine.accept(two, ReasonCode::SUCCESS), Err(RequestError::Stale));
        // It was not accepted, so its repeat is delivered.
        let again = receipt(&peer.gets(&publish(version, 0x3C, 2, "")));
        // Its repeat on the same connection is not.
        assert_eq!(peer.gets(&publish(version, 0x3C, 2, "")), []);
        peer.sends("");
        peer.engine.accept(again, ReasonCode::SUCCESS).unwrap();
        peer.sends("50 02 0002");
    }
}

// [MQTT-4.3.3-9 @5.0] [U5-3.3.2-4]
#[test]
fn after_a_refusal_the_identifier_is_a_new_message() {
    let mut peer = manual(Version::V5);
    for _ in 0..2 {
        let receipt = receipt(&peer.gets(&publish(Version::V5, 0x34, 7, "\u{1}")));
        peer.engine.accept(receipt, ReasonCode::PAYLOAD_FORMAT_INVALID).unwrap();
        peer.sends("50 03 0007 99");
    }
    let one = receipt(&peer.gets(&publish(Version::V5, 0x32, 8, "")));
    peer.engine.accept(one, ReasonCode::PAYLOAD_FORMAT_INVALID).unwrap();
    peer.sends("40 03 0008 99");
    // Before 5.0 nobody can be told: the message is taken.
    let mut peer = manual(Version::V3_1_1);
    let one = receipt(&peer.gets(&publish(Version::V3_1_1, 0x32, 8, "")));
    peer.engine.accept(one, ReasonCode::PAYLOAD_FORMAT_INVALID).unwrap();
    peer.sends("40 02 0008");
}

#[test]
fn memory_full_of_unaccepted_messages_stops_reading() {
    let mut peer = manual(Version::V3_1_1);
    let receipts: Vec<Receipt> = (1..=4)
        .map(|id| {
            assert!(peer.engine.can_receive());
            receipt(&peer.gets(&publish(Version::V3_1_1, 0x32, id, "")))
        })
        .collect();
    assert!(!peer.engine.can_receive());
    // Nobody reads, so nobody can see PINGRESP: the server is not to blame.
    peer.sleep(Duration::from_secs(60));
    peer.engine.handle_timeout(peer.now).unwrap();
    peer.sends("C0 00");
    peer.sleep(Duration::from_secs(60));
    peer.engine.handle_timeout(peer.now).unwrap();
    peer.engine.accept(receipts[0], ReasonCode::SUCCESS).unwrap();
    assert!(peer.engine.can_receive());
    peer.sends("40 02 0001");
    peer.sleep(Duration::from_secs(60));
    assert_eq!(peer.engine.handle_timeout(peer.now), Err(ProtocolError::KeepAlive));
}

// [MQTT-3.3.4-9 @5.0]
#[test]
fn a_server_that_sends_more_than_receive_maximum_is_left() {
    let mut peer = Peer::connected(Version::V5);
    for id in 1..=4 {
        peer.gets(&publish(Version::V5, 0x34, id, ""));
    }
    peer.transmitted();
    let error = peer.try_gets(&publish(Version::V5, 0x34, 5, "")).unwrap_err();
    assert_eq!(error, ProtocolError::ReceiveMaximum);
    peer.sends("E0 01 93");
}

// [MQTT-4.8.0-2 @3.1.1]
#[test]
fn without_memory_for_an_identifier_the_connection_ends() {
    let mut peer = Peer::connected(Version::V3_1_1);
    for id in 1..=4 {
        peer.gets(&publish(Version::V3_1_1, 0x34, id, ""));
    }
    // QoS 1 needs none.
    peer.gets(&publish(Version::V3_1_1, 0x32, 9, ""));
    let error = peer.try_gets(&publish(Version::V3_1_1, 0x34, 5, "")).unwrap_err();
    assert_eq!(error, ProtocolError::NoMemory);
    assert!(!peer.engine.is_connected());
}

// [MQTT-2.2.2-2 @3.1.1] [MQTT-3.3.1-4 @3.1.1] [MQTT-4.8.0-1 @3.1.1]
#[test]
fn malformed_packets_end_the_connection() {
    let malformed = [
        "42 02 0001",         // flags of PUBACK
        "60 02 0001",         // flags of PUBREL
        "D1 00",              // flags of PINGRESP
        "00 00",              // packet type 0
        "36 05 0001 74 0001", // QoS 3
        "38 03 0001 74",      // DUP at QoS 0
        "32 05 0001 74 0000", // Packet Identifier 0
        "30 04 0002 C0AF",    // UTF-8
        "30 03 0001 00",      // U+0000
        "30 01 00",           // truncated
        "40 03 000100",       // too long
        "90 03 0001 03",      // no return code
        "C0 00",              // of a client
        "10 00",              // of a client
        "E0 00",              // of a client
        "F0 00",              // of 5.0
        "30 FFFFFFFF 01",     // five bytes of length
    ];
    for packet in malformed {
        let mut peer = Peer::connected(Version::V3_1_1);
        peer.fails(packet);
        assert!(peer.engine.wants_close(), "{packet}");
        peer.sends("");
    }
}

// [U5-4.13.1-1] [MQTT-4.13.2-1] [MQTT-3.14.1-1 @5.0] [MQTT-3.15.1-1] [U5-3.3.2-1] [MQTT-3.14.2-1 @5.0] [MQTT-3.14.2-2 @5.0]
// [MQTT-3.14.4-1 @5.0] [MQTT-3.14.4-2 @5.0]
#[test]
fn a_5_0_server_is_told_what_was_wrong() {
    for (packet, code) in [
        ("42 02 0001", "81"),
        ("36 06 0001 74 0001 00", "81"),
        ("30 03 0000 00", "82"),         // neither topic nor alias
        ("30 05 0002 2B2F 00", "90"),    // wildcard
        ("30 06 0001 74 02 2900", "81"), // property of another packet
        ("E1 01 00", "81"),
        ("E0 01 04", "82"),                // a client's reason
        ("E0 07 00 05 11 00000001", "82"), // a client's property
        ("F1 06 18 04 15 0001 61", "81"),
        ("C0 00", "82"),
        ("30 FFFFFFFF 01", "81"),
    ] {
        let mut peer = Peer::connected(Version::V5);
        peer.fails(packet);
        peer.sends(&format!("E0 01 {code}"));
        assert!(peer.engine.wants_close());
        // Nothing is said after it.
        assert!(peer.engine.publish(&message(b"", QoS::AtMostOnce)).is_err());
        peer.publish(b"", QoS::AtLeastOnce);
        peer.sends("");
        peer.close();
    }
}

// [U5-3.1.2-6]
#[test]
fn a_packet_above_the_maximum_is_refused_with_its_reason() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.framer = Framer::new(vec![0; 64].leak(), Version::V5).with_max_packet_len(32);
    peer.connect(&ConnectOptions { maximum_packet_size: 32, ..options() }, "");
    peer.gets(&publish(Version::V5, 0x30, 0, &"x".repeat(26)));
    let error = peer.try_gets(&publish(Version::V5, 0x30, 0, &"x".repeat(27))).unwrap_err();
    assert_eq!(error, ProtocolError::Decode(DecodeError::PacketTooLarge));
    peer.sends("E0 01 95");
}

// [MQTT-3.1.2-29 @5.0]
#[test]
fn problem_information_that_was_not_wanted_is_refused() {
    let place = PropertyPlace::of(PacketType::Connect);
    let options = options().with_properties(Properties::from_block(&[0x17, 0], place).unwrap());
    for packet in
        ["40 08 0001 00 04 1F 0001 6E", "90 08 0001 04 1F 0001 6E 00", "50 08 0001 00 04 1F 0001 6E"]
    {
        let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
        peer.connect(&options, "");
        assert_eq!(peer.fails(packet), ProtocolError::ProblemInformation);
        peer.sends("E0 01 82");
    }
    // On a message it is welcome.
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&options, "");
    assert_eq!(peer.receives("30 0B 0001 74 07 26 0001 61 0001 62").len(), 1);
}

// [U311-3.8.4-1]
#[test]
fn messages_may_come_before_suback() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        let ticket = peer.engine.subscribe(&[filter("t", QoS::AtLeastOnce)], Properties::EMPTY).unwrap();
        peer.sends_types(&[0x82]);
        assert_eq!(peer.gets(&publish(version, 0x32, 1, "early")), [delivered("early", QoS::AtLeastOnce)]);
        peer.sends("40 02 0001");
        let suback = if version == Version::V5 { "90 04 0001 00 01" } else { "90 03 0001 01" };
        assert_eq!(peer.receives(suback), [Happened::Granted(ticket, vec![1])]);
        assert_eq!(peer.outcomes(), [(ticket, Outcome::Answered(ReasonCode::GRANTED_QOS_1))]);
    }
}

#[test]
fn an_identifier_cannot_be_two_messages() {
    for version in BOTH {
        let mut peer = manual(version);
        peer.gets(&publish(version, 0x32, 7, "1"));
        let error = peer.try_gets(&publish(version, 0x32, 7, "2")).unwrap_err();
        assert_eq!(error, ProtocolError::PacketIdInUse);
        // A server that lost its session may use the identifier of a message that it never released.
        let mut peer = Peer::connected(version);
        peer.gets(&publish(version, 0x34, 7, "2"));
        assert_eq!(peer.gets(&publish(version, 0x32, 7, "1")), [delivered("1", QoS::AtLeastOnce)]);
        assert_eq!(peer.gets(&publish(version, 0x34, 7, "2")), [delivered("2", QoS::ExactlyOnce)]);
    }
}

#[test]
fn a_message_larger_than_the_buffer_comes_in_pieces() {
    for version in BOTH {
        for first in [0x30, 0x32, 0x34] {
            let mut peer = Peer::connected(version);
            let payload = "0123456789".repeat(12);
            let happened = peer.gets(&publish(version, first, 7, &payload)[..]);
            let Some((Happened::Start(topic, len), chunks)) = happened.split_first() else {
                panic!("{happened:?}")
            };
            assert_eq!((topic.as_str(), *len), ("t", 120));
            let mut whole = Vec::new();
            for (at, chunk) in chunks.iter().enumerate() {
                let Happened::Chunk(bytes, last, None) = chunk else { panic!("{chunk:?}") };
                whole.extend_from_slice(bytes);
                assert_eq!(*last, at + 1 == chunks.len());
            }
            assert_eq!(whole, payload.as_bytes());
            peer.sends(match first {
                0x30 => "",
                0x32 => "40 02 0007",
                _ => "50 02 0007",
            });
        }
    }
}

#[test]
fn a_message_that_was_cut_off_is_no_repeat_when_it_comes_again() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        let packet = publish(version, 0x34, 7, &"0123456789".repeat(12));
        let happened = peer.gets(&packet[..100]);
        assert!(matches!(happened[0], Happened::Start(..)));
        peer.sends("");
        peer.resume("");
        let mut repeat = packet.clone();
        repeat[0] |= 8;
        let happened = peer.gets(&repeat);
        assert!(matches!(happened.last(), Some(Happened::Chunk(_, true, None))), "{happened:?}");
        peer.sends("50 02 0007");
        // Now it is one, passed over piece by piece.
        assert_eq!(peer.gets(&repeat), []);
        peer.sends("50 02 0007");
    }
}

#[test]
fn a_message_in_pieces_is_accepted_by_hand_at_its_end() {
    let mut peer = manual(Version::V5);
    let happened = peer.gets(&publish(Version::V5, 0x32, 7, &"0123456789".repeat(12)));
    peer.sends("");
    peer.engine.accept(receipt(&happened[happened.len() - 1..]), ReasonCode::SUCCESS).unwrap();
    peer.sends("40 02 0007");
}
