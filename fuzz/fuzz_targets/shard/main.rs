//! Any history of several clients: they come and go, take over from themselves, are cut off, publish, subscribe, read
//! slowly; time jumps, the disk is slow, the process ends and starts again with other shards; and others send whatever
//! they like. Every packet of the broker is one that a naive model owes, everything owed comes, and nothing is left over.
//!
//! Input: how the broker is set up, as `Arbitrary` makes it, then what happens, one `Op` after the other.

#![no_main]

mod history;
mod hostile;
mod listen;
mod model;
mod world;

use arbitrary::{Arbitrary, Unstructured};
use history::History;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// Connections from this number on are of those who send whatever they like.
pub const HOSTILE: u64 = 1 << 32;

pub const TOPICS: [&str; 10] = ["a", "a/b", "a/b/c", "b", "/", "a//b", "$x/a", "$s/1", "$s/2", "a/"];
pub const FILTERS: [&str; 14] = [
    "#",
    "+",
    "a/#",
    "a/+",
    "+/b",
    "a/b",
    "+/+",
    "/#",
    "$x/#",
    "a/b/c",
    "a/+/#",
    "$share/g/$s/#",
    "$share/h/$s/+",
    "$share/g/$s/1",
];

#[derive(Arbitrary, Debug)]
pub struct Setup {
    pub shards: u8,
    pub durable: bool,
    /// How much waits in the shell, in the memory of a session, and before publishers wait: a little, or much.
    pub small_window: bool,
    pub small_queue: bool,
    pub small_room: bool,
    pub aliases: bool,
    /// Whoever sends whatever he likes may do everything: then nobody knows what is owed.
    pub open: bool,
    pub chance: u32,
}

#[derive(Arbitrary, Debug)]
pub struct WillPlan {
    pub topic: u8,
    pub qos: u8,
    pub retain: bool,
    pub delay: u8,
}

#[derive(Arbitrary, Debug)]
pub enum Op {
    Connect {
        who: u8,
        v5: bool,
        clean: bool,
        expiry: u8,
        receive: u8,
        will: Option<WillPlan>,
    },
    Cut(u8),
    Leave {
        who: u8,
        with_will: bool,
        expiry: Option<u8>,
    },
    Publish {
        who: u8,
        topic: u8,
        qos: u8,
        id: u8,
        retain: bool,
        len: u8,
        expiry: u8,
    },
    Release {
        who: u8,
        id: u8,
    },
    Subscribe {
        who: u8,
        filter: u8,
        options: u8,
        id: u8,
    },
    Unsubscribe {
        who: u8,
        filter: u8,
    },
    /// The client answers so many packets; of QoS 2, perhaps with an error.
    Answer {
        who: u8,
        count: u8,
        refuse: bool,
    },
    Stall(u8),
    Unstall(u8),
    Disk(bool),
    Pass(u16),
    Restart(u8),
    Observe(u8),
    Unobserve(u8),
    Inside {
        topic: u8,
        qos: u8,
        retain: bool,
        len: u8,
    },
    /// Somebody sends any packet, or any bytes.
    Hostile {
        slot: u8,
        kind: u8,
    },
}

/// With `TOLD=1` in the environment an input is told in words, and what clients hear of the broker.
pub static IS_TOLD: LazyLock<bool> = LazyLock::new(|| std::env::var_os("TOLD").is_some());

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok(setup) = input.arbitrary::<Setup>() else { return };
    if *IS_TOLD {
        eprintln!("{setup:?}");
    }
    let mut history = History::new(&setup);
    // An input that ends too early is no finding.
    while !input.is_empty() {
        let Ok(op) = input.arbitrary::<Op>() else { break };
        if *IS_TOLD {
            eprintln!("{op:?}");
        }
        history.apply(&op, &mut input);
    }
    history.finish();
});
