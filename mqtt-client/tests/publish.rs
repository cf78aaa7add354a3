//! Messages on their way out: identifiers, the QoS handshakes, quotas and what the server takes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod scripted;

use scripted::*;

// [MQTT-4.3.1-1 @3.1.1] [MQTT-4.3.1-1 @5.0] [MQTT-3.3.4-1 @5.0]
#[test]
fn at_qos_0_a_message_is_sent_once_and_forgotten() {
    for (version, packet) in [(Version::V3_1_1, "30 04 0001 74 30"), (Version::V5, "30 05 0001 74 00 30")] {
        let mut peer = Peer::lasting(version);
        let ticket = peer.publish(b"0", QoS::AtMostOnce);
        assert_eq!(ticket.packet_id(), None);
        assert_eq!(peer.outcomes(), []);
        peer.sends(packet);
        assert_eq!(peer.outcomes(), [(ticket, Outcome::Written)]);
        peer.resume("");
        peer.sends("");
    }
}

#[test]
fn at_qos_0_what_was_not_written_is_lost_with_the_connection() {
    let mut peer = Peer::lasting(Version::V3_1_1);
    let first = peer.publish(b"1", QoS::AtMostOnce);
    peer.sends_types(&[0x30]);
    let second = peer.publish(b"2", QoS::AtMostOnce);
    let third = peer.publish(b"3", QoS::AtMostOnce);
    peer.engine.transmitted(peer.now, 1);
    peer.close();
    assert_eq!(
        peer.outcomes(),
        [
            (first, Outcome::Written),
            (second, Outcome::Lost(Loss::Closed)),
            (third, Outcome::Lost(Loss::Closed))
        ]
    );
    peer.engine.connect(peer.now, &lasting()).unwrap();
    peer.sends_types(&[0x10]);
    peer.accept(true, "");
    peer.sends("");
}

// [MQTT-4.3.2-1 @3.1.1] [MQTT-4.3.2-1 @5.0] [MQTT-4.3.2-2 @5.0] [MQTT-4.3.2-3 @5.0]
#[test]
fn at_qos_1_a_message_is_unacknowledged_until_puback() {
    for (version, packet) in
        [(Version::V3_1_1, "32 06 0001 74 0001 31"), (Version::V5, "32 07 0001 74 0001 00 31")]
    {
        let mut peer = Peer::connected(version);
        let ticket = peer.publish(b"1", QoS::AtLeastOnce);
        peer.sends(packet);
        assert_eq!(peer.outcomes(), []);
        assert!(!peer.engine.is_idle());
        peer.receives("40 02 0001");
        assert_eq!(peer.outcomes(), [(ticket, OK)]);
        assert_eq!(peer.outcomes(), [], "an outcome is told once");
        assert!(peer.engine.is_idle());
    }
}

// [MQTT-4.3.3-1 @3.1.1] [MQTT-4.3.3-1 @5.0] [MQTT-4.3.3-2 @5.0] [MQTT-4.3.3-3 @5.0] [MQTT-4.3.3-4 @5.0]
// [MQTT-4.3.3-5 @5.0] [MQTT-2.3.1-6 @3.1.1] [MQTT-2.2.1-5 @5.0]
#[test]
fn at_qos_2_a_message_is_released_and_unacknowledged_until_pubcomp() {
    for (version, packet) in
        [(Version::V3_1_1, "34 06 0001 74 0001 32"), (Version::V5, "34 07 0001 74 0001 00 32")]
    {
        let mut peer = Peer::connected(version);
        let ticket = peer.publish(b"2", QoS::ExactlyOnce);
        peer.sends(packet);
        peer.receives("50 02 0001");
        peer.sends("62 02 0001");
        assert_eq!(peer.outcomes(), []);
        peer.receives("70 02 0001");
        assert_eq!(peer.outcomes(), [(ticket, OK)]);
        assert!(peer.engine.is_idle());
    }
}

