//! SUBSCRIBE, UNSUBSCRIBE, matching, options (sections 3.8 to 3.11, 4.7).

use super::world::*;
use mqtt_packet::AckKind::{PubComp, PubRec};
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

const ALL: [Version; 3] = [V3_1, V3_1_1, V5];

// [MQTT-3.8.4-1 @3.1.1] [MQTT-3.8.4-1 @5.0] [MQTT-3.8.4-2 @3.1.1] [MQTT-3.8.4-2 @5.0] [MQTT-3.8.4-4 @3.1.1]
// [MQTT-3.8.4-5 @3.1.1] [MQTT-3.8.4-5 @5.0] [MQTT-3.8.4-6 @5.0] [MQTT-3.8.4-7] [MQTT-3.9.3-1 @3.1.1]
// [MQTT-3.9.3-1 @5.0] [MQTT-2.3.1-7] [MQTT-2.2.1-6] [MQTT-3.9.3-2 @5.0]
#[test]
fn several_filters_get_their_codes_in_one_suback() {
    for version in ALL {
        let mut world = World::new();
        let client = world.client(version, "a");
        let deep = "/".repeat(130);
        let filters: Vec<_> = [("a", 2), ("b", 0), (&deep[..], 1), ("c/+", 1), ("#", 2)]
            .iter()
            .map(|&(filter, qos)| SubscribeFilter {
                filter: TopicFilter::new(filter).unwrap(),
                options: SubscribeOptions::new(QoS::from_bits(qos).unwrap()),
            })
            .collect();
        world.send(client, Packet::Subscribe(Subscribe::new(PacketId::new(513).unwrap(), &filters)));
        let bytes = world.bytes(client);
        let expected: &[u8] = match version {
            V5 => &[0x90, 8, 2, 1, 0, 2, 0, 0x8F, 1, 2],
            _ => &[0x90, 7, 2, 1, 2, 0, 0x80, 1, 2],
        };
        assert_eq!(bytes, expected);
    }
}

// [MQTT-3.8.4-3 @3.1.1] [MQTT-3.8.4-3 @5.0] [MQTT-3.8.4-4 @5.0] [U5-3.8.4-2]
#[test]
fn the_same_filter_again_replaces_the_subscription() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let client = world.client(V5, "s");
    world.retain(publisher, "t", "kept");
    world.subscribe_with(client, "t", SubscribeOptions::new(QoS::AtMostOnce), 7);
    world.expect(
        client,
        &["SUBACK id 99 [0x00 Success]", "PUBLISH \"t\" qos 0 retain \"kept\" [SubscriptionIdentifier(7)]"],
    );
    world.publish(publisher, "t", 1, 1, "one");
    world.expect(client, &["PUBLISH \"t\" qos 0 \"one\" [SubscriptionIdentifier(7)]"]);
    world.subscribe_with(client, "t", SubscribeOptions::new(QoS::ExactlyOnce), 0);
    world.expect(client, &["SUBACK id 99 [0x02 Granted QoS 2]", "PUBLISH \"t\" qos 0 retain \"kept\""]);
    world.publish(publisher, "t", 1, 1, "two");
    world.expect(client, &["PUBLISH \"t\" qos 1 id 1 \"two\""]);
}

