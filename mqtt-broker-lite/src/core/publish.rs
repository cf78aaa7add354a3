//! A PUBLISH comes in: is it allowed, is it new, who wants it, is it kept, how is it answered
//! (3.1.1 and 5.0 sections 3.3 and 4.3).

use super::connection::Connection;
use super::deliver::Item;
use super::held::Then;
use super::message::View;
use super::place::is_kept;
use super::shard::Shard;
use super::sys::Loss;
use super::topic_tree::levels;
use super::{Access, Cause, Change, Client, CloseReason};
use bytes::Bytes;
use mqtt_client::delivery::{Arrival, Receiving};
use mqtt_packet::{
    Ack, AckKind, Frame, PacketId, PacketType, Properties, Property, PropertyId, PropertyPlace,
    PropertyWriter, Publish, QoS, ReasonCode, Role, TopicName, Utf8Str, Version,
};
use std::sync::Arc;

impl Shard {
    pub(super) fn on_publish(&mut self, key: usize, frame: Frame<'_>) -> Result<(), CloseReason> {
        // Whatever met slow readers before was not from here.
        self.congested.clear();
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let client = Arc::clone(&session.client);
        let Some(connection) = session.connection.as_deref_mut() else {
            return Ok(());
        };
        let version = connection.version;
        let publish = Publish::decode(frame, version)
            .and_then(|publish| publish.check_sender(Role::Client).map(|()| publish))
            .map_err(|error| CloseReason::Packet(error, version))?;
        let alias = resolve(connection, &publish, self.settings.topic_alias_maximum)?;
        let topic = match &alias {
            Some(name) => {
                TopicName::from_bytes(name).map_err(|error| CloseReason::Packet(error.into(), version))?
            }
            None => publish.topic,
        };
        self.check_abilities(&publish)?;
        if self.must_ask_for_place(key, &publish, topic) {
            self.ask_for_place(key, frame, topic);
            return Ok(());
        }
        match publish.delivery.id() {
            None => {
                self.accept(key, &client, &publish, topic)?;
                self.slow_down(key, QoS::AtMostOnce);
                Ok(())
            }
            Some(id) => self.on_acknowledged_publish(key, &client, &publish, topic, id),
        }
    }

    /// What CONNACK said the server cannot do.
    fn check_abilities(&self, publish: &Publish<'_>) -> Result<(), CloseReason> {
        if publish.delivery.qos() > self.settings.maximum_qos {
            return Err(CloseReason::rule(
                "MQTT-3.2.2-11",
                ReasonCode::QOS_NOT_SUPPORTED,
                "a QoS above the Maximum QoS",
            ));
        }
        if publish.retain && !self.settings.retain_available {
            return Err(CloseReason::rule(
                "MQTT-3.2.2-14",
                ReasonCode::RETAIN_NOT_SUPPORTED,
                "a retained message where there are none",
            ));
        }
        Ok(())
    }

    /// QoS 1 and 2: one more message that is not acknowledged, unless it is a repeat.
    fn on_acknowledged_publish(
        &mut self,
        key: usize,
        client: &Arc<Client>,
        publish: &Publish<'_>,
        topic: TopicName<'_>,
        id: PacketId,
    ) -> Result<(), CloseReason> {
        let qos = publish.delivery.qos();
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let first = session.received.get(&id).copied();
        let kind = Receiving::answer(qos).unwrap_or(AckKind::PubAck);
        match Receiving::arrived(first.map(|_| Receiving::AwaitPubRel), qos) {
            // Whoever waits for the repeat waits for what the first copy wrote.
            Arrival::Again | Arrival::Wait => {
                self.acknowledge(key, Ack::new(kind, id), first.flatten(), Then::Nothing);
                return Ok(());
            }
            Arrival::Violation => {
                return Err(CloseReason::rule(
                    "MQTT-2.2.1-3",
                    ReasonCode::PROTOCOL_ERROR,
                    "a packet identifier that is in use",
                ));
            }
            Arrival::Deliver => {}
        }
        let Some(connection) = session.connection.as_deref_mut() else {
            return Ok(());
        };
        if connection.version == Version::V5 && connection.unacknowledged >= self.settings.receive_maximum {
            return Err(CloseReason::rule(
                "MQTT-3.3.4-7",
                ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
                "more messages than the Receive Maximum",
            ));
        }
        connection.unacknowledged = connection.unacknowledged.saturating_add(1);
        let reason_code = match self.refuse_for_room(key) {
            Some(reason_code) => reason_code,
            None => self.accept(key, client, publish, topic)?,
        };
        self.slow_down(key, qos);
        let is_open = qos == QoS::ExactlyOnce && !reason_code.is_error();
        if is_open {
            self.remember(key, id);
        }
        let then = if is_open { Then::Nothing } else { Then::Acknowledged };
        let cause = self.journal.cause();
        self.acknowledge(key, Ack { reason_code, ..Ack::new(kind, id) }, cause, then);
        Ok(())
    }

