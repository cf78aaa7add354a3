//! Readers that are slower than their writers: who waits, for how long, and what is dropped.

use super::world::*;
use mqtt_broker_lite::core::Settings;
use mqtt_packet::AckKind::PubAck;
use mqtt_packet::Version::{V3_1_1, V5};
use mqtt_packet::*;

fn tight() -> World {
    World::with(Settings {
        window: 1000,
        slow_queue_bytes: 10_000,
        max_queue_bytes: 50_000,
        ..Settings::default()
    })
}

/// A subscriber that does not read, and its queue filled until its writers have to wait.
fn stalled(world: &mut World, publisher: Client) -> (Client, u16) {
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.stall(reader);
    for id in 1..1000 {
        world.publish(publisher, "t", 1, id, &"x".repeat(200));
        if world.received(publisher).is_empty() {
            return (reader, id);
        }
    }
    panic!("nobody waits");
}

#[test]
fn acknowledgements_are_withheld_until_the_reader_has_read() {
    let mut world = tight();
    let publisher = world.client(V3_1_1, "p");
    let (reader, first) = stalled(&mut world, publisher);
    world.publish(publisher, "t", 1, first + 1, "x");
    world.send(publisher, Packet::PingReq(PingReq));
    world.expect(publisher, &["PINGRESP"]);
    // Others are not concerned.
    let other = world.client(V5, "other");
    world.publish(other, "u", 1, 1, "x");
    world.expect(other, &["PUBACK id 1 0x10 No matching subscribers"]);
    world.unstall(reader);
    let expected = [format!("PUBACK id {first}"), format!("PUBACK id {}", first + 1)];
    assert_eq!(world.received(publisher), expected);
}

#[test]
fn acknowledgements_are_withheld_for_a_second_at_most() {
    let mut world = tight();
    let publisher = world.client(V5, "p");
    let (_, first) = stalled(&mut world, publisher);
    world.pass(999);
    world.expect(publisher, &[]);
    world.pass(1);
    assert_eq!(world.received(publisher), [format!("PUBACK id {first}")]);
    // It was waited for in vain, so nobody waits for it again.
    world.publish(publisher, "t", 1, first + 1, "x");
    assert_eq!(world.received(publisher).len(), 1);
}

#[test]
fn acknowledgements_are_released_when_the_reader_goes() {
    let mut world = tight();
    let publisher = world.client(V5, "p");
    let (reader, first) = stalled(&mut world, publisher);
    world.cut(reader);
    assert_eq!(world.received(publisher), [format!("PUBACK id {first}")]);
}

#[test]
fn a_flood_of_qos_0_is_not_read_for_a_while() {
    let mut world = tight();
    let publisher = world.client(V5, "p");
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    world.stall(reader);
    let mut sent = 0;
    while !world.is_paused(publisher) {
        world.publish(publisher, "t", 0, 0, &format!("{sent:0200}"));
        sent += 1;
        assert!(sent < 1000);
    }
    world.unstall(reader);
    assert!(!world.is_paused(publisher));
    assert_eq!(world.received(reader).len(), sent, "something was dropped");
}

/// Somebody who had nothing to do with a slow reader was not read, and never again, because a will had met that reader.
#[test]
fn who_met_no_slow_reader_does_not_wait_for_one() {
    let mut world = tight();
    let [publisher, innocent] = ["p", "innocent"].map(|id| world.client(V5, id));
    let mut leaver = Connect::new(V5, "leaver".try_into().unwrap());
    let will = (TopicName::new("t").unwrap(), QoS::AtLeastOnce);
    leaver.will = Some(Will {
        topic: will.0,
        payload: b"gone",
        qos: will.1,
        retain: false,
        properties: Properties::EMPTY,
    });
    let leaver = world.connect_with(leaver);
    let (reader, _) = stalled(&mut world, publisher);
    world.cut(leaver);
    world.unstall(reader);
    // The broker's own topics are not for clients, so this one goes nowhere.
    world.publish(innocent, "$SYS/x", 0, 0, "x");
    assert!(!world.is_paused(innocent));
}

