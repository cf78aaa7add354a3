//! Shards, the links between them and their disk, without threads and clocks.

use crate::HOSTILE;
use mqtt_broker_lite::core::{
    Access, Cause, Change, Client, CloseReason, ConnId, Credentials, Envelope, Input, Message, Now,
    ObserverId, Output, Policy, Settings, Shard, ShardId, Verdict, home,
};
use mqtt_broker_lite::store::{Memory, Pending, Store};
use mqtt_packet::{Connect, Frame, ReasonCode};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// One end of a connection.
#[derive(Default)]
pub struct Line {
    shard: usize,
    has_connected: bool,
    /// What the client sent and is no whole packet yet.
    begun: Vec<u8>,
    /// What the broker sent and nobody looked at yet.
    pub received: Vec<u8>,
    pub closed: Option<CloseReason>,
    unsent: usize,
    pub is_stalled: bool,
    pub is_paused: bool,
}

struct Node {
    shard: Shard,
    wake_at: Option<u64>,
}

pub struct World {
    nodes: Vec<Node>,
    settings: Settings,
    is_open: bool,
    pub now: Now,
    pub lines: BTreeMap<ConnId, Line>,
    last_line: u64,
    /// From one shard to another: in order, and not faster than it must be.
    links: BTreeMap<(usize, usize), VecDeque<Envelope>>,
    /// Chooses which link is next.
    chance: u32,
    pending: Pending,
    writers: BTreeMap<Cause, BTreeSet<usize>>,
    unsynced: VecDeque<(Cause, Vec<Change>)>,
    pub disk: Memory,
    pub disk_is_slow: bool,
    pub observed: Vec<(ObserverId, Arc<Message>)>,
}

/// The clients of the model may do everything, the others nothing but be there, under other names; or everything too.
#[derive(Clone)]
struct Doorman {
    is_open: bool,
}

pub fn is_known(client_id: &str) -> bool {
    matches!(client_id, "a" | "b" | "c" | "d")
}

impl Policy for Doorman {
    fn authenticate(&mut self, credentials: &Credentials) -> Verdict {
        let is_hostile = credentials.connection.0 >= HOSTILE;
        if is_hostile && !self.is_open && is_known(&credentials.client_id) {
            return Verdict::Refuse(ReasonCode::NOT_AUTHORIZED);
        }
        Verdict::Allow
    }

    fn authorize(&mut self, client: &Client, _: Access, _: &str) -> bool {
        self.is_open || client.client_id.is_empty() || is_known(&client.client_id)
    }

    fn restricts(&self, access: Access) -> bool {
        access != Access::Receive
    }
}

impl World {
    pub fn new(settings: Settings, is_open: bool, chance: u32) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            settings,
            is_open,
            now: Now { mono: 1_000, wall: 1_700_000_000_000 },
            lines: BTreeMap::new(),
            last_line: 0,
            links: BTreeMap::new(),
            chance: chance | 1,
            pending: Pending::default(),
            writers: BTreeMap::new(),
            unsynced: VecDeque::new(),
            disk: Memory::default(),
            disk_is_slow: false,
            observed: Vec::new(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let make = |shard| Node {
            shard: Shard::new(
                Settings { shard: ShardId(shard), ..self.settings.clone() },
                Box::new(Doorman { is_open: self.is_open }),
            ),
            wake_at: None,
        };
        self.nodes = (0..self.settings.shards).map(make).collect();
    }

    /// The process ends, with everything safe and nobody connected, and starts again with so many shards.
    pub fn restart(&mut self, shards: u16) {
        self.lines.clear();
        self.links.clear();
        self.settings.shards = shards;
        self.start();
        let last = self.disk.last_number().expect("memory can be read");
        for shard in 0..shards {
            self.nodes[usize::from(shard)].shard.restore_numbers(last);
            let stored: Vec<_> = self.disk.stored_at(ShardId(shard), shards).collect();
            self.nodes[usize::from(shard)].shard.restore(self.now, stored);
        }
        self.work();
    }

    pub fn tell(&mut self, shard: usize, input: Input<'_>) {
        self.nodes[shard].shard.handle(self.now, input);
        self.work();
    }

    fn work(&mut self) {
        loop {
            for index in 0..self.nodes.len() {
                while let Some(output) = self.nodes[index].shard.poll() {
                    self.obey(index, output);
                }
            }
            let ready: Vec<_> =
                self.links.iter().filter(|(_, mail)| !mail.is_empty()).map(|(link, _)| *link).collect();
            if ready.is_empty() {
                break;
            }
            // xorshift
            self.chance ^= self.chance << 13;
            self.chance ^= self.chance >> 17;
            self.chance ^= self.chance << 5;
            let (from, to) = ready[self.chance as usize % ready.len()];
            let envelope =
                self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("it is ready");
            let from = ShardId(u16::try_from(from).expect("few shards"));
            self.nodes[to].shard.handle(self.now, Input::Link(from, envelope));
        }
    }

