//! CONNECT and CONNACK: what comes first, what is refused, what the server may say about itself.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use scripted::*;

fn connecting(version: Version, options: &ConnectOptions<'_>) -> Peer {
    let mut peer = Peer::new(memory(4), Settings::new(version));
    peer.engine.connect(peer.now, options).unwrap();
    peer
}

// [MQTT-3.1.0-1 @3.1.1] [MQTT-3.1.0-1 @5.0]
#[test]
fn connect_is_the_first_packet_and_the_only_one_before_connack() {
    for version in BOTH {
        let mut peer = Peer::new(memory(4), Settings::new(version));
        peer.publish(b"queued", QoS::AtLeastOnce);
        assert_eq!(peer.engine.publish(&message(b"", QoS::AtMostOnce)), Err(RequestError::NotConnected));
        assert!(peer.engine.transmit().is_empty());
        peer.engine.connect(peer.now, &options()).unwrap();
        assert_eq!(
            peer.engine.subscribe(&[filter("#", QoS::AtMostOnce)], Properties::EMPTY),
            Err(RequestError::NotConnected)
        );
        peer.sends_types(&[0x10]);
        peer.accept(false, "");
        peer.sends_types(&[0x32]);
    }
}

#[test]
fn a_second_connect_is_not_made() {
    let mut peer = connecting(Version::V5, &options());
    assert_eq!(peer.engine.connect(peer.now, &options()), Err(RequestError::AlreadyConnected));
    peer.sends_types(&[0x10]);
    peer.accept(false, "");
    assert_eq!(peer.engine.connect(peer.now, &options()), Err(RequestError::AlreadyConnected));
}

#[test]
fn connect_says_what_the_options_say() {
    let mut peer = connecting(
        Version::V3_1_1,
        &options().with_keep_alive(0x0102).with_credentials("u".try_into().unwrap(), b"p"),
    );
    peer.sends("10 1A 0004 4D515454 04 C2 0102 0008 7363726970746564 0001 75 0001 70");
    // Session Expiry Interval, Receive Maximum (four slots), Maximum Packet Size, Topic Alias Maximum.
    let all = ConnectOptions { maximum_packet_size: 256, topic_alias_maximum: 5, ..lasting() };
    let mut peer = connecting(Version::V5, &all);
    peer.sends(
        "10 25 0004 4D515454 05 00 003C 10 11 00000E10 21 0004 27 00000100 22 0005 0008 7363726970746564",
    );
}

// [MQTT-3.1.3-7 @3.1.1]
#[test]
fn an_empty_client_identifier_needs_a_clean_session() {
    let nobody = ConnectOptions::new(Utf8Str::new("").unwrap());
    let mut peer = Peer::new(memory(4), Settings::new(Version::V3_1_1));
    let refused = peer.engine.connect(peer.now, &nobody.with_session(1));
    assert!(matches!(refused, Err(RequestError::Encode(_))), "{refused:?}");
    assert!(peer.engine.is_disconnected());
    assert!(peer.engine.transmit().is_empty());
    peer.connect(&nobody, "");
}

// [MQTT-3.2.0-1 @3.1.1] [MQTT-3.2.0-1 @5.0]
#[test]
fn nothing_but_connack_may_come_first() {
    for first in ["D0 00", "30 03 0001 74", "40 02 0001", "90 03 0001 00"] {
        let mut peer = connecting(Version::V3_1_1, &options());
        assert!(matches!(peer.fails(first), ProtocolError::Unexpected(_)), "{first}");
    }
    // A server may say DISCONNECT only after an accepting CONNACK. [MQTT-3.14.0-1]
    for first in ["D0 00", "30 04 0001 74 00", "40 02 0001", "90 04 0001 00 00", "E0 00"] {
        let mut peer = connecting(Version::V5, &options());
        assert!(matches!(peer.fails(first), ProtocolError::Unexpected(_)), "{first}");
    }
}

// [MQTT-3.2.0-2]
#[test]
fn a_second_connack_ends_the_connection() {
    let mut peer = Peer::connected(Version::V5);
    let error = peer.fails("20 03 00 00 00");
    assert_eq!(error, ProtocolError::Unexpected(PacketType::ConnAck));
    assert_eq!(error.rule(Version::V5), "MQTT-3.2.0-2");
    peer.sends("E0 01 82");
    assert!(peer.engine.wants_close());
}

