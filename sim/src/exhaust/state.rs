//! A state of a small world, and what can happen in it.

use super::Case;
use super::identity::{self, Batch};
use super::party::{Lent, Party, packets};
use mqtt_broker_lite::core::{
    AllowAll, Cause, Change, CloseReason, ConnId, Input, Now, Output, Settings, Shard, ShardId,
};
use mqtt_broker_lite::store::Memory;
use mqtt_packet::{Frame, QoS};
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;

/// Nothing takes time.
const NOW: Now = Now { mono: 0, wall: 0 };

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;
const CLIENTS: [usize; 2] = [PUBLISHER, SUBSCRIBER];

/// As many as there are.
const ALL: u8 = u8::MAX;

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The next packet of a connection comes to the broker.
    Up(u8),
    /// The disk has synced.
    Synced,
    /// The broker notices that a connection is cut.
    Notice(u8),
    /// A client's connection is cut, when it has heard so many of the last packets, or all.
    Cut(u8, u8),
    /// The broker crashes, when each client has heard so many of its last packets, or all; what was being written is
    /// there or not.
    Crash([u8; 2], bool),
}

impl Choice {
    /// Whether something goes wrong by it.
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Cut(..) | Self::Crash(..))
    }

    /// Whether it happens before everybody has heard everything.
    const fn interrupts(self) -> bool {
        match self {
            Self::Cut(_, heard) => heard < ALL,
            Self::Crash([one, other], _) => one < ALL || other < ALL,
            _ => false,
        }
    }
}

/// A connection.
#[derive(Debug)]
struct Link {
    client: usize,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    client_has_it: bool,
    broker_has_it: bool,
}

pub(super) struct State<'m> {
    case: Case,
    shard: Shard,
    disk: Memory,
    /// What is to be written, and what is being written.
    pending: Vec<(Cause, Vec<Change>)>,
    writing: Vec<(Cause, Vec<Change>)>,
    links: Vec<Link>,
    parties: Vec<Party<'m>>,
    /// How much may still go wrong.
    pub(super) cuts: usize,
    pub(super) crashes: usize,
    /// What is wrong.
    pub(super) broken: Option<String>,
}