/// PUBREC said that the message arrived; a server that answers the repeated PUBREL with "unknown" has finished with it.
#[test]
fn a_message_of_which_nothing_is_known_after_its_release_has_arrived() {
    let mut peer = Peer::lasting(Version::V5);
    let ticket = peer.publish(b"2", QoS::ExactlyOnce);
    peer.transmitted();
    peer.receives("50 02 0001");
    peer.sends("62 02 0001");
    peer.resume("");
    peer.sends("62 02 0001");
    peer.receives("70 03 0001 92");
    assert_eq!(peer.outcomes(), [(ticket, OK)]);
    assert!(peer.engine.is_idle());
}

// [MQTT-4.4.0-2 @5.0]
#[test]
fn a_refused_message_is_over() {
    for (qos, refusal) in [(QoS::AtLeastOnce, "40 03 0001 97"), (QoS::ExactlyOnce, "50 03 0001 97")] {
        let mut peer = Peer::lasting(Version::V5);
        let ticket = peer.publish(b"", qos);
        peer.transmitted();
        peer.receives(refusal);
        assert_eq!(peer.outcomes(), [(ticket, Outcome::Answered(ReasonCode::QUOTA_EXCEEDED))]);
        peer.resume("");
        peer.sends("");
    }
}

#[test]
fn a1_2_what_the_server_says_about_a_message_is_told() {
    let mut peer = Peer::connected(Version::V5);
    let ticket = peer.publish(b"", QoS::AtLeastOnce);
    peer.transmitted();
    let happened = peer.receives("40 08 0001 10 04 1F 0001 6E");
    let text = "PUBACK id 1 0x10 No matching subscribers [ReasonString(\"n\")]".to_owned();
    assert_eq!(happened, [Happened::Acknowledged(ticket, text)]);
    assert_eq!(peer.outcomes(), [(ticket, Outcome::Answered(ReasonCode::NO_MATCHING_SUBSCRIBERS))]);
}

// [MQTT-2.3.1-2 @3.1.1] [MQTT-2.2.1-3 @5.0]
#[test]
fn a1_4_every_request_gets_an_identifier_that_nothing_else_uses() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        let mut used: Vec<u16> = Vec::new();
        let one = peer.publish(b"", QoS::AtLeastOnce);
        let two = peer.publish(b"", QoS::ExactlyOnce);
        let three = peer.engine.subscribe(&[filter("a", QoS::AtMostOnce)], Properties::EMPTY).unwrap();
        let four = peer.engine.unsubscribe(&["a".try_into().unwrap()], Properties::EMPTY).unwrap();
        for ticket in [one, two, three, four] {
            let id = ticket.packet_id().unwrap().get();
            assert!(!used.contains(&id));
            used.push(id);
        }
        assert_eq!(peer.engine.publish(&message(b"", QoS::AtLeastOnce)), Err(RequestError::Busy));
    }
}

// [MQTT-2.3.1-3 @3.1.1] [MQTT-2.2.1-3 @5.0]
#[test]
fn an_identifier_is_not_used_again_before_its_request_is_over() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        let stuck = peer.publish(b"stuck", QoS::ExactlyOnce).packet_id().unwrap();
        let mut last = stuck.get();
        for _ in 0..2 * 65_535 {
            match peer.engine.publish(&message(b"", QoS::AtLeastOnce)) {
                Ok(ticket) => {
                    let id = ticket.packet_id().unwrap().get();
                    assert_ne!(id, stuck.get());
                    assert_ne!(id, 0);
                    last = id;
                    peer.transmitted();
                    peer.gets(&[0x40, 2, (id >> 8) as u8, id as u8]);
                    assert_eq!(peer.outcomes().len(), 1);
                }
                // Slots are freed in order: at most all are used up behind the stuck one.
                Err(error) => {
                    assert_eq!(error, RequestError::Busy);
                    break;
                }
            }
        }
        assert_eq!(last, 4);
        peer.gets(&[0x50, 2, 0, 1]);
        peer.gets(&[0x70, 2, 0, 1]);
        peer.outcomes();
        peer.transmitted();
        assert!(peer.engine.is_idle());
    }
}

