//! Requests, and what is sent of them: now, or when memory, quota and session allow.
//!
//! Messages of QoS 1 and 2 go through one door: they are encoded into the memory for messages, and [`Engine::pump`] moves
//! them from there to the network in their order, at first and when a session is resumed alike. So a replay is as
//! resumable and as paced as anything else.

use super::outbox::{ACK_LEN, Outbox, RESERVE, STREAMS, Source};
use super::{Engine, Phase, is_v5};
use crate::error::RequestError;
use crate::event::{Loss, Ticket};
use crate::limits::Limits;
use crate::message::Message;
use crate::session::{DUP, HELD_UP, MANY, Owed, SendSlot, Stage, flag};
use crate::time::Instant;
use crate::topic_alias::{ALIASES, Aliases};
use mqtt_packet::{
    AckKind, DecodeError, Delivery, Disconnect, EncodeError, Filters, FixedHeader, PacketId, PacketType,
    Properties, PropertyId, PropertyPlace, Publish, QoS, ReasonCode, Role, SliceSink, Subscribe,
    SubscribeFilter, SubscribeFilters, TopicFilter, TopicName, Unsubscribe, Version,
};

impl Engine<'_> {
    /// Takes a message to be published.
    ///
    /// At QoS 0 it is queued for transmission, on an open connection only. At QoS 1 and 2 it is kept until it is
    /// acknowledged, also without a connection, and sent as soon as the server's Receive Maximum allows.
    ///
    /// # Errors
    /// [`RequestError::Busy`] where memory is free again later, [`RequestError::NoRoom`] where it never suffices;
    /// [`RequestError::NotConnected`] at QoS 0; what the server of this connection does not take
    /// ([`RequestError::TooLarge`], [`RequestError::QosNotSupported`], [`RequestError::RetainNotSupported`]);
    /// [`RequestError::Encode`].
    // A small device knows the QoS of its messages: what the others need falls out.
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub fn publish(&mut self, message: &Message<'_>) -> Result<Ticket, RequestError> {
        let mut publish = self.new_publish(message)?;
        let version = self.settings.version;
        if message.qos == QoS::AtMostOnce {
            return self.publish_at_most_once(&publish);
        }
        let id = self.inflight.next_id().ok_or(RequestError::Busy)?;
        publish.delivery = Delivery::new(message.qos, Some(id)).unwrap_or_default();
        let len = publish.encoded_len(version);
        if self.phase == Phase::Connected {
            self.check_limits(message.qos, message.retain)?;
            self.check_size(len)?;
        }
        if !STREAMS && len.saturating_add(RESERVE) > self.out.capacity() {
            return Err(RequestError::NoRoom);
        }
        let start = self.inflight.reserve(len)?;
        publish.encode(version, &mut SliceSink::new(self.inflight.space(start, len)))?;
        self.keep(publish.delivery, start, len, 0);
        self.pump();
        Ok(Ticket::of(id))
    }

    /// The packet of a message, without an identifier yet.
    pub(super) fn new_publish<'m>(&self, message: &Message<'m>) -> Result<Publish<'m>, RequestError> {
        let publish = Publish {
            retain: message.retain,
            delivery: Delivery::AtMostOnce,
            topic: message.topic,
            properties: message.properties,
            payload: message.payload,
        };
        if is_v5(self.settings.version) {
            if publish.properties.contains(PropertyId::TopicAlias) {
                return Err(EncodeError::Rule(DecodeError::PropertyNotAllowed).into());
            }
            // [MQTT-3.3.4-6]
            publish.check_sender(Role::Client).map_err(EncodeError::Rule)?;
        }
        Ok(publish)
    }

    /// Takes a slot for a message that was encoded at `start`.
    pub(super) fn keep(&mut self, delivery: Delivery, start: u32, len: usize, flags: u8) {
        let stage = match delivery {
            Delivery::ExactlyOnce { .. } => Stage::AwaitPubRec,
            _ => Stage::AwaitPubAck,
        };
        let slot = SendSlot {
            start,
            len: len as u32,
            at: 0,
            id: delivery.id().map_or(0, PacketId::get),
            stage,
            flags: flags | self.unstored(),
        };
        self.inflight.push(slot);
    }

    fn publish_at_most_once(&mut self, publish: &Publish<'_>) -> Result<Ticket, RequestError> {
        let version = self.settings.version;
        if self.phase != Phase::Connected {
            return Err(RequestError::NotConnected);
        }
        self.check_limits(QoS::AtMostOnce, publish.retain)?;
        self.check_size(publish.encoded_len(version))?;
        if !self.out.tickets.can_give_out() {
            return Err(RequestError::Busy);
        }
        let mut block = [0; ALIAS_PROPERTY_LEN];
        let aliased = self.with_alias(publish, &mut block);
        let publish = aliased.as_ref().unwrap_or(publish);
        let len = publish.encoded_len(version);
        self.append_request(len, |out| publish.encode(version, out))?;
        Ok(self.out.tickets.give_out())
    }

    /// What the server of this connection does not take.
    pub(super) fn check_limits(&self, qos: QoS, retain: bool) -> Result<(), RequestError> {
        if !is_v5(self.settings.version) {
            return Ok(());
        }
        if qos > self.limits.maximum_qos {
            return Err(RequestError::QosNotSupported);
        }
        if retain && !self.limits.retain_available {
            return Err(RequestError::RetainNotSupported);
        }
        Ok(())
    }

    /// [MQTT-3.2.2-15]
    pub(super) fn check_size(&self, len: usize) -> Result<(), RequestError> {
        if is_v5(self.settings.version) && len > self.limits.maximum_packet_size as usize {
            return Err(RequestError::TooLarge);
        }
        Ok(())
    }

    /// Appends a request of `len` bytes to what is to be transmitted.
    pub(super) fn append_request(
        &mut self,
        len: usize,
        encode: impl FnOnce(&mut SliceSink<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), RequestError> {
        let fits_later = len.saturating_add(RESERVE) <= self.out.capacity();
        self.out.append(RESERVE, encode).map_err(|error| match error {
            EncodeError::NoRoom if fits_later => RequestError::Busy,
            other => other.into(),
        })
    }

    /// Asks for subscriptions, each with its options; `properties` may have a Subscription Identifier and user
    /// properties, and are ignored before 5.0.
    ///
    /// # Errors
    /// [`RequestError::NotConnected`], [`RequestError::Busy`], [`RequestError::NoRoom`]; what the server of this
    /// connection does not take ([`RequestError::WildcardNotSupported`], [`RequestError::SharedNotSupported`],
    /// [`RequestError::SubscriptionIdNotSupported`], [`RequestError::TooLarge`]); [`RequestError::Encode`].
    pub fn subscribe(
        &mut self,
        filters: &[SubscribeFilter<'_>],
        properties: Properties<'_>,
    ) -> Result<Ticket, RequestError> {
        let version = self.settings.version;
        self.check_connected()?;
        let id = self.inflight.next_id().ok_or(RequestError::Busy)?;
        let subscribe = Subscribe { id, properties, filters: SubscribeFilters::new(filters) };
        let len = subscribe.encoded_len(version);
        if is_v5(version) {
            self.check_size(len)?;
            if properties.contains(PropertyId::SubscriptionIdentifier)
                && !self.limits.subscription_identifiers_available
            {
                return Err(RequestError::SubscriptionIdNotSupported);
            }
            for entry in filters {
                self.check_filter(entry.filter)?;
            }
        }
        self.append_request(len, |out| subscribe.encode(version, out))?;
        Ok(self.await_answer(id, filters.len(), Stage::AwaitSubAck))
    }

    fn check_filter(&self, filter: TopicFilter<'_>) -> Result<(), RequestError> {
        if filter.is_shared() && !self.limits.shared_subscription_available {
            return Err(RequestError::SharedNotSupported);
        }
        if !self.limits.wildcard_subscription_available && filter.has_wildcard() {
            return Err(RequestError::WildcardNotSupported);
        }
        Ok(())
    }

    /// Asks for the end of subscriptions, each filter exactly as it was subscribed.
    ///
    /// # Errors
    /// [`RequestError::NotConnected`], [`RequestError::Busy`], [`RequestError::NoRoom`], [`RequestError::TooLarge`],
    /// [`RequestError::Encode`].
    pub fn unsubscribe(
        &mut self,
        filters: &[TopicFilter<'_>],
        properties: Properties<'_>,
    ) -> Result<Ticket, RequestError> {
        let version = self.settings.version;
        self.check_connected()?;
        let id = self.inflight.next_id().ok_or(RequestError::Busy)?;
        let unsubscribe = Unsubscribe { id, properties, filters: Filters::new(filters) };
        let len = unsubscribe.encoded_len(version);
        self.check_size(len)?;
        self.append_request(len, |out| unsubscribe.encode(version, out))?;
        Ok(self.await_answer(id, filters.len(), Stage::AwaitUnsubAck))
    }

    fn check_connected(&self) -> Result<(), RequestError> {
        if self.phase == Phase::Connected { Ok(()) } else { Err(RequestError::NotConnected) }
    }

    fn await_answer(&mut self, id: PacketId, filters: usize, stage: Stage) -> Ticket {
        let slot =
            SendSlot { len: filters as u32, id: id.get(), stage, flags: flag::QUEUED, ..SendSlot::EMPTY };
        self.inflight.push(slot);
        Ticket::of(id)
    }

    /// Leaves: DISCONNECT behind everything that is queued for transmission, and nothing after it [MQTT-3.14.4-2]. The
    /// server drops the will, except at [`ReasonCode::DISCONNECT_WITH_WILL_MESSAGE`]. Reason and properties are for 5.0;
    /// before, DISCONNECT says nothing.
    ///
    /// # Errors
    /// [`RequestError::NotConnected`], [`RequestError::SessionExpiry`], [`RequestError::NoRoom`],
    /// [`RequestError::Busy`], [`RequestError::Encode`].
    pub fn disconnect(
        &mut self,
        now: Instant,
        reason_code: ReasonCode,
        properties: Properties<'_>,
    ) -> Result<(), RequestError> {
        let version = self.settings.version;
        if self.phase != Phase::Connected {
            return Err(RequestError::NotConnected);
        }
        let mut disconnect = Disconnect { reason_code, properties };
        if is_v5(version) {
            disconnect.check_sender(Role::Client, version).map_err(EncodeError::Rule)?;
            if let Some(interval) = properties.session_expiry_interval() {
                if interval > 0 && self.limits.session_expiry_interval == 0 {
                    return Err(RequestError::SessionExpiry); // [MQTT-3.14.2-1 of 5.0]
                }
                #[cfg(feature = "v5")]
                {
                    self.limits.session_expiry_interval = interval;
                }
                self.session_ends = interval == 0;
            }
            self.check_size(disconnect.encoded_len(version))?;
        } else {
            disconnect = Disconnect::default();
        }
        let empty = self.out.is_empty();
        match self.out.append(0, |out| disconnect.encode(version, out)) {
            Err(EncodeError::NoRoom) if !empty => return Err(RequestError::Busy),
            result => result?,
        }
        self.phase = Phase::Closing;
        self.keep_alive.await_answer(now);
        Ok(())
    }

    /// Moves to the network what may go: acknowledgements first, then messages in their order.
    pub(super) fn pump(&mut self) {
        if self.phase != Phase::Connected {
            return;
        }
        self.acknowledge();
        let mut position = self.inflight.pending();
        while self.resume(position) {
            position = position.wrapping_add(1);
        }
        self.inflight.set_pending(position);
    }

    /// Sends the acknowledgements that are owed, in the order of the messages.
    fn acknowledge(&mut self) {
        let v5 = is_v5(self.settings.version);
        let mut position = self.inbox.due();
        while let Some(&mut slot) = self.inbox.slot_mut(position) {
            let kind = match slot.owed {
                Owed::PubAck => AckKind::PubAck,
                Owed::PubRec => AckKind::PubRec,
                Owed::PubComp => AckKind::PubComp,
                Owed::Accept1 | Owed::Accept2 | Owed::StorePubRec | Owed::SyncPubRec if HELD_UP => return,
                _ => {
                    position = position.wrapping_add(1);
                    self.inbox.set_due(position);
                    continue;
                }
            };
            let code = ReasonCode(slot.reason);
            if !append_ack(&mut self.out, kind, slot.id, code, v5) {
                return;
            }
            // After a refusal the identifier is free [MQTT-4.3.3-9].
            if kind == AckKind::PubRec && !code.is_error() {
                self.owe(position, Owed::Nothing);
            } else {
                self.inbox.remove(position);
                position = if MANY { self.inbox.due() } else { position };
            }
        }
    }

    /// Queues what a slot wants to have sent; false where it has to wait, or where there is none.
    fn resume(&mut self, position: u16) -> bool {
        let unstored = self.unstored();
        let Some((slot, record)) = self.inflight.slot_and_record(position) else {
            return false;
        };
        let is_safe = unstored == 0 || !slot.has(flag::UNSTORED | flag::UNSYNCED);
        match slot.stage {
            Stage::AwaitPubComp if slot.has(flag::RELEASE) || !slot.has(flag::QUEUED) => {
                let v5 = is_v5(self.settings.version);
                if !is_safe || !append_ack(&mut self.out, AckKind::PubRel, slot.id, ReasonCode::SUCCESS, v5) {
                    return false;
                }
            }
            Stage::AwaitPubAck | Stage::AwaitPubRec if !slot.has(flag::QUEUED) => {
                let is_full = cfg!(feature = "v5") && self.unacknowledged >= self.limits.receive_maximum;
                if !is_safe || is_full {
                    return false; // [MQTT-3.3.4-7]
                }
                let at = self.out.position();
                let mut server = Server {
                    out: &mut self.out,
                    aliases: &mut self.aliases,
                    limits: &self.limits,
                    version: self.settings.version,
                };
                match server.send(slot, record) {
                    Ok(pinned) => {
                        slot.at = at;
                        slot.flags |= if pinned { flag::PINNED } else { 0 };
                    }
                    Err(None) => return false,
                    Err(Some(loss)) => {
                        slot.flags |= unstored;
                        slot.finish(Err(loss));
                        self.inflight.count_done();
                        return true;
                    }
                }
            }
            _ => return true,
        }
        if cfg!(feature = "v5") && !slot.has(flag::QUEUED) {
            self.unacknowledged = self.unacknowledged.saturating_add(1);
        }
        slot.flags = slot.flags & !flag::RELEASE | flag::QUEUED;
        true
    }

    /// The message with a Topic Alias, if it gets one.
    fn with_alias<'m>(
        &mut self,
        publish: &Publish<'m>,
        block: &'m mut [u8; ALIAS_PROPERTY_LEN],
    ) -> Option<Publish<'m>> {
        let version = self.settings.version;
        if !ALIASES || !is_v5(version) || self.limits.topic_alias_maximum == 0 || self.aliases.maximum() == 0
        {
            return None;
        }
        let most = publish.encoded_len(version).saturating_add(ALIAS_PROPERTY_LEN + 1);
        if most.saturating_add(RESERVE) > self.out.room() {
            return None;
        }
        alias(&mut self.aliases, &self.limits, *publish, most, block)
    }
}

