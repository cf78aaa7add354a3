//! A server that keeps the promises of the protocol as long as it has its session, and notes what it sees.

use mqtt_client::mqtt_packet::{Ack, AckKind, ConnAck, Frame, Packet, SliceSink, SubAck, UnsubAck};
use mqtt_client::{Delivery, PacketId, Publish, QoS, ReasonCode, Version};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A message to the client that it has not acknowledged whole.
#[derive(Clone, Copy)]
struct Outgoing {
    id: PacketId,
    number: u32,
    qos: QoS,
    released: bool,
    sent: bool,
}

#[derive(Default)]
struct Session {
    /// Identifiers of received messages of QoS 2 that are not released.
    unreleased: Vec<u16>,
    outgoing: VecDeque<Outgoing>,
    last_id: u16,
}

pub struct Server {
    version: Version,
    session: Option<Session>,
    /// Bytes of the client that were not read yet.
    pub incoming: Vec<u8>,
    /// Packets for the client that were not sent yet.
    pub outbox: VecDeque<Vec<u8>>,
    /// The numbers of the messages that were taken over, in their order, and how often each came.
    pub taken: Vec<(u32, QoS)>,
    seen: BTreeMap<u32, PacketId>,
    /// Numbers of messages that came in a session that the server has lost: they may come twice.
    pub forgotten: BTreeSet<u32>,
    next_number: u32,
    /// Whether the next CONNECT finds no session.
    pub forgets: bool,
    receive_maximum: usize,
    /// Whether acknowledgements are sent that nobody asked for: then the client cannot be held to anything.
    pub hostile: bool,
    /// Whether the session ends with the connection.
    session_ends: bool,
}

impl Server {
    pub fn new(version: Version, receive_maximum: usize) -> Self {
        Self {
            version,
            session: None,
            incoming: Vec::new(),
            outbox: VecDeque::new(),
            taken: Vec::new(),
            seen: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            next_number: 0,
            forgets: false,
            receive_maximum,
            hostile: false,
            session_ends: false,
        }
    }

    fn send(&mut self, packet: &Packet<'_>) {
        let mut buffer = [0; 128];
        let mut out = SliceSink::new(&mut buffer);
        packet.encode(self.version, &mut out).unwrap();
        self.outbox.push_back(out.written().to_vec());
    }

    /// The connection is gone, and everything in it.
    pub fn cut(&mut self) {
        if std::mem::take(&mut self.session_ends) {
            self.session = None;
        }
        self.incoming.clear();
        self.outbox.clear();
    }