#[test]
fn identifiers_wrap_and_are_never_0() {
    let mut peer = Peer::connected(Version::V3_1_1);
    for expected in (1..=65_535_u16).chain(1..=3) {
        let id = peer.publish(b"", QoS::AtLeastOnce).packet_id().unwrap().get();
        assert_eq!(id, expected);
        peer.transmitted();
        peer.gets(&[0x40, 2, (id >> 8) as u8, id as u8]);
        peer.outcomes();
    }
}

// [MQTT-3.3.4-7 @5.0] [MQTT-4.9.0-1 @5.0] [MQTT-4.9.0-2 @5.0] [U5-4.9.0-1]
#[test]
fn no_more_messages_are_unacknowledged_than_the_server_takes() {
    let mut peer = Peer::new(memory(8), Settings::new(Version::V5));
    peer.connect(&options(), "21 0002");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
        peer.publish(b"", qos);
    }
    peer.sends_types(&[0x32, 0x34]);
    // QoS 0 may go on.
    peer.publish(b"", QoS::AtMostOnce);
    peer.sends_types(&[0x30]);
    peer.receives("50 02 0002");
    peer.sends_types(&[0x62]);
    peer.receives("40 02 0001");
    peer.sends_types(&[0x32]);
    peer.receives("70 03 0002 92");
    peer.sends_types(&[0x34]);
    // A refusing PUBREC frees a place, too.
    peer.receives("50 03 0004 80");
    peer.sends_types(&[0x32]);
    // A repeated acknowledgement frees nothing.
    peer.receives("40 02 0003 40 02 0003");
    peer.publish(b"", QoS::AtLeastOnce);
    peer.publish(b"", QoS::AtLeastOnce);
    peer.sends_types(&[0x32]);
}

// [MQTT-3.3.4-8 @5.0] [MQTT-4.9.0-3 @5.0]
#[test]
fn an_exhausted_quota_delays_nothing_but_messages() {
    let mut peer = Peer::new(memory(8), Settings::new(Version::V5));
    peer.connect(&options(), "21 0001");
    peer.publish(b"", QoS::ExactlyOnce);
    peer.publish(b"", QoS::ExactlyOnce);
    peer.sends_types(&[0x34]);
    peer.engine.subscribe(&[filter("a", QoS::AtMostOnce)], Properties::EMPTY).unwrap();
    peer.sends_types(&[0x82]);
    assert_eq!(peer.receives("34 07 0001 74 0009 00 78").len(), 1);
    peer.sends("50 02 0009");
    peer.receives("62 02 0009");
    peer.sends("70 02 0009");
    peer.sleep(Duration::from_secs(60));
    peer.engine.handle_timeout(peer.now).unwrap();
    peer.sends("C0 00");
    peer.receives("50 02 0001");
    peer.sends("62 02 0001");
    peer.engine.disconnect(peer.now, ReasonCode::SUCCESS, Properties::EMPTY).unwrap();
    peer.sends("E0 00");
}

// [U5-4.9.0-1]
#[test]
fn the_quota_begins_anew_with_each_connection() {
    let mut peer = Peer::new(memory(8), Settings::new(Version::V5));
    peer.connect(&lasting(), "21 0001");
    for _ in 0..4 {
        peer.publish(b"", QoS::AtLeastOnce);
    }
    peer.sends_types(&[0x32]);
    peer.resume("21 0003");
    peer.sends_types(&[0x3A, 0x32, 0x32]);
}

