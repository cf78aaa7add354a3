//! Retained messages (sections 3.3.1.3, 3.8.3.1).

use super::world::*;
use mqtt_broker_lite::core::{Change, Pressure, Settings};
use mqtt_packet::RetainHandling::{DoNotSend, SendAtSubscribe, SendIfNew};
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;
use std::collections::BTreeSet;

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

/// A retained message at QoS 1 or 2, and the answer to it.
fn offer(world: &mut World, client: Client, topic: &str, qos: u8, payload: &str) -> String {
    world.send(client, Packet::Publish(Publish { retain: true, ..message(topic, qos, 1, payload) }));
    world.received(client).join(", ")
}

fn topics(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("t/{number}"))
}

/// What somebody finds who subscribes now.
fn kept(world: &mut World) -> Vec<String> {
    let late = world.client(V5, "late");
    world.subscribe(late, "t/#", 0);
    let lines = world.received(late);
    world.disconnect(late);
    lines
}

// Where nothing more is kept, who can be told is told, wherever the topic is at home; others are heard by those who are
// there. [MQTT-3.4.2-1] [MQTT-3.5.2-1]
#[test]
fn one_retained_message_too_many_is_refused() {
    let mut world = World::with(Settings { max_retained: 0, ..Settings::default() });
    let [publisher, old] = [(V5, "p"), (V3_1_1, "old")].map(|(version, id)| world.client(version, id));
    let early = world.client(V5, "early");
    world.subscribe(early, "#", 0);
    for topic in topics(32) {
        assert_eq!(offer(&mut world, publisher, &topic, 1, "x"), "PUBACK id 1 0x97 Quota exceeded");
        assert_eq!(offer(&mut world, publisher, &topic, 2, "x"), "PUBREC id 1 0x97 Quota exceeded");
        world.expect(early, &[]);
        assert_eq!(offer(&mut world, old, &topic, 1, "x"), "PUBACK id 1");
        assert_eq!(offer(&mut world, publisher, &topic, 0, "x"), "");
        assert_eq!(world.received(early).len(), 2);
    }
    assert_eq!(kept(&mut world), [""; 0]);
}

// What is acknowledged without an error is kept, and only that; what has a place keeps it and can be replaced.
#[test]
fn whoever_is_not_refused_finds_his_message_kept() {
    for max_retained in [1, 5, 100] {
        let mut world = World::with(Settings { max_retained, ..Settings::default() });
        let publishers = ["p", "q", "r", "s"].map(|id| world.client(V5, id));
        let mut places = BTreeSet::new();
        for (index, topic) in topics(500).enumerate() {
            let answer = offer(&mut world, publishers[index % 4], &topic, 1, "old");
            if answer.contains("0x97") {
                assert!(places.len() >= max_retained, "refused with {} kept", places.len());
            } else {
                places.insert(topic);
            }
        }
        assert!(places.len() < 500, "nobody was refused");
        for topic in &places {
            for publisher in publishers {
                let answer = offer(&mut world, publisher, topic, 1, "new");
                assert!(!answer.contains("0x97"), "{topic} has a place already: {answer}");
            }
        }
        let expected: BTreeSet<_> =
            places.iter().map(|topic| format!("PUBLISH {topic:?} qos 0 retain \"new\"")).collect();
        assert_eq!(kept(&mut world).into_iter().collect::<BTreeSet<_>>(), expected);
        // A place that is free again is given again.
        for topic in &places {
            offer(&mut world, publishers[0], topic, 1, "");
            let answer = offer(&mut world, publishers[1], topic, 2, "x");
            assert!(!answer.contains("0x97"), "after {topic}: {answer}");
            world.ack(publishers[1], AckKind::PubRel, 1);
            world.received(publishers[1]);
        }
    }
}

// Several are told at once that the last place is free: then it is more than one.
#[test]
fn whoever_was_promised_a_place_gets_it() {
    let mut world = World::with(Settings { max_retained: 1, ..Settings::default() });
    let clients: Vec<_> = topics(20).map(|id| world.client(V5, &id)).collect();
    world.mail_is_slow = true;
    for (client, topic) in clients.iter().zip(topics(20)) {
        world.send(*client, Packet::Publish(Publish { retain: true, ..message(&topic, 1, 1, "x") }));
    }
    world.mail_is_slow = false;
    world.sync();
    let answers: Vec<_> = clients.iter().map(|client| world.first(*client)).collect();
    let accepted = answers.iter().filter(|answer| !answer.contains("0x97")).count();
    assert_eq!(kept(&mut world).len(), accepted, "{answers:?}");
}

