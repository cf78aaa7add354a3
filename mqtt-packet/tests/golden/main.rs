//! The packets of `vectors/`, decoded to the values that a person reads there, and encoded back to those bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod v3;
#[cfg(feature = "v5")]
mod v5;
#[path = "../vectors/mod.rs"]
mod vectors;
#[path = "../wire/mod.rs"]
mod wire;

use mqtt_packet::{
    Connect, Delivery, Frame, Packet, PacketId, Properties, Property, PropertyPlace, PropertyWriter, Publish,
    QoS, SubscribeFilter, SubscribeOptions, TopicFilter, TopicName, Utf8Str, Version,
};

/// What a packet says, its properties apart.
#[derive(Clone, Copy)]
struct Golden {
    name: &'static str,
    packet: Packet<'static>,
    properties: &'static [Property<'static>],
    will_properties: &'static [Property<'static>],
}

impl Golden {
    const fn new(name: &'static str, packet: Packet<'static>) -> Self {
        Self { name, packet, properties: &[], will_properties: &[] }
    }

    #[cfg(feature = "v5")]
    const fn with(self, properties: &'static [Property<'static>]) -> Self {
        Self { properties, ..self }
    }

    /// The packet with its properties.
    fn whole(&self) -> Packet<'static> {
        let properties = block(self.properties, PropertyPlace::of(self.packet.packet_type()));
        let mut packet = wire::with_properties(self.packet, properties);
        if let Packet::Connect(Connect { will: Some(will), .. }) = &mut packet {
            will.properties = block(self.will_properties, PropertyPlace::WILL);
        }
        packet
    }
}

fn block(properties: &[Property<'static>], place: PropertyPlace) -> Properties<'static> {
    let mut writer = PropertyWriter::new(place, vec![0; 1024].leak());
    for property in properties {
        writer.push(*property).unwrap();
    }
    writer.finish()
}

const fn text(text: &'static str) -> Utf8Str<'static> {
    match Utf8Str::new(text) {
        Ok(text) => text,
        Err(_) => panic!("not a string"),
    }
}

const fn topic(text: &'static str) -> TopicName<'static> {
    match TopicName::new(text) {
        Ok(topic) => topic,
        Err(_) => panic!("not a topic name"),
    }
}

const fn filter(text: &'static str) -> TopicFilter<'static> {
    match TopicFilter::new(text) {
        Ok(filter) => filter,
        Err(_) => panic!("not a topic filter"),
    }
}

const fn to(text: &'static str, qos: QoS) -> SubscribeFilter<'static> {
    SubscribeFilter { filter: filter(text), options: SubscribeOptions::new(qos) }
}

const fn id(number: u16) -> PacketId {
    match PacketId::new(number) {
        Some(id) => id,
        None => panic!("not a packet identifier"),
    }
}

const fn publish(topic: TopicName<'static>, delivery: Delivery, payload: &'static [u8]) -> Publish<'static> {
    Publish { delivery, ..Publish::new(topic, payload) }
}

const fn qos_1(number: u16, dup: bool) -> Delivery {
    Delivery::AtLeastOnce { id: id(number), dup }
}

const fn qos_2(number: u16, dup: bool) -> Delivery {
    Delivery::ExactlyOnce { id: id(number), dup }
}

/// Every vector of a version says what the table has, and nothing in the table is without a vector.
fn check(version: Version, table: &[Golden]) {
    let vectors = vectors::of(version);
    for vector in &vectors {
        let golden = table.iter().find(|golden| golden.name == vector.usual);
        let golden = golden.unwrap_or_else(|| panic!("{} has no expected value", vector.name));
        let expected = golden.whole();
        let decoded = wire::accepted(&vector.bytes, version);
        assert_eq!(decoded, expected, "{}", vector.name);
        let usual = vectors::named(vector.usual, version);
        assert_eq!(wire::encoded(&expected, version), usual.bytes, "{} from the value", vector.name);
        assert_eq!(wire::encoded(&decoded, version), usual.bytes, "{} from the bytes", vector.name);
        assert_eq!(decoded.packet_type() as u8, vector.bytes[0] >> 4);
    }
    for golden in table {
        assert!(vectors.iter().any(|vector| vector.name == golden.name), "{} has no vector", golden.name);
    }
}

#[test]
fn packets_of_3_1() {
    check(Version::V3_1, v3::V3_1);
}

#[test]
fn packets_of_3_1_1() {
    check(Version::V3_1_1, v3::V3_1_1);
}

#[test]
#[cfg(feature = "v5")]
fn packets_of_5_0() {
    check(Version::V5, v5::V5);
}

#[test]
fn every_packet_of_every_version_is_there() {
    for version in wire::ALL.into_iter().filter(|version| version.is_supported()) {
        let mut types: Vec<u8> = vectors::of(version).iter().map(|vector| vector.bytes[0] >> 4).collect();
        types.sort();
        types.dedup();
        let last = if version == Version::V5 { 15 } else { 14 };
        assert_eq!(types, (1..=last).collect::<Vec<_>>(), "{version:?}");
    }
}

#[test]
fn what_is_no_packet_has_its_error() {
    for version in wire::ALL.into_iter().filter(|version| version.is_supported()) {
        for (name, bytes, error) in vectors::refused(version) {
            let decoded = Frame::split(&bytes).and_then(|frame| {
                let (frame, _) = frame.unwrap_or_else(|| panic!("{name} is not whole"));
                Packet::decode(frame, version)
            });
            assert_eq!(decoded.map_err(|error| format!("{error:?}")), Err(error.to_owned()), "{name}");
        }
    }
}
