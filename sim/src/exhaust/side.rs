//! A client of a small world with its connections: what it has heard, and what is on its way from it.

use super::automaton::{Part, Ran};
use super::identity::{self, Batch};
use super::party::{Lent, Party};
use super::{Case, PUBLISHER, SUBSCRIBER, Said, Words};
use mqtt_packet::QoS;
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

/// As many as there are.
pub(super) const ALL: u8 = u8::MAX;

/// What happens to a client. The numbers behind what the broker says are how many packets of it are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// It connects for the first time.
    Dial,
    /// It subscribes.
    Subscribe,
    /// What it does here begins: the publisher publishes.
    Begin,
    /// Its CONNECT comes to the broker.
    Connect,
    /// That of an earlier connection does, told by its place among those.
    Late(u8),
    /// The next packet of the connection that the broker has comes to it.
    Send,
    /// The broker has noticed that its connection is gone.
    Lost,
    /// The broker says this.
    Hear(u32),
    /// Its connection is cut meanwhile; it connects again.
    Cut(u32, u8),
    /// The broker crashes meanwhile; it connects again.
    Crash(u32, u8),
}

/// What the search has to know about a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct SideFacts {
    /// Whether its CONNECT is on its way.
    pub(super) is_connecting: bool,
    /// How many connections were cut before their CONNECT came to the broker.
    pub(super) late: u8,
    /// Whether something else is on its way.
    pub(super) is_sending: bool,
    /// Whether it hears what the broker says to it.
    pub(super) is_heard: bool,
    /// Whether the broker has a connection of it that it has not.
    pub(super) is_half_open: bool,
    /// A connection that came late has taken over its newer one.
    pub(super) must_dial: bool,
    /// A promise is broken.
    pub(super) is_broken: bool,
    /// Everything has come, was acknowledged, and it waits for nothing.
    pub(super) is_done: bool,
}

pub(super) struct Side {
    pub(super) case: Case,
    pub(super) number: usize,
    pub(super) words: Arc<Words>,
}

impl Part for Side {
    type Input = Event;
    /// The packet that it sends.
    type Output = u32;
    type Facts = SideFacts;

    fn run(&self, inputs: &[Event]) -> Ran<u32, SideFacts> {
        let mut lent = Lent::new();
        let party = Party::new(["p", "s"][self.number], &mut lent);
        let mut live = Live { side: self, party, known: None, own: None, late: Vec::new() };
        let mut output = 0;
        for input in inputs {
            output = live.take(*input);
        }
        Ran { identity: live.identity(), output, facts: live.facts(), words: live.words() }
    }
}

/// What is on its way on a connection.
type Link = VecDeque<Vec<u8>>;

struct Live<'s, 'm> {
    side: &'s Side,
    party: Party<'m>,
    /// The connection that the broker has; whether the client has it, too. There is one, because a CONNECT ends others.
    known: Option<(Link, bool)>,
    /// The client's connection before its CONNECT came.
    own: Option<Link>,
    /// Those that were cut before theirs did: it may come later, or never.
    late: Vec<Link>,
}

impl Live<'_, '_> {
    fn take(&mut self, event: Event) -> u32 {
        match event {
            Event::Dial => self.own = Some(self.party.connect().into()),
            Event::Subscribe => {
                let subscribe = self.party.subscribe(self.side.case.qos);
                self.send(subscribe);
            }
            Event::Begin => {
                self.party.acknowledged = 0;
                for number in 0..self.side.case.messages * usize::from(self.side.number == PUBLISHER) {
                    let publish = self.party.publish(number as u8, self.side.case.qos);
                    self.send(publish);
                }
            }
            Event::Connect => {
                self.known = self.own.take().map(|link| (link, true));
                return self.next();
            }
            Event::Late(place) => {
                self.known = Some((self.late.remove(usize::from(place)), false));
                return self.next();
            }
            Event::Send => return self.next(),
            Event::Lost => self.known = None,
            Event::Hear(said) => self.hear(said, ALL),
            Event::Cut(said, heard) => {
                self.hear(said, heard);
                self.cut();
            }
            Event::Crash(said, heard) => {
                self.hear(said, heard);
                self.known = None;
                self.own = None;
                self.late.clear();
                self.cut();
            }
        }
        Words::NO_PACKET
    }

