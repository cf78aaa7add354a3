//! Every option of mosquitto's programs, driven through ours and, where it has the option, through Debian's on the same
//! server with the same input: output, exit code and what the server passes on are compared. The servers are our broker,
//! inside this process, and Debian's mosquitto.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod carriers;
mod common;
mod coverage;
mod files;
mod publish;
mod request;
mod servers;
mod subscribe;
mod usage;
mod world;
