//! rmqtt-codec: owned packets that encoding uses up.

use bytes::BytesMut;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use crate::case::{Case, StreamCodec};
use crate::vectors::{Item, Version};

pub(super) fn cases(item: &Item) -> Vec<Case> {
    match item.version {
        Version::V3_1_1 => StreamCodec {
            name: "rmqtt-codec",
            new: v3::Codec::default,
            decode: |codec: &mut v3::Codec, stream: &mut BytesMut| codec.decode(stream),
            packet: |answer: Result<Option<(v3::Packet, u32)>, DecodeError>| answer.unwrap().unwrap().0,
            encode: |codec: &mut v3::Codec, packet: &mut v3::Packet, buffer: &mut BytesMut| {
                codec.encode(std::mem::replace(packet, v3::Packet::PingRequest), buffer).unwrap();
            },
        }
        .cases(item),
        Version::V5 => StreamCodec {
            name: "rmqtt-codec",
            new: || v5::Codec::new(0, 0),
            decode: |codec: &mut v5::Codec, stream: &mut BytesMut| codec.decode(stream),
            packet: |answer: Result<Option<(v5::Packet, u32)>, DecodeError>| answer.unwrap().unwrap().0,
            encode: |codec: &mut v5::Codec, packet: &mut v5::Packet, buffer: &mut BytesMut| {
                codec.encode(std::mem::replace(packet, v5::Packet::PingRequest), buffer).unwrap();
            },
        }
        .cases(item),
    }
}