// [MQTT-3.2.2-11 @5.0] [MQTT-3.2.2-14 @5.0] [MQTT-3.2.2-15 @5.0]
#[test]
fn what_the_server_does_not_take_is_not_sent() {
    let mut peer = Peer::new(memory(8), Settings::new(Version::V5));
    peer.connect(&options(), "24 01 25 00 27 0000000B 28 00 29 00");
    let refused = |peer: &mut Peer, message: &Message<'_>| peer.engine.publish(message).unwrap_err();
    assert_eq!(refused(&mut peer, &message(b"", QoS::ExactlyOnce)), RequestError::QosNotSupported);
    assert_eq!(
        refused(&mut peer, &message(b"", QoS::AtMostOnce).with_retain(true)),
        RequestError::RetainNotSupported
    );
    assert_eq!(refused(&mut peer, &message(b"123456", QoS::AtMostOnce)), RequestError::TooLarge);
    assert_eq!(refused(&mut peer, &message(b"1234", QoS::AtLeastOnce)), RequestError::TooLarge);
    let mut subscribe =
        |name, properties| peer.engine.subscribe(&[filter(name, QoS::AtMostOnce)], properties).unwrap_err();
    assert_eq!(subscribe("+", Properties::EMPTY), RequestError::WildcardNotSupported);
    assert_eq!(subscribe("abcd", Properties::EMPTY), RequestError::TooLarge);
    let identifier = Properties::from_block(&[0x0B, 1], PropertyPlace::of(PacketType::Subscribe)).unwrap();
    assert_eq!(subscribe("a", identifier), RequestError::SubscriptionIdNotSupported);
    assert_eq!(
        peer.engine.unsubscribe(&["abcde".try_into().unwrap()], Properties::EMPTY),
        Err(RequestError::TooLarge)
    );
    peer.sends("");
    peer.publish(b"1234", QoS::AtMostOnce);
    peer.sends("30 08 0001 74 00 31323334");
    let mut peer = Peer::new(memory(8), Settings::new(Version::V5));
    peer.connect(&options(), "2A 00");
    let shared = peer.engine.subscribe(&[filter("$share/a/b", QoS::AtMostOnce)], Properties::EMPTY);
    assert_eq!(shared, Err(RequestError::SharedNotSupported));
}

// [MQTT-3.3.4-6 @5.0] [MQTT-3.8.3-4 @5.0]
#[test]
fn what_the_standard_forbids_a_client_is_not_sent() {
    let mut peer = Peer::connected(Version::V5);
    let place = PropertyPlace::of(PacketType::Publish);
    for block in [[0x0B, 1].as_slice(), &[0x23, 0, 1]] {
        let properties = Properties::from_block(block, place).unwrap();
        let refused = peer.engine.publish(&message(b"", QoS::AtMostOnce).with_properties(properties));
        assert!(matches!(refused, Err(RequestError::Encode(_))), "{refused:?}");
    }
    let no_local = SubscribeFilter {
        filter: "$share/a/b".try_into().unwrap(),
        options: SubscribeOptions { no_local: true, ..SubscribeOptions::default() },
    };
    let refused = peer.engine.subscribe(&[no_local], Properties::EMPTY);
    assert!(matches!(refused, Err(RequestError::Encode(_))), "{refused:?}");
    peer.sends("");
    assert!(peer.engine.is_idle(), "what was refused leaves nothing behind");
}

// [MQTT-4.7.1-1 @3.1.1] [MQTT-4.7.0-1 @5.0]
#[test]
fn wildcards_are_for_filters_only() {
    for name in ["+", "#", "a/+", "a/#", "a+"] {
        assert!(TopicName::new(name).is_err(), "{name}");
    }
    for (version, publish) in [(Version::V3_1_1, "30 03 0001 23"), (Version::V5, "30 04 0001 2B 00")] {
        let mut peer = Peer::connected(version);
        assert!(matches!(peer.fails(publish), ProtocolError::Decode(_)));
    }
}

