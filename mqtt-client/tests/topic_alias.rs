//! Topic aliases in both directions.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use mqtt_client::mqtt_packet;
use scripted::*;

fn offering(maximum: u16) -> Peer {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&ConnectOptions { topic_alias_maximum: maximum, ..lasting() }, "");
    peer
}

fn delivered(topic: &str) -> [Happened; 1] {
    [Happened::Message(topic.to_owned(), b"!".to_vec(), QoS::AtMostOnce, None)]
}

// [MQTT-3.3.2-10 @5.0] [U5-3.3.2-3]
#[test]
fn every_alias_up_to_the_maximum_is_understood() {
    let mut peer = offering(5);
    for alias in 1..=5_u8 {
        assert_eq!(peer.receives(&format!("30 08 0001 6{alias} 03 23 000{alias} 21")).len(), 1);
    }
    for alias in 1..=5_u8 {
        let topic = char::from(0x60 + alias).to_string();
        assert_eq!(peer.receives(&format!("30 07 0000 03 23 000{alias} 21")), delivered(&topic));
    }
    // Another topic under the same alias.
    assert_eq!(peer.receives("30 08 0001 7A 03 23 0003 21"), delivered("z"));
    assert_eq!(peer.receives("30 07 0000 03 23 0003 21"), delivered("z"));
    assert_eq!(peer.receives("30 07 0000 03 23 0004 21"), delivered("d"));
}

// [MQTT-3.3.2-11 @5.0] [MQTT-3.3.2-8 @5.0]
#[test]
fn an_alias_that_was_not_offered_ends_the_connection() {
    for (maximum, alias) in [(5, "0006"), (0, "0001"), (5, "0000")] {
        let mut peer = offering(maximum);
        peer.fails(&format!("30 08 0001 61 03 23 {alias} 21"));
        peer.sends("E0 01 94");
    }
    // So does a topic that is longer than the memory for it: 160 / 5 - 2.
    let mut peer = offering(5);
    let long = "61".repeat(31);
    assert_eq!(peer.fails(&format!("30 26 001F {long} 03 23 0001 21")), ProtocolError::TopicAlias);
}

// [U5-3.3.2-2]
#[test]
fn an_alias_that_means_nothing_ends_the_connection() {
    let mut peer = offering(5);
    let error = peer.fails("30 07 0000 03 23 0001 21");
    assert_eq!(error, ProtocolError::UnknownTopicAlias);
    peer.sends("E0 01 82");
}

// [MQTT-3.3.2-7 @5.0]
#[test]
fn aliases_are_forgotten_with_the_connection() {
    let mut peer = offering(5);
    peer.receives("30 08 0001 61 03 23 0001 21");
    peer.close();
    peer.connect(&ConnectOptions { topic_alias_maximum: 5, ..lasting() }, "");
    assert_eq!(peer.fails("30 07 0000 03 23 0001 21"), ProtocolError::UnknownTopicAlias);
    // Towards the server, too.
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&lasting(), "22 000A");
    peer.publish(b"!", QoS::AtMostOnce);
    peer.sends("30 08 0001 74 03 23 0001 21");
    peer.publish(b"!", QoS::AtMostOnce);
    peer.sends("30 07 0000 03 23 0001 21");
    peer.resume("22 000A");
    peer.publish(b"!", QoS::AtMostOnce);
    peer.sends("30 08 0001 74 03 23 0001 21");
}

// [MQTT-3.2.2-17 @5.0] [MQTT-3.2.2-18 @5.0] [MQTT-3.3.2-9 @5.0]
#[test]
fn no_alias_is_used_that_the_server_did_not_offer() {
    for properties in ["", "22 0000"] {
        let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
        peer.connect(&lasting(), properties);
        for _ in 0..2 {
            peer.publish(b"!", QoS::AtMostOnce);
            peer.sends("30 05 0001 74 00 21");
        }
    }
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&lasting(), "22 0001");
    peer.publish(b"!", QoS::AtMostOnce);
    peer.sends("30 08 0001 74 03 23 0001 21");
    for _ in 0..2 {
        peer.engine.publish(&Message::new(topic("u"), b"!")).unwrap();
        peer.sends("30 05 0001 75 00 21");
    }
}

#[test]
fn a_message_that_is_sent_again_has_its_whole_topic() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&lasting(), "22 000A");
    peer.publish(b"1", QoS::AtLeastOnce);
    peer.publish(b"2", QoS::ExactlyOnce);
    peer.sends("32 0A 0001 74 0001 03 23 0001 31  34 09 0000 0002 03 23 0001 32");
    // A server that takes fewer aliases, and one that takes none.
    peer.resume("22 0001");
    peer.sends("3A 0A 0001 74 0001 03 23 0001 31  3C 09 0000 0002 03 23 0001 32");
    peer.resume("");
    peer.sends("3A 07 0001 74 0001 00 31  3C 07 0001 74 0002 00 32");
}

#[test]
fn a_large_message_can_have_an_alias() {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.connect(&lasting(), "22 000A");
    let large = [7; 300];
    for (front, ack) in [("32 B502 0001 74 0001 03 23 0001", 1), ("32 B402 0000 0002 03 23 0001", 2)] {
        peer.publish(&large, QoS::AtLeastOnce);
        let sent = peer.transmitted();
        assert_eq!(sent, [hex(front), large.to_vec()].concat());
        peer.gets(&[0x40, 2, 0, ack]);
        peer.outcomes();
    }
}

#[test]
fn lengths_grow_with_the_alias_as_they_must() {
    let place = PropertyPlace::of(PacketType::Publish);
    for value_len in (0..20).chain(115..130) {
        for payload_len in (0..10).chain([100, 115, 120, 125, 200]) {
            let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
            peer.connect(&lasting(), "22 000A");
            let block = [&[0x26, 0, 1, b'n', 0, value_len][..], &vec![b'v'; value_len.into()]].concat();
            let properties = Properties::from_block(&block, place).unwrap();
            let payload = vec![9; payload_len];
            for id in 1..=2 {
                let message = message(&payload, QoS::AtLeastOnce).with_properties(properties);
                peer.engine.publish(&message).unwrap();
                let sent = peer.transmitted();
                let (frame, rest) = mqtt_packet::Frame::split(&sent).unwrap().unwrap();
                let publish = mqtt_client::Publish::decode(frame, Version::V5).unwrap();
                assert!(rest.is_empty());
                assert_eq!(publish.topic.as_bytes(), if id == 1 { &b"t"[..] } else { b"" });
                assert_eq!(publish.delivery.id().unwrap().get(), id);
                assert_eq!(publish.properties.topic_alias(), Some(1));
                assert_eq!(publish.properties.user_properties().next().unwrap().1.len(), value_len.into());
                assert_eq!(publish.payload, payload);
                peer.gets(&[0x40, 2, 0, id as u8]);
                peer.outcomes();
            }
        }
    }
}
