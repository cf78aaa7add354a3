//! The same with three shards and their threads: connections are handed over, messages cross.

#[path = "interop_mosquitto.rs"]
mod suite;
