//! Properties of all packets, by random ones: what is written is read, in any pieces, and nothing else is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod framer;
mod generate;
mod packets;
// Without 5.0 nothing reads a property.
#[cfg(feature = "v5")]
mod properties;
mod publish;
mod topics;
#[path = "../wire/mod.rs"]
mod wire;
