//! The engine against a scripted server: connect, every QoS both ways, subscribe, ping, disconnect.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod scripted;

use mqtt_client::*;
use scripted::Peer;

#[test]
fn it_runs() {
    let mut storage = Storage::<4, 512, 128>::new();
    for version in [Version::V3_1_1, Version::V5] {
        let mut peer = Peer::connected(&mut storage, version);
        let topic = TopicName::new("t").unwrap();
        // QoS 0
        let zero = peer.engine.publish(&Message::new(topic, b"0")).unwrap();
        peer.sends(&[0x30]);
        assert_eq!(peer.completions(), [(zero, Outcome::Written)]);
        // QoS 1
        let one = peer.engine.publish(&Message::new(topic, b"1").with_qos(QoS::AtLeastOnce)).unwrap();
        peer.sends(&[0x32]);
        assert_eq!(peer.completions(), []);
        peer.receives(&[0x40, 2, 0, 1]).unwrap();
        assert_eq!(peer.completions(), [(one, Outcome::Answered(ReasonCode::SUCCESS))]);
        // QoS 2
        let two = peer.engine.publish(&Message::new(topic, b"2").with_qos(QoS::ExactlyOnce)).unwrap();
        peer.sends(&[0x34]);
        peer.receives(&[0x50, 2, 0, 2]).unwrap();
        peer.sends(&[0x62]);
        assert_eq!(peer.completions(), []);
        peer.receives(&[0x70, 2, 0, 2]).unwrap();
        assert_eq!(peer.completions(), [(two, Outcome::Answered(ReasonCode::SUCCESS))]);
        peer.engine.disconnect(peer.now, ReasonCode::SUCCESS, Properties::EMPTY).unwrap();
        peer.sends(&[0xE0]);
        assert!(peer.engine.wants_close());
        peer.engine.handle_closed();
        assert!(peer.engine.is_idle());
    }
}
