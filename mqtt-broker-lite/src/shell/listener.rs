//! Addresses, and sockets that wait for clients there.

use super::StartError;
use mio::net::TcpListener;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The port of MQTT.
const PORT: u16 = 1883;

/// Where to listen.
pub(super) struct Address {
    candidates: Vec<SocketAddr>,
}

impl Address {
    /// `mqtt://host:port`; the port may be left out.
    pub(super) fn parse(url: &str) -> Result<Self, StartError> {
        let wrong = |what| StartError::Url { url: url.to_owned(), what };
        let Some((scheme, place)) = url.split_once("://") else {
            return Err(wrong("not an address like mqtt://127.0.0.1:1883"));
        };
        if scheme != "mqtt" {
            return Err(wrong("only mqtt:// is there so far"));
        }
        let place = place.strip_suffix('/').unwrap_or(place);
        let has_port =
            place.rsplit_once(':').is_some_and(|(host, port)| !host.ends_with(':') && !port.ends_with(']'));
        let candidates = if has_port {
            place.to_socket_addrs()
        } else {
            (place.trim_matches(['[', ']']), PORT).to_socket_addrs()
        };
        let candidates: Vec<_> = candidates.map_err(|_| wrong("no such host or port"))?.collect();
        if candidates.is_empty() {
            return Err(wrong("no such host"));
        }
        Ok(Self { candidates })
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.candidates.iter().all(|address| match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        })
    }
}

pub(super) struct Listener {
    pub(super) socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(super) fn open(address: &Address, url: &str) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { url: url.to_owned(), source };
        let mut first_error = None;
        for &candidate in &address.candidates {
            match TcpListener::bind(candidate) {
                Ok(socket) => {
                    let address = socket.local_addr().map_err(failed)?;
                    return Ok(Self { socket, address });
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(failed(first_error.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())))
    }

    /// With the real port.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
