//! Messages whose payload the shell writes itself.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod scripted;

use scripted::*;

/// Transmits what the engine has and then payload, until all is written.
fn write_out(peer: &mut Peer, payload: &[u8]) -> Vec<u8> {
    let mut sent = peer.transmitted();
    let mut payload = payload;
    while peer.engine.payload_left() > 0 {
        let (part, rest) = payload.split_at(payload.len().min(7));
        sent.extend_from_slice(part);
        payload = rest;
        peer.engine.payload_written(peer.now, part.len());
        if peer.engine.payload_left() > 0 {
            assert!(peer.engine.transmit().is_empty(), "nothing comes in between");
        }
    }
    assert!(payload.is_empty());
    sent.extend(peer.transmitted());
    sent
}

#[test]
fn a_payload_of_any_size_goes_through_little_memory() {
    let payload: Vec<u8> = (0..5_000_u32).map(|i| i as u8).collect();
    for version in BOTH {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut peer = Peer::connected(version);
            let ticket = peer.engine.begin_publish(&message(b"", qos), 5_000).unwrap();
            // Only one at a time, and nothing overtakes it.
            assert_eq!(peer.engine.begin_publish(&message(b"", qos), 1), Err(RequestError::Busy));
            peer.publish(b"behind", QoS::AtMostOnce);
            peer.gets(if version == Version::V5 {
                &[0x32, 6, 0, 1, b't', 0, 9, 0]
            } else {
                &[0x32, 5, 0, 1, b't', 0, 9]
            });
            let sent = write_out(&mut peer, &payload);
            let packets = packets(&sent);
            assert_eq!(packets.len(), 3);
            assert!(packets[0].ends_with(&payload) && packets[0][0] == 0x30 | (qos as u8) << 1);
            assert!(packets[1].ends_with(b"behind"));
            assert_eq!(packets[2], [0x40, 2, 0, 9]);
            match qos {
                QoS::AtMostOnce => assert_eq!(peer.outcomes()[0], (ticket, Outcome::Written)),
                QoS::AtLeastOnce => {
                    peer.outcomes();
                    peer.receives("40 02 0001");
                    assert_eq!(peer.outcomes(), [(ticket, OK)]);
                }
                QoS::ExactlyOnce => {
                    peer.outcomes();
                    peer.receives("50 02 0001");
                    peer.sends("62 02 0001");
                    peer.receives("70 02 0001");
                    assert_eq!(peer.outcomes(), [(ticket, OK)]);
                }
            }
        }
    }
}

#[test]
fn a_payload_is_asked_for_again_when_the_session_is_resumed() {
    for version in BOTH {
        let mut peer = Peer::lasting(version);
        let payload = [7; 400];
        let ticket = peer.engine.begin_publish(&message(b"", QoS::AtLeastOnce), 400).unwrap();
        assert_eq!(peer.engine.payload_wanted(), None);
        peer.transmitted();
        peer.engine.payload_written(peer.now, 399);
        let behind = peer.publish(b"behind", QoS::AtLeastOnce);
        peer.sends("");
        peer.resume("");
        // Those behind it wait.
        peer.sends("");
        assert_eq!(peer.engine.payload_wanted(), Some((ticket, 400)));
        peer.engine.resume_payload().unwrap();
        assert_eq!(peer.engine.payload_wanted(), None);
        let sent = write_out(&mut peer, &payload);
        let packets = packets(&sent);
        assert_eq!(packets.iter().map(|packet| packet[0]).collect::<Vec<_>>(), [0x3A, 0x32]);
        assert!(packets[0].ends_with(&payload) && packets[1].ends_with(b"behind"));
        peer.receives("40 02 0001 40 02 0002");
        assert_eq!(peer.outcomes(), [(ticket, OK), (behind, OK)]);
    }
}

#[test]
fn a_payload_at_qos_0_is_lost_with_its_connection() {
    let mut peer = Peer::lasting(Version::V5);
    let ticket = peer.engine.begin_publish(&message(b"", QoS::AtMostOnce), 400).unwrap();
    peer.transmitted();
    peer.engine.payload_written(peer.now, 399);
    peer.resume("");
    assert_eq!(peer.engine.payload_left(), 0);
    assert_eq!(peer.engine.payload_wanted(), None);
    assert_eq!(peer.outcomes(), [(ticket, Outcome::Lost(Loss::Closed))]);
}

// [MQTT-3.2.2-15 @5.0]
#[test]
fn a_payload_above_the_maximum_is_not_begun() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&options(), "27 00000100");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let refused = peer.engine.begin_publish(&message(b"", qos), 250);
        assert_eq!(refused, Err(RequestError::TooLarge));
    }
    peer.sends("");
    assert!(peer.engine.is_idle());
    peer.engine.begin_publish(&message(b"", QoS::AtMostOnce), 249).unwrap();
}
