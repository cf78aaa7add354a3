//! Retained messages (sections 3.3.1.3, 3.8.3.1).

use super::world::*;
use mqtt_broker_lite::core::Settings;
use mqtt_packet::RetainHandling::{DoNotSend, SendAtSubscribe, SendIfNew};
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

const ALL: [Version; 3] = [V3_1, V3_1_1, V5];

fn options(retain_handling: RetainHandling) -> SubscribeOptions {
    SubscribeOptions { retain_handling, ..SubscribeOptions::new(QoS::ExactlyOnce) }
}

// [MQTT-3.3.1-5 @3.1.1] [MQTT-3.3.1-5 @5.0] [MQTT-3.3.1-6 @3.1.1] [MQTT-3.3.1-7 @3.1.1] [MQTT-3.3.1-8 @3.1.1]
// [MQTT-3.3.1-9 @3.1.1] [U5-3.3.1-1] [MQTT-3.3.1-12 @5.0]
#[test]
fn the_last_retained_message_goes_to_who_subscribes_later() {
    for from in ALL {
        for to in ALL {
            let mut world = World::new();
            let publisher = world.client(from, "p");
            let early = world.client(to, "early");
            world.subscribe(early, "t/+", 2);
            let send = |world: &mut World, qos, payload| {
                let publish = Publish { retain: true, ..message("t/a", qos, 1, payload) };
                world.send(publisher, Packet::Publish(publish));
            };
            send(&mut world, 1, "old");
            send(&mut world, 0, "zero");
            send(&mut world, 1, "new");
            // Who was subscribed before sees it as any other.
            assert!(world.received(early).iter().all(|line| !line.contains("retain")));
            let late = world.client(to, "late");
            world.subscribe(late, "t/#", 2);
            world.expect(late, &["PUBLISH \"t/a\" qos 1 id 1 retain \"new\""]);
        }
    }
}

// Where nothing more is kept, who can be told is told, at the shard where the topic is at home; others are heard by
// those who are there. [MQTT-3.4.2-1]
#[test]
fn one_retained_message_too_many_is_refused() {
    let mut world = World::with(Settings { max_retained: 0, ..Settings::default() });
    let [publisher, old] = [(V5, "p"), (V3_1_1, "old")].map(|(version, id)| world.client(version, id));
    let early = world.client(V5, "early");
    world.subscribe(early, "#", 0);
    let mut send = |client, topic: &str| {
        world.send(client, Packet::Publish(Publish { retain: true, ..message(topic, 1, 1, "x") }));
        (world.received(client), world.received(early).len())
    };
    let mut refused = 0;
    for topic in (0..32).map(|number| format!("t/{number}")) {
        match send(publisher, &topic) {
            (answer, 0) => {
                assert_eq!(answer, ["PUBACK id 1 0x97 Quota exceeded"]);
                refused += 1;
            }
            (answer, heard) => assert_eq!((answer, heard), (vec!["PUBACK id 1".to_owned()], 1)),
        }
        assert_eq!(send(old, &topic), (vec!["PUBACK id 1".to_owned()], 1));
    }
    assert!(refused > 0);
    let late = world.client(V5, "late");
    world.subscribe(late, "#", 0);
    world.expect(late, &[]);
}

// [MQTT-3.3.1-10 @3.1.1] [MQTT-3.3.1-11 @3.1.1] [MQTT-3.3.1-12 @3.1.1] [MQTT-3.3.1-6 @5.0] [MQTT-3.3.1-7 @5.0]
// [MQTT-3.3.1-8 @5.0]
#[test]
fn only_an_empty_message_with_the_flag_deletes() {
    for version in ALL {
        let mut world = World::new();
        let client = world.client(version, "p");
        let early = world.client(version, "early");
        world.subscribe(early, "t", 0);
        world.retain(client, "t", "kept");
        world.publish(client, "t", 0, 0, "");
        world.publish(client, "t", 0, 0, "live");
        let late = world.client(version, "late");
        world.subscribe(late, "t", 0);
        world.expect(late, &["PUBLISH \"t\" qos 0 retain \"kept\""]);
        world.retain(client, "t", "");
        let later = world.client(version, "later");
        world.subscribe(later, "t", 0);
        world.expect(later, &[]);
        let lines = ["kept", "", "live", ""].map(|payload| format!("PUBLISH \"t\" qos 0 {payload:?}"));
        assert_eq!(world.received(early), lines);
    }
}

