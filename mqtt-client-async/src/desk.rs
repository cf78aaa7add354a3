//! What becomes of what the engine reports: messages to streams, outcomes to whoever waits for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use mqtt_client::{Connected, Engine, Event as EngineEvent, Key, Loss, Outcome, Receipt, Ticket};
use mqtt_packet::{Properties, ReasonCode};
use slab::Slab;
use tokio::time::Instant;

use crate::error::{ConnectionError, DeliveryError, ServerWords, SubscribeError};
use crate::event::Event;
use crate::message::{Acknowledgement, Delivered, Message, MessageBuilder, Publish, Right};
use crate::options::Options;
use crate::properties::PropertyList;
use crate::queue::Queue;
use crate::shared::{Control, Hold, Shared, State};

/// Whose request a ticket stands for.
pub(crate) enum Pending {
    /// A message, and its payload if that is not the engine's.
    Publish(usize, Option<Bytes>),
    Control(Box<Control>),
}

/// A place for each Packet Identifier.
const MOST_TICKETS: usize = 0x1_0000;

/// The requests in flight, found by their Packet Identifier modulo the length of the table. Identifiers are given out in
/// sequence, so the table only has to be as long as they lie apart: it grows when two of them want one place.
struct Tickets {
    slots: Vec<Option<(u16, Pending)>>,
    /// How many of them there are.
    count: usize,
    /// Messages of QoS 0, which have no identifier, end in their order.
    at_most_once: VecDeque<Pending>,
}

impl Tickets {
    const fn new() -> Self {
        Self { slots: Vec::new(), count: 0, at_most_once: VecDeque::new() }
    }

    fn place(&mut self, id: u16) -> Option<&mut Option<(u16, Pending)>> {
        let at = usize::from(id).checked_rem(self.slots.len())?;
        self.slots.get_mut(at)
    }

    fn get(&mut self, ticket: Ticket) -> Option<&mut Option<(u16, Pending)>> {
        let id = ticket.packet_id()?.get();
        self.place(id).filter(|place| place.as_ref().is_some_and(|(found, _)| *found == id))
    }

    fn put(&mut self, ticket: Ticket, pending: Pending) {
        let Some(id) = ticket.packet_id() else {
            return self.at_most_once.push_back(pending);
        };
        let id = id.get();
        while self.slots.len() < MOST_TICKETS && self.place(id).is_none_or(|place| place.is_some()) {
            self.grow();
        }
        if let Some(place) = self.place(id) {
            *place = Some((id, pending));
            self.count = self.count.saturating_add(1);
        }
    }

    /// Identifiers that differ modulo a length differ modulo its double, and all differ modulo 65,536.
    fn grow(&mut self) {
        let len = self.slots.len().saturating_mul(2).clamp(8, MOST_TICKETS);
        let mut old = Vec::with_capacity(len);
        old.resize_with(len, || None);
        core::mem::swap(&mut self.slots, &mut old);
        for (id, pending) in old.into_iter().flatten() {
            if let Some(place) = self.place(id) {
                *place = Some((id, pending));
            }
        }
    }

    fn take(&mut self, ticket: Ticket) -> Option<Pending> {
        if ticket.packet_id().is_none() {
            return self.at_most_once.pop_front();
        }
        let (_, pending) = self.get(ticket)?.take()?;
        self.count = self.count.saturating_sub(1);
        Some(pending)
    }
}

/// After so many messages who receives has a turn: they are in the processor's cache then, and their memory is used again.
const TURN: usize = 64;

/// What is to be done outside of the lock.
#[derive(Default)]
struct After {
    /// Of the messages that came, what no stream holds back.
    accepted: Vec<Receipt>,
    /// The topics of messages that no stream wanted, to be told.
    unrouted: Vec<String>,
    wakers: Vec<Waker>,
}

/// A message that comes in pieces.
enum Incoming {
    Build(MessageBuilder),
    /// It is larger than it may be.
    PassOver,
}

