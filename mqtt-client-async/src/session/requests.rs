//! From the application to the engine: messages, subscriptions, acknowledgements and the end, as far as it takes them.

use bytes::Bytes;
use mqtt_client::{PropertyWriter, QoS, ReasonCode, RequestError, Ticket};
use mqtt_packet::{
    DecodeError, EncodeError, PacketType, Property, PropertyPlace, SubscribeFilter, TopicFilter,
};
use tokio::time::Instant;

use super::{Closing, Session};
use crate::PropertyList;
use crate::desk::Pending;
use crate::error::{ConnectionError, DeliveryError, SubscribeError};
use crate::message::Publish;
use crate::router::Router;
use crate::shared::{Close, Control};

/// How many bytes of messages are encoded before they are written: more per write costs more than it saves.
const BATCH: usize = 64 << 10;

/// These properties may not stand there, or not together.
fn not_allowed(rule: DecodeError) -> RequestError {
    EncodeError::Rule(rule).into()
}

impl Session<'_> {
    pub(super) fn take_close(&mut self) {
        match self.inbox.close.take() {
            None => {}
            Some(Close::Abort) => self.closing = Some(Closing::Abort),
            Some(_) if self.is_over() => {}
            Some(Close::Drain { deadline }) => self.closing = Some(Closing::Drain { deadline }),
            Some(disconnect) => self.closing = Some(Closing::Disconnect(disconnect)),
        }
    }

    /// Hands to the engine what the application asked for, as far as it takes it.
    pub(super) fn take_requests(&mut self, now: Instant) -> Result<bool, ConnectionError> {
        let mut progress = !self.inbox.released.is_empty();
        for (receipt, reason_code) in self.inbox.released.drain(..) {
            // A receipt of an earlier connection does nothing.
            let _ = self.engine.accept(receipt, reason_code);
        }
        self.take_close();
        if matches!(self.closing, Some(Closing::Abort)) {
            return Err(ConnectionError::Shutdown);
        }
        if self.engine.is_connected() {
            for awaiting in self.inbox.reauthentications.drain(..) {
                self.authentication.again(awaiting);
                progress = true;
            }
            progress |= self.take_control();
            progress |= self.resume_payload();
            progress |= self.take_publishes();
            progress |= self.take_leave(now);
        } else if self.storage.is_on() {
            progress |= self.take_publishes();
        }
        Ok(progress)
    }

    fn take_control(&mut self) -> bool {
        let mut progress = false;
        while let Some(control) = self.inbox.control.pop_front() {
            let result = match &control {
                Control::Subscribe { key, text, .. } => self.subscribe(*key, text),
                Control::Unsubscribe { text, properties, .. } => self.unsubscribe(text, properties),
            };
            match result {
                Ok(ticket) => self.desk.note(ticket, Pending::Control(Box::new(control))),
                Err(SubscribeError::Request(RequestError::Busy | RequestError::NotConnected)) => {
                    self.inbox.control.push_front(control);
                    break;
                }
                Err(error) => self.desk.answer(control, Err(error)),
            }
            progress = true;
        }
        progress
    }

    fn subscribe(&mut self, key: usize, text: &[u8]) -> Result<Ticket, SubscribeError> {
        let mut state = self.shared.lock();
        let wanted = state.router.get_mut(key).filter(|filter| filter.text == text);
        // Nobody wants it any more.
        let Some(wanted) = wanted else {
            return Err(SubscribeError::Closed);
        };
        let filter = TopicFilter::from_bytes(text).map_err(SubscribeError::Filter)?;
        let mut block = [0; 8];
        let place = PropertyPlace::of(PacketType::Subscribe);
        let own = wanted.properties.at(place).map_err(not_allowed)?;
        let mut properties = PropertyWriter::new(place, &mut block);
        let takes_identifiers = self.engine.limits().subscription_identifiers_available
            && own.subscription_identifiers().next().is_none();
        if let Some(id) = Router::identifier(key).filter(|_| takes_identifiers) {
            // It fits: five bytes at most.
            let _ = properties.push(Property::SubscriptionIdentifier(id));
        }
        let entry = SubscribeFilter { filter, options: wanted.options };
        let properties = properties.finish().followed_by(own).unwrap_or(own);
        let ticket = self.engine.subscribe(&[entry], properties)?;
        wanted.held = true;
        Ok(ticket)
    }

    fn unsubscribe(&mut self, text: &[u8], properties: &PropertyList) -> Result<Ticket, SubscribeError> {
        let filter = TopicFilter::from_bytes(text).map_err(SubscribeError::Filter)?;
        let place = PropertyPlace::of(PacketType::Unsubscribe);
        Ok(self.engine.unsubscribe(&[filter], properties.at(place).map_err(not_allowed)?)?)
    }

    /// Hands messages to the engine; without a connection, for a store, those of QoS 1 and 2.
    pub(super) fn take_publishes(&mut self) -> bool {
        if self.desk.in_flight() > self.resume_at {
            return false;
        }
        self.resume_at = usize::MAX;
        let (mut messages, mut bytes) = (0_usize, 0_usize);
        while self.engine.transmit().len() < BATCH {
            let Some(queued) = self.inbox.publishes.pop_front() else {
                break;
            };
            if queued.publish.qos == QoS::AtMostOnce && !self.engine.is_connected() {
                self.inbox.publishes.push_front(queued);
                break;
            }
            let len = queued.publish.len();
            // Nobody waits for it any more: it was in the queue for too long.
            if !self.shared.lock().deliveries.is_open(queued.delivery) {
                self.desk.fail(queued.delivery, DeliveryError::Timeout);
            } else {
                match self.publish(&queued.publish) {
                    Ok((ticket, payload)) => {
                        self.desk.note(ticket, Pending::Publish(queued.delivery, payload));
                    }
                    Err(RequestError::Busy) => {
                        self.inbox.publishes.push_front(queued);
                        self.wait_for_room();
                        break;
                    }
                    Err(error) => self.desk.fail(queued.delivery, DeliveryError::NotSent(error)),
                }
            }
            messages = messages.saturating_add(1);
            bytes = bytes.saturating_add(len);
        }
        self.shared.dequeued(messages, bytes);
        if messages > 0 {
            self.pace.published(self.desk.in_flight());
        }
        messages > 0
    }

    /// The engine takes no more. Where that is for want of acknowledgements, some of them are awaited: one write for each
    /// of them would cost both sides more than the short wait.
    fn wait_for_room(&mut self) {
        let in_flight = self.desk.in_flight();
        if self.engine.transmit().is_empty() {
            self.resume_at = in_flight.saturating_sub((in_flight / 16).max(1));
        }
    }

    /// Hands a message to the engine; a large payload stays where it is, and is returned.
    fn publish(&mut self, publish: &Publish) -> Result<(Ticket, Option<Bytes>), RequestError> {
        // Both were looked at when the message was taken.
        let topic = publish.topic.name().map_err(|fault| EncodeError::Rule(DecodeError::String(fault)))?;
        let properties = publish.properties.of_publish().map_err(EncodeError::Rule)?;
        let message = mqtt_client::Message {
            topic,
            payload: &publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties,
        };
        if publish.payload.len() < self.large {
            return Ok((self.engine.publish(&message)?, None));
        }
        let len = u32::try_from(publish.payload.len()).map_err(|_| EncodeError::TooLong)?;
        let ticket = self.engine.begin_publish(&message, len)?;
        self.payload = publish.payload.clone();
        Ok((ticket, Some(publish.payload.clone())))
    }

    /// A large payload is to be sent again in a resumed session.
    fn resume_payload(&mut self) -> bool {
        let Some((ticket, _)) = self.engine.payload_wanted() else {
            return false;
        };
        match self.desk.payload(ticket) {
            Some(payload) if self.engine.resume_payload().is_ok() => {
                self.payload = payload;
                true
            }
            _ => false,
        }
    }

    /// Says goodbye, once it is time.
    fn take_leave(&mut self, now: Instant) -> bool {
        let close = match self.closing.take() {
            Some(Closing::Drain { deadline }) if now < deadline && !self.is_drained() => {
                self.closing = Some(Closing::Drain { deadline });
                return false;
            }
            Some(Closing::Drain { .. }) => Close::Disconnect {
                reason_code: ReasonCode::SUCCESS,
                properties: PropertyList::new(),
                answer: None,
            },
            Some(Closing::Disconnect(close)) if self.inbox.publishes.is_empty() => close,
            other => {
                self.closing = other;
                return false;
            }
        };
        let Close::Disconnect { reason_code, properties, answer } = close else {
            return false;
        };
        let time = self.clock.show(now);
        let place = PropertyPlace::of(PacketType::Disconnect);
        let result = match properties.at(place) {
            Ok(properties) => self.engine.disconnect(time, reason_code, properties),
            Err(rule) => Err(EncodeError::Rule(rule).into()),
        };
        match result {
            Err(RequestError::Busy) => {
                self.closing =
                    Some(Closing::Disconnect(Close::Disconnect { reason_code, properties, answer }));
                return false;
            }
            Ok(()) => {
                self.closing = Some(Closing::Said);
                self.desk.set_end_reason(ConnectionError::Shutdown);
            }
            Err(_) => self.shared.lock().reopen(),
        }
        if let Some(answer) = answer {
            let _ = answer.send(result);
        }
        true
    }
}