// [MQTT-3.3.1-9 @5.0] [MQTT-3.3.1-10 @5.0] [MQTT-3.3.1-11 @5.0] [MQTT-3.8.4-4 @5.0]
#[test]
fn retain_handling_decides_what_a_subscription_brings() {
    for (handling, when_new, when_known) in
        [(SendAtSubscribe, true, true), (SendIfNew, true, false), (DoNotSend, false, false)]
    {
        let mut world = World::new();
        let client = world.client(V5, "s");
        world.retain(client, "t", "kept");
        for expected in [when_new, when_known] {
            world.subscribe_with(client, "t", options(handling), 0);
            let lines = world.received(client);
            assert_eq!(lines.len() == 2, expected, "{handling:?}: {lines:?}");
        }
    }
}

// [MQTT-3.3.1-12 @5.0] [MQTT-3.3.1-13]
#[test]
fn retain_as_published_keeps_the_flag() {
    for retain_as_published in [false, true] {
        for retain in [false, true] {
            let mut world = World::new();
            let client = world.client(V5, "s");
            let options = SubscribeOptions { retain_as_published, ..SubscribeOptions::default() };
            world.subscribe_with(client, "t", options, 0);
            world.received(client);
            let publish = Publish { retain, ..message("t", 0, 0, "x") };
            world.send(client, Packet::Publish(publish));
            let flag = if retain && retain_as_published { " retain" } else { "" };
            world.expect(client, &[&format!("PUBLISH \"t\" qos 0{flag} \"x\"")]);
        }
    }
}

// [U5-3.3.1-2] [MQTT-3.3.2-6]
#[test]
fn a_retained_message_expires() {
    let mut world = World::new();
    let client = world.client(V5, "s");
    let publish = Publish {
        retain: true,
        properties: properties(PacketType::Publish, &[0x02, 0, 0, 0, 10]),
        ..message("t", 0, 0, "x")
    };
    world.send(client, Packet::Publish(publish));
    world.seconds(3);
    world.subscribe_with(client, "t", options(SendAtSubscribe), 5);
    assert_eq!(
        world.received(client)[1],
        "PUBLISH \"t\" qos 0 retain \"x\" [MessageExpiryInterval(7), SubscriptionIdentifier(5)]"
    );
    world.seconds(7);
    world.subscribe_with(client, "t", options(SendAtSubscribe), 5);
    assert_eq!(world.received(client).len(), 1);
}

#[test]
fn many_retained_messages_are_walked_and_never_heaped_up() {
    let settings = Settings { window: 2000, max_queue_messages: 10, ..Settings::default() };
    let mut world = World::with(settings);
    let publisher = world.client(V5, "p");
    for index in 0..3000 {
        world.retain(publisher, &format!("t/{index:04}/a"), "0123456789");
        world.retain(publisher, &format!("t/{index:04}/b"), "no");
    }
    let client = world.client(V5, "s");
    world.stall(client);
    world.subscribe_with(client, "t/+/a", options(SendAtSubscribe), 0);
    let mut got = 0;
    loop {
        let bytes = world.bytes(client);
        assert!(bytes.len() < 3000, "a burst of {} bytes", bytes.len());
        if bytes.is_empty() {
            break;
        }
        got += bytes.windows(10).filter(|part| part == b"0123456789").count();
        world.take(client);
    }
    assert_eq!(got, 3000);
    // A walk that finds nothing goes on in pieces, and ends.
    world.unstall(client);
    world.subscribe_with(client, "+/+/c", options(SendAtSubscribe), 0);
    world.pass(1000);
    world.expect(client, &["SUBACK id 99 [0x02 Granted QoS 2]"]);
}

/// The walk that a SUBSCRIBE began goes on when another replaces the subscription and asks for no walk of its own.
#[test]
fn nothing_retained_is_lost_when_a_subscription_is_replaced() {
    for handling in [SendIfNew, DoNotSend, SendAtSubscribe] {
        let mut world = World::with(Settings { window: 500, ..Settings::default() });
        let publisher = world.client(V5, "p");
        for number in 0..200 {
            world.retain(publisher, &format!("t/{number}"), "kept");
        }
        let client = world.client(V5, "c");
        world.stall(client);
        world.subscribe_with(client, "t/#", options(SendAtSubscribe), 1);
        world.subscribe_with(client, "t/#", options(handling), 2);
        world.unstall(client);
        let lines = world.received(client);
        let topics: std::collections::BTreeSet<_> = lines
            .iter()
            .filter(|line| line.starts_with("PUBLISH"))
            .map(|line| line.split('"').nth(1))
            .collect();
        assert_eq!(topics.len(), 200, "{handling:?}");
        assert!(lines.last().unwrap().contains("SubscriptionIdentifier(2)"), "{:?}", lines.last());
    }
}
