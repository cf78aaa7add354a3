//! mqttrs: 3.1.1, borrows from the input.

use mqttrs::{Error, Packet, decode_slice, encode_slice};

use crate::case::{Case, SliceCodec};
use crate::vectors::{Item, Version};

pub(super) fn cases(item: &Item) -> Vec<Case> {
    let codec = SliceCodec {
        name: "mqttrs",
        decode: |frame: &'static [u8]| decode_slice(frame),
        packet: |answer: Result<Option<Packet<'static>>, Error>| answer.unwrap().unwrap(),
        encode: |packet: &Packet<'static>, buffer: &mut [u8]| encode_slice(packet, buffer).unwrap(),
    };
    if item.version == Version::V3_1_1 { codec.cases(item) } else { Vec::new() }
}
