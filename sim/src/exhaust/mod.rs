//! Small worlds in all ways that they can go: a publisher, a subscriber, two messages, the real engine and the real
//! shard, a disk, and so many cuts and crashes. Not chance but search decides what happens next, and every state is
//! gone on from once.
//!
//! What one party does depends only on what it hears, and in which order; so what a client hears it hears at once, and
//! what can differ is what comes to the shard next, and how much a client had heard when something broke. A cut is
//! noticed by the client at once and by the broker whenever: what the client had sent before may still arrive, before
//! its next connection or after it, which is a takeover then.
//!
//! A world is three parts that only talk to each other: each client with its connections, and the broker with its disk.
//! The state of a part is what it says about itself in `Debug`, less what makes no difference; the state of the world is
//! those three. What a part does is tried with the real engine or shard once for each of its states and each thing that
//! it can hear there, and looked up from then on: few states of parts make many of the world.
//!
//! How much may still go wrong is no part of a state: where less may, nothing can happen that cannot happen where more
//! may, so states are gone on from with the most that is possible first, and again only with what was not possible then.

#![allow(clippy::disallowed_types)] // Locks: all processors search together.

mod automaton;
mod broker;
mod identity;
mod party;
mod search;
mod side;
mod world;

use mqtt_packet::QoS;
use search::Search;
pub use world::{Choice, Step};
use world::{Said, Words};

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;

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
    /// How many states the parts have, together.
    pub part_states: usize,
    /// How many steps of parts were tried.
    pub part_steps: usize,
    /// The first broken promise, with the steps that lead to it.
    pub broken: Option<(Vec<Step>, String)>,
    /// Whether there are no other states.
    pub is_whole: bool,
}

/// Goes through all states of a small world, at most so many; `tell` hears of the progress. If a promise is broken, it
/// searches once more and remembers the way.
///
/// # Panics
/// If the case has more cuts and crashes than can be counted.
pub fn explore(case: Case, threads: usize, most: u64, tell: &(dyn Fn(&Found) + Sync)) -> Found {
    let found = Search::new(case, most, false, tell).run(threads);
    if found.broken.is_none() {
        return found;
    }
    Search::new(case, most, true, tell).run(threads)
}
