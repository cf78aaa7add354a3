//! Small worlds in all ways that they can go: a publisher, a subscriber, two messages, the real engine and the real
//! shard, a disk, and so many cuts and crashes. Not chance but search decides what happens next, and every state is
//! gone on from once.
//!
//! What one party does depends only on what it hears, and in which order; so what a client hears it hears at once, and
//! what can differ is what comes to the shard next, and how much a client had heard when something broke. A cut is
//! noticed by the client at once and by the broker whenever: what the client had sent before may still arrive, before
//! its next connection or after it, which is a takeover then.
//!
//! A state is what the parties say about themselves in `Debug`, less what makes no difference. How much may still go
//! wrong is no part of it: where less may, nothing can happen that cannot happen where more may, so states are gone on
//! from with the most that is possible first, and again only with what was not possible then. Neither engine nor shard
//! can be copied, so a state is come to again by doing again what led to it.

#![allow(clippy::disallowed_types)] // Locks: all processors search together.

mod identity;
mod party;
mod state;

use mqtt_packet::QoS;
use state::{Choice, State};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A small world.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// At which QoS the messages are published and subscribed to.
    pub qos: QoS,
    /// How many messages there are.
    pub messages: usize,
    /// How often a connection may be cut.
    pub cuts: usize,
    /// How often the broker may crash.
    pub crashes: usize,
    /// Whether the broker may notice a cut by itself, and not only by the client's next connection.
    pub notices: bool,
}

/// Every small world there is.
pub const CASES: [Case; 3] = [
    Case {
        name: "qos1",
        about: "two messages of QoS 1",
        qos: QoS::AtLeastOnce,
        messages: 2,
        cuts: 3,
        crashes: 1,
        notices: true,
    },
    Case {
        name: "qos2",
        about: "two messages of QoS 2",
        qos: QoS::ExactlyOnce,
        messages: 2,
        cuts: 3,
        crashes: 1,
        notices: true,
    },
    Case {
        name: "takeover",
        about: "two messages of QoS 2; the broker hears of a cut by a takeover alone",
        qos: QoS::ExactlyOnce,
        messages: 2,
        cuts: 3,
        crashes: 1,
        notices: false,
    },
];

/// The small world of this name.
pub fn named(name: &str) -> Option<Case> {
    CASES.into_iter().find(|case| case.name == name)
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How many states there are.
    pub states: u64,
    /// How many steps between them.
    pub steps: u64,
    /// In how many of them nothing is left to happen.
    pub ends: u64,
    /// The longest way to one.
    pub longest: usize,
    /// The first broken promise, with the steps that lead to it.
    pub broken: Option<(Vec<Choice>, String)>,
    /// Whether there are no other states.
    pub is_whole: bool,
}

/// The steps to a state, the last one first: many ways share their beginning.
struct Way {
    choice: Choice,
    before: Option<Arc<Way>>,
    /// How many there are.
    len: usize,
}

type Lead = Option<Arc<Way>>;

/// How much may still go wrong.
#[derive(Clone, Copy)]
struct Budget {
    cuts: usize,
    crashes: usize,
}

/// With which budgets a state was gone on from.
#[derive(Clone, Copy, Default)]
struct Budgets(u64);

impl Budgets {
    /// So many cuts at most, and as many crashes.
    const MOST: usize = 8;

    /// Adds one with all that are smaller; false if it was there.
    fn add(&mut self, budget: Budget) -> bool {
        let Budget { cuts, crashes } = budget;
        let is_known = self.0 & 1 << (crashes * Self::MOST + cuts) != 0;
        for crashes in 0..=crashes {
            self.0 |= ((1 << (cuts + 1)) - 1) << (crashes * Self::MOST);
        }
        !is_known
    }
}

/// What the threads of a search share.
struct Search<'t> {
    case: Case,
    known: Mutex<HashMap<u128, Budgets>>,
    /// Steps that were not taken, by how much may go wrong behind them.
    waiting: Mutex<Vec<Vec<Lead>>>,
    /// How many steps wait or are being gone on from.
    open: AtomicUsize,
    found: Mutex<Found>,
    is_over: AtomicBool,
    most: u64,
    tell: &'t (dyn Fn(&Found) + Sync),
}

