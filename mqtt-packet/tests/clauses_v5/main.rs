//! The statements of MQTT 5.0 that a codec can show, by their numbers, and its tables: which property and which
//! reason code in which packet, from which side.

#![cfg(feature = "v5")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod acknowledgements;
mod connect;
mod disconnect;
mod fixed_header;
mod properties;
mod publish;
mod reason_codes;
mod rules;
mod senders;
mod sizes;
mod strings;
mod subscribe;
#[path = "../wire/mod.rs"]
mod wire;

use mqtt_packet::{DecodeError, ReasonCode, Version};

/// The packet must be refused as 5.0 with this error, which names this statement and is answered with this code.
#[track_caller]
fn refused(notation: &str, error: DecodeError, rule: &str, code: ReasonCode) {
    wire::refused(&wire::wire(notation), Version::V5, error, rule, code);
}