pub(crate) struct Desk {
    shared: Arc<Shared>,
    tickets: Tickets,
    incoming: Option<Incoming>,
    /// Messages that came, with the right to acknowledge them; they go to their streams together.
    arrived: VecDeque<Message>,
    after: After,
    /// What the server said besides a reason code; its outcome is the next.
    said: Option<(Ticket, PropertyList)>,
    /// Why the connection ends, where that is known before it does.
    end_reason: Option<ConnectionError>,
    max_message_size: usize,
    connected: bool,
    /// Whether a message was put into a stream since somebody asked.
    has_delivered: bool,
    /// Whether streams hold more bytes than they may.
    pub(crate) is_over: bool,
    lost: Vec<Control>,
    /// What an earlier process took and what has not arrived.
    restored: HashMap<Key, Publish>,
}

impl Desk {
    pub(crate) fn new(shared: Arc<Shared>, options: &Options, restored: HashMap<Key, Publish>) -> Self {
        Self {
            shared,
            tickets: Tickets::new(),
            incoming: None,
            arrived: VecDeque::new(),
            after: After::default(),
            said: None,
            end_reason: None,
            max_message_size: options.max_message_size,
            connected: false,
            has_delivered: false,
            is_over: false,
            lost: Vec::new(),
            restored,
        }
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.connected
    }

    /// How many requests wait for the server's answer.
    pub(crate) const fn in_flight(&self) -> usize {
        self.tickets.count
    }

    /// Whether a message was put into a stream since this was asked.
    pub(crate) const fn take_delivered(&mut self) -> bool {
        core::mem::replace(&mut self.has_delivered, false)
    }

    pub(crate) fn set_end_reason(&mut self, reason: ConnectionError) {
        self.end_reason = Some(reason);
    }

    /// What was known before counts; the end itself says less.
    pub(crate) fn end_reason(&mut self, error: ConnectionError) -> ConnectionError {
        self.end_reason.take().unwrap_or(error)
    }

    pub(crate) fn note(&mut self, ticket: Ticket, pending: Pending) {
        self.tickets.put(ticket, pending);
    }

    /// The payload of a message that the engine wants once more.
    pub(crate) fn payload(&mut self, ticket: Ticket) -> Option<Bytes> {
        match self.tickets.get(ticket)? {
            Some((_, Pending::Publish(_, payload))) => payload.clone(),
            _ => None,
        }
    }

