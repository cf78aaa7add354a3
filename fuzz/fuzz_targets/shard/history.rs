//! What clients do, in the broker and in the model.

use crate::hostile::Hostile;
use crate::listen::{Answer, Expected};
use crate::model::{Message, Model, Observer, Session, Stage, Subscription, Will, inner};
use crate::world::World;
use crate::{FILTERS, Op, Setup, TOPICS, WillPlan};
use arbitrary::Unstructured;
use mqtt_broker_lite::core::{ConnId, Input, ObserverId, Settings};
use mqtt_packet::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const IN_FLIGHT: u16 = 1024;

/// A client's connection.
pub struct Connection {
    pub id: ConnId,
    pub version: Version,
    /// What DISCONNECT may not raise from 0.
    connect_expiry: u32,
    /// How much may be in flight to it.
    pub quota: usize,
    /// What the broker is to answer, in this order.
    pub expected: VecDeque<Expected>,
    /// What the client is to answer.
    pub answers: VecDeque<Answer>,
    /// PUBLISH of this connection without the end of their exchange.
    pub outstanding: BTreeSet<u16>,
    pub aliases: BTreeMap<u16, String>,
    /// Bytes of a packet that is not whole yet.
    pub heard: Vec<u8>,
}

pub struct History {
    pub world: World,
    pub model: Model,
    pub connections: BTreeMap<usize, Connection>,
    pub hostile: Hostile,
    pub has_model: bool,
    small_room: bool,
    durable: bool,
    count: u32,
    last_observer: u64,
}

impl History {
    pub fn new(setup: &Setup) -> Self {
        let default = Settings::default();
        let settings = Settings {
            shards: u16::from(setup.shards) % 3 + 1,
            durable: setup.durable,
            window: if setup.small_window { 40 } else { default.window },
            queue_window: if setup.small_queue { 2 } else { usize::MAX },
            slow_queue_bytes: if setup.small_room { 300 } else { default.slow_queue_bytes },
            // Here nobody is taken over so often without a reason.
            max_takeovers: u64::from(u32::MAX),
            outgoing_aliases: if setup.aliases { 2 } else { 0 },
            ..default
        };
        Self {
            world: World::new(settings, setup.open, setup.chance),
            model: Model::default(),
            connections: BTreeMap::new(),
            hostile: Hostile::default(),
            has_model: !setup.open,
            small_room: setup.small_room,
            durable: setup.durable,
            count: 0,
            last_observer: 0,
        }
    }

    pub fn apply(&mut self, op: &Op, input: &mut Unstructured<'_>) {
        // Nothing that is due in whole seconds is due at once.
        self.pass(1);
        if !self.has_model && !matches!(op, Op::Disk(_) | Op::Pass(_) | Op::Observe(_) | Op::Unobserve(_)) {
            let (slot, kind) = input.arbitrary().unwrap_or_default();
            self.hostile.act(&mut self.world, slot, kind, input);
            return;
        }
        match *op {
            Op::Connect { who, .. } => self.connect(who_of(who), op),
            Op::Cut(who) => self.cut(who_of(who)),
            Op::Leave { who, with_will, expiry } => self.leave(who_of(who), with_will, expiry),
            Op::Publish { who, .. } => self.publish(who_of(who), op),
            Op::Release { who, id } => self.release(who_of(who), id),
            Op::Subscribe { who, filter, options, id } => self.subscribe(who_of(who), filter, options, id),
            Op::Unsubscribe { who, filter } => self.unsubscribe(who_of(who), filter),
            Op::Answer { who, count, refuse } => self.answer(who_of(who), count, refuse),
            Op::Stall(who) => self.stall(who_of(who), true),
            Op::Unstall(who) => self.stall(who_of(who), false),
            Op::Disk(is_slow) => self.world.disk_is_slow = is_slow && self.durable,
            Op::Pass(milliseconds) => self.pass(u64::from(milliseconds)),
            Op::Restart(shards) => self.restart(u16::from(shards) % 3 + 1),
            Op::Observe(filter) => self.observe(filter),
            Op::Unobserve(which) => self.unobserve(which),
            Op::Inside { topic, qos, retain, len } => self.inside(topic, qos, retain, len),
            Op::Hostile { slot, kind } => self.hostile.act(&mut self.world, slot, kind, input),
        }
        self.model.before = self.model.now;
        if !self.world.disk_is_slow {
            self.world.sync();
        }
        self.listen();
        self.check();
    }

