//! PUBLISH and its handshakes, both ways (sections 3.3 to 3.7, 4.3, 4.6).

use super::world::*;
use mqtt_broker_lite::core::Settings;
use mqtt_packet::AckKind::{PubAck, PubComp, PubRec, PubRel};
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

const ALL: [Version; 3] = [V3_1, V3_1_1, V5];

// [MQTT-3.3.4-1 @3.1.1] [MQTT-3.3.4-1 @5.0] [MQTT-2.3.1-6] [MQTT-2.2.1-5] [MQTT-4.3.1-1 @3.1.1] [MQTT-4.3.1-1 @5.0]
// [MQTT-4.3.2-1 @3.1.1] [MQTT-4.3.2-1 @5.0] [MQTT-4.3.2-2 @5.0] [MQTT-4.3.2-4] [MQTT-4.3.3-1 @3.1.1]
// [MQTT-4.3.3-1 @5.0] [MQTT-4.3.3-2 @5.0] [MQTT-4.3.3-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11]
#[test]
fn each_qos_has_its_handshake_on_both_sides() {
    for from in ALL {
        for to in ALL {
            let mut world = World::new();
            let publisher = world.client(from, "p");
            let subscriber = world.client(to, "s");
            world.subscribe(subscriber, "t", 2);
            world.publish(publisher, "t", 0, 0, "zero");
            world.expect(publisher, &[]);
            world.expect(subscriber, &["PUBLISH \"t\" qos 0 \"zero\""]);
            world.publish(publisher, "t", 1, 7, "one");
            world.expect(publisher, &["PUBACK id 7"]);
            world.expect(subscriber, &["PUBLISH \"t\" qos 1 id 1 \"one\""]);
            world.ack(subscriber, PubAck, 1);
            world.publish(publisher, "t", 2, 9, "two");
            world.expect(publisher, &["PUBREC id 9"]);
            world.expect(subscriber, &["PUBLISH \"t\" qos 2 id 2 \"two\""]);
            world.ack(publisher, PubRel, 9);
            world.expect(publisher, &["PUBCOMP id 9"]);
            world.ack(subscriber, PubRec, 2);
            world.expect(subscriber, &["PUBREL id 2"]);
            world.ack(subscriber, PubComp, 2);
            world.expect(subscriber, &[]);
        }
    }
}

// [MQTT-3.8.4-6 @3.1.1] [MQTT-3.8.4-8]
#[test]
fn a_message_goes_out_at_the_lower_qos() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    for granted in 0..=2 {
        let subscriber = world.client(V3_1_1, &format!("s{granted}"));
        world.subscribe(subscriber, "t", granted);
        for published in 0..=2 {
            world.publish(publisher, "t", published, u16::from(published), "x");
            let qos = granted.min(published);
            let lines = world.received(subscriber);
            assert!(lines[0].starts_with(&format!("PUBLISH \"t\" qos {qos}")), "{lines:?}");
            if published == 2 {
                world.ack(publisher, PubRel, 2);
            }
        }
    }
}

// [MQTT-4.3.3-2 @3.1.1] [MQTT-4.3.3-10] [MQTT-4.3.3-12] [MQTT-3.3.1-3 @3.1.1] [MQTT-3.3.1-3 @5.0]
#[test]
fn a_repeated_qos_2_message_is_answered_and_not_delivered_again() {
    for version in ALL {
        let mut world = World::new();
        let publisher = world.client(version, "p");
        let subscriber = world.client(V5, "s");
        world.subscribe(subscriber, "t", 0);
        let first = message("t", 2, 5, "x");
        let again =
            Publish { delivery: Delivery::ExactlyOnce { id: PacketId::new(5).unwrap(), dup: true }, ..first };
        // The first that arrives may be a repeat; that is not what the subscriber is told.
        world.send(publisher, Packet::Publish(again));
        world.send(publisher, Packet::Publish(again));
        world.send(publisher, Packet::Publish(again));
        world.expect(publisher, &["PUBREC id 5", "PUBREC id 5", "PUBREC id 5"]);
        world.expect(subscriber, &["PUBLISH \"t\" qos 0 \"x\""]);
        world.ack(publisher, PubRel, 5);
        world.expect(publisher, &["PUBCOMP id 5"]);
        world.send(publisher, Packet::Publish(first));
        world.expect(publisher, &["PUBREC id 5"]);
        world.expect(subscriber, &["PUBLISH \"t\" qos 0 \"x\""]);
    }
}

