//! What the actors of a world share: the clock, the events to come, chance, the network, the oracle and the chart.

use crate::oracle::Oracle;
use crate::plan::{Network, Plan};
use crate::rng::Rng;
use crate::wire::{Arrival, ConnIndex, Connection, Direction};
use mqtt_broker_lite::core::Token;
use mqtt_packet::{Frame, Packet, Version};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A fault of the plan.
    Fault(usize),
    /// The next action of a client.
    Act(usize),
    /// A client connects, if it is not.
    Dial(usize),
    /// A deadline of a client's engine.
    ClientWake(usize),
    /// A client accepts one of the messages that it has.
    Accept(usize),
    /// A client reads again.
    ReadAgain(usize),
    /// A client's store has synced, in this life of the client.
    StoreSynced(usize, u32),
    /// A client that crashed is back.
    Restart(usize),
    /// A connection comes to the broker.
    Opened(ConnIndex),
    /// The next bytes, or the end, come out of a pipe.
    Up(ConnIndex),
    /// Towards the client.
    Down(ConnIndex),
    /// The client notices that its connection is gone.
    ClientLost(ConnIndex),
    /// The broker notices.
    BrokerLost(ConnIndex),
    /// A deadline of a shard, in this life of the broker.
    BrokerWake(u16, u32),
    /// Something that one shard said comes to another.
    Link(u16, u16, u32),
    /// The disk has taken what was written, where that counts.
    DiskWritten(u32),
    /// The disk is to sync.
    DiskDue(u32),
    /// The disk has synced.
    DiskSynced(u32),
    /// Somebody answers the broker's question to a shard.
    Answer(u16, Token, u32),
    /// The broker that crashed is back.
    BrokerRestart,
    /// Something gives back memory that it had taken from the broker.
    Weigh,
    /// A look whether everything has come to rest.
    Look,
}

/// Where lines of a sequence chart go.
#[derive(Debug, Default)]
pub struct Chart {
    /// The lines, if anybody wants them.
    pub lines: Option<Vec<String>>,
}

/// What the actors share.
#[derive(Debug)]
pub struct Scene {
    /// The clock, in milliseconds.
    pub now: u64,
    /// By how much the wall clock is ahead of it.
    pub wall_ahead: u64,
    /// Chance.
    pub rng: Rng,
    /// What the oracle has seen.
    pub oracle: Oracle,
    /// What it looked like.
    pub chart: Chart,
    /// Every connection that there was.
    pub connections: Vec<Connection>,
    /// Whether faults are over, and nobody leaves any more.
    pub is_calm: bool,
    network: Network,
    events: BinaryHeap<Reverse<(u64, u32, u64, Event)>>,
    count: u64,
}

impl Scene {
    /// The scene of a world of this plan.
    pub fn new(plan: &Plan, chart: Chart) -> Self {
        Self {
            now: 0,
            wall_ahead: 1_700_000_000_000,
            rng: Rng::new(plan.seed),
            oracle: Oracle::new(plan),
            chart,
            connections: Vec::new(),
            is_calm: false,
            network: plan.network,
            events: BinaryHeap::new(),
            count: 0,
        }
    }

    /// The wall clock.
    pub const fn wall(&self) -> u64 {
        self.now + self.wall_ahead
    }

    /// Lets something happen, `delay` milliseconds from now. What happens at the same time comes in an order that the
    /// seed decides.
    pub fn after(&mut self, delay: u64, event: Event) {
        self.count += 1;
        let tie = self.rng.draw() as u32;
        self.events.push(Reverse((self.now + delay, tie, self.count, event)));
    }

    /// The next event; the clock shows its time then.
    pub fn next_event(&mut self) -> Option<Event> {
        let Reverse((at, _, _, event)) = self.events.pop()?;
        self.now = at;
        self.oracle.figures.events += 1;
        Some(event)
    }

    /// A delay of the network.
    pub fn latency(&mut self) -> u64 {
        let longest = if self.is_calm { self.network.latency.min(20) } else { self.network.latency };
        self.rng.delay(longest)
    }