    /// Remembers the identifier of a QoS 2 message until PUBREL [MQTT-4.3.3-10].
    fn remember(&mut self, key: usize, id: PacketId) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.is_kept() {
            self.journal.record(Change::Received(session.number, id));
        }
        session.received.insert(id, self.journal.cause());
    }

    /// PUBREL: the identifier is free once that is safe.
    pub(super) fn on_pubrel(&mut self, key: usize, frame: Frame<'_>) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let Some(connection) = session.connection.as_deref_mut() else {
            return Ok(());
        };
        let version = connection.version;
        let release = Ack::decode(frame, version).map_err(|error| CloseReason::Packet(error, version))?;
        let stage = session.received.remove(&release.id).map(|_| Receiving::AwaitPubRel);
        if stage.is_some() && session.is_kept() {
            self.journal.record(Change::ReceivedGone(session.number, release.id));
        }
        let reason_code = Receiving::released(stage).unwrap_or(ReasonCode::SUCCESS);
        let answer = Ack { reason_code, ..Ack::new(AckKind::PubComp, release.id) };
        let then = if stage.is_some() { Then::Acknowledged } else { Then::Nothing };
        let cause = self.journal.cause();
        self.acknowledge(key, answer, cause, then);
        Ok(())
    }

    /// Sends an acknowledgement; 3.x has no negative ones, so there everything is well [MQTT-3.3.5-2].
    fn acknowledge(&mut self, key: usize, ack: Ack<'_>, cause: Option<Cause>, then: Then) {
        self.reply(key, cause, then, |version, out| match version {
            Version::V5 => ack.encode(version, out),
            _ => Ack::new(ack.kind, ack.id).encode(version, out),
        });
    }

    /// Takes over a message, or says why not.
    fn accept(
        &mut self,
        key: usize,
        client: &Arc<Client>,
        publish: &Publish<'_>,
        topic: TopicName<'_>,
    ) -> Result<ReasonCode, CloseReason> {
        if levels(topic.as_bytes()).count() > self.settings.max_topic_levels {
            return self.decline(key, ReasonCode::TOPIC_NAME_INVALID, "more topic levels than allowed");
        }
        // The broker's own topics are not for clients.
        self.counts.note_received(publish.delivery.qos(), 1);
        let reserved = topic.as_bytes().starts_with(b"$SYS/") || topic.as_bytes() == b"$SYS";
        if reserved || !self.may(client, Access::Publish, topic.as_utf8()) {
            self.counts.note_loss(Loss::Forbidden);
            return Ok(ReasonCode::NOT_AUTHORIZED);
        }
        // Before 5.0, and at QoS 0, nobody can be told: such a message goes to those who are there, and is not kept.
        let is_promised = is_kept(publish) && self.can_refuse(key, publish);
        if is_promised && self.has_no_place(topic) {
            self.counts.note_loss(Loss::NoRoom);
            return Ok(ReasonCode::QUOTA_EXCEEDED);
        }
        let own = publish.properties;
        let lifetime = own.message_expiry_interval().map(|seconds| u64::from(seconds).saturating_mul(1000));
        let must_strip =
            own.contains(PropertyId::TopicAlias) || own.contains(PropertyId::MessageExpiryInterval);
        let mut room = if must_strip { vec![0; own.len()] } else { Vec::new() };
        let view = View {
            topic,
            properties: if must_strip { forwarded(own, &mut room) } else { own },
            payload: publish.payload,
            qos: publish.delivery.qos(),
            retain: publish.retain,
            expires: lifetime.map(|lifetime| self.now.wall.saturating_add(lifetime)),
            publisher: client,
        };
        let mut item = Item::new(view);
        item.is_promised = is_promised;
        let found = self.publish(&mut item, Some(key));
        Ok(if found { ReasonCode::SUCCESS } else { ReasonCode::NO_MATCHING_SUBSCRIBERS })
    }

    /// A message that this server does not want: 5.0 is told, a 3.x connection ends.
    fn decline(
        &mut self,
        key: usize,
        code: ReasonCode,
        what: &'static str,
    ) -> Result<ReasonCode, CloseReason> {
        match self.connection(key).map(|connection| connection.version) {
            Some(Version::V5) => Ok(code),
            _ => Err(CloseReason::rule("MQTT-4.8.0-1", code, what)),
        }
    }

    /// A message of a client, of a will or of the broker: it is kept as retained, if it asks for that, and goes to
    /// everybody who is subscribed. True if somebody is.
    pub(super) fn publish(&mut self, item: &mut Item<'_>, from: Option<usize>) -> bool {
        self.congested.clear();
        if item.view.retain && self.settings.retain_available {
            self.retain(item);
        }
        self.fan_out(item, from)
    }

    /// Whether the policy lets a client do something.
    pub(super) fn may(&mut self, client: &Client, access: Access, topic: Utf8Str<'_>) -> bool {
        !self.policy.restricts(access) || self.policy.authorize(client, access, topic.as_str())
    }
}