#[test]
fn a1_7_memory_that_is_full_is_busy_and_free_again() {
    let mut peer = Peer::connected(Version::V3_1_1);
    let large = [7; 150];
    let mut tickets = Vec::new();
    while let Ok(ticket) = peer.engine.publish(&message(&large, QoS::AtLeastOnce)) {
        tickets.push(ticket);
    }
    assert_eq!(tickets.len(), 3, "512 bytes hold three of 158");
    assert_eq!(peer.engine.publish(&message(&[0; 600], QoS::AtLeastOnce)), Err(RequestError::NoRoom));
    assert_eq!(peer.engine.publish(&message(&[0; 200], QoS::AtMostOnce)), Err(RequestError::NoRoom));
    let sent = peer.transmitted();
    assert_eq!(packets(&sent).len(), 3);
    for round in 0..50_u16 {
        let id = round + 1;
        peer.gets(&[0x40, 2, (id >> 8) as u8, id as u8]);
        assert_eq!(peer.outcomes().len(), 1);
        let ticket = peer.engine.publish(&message(&large, QoS::AtLeastOnce)).unwrap();
        assert_eq!(ticket.packet_id().unwrap().get(), round + 4);
        let sent = peer.transmitted();
        assert!(sent.ends_with(&large) && sent.len() == 158, "{sent:02X?}");
    }
}

// [MQTT-4.8.0-1 @3.1.1] [U5-4.13.1-1]
#[test]
fn an_acknowledgement_of_the_wrong_kind_ends_the_connection() {
    for version in BOTH {
        for (qos, wrong) in [
            (QoS::AtLeastOnce, "50 02 0001"),
            (QoS::AtLeastOnce, "70 02 0001"),
            (QoS::ExactlyOnce, "40 02 0001"),
            (QoS::ExactlyOnce, "70 02 0001"),
        ] {
            let mut peer = Peer::connected(version);
            peer.publish(b"", qos);
            peer.transmitted();
            assert_eq!(peer.fails(wrong), ProtocolError::Acknowledgement);
            peer.sends(if version == Version::V5 { "E0 01 82" } else { "" });
            assert!(peer.engine.wants_close());
        }
    }
}

#[test]
fn an_acknowledgement_of_nothing_does_nothing() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        peer.receives("40 02 0007 70 02 0007");
        peer.sends("");
        // Who has PUBREC for something that is not known here is released from it.
        peer.receives("50 02 0007");
        peer.sends(if version == Version::V5 { "62 03 0007 92" } else { "62 02 0007" });
        // What was not transmitted cannot be acknowledged.
        peer.publish(b"", QoS::AtLeastOnce);
        peer.receives("40 02 0001");
        assert_eq!(peer.outcomes(), []);
    }
}

#[test]
fn a_message_larger_than_the_transmit_memory_is_sent_from_where_it_lies() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        let large: Vec<u8> = (0..300_u32).map(|i| i as u8).collect();
        let ticket = peer.publish(&large, QoS::AtLeastOnce);
        let mut sent = Vec::new();
        // An acknowledgement that comes too early, and others that wait behind, in the middle of it.
        for step in 0..10 {
            let part = peer.engine.transmit();
            sent.extend_from_slice(&part[..20]);
            peer.engine.transmitted(peer.now, 20);
            if step == 5 {
                peer.receives("40 02 0001");
                peer.publish(b"behind", QoS::AtMostOnce);
            }
        }
        assert_eq!(peer.outcomes(), [(ticket, OK)]);
        // Its memory is not given away before the last byte of it is transmitted.
        assert_eq!(peer.engine.publish(&message(&[9; 250], QoS::AtLeastOnce)), Err(RequestError::Busy));
        sent.extend(peer.transmitted());
        let packets = packets(&sent);
        assert_eq!(packets.len(), 2);
        assert!(packets[0].ends_with(&large));
        assert!(packets[1].ends_with(b"behind"));
        peer.publish(&[9; 250], QoS::AtLeastOnce);
    }
}
