//! What the oracle sees of the packets between the broker and its clients.

use super::Broker;
use crate::scene::{Scene, client_name};
use crate::wire::{ConnIndex, Unanswered};
use mqtt_broker_lite::core::{ConnId, Wire, home};
use mqtt_packet::{Connect, Disconnect, Frame, Packet, PacketType, Publish, ReasonCode};

/// No PUBLISH is larger than its payload and this, in bytes.
const FRONT: usize = 100;

impl Broker {
    /// Shows the oracle what comes to the broker.
    pub(super) fn observe(&mut self, index: ConnIndex, frame: Frame<'_>, scene: &mut Scene) {
        let Some(peer) = self.peers.get_mut(&index).filter(|peer| !peer.is_closing) else {
            return;
        };
        let client = scene.connections[index].client;
        scene.note_packet(|| format!("{} -> broker", client_name(client)), frame, peer.version);
        peer.last_packet = scene.now;
        match frame.packet_type() {
            PacketType::Connect => {
                if let Ok(connect) = Connect::decode(frame) {
                    peer.version = connect.version;
                    peer.keep_alive = connect.keep_alive;
                    if let Some(kept) = self.wills.get_mut(&client) {
                        kept.is_contested |= kept.due > scene.now;
                    }
                    if peer.home.is_none() {
                        let home = home(connect.client_id.as_bytes(), self.plan.shards);
                        self.settle(index, home, scene);
                    }
                }
            }
            PacketType::Publish => {
                let Ok(publish) = Publish::decode(frame, peer.version) else {
                    return;
                };
                let alias = publish.properties.topic_alias();
                let topic = match alias.filter(|_| publish.topic.is_empty()) {
                    Some(alias) => peer.aliases.get(&alias).cloned().unwrap_or_default(),
                    None => publish.topic.as_str().to_owned(),
                };
                if let Some(alias) = alias {
                    peer.aliases.insert(alias, topic.clone());
                }
                peer.unanswered.publish(publish.delivery);
                let now = (scene.now, scene.wall());
                scene.oracle.arrived(now, client, &topic, publish.payload, publish.retain);
            }
            PacketType::Disconnect => {
                let disconnect = Disconnect::decode(frame, peer.version);
                peer.left_in_order =
                    disconnect.is_ok_and(|disconnect| disconnect.reason_code == ReasonCode::SUCCESS);
            }
            _ => {}
        }
    }

    /// The shard sends.
    pub(super) fn say(&mut self, id: ConnId, wire: &Wire, scene: &mut Scene) {
        let index = id.0 as usize;
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        let bytes = wire.to_vec();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Ok(Some((frame, behind))) = Frame::split(rest) else {
                scene.oracle.broken(scene.now, "the broker says whole packets", || {
                    format!("{:02X?}", &rest[..rest.len().min(16)])
                });
                return;
            };
            rest = behind;
            match Packet::decode(frame, peer.version) {
                Ok(Packet::Publish(publish)) => {
                    let unread = peer.waiting.len() + bytes.len() - rest.len();
                    let largest = self.plan.largest + FRONT;
                    if unread > self.plan.window + largest * (usize::from(self.plan.max_inflight) + 2) {
                        scene.oracle.broken(scene.now, "what waits for a connection is bounded", || {
                            format!("{unread} bytes for {}", client_name(scene.connections[index].client))
                        });
                    }
                    if !publish.delivery.dup() {
                        scene.oracle.sent(scene.now, scene.wall(), publish.payload);
                    }
                }
                Ok(Packet::ConnAck(connack)) => {
                    peer.is_connected = connack.reason_code == ReasonCode::SUCCESS;
                    // [MQTT-3.1.3-9]. Later it may have gone before; and with its session it ended nobody knows when.
                    if let Some(kept) = self.wills.remove(&scene.connections[index].client)
                        && connack.session_present
                        && kept.due > scene.now
                    {
                        scene.oracle.will_cancelled(scene.now, kept.will);
                    }
                }
                Ok(Packet::Ack(ack)) if !peer.unanswered.answer(&ack) => {
                    scene.oracle.broken(scene.now, Unanswered::PROMISE, || {
                        format!("{ack:?} -> {}", client_name(scene.connections[index].client))
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    scene.oracle.broken(scene.now, "the broker keeps to the protocol", || error.to_string());
                }
            }
        }
        peer.waiting.extend(bytes);
    }
}