// While another shard is asked whether there is a place, what comes behind waits, in order; and who leaves meanwhile has
// said what he said, in order.
#[test]
fn what_comes_behind_a_question_for_a_place_waits_for_its_answer() {
    for ending in ["stays", "disconnects", "is cut", "sends nonsense", "is taken over"] {
        let mut world = World::with(Settings { max_retained: 0, ..Settings::default() });
        let will = Will {
            topic: TopicName::new("t/will").unwrap(),
            payload: b"lost",
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::EMPTY,
        };
        let publisher = world.connect_with(Connect { will: Some(will), ..clean(V5, "p") });
        let reader = world.client(V3_1_1, "reader");
        world.subscribe(reader, "#", 0);
        world.received(publisher);
        world.mail_is_slow = true;
        for (id, topic) in (1..).zip(topics(20)) {
            world.send(publisher, Packet::Publish(Publish { retain: true, ..message(&topic, 1, id, "x") }));
        }
        world.publish(publisher, "t/live", 1, 21, "y");
        match ending {
            "disconnects" => world.disconnect(publisher),
            "is cut" => world.cut(publisher),
            "sends nonsense" => world.raw(publisher, &[0xFF, 0]),
            "is taken over" => drop(world.client(V5, "p")),
            _ => {}
        }
        world.mail_is_slow = false;
        world.sync();
        let heard = world.received(reader);
        assert_eq!(heard.iter().filter(|line| line.contains("t/live")).count(), 1, "{ending}: {heard:?}");
        let is_lost = ["is cut", "sends nonsense", "is taken over"].contains(&ending);
        assert_eq!(heard.iter().any(|line| line.contains("t/will")), is_lost, "{ending}: {heard:?}");
        // Who is gone cannot be told that they are not kept; what is sent again later must not come behind what is there.
        let mut rest = heard.iter().skip_while(|line| !line.contains("t/live"));
        assert!(!rest.any(|line| line.contains("\"x\"")), "{ending}: {heard:?}");
        let is_told = !["is cut", "is taken over"].contains(&ending) || shards() == 1;
        assert_eq!(!heard.iter().any(|line| line.contains("\"x\"")), is_told, "{ending}: {heard:?}");
        assert_eq!(kept(&mut world), [""; 0], "{ending}");
        assert!(!world.is_paused(publisher), "{ending}");
        if ending == "stays" {
            let lines: Vec<_> = (1..21).map(|id| format!("PUBACK id {id} 0x97 Quota exceeded")).collect();
            let answers = world.received(publisher);
            assert_eq!(answers[..20], lines);
            assert_eq!(answers[20..], ["PUBACK id 21"]);
        }
    }
}

// Memory that runs short takes back what was said about places.
#[test]
fn a_retained_message_is_refused_while_there_is_no_memory() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    for pressure in [Pressure::None, Pressure::Exhausted, Pressure::None] {
        world.press(pressure);
        for topic in topics(32) {
            let topic = format!("{topic}/{pressure:?}");
            let answer = offer(&mut world, publisher, &topic, 1, "x");
            assert_eq!(answer.contains("0x97"), pressure == Pressure::Exhausted, "{answer}");
        }
    }
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

fn short_lived(world: &mut World, client: Client, topic: &str, seconds: u8) {
    let expiry = [0x02, 0, 0, 0, seconds];
    let publish = Publish {
        retain: true,
        properties: properties(PacketType::Publish, &expiry),
        ..message(topic, 1, 1, "x")
    };
    world.send(client, Packet::Publish(publish));
}

// Nobody has to come by for it. [U5-3.3.1-2]
#[test]
fn a_retained_message_that_expired_takes_no_place() {
    let settings = Settings { max_retained: 1000, durable: true, ..Settings::default() };
    let mut world = World::with(settings);
    let client = world.client(V5, "p");
    for (index, topic) in topics(2000).enumerate() {
        short_lived(&mut world, client, &topic, if index % 2 == 0 { 5 } else { 200 });
    }
    // It is the last value that counts.
    short_lived(&mut world, client, "t/0", 100);
    short_lived(&mut world, client, "t/1", 3);
    world.retain(client, "t/2", "for ever");
    let stored = |world: &World| {
        let retained = |change: Change| match change {
            Change::Retained(message) => Some(String::from_utf8(message.topic().to_vec()).unwrap()),
            _ => None,
        };
        world.disk.stored().filter_map(retained).collect::<BTreeSet<_>>()
    };
    let all = stored(&world);
    world.seconds(10);
    let number = |topic: &String| topic[2..].parse::<usize>().unwrap();
    let left = |topic: &String| match number(topic) {
        0 | 2 => true,
        number => number % 2 == 1 && number != 1,
    };
    assert_eq!(stored(&world), all.into_iter().filter(left).collect());
    // The process ends, and what expired meanwhile goes as soon as there is another.
    world.now.mono += 95_000;
    world.now.wall += 95_000;
    world.crash();
    world.pass(1);
    let all = stored(&world);
    assert!(!all.contains("t/0") && all.contains("t/2") && all.len() > 1, "{all:?}");
    world.seconds(200);
    assert_eq!(stored(&world), BTreeSet::from(["t/2".to_owned()]));
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
        let topics: BTreeSet<_> = lines
            .iter()
            .filter(|line| line.starts_with("PUBLISH"))
            .map(|line| line.split('"').nth(1))
            .collect();
        assert_eq!(topics.len(), 200, "{handling:?}");
        assert!(lines.last().unwrap().contains("SubscriptionIdentifier(2)"), "{:?}", lines.last());
    }
}