    fn obey(&mut self, shard: usize, output: Output) {
        match output {
            Output::Send(id, wire) => {
                let Some(line) = self.lines.get_mut(&id) else { return };
                assert!(line.closed.is_none(), "sent after the close");
                line.received.extend(wire.to_vec());
                line.unsent += wire.len();
                if !line.is_stalled {
                    let sent = std::mem::take(&mut line.unsent);
                    self.nodes[shard].shard.handle(self.now, Input::Sent(id, sent));
                }
            }
            Output::Close(id, reason) => {
                if let Some(line) = self.lines.get_mut(&id) {
                    assert_eq!(line.closed.replace(reason), None, "closed twice");
                }
            }
            Output::Write(cause, part, changes) => {
                assert!(self.settings.durable, "nothing survives, and something is written");
                self.writers.entry(cause).or_default().insert(shard);
                self.pending.write(ShardId(u16::try_from(shard).expect("few")), cause, part, changes);
                self.write();
            }
            Output::Link(to, envelope) => {
                self.links.entry((shard, to.0.into())).or_default().push_back(envelope);
            }
            Output::Observed(observer, message) => {
                self.observed.push((observer, message));
                self.nodes[shard].shard.handle(self.now, Input::Took(observer, 1));
            }
            Output::Ask(..) => panic!("nobody answers here"),
            Output::Fetch(session, after, limit) => {
                self.sync_all();
                let found = self.disk.read_queue(session, after, limit).expect("memory can be read");
                self.nodes[shard].shard.handle(self.now, Input::Fetched(session, found));
            }
            Output::Pause(id) => self.pause(id, true),
            Output::Resume(id) => self.pause(id, false),
            Output::WakeAt(at) => self.nodes[shard].wake_at = Some(at),
        }
    }

    fn pause(&mut self, id: ConnId, is_paused: bool) {
        if let Some(line) = self.lines.get_mut(&id) {
            assert_ne!(line.is_paused, is_paused, "told twice");
            line.is_paused = is_paused;
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
        self.unsynced.extend(causes);
        if !self.disk_is_slow {
            self.sync_all();
        }
    }

    pub fn sync(&mut self) {
        self.sync_all();
        self.work();
    }

    fn sync_all(&mut self) {
        while let Some((cause, changes)) = self.unsynced.pop_front() {
            changes.into_iter().for_each(|change| self.disk.apply(change));
            for shard in self.writers.remove(&cause).unwrap_or_default() {
                self.nodes[shard].shard.handle(self.now, Input::Synced(cause));
            }
        }
    }

    /// Time passes, but no further than to the next thing that the model knows of.
    pub fn pass(&mut self, milliseconds: u64) {
        let end = self.now.mono + milliseconds;
        let mut turns = 0;
        loop {
            let next =
                (0..self.nodes.len()).filter_map(|shard| Some((self.nodes[shard].wake_at?, shard))).min();
            let Some((at, shard)) = next.filter(|&(at, _)| at <= end) else { break };
            turns += 1;
            assert!(turns < 10_000, "it never sleeps");
            self.go_on_to(at.max(self.now.mono));
            self.nodes[shard].wake_at = None;
            self.tell(shard, Input::Timeout);
        }
        self.go_on_to(end);
    }

    fn go_on_to(&mut self, mono: u64) {
        self.now.wall += mono - self.now.mono;
        self.now.mono = mono;
    }

    pub fn open(&mut self, is_hostile: bool) -> ConnId {
        self.last_line += 1;
        let id = ConnId(self.last_line + if is_hostile { HOSTILE } else { 0 });
        self.lines.insert(id, Line::default());
        self.tell(0, Input::Opened(id, entropy(id)));
        id
    }

    /// Bytes of a client: those of whole packets together, as the shell hands them over.
    pub fn bytes(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let mut begun = std::mem::take(&mut line.begun);
        begun.extend(bytes);
        let (mut rest, mut first) = (&begun[..], None);
        let end = loop {
            match Frame::split(rest) {
                Ok(Some((frame, behind))) => {
                    first.get_or_insert(frame);
                    rest = behind;
                }
                end => break end.err(),
            }
        };
        if let Some(frame) = first {
            self.hand_over(id, frame);
            self.about(id, Input::Packets(id, &begun[..begun.len() - rest.len()]));
        }
        if let Some(error) = end {
            self.about(id, Input::Broken(id, error));
        } else if let Some(line) = self.lines.get_mut(&id) {
            line.begun = rest.to_vec();
        }
    }

    fn about(&mut self, id: ConnId, input: Input<'_>) {
        if let Some(line) = self.lines.get(&id).filter(|line| line.closed.is_none()) {
            self.tell(line.shard, input);
        }
    }

    /// A connection follows its session.
    fn hand_over(&mut self, id: ConnId, frame: Frame<'_>) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Ok(connect) = Connect::decode(frame) else { return };
        if std::mem::replace(&mut line.has_connected, true) || connect.client_id.is_empty() {
            return;
        }
        let (old, new) =
            (line.shard, usize::from(home(connect.client_id.as_bytes(), self.settings.shards).0));
        if new != old {
            line.shard = new;
            self.tell(old, Input::Closed(id));
            self.tell(new, Input::Opened(id, entropy(id)));
        }
    }

    /// The network fails.
    pub fn cut(&mut self, id: ConnId) {
        self.about(id, Input::Closed(id));
        self.lines.remove(&id);
    }

    pub fn stall(&mut self, id: ConnId, is_stalled: bool) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.is_stalled = is_stalled;
        if !is_stalled {
            let sent = std::mem::take(&mut line.unsent);
            self.about(id, Input::Sent(id, sent));
        }
    }
}

fn entropy(id: ConnId) -> [u8; 16] {
    (u128::from(id.0) << 64).to_be_bytes()
}
