//! How changes look on the disk: a kind, a key and a value for each, integers of keys in big-endian order so that the
//! table's order is ours.

use super::step;
use crate::core::{
    Change, Client, Content, Message, MessageNumber, SessionNumber, SessionRecord, StoredWill,
    SubscriptionRecord,
};
use fjall::Slice;
use mqtt_packet::{PacketId, QoS, RetainHandling, SubscribeOptions};
use std::sync::Arc;
use thiserror::Error;

/// What a key is about. The names are those of the tables on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Meta,
    Session,
    Group,
    Subscription,
    Message,
    Queue,
    InFlight,
    Received,
    Retained,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Meta,
        Self::Session,
        Self::Group,
        Self::Subscription,
        Self::Message,
        Self::Queue,
        Self::InFlight,
        Self::Received,
        Self::Retained,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Session => "session",
            Self::Group => "group",
            Self::Subscription => "subscription",
            Self::Message => "message",
            Self::Queue => "queue",
            Self::InFlight => "inflight",
            Self::Received => "received",
            Self::Retained => "retained",
        }
    }
}

/// A record that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a record of {} cannot be read", .0.name())]
pub struct Unreadable(pub(super) Kind);

/// Appends the step of the first of these changes to a batch of the log, together with those behind it that are stored
/// with it: a message with its one place in a queue, and that it is in flight. Returns how many that are.
pub(super) fn add_step(changes: &[Change], out: &mut Vec<u8>) -> Option<usize> {
    let (first, rest) = changes.split_first()?;
    if let Change::Message(number, stored) = first
        && number.is_alone()
        && let Some(queued @ Change::Queued { message, .. }) = rest.first()
        && message == number
    {
        let serial = serial_of(queued, rest.get(1));
        add_place(queued, serial, Some(stored), out);
        return Some(if serial.is_some() { 3 } else { 2 });
    }
    if let queued @ Change::Queued { .. } = first {
        let serial = serial_of(queued, rest.first());
        add_place(queued, serial, None, out);
        return Some(if serial.is_some() { 2 } else { 1 });
    }
    add_single(first, out);
    Some(1)
}

/// The count of packet identifiers under which a message is in flight, if the next change says so.
fn serial_of(queued: &Change, next: Option<&Change>) -> Option<u64> {
    match (queued, next?) {
        (
            Change::Queued { session, sequence, .. },
            Change::InFlight { session: same, sequence: place, serial, received: None },
        ) if session == same && sequence == place => Some(*serial),
        _ => None,
    }
}

/// A place in a queue. Behind the message's number: the QoS, and which of these follow: the count of packet identifiers,
/// the identifiers of subscriptions, the message.
fn add_place(queued: &Change, serial: Option<u64>, with: Option<&Message>, out: &mut Vec<u8>) {
    let Change::Queued { session, sequence, message: number, qos, retain, subscription_ids } = queued else {
        return;
    };
    step::put_place(out, *session, *sequence, |out| {
        let mut value = Writer(out);
        value.0.extend(number.0.to_be_bytes());
        let bits = u8::from(*retain) << 2 | u8::from(with.is_some()) << 3 | u8::from(serial.is_some()) << 4;
        value.0.push(*qos as u8 | bits);
        if let Some(serial) = serial {
            value.int(serial);
        }
        if with.is_some() {
            value.int(subscription_ids.len() as u64);
        }
        for id in subscription_ids {
            value.int(u64::from(*id));
        }
        if let Some(with) = with {
            value.message(with);
        }
    });
}

fn add_single(change: &Change, out: &mut Vec<u8>) {
    match change {
        Change::Session(number, record) => {
            step::put(out, Kind::Session, &[&bytes(number.0)], |out| Writer(out).session(record));
        }
        Change::SessionGone(number) | Change::GroupGone(number) => step::forget(out, *number),
        Change::Group(number, name) => {
            step::put(out, Kind::Group, &[&bytes(number.0)], |out| out.extend(name.as_bytes()));
        }
        Change::Subscription(number, filter, record) => {
            let key = [&bytes(number.0)[..], filter.as_bytes()];
            step::put(out, Kind::Subscription, &key, |out| Writer(out).subscription(*record));
        }
        Change::SubscriptionGone(number, filter) => {
            step::remove(out, Kind::Subscription, &[&bytes(number.0), filter.as_bytes()]);
        }
        Change::Message(number, stored) => {
            step::put(out, Kind::Message, &[&bytes(number.0)], |out| Writer(out).message(stored));
        }
        // It went with its place.
        Change::MessageGone(number) if number.is_alone() => {}
        Change::MessageGone(number) => step::remove(out, Kind::Message, &[&bytes(number.0)]),
        // These have a way of their own.
        Change::Queued { .. } => {}
        Change::QueuedGone(session, sequence) => step::remove_place(out, *session, *sequence),
        Change::InFlight { session, sequence, serial, received } => {
            step::put(out, Kind::InFlight, &[&bytes(session.0), &bytes(*serial)], |out| {
                let mut value = Writer(out);
                value.int(*sequence);
                // Counted from 1, so 0 is free.
                value.int(received.unwrap_or(0));
            });
        }
        Change::InFlightGone(session, serial) => {
            step::remove(out, Kind::InFlight, &[&bytes(session.0), &bytes(*serial)]);
        }
        Change::Received(session, id) => {
            step::put(out, Kind::Received, &[&bytes(session.0), &id.get().to_be_bytes()], |_| {});
        }
        Change::ReceivedGone(session, id) => {
            step::remove(out, Kind::Received, &[&bytes(session.0), &id.get().to_be_bytes()]);
        }
        Change::Retained(stored) => {
            step::put(out, Kind::Retained, &[stored.topic()], |out| Writer(out).message(stored));
        }
        Change::RetainedGone(topic) => step::remove(out, Kind::Retained, &[topic.as_bytes()]),
    }
}

