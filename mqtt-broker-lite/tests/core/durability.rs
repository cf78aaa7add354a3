//! What is promised waits until it is safe, and what was promised survives (sections 4.1 to 4.6, and the rules of what
//! waits for the disk).

use super::world::*;
use mqtt_broker_lite::core::Settings;
use mqtt_packet::AckKind::{PubAck, PubComp, PubRec, PubRel};
use mqtt_packet::Version::{V3_1_1, V5};
use mqtt_packet::*;

/// A publisher, and a subscriber with a session that is kept, on a disk that has become slow.
fn slow_disk(qos: u8) -> (World, Client, Client) {
    let mut world = World::durable();
    let (publisher, _) = world.resume(V5, "p");
    let (subscriber, _) = world.resume(V5, "s");
    world.subscribe(subscriber, "t", qos);
    world.disk_is_slow = true;
    (world, publisher, subscriber)
}

// [MQTT-4.3.2-4] [MQTT-4.3.2-2 @3.1.1]
#[test]
fn puback_waits_and_a_qos_1_publish_does_not() {
    let (mut world, publisher, subscriber) = slow_disk(1);
    world.publish(publisher, "t", 1, 1, "x");
    world.send(publisher, Packet::PingReq(PingReq));
    world.expect(publisher, &["PINGRESP"]);
    world.expect(subscriber, &["PUBLISH \"t\" qos 1 id 1 \"x\""]);
    world.sync();
    world.expect(publisher, &["PUBACK id 1"]);
}

// [MQTT-4.3.3-8] [MQTT-4.3.3-1 @3.1.1]
#[test]
fn every_step_of_qos_2_waits_for_the_one_before_to_be_safe() {
    let (mut world, publisher, subscriber) = slow_disk(2);
    world.publish(publisher, "t", 2, 1, "x");
    world.expect(publisher, &[]);
    world.expect(subscriber, &[]);
    world.sync();
    world.expect(publisher, &["PUBREC id 1"]);
    world.expect(subscriber, &["PUBLISH \"t\" qos 2 id 1 \"x\""]);
    world.ack(publisher, PubRel, 1);
    world.ack(subscriber, PubRec, 1);
    world.expect(publisher, &[]);
    world.expect(subscriber, &[]);
    world.sync();
    world.expect(publisher, &["PUBCOMP id 1"]);
    world.expect(subscriber, &["PUBREL id 1"]);
    world.ack(subscriber, PubComp, 1);
    world.sync();
    assert_eq!(world.disk.stored().count(), 3, "two sessions and a subscription are left");
}

#[test]
fn a_repeat_waits_for_what_the_first_copy_wrote() {
    let (mut world, publisher, _) = slow_disk(2);
    world.publish(publisher, "t", 2, 1, "x");
    let again = Publish {
        delivery: Delivery::ExactlyOnce { id: PacketId::new(1).unwrap(), dup: true },
        ..message("t", 2, 1, "x")
    };
    world.cut(publisher);
    let publisher = world.connect_with(kept(V5, "p"));
    world.send(publisher, Packet::Publish(again));
    world.expect(publisher, &[]);
    world.sync();
    assert_eq!(world.received(publisher)[1..], ["PUBREC id 1"]);
}

// [MQTT-4.6.0-6 @3.1.1]
#[test]
fn a_qos_1_publish_does_not_overtake_one_of_qos_2_that_waits() {
    let (mut world, publisher, subscriber) = slow_disk(2);
    world.publish(publisher, "t", 2, 1, "first");
    world.publish(publisher, "t", 1, 2, "second");
    world.expect(subscriber, &[]);
    world.sync();
    let order = ["PUBLISH \"t\" qos 2 id 1 \"first\"", "PUBLISH \"t\" qos 1 id 2 \"second\""];
    world.expect(subscriber, &order);
    world.disk_is_slow = false;
    world.cut(subscriber);
    let (subscriber, _) = world.resume(V5, "s");
    let order = ["PUBLISH \"t\" qos 2 id 1 dup \"first\"", "PUBLISH \"t\" qos 1 id 2 dup \"second\""];
    world.expect(subscriber, &order);
}

