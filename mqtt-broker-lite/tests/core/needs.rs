//! What users of brokers asked for, in the cases that they described.

use super::world::*;
use mqtt_broker_lite::core::Settings;
use mqtt_packet::AckKind::PubAck;
use mqtt_packet::RetainHandling::{DoNotSend, SendAtSubscribe, SendIfNew};
use mqtt_packet::Version::{V3_1_1, V5};
use mqtt_packet::*;
use std::collections::BTreeSet;

/// A5 row 49: every cell of Retain Handling, Retain As Published, a subscription that is new or was there, and shared.
#[test]
fn a5_49_every_cell_of_retained_messages() {
    for handling in [SendAtSubscribe, SendIfNew, DoNotSend] {
        for retain_as_published in [false, true] {
            for existed in [false, true] {
                for filter in ["t/+", "t/a", "$share/g/t/+"] {
                    let mut world = World::new();
                    let publisher = world.client(V5, "p");
                    let client = world.client(V5, "c");
                    let other = world.client(V5, "other");
                    world.subscribe(other, "t/+", 0);
                    let options = SubscribeOptions {
                        retain_handling: handling,
                        retain_as_published,
                        ..SubscribeOptions::new(QoS::AtMostOnce)
                    };
                    if existed {
                        world.subscribe_with(client, filter, options, 7);
                        world.received(client);
                    }
                    world.retain(publisher, "t/a", "kept");
                    world.received(client);
                    world.received(other);
                    world.subscribe_with(client, filter, options, 7);
                    let is_sent = match handling {
                        _ if filter.starts_with("$share") => false,
                        SendAtSubscribe => true,
                        SendIfNew => !existed,
                        DoNotSend => false,
                    };
                    let mut expected = vec!["SUBACK id 99 [0x00 Success]".to_owned()];
                    let kept = "PUBLISH \"t/a\" qos 0 retain \"kept\" [SubscriptionIdentifier(7)]";
                    expected.extend(is_sent.then(|| kept.to_owned()));
                    let cell = format!("{handling:?} {retain_as_published} {existed} {filter}");
                    assert_eq!(world.received(client), expected, "{cell}");
                    // What is published later has the flag as it was asked for; nobody else hears anything twice.
                    world.retain(publisher, "t/a", "live");
                    let flag = if retain_as_published { " retain" } else { "" };
                    let live = format!("PUBLISH \"t/a\" qos 0{flag} \"live\" [SubscriptionIdentifier(7)]");
                    assert_eq!(world.received(client), [live], "{cell}");
                    world.expect(other, &["PUBLISH \"t/a\" qos 0 \"live\""]);
                }
            }
        }
    }
}

fn take_all(world: &mut World, client: Client) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    loop {
        let lines = world.received(client);
        if lines.is_empty() {
            return taken;
        }
        for line in lines.iter().filter(|line| line.starts_with("PUBLISH")) {
            let id = line.split(' ').skip_while(|word| *word != "id").nth(1).unwrap();
            world.ack(client, PubAck, id.parse().unwrap());
            assert!(taken.insert(line.split('"').nth(3).unwrap().to_owned()), "twice: {line}");
        }
    }
}

fn publish_100(world: &mut World, publisher: Client, round: &str) {
    for number in 0..100 {
        world.publish(publisher, "work/x", 1, 1, &format!("{round}{number}"));
    }
    world.received(publisher);
}

