//! mountain-mqtt: 5.0, borrows from the input; lists are arrays of a fixed size.

use mountain_mqtt::codec::mqtt_reader::MqttBufReader;
use mountain_mqtt::codec::mqtt_writer::{MqttBufWriter, MqttWriter};
use mountain_mqtt::codec::read::Read;
use mountain_mqtt::error::PacketReadError;
use mountain_mqtt::packets::packet_generic::PacketGeneric;

use crate::case::{Case, SliceCodec};
use crate::vectors::{Item, Version};

/// Five properties, two of a will, and seven filters after the first: what the items need, no more.
type Packet = PacketGeneric<'static, 5, 2, 7>;

pub(super) fn cases(item: &Item) -> Vec<Case> {
    let codec = SliceCodec {
        name: "mountain-mqtt",
        decode: |frame: &'static [u8]| Packet::read(&mut MqttBufReader::new(frame)),
        packet: |answer: Result<Packet, PacketReadError>| answer.unwrap(),
        encode: |packet: &Packet, buffer: &mut [u8]| {
            let mut writer = MqttBufWriter::new(buffer);
            match packet {
                PacketGeneric::Connect(packet) => writer.put(packet),
                PacketGeneric::Publish(packet) => writer.put(packet),
                PacketGeneric::Puback(packet) => writer.put(packet),
                PacketGeneric::Pubrec(packet) => writer.put(packet),
                PacketGeneric::Pubrel(packet) => writer.put(packet),
                PacketGeneric::Pubcomp(packet) => writer.put(packet),
                PacketGeneric::Subscribe(packet) => writer.put(packet),
                PacketGeneric::Suback(packet) => writer.put(packet),
                PacketGeneric::Pingreq(packet) => writer.put(packet),
                PacketGeneric::Pingresp(packet) => writer.put(packet),
                other => unreachable!("no item has {other:?}"),
            }
            .unwrap();
            writer.position()
        },
    };
    if item.version == Version::V5 { codec.cases(item) } else { Vec::new() }
}