/// The changes that made a record: of a queue up to three, the message first and what is in flight last.
pub(super) fn changes(kind: Kind, key: &[u8], value: &[u8]) -> Result<Vec<Change>, Unreadable> {
    if kind == Kind::Queue {
        let (queued, message, in_flight) = place_of(key, value)?;
        return Ok(message.into_iter().chain([queued]).chain(in_flight).collect());
    }
    Ok(vec![change(kind, key, value)?])
}

/// A place in a queue, with the message if it is stored there, and that it is in flight if that is said there.
pub(super) fn place_of(
    key: &[u8],
    value: &[u8],
) -> Result<(Change, Option<Change>, Option<Change>), Unreadable> {
    read_place(&mut Reader(key), &mut Reader(value)).ok_or(Unreadable(Kind::Queue))
}

/// Of a place in a queue without the rest: whose it is, where in the order, which message, and whether it says that the
/// message is in flight.
pub(super) fn peek(
    key: &[u8],
    value: &[u8],
) -> Result<(SessionNumber, u64, MessageNumber, bool), Unreadable> {
    let read = || {
        let (mut key, mut value) = (Reader(key), Reader(value));
        let (session, sequence) = (SessionNumber(key.fixed()?), key.fixed()?);
        Some((session, sequence, MessageNumber(value.fixed()?), value.byte()? & 0x10 != 0))
    };
    read().ok_or(Unreadable(Kind::Queue))
}

/// How large a message is in memory.
pub(super) fn size(change: &Change) -> usize {
    match change {
        Change::Message(_, message) => message.size(),
        _ => 0,
    }
}

/// The change that made a record that is not of a queue.
pub(super) fn change(kind: Kind, key: &[u8], value: &[u8]) -> Result<Change, Unreadable> {
    let mut key = Reader(key);
    let mut value = Reader(value);
    let read = match kind {
        Kind::Meta | Kind::Queue => None,
        Kind::Session => read_session(&mut key, &mut value),
        Kind::Group => read_group(&mut key, &mut value),
        Kind::Subscription => read_subscription(&mut key, &mut value),
        Kind::Message => key.fixed().and_then(|number| {
            Some(Change::Message(MessageNumber(number), Arc::new(read_message(&mut value)?)))
        }),
        Kind::InFlight => read_in_flight(&mut key, &mut value),
        Kind::Received => read_received(&mut key),
        Kind::Retained => {
            let topic = key.rest();
            read_message(&mut value)
                .filter(|message| message.topic() == topic)
                .map(|message| Change::Retained(Arc::new(message)))
        }
    };
    read.filter(|_| key.0.is_empty() && value.0.is_empty()).ok_or(Unreadable(kind))
}

pub(super) fn key(number: SessionNumber) -> Slice {
    number.0.to_be_bytes().into()
}

pub(super) fn pair(session: SessionNumber, count: u64) -> Slice {
    let mut key = [0; 16];
    let (first, second) = key.split_at_mut(8);
    first.copy_from_slice(&session.0.to_be_bytes());
    second.copy_from_slice(&count.to_be_bytes());
    key.into()
}