#[test]
fn a_client_with_something_in_flight_towards_it_is_always_read() {
    let mut world = tight();
    let client = world.client(V5, "p");
    world.subscribe(client, "own", 1);
    world.publish(client, "own", 1, 1, "x");
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    world.stall(reader);
    for _ in 0..200 {
        world.publish(client, "t", 0, 0, &"x".repeat(200));
    }
    assert!(!world.is_paused(client));
    world.ack(client, PubAck, 1);
    world.publish(client, "t", 0, 0, "x");
    assert!(world.is_paused(client));
    world.pass(1000);
    assert!(!world.is_paused(client));
}

#[test]
fn a_slow_reader_costs_a_bounded_amount_and_qos_0_is_dropped_first() {
    let mut world = tight();
    let publisher = world.client(V5, "p");
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.stall(reader);
    for round in 0..400 {
        world.publish(publisher, "t", 0, 0, &format!("zero {round:0200}"));
        world.pass(1);
    }
    for id in 1..=50 {
        world.publish(publisher, "t", 1, id, &format!("one {id:0200}"));
        world.pass(1000);
    }
    world.unstall(reader);
    let lines = world.received(reader);
    let ones = lines.iter().filter(|line| line.contains("\"one")).count();
    assert_eq!(ones, 50, "QoS 0 makes room");
    assert!(lines.len() < 250, "{} messages of at least 200 bytes", lines.len());
}

/// A broker that owes a client few answers.
fn strict() -> Settings {
    Settings { receive_maximum: 10, window: 1000, slow_queue_bytes: 10_000, ..Settings::default() }
}

/// 3.x knows no Receive Maximum: whoever goes on sending is not read until it was answered.
#[test]
fn a_3_x_client_is_owed_a_bounded_number_of_acknowledgements() {
    let mut world = World::with(strict());
    let publisher = world.client(V3_1_1, "p");
    let (_, first) = stalled(&mut world, publisher);
    let mut next = first;
    while !world.is_paused(publisher) {
        next += 1;
        assert!(next < first + 100, "it is read without end");
        world.publish(publisher, "t", 1, next, "x");
    }
    world.expect(publisher, &[]);
    world.pass(1000);
    assert!(!world.is_paused(publisher));
    assert_eq!(world.received(publisher).len(), usize::from(next - first) + 1);
}

/// What a client waits for happens in any order; it is read again when the last of it has.
#[test]
fn a_client_that_is_owed_much_is_read_again_whatever_happened_first() {
    let mut world = World::with(Settings { durable: true, ..strict() });
    let (publisher, _) = world.resume(V3_1_1, "p");
    let (_, first) = stalled(&mut world, publisher);
    // This is safe at once, and its answer waits behind the reader that is slow.
    world.subscribe_with(publisher, "own", SubscribeOptions::default(), 0);
    let mut next = first;
    while !world.is_paused(publisher) {
        next += 1;
        assert!(next < first + 100, "it is read without end");
        world.publish(publisher, "nobody", 1, next, "x");
    }
    world.pass(1000);
    assert!(!world.is_paused(publisher));
    assert_eq!(world.received(publisher).len(), usize::from(next - first) + 2);
}

/// Two that write to each other would not be read for ever: who owes an acknowledgement is read, and its own are given.
#[test]
fn a_3_x_client_that_owes_an_acknowledgement_is_read_and_answered() {
    let mut world = World::with(strict());
    let publisher = world.client(V3_1_1, "p");
    world.subscribe(publisher, "own", 1);
    world.publish(publisher, "own", 1, 1, "x");
    world.received(publisher);
    let (_, first) = stalled(&mut world, publisher);
    for id in 1..=100 {
        world.publish(publisher, "t", 1, first + id, "x");
    }
    assert!(!world.is_paused(publisher));
    assert!(world.received(publisher).len() > 50, "it waits for more than is owed at once");
}

