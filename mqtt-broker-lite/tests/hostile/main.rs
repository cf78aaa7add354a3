//! Peers that mean harm, over real sockets: what they send is answered as the standard says, whoever is beside them is
//! served as if they were not there, the broker's memory stays in its bound, and it lives.

#![cfg(all(feature = "cli", feature = "persistence", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

#[path = "../made/mod.rs"]
mod made;

mod bombs;
mod floods;
mod ground;
mod link;
mod malformed;
mod packets;
mod readers;
mod silence;
mod storms;
mod tls;
mod websocket;
