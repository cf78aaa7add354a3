//! What broke other brokers, each by the number under which it was published.

use super::access::ruled;
use super::world::*;
use mqtt_broker_lite::core::{CloseReason, Settings};
use mqtt_packet::AckKind::{PubAck, PubRel};
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

const ALL: [Version; 3] = [V3_1, V3_1_1, V5];

/// CVE-2018-12543: a topic that begins with `$` and is not `$SYS` is one like any other.
#[test]
fn cve_2018_12543_dollar_topics_are_topics() {
    for version in ALL {
        let mut world = World::new();
        let client = world.client(version, "a");
        world.subscribe(client, "$x/#", 1);
        world.subscribe(client, "#", 1);
        world.retain(client, "$x/y", "kept");
        let lines = world.received(client);
        assert_eq!(lines.len(), 1, "the wildcard does not match it: {lines:?}");
        let late = world.client(version, "late");
        world.subscribe(late, "$x/+", 0);
        world.expect(late, &["PUBLISH \"$x/y\" qos 0 retain \"kept\""]);
    }
}

/// CVE-2019-11779, FlashMQ 174: no recursion on levels, and few of them are allowed.
#[test]
fn cve_2019_11779_sixty_thousand_levels_are_refused() {
    let many = "/".repeat(65_400);
    for version in ALL {
        let mut world = World::new();
        let client = world.client(version, "a");
        for filter in [many.clone(), format!("$share/g{many}"), format!("{many}#"), format!("+{many}+")] {
            world.subscribe_with(client, &filter, SubscribeOptions::default(), 0);
            let code = if version == V5 { 0x8F } else { 0x80 };
            assert_eq!(world.bytes(client).last(), Some(&code));
            world.unsubscribe(client, &filter);
            world.received(client);
        }
        world.publish(client, &many, 1, 1, "x");
        assert_eq!(world.is_open(client), version == V5, "3.x cannot be told otherwise");
        let will = Will {
            topic: TopicName::new(&many).unwrap(),
            payload: b"x",
            qos: QoS::AtMostOnce,
            retain: true,
            properties: Properties::EMPTY,
        };
        let mortal = world.connect_with(Connect { will: Some(will), ..clean(version, "m") });
        assert!(!world.is_open(mortal));
    }
}

/// CVE-2019-11778, mosquitto 1244: a will that is due after the end of its session, and its properties.
#[test]
fn cve_2019_11778_a_will_goes_with_its_session_at_the_latest() {
    let mut world = World::new();
    let watcher = world.client(V5, "w");
    world.subscribe(watcher, "#", 1);
    // Will Delay Interval 100, a User Property; Session Expiry Interval 10.
    let block = [0x18, 0, 0, 0, 100, 0x26, 0, 1, b'n', 0, 1, b'v'];
    let will = Will {
        topic: TopicName::new("will").unwrap(),
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::from_block(&block, PropertyPlace::WILL).unwrap(),
    };
    let expiry = properties(PacketType::Connect, &[0x11, 0, 0, 0, 10]);
    let client = world.connect_with(Connect { will: Some(will), properties: expiry, ..clean(V5, "m") });
    world.accepted(client);
    world.cut(client);
    world.pass(9_999);
    world.expect(watcher, &[]);
    world.pass(1);
    world.expect(watcher, &["PUBLISH \"will\" qos 1 id 1 \"gone\" [UserProperty(\"n\", \"v\")]"]);
    world.seconds(200);
    world.expect(watcher, &[]);
}

/// CVE-2020-13849: whoever keeps silent does not hold his place for the eighteen hours that he asked for.
#[test]
fn cve_2020_13849_the_server_shortens_the_keep_alive() {
    let mut world = World::with(Settings { max_keep_alive: 60, ..Settings::default() });
    for version in ALL {
        for asked in [0, 65_535] {
            let client = world.connect_with(Connect { keep_alive: asked, ..clean(version, "slow") });
            world.bytes(client);
            world.seconds(91);
            assert!(!world.is_open(client), "{version:?} {asked}");
        }
    }
}

