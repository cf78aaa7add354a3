//! A message goes out: to whom, at which QoS, under which identifier, now or later. One path for live, queued,
//! retained and repeated messages.

use super::connection::Alias;
use super::form::{Dispatch, Forms, own_properties, own_room, publish};
use super::held::Then;
use super::journal::Journal;
use super::message::{Message, View};
use super::outbound::{InFlight, Queued, packet_id};
use super::shard::Shard;
use super::sys::Loss;
use super::topic_tree::{Grant, Target};
use super::wire::{LARGE, Wire};
use super::{Access, Change, MessageNumber, SessionNumber};
use bytes::Bytes;
use mqtt_client::delivery::Sending;
use mqtt_packet::{Delivery, PacketId, QoS, ReasonCode, Version};
use std::sync::Arc;

/// A message that is being handed out. It is copied out of its packet only if somebody needs it later.
pub(super) struct Item<'a> {
    pub(super) view: View<'a>,
    /// Whose parts these are, if the message was there before.
    known: Option<&'a Arc<Message>>,
    made: Option<Arc<Message>>,
    number: Option<MessageNumber>,
    /// Only one queue of this shard can refer to it.
    is_alone: bool,
    /// Its publisher was not refused, so it is kept as retained whatever the limit.
    pub(super) is_promised: bool,
}

impl<'a> Item<'a> {
    pub(super) fn new(view: View<'a>) -> Self {
        Self { view, known: None, made: None, number: None, is_alone: false, is_promised: false }
    }

    /// A message that exists already.
    pub(super) fn of(view: View<'a>, message: &'a Arc<Message>) -> Self {
        Self { known: Some(message), ..Self::new(view) }
    }

    /// Stores it for a queue, unless it is stored already.
    pub(super) fn store(&mut self, terms: Terms<'_>, journal: &mut Journal) -> MessageNumber {
        // What came by a group may go on to another member.
        if self.is_alone && terms.group.is_none() && self.number.is_none() {
            return journal.refer_alone(self.message());
        }
        let message = Arc::clone(self.message());
        journal.refer(&mut self.number, &message)
    }

    /// Under which number this shard stores it, if it does.
    pub(super) fn number(&mut self) -> &mut Option<MessageNumber> {
        &mut self.number
    }

    pub(super) fn message(&mut self) -> &Arc<Message> {
        match self.known {
            Some(message) => message,
            None => self.made.get_or_insert_with(|| self.view.to_message()),
        }
    }

    /// A payload that is counted, not copied.
    fn large_payload(&mut self) -> Option<Bytes> {
        (self.view.payload.len() > LARGE).then(|| self.message().payload_bytes())
    }
}

/// How one session gets a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) subscription_ids: &'a [u32],
    /// The shared subscription that it comes by.
    pub(super) group: Option<&'a Arc<str>>,
}

/// A transmission and what it repeats or begins.
#[derive(Clone, Copy)]
enum Start {
    /// A new message.
    New,
    /// A message that waited, with its place in the session's order.
    Waited(u64),
    /// A message in flight, repeated under its identifier.
    Again(PacketId),
}

