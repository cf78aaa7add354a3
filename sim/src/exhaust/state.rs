//! A state of a small world, and what can happen in it.

use super::Case;
use super::party::{Lent, Party, packets};
use mqtt_broker_lite::core::{
    AllowAll, Cause, Change, CloseReason, ConnId, Input, Now, Output, Settings, Shard, ShardId,
};
use mqtt_broker_lite::store::Memory;
use mqtt_packet::{Frame, QoS};
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Nothing takes time.
const NOW: Now = Now { mono: 0, wall: 0 };

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;

/// As many as there are.
const ALL: usize = usize::MAX;

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The next packet of a connection comes to the broker.
    Up(usize),
    /// The disk has synced.
    Synced,
    /// The broker notices that a connection is cut.
    Notice(usize),
    /// A client's connection is cut, when it has heard so many of the last packets, or all.
    Cut(usize, usize),
    /// The broker crashes, when each client has heard so many of its last packets, or all; what was being written is
    /// there or not.
    Crash([usize; 2], bool),
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
    cuts: usize,
    crashes: usize,
    /// What is wrong.
    pub(super) broken: Option<String>,
}

impl State<'_> {
    /// The state that these choices lead to from the beginning: everybody is connected, the subscriber is subscribed,
    /// and the publisher has sent its messages.
    pub(super) fn with<R>(case: Case, path: &[Choice], then: impl FnOnce(&mut State<'_>) -> R) -> R {
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
        for client in [PUBLISHER, SUBSCRIBER] {
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
        for choice in path {
            state.take(*choice);
        }
        then(&mut state)
    }

    /// Goes on without a fault until nothing is left.
    fn run(&mut self) {
        let is_fault = |choice: &Choice| matches!(choice, Choice::Cut(..) | Choice::Crash(..));
        while let Some(choice) = self.choices().into_iter().find(|choice| !is_fault(choice)) {
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
                choices.push(Choice::Up(index));
            }
            if !link.client_has_it && self.case.notices {
                choices.push(Choice::Notice(index));
            }
        }
        if !self.writing.is_empty() {
            choices.push(Choice::Synced);
        }
        if self.cuts > 0 {
            choices.extend([Choice::Cut(PUBLISHER, ALL), Choice::Cut(SUBSCRIBER, ALL)]);
        }
        if self.crashes > 0 {
            choices.extend(self.crashes([ALL, ALL]));
        }
        choices
    }

    /// How a crash can leave the disk.
    fn crashes(&self, heard: [usize; 2]) -> impl Iterator<Item = Choice> {
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
            (0..unheard).chain([ALL])
        };
        let mut choices = Vec::new();
        for one in heard(PUBLISHER) {
            for other in heard(SUBSCRIBER).filter(|other| one != ALL || *other != ALL) {
                if self.crashes > 0 {
                    choices.extend(self.crashes([one, other]));
                }
            }
        }
        for client in [PUBLISHER, SUBSCRIBER] {
            if self.cuts > 0 {
                let cuts = heard(client).filter(|heard| *heard != ALL);
                choices.extend(cuts.map(|heard| Choice::Cut(client, heard)));
            }
        }
        choices
    }

    /// Whether the client has heard nothing yet of something that it may answer.
    fn will_answer(&self, index: usize) -> bool {
        let link = &self.links[index];
        link.client_has_it && !link.down.is_empty()
    }

    /// Whether nothing is left to happen but faults.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.choices().iter().any(|choice| !matches!(choice, Choice::Cut(..) | Choice::Crash(..)))
    }

    /// Lets something happen; clients have not heard yet what the broker says to it.
    pub(super) fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Up(index) => {
                self.settle();
                if let Some(packet) = self.links[index].up.pop_front()
                    && let Ok(Some((frame, _))) = Frame::split(&packet)
                {
                    self.tell(Input::Frame(ConnId(index as u64), frame));
                }
            }
            Choice::Synced => {
                self.settle();
                for (cause, changes) in std::mem::take(&mut self.writing) {
                    changes.into_iter().for_each(|change| self.disk.apply(change));
                    self.tell(Input::Synced(cause));
                }
            }
            Choice::Notice(index) => {
                self.settle();
                self.links[index].broker_has_it = false;
                self.tell(Input::Closed(ConnId(index as u64)));
            }
            Choice::Cut(client, heard) => {
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
    fn cut(&mut self, client: usize, heard: usize) {
        if let Some(index) = self.link_of(client) {
            for _ in 0..heard.min(self.links[index].down.len()) {
                self.hear(index);
            }
            self.links[index].client_has_it = false;
            self.links[index].down.clear();
        }
        let connect = self.parties[client].lose();
        self.dial(client, connect);
    }

    /// The broker has what its disk has, and everybody connects to it again.
    fn crash(&mut self, heard: [usize; 2], is_written: bool) {
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
        for client in [PUBLISHER, SUBSCRIBER] {
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
        let mut first = Vec::new();
        for number in &self.parties[SUBSCRIBER].got {
            if !first.contains(number) {
                first.push(*number);
            }
        }
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

    /// What tells this state from others.
    pub(super) fn identity(&self) -> u128 {
        let mut text = String::new();
        let links = self.links.iter().filter(|link| link.client_has_it || link.broker_has_it);
        let _ = write!(text, "{} {} {:?}", self.cuts, self.crashes, links.collect::<Vec<_>>());
        let _ = write!(text, "{:?}", self.shard);
        // What is written together becomes safe together: what counts is what is there afterwards.
        let mut disk = self.disk.clone();
        for batch in [&[][..], &self.writing, &self.pending] {
            let changes = batch.iter().flat_map(|(_, changes)| changes.iter().cloned());
            changes.for_each(|change| disk.apply(change));
            let _ = write!(text, "{} {:?}", batch.is_empty(), disk.stored().collect::<Vec<_>>());
        }
        for party in &self.parties {
            let _ = write!(text, "{:?} {:?} {}", party.engine, party.got, party.acknowledged);
        }
        let mut text = without_remains(&text);
        for front in MASKED {
            text = mask(&text, front);
        }
        for front in ["ConnId(", "MessageNumber("] {
            text = rank(&text, front);
        }
        text = self.by_batch(&text);
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            salt.hash(&mut hasher);
            text.hash(&mut hasher);
            u128::from(hasher.finish())
        };
        half(1) << 64 | half(2)
    }
}

impl State<'_> {
    /// The text with the batch of each cause in its place; those that are safe are one, too.
    fn by_batch(&self, text: &str) -> String {
        let (first, numbered) = split(text, CAUSE);
        let is_in =
            |batch: &[(Cause, Vec<Change>)], number| batch.iter().any(|(cause, _)| cause.number == number);
        let mut named = first.to_owned();
        for (number, rest) in numbered {
            named += match () {
                () if is_in(&self.writing, number) => "W",
                () if is_in(&self.pending, number) => "P",
                () => "-",
            };
            named += rest;
        }
        // Sets of causes.
        for twice in ["W }, W", "P }, P"] {
            while named.contains(twice) {
                named = named.replace(twice, &twice[..1]);
            }
        }
        named
    }
}

