//! A small world made of its parts, and what can happen in it.

use super::automaton::{Automaton, Names};
use super::broker::{Broker, Happening};
use super::side::{ALL, Event, Side, SideFacts};
use super::{Case, PUBLISHER, SUBSCRIBER};
use std::sync::Arc;

const CLIENTS: [usize; 2] = [PUBLISHER, SUBSCRIBER];

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A client's CONNECT comes to the broker.
    Connect(u8),
    /// That of an earlier connection of it comes late; or never.
    Late(u8, u8),
    /// The next packet of a client's connection comes to the broker.
    Up(u8),
    /// The disk has synced.
    Synced,
    /// The broker notices that a client's connection is cut.
    Notice(u8),
    /// A client's connection is cut, when it has heard so many of the last packets, or all.
    Cut(u8, u8),
    /// The broker crashes, when each client has heard so many of its last packets, or all; what was being written is
    /// there or not.
    Crash([u8; 2], bool),
}

/// One step, and what breaks before everybody has heard what the broker says to it.
pub type Step = (Choice, Option<Choice>);

/// Something that the broker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    /// A packet.
    Packet(u32),
    /// A packet on a connection that is being taken over.
    Before(u32),
    /// It closes the connection.
    Closed,
}

/// What passes between the parts, by number.
#[derive(Default)]
pub(super) struct Words {
    pub(super) packets: Names<Vec<u8>>,
    pub(super) said: Names<Vec<Said>>,
}

impl Words {
    /// The broker says nothing.
    pub(super) const NOTHING: u32 = 0;
    /// No packet is sent.
    pub(super) const NO_PACKET: u32 = 0;
}

/// A state in which everybody has heard everything: those of the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    sides: [u32; 2],
    broker: u32,
}

/// How much may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) cuts: u8,
    pub(super) crashes: u8,
}

/// A state in which the broker has said something that nobody has heard.
struct Moment {
    state: State,
    said: [u32; 2],
    /// How many packets of it each client can hear.
    unheard: [u8; 2],
}

impl Moment {
    const fn quiet(state: State) -> Self {
        Self { state, said: [Words::NOTHING; 2], unheard: [0; 2] }
    }
}

pub(super) struct World {
    case: Case,
    words: Arc<Words>,
    sides: [Automaton<Side>; 2],
    broker: Automaton<Broker>,
}

impl World {
    pub(super) fn new(case: Case) -> Self {
        let words = Arc::new(Words::default());
        let side = |number| Automaton::new(Side { case, number, words: Arc::clone(&words) });
        Self {
            case,
            sides: CLIENTS.map(side),
            broker: Automaton::new(Broker { words: Arc::clone(&words) }),
            words,
        }
    }

    /// How many states of the parts are known, and how many steps.
    pub(super) fn size(&self) -> (usize, usize) {
        let sizes = [self.sides[0].size(), self.sides[1].size(), self.broker.size()];
        sizes.into_iter().fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }

    /// The first state: everybody is connected, the subscriber is subscribed, and the publisher has sent its messages.
    pub(super) fn first(&self) -> State {
        let mut state = State { sides: [Automaton::<Side>::FIRST; 2], broker: Automaton::<Broker>::FIRST };
        for client in CLIENTS {
            state.sides[client] = self.sides[client].step(state.sides[client], Event::Dial).0;
        }
        state = self.rest(state);
        state.sides[SUBSCRIBER] = self.sides[SUBSCRIBER].step(state.sides[SUBSCRIBER], Event::Subscribe).0;
        state = self.rest(state);
        for client in CLIENTS {
            state.sides[client] = self.sides[client].step(state.sides[client], Event::Begin).0;
        }
        state
    }

    /// Goes on without a fault until nothing is left.
    fn rest(&self, mut state: State) -> State {
        while let Some(choice) = self.choices(state).first() {
            state = self.settle(self.take(state, *choice));
        }
        state
    }

    fn facts(&self, state: State) -> [SideFacts; 2] {
        CLIENTS.map(|client| self.sides[client].facts(state.sides[client]))
    }