/// What is needed to send a message of QoS 1 or 2 to the server of this connection.
struct Server<'e, 'b> {
    out: &'e mut Outbox<'b>,
    aliases: &'e mut Aliases<'b>,
    limits: &'e Limits,
    version: Version,
}

impl Server<'_, '_> {
    /// Queues the PUBLISH of a slot: a copy where it fits, else its front, and the rest from where it lies (`true`).
    ///
    /// # Errors
    /// `None` where it has to wait, else why it cannot be sent on this connection.
    fn send(&mut self, slot: &SendSlot, record: &mut [u8]) -> Result<bool, Option<Loss>> {
        if is_v5(self.version) {
            self.check(slot, record).map_err(Some)?;
        }
        if STREAMS && slot.has(flag::STREAMED) {
            return Err(None); // The application is asked for its payload.
        }
        if let Some(first) = record.first_mut().filter(|_| slot.has(flag::SENT)) {
            *first |= DUP; // [MQTT-3.3.1-1]
        }
        if ALIASES && is_v5(self.version) && self.limits.topic_alias_maximum > 0 && self.aliases.maximum() > 0
        {
            if let Some(result) = self.send_with_alias(slot, record) {
                return result;
            }
        }
        let out = &mut *self.out;
        if out.append_bytes(RESERVE, record) {
            return Ok(false);
        }
        // A store may have kept it for more memory than there is now.
        if !STREAMS && !cfg!(feature = "store") {
            return Err(None);
        }
        let fits_later = record.len() <= out.capacity().saturating_sub(RESERVE);
        if !STREAMS {
            return Err(if fits_later { None } else { Some(Loss::TooLarge) });
        }
        if out.has_long() || fits_later {
            return Err(None);
        }
        out.put_long(Source::Messages(slot.start), record.len() as u32);
        Ok(true)
    }

