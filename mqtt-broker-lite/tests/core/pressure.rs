//! When memory is short: what is given up first, and what never.

use super::world::*;
use mqtt_broker_lite::core::{Pressure, Settings};
use mqtt_packet::Version::{V3_1_1, V5};
use mqtt_packet::*;

fn world() -> World {
    World::with(Settings { window: 1000, slow_queue_bytes: 100_000, ..Settings::default() })
}

/// How many of a hundred messages of 1,000 bytes wait for a reader who is slow, and come when he reads.
fn waited(pressure: Pressure, qos: u8) -> usize {
    let mut world = world();
    let publisher = world.client(V3_1_1, "publisher");
    let reader = world.client(V3_1_1, "reader");
    world.subscribe(reader, "t", qos);
    world.press(pressure);
    world.stall(reader);
    for id in 1..=80 {
        world.publish(publisher, "t", qos, id, &"x".repeat(1000));
    }
    world.unstall(reader);
    world.received(reader).len()
}

#[test]
fn qos_0_waits_less_and_less() {
    assert_eq!(waited(Pressure::None, 0), 80);
    let tight = waited(Pressure::Tight, 0);
    assert!((10..40).contains(&tight), "{tight}");
    let scarce = waited(Pressure::Scarce, 0);
    assert!(scarce < 5, "{scarce}");
}

#[test]
fn qos_1_waits_less_only_when_memory_is_scarce() {
    assert_eq!(waited(Pressure::None, 1), 80);
    assert_eq!(waited(Pressure::Tight, 1), 80);
    let scarce = waited(Pressure::Scarce, 1);
    assert!((10..40).contains(&scarce), "{scarce}");
}

/// How many bytes a reader who reads nothing is sent.
fn sent(pressure: Pressure) -> usize {
    let mut world = World::with(Settings { window: 20_000, ..Settings::default() });
    let publisher = world.client(V3_1_1, "publisher");
    let reader = world.client(V3_1_1, "reader");
    world.subscribe(reader, "t", 0);
    world.press(pressure);
    world.stall(reader);
    for _ in 0..40 {
        world.publish(publisher, "t", 0, 0, &"x".repeat(1000));
    }
    world.bytes(reader).len()
}

#[test]
fn less_is_on_its_way_to_slow_readers() {
    assert!((20_000..22_000).contains(&sent(Pressure::None)));
    for pressure in [Pressure::Tight, Pressure::Scarce, Pressure::Exhausted] {
        assert!((10_000..12_000).contains(&sent(pressure)), "{pressure:?}");
    }
}

#[test]
fn what_waits_of_qos_0_goes_when_memory_gets_scarce() {
    let mut world = world();
    let publisher = world.client(V3_1_1, "publisher");
    let reader = world.client(V3_1_1, "reader");
    world.subscribe(reader, "t", 0);
    world.stall(reader);
    for _ in 0..50 {
        world.publish(publisher, "t", 0, 0, &"x".repeat(1000));
    }
    world.press(Pressure::Scarce);
    world.unstall(reader);
    let count = world.received(reader).len();
    assert!(count < 5, "{count}");
}

#[test]
fn nothing_new_is_kept_when_memory_is_exhausted() {
    let mut world = world();
    let client = world.client(V5, "known");
    world.press(Pressure::Exhausted);
    let options = SubscribeOptions::new(QoS::AtMostOnce);
    world.subscribe_with(client, "t", options, 0);
    let answer = world.first(client);
    assert!(answer.contains("0x97"), "{answer}");
    let stranger = world.connect_with(clean(V5, "stranger"));
    let answer = world.first(stranger);
    assert!(answer.contains("0x97"), "{answer}");
    world.press(Pressure::None);
    world.subscribe(client, "t", 0);
    world.client(V5, "stranger");
}
