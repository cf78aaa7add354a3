//! Sessions that outlive their connections (sections 3.1.2.4, 3.1.2.11.2, 4.1, 4.4).

use super::world::*;
use mqtt_broker_lite::core::{Settings, home};
use mqtt_packet::AckKind::{PubAck, PubComp, PubRec, PubRel};
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

const ALL: [Version; 3] = [V3_1, V3_1_1, V5];

// [MQTT-3.1.2-4 @3.1.1] [MQTT-3.1.2-5 @3.1.1] [MQTT-3.1.2-5 @5.0] [MQTT-3.1.2-6 @5.0] [MQTT-3.2.2-2 @3.1.1]
// [MQTT-3.2.2-3 @3.1.1] [MQTT-3.2.2-3 @5.0] [MQTT-4.5.0-1 @3.1.1] [MQTT-4.5.0-1 @5.0] [MQTT-3.1.2-23 @5.0]
// [MQTT-4.1.0-1 @3.1.1] [MQTT-4.1.0-1 @5.0] [MQTT-4.1.0-2 @3.1.1] [MQTT-3.1.4-3 @3.1.1] [MQTT-3.1.4-4 @5.0]
#[test]
fn a_kept_session_gets_what_came_while_it_was_away() {
    for version in ALL {
        let mut world = World::new();
        let publisher = world.client(V5, "p");
        let (client, present) = world.resume(version, "s");
        assert!(!present);
        world.subscribe(client, "t/#", 2);
        world.cut(client);
        world.publish(publisher, "t/0", 0, 0, "zero");
        world.publish(publisher, "t/1", 1, 1, "one");
        world.publish(publisher, "t/2", 2, 2, "two");
        world.publish(publisher, "other", 1, 3, "no");
        world.seconds(10 * 365 * 86_400);
        let (client, present) = world.resume(version, "s");
        assert_eq!(present, version != V3_1, "3.1 has no flag for it");
        world.expect(client, &["PUBLISH \"t/1\" qos 1 id 1 \"one\"", "PUBLISH \"t/2\" qos 2 id 2 \"two\""]);
        world.publish(publisher, "t/0", 0, 0, "live");
        world.expect(client, &["PUBLISH \"t/0\" qos 0 \"live\""]);
    }
}

// [MQTT-3.1.2-6 @3.1.1] [MQTT-3.1.2-4 @5.0] [MQTT-3.2.2-1 @3.1.1] [MQTT-3.2.2-2 @5.0] [MQTT-3.1.2-7 @3.1.1]
#[test]
fn a_clean_start_forgets_the_session_and_keeps_what_is_retained() {
    for version in ALL {
        let mut world = World::new();
        let publisher = world.client(V5, "p");
        let (client, _) = world.resume(version, "s");
        world.subscribe(client, "t", 1);
        world.retain(client, "kept", "x");
        world.cut(client);
        world.publish(publisher, "t", 1, 1, "one");
        let client = world.connect_with(clean(version, "s"));
        assert!(!world.accepted(client).contains("session present"));
        world.publish(publisher, "t", 1, 1, "two");
        world.subscribe(client, "kept", 0);
        world.expect(client, &["PUBLISH \"kept\" qos 0 retain \"x\""]);
        // It ends with its connection.
        world.disconnect(client);
        let (_, present) = world.resume(version, "s");
        assert!(!present);
    }
}

// [U5-3.1.2-8] [MQTT-4.1.0-2 @5.0] [U5-4.1.1-1] [MQTT-3.1.2-23 @5.0]
#[test]
fn a_session_ends_when_its_expiry_interval_has_run_out() {
    let expiry = |seconds: u8| [0x11, 0, 0, 0, seconds];
    for (seconds, after, there) in [(0, 0, false), (10, 9_999, true), (10, 10_000, false)] {
        let mut world = World::new();
        let block = expiry(seconds);
        let connect = Connect { properties: properties(PacketType::Connect, &block), ..clean(V5, "s") };
        let client = world.connect_with(connect);
        world.accepted(client);
        // It counts from the end of the connection.
        world.seconds(100);
        world.cut(client);
        world.pass(after);
        let (_, present) = world.resume(V5, "s");
        assert_eq!(present, there, "{seconds} {after}");
    }
}

