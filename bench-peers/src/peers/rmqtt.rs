//! rmqtt-codec: owned packets that encoding uses up.

use bytes::BytesMut;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use crate::case::{Case, StreamCodec};
use crate::vectors::{Item, Version};

pub(super) fn cases(item: &Item) -> Vec<Case> {
    match item.version {
        Version::V3_1_1 => StreamCodec {
            name: "rmqtt-codec",
            new: v3::Codec::default,
            decode,
            encode: |codec: &mut v3::Codec, packet: &mut v3::Packet, buffer: &mut BytesMut| {
                codec
                    .encode(std::mem::replace(packet, v3::Packet::PingRequest), buffer)
                    .unwrap();
            },
        }
        .cases(item),
        Version::V5 => StreamCodec {
            name: "rmqtt-codec",
            new: || v5::Codec::new(0, 0),
            decode,
            encode: |codec: &mut v5::Codec, packet: &mut v5::Packet, buffer: &mut BytesMut| {
                codec
                    .encode(std::mem::replace(packet, v5::Packet::PingRequest), buffer)
                    .unwrap();
            },
        }
        .cases(item),
    }
}

fn decode<C, P>(codec: &mut C, stream: &mut BytesMut) -> P
where
    C: Decoder<Item = (P, u32), Error: std::fmt::Debug>,
{
    codec.decode(stream).unwrap().unwrap().0
}