// [MQTT-4.3.2-2 @3.1.1] [MQTT-4.3.2-5]
#[test]
fn a_repeated_qos_1_message_is_a_new_one_after_its_puback() {
    let mut world = World::new();
    let publisher = world.client(V3_1_1, "p");
    let subscriber = world.client(V5, "s");
    world.subscribe(subscriber, "t", 0);
    let again = Publish {
        delivery: Delivery::AtLeastOnce { id: PacketId::new(5).unwrap(), dup: true },
        ..message("t", 1, 5, "x")
    };
    world.send(publisher, Packet::Publish(again));
    world.send(publisher, Packet::Publish(again));
    world.expect(publisher, &["PUBACK id 5", "PUBACK id 5"]);
    world.expect(subscriber, &["PUBLISH \"t\" qos 0 \"x\"", "PUBLISH \"t\" qos 0 \"x\""]);
}

// [MQTT-4.3.3-11] [MQTT-4.3.3-2 @3.1.1]
#[test]
fn an_unknown_pubrel_is_answered() {
    let mut world = World::new();
    let old = world.client(V3_1_1, "old");
    world.ack(old, PubRel, 77);
    world.expect(old, &["PUBCOMP id 77"]);
    let new = world.client(V5, "new");
    world.ack(new, PubRel, 77);
    world.expect(new, &["PUBCOMP id 77 0x92 Packet Identifier not found"]);
}

#[test]
fn an_unknown_pubrec_is_answered_and_other_unknown_acknowledgements_are_not() {
    let mut world = World::new();
    let old = world.client(V3_1_1, "old");
    let new = world.client(V5, "new");
    for kind in [PubAck, PubRec, PubComp] {
        world.ack(old, kind, 77);
        world.ack(new, kind, 77);
    }
    world.expect(old, &["PUBREL id 77"]);
    world.expect(new, &["PUBREL id 77 0x92 Packet Identifier not found"]);
}

// [MQTT-4.3.3-5] [MQTT-4.3.2-3]
#[test]
fn an_acknowledgement_of_another_kind_breaks_the_protocol() {
    for (qos, wrong) in [(1, PubRec), (1, PubComp), (2, PubAck), (2, PubComp)] {
        let mut world = World::new();
        let publisher = world.client(V5, "p");
        let subscriber = world.client(V5, "s");
        world.subscribe(subscriber, "t", 2);
        world.publish(publisher, "t", qos, 1, "x");
        world.received(subscriber);
        world.ack(subscriber, wrong, 1);
        assert!(!world.is_open(subscriber), "{qos} {wrong:?}");
        assert!(world.is_open(publisher));
    }
}

