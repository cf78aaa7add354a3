//! Streams of the crate `embedded-io` 0.7 as [`Network`].

use crate::network::Network;
use crate::time::Duration;
use embedded_io::{Error, ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};

/// A stream of `embedded-io` as [`Network`]. It never waits, as these streams wait without a bound; so a client that
/// waits asks it again and again.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedIo<S> {
    stream: S,
}

impl<S> EmbeddedIo<S> {
    /// A stream that is connected.
    pub const fn new(stream: S) -> Self {
        Self { stream }
    }

    /// The stream inside.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: ErrorType + Read + ReadReady + Write + WriteReady> Network for EmbeddedIo<S> {
    type Error = ErrorKind;

    fn read(&mut self, buffer: &mut [u8], _: Duration) -> Result<usize, ErrorKind> {
        if !self.stream.read_ready().map_err(kind)? {
            return Ok(0);
        }
        match self.stream.read(buffer).map_err(kind)? {
            0 => Err(ErrorKind::ConnectionReset),
            n => Ok(n),
        }
    }

    fn write(&mut self, bytes: &[u8], _: Duration) -> Result<usize, ErrorKind> {
        if !self.stream.write_ready().map_err(kind)? {
            return Ok(0);
        }
        self.stream.write(bytes).map_err(kind)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        self.stream.flush().map_err(kind)
    }

    /// A stream of this kind ends when it is dropped.
    fn close(&mut self) {}
}

fn kind(error: impl Error) -> ErrorKind {
    error.kind()
}