    /// Reads the whole packets among the bytes that came.
    pub fn read(&mut self) {
        let bytes = std::mem::take(&mut self.incoming);
        let mut rest = &bytes[..];
        while let Some((frame, behind)) = Frame::split(rest).unwrap() {
            let packet = Packet::decode(frame, self.version).expect("a client sends valid packets");
            self.packet(&packet);
            rest = behind;
        }
        self.incoming = rest.to_vec();
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(connect) => self.connect(connect.clean_start),
            Packet::Publish(publish) => self.publish(publish),
            Packet::Ack(ack) => self.ack(*ack),
            Packet::Subscribe(subscribe) => {
                let codes: Vec<u8> = subscribe.filters.iter().map(|_| 0).collect();
                self.send(&Packet::SubAck(SubAck::new(subscribe.id, &codes)));
            }
            Packet::Unsubscribe(unsubscribe) => {
                let codes: Vec<u8> = unsubscribe.filters.iter().map(|_| 0).collect();
                self.send(&Packet::UnsubAck(UnsubAck::new(unsubscribe.id, &codes)));
            }
            Packet::PingReq(_) => self.outbox.push_back(vec![0xD0, 0]),
            Packet::Disconnect(_) => {}
            other => panic!("{other}"),
        }
    }

    fn connect(&mut self, clean_start: bool) {
        if std::mem::take(&mut self.forgets) || clean_start {
            // If the client does not hear of it, it repeats what nobody recognises any more.
            self.forgotten.extend(self.seen.keys());
            self.session = None;
        }
        self.session_ends = clean_start && self.version != Version::V5;
        let present = self.session.is_some();
        self.send(&Packet::ConnAck(ConnAck::new(present, ReasonCode::SUCCESS)));
        let session = self.session.get_or_insert_default();
        for message in &mut session.outgoing {
            message.sent = false;
        }
        for message in session.outgoing.clone() {
            self.deliver(message, true);
        }
    }

    fn publish(&mut self, publish: &Publish<'_>) {
        let number = u32::from_be_bytes(publish.payload.try_into().unwrap());
        let qos = publish.delivery.qos();
        let Some(id) = publish.delivery.id() else {
            self.taken.push((number, qos));
            return;
        };
        let session = self.session.as_mut().expect("a session");
        // A message that came before comes with DUP, and under the identifier that it had.
        if let Some(before) = self.seen.insert(number, id) {
            assert!(self.hostile || before == id, "message {number} changed its identifier");
            assert!(self.hostile || publish.delivery.dup(), "message {number} is repeated without DUP");
        }
        if qos == QoS::AtLeastOnce {
            self.taken.push((number, qos));
            return self.send(&Packet::Ack(Ack::new(AckKind::PubAck, id)));
        }
        if session.unreleased.contains(&id.get()) {
            assert!(self.hostile || publish.delivery.dup(), "identifier {id} is used twice");
        } else {
            session.unreleased.push(id.get());
            self.taken.push((number, qos));
        }
        self.send(&Packet::Ack(Ack::new(AckKind::PubRec, id)));
    }

    fn ack(&mut self, ack: Ack<'_>) {
        let session = self.session.as_mut().expect("a session");
        if ack.kind == AckKind::PubRel {
            session.unreleased.retain(|id| *id != ack.id.get());
            return self.send(&Packet::Ack(Ack::new(AckKind::PubComp, ack.id)));
        }
        let Some(at) = session.outgoing.iter().position(|message| message.id == ack.id) else {
            return;
        };
        assert!(self.hostile || session.outgoing[at].sent, "an acknowledgement of what was not sent");
        match (ack.kind, session.outgoing[at].qos) {
            (AckKind::PubAck, QoS::AtLeastOnce) | (AckKind::PubComp, QoS::ExactlyOnce) => {
                session.outgoing.remove(at);
            }
            (AckKind::PubRec, QoS::ExactlyOnce) => {
                session.outgoing[at].released = true;
                self.send(&Packet::Ack(Ack::new(AckKind::PubRel, ack.id)));
            }
            _ if self.hostile => {}
            other => panic!("{other:?}"),
        }
    }

    /// Has a message for the client; returns its number if it may be sent.
    pub fn offer(&mut self, qos: QoS) -> Option<u32> {
        let maximum = self.receive_maximum;
        let session = self.session.as_mut()?;
        if session.outgoing.len() >= maximum {
            return None;
        }
        session.last_id = session.last_id % 9 + 1;
        while session.outgoing.iter().any(|message| message.id.get() == session.last_id) {
            session.last_id = session.last_id % 9 + 1;
        }
        let id = PacketId::new(session.last_id).unwrap();
        self.next_number += 1;
        let message = Outgoing { id, number: self.next_number, qos, released: false, sent: false };
        if qos != QoS::AtMostOnce {
            session.outgoing.push_back(message);
        }
        self.deliver(message, false);
        Some(message.number)
    }

    fn deliver(&mut self, message: Outgoing, dup: bool) {
        let sent = |other: &mut Outgoing| other.sent |= other.id == message.id;
        self.session.as_mut().unwrap().outgoing.iter_mut().for_each(sent);
        if message.released {
            return self.send(&Packet::Ack(Ack::new(AckKind::PubRel, message.id)));
        }
        let delivery = match message.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id: message.id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id: message.id, dup },
        };
        let payload = message.number.to_be_bytes();
        let publish = Publish { delivery, ..Publish::new("t".try_into().unwrap(), &payload) };
        self.send(&Packet::Publish(publish));
    }

    /// Whether nothing is under way in either direction.
    pub fn is_quiet(&self) -> bool {
        self.outbox.is_empty()
            && self.incoming.is_empty()
            && self.session.as_ref().is_none_or(|session| session.outgoing.is_empty())
    }
}