// [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3] [MQTT-3.3.4-9] [MQTT-3.3.4-10] [U5-4.9.0-1]
#[test]
fn no_more_is_in_flight_than_the_client_takes() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let modest = Connect { properties: properties(PacketType::Connect, &[0x21, 0, 2]), ..clean(V5, "s") };
    let subscriber = world.connect_with(modest);
    world.accepted(subscriber);
    world.subscribe(subscriber, "t", 2);
    for id in 1..=5 {
        world.publish(publisher, "t", 1 + (id % 2) as u8, id, &format!("{id}"));
    }
    world.expect(subscriber, &["PUBLISH \"t\" qos 2 id 1 \"1\"", "PUBLISH \"t\" qos 1 id 2 \"2\""]);
    // QoS 0 and answers go on.
    world.publish(publisher, "t", 0, 0, "now");
    world.send(subscriber, Packet::PingReq(PingReq));
    world.unsubscribe(subscriber, "other");
    world.expect(
        subscriber,
        &["PUBLISH \"t\" qos 0 \"now\"", "PINGRESP", "UNSUBACK id 98 [0x11 No subscription existed]"],
    );
    // PUBREC frees nothing, PUBCOMP and PUBACK one each.
    world.ack(subscriber, PubRec, 1);
    world.expect(subscriber, &["PUBREL id 1"]);
    world.ack(subscriber, PubComp, 1);
    world.expect(subscriber, &["PUBLISH \"t\" qos 2 id 3 \"3\""]);
    world.ack(subscriber, PubAck, 2);
    world.expect(subscriber, &["PUBLISH \"t\" qos 1 id 4 \"4\""]);
    // A PUBREC with an error frees one, and ends the exchange [MQTT-4.4.0-2] [MQTT-4.3.3-9].
    world.hex(subscriber, "50 03 0003 80");
    world.expect(subscriber, &["PUBLISH \"t\" qos 2 id 5 \"5\""]);
    world.ack(subscriber, PubAck, 4);
    world.ack(subscriber, PubAck, 4);
    world.ack(subscriber, PubAck, 4);
    for id in 11..=14 {
        world.publish(publisher, "t", 1, id, "x");
    }
    assert_eq!(world.received(subscriber).len(), 1, "never above the start value");
}

// [MQTT-3.3.4-7]
#[test]
fn a_client_that_sends_more_than_the_receive_maximum_is_told() {
    let settings = Settings { receive_maximum: 2, ..Settings::default() };
    let mut world = World::with(settings);
    let client = world.client(V5, "p");
    world.publish(client, "t", 2, 1, "x");
    world.publish(client, "t", 2, 2, "x");
    // QoS 1 is acknowledged at once, and a released message counts no more.
    world.ack(client, PubRel, 1);
    world.publish(client, "t", 1, 3, "x");
    world.publish(client, "t", 1, 4, "x");
    world.publish(client, "t", 2, 5, "x");
    world.received(client);
    assert!(world.is_open(client));
    world.publish(client, "t", 2, 6, "x");
    let bytes = world.bytes(client);
    assert_eq!((bytes[0], bytes[2]), (0xE0, 0x93));
    assert!(!world.is_open(client));
}

// [MQTT-3.1.2-24 @5.0] [MQTT-3.1.2-25]
#[test]
fn a_message_too_large_for_the_client_counts_as_delivered() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let limited =
        Connect { properties: properties(PacketType::Connect, &[0x27, 0, 0, 0, 64]), ..clean(V5, "s") };
    let subscriber = world.connect_with(limited);
    world.accepted(subscriber);
    world.subscribe(subscriber, "t", 2);
    // Fixed header 2, topic 3, identifier 2, property length 1.
    world.publish(publisher, "t", 1, 1, &"x".repeat(57));
    world.expect(subscriber, &[]);
    world.publish(publisher, "t", 1, 2, &"y".repeat(56));
    assert!(world.first(subscriber).starts_with("PUBLISH \"t\" qos 1 id 1 \"yyy"));
    world.publish(publisher, "t", 0, 0, &"x".repeat(59));
    world.publish(publisher, "t", 0, 0, &"z".repeat(58));
    assert!(world.first(subscriber).starts_with("PUBLISH \"t\" qos 0 \"zzz"));
    world.expect(subscriber, &[]);
}