    /// Writes a line of the chart.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.chart.lines {
            lines.push(format!("{:>9} ms  {}", self.now, line()));
        }
    }

    /// Writes a packet that came into the chart.
    pub fn note_packet(&mut self, way: impl FnOnce() -> String, frame: Frame<'_>, version: Version) {
        self.note(|| match Packet::decode(frame, version) {
            Ok(packet) => format!("{}  {packet}", way()),
            Err(error) => format!("{}  {:?}: {error}", way(), frame.packet_type()),
        });
    }

    /// A client opens a connection.
    pub fn connect(&mut self, client: usize) -> ConnIndex {
        let index = self.connections.len();
        self.connections.push(Connection::new(client, self.network.window));
        self.oracle.figures.connections += 1;
        let delay = self.latency();
        self.after(delay, Event::Opened(index));
        index
    }

    /// Writes to a pipe, as much as it takes.
    pub fn write(&mut self, index: ConnIndex, direction: Direction, bytes: &[u8]) -> usize {
        let n = self.connections[index].pipe(direction).write(bytes);
        let delay = self.latency();
        self.carry_after(delay, index, direction);
        n
    }

    /// The writer of a pipe closes it, and reads no more.
    pub fn close(&mut self, index: ConnIndex, direction: Direction) {
        let connection = &mut self.connections[index];
        match direction {
            Direction::Up => connection.client_has_it = false,
            Direction::Down => connection.broker_has_it = false,
        }
        connection.pipe(direction).end();
        let delay = self.latency();
        self.carry_after(delay, index, direction);
    }

    /// Sees to it that what is in a pipe comes out soon.
    pub fn carry(&mut self, index: ConnIndex, direction: Direction) {
        let delay = self.rng.delay(3);
        self.carry_after(delay, index, direction);
    }

    fn carry_after(&mut self, delay: u64, index: ConnIndex, direction: Direction) {
        let pipe = self.connections[index].pipe(direction);
        if pipe.scheduled || !pipe.has_news() {
            return;
        }
        pipe.scheduled = true;
        let delay = delay.max(pipe.held_until.saturating_sub(self.now));
        self.after(
            delay,
            match direction {
                Direction::Up => Event::Up(index),
                Direction::Down => Event::Down(index),
            },
        );
    }

    /// What comes out of a pipe now.
    pub fn read(&mut self, index: ConnIndex, direction: Direction) -> Arrival {
        let longest = self.network.piece;
        let pipe = self.connections[index].pipe(direction);
        pipe.scheduled = false;
        if pipe.held_until > self.now {
            self.carry(index, direction);
            return Arrival::Nothing;
        }
        let arrival = pipe.read(&mut self.rng, longest);
        if arrival != Arrival::End {
            self.carry(index, direction);
        }
        arrival
    }

    /// The network between a client and the broker breaks.
    pub fn cut(&mut self, index: ConnIndex, client_notices: u64, broker_notices: u64) {
        let connection = &mut self.connections[index];
        if connection.is_cut {
            return;
        }
        connection.cut(&mut self.rng);
        let client = connection.client;
        self.oracle.figures.cuts += 1;
        self.oracle.sessions.lost(self.now, client, index);
        self.note(|| format!("{}: the connection is cut", client_name(client)));
        let delay = self.rng.delay(client_notices);
        self.after(delay, Event::ClientLost(index));
        let delay = self.rng.delay(broker_notices);
        self.after(delay, Event::BrokerLost(index));
    }
}

/// How a client is called in its CONNECT and in the chart.
pub const fn client_name(client: usize) -> &'static str {
    ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"][client]
}

/// The client of this name.
pub fn client_number(name: &str) -> Option<usize> {
    name.strip_prefix('c')?.parse().ok()
}

/// Where the will of a client is published.
pub const fn will_topic(client: usize) -> &'static str {
    ["w/0", "w/1", "w/2", "w/3", "w/4", "w/5", "w/6", "w/7"][client]
}
