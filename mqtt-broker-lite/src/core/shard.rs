//! A shard: its state, and where each input goes. What happens there is in the files of the same names.

use super::connection::{Connection, Numbered, Outbox};
use super::credit::Credits;
use super::form::Forms;
use super::handshake::{Opened, whole};
use super::held::Then;
use super::inside::Observer;
use super::journal::Journal;
use super::link::{Letter, Route, Routed};
use super::pass::PLAIN;
use super::place::Places;
use super::retained::Retained;
use super::session::{ByClientId, Session};
use super::shared::Group;
use super::sys::Counts;
use super::timers::{Timer, Timers};
use super::topic_tree::{Grant, Seeded, Target, TopicTree};
use super::{
    Cause, CloseReason, ConnId, Envelope, Input, Now, ObserverId, Output, Policy, Pressure, SessionNumber,
    Settings, ShardId, Token, Wire,
};
use bytes::Bytes;
use mqtt_packet::{DecodeError, EncodeError, Frame, PacketType, PingResp, ReasonCode, Version};
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::BuildHasherDefault;

/// One shard of a broker.
///
/// The contract: one [`handle`](Self::handle), or several, then [`poll`](Self::poll) until there is nothing more.
pub struct Shard {
    pub(super) settings: Settings,
    pub(super) policy: Box<dyn Policy>,
    pub(super) now: Now,
    pub(super) pressure: Pressure,
    /// Bytes that may wait in the shell for one connection, as memory is now.
    pub(super) window: usize,
    pub(super) connections: HashMap<ConnId, Stage, BuildHasherDefault<Numbered>>,
    pub(super) sessions: Slab<Session>,
    pub(super) by_client: HashMap<ByClientId, usize, Seeded>,
    pub(super) by_number: BTreeMap<SessionNumber, usize>,
    pub(super) last_session: u64,
    pub(super) last_token: u64,
    /// Connections that wait for the answer to a question.
    pub(super) asked: BTreeMap<Token, ConnId>,
    pub(super) tree: TopicTree,
    pub(super) groups: Slab<Group>,
    pub(super) groups_by_name: HashMap<Box<str>, usize, Seeded>,
    /// Groups whose queues were restored; only used while restoring.
    pub(super) groups_by_number: BTreeMap<SessionNumber, usize>,
    /// Who listens inside the process, and to what.
    pub(super) observers: BTreeMap<ObserverId, Observer>,
    pub(super) counts: Counts,
    /// What the others counted last.
    pub(super) counts_elsewhere: BTreeMap<ShardId, Counts>,
    pub(super) started: Option<u64>,
    /// How many walks over retained messages there were.
    pub(super) last_walk: u64,
    /// How often a member of a group was chosen.
    pub(super) choices: u64,
    pub(super) retained: Retained,
    pub(super) places: Places,
    pub(super) timers: Timers,
    pub(super) journal: Journal,
    pub(super) outbox: Outbox,
    pub(super) forms: Forms,
    /// Who is subscribed to the message at hand; the memory is used again for the next.
    pub(super) found: Vec<(Target, Grant)>,
    /// Sessions that were resumed and wait until what was written before is safe.
    pub(super) resuming: Vec<usize>,
    /// Filters that this shard wants messages for, as the others know them.
    pub(super) routes: HashMap<Box<str>, Route, Seeded>,
    /// How many shards do not know a route yet.
    pub(super) unknown_routes: BTreeMap<Cause, usize>,
    /// Who on other shards waits for a route of this one.
    pub(super) asked_for_route: BTreeMap<Cause, Vec<(ShardId, Cause)>>,
    /// What goes to other shards at the end of this turn, and whether it is a part of its cause.
    pub(super) crossing: BTreeMap<ShardId, Vec<Routed>>,
    pub(super) crossing_matters: bool,
    /// Whether this turn is what another shard wants.
    pub(super) is_adopted: bool,
    pub(super) credits: Credits,
    /// Groups that may send what they kept.
    pub(super) unparking: Vec<usize>,
    /// What the message at hand has to wait for, because it met slow readers.
    pub(super) congested: Vec<Cause>,
    /// Which topics of which shards met slow readers here.
    pub(super) told_busy: BTreeMap<Cause, BTreeMap<Bytes, BTreeSet<ShardId>>>,
    /// What waits here for slow readers elsewhere, and by which topics they are met.
    pub(super) rooms_elsewhere: BTreeMap<Cause, Cause>,
    pub(super) busy_topics: BTreeMap<Bytes, Cause>,
    /// Connections that are not read until somebody slow has read.
    pub(super) paused: BTreeMap<Cause, Vec<ConnId>>,
    /// Connections to close once a cause is safe.
    pub(super) closing: BTreeMap<Cause, Vec<(ConnId, CloseReason)>>,
    /// What is to be read back from the disk, at the end of this turn: what it writes counts.
    pub(super) fetching: Vec<(SessionNumber, u64, usize)>,
    /// Sessions that ended while messages waited for them on the disk only, and whether some of these come before all.
    pub(super) ended: BTreeMap<SessionNumber, bool>,
    /// What waits until the disk has room again, if it has none.
    pub(super) full: Option<Cause>,
    pub(super) outputs: VecDeque<Output>,
}

