//! What comes from the server: one function for each packet.

use super::outbound::append_ack;
use super::{Engine, Phase, is_v5};
use crate::delivery::{Acknowledged, Arrival, Receiving, Sending};
use crate::error::{ProtocolError, RequestError};
use crate::event::{Event, Receipt, Ticket};
use crate::session::{HELD_UP, MANY, Owed, ReceivedSlot, Stage, flag};
use crate::time::Instant;
use crate::topic_alias::Aliases;
use mqtt_packet::{
    Ack, AckKind, Answer, Auth, ConnAck, Delivery, Disconnect, Frame, PacketId, PacketType, Piece, PingResp,
    Properties, PropertyId, Publish, QoS, ReasonCode, ReasonCodes, Role, SubAck, UnsubAck,
};

/// What becomes of a message that has arrived whole.
pub(super) enum Taken {
    /// It is for the application.
    Deliver(Option<Receipt>),
    /// The application has it already.
    Repeat,
}

impl Engine<'_> {
    /// Takes what was received: a piece of the framer. The event borrows from it, or from the aliases.
    ///
    /// # Errors
    /// [`ProtocolError`]: the connection is over, see the [contract](crate::engine).
    pub fn handle<'rx>(
        &mut self,
        now: Instant,
        piece: Piece<'rx>,
        aliases: &'rx mut Aliases<'_>,
    ) -> Result<Option<Event<'rx>>, ProtocolError> {
        let mut event = None;
        self.handle_into(now, &piece, aliases, &mut event)?;
        Ok(event)
    }

    /// The same as [`handle`](Self::handle), without a copy of what is large: the piece stays where it is, and the event is
    /// made where it is wanted.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_into<'rx>(
        &mut self,
        now: Instant,
        piece: &Piece<'rx>,
        aliases: &'rx mut Aliases<'_>,
        event: &mut Option<Event<'rx>>,
    ) -> Result<(), ProtocolError> {
        self.heard(now);
        let result = match *piece {
            Piece::Packet(frame) => self.packet(now, frame, aliases, event),
            #[cfg(feature = "streaming")]
            Piece::PublishStart(head) => self.message_start(head, aliases, event),
            #[cfg(feature = "streaming")]
            Piece::Chunk { bytes, last } => self.chunk(bytes, last, event),
            #[cfg(not(feature = "streaming"))]
            _ => Ok(()),
        };
        match result {
            Ok(()) => self.pump(),
            Err(error) => self.fail(error),
        }
        result
    }

    fn packet<'rx>(
        &mut self,
        now: Instant,
        frame: Frame<'rx>,
        aliases: &'rx mut Aliases<'_>,
        event: &mut Option<Event<'rx>>,
    ) -> Result<(), ProtocolError> {
        let version = self.settings.version;
        let packet_type = frame.packet_type();
        match (self.phase, packet_type) {
            (Phase::Connecting, PacketType::ConnAck) => {
                let connack = ConnAck::decode(frame, version)?;
                self.connack(now, connack, aliases, event)?;
            }
            (Phase::Connected, PacketType::Publish) => {
                let publish = Publish::decode(frame, version)?;
                self.message(publish, aliases, event)?;
            }
            (
                Phase::Connected,
                PacketType::PubAck
                | PacketType::PubRec
                | PacketType::PubRel
                | PacketType::PubComp
                | PacketType::SubAck
                | PacketType::UnsubAck,
            ) => self.answer(Answer::decode(frame, version)?, event)?,
            (Phase::Connected, PacketType::PingResp) => {
                PingResp::decode(frame, version)?;
                self.keep_alive.answered();
            }
            (Phase::Connected, PacketType::Disconnect) if is_v5(version) => {
                let disconnect = Disconnect::decode(frame, version)?;
                disconnect.check_sender(Role::Server, version)?;
                self.phase = Phase::Closing;
                self.out.close();
                self.keep_alive.stop();
                *event = Some(Event::Disconnected(disconnect));
            }
            (Phase::Connecting | Phase::Connected, PacketType::Auth)
                if is_v5(version) && cfg!(feature = "authentication") =>
            {
                *event = Some(self.auth_arrived(Auth::decode(frame, version)?)?);
            }
            // What is on its way while the connection ends is of no interest.
            (Phase::Closing, _) => {}
            _ => return Err(ProtocolError::Unexpected(packet_type)),
        }
        Ok(())
    }

    /// A client that asked for no problem information gets none here [MQTT-3.1.2-29].
    fn check_problem_information(&self, properties: &Properties<'_>) -> Result<(), ProtocolError> {
        if self.no_problem_information
            && (properties.contains(PropertyId::ReasonString)
                || properties.contains(PropertyId::UserProperty))
        {
            return Err(ProtocolError::ProblemInformation);
        }
        Ok(())
    }

    fn message<'rx>(
        &mut self,
        mut publish: Publish<'rx>,
        aliases: &'rx mut Aliases<'_>,
        event: &mut Option<Event<'rx>>,
    ) -> Result<(), ProtocolError> {
        if is_v5(self.settings.version) {
            publish.topic = aliases.resolve(&publish, self.alias_maximum)?;
        }
        if let Taken::Deliver(receipt) = self.take(publish.delivery)? {
            *event = Some(Event::Message { publish, receipt });
        }
        Ok(())
    }

    /// What follows from a message, and where its identifier is if that is known.
    pub(super) fn arrival(&mut self, delivery: Delivery) -> (Arrival, Option<u16>) {
        let known = delivery.id().and_then(|id| self.inbox.find(id));
        let stage = known.map(|(_, slot)| slot.stage());
        let arrival = match (stage, delivery.qos()) {
            // A server that uses the identifier of a QoS 2 message again is done with that message. It is when its
            // new session began with a CONNACK that never came here; to insist would end every connection.
            (Some(Receiving::AwaitPubRel), QoS::AtLeastOnce) => Arrival::Deliver,
            (stage, qos) => Receiving::arrived(stage, qos),
        };
        (arrival, known.map(|(at, _)| at))
    }

    /// Takes over a message that is here whole, and sees to its acknowledgement.
    pub(super) fn take(&mut self, delivery: Delivery) -> Result<Taken, ProtocolError> {
        let Some(id) = delivery.id() else {
            return Ok(Taken::Deliver(None));
        };
        match self.arrival(delivery) {
            (Arrival::Deliver, None) => {}
            (Arrival::Deliver, Some(known)) => self.forget(known),
            (Arrival::Wait, _) => return Ok(Taken::Repeat),
            (Arrival::Again, known) => {
                self.again(known);
                return Ok(Taken::Repeat);
            }
            (Arrival::Violation, _) => return Err(ProtocolError::PacketIdInUse),
        }
        if is_v5(self.settings.version) && self.inbox.count() >= self.receive_maximum() {
            return Err(ProtocolError::ReceiveMaximum); // [MQTT-3.3.4-9]
        }
        let manual = self.settings.is_manual();
        let owed = match (delivery.qos(), manual) {
            (QoS::AtLeastOnce, true) => Owed::Accept1,
            (QoS::AtLeastOnce, false) => {
                // The common case takes no slot; it may not overtake an earlier one [MQTT-4.6.0-2]. One that waits for
                // room alone it cannot.
                let in_turn = !HELD_UP || self.inbox.owed().all(|slot| slot.owed != Owed::PubAck);
                let v5 = is_v5(self.settings.version);
                if in_turn && append_ack(&mut self.out, AckKind::PubAck, id.get(), ReasonCode::SUCCESS, v5) {
                    return Ok(Taken::Deliver(None));
                }
                Owed::PubAck
            }
            (_, true) => Owed::Accept2,
            (_, false) => self.accepted_exactly_once(),
        };
        let slot = ReceivedSlot { id: id.get(), owed, reason: 0 };
        if !self.inbox.push(slot) {
            return Err(ProtocolError::NoMemory); // [MQTT-4.8.0-2]
        }
        Ok(Taken::Deliver(manual.then_some(Receipt { delivery, connection: self.connection })))
    }

    /// A message of QoS 2 that is known came again: its PUBREC has its place behind what came before this copy
    /// [MQTT-4.6.0-3].
    fn again(&mut self, known: Option<u16>) {
        let slot = known.and_then(|at| self.inbox.slot_mut(at)).copied();
        let (Some(at), Some(mut last)) = (known, slot) else {
            return;
        };
        if last.owed == Owed::Nothing {
            last.owed = Owed::PubRec;
        }
        self.inbox.remove(at);
        // The place that it had is free.
        let _ = self.inbox.push(last);
    }

    /// Nothing is known about the identifier at this place any more.
    fn forget(&mut self, known: u16) {
        match self.forgotten() {
            Owed::Gone => self.inbox.remove(known),
            forgotten => self.owe(known, forgotten),
        }
    }

    /// What is owed for the message at this place.
    #[inline(always)]
    pub(super) fn owe(&mut self, at: u16, owed: Owed) {
        if let Some(slot) = self.inbox.slot_mut(at) {
            slot.owed = owed;
        }
    }

    /// What an accepted message of QoS 2 is owed.
    const fn accepted_exactly_once(&self) -> Owed {
        if self.settings.is_durable() { Owed::StorePubRec } else { Owed::PubRec }
    }

    /// The application has taken a message over, or refuses it with a reason that 5.0 tells the server. The
    /// acknowledgement leaves in the order in which the messages came, so it may wait for earlier ones.
    ///
    /// # Errors
    /// [`RequestError::Stale`]: accepted before, or of an earlier connection; the server sends the message again then.
    pub fn accept(&mut self, receipt: Receipt, reason_code: ReasonCode) -> Result<(), RequestError> {
        let owed = match receipt.delivery.qos() {
            QoS::AtLeastOnce => Owed::PubAck,
            _ if reason_code.is_error() => Owed::PubRec,
            _ => self.accepted_exactly_once(),
        };
        let known = receipt.packet_id().and_then(|id| self.inbox.find(id));
        let at = known.map(|(at, _)| at);
        let slot = at.and_then(|at| self.inbox.slot_mut(at));
        let Some(slot) = slot.filter(|slot| slot.is_unaccepted() && receipt.connection == self.connection)
        else {
            return Err(RequestError::Stale);
        };
        slot.owed = owed;
        slot.reason = reason_code.0;
        self.pump();
        Ok(())
    }

    fn answer<'rx>(
        &mut self,
        answer: Answer<'rx>,
        event: &mut Option<Event<'rx>>,
    ) -> Result<(), ProtocolError> {
        let Answer { packet_type, id, reason_code, properties, reason_codes } = answer;
        self.check_problem_information(&properties)?;
        match (packet_type, AckKind::from_packet_type(packet_type)) {
            (PacketType::PubRel, _) => self.released(id)?,
            (_, Some(kind)) => self.ack(Ack { kind, id, reason_code, properties }, event)?,
            (PacketType::SubAck, None) => {
                self.answered(id, Stage::AwaitSubAck, reason_codes)?;
                let suback = SubAck { id, properties, reason_codes };
                *event = Some(Event::Granted(Ticket::of(id), suback));
            }
            _ => {
                self.answered(id, Stage::AwaitUnsubAck, reason_codes)?;
                let unsuback = UnsubAck { id, properties, reason_codes };
                *event = Some(Event::Unsubscribed(Ticket::of(id), unsuback));
            }
        }
        Ok(())
    }

    fn ack<'rx>(&mut self, ack: Ack<'rx>, event: &mut Option<Event<'rx>>) -> Result<(), ProtocolError> {
        let (unstored, v5) = (self.unstored(), is_v5(self.settings.version));
        // Whether anything of the request can have reached the server.
        let slot = self
            .inflight
            .find(ack.id)
            .filter(|slot| slot.has(flag::SENT) || slot.has(flag::QUEUED) && !self.out.is_unsent(slot.at));
        let stage = match &slot {
            None => None,
            Some(slot) => Some(match slot.stage {
                Stage::AwaitPubAck => Sending::AwaitPubAck,
                Stage::AwaitPubRec => Sending::AwaitPubRec,
                Stage::AwaitPubComp => Sending::AwaitPubComp,
                _ => return Err(ProtocolError::Acknowledgement),
            }),
        };
        match (Sending::acknowledged(stage, ack.kind, ack.reason_code), slot) {
            (Acknowledged::Done, Some(slot)) => {
                // PUBREC said that the message has arrived. A PUBCOMP that knows nothing of it answers a repeated
                // PUBREL, which is no error (5.0 section 3.7.2.1).
                let released = ack.kind == AckKind::PubComp;
                let code = if released { ReasonCode::SUCCESS } else { ack.reason_code };
                if cfg!(feature = "v5") {
                    let was_sent = u16::from(slot.has(flag::QUEUED));
                    self.unacknowledged = self.unacknowledged.saturating_sub(was_sent);
                }
                slot.flags |= unstored;
                slot.finish(Ok(code));
                self.inflight.count_done();
                if v5 && !ack.properties.is_empty() {
                    *event = Some(Event::Acknowledged(Ticket::of(ack.id), ack));
                }
            }
            (Acknowledged::Release(code), None) => {
                append_ack(&mut self.out, AckKind::PubRel, ack.id.get(), code, v5);
            }
            // The receiver has the message of this slot: from now on PUBREL is what is repeated.
            (Acknowledged::Release(code), Some(slot)) => {
                if slot.stage == Stage::AwaitPubRec {
                    slot.flags |= unstored;
                }
                slot.stage = Stage::AwaitPubComp;
                slot.flags |= flag::SENT;
                // To look for what is to be sent takes time where there are many.
                let is_sent = MANY
                    && unstored == 0
                    && append_ack(&mut self.out, AckKind::PubRel, ack.id.get(), code, v5);
                if !is_sent {
                    slot.flags |= flag::RELEASE;
                    self.inflight.look_again(ack.id);
                }
            }
            (Acknowledged::Violation, _) => return Err(ProtocolError::Acknowledgement),
            _ => {}
        }
        Ok(())
    }

    fn released(&mut self, id: PacketId) -> Result<(), ProtocolError> {
        let durable = self.settings.is_durable();
        let known = self.inbox.find(id);
        let stage = known.map(|(_, slot)| slot.stage());
        let code = Receiving::released(stage).ok_or(ProtocolError::Acknowledgement)?;
        match known.map(|(at, slot)| (at, slot.owed)) {
            Some((at, Owed::Nothing)) if durable => self.owe(at, Owed::StorePubComp),
            // Where PUBREC is owed again, PUBREL cannot be an answer to it: what it answers is an earlier one.
            Some((at, Owed::Nothing | Owed::PubRec)) => self.complete(at, id),
            Some(_) => {}
            None => {
                let v5 = is_v5(self.settings.version);
                append_ack(&mut self.out, AckKind::PubComp, id.get(), code, v5);
            }
        }
        Ok(())
    }

    /// Answers PUBREL for the message at this place. What is in front of it was acknowledged before, or did not come
    /// before it: it waits for nothing.
    fn complete(&mut self, at: u16, id: PacketId) {
        let v5 = is_v5(self.settings.version);
        if MANY && append_ack(&mut self.out, AckKind::PubComp, id.get(), ReasonCode::SUCCESS, v5) {
            self.inbox.remove(at);
        } else {
            self.owe(at, Owed::PubComp);
            self.inbox.set_due(self.inbox.due().min(at));
        }
    }

    /// SUBACK or UNSUBACK: one code for each filter, before 5.0 none in UNSUBACK.
    fn answered(&mut self, id: PacketId, stage: Stage, codes: ReasonCodes<'_>) -> Result<(), ProtocolError> {
        let Some(slot) = self.inflight.find(id).filter(|slot| slot.stage == stage) else {
            return Err(ProtocolError::Acknowledgement);
        };
        let says_nothing = stage == Stage::AwaitUnsubAck && !is_v5(self.settings.version);
        if slot.len as usize != codes.len() && !says_nothing {
            return Err(ProtocolError::ReasonCodeCount);
        }
        // The first failure, if there is one.
        let mut result = codes.iter().next().unwrap_or(ReasonCode::SUCCESS);
        for code in codes.iter() {
            if !result.is_error() && code.is_error() {
                result = code;
            }
        }
        slot.finish(Ok(result));
        self.inflight.count_done();
        Ok(())
    }
}
