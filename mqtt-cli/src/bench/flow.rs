//! Who publishes, who subscribes, who answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use bytes::BytesMut;
use mqtt_client_async::{QoS, TopicName, Version};
use mqtt_packet::{Ack, AckKind, Delivery, Frame, PacketId, PacketType, Publish};

use super::link::Role;
use super::record::{Nanos, Recorder};

/// What stands at the front of each payload: the number of the message and when it was sent.
pub(super) const STAMP: usize = 16;

/// A message that is encoded once and then only changed.
#[derive(Clone)]
pub(super) struct Template {
    bytes: BytesMut,
    payload_at: usize,
    id_at: usize,
    next_id: u16,
    qos: QoS,
}

impl Template {
    pub(super) fn new(topic: &str, qos: QoS, size: usize, version: Version) -> Result<Self, String> {
        let payload = vec![b'x'; size.max(STAMP)];
        let mut publish = Publish::new(TopicName::new(topic).map_err(|fault| fault.to_string())?, &payload);
        publish.delivery = Delivery::new(qos, PacketId::new(1)).ok_or("no such QoS")?;
        let mut bytes = BytesMut::new();
        publish.encode(version, &mut bytes).map_err(|fault| fault.to_string())?;
        let payload_at = bytes.len() - payload.len();
        // In 5.0 the length of the properties, which are none, stands between.
        let id_at = payload_at - 2 - usize::from(version == Version::V5);
        Ok(Self { bytes, payload_at, id_at, next_id: 0, qos })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the message with this stamp; returns its Packet Identifier.
    fn push(&mut self, stamp: [u8; STAMP], out: &mut BytesMut) -> u16 {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(room) = out.get_mut(start + self.payload_at..start + self.payload_at + STAMP) {
            room.copy_from_slice(&stamp);
        }
        if self.qos != QoS::AtMostOnce {
            self.next_id = if self.next_id == u16::MAX { 1 } else { self.next_id + 1 };
            if let Some(room) = out.get_mut(start + self.id_at..start + self.id_at + 2) {
                room.copy_from_slice(&self.next_id.to_be_bytes());
            }
        }
        self.next_id
    }
}

fn stamp(number: u64, at: Nanos) -> [u8; STAMP] {
    let mut stamp = [0; STAMP];
    let (front, back) = stamp.split_at_mut(8);
    front.copy_from_slice(&number.to_le_bytes());
    back.copy_from_slice(&at.to_le_bytes());
    stamp
}

fn stamped(payload: &[u8]) -> Option<[u8; STAMP]> {
    payload.get(..STAMP)?.try_into().ok()
}

fn sent_at(stamp: &[u8; STAMP]) -> Nanos {
    let [.., a, b, c, d, e, f, g, h] = *stamp;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// What a publisher and its subscribers know of each other. All of them live on one thread.
#[derive(Default)]
pub(super) struct Pair {
    sent: Cell<u64>,
    delivered: Cell<u64>,
    publisher: RefCell<Option<Waker>>,
}

impl Pair {
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.sent.get(), self.delivered.get())
    }

    fn deliver(&self, count: u64) {
        self.delivered.set(self.delivered.get() + count);
    }

