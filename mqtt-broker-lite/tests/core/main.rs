//! The core of the broker, statement by statement. Everything here drives a shard directly: no sockets, no clocks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::disallowed_types,
    missing_docs,
    unreachable_pub
)]

mod access;
mod bytes;
mod chaos;
mod congestion;
mod connecting;
mod durability;
mod faults;
mod inside;
mod needs;
mod passing;
mod pressure;
mod publishing;
mod retained;
mod sessions;
mod sharing;
mod subscribing;
mod wills;
mod words;
mod world;