    /// Who can send something: connected, and read from.
    fn line(&mut self, who: usize) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(&who)?;
        let line = self.world.lines.get(&connection.id)?;
        (line.closed.is_none() && !line.is_paused).then_some(connection)
    }

    fn send(&mut self, who: usize, packet: Packet<'_>) {
        let connection = &self.connections[&who];
        let bytes = fuzz::encode(&packet, connection.version);
        self.world.bytes(connection.id, &bytes);
    }

    fn message(&mut self, topic: u8, qos: u8, retain: bool, len: u8, expiry: u8) -> Message {
        self.count += 1;
        let topic = TOPICS[usize::from(topic) % TOPICS.len()];
        let seconds = [0, 0, 1, 5][usize::from(expiry) % 4];
        let mut payload = self.count.to_string().into_bytes();
        match len {
            // Members of a group are told apart by what they get.
            0..32 if !topic.starts_with("$s") => payload.clear(),
            250.. => payload.resize(2000, b' '),
            _ => {}
        }
        // Empty ones look the same: if only some of them expired, nobody could tell which of them came.
        let expires = (seconds > 0 && !payload.is_empty()).then(|| self.world.now.wall + seconds * 1000);
        Message { topic, number: 0, payload, qos: qos % 3, retain, expires }
    }

    fn connect(&mut self, who: usize, op: &Op) {
        let Op::Connect { v5, clean, expiry, receive, ref will, .. } = *op else { return };
        let version = if v5 { Version::V5 } else { Version::V3_1_1 };
        let expiry = match (v5, clean) {
            (true, _) => [0, 2, 5, u32::MAX][usize::from(expiry) % 4],
            (false, true) => 0,
            (false, false) => u32::MAX,
        };
        let quota = if v5 && receive % 4 > 0 { u16::from(receive) % 4 } else { IN_FLIGHT };
        let will = will.as_ref().map(|plan| self.will(plan, v5));
        self.take_over(who, version, clean, (expiry, quota), will);
    }

    fn will(&mut self, plan: &WillPlan, v5: bool) -> Will {
        let message = self.message(plan.topic, plan.qos, plan.retain, 99, 0);
        Will { message, delay: if v5 { [0, 1, 3, 9][usize::from(plan.delay) % 4] } else { 0 } }
    }

    fn take_over(
        &mut self,
        who: usize,
        version: Version,
        clean: bool,
        (expiry, quota): (u32, u16),
        will: Option<Will>,
    ) {
        let id = self.world.open(false);
        let (mut block, mut will_block) = ([0; 16], [0; 8]);
        let mut own = PropertyWriter::new(PropertyPlace::of(PacketType::Connect), &mut block);
        let mut wills = PropertyWriter::new(PropertyPlace::WILL, &mut will_block);
        if version == Version::V5 {
            own.push(Property::SessionExpiryInterval(expiry)).expect("room");
            own.push(Property::TopicAliasMaximum(3)).expect("room");
            if quota < IN_FLIGHT {
                own.push(Property::ReceiveMaximum(quota)).expect("room");
            }
            let delay = will.as_ref().map_or(0, |will| will.delay);
            wills.push(Property::WillDelayInterval(delay)).expect("room");
        }
        let mut connect = Connect::new(version, NAMES[who].try_into().expect("a name"));
        connect.keep_alive = 0;
        connect.clean_start = clean;
        connect.properties = own.finish();
        connect.will = will.as_ref().map(|will| mqtt_packet::Will {
            topic: TopicName::new(will.message.topic).expect("a topic"),
            payload: &will.message.payload,
            qos: QoS::from_bits(will.message.qos).expect("a QoS"),
            retain: will.message.retain,
            properties: wills.finish(),
        });
        let bytes = fuzz::encode(&Packet::Connect(connect), version);
        self.world.bytes(id, &bytes);
        let present = self.welcome(who, clean, expiry, will);
        let connection = Connection {
            id,
            version,
            connect_expiry: expiry,
            quota: quota.into(),
            expected: VecDeque::from([Expected::ConnAck(present)]),
            answers: VecDeque::new(),
            outstanding: BTreeSet::new(),
            aliases: BTreeMap::new(),
            heard: Vec::new(),
        };
        if let Some(old) = self.connections.insert(who, connection) {
            self.world.lines.remove(&old.id);
        }
    }

    /// The model's side of CONNECT; whether the session was there.
    fn welcome(&mut self, who: usize, clean: bool, expiry: u32, will: Option<Will>) -> bool {
        if self.connections.contains_key(&who) {
            self.model.depart(who);
        }
        if clean {
            self.model.end_session(who);
        }
        let present = self.model.sessions.contains_key(&who);
        let session = self.model.sessions.entry(who).or_default();
        session.is_online = true;
        session.expiry = expiry;
        session.will = will;
        (session.ends, session.will_at) = (None, None);
        session.flights.iter_mut().for_each(|flight| flight.is_here = false);
        present
    }

    fn cut(&mut self, who: usize) {
        if let Some(connection) = self.connections.remove(&who) {
            self.model.depart(who);
            self.world.cut(connection.id);
        }
    }

    fn leave(&mut self, who: usize, with_will: bool, expiry: Option<u8>) {
        let Some(connection) = self.line(who) else { return };
        let is_v5 = connection.version == Version::V5;
        let expiry = expiry.filter(|_| is_v5).map(|expiry| [0, 3, 7][usize::from(expiry) % 3]);
        let is_wrong = connection.connect_expiry == 0 && expiry.is_some_and(|expiry| expiry > 0);
        let mut block = [0; 8];
        let mut own = PropertyWriter::new(PropertyPlace::of(PacketType::Disconnect), &mut block);
        if let Some(expiry) = expiry {
            own.push(Property::SessionExpiryInterval(expiry)).expect("room");
        }
        let mut disconnect = Disconnect { properties: own.finish(), ..Disconnect::default() };
        if with_will && is_v5 {
            disconnect.reason_code = ReasonCode::DISCONNECT_WITH_WILL_MESSAGE;
        }
        self.send(who, Packet::Disconnect(disconnect));
        let connection = self.connections.remove(&who).expect("it was there");
        if let Some(session) = self.model.sessions.get_mut(&who).filter(|_| !is_wrong) {
            session.expiry = expiry.unwrap_or(session.expiry);
            if !(with_will && is_v5) {
                session.will = None;
            }
        }
        self.model.depart(who);
        self.world.sync();
        let line = self.world.lines.remove(&connection.id).expect("a line");
        assert!(line.closed.is_some(), "it left and is still there");
    }

    fn publish(&mut self, who: usize, op: &Op) {
        let Op::Publish { topic, qos, id, retain, len, expiry, .. } = *op else { return };
        if self.line(who).is_none() {
            return;
        }
        let is_v5 = self.connections[&who].version == Version::V5;
        let message = self.message(topic, qos, retain, len, if is_v5 { expiry } else { 0 });
        let id = u16::from(id) % 4 + 1;
        let mut block = [0; 8];
        let mut own = PropertyWriter::new(PropertyPlace::of(PacketType::Publish), &mut block);
        if let Some(expires) = message.expires {
            let seconds = (expires - self.world.now.wall) / 1000;
            own.push(Property::MessageExpiryInterval(u32::try_from(seconds).expect("short"))).expect("room");
        }
        let delivery = Delivery::new(QoS::from_bits(message.qos).expect("a QoS"), PacketId::new(id));
        let publish = Publish {
            retain,
            delivery: delivery.expect("an identifier"),
            topic: TopicName::new(message.topic).expect("a topic"),
            properties: own.finish(),
            payload: &message.payload,
        };
        self.send(who, Packet::Publish(publish));
        self.published(who, &message, id);
    }

    /// The model's side of PUBLISH.
    fn published(&mut self, who: usize, message: &Message, id: u16) {
        let session = self.model.sessions.get_mut(&who).expect("it is connected");
        let is_known = session.received.contains(&id);
        let kind = match message.qos {
            0 => None,
            1 if is_known => {
                // An identifier for two things at once.
                let connection = self.connections.remove(&who).expect("it was there");
                let line = self.world.lines.remove(&connection.id);
                assert!(line.is_some_and(|line| line.closed.is_some()), "it broke a rule and is still there");
                self.model.depart(who);
                return;
            }
            1 => Some(AckKind::PubAck),
            _ => Some(AckKind::PubRec),
        };
        let mut code = ReasonCode::SUCCESS;
        if message.qos < 2 || session.received.insert(id) {
            let found = self.model.publish(Some(who), message);
            if !found {
                code = ReasonCode::NO_MATCHING_SUBSCRIBERS;
            }
        }
        if let Some(kind) = kind {
            self.expect(who, kind, id, code);
        }
    }

    fn expect(&mut self, who: usize, kind: AckKind, id: u16, code: ReasonCode) {
        let connection = self.connections.get_mut(&who).expect("it is connected");
        let code = if connection.version == Version::V5 { code } else { ReasonCode::SUCCESS };
        connection.expected.push_back(Expected::Ack(kind, id, code));
    }

    fn release(&mut self, who: usize, id: u8) {
        let id = u16::from(id) % 4 + 1;
        if self.line(who).is_some() {
            self.send(who, Packet::Ack(Ack::new(AckKind::PubRel, PacketId::new(id).expect("not 0"))));
            let session = self.model.sessions.get_mut(&who).expect("it is connected");
            let code = match session.received.remove(&id) {
                true => ReasonCode::SUCCESS,
                false => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            };
            self.expect(who, AckKind::PubComp, id, code);
        }
    }

    fn subscribe(&mut self, who: usize, filter: u8, options: u8, id: u8) {
        if self.line(who).is_none() {
            return;
        }
        let filter = FILTERS[usize::from(filter) % FILTERS.len()];
        let is_shared = inner(filter).is_some();
        let is_v5 = self.connections[&who].version == Version::V5;
        let qos = if is_shared { 1 + options % 2 } else { options % 3 };
        let wanted = Subscription {
            qos,
            no_local: is_v5 && !is_shared && options & 4 > 0,
            retain_as_published: is_v5 && options & 8 > 0,
            id: if is_v5 { u32::from(id) % 3 } else { 0 },
        };
        let handling = if is_v5 { (options >> 4) % 3 } else { 0 };
        let mut block = [0; 8];
        let mut own = PropertyWriter::new(PropertyPlace::of(PacketType::Subscribe), &mut block);
        if wanted.id > 0 {
            own.push(Property::SubscriptionIdentifier(wanted.id)).expect("room");
        }
        let options = SubscribeOptions {
            qos: QoS::from_bits(qos).expect("a QoS"),
            no_local: wanted.no_local,
            retain_as_published: wanted.retain_as_published,
            retain_handling: match handling {
                0 => RetainHandling::SendAtSubscribe,
                1 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            },
        };
        let filters = [SubscribeFilter { filter: filter.try_into().expect("a filter"), options }];
        let subscribe = Subscribe { properties: own.finish(), ..Subscribe::new(PacketId::MIN, &filters) };
        self.send(who, Packet::Subscribe(subscribe));
        self.model.subscribe(who, filter, wanted, handling);
        let connection = self.connections.get_mut(&who).expect("it is connected");
        connection.expected.push_back(Expected::SubAck(qos));
    }

    fn unsubscribe(&mut self, who: usize, filter: u8) {
        if self.line(who).is_none() {
            return;
        }
        let filter = FILTERS[usize::from(filter) % FILTERS.len()];
        let filters = [filter.try_into().expect("a filter")];
        self.send(who, Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, &filters)));
        let was_there = self.model.unsubscribe(who, filter);
        let connection = self.connections.get_mut(&who).expect("it is connected");
        connection.expected.push_back(Expected::UnsubAck(was_there));
    }

    fn answer(&mut self, who: usize, count: u8, refuse: bool) {
        for _ in 0..=count % 8 {
            let Some(connection) = self.line(who) else { return };
            let Some(answer) = connection.answers.pop_front() else { return };
            let refuse = refuse && connection.version == Version::V5 && answer.kind == AckKind::PubRec;
            let reason_code = if refuse { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::SUCCESS };
            let session = self.model.sessions.get_mut(&who).expect("it is connected");
            let mut is_over = false;
            if answer.kind == AckKind::PubRec && !refuse {
                for flight in session.flights.iter_mut().filter(|flight| flight.id == answer.id) {
                    flight.stage = Stage::AwaitPubComp;
                    flight.is_here = false;
                }
            } else {
                is_over = true;
                session.flights.retain(|flight| flight.id != answer.id);
            }
            if let Some(connection) = self.line(who).filter(|_| is_over) {
                connection.outstanding.remove(&answer.id);
            }
            let id = PacketId::new(answer.id).expect("not 0");
            self.send(who, Packet::Ack(Ack { reason_code, ..Ack::new(answer.kind, id) }));
            self.listen();
        }
    }

    fn stall(&mut self, who: usize, is_stalled: bool) {
        if let Some(connection) = self.connections.get(&who) {
            self.world.stall(connection.id, is_stalled);
        }
    }

    /// Time passes from one thing that the model knows of to the next.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.world.now.mono + milliseconds;
        loop {
            let sessions = self.model.sessions.iter().filter(|(_, session)| !session.is_online);
            let next = sessions
                .flat_map(|(&who, session)| {
                    let will = session.will_at.map(|at| (at, false, who));
                    will.into_iter().chain(session.ends.map(|at| (at, true, who)))
                })
                .min();
            let Some((at, is_end, who)) = next.filter(|&(at, ..)| at <= end) else { break };
            self.model.before = self.world.now;
            self.world.pass(at - self.world.now.mono);
            self.model.now = self.world.now;
            match is_end {
                true => self.model.end_session(who),
                false => self.model.publish_will(who),
            }
            self.listen();
        }
        self.model.before = self.world.now;
        self.world.pass(end - self.world.now.mono);
        self.model.now = self.world.now;
        self.listen();
    }

    fn restart(&mut self, shards: u16) {
        if !self.durable {
            return;
        }
        for who in 0..NAMES.len() {
            self.cut(who);
            self.pass(1);
        }
        self.world.sync();
        self.model.restart();
        self.world.restart(shards);
        self.hostile = Hostile::default();
    }

    fn observe(&mut self, filter: u8) {
        let filter = FILTERS[usize::from(filter) % FILTERS.len()];
        if inner(filter).is_some() {
            return;
        }
        self.last_observer += 1;
        self.world.tell(0, Input::Observe(ObserverId(self.last_observer), filter));
        let recalled = self.model.recalled(filter).map(|kept| (kept.topic, kept.clone())).collect();
        let observer = Observer { filter, recalled, due: VecDeque::new() };
        self.model.observers.insert(self.last_observer, observer);
    }

    fn unobserve(&mut self, which: u8) {
        let number = self.model.observers.keys().nth(usize::from(which) % 4).copied();
        if let Some(number) = number {
            self.world.tell(0, Input::Unobserve(ObserverId(number)));
            self.model.observers.remove(&number);
        }
    }

    fn inside(&mut self, topic: u8, qos: u8, retain: bool, len: u8) {
        let message = self.message(topic, qos, retain, len, 0);
        let qos = QoS::from_bits(message.qos).expect("a QoS");
        let inside = mqtt_broker_lite::core::Message::new(message.topic, &message.payload, qos, retain);
        self.world.tell(0, Input::Publish(inside.expect("a topic")));
        self.model.publish(None, &message);
    }

    /// Everybody comes back, reads everything and leaves for good: nothing is owed, and nothing is left.
    pub fn finish(mut self) {
        self.world.disk_is_slow = false;
        self.pass(1);
        if !self.has_model {
            self.world.sync();
            return;
        }
        for who in 0..NAMES.len() {
            self.stall(who, false);
            if !self.connections.contains_key(&who) && self.model.sessions.contains_key(&who) {
                self.take_over(who, Version::V5, false, (u32::MAX, IN_FLIGHT), None);
            }
            self.pass(1);
        }
        // Those who were slow are not waited for longer than this.
        self.pass(3000);
        self.world.sync();
        self.listen();
        let mut turns = 0;
        while self.connections.values().any(|connection| !connection.answers.is_empty()) {
            (0..NAMES.len()).for_each(|who| self.answer(who, 7, false));
            self.listen();
            turns += 1;
            assert!(turns < 10_000, "it never ends");
        }
        self.check();
        self.model.check_shared();
        for who in 0..NAMES.len() {
            self.take_over(who, Version::V5, true, (0, IN_FLIGHT), None);
            self.leave(who, false, None);
        }
        self.world.sync();
        self.hostile.check_disk(&self.world);
    }

    /// Whether somebody reads slower than others write, so that these wait. What waits for a member of a group is not known
    /// here, only that nothing does once he has answered everything.
    pub fn is_congested(&self) -> bool {
        self.small_room
            && self.connections.iter().any(|(who, connection)| {
                let is_stalled = self.world.lines.get(&connection.id).is_some_and(|line| line.is_stalled);
                is_stalled || !connection.answers.is_empty() || !self.model.sessions[who].due.is_empty()
            })
    }
}

fn who_of(byte: u8) -> usize {
    usize::from(byte) % NAMES.len()
}
