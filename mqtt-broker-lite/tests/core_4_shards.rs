//! The tests of the core once more, with four shards: they behave as one broker.

#[path = "core/main.rs"]
mod suite;
