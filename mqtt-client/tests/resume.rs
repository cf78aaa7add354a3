//! What a resumed session sends again: what, in which order, at which pace, and what it does not.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod scripted;

use scripted::*;

// [MQTT-4.4.0-1 @3.1.1] [MQTT-4.4.0-1 @5.0] [MQTT-3.3.1-1 @3.1.1] [MQTT-3.3.1-1 @5.0] [MQTT-4.6.0-1 @3.1.1]
// [MQTT-4.6.0-1 @5.0] [MQTT-2.3.1-3 @3.1.1]
#[test]
fn a3_22_unacknowledged_messages_are_sent_again_in_their_order_with_dup() {
    for (version, again) in [
        (Version::V3_1_1, "3A 06 0001 74 0001 61  3C 06 0001 74 0002 62  3A 06 0001 74 0004 64"),
        (Version::V5, "3A 07 0001 74 0001 00 61  3C 07 0001 74 0002 00 62  3A 07 0001 74 0004 00 64"),
    ] {
        let mut peer = Peer::lasting(version);
        for (payload, qos) in [
            (b"a", QoS::AtLeastOnce),
            (b"b", QoS::ExactlyOnce),
            (b"c", QoS::AtLeastOnce),
            (b"d", QoS::AtLeastOnce),
        ] {
            peer.publish(payload, qos);
        }
        peer.transmitted();
        peer.receives("40 02 0003");
        peer.outcomes();
        for _ in 0..3 {
            peer.resume("");
            peer.sends(again);
        }
    }
}

// [MQTT-4.3.3-1 @3.1.1] [MQTT-4.3.3-6 @5.0] [MQTT-4.6.0-4 @3.1.1] [MQTT-4.6.0-4 @5.0] [MQTT-4.4.0-1 @5.0]
#[test]
fn after_pubrec_it_is_pubrel_that_is_sent_again() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        let one = peer.publish(b"1", QoS::ExactlyOnce);
        let two = peer.publish(b"2", QoS::ExactlyOnce);
        peer.transmitted();
        peer.receives("50 02 0001 50 02 0002");
        peer.sends("62 02 0001 62 02 0002");
        peer.resume("");
        peer.sends("62 02 0001 62 02 0002");
        peer.receives("70 02 0002 70 02 0001");
        assert_eq!(peer.outcomes(), [(one, OK), (two, OK)]);
        peer.resume("");
        peer.sends("");
    }
}

// [MQTT-4.6.0-4 @3.1.1] [MQTT-4.6.0-4 @5.0]
#[test]
fn pubrels_leave_in_the_order_of_the_pubrecs() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        for payload in [b"1", b"2", b"3"] {
            peer.publish(payload, QoS::ExactlyOnce);
        }
        peer.transmitted();
        peer.receives("50 02 0003 50 02 0001 50 02 0002");
        peer.sends("62 02 0003 62 02 0001 62 02 0002");
    }
}

// [U311-4.4.0-1] [MQTT-4.4.0-1 @5.0]
#[test]
fn nothing_is_sent_again_while_the_connection_is_open() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        peer.publish(b"1", QoS::AtLeastOnce);
        peer.publish(b"2", QoS::ExactlyOnce);
        peer.transmitted();
        peer.receives("50 02 0002");
        peer.sends("62 02 0002");
        for _ in 0..1000 {
            peer.sleep(Duration::from_secs(53));
            peer.engine.handle_timeout(peer.now).unwrap();
            peer.sends("C0 00");
            peer.receives("D0 00");
        }
    }
}

#[test]
fn what_never_left_is_sent_without_dup() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        peer.publish(b"1", QoS::AtLeastOnce);
        peer.publish(b"2", QoS::AtLeastOnce);
        // All of the first, and not a byte of the second.
        let first = packets(peer.engine.transmit())[0].len();
        peer.engine.transmitted(peer.now, first);
        peer.resume("");
        peer.sends_types(&[0x3A, 0x32]);
        // One byte is enough to be a repeat.
        peer.publish(b"3", QoS::AtLeastOnce);
        peer.engine.transmitted(peer.now, 1);
        peer.resume("");
        peer.sends_types(&[0x3A, 0x3A, 0x3A]);
    }
}

#[test]
fn a_replay_waits_for_room_and_for_the_quota() {
    let mut peer =
        Peer::new(Memory { messages: vec![0; 2000].leak(), ..memory(8) }, Settings::new(Version::V5));
    peer.connect(&lasting(), "");
    for at in 0..8 {
        peer.publish(&[at; 100], QoS::AtLeastOnce);
    }
    peer.transmitted();
    peer.resume("21 0003");
    // One of 108 bytes at a time fits into 160.
    assert_eq!(peer.engine.transmit().len(), 108);
    let sent = peer.transmitted();
    assert_eq!(packets(&sent).len(), 3);
    for at in 0..8_u8 {
        peer.gets(&[0x40, 2, 0, at + 1]);
        let sent = peer.transmitted();
        let expected = if at < 5 { vec![at + 3; 100] } else { Vec::new() };
        assert!(sent.ends_with(&expected), "{at}: {sent:02X?}");
    }
    assert_eq!(peer.outcomes().len(), 8);
}