// [MQTT-3.10.4-1 @3.1.1] [MQTT-3.10.4-1 @5.0] [MQTT-3.10.4-2 @3.1.1] [MQTT-3.10.4-2 @5.0] [MQTT-3.10.4-4 @3.1.1]
// [MQTT-3.10.4-4 @5.0] [MQTT-3.10.4-5 @3.1.1] [MQTT-3.10.4-5 @5.0] [MQTT-3.10.4-6 @3.1.1] [MQTT-3.10.4-6 @5.0]
// [MQTT-3.11.3-1] [MQTT-3.11.3-2]
#[test]
fn only_the_exact_filter_is_unsubscribed() {
    for version in ALL {
        let mut world = World::new();
        let publisher = world.client(V5, "p");
        let client = world.client(version, "s");
        world.subscribe(client, "a/+", 1);
        world.subscribe(client, "b", 1);
        let filters = ["a/b", "A/+", "a/#", "a/+"].map(|filter| TopicFilter::new(filter).unwrap());
        world.send(client, Packet::Unsubscribe(Unsubscribe::new(PacketId::new(513).unwrap(), &filters)));
        let expected: &[u8] = match version {
            V5 => &[0xB0, 7, 2, 1, 0, 0x11, 0x11, 0x11, 0],
            _ => &[0xB0, 2, 2, 1],
        };
        assert_eq!(world.bytes(client), expected);
        world.publish(publisher, "a/b", 1, 1, "x");
        world.publish(publisher, "b", 1, 1, "x");
        world.expect(client, &["PUBLISH \"b\" qos 1 id 1 \"x\""]);
        world.unsubscribe(client, "nothing");
        assert_eq!(world.received(client).len(), 1);
    }
}

// [MQTT-3.10.4-3 @3.1.1] [MQTT-3.10.4-3 @5.0]
#[test]
fn a_delivery_that_was_begun_is_completed_after_unsubscribe() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let client = world.client(V5, "s");
    world.subscribe(client, "t", 2);
    world.publish(publisher, "t", 2, 1, "x");
    world.received(client);
    world.unsubscribe(client, "t");
    world.ack(client, PubRec, 1);
    world.expect(client, &["UNSUBACK id 98 [0x00 Success]", "PUBREL id 1"]);
    world.ack(client, PubComp, 1);
    assert!(world.is_open(client));
}

// [MQTT-3.3.5-1] [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]
#[test]
fn overlapping_subscriptions_give_one_copy_with_everything() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let client = world.client(V5, "s");
    let old = world.client(V3_1_1, "old");
    for (filter, qos, id) in [("a/b", 0, 3), ("a/+", 2, 1), ("a/#", 1, 0), ("#", 1, 3)] {
        world.subscribe(old, filter, qos);
        world.subscribe_with(client, filter, SubscribeOptions::new(QoS::from_bits(qos).unwrap()), id);
    }
    world.received(client);
    world.publish(publisher, "a/b", 2, 1, "x");
    let lines = world.received(client);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("PUBLISH \"a/b\" qos 2 id 1 \"x\""), "{lines:?}");
    let mut ids: Vec<_> = lines[0].split("Identifier(").skip(1).map(|rest| &rest[..1]).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1", "3", "3"]);
    world.expect(old, &["PUBLISH \"a/b\" qos 2 id 1 \"x\""]);
}

// [MQTT-3.8.3-3 @5.0]
#[test]
fn no_local_keeps_the_own_messages_away() {
    let mut world = World::new();
    let client = world.client(V5, "s");
    let other = world.client(V5, "o");
    let no_local = SubscribeOptions { no_local: true, ..SubscribeOptions::new(QoS::AtMostOnce) };
    world.subscribe_with(client, "t/#", no_local, 1);
    world.subscribe_with(client, "t/both", SubscribeOptions::default(), 2);
    world.received(client);
    world.publish(client, "t/x", 0, 0, "own");
    world.publish(other, "t/x", 0, 0, "other");
    world.publish(client, "t/both", 0, 0, "own");
    world.expect(
        client,
        &[
            "PUBLISH \"t/x\" qos 0 \"other\" [SubscriptionIdentifier(1)]",
            "PUBLISH \"t/both\" qos 0 \"own\" [SubscriptionIdentifier(2)]",
        ],
    );
}