#[test]
fn a_repeated_pubrel_waits_for_what_the_first_wrote() {
    let (mut world, publisher, _) = slow_disk(2);
    world.publish(publisher, "t", 2, 1, "x");
    world.sync();
    world.expect(publisher, &["PUBREC id 1"]);
    world.ack(publisher, PubRel, 1);
    world.ack(publisher, PubRel, 1);
    world.expect(publisher, &[]);
    world.cut(publisher);
    let publisher = world.connect_with(kept(V5, "p"));
    world.ack(publisher, PubRel, 1);
    world.expect(publisher, &[]);
    world.sync();
    assert_eq!(world.received(publisher)[1..], ["PUBCOMP id 1 0x92 Packet Identifier not found"]);
}

// [MQTT-3.2.0-1 @5.0]
#[test]
fn connack_and_suback_wait_and_nothing_overtakes_connack() {
    let mut world = World::durable();
    world.disk_is_slow = true;
    let client = world.connect_with(kept(V5, "s"));
    let filters = [SubscribeFilter {
        filter: TopicFilter::new("t").unwrap(),
        options: SubscribeOptions::new(QoS::ExactlyOnce),
    }];
    world.send(client, Packet::Subscribe(Subscribe::new(PacketId::MIN, &filters)));
    world.send(client, Packet::PingReq(PingReq));
    world.publish(client, "t", 0, 0, "x");
    world.expect(client, &[]);
    world.sync();
    let lines = world.received(client);
    assert!(lines[0].starts_with("CONNACK"), "{lines:?}");
    let mut rest = lines[1..].to_vec();
    rest.sort();
    assert_eq!(rest, ["PINGRESP", "PUBLISH \"t\" qos 0 \"x\"", "SUBACK id 1 [0x02 Granted QoS 2]"]);
}

#[test]
fn sessions_that_end_with_their_connection_wait_for_nothing() {
    let mut world = World::durable();
    world.disk_is_slow = true;
    let publisher = world.client(V5, "p");
    let subscriber = world.client(V5, "s");
    world.subscribe(subscriber, "t", 2);
    world.publish(publisher, "t", 2, 1, "x");
    world.expect(publisher, &["PUBREC id 1"]);
    world.expect(subscriber, &["PUBLISH \"t\" qos 2 id 1 \"x\""]);
    world.ack(subscriber, PubRec, 1);
    world.expect(subscriber, &["PUBREL id 1"]);
    world.sync();
    assert_eq!(world.disk.stored().count(), 0);
}

#[test]
fn a_resumed_session_repeats_only_what_is_safe() {
    let (mut world, publisher, subscriber) = slow_disk(1);
    world.publish(publisher, "t", 1, 1, "x");
    world.cut(subscriber);
    let subscriber = world.connect_with(kept(V5, "s"));
    world.expect(subscriber, &[]);
    world.sync();
    assert_eq!(world.received(subscriber)[1..], ["PUBLISH \"t\" qos 1 id 1 dup \"x\""]);
}