const CAUSE: &str = "Cause { shard: ShardId(0), number: ";

/// Counts that only go on; and where in its stream a client is, which has sent everything that it had to send; and where
/// it looks first.
const MASKED: [&str; 6] = ["last_cause: ", "last_message: ", "queued: ", "written: ", ", at: ", "hint: "];

/// The text without what clients still have in memory and do not look at any more: the bytes of packets that were sent,
/// and slots behind those in use.
fn without_remains(text: &str) -> String {
    let mut parts = text.split("buffer: [");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept += part.split_once(']').map_or("", |(_, rest)| rest);
    }
    // Who waits for which cause is said by what is held.
    let mut parts = kept.split("unsynced: {");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        rest += part.split_once("references: ").map_or("", |(_, rest)| rest);
    }
    let mut parts = rest.split("slots: [ReceivedSlot");
    let mut used = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (slots, rest) = part.split_once("], len: ").unwrap_or((part, ""));
        let len = rest
            .bytes()
            .take_while(u8::is_ascii_digit)
            .fold(0, |len, digit| len * 10 + usize::from(digit - b'0'));
        slots.split("ReceivedSlot").take(len).for_each(|slot| used += slot);
        used += rest;
    }
    used
}

fn new_shard() -> Shard {
    Shard::new(Settings { durable: true, ..Settings::default() }, Box::new(AllowAll))
}

/// The text, and the numbers in it that stand behind `front`.
fn split<'t>(text: &'t str, front: &str) -> (&'t str, Vec<(u64, &'t str)>) {
    let mut parts = text.split(front);
    let first = parts.next().unwrap_or_default();
    let numbered = parts.map(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        (part[..digits].parse().unwrap_or(0), &part[digits..])
    });
    (first, numbered.collect())
}

/// Leaves out the numbers behind `front`: a count that goes on is no difference.
fn mask(text: &str, front: &str) -> String {
    let (first, numbered) = split(text, front);
    numbered.into_iter().fold(first.to_owned(), |text, (_, rest)| text + rest)
}

/// Replaces the numbers behind `front` by their ranks.
fn rank(text: &str, front: &str) -> String {
    let (first, numbered) = split(text, front);
    let numbers: BTreeSet<_> = numbered.iter().map(|(number, _)| *number).collect();
    let ranks: Vec<_> = numbers.into_iter().collect();
    let mut ranked = first.to_owned();
    for (number, rest) in numbered {
        let _ = write!(ranked, "{front}{}{rest}", ranks.binary_search(&number).unwrap_or(0));
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_only_have_to_differ_are_ranks() {
        assert_eq!(rank("a ConnId(7), ConnId(3); ConnId(7)", "ConnId("), "a ConnId(1), ConnId(0); ConnId(1)");
        assert_eq!(mask("last_cause: 12, more", "last_cause: "), ", more");
    }

    #[test]
    fn what_nobody_looks_at_is_no_difference() {
        let text = "Outbox { buffer: [1, 2], sent: 0 } slots: [ReceivedSlot { id: 1 }, ReceivedSlot { id: 2 }], len: 1 }";
        assert_eq!(without_remains(text), "Outbox { , sent: 0 }  { id: 1 }, 1 }");
    }

    #[test]
    fn the_same_steps_are_the_same_state() {
        let case = super::super::CASES[1];
        let identity = || State::with(case, &[Choice::Up(0), Choice::Synced], |state| state.identity());
        assert_eq!(identity(), identity());
        assert_ne!(identity(), State::with(case, &[Choice::Up(0)], |state| state.identity()));
    }
}