// [MQTT-3.8.3-4 @5.0] [MQTT-3.8.3-5 @5.0] [MQTT-3.8.3-4 @3.1.1] [MQTT-4.7.1-2 @3.1.1] [MQTT-4.7.1-3]
// [MQTT-4.7.1-1 @5.0] [MQTT-4.7.1-2 @5.0] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[test]
fn a_malformed_subscription_ends_the_connection() {
    for (hex, code) in [
        ("82 10 0001 00 000A 24736861 72652F67 2F74 04", 0x82),
        ("82 07 0001 00 0001 74 40", 0x81),
        ("82 07 0001 00 0001 74 03", 0x82),
        ("82 07 0001 00 0001 74 30", 0x82),
        ("82 08 0001 00 0002 612B 00", 0x8F),
        ("82 08 0001 00 0002 2361 00", 0x8F),
        ("82 0F 0001 00 0009 24736861 72652F2F74 00", 0x8F),
        ("82 0E 0001 00 0008 24736861 72652F67 00", 0x8F),
        ("82 03 0001 00", 0x82),
        ("82 07 0000 00 0001 74 00", 0x82),
    ] {
        let mut world = World::new();
        let client = world.client(V5, "a");
        world.hex(client, hex);
        let bytes = world.bytes(client);
        assert_eq!((bytes[0], bytes[2]), (0xE0, code), "{hex}");
        assert!(!world.is_open(client));
    }
    for hex in [
        "82 06 0001 0001 74 03",
        "82 06 0001 0001 74 04",
        "82 08 0001 0003 612B62 00",
        "82 07 0001 0002 2361 00",
    ] {
        let mut world = World::new();
        let client = world.client(V3_1_1, "a");
        world.hex(client, hex);
        world.expect_closed(client, &[]);
    }
}

// [MQTT-4.7.2-1 @3.1.1] [MQTT-4.7.2-1 @5.0] [MQTT-4.7.3-4 @3.1.1] [MQTT-4.7.3-4 @5.0] [U311-4.7.1-1]
// [U311-4.7.1-2] [U311-4.7.3-1] [U5-4.7.3-1] [MQTT-3.3.2-3 @3.1.1] [MQTT-3.3.2-3 @5.0]
#[test]
fn a_filter_gets_what_it_matches() {
    for (filter, topics) in [
        ("a/#", &["a", "a/", "a/b", "a/b/c"][..]),
        ("#", &["a", "a/", "a/b", "a/b/c", "A", "/a", "/", "a b", "b", "ä"]),
        ("a/+", &["a/", "a/b"]),
        ("+", &["a", "A", "a b", "b", "ä"]),
        ("+/+", &["a/", "a/b", "/a", "/"]),
        ("/+", &["/a", "/"]),
        ("$x/#", &["$x", "$x/a"]),
        ("$x/+", &["$x/a"]),
        ("A", &["A"]),
        ("a b", &["a b"]),
        ("a/b/c/#", &["a/b/c"]),
        ("ä", &["ä"]),
    ] {
        let mut world = World::new();
        let client = world.client(V5, "s");
        world.subscribe(client, filter, 0);
        for topic in ["a", "a/", "a/b", "a/b/c", "A", "/a", "/", "a b", "b", "$x", "$x/a", "ä", "a\u{308}x"]
        {
            world.publish(client, topic, 0, 0, "");
            let matched = !world.received(client).is_empty();
            let expected = topics.contains(&topic) || (topic == "a\u{308}x" && ["#", "+"].contains(&filter));
            assert_eq!(matched, expected, "{filter} {topic}");
        }
    }
}

/// A bridge of 3.x hears others as they published and never itself.
#[test]
fn a_bridge_of_3_1_1_gets_the_retain_flag_and_no_echo() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let bridge = world.connect_with(Connect { bridge: true, ..clean(V3_1_1, "bridge") });
    world.accepted(bridge);
    world.subscribe(bridge, "t", 0);
    world.retain(publisher, "t", "x");
    world.retain(bridge, "t", "y");
    world.expect(bridge, &["PUBLISH \"t\" qos 0 retain \"x\""]);
}
