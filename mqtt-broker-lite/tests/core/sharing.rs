//! Shared subscriptions (section 4.8.2).

use super::world::*;
use mqtt_packet::AckKind::{PubAck, PubComp, PubRec};
use mqtt_packet::Version::{V3_1_1, V5};
use mqtt_packet::*;

fn payloads(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.split('"').nth(3)).collect()
}

// [U5-4.8.2-1] [U5-4.8.2-3] [U5-3.10.4-1]
#[test]
fn each_message_goes_to_one_member_of_each_group_and_to_everybody_else() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let members = ["a", "b", "c"].map(|name| world.client(V5, name));
    for member in members {
        world.subscribe(member, "$share/g/t/+", 1);
        world.subscribe(member, "$share/g/t/+", 1);
    }
    let other_group = world.client(V3_1_1, "d");
    world.subscribe(other_group, "$share/h/t/+", 1);
    let plain = world.client(V5, "e");
    world.subscribe(plain, "t/#", 1);
    for index in 0..9 {
        world.publish(publisher, "t/x", 0, 0, &format!("{index}"));
    }
    let mut shared = Vec::new();
    for member in members {
        let lines = world.received(member);
        assert_eq!(lines.len(), 3, "not fair");
        shared.extend(payloads(&lines).into_iter().map(str::to_owned));
    }
    shared.sort();
    let all: Vec<_> = (0..9).map(|index| index.to_string()).collect();
    assert_eq!(shared, all);
    assert_eq!(payloads(&world.received(other_group)), all);
    assert_eq!(payloads(&world.received(plain)), all);
    world.unsubscribe(members[0], "$share/g/t/+");
    world.unsubscribe(members[1], "$share/g/t/+");
    world.publish(publisher, "t/x", 0, 0, "last");
    assert_eq!(payloads(&world.received(members[2])), ["last"]);
    world.unsubscribe(members[2], "$share/g/t/+");
    world.publish(publisher, "t/x", 0, 0, "none");
    assert!(payloads(&world.received(members[2])).is_empty());
}

// [U5-3.8.4-1] [MQTT-4.8.2-3] [U5-3.3.4-1]
#[test]
fn a_member_gets_its_own_qos_and_identifier_and_nothing_retained() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    world.retain(publisher, "t", "kept");
    let (low, high) = (world.client(V5, "low"), world.client(V5, "high"));
    world.subscribe_with(low, "$share/g/t", SubscribeOptions::new(QoS::AtMostOnce), 1);
    world.subscribe_with(high, "$share/g/t", SubscribeOptions::new(QoS::ExactlyOnce), 2);
    world.expect(low, &["SUBACK id 99 [0x00 Success]"]);
    world.expect(high, &["SUBACK id 99 [0x02 Granted QoS 2]"]);
    world.publish(publisher, "t", 2, 1, "x");
    world.publish(publisher, "t", 2, 2, "y");
    let mut lines = [world.received(low), world.received(high)].concat();
    lines.sort();
    assert!(lines[0].starts_with("PUBLISH \"t\" qos 0") && lines[0].ends_with("[SubscriptionIdentifier(1)]"));
    assert!(
        lines[1].starts_with("PUBLISH \"t\" qos 2 id 1") && lines[1].ends_with("[SubscriptionIdentifier(2)]")
    );
}

#[test]
fn connected_members_come_first_and_a_group_waits_while_all_are_away() {
    for durable in [false, true] {
        let mut world = if durable { World::durable() } else { World::new() };
        let publisher = world.client(V5, "p");
        let (away, _) = world.resume(V5, "away");
        let (here, _) = world.resume(V5, "here");
        world.subscribe(away, "$share/g/t", 1);
        world.subscribe(here, "$share/g/t", 1);
        world.cut(away);
        for id in 1..=4 {
            world.publish(publisher, "t", 1, id, &format!("{id}"));
        }
        assert_eq!(payloads(&world.received(here)), ["1", "2", "3", "4"]);
        world.cut(here);
        world.publish(publisher, "t", 1, 5, "5");
        world.publish(publisher, "t", 0, 0, "lost");
        if durable {
            world.crash();
        }
        let (away, _) = world.resume(V5, "away");
        assert_eq!(payloads(&world.received(away)), ["5"]);
    }
}

// [U5-4.8.2-2] [MQTT-4.8.2-5]
#[test]
fn what_a_lost_member_did_not_acknowledge_goes_to_another_at_qos_1_only() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let lost = world.client(V5, "lost");
    world.subscribe(lost, "$share/g/t", 2);
    world.publish(publisher, "t", 1, 1, "one");
    world.publish(publisher, "t", 2, 2, "two");
    world.publish(publisher, "t", 1, 3, "acknowledged");
    world.ack(lost, PubAck, 3);
    let other = world.client(V5, "other");
    world.subscribe(other, "$share/g/t", 2);
    world.cut(lost);
    assert_eq!(world.received(other), ["PUBLISH \"t\" qos 1 id 1 \"one\""]);
}

// [MQTT-4.8.2-4]
#[test]
fn an_interrupted_qos_2_delivery_is_completed_to_the_same_client() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let (client, _) = world.resume(V5, "s");
    world.subscribe(client, "$share/g/t", 2);
    world.publish(publisher, "t", 2, 1, "x");
    world.cut(client);
    let other = world.client(V5, "other");
    world.subscribe(other, "$share/g/t", 2);
    let (client, _) = world.resume(V5, "s");
    world.expect(client, &["PUBLISH \"t\" qos 2 id 1 dup \"x\""]);
    world.ack(client, PubRec, 1);
    world.ack(client, PubComp, 1);
    world.expect(other, &[]);
}

// [MQTT-4.8.2-6] [MQTT-4.4.0-2]
#[test]
fn a_message_that_a_member_refuses_is_offered_to_nobody_else() {
    for (qos, hex) in [(1, "40 03 0001 80"), (2, "50 03 0001 97")] {
        let mut world = World::new();
        let publisher = world.client(V5, "p");
        let (client, _) = world.resume(V5, "s");
        world.subscribe(client, "$share/g/t", 2);
        world.publish(publisher, "t", qos, 1, "x");
        let other = world.client(V5, "other");
        world.subscribe(other, "$share/g/t", 2);
        world.hex(client, hex);
        world.cut(client);
        let (client, _) = world.resume(V5, "s");
        world.expect(client, &[]);
        world.expect(other, &[]);
    }
}

// [U5-3.1.2-7]
#[test]
fn what_waits_for_a_busy_member_goes_to_others_when_it_leaves() {
    let mut world = World::new();
    let publisher = world.client(V5, "p");
    let block = [FOR_EVER, &[0x21, 0, 1]].concat();
    let busy = world
        .connect_with(Connect { properties: properties(PacketType::Connect, &block), ..kept(V5, "busy") });
    world.accepted(busy);
    world.subscribe(busy, "$share/g/t", 1);
    for id in 1..=3 {
        world.publish(publisher, "t", 1, id, &format!("{id}"));
    }
    assert_eq!(payloads(&world.received(busy)), ["1"]);
    let other = world.client(V5, "other");
    world.subscribe(other, "$share/g/t", 1);
    world.cut(busy);
    assert_eq!(payloads(&world.received(other)), ["2", "3"]);
}
