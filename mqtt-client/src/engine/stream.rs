//! Messages whose payload is larger than memory.
//!
//! On their way in they come as their front and then in chunks. On their way out the engine sends the front, the shell writes the
//! payload from wherever it is, straight to the transport. Nothing comes in between, and it counts for keep alive.
//!
//! The order of a shell: [`Engine::begin_publish`]; write all of [`Engine::transmit`]; then write payload while
//! [`Engine::payload_left`] asks for it, and report it with [`Engine::payload_written`]. A payload that was begun
//! must be finished on this connection. At QoS 1 and 2 it may be asked for once more after the session was resumed
//! ([`Engine::payload_wanted`], [`Engine::resume_payload`]).

use super::inbound::Taken;
use super::outbox::{RESERVE, Source};
use super::{Engine, Phase, is_v5};
use crate::delivery::Arrival;
use crate::error::{ProtocolError, RequestError};
use crate::event::{Event, Ticket};
use crate::message::Message;
use crate::session::{SendSlot, flag};
use crate::time::Instant;
use crate::topic_alias::Aliases;
use mqtt_packet::{
    Delivery, EncodeError, FixedHeader, PacketId, PacketType, Publish, PublishHead, QoS, SliceSink, Version,
};

impl Engine<'_> {
    /// Takes a message whose payload, of `payload_len` bytes, follows from the shell; that of `message` is not looked
    /// at. Only on an open connection, and at QoS 1 and 2 only without a store.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`RequestError::Busy`] also while messages of QoS 1 or 2 wait for their turn
    /// or another payload is under way.
    pub fn begin_publish(&mut self, message: &Message<'_>, payload_len: u32) -> Result<Ticket, RequestError> {
        if self.phase != Phase::Connected {
            return Err(RequestError::NotConnected);
        }
        let mut publish = Publish { payload: &[], ..self.new_publish(message)? };
        let version = self.settings.version;
        let limit = (version, self.limits.maximum_packet_size);
        self.check_limits(message.qos, message.retain)?;
        if self.out.has_long() {
            return Err(RequestError::Busy);
        }
        if message.qos == QoS::AtMostOnce {
            if !self.out.tickets.can_give_out() {
                return Err(RequestError::Busy);
            }
            // The front with the longest Remaining Length.
            let most = publish.encoded_len(version).saturating_add(3);
            self.append_request(most, |out| encode_head(&publish, payload_len, limit, out))?;
            self.out.put_long(Source::Application, payload_len);
            return Ok(self.out.tickets.give_out());
        }
        if self.settings.is_durable() {
            return Err(RequestError::NoRoom);
        }
        if self.inflight.pending() < self.inflight.count()
            || self.unacknowledged >= self.limits.receive_maximum
        {
            return Err(RequestError::Busy);
        }
        let id = self.inflight.next_id().ok_or(RequestError::Busy)?;
        publish.delivery = Delivery::new(message.qos, Some(id)).unwrap_or_default();
        let most = publish.encoded_len(version).saturating_add(3);
        let start = self.inflight.reserve(most)?;
        let mut front = SliceSink::new(self.inflight.space(start, most));
        encode_head(&publish, payload_len, limit, &mut front)?;
        let len = front.len();
        if self.out.room() < len.saturating_add(RESERVE) {
            return Err(if self.out.is_empty() { RequestError::NoRoom } else { RequestError::Busy });
        }
        self.keep(publish.delivery, start, len, flag::STREAMED);
        self.send_front(self.inflight.count().wrapping_sub(1), len, payload_len);
        Ok(Ticket::of(id))
    }

    /// Queues the front of a streamed message, and its payload behind it.
    fn send_front(&mut self, position: u16, len: usize, payload_len: u32) {
        let at = self.out.position();
        let Self { inflight, out, .. } = self;
        let Some(slot) = inflight.slot_mut(position) else {
            return;
        };
        slot.at = at;
        slot.flags |= flag::QUEUED;
        let start = slot.start;
        if out.append_bytes(RESERVE, inflight.bytes(start, len as u32)) {
            out.put_long(Source::Application, payload_len);
        }
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        self.inflight.set_pending(position.wrapping_add(1));
    }

    /// How many bytes of payload the shell is to write now; 0 while something else comes first.
    pub const fn payload_left(&self) -> u32 {
        self.out.application_left()
    }

    /// The transport took `n` bytes of the payload.
    pub fn payload_written(&mut self, now: Instant, n: usize) {
        if self.payload_left() > 0 {
            self.transmitted(now, n);
        }
    }

    /// A message whose payload is to be sent once more, and how long it is: the session was resumed, and those behind
    /// it wait. Ask after every input.
    pub fn payload_wanted(&self) -> Option<(Ticket, u32)> {
        let slot = self.streamed_slot()?;
        let (_, payload_len) = self.front_of(slot)?;
        Some((Ticket::of(PacketId::new(slot.id)?), payload_len))
    }

    /// Sends the front of the message that [`payload_wanted`](Self::payload_wanted) names; the payload follows as in
    /// [`begin_publish`](Self::begin_publish).
    ///
    /// # Errors
    /// [`RequestError::Stale`] where nothing is wanted, [`RequestError::Busy`].
    pub fn resume_payload(&mut self) -> Result<(), RequestError> {
        let slot = *self.streamed_slot().ok_or(RequestError::Stale)?;
        let (len, payload_len) = self.front_of(&slot).ok_or(RequestError::Stale)?;
        if self.out.room() < len.saturating_add(RESERVE) {
            return Err(RequestError::Busy);
        }
        if slot.has(flag::SENT) {
            self.inflight.set_dup(slot.start); // [MQTT-3.3.1-1]
        }
        self.send_front(self.inflight.pending(), len, payload_len);
        self.pump();
        Ok(())
    }

    /// The streamed message whose turn it is.
    fn streamed_slot(&self) -> Option<&SendSlot> {
        let may_send = self.phase == Phase::Connected
            && !self.out.has_long()
            && self.unacknowledged < self.limits.receive_maximum;
        let slot = self.inflight.slot(self.inflight.pending())?;
        let waits = slot.has(flag::STREAMED) && !slot.has(flag::QUEUED) && slot.stage.is_publish();
        (may_send && waits).then_some(slot)
    }

    /// How long the front and the payload of a streamed message are.
    fn front_of(&self, slot: &SendSlot) -> Option<(usize, u32)> {
        let bytes = self.inflight.record(slot);
        let header = FixedHeader::decode(bytes).ok()??;
        let header_len = usize::from(header.header_len);
        let head = Publish::decode_head(header, bytes.get(header_len..)?, self.settings.version).ok()??;
        Some((header_len.wrapping_add(head.head_len), head.payload_len))
    }

    pub(super) fn message_start<'rx>(
        &mut self,
        mut head: PublishHead<'rx>,
        aliases: &'rx mut Aliases<'_>,
        event: &mut Option<Event<'rx>>,
    ) -> Result<(), ProtocolError> {
        match self.phase {
            Phase::Connected => {}
            Phase::Closing => return Ok(()),
            _ => return Err(ProtocolError::Unexpected(PacketType::Publish)),
        }
        if is_v5(self.settings.version) {
            head.publish.topic = aliases.resolve(&head.publish, self.alias_maximum)?;
        }
        let delivery = head.publish.delivery;
        if self.arrival(delivery).0 == Arrival::Deliver {
            self.incoming = Some(Some(delivery));
            *event = Some(Event::MessageStart(head));
            return Ok(());
        }
        // Answered at once, passed over as it comes.
        self.take(delivery)?;
        self.incoming = Some(None);
        Ok(())
    }

    pub(super) fn chunk<'rx>(
        &mut self,
        bytes: &'rx [u8],
        last: bool,
        event: &mut Option<Event<'rx>>,
    ) -> Result<(), ProtocolError> {
        let Some(incoming) = self.incoming.filter(|_| self.phase == Phase::Connected) else {
            return Ok(());
        };
        if last {
            self.incoming = None;
        }
        let Some(delivery) = incoming else {
            return Ok(());
        };
        // Only now it has arrived: a message that was cut off comes again and is no repeat.
        let receipt = match (last, last.then(|| self.take(delivery)).transpose()?) {
            (true, Some(Taken::Deliver(receipt))) => receipt,
            _ => None,
        };
        *event = Some(Event::Chunk { bytes, last, receipt });
        Ok(())
    }
}

/// The front of a message, if the whole is not too large for the server [MQTT-3.2.2-15].
fn encode_head(
    publish: &Publish<'_>,
    payload_len: u32,
    (version, limit): (Version, u32),
    out: &mut SliceSink<'_>,
) -> Result<(), EncodeError> {
    publish.encode_head(payload_len, version, out)?;
    match FixedHeader::decode(out.written()) {
        Ok(Some(header)) if header.packet_len() <= limit => Ok(()),
        _ => Err(EncodeError::TooLong),
    }
}
