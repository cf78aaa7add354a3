//! What the application of a client does: it publishes, subscribes, accepts, and notes what became of each request.

use super::Client;
use super::store::Store;
use crate::oracle::{Asked, Delivered, Published};
use crate::plan::{Action, FILTERS, TOPICS};
use crate::scene::{Event as Happens, Scene, client_name};
use mqtt_client::{
    Change, Event, Message, Outcome, PacketId, Properties, Property, PropertyPlace, PropertyWriter, QoS,
    ReasonCode, Receipt, RequestError, RetainHandling, SubscribeFilter, SubscribeOptions, Ticket,
    TopicFilter, TopicName, Version,
};
use mqtt_packet::{Ack, Frame, PacketType};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// What an engine reported, in memory of its own.
pub(super) enum Seen {
    Connected { session_present: bool },
    Refused(ReasonCode),
    Message { head: Head, payload: Vec<u8>, receipt: Option<Receipt> },
    Start(Head),
    Chunk { bytes: Vec<u8>, last: bool, receipt: Option<Receipt> },
    Granted(Ticket, Vec<ReasonCode>),
    Unsubscribed(Ticket),
    Left(ReasonCode),
    Nothing,
}

/// What stands in front of a message's payload.
#[derive(Clone, Debug)]
pub(super) struct Head {
    topic: String,
    qos: QoS,
    retain: bool,
    id: Option<PacketId>,
}

impl From<&mqtt_client::Publish<'_>> for Head {
    fn from(publish: &mqtt_client::Publish<'_>) -> Self {
        Self {
            topic: publish.topic.as_str().into(),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            id: publish.delivery.id(),
        }
    }
}

impl From<Option<Event<'_>>> for Seen {
    fn from(event: Option<Event<'_>>) -> Self {
        match event {
            Some(Event::Connected(connected)) => {
                Self::Connected { session_present: connected.session_present }
            }
            Some(Event::Refused(connack)) => Self::Refused(connack.reason_code),
            Some(Event::Message { publish, receipt }) => {
                Self::Message { head: Head::from(&publish), payload: publish.payload.to_vec(), receipt }
            }
            Some(Event::MessageStart(head)) => Self::Start(Head::from(&head.publish)),
            Some(Event::Chunk { bytes, last, receipt }) => {
                Self::Chunk { bytes: bytes.to_vec(), last, receipt }
            }
            Some(Event::Granted(ticket, suback)) => {
                Self::Granted(ticket, suback.reason_codes.iter().collect())
            }
            Some(Event::Unsubscribed(ticket, _)) => Self::Unsubscribed(ticket),
            Some(Event::Disconnected(disconnect)) => Self::Left(disconnect.reason_code),
            _ => Self::Nothing,
        }
    }
}

/// What a ticket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Publish(usize),
    Subscribe(usize),
    Unsubscribe(usize),
}

impl Request {
    /// The filter that it is about.
    fn filter(self) -> &'static str {
        match self {
            Self::Subscribe(filter) | Self::Unsubscribe(filter) => FILTERS[filter],
            Self::Publish(_) => "",
        }
    }
}

/// What is known about a ticket until it ends.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// `None` for what was asked in an earlier life: then its identifier counts.
    ticket: Option<Ticket>,
    id: Option<PacketId>,
    request: Request,
}

/// A subscription that the application wants.
#[derive(Clone, Copy, Debug)]
struct Wish {
    qos: QoS,
    retain_handling: RetainHandling,
    identified: bool,
    no_local: bool,
    as_published: bool,
}

#[derive(Debug, Default)]
pub(super) struct Application {
    /// Messages that wait for the engine, in their order.
    messages: VecDeque<usize>,
    /// SUBSCRIBEs and UNSUBSCRIBEs that wait for the engine, in their order.
    changes: VecDeque<Request>,
    wishes: BTreeMap<usize, Wish>,
    pending: Vec<Pending>,
    /// Messages that came and are not accepted.
    unaccepted: Vec<(Receipt, Delivered)>,
    /// A message of which only a part has come.
    partial: Option<(Head, Vec<u8>)>,
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting messages {:?}, changes {:?}, ", self.messages, self.changes)?;
        write!(f, "pending {:?}, {} not accepted", self.pending, self.unaccepted.len())
    }
}

impl Application {
    pub(super) fn is_at_rest(&self) -> bool {
        self.messages.is_empty()
            && self.changes.is_empty()
            && self.pending.is_empty()
            && self.unaccepted.is_empty()
    }

    pub(super) fn connection_lost(&mut self) {
        self.partial = None;
    }

