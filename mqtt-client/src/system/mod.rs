//! What an operating system has: sockets and a clock.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // This is a shell.

mod awaited;
mod clock;
mod file_store;
mod pace;
mod socket;
#[cfg(feature = "tls")]
mod tls;

pub use clock::SystemTimer;
pub use file_store::FileStore;
pub use pace::Pace;
#[cfg(unix)]
pub use socket::Unix;
pub use socket::{Socket, Stream, Tcp};
#[cfg(feature = "tls")]
pub use tls::{Tls, rustls};