/// A5 row 50, the scenario of emqx#4171: members with kept sessions come and go, one never comes back.
#[test]
fn a5_50_members_of_a_group_come_and_go() {
    let mut world = World::durable();
    let publisher = world.client(V5, "p");
    let member = |world: &mut World, name: &str, seconds: u8| {
        let block = [0x11, 0, 0, 0, seconds];
        let connect = Connect {
            clean_start: false,
            properties: properties(PacketType::Connect, &block),
            ..clean(V5, name)
        };
        let client = world.connect_with(connect);
        if !world.accepted(client).contains("session present") {
            world.subscribe(client, "$share/g/work/#", 1);
        }
        client
    };
    let (one, two) = (member(&mut world, "one", 200), member(&mut world, "two", 100));
    publish_100(&mut world, publisher, "both ");
    let (first, second) = (take_all(&mut world, one), take_all(&mut world, two));
    assert_eq!((first.len() + second.len(), first.intersection(&second).count()), (100, 0));
    assert!(first.len().abs_diff(second.len()) <= 10, "unfair: {} and {}", first.len(), second.len());
    // One is away: the other gets everything.
    world.cut(one);
    publish_100(&mut world, publisher, "two ");
    assert_eq!(take_all(&mut world, two).len(), 100);
    // What a member has and did not acknowledge is its own until its session ends.
    publish_100(&mut world, publisher, "unread ");
    assert_eq!(world.received(two).len(), 100);
    world.cut(two);
    // All are away: the group keeps it; who comes first gets it.
    publish_100(&mut world, publisher, "nobody ");
    let one = member(&mut world, "one", 200);
    let taken = take_all(&mut world, one);
    assert_eq!(taken.len(), 100);
    assert!(taken.iter().all(|payload| payload.starts_with("nobody")));
    // One never comes back: what it was given goes to the other, once its session ends.
    world.seconds(100);
    let taken = take_all(&mut world, one);
    assert_eq!(taken.len(), 100);
    assert!(taken.iter().all(|payload| payload.starts_with("unread")));
}

/// A5 row 55: taken over in the middle of its queue, a session goes on where it was: order, identifiers, quota.
#[test]
fn a5_55_a_takeover_in_the_middle_of_a_queue_loses_and_repeats_nothing() {
    for version in [V3_1_1, V5] {
        let mut world = World::with(Settings { max_inflight: 10, ..Settings::default() });
        let publisher = world.client(V5, "p");
        let (mut client, _) = world.resume(version, "s");
        world.subscribe(client, "t", 1);
        world.cut(client);
        for number in 0..100 {
            world.publish(publisher, "t", 1, 1, &format!("{number:02}"));
        }
        let mut done = Vec::new();
        while done.len() < 100 {
            client = world.resume(version, "s").0;
            let lines = world.received(client);
            assert!(lines.len() <= 10, "more than may be in flight: {lines:?}");
            // All but one; what follows comes, and is not looked at before the next takeover.
            let count = if lines.len() < 10 { lines.len() } else { 9 };
            for line in &lines[..count] {
                let id = line.split(' ').skip_while(|word| *word != "id").nth(1).unwrap();
                world.ack(client, PubAck, id.parse().unwrap());
                done.push(line.split('"').nth(3).unwrap().to_owned());
            }
        }
        let expected: Vec<_> = (0..100).map(|number| format!("{number:02}")).collect();
        assert_eq!(done, expected);
        assert!(world.is_open(client));
    }
}

/// A5 row 56: sessions that nobody comes back for have an end, and there are not any number of them.
#[test]
fn a5_56_sessions_are_limited_in_number_and_time() {
    let settings = Settings { max_sessions: 50, max_session_expiry: 3600, ..Settings::default() };
    let mut world = World::with(settings);
    let mut refused = 0;
    for number in 0..400 {
        let client = world.connect_with(kept(V5, &format!("random{number}")));
        let connack = world.bytes(client);
        match connack[3] {
            0 => world.cut(client),
            code => {
                assert_eq!((code, world.is_open(client)), (0x97, false));
                refused += 1;
            }
        }
    }
    // Each shard has its own limit.
    assert!((200..=350).contains(&refused), "{refused}");
    // Whoever has a session comes back; others do when those have ended.
    let (client, present) = world.resume(V5, "random0");
    assert!(present);
    world.disconnect(client);
    world.seconds(3600);
    let (_, present) = world.resume(V3_1_1, "random399");
    assert!(!present);
}