    /// Everything in memory is gone. The store has the names of the messages that it keeps.
    pub(super) fn crashed(&mut self, store: &Store, scene: &mut Scene) {
        self.partial = None;
        self.unaccepted.clear();
        let lost = std::mem::take(&mut self.pending);
        for (id, message) in store.messages() {
            scene.oracle.restored(message);
            self.pending.push(Pending { ticket: None, id: Some(id), request: Request::Publish(message) });
        }
        for pending in lost {
            match pending.request {
                Request::Publish(message) => {
                    if !self.pending.iter().any(|kept| kept.request == pending.request) {
                        scene.oracle.forgotten(message);
                    }
                }
                change => self.changes.push_front(change),
            }
        }
    }

    /// A packet comes: with PUBREC the broker has taken a message over.
    pub(super) fn hear(&self, frame: Frame<'_>, version: Version, scene: &mut Scene) {
        if frame.packet_type() != PacketType::PubRec {
            return;
        }
        let ack = Ack::decode(frame, version).ok().filter(|ack| !ack.reason_code.is_error());
        let pending = ack.and_then(|ack| self.pending.iter().find(|pending| pending.id == Some(ack.id)));
        if let Some(Request::Publish(number)) = pending.map(|pending| pending.request) {
            scene.oracle.taken(number);
        }
    }

    fn remember(&mut self, ticket: Ticket, request: Request) {
        self.pending.push(Pending { ticket: Some(ticket), id: ticket.packet_id(), request });
    }

    fn find(&self, ticket: Ticket) -> Option<usize> {
        self.pending.iter().position(|pending| match pending.ticket {
            Some(known) => known == ticket,
            None => pending.id == ticket.packet_id(),
        })
    }
}