impl Shard {
    /// Gives a message to every session that is subscribed; true if there is one.
    pub(super) fn fan_out(&mut self, item: &mut Item<'_>, from: Option<usize>) -> bool {
        let mut found = std::mem::take(&mut self.found);
        let mut forms = std::mem::take(&mut self.forms);
        forms.clear();
        if self.tree.matches(item.view.topic, &mut found) {
            found.sort_by_key(|(target, _)| *target);
        }
        let mut ids = Vec::new();
        let mut queues = found
            .iter()
            .map(|(target, _)| target)
            .filter(|target| matches!(target, Target::Session(_) | Target::Group(_)));
        let first = queues.next();
        item.is_alone = queues.all(|target| Some(target) == first);
        for grants in found.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(&(target, _)) = grants.first() else {
                continue;
            };
            match target {
                Target::Group(group) => self.share(group, item, &mut forms),
                // What came from another shard went to all others from there.
                Target::Shard(shard) if !self.is_adopted => {
                    self.note_busy(item.view.topic.as_bytes());
                    self.route(shard, item, false);
                }
                Target::Shard(_) => {}
                Target::Observer(observer) => self.show(observer, item),
                Target::Session(key) => {
                    let is_own = from == Some(key);
                    if let Some(terms) = combine(grants, &item.view, is_own, &mut ids) {
                        self.offer(key, terms, item, &mut forms);
                    }
                }
            }
        }
        let any = !found.is_empty();
        self.found = found;
        self.forms = forms;
        any
    }

    /// Sends a message to a session, or lets it wait there.
    pub(super) fn offer(&mut self, key: usize, terms: Terms<'_>, item: &mut Item<'_>, forms: &mut Forms) {
        if !self.may_receive(key, &item.view) {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if item.view.retain && (terms.qos > QoS::AtMostOnce || session.connection.is_some()) {
            for replay in &mut session.replays {
                replay.note_live(item.view.topic.as_bytes());
            }
        }
        let goes_now = session.connection.as_deref().is_some_and(|connection| {
            connection.may_send(terms.qos, self.window)
                && session.outbound.has_room(terms.qos, &self.settings)
                && !session.outbound.must_wait(terms.qos)
        });
        if goes_now {
            self.transmit(key, Start::New, terms, item, forms);
        } else {
            self.enqueue(key, terms, item);
        }
    }

    fn may_receive(&mut self, key: usize, view: &View<'_>) -> bool {
        if !self.policy.restricts(Access::Receive) {
            return true;
        }
        let Some(session) = self.sessions.get(key) else {
            return false;
        };
        self.policy.authorize(&session.client, Access::Receive, view.topic.as_str())
    }

    /// Lets a message wait for its session, if there is room and reason.
    fn enqueue(&mut self, key: usize, terms: Terms<'_>, item: &mut Item<'_>) {
        self.note_congestion(key);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let is_online = session.connection.is_some();
        if terms.qos == QoS::AtMostOnce && !is_online && !self.settings.queue_qos0_offline {
            return;
        }
        if self.goes_to_disk(key, terms, item.message().size()) {
            self.enqueue_stored(key, terms, item);
            return;
        }
        let limit = self.queue_limit(terms.qos);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let bytes = session.outbound.queue_bytes().saturating_add(item.message().size());
        let is_full = session.outbound.queue_len() >= self.settings.max_queue_messages || bytes > limit;
        if is_full {
            self.counts.note_loss(Loss::QueueFull);
            // QoS 0 goes first; then the oldest stay and the newest is dropped.
            if terms.qos == QoS::AtMostOnce || session.outbound.pop_qos0().is_none() {
                return;
            }
        }
        let mut queued = queued(terms, item.message());
        if self.journal.is_durable() && session.is_kept() && terms.qos > QoS::AtMostOnce {
            queued.sequence = session.outbound.next_sequence();
            queued.number = Some(item.store(terms, &mut self.journal));
            record_queued(session.number, &queued, &mut self.journal);
        }
        session.outbound.push(queued);
    }

    /// Sends a message on the connection of its session. It was made sure before that it may go.
    fn transmit(
        &mut self,
        key: usize,
        start: Start,
        terms: Terms<'_>,
        item: &mut Item<'_>,
        forms: &mut Forms,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(connection) = session.connection.as_deref_mut() else {
            return;
        };
        let dispatch = Dispatch {
            version: connection.version,
            qos: terms.qos,
            retain: terms.retain,
            subscription_ids: terms.subscription_ids,
        };
        if !fits(dispatch, connection.max_packet, &item.view, forms, self.now.wall) {
            self.counts.note_loss(Loss::TooLarge);
            // As if it had been delivered [MQTT-3.1.2-25].
            self.settle(key, start, item.number);
            return;
        }
        if terms.qos > QoS::AtMostOnce {
            connection.take_quota();
        }
        let id = match (start, Sending::new(terms.qos)) {
            (Start::Again(id), _) => Some(id),
            (_, Some(stage)) => self.begin_exchange(key, start, stage, terms, item),
            (_, None) => None,
        };
        self.counts.note_sent(terms.qos, 1);
        self.write(key, start, dispatch, id, item, forms);
    }

    /// A message of QoS 1 or 2 begins its exchange: it gets an identifier, and is kept until it is acknowledged if the
    /// session outlives the connection, or if another member of its group may have to have it.
    fn begin_exchange(
        &mut self,
        key: usize,
        start: Start,
        stage: Sending,
        terms: Terms<'_>,
        item: &mut Item<'_>,
    ) -> Option<PacketId> {
        let session = self.sessions.get_mut(key)?;
        let serial = session.outbound.next_serial();
        let is_kept = session.is_kept();
        let mut kept = (is_kept || terms.group.is_some()).then(|| queued(terms, item.message()));
        if let Some(queued) = kept.as_mut().filter(|_| is_kept && self.journal.is_durable()) {
            if let Start::Waited(sequence) = start {
                queued.sequence = sequence;
                queued.number = item.number;
            } else {
                queued.sequence = session.outbound.next_sequence();
                queued.number = Some(item.store(terms, &mut self.journal));
                record_queued(session.number, queued, &mut self.journal);
            }
            let (session, sequence) = (session.number, queued.sequence);
            self.journal.record(Change::InFlight { session, sequence, serial, received: None });
        } else if let Start::Waited(_) = start {
            // It waited for a session that was kept then.
            self.journal.release(item.number);
            // A group gave it away in an earlier turn: a cause that is opened now is safe only once that is.
            if terms.group.is_some() && self.journal.unsynced().next().is_some() {
                self.journal.open();
            }
        }
        session.outbound.push_in_flight(InFlight { serial, stage, received: 0, queued: kept });
        Some(packet_id(serial))
    }
}

