//! mqtt-packet, twice: with `Packet`, as a broker decodes whatever comes, and with the packet's own functions, as a
//! device does that knows what it expects.

use std::convert::identity;

use mqtt_packet::{
    Ack, Connect, DecodeError, Frame, Packet, Publish, SliceSink, Subscribe, SubscribeFilters,
    Version as Wire,
};

use crate::case::{Case, SliceCodec};
use crate::vectors::{Item, Version};

/// One packet type: how it is decoded from its frame, in both directions.
macro_rules! cases {
    ($name:expr, $item:expr, $version:ident, $packet:ident, |$frame:ident| $decode:expr, $made:expr) => {
        SliceCodec {
            name: $name,
            decode: move |bytes: &'static [u8]| match Frame::split(bytes)? {
                Some(($frame, _)) => $decode,
                // The items are whole.
                None => Err(DecodeError::RemainingLength),
            },
            packet: |answer: Result<$packet<'static>, DecodeError>| $made(answer.unwrap()),
            encode: move |packet: &$packet<'static>, buffer: &mut [u8]| {
                let mut sink = SliceSink::new(buffer);
                packet.encode($version, &mut sink).unwrap();
                sink.len()
            },
        }
        .cases($item)
    };
}

/// The packet as an application makes it: a decoded list of filters is its bytes, and those would be copied whole.
fn subscribe_made(subscribe: Subscribe<'static>) -> Subscribe<'static> {
    let filters: Vec<_> = subscribe.filters.iter().collect();
    Subscribe { filters: SubscribeFilters::new(filters.leak()), ..subscribe }
}

fn made(packet: Packet<'static>) -> Packet<'static> {
    match packet {
        Packet::Subscribe(subscribe) => Packet::Subscribe(subscribe_made(subscribe)),
        other => other,
    }
}

pub(super) fn cases(item: &Item) -> Vec<Case> {
    let version = match item.version {
        Version::V3_1_1 => Wire::V3_1_1,
        Version::V5 => Wire::V5,
    };
    let mut cases =
        cases!("mqtt-packet", item, version, Packet, |frame| Packet::decode(frame, version), made);
    let direct = "mqtt-packet-direct";
    cases.extend(match item.name {
        "publish" | "publish-properties" => {
            cases!(direct, item, version, Publish, |frame| Publish::decode(frame, version), identity)
        }
        "connect" => cases!(direct, item, version, Connect, |frame| Connect::decode(frame), identity),
        "subscribe" => cases!(
            direct,
            item,
            version,
            Subscribe,
            |frame| Subscribe::decode(frame, version),
            subscribe_made
        ),
        "puback" => cases!(direct, item, version, Ack, |frame| Ack::decode(frame, version), identity),
        _ => Vec::new(),
    });
    cases
}