impl Client<'_> {
    /// Does what the plan says.
    pub fn perform(&mut self, action: Action, scene: &mut Scene) {
        match action {
            Action::Publish { topic, qos, retain, size, expiry } => {
                let message = Published {
                    publisher: self.number,
                    topic: TOPICS[topic],
                    qos,
                    retain,
                    size,
                    expiry: expiry.filter(|_| self.plan.version == Version::V5),
                    is_will: false,
                };
                self.application.messages.push_back(scene.oracle.publishes(message));
            }
            Action::Subscribe { filter, qos, retain_handling, identified, no_local, as_published } => {
                let wish = Wish { qos, retain_handling, identified, no_local, as_published };
                self.application.wishes.insert(filter, wish);
                self.application.changes.push_back(Request::Subscribe(filter));
            }
            Action::Unsubscribe { filter } => {
                self.application.wishes.remove(&filter);
                self.application.changes.push_back(Request::Unsubscribe(filter));
            }
            Action::Disconnect { away } => self.leave(away, scene),
            Action::TakeOver => self.take_over(scene),
        }
    }

    /// Hands to the engine what waits for it.
    pub(super) fn ask(&mut self, scene: &mut Scene) {
        if self.is_down {
            return;
        }
        while let Some(&change) = self.application.changes.front() {
            if !self.process.engine.is_connected() {
                break;
            }
            match self.ask_change(change, scene) {
                Ok(Some(ticket)) => self.application.remember(ticket, change),
                Ok(None) => {}
                Err(RequestError::Busy | RequestError::NotConnected) => break,
                Err(error) => self.refused(&error, scene),
            }
            self.application.changes.pop_front();
        }
        while let Some(&number) = self.application.messages.front() {
            match self.ask_publish(number, scene) {
                Ok(ticket) => self.application.remember(ticket, Request::Publish(number)),
                Err(RequestError::Busy) => break,
                // Only what goes in parts needs a connection.
                Err(RequestError::NotConnected) if scene.oracle.message(number).qos > QoS::AtMostOnce => {
                    break;
                }
                // At QoS 0 this is the end of it: there is no connection, or it has to fit what is transmitted at once.
                Err(RequestError::NotConnected | RequestError::NoRoom)
                    if scene.oracle.message(number).qos == QoS::AtMostOnce =>
                {
                    scene.oracle.forgotten(number);
                }
                Err(error) => self.refused(&error, scene),
            }
            self.application.messages.pop_front();
        }
    }

    fn refused(&self, error: &RequestError, scene: &mut Scene) {
        scene.oracle.broken(scene.now, "a request is refused for a reason", || {
            format!("{}: {error}", client_name(self.number))
        });
    }

    fn ask_publish(&mut self, number: usize, scene: &mut Scene) -> Result<Ticket, RequestError> {
        let payload = scene.oracle.payload(number);
        let message = scene.oracle.message(number).clone();
        let mut room = [0; 8];
        let mut properties =
            PropertyWriter::new(PropertyPlace::of(mqtt_packet::PacketType::Publish), &mut room);
        if let Some(expiry) = message.expiry {
            properties.push(Property::MessageExpiryInterval(expiry))?;
        }
        let message = Message {
            topic: TopicName::new(message.topic).expect("it is a topic"),
            payload: &payload,
            qos: message.qos,
            retain: message.retain,
            properties: properties.finish(),
        };
        self.publish(number, &message, scene)
    }

    /// `None` where it has become pointless.
    fn ask_change(&mut self, change: Request, scene: &mut Scene) -> Result<Option<Ticket>, RequestError> {
        match change {
            Request::Subscribe(filter) => {
                let Some(&wish) = self.application.wishes.get(&filter) else {
                    return Ok(None);
                };
                let v5 = self.plan.version == Version::V5;
                let mut options = SubscribeOptions::new(wish.qos);
                if v5 {
                    options.retain_handling = wish.retain_handling;
                    options.no_local = wish.no_local;
                    options.retain_as_published = wish.as_published;
                }
                let asked = Asked {
                    no_local: options.no_local,
                    as_published: options.retain_as_published,
                    replays: options.retain_handling != RetainHandling::DoNotSend,
                };
                let entry = SubscribeFilter { filter: topic_filter(filter), options };
                let mut room = [0; 8];
                let place = PropertyPlace::of(mqtt_packet::PacketType::Subscribe);
                let mut properties = PropertyWriter::new(place, &mut room);
                if v5 && wish.identified {
                    properties.push(Property::SubscriptionIdentifier(filter as u32 + 1))?;
                }
                let ticket = self.process.engine.subscribe(&[entry], properties.finish())?;
                scene.oracle.changes_subscription(scene.now, self.number);
                scene.oracle.sessions.subscribes(self.number, FILTERS[filter], asked);
                Ok(Some(ticket))
            }
            Request::Unsubscribe(filter) => {
                if self.application.wishes.contains_key(&filter) {
                    return Ok(None);
                }
                let ticket = self.process.engine.unsubscribe(&[topic_filter(filter)], Properties::EMPTY)?;
                scene.oracle.changes_subscription(scene.now, self.number);
                scene.oracle.sessions.unsubscribes(self.number, FILTERS[filter]);
                Ok(Some(ticket))
            }
            Request::Publish(_) => Ok(None),
        }
    }

    /// What became of requests, and what the store has to keep.
    pub(super) fn drain(&mut self, scene: &mut Scene) {
        loop {
            // The store first: by the end of a request its name is forgotten.
            while let Some(change) = self.process.engine.poll_change() {
                match change {
                    Change::Put(key, record) => {
                        let id = u16::try_from(key).ok().and_then(PacketId::new);
                        let pending = self.application.pending.iter();
                        let named = pending.rev().find(|pending| id.is_some() && pending.id == id);
                        let message = named.and_then(|pending| match pending.request {
                            Request::Publish(number) => Some(number),
                            _ => None,
                        });
                        self.store.put(key, record.to_vec(), message);
                    }
                    Change::Remove(key) => self.store.remove(key),
                }
            }
            let Some((ticket, outcome)) = self.process.engine.poll_completion() else {
                return;
            };
            let Some(at) = self.application.find(ticket) else {
                scene.oracle.broken(scene.now, "a request ends once", || format!("{ticket:?}: {outcome:?}"));
                return;
            };
            match self.application.pending.remove(at).request {
                Request::Publish(number) => {
                    scene.note(|| format!("{}: message {number}: {outcome:?}", client_name(self.number)));
                    scene.oracle.ended(scene.now, number, outcome);
                    if self.is_orphan(scene) {
                        scene.oracle.undone(number);
                    }
                }
                change => self.change_ended(change, outcome, scene),
            }
        }
    }

    fn change_ended(&mut self, change: Request, outcome: Outcome, scene: &mut Scene) {
        match outcome {
            Outcome::Answered(code) if !code.is_error() => {}
            Outcome::Answered(_) if scene.oracle.refuses(self.number, change.filter()) => {}
            // It had no memory for it; perhaps it has the next time.
            Outcome::Answered(_) if scene.oracle.was_exhausted => self.application.changes.push_back(change),
            // Nobody knows whether it was done: it is asked again.
            Outcome::Lost(_) => self.application.changes.push_back(change),
            _ => scene.oracle.broken(scene.now, "a request is refused for a reason", || {
                format!("{change:?}: {outcome:?}")
            }),
        }
    }

    pub(super) fn request(&self, ticket: Ticket) -> Option<Request> {
        self.application.find(ticket).map(|at| self.application.pending[at].request)
    }

    /// The engine reported something.
    pub(super) fn see(&mut self, seen: Seen, scene: &mut Scene) {
        match seen {
            Seen::Connected { session_present } => self.connected(session_present, scene),
            Seen::Message { head, payload, receipt } => self.take(head, payload, receipt, scene),
            Seen::Start(head) => {
                scene.oracle.figures.streamed += 1;
                self.application.partial = Some((head, Vec::new()));
            }
            Seen::Chunk { bytes, last, receipt } => {
                let Some((head, mut payload)) = self.application.partial.take() else {
                    scene.oracle.broken(scene.now, "a chunk has a front", || client_name(self.number).into());
                    return;
                };
                payload.extend(bytes);
                if last {
                    self.take(head, payload, receipt, scene);
                } else {
                    self.application.partial = Some((head, payload));
                }
            }
            Seen::Granted(ticket, codes) => {
                if let (Some(Request::Subscribe(filter)), [code]) = (self.request(ticket), &codes[..])
                    && let Some(qos) = QoS::from_bits(code.0)
                {
                    if scene.oracle.refuses(self.number, FILTERS[filter]) {
                        self.complain("who has no right does not subscribe", *code, scene);
                    }
                    if self.is_orphan(scene) {
                        return;
                    }
                    scene.oracle.sessions.granted(scene.now, self.number, FILTERS[filter], qos);
                }
            }
            Seen::Unsubscribed(ticket) => {
                if let Some(Request::Unsubscribe(filter)) =
                    self.request(ticket).filter(|_| !self.is_orphan(scene))
                {
                    scene.oracle.sessions.unsubscribed(scene.now, self.number, FILTERS[filter]);
                }
            }
            Seen::Refused(ReasonCode::QUOTA_EXCEEDED | ReasonCode::SERVER_UNAVAILABLE)
                if scene.oracle.was_exhausted => {}
            Seen::Refused(code) => self.complain("a client is not refused", code, scene),
            Seen::Left(code) => {
                let is_right = matches!(
                    code,
                    ReasonCode::SESSION_TAKEN_OVER
                        | ReasonCode::KEEP_ALIVE_TIMEOUT
                        | ReasonCode::SERVER_SHUTTING_DOWN
                );
                if !is_right {
                    self.complain("a client keeps to the protocol", code, scene);
                }
            }
            Seen::Nothing => {}
        }
    }

    fn complain(&self, promise: &'static str, code: ReasonCode, scene: &mut Scene) {
        scene.oracle.broken(scene.now, promise, || format!("{}: {code:?}", client_name(self.number)));
    }

    /// Whether the broker that its connection leads to has crashed and forgotten what it said there.
    fn is_orphan(&self, scene: &Scene) -> bool {
        self.connection().is_some_and(|index| scene.connections[index].is_orphan)
    }

    fn connected(&mut self, session_present: bool, scene: &mut Scene) {
        self.has_nothing = false;
        scene.oracle.figures.resumed += u64::from(session_present);
        if let Some(complaint) = scene.oracle.sessions.connected(scene.now, self.number, session_present) {
            scene.oracle.broken(scene.now, "session present [MQTT-3.2.2-2]", || {
                format!("{}: {complaint}", client_name(self.number))
            });
        }
        if self.is_orphan(scene) {
            scene.oracle.sessions.is_void(self.number);
        }
        if !session_present {
            let application = &mut self.application;
            application.changes.retain(|change| matches!(change, Request::Unsubscribe(_)));
            application.changes.extend(application.wishes.keys().map(|filter| Request::Subscribe(*filter)));
        }
    }

    /// A message has come, whole.
    fn take(&mut self, head: Head, payload: Vec<u8>, receipt: Option<Receipt>, scene: &mut Scene) {
        let Head { topic, qos, retain, id } = head;
        let delivered = Delivered { at: scene.now, client: self.number, topic, qos, retain, payload };
        scene.oracle.came(&delivered);
        match receipt {
            None => self.count(delivered, id, scene),
            Some(receipt) => {
                self.application.unaccepted.push((receipt, delivered));
                let delay = scene.rng.delay(500);
                scene.after(delay, Happens::Accept(self.number));
            }
        }
    }

    /// The application accepts one of the messages that it has, not always the first.
    pub fn accept(&mut self, scene: &mut Scene) {
        let waiting = self.application.unaccepted.len() as u64;
        if self.is_down || waiting == 0 {
            return;
        }
        let at = scene.rng.below(waiting) as usize;
        let (receipt, delivered) = self.application.unaccepted.remove(at);
        // Of an earlier connection: it comes again.
        if self.process.engine.accept(receipt, ReasonCode::SUCCESS).is_ok() {
            self.count(delivered, receipt.packet_id(), scene);
        }
        self.turn(scene);
    }
}

fn topic_filter(filter: usize) -> TopicFilter<'static> {
    TopicFilter::new(FILTERS[filter]).expect("it is a filter")
}
