//! A shard, its disk and its clients, without threads, sockets and clocks. What a client received is compared as text:
//! one line for each packet.

use mqtt_broker_lite::core::{
    AllowAll, Cause, Change, CloseReason, ConnId, Decision, Input, Now, Output, Part, Policy, Question,
    Settings, Shard, Token,
};
use mqtt_broker_lite::store::{Memory, Parts};
use mqtt_packet::*;
use std::collections::{BTreeMap, BTreeSet};

/// One end of a connection.
#[derive(Default)]
struct Line {
    received: Vec<u8>,
    closed: Option<CloseReason>,
    /// Bytes that were sent and that a slow reader leaves in the shell.
    unsent: usize,
    is_stalled: bool,
}

pub struct World {
    pub shard: Shard,
    settings: Settings,
    pub now: Now,
    lines: BTreeMap<ConnId, Line>,
    versions: BTreeMap<ConnId, Version>,
    last_id: u64,
    wake_at: Option<u64>,
    parts: Parts,
    pub disk: Memory,
    /// Written and not safe yet, if the disk is slow.
    unsynced: Vec<(Cause, Vec<Change>)>,
    pub disk_is_slow: bool,
    pub questions: Vec<(Token, Question)>,
    paused: BTreeSet<ConnId>,
}

/// A client's end.
#[derive(Clone, Copy)]
pub struct Client(pub ConnId);

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

    pub fn with_policy(settings: Settings, policy: impl Policy + 'static) -> Self {
        Self {
            shard: Shard::new(settings.clone(), Box::new(policy)),
            settings,
            now: Now { mono: 1_000, wall: 1_700_000_000_000 },
            lines: BTreeMap::new(),
            versions: BTreeMap::new(),
            last_id: 0,
            wake_at: None,
            parts: Parts::default(),
            disk: Memory::default(),
            unsynced: Vec::new(),
            disk_is_slow: false,
            questions: Vec::new(),
            paused: BTreeSet::new(),
        }
    }

    pub fn handle(&mut self, input: Input<'_>) {
        self.shard.handle(self.now, input);
        self.work();
    }

    fn work(&mut self) {
        while let Some(output) = self.shard.poll() {
            match output {
                Output::Send(id, wire) => {
                    let line = self.lines.get_mut(&id).expect("sent to a connection that never was");
                    assert!(line.closed.is_none(), "sent after the close");
                    line.received.extend(wire.to_vec());
                    line.unsent += wire.len();
                    if !line.is_stalled {
                        let sent = std::mem::take(&mut line.unsent);
                        self.shard.handle(self.now, Input::Sent(id, sent));
                    }
                }
                Output::Close(id, reason) => {
                    let line = self.lines.get_mut(&id).expect("closed a connection that never was");
                    assert_eq!(line.closed.replace(reason), None, "closed twice");
                }
                Output::Write(cause, part, changes) => self.write(cause, part, changes),
                Output::Ask(token, question) => self.questions.push((token, question)),
                Output::Pause(id) => assert!(self.paused.insert(id), "paused twice"),
                Output::Resume(id) => assert!(self.paused.remove(&id), "was not paused"),
                Output::WakeAt(at) => self.wake_at = Some(at),
            }
        }
    }

    fn write(&mut self, cause: Cause, part: Part, changes: Vec<Change>) {
        if let Some(changes) = self.parts.add(cause, part, changes) {
            self.unsynced.push((cause, changes));
        }
        if !self.disk_is_slow {
            self.sync();
        }
    }

    /// Everything written becomes safe.
    pub fn sync(&mut self) {
        for (cause, changes) in std::mem::take(&mut self.unsynced) {
            for change in changes {
                self.disk.apply(change);
            }
            self.shard.handle(self.now, Input::Synced(cause));
        }
        self.work();
    }

    /// The process ends here: what was not synced is lost, and a new shard starts from the rest.
    pub fn crash(&mut self) {
        self.unsynced.clear();
        self.parts = Parts::default();
        self.lines.clear();
        self.wake_at = None;
        self.shard = Shard::new(self.settings.clone(), Box::new(AllowAll));
        self.shard.restore(self.now, self.disk.stored());
        self.work();
    }

    pub fn answer(&mut self, decision: Decision) {
        let (token, _) = self.questions.pop().expect("nothing was asked");
        self.handle(Input::Answer(token, decision));
    }

    /// Time passes.
    pub fn pass(&mut self, milliseconds: u64) {
        let end = self.now.mono + milliseconds;
        while let Some(at) = self.wake_at.filter(|&at| at <= end) {
            let step = at.saturating_sub(self.now.mono);
            self.now.mono += step;
            self.now.wall += step;
            self.wake_at = None;
            self.handle(Input::Timeout);
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
        self.handle(Input::Opened(id, u128::from(self.last_id).to_be_bytes()));
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

    /// Bytes, cut into frames as the shell does.
    pub fn raw(&mut self, client: Client, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match Frame::split(rest) {
                Ok(Some((frame, behind))) => {
                    self.handle(Input::Frame(client.0, frame));
                    rest = behind;
                }
                Ok(None) => panic!("half a packet: {rest:02x?}"),
                Err(error) => {
                    self.handle(Input::Broken(client.0, error));
                    return;
                }
            }
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
        self.lines.remove(&client.0);
        self.handle(Input::Closed(client.0));
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