/// Goes through all states of a small world, at most so many; `tell` hears of the progress.
///
/// # Panics
/// If the case has more than seven cuts or crashes.
pub fn explore(case: Case, threads: usize, most: u64, tell: &(dyn Fn(&Found) + Sync)) -> Found {
    assert!(case.cuts.max(case.crashes) < Budgets::MOST, "at most {} cuts and crashes", Budgets::MOST - 1);
    let mut waiting: Vec<Vec<Lead>> = (0..=case.cuts + case.crashes).map(|_| Vec::new()).collect();
    waiting[case.cuts + case.crashes].push(None);
    let search = Search {
        case,
        known: Mutex::new(HashMap::new()),
        waiting: Mutex::new(waiting),
        open: AtomicUsize::new(1),
        found: Mutex::new(Found::default()),
        is_over: AtomicBool::new(false),
        most,
        tell,
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| search.work());
        }
    });
    let mut found = search.found.into_inner().expect("no thread panics");
    found.is_whole = search.open.into_inner() == 0 && found.broken.is_none();
    found
}

impl Search<'_> {
    fn work(&self) {
        while self.open.load(Ordering::SeqCst) > 0 && !self.is_over.load(Ordering::Relaxed) {
            let next = self.waiting.lock().expect("no thread panics").iter_mut().rev().find_map(Vec::pop);
            match next {
                Some(lead) => {
                    State::with(self.case, |state| self.follow(state, lead));
                    self.open.fetch_sub(1, Ordering::SeqCst);
                }
                None => std::thread::yield_now(),
            }
        }
    }

    /// Comes to where a way leads, and goes on from there for as long as something is new.
    fn follow(&self, state: &mut State<'_>, mut lead: Lead) {
        steps(lead.as_deref()).into_iter().for_each(|choice| state.take(choice));
        loop {
            self.leave(state, &lead, &state.interruptions());
            state.settle();
            let choices = state.choices();
            let is_end = choices.iter().all(Choice::is_fault);
            if is_end {
                state.check_end();
            }
            if !self.is_new(state, &lead, is_end) {
                return;
            }
            match choices.split_first() {
                Some((first, others)) if !first.is_fault() => {
                    self.leave(state, &lead, others);
                    state.take(*first);
                    let len = len(&lead) + 1;
                    lead = Some(Arc::new(Way { choice: *first, len, before: lead }));
                }
                // First everything where more may go wrong.
                _ => return self.leave(state, &lead, &choices),
            }
        }
    }

    /// Leaves these steps for later.
    fn leave(&self, state: &State<'_>, lead: &Lead, choices: &[Choice]) {
        if choices.is_empty() {
            return;
        }
        self.open.fetch_add(choices.len(), Ordering::SeqCst);
        let mut waiting = self.waiting.lock().expect("no thread panics");
        for choice in choices {
            let left = state.cuts + state.crashes - usize::from(choice.is_fault());
            let way = Way { choice: *choice, len: len(lead) + 1, before: lead.clone() };
            waiting[left].push(Some(Arc::new(way)));
        }
    }

    /// Counts a step; true if it is to be gone on from where it leads.
    fn is_new(&self, state: &State<'_>, lead: &Lead, is_end: bool) -> bool {
        let budget = Budget { cuts: state.cuts, crashes: state.crashes };
        let identity = state.identity();
        let (is_state_new, is_new) = {
            let mut known = self.known.lock().expect("no thread panics");
            let budgets = known.entry(identity).or_default();
            (budgets.0 == 0, budgets.add(budget))
        };
        let mut found = self.found.lock().expect("no thread panics");
        found.steps += 1;
        if let Some(broken) = &state.broken {
            found.broken.get_or_insert_with(|| (steps(lead.as_deref()), broken.clone()));
            self.is_over.store(true, Ordering::Relaxed);
            return false;
        }
        if is_state_new {
            found.states += 1;
            found.ends += u64::from(is_end);
            found.longest = found.longest.max(len(lead));
            if found.states >= self.most {
                self.is_over.store(true, Ordering::Relaxed);
            }
            if found.states.is_multiple_of(10_000) {
                (self.tell)(&found);
            }
        }
        is_new
    }
}

fn len(lead: &Lead) -> usize {
    lead.as_ref().map_or(0, |way| way.len)
}

/// The steps of a way, in their order.
fn steps(lead: Option<&Way>) -> Vec<Choice> {
    let mut steps: Vec<_> =
        std::iter::successors(lead, |way| way.before.as_deref()).map(|way| way.choice).collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_that_may_go_wrong_is_nothing_new() {
        let mut budgets = Budgets::default();
        let mut add = |cuts, crashes| budgets.add(Budget { cuts, crashes });
        assert!(add(2, 1) && !add(2, 1) && !add(2, 0) && !add(0, 1));
        assert!(add(3, 0) && !add(1, 0) && add(3, 1));
    }
}
