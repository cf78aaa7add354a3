//! A shard, its disk and its clients, without threads, sockets and clocks. What a client received is compared as text:
//! one line for each packet.

use mqtt_broker_lite::core::{
    AllowAll, Cause, Change, CloseReason, ConnId, Decision, Envelope, Input, Message, Now, ObserverId,
    Output, Policy, Pressure, Question, SessionNumber, Settings, Shard, ShardId, Token, home,
};
use mqtt_broker_lite::store::{Memory, Pending, Store};
use mqtt_packet::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// One end of a connection.
#[derive(Default)]
struct Line {
    received: Vec<u8>,
    closed: Option<CloseReason>,
    /// Bytes that were sent and that a slow reader leaves in the shell.
    unsent: usize,
    is_stalled: bool,
    shard: usize,
    has_connected: bool,
}

pub struct World {
    shards: Vec<Node>,
    settings: Settings,
    pub now: Now,
    lines: BTreeMap<ConnId, Line>,
    versions: BTreeMap<ConnId, Version>,
    last_id: u64,
    pending: Pending,
    /// Which shards wrote a part of a cause.
    writers: BTreeMap<Cause, BTreeSet<usize>>,
    pub disk: Memory,
    /// Written and not safe yet, if the disk is slow.
    unsynced: Vec<(Cause, Vec<Change>)>,
    pub disk_is_slow: bool,
    pub questions: Vec<(usize, Token, Question)>,
    /// Shards do not hear each other for a while.
    pub mail_is_slow: bool,
    paused: BTreeSet<ConnId>,
    pub observed: Vec<(ObserverId, Arc<Message>)>,
}

struct Node {
    shard: Shard,
    wake_at: Option<u64>,
    /// What other shards said and it has not heard yet.
    mail: VecDeque<(ShardId, Envelope)>,
}

/// A client's end.
#[derive(Clone, Copy)]
pub struct Client(pub ConnId);