fn bytes(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn read_session(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Option<Change> {
    let number = SessionNumber(key.fixed()?);
    let client = Arc::new(value.client()?);
    let expiry = value.int32()?;
    let away_since = value.option()?;
    let mut will = None;
    if !value.0.is_empty() {
        let expiry = match value.option()? {
            Some(seconds) => Some(u32::try_from(seconds).ok()?),
            None => None,
        };
        let delay = value.int32()?;
        will = Some(StoredWill { message: Arc::new(read_message(value)?), expiry, delay });
    }
    Some(Change::Session(number, SessionRecord { client, expiry, away_since, will }))
}

fn read_group(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Option<Change> {
    let number = SessionNumber(key.fixed()?);
    Some(Change::Group(number, std::str::from_utf8(value.rest()).ok()?.into()))
}

fn read_subscription(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Option<Change> {
    let number = SessionNumber(key.fixed()?);
    let filter = std::str::from_utf8(key.rest()).ok()?.into();
    let bits = value.byte()?;
    let options = SubscribeOptions {
        qos: qos(bits & 3)?,
        no_local: bits & 4 != 0,
        retain_as_published: bits & 8 != 0,
        retain_handling: match bits >> 4 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        },
    };
    let id = value.int32()?;
    Some(Change::Subscription(number, filter, SubscriptionRecord { options, id }))
}

fn read_message(value: &mut Reader<'_>) -> Option<Message> {
    let bits = value.byte()?;
    let expires = value.option()?;
    let publisher = Arc::new(value.client()?);
    let topic = value.bytes()?;
    let properties = value.bytes()?;
    let payload = value.rest();
    Some(Message {
        content: Content::new(topic, properties, payload),
        qos: qos(bits & 3)?,
        retain: match bits >> 2 {
            0 => false,
            1 => true,
            _ => return None,
        },
        expires,
        publisher,
    })
}

fn read_place(
    key: &mut Reader<'_>,
    value: &mut Reader<'_>,
) -> Option<(Change, Option<Change>, Option<Change>)> {
    let session = SessionNumber(key.fixed()?);
    let sequence = key.fixed()?;
    let number = MessageNumber(value.fixed()?);
    let bits = value.byte()?;
    let in_flight = match bits & 0x10 {
        0 => None,
        _ => Some(Change::InFlight { session, sequence, serial: value.int()?, received: None }),
    };
    let mut ids = Vec::new();
    let message = if bits & 8 == 0 {
        while !value.0.is_empty() {
            ids.push(value.int32()?);
        }
        None
    } else {
        for _ in 0..value.int()? {
            ids.push(value.int32()?);
        }
        Some(Change::Message(number, Arc::new(read_message(value)?)))
    };
    let queued = Change::Queued {
        session,
        sequence,
        message: number,
        qos: qos(bits & 3)?,
        retain: bits & 4 != 0,
        subscription_ids: ids.into(),
    };
    (key.0.is_empty() && value.0.is_empty() && bits < 0x20).then_some((queued, message, in_flight))
}

fn read_in_flight(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Option<Change> {
    let session = SessionNumber(key.fixed()?);
    let serial = key.fixed()?;
    let sequence = value.int()?;
    let received = Some(value.int()?).filter(|&order| order > 0);
    Some(Change::InFlight { session, sequence, serial, received })
}

fn read_received(key: &mut Reader<'_>) -> Option<Change> {
    let session = SessionNumber(key.fixed()?);
    let (id, rest) = key.0.split_first_chunk::<2>()?;
    key.0 = rest;
    Some(Change::Received(session, PacketId::new(u16::from_be_bytes(*id))?))
}

fn qos(bits: u8) -> Option<QoS> {
    match bits {
        0 => Some(QoS::AtMostOnce),
        1 => Some(QoS::AtLeastOnce),
        2 => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    /// Seven bits a byte, the lowest first.
    fn int(&mut self, value: u64) {
        step::add_int(self.0, value);
    }

    /// 0 for nothing.
    fn option(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.int(value.saturating_add(1)),
            None => self.int(0),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.int(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn session(&mut self, record: &SessionRecord) {
        self.client(&record.client);
        self.int(u64::from(record.expiry));
        self.option(record.away_since);
        if let Some(will) = &record.will {
            self.option(will.expiry.map(u64::from));
            self.int(u64::from(will.delay));
            self.message(&will.message);
        }
    }

    fn subscription(&mut self, record: SubscriptionRecord) {
        let options = record.options;
        let handling = match options.retain_handling {
            RetainHandling::SendAtSubscribe => 0,
            RetainHandling::SendIfNew => 1,
            RetainHandling::DoNotSend => 2,
        };
        // As in SUBSCRIBE (5.0 section 3.8.3.1).
        let bits = options.qos as u8
            | u8::from(options.no_local) << 2
            | u8::from(options.retain_as_published) << 3
            | handling << 4;
        self.0.push(bits);
        self.int(u64::from(record.id));
    }

    fn message(&mut self, message: &Message) {
        self.0.push(message.qos as u8 | u8::from(message.retain) << 2);
        self.option(message.expires);
        self.client(&message.publisher);
        self.bytes(message.topic());
        self.bytes(message.properties());
        self.0.extend_from_slice(message.payload());
    }

    fn client(&mut self, client: &Client) {
        self.bytes(client.client_id.as_bytes());
        match &client.user_name {
            Some(name) => {
                self.option(Some(name.len() as u64));
                self.0.extend_from_slice(name.as_bytes());
            }
            None => self.option(None),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn fixed(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn int(&mut self) -> Option<u64> {
        step::read_int(|| self.byte())
    }

    fn int32(&mut self) -> Option<u32> {
        u32::try_from(self.int()?).ok()
    }

    fn option(&mut self) -> Option<Option<u64>> {
        Some(self.int()?.checked_sub(1))
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.int()?;
        self.take(length)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn client(&mut self) -> Option<Client> {
        let client_id = std::str::from_utf8(self.bytes()?).ok()?.into();
        let user_name = match self.option()? {
            Some(length) => Some(std::str::from_utf8(self.take(length)?).ok()?.into()),
            None => None,
        };
        Some(Client { client_id, user_name, rules: None })
    }
}