// [U5-3.14.2-1]
#[test]
fn disconnect_can_change_the_expiry_but_not_from_nothing() {
    let mut world = World::new();
    let (client, _) = world.resume(V5, "s");
    world.hex(client, "E0 07 00 05 11 0000000A");
    world.expect_closed(client, &[]);
    world.pass(10_000);
    let (client, present) = world.resume(V5, "s");
    assert!(!present);
    world.cut(client);
    let watcher = world.client(V3_1_1, "w");
    world.subscribe(watcher, "will", 0);
    let will = Will {
        topic: TopicName::new("will").unwrap(),
        payload: b"x",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    let client = world.connect_with(Connect { will: Some(will), ..clean(V5, "s") });
    world.accepted(client);
    world.hex(client, "E0 07 00 05 11 0000000A");
    let bytes = world.bytes(client);
    assert_eq!((bytes[0], bytes[2]), (0xE0, 0x82));
    world.expect(watcher, &["PUBLISH \"will\" qos 0 \"x\""]);
    // To end it at once is always allowed.
    let (client, _) = world.resume(V5, "s2");
    world.hex(client, "E0 07 00 05 11 00000000");
    let (_, present) = world.resume(V5, "s2");
    assert!(!present);
}

// [MQTT-4.4.0-1 @3.1.1] [MQTT-4.4.0-1 @5.0] [MQTT-3.3.1-1 @3.1.1] [MQTT-3.3.1-1 @5.0] [MQTT-4.3.3-6] [MQTT-4.3.3-3]
// [U311-4.4.0-1]
#[test]
fn what_is_in_flight_is_repeated_at_reconnect_and_at_no_other_time() {
    for version in ALL {
        let mut world = World::new();
        let publisher = world.client(V5, "p");
        let (client, _) = world.resume(version, "s");
        world.subscribe(client, "t", 2);
        for (id, qos) in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 1)] {
            world.publish(publisher, "t", qos, id, &format!("{id}"));
        }
        world.received(client);
        world.ack(client, PubRec, 3);
        world.ack(client, PubRec, 2);
        world.expect(client, &["PUBREL id 3", "PUBREL id 2"]);
        world.ack(client, PubAck, 1);
        world.seconds(3600);
        world.expect(client, &[]);
        world.cut(client);
        let (client, _) = world.resume(version, "s");
        world.expect(
            client,
            &[
                "PUBREL id 3",
                "PUBREL id 2",
                "PUBLISH \"t\" qos 2 id 4 dup \"4\"",
                "PUBLISH \"t\" qos 1 id 5 dup \"5\"",
            ],
        );
        world.publish(publisher, "t", 1, 6, "6");
        world.expect(client, &["PUBLISH \"t\" qos 1 id 6 \"6\""]);
        for (kind, id) in [(PubComp, 3), (PubComp, 2), (PubRec, 4), (PubComp, 4), (PubAck, 5), (PubAck, 6)] {
            world.ack(client, kind, id);
        }
        world.received(client);
        world.cut(client);
        let (client, _) = world.resume(version, "s");
        world.expect(client, &[]);
    }
}

#[test]
fn what_is_repeated_is_paced_by_the_new_receive_maximum_and_keeps_its_order() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let (client, _) = world.resume(V5, "s");
    world.subscribe(client, "t", 1);
    for id in 1..=3 {
        world.publish(publisher, "t", 1, id, &format!("{id}"));
    }
    world.cut(client);
    world.publish(publisher, "t", 1, 4, "4");
    let block = [FOR_EVER, &[0x21, 0, 1]].concat();
    let connect = Connect { properties: properties(PacketType::Connect, &block), ..kept(V5, "s") };
    let client = world.connect_with(connect);
    world.accepted(client);
    world.publish(publisher, "t", 1, 5, "5");
    for id in 1..=5 {
        let dup = if id <= 3 { " dup" } else { "" };
        world.expect(client, &[&format!("PUBLISH \"t\" qos 1 id {id}{dup} \"{id}\"")]);
        world.ack(client, PubAck, id);
    }
    world.expect(client, &[]);
}

/// Repeated PUBRELs count as messages in flight, also where there are more of them than the client takes messages.
// [MQTT-3.3.4-9] [MQTT-4.9.0-1]
#[test]
fn repeated_pubrels_do_not_raise_what_the_client_takes() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let (client, _) = world.resume(V5, "s");
    world.subscribe(client, "t", 2);
    for id in 1..=5 {
        world.publish(publisher, "t", 2, id, "x");
        world.ack(client, PubRec, id);
    }
    world.cut(client);
    for id in 1..=5 {
        world.ack(publisher, PubRel, id);
        world.publish(publisher, "t", 1, id, "y");
    }
    let block = [FOR_EVER, &[0x21, 0, 2]].concat();
    let connect = Connect { properties: properties(PacketType::Connect, &block), ..kept(V5, "s") };
    let client = world.connect_with(connect);
    world.accepted(client);
    world.expect(
        client,
        &[1, 2, 3, 4, 5].map(|id| format!("PUBREL id {id}")).each_ref().map(|line| &line[..]),
    );
    for id in 1..=3 {
        world.ack(client, PubComp, id);
        world.expect(client, &[]);
    }
    world.ack(client, PubComp, 4);
    world.expect(client, &["PUBLISH \"t\" qos 1 id 6 \"y\""]);
    world.ack(client, PubComp, 5);
    world.expect(client, &["PUBLISH \"t\" qos 1 id 7 \"y\""]);
    world.ack(client, PubAck, 7);
    world.expect(client, &["PUBLISH \"t\" qos 1 id 8 \"y\""]);
}

