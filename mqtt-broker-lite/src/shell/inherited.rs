//! Listening sockets that somebody else opened, and kept open while there was no broker: a service manager, or the program
//! before an update.

use super::StartError;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

/// Sockets that were handed over, already listening. Each listener whose address one of them has takes it instead of
/// opening its own.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For `mqtt://`, `mqtts://`, `ws://` and `wss://`.
    pub tcp: Vec<std::net::TcpListener>,
    /// For `unix://`.
    #[cfg(unix)]
    pub unix: Vec<std::os::unix::net::UnixListener>,
}

impl Inherited {
    /// The one that listens at one of these addresses.
    pub(super) fn take_tcp(
        &mut self,
        candidates: &[SocketAddr],
    ) -> Option<io::Result<mio::net::TcpListener>> {
        let is_wanted = |socket: &std::net::TcpListener| {
            socket.local_addr().is_ok_and(|address| candidates.contains(&address))
        };
        let place = self.tcp.iter().position(is_wanted)?;
        let socket = self.tcp.swap_remove(place);
        Some(socket.set_nonblocking(true).map(|()| mio::net::TcpListener::from_std(socket)))
    }

    /// The one that listens at this path.
    #[cfg(unix)]
    pub(super) fn take_unix(&mut self, path: &Path) -> Option<io::Result<mio::net::UnixListener>> {
        let is_wanted = |socket: &std::os::unix::net::UnixListener| {
            socket.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let place = self.unix.iter().position(is_wanted)?;
        let socket = self.unix.swap_remove(place);
        Some(socket.set_nonblocking(true).map(|()| mio::net::UnixListener::from_std(socket)))
    }

    /// Whether all were taken: whoever connects to one that was not would wait for ever.
    pub(super) fn check_taken(&self) -> Result<(), StartError> {
        let mut left =
            self.tcp.iter().filter_map(|socket| socket.local_addr().ok()).map(|one| one.to_string());
        let left = left.next();
        #[cfg(unix)]
        let left = left.or_else(|| {
            let mut left = self.unix.iter().filter_map(|socket| socket.local_addr().ok());
            left.next().map(|address| format!("{address:?}"))
        });
        left.map_or(Ok(()), |address| Err(StartError::Unclaimed { address }))
    }
}