/// Repeats are no new messages, so no Receive Maximum stops them; SUBSCRIBE has none.
#[test]
fn whoever_asks_faster_than_the_disk_can_answer_is_not_read_for_a_while() {
    let mut world = World::with(Settings { durable: true, ..strict() });
    let (repeating, _) = world.resume(V5, "r");
    let asking = world.connect_with(Connect { keep_alive: 10, ..kept(V3_1_1, "a") });
    world.accepted(asking);
    world.disk_is_slow = true;
    for _ in 0..100 {
        if !world.is_paused(repeating) {
            let delivery = Delivery::ExactlyOnce { id: PacketId::new(1).unwrap(), dup: true };
            world.send(repeating, Packet::Publish(Publish { delivery, ..message("t", 2, 1, "x") }));
        }
        if !world.is_paused(asking) {
            world.subscribe_with(asking, "t", SubscribeOptions::default(), 0);
        }
    }
    assert!(world.is_paused(repeating) && world.is_paused(asking));
    // Its PINGREQ cannot be heard, so it is not taken for lost [MQTT-3.1.2-24 @3.1.1] [MQTT-3.1.2-22 @5.0].
    world.seconds(60);
    world.disk_is_slow = false;
    world.sync();
    assert!(!world.is_paused(repeating) && !world.is_paused(asking));
    world.seconds(10);
    assert!(world.is_open(asking));
    assert!(world.received(repeating).iter().all(|line| line.starts_with("PUBREC id 1")));
    assert!(world.received(asking).len() > 20);
    world.seconds(10);
    assert!(!world.is_open(asking));
}

/// What was sent and not acknowledged is kept to be repeated: that is bounded as what waits is.
#[test]
fn messages_in_flight_cost_a_bounded_amount() {
    let mut world = World::with(Settings { max_queue_bytes: 20_000, ..Settings::default() });
    let publisher = world.client(V5, "p");
    let (reader, _) = world.resume(V5, "r");
    world.subscribe(reader, "t", 1);
    for id in 1..=100 {
        world.publish(publisher, "t", 1, id, &format!("{id:01000}"));
    }
    let sent = world.received(reader);
    assert!((10..=20).contains(&sent.len()), "{} of 1,000 bytes", sent.len());
    let (mut id, mut all) = (0, sent.len());
    while id < all {
        id += 1;
        world.ack(reader, PubAck, u16::try_from(id).unwrap());
        all += world.received(reader).len();
    }
    assert!((20..=40).contains(&all), "{all}: what waited, in order, and no more");
}

/// Shards do not wait for each other, but who publishes to one that is behind does.
#[test]
fn a_shard_that_is_behind_is_not_buried() {
    let mut world = World::with(Settings { link_window: 10_000, ..Settings::default() });
    let publisher = world.client(V3_1_1, "p");
    let Some(reader) = world.client_elsewhere(V5, publisher) else { return };
    world.subscribe(reader, "t", 1);
    world.mail_is_slow = true;
    let mut sent = 0;
    while !world.is_paused(publisher) {
        world.publish(publisher, "t", 0, 0, &"x".repeat(1000));
        sent += 1;
        assert!(sent < 20, "it is read without end");
    }
    let other = world.client(V5, "p");
    assert!(!world.is_open(publisher));
    world.publish(other, "t", 1, 1, "x");
    world.publish(other, "elsewhere", 1, 2, "x");
    world.expect(other, &[]);
    world.mail_is_slow = false;
    world.sync();
    world.expect(other, &["PUBACK id 1", "PUBACK id 2 0x10 No matching subscribers"]);
    assert_eq!(world.received(reader).len(), sent + 1);
    // And it is as it was before.
    world.publish(other, "t", 1, 3, "x");
    world.expect(other, &["PUBACK id 3"]);
}