impl Shard {
    /// Writes the packet: now, or behind the cause that stored it.
    fn write(
        &mut self,
        key: usize,
        start: Start,
        dispatch: Dispatch<'_>,
        id: Option<PacketId>,
        item: &mut Item<'_>,
        forms: &mut Forms,
    ) {
        let large = item.large_payload();
        let wall = self.now.wall;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // What a group had in the store goes to nobody else once it was begun [MQTT-4.8.2-5].
        let newest = session.outbound.in_flight.back().and_then(|newest| newest.queued.as_ref());
        let is_kept = session.is_kept() || newest.is_some_and(|queued| queued.group.is_some());
        let Some(connection) = session.connection.as_deref_mut() else {
            return;
        };
        // What is repeated was safe before the session was resumed.
        let is_first = !matches!(start, Start::Again(_));
        let cause = self.journal.cause().filter(|_| is_kept && is_first && dispatch.qos == QoS::ExactlyOnce);
        let waits = cause.is_some() || dispatch.qos > QoS::AtMostOnce && connection.held.has_publish();
        let mut held = Wire::default();
        let out = if waits {
            &mut held
        } else {
            let _ = self.outbox.open(key, connection);
            &mut connection.out
        };
        let may_alias = !waits && connection.max_packet == usize::MAX;
        let aliases = connection.aliases_out.as_deref_mut().filter(|_| may_alias);
        let is_plain = dispatch.subscription_ids.is_empty() && aliases.is_none() && is_first;
        let written = if is_plain {
            forms.put(&item.view, dispatch, id, wall, out)
        } else {
            let alias =
                aliases.as_ref().map_or(Alias::None, |aliases| aliases.of(item.view.topic.as_bytes()));
            let written = write_own(&item.view, dispatch, (id, !is_first), alias, wall, out);
            if let (Some(()), Alias::New(alias), Some(aliases)) = (written, alias, aliases) {
                aliases.set(item.view.topic.as_bytes(), alias);
            }
            written
        };
        if written.is_some()
            && let Some(payload) = large
        {
            out.put_large(payload);
        }
        if waits {
            connection.held.push(cause, held, Then::Published);
        }
        if let Some(cause) = cause {
            self.journal.watch(cause, session.number);
        }
    }

