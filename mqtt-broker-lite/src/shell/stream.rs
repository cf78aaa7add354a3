//! The socket below every carrier: TCP, or a unix domain socket. Behind a proxy the first bytes say where the client
//! is (PROXY protocol, versions 1 and 2).

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

/// The longest header of a proxy that is taken: version 2 may have more, but no proxy uses it.
const HEADER: usize = 1024;

pub(crate) struct Stream {
    socket: Socket,
    /// What a proxy said, or has yet to say.
    proxy: Proxy,
}

enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

enum Proxy {
    None,
    Awaited,
    Said(Box<SocketAddr>),
}

/// The same call for every kind of socket.
macro_rules! each {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream {
            Socket::Tcp($socket) => $call,
            #[cfg(unix)]
            Socket::Unix($socket) => $call,
        }
    };
}

impl Stream {
    pub(super) fn tcp(socket: TcpStream, is_proxied: bool) -> Self {
        let proxy = if is_proxied { Proxy::Awaited } else { Proxy::None };
        Self { socket: Socket::Tcp(socket), proxy }
    }

    #[cfg(unix)]
    pub(super) fn unix(socket: UnixStream) -> Self {
        Self { socket: Socket::Unix(socket), proxy: Proxy::None }
    }

    /// Where the client is.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match (&self.proxy, &self.socket) {
            (Proxy::Said(address), _) => Some(**address),
            (_, Socket::Tcp(socket)) => socket.peer_addr().ok(),
            #[cfg(unix)]
            (_, Socket::Unix(_)) => None,
        }
    }

    /// Ends our side: everything written before still arrives.
    pub(super) fn end(&self) -> io::Result<()> {
        each!(&self.socket, socket => socket.shutdown(Shutdown::Write))
    }

    /// Whether a proxy has yet to say where the client is.
    pub(super) fn awaits_proxy(&self) -> bool {
        matches!(self.proxy, Proxy::Awaited)
    }

    /// Takes the header of the proxy, once it is there as a whole; what is behind it stays in the socket.
    pub(super) fn await_proxy(&mut self) -> io::Result<()> {
        let Socket::Tcp(socket) = &mut self.socket else {
            return Ok(());
        };
        let mut buffer = [0; HEADER];
        let count = socket.peek(&mut buffer)?;
        let head = buffer.get(..count).unwrap_or_default();
        let wrong = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("PROXY protocol: {what}"));
        match proxy::parse(head) {
            proxy::Parsed::Header(length, address) => {
                // It was seen, so it is there.
                socket.read_exact(buffer.get_mut(..length).unwrap_or_default())?;
                self.proxy = match address.or_else(|| socket.peer_addr().ok()) {
                    Some(address) => Proxy::Said(Box::new(address)),
                    None => Proxy::None,
                };
                Ok(())
            }
            proxy::Parsed::Wrong => Err(wrong("no header of a proxy")),
            proxy::Parsed::Partial if count == 0 => Err(ErrorKind::UnexpectedEof.into()),
            proxy::Parsed::Partial if count == HEADER => Err(wrong("the header is too long")),
            proxy::Parsed::Partial => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

mod proxy {
    //! The two headers, as a crate reads them.

    use ppp::{PartialResult, v1, v2};
    use std::net::SocketAddr;

    pub(super) enum Parsed {
        /// Its length, and the client's address if it names one.
        Header(usize, Option<SocketAddr>),
        Partial,
        Wrong,
    }

    /// The longest line of version 1.
    const LINE: usize = 107;
    const WORD: &[u8] = b"PROXY ";

    pub(super) fn parse(head: &[u8]) -> Parsed {
        if head.first() == WORD.first() {
            return line(head);
        }
        match v2::Header::try_from(head) {
            Ok(header) => Parsed::Header(header.len(), address_2(&header)),
            Err(error) if error.is_incomplete() => Parsed::Partial,
            Err(_) => Parsed::Wrong,
        }
    }

    /// Version 1, which is looked at when its line is there: to the crate half an address is a wrong one, and one that is
    /// left out may still come.
    fn line(head: &[u8]) -> Parsed {
        let end = head.windows(2).position(|two| two == b"\r\n").map(|end| end.saturating_add(2));
        match end.and_then(|end| head.get(..end)).map(v1::Header::try_from) {
            Some(Ok(header)) => Parsed::Header(header.header.len(), address_1(&header.addresses)),
            Some(Err(_)) => Parsed::Wrong,
            None if head.len() < LINE && (head.starts_with(WORD) || WORD.starts_with(head)) => {
                Parsed::Partial
            }
            None => Parsed::Wrong,
        }
    }

    fn address_1(addresses: &v1::Addresses) -> Option<SocketAddr> {
        match addresses {
            v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
            v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
            v1::Addresses::Unknown => None,
        }
    }

    fn address_2(header: &v2::Header<'_>) -> Option<SocketAddr> {
        match (header.command, header.addresses) {
            // The proxy speaks for itself: a check of whether we live.
            (v2::Command::Local, _) => None,
            (_, v2::Addresses::IPv4(ip)) => Some((ip.source_address, ip.source_port).into()),
            (_, v2::Addresses::IPv6(ip)) => Some((ip.source_address, ip.source_port).into()),
            _ => None,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(&mut self.socket, socket => socket.read(buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(&mut self.socket, socket => socket.write(bytes))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(&mut self.socket, socket => socket.write_vectored(pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.deregister(registry))
    }
}
