//! mqtt-protocol-core: owned packets that keep their encoded parts. Its framing is private to its connection, so the
//! fixed header is read here.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use crate::case::{Case, SliceCodec};
use crate::vectors::{Item, Version};

macro_rules! decoder {
    ($name:ident, $tree:ident) => {
        fn $name(frame: &[u8]) -> Result<Packet, MqttError> {
            let (first, body) = split(frame);
            Ok(match first >> 4 {
                1 => $tree::Connect::parse(body)?.0.into(),
                3 => $tree::Publish::parse(first & 0xf, Arc::from(body)).unwrap().0.into(),
                4 => $tree::Puback::parse(body)?.0.into(),
                5 => $tree::Pubrec::parse(body)?.0.into(),
                6 => $tree::Pubrel::parse(body)?.0.into(),
                7 => $tree::Pubcomp::parse(body)?.0.into(),
                8 => $tree::Subscribe::parse(body)?.0.into(),
                9 => $tree::Suback::parse(body)?.0.into(),
                12 => $tree::Pingreq::parse(body)?.0.into(),
                13 => $tree::Pingresp::parse(body)?.0.into(),
                other => unreachable!("no item has packet type {other}"),
            })
        }
    };
}

decoder!(decode_v3_1_1, v3_1_1);
decoder!(decode_v5, v5_0);

/// The first byte, and what follows the length.
fn split(frame: &[u8]) -> (u8, &[u8]) {
    let length_bytes = frame[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    (frame[0], &frame[1 + length_bytes..])
}

pub(super) fn cases(item: &Item) -> Vec<Case> {
    let codec = SliceCodec {
        name: "mqtt-protocol-core",
        decode: match item.version {
            Version::V3_1_1 => decode_v3_1_1,
            Version::V5 => decode_v5,
        },
        packet: Result::unwrap,
        encode: |packet: &Packet, buffer: &mut [u8]| {
            let bytes = packet.to_continuous_buffer();
            buffer[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        },
    };
    codec.cases(item)
}