    /// What can happen without a fault.
    pub(super) fn choices(&self, state: State) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (client, facts) in (0..).zip(self.facts(state)) {
            if facts.is_connecting {
                choices.push(Choice::Connect(client));
            }
            if facts.is_sending {
                choices.push(Choice::Up(client));
            }
            if facts.is_half_open && self.case.notices {
                choices.push(Choice::Notice(client));
            }
            choices.extend((0..facts.late).map(|place| Choice::Late(client, place)));
        }
        if self.broker.facts(state.broker).is_writing {
            choices.push(Choice::Synced);
        }
        choices
    }

    /// Whether nothing is left to happen: what comes late need not come.
    pub(super) fn is_end(&self, state: State) -> bool {
        self.choices(state).iter().all(|choice| matches!(choice, Choice::Late(..)))
    }

    /// Goes on from a state in every way: to which state, with what left, by which step.
    pub(super) fn go_on(&self, state: State, budget: Budget, mut to: impl FnMut(State, Budget, Step)) {
        for choice in self.choices(state) {
            let moment = self.take(state, choice);
            for (fault, left) in self.faults(&moment, budget) {
                // What breaks when everybody has heard everything is a step of its own.
                if !matches!(fault, Choice::Cut(_, ALL) | Choice::Crash([ALL, ALL], _)) {
                    to(self.go_wrong(&moment, fault), left, (choice, Some(fault)));
                }
            }
            to(self.settle(moment), budget, (choice, None));
        }
        let quiet = Moment::quiet(state);
        for (fault, left) in self.faults(&quiet, budget) {
            to(self.go_wrong(&quiet, fault), left, (fault, None));
        }
    }

    /// Where one step leads to.
    #[cfg(test)]
    fn follow(&self, state: State, (choice, fault): Step) -> State {
        match (choice, fault) {
            (Choice::Cut(..) | Choice::Crash(..), _) => self.go_wrong(&Moment::quiet(state), choice),
            (_, Some(fault)) => self.go_wrong(&self.take(state, choice), fault),
            (_, None) => self.settle(self.take(state, choice)),
        }
    }

    /// Everything that can break, and what may go wrong then still.
    fn faults(&self, moment: &Moment, budget: Budget) -> Vec<(Choice, Budget)> {
        let mut faults = Vec::new();
        let heard = |client: usize| (0..moment.unheard[client]).chain([ALL]);
        if budget.cuts > 0 {
            let left = Budget { cuts: budget.cuts - 1, ..budget };
            for client in CLIENTS {
                faults.extend(heard(client).map(|heard| (Choice::Cut(client as u8, heard), left)));
            }
        }
        if budget.crashes > 0 {
            let left = Budget { crashes: budget.crashes - 1, ..budget };
            let is_writing = self.broker.facts(moment.state.broker).is_writing;
            for one in heard(PUBLISHER) {
                for other in heard(SUBSCRIBER) {
                    let all = [false, true].into_iter().filter(|is_written| is_writing || !is_written);
                    faults.extend(all.map(|is_written| (Choice::Crash([one, other], is_written), left)));
                }
            }
        }
        faults
    }

    fn go_wrong(&self, moment: &Moment, fault: Choice) -> State {
        match fault {
            Choice::Cut(client, heard) => self.cut(moment, usize::from(client), heard),
            Choice::Crash(heard, is_written) => self.crash(moment, heard, is_written),
            _ => moment.state,
        }
    }

    /// Lets something happen; clients have not heard yet what the broker says to it.
    fn take(&self, mut state: State, choice: Choice) -> Moment {
        let mut send = |client: u8, event| {
            let side = usize::from(client);
            let packet;
            (state.sides[side], packet) = self.sides[side].step(state.sides[side], event);
            packet
        };
        let happening = match choice {
            Choice::Connect(client) => Happening::Connect(client, send(client, Event::Connect)),
            Choice::Late(client, place) => Happening::Connect(client, send(client, Event::Late(place))),
            Choice::Up(client) => Happening::Packet(client, send(client, Event::Send)),
            Choice::Notice(client) => {
                send(client, Event::Lost);
                Happening::Lost(client)
            }
            _ => Happening::Synced,
        };
        let said;
        (state.broker, said) = self.broker.step(state.broker, happening);
        let facts = self.facts(state);
        let unheard = CLIENTS.map(|client| match said[client] {
            Words::NOTHING => 0,
            said => {
                let is_own = |said: &&Said| match said {
                    Said::Packet(_) => facts[client].is_heard,
                    Said::Before(_) => facts[client].must_dial,
                    Said::Closed => false,
                };
                self.words.said.value(said).iter().filter(is_own).count() as u8
            }
        });
        Moment { state, said, unheard }
    }

    /// Everybody hears everything.
    fn settle(&self, Moment { mut state, said, .. }: Moment) -> State {
        for client in CLIENTS {
            state.sides[client] = self.hear(&state, client, said[client]);
        }
        // A connection that came late has taken over a newer one.
        for client in CLIENTS {
            if self.sides[client].facts(state.sides[client]).must_dial {
                let cut = Event::Cut(Words::NOTHING, 0);
                state.sides[client] = self.sides[client].step(state.sides[client], cut).0;
            }
        }
        state
    }

    fn hear(&self, state: &State, client: usize, said: u32) -> u32 {
        match said {
            Words::NOTHING => state.sides[client],
            said => self.sides[client].step(state.sides[client], Event::Hear(said)).0,
        }
    }

    fn cut(&self, moment: &Moment, client: usize, heard: u8) -> State {
        let cut = match moment.said[client] {
            Words::NOTHING => Event::Cut(Words::NOTHING, 0),
            said => Event::Cut(said, heard),
        };
        let mut state = moment.state;
        state.sides[client] = self.sides[client].step(state.sides[client], cut).0;
        let mut said = moment.said;
        said[client] = Words::NOTHING;
        self.settle(Moment { said, ..Moment::quiet(state) })
    }

    fn crash(&self, moment: &Moment, heard: [u8; 2], is_written: bool) -> State {
        let mut state = moment.state;
        let said;
        (state.broker, said) = self.broker.step(state.broker, Happening::Crash(is_written));
        assert_eq!(said, [Words::NOTHING; 2], "a broker that begins speaks to nobody");
        for client in CLIENTS {
            let heard = if moment.said[client] == Words::NOTHING { 0 } else { heard[client] };
            let crash = Event::Crash(moment.said[client], heard);
            state.sides[client] = self.sides[client].step(state.sides[client], crash).0;
        }
        state
    }

    /// What is wrong in a state, or unfinished where nothing is left to happen.
    pub(super) fn broken(&self, state: State, is_end: bool) -> Option<String> {
        let facts = self.facts(state);
        let is_wrong = |facts: &SideFacts| facts.is_broken || is_end && !facts.is_done;
        let client = facts.iter().position(is_wrong);
        let broken = client.map(|client| {
            let words = self.sides[client].words(state.sides[client]);
            format!("{}: {words}", ["publisher", "subscriber"][client])
        });
        let is_left = is_end && !self.broker.facts(state.broker).is_clean;
        broken.or_else(|| is_left.then(|| self.broker.words(state.broker)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::CASES;
    use super::*;
    use crate::rng::Rng;

    /// What really comes of everything that each part heard on its way to a state is the state that was looked up.
    #[test]
    fn what_is_looked_up_is_what_happens() {
        for case in CASES {
            let world = World::new(case);
            let mut rng = Rng::new(1);
            for _ in 0..30 {
                world.sides.iter().for_each(|side| drop(side.heard()));
                drop(world.broker.heard());
                let mut heard = (Vec::new(), Vec::new(), Vec::new());
                let (mut state, mut budget) = (world.first(), Budget { cuts: 3, crashes: 1 });
                for _ in 0..40 {
                    heard.0.extend(world.sides[0].heard());
                    heard.1.extend(world.sides[1].heard());
                    heard.2.extend(world.broker.heard());
                    assert!(world.sides[0].is_where(&heard.0, state.sides[0]), "{case:?} {heard:?}");
                    assert!(world.sides[1].is_where(&heard.1, state.sides[1]), "{case:?} {heard:?}");
                    assert!(world.broker.is_where(&heard.2, state.broker), "{case:?} {heard:?}");
                    let mut steps = Vec::new();
                    world.go_on(state, budget, |_, left, step| steps.push((left, step)));
                    let _ = (world.sides[0].heard(), world.sides[1].heard(), world.broker.heard());
                    if steps.is_empty() {
                        break;
                    }
                    let step;
                    (budget, step) = steps[rng.below(steps.len() as u64) as usize];
                    state = world.follow(state, step);
                }
            }
        }
    }
}
