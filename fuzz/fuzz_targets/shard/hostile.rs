//! Those who send whatever they like, and must harm nobody.

use crate::world::{World, is_known};
use crate::{FILTERS, TOPICS};
use arbitrary::Unstructured;
use mqtt_broker_lite::core::{Change, ConnId};
use mqtt_packet::*;

const SLOTS: usize = 4;

#[derive(Default)]
pub struct Hostile {
    connections: [Option<ConnId>; SLOTS],
    versions: [Option<Version>; SLOTS],
}

impl Hostile {
    pub fn act(&mut self, world: &mut World, slot: u8, kind: u8, input: &mut Unstructured<'_>) {
        let slot = usize::from(slot) % SLOTS;
        let id = *self.connections[slot].get_or_insert_with(|| world.open(true));
        let version = *self.versions[slot].get_or_insert_with(|| fuzz::version_of(kind));
        let bytes = self.bytes(slot, kind, version, input).unwrap_or_default();
        if !world.lines.get(&id).is_some_and(|line| line.is_paused) {
            world.bytes(id, &bytes);
        }
        let Some(line) = world.lines.get_mut(&id) else { return };
        check(&mut line.received, version);
        if kind >= 250 || line.closed.is_some() {
            world.cut(id);
            world.lines.remove(&id);
            self.connections[slot] = None;
            self.versions[slot] = None;
        }
    }

    fn bytes(
        &self,
        slot: usize,
        kind: u8,
        version: Version,
        input: &mut Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        let pick = |byte: u8, len: usize| usize::from(byte) % len;
        let id = PacketId::new(u16::from(kind) % 5 + 1).unwrap_or(PacketId::MIN);
        Ok(match kind % 8 {
            0 | 1 => {
                let names = ["x", "y", "a", "b"];
                let mut connect = Connect::new(version, names[slot].try_into().unwrap_or_default());
                connect.clean_start = kind & 16 > 0;
                connect.keep_alive = u16::from(kind >> 5);
                fuzz::encode(&Packet::Connect(connect), version)
            }
            2 => {
                let len = usize::from(input.arbitrary::<u8>()?).min(input.len());
                input.bytes(len)?.to_vec()
            }
            3 => {
                let topic = TOPICS[pick(input.arbitrary()?, TOPICS.len())];
                let payload = [kind; 3];
                let qos = QoS::from_bits(kind >> 6).unwrap_or(QoS::AtMostOnce);
                let publish = Publish {
                    delivery: Delivery::new(qos, Some(id)).unwrap_or(Delivery::AtMostOnce),
                    retain: kind & 16 > 0,
                    ..Publish::new(topic.try_into().unwrap_or(TopicName::ALIASED), &payload)
                };
                fuzz::encode(&Packet::Publish(publish), version)
            }
            4 => {
                let filter = FILTERS[pick(input.arbitrary()?, FILTERS.len())];
                let options = SubscribeOptions::new(QoS::from_bits(kind >> 6).unwrap_or(QoS::AtMostOnce));
                let Ok(filter) = TopicFilter::new(filter) else { return Ok(Vec::new()) };
                let filters = [SubscribeFilter { filter, options }];
                fuzz::encode(&Packet::Subscribe(Subscribe::new(id, &filters)), version)
            }
            5 => {
                let kinds = [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp];
                fuzz::encode(&Packet::Ack(Ack::new(kinds[usize::from(kind >> 6)], id)), version)
            }
            _ => fuzz::encode(&Packet::arbitrary_of(version, input)?, version),
        })
    }

    /// Nothing is left in the store but what is retained, and their sessions.
    pub fn check_disk(&self, world: &World) {
        for change in world.disk.stored() {
            match &change {
                Change::Retained(_) => {}
                // One that nothing refers to goes at a later start.
                Change::Message(..) => {}
                Change::Session(_, record) if !is_known(&record.client.client_id) => {}
                other => panic!("left over: {other:?}"),
            }
        }
    }
}

/// Whatever they said, what they hear is well-formed.
fn check(received: &mut Vec<u8>, version: Version) {
    let mut rest = &received[..];
    while let Some((frame, behind)) = Frame::split(rest).expect("whole packets") {
        // A CONNECT of any version may have been sent.
        let packet = [version, Version::V5, Version::V3_1_1, Version::V3_1].into_iter().find_map(|version| {
            let packet = Packet::decode(frame, version).ok()?;
            packet.check_sender(Role::Server, version).is_ok().then_some(())
        });
        assert!(packet.is_some(), "{rest:x?} is no packet of a server");
        rest = behind;
    }
    *received = rest.to_vec();
}
