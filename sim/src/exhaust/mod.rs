//! Small worlds in all ways that they can go: a publisher, a subscriber, two messages, the real engine and the real
//! shard, a disk, and so many cuts and crashes. Not chance but search decides what happens next, and every state is
//! gone on from once.
//!
//! What one party does depends only on what it hears, and in which order; so what a client hears it hears at once, and
//! what can differ is what comes to the shard next, and how much a client had heard when something broke. A cut is
//! noticed by the client at once and by the broker whenever: what the client had sent before may still arrive, before
//! its next connection or after it, which is a takeover then.
//!
//! A state is what the parties say about themselves in `Debug`, with counts that only have to differ replaced by their
//! ranks. Neither engine nor shard can be copied, so a state is come to again by doing again what led to it.

#![allow(clippy::disallowed_types)] // Locks: all processors search together.

mod party;
mod state;

use mqtt_packet::QoS;
use state::{Choice, State};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// What the threads of a search share.
struct Search {
    known: Mutex<HashSet<u128>>,
    waiting: Mutex<Vec<Vec<Choice>>>,
    /// How many states wait or are being gone on from.
    open: AtomicUsize,
    found: Mutex<Found>,
}

/// Goes through all states of a small world, at most so many; `tell` hears of the progress.
pub fn explore(case: Case, threads: usize, most: u64, tell: &(dyn Fn(&Found) + Sync)) -> Found {
    let search = Search {
        known: Mutex::new(HashSet::new()),
        waiting: Mutex::new(vec![Vec::new()]),
        open: AtomicUsize::new(1),
        found: Mutex::new(Found::default()),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| search.work(case, most, tell));
        }
    });
    let mut found = search.found.into_inner().expect("no thread panics");
    found.is_whole = search.open.into_inner() == 0 && found.broken.is_none();
    found
}

impl Search {
    fn work(&self, case: Case, most: u64, tell: &(dyn Fn(&Found) + Sync)) {
        loop {
            let next = self.waiting.lock().expect("no thread panics").pop();
            let Some(path) = next else {
                if self.open.load(Ordering::SeqCst) == 0 {
                    return;
                }
                std::thread::yield_now();
                continue;
            };
            {
                let found = self.found.lock().expect("no thread panics");
                if found.broken.is_some() || found.states >= most {
                    return;
                }
            }
            self.go_on(case, &path, tell);
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Takes every step that can be taken after those of `path`.
    fn go_on(&self, case: Case, path: &[Choice], tell: &(dyn Fn(&Found) + Sync)) {
        let choices = State::with(case, path, |state| {
            state.settle();
            state.choices()
        });
        for choice in choices {
            let steps = [path, &[choice]].concat();
            let interruptions = self.arrive(case, steps.clone(), tell);
            for choice in interruptions {
                self.arrive(case, [&steps[..], &[choice]].concat(), tell);
            }
        }
    }

    /// Comes to a state, and sees to it that it is gone on from if it is new. Returns what can break on the way.
    fn arrive(&self, case: Case, steps: Vec<Choice>, tell: &(dyn Fn(&Found) + Sync)) -> Vec<Choice> {
        let (interruptions, identity, broken, is_end) = State::with(case, &steps, |state| {
            let interruptions = state.interruptions();
            state.settle();
            let is_end = state.is_at_rest();
            if is_end {
                state.check_end();
            }
            (interruptions, state.identity(), state.broken.clone(), is_end)
        });
        let is_new = self.known.lock().expect("no thread panics").insert(identity);
        let mut found = self.found.lock().expect("no thread panics");
        found.steps += 1;
        if let Some(broken) = broken {
            found.broken.get_or_insert((steps, broken));
        } else if is_new {
            found.states += 1;
            found.ends += u64::from(is_end);
            found.longest = found.longest.max(steps.len());
            if found.states.is_multiple_of(10_000) {
                tell(&found);
            }
            drop(found);
            self.open.fetch_add(1, Ordering::SeqCst);
            self.waiting.lock().expect("no thread panics").push(steps);
        }
        interruptions
    }
}