// [MQTT-4.3.3-10] [MQTT-4.3.3-2 @3.1.1]
#[test]
fn the_identifiers_of_received_messages_survive_the_connection() {
    let mut world = World::new();
    let watcher = world.client(V5, "w");
    world.subscribe(watcher, "t", 0);
    let (client, _) = world.resume(V3_1_1, "s");
    world.publish(client, "t", 2, 5, "x");
    world.cut(client);
    let (client, _) = world.resume(V3_1_1, "s");
    let again = Publish {
        delivery: Delivery::ExactlyOnce { id: PacketId::new(5).unwrap(), dup: true },
        ..message("t", 2, 5, "x")
    };
    world.send(client, Packet::Publish(again));
    world.expect(client, &["PUBREC id 5"]);
    world.expect(watcher, &["PUBLISH \"t\" qos 0 \"x\""]);
    world.cut(client);
    let (client, _) = world.resume(V3_1_1, "s");
    world.ack(client, PubRel, 5);
    world.expect(client, &["PUBCOMP id 5"]);
    world.publish(client, "t", 2, 5, "y");
    world.expect(watcher, &["PUBLISH \"t\" qos 0 \"y\""]);
}

// [MQTT-3.3.2-5] [MQTT-3.3.2-6] [MQTT-4.3.3-7] [MQTT-4.3.3-13]
#[test]
fn a_message_expires_while_it_waits_but_not_once_it_was_sent() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let send = |world: &mut World, id: u16, seconds: u8| {
        let block = [0x02, 0, 0, 0, seconds];
        let publish =
            Publish { properties: properties(PacketType::Publish, &block), ..message("t", 1, id, "x") };
        world.send(publisher, Packet::Publish(publish));
    };
    let (client, _) = world.resume(V5, "s");
    world.subscribe(client, "t", 1);
    world.cut(client);
    send(&mut world, 1, 10);
    send(&mut world, 2, 20);
    world.seconds(12);
    let (client, _) = world.resume(V5, "s");
    world.expect(client, &["PUBLISH \"t\" qos 1 id 1 \"x\" [MessageExpiryInterval(8)]"]);
    world.cut(client);
    world.seconds(100);
    let (client, _) = world.resume(V5, "s");
    world.expect(client, &["PUBLISH \"t\" qos 1 id 1 dup \"x\" [MessageExpiryInterval(0)]"]);
    world.ack(client, PubAck, 1);
}

#[test]
fn a_session_may_be_resumed_in_another_version() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let (client, _) = world.resume(V3_1_1, "s");
    world.subscribe(client, "t", 1);
    world.publish(publisher, "t", 1, 1, "x");
    world.cut(client);
    let (client, present) = world.resume(V5, "s");
    assert!(present);
    world.expect(client, &["PUBLISH \"t\" qos 1 id 1 dup \"x\""]);
}

#[test]
fn a_full_queue_drops_qos_0_first_and_then_the_newest() {
    let settings = Settings { max_queue_messages: 3, queue_qos0_offline: true, ..Settings::default() };
    let mut world = World::with(settings);
    let publisher = world.client(V5, "p");
    let (client, _) = world.resume(V5, "s");
    world.subscribe(client, "t", 1);
    world.cut(client);
    for (id, qos) in [(1, 0), (2, 1), (3, 0), (4, 1), (5, 1), (6, 1)] {
        world.publish(publisher, "t", qos, id, &format!("{id}"));
    }
    let (client, _) = world.resume(V5, "s");
    world.expect(
        client,
        &[
            "PUBLISH \"t\" qos 1 id 1 \"2\"",
            "PUBLISH \"t\" qos 1 id 2 \"4\"",
            "PUBLISH \"t\" qos 1 id 3 \"5\"",
        ],
    );
}

/// Names are given out by a scheme, and what belongs together differs in little: no shard may have too many of them, and
/// neither all pairs nor none may be split.
#[test]
fn names_that_are_alike_are_at_home_everywhere() {
    for shards in 2..=8_u16 {
        let mut counts = vec![0_usize; usize::from(shards)];
        let mut split = 0;
        for number in 0..1000 {
            let homes = ["s", "p"].map(|role| home(format!("plant-7-{role}{number}").as_bytes(), shards));
            split += usize::from(homes[0] != homes[1]);
            for home in homes {
                counts[usize::from(home.0)] += 1;
            }
        }
        let expected = 2000 / usize::from(shards);
        assert!(counts.iter().all(|count| count.abs_diff(expected) < expected / 3), "{counts:?}");
        assert!((400..950).contains(&split), "{split} of 1000 pairs with {shards} shards");
    }
}