// [MQTT-4.13.2-1]
#[test]
fn a_refusal_ends_the_connection_and_is_told() {
    for (version, connack) in [(Version::V3_1_1, "20 02 00 05"), (Version::V5, "20 03 00 87 00")] {
        let mut peer = connecting(version, &options());
        peer.sends_types(&[0x10]);
        assert_eq!(peer.receives(connack), [Happened::Refused(ReasonCode::NOT_AUTHORIZED)]);
        assert!(peer.engine.wants_close());
        assert_eq!(peer.engine.next_timeout(), None);
        peer.close();
        assert!(peer.engine.is_disconnected());
    }
}

// [U311-3.2.0-1]
#[test]
fn a_server_that_does_not_answer_is_left() {
    for version in BOTH {
        let mut peer = connecting(version, &options());
        peer.sends_types(&[0x10]);
        assert_eq!(peer.engine.next_timeout(), Some(peer.now.after(Duration::from_secs(10))));
        peer.sleep(Duration::from_millis(9_999));
        assert_eq!(peer.engine.handle_timeout(peer.now), Ok(()));
        peer.sleep(Duration::from_millis(1));
        assert_eq!(peer.engine.handle_timeout(peer.now), Err(ProtocolError::ConnectTimeout));
        assert!(!peer.engine.is_connected());
    }
}

// [MQTT-3.1.2-4 @3.1.1] [MQTT-3.1.2-23 @5.0] [U5-3.1.2-8]
#[test]
fn a_session_that_was_resumed_goes_on() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        peer.publish(b"1", QoS::AtLeastOnce);
        peer.sends_types(&[0x32]);
        peer.resume("");
        peer.sends_types(&[0x3A]);
        assert_eq!(peer.outcomes(), []);
    }
}

// [MQTT-3.1.2-6 @3.1.1] [MQTT-3.1.2-4 @5.0] [U5-3.1.2-8]
#[test]
fn a_clean_session_ends_with_its_connection() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        let ticket = peer.publish(b"1", QoS::AtLeastOnce);
        peer.sends_types(&[0x32]);
        peer.close();
        assert_eq!(peer.outcomes(), [(ticket, Outcome::Lost(Loss::SessionLost))]);
        peer.connect(&options(), "");
        peer.sends("");
        assert!(peer.engine.is_idle());
    }
}

// [MQTT-3.1.2-4 @5.0]
#[test]
fn a_clean_start_discards_the_session_before() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        let ticket = peer.publish(b"1", QoS::ExactlyOnce);
        peer.sends_types(&[0x34]);
        peer.close();
        peer.connect(&options(), "");
        peer.sends("");
        assert_eq!(peer.outcomes(), [(ticket, Outcome::Lost(Loss::SessionLost))]);
    }
}

// [MQTT-3.2.2-5 @5.0]
#[test]
fn a_session_that_the_server_lost_is_dropped_here_too() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        let sent = peer.publish(b"1", QoS::AtLeastOnce);
        peer.sends_types(&[0x32]);
        let received =
            if version == Version::V5 { "34 07 0001 74 0009 00 78" } else { "34 06 0001 74 0009 78" };
        assert_eq!(peer.receives(received).len(), 1);
        peer.sends("50 02 0009");
        peer.close();
        // Never sent, so no part of the session: it goes out in the next one.
        let unsent = peer.publish(b"2", QoS::AtLeastOnce);
        peer.engine.connect(peer.now, &lasting()).unwrap();
        peer.sends_types(&[0x10]);
        peer.accept(false, "");
        assert_eq!(peer.outcomes(), [(sent, Outcome::Lost(Loss::SessionLost))]);
        peer.sends_types(&[0x32]);
        peer.receives("40 02 0002");
        assert_eq!(peer.outcomes(), [(unsent, OK)]);
        // The identifier of the received message is unknown again: what comes with it is new.
        assert_eq!(peer.receives(received).len(), 1);
    }
}