impl State<'_> {
    /// The first state: everybody is connected, the subscriber is subscribed, and the publisher has sent its messages.
    pub(super) fn with<R>(case: Case, then: impl FnOnce(&mut State<'_>) -> R) -> R {
        let (mut one, mut other) = (Lent::new(), Lent::new());
        let mut state = State {
            case,
            shard: new_shard(),
            disk: Memory::default(),
            pending: Vec::new(),
            writing: Vec::new(),
            links: Vec::new(),
            parties: vec![Party::new("p", &mut one), Party::new("s", &mut other)],
            cuts: case.cuts,
            crashes: case.crashes,
            broken: None,
        };
        for client in CLIENTS {
            let connect = state.parties[client].connect();
            state.dial(client, connect);
        }
        state.run();
        let subscribe = state.parties[SUBSCRIBER].subscribe(case.qos);
        state.links[SUBSCRIBER].up.extend(subscribe);
        state.run();
        state.parties[SUBSCRIBER].acknowledged = 0;
        for number in 0..case.messages {
            let publish = state.parties[PUBLISHER].publish(number as u8, case.qos);
            state.links[PUBLISHER].up.extend(publish);
        }
        then(&mut state)
    }

    /// Goes on without a fault until nothing is left.
    fn run(&mut self) {
        while let Some(choice) = self.choices().into_iter().find(|choice| !choice.is_fault()) {
            self.take(choice);
        }
        self.settle();
    }

    /// A client's new connection.
    fn dial(&mut self, client: usize, connect: Vec<Vec<u8>>) {
        self.links.push(Link {
            client,
            up: connect.into(),
            down: VecDeque::new(),
            client_has_it: true,
            broker_has_it: true,
        });
        let id = ConnId(self.links.len() as u64 - 1);
        self.tell(Input::Opened(id, [0; 16]));
    }

    fn link_of(&self, client: usize) -> Option<usize> {
        self.links.iter().position(|link| link.client == client && link.client_has_it)
    }

    /// What can happen when everybody has heard everything.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (index, link) in self.links.iter().enumerate().filter(|(_, link)| link.broker_has_it) {
            if !link.up.is_empty() {
                choices.push(Choice::Up(index as u8));
            }
            if !link.client_has_it && self.case.notices {
                choices.push(Choice::Notice(index as u8));
            }
        }
        if !self.writing.is_empty() {
            choices.push(Choice::Synced);
        }
        if self.cuts > 0 {
            choices.extend(CLIENTS.map(|client| Choice::Cut(client as u8, ALL)));
        }
        if self.crashes > 0 {
            choices.extend(self.crashes([ALL, ALL]));
        }
        choices
    }

    /// How a crash can leave the disk.
    fn crashes(&self, heard: [u8; 2]) -> impl Iterator<Item = Choice> {
        let is_writing = !self.writing.is_empty();
        [false, true]
            .into_iter()
            .filter(move |kept| is_writing || !kept)
            .map(move |kept| Choice::Crash(heard, kept))
    }

    /// What can break before everybody has heard everything.
    pub(super) fn interruptions(&self) -> Vec<Choice> {
        let heard = |client| {
            let unheard = self.link_of(client).map_or(0, |index| self.links[index].down.len());
            (0..unheard as u8).chain([ALL])
        };
        let mut choices = Vec::new();
        for one in heard(PUBLISHER) {
            for other in heard(SUBSCRIBER).filter(|other| one != ALL || *other != ALL) {
                if self.crashes > 0 {
                    choices.extend(self.crashes([one, other]));
                }
            }
        }
        for client in CLIENTS {
            if self.cuts > 0 {
                let cuts = heard(client).filter(|heard| *heard != ALL);
                choices.extend(cuts.map(|heard| Choice::Cut(client as u8, heard)));
            }
        }
        choices
    }

    /// Whether the client has heard nothing yet of something that it may answer.
    fn will_answer(&self, index: usize) -> bool {
        let link = &self.links[index];
        link.client_has_it && !link.down.is_empty()
    }

    /// Lets something happen; clients have not heard yet what the broker says to it.
    pub(super) fn take(&mut self, choice: Choice) {
        if !choice.interrupts() {
            self.settle();
        }
        match choice {
            Choice::Up(index) => {
                let index = usize::from(index);
                if let Some(packet) = self.links[index].up.pop_front()
                    && let Ok(Some((frame, _))) = Frame::split(&packet)
                {
                    self.tell(Input::Frame(ConnId(index as u64), frame));
                }
            }
            Choice::Synced => {
                for (cause, changes) in std::mem::take(&mut self.writing) {
                    changes.into_iter().for_each(|change| self.disk.apply(change));
                    self.tell(Input::Synced(cause));
                }
            }
            Choice::Notice(index) => {
                let index = usize::from(index);
                self.links[index].broker_has_it = false;
                self.tell(Input::Closed(ConnId(index as u64)));
            }
            Choice::Cut(client, heard) => {
                let client = usize::from(client);
                self.cuts -= 1;
                self.settle_other(client);
                self.cut(client, heard);
            }
            Choice::Crash(heard, is_written) => {
                self.crashes -= 1;
                self.crash(heard, is_written);
            }
        }
        self.begin_sync();
        self.look();
    }

    /// A client's connection ends, when it has heard so many packets more; it connects again.
    fn cut(&mut self, client: usize, heard: u8) {
        if let Some(index) = self.link_of(client) {
            for _ in 0..usize::from(heard).min(self.links[index].down.len()) {
                self.hear(index);
            }
            self.links[index].client_has_it = false;
            self.links[index].down.clear();
        }
        let connect = self.parties[client].lose();
        self.dial(client, connect);
    }

    /// The broker has what its disk has, and everybody connects to it again.
    fn crash(&mut self, heard: [u8; 2], is_written: bool) {
        let writing = std::mem::take(&mut self.writing);
        if is_written {
            let changes = writing.into_iter().flat_map(|(_, changes)| changes);
            changes.for_each(|change| self.disk.apply(change));
        }
        self.pending.clear();
        for link in &mut self.links {
            link.broker_has_it = false;
        }
        self.shard = new_shard();
        self.shard.restore(NOW, self.disk.stored_at(ShardId(0), 1).collect::<Vec<_>>());
        self.obey();
        for client in CLIENTS {
            self.cut(client, heard[client]);
        }
        for link in self.links.iter_mut().filter(|link| !link.broker_has_it) {
            link.up.clear();
        }
    }

    /// Everybody hears everything.
    pub(super) fn settle(&mut self) {
        self.settle_other(usize::MAX);
        // A connection that came late has taken over a newer one.
        for index in 0..self.links.len() {
            let link = &self.links[index];
            if link.client_has_it && !link.broker_has_it {
                self.cut(link.client, ALL);
            }
        }
        self.look();
    }

    fn settle_other(&mut self, client: usize) {
        for index in 0..self.links.len() {
            while self.links[index].client != client && self.will_answer(index) {
                self.hear(index);
            }
        }
    }

    fn hear(&mut self, index: usize) {
        let client = self.links[index].client;
        if let Some(packet) = self.links[index].down.pop_front() {
            let answers = self.parties[client].hear(&packet);
            self.links[index].up.extend(answers);
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
                    let link = &mut self.links[id.0 as usize];
                    if link.client_has_it {
                        link.down.extend(packets(&bytes));
                    }
                    self.shard.handle(NOW, Input::Sent(id, bytes.len()));
                }
                Output::Close(id, reason) => {
                    let link = &mut self.links[id.0 as usize];
                    link.broker_has_it = false;
                    link.up.clear();
                    if link.client_has_it && reason != CloseReason::TakenOver {
                        self.broken.get_or_insert_with(|| format!("the broker ends a connection: {reason}"));
                    }
                }
                Output::Write(cause, _, changes) => self.pending.push((cause, changes)),
                _ => {}
            }
        }
    }

    fn begin_sync(&mut self) {
        if self.writing.is_empty() {
            self.writing = std::mem::take(&mut self.pending);
        }
    }

    /// What must hold at any time.
    fn look(&mut self) {
        let is_twice = |got: &[u8]| got.iter().collect::<BTreeSet<_>>().len() < got.len();
        let got = &self.parties[SUBSCRIBER].got;
        if self.case.qos == QoS::ExactlyOnce && is_twice(got) {
            self.broken.get_or_insert_with(|| format!("a message comes twice: {got:?}"));
        }
        let broken = self.parties.iter_mut().find_map(|party| party.broken.take());
        self.broken = self.broken.take().or(broken);
    }

    /// What must hold when nothing is left to happen.
    pub(super) fn check_end(&mut self) {
        let first = self.first();
        let right: Vec<_> = (0..self.case.messages as u8).collect();
        let is_idle = |party: &Party<'_>| party.engine.is_connected() && party.engine.is_idle();
        let left: Vec<_> = self
            .disk
            .stored()
            .filter(|change| !matches!(change, Change::Session(..) | Change::Subscription(..)))
            .collect();
        let broken = if first != right {
            format!("{first:?} came")
        } else if self.parties[PUBLISHER].acknowledged != self.case.messages {
            format!("{} messages were acknowledged", self.parties[PUBLISHER].acknowledged)
        } else if !self.parties.iter().all(is_idle) {
            "a client waits for something".to_owned()
        } else if !left.is_empty() {
            format!("the disk has {left:?}")
        } else {
            return;
        };
        self.broken.get_or_insert(broken);
    }

    /// What tells this state from others, apart from how much may still go wrong.
    pub(super) fn identity(&self) -> u128 {
        let mut text = String::with_capacity(16_000);
        for link in self.links.iter().filter(|link| link.client_has_it || link.broker_has_it) {
            let _ = write!(text, "{link:?}");
        }
        let _ = write!(text, "{:?}", self.shard);
        // What is written together becomes safe together: what counts is what is there afterwards.
        let mut disk = self.disk.clone();
        for batch in [&[][..], &self.writing, &self.pending] {
            let changes = batch.iter().flat_map(|(_, changes)| changes.iter().cloned());
            changes.for_each(|change| disk.apply(change));
            let _ = write!(text, "{} ", batch.is_empty());
            for change in disk.stored() {
                let _ = write!(text, "{change:?}");
            }
        }
        let got = match self.case.qos {
            QoS::ExactlyOnce => self.parties[SUBSCRIBER].got.clone(),
            _ => self.first(),
        };
        let _ = write!(text, "{got:?}");
        for party in &self.parties {
            let _ = write!(text, "{:?} {}", party.engine, party.acknowledged);
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

    /// What the subscriber got, each message where it came first.
    fn first(&self) -> Vec<u8> {
        let mut first = Vec::new();
        for number in &self.parties[SUBSCRIBER].got {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        first
    }
}

fn new_shard() -> Shard {
    Shard::new(Settings { durable: true, ..Settings::default() }, Box::new(AllowAll))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_steps_are_the_same_state() {
        let case = super::super::CASES[1];
        let identity = |way: &[Choice]| {
            State::with(case, |state| {
                way.iter().for_each(|choice| state.take(*choice));
                state.identity()
            })
        };
        let way = [Choice::Up(0), Choice::Synced];
        assert_eq!(identity(&way), identity(&way));
        assert_ne!(identity(&way), identity(&way[..1]));
    }
}
