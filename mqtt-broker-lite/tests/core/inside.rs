//! What the embedding program publishes and hears without a connection, and what the broker says about itself.

use super::world::*;
use mqtt_broker_lite::core::{Input, Message, ObserverId, Settings};
use mqtt_packet::Version::{V3_1_1, V5};
use mqtt_packet::*;

#[test]
fn the_program_publishes_and_hears_without_a_connection() {
    let mut world = World::new();
    let client = world.client(V5, "a");
    world.subscribe(client, "from/inside", 1);
    let message = Message::new("from/inside", b"x", QoS::AtLeastOnce, true).unwrap();
    world.tell(0, Input::Publish(message));
    world.expect(client, &["PUBLISH \"from/inside\" qos 1 id 1 \"x\""]);
    world.subscribe(client, "from/+", 0);
    world.expect(client, &["PUBLISH \"from/inside\" qos 0 retain \"x\""]);

    world.tell(0, Input::Observe(ObserverId(7), "t/#"));
    world.publish(client, "t/1", 0, 0, "seen");
    world.retain(client, "t/2", "too");
    world.publish(client, "u", 0, 0, "not");
    world.tell(0, Input::Unobserve(ObserverId(7)));
    world.publish(client, "t/3", 0, 0, "late");
    let observed: Vec<_> =
        world.observed.iter().map(|(id, message)| (id.0, message.topic(), message.retain)).collect();
    assert_eq!(observed, [(7, &b"t/1"[..], false), (7, b"t/2", true)]);
    assert!(Message::new("a/#", b"", QoS::AtMostOnce, false).is_none());
}

#[test]
fn the_broker_tells_about_itself() {
    let mut world = World::with(Settings { sys_interval: 10_000, ..Settings::default() });
    let (away, _) = world.resume(V3_1_1, "away");
    world.cut(away);
    let client = world.client(V5, "here");
    world.subscribe(client, "#", 0);
    world.retain(client, "kept", "x");
    world.received(client);
    // Shards tell the first one what they counted, and it speaks at its next turn.
    world.seconds(20);
    world.expect(client, &[]);
    world.subscribe(client, "$SYS/broker/clients/+", 0);
    let mut lines = world.received(client);
    lines.sort();
    assert_eq!(
        lines,
        [
            "PUBLISH \"$SYS/broker/clients/connected\" qos 0 retain \"1\"",
            "PUBLISH \"$SYS/broker/clients/disconnected\" qos 0 retain \"1\"",
            "PUBLISH \"$SYS/broker/clients/total\" qos 0 retain \"2\"",
        ]
    );
    world.subscribe(client, "$SYS/broker/uptime", 0);
    world.expect(client, &["PUBLISH \"$SYS/broker/uptime\" qos 0 retain \"20 seconds\""]);
    world.subscribe(client, "$SYS/broker/retained messages/count", 0);
    assert!(world.first(client).starts_with("PUBLISH \"$SYS/broker/retained messages/count\""));
}

/// Retained messages of all shards come first, and no faster than they are taken.
#[test]
fn who_listens_inside_hears_what_is_retained() {
    let mut world = World::new();
    let client = world.client(V5, "a");
    for number in 0..3000 {
        world.retain(client, &format!("t/{number}"), "kept");
    }
    world.retain(client, "other", "not asked for");
    world.tell(0, Input::Observe(ObserverId(1), "t/#"));
    assert_eq!(world.observed.len(), 1024, "the rest waits until these are taken");
    world.retain(client, "t/2999", "newer");
    world.retain(client, "t/0", "");
    world.tell(0, Input::Took(ObserverId(1), 1026));
    world.tell(0, Input::Took(ObserverId(1), 1024));
    let mut kept = std::collections::BTreeMap::new();
    for (_, message) in world.observed.drain(..) {
        assert!(message.retain);
        kept.insert(message.topic().to_vec(), message.payload().to_vec());
    }
    assert_eq!(kept.len(), 3000);
    assert_eq!(kept[&b"t/2999"[..]], b"newer", "an old one came after the new one");
    // A topic without a wildcard, wherever it is at home; and one that says nothing any more.
    for (observer, filter, count) in [(2, "t/1", 1), (3, "t/0", 0), (4, "other", 1)] {
        world.tell(0, Input::Observe(ObserverId(observer), filter));
        assert_eq!(world.observed.drain(..).count(), count, "{filter}");
    }
}