    /// A message is done with before it was sent, or instead of being sent again.
    fn settle(&mut self, key: usize, start: Start, number: Option<MessageNumber>) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        match start {
            Start::New => {}
            Start::Waited(sequence) => {
                if let Some(number) = number {
                    self.journal.record(Change::QueuedGone(session.number, sequence));
                    self.journal.release(Some(number));
                }
            }
            Start::Again(id) => {
                if let Some(index) = session.outbound.find(id) {
                    self.finish(key, index);
                }
            }
        }
    }

    /// Sends what waits, for as long as it may: first what is repeated, then what is new, then what is retained.
    pub(super) fn drain(&mut self, key: usize) {
        let mut forms = std::mem::take(&mut self.forms);
        self.begin_repeating(key);
        while self.repeat_next(key, &mut forms) {}
        while self.send_next(key, &mut forms) {}
        self.wake_groups(key);
        self.replay_retained(key, &mut forms);
        self.forms = forms;
        self.fetch(key);
        self.relieve(key);
    }

    /// Repeats the next PUBLISH of a resumed session [MQTT-4.4.0-1], paced by the client's Receive Maximum.
    fn repeat_next(&mut self, key: usize, forms: &mut Forms) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some(connection) = session.connection.as_deref_mut() else {
            return false;
        };
        let Some(from) = connection.replay else {
            return false;
        };
        if !connection.is_open(self.window) {
            return false;
        }
        let in_flight = &session.outbound.in_flight;
        let index = in_flight.partition_point(|in_flight| in_flight.serial < from);
        let Some(next) = in_flight.get(index) else {
            connection.replay = None;
            return false;
        };
        let serial = next.serial;
        let Some(queued) = next.queued.clone().filter(|_| next.stage.repeats_publish()) else {
            connection.replay = Some(serial.saturating_add(1));
            return true;
        };
        if !connection.has_quota() {
            return false;
        }
        connection.replay = Some(serial.saturating_add(1));
        if queued.message.view().is_some_and(|view| self.may_receive(key, &view)) {
            self.send_queued(key, Start::Again(packet_id(serial)), &queued, forms);
        } else {
            self.give_up(key, index, serial);
        }
        true
    }

    /// Ends the exchange of a message that the client may not receive any more. Of QoS 2 it may know the identifier, so
    /// that is released: who does not know it answers, too.
    fn give_up(&mut self, key: usize, index: usize, serial: u64) {
        let stage =
            self.sessions.get(key).and_then(|session| Some(session.outbound.in_flight.get(index)?.stage));
        if stage != Some(Sending::AwaitPubRec) {
            self.finish(key, index);
            return;
        }
        if let Some(connection) = self.connection(key) {
            connection.take_quota();
        }
        self.received(key, index);
        self.send_pubrel(key, packet_id(serial), ReasonCode::SUCCESS);
    }

    /// Sends the next message that waits.
    fn send_next(&mut self, key: usize, forms: &mut Forms) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some(connection) = session.connection.as_deref() else {
            return false;
        };
        let Some(front) = session.outbound.front() else {
            return false;
        };
        let has_room = session.outbound.has_room(front.qos, &self.settings);
        let next = if has_room && connection.may_send(front.qos, self.window) {
            session.outbound.pop()
        } else if connection.may_send(QoS::AtMostOnce, self.window) {
            session.outbound.pop_qos0()
        } else {
            None
        };
        let Some(queued) = next else {
            return false;
        };
        let start = Start::Waited(queued.sequence);
        let loss = if queued.message.is_expired(self.now.wall) {
            Some(Loss::Expired) // [MQTT-3.3.2-5]
        } else {
            let may = queued.message.view().is_some_and(|view| self.may_receive(key, &view));
            (!may).then_some(Loss::Forbidden)
        };
        match loss {
            None => self.send_queued(key, start, &queued, forms),
            Some(loss) => {
                self.counts.note_loss(loss);
                self.settle(key, start, queued.number);
            }
        }
        true
    }

    fn send_queued(&mut self, key: usize, start: Start, queued: &Queued, forms: &mut Forms) {
        let Some(view) = queued.message.view() else {
            return;
        };
        let mut item = Item::of(view, &queued.message);
        item.number = queued.number;
        let terms = Terms {
            qos: queued.qos,
            retain: queued.retain,
            subscription_ids: &queued.subscription_ids,
            group: queued.group.as_ref(),
        };
        forms.clear();
        self.transmit(key, start, terms, &mut item, forms);
    }

    /// A new message that goes now; for retained ones, whose turn was decided elsewhere.
    pub(super) fn send_new(&mut self, key: usize, terms: Terms<'_>, item: &mut Item<'_>, forms: &mut Forms) {
        forms.clear();
        if self.may_receive(key, &item.view) {
            self.transmit(key, Start::New, terms, item, forms);
        }
    }
}