/// CVE-2021-28166, rumqtt 812, sol 15: what only a server sends, and what comes before CONNECT.
#[test]
fn cve_2021_28166_nothing_comes_before_connect() {
    let first = [
        "40 02 0001",
        "50 02 0001",
        "62 02 0001",
        "70 02 0001",
        "C0 00",
        "E0 00",
        "F0 00",
        "20 02 00 00",
        "30 03 0001 74",
        "82 06 0001 0001 74 00",
        "B0 02 0001",
        "90 03 0001 00",
    ];
    let mut world = World::new();
    let bystander = world.client(V5, "b");
    for hex in first {
        let client = world.open();
        world.hex(client, hex);
        world.expect_closed(client, &[]);
    }
    assert!(world.is_open(bystander));
}

/// CVE-2021-34432: a PUBLISH with an empty topic.
#[test]
fn cve_2021_34432_an_empty_topic_is_an_error() {
    for (version, hex) in [(V3_1, "30 02 0000"), (V3_1_1, "30 02 0000"), (V5, "30 03 0000 00")] {
        let mut world = World::new();
        let client = world.client(version, "a");
        world.hex(client, hex);
        assert!(!world.is_open(client), "{version:?}");
    }
}

/// CVE-2021-34434: the right to subscribe was taken away while the session waited; what is repeated is asked for, too.
#[test]
fn cve_2021_34434_a_resumed_session_has_no_more_rights_than_its_client() {
    for qos in [1, 2] {
        let (mut world, rules) = ruled();
        let publisher = world.client(V5, "p");
        let (client, _) = world.resume(V5, "s");
        for filter in ["t/#", "$share/g/u", "v"] {
            world.subscribe(client, filter, qos);
        }
        world.publish(publisher, "v", qos, 1, "in flight");
        assert_eq!(world.received(client).len(), 1);
        world.cut(client);
        for filter in ["t/#", "u"] {
            rules.forbid("s", "subscribe", filter);
        }
        rules.forbid("s", "receive", "v");
        let (client, present) = world.resume(V5, "s");
        assert!(present);
        match qos {
            1 => world.expect(client, &[]),
            // It may have come: its identifier is released.
            _ => world.expect(client, &["PUBREL id 1"]),
        }
        world.publish(publisher, "t/1", 1, 2, "x");
        world.publish(publisher, "u", 1, 3, "x");
        world.expect(client, &[]);
        world.unsubscribe(client, "t/#");
        world.expect(client, &["UNSUBACK id 98 [0x11 No subscription existed]"]);
    }
}

/// mosquitto 2.0.10: a QoS 2 message that was begun is nobody's way around a right that was taken away meanwhile.
#[test]
fn mosquitto_2_0_10_what_was_begun_gives_no_right() {
    let (mut world, rules) = ruled();
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    let (client, _) = world.resume(V5, "p");
    world.publish(client, "t", 2, 1, "before");
    rules.forbid("p", "publish", "t");
    world.publish(client, "t", 2, 2, "after");
    world.expect(client, &["PUBREC id 1", "PUBREC id 2 0x87 Not authorized"]);
    world.cut(client);
    let (client, _) = world.resume(V5, "p");
    for id in [1, 2] {
        let delivery = Delivery::ExactlyOnce { id: PacketId::new(id).unwrap(), dup: true };
        world.send(client, Packet::Publish(Publish { delivery, ..message("t", 2, id, "again") }));
    }
    world.ack(client, PubRel, 1);
    world.ack(client, PubRel, 2);
    world.expect(
        client,
        &[
            "PUBREC id 1",
            "PUBREC id 2 0x87 Not authorized",
            "PUBCOMP id 1",
            "PUBCOMP id 2 0x92 Packet Identifier not found",
        ],
    );
    world.expect(reader, &["PUBLISH \"t\" qos 0 \"before\""]);
}

/// CVE-2021-41039: thousands of User Properties in CONNECT.
#[test]
fn cve_2021_41039_thousands_of_user_properties_are_read_once() {
    let mut world = World::new();
    let block = [0x26, 0, 1, b'n', 0, 1, b'v'].repeat(9_000);
    let connect = Connect { properties: properties(PacketType::Connect, &block), ..clean(V5, "a") };
    let client = world.connect_with(connect);
    world.accepted(client);
}