    /// Whether the server of this connection takes a message that was encoded before.
    fn check(&self, slot: &SendSlot, record: &[u8]) -> Result<(), Loss> {
        let mut len = slot.len;
        if STREAMS && slot.has(flag::STREAMED) {
            let header = FixedHeader::decode(record).unwrap_or_default();
            len = header.map_or(len, |header| header.packet_len());
        }
        if len > self.limits.maximum_packet_size {
            return Err(Loss::TooLarge);
        }
        let flags = record.first().copied().unwrap_or_default();
        if flags >> 1 & 3 > self.limits.maximum_qos as u8 {
            return Err(Loss::QosNotSupported);
        }
        if flags & 1 != 0 && !self.limits.retain_available {
            return Err(Loss::RetainNotSupported);
        }
        Ok(())
    }

    /// The same message with a Topic Alias; `None` where it goes without.
    fn send_with_alias(&mut self, slot: &SendSlot, record: &[u8]) -> Option<Result<bool, Option<Loss>>> {
        let Self { out, aliases, limits, .. } = self;
        let Parts { first, topic, id, properties_len, behind } = parts(record)?;
        // The property, and a byte more of each length.
        let most = record.len().saturating_add(ALIAS_PROPERTY_LEN + 2);
        if most > limits.maximum_packet_size as usize {
            return None;
        }
        // Not knowing yet whether it will fit, nothing may be assigned.
        let fits = most.saturating_add(RESERVE) <= out.room();
        let front_fits = most.wrapping_sub(behind.len()).saturating_add(RESERVE) <= out.room();
        if !fits && !STREAMS && most.saturating_add(RESERVE) > out.capacity() {
            return None;
        }
        if !fits
            && (!STREAMS || !front_fits || out.has_long() || most.saturating_add(RESERVE) <= out.capacity())
        {
            return Some(Err(None));
        }
        let (alias, known) = aliases.assign(topic, limits.topic_alias_maximum)?;
        let topic = if known { &[] } else { topic };
        let [high, low] = alias.to_be_bytes();
        let properties_len = properties_len.wrapping_add(ALIAS_PROPERTY_LEN as u32);
        let (properties_len, properties_len_len) = varint(properties_len);
        let body_len = topic.len().wrapping_add(behind.len()).wrapping_add(2 + 2 + ALIAS_PROPERTY_LEN);
        let (remaining_length, remaining_length_len) =
            varint(body_len.wrapping_add(properties_len_len) as u32);
        let pieces: [&[u8]; 7] = [
            &[first],
            remaining_length.get(..remaining_length_len)?,
            &(topic.len() as u16).to_be_bytes(),
            topic,
            &id,
            properties_len.get(..properties_len_len)?,
            &[PropertyId::TopicAlias as u8, high, low],
        ];
        for piece in pieces {
            let _ = out.append_bytes(0, piece);
        }
        if fits {
            return Some(Ok(!out.append_bytes(0, behind)));
        }
        let behind_at = record.len().wrapping_sub(behind.len()) as u32;
        out.put_long(Source::Messages(slot.start.wrapping_add(behind_at)), behind.len() as u32);
        Some(Ok(true))
    }
}

