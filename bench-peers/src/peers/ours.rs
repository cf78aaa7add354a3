//! mqtt-packet, twice: with `Packet`, as a broker decodes whatever comes, and with the packet's own functions, as a
//! device does that knows what it expects.

use mqtt_packet::{Ack, Connect, Frame, Packet, Publish, SliceSink, Subscribe, Version as Wire};

use crate::case::{Case, SliceCodec};
use crate::vectors::{Item, Version};

const DIRECT: &str = "mqtt-packet-direct";

fn frame(bytes: &'static [u8]) -> Frame<'static> {
    Frame::split(bytes).unwrap().unwrap().0
}

/// A codec of one packet type: `decode` with or without a version, and `encode`.
macro_rules! codec {
    ($name:expr, $packet:ident, $version:ident, $decode:expr) => {
        SliceCodec {
            name: $name,
            decode: $decode,
            encode: move |packet: &$packet<'static>, buffer: &mut [u8]| {
                let mut sink = SliceSink::new(buffer);
                packet.encode($version, &mut sink).unwrap();
                sink.len()
            },
        }
    };
}

pub(super) fn cases(item: &Item) -> Vec<Case> {
    let version = match item.version {
        Version::V3_1_1 => Wire::V3_1_1,
        Version::V5 => Wire::V5,
    };
    let any = codec!("mqtt-packet", Packet, version, move |bytes| Packet::decode(
        frame(bytes),
        version
    )
    .unwrap());
    let mut cases = any.cases(item);
    cases.extend(match item.name {
        "publish" | "publish-properties" => codec!(DIRECT, Publish, version, move |bytes| Publish::decode(
            frame(bytes),
            version
        )
        .unwrap())
        .cases(item),
        "connect" => codec!(DIRECT, Connect, version, move |bytes| Connect::decode(frame(
            bytes
        ))
        .unwrap())
        .cases(item),
        "subscribe" => codec!(DIRECT, Subscribe, version, move |bytes| Subscribe::decode(
            frame(bytes),
            version
        )
        .unwrap())
        .cases(item),
        "puback" => codec!(DIRECT, Ack, version, move |bytes| Ack::decode(
            frame(bytes),
            version
        )
        .unwrap())
        .cases(item),
        _ => Vec::new(),
    });
    cases
}
