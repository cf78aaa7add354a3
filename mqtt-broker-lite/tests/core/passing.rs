//! Topics that come again and again: nobody can tell that the broker remembers them.

use super::access::ruled;
use super::world::*;
use mqtt_broker_lite::core::Settings;
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

const ALL: [Version; 3] = [V3_1, V3_1_1, V5];
/// From the third time on it is remembered.
const TIMES: usize = 5;

/// What a client gets each time that something is done.
fn each_time(world: &mut World, to: Client, mut what: impl FnMut(&mut World)) -> Vec<u8> {
    what(world);
    let first = world.bytes(to);
    for time in 1..TIMES {
        what(world);
        assert_eq!(world.bytes(to), first, "another time than the first: {time}");
    }
    first
}

#[test]
fn a_message_is_the_same_however_often_its_topic_came() {
    for from in ALL {
        for to in ALL {
            let mut world = World::new();
            let publisher = world.client(from, "p");
            let subscriber = world.client(to, "s");
            world.subscribe(subscriber, "a/+", 1);
            for payload in ["", "x", &"x".repeat(121), &"x".repeat(122), &"x".repeat(123), &"x".repeat(3000)]
            {
                let publish = |world: &mut World| world.publish(publisher, "a/b", 0, 0, payload);
                let bytes = each_time(&mut world, subscriber, publish);
                let (frame, rest) = Frame::split(&bytes).unwrap().unwrap();
                assert_eq!(rest, b"");
                assert_eq!(Publish::decode(frame, to).unwrap(), message("a/b", 0, 0, payload));
            }
        }
    }
}

// [MQTT-3.8.3-3 @5.0] [MQTT-3.3.4-3] [MQTT-3.1.2-24 @5.0]
#[test]
fn how_a_subscriber_wants_his_messages_counts_every_time() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let plain = SubscribeOptions::new(QoS::ExactlyOnce);
    world.subscribe_with(publisher, "t", SubscribeOptions { no_local: true, ..plain }, 0);
    let numbered = world.client(V5, "numbered");
    world.subscribe_with(numbered, "t", plain, 7);
    let small = world.connect_with(Connect {
        properties: properties(PacketType::Connect, b"\x27\0\0\0\x40"),
        ..clean(V5, "small")
    });
    world.accepted(small);
    world.subscribe(small, "t", 0);
    let twice = world.client(V5, "twice");
    world.subscribe(twice, "t", 0);
    world.subscribe(twice, "#", 0);
    let shared = world.client(V5, "shared");
    world.subscribe(shared, "$share/g/t", 0);
    for client in [publisher, numbered, small, twice, shared] {
        world.received(client);
    }
    let long = "x".repeat(80);
    // Only its beginning is shown.
    let line = format!("PUBLISH \"t\" qos 0 \"{}\"", &long[..40]);
    for _ in 0..TIMES {
        world.publish(publisher, "t", 0, 0, &long);
        world.expect(publisher, &[]);
        world.expect(numbered, &[&format!("{line} [SubscriptionIdentifier(7)]")]);
        world.expect(small, &[]);
        world.expect(twice, &[&line]);
        world.expect(shared, &[&line]);
        world.publish(publisher, "t", 0, 0, "x");
        world.expect(small, &["PUBLISH \"t\" qos 0 \"x\""]);
        for client in [numbered, twice, shared] {
            assert_eq!(world.received(client).len(), 1);
        }
    }
}

#[test]
fn a_known_topic_goes_to_whoever_is_subscribed_now() {
    let mut world = World::new();
    let publisher = world.client(V3_1_1, "p");
    let publish = |world: &mut World| world.publish(publisher, "t", 0, 0, "x");
    for _ in 0..TIMES {
        publish(&mut world);
    }
    let line = "PUBLISH \"t\" qos 0 \"x\"";
    for round in 0..3 {
        let one = world.client(V3_1_1, &format!("one{round}"));
        world.subscribe(one, "t", 0);
        let other = world.client(V3_1_1, &format!("other{round}"));
        for _ in 0..TIMES {
            publish(&mut world);
        }
        world.expect(one, &[line; TIMES]);
        world.expect(other, &[]);
        world.subscribe(other, "+", 0);
        publish(&mut world);
        world.expect(one, &[line]);
        world.expect(other, &[line]);
        world.unsubscribe(other, "+");
        world.received(other);
        publish(&mut world);
        world.expect(other, &[]);
        world.cut(one);
        for _ in 0..TIMES {
            publish(&mut world);
        }
    }
}