/// A PUBLISH of QoS 1 or 2 as it was encoded here, cut where an alias changes it.
struct Parts<'r> {
    first: u8,
    topic: &'r [u8],
    id: [u8; 2],
    properties_len: u32,
    /// Properties and payload.
    behind: &'r [u8],
}

fn parts(record: &[u8]) -> Option<Parts<'_>> {
    let header = FixedHeader::decode(record).ok()??;
    let body = record.get(usize::from(header.header_len)..)?;
    let (topic_len, body) = body.split_first_chunk::<2>()?;
    let (topic, body) = body.split_at_checked(usize::from(u16::from_be_bytes(*topic_len)))?;
    let (id, mut behind) = body.split_first_chunk::<2>()?;
    let mut properties_len = 0;
    let mut shift = 0_u32;
    while let Some((&byte, rest)) = behind.split_first() {
        behind = rest;
        properties_len |= u32::from(byte & 0x7F).wrapping_shl(shift);
        shift = shift.wrapping_add(7);
        if byte < 0x80 {
            break;
        }
    }
    Some(Parts { first: record.first().copied()?, topic, id: *id, properties_len, behind })
}

/// A Variable Byte Integer, and how many bytes of it count.
fn varint(value: u32) -> ([u8; 4], usize) {
    let mut bytes = [0; 4];
    let mut len = 0_usize;
    let mut left = value;
    for byte in &mut bytes {
        *byte = (left & 0x7F) as u8;
        left >>= 7;
        len = len.wrapping_add(1);
        if left == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, len)
}

