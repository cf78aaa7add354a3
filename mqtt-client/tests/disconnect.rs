//! The end of a connection, from either side.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use scripted::*;

fn leave(peer: &mut Peer, code: ReasonCode, block: &[u8]) -> Result<(), RequestError> {
    let place = PropertyPlace::of(PacketType::Disconnect);
    let properties = Properties::from_block(block, place).unwrap();
    peer.engine.disconnect(peer.now, code, properties)
}

// [MQTT-3.14.4-1 @3.1.1] [MQTT-3.14.4-2 @3.1.1] [MQTT-3.14.4-1 @5.0] [MQTT-3.14.4-2 @5.0]
#[test]
fn after_disconnect_nothing_is_sent_and_the_transport_is_closed() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        peer.publish(b"before", QoS::AtMostOnce);
        leave(&mut peer, ReasonCode::SUCCESS, &[]).unwrap();
        assert!(!peer.engine.wants_close(), "not before it is written");
        assert_eq!(leave(&mut peer, ReasonCode::SUCCESS, &[]), Err(RequestError::NotConnected));
        assert!(peer.engine.publish(&message(b"after", QoS::AtMostOnce)).is_err());
        peer.publish(b"next time", QoS::AtLeastOnce);
        // What still comes is of no interest, and not answered.
        let late = if version == Version::V5 { "32 06 0001 74 0001 00" } else { "32 05 0001 74 0001" };
        assert_eq!(peer.receives(late), []);
        peer.sends_types(&[0x30, 0xE0]);
        assert!(peer.engine.wants_close());
        peer.sends("");
        peer.close();
        assert!(peer.engine.is_disconnected());
        assert_eq!(peer.engine.next_timeout(), None);
    }
}

#[test]
fn a_disconnect_that_nobody_takes_is_given_up() {
    let mut peer = Peer::connected(Version::V3_1_1);
    leave(&mut peer, ReasonCode::SUCCESS, &[]).unwrap();
    assert_eq!(peer.engine.next_timeout(), Some(peer.now.after(Duration::from_secs(10))));
    peer.sleep(Duration::from_secs(10));
    peer.engine.handle_timeout(peer.now).unwrap();
    assert!(peer.engine.wants_close());
    peer.sends("");
}

#[test]
fn a_5_0_disconnect_says_why() {
    for (code, block, packet) in [
        (0x00, &[][..], "E0 00"),
        (0x04, &[], "E0 01 04"),
        (0x00, &[0x11, 0, 0, 0, 9], "E0 07 00 05 11 00000009"),
        (0x98, &[0x1F, 0, 1, b'x'], "E0 06 98 04 1F 0001 78"),
    ] {
        let mut peer = Peer::lasting(Version::V5);
        leave(&mut peer, ReasonCode(code), block).unwrap();
        peer.sends(packet);
    }
    let mut peer = Peer::lasting(Version::V3_1_1);
    leave(&mut peer, ReasonCode::DISCONNECT_WITH_WILL_MESSAGE, &[]).unwrap();
    peer.sends("E0 00");
}

// [MQTT-3.14.2-1 @5.0] [MQTT-3.14.2-3 @5.0] [MQTT-3.14.2-4 @5.0]
#[test]
fn what_a_client_may_not_say_is_refused() {
    let mut peer = Peer::connected(Version::V5);
    assert_eq!(leave(&mut peer, ReasonCode::SUCCESS, &[0x11, 0, 0, 0, 9]), Err(RequestError::SessionExpiry));
    for (code, block) in [(0x8B, &[][..]), (0x9C, &[]), (0x00, &[0x1C, 0, 1, b's'])] {
        let refused = leave(&mut peer, ReasonCode(code), block);
        assert!(matches!(refused, Err(RequestError::Encode(_))), "{refused:?}");
    }
    assert!(peer.engine.is_connected());
    // Words that make it larger than the server takes are not sent.
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&options(), "27 00000009");
    for block in [&[0x1F, 0, 3, b'w', b'h', b'y'][..], &[0x26, 0, 1, b'a', 0, 1, b'b']] {
        assert_eq!(leave(&mut peer, ReasonCode::SUCCESS, block), Err(RequestError::TooLarge));
    }
    leave(&mut peer, ReasonCode::SUCCESS, &[]).unwrap();
    peer.sends("E0 00");
}