/// The topic name that a Topic Alias stands for; `None` where there is no alias (5.0 section 3.3.2.3.4).
fn resolve(
    connection: &mut Connection,
    publish: &Publish<'_>,
    max: u16,
) -> Result<Option<Bytes>, CloseReason> {
    let Some(alias) = publish.properties.topic_alias() else {
        return Ok(None);
    };
    if alias > max {
        return Err(CloseReason::rule(
            "MQTT-3.3.2-9",
            ReasonCode::TOPIC_ALIAS_INVALID,
            "a topic alias above the maximum",
        ));
    }
    let index = usize::from(alias.saturating_sub(1));
    if publish.topic.is_empty() {
        let known = connection.aliases_in.get(index).cloned().flatten();
        return known.map(Some).ok_or(CloseReason::rule(
            "U5-3.3.2-2",
            ReasonCode::PROTOCOL_ERROR,
            "a topic alias that was not set",
        ));
    }
    if connection.aliases_in.len() <= index {
        connection.aliases_in.resize(index.saturating_add(1), None);
    }
    let name = Bytes::copy_from_slice(publish.topic.as_bytes());
    if let Some(known) = connection.aliases_in.get_mut(index) {
        *known = Some(name.clone()); // [U5-3.3.2-3]
    }
    Ok(Some(name))
}

/// The properties that travel with the message: all but Topic Alias, which ends here, and Message Expiry Interval,
/// which counts down [MQTT-3.3.2-4, MQTT-3.3.2-15 to -18, MQTT-3.3.2-20].
fn forwarded<'b>(properties: Properties<'_>, room: &'b mut [u8]) -> Properties<'b> {
    let mut kept = PropertyWriter::new(PropertyPlace::of(PacketType::Publish), room);
    for property in properties {
        match property {
            Property::TopicAlias(_) | Property::MessageExpiryInterval(_) => {}
            // It fits, because it is a part of what was there.
            property => drop(kept.push(property)),
        }
    }
    kept.finish()
}
