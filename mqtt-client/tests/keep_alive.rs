//! Keep alive: when PINGREQ is sent, and when a silent server is given up.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use scripted::*;

const fn seconds(n: u32) -> Duration {
    Duration::from_secs(n)
}

/// Sleeps until the engine's deadline; returns how long that was in milliseconds.
fn sleep_until_due(peer: &mut Peer) -> u32 {
    let due = peer.engine.next_timeout().unwrap();
    let slept = due.since(peer.now);
    peer.now = due;
    slept.as_millis()
}

// [MQTT-3.1.2-23 @3.1.1] [MQTT-3.1.2-20 @5.0]
#[test]
fn pingreq_is_sent_before_the_keep_alive_is_over() {
    for version in BOTH {
        let mut peer = Peer::new(memory(4), Settings::new(version));
        peer.connect(&options().with_keep_alive(8), "");
        for _ in 0..100 {
            assert_eq!(sleep_until_due(&mut peer), 7_000);
            peer.engine.handle_timeout(peer.now).unwrap();
            peer.sends("C0 00");
            peer.receives("D0 00");
        }
    }
}

#[test]
fn other_packets_put_pingreq_off() {
    for version in BOTH {
        let mut peer = Peer::new(memory(4), Settings::new(version));
        peer.connect(&options().with_keep_alive(8), "");
        for id in 1..=50 {
            peer.sleep(seconds(6));
            assert_eq!(peer.engine.handle_timeout(peer.now), Ok(()));
            peer.publish(b"", QoS::AtLeastOnce);
            peer.sends_types(&[0x32]);
            peer.gets(&[0x40, 2, 0, id]);
            peer.outcomes();
        }
    }
}

// [U311-3.1.2-2]
#[test]
fn a1_10_a_half_open_connection_is_noticed_though_data_flows_out() {
    for version in BOTH {
        let mut peer = Peer::new(memory(4), Settings::new(version));
        peer.connect(&options().with_keep_alive(8), "");
        let start = peer.now;
        let error = loop {
            peer.sleep(seconds(1));
            if let Err(error) = peer.engine.handle_timeout(peer.now) {
                break error;
            }
            peer.publish(b"lost", QoS::AtMostOnce);
            peer.transmitted();
            peer.outcomes();
        };
        assert_eq!(error, ProtocolError::KeepAlive);
        assert_eq!(peer.now.since(start), seconds(7 + 10));
    }
}

#[test]
fn whatever_is_heard_keeps_the_connection_alive() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V3_1_1));
    peer.connect(&options().with_keep_alive(8), "");
    peer.sleep(seconds(7));
    peer.engine.handle_timeout(peer.now).unwrap();
    peer.sends("C0 00");
    // A long message trickles in; PINGRESP is behind it.
    for _ in 0..20 {
        peer.sleep(seconds(9));
        peer.engine.handle_timeout(peer.now).unwrap();
        peer.engine.heard(peer.now);
    }
    peer.receives("D0 00");
    // Nothing was sent for long: PINGREQ is due at once.
    assert!(peer.now.is_at_or_after(peer.engine.next_timeout().unwrap()));
}

#[test]
fn progress_in_front_of_pingreq_keeps_the_connection_alive() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V3_1_1));
    peer.connect(&options().with_keep_alive(8), "");
    // A long message trickles out; PINGREQ is behind it.
    peer.publish(&[0; 400], QoS::AtLeastOnce);
    for _ in 0..40 {
        peer.sleep(seconds(6));
        peer.engine.handle_timeout(peer.now).unwrap();
        peer.engine.transmitted(peer.now, 10);
    }
    peer.transmitted();
    peer.sleep(seconds(10));
    assert_eq!(peer.engine.handle_timeout(peer.now), Err(ProtocolError::KeepAlive));
}

#[test]
fn a_server_that_takes_nothing_is_given_up() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V3_1_1));
    peer.connect(&options().with_keep_alive(8), "");
    // The transmit memory is full to the last byte, so that PINGREQ finds no room.
    while peer.engine.publish(&message(b"", QoS::AtMostOnce)).is_ok() {}
    peer.sleep(seconds(7));
    peer.engine.handle_timeout(peer.now).unwrap();
    peer.sleep(seconds(10));
    assert_eq!(peer.engine.handle_timeout(peer.now), Err(ProtocolError::KeepAlive));
}

#[test]
fn without_keep_alive_nothing_is_supervised() {
    for version in BOTH {
        let mut peer = Peer::new(memory(4), Settings::new(version));
        peer.connect(&options().with_keep_alive(0), "");
        assert_eq!(peer.engine.next_timeout(), None);
        peer.sleep(seconds(100_000));
        peer.engine.handle_timeout(peer.now).unwrap();
        peer.sends("");
    }
}

#[test]
fn the_longest_keep_alive_works() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V3_1_1));
    peer.connect(&options().with_keep_alive(u16::MAX), "");
    assert_eq!(sleep_until_due(&mut peer), 65_535 * 875);
    peer.engine.handle_timeout(peer.now).unwrap();
    peer.sends("C0 00");
}

#[test]
fn a3_30_instants_are_compared_around_the_clock() {
    let early = Instant::from_millis(u32::MAX - 5);
    let late = early.after(Duration::from_millis(10));
    assert_eq!(late.as_millis(), 4);
    assert!(late.is_after(early) && !early.is_after(late));
    assert!(late.is_at_or_after(late) && !late.is_after(late));
    assert_eq!(late.since(early), Duration::from_millis(10));
    assert_eq!(early.since(late), Duration::ZERO);
    assert_eq!(early.earlier(late), early);
    assert_eq!(late.earlier(early), early);
    assert_eq!(Duration::from_secs(u32::MAX), Duration::MAX);
}
