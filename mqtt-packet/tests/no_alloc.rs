//! Nothing allocates: an allocator that counts sees zero allocations for every packet, both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod vectors;
mod wire;

use std::fmt::Write;
use std::hint::black_box;

use allocation_counter::measure;
use mqtt_packet::{
    Delivery, Frame, Framer, Packet, PacketId, PacketType, Piece, Properties, Property, PropertyPlace,
    PropertyWriter, Publish, SliceSink, TopicFilter, TopicName, Version,
};

/// Allocations while `work` is done.
fn allocations(work: impl FnMut()) -> u64 {
    measure(work).count_total
}

/// A text that keeps nothing but its length.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Goes through everything a packet has; how much that is.
fn iterate(packet: &Packet<'_>) -> usize {
    let count = |properties: &Properties<'_>| {
        properties.iter().count()
            + properties.user_properties().count()
            + properties.subscription_identifiers().count()
            + usize::from(properties.reason_string().is_some())
    };
    match packet {
        Packet::Connect(connect) => {
            count(&connect.properties) + connect.will.map_or(0, |will| count(&will.properties))
        }
        Packet::ConnAck(connack) => count(&connack.properties),
        Packet::Publish(publish) => count(&publish.properties) + publish.topic.as_str().len(),
        Packet::Ack(ack) => count(&ack.properties),
        Packet::Subscribe(subscribe) => count(&subscribe.properties) + subscribe.filters.iter().count(),
        Packet::SubAck(suback) => count(&suback.properties) + suback.reason_codes.iter().count(),
        Packet::Unsubscribe(unsubscribe) => {
            count(&unsubscribe.properties) + unsubscribe.filters.iter().count()
        }
        Packet::UnsubAck(unsuback) => count(&unsuback.properties) + unsuback.reason_codes.iter().count(),
        Packet::Disconnect(disconnect) => count(&disconnect.properties),
        Packet::Auth(auth) => count(&auth.properties),
        Packet::PingReq(_) | Packet::PingResp(_) => 0,
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(vec![1_u8; 100]))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn no_packet_allocates() {
    let mut memory = [0; 1024];
    for vector in vectors::all() {
        let count = allocations(|| {
            let (frame, _) = Frame::split(&vector.bytes).unwrap().unwrap();
            for frame in [frame, frame.strict()] {
                let packet = Packet::decode(frame, vector.version).unwrap();
                black_box(iterate(&packet));
                let mut out = SliceSink::new(&mut memory);
                packet.encode(vector.version, &mut out).unwrap();
                assert_eq!(out.len(), packet.encoded_len(vector.version));
                let mut text = Length(0);
                write!(text, "{packet} {packet:?}").unwrap();
                assert!(text.0 > 0);
            }
        });
        assert_eq!(count, 0, "{} in {:?}", vector.name, vector.version);
    }
}

#[test]
fn no_refusal_allocates() {
    // Every packet, cut at every place, in every version.
    for vector in vectors::all() {
        for cut in 0..vector.bytes.len() {
            let mut bytes = vector.bytes[..cut].to_vec();
            if let [_, length @ 0..=0x7F, ..] = &mut bytes[..] {
                *length = (cut - 2) as u8;
            }
            let count = allocations(|| {
                for version in wire::ALL {
                    if let Ok(Some((frame, _))) = Frame::split(&bytes) {
                        let _ = black_box(Packet::decode(frame, version));
                    }
                }
            });
            assert_eq!(count, 0, "{} to {cut}", vector.name);
        }
    }
}

#[test]
fn no_stream_allocates() {
    let stream: Vec<u8> =
        vectors::of(Version::V3_1_1).iter().flat_map(|vector| vector.bytes.clone()).collect();
    let mut memory = [0; 96];
    let (mut packets, mut chunks) = (0, 0);
    let count = allocations(|| {
        let mut framer = Framer::new(&mut memory, Version::V3_1_1);
        let mut rest = stream.as_slice();
        while !rest.is_empty() || framer.ready().unwrap() {
            match framer.next() {
                Some(Piece::Chunk { .. }) => chunks += 1,
                Some(_) => packets += 1,
                None => {
                    let spare = framer.spare();
                    let (now, later) = rest.split_at(spare.len().min(rest.len()).min(7));
                    spare[..now.len()].copy_from_slice(now);
                    framer.filled(now.len());
                    rest = later;
                }
            }
        }
    });
    assert_eq!(count, 0);
    assert_eq!(packets, vectors::of(Version::V3_1_1).len());
    assert!(chunks > 1, "one message is larger than the buffer");
}

#[test]
fn no_fan_out_allocates() {
    let place = PropertyPlace::of(PacketType::Publish);
    let count = allocations(|| {
        let topic = TopicName::new("plant/1/temperature").unwrap();
        let filter = TopicFilter::new("plant/+/temperature").unwrap();
        assert!(filter.matches(topic) && filter.shared() == Ok(None));
        let message = Publish::new(topic, b"21.5");
        let mut memory = [0; 16];
        let mut writer = PropertyWriter::new(place, &mut memory);
        writer.push(Property::SubscriptionIdentifier(70_000)).unwrap();
        let own = writer.finish();
        let delivery = Delivery::AtLeastOnce { id: PacketId::MIN, dup: false };
        let mut scratch = [0; 16];
        for version in wire::ALL.into_iter().filter(|version| version.is_supported()) {
            black_box(message.pieces(delivery, true, own, version, &mut scratch).unwrap());
        }
    });
    assert_eq!(count, 0);
}
