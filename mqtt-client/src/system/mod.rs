//! What an operating system has: sockets and a clock.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // This is a shell.

mod clock;
mod socket;

pub use clock::SystemTimer;
#[cfg(unix)]
pub use socket::Unix;
pub use socket::{Socket, Stream, Tcp};
