//! Deterministic simulation: worlds of clients, a broker, wires and disks in which everything goes wrong that can, and
//! an oracle that knows what MQTT promises.
//!
//! The engine and the broker's core are the real ones, unmodified: they take bytes and time and give bytes and
//! deadlines, so a world can be all that is around them. Every choice in it is drawn from one seed: a seed that breaks
//! a promise breaks it again, event by event.
//!
//! ```
//! let scenario = sim::scenario::named("qos").unwrap();
//! let report = sim::run(&scenario.plan(7), false);
//! assert_eq!(report.violation, None);
//! ```
//!
//! [`plan`] is a world before it runs, [`scenario`] makes plans, [`world`] runs them, [`oracle`] judges them. [`wire`]
//! and [`disk`] are what can go wrong around [`client`] and [`broker`]; [`shrink`] takes from a world that breaks a
//! promise whatever it does not need for it. [`exhaust`] leaves nothing to chance: it goes through every state of worlds
//! that are small enough for it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

pub mod broker;
pub mod client;
pub mod disk;
pub mod exhaust;
pub mod oracle;
pub mod plan;
pub mod rights;
pub mod rng;
pub mod scenario;
pub mod scene;
pub mod shrink;
pub mod wire;
pub mod world;

pub use world::{Report, run};