// [MQTT-3.3.2-12] [MQTT-3.3.2-7] [U5-3.3.2-3] [U5-3.3.2-2] [MQTT-3.3.2-8] [MQTT-3.3.2-9] [U5-3.3.2-1]
#[test]
fn a_topic_alias_stands_for_its_topic() {
    let settings = Settings { topic_alias_maximum: 5, ..Settings::default() };
    let mut world = World::with(settings);
    let subscriber = world.client(V3_1_1, "s");
    world.subscribe(subscriber, "#", 0);
    let publisher = world.connect_with(clean(V5, "p"));
    assert!(world.accepted(publisher).contains("TopicAliasMaximum(5)"));
    for alias in 1..=5 {
        world.hex(publisher, &format!("30 08 0001 6{alias} 03 23 000{alias} 78"));
        world.hex(publisher, &format!("30 07 0000 03 23 000{alias} 79"));
        let topic = ["a", "b", "c", "d", "e"][alias - 1];
        world.expect(
            subscriber,
            &[&format!("PUBLISH {topic:?} qos 0 \"x\""), &format!("PUBLISH {topic:?} qos 0 \"y\"")],
        );
    }
    world.hex(publisher, "30 07 0001 7A 03 23 0001  30 06 0000 03 23 0001");
    world.expect(subscriber, &["PUBLISH \"z\" qos 0 \"\"", "PUBLISH \"z\" qos 0 \"\""]);
    let publisher = world.client(V5, "p");
    for (hex, code) in [
        ("30 06 0000 03 23 0001", 0x82),
        ("30 07 0001 61 03 23 0006", 0x94),
        ("30 07 0001 61 03 23 0000", 0x94),
        ("30 03 0000 00", 0x82),
    ] {
        world.hex(publisher, hex);
        let client = world.client(V5, "q");
        world.hex(client, hex);
        let bytes = world.bytes(client);
        assert_eq!((bytes[0], bytes[2]), (0xE0, code), "{hex}");
    }
}

// [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
#[test]
fn the_server_uses_no_alias_that_the_client_does_not_take() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let aliased = Connect { properties: properties(PacketType::Connect, &[0x22, 0, 1]), ..clean(V5, "s") };
    let subscriber = world.connect_with(aliased);
    world.accepted(subscriber);
    world.subscribe(subscriber, "#", 0);
    let plain = world.client(V5, "plain");
    world.subscribe(plain, "#", 0);
    for topic in ["first", "second", "first", "second"] {
        world.publish(publisher, topic, 0, 0, "x");
    }
    world.expect(
        subscriber,
        &[
            "PUBLISH \"first\" qos 0 \"x\" [TopicAlias(1)]",
            "PUBLISH \"second\" qos 0 \"x\"",
            "PUBLISH \"\" qos 0 \"x\" [TopicAlias(1)]",
            "PUBLISH \"second\" qos 0 \"x\"",
        ],
    );
    assert!(world.received(plain).iter().all(|line| !line.contains("Alias")));
}

// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn properties_travel_unchanged_and_in_order() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let subscriber = world.client(V5, "s");
    let old = world.client(V3_1, "old");
    world.subscribe(subscriber, "t", 0);
    world.subscribe(old, "t", 0);
    let block = b"\x26\0\x01b\0\x012\x01\x01\x03\0\x04text\x08\0\x03r/s\x09\0\x02\xFF\0\x26\0\x01a\0\x011\x26\0\x01b\0\x010";
    let publish = Publish { properties: properties(PacketType::Publish, block), ..message("t", 0, 0, "x") };
    world.send(publisher, Packet::Publish(publish));
    assert_eq!(world.bytes(subscriber)[2 + 3 + 1..][..block.len()], block[..]);
    world.expect(old, &["PUBLISH \"t\" qos 0 \"x\""]);
    // With an alias and an expiry among them, which are not the message's own.
    let mixed = [&b"\x23\0\x01"[..], block, b"\x02\0\0\0\x0A"].concat();
    let publish = Publish { properties: properties(PacketType::Publish, &mixed), ..message("t", 0, 0, "x") };
    world.send(publisher, Packet::Publish(publish));
    let expected = [&b"\x02\0\0\0\x0A"[..], block].concat();
    assert_eq!(world.bytes(subscriber)[2 + 3 + 1..][..expected.len()], expected[..]);
}

// [MQTT-3.3.4-6]
#[test]
fn a_client_must_not_send_a_subscription_identifier() {
    let mut world = World::new();
    let client = world.client(V5, "a");
    world.hex(client, "30 06 0001 74 02 0B 01");
    let bytes = world.bytes(client);
    assert_eq!((bytes[0], bytes[2]), (0xE0, 0x82));
}

