//! The broker of a small world: our shard, and a disk that it writes to.

use super::automaton::{Part, Ran};
use super::identity::{self, Batch};
use super::party::packets;
use super::{Said, Words};
use mqtt_broker_lite::core::{AllowAll, Cause, Change, ConnId, Input, Now, Output, Settings, Shard, ShardId};
use mqtt_broker_lite::store::Memory;
use std::fmt::Write;
use std::sync::Arc;

/// Nothing takes time.
const NOW: Now = Now { mono: 0, wall: 0 };

/// What happens to the broker. Of each client it has one connection, because a CONNECT ends others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Happening {
    /// A client's CONNECT comes on a new connection.
    Connect(u8, u32),
    /// Another packet of it comes.
    Packet(u8, u32),
    /// It notices that the connection is gone.
    Lost(u8),
    /// The disk has synced.
    Synced,
    /// It crashes and comes back; what was being written is there or not.
    Crash(bool),
}

/// What the search has to know about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokerFacts {
    pub(super) is_writing: bool,
    /// Whether the disk has nothing of an exchange or a message.
    pub(super) is_clean: bool,
}

pub(super) struct Broker {
    pub(super) words: Arc<Words>,
}

impl Part for Broker {
    type Input = Happening;
    /// What it says to each client.
    type Output = [u32; 2];
    type Facts = BrokerFacts;

    fn run(&self, inputs: &[Happening]) -> Ran<[u32; 2], BrokerFacts> {
        let mut live = Live::new(&self.words);
        let mut output = [Words::NOTHING; 2];
        for input in inputs {
            output = live.take(*input);
        }
        let left = live.left();
        Ran {
            identity: live.identity(),
            output,
            facts: BrokerFacts { is_writing: !live.writing.is_empty(), is_clean: left.is_empty() },
            words: if left.is_empty() { String::new() } else { format!("the disk has {left:?}") },
        }
    }
}

struct Live<'w> {
    words: &'w Words,
    shard: Shard,
    disk: Memory,
    /// What is to be written, and what is being written.
    pending: Vec<(Cause, Vec<Change>)>,
    writing: Vec<(Cause, Vec<Change>)>,
    /// The connection that it has of each client.
    connections: [Option<ConnId>; 2],
    said: [Vec<Said>; 2],
}

impl<'w> Live<'w> {
    fn new(words: &'w Words) -> Self {
        Self {
            words,
            shard: new_shard(),
            disk: Memory::default(),
            pending: Vec::new(),
            writing: Vec::new(),
            connections: [None; 2],
            said: Default::default(),
        }
    }

    fn take(&mut self, input: Happening) -> [u32; 2] {
        match input {
            Happening::Connect(client, packet) => {
                let connection = &mut self.connections[usize::from(client)];
                // Each client has two in turn, so that the order of theirs is always the same.
                let first = ConnId(1 + 2 * u64::from(client));
                let id = if *connection == Some(first) { ConnId(first.0 + 1) } else { first };
                *connection = Some(id);
                self.tell(Input::Opened(id, [0; 16]));
                self.hear(client, packet);
            }
            Happening::Packet(client, packet) => self.hear(client, packet),
            Happening::Lost(client) => {
                if let Some(id) = self.connections[usize::from(client)].take() {
                    self.tell(Input::Closed(id));
                }
            }
            Happening::Synced => {
                for (cause, changes) in std::mem::take(&mut self.writing) {
                    changes.into_iter().for_each(|change| self.disk.apply(change));
                    self.tell(Input::Synced(cause));
                }
            }
            Happening::Crash(is_written) => self.crash(is_written),
        }
        if self.writing.is_empty() {
            self.writing = std::mem::take(&mut self.pending);
        }
        std::mem::take(&mut self.said).map(|said| self.words.said.number(said))
    }

    /// It has what its disk has.
    fn crash(&mut self, is_written: bool) {
        let writing = std::mem::take(&mut self.writing);
        if is_written {
            let changes = writing.into_iter().flat_map(|(_, changes)| changes);
            changes.for_each(|change| self.disk.apply(change));
        }
        self.pending.clear();
        self.connections = [None; 2];
        self.shard = new_shard();
        self.shard.restore(NOW, self.disk.stored_at(ShardId(0), 1).collect::<Vec<_>>());
        self.obey();
    }

    /// A packet comes on the connection of a client.
    fn hear(&mut self, client: u8, packet: u32) {
        let packet = self.words.packets.value(packet);
        if let Some(id) = self.connections[usize::from(client)] {
            self.tell(Input::Packets(id, &packet));
        }
    }

    /// Something happens to the shard.
    fn tell(&mut self, input: Input<'_>) {
        self.shard.handle(NOW, input);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(output) = self.shard.poll() {
            match output {
                Output::Send(id, wire) => {
                    let bytes = wire.to_vec();
                    self.shard.reuse(wire);
                    self.say(id, &bytes);
                    self.shard.handle(NOW, Input::Sent(id, bytes.len()));
                }
                Output::Close(id, _) => {
                    let client = client_of(id);
                    // One that was taken over is not that any more.
                    if self.connections[client] == Some(id) {
                        self.connections[client] = None;
                        self.said[client].push(Said::Closed);
                    }
                }
                Output::Write(cause, _, changes) => self.pending.push((cause, changes)),
                _ => {}
            }
        }
    }

    fn say(&mut self, id: ConnId, bytes: &[u8]) {
        let client = client_of(id);
        let is_newest = self.connections[client] == Some(id);
        for packet in packets(bytes) {
            let packet = self.words.packets.number(packet);
            self.said[client].push(if is_newest { Said::Packet(packet) } else { Said::Before(packet) });
        }
    }

    /// What should not be on the disk when nothing is left to happen.
    fn left(&self) -> Vec<Change> {
        let is_kept = |change: &Change| matches!(change, Change::Session(..) | Change::Subscription(..));
        self.disk.stored().filter(|change| !is_kept(change)).collect()
    }

    fn identity(&self) -> u128 {
        let mut text = String::with_capacity(16_000);
        let has = self.connections.map(|connection| connection.is_some());
        let _ = write!(text, "{has:?}{:?}", self.shard);
        // What is written together becomes safe together: what counts is what is there afterwards.
        let mut disk = self.disk.clone();
        for (index, batch) in [&[][..], &self.writing, &self.pending].into_iter().enumerate() {
            let _ = write!(text, "{} ", batch.is_empty());
            if index > 0 && batch.is_empty() {
                continue;
            }
            let changes = batch.iter().flat_map(|(_, changes)| changes.iter().cloned());
            changes.for_each(|change| disk.apply(change));
            for change in disk.stored() {
                let _ = write!(text, "{change:?}");
            }
        }
        identity::identity(&text, |number| {
            let is_in =
                |batch: &[(Cause, Vec<Change>)]| batch.iter().any(|(cause, _)| cause.number == number);
            match () {
                () if is_in(&self.writing) => Batch::Writing,
                () if is_in(&self.pending) => Batch::Pending,
                () => Batch::Safe,
            }
        })
    }
}

/// Whose connection this is.
const fn client_of(id: ConnId) -> usize {
    (id.0 as usize - 1) / 2
}

/// A shard that does not count takeovers: no time passes in which they could be forgotten.
fn new_shard() -> Shard {
    let settings = Settings { durable: true, takeover_interval: 0, ..Settings::default() };
    Shard::new(settings, Box::new(AllowAll))
}