// [MQTT-3.15.2-2 @5.0] [MQTT-3.15.2-3 @5.0]
#[test]
fn words_that_make_auth_larger_than_the_server_takes_are_not_sent() {
    for words in [&[0x1F, 0, 3, b'w', b'h', b'y'][..], &[0x26, 0, 1, b'a', 0, 1, b'b']] {
        let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
        let method = [0x15, 0, 1, b'm'];
        let place = PropertyPlace::of(PacketType::Connect);
        let options = options().with_properties(Properties::from_block(&method, place).unwrap());
        peer.connect(&options, "27 0000000A 15 0001 6D");
        let block = [&method, words].concat();
        let properties = Properties::from_block(&block, PropertyPlace::of(PacketType::Auth)).unwrap();
        let refused = peer.engine.auth(peer.now, ReasonCode::RE_AUTHENTICATE, properties);
        assert_eq!(refused, Err(RequestError::TooLarge));
    }
}

// [MQTT-3.4.2-2 @5.0] [MQTT-3.4.2-3 @5.0] [MQTT-3.5.2-2 @5.0] [MQTT-3.5.2-3 @5.0] [MQTT-3.6.2-2 @5.0] [MQTT-3.6.2-3 @5.0]
// [MQTT-3.7.2-2 @5.0] [MQTT-3.7.2-3 @5.0]
#[test]
fn acknowledgements_have_no_words_that_could_be_too_large() {
    let settings = Settings { manual_acknowledgement: true, ..Settings::new(Version::V5) };
    let mut peer = Peer::new(memory(4), settings);
    peer.connect(&options(), "27 00000005");
    for (packet, answer) in
        [("32 06 0001 74 0001 00", "40 03 0001 83"), ("34 06 0001 74 0002 00", "50 03 0002 83")]
    {
        let happened = peer.receives(packet);
        let [Happened::Message(.., Some(receipt))] = happened[..] else { panic!("{happened:?}") };
        peer.engine.accept(receipt, ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR).unwrap();
        peer.sends(answer);
    }
    peer.receives("62 02 0003");
    peer.sends("70 03 0003 92");
    peer.receives("50 02 0004");
    peer.sends("62 03 0004 92");
}

// [MQTT-4.13.2-1 @5.0] [U5-4.11.0-1]
#[test]
fn a_server_that_leaves_may_name_another_one() {
    let mut peer = Peer::lasting(Version::V5);
    let zero = peer.publish(b"", QoS::AtMostOnce);
    let happened = peer.receives("E0 06 9C 04 1C 0001 73");
    let another = Some("s".to_owned());
    assert_eq!(happened, [Happened::Disconnected(ReasonCode::USE_ANOTHER_SERVER, another)]);
    assert!(peer.engine.wants_close());
    peer.sends("");
    peer.close();
    assert_eq!(peer.outcomes(), [(zero, Outcome::Lost(Loss::Closed))]);
    assert!(!is_worth_retrying(ReasonCode::USE_ANOTHER_SERVER));
    assert!(!is_worth_retrying(ReasonCode::SERVER_MOVED));
    assert!(is_worth_retrying(ReasonCode::SERVER_BUSY));
    // It may as well be ignored.
    peer.connect(&lasting(), "");
}

#[test]
fn a_session_can_be_ended_with_its_connection() {
    let mut peer = Peer::lasting(Version::V5);
    let ticket = peer.publish(b"", QoS::AtLeastOnce);
    peer.transmitted();
    leave(&mut peer, ReasonCode::SUCCESS, &[0x11, 0, 0, 0, 0]).unwrap();
    peer.transmitted();
    peer.close();
    assert_eq!(peer.outcomes(), [(ticket, Outcome::Lost(Loss::SessionLost))]);
}

#[test]
fn a1_6_attempts_back_off_with_full_jitter() {
    let mut backoff = Backoff::default();
    let most: Vec<u32> = (0..9).map(|_| backoff.next(u32::MAX).as_millis()).collect();
    assert_eq!(most, [999, 1999, 3999, 7999, 15_999, 31_999, 63_999, 119_999, 119_999]);
    assert_eq!(backoff.next(0), Duration::ZERO);
    backoff.reset();
    assert_eq!(backoff.next(u32::MAX / 4).as_millis(), 249);
}
