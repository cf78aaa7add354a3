//! TCP and Unix sockets as [`Network`].

use super::awaited::Awaited;
use super::pace::Pace;
use crate::network::Network;
use crate::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// For how long what comes gathers where much does. A shorter time wakes more often, a longer one gains no more.
const PAUSE: std::time::Duration = std::time::Duration::from_micros(500);

/// A stream of the operating system that can wait for a limited time.
pub trait Stream {
    /// Whether calls return at once.
    ///
    /// # Errors
    /// Those of the system.
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;

    /// For how long a read waits at most.
    ///
    /// # Errors
    /// Those of the system.
    fn set_read_timeout(&self, timeout: std::time::Duration) -> io::Result<()>;

    /// For how long a write waits at most.
    ///
    /// # Errors
    /// Those of the system.
    fn set_write_timeout(&self, timeout: std::time::Duration) -> io::Result<()>;

    /// Ends both directions.
    fn shut_down(&mut self);
}

macro_rules! stream {
    ($type:ty) => {
        impl Stream for $type {
            fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                <$type>::set_nonblocking(self, nonblocking)
            }

            fn set_read_timeout(&self, timeout: std::time::Duration) -> io::Result<()> {
                <$type>::set_read_timeout(self, Some(timeout))
            }

            fn set_write_timeout(&self, timeout: std::time::Duration) -> io::Result<()> {
                <$type>::set_write_timeout(self, Some(timeout))
            }

            fn shut_down(&mut self) {
                let _ = self.shutdown(Shutdown::Both);
            }
        }
    };
}

stream!(TcpStream);
#[cfg(unix)]
stream!(UnixStream);

/// A TCP connection.
pub type Tcp = Socket<TcpStream>;

/// A connection over a Unix socket.
#[cfg(unix)]
pub type Unix = Socket<UnixStream>;

/// A socket as [`Network`].
#[derive(Debug)]
pub struct Socket<S> {
    stream: S,
    /// What the system was told last: whether to wait, and for how many milliseconds.
    nonblocking: Option<bool>,
    read_timeout: u32,
    write_timeout: u32,
    pace: Pace,
    awaited: Awaited,
}

impl Tcp {
    /// Connects to the first address that answers, each within `timeout`, and sends small packets at once.
    ///
    /// # Errors
    /// That of the last address, or [`ErrorKind::NotFound`] where the name has none.
    pub fn connect(address: impl ToSocketAddrs, timeout: Duration) -> io::Result<Self> {
        connect_tcp(address, timeout).map(Self::new)
    }
}

pub(super) fn connect_tcp(address: impl ToSocketAddrs, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout.into()) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(unix)]
impl Unix {
    /// Connects to a Unix socket.
    ///
    /// # Errors
    /// Those of the system.
    pub fn connect(path: impl AsRef<std::path::Path>) -> io::Result<Self> {
        UnixStream::connect(path).map(Self::new)
    }
}

impl<S> Socket<S> {
    /// A socket that is connected.
    pub const fn new(stream: S) -> Self {
        Self {
            stream,
            nonblocking: None,
            read_timeout: 0,
            write_timeout: 0,
            pace: Pace::new(PAUSE),
            awaited: Awaited::NONE,
        }
    }

    /// Whether every message is read as soon as it arrives. By default, where more than 8,000 small reads a second
    /// follow each other and the application does not publish in between, or has hundreds of messages in flight, what
    /// comes gathers for half a millisecond: that takes a fraction of the processor's time, and servers have more of
    /// theirs for messages. Where a server sends less then, because it waits for acknowledgements, that is left off;
    /// and a read that is to take no more than a millisecond never waits for it.
    #[must_use]
    pub const fn with_low_latency(mut self, low_latency: bool) -> Self {
        self.pace = Pace::new(if low_latency { std::time::Duration::ZERO } else { PAUSE });
        self
    }

    /// The stream inside.
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: Stream> Socket<S> {
    fn set_nonblocking(&mut self, nonblocking: bool) -> io::Result<()> {
        if self.nonblocking != Some(nonblocking) {
            self.stream.set_nonblocking(nonblocking)?;
            self.nonblocking = Some(nonblocking);
        }
        Ok(())
    }

    /// Lets messages gather, where that pays. How long may be waited for bytes then.
    fn pause(&self, timeout: Duration) -> Duration {
        let left = timeout.as_millis().saturating_sub(1);
        if left == 0 || !self.pace.is_pausing() {
            return timeout;
        }
        let now = Instant::now();
        let Some(until) = self.pace.pause(now) else {
            return timeout;
        };
        std::thread::sleep(until.saturating_duration_since(now));
        Duration::from_millis(left)
    }

    fn wait_for_bytes(&mut self, timeout: Duration) -> io::Result<()> {
        self.set_nonblocking(timeout == Duration::ZERO)?;
        let millis = rounded(timeout);
        if millis != self.read_timeout && millis > 0 {
            self.stream.set_read_timeout(std::time::Duration::from_millis(millis.into()))?;
            self.read_timeout = millis;
        }
        Ok(())
    }

    /// A socket that is told not to wait is left so: who writes often would tell the system twice a message else.
    fn wait_for_room(&mut self, timeout: Duration) -> io::Result<()> {
        let millis = rounded(timeout);
        if millis == 0 || self.nonblocking.is_none() {
            self.set_nonblocking(true)?;
        }
        if self.nonblocking == Some(false) && millis != self.write_timeout {
            self.stream.set_write_timeout(std::time::Duration::from_millis(millis.into()))?;
            self.write_timeout = millis;
        }
        Ok(())
    }
}

/// A length that is not longer, in milliseconds. To wait less is allowed, so it is a power of two, and a deadline that
/// comes nearer costs a call of the system now and then only.
fn rounded(timeout: Duration) -> u32 {
    timeout.as_millis().checked_ilog2().map_or(0, |log| 1 << log)
}

/// What a call of the system says about bytes: none yet is none, and no stream has none for ever.
fn moved(result: io::Result<usize>, end: ErrorKind) -> io::Result<usize> {
    match result {
        Ok(0) => Err(end.into()),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
            ) =>
        {
            Ok(0)
        }
        result => result,
    }
}

impl<S: Stream + Read + Write> Network for Socket<S> {
    type Error = io::Error;

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let timeout = self.pause(timeout);
        self.wait_for_bytes(timeout)?;
        let n = moved(self.stream.read(buffer), ErrorKind::UnexpectedEof)?;
        if n > 0 && self.pace.is_on() {
            self.pace.read(Instant::now(), n, n < buffer.len());
            self.awaited.read(buffer.get(..n).unwrap_or_default());
        }
        Ok(n)
    }

    fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        self.wait_for_room(timeout)?;
        let mut n = moved(self.stream.write(bytes), ErrorKind::WriteZero)?;
        // No room at once: now it is worth a call to wait for it, and to try again and again would be none.
        if n == 0 && self.nonblocking == Some(true) && rounded(timeout) > 0 {
            self.set_nonblocking(false)?;
            self.wait_for_room(timeout)?;
            n = moved(self.stream.write(bytes), ErrorKind::WriteZero)?;
        }
        if self.pace.is_on() && self.awaited.written(bytes.get(..n).unwrap_or_default()) {
            self.pace.published(self.awaited.count());
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.stream.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    fn close(&mut self) {
        self.stream.shut_down();
    }
}