/// How far a connection has come.
pub(super) enum Stage {
    /// It is not connected yet.
    Opened(Box<Opened>),
    /// It belongs to the session of this key.
    Online(usize),
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(settings: Settings, policy: Box<dyn Policy>) -> Self {
        let hash = Seeded(settings.seed);
        Self {
            policy,
            now: Now::default(),
            pressure: Pressure::None,
            window: settings.window,
            connections: HashMap::default(),
            sessions: Slab::new(),
            by_client: HashMap::with_hasher(hash),
            by_number: BTreeMap::new(),
            last_session: 0,
            last_token: 0,
            asked: BTreeMap::new(),
            tree: TopicTree::new(hash),
            groups: Slab::new(),
            groups_by_name: HashMap::with_hasher(hash),
            groups_by_number: BTreeMap::new(),
            choices: 0,
            observers: BTreeMap::new(),
            counts: Counts::default(),
            counts_elsewhere: BTreeMap::new(),
            started: None,
            last_walk: 0,
            retained: Retained::default(),
            places: Places::default(),
            timers: Timers::default(),
            journal: Journal::new(settings.durable, settings.shard),
            outbox: Outbox::default(),
            forms: Forms::default(),
            found: Vec::new(),
            resuming: Vec::new(),
            routes: HashMap::with_hasher(hash),
            unknown_routes: BTreeMap::new(),
            asked_for_route: BTreeMap::new(),
            crossing: BTreeMap::new(),
            crossing_matters: false,
            is_adopted: false,
            credits: Credits::default(),
            unparking: Vec::new(),
            congested: Vec::new(),
            told_busy: BTreeMap::new(),
            rooms_elsewhere: BTreeMap::new(),
            busy_topics: BTreeMap::new(),
            paused: BTreeMap::new(),
            closing: BTreeMap::new(),
            fetching: Vec::new(),
            ended: BTreeMap::new(),
            full: None,
            outputs: VecDeque::new(),
            settings,
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.now = now;
        if self.started.is_none() {
            self.begin_sys();
        }
        match input {
            Input::Opened(id, entropy) => self.on_opened(id, entropy),
            Input::Packets(id, bytes) => self.on_packets(id, bytes),
            Input::Broken(id, error) => self.on_broken(id, error),
            Input::Sent(id, bytes) => self.on_sent(id, bytes),
            Input::Closed(id) => self.on_closed(id),
            Input::Publish(message) => self.on_inside_publish(&message),
            Input::Observe(observer, filter) => self.on_observe(observer, filter),
            Input::Took(observer, count) => self.on_took(observer, count),
            Input::Unobserve(observer) => self.on_unobserve(observer),
            Input::Link(from, envelope) => self.on_link(from, envelope),
            Input::Synced(cause) => self.on_synced(cause),
            Input::Fetched(session, changes) => self.on_fetched(session, changes),
            Input::Full(is_full) => self.on_full(is_full),
            Input::Pressure(pressure) => self.on_pressure(pressure),
            Input::Answer(token, decision) => self.on_answer(token, decision),
            Input::Shutdown => self.on_shutdown(),
            Input::Timeout => self.on_timeout(),
        }
        self.end_turns();
    }

    fn end_turns(&mut self) {
        self.end_turn();
        while !self.unparking.is_empty() {
            self.unpark();
            self.end_turn();
        }
    }

    /// What there is to do; `None` when all is said.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if let Some((shard, messages)) = self.crossing.pop_first() {
            let letter = Letter::Messages { cause: None, messages };
            return Some(Output::Link(shard, Envelope(letter)));
        }
        while let Some(key) = self.outbox.dirty.pop() {
            if let Some(connection) = self.connection(key)
                && !connection.out.is_empty()
            {
                return Some(take_out(connection));
            }
        }
        self.timers.news().map(Output::WakeAt)
    }

    /// Takes back what an [`Output::Send`] came in, to use its memory again.
    pub fn reuse(&mut self, wire: Wire) {
        self.outbox.reuse(wire);
    }

    /// The connection of a session.
    pub(super) fn connection(&mut self, key: usize) -> Option<&mut Connection> {
        self.sessions.get_mut(key)?.connection.as_deref_mut()
    }

    /// Each is a turn of its own.
    fn on_packets(&mut self, id: ConnId, packets: &[u8]) {
        // What was in the way of one message is mostly in the way of the next.
        const PATIENCE: usize = 8;
        let (mut rest, mut wait) = (packets, 0_usize);
        while let Some((frame, behind)) = whole(rest) {
            if wait == 0 && rest.first() == Some(&PLAIN) {
                let passed = self.pass(id, rest);
                if passed > 0 {
                    rest = rest.get(passed..).unwrap_or_default();
                    continue;
                }
                wait = PATIENCE;
            }
            wait = wait.saturating_sub(1);
            self.on_frame(id, frame);
            self.end_turns();
            rest = behind;
        }
    }

    pub(super) fn on_frame(&mut self, id: ConnId, frame: Frame<'_>) {
        if self.park_behind_place(id, frame) {
            return;
        }
        match self.connections.get(&id) {
            Some(Stage::Online(key)) => {
                let key = *key;
                if let Err(reason) = self.on_packet(key, frame) {
                    self.close(key, reason);
                }
            }
            Some(Stage::Opened(_)) => self.on_early_frame(id, frame),
            None => {}
        }
    }

    fn on_packet(&mut self, key: usize, frame: Frame<'_>) -> Result<(), CloseReason> {
        let now = self.now.mono;
        self.counts.packets_received = self.counts.packets_received.saturating_add(1);
        let Some(connection) = self.connection(key) else {
            return Ok(());
        };
        connection.last_heard = now;
        let version = connection.version;
        let packet = |error: DecodeError| CloseReason::Packet(error, version);
        match frame.packet_type() {
            PacketType::Publish => self.on_publish(key, frame),
            PacketType::PubAck | PacketType::PubRec | PacketType::PubComp => {
                self.on_acknowledgement(key, frame)
            }
            PacketType::PubRel => self.on_pubrel(key, frame),
            PacketType::Subscribe => self.on_subscribe(key, frame),
            PacketType::Unsubscribe => self.on_unsubscribe(key, frame),
            PacketType::PingReq => {
                mqtt_packet::PingReq::decode(frame, version).map_err(packet)?;
                self.on_ping(key);
                Ok(())
            }
            PacketType::Disconnect => self.on_disconnect(key, frame),
            PacketType::Auth => self.on_reauthentication(key, frame),
            PacketType::Connect => {
                Err(CloseReason::rule("MQTT-3.1.0-2", ReasonCode::PROTOCOL_ERROR, "a second CONNECT"))
            }
            PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
                Err(packet(DecodeError::UnexpectedPacket))
            }
        }
    }

    fn on_broken(&mut self, id: ConnId, error: DecodeError) {
        self.settle_places(id);
        match self.connections.get(&id) {
            Some(Stage::Online(key)) => {
                let key = *key;
                let version = self.connection(key).map_or(Version::V3_1_1, |connection| connection.version);
                self.close(key, CloseReason::Packet(error, version));
            }
            // Nothing is known about the client, so nothing can be said to it.
            Some(Stage::Opened(_)) => self.refuse(id, CloseReason::Packet(error, Version::V3_1_1), None),
            None => {}
        }
    }

    fn on_sent(&mut self, id: ConnId, bytes: usize) {
        let Some(Stage::Online(key)) = self.connections.get(&id) else {
            return;
        };
        let key = *key;
        if let Some(connection) = self.connection(key) {
            connection.unsent = connection.unsent.saturating_sub(bytes);
            self.drain(key);
        }
    }

    /// PINGRESP promises nothing, so it waits for nothing but CONNACK.
    fn on_ping(&mut self, key: usize) {
        let Some(connection) =
            self.sessions.get_mut(key).and_then(|session| session.connection.as_deref_mut())
        else {
            return;
        };
        if connection.is_connected {
            let version = connection.version;
            // Nothing in it can fail.
            let _ = PingResp.encode(version, self.outbox.open(key, connection));
        } else {
            self.reply(key, None, Then::Nothing, |version, out| PingResp.encode(version, out));
        }
    }

    fn on_timeout(&mut self) {
        for timer in self.timers.due(self.now.mono) {
            match timer {
                Timer::Connect(id) => self.on_connect_timeout(id),
                Timer::KeepAlive(id) => self.on_keep_alive_timeout(id),
                Timer::Will(number) => self.on_will_timeout(number),
                Timer::Session(number) => self.on_session_timeout(number),
                Timer::Replay(reader) => self.on_replay_timeout(reader),
                Timer::Retained => self.on_retained_timeout(),
                Timer::Sys => self.on_sys_timeout(),
                Timer::Room(number) => self.on_room_timeout(number),
            }
        }
    }

    fn on_keep_alive_timeout(&mut self, id: ConnId) {
        let Some(Stage::Online(key)) = self.connections.get(&id) else {
            return;
        };
        let (key, now) = (*key, self.now.mono);
        let Some(connection) = self.connection(key) else {
            return;
        };
        if connection.is_paused {
            // Whom nobody listens to cannot be heard.
            connection.last_heard = now;
        }
        match connection.silent_until() {
            Some(until) if until > now => self.timers.start(until, Timer::KeepAlive(id)),
            Some(_) => self.close(key, CloseReason::KeepAlive),
            None => {}
        }
    }

    pub(super) fn on_synced(&mut self, cause: Cause) {
        for number in self.journal.synced(cause) {
            if let Some(&key) = self.by_number.get(&number) {
                self.release_held(key);
            }
        }
        self.resume_reading(cause);
        for (shard, known) in self.asked_for_route.remove(&cause).unwrap_or_default() {
            self.tell(shard, Letter::RouteKnown(known));
        }
        for (id, reason) in self.closing.remove(&cause).unwrap_or_default() {
            self.outputs.push_back(Output::Close(id, reason));
        }
        for key in std::mem::take(&mut self.resuming) {
            if let Some(connection) = self.connection(key) {
                connection.barrier.remove(&cause);
                if connection.barrier.is_empty() {
                    self.drain(key);
                } else {
                    self.resuming.push(key);
                }
            }
        }
    }

    /// Sends what waited for its cause.
    pub(super) fn release_held(&mut self, key: usize) {
        loop {
            let session = self.sessions.get_mut(key);
            let Some(connection) = session.and_then(|session| session.connection.as_deref_mut()) else {
                return;
            };
            let Some(packet) = connection.held.pop(&self.journal) else {
                return;
            };
            self.outbox.open(key, connection).append(packet.wire);
            self.after(key, packet.then);
        }
    }

    /// Answers a client: now, or once `cause` is safe and everything before it is out.
    pub(super) fn reply(
        &mut self,
        key: usize,
        cause: Option<Cause>,
        then: Then,
        encode: impl FnOnce(Version, &mut Wire) -> Result<(), EncodeError>,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(connection) = session.connection.as_deref_mut() else {
            return;
        };
        let cause = cause.filter(|&cause| !self.journal.is_synced(cause));
        let waits = cause.is_some() || !connection.held.is_empty();
        if waits {
            let mut wire = Wire::default();
            if encode(connection.version, &mut wire).is_ok() {
                connection.held.push(cause, wire, then);
            }
            if let Some(cause) = cause {
                self.journal.watch(cause, session.number);
            }
            self.bound_withheld(key);
        } else {
            let version = connection.version;
            // An answer that its version does not have is not given.
            let _ = encode(version, self.outbox.open(key, connection));
            self.after(key, then);
        }
    }

    fn after(&mut self, key: usize, then: Then) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        match then {
            Then::Nothing | Then::Room | Then::Published => {}
            Then::Subscribed => {
                connection.subacks = connection.subacks.saturating_sub(1);
                self.drain(key);
            }
            Then::Acknowledged => connection.unacknowledged = connection.unacknowledged.saturating_sub(1),
            Then::Connected => {
                connection.is_connected = true;
                self.drain(key);
            }
        }
    }
}

/// What is known about clients and what waits for the disk; not the settings, and not what follows from the rest.
impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections: BTreeMap<_, _> = self
            .connections
            .iter()
            .map(|(id, stage)| match stage {
                Stage::Opened(_) => (id, None),
                Stage::Online(key) => (id, Some(key)),
            })
            .collect();
        // A slab says how many it has, not what.
        let sessions: BTreeMap<_, _> = self.sessions.iter().collect();
        let groups: BTreeMap<_, _> = self.groups.iter().collect();
        f.debug_struct("Shard")
            .field("connections", &connections)
            .field("sessions", &sessions)
            .field("groups", &groups)
            .field("retained", &self.retained)
            .field("timers", &self.timers)
            .field("journal", &self.journal)
            .field("resuming", &self.resuming)
            .field("closing", &self.closing)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}

/// What a connection sends in this turn.
pub(super) fn take_out(connection: &mut Connection) -> Output {
    let out = std::mem::take(&mut connection.out);
    connection.unsent = connection.unsent.saturating_add(out.len());
    Output::Send(connection.id, out)
}
