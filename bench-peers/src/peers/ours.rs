//! mqtt-packet, twice: with `Packet`, as a broker decodes whatever comes, and with the packet's own functions, as a
//! device does that knows what it expects.

use mqtt_packet::{Ack, Connect, DecodeError, Frame, Packet, Publish, SliceSink, Subscribe, Version as Wire};

use crate::case::{Case, SliceCodec};
use crate::vectors::{Item, Version};

/// One packet type: how it is decoded from its frame, in both directions.
macro_rules! cases {
    ($name:expr, $item:expr, $version:ident, $packet:ident, |$frame:ident| $decode:expr) => {
        SliceCodec {
            name: $name,
            decode: move |bytes: &'static [u8]| match Frame::split(bytes)? {
                Some(($frame, _)) => $decode,
                // The items are whole.
                None => Err(DecodeError::RemainingLength),
            },
            packet: |answer: Result<$packet<'static>, DecodeError>| answer.unwrap(),
            encode: move |packet: &$packet<'static>, buffer: &mut [u8]| {
                let mut sink = SliceSink::new(buffer);
                packet.encode($version, &mut sink).unwrap();
                sink.len()
            },
        }
        .cases($item)
    };
}

pub(super) fn cases(item: &Item) -> Vec<Case> {
    let version = match item.version {
        Version::V3_1_1 => Wire::V3_1_1,
        Version::V5 => Wire::V5,
    };
    let mut cases = cases!("mqtt-packet", item, version, Packet, |frame| Packet::decode(frame, version));
    let direct = "mqtt-packet-direct";
    cases.extend(match item.name {
        "publish" | "publish-properties" => {
            cases!(direct, item, version, Publish, |frame| Publish::decode(frame, version))
        }
        "connect" => cases!(direct, item, version, Connect, |frame| Connect::decode(frame)),
        "subscribe" => cases!(direct, item, version, Subscribe, |frame| Subscribe::decode(frame, version)),
        "puback" => cases!(direct, item, version, Ack, |frame| Ack::decode(frame, version)),
        _ => Vec::new(),
    });
    cases
}