/// These tests are built once for each number of shards.
pub fn shards() -> u16 {
    match env!("CARGO_CRATE_NAME") {
        "core_2_shards" => 2,
        "core_4_shards" => 4,
        _ => 1,
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn durable() -> Self {
        Self::with(Settings { durable: true, ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Self {
        Self::with_policy(settings, AllowAll)
    }

    pub fn with_policy(settings: Settings, policy: impl Policy + Clone + 'static) -> Self {
        let mut world = Self {
            shards: Vec::new(),
            settings,
            now: Now { mono: 1_000, wall: 1_700_000_000_000 },
            lines: BTreeMap::new(),
            versions: BTreeMap::new(),
            last_id: 0,
            pending: Pending::default(),
            writers: BTreeMap::new(),
            disk: Memory::default(),
            unsynced: Vec::new(),
            disk_is_slow: false,
            questions: Vec::new(),
            mail_is_slow: false,
            paused: BTreeSet::new(),
            observed: Vec::new(),
        };
        world.start(policy);
        world
    }

    fn start(&mut self, policy: impl Policy + Clone + 'static) {
        let make = |shard| Node {
            shard: Shard::new(
                Settings { shard: ShardId(shard), shards: shards(), ..self.settings.clone() },
                Box::new(policy.clone()),
            ),
            wake_at: None,
            mail: VecDeque::new(),
        };
        self.shards = (0..shards()).map(make).collect();
    }

    /// Something about a connection, told to the shard that has it.
    pub fn handle(&mut self, input: Input<'_>) {
        let id = match &input {
            Input::Opened(id, _)
            | Input::Packets(id, _)
            | Input::Broken(id, _)
            | Input::Sent(id, _)
            | Input::Closed(id) => *id,
            other => panic!("not about a connection: {other:?}"),
        };
        let shard = self.lines.get(&id).map_or(0, |line| line.shard);
        self.tell(shard, input);
    }

    pub fn tell(&mut self, shard: usize, input: Input<'_>) {
        self.shards[shard].shard.handle(self.now, input);
        self.work();
    }

    pub fn shut_down(&mut self) {
        for shard in 0..self.shards.len() {
            self.tell(shard, Input::Shutdown);
        }
    }

    fn work(&mut self) {
        let mut busy = true;
        while busy {
            busy = false;
            for index in 0..self.shards.len() {
                while let Some(output) = self.shards[index].shard.poll() {
                    busy = true;
                    self.obey(index, output);
                }
                while !self.mail_is_slow
                    && let Some((from, envelope)) = self.shards[index].mail.pop_front()
                {
                    busy = true;
                    self.shards[index].shard.handle(self.now, Input::Link(from, envelope));
                }
            }
        }
    }

    fn obey(&mut self, shard: usize, output: Output) {
        match output {
            Output::Send(id, wire) => {
                // Somebody who was cut off a moment ago gets nothing.
                let Some(line) = self.lines.get_mut(&id) else { return };
                assert!(line.closed.is_none(), "sent after the close");
                line.received.extend(wire.to_vec());
                line.unsent += wire.len();
                if !line.is_stalled {
                    let sent = std::mem::take(&mut line.unsent);
                    self.shards[shard].shard.handle(self.now, Input::Sent(id, sent));
                }
            }
            Output::Close(id, reason) => {
                let line = self.lines.get_mut(&id).expect("closed a connection that never was");
                assert_eq!(line.closed.replace(reason), None, "closed twice");
            }
            Output::Write(cause, part, changes) => {
                self.writers.entry(cause).or_default().insert(shard);
                self.pending.write(ShardId(u16::try_from(shard).unwrap()), cause, part, changes);
                self.write();
            }
            Output::Link(to, envelope) => {
                let from = ShardId(u16::try_from(shard).unwrap());
                assert_ne!(from, to, "talks to itself");
                self.shards[usize::from(to.0)].mail.push_back((from, envelope));
            }
            Output::Observed(observer, message) => self.observed.push((observer, message)),
            Output::Ask(token, question) => self.questions.push((shard, token, question)),
            Output::Fetch(session, after, limit) => self.fetch(shard, session, after, limit),
            Output::Pause(id) => assert!(self.paused.insert(id), "paused twice"),
            Output::Resume(id) => assert!(self.paused.remove(&id), "was not paused"),
            Output::WakeAt(at) => self.shards[shard].wake_at = Some(at),
        }
    }

    fn write(&mut self) {
        let mut causes: Vec<(Cause, Vec<Change>)> = Vec::new();
        for written in self.pending.take(&[]) {
            match causes.iter_mut().find(|(cause, _)| *cause == written.cause) {
                Some((_, changes)) => changes.extend(written.changes),
                None => causes.push((written.cause, written.changes)),
            }
        }
        for (cause, changes) in causes {
            if changes.is_empty() {
                // Nothing to write is as safe as it will ever be.
                self.synced(cause);
            } else {
                self.unsynced.push((cause, changes));
            }
        }
        if !self.disk_is_slow {
            self.sync_all();
        }
    }

    /// Everything written becomes safe.
    pub fn sync(&mut self) {
        self.sync_all();
        self.work();
    }

    /// The first of what was written becomes safe.
    pub fn sync_some(&mut self, count: usize) {
        self.sync_first(count);
        self.work();
    }

    fn sync_all(&mut self) {
        self.sync_first(usize::MAX);
    }

    fn sync_first(&mut self, count: usize) {
        let count = count.min(self.unsynced.len());
        for (cause, changes) in self.unsynced.drain(..count).collect::<Vec<_>>() {
            for change in changes {
                self.disk.apply(change);
            }
            self.synced(cause);
        }
    }

    fn synced(&mut self, cause: Cause) {
        for shard in self.writers.remove(&cause).unwrap_or_default() {
            self.shards[shard].shard.handle(self.now, Input::Synced(cause));
        }
    }

    /// What a session has on the disk: as soon as everything is there that was written before.
    fn fetch(&mut self, shard: usize, session: SessionNumber, after: u64, limit: usize) {
        self.sync_all();
        let found = self.disk.read_queue(session, after, limit).unwrap();
        self.shards[shard].shard.handle(self.now, Input::Fetched(session, found));
    }

    /// The disk has no room, or has room again.
    pub fn fill_disk(&mut self, is_full: bool) {
        for shard in 0..self.shards.len() {
            self.tell(shard, Input::Full(is_full));
        }
        self.work();
    }

    /// Memory is this short.
    pub fn press(&mut self, pressure: Pressure) {
        for shard in 0..self.shards.len() {
            self.tell(shard, Input::Pressure(pressure));
        }
        self.work();
    }

    /// The process ends here: what was not synced is lost, and new shards start from the rest.
    pub fn crash(&mut self) {
        self.unsynced.clear();
        self.writers.clear();
        self.pending = Pending::default();
        self.lines.clear();
        self.start(AllowAll);
        let count = shards();
        for shard in 0..count {
            let stored: Vec<_> = self.disk.stored_at(ShardId(shard), count).collect();
            self.shards[usize::from(shard)].shard.restore(self.now, stored);
        }
        self.work();
    }

    pub fn answer(&mut self, decision: Decision) {
        let (shard, token, _) = self.questions.pop().expect("nothing was asked");
        self.tell(shard, Input::Answer(token, decision));
    }

    /// Time passes.
    pub fn pass(&mut self, milliseconds: u64) {
        let end = self.now.mono + milliseconds;
        loop {
            let next =
                (0..self.shards.len()).filter_map(|shard| Some((self.shards[shard].wake_at?, shard))).min();
            let Some((at, shard)) = next.filter(|&(at, _)| at <= end) else { break };
            let step = at.saturating_sub(self.now.mono);
            self.now.mono += step;
            self.now.wall += step;
            self.shards[shard].wake_at = None;
            self.tell(shard, Input::Timeout);
        }
        self.now.wall += end - self.now.mono;
        self.now.mono = end;
    }

    pub fn seconds(&mut self, seconds: u64) {
        self.pass(seconds * 1000);
    }

    /// A connection on which nothing was said.
    pub fn open(&mut self) -> Client {
        self.last_id += 1;
        let id = ConnId(self.last_id);
        self.lines.insert(id, Line::default());
        self.versions.insert(id, Version::V3_1_1);
        self.handle(Input::Opened(id, (u128::from(self.last_id) << 64).to_be_bytes()));
        Client(id)
    }

    pub fn connect_with(&mut self, connect: Connect<'_>) -> Client {
        let client = self.open();
        self.versions.insert(client.0, connect.version);
        self.send(client, Packet::Connect(connect));
        client
    }

    /// A connected client with a clean session.
    pub fn client(&mut self, version: Version, client_id: &str) -> Client {
        let client = self.connect_with(clean(version, client_id));
        self.accepted(client);
        client
    }

    /// A client that is at home on another shard than this one; `None` where there is no other.
    pub fn client_elsewhere(&mut self, version: Version, other: Client) -> Option<Client> {
        let there = self.lines[&other.0].shard;
        let name = (0..20)
            .map(|number| format!("other{number}"))
            .find(|name| usize::from(home(name.as_bytes(), shards()).0) != there)?;
        Some(self.client(version, &name))
    }

    /// A connected client with a session that never ends by itself; says whether it was there.
    pub fn resume(&mut self, version: Version, client_id: &str) -> (Client, bool) {
        let client = self.connect_with(kept(version, client_id));
        let connack = self.first(client);
        assert!(connack.starts_with("CONNACK 0x00 Success"), "{connack}");
        (client, connack.contains("session present"))
    }

    pub fn accepted(&mut self, client: Client) -> String {
        let connack = self.first(client);
        assert!(connack.starts_with("CONNACK 0x00 Success"), "{connack}");
        connack
    }

    pub fn send(&mut self, client: Client, packet: Packet<'_>) {
        let mut bytes = vec![0; packet.encoded_len(self.versions[&client.0])];
        packet
            .encode(self.versions[&client.0], &mut SliceSink::new(&mut bytes))
            .unwrap_or_else(|error| panic!("{packet}: {error}"));
        self.raw(client, &bytes);
    }

    /// Bytes, cut into packets as the shell does, which hands over all that came at once.
    pub fn raw(&mut self, client: Client, bytes: &[u8]) {
        let (mut rest, mut kept) = (bytes, bytes);
        while !rest.is_empty() {
            match Frame::split(rest) {
                Ok(Some((frame, behind))) => {
                    self.hand_over(client, frame);
                    rest = behind;
                    if rest.is_empty() || frame.packet_type() == PacketType::Connect {
                        self.handle(Input::Packets(client.0, &kept[..kept.len() - rest.len()]));
                        kept = rest;
                    }
                }
                Ok(None) => panic!("half a packet: {rest:02x?}"),
                Err(error) => {
                    self.handle(Input::Packets(client.0, &kept[..kept.len() - rest.len()]));
                    self.handle(Input::Broken(client.0, error));
                    return;
                }
            }
        }
    }

    /// A connection follows its session, as soon as its CONNECT says whose it is.
    fn hand_over(&mut self, client: Client, frame: Frame<'_>) {
        let line = self.lines.get_mut(&client.0).unwrap();
        let Ok(connect) = Connect::decode(frame) else { return };
        if std::mem::replace(&mut line.has_connected, true) || connect.client_id.is_empty() {
            return;
        }
        let home = usize::from(home(connect.client_id.as_bytes(), shards()).0);
        if home != line.shard {
            self.handle(Input::Closed(client.0));
            self.lines.get_mut(&client.0).unwrap().shard = home;
            self.handle(Input::Opened(client.0, (u128::from(client.0.0) << 64).to_be_bytes()));
        }
    }

    pub fn hex(&mut self, client: Client, hex: &str) {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        self.raw(client, &bytes);
    }

    pub fn publish(&mut self, client: Client, topic: &str, qos: u8, id: u16, payload: &str) {
        self.send(client, Packet::Publish(message(topic, qos, id, payload)));
    }

    pub fn retain(&mut self, client: Client, topic: &str, payload: &str) {
        let publish = Publish { retain: true, ..message(topic, 0, 0, payload) };
        self.send(client, Packet::Publish(publish));
    }

    pub fn ack(&mut self, client: Client, kind: AckKind, id: u16) {
        self.send(client, Packet::Ack(Ack::new(kind, PacketId::new(id).unwrap())));
    }

    /// Subscribes and takes the SUBACK, which must be first.
    pub fn subscribe(&mut self, client: Client, filter: &str, qos: u8) {
        self.subscribe_with(client, filter, SubscribeOptions::new(QoS::from_bits(qos).unwrap()), 0);
        let suback = self.first(client);
        assert_eq!(suback, format!("SUBACK id 99 [{}]", ReasonCode(qos)));
    }

    pub fn subscribe_with(&mut self, client: Client, filter: &str, options: SubscribeOptions, id: u32) {
        let filters = [SubscribeFilter { filter: TopicFilter::new(filter).unwrap(), options }];
        let mut room = [0; 16];
        let mut properties = PropertyWriter::new(PropertyPlace::of(PacketType::Subscribe), &mut room);
        if id > 0 {
            properties.push(Property::SubscriptionIdentifier(id)).unwrap();
        }
        let subscribe = Subscribe {
            properties: properties.finish(),
            ..Subscribe::new(PacketId::new(99).unwrap(), &filters)
        };
        self.send(client, Packet::Subscribe(subscribe));
    }

    pub fn unsubscribe(&mut self, client: Client, filter: &str) {
        let filters = [TopicFilter::new(filter).unwrap()];
        self.send(client, Packet::Unsubscribe(Unsubscribe::new(PacketId::new(98).unwrap(), &filters)));
    }

    pub fn disconnect(&mut self, client: Client) {
        self.send(client, Packet::Disconnect(Disconnect::default()));
    }

    /// The network fails.
    pub fn cut(&mut self, client: Client) {
        self.handle(Input::Closed(client.0));
        self.lines.remove(&client.0);
    }

    pub fn stall(&mut self, client: Client) {
        self.lines.get_mut(&client.0).unwrap().is_stalled = true;
    }

    /// The slow reader reads what there is, and stays slow.
    pub fn take(&mut self, client: Client) {
        let sent = std::mem::take(&mut self.lines.get_mut(&client.0).unwrap().unsent);
        self.handle(Input::Sent(client.0, sent));
    }

    /// The slow reader reads everything.
    pub fn unstall(&mut self, client: Client) {
        let line = self.lines.get_mut(&client.0).unwrap();
        line.is_stalled = false;
        let sent = std::mem::take(&mut line.unsent);
        self.handle(Input::Sent(client.0, sent));
    }

    /// The bytes that the client has not looked at.
    pub fn bytes(&mut self, client: Client) -> Vec<u8> {
        std::mem::take(&mut self.lines.get_mut(&client.0).unwrap().received)
    }

    /// The packets that the client has not looked at, one line each.
    pub fn received(&mut self, client: Client) -> Vec<String> {
        let version = self.versions[&client.0];
        let bytes = self.bytes(client);
        let mut rest = &bytes[..];
        let mut lines = Vec::new();
        while !rest.is_empty() {
            let (frame, behind) = Frame::split(rest).unwrap().expect("half a packet");
            let packet = Packet::decode(frame, version).unwrap();
            packet.check_sender(Role::Server, version).unwrap();
            lines.push(line(&packet));
            rest = behind;
        }
        lines
    }

    /// The next packet alone; the others stay.
    pub fn first(&mut self, client: Client) -> String {
        let version = self.versions[&client.0];
        let bytes = self.bytes(client);
        let (frame, rest) = Frame::split(&bytes).unwrap().unwrap_or_else(|| panic!("nothing came"));
        let text = line(&Packet::decode(frame, version).unwrap());
        self.lines.get_mut(&client.0).unwrap().received = rest.to_vec();
        text
    }

    #[track_caller]
    pub fn expect(&mut self, client: Client, lines: &[&str]) {
        assert_eq!(self.received(client), lines);
    }

    /// The connection was closed by the broker; how it said so and why.
    #[track_caller]
    pub fn expect_closed(&mut self, client: Client, lines: &[&str]) -> CloseReason {
        let closed = self.lines[&client.0].closed;
        let received = self.received(client);
        assert_eq!(received, lines);
        closed.expect("it is still open")
    }

    /// Whether the shell was told not to read from it.
    pub fn is_paused(&self, client: Client) -> bool {
        self.paused.contains(&client.0)
    }

    pub fn is_open(&self, client: Client) -> bool {
        self.lines[&client.0].closed.is_none()
    }
}

fn line(packet: &Packet<'_>) -> String {
    match packet {
        // The payload, and not how long it is.
        Packet::Publish(publish) => {
            let text = publish.to_string();
            let len = format!(" {} bytes", publish.payload.len());
            let payload =
                String::from_utf8_lossy(&publish.payload[..publish.payload.len().min(40)]).into_owned();
            text.replacen(&len, &format!(" {payload:?}"), 1)
        }
        other => other.to_string(),
    }
}

pub fn message<'a>(topic: &'a str, qos: u8, id: u16, payload: &'a str) -> Publish<'a> {
    let topic = TopicName::new(topic).unwrap();
    Publish {
        delivery: Delivery::new(QoS::from_bits(qos).unwrap(), PacketId::new(id)).unwrap(),
        ..Publish::new(topic, payload.as_bytes())
    }
}

pub fn clean(version: Version, client_id: &str) -> Connect<'_> {
    Connect { keep_alive: 0, ..Connect::new(version, Utf8Str::new(client_id).unwrap()) }
}

/// Session Expiry Interval of ever.
pub const FOR_EVER: &[u8] = &[0x11, 0xFF, 0xFF, 0xFF, 0xFF];

pub fn kept(version: Version, client_id: &str) -> Connect<'_> {
    let mut connect = Connect { clean_start: false, ..clean(version, client_id) };
    if version == Version::V5 {
        connect.properties = properties(PacketType::Connect, FOR_EVER);
    }
    connect
}

pub fn properties(packet: PacketType, block: &[u8]) -> Properties<'_> {
    Properties::from_block(block, PropertyPlace::of(packet)).unwrap()
}
