//! TLS over TCP as [`Network`](crate::Network), by rustls. What is trusted, and with which cryptography, is the
//! caller's [`ClientConfig`].

use super::socket::{Socket, Stream, connect_tcp};
use crate::time::Duration;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;

pub use rustls;

/// A TLS connection over TCP.
pub type Tls = Socket<StreamOwned<ClientConnection, TcpStream>>;

impl Tls {
    /// Connects and shakes hands with the server of this name, both within `timeout` each.
    ///
    /// # Errors
    /// Those of TCP; a certificate that is not trusted is [`io::ErrorKind::InvalidData`].
    pub fn connect(
        address: impl ToSocketAddrs,
        server: ServerName<'static>,
        config: Arc<ClientConfig>,
        timeout: Duration,
    ) -> io::Result<Self> {
        let mut stream = connect_tcp(address, timeout)?;
        let mut session = ClientConnection::new(config, server).map_err(io::Error::other)?;
        TcpStream::set_read_timeout(&stream, Some(timeout.into()))?;
        TcpStream::set_write_timeout(&stream, Some(timeout.into()))?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self::new(StreamOwned::new(session, stream)))
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.sock.set_nonblocking(nonblocking)
    }

    fn set_read_timeout(&self, timeout: std::time::Duration) -> io::Result<()> {
        self.sock.set_read_timeout(Some(timeout))
    }

    fn set_write_timeout(&self, timeout: std::time::Duration) -> io::Result<()> {
        self.sock.set_write_timeout(Some(timeout))
    }

    fn shut_down(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        self.sock.shut_down();
    }
}