pub(super) fn queued(terms: Terms<'_>, message: &Arc<Message>) -> Queued {
    Queued {
        sequence: 0,
        message: Arc::clone(message),
        number: None,
        qos: terms.qos,
        retain: terms.retain,
        subscription_ids: terms.subscription_ids.into(),
        group: terms.group.cloned(),
    }
}

/// Notes that a message waits for a session, or a group.
pub(super) fn record_queued(session: SessionNumber, queued: &Queued, journal: &mut Journal) {
    if let Some(message) = queued.number {
        journal.record(Change::Queued {
            session,
            sequence: queued.sequence,
            message,
            qos: queued.qos,
            retain: queued.retain,
            subscription_ids: queued.subscription_ids.clone(),
        });
    }
}

/// One copy for all subscriptions of a session that match: the highest QoS [MQTT-3.3.5-1, MQTT-3.3.4-2], all
/// Subscription Identifiers [MQTT-3.3.4-4]. `None` where No Local keeps the session's own message away
/// [MQTT-3.8.3-3].
fn combine<'i>(
    grants: &[(Target, Grant)],
    view: &View<'_>,
    is_own: bool,
    ids: &'i mut Vec<u32>,
) -> Option<Terms<'i>> {
    ids.clear();
    let mut qos = None;
    let mut retain = false;
    for (_, grant) in grants.iter().filter(|(_, grant)| !(is_own && grant.no_local)) {
        qos = qos.max(Some(grant.qos));
        retain |= grant.retain_as_published && view.retain; // [MQTT-3.3.1-12, MQTT-3.3.1-13]
        if grant.id > 0 {
            ids.push(grant.id);
        }
    }
    Some(Terms {
        qos: qos?.min(view.qos), // [MQTT-3.8.4-6, MQTT-3.8.4-8]
        retain,
        subscription_ids: ids,
        group: None,
    })
}

/// Whether the packet is no larger than the client's Maximum Packet Size [MQTT-3.1.2-24].
fn fits(dispatch: Dispatch<'_>, max_packet: usize, view: &View<'_>, forms: &mut Forms, wall: u64) -> bool {
    if max_packet == usize::MAX {
        return true;
    }
    if dispatch.subscription_ids.is_empty() {
        return forms.len(view, dispatch, wall).is_some_and(|len| len <= max_packet);
    }
    let mut room = own_room();
    let len = Delivery::new(dispatch.qos, Some(PacketId::MIN)).and_then(|delivery| {
        let own = own_properties(&mut room, view, dispatch, None, wall)?;
        Some(publish(view, delivery, dispatch, own)?.encoded_len(dispatch.version))
    });
    len.is_some_and(|len| len <= max_packet)
}

/// Writes a packet that is like no other: with Subscription Identifiers, with an alias, or a repeat.
fn write_own(
    view: &View<'_>,
    dispatch: Dispatch<'_>,
    (id, dup): (Option<PacketId>, bool),
    alias: Alias,
    wall: u64,
    out: &mut Wire,
) -> Option<()> {
    let delivery = match Delivery::new(dispatch.qos, id)? {
        Delivery::AtMostOnce => Delivery::AtMostOnce,
        Delivery::AtLeastOnce { id, .. } => Delivery::AtLeastOnce { id, dup },
        Delivery::ExactlyOnce { id, .. } => Delivery::ExactlyOnce { id, dup },
    };
    let number = match alias {
        Alias::None => None,
        Alias::New(alias) | Alias::Known(alias) => Some(alias),
    };
    let number = number.filter(|_| dispatch.version == Version::V5);
    let mut room = own_room();
    let own = own_properties(&mut room, view, dispatch, number, wall)?;
    let mut packet = publish(view, delivery, dispatch, own)?;
    if matches!(alias, Alias::Known(_)) {
        packet.topic = mqtt_packet::TopicName::ALIASED;
    }
    if view.payload.len() > LARGE {
        let len = u32::try_from(view.payload.len()).ok()?;
        packet.encode_head(len, dispatch.version, out).ok()
    } else {
        packet.encode(dispatch.version, out).ok()
    }
}