    /// The connection is over.
    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
        self.incoming = None;
        self.arrived.clear();
        self.said = None;
        self.end_reason = None;
    }

    /// The server accepted the connection: asks again for the subscriptions that it does not know.
    pub(crate) fn connected(&mut self, connected: &Connected<'_>, control: &mut VecDeque<Control>) {
        self.connected = true;
        let mut resubscribed = 0_usize;
        if !connected.session_present {
            let mut state = self.shared.lock();
            let keys: Vec<usize> = state.router.keys().collect();
            // In front of everything else, in the order in which they were made.
            for key in keys.into_iter().rev() {
                let Some(filter) = state.router.get_mut(key) else {
                    continue;
                };
                filter.held = false;
                let text = filter.text.clone();
                let asked =
                    |control: &Control| matches!(control, Control::Subscribe { key: k, .. } if *k == key);
                if !control.iter().any(asked) && !state.is_asked(key) {
                    control.push_front(Control::Subscribe { key, text, answer: None });
                    resubscribed = resubscribed.saturating_add(1);
                }
            }
        }
        let id = connected.properties.assigned_client_identifier();
        self.shared.set_connected(true);
        tracing::info!(session_present = connected.session_present, resubscribed, "connected");
        self.shared.emit(&Event::Connected {
            session_present: connected.session_present,
            resubscribed,
            assigned_client_id: id.map(|id| id.as_str().to_owned()),
        });
    }

    /// Anything but the beginning of a connection; `body` is that of the packet, where one came whole.
    pub(crate) fn handle(&mut self, engine: &mut Engine<'_>, event: &EngineEvent<'_>, body: &[u8]) {
        match event {
            EngineEvent::Message { publish, receipt } => {
                if publish.payload.len() > self.max_message_size {
                    self.pass_over(publish.topic.as_str(), publish.payload.len());
                    return accept(engine, *receipt);
                }
                self.arrived.push_back(Message::whole(publish, body, *receipt));
            }
            EngineEvent::MessageStart(head) => {
                let len = head.payload_len as usize;
                self.incoming = Some(if len > self.max_message_size {
                    self.pass_over(head.publish.topic.as_str(), len);
                    Incoming::PassOver
                } else {
                    Incoming::Build(MessageBuilder::new(&head.publish, len))
                });
            }
            EngineEvent::Chunk { bytes, last, receipt } => {
                if let Some(Incoming::Build(message)) = &mut self.incoming {
                    message.push(bytes);
                }
                if *last {
                    match self.incoming.take() {
                        Some(Incoming::Build(message)) => self.arrived.push_back(message.finish(*receipt)),
                        _ => accept(engine, *receipt),
                    }
                }
            }
            EngineEvent::Acknowledged(ticket, ack) => {
                self.said = Some((*ticket, PropertyList::copy(&ack.properties)));
            }
            EngineEvent::Refused(connack) => {
                let words = words(connack.reason_code, &connack.properties);
                self.end_reason = Some(ConnectionError::Refused(words));
            }
            EngineEvent::Disconnected(disconnect) => {
                let words = words(disconnect.reason_code, &disconnect.properties);
                self.end_reason = Some(ConnectionError::Disconnected(words));
            }
            _ => {}
        }
    }

    fn pass_over(&self, topic: &str, len: usize) {
        tracing::warn!(topic, len, "message passed over: larger than the limit");
        self.shared.emit(&Event::MessageTooLarge { topic: topic.to_owned(), len });
    }

    /// Whether so many messages came that who receives should have a turn.
    pub(crate) fn has_enough(&self) -> bool {
        self.arrived.len() >= TURN
    }

    /// Puts the messages that came into their streams, as long as these hold no more than they may, and accepts those that
    /// none of them holds back. False where there are none to put.
    pub(crate) fn flush(&mut self, engine: &mut Engine<'_>) -> bool {
        if self.arrived.is_empty() {
            return false;
        }
        let mut state = self.shared.lock();
        let mut has_placed = false;
        while state.over == 0 {
            let Some(message) = self.arrived.pop_front() else {
                break;
            };
            place(&mut state, &mut self.after, message);
            has_placed = true;
        }
        self.is_over = state.over > 0;
        drop(state);
        for receipt in self.after.accepted.drain(..) {
            accept(engine, Some(receipt));
        }
        self.has_delivered |= has_placed;
        self.tell();
        has_placed
    }

    /// Messages are where they belong, outside of the lock.
    fn tell(&mut self) {
        for topic in self.after.unrouted.drain(..) {
            self.shared.emit(&Event::Unrouted { topic });
        }
        self.after.wakers.drain(..).for_each(Waker::wake);
    }

    /// Takes what became of requests from the engine; what the end of a connection undid goes back to `control`.
    pub(crate) fn complete(&mut self, engine: &mut Engine<'_>, control: &mut VecDeque<Control>) -> bool {
        let mut progress = false;
        while let Some((ticket, outcome)) = engine.poll_completion() {
            progress = true;
            let said = self.said.take_if(|(said, _)| *said == ticket).map(|(_, properties)| properties);
            match self.tickets.take(ticket) {
                None => self.complete_restored(ticket, outcome),
                Some(Pending::Publish(delivery, _)) => {
                    let fate = fate(outcome, said.unwrap_or_default());
                    let waker = self.shared.lock().deliveries.complete(delivery, fate);
                    self.after.wakers.extend(waker);
                }
                Some(Pending::Control(request)) => match outcome {
                    Outcome::Answered(reason_code) => self.answer(*request, Ok(reason_code)),
                    _ => self.lost.push(*request),
                },
            }
        }
        while let Some(request) = self.lost.pop() {
            control.push_front(request);
        }
        self.after.wakers.drain(..).for_each(Waker::wake);
        progress
    }

    /// What an earlier process took is done with; or it is published anew, where the session was lost.
    fn complete_restored(&mut self, ticket: Ticket, outcome: Outcome) {
        let message = ticket.packet_id().and_then(|id| self.restored.remove(&id.get().into()));
        if let (Some(message), Outcome::Lost(Loss::SessionLost)) = (message, outcome) {
            self.shared.take_back(message);
        }
    }

    /// A message will not be sent.
    pub(crate) fn fail(&mut self, delivery: usize, error: DeliveryError) {
        let waker = self.shared.lock().deliveries.complete(delivery, Err(error));
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A subscription or its end was answered.
    pub(crate) fn answer(&self, request: Control, result: Result<ReasonCode, SubscribeError>) {
        let failure = match &result {
            Ok(code) => code.is_error().then_some(*code),
            Err(_) => Some(ReasonCode::UNSPECIFIED_ERROR),
        };
        if let (Control::Subscribe { key, text, answer }, Some(reason_code)) = (&request, failure) {
            if let Some(filter) = self.shared.lock().router.get_mut(*key).filter(|f| f.text == *text) {
                filter.held = false;
            }
            if answer.is_none() && !matches!(result, Err(SubscribeError::Closed)) {
                let filter = String::from_utf8_lossy(text).into_owned();
                self.shared.emit(&Event::SubscriptionLost { filter, reason_code });
            }
        }
        if let Some(answer) = request.answer() {
            // Nobody waits any more where this fails.
            let _ = answer.send(result);
        }
    }

    /// Ends the waits that have lasted too long.
    pub(crate) fn expire(&self, now: Instant) {
        let wakers = self.shared.lock().deliveries.expire(now);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Puts a message into the streams that it is for.
fn place(state: &mut State, after: &mut After, mut message: Message) {
    let State { router, queues, over, .. } = state;
    let streams = router.route(message.topic_bytes(), &message.properties());
    let mut hold = None;
    if let Right::Receipt(receipt) = message.right {
        message.right = Right::None;
        let holds = |key: &&usize| queues.get(**key).is_some_and(|queue| queue.holds(message.len()));
        match streams.iter().filter(holds).count() {
            0 => after.accepted.push(receipt),
            holders => hold = Some(Hold::split(receipt, holders)),
        }
    }
    match streams.split_last() {
        None => after.unrouted.push(message.topic().to_owned()),
        Some((&last, others)) => {
            for &key in others {
                put(queues, over, &mut after.wakers, key, message.clone(), &mut hold);
            }
            // This one needs no copy.
            put(queues, over, &mut after.wakers, last, message, &mut hold);
        }
    }
}

/// Puts a message into a stream, with the next right to acknowledge it if the stream holds it back.
#[inline]
fn put(
    queues: &mut Slab<Queue>,
    over: &mut usize,
    wakers: &mut Vec<Waker>,
    key: usize,
    mut message: Message,
    hold: &mut Option<impl FnMut() -> Hold>,
) {
    let Some(queue) = queues.get_mut(key) else {
        return;
    };
    if let Some(next) = hold.as_mut().filter(|_| queue.holds(message.len())) {
        message.right = Right::Taker(next());
    }
    let was_over = queue.is_over();
    wakers.extend(queue.push(message));
    *over = over.saturating_add(usize::from(!was_over && queue.is_over()));
}

fn accept(engine: &mut Engine<'_>, receipt: Option<Receipt>) {
    if let Some(receipt) = receipt {
        // It is of this connection.
        let _ = engine.accept(receipt, ReasonCode::SUCCESS);
    }
}

fn fate(outcome: Outcome, properties: PropertyList) -> crate::delivery::Fate {
    match outcome {
        Outcome::Written => Ok(Delivered::Written),
        Outcome::Answered(reason_code) => {
            let acknowledgement = Acknowledgement { reason_code, properties };
            if reason_code.is_error() {
                Err(DeliveryError::Refused(acknowledgement))
            } else {
                Ok(Delivered::Acknowledged(acknowledgement))
            }
        }
        Outcome::Lost(loss) => Err(DeliveryError::Lost(loss)),
    }
}

fn words(reason_code: ReasonCode, properties: &Properties<'_>) -> ServerWords {
    ServerWords {
        reason_code,
        reason_string: properties.reason_string().map(|text| text.as_str().to_owned()),
        server_reference: properties.server_reference().map(|text| text.as_str().to_owned()),
    }
}
