//! The broker: our shards, unmodified, in a process that can crash, with a disk that loses what was not synced.

mod memory;
mod watch;

use crate::disk::{Disk, Fetched, Report};
use crate::plan::{BrokerPlan, Plan};
use crate::rights::Rights;
use crate::scene::{Event, Scene, client_name, client_number};
use crate::wire::{Arrival, ConnIndex, Direction, Unanswered};
use memory::Memory;
use mqtt_broker_lite::core::{
    Access, Client, CloseReason, ConnId, Credentials, Decision, Envelope, Input, Now, Output, Policy,
    Settings, Shard, ShardId, Token, Verdict,
};
use mqtt_packet::{DecodeError, Frame, Version};
use std::collections::{BTreeMap, VecDeque};

/// Lets everybody in, after having asked somebody if the plan says so.
struct Doorman {
    asks: bool,
    rights: Rights,
}

impl Policy for Doorman {
    fn authenticate(&mut self, _: &Credentials) -> Verdict {
        if self.asks { Verdict::Ask } else { Verdict::Allow }
    }

    fn authorize(&mut self, client: &Client, access: Access, name: &str) -> bool {
        client_number(&client.client_id).is_none_or(|client| self.rights.allow(client, access, name))
    }

    fn restricts(&self, _: Access) -> bool {
        self.rights.are_restricted
    }
}

/// What the process keeps of a connection.
#[derive(Debug)]
struct Peer {
    version: Version,
    /// The shard that has it; with several, its CONNECT decides.
    home: Option<u16>,
    /// Bytes that are no whole packet yet.
    received: Vec<u8>,
    /// Bytes that the pipe did not take yet.
    waiting: VecDeque<u8>,
    /// Topics that the client gave an alias to.
    aliases: BTreeMap<u16, String>,
    /// Its messages that are not answered yet.
    unanswered: Unanswered,
    last_packet: u64,
    keep_alive: u16,
    /// CONNACK was sent.
    is_connected: bool,
    /// DISCONNECT came and wants no will.
    left_in_order: bool,
    /// The shard wants nothing to be read from it for now.
    is_paused: bool,
    /// Everything was said: it is closed once all is written.
    is_closing: bool,
}

/// A will whose client is gone, until its delay is over.
struct KeptBack {
    due: u64,
    will: usize,
    /// Its client came back in time: whether the shard of its session knew that in time, CONNACK may tell.
    is_contested: bool,
}

/// The broker.
pub struct Broker {
    plan: BrokerPlan,
    rights: Rights,
    seed: u64,
    /// None while it is down.
    shards: Vec<Shard>,
    disk: Disk,
    peers: BTreeMap<ConnIndex, Peer>,
    /// What shards said to each other and is under way.
    links: BTreeMap<(u16, u16), VecDeque<Envelope>>,
    life: u32,
    /// Wills that are kept back, by their clients.
    wills: BTreeMap<usize, KeptBack>,
    /// When its process started; its monotonic clock begins there.
    started: u64,
    wake_at: Vec<Option<u64>>,
    /// What was written and is not reported yet, where that does not wait for the sync.
    written: VecDeque<Report>,
    /// A sync is due in a while, or under way.
    sync_is_due: bool,
    memory: Memory,
}