    /// The next packet of the connection that the broker has.
    fn next(&mut self) -> u32 {
        let packet = self.known.as_mut().and_then(|(link, _)| link.pop_front()).unwrap_or_default();
        self.side.words.packets.number(packet)
    }

    fn send(&mut self, packets: Vec<Vec<u8>>) {
        match (&mut self.own, &mut self.known) {
            (Some(link), _) | (None, Some((link, true))) => link.extend(packets),
            // To a connection that is taken over.
            _ => {}
        }
    }

    /// Whether the broker and the client have the same connection.
    fn is_heard(&self) -> bool {
        self.known.as_ref().is_some_and(|(_, is_own)| *is_own)
    }

    /// Whether a connection that came late has taken over the client's.
    fn is_taken_over(&self) -> bool {
        self.own.is_none() && self.known.as_ref().is_some_and(|(_, is_own)| !is_own)
    }

    /// The broker says something, and so many packets of it are heard.
    fn hear(&mut self, said: u32, heard: u8) {
        let mut packets = Vec::new();
        for said in &*self.side.words.said.value(said) {
            match *said {
                Said::Packet(packet) if self.is_heard() => packets.push(packet),
                Said::Before(packet) if self.is_taken_over() => packets.push(packet),
                Said::Packet(_) | Said::Before(_) => {}
                Said::Closed => {
                    if self.is_heard() {
                        self.party.fail("the broker ends a connection");
                    }
                    self.known = None;
                }
            }
        }
        for packet in packets.into_iter().take(usize::from(heard)) {
            let answers = self.party.hear(&self.side.words.packets.value(packet));
            self.send(answers);
        }
    }

    /// Its connection is gone; it connects again.
    fn cut(&mut self) {
        self.late.extend(self.own.take());
        self.late.sort();
        if let Some((_, is_own)) = &mut self.known {
            *is_own = false;
        }
        self.own = Some(self.party.lose().into());
    }

    /// What came, each message where it came first.
    fn first(&self) -> Vec<u8> {
        let mut first = Vec::new();
        for number in &self.party.got {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        first
    }

    fn is_twice(&self) -> bool {
        let got = &self.party.got;
        let is_twice = got.iter().collect::<BTreeSet<_>>().len() < got.len();
        self.side.case.qos == QoS::ExactlyOnce && is_twice
    }

    fn is_done(&self) -> bool {
        let case = &self.side.case;
        let is_idle = self.party.engine.is_connected() && self.party.engine.is_idle();
        let all: Vec<_> = (0..case.messages as u8).collect();
        is_idle
            && match self.side.number {
                SUBSCRIBER => self.first() == all,
                _ => self.party.acknowledged == case.messages,
            }
    }

    fn facts(&self) -> SideFacts {
        SideFacts {
            is_connecting: self.own.is_some(),
            late: self.late.len() as u8,
            is_sending: self.known.as_ref().is_some_and(|(link, _)| !link.is_empty()),
            is_heard: self.is_heard(),
            is_half_open: self.known.as_ref().is_some_and(|(_, is_own)| !is_own),
            must_dial: self.is_taken_over(),
            is_broken: self.party.broken.is_some() || self.is_twice(),
            is_done: self.is_done(),
        }
    }

    fn words(&self) -> String {
        match &self.party.broken {
            Some(broken) => broken.clone(),
            None if self.is_twice() => format!("a message comes twice: {:?}", self.party.got),
            None => format!(
                "{:?} came, {} were acknowledged, waits for nothing: {}",
                self.party.got,
                self.party.acknowledged,
                self.party.engine.is_idle()
            ),
        }
    }

    fn identity(&self) -> u128 {
        let got = match self.side.case.qos {
            QoS::ExactlyOnce => self.party.got.clone(),
            _ => self.first(),
        };
        let Party { engine, acknowledged, broken, .. } = &self.party;
        let mut text = String::with_capacity(4000);
        let _ = write!(text, "{:?}{:?}{:?}", self.known, self.own, self.late);
        let _ = write!(text, "{got:?}{engine:?} {acknowledged} {broken:?}");
        identity::identity(&text, |_| Batch::Safe)
    }
}
