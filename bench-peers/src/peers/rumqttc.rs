//! rumqttc's `mqttbytes`: owned packets, one tree of code per version.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use crate::case::{Case, StreamCodec};
use crate::vectors::{Item, Version};

pub(super) fn cases(item: &Item) -> Vec<Case> {
    match item.version {
        Version::V3_1_1 => StreamCodec {
            name: "rumqttc",
            new: || (),
            decode: |_: &mut (), stream: &mut BytesMut| v4::Packet::read(stream, usize::MAX),
            packet: Result::unwrap,
            encode: |_: &mut (), packet: &mut v4::Packet, buffer: &mut BytesMut| {
                packet.write(buffer, usize::MAX).unwrap();
            },
        }
        .cases(item),
        Version::V5 => StreamCodec {
            name: "rumqttc",
            new: || (),
            decode: |_: &mut (), stream: &mut BytesMut| v5::Packet::read(stream, None),
            packet: Result::unwrap,
            encode: |_: &mut (), packet: &mut v5::Packet, buffer: &mut BytesMut| {
                packet.write(buffer, None).unwrap();
            },
        }
        .cases(item),
    }
}
