//! What is measured: single packets, and the stream of a busy connection.

use mqtt_packet::{
    Ack, AckKind, Connect, Delivery, Packet, PacketId, PacketType, PingReq, PingResp, Properties, Property,
    PropertyPlace, PropertyWriter, Publish, QoS, SliceSink, SubAck, Subscribe, SubscribeFilter,
    SubscribeOptions, TopicFilter, TopicName, Utf8Str, Version, Will,
};

/// Packets that follow each other, and their bytes.
pub(crate) struct Item {
    /// Its name and version.
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) packets: Vec<Packet<'static>>,
    pub(crate) bytes: Vec<u8>,
}

/// 25 bytes.
const TOPIC: &str = "factory/line7/temperature";

const FILTERS: [&str; 8] = [
    "factory/line7/temperature",
    "factory/line7/oil-pressure",
    "factory/+/humidity/relative",
    "factory/line8/#",
    "building/2/floor/+/lamp/kitchen",
    "alerts/factory/critical/#",
    "$SYS/broker/uptime",
    "devices/0451/commands/firmware",
];

/// The mixed stream ends with the packet that reaches this many bytes.
const MIXED: usize = 64 * 1024;

static PAYLOAD: [u8; 400] = [b'7'; 400];

pub(crate) fn items() -> Vec<Item> {
    [Version::V3_1_1, Version::V5].into_iter().flat_map(items_of).collect()
}

fn items_of(version: Version) -> Vec<Item> {
    let publish = Publish::new(topic(TOPIC), &PAYLOAD[..64]);
    let mut items = vec![
        item("publish", version, vec![Packet::Publish(publish)]),
        item("connect", version, vec![Packet::Connect(connect(version))]),
        item("subscribe", version, vec![Packet::Subscribe(subscribe(8))]),
        item("puback", version, vec![Packet::Ack(Ack::new(AckKind::PubAck, id(10)))]),
        item("mixed", version, mixed(version)),
    ];
    if version == Version::V5 {
        let publish = Publish { properties: five_properties(), ..publish };
        items.push(item("publish-properties", version, vec![Packet::Publish(publish)]));
    }
    items
}

fn item(name: &str, version: Version, packets: Vec<Packet<'static>>) -> Item {
    let len = packets.iter().map(|packet| packet.encoded_len(version)).sum();
    let mut bytes = vec![0; len];
    let mut out = SliceSink::new(&mut bytes);
    for packet in &packets {
        packet.encode(version, &mut out).unwrap();
    }
    Item { name: format!("{name}/{version:?}"), version, packets, bytes }
}

fn topic(name: &str) -> TopicName<'_> {
    TopicName::new(name).unwrap()
}

fn text(text: &str) -> Utf8Str<'_> {
    Utf8Str::new(text).unwrap()
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn block(place: PropertyPlace, properties: &[Property<'_>]) -> Properties<'static> {
    let mut writer = PropertyWriter::new(place, vec![0; 256].leak());
    for &property in properties {
        writer.push(property).unwrap();
    }
    writer.finish()
}

fn five_properties() -> Properties<'static> {
    block(
        PropertyPlace::of(PacketType::Publish),
        &[
            Property::PayloadFormatIndicator(true),
            Property::MessageExpiryInterval(3600),
            Property::ContentType(text("application/vnd.reading+json")),
            Property::ResponseTopic(topic("factory/line7/temperature/reply")),
            Property::UserProperty(text("trace-id"), text("4bf92f3577b34da6a3ce929d0e0e4736")),
        ],
    )
}

/// With everything that a CONNECT can carry in practice.
fn connect(version: Version) -> Connect<'static> {
    Connect {
        properties: block(
            PropertyPlace::of(PacketType::Connect),
            &[
                Property::SessionExpiryInterval(3600),
                Property::ReceiveMaximum(20),
                Property::MaximumPacketSize(65_536),
                Property::TopicAliasMaximum(10),
            ],
        ),
        will: Some(Will {
            topic: topic("devices/0451/status"),
            payload: b"offline",
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: block(
                PropertyPlace::WILL,
                &[Property::WillDelayInterval(30), Property::MessageExpiryInterval(3600)],
            ),
        }),
        user_name: Some(text("thermometer")),
        password: Some(b"correct horse battery"),
        ..Connect::new(version, text("thermometer-0451"))
    }
}

fn subscribe(filters: usize) -> Subscribe<'static> {
    let filters: Vec<_> = FILTERS[..filters]
        .iter()
        .zip([QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().cycle())
        .map(|(filter, qos)| SubscribeFilter {
            filter: TopicFilter::new(filter).unwrap(),
            options: SubscribeOptions::new(qos),
        })
        .collect();
    Subscribe::new(id(10), filters.leak())
}

/// As a busy connection sees it, both directions together: mostly PUBLISH of all QoS, some of their acknowledgements,
/// now and then a subscription and a ping. Every second PUBLISH of 5.0 has properties.
fn mixed(version: Version) -> Vec<Packet<'static>> {
    const TOPICS: [&str; 4] =
        [TOPIC, "plant/7", "building/2/floor/11/lamp/kitchen/left/brightness", "devices/0451/status/battery"];
    const LENGTHS: [usize; 5] = [8, 64, 200, 24, 400];
    const STEPS: [AckKind; 4] = [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp];
    let five = five_properties();
    let mut packets = Vec::new();
    let mut len = 0;
    for round in 1.. {
        let first = packets.len();
        for at in 0..6 {
            let count = round * 6 + at;
            let (id, dup) = (id(count as u16), false);
            packets.push(Packet::Publish(Publish {
                delivery: match at {
                    1 | 4 => Delivery::AtLeastOnce { id, dup },
                    3 => Delivery::ExactlyOnce { id, dup },
                    _ => Delivery::AtMostOnce,
                },
                properties: if count % 2 > 0 { five } else { Properties::EMPTY },
                ..Publish::new(topic(TOPICS[count % 4]), &PAYLOAD[..LENGTHS[count % 5]])
            }));
        }
        packets.push(Packet::Ack(Ack::new(STEPS[round % 4], id(round as u16))));
        if round % 8 == 1 {
            packets.push(Packet::Subscribe(subscribe(2)));
            packets.push(Packet::SubAck(SubAck::new(id(10), &[0, 1])));
            packets.push(Packet::PingReq(PingReq));
            packets.push(Packet::PingResp(PingResp));
        }
        len += packets[first..].iter().map(|packet| packet.encoded_len(version)).sum::<usize>();
        if len >= MIXED {
            break;
        }
    }
    packets
}
