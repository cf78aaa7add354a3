//! Clients of 3.1.1 by hand, for tests and benches: one connection, and a publisher that knows what was acknowledged.

#![allow(dead_code)] // Not every test uses all of it.

pub mod client;
pub mod publisher;