// [MQTT-3.2.2-4 @5.0]
#[test]
fn a_session_that_is_unknown_here_is_not_taken_over() {
    let mut peer = connecting(Version::V5, &lasting());
    peer.sends_types(&[0x10]);
    let error = peer.fails("20 03 01 00 00");
    assert_eq!(error, ProtocolError::UnknownSession);
    assert_eq!(error.rule(Version::V5), "MQTT-3.2.2-4");
    peer.sends("E0 01 82");
    // The next connection gets rid of it.
    peer.close();
    peer.engine.connect(peer.now, &lasting()).unwrap();
    assert_eq!(peer.transmitted()[9], 0x02, "a clean start");
    peer.accept(false, "");
    // Unless the application says that it knows.
    let settings = Settings { assume_session: true, ..Settings::new(Version::V5) };
    let mut peer = Peer::new(memory(4), settings);
    peer.engine.connect(peer.now, &lasting()).unwrap();
    peer.accept(true, "");
    // 3.1.1 has no such rule.
    let mut peer = connecting(Version::V3_1_1, &lasting());
    peer.accept(true, "");
    // A clean start and a session contradict each other in every version.
    let mut peer = connecting(Version::V3_1_1, &options());
    assert_eq!(peer.fails("20 02 01 00"), ProtocolError::UnknownSession);
}

// [MQTT-3.1.2-21 @5.0] [MQTT-3.2.2-21 @5.0]
#[test]
fn the_keep_alive_of_the_server_counts() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&options(), "13 0008");
    assert_eq!(peer.engine.limits().keep_alive, 8);
    assert_eq!(peer.engine.next_timeout(), Some(peer.now.after(Duration::from_secs(7))));
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&options(), "13 0000");
    assert_eq!(peer.engine.next_timeout(), None);
}

// [U5-3.2.2-8]
#[test]
fn the_session_expiry_interval_of_the_server_counts() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&lasting(), "11 00000000");
    assert_eq!(peer.engine.limits().session_expiry_interval, 0);
    let ticket = peer.publish(b"1", QoS::AtLeastOnce);
    peer.sends_types(&[0x32]);
    peer.close();
    assert_eq!(peer.outcomes(), [(ticket, Outcome::Lost(Loss::SessionLost))]);
}

#[test]
fn the_client_identifier_that_the_server_gave_is_told() {
    let mut peer = connecting(Version::V5, &ConnectOptions::new(Utf8Str::new("").unwrap()));
    peer.framer.spare()[..10].copy_from_slice(&[0x20, 8, 0, 0, 5, 0x12, 0, 2, b'm', b'e']);
    peer.framer.filled(10);
    let event = peer.engine.handle(peer.now, peer.framer.next().unwrap(), &mut peer.aliases).unwrap();
    let Some(Event::Connected(connected)) = event else { panic!("{event:?}") };
    assert_eq!(connected.properties.assigned_client_identifier().unwrap().as_str(), "me");
}

// [MQTT-3.1.3-2 @3.1.1] [MQTT-3.1.3-2 @5.0]
#[test]
fn a_session_belongs_to_the_client_identifier_that_connect_repeats() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        for _ in 0..2 {
            peer.close();
            peer.engine.connect(peer.now, &lasting()).unwrap();
            let connect = peer.transmitted();
            assert!(connect.ends_with(b"\0\x08scripted"), "{connect:02X?}");
            peer.accept(true, "");
        }
    }
}

// [MQTT-4.1.0-1 @3.1.1] [MQTT-4.1.0-2 @3.1.1] [MQTT-4.1.0-1 @5.0]
#[test]
fn the_session_is_kept_while_the_connection_is_open() {
    for version in BOTH {
        let mut peer = Peer::connected(version);
        let ticket = peer.publish(b"1", QoS::ExactlyOnce);
        peer.sends_types(&[0x34]);
        for _ in 0..100 {
            peer.sleep(Duration::from_secs(60));
            peer.engine.handle_timeout(peer.now).unwrap();
            peer.sends_types(&[0xC0]);
            peer.receives("D0 00");
        }
        peer.receives("50 02 0001");
        peer.sends("62 02 0001");
        peer.receives("70 02 0001");
        assert_eq!(peer.outcomes(), [(ticket, OK)]);
    }
}

#[test]
fn in_3_1_a_session_that_was_asked_for_is_believed() {
    let mut peer = Peer::lasting(Version::V3_1);
    peer.publish(b"1", QoS::AtLeastOnce);
    peer.sends_types(&[0x32]);
    peer.close();
    peer.engine.connect(peer.now, &lasting()).unwrap();
    peer.sends_types(&[0x10]);
    peer.accept(false, "");
    peer.sends_types(&[0x3A]);
}