// [MQTT-3.14.4-3 @5.0]
#[test]
fn a_connection_is_closed_once_its_will_is_gone_for_good() {
    let mut world = World::durable();
    let will = Will {
        topic: TopicName::new("will").unwrap(),
        payload: b"gone",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    let mortal = Connect { will: Some(will), ..kept(V3_1_1, "mortal") };
    let client = world.connect_with(mortal);
    world.accepted(client);
    world.disk_is_slow = true;
    world.disconnect(client);
    assert!(world.is_open(client));
    world.sync();
    assert!(!world.is_open(client));
    // Without that, a crash publishes it.
    for says_goodbye in [true, false] {
        let client = world.connect_with(mortal);
        world.sync();
        world.accepted(client);
        if says_goodbye {
            world.disconnect(client);
            world.sync();
        }
        world.crash();
        let watcher = world.client(V5, "w");
        world.subscribe(watcher, "will", 0);
        world.seconds(1);
        assert_eq!(world.received(watcher).len(), usize::from(!says_goodbye));
    }
}

// [U311-4.1.0-1] [MQTT-4.1.0-1 @3.1.1] [MQTT-4.1.0-1 @5.0]
#[test]
fn everything_promised_is_there_after_a_crash() {
    let mut world = World::durable();
    let (publisher, _) = world.resume(V5, "p");
    let (client, _) = world.resume(V3_1_1, "s");
    world.subscribe(client, "t/#", 2);
    world.subscribe(client, "gone", 2);
    world.unsubscribe(client, "gone");
    world.retain(publisher, "kept", "x");
    world.retain(publisher, "deleted", "x");
    world.retain(publisher, "deleted", "");
    for (id, qos) in [(1, 1), (2, 2), (3, 2), (4, 1)] {
        world.publish(publisher, "t/x", qos, id, &format!("{id}"));
    }
    world.ack(client, PubAck, 1);
    world.ack(client, PubRec, 2);
    world.cut(client);
    world.publish(publisher, "t/x", 1, 5, "5");
    world.crash();
    let (client, present) = world.resume(V3_1_1, "s");
    assert!(present);
    world.expect(
        client,
        &[
            "PUBREL id 2",
            "PUBLISH \"t/x\" qos 2 id 3 dup \"3\"",
            "PUBLISH \"t/x\" qos 1 id 4 dup \"4\"",
            "PUBLISH \"t/x\" qos 1 id 5 \"5\"",
        ],
    );
    world.subscribe_with(client, "+", SubscribeOptions::default(), 0);
    world.expect(client, &["SUBACK id 99 [0x00 Success]", "PUBLISH \"kept\" qos 0 retain \"x\""]);
    // The publisher's open exchanges, too: a repeat is known, and nothing of it is delivered.
    let (publisher, _) = world.resume(V5, "p");
    let again = Publish {
        delivery: Delivery::ExactlyOnce { id: PacketId::new(2).unwrap(), dup: true },
        ..message("t/x", 2, 2, "2")
    };
    world.send(publisher, Packet::Publish(again));
    world.expect(publisher, &["PUBREC id 2"]);
    world.publish(publisher, "t/x", 1, 6, "6");
    world.publish(publisher, "gone", 1, 7, "7");
    // Only by `+`, not by the subscription of QoS 2 that was removed.
    world.expect(client, &["PUBLISH \"t/x\" qos 1 id 6 \"6\"", "PUBLISH \"gone\" qos 0 \"7\""]);
    for (kind, id) in [(PubComp, 2), (PubRec, 3), (PubComp, 3), (PubAck, 4), (PubAck, 5), (PubAck, 6)] {
        world.ack(client, kind, id);
    }
    for id in [2, 3] {
        world.ack(publisher, PubRel, id);
    }
    assert_eq!(world.disk.stored().count(), 5, "two sessions, two subscriptions, one retained message");
}

#[test]
fn what_was_not_safe_was_not_promised() {
    let (mut world, publisher, _) = slow_disk(2);
    world.publish(publisher, "t", 2, 1, "x");
    world.expect(publisher, &[]);
    world.crash();
    world.disk_is_slow = false;
    let (subscriber, present) = world.resume(V5, "s");
    assert!(present);
    world.expect(subscriber, &[]);
    // The publisher repeats what was not acknowledged, and it is new.
    let (publisher, _) = world.resume(V5, "p");
    world.publish(publisher, "t", 2, 1, "x");
    world.expect(publisher, &["PUBREC id 1"]);
    world.expect(subscriber, &["PUBLISH \"t\" qos 2 id 1 \"x\""]);
}

// [U5-4.1.1-1]
#[test]
fn time_while_the_broker_was_down_counts() {
    let mut world = World::durable();
    let publisher = world.client(V5, "p");
    for (name, seconds) in [("short", 10), ("long", 100)] {
        let block = [0x11, 0, 0, 0, seconds];
        let client = world
            .connect_with(Connect { properties: properties(PacketType::Connect, &block), ..clean(V5, name) });
        world.accepted(client);
        world.subscribe(client, "t", 1);
        world.cut(client);
    }
    let publish = Publish {
        properties: properties(PacketType::Publish, &[0x02, 0, 0, 0, 10]),
        ..message("t", 1, 1, "x")
    };
    world.send(publisher, Packet::Publish(publish));
    world.now.wall += 20_000;
    world.crash();
    world.pass(0);
    let (_, present) = world.resume(V5, "short");
    assert!(!present);
    let (long, present) = world.resume(V5, "long");
    assert!(present);
    world.expect(long, &[]);
}

#[test]
fn a_session_that_is_not_kept_any_more_leaves_nothing_behind() {
    let (mut world, publisher, subscriber) = slow_disk(1);
    world.disk_is_slow = false;
    world.cut(subscriber);
    world.publish(publisher, "t", 1, 1, "x");
    world.publish(publisher, "t", 1, 2, "y");
    let subscriber = world.connect_with(Connect { clean_start: false, ..clean(V5, "s") });
    assert!(world.accepted(subscriber).contains("session present"));
    world.expect(subscriber, &["PUBLISH \"t\" qos 1 id 1 \"x\"", "PUBLISH \"t\" qos 1 id 2 \"y\""]);
    world.ack(subscriber, PubAck, 1);
    world.cut(subscriber);
    assert_eq!(world.disk.stored().count(), 1, "the publisher's session");
}

/// Of a long queue only the beginning is in memory; everything comes, once and in order.
#[test]
fn what_is_in_flight_of_a_session_that_is_not_kept_any_more_leaves_nothing_behind() {
    for qos in [1, 2] {
        let mut world = World::durable();
        let publisher = world.client(V5, "p");
        let (subscriber, _) = world.resume(V5, "s");
        world.subscribe(subscriber, "t", qos);
        world.publish(publisher, "t", qos, 1, "x");
        let subscriber = world.connect_with(Connect { clean_start: false, ..clean(V5, "s") });
        world.received(subscriber);
        if qos == 1 {
            world.ack(subscriber, PubAck, 1);
        } else {
            world.ack(subscriber, PubRec, 1);
            world.ack(subscriber, PubComp, 1);
        }
        world.ack(publisher, PubRel, 1);
        assert_eq!(world.disk.stored().count(), 0);
    }
}

#[test]
fn a_queue_is_read_back_from_the_disk() {
    let mut world = World::with(Settings { durable: true, queue_window: 4, ..Settings::default() });
    let (publisher, _) = world.resume(V5, "p");
    let (subscriber, _) = world.resume(V5, "s");
    world.subscribe(subscriber, "t", 1);
    world.cut(subscriber);
    for number in 1..=50_u16 {
        world.publish(publisher, "t", 1, number, &number.to_string());
    }
    let (subscriber, _) = world.resume(V5, "s");
    let all: Vec<_> =
        (1..=50).map(|number| format!("PUBLISH \"t\" qos 1 id {number} \"{number}\"")).collect();
    assert_eq!(world.received(subscriber), all);
    for number in 1..=50 {
        world.ack(subscriber, PubAck, number);
    }
    assert_eq!(world.disk.stored().count(), 3, "two sessions and a subscription are left");
}

/// A client that comes back for the last time gets what waits on the disk, in order, and what comes meanwhile behind it.
#[test]
fn a_session_that_is_not_kept_any_more_is_read_back_to_its_end() {
    for ending in ["reads", "leaves", "crashes"] {
        let mut world = World::with(Settings { durable: true, queue_window: 4, ..Settings::default() });
        let (publisher, _) = world.resume(V5, "p");
        let (subscriber, _) = world.resume(V5, "s");
        world.subscribe(subscriber, "t", 1);
        world.cut(subscriber);
        let number = |number: u16| number.to_string();
        for id in 1..=50 {
            world.publish(publisher, "t", 1, id, &number(id));
        }
        let block = [0x21, 0, 1];
        let last = Connect { properties: properties(PacketType::Connect, &block), ..clean(V5, "s") };
        let subscriber = world.connect_with(Connect { clean_start: false, ..last });
        assert!(world.accepted(subscriber).contains("session present"));
        world.publish(publisher, "t", 1, 51, &number(51));
        let read = if ending == "reads" { 51 } else { 20 };
        for id in 1..=read {
            world.expect(subscriber, &[&format!("PUBLISH \"t\" qos 1 id {id} \"{id}\"")]);
            world.ack(subscriber, PubAck, id);
        }
        match ending {
            "leaves" => world.cut(subscriber),
            "crashes" => {
                world.crash();
                world.pass(1);
            }
            _ => {}
        }
        assert_eq!(world.disk.stored().count(), 1, "{ending}: the publisher's session is left");
    }
}

/// What waited on the disk only goes with its session.
#[test]
fn nothing_is_left_of_a_long_queue_when_its_session_ends() {
    let mut world = World::with(Settings { durable: true, queue_window: 4, ..Settings::default() });
    let (publisher, _) = world.resume(V5, "p");
    let (subscriber, _) = world.resume(V5, "s");
    world.subscribe(subscriber, "t", 1);
    world.cut(subscriber);
    for number in 1..=50_u16 {
        world.publish(publisher, "t", 1, number, "x");
    }
    world.connect_with(clean(V5, "s"));
    assert_eq!(world.disk.stored().count(), 1, "the publisher's session is left");
}

/// Nor of a will that its own client would have got: it is the last thing that is written for the session.
#[test]
fn nothing_is_left_of_a_will_that_waits_for_a_session_that_ends_with_it() {
    let settings = Settings { durable: true, queue_window: 4, window: 1000, ..Settings::default() };
    let mut world = World::with(settings);
    let (publisher, _) = world.resume(V5, "p");
    let will = Will {
        topic: TopicName::new("t").unwrap(),
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    let subscriber = world.connect_with(Connect { will: Some(will), ..kept(V5, "s") });
    world.accepted(subscriber);
    world.subscribe(subscriber, "t", 1);
    world.stall(subscriber);
    for number in 1..=50_u16 {
        world.publish(publisher, "t", 1, number, &"x".repeat(100));
    }
    world.connect_with(clean(V5, "s"));
    assert_eq!(world.disk.stored().count(), 1, "the publisher's session is left");
}

/// 5.0 is told that there is no room; to 3.1.1 nothing can be said, so nothing more is read from it.
#[test]
fn a_full_disk_refuses_and_recovers() {
    let mut world = World::durable();
    let (new, _) = world.resume(V5, "new");
    let (old, _) = world.resume(V3_1_1, "old");
    let (subscriber, _) = world.resume(V5, "s");
    world.subscribe(subscriber, "t", 1);
    world.fill_disk(true);
    world.publish(new, "t", 1, 1, "x");
    world.expect(new, &["PUBACK id 1 0x97 Quota exceeded"]);
    world.expect(subscriber, &[]);
    world.publish(old, "t", 1, 1, "y");
    world.expect(old, &["PUBACK id 1"]);
    assert!(world.is_paused(old));
    // What is there is delivered, also to who comes back meanwhile.
    world.received(subscriber);
    world.cut(subscriber);
    let (subscriber, _) = world.resume(V5, "s");
    world.expect(subscriber, &["PUBLISH \"t\" qos 1 id 1 dup \"y\""]);
    world.fill_disk(false);
    assert!(!world.is_paused(old));
    world.publish(new, "t", 1, 2, "z");
    world.expect(new, &["PUBACK id 2"]);
}