#[test]
fn a_right_that_is_taken_away_is_gone_for_known_topics_too() {
    let (mut world, rules) = ruled();
    let publisher = world.client(V3_1_1, "p");
    let subscriber = world.client(V3_1_1, "s");
    for topic in ["t", "u"] {
        world.subscribe(subscriber, topic, 0);
        each_time(&mut world, subscriber, |world| world.publish(publisher, topic, 0, 0, "x"));
    }
    rules.forbid("p", "publish", "t");
    rules.forbid("s", "receive", "u");
    for topic in ["t", "u"] {
        world.publish(publisher, topic, 0, 0, "x");
        world.expect(subscriber, &[]);
    }
}

/// What one could publish is no topic for another who may not.
#[test]
fn the_topics_of_the_broker_are_not_for_clients_however_often_they_came() {
    let settings = Settings { sys_interval: 1000, ..Settings::default() };
    let mut world = World::with(settings);
    let publisher = world.client(V3_1_1, "p");
    let subscriber = world.client(V3_1_1, "s");
    for _ in 0..TIMES {
        world.seconds(1);
    }
    world.subscribe(subscriber, "$SYS/broker/version", 0);
    world.received(subscriber);
    for _ in 0..TIMES {
        world.publish(publisher, "$SYS/broker/version", 0, 0, "mine");
        world.expect(subscriber, &[]);
    }
}

// [MQTT-3.3.1-2 @3.1.1] [MQTT-1.5.5-1]
#[test]
fn what_is_wrong_with_a_packet_is_wrong_for_known_topics_too() {
    for (version, hex) in
        [(V3_1_1, "38 04 0001 74 78"), (V5, "30 85 00 0001 74 00 78"), (V5, "30 04 0001 74 01")]
    {
        let mut world = World::new();
        let publisher = world.client(version, "p");
        for _ in 0..TIMES {
            world.publish(publisher, "t", 0, 0, "x");
        }
        world.hex(publisher, hex);
        assert!(!world.is_open(publisher), "{hex}");
    }
}

/// Packets of all kinds, with runs of one topic among them, and more than may wait for one connection.
fn many() -> Vec<Vec<u8>> {
    let packets = (0..600_u16).map(|number| {
        let payload = format!("{number}");
        let topic = ["t", "u", "nobody"][usize::from(number / 40 % 3)];
        let packet = match number % 23 {
            0 => Packet::PingReq(PingReq),
            1 => Packet::Publish(message("t", 1, number + 1, &payload)),
            2 => Packet::Publish(message("u", 0, 0, &payload)),
            _ => Packet::Publish(message(topic, 0, 0, &payload)),
        };
        let mut bytes = vec![0; packet.encoded_len(V3_1_1)];
        packet.encode(V3_1_1, &mut SliceSink::new(&mut bytes)).unwrap();
        bytes
    });
    packets.collect()
}

#[test]
fn what_comes_at_once_goes_out_as_what_comes_one_by_one() {
    for is_slow in [false, true] {
        let got = [1, 7, 600].map(|at_once| {
            let mut world = World::with(Settings { window: 1000, ..Settings::default() });
            let publisher = world.client(V3_1_1, "p");
            let subscriber = world.client(V3_1_1, "s");
            world.subscribe(subscriber, "t", 1);
            world.subscribe(subscriber, "u", 0);
            if is_slow {
                world.stall(subscriber);
            }
            for packets in many().chunks(at_once) {
                world.raw(publisher, &packets.concat());
            }
            world.unstall(subscriber);
            let lines = world.received(subscriber);
            // Order is owed within a topic and QoS.
            let of = |begin: &str| -> Vec<_> {
                lines.iter().filter(|line| line.starts_with(begin)).cloned().collect()
            };
            let got =
                ["\"t\" qos 0", "\"t\" qos 1", "\"u\" qos 0"].map(|what| of(&format!("PUBLISH {what}")));
            assert_eq!(got.iter().map(Vec::len).sum::<usize>(), lines.len());
            assert_eq!(world.received(publisher).len(), 27 + 27);
            got
        });
        assert_eq!(got[0], got[1]);
        assert_eq!(got[0], got[2]);
        let wanted = (0..600).filter(|number| matches!(number % 23, 1 | 2) || number / 40 % 3 != 2);
        let wanted = wanted.filter(|number| number % 23 != 0).count();
        assert_eq!(got[0].iter().map(Vec::len).sum::<usize>(), wanted);
    }
}
