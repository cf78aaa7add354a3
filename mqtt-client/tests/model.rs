//! Random sequences of operations against a model server, with cuts at any byte, resumed and lost sessions, and a server
//! that acknowledges whatever it likes.
//!
//! Every sequence checks: no identifier is used twice and none is leaked; a message of QoS 1 that was acknowledged
//! arrived, one of QoS 2 exactly once; messages arrive in their order; every ticket ends exactly once; the client
//! delivers what the server sent with the same guarantees. The long form, a million sequences:
//! `PROPTEST_CASES=1000000 cargo test --release -p mqtt-client --test model`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "model/server.rs"]
mod server;

use mqtt_client::*;
use proptest::prelude::*;
use server::Server;
use std::collections::BTreeMap;

const SLOTS: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    Publish(QoS),
    Subscribe,
    Unsubscribe,
    /// The network takes up to so many bytes.
    Transmit(usize),
    ServerReads,
    /// The server sends its next packet, in pieces of so many bytes.
    ServerSends(usize),
    ServerOffers(QoS),
    /// The application accepts a message, the oldest or a later one.
    Accept(usize),
    Cut,
    /// A new connection; the server may have lost the session, and the client may want none.
    Connect {
        lost: bool,
        clean: bool,
    },
    Sleep(u32),
    /// The server breaks the rules: it sends an acknowledgement that nobody asked for.
    Hostile(u8, u16),
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![1 => Just(QoS::AtMostOnce), 1 => Just(QoS::AtLeastOnce), 2 => Just(QoS::ExactlyOnce)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => qos().prop_map(Op::Publish),
        1 => Just(Op::Subscribe),
        1 => Just(Op::Unsubscribe),
        6 => prop_oneof![1..20_usize, Just(1000)].prop_map(Op::Transmit),
        6 => Just(Op::ServerReads),
        8 => (1..30_usize).prop_map(Op::ServerSends),
        4 => qos().prop_map(Op::ServerOffers),
        3 => (0..3_usize).prop_map(Op::Accept),
        1 => Just(Op::Cut),
        2 => (prop::bool::weighted(0.2), prop::bool::weighted(0.1)).prop_map(|(lost, clean)| Op::Connect { lost, clean }),
        1 => (0..20_000_u32).prop_map(Op::Sleep),
    ]
}

fn hostile() -> impl Strategy<Value = Op> {
    prop_oneof![9 => op(), 1 => (4..8_u8, 1..9_u16).prop_map(|(kind, id)| Op::Hostile(kind, id))]
}

struct World {
    engine: Engine<'static>,
    framer: Framer<'static>,
    aliases: Aliases<'static>,
    server: Server,
    now: Instant,
    manual: bool,
    /// Requests that have no outcome: their number, and whether it is a message.
    open: BTreeMap<(Option<u16>, u32), QoS>,
    /// Tickets of QoS 0 have no identifier, so their numbers are kept in order.
    numbers: BTreeMap<u16, u32>,
    zeros: std::collections::VecDeque<u32>,
    next_number: u32,
    acknowledged: Vec<(u32, QoS)>,
    receipts: Vec<(Receipt, u32)>,
    delivered: Vec<u32>,
    accepted: Vec<u32>,
    offered: BTreeMap<u32, QoS>,
}