impl Broker {
    /// A broker that runs.
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let mut broker = Self {
            plan: plan.broker,
            rights: Rights::new(plan),
            seed,
            shards: Vec::new(),
            disk: Disk::default(),
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            life: 0,
            wills: BTreeMap::new(),
            started: 0,
            wake_at: Vec::new(),
            written: VecDeque::new(),
            sync_is_due: false,
            memory: Memory::default(),
        };
        broker.start();
        broker
    }

    fn start(&mut self) {
        self.shards = (0..self.plan.shards).map(|number| self.new_shard(number)).collect();
        self.wake_at = vec![None; self.shards.len()];
    }

    fn new_shard(&self, number: u16) -> Shard {
        let settings = Settings {
            shard: ShardId(number),
            shards: self.plan.shards,
            durable: self.plan.durable,
            may_forget: self.plan.interval.is_some(),
            seed: self.seed,
            receive_maximum: self.plan.receive_maximum,
            max_inflight: self.plan.max_inflight,
            window: self.plan.window,
            max_queue_messages: self.plan.max_queue,
            queue_window: if self.plan.durable { self.plan.queue_window } else { usize::MAX },
            outgoing_aliases: self.plan.outgoing_aliases,
            slow_queue_bytes: self.plan.slow_queue,
            ..Settings::default()
        };
        Shard::new(settings, Box::new(Doorman { asks: self.plan.asks, rights: self.rights }))
    }

    /// Whether everything that was said is written, and everything that was written is safe.
    pub fn is_at_rest(&self) -> bool {
        !self.shards.is_empty()
            && self.disk.is_idle()
            && self.links.values().all(VecDeque::is_empty)
            && self.peers.values().all(|peer| peer.waiting.is_empty())
    }

    /// What is on its disk and should not be, now that nothing is to be done.
    pub fn remains(&self) -> Vec<String> {
        self.disk.remains()
    }

    /// What is under way to and from each client, in words.
    pub fn state(&self, scene: &Scene) -> Vec<String> {
        let peer = |(index, peer): (&ConnIndex, &Peer)| {
            let connection = &scene.connections[*index];
            let client = client_name(connection.client);
            let paused = if peer.is_paused { ", not read" } else { "" };
            format!(
                "{client}: {:?} {:?}, {} bytes wait{paused}",
                connection.up,
                connection.down,
                peer.waiting.len()
            )
        };
        self.peers.iter().map(peer).collect()
    }

    fn time(&self, scene: &Scene) -> Now {
        Now { mono: scene.now - self.started, wall: scene.wall() }
    }

    /// Something happens on a connection, on the shard that has it.
    fn handle_at(&mut self, index: ConnIndex, input: Input<'_>, scene: &mut Scene) {
        if let Some(home) = self.peers.get(&index).and_then(|peer| peer.home) {
            self.handle(home, input, scene);
        }
    }

    /// Something happens to a shard; then what it says is done.
    fn handle(&mut self, number: u16, input: Input<'_>, scene: &mut Scene) {
        let now = self.time(scene);
        let Some(shard) = self.shards.get_mut(usize::from(number)) else {
            return;
        };
        let is_told = matches!(input, Input::Pressure(_));
        shard.handle(now, input);
        self.obey(number, scene);
        if !is_told {
            self.weigh(scene);
        }
    }

    /// Does what a shard says.
    fn obey(&mut self, number: u16, scene: &mut Scene) {
        let mut touched = Vec::new();
        let at = usize::from(number);
        while let Some(output) = self.shards.get_mut(at).and_then(Shard::poll) {
            match output {
                Output::Send(id, wire) => {
                    self.say(id, &wire, scene);
                    touched.push(id.0 as usize);
                    self.shards[at].reuse(wire);
                }
                Output::Close(id, reason) => {
                    self.end(id, reason, scene);
                    touched.push(id.0 as usize);
                }
                Output::Write(cause, part, changes) => self.disk.write(cause, part, number, changes),
                Output::Link(to, envelope) => {
                    self.links.entry((number, to.0)).or_default().push_back(envelope);
                    let delay = scene.rng.delay(20);
                    scene.after(delay, Event::Link(number, to.0, self.life));
                }
                Output::Ask(token, _) => {
                    let delay = scene.rng.delay(1000);
                    scene.after(delay, Event::Answer(number, token, self.life));
                }
                Output::Fetch(session, after, limit) => self.disk.fetch(number, session, after, limit),
                Output::Pause(id) => self.pause(id, true, scene),
                Output::Resume(id) => self.pause(id, false, scene),
                Output::WakeAt(mono) => {
                    let wake_at = (self.started + mono).max(scene.now);
                    self.wake_at[at] = Some(wake_at);
                    scene.after(wake_at - scene.now, Event::BrokerWake(number, self.life));
                }
                // What a program around the broker asked for: there is none here.
                #[allow(unreachable_patterns)]
                _ => {}
            }
        }
        self.sync(scene);
        for index in touched {
            self.flush(index, scene);
        }
    }

    fn sync(&mut self, scene: &mut Scene) {
        if let Some(interval) = self.plan.interval {
            let report = self.disk.write_behind(scene.now);
            if !report.safe.is_empty() && !self.sync_is_due {
                self.sync_is_due = true;
                scene.after(interval, Event::DiskDue(self.life));
            }
            if !report.safe.is_empty() || !report.found.is_empty() {
                self.written.push_back(report);
                scene.after(0, Event::DiskWritten(self.life));
            }
        } else if self.disk.begin(scene.now) {
            let delay = scene.rng.delay(self.plan.sync);
            scene.after(delay, Event::DiskSynced(self.life));
        }
    }

    /// What was written counts as safe.
    pub fn disk_written(&mut self, life: u32, scene: &mut Scene) {
        if life == self.life
            && let Some(report) = self.written.pop_front()
        {
            self.report(report, scene);
        }
    }

    /// Shards hear what of theirs is safe, and get what they asked for.
    fn report(&mut self, report: Report, scene: &mut Scene) {
        for (number, cause) in report.safe {
            self.handle(number, Input::Synced(cause), scene);
        }
        for Fetched { reader, session, changes } in report.found {
            scene.oracle.figures.fetched += changes.len() as u64;
            self.handle(reader, Input::Fetched(session, changes), scene);
        }
    }

    /// What was written since the last time is to be synced.
    pub fn disk_due(&mut self, life: u32, scene: &mut Scene) {
        if life == self.life && self.disk.start_sync() {
            let delay = scene.rng.delay(self.plan.sync);
            scene.after(delay, Event::DiskSynced(self.life));
        }
    }

    /// What one shard said comes to another, in the order in which it was said.
    pub fn link(&mut self, from: u16, to: u16, life: u32, scene: &mut Scene) {
        if life != self.life {
            return;
        }
        if let Some(envelope) = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front) {
            self.handle(to, Input::Link(ShardId(from), envelope), scene);
        }
    }

    /// A connection goes to the shard of its client.
    fn settle(&mut self, index: ConnIndex, home: ShardId, scene: &mut Scene) {
        if let Some(peer) = self.peers.get_mut(&index) {
            peer.home = Some(home.0);
            let entropy = u128::from(scene.rng.draw()).to_be_bytes();
            self.handle(home.0, Input::Opened(ConnId(index as u64), entropy), scene);
        }
    }

    /// A client opens a connection.
    pub fn open(&mut self, index: ConnIndex, scene: &mut Scene) {
        let connection = &mut scene.connections[index];
        if connection.is_cut || !connection.client_has_it {
            return;
        }
        if self.shards.is_empty() {
            scene.after(0, Event::ClientLost(index));
            return;
        }
        connection.broker_has_it = true;
        connection.was_accepted = true;
        self.peers.insert(
            index,
            Peer {
                version: Version::V3_1_1,
                home: None,
                received: Vec::new(),
                waiting: VecDeque::new(),
                aliases: BTreeMap::new(),
                unanswered: Unanswered::default(),
                last_packet: scene.now,
                keep_alive: 0,
                is_connected: false,
                left_in_order: false,
                is_paused: false,
                is_closing: false,
            },
        );
        if self.shards.len() == 1 {
            self.settle(index, ShardId(0), scene);
        }
        scene.carry(index, Direction::Up);
    }

    /// Something comes out of the pipe from a client.
    pub fn arrive(&mut self, index: ConnIndex, scene: &mut Scene) {
        if self.peers.get(&index).is_none_or(|peer| peer.is_paused) {
            // It stays in the pipe.
            scene.connections[index].up.scheduled = false;
            return;
        }
        match scene.read(index, Direction::Up) {
            Arrival::Bytes(bytes) => self.receive(index, &bytes, scene),
            Arrival::End => self.lost(index, scene),
            Arrival::Nothing => {}
        }
    }

    fn receive(&mut self, index: ConnIndex, bytes: &[u8], scene: &mut Scene) {
        let Some(peer) = self.peers.get_mut(&index).filter(|peer| !peer.is_closing) else {
            return;
        };
        peer.received.extend_from_slice(bytes);
        let mut received = std::mem::take(&mut peer.received);
        let mut rest = &received[..];
        loop {
            let (packets, behind, error) = self.observe_some(index, rest, scene);
            if !packets.is_empty() {
                self.handle_at(index, Input::Packets(ConnId(index as u64), packets), scene);
            }
            rest = behind;
            if let Some(error) = error {
                self.handle_at(index, Input::Broken(ConnId(index as u64), error), scene);
                rest = &[];
            }
            if packets.is_empty() {
                break;
            }
        }
        let seen = received.len() - rest.len();
        received.drain(..seen);
        if let Some(peer) = self.peers.get_mut(&index) {
            peer.received = received;
        }
    }

    /// Looks at the first packet, and at those behind it where nothing is answered between them: they are handed over at
    /// once. Returns them, what is behind, and what is wrong with that.
    fn observe_some<'b>(
        &mut self,
        index: ConnIndex,
        bytes: &'b [u8],
        scene: &mut Scene,
    ) -> (&'b [u8], &'b [u8], Option<DecodeError>) {
        let mut rest = bytes;
        let mut error = None;
        while rest.len() == bytes.len() || is_at_most_once(bytes) && is_at_most_once(rest) {
            match Frame::split(rest) {
                Ok(Some((frame, behind))) => {
                    rest = behind;
                    self.observe(index, frame, scene);
                }
                Ok(None) => break,
                Err(wrong) => {
                    error = Some(wrong);
                    break;
                }
            }
        }
        (&bytes[..bytes.len() - rest.len()], rest, error)
    }

    fn pause(&mut self, id: ConnId, is_paused: bool, scene: &mut Scene) {
        let index = id.0 as usize;
        if let Some(peer) = self.peers.get_mut(&index) {
            peer.is_paused = is_paused;
            scene.carry(index, Direction::Up);
        }
    }

    /// Writes what waits, and tells the shard how much went.
    pub fn flush(&mut self, index: ConnIndex, scene: &mut Scene) {
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        let n = scene.write(index, Direction::Down, peer.waiting.make_contiguous());
        peer.waiting.drain(..n);
        if peer.is_closing {
            if peer.waiting.is_empty() {
                self.peers.remove(&index);
                scene.close(index, Direction::Down);
            }
        } else if n > 0 {
            self.handle_at(index, Input::Sent(ConnId(index as u64), n), scene);
        }
    }

    /// The shard closes a connection.
    fn end(&mut self, id: ConnId, reason: CloseReason, scene: &mut Scene) {
        let index = id.0 as usize;
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        peer.is_closing = true;
        // What else comes is read and thrown away, so that the end is seen.
        peer.is_paused = false;
        scene.carry(index, Direction::Up);
        let client = scene.connections[index].client;
        scene.note(|| format!("broker: closes the connection of {}: {reason}", client_name(client)));
        let silent = scene.now - peer.last_packet;
        match reason {
            CloseReason::Disconnected | CloseReason::ConnectTimeout | CloseReason::ShuttingDown => {}
            CloseReason::TakenOver => scene.oracle.figures.takeovers += 1,
            CloseReason::KeepAlive if silent >= u64::from(peer.keep_alive) * 1500 => {}
            CloseReason::Refused(_) if scene.oracle.was_exhausted => {}
            _ => scene.oracle.broken(scene.now, "a client that keeps to the protocol is kept", || {
                format!("{}: {reason} ({:?})", client_name(client), reason.statement())
            }),
        }
        self.gone(index, reason == CloseReason::TakenOver, scene);
        scene.connections[index].broker_has_it = false;
    }

    /// Tells the oracle that the broker has a connection no more.
    fn gone(&mut self, index: ConnIndex, is_taken_over: bool, scene: &mut Scene) {
        let Some(peer) = self.peers.get(&index) else {
            return;
        };
        let client = scene.connections[index].client;
        if !is_taken_over {
            scene.oracle.sessions.lost(scene.now, client, index);
            scene.oracle.sessions.given_up(scene.now, client, index);
        }
        match scene.connections[index].will {
            Some((will, _)) if peer.left_in_order => scene.oracle.will_cancelled(scene.now, will),
            Some((will, 0)) if peer.is_connected => scene.oracle.will_due(scene.now, will),
            Some((will, delay)) if peer.is_connected => {
                self.wills.insert(client, KeptBack { due: scene.now + delay, will, is_contested: false });
            }
            _ => {}
        }
    }

    /// A connection is gone.
    pub fn lost(&mut self, index: ConnIndex, scene: &mut Scene) {
        let Some(peer) = self.peers.get(&index) else {
            return;
        };
        if !peer.is_closing {
            let client = scene.connections[index].client;
            scene.note(|| format!("broker: notices that the connection of {} is gone", client_name(client)));
            self.gone(index, false, scene);
            self.handle_at(index, Input::Closed(ConnId(index as u64)), scene);
        }
        self.peers.remove(&index);
        scene.close(index, Direction::Down);
    }

    /// A deadline of a shard has come.
    pub fn wake(&mut self, number: u16, life: u32, scene: &mut Scene) {
        let wake_at = self.wake_at.get_mut(usize::from(number));
        let Some(wake_at) = wake_at.filter(|at| life == self.life && **at == Some(scene.now)) else {
            return;
        };
        *wake_at = None;
        self.handle(number, Input::Timeout, scene);
        for (_, kept) in self.wills.extract_if(.., |_, kept| kept.due <= scene.now && !kept.is_contested) {
            scene.oracle.will_due(scene.now, kept.will);
        }
    }

    /// The disk has synced: every shard that wrote something hears of it.
    pub fn disk_synced(&mut self, life: u32, scene: &mut Scene) {
        if life != self.life {
            return;
        }
        let report = self.disk.finish();
        self.report(report, scene);
        let most = self.plan.max_queue + usize::from(self.plan.max_inflight);
        if self.plan.max_queue < 1000 && self.disk.longest_queue() > most {
            scene.oracle.broken(scene.now, "what waits for a session is bounded", || {
                format!("{} messages", self.disk.longest_queue())
            });
        }
        match self.plan.interval.filter(|_| !self.disk.is_idle()) {
            Some(interval) => scene.after(interval, Event::DiskDue(self.life)),
            None => self.sync_is_due = false,
        }
        self.sync(scene);
    }

    /// Somebody says that a client may come in.
    pub fn answer(&mut self, number: u16, token: Token, life: u32, scene: &mut Scene) {
        if life == self.life {
            self.handle(number, Input::Answer(token, Decision::Allow), scene);
        }
    }

    /// Everything in its memory is gone, and of its disk what was not synced.
    pub fn crash(&mut self, millis: u64, damaged: u32, scene: &mut Scene) {
        if self.shards.is_empty() {
            return;
        }
        self.shards.clear();
        self.links.clear();
        self.forget_pressure(scene);
        scene.note(|| "broker: crashes".into());
        self.life += 1;
        self.wills.clear();
        self.written.clear();
        self.sync_is_due = false;
        let loss = self.disk.crash(&mut scene.rng, damaged);
        scene.note(|| format!("disk: {loss:?}"));
        scene.oracle.broker_crashed(scene.now, self.plan, &loss);
        let is_undone = !self.plan.durable || self.plan.interval.is_some() && loss.since.is_some();
        for connection in &mut scene.connections {
            let is_dropped = loss.dropped.contains(client_name(connection.client));
            connection.is_orphan |= connection.was_accepted && (is_undone || is_dropped);
        }
        for index in std::mem::take(&mut self.peers).into_keys() {
            let client = scene.connections[index].client;
            scene.oracle.sessions.lost(scene.now, client, index);
            scene.connections[index].broker_has_it = false;
            scene.cut(index, 5000, 0);
        }
        scene.after(millis, Event::BrokerRestart);
    }
    /// It is back, with what its disk has.
    pub fn restart(&mut self, scene: &mut Scene) {
        self.started = scene.now;
        self.start();
        let now = self.time(scene);
        for number in 0..self.plan.shards {
            let (stored, rest) = self.disk.contents(number, self.plan.shards, self.plan.queue_window);
            let shard = &mut self.shards[usize::from(number)];
            shard.restore(now, stored);
            for (session, last, messages) in rest {
                shard.restore_rest(session, last, &messages);
            }
        }
        for number in 0..self.plan.shards {
            self.obey(number, scene);
        }
        // Nobody is let in before the shards know of each other what they need to know.
        while let Some((&(from, to), _)) = self.links.iter().find(|(_, envelopes)| !envelopes.is_empty()) {
            self.link(from, to, self.life, scene);
        }
    }
}

/// Whether a PUBLISH of QoS 0 is in front.
fn is_at_most_once(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0xFE == 0x30)
}
