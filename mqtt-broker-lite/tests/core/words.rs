//! What the broker says in words, what it leaves unsaid, and what it lets pass.

use super::world::*;
use mqtt_broker_lite::core::{Credentials, Policy, Settings, Verdict};
use mqtt_packet::AckKind::{PubComp, PubRec, PubRel};
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

/// Nobody may do anything but connect, and not under every name.
#[derive(Clone)]
struct Strict;

impl Policy for Strict {
    fn authenticate(&mut self, credentials: &Credentials) -> Verdict {
        match &*credentials.client_id {
            "bad name" => Verdict::Refuse(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID),
            "slow" => Verdict::Ask,
            _ => Verdict::Allow,
        }
    }

    fn authorize(
        &mut self,
        _: &mqtt_broker_lite::core::Client,
        _: mqtt_broker_lite::core::Access,
        _: &str,
    ) -> bool {
        false
    }
}

// [MQTT-3.1.2-29 @5.0] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3]
// [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1 @5.0] [MQTT-3.9.2-2 @5.0] [MQTT-3.11.2-1] [MQTT-3.11.2-2]
#[test]
fn acknowledgements_say_nothing_in_words() {
    for block in [&[0x17, 0][..], &[0x27, 0, 0, 0, 20], &[]] {
        let mut world = World::with_policy(Settings::default(), Strict);
        let client = world
            .connect_with(Connect { properties: properties(PacketType::Connect, block), ..clean(V5, "a") });
        world.accepted(client);
        world.publish(client, "t", 1, 1, "x");
        world.publish(client, "t", 2, 2, "x");
        world.ack(client, PubRel, 3);
        world.ack(client, PubRec, 4);
        world.subscribe_with(client, "t", SubscribeOptions::default(), 0);
        world.unsubscribe(client, "t");
        world.expect(
            client,
            &[
                "PUBACK id 1 0x87 Not authorized",
                "PUBREC id 2 0x87 Not authorized",
                "PUBCOMP id 3 0x92 Packet Identifier not found",
                "PUBREL id 4 0x92 Packet Identifier not found",
                "SUBACK id 99 [0x87 Not authorized]",
                "UNSUBACK id 98 [0x11 No subscription existed]",
            ],
        );
    }
}

// [MQTT-3.1.3-8 @5.0] [MQTT-3.1.3-9 @3.1.1]
#[test]
fn a_name_that_is_not_wanted_is_refused_as_one() {
    let mut world = World::with_policy(Settings::default(), Strict);
    for (version, code) in [(V3_1, 2), (V3_1_1, 2), (V5, 0x85)] {
        let client = world.connect_with(clean(version, "bad name"));
        assert_eq!(world.bytes(client)[3], code);
        assert!(!world.is_open(client));
    }
}

// [MQTT-4.8.0-2 @3.1.1]
#[test]
fn a_client_that_sends_too_much_before_it_is_known_is_closed() {
    let mut world = World::with_policy(Settings::default(), Strict);
    let client = world.connect_with(clean(V3_1_1, "slow"));
    for _ in 0..70 {
        if world.is_open(client) {
            world.publish(client, "t", 0, 0, &"x".repeat(1000));
        }
    }
    let reason = world.expect_closed(client, &[]);
    assert_eq!(reason.statement(), Some("MQTT-4.8.0-2"));
}

// [MQTT-3.8.3-2 @3.1.1]
#[test]
fn a_server_without_wildcards_refuses_every_filter_with_one() {
    let settings = Settings { wildcard_available: false, ..Settings::default() };
    let mut world = World::with(settings);
    let client = world.client(V3_1_1, "a");
    for filter in ["#", "a/#", "+", "a/+/b"] {
        world.subscribe_with(client, filter, SubscribeOptions::default(), 0);
        assert_eq!(world.bytes(client), [0x90, 3, 0, 99, 0x80]);
    }
}

// [U311-3.14.4-1] [MQTT-3.14.4-1 @5.0]
#[test]
fn the_server_closes_after_a_disconnect() {
    for version in [V3_1, V3_1_1, V5] {
        let mut world = World::new();
        let client = world.client(version, "a");
        world.hex(client, "E0 00 C0 00");
        world.expect_closed(client, &[]);
    }
}

// [U5-3.1.3-1] [U5-3.3.2-4]
#[test]
fn whether_a_payload_is_text_is_the_receivers_business() {
    let mut world = World::new();
    let watcher = world.client(V5, "w");
    world.subscribe(watcher, "#", 0);
    let will = Will {
        topic: TopicName::new("will").unwrap(),
        payload: b"\xFF",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties::from_block(&[0x01, 1], PropertyPlace::WILL).unwrap(),
    };
    let client = world.connect_with(Connect { will: Some(will), ..clean(V5, "a") });
    world.accepted(client);
    world.hex(client, "30 07 0001 74 02 0101 FF");
    world.cut(client);
    let packets = world.bytes(watcher);
    assert_eq!(packets, b"\x30\x07\x00\x01t\x02\x01\x01\xFF\x30\x0A\x00\x04will\x02\x01\x01\xFF");
}

#[test]
fn everybody_is_told_when_the_broker_stops() {
    let mut world = World::new();
    let old = world.client(V3_1_1, "old");
    let new = world.client(V5, "new");
    world.shut_down();
    world.expect_closed(old, &[]);
    world.expect_closed(new, &["DISCONNECT 0x8B Server shutting down [ReasonString(\"the broker stops\")]"]);
}

/// Nothing that one client does is the end of another, whatever comes: here the packets of a server.
#[test]
fn the_packets_of_a_server_are_refused_from_a_client() {
    let mut world = World::new();
    let bystander = world.client(V5, "b");
    for hex in ["20 03 00 00 00", "90 04 0001 00 00", "B0 04 0001 00 00", "D0 00"] {
        let client = world.client(V5, "a");
        world.hex(client, hex);
        let bytes = world.bytes(client);
        assert_eq!((bytes[0], bytes[2]), (0xE0, 0x82), "{hex}");
        let early = world.open();
        world.hex(early, hex);
        world.expect_closed(early, &[]);
    }
    world.ack(bystander, PubComp, 1);
    assert!(world.is_open(bystander));
}