impl World {
    fn new(version: Version, manual: bool) -> Self {
        let memory = Memory {
            transmit: vec![0; 100].leak(),
            messages: vec![0; 60].leak(),
            send: vec![SendSlot::EMPTY; SLOTS].leak(),
            received: vec![ReceivedSlot::EMPTY; SLOTS].leak(),
            aliases: &mut [],
        };
        let settings = Settings { manual_acknowledgement: manual, ..Settings::new(version) };
        let mut world = Self {
            engine: Engine::new(memory, settings),
            framer: Framer::new(vec![0; 64].leak(), version),
            aliases: Aliases::none(),
            server: Server::new(version, SLOTS),
            now: Instant::from_millis(u32::MAX - 5_000),
            manual,
            open: BTreeMap::new(),
            numbers: BTreeMap::new(),
            zeros: std::collections::VecDeque::new(),
            next_number: 0,
            acknowledged: Vec::new(),
            receipts: Vec::new(),
            delivered: Vec::new(),
            accepted: Vec::new(),
            offered: BTreeMap::new(),
        };
        world.apply(&Op::Connect { lost: false, clean: false });
        world
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Publish(qos) => self.publish(qos),
            Op::Subscribe => {
                let wanted = SubscribeFilter {
                    filter: "t".try_into().unwrap(),
                    options: SubscribeOptions::new(QoS::ExactlyOnce),
                };
                let ticket = self.engine.subscribe(&[wanted], Properties::EMPTY);
                self.opened(ticket, QoS::AtMostOnce);
            }
            Op::Unsubscribe => {
                let ticket = self.engine.unsubscribe(&["t".try_into().unwrap()], Properties::EMPTY);
                self.opened(ticket, QoS::AtMostOnce);
            }
            Op::Transmit(n) => self.transmit(n),
            Op::ServerReads => self.server.read(),
            Op::ServerSends(piece) => self.server_sends(piece),
            Op::ServerOffers(qos) => {
                if self.engine.is_connected() {
                    if let Some(number) = self.server.offer(qos) {
                        self.offered.insert(number, qos);
                    }
                }
            }
            Op::Accept(at) => self.accept(at),
            Op::Cut => self.cut(),
            Op::Connect { lost, clean } => self.connect(lost, clean),
            Op::Sleep(millis) => {
                self.now = self.now.after(Duration::from_millis(millis));
                if self.engine.handle_timeout(self.now).is_err() {
                    self.cut();
                }
            }
            Op::Hostile(kind, id) => {
                self.server.hostile = true;
                let first = kind << 4 | if kind == 6 { 2 } else { 0 };
                let [high, low] = id.to_be_bytes();
                self.receive(&[first, 2, high, low]);
            }
        }
        self.outcomes();
    }

    fn publish(&mut self, qos: QoS) {
        let number = (self.next_number + 1).to_be_bytes();
        let message = Message::new("t".try_into().unwrap(), &number).with_qos(qos);
        let ticket = self.engine.publish(&message);
        self.opened(ticket, qos);
    }

    fn opened(&mut self, ticket: Result<Ticket, RequestError>, qos: QoS) {
        let Ok(ticket) = ticket else {
            return;
        };
        self.next_number += 1;
        match ticket.packet_id() {
            Some(id) => {
                let before = self.numbers.insert(id.get(), self.next_number);
                assert_eq!(before, None, "identifier {id} is in use");
            }
            None => self.zeros.push_back(self.next_number),
        }
        self.open.insert((ticket.packet_id().map(PacketId::get), self.next_number), qos);
    }

    fn outcomes(&mut self) {
        while let Some((ticket, outcome)) = self.engine.poll_completion() {
            let id = ticket.packet_id().map(PacketId::get);
            let number = match id {
                Some(id) => self.numbers.remove(&id).expect("a ticket ends once"),
                None => self.zeros.pop_front().expect("a ticket ends once"),
            };
            let qos = self.open.remove(&(id, number)).expect("a ticket ends once");
            if outcome.is_success() && qos != QoS::AtMostOnce {
                self.acknowledged.push((number, qos));
            }
        }
    }

    fn transmit(&mut self, n: usize) {
        let bytes = self.engine.transmit();
        let n = n.min(bytes.len());
        self.server.incoming.extend_from_slice(&bytes[..n]);
        self.engine.transmitted(self.now, n);
        self.close_if_wanted();
    }

    fn close_if_wanted(&mut self) {
        if self.engine.wants_close() {
            self.cut();
        }
    }

    fn server_sends(&mut self, piece: usize) {
        if self.engine.is_disconnected() || !self.engine.can_receive() {
            return;
        }
        let Some(packet) = self.server.outbox.pop_front() else {
            return;
        };
        for part in packet.chunks(piece) {
            self.receive(part);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.engine.is_disconnected() {
            return;
        }
        self.framer.spare()[..bytes.len()].copy_from_slice(bytes);
        self.framer.filled(bytes.len());
        while self.framer.ready().unwrap() {
            let piece = self.framer.next().unwrap();
            let result = self.engine.handle(self.now, piece, &mut self.aliases);
            match result {
                Ok(Some(Event::Message { publish, receipt })) => {
                    let number = u32::from_be_bytes(publish.payload.try_into().unwrap());
                    self.delivered.push(number);
                    match receipt {
                        Some(receipt) => self.receipts.push((receipt, number)),
                        None => self.accepted.push(number),
                    }
                }
                Ok(_) => {}
                Err(_) => return self.cut(),
            }
        }
        self.close_if_wanted();
    }

    fn accept(&mut self, at: usize) {
        if at < self.receipts.len() {
            let (receipt, number) = self.receipts.remove(at);
            if self.engine.accept(receipt, ReasonCode::SUCCESS).is_ok() {
                self.accepted.push(number);
            }
        }
    }

    fn cut(&mut self) {
        self.server.cut();
        self.framer.reset();
        self.engine.handle_closed();
    }

    fn connect(&mut self, lost: bool, clean: bool) {
        if !self.engine.is_disconnected() {
            self.cut();
        }
        self.outcomes();
        self.server.forgets = lost;
        let options = ConnectOptions::new("model".try_into().unwrap()).with_session(u32::MAX);
        let options = ConnectOptions { clean_start: clean, ..options };
        self.engine.connect(self.now, &options).unwrap();
    }

    /// Everything that is under way arrives, and the promises are checked.
    fn settle(&mut self, hostile: bool) {
        for _ in 0..10 {
            if self.engine.is_disconnected() {
                self.connect(false, false);
            }
            for _ in 0..30 {
                for op in [Op::Transmit(1000), Op::ServerReads, Op::ServerSends(1000), Op::Accept(0)] {
                    self.apply(&op);
                }
            }
            if self.engine.is_connected() && self.engine.is_idle() && self.server.is_quiet() {
                break;
            }
            // A session that the server kept and the client never heard of ends a connection.
            if self.engine.is_disconnected() {
                continue;
            }
            // After hostile acknowledgements both sides may wait for each other on this connection, not on the next.
            assert!(hostile, "something is stuck: {:?}", self.open);
            self.cut();
        }
        assert!(self.engine.is_idle(), "an identifier was leaked");
        assert!(self.open.is_empty(), "without outcome: {:?}", self.open);
        if !hostile {
            self.check_outgoing();
            self.check_incoming();
        }
        // All memory is free again.
        for _ in 0..SLOTS {
            let message = Message::new("t".try_into().unwrap(), b"1234").with_qos(QoS::AtLeastOnce);
            self.engine.publish(&message).unwrap();
        }
    }

    fn check_outgoing(&self) {
        let taken = &self.server.taken;
        for (number, qos) in &self.acknowledged {
            let times = taken.iter().filter(|(other, _)| other == number).count();
            match qos {
                QoS::ExactlyOnce if !self.server.forgotten.contains(number) => {
                    assert_eq!(times, 1, "message {number}");
                }
                _ => assert!(times >= 1, "message {number}"),
            }
        }
        let mut newest = 0;
        for (at, (number, qos)) in taken.iter().enumerate() {
            let repeated = taken[..at].iter().any(|(other, _)| other == number);
            let may_repeat = *qos != QoS::ExactlyOnce || self.server.forgotten.contains(number);
            assert!(may_repeat || !repeated, "message {number} twice");
            if *qos != QoS::AtMostOnce && !repeated {
                assert!(*number > newest, "message {number} overtook {newest}");
                newest = *number;
            }
        }
    }

    fn check_incoming(&self) {
        let what = if self.manual { &self.accepted } else { &self.delivered };
        for (number, qos) in &self.offered {
            let times = what.iter().filter(|other| *other == number).count();
            if *qos == QoS::ExactlyOnce {
                assert!(times <= 1, "message {number} was delivered {times} times");
            }
        }
    }
}

fn run(version: Version, manual: bool, ops: &[Op], hostile: bool) {
    let mut world = World::new(version, manual);
    for op in ops {
        world.apply(op);
    }
    world.settle(hostile);
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3_1_1), Just(Version::V5)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_server_gets_and_gives_every_message(
        version in version(),
        manual in any::<bool>(),
        ops in prop::collection::vec(op(), 0..80),
    ) {
        run(version, manual, &ops, false);
    }

    #[test]
    fn a_hostile_server_leaks_nothing(
        version in version(),
        manual in any::<bool>(),
        ops in prop::collection::vec(hostile(), 0..80),
    ) {
        run(version, manual, &ops, true);
    }
}