/// Identifier and value of the property Topic Alias.
const ALIAS_PROPERTY_LEN: usize = 3;

/// Gives a message an alias [MQTT-3.2.2-17, MQTT-3.2.2-18]; `None` where there is none for it, or where it would be
/// too large with it. What gets one is sent: the server learns it from this message.
fn alias<'m>(
    aliases: &mut Aliases<'_>,
    limits: &Limits,
    publish: Publish<'m>,
    most: usize,
    block: &'m mut [u8; ALIAS_PROPERTY_LEN],
) -> Option<Publish<'m>> {
    if most > limits.maximum_packet_size as usize {
        return None;
    }
    let (number, known) = aliases.assign(publish.topic.as_bytes(), limits.topic_alias_maximum)?;
    let [high, low] = number.to_be_bytes();
    *block = [PropertyId::TopicAlias as u8, high, low];
    let own = Properties::from_block(block, PropertyPlace::of(PacketType::Publish)).ok()?;
    Some(Publish {
        topic: if known { TopicName::ALIASED } else { publish.topic },
        properties: own.followed_by(publish.properties)?,
        ..publish
    })
}

/// Appends an acknowledgement; before 5.0 there is no negative one. False where there is no room.
pub(super) fn append_ack(out: &mut Outbox<'_>, kind: AckKind, id: u16, code: ReasonCode, v5: bool) -> bool {
    if out.room() < ACK_LEN {
        return false;
    }
    let [high, low] = id.to_be_bytes();
    let first = (kind as u8) << 4 | kind.packet_type().required_flags();
    if !cfg!(feature = "v5") {
        return out.append_bytes(0, &[first, 2, high, low]);
    }
    let remaining_length = if v5 && code != ReasonCode::SUCCESS { 3 } else { 2 };
    let packet = [first, remaining_length, high, low, code.0];
    out.append_bytes(0, packet.get(..usize::from(remaining_length).wrapping_add(2)).unwrap_or_default())
}
