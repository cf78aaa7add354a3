//! The will: how the connection ended decides (sections 3.1.2.5, 3.1.3.2, 3.14.4).

use super::world::*;
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

const ALL: [Version; 3] = [V3_1, V3_1_1, V5];

fn will(block: &[u8]) -> Will<'_> {
    Will {
        topic: TopicName::new("will").unwrap(),
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::from_block(block, PropertyPlace::WILL).unwrap(),
    }
}

/// Will Delay Interval of ten seconds.
const DELAY: &[u8] = &[0x18, 0, 0, 0, 10];
const PUBLISHED: &[&str] = &["PUBLISH \"will\" qos 0 \"gone\""];

fn watched() -> (World, Client) {
    let mut world = World::new();
    let watcher = world.client(V5, "w");
    world.subscribe(watcher, "will", 0);
    (world, watcher)
}

fn with_will<'a>(connect: Connect<'a>, block: &'a [u8]) -> Connect<'a> {
    Connect { will: Some(will(block)), keep_alive: 10, ..connect }
}

// [MQTT-3.1.2-8 @3.1.1] [MQTT-3.1.2-8 @5.0] [MQTT-3.1.2-10 @3.1.1] [MQTT-3.1.2-10 @5.0] [MQTT-3.1.2-12 @3.1.1]
// [MQTT-3.14.4-3 @3.1.1] [MQTT-3.14.4-3 @5.0] [MQTT-3.1.2-7 @5.0] [MQTT-4.8.0-1]
#[test]
fn the_end_of_the_connection_decides_about_the_will() {
    type End = fn(&mut World, Client);
    let ends: [(End, bool); 7] = [
        (|world, client| world.disconnect(client), false),
        (|world, client| world.cut(client), true),
        (|world, _| world.seconds(16), true),
        (|world, client| world.hex(client, "C1 00"), true),
        (|world, client| world.send(client, Packet::Connect(clean(V5, "x"))), true),
        (
            |world, _| {
                world.connect_with(clean(V5, "mortal"));
            },
            true,
        ),
        (
            |world, _| {
                world.connect_with(kept(V3_1_1, "mortal"));
            },
            true,
        ),
    ];
    for version in ALL {
        for make in [clean, kept] {
            for (index, (end, expected)) in ends.into_iter().enumerate() {
                let (mut world, watcher) = watched();
                let client = world.connect_with(with_will(make(version, "mortal"), &[]));
                world.accepted(client);
                // 3.1 does not prescribe flags.
                let end = if version == V3_1 && index == 3 { ends[4].0 } else { end };
                end(&mut world, client);
                let lines = world.received(watcher);
                assert_eq!(lines == PUBLISHED, expected, "{version:?} end {index}: {lines:?}");
                assert!(expected || lines.is_empty());
                world.seconds(100);
                world.expect(watcher, &[]);
            }
        }
    }
}

// [MQTT-3.14.4-3 @5.0]
#[test]
fn only_a_disconnect_of_success_removes_the_will() {
    for (hex, expected) in [("E0 00", false), ("E0 01 00", false), ("E0 01 04", true), ("E0 01 81", true)] {
        let (mut world, watcher) = watched();
        let client = world.connect_with(with_will(clean(V5, "mortal"), &[]));
        world.accepted(client);
        world.hex(client, hex);
        let lines = world.received(watcher);
        assert_eq!(lines == PUBLISHED, expected, "{hex}");
    }
}

// [MQTT-3.1.2-8 @5.0] [MQTT-3.1.3-9 @5.0] [U5-3.1.4-1]
#[test]
fn a_will_waits_for_its_delay_or_the_end_of_the_session() {
    // The session lasts longer than the delay: at the end of the delay.
    let (mut world, watcher) = watched();
    let mortal = |world: &mut World| {
        let client = world.connect_with(with_will(kept(V5, "mortal"), DELAY));
        world.accepted(client);
        client
    };
    let client = mortal(&mut world);
    world.cut(client);
    world.pass(9_999);
    world.expect(watcher, &[]);
    world.pass(1);
    world.expect(watcher, PUBLISHED);

    // The client comes back in time: not at all.
    let client = mortal(&mut world);
    world.cut(client);
    world.seconds(9);
    let client = mortal(&mut world);
    world.seconds(14);
    world.expect(watcher, &[]);
    // Taken over with the same session: not at all.
    let (client_2, present) = world.resume(V5, "mortal");
    assert!(present && !world.is_open(client));
    world.seconds(14);
    world.expect(watcher, &[]);
    world.disconnect(client_2);

    // Taken over with a clean start: the session ends, so at once.
    mortal(&mut world);
    world.client(V5, "mortal");
    world.expect(watcher, PUBLISHED);

    // The session ends before the delay: at the end of the session.
    let block = [0x11, 0, 0, 0, 4];
    let connect = Connect { properties: properties(PacketType::Connect, &block), ..clean(V5, "short") };
    let client = world.connect_with(with_will(connect, DELAY));
    world.accepted(client);
    world.cut(client);
    world.pass(3_999);
    world.expect(watcher, &[]);
    world.pass(1);
    world.expect(watcher, PUBLISHED);
    world.seconds(20);
    world.expect(watcher, &[]);
    let client = world.connect_with(with_will(clean(V5, "none"), DELAY));
    world.accepted(client);
    world.cut(client);
    world.expect(watcher, PUBLISHED);
}

// [MQTT-3.1.2-16 @3.1.1] [MQTT-3.1.2-17 @3.1.1] [MQTT-3.1.2-14 @5.0] [MQTT-3.1.2-15 @5.0]
#[test]
fn a_will_is_retained_if_it_says_so() {
    for version in ALL {
        for retain in [false, true] {
            let (mut world, watcher) = watched();
            let mut connect = with_will(clean(version, "mortal"), &[]);
            connect.will.as_mut().unwrap().retain = retain;
            let client = world.connect_with(connect);
            world.accepted(client);
            world.cut(client);
            world.expect(watcher, PUBLISHED);
            let late = world.client(V3_1_1, "late");
            world.subscribe(late, "will", 2);
            let kept: &[&str] = if retain { &["PUBLISH \"will\" qos 1 id 1 retain \"gone\""] } else { &[] };
            world.expect(late, kept);
        }
    }
}

// [U5-3.1.3-2] [MQTT-3.1.3-10 @5.0]
#[test]
fn the_properties_of_a_will_are_published_with_it() {
    let (mut world, watcher) = watched();
    let block = b"\x26\0\x01b\0\x012\x18\0\0\0\0\x01\x01\x03\0\x04text\x02\0\0\0\x0A\x08\0\x01r\x09\0\x01c\x26\0\x01a\0\x011";
    let client = world.connect_with(with_will(clean(V5, "mortal"), block));
    world.accepted(client);
    world.seconds(14);
    world.cut(client);
    world.expect(
        watcher,
        &["PUBLISH \"will\" qos 0 \"gone\" [MessageExpiryInterval(10), UserProperty(\"b\", \"2\"), \
           PayloadFormatIndicator(true), ContentType(\"text\"), ResponseTopic(\"r\"), CorrelationData(1 bytes), \
           UserProperty(\"a\", \"1\")]"],
    );
}