// [MQTT-4.7.1-1 @3.1.1] [MQTT-4.7.0-1] [MQTT-3.3.1-4 @3.1.1] [MQTT-3.3.2-14]
#[test]
fn a_topic_name_has_no_wildcard_and_a_qos_is_one() {
    for hex in ["30 04 0002 61 23", "30 03 0001 2B", "36 05 0001 61 0001"] {
        let mut world = World::new();
        let client = world.client(V3_1_1, "a");
        world.hex(client, hex);
        world.expect_closed(client, &[]);
    }
    for (hex, code) in [
        ("30 05 0002 61 23 00", 0x90),
        ("36 06 0001 61 0001 00", 0x81),
        ("30 08 0001 61 04 08 0001 23", 0x82),
    ] {
        let mut world = World::new();
        let client = world.client(V5, "a");
        world.hex(client, hex);
        let bytes = world.bytes(client);
        assert_eq!((bytes[0], bytes[2]), (0xE0, code), "{hex}");
    }
}

// [U5-3.2.2-4] [MQTT-3.2.2-15]
#[test]
fn a_packet_above_the_maximum_packet_size_ends_the_connection() {
    let mut world = World::new();
    let client = world.client(V5, "a");
    world.handle(mqtt_broker_lite::core::Input::Broken(client.0, DecodeError::PacketTooLarge));
    let bytes = world.bytes(client);
    assert_eq!((bytes[0], bytes[2]), (0xE0, 0x95));
    assert!(!world.is_open(client));
}

// [MQTT-4.6.0-5 @3.1.1] [MQTT-4.6.0-6 @3.1.1] [MQTT-4.6.0-5 @5.0] [MQTT-4.6.0-6 @5.0]
#[test]
fn messages_of_a_topic_and_qos_keep_their_order_past_a_slow_reader() {
    for qos in 0..=2 {
        let mut world = World::with(Settings { window: 1000, max_inflight: 10, ..Settings::default() });
        let publisher = world.client(V5, "p");
        let subscriber = world.client(V5, "s");
        world.subscribe(subscriber, "t", 2);
        world.stall(subscriber);
        let mut got = Vec::new();
        for id in 1..=200 {
            world.publish(publisher, "t", qos, id, &format!("{id}"));
            if qos == 2 {
                world.ack(publisher, PubRel, id);
            }
            if id == 100 {
                world.unstall(subscriber);
                world.stall(subscriber);
            }
        }
        world.unstall(subscriber);
        while let Some(line) = Some(world.received(subscriber)).filter(|lines| !lines.is_empty()) {
            for line in line {
                let words: Vec<_> = line.split('"').collect();
                let id = || words[2].split(' ').nth(4).unwrap().parse().unwrap();
                if line.starts_with("PUBREL") {
                    world.ack(subscriber, PubComp, line[10..].parse().unwrap());
                    continue;
                }
                got.push(words[3].parse::<u16>().unwrap());
                match qos {
                    1 => world.ack(subscriber, PubAck, id()),
                    2 => world.ack(subscriber, PubRec, id()),
                    _ => {}
                }
            }
        }
        assert_eq!(got, (1..=200).collect::<Vec<_>>(), "QoS {qos}");
    }
}

#[test]
fn topics_with_too_many_levels_are_refused() {
    let deep = "/".repeat(128);
    let mut world = World::new();
    let client = world.client(V5, "a");
    world.publish(client, &deep, 1, 1, "x");
    world.expect(client, &["PUBACK id 1 0x90 Topic Name invalid"]);
    world.subscribe_with(client, &deep, SubscribeOptions::default(), 0);
    world.expect(client, &["SUBACK id 99 [0x8F Topic Filter invalid]"]);
    world.publish(client, &deep[1..], 1, 1, "x");
    world.expect(client, &["PUBACK id 1 0x10 No matching subscribers"]);
    let old = world.client(V3_1_1, "b");
    world.publish(old, &deep, 1, 1, "x");
    world.expect_closed(old, &[]);
}