// [MQTT-3.2.2-11 @5.0] [MQTT-3.2.2-14 @5.0] [MQTT-3.2.2-15 @5.0]
#[test]
fn what_the_server_does_not_take_any_more_ends_with_the_reason() {
    let mut peer = Peer::lasting(Version::V5);
    let large = peer.publish(&[0; 30], QoS::AtLeastOnce);
    let retained = peer.engine.publish(&message(b"", QoS::AtLeastOnce).with_retain(true)).unwrap();
    let twice = peer.publish(b"", QoS::ExactlyOnce);
    let fine = peer.publish(b"", QoS::AtLeastOnce);
    peer.transmitted();
    peer.resume("24 01 25 00 27 00000014");
    peer.sends_types(&[0x3A]);
    let lost = |ticket, loss| (ticket, Outcome::Lost(loss));
    assert_eq!(
        peer.outcomes(),
        [
            lost(large, Loss::TooLarge),
            lost(retained, Loss::RetainNotSupported),
            lost(twice, Loss::QosNotSupported)
        ]
    );
    peer.receives("40 02 0004");
    assert_eq!(peer.outcomes(), [(fine, OK)]);
}

// [MQTT-4.3.3-7 @5.0]
#[test]
fn a_message_that_was_sent_does_not_expire() {
    let mut peer = Peer::lasting(Version::V5);
    let place = PropertyPlace::of(PacketType::Publish);
    let properties = Properties::from_block(&[2, 0, 0, 0, 1], place).unwrap();
    peer.engine.publish(&message(b"", QoS::ExactlyOnce).with_properties(properties)).unwrap();
    peer.transmitted();
    peer.sleep(Duration::from_secs(3600));
    peer.resume("");
    peer.sends_types(&[0x3C]);
    peer.receives("50 02 0001");
    peer.sends("62 02 0001");
}

#[test]
fn a3_27_messages_are_taken_without_a_connection_up_to_a_limit_and_again_when_there_is_room() {
    let busy = Err(RequestError::Busy);
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        peer.close();
        let mut taken = vec![peer.publish(b"1", QoS::AtLeastOnce), peer.publish(b"2", QoS::ExactlyOnce)];
        taken.extend([b"3", b"4"].map(|payload| peer.publish(payload, QoS::AtLeastOnce)));
        // At once, however often, and nothing of what was taken suffers.
        for _ in 0..100 {
            assert_eq!(peer.engine.publish(&message(b"5", QoS::AtLeastOnce)), busy);
            peer.sleep(Duration::from_secs(1));
        }
        assert_eq!(peer.outcomes(), []);
        peer.engine.connect(peer.now, &lasting()).unwrap();
        peer.sends_types(&[0x10]);
        peer.accept(true, "");
        peer.sends_types(&[0x32, 0x34, 0x32, 0x32]);
        assert_eq!(peer.engine.publish(&message(b"5", QoS::AtLeastOnce)), busy);
        peer.receives("40 02 0001");
        assert_eq!(peer.outcomes(), [(taken.remove(0), OK)]);
        taken.push(peer.publish(b"5", QoS::AtLeastOnce));
        peer.sends_types(&[0x32]);
        assert_eq!(peer.engine.publish(&message(b"6", QoS::AtLeastOnce)), busy);
        peer.receives("50 02 0002 70 02 0002 40 02 0003 40 02 0004 40 02 0005");
        assert_eq!(peer.outcomes(), taken.into_iter().map(|ticket| (ticket, OK)).collect::<Vec<_>>());
    }
}

#[test]
fn requests_that_are_not_part_of_the_session_end_with_the_connection() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        let subscribe = peer.engine.subscribe(&[filter("a", QoS::AtMostOnce)], Properties::EMPTY).unwrap();
        let unsubscribe = peer.engine.unsubscribe(&["a".try_into().unwrap()], Properties::EMPTY).unwrap();
        peer.transmitted();
        peer.close();
        let lost = Outcome::Lost(Loss::Closed);
        assert_eq!(peer.outcomes(), [(subscribe, lost), (unsubscribe, lost)]);
        assert_eq!(peer.outcomes(), []);
        assert!(peer.engine.is_idle());
    }
}

#[test]
fn a1_5_wanted_subscriptions_are_asked_for_again() {
    let mut wanted = Subscriptions::new(vec![0; 64].leak());
    wanted.remember(&filter("plain", QoS::AtLeastOnce), 0).unwrap();
    wanted.remember(&filter("forgotten", QoS::AtLeastOnce), 0).unwrap();
    wanted.remember(&filter("numbered", QoS::ExactlyOnce), 300).unwrap();
    wanted.remember(&filter("plain", QoS::AtMostOnce), 0).unwrap();
    wanted.forget("forgotten".try_into().unwrap());
    assert_eq!(wanted.remember(&filter(&"x".repeat(40), QoS::AtMostOnce), 0), Err(RequestError::NoRoom));
    let mut peer = Peer::connected(Version::V5);
    assert_eq!(wanted.resubscribe(&mut peer.engine), Ok(true));
    peer.sends("82 11 0001 03 0BAC02 0008 6E756D6265726564 02  82 0B 0002 00 0005 706C61696E 00");
    // With the next connection again, as much at a time as there is memory for.
    peer.close();
    peer.outcomes();
    let mut peer = Peer::new(memory(1), Settings::new(Version::V5));
    peer.connect(&options(), "");
    wanted.restart();
    assert_eq!(wanted.resubscribe(&mut peer.engine), Ok(false));
    peer.sends_types(&[0x82]);
    peer.receives("90 04 0001 00 02");
    peer.outcomes();
    assert_eq!(wanted.resubscribe(&mut peer.engine), Ok(true));
    peer.sends_types(&[0x82]);
}
