//! The statements of MQTT 3.1.1 that a codec can show, by their numbers; where 3.1 differs, that too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod connect;
mod fixed_header;
mod publish;
mod strings;
mod subscribe;
#[path = "../wire/mod.rs"]
mod wire;