/// CVE-2023-28366: QoS 2 messages whose PUBREL never comes.
#[test]
fn cve_2023_28366_messages_without_pubrel_do_not_heap_up() {
    let mut world = World::with(Settings { receive_maximum: 100, ..Settings::default() });
    let watcher = world.client(V5, "w");
    world.subscribe(watcher, "t", 0);
    for version in ALL {
        let client = world.client(version, "a");
        for _ in 0..1000 {
            world.publish(client, "t", 2, 1, "x");
        }
        assert_eq!(world.received(watcher).len(), 1, "only the first is new");
        world.ack(client, PubRel, 1);
        world.received(client);
        for id in 1..=101 {
            world.publish(client, "t", 2, id, "x");
        }
        assert_eq!(world.is_open(client), version != V5, "more than the Receive Maximum");
        world.received(watcher);
    }
}

/// CVE-2023-3592, CVE-2021-34431: a will with properties that no will has.
#[test]
fn cve_2023_3592_a_will_with_wrong_properties_is_refused() {
    // Clean Start and Will; Topic Alias, then Session Expiry Interval among the will's properties.
    for block in ["03 230001", "05 1100000001"] {
        let mut world = World::new();
        let client = world.open();
        let len = if block.starts_with("03") { "18" } else { "1A" };
        world.hex(client, &format!("10 {len} 0004 4D515454 05 06 0000 00 0001 61 {block} 0001 74 0001 78"));
        assert_eq!(world.bytes(client)[3], 0x81);
        assert!(!world.is_open(client));
    }
}

/// CVE-2024-8376: UNSUBSCRIBE of a shared subscription where there is another one of the same filter, and the reverse.
#[test]
fn cve_2024_8376_shared_and_other_subscriptions_are_two_things() {
    for (there, wrong) in [("t", "$share/g/t"), ("$share/g/t", "t"), ("$share/g/t", "$share/h/t")] {
        let mut world = World::new();
        let client = world.client(V5, "a");
        world.subscribe(client, there, 0);
        world.unsubscribe(client, wrong);
        world.unsubscribe(client, wrong);
        world.expect(client, &["UNSUBACK id 98 [0x11 No subscription existed]"; 2]);
        world.publish(client, "t", 0, 0, "x");
        world.expect(client, &["PUBLISH \"t\" qos 0 \"x\""]);
        world.unsubscribe(client, there);
        world.cut(client);
    }
}

/// CVE-2024-42645, FlashMQ 130 and 157: empty retained messages, of topics that had one and of those that had none.
#[test]
fn cve_2024_42645_empty_retained_messages_delete_whatever_is_there() {
    let mut world = World::durable();
    let client = world.client(V5, "a");
    for topic in ["never", "/", "$x", "a/b"] {
        world.retain(client, topic, "");
        world.retain(client, topic, "x");
        world.retain(client, topic, "");
        world.retain(client, topic, "");
    }
    world.subscribe(client, "#", 0);
    world.subscribe(client, "$x", 0);
    world.expect(client, &[]);
    assert_eq!(world.disk.stored().count(), 0);
}

/// sol 17: the first of two clients of one name says something after it was taken over.
#[test]
fn sol_17_who_was_taken_over_is_heard_no_more() {
    let mut world = World::new();
    let watcher = world.client(V5, "w");
    world.subscribe(watcher, "#", 0);
    let (first, _) = world.resume(V3_1_1, "twin");
    world.subscribe(first, "t", 1);
    let (second, _) = world.resume(V3_1_1, "twin");
    world.publish(watcher, "t", 1, 1, "for the second");
    world.received(watcher);
    world.publish(first, "t", 1, 1, "of the first");
    world.ack(first, PubAck, 1);
    world.disconnect(first);
    assert_eq!(world.expect_closed(first, &[]), CloseReason::TakenOver);
    world.expect(watcher, &[]);
    world.expect(second, &["PUBLISH \"t\" qos 1 id 1 \"for the second\""]);
    assert!(world.is_open(second));
}
