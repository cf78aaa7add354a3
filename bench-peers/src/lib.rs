//! mqtt-packet beside other MQTT codecs, on the same bytes.
//!
//! `vectors` are the bytes, `peers` the codecs, a [`Case`] is one codec doing one thing. `benches/codec.rs` takes the
//! time, the program of this crate lets callgrind count instructions (see `scripts/instructions`).

mod case;
mod peers;
mod vectors;

pub use case::{Case, Direction, Prepared};
pub use peers::cases;
pub use vectors::{Item, Version, items};