    fn wake(&self) {
        if let Some(waker) = self.publisher.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// How a publisher goes about it.
#[derive(Clone)]
pub(super) struct Pace {
    /// How many messages may be on their way.
    pub(super) window: u64,
    /// Time between messages, where they come at a rate whatever the server does.
    pub(super) interval: Option<Nanos>,
    pub(super) stop_at: Nanos,
    pub(super) quota: u64,
    /// How many receive each message; at 0 only acknowledgements count.
    pub(super) receivers: u64,
    pub(super) version: Version,
}

/// Publishes; in a round trip it also receives the answers.
pub(super) struct Publisher {
    template: Template,
    pace: Pace,
    pair: Rc<Pair>,
    acknowledged: u64,
    /// When the next message is due, at a rate.
    due: Nanos,
    /// When each Packet Identifier was sent, where the acknowledgement is what is measured.
    sent_at: Vec<Nanos>,
    recorder: Rc<RefCell<Recorder>>,
    stopped: bool,
}

impl Publisher {
    pub(super) fn new(
        template: Template,
        pace: Pace,
        pair: Rc<Pair>,
        recorder: Rc<RefCell<Recorder>>,
    ) -> Self {
        let measures_acknowledgements = pace.receivers == 0 && template.qos != QoS::AtMostOnce;
        let sent_at = if measures_acknowledgements { vec![0; 1 << 16] } else { Vec::new() };
        // Not all at the same moment.
        let due = pace.interval.map_or(0, |interval| fastrand::u64(0..interval.max(1)));
        Self { template, pace, pair, acknowledged: 0, due, sent_at, recorder, stopped: false }
    }

    /// Of how many messages everything has come back.
    fn finished(&self) -> u64 {
        let delivered = match self.pace.receivers {
            0 => u64::MAX,
            receivers => self.pair.delivered.get() / receivers,
        };
        let acknowledged = if self.template.qos == QoS::AtMostOnce { u64::MAX } else { self.acknowledged };
        delivered.min(acknowledged).min(self.pair.sent.get())
    }

    fn acknowledge(&mut self, id: u16, now: Nanos) {
        self.acknowledged += 1;
        if let Some(&sent) = self.sent_at.get(usize::from(id)) {
            self.recorder.borrow_mut().received(sent, now);
        }
    }
}

impl Role for Publisher {
    fn frame(&mut self, frame: Frame<'_>, now: Nanos, out: &mut BytesMut) -> Result<(), String> {
        match frame.packet_type() {
            PacketType::PubAck | PacketType::PubRec | PacketType::PubComp => {
                let ack = Ack::decode(frame, self.pace.version).map_err(|fault| fault.to_string())?;
                if ack.reason_code.is_error() {
                    return Err(format!("the server refused a message: {}", ack.reason_code));
                }
                match ack.kind {
                    AckKind::PubRec => answer(AckKind::PubRel, ack.id, self.pace.version, out)?,
                    _ => self.acknowledge(ack.id.get(), now),
                }
                Ok(())
            }
            PacketType::Publish | PacketType::PubRel => {
                // The answers of a round trip.
                receive(frame, self.pace.version, now, out, &self.recorder)
                    .map(|count| self.pair.deliver(count))
            }
            _ => Ok(()),
        }
    }

    fn fill(&mut self, now: Nanos, room: usize, out: &mut BytesMut) -> Option<Nanos> {
        let limit = out.len() + room;
        let first = self.pair.sent.get();
        let mut sent = first;
        let window_end = self.finished().saturating_add(self.pace.window);
        self.stopped |= now >= self.pace.stop_at;
        while sent < self.pace.quota && !self.stopped && out.len() + self.template.len() <= limit {
            let at = match self.pace.interval {
                // The time at which it should have been sent, whatever kept it.
                Some(interval) if self.due <= now => {
                    let due = self.due;
                    self.due += interval;
                    due
                }
                Some(_) => break,
                None if sent < window_end => now,
                None => break,
            };
            let id = self.template.push(stamp(sent, at), out);
            if let Some(room) = self.sent_at.get_mut(usize::from(id)) {
                *room = at;
            }
            sent += 1;
        }
        if sent > first {
            self.pair.sent.set(sent);
            self.recorder.borrow_mut().sent(now, sent - first);
        }
        let is_over = self.stopped || sent >= self.pace.quota;
        self.pace.interval.filter(|_| !is_over).map(|_| self.due)
    }

    fn after_read(&mut self, now: Nanos) {
        self.recorder.borrow_mut().roll(now);
    }

    fn park(&mut self, waker: &Waker) {
        *self.pair.publisher.borrow_mut() = Some(waker.clone());
    }

    fn is_done(&self) -> bool {
        let sent = self.pair.sent.get();
        (self.stopped || sent >= self.pace.quota) && self.finished() >= sent
    }
}

/// Receives.
pub(super) struct Subscriber {
    pub(super) pair: Rc<Pair>,
    pub(super) recorder: Rc<RefCell<Recorder>>,
    pub(super) version: Version,
}

impl Role for Subscriber {
    fn frame(&mut self, frame: Frame<'_>, now: Nanos, out: &mut BytesMut) -> Result<(), String> {
        let count = receive(frame, self.version, now, out, &self.recorder)?;
        self.pair.deliver(count);
        Ok(())
    }

    fn after_read(&mut self, now: Nanos) {
        self.recorder.borrow_mut().roll(now);
        self.pair.wake();
    }

    fn fill(&mut self, _: Nanos, _: usize, _: &mut BytesMut) -> Option<Nanos> {
        None
    }

    fn is_done(&self) -> bool {
        false
    }
}

/// Answers each request with its own payload.
pub(super) struct Responder {
    pub(super) template: Template,
    pub(super) recorder: Rc<RefCell<Recorder>>,
    pub(super) version: Version,
}

impl Role for Responder {
    fn frame(&mut self, frame: Frame<'_>, now: Nanos, out: &mut BytesMut) -> Result<(), String> {
        let Self { template, recorder, version } = self;
        match frame.packet_type() {
            PacketType::Publish => {
                let publish = Publish::decode(frame, *version).map_err(|fault| fault.to_string())?;
                acknowledge(&publish, *version, out)?;
                if let Some(stamp) = stamped(publish.payload) {
                    template.push(stamp, out);
                }
                Ok(())
            }
            PacketType::PubRec => {
                let ack = Ack::decode(frame, *version).map_err(|fault| fault.to_string())?;
                answer(AckKind::PubRel, ack.id, *version, out)
            }
            _ => receive(frame, *version, now, out, recorder).map(drop),
        }
    }

    fn fill(&mut self, _: Nanos, _: usize, _: &mut BytesMut) -> Option<Nanos> {
        None
    }

    fn is_done(&self) -> bool {
        false
    }
}

/// Deals with what a receiver gets; returns how many messages it was.
fn receive(
    frame: Frame<'_>,
    version: Version,
    now: Nanos,
    out: &mut BytesMut,
    recorder: &RefCell<Recorder>,
) -> Result<u64, String> {
    match frame.packet_type() {
        PacketType::Publish => {
            let publish = Publish::decode(frame, version).map_err(|fault| fault.to_string())?;
            acknowledge(&publish, version, out)?;
            if let Some(stamp) = stamped(publish.payload) {
                recorder.borrow_mut().received(sent_at(&stamp), now);
            }
            Ok(1)
        }
        PacketType::PubRel => {
            let ack = Ack::decode(frame, version).map_err(|fault| fault.to_string())?;
            answer(AckKind::PubComp, ack.id, version, out).map(|()| 0)
        }
        PacketType::Disconnect => Err("the server ended the connection".to_owned()),
        _ => Ok(0),
    }
}

fn acknowledge(publish: &Publish<'_>, version: Version, out: &mut BytesMut) -> Result<(), String> {
    match (publish.delivery.qos(), publish.delivery.id()) {
        (QoS::AtLeastOnce, Some(id)) => answer(AckKind::PubAck, id, version, out),
        (QoS::ExactlyOnce, Some(id)) => answer(AckKind::PubRec, id, version, out),
        _ => Ok(()),
    }
}

fn answer(kind: AckKind, id: PacketId, version: Version, out: &mut BytesMut) -> Result<(), String> {
    Ack::new(kind, id).encode(version, out).map_err(|fault| fault.to_string())
}
