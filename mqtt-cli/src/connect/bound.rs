//! `-A`: TCP from a local address.

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use mqtt_client_async::TransportError;
use mqtt_client_async::transport::{Carrier, Transport};
use tokio::net::{TcpSocket, lookup_host};

use crate::failure::{Failure, Outcome};

#[derive(Debug)]
pub(super) struct Bound {
    address: IpAddr,
    host: String,
    port: u16,
}

impl Bound {
    pub(super) fn new(address: &str, host: &str, port: u16) -> Outcome<Self> {
        let fault = |_| Failure::usage(format!("-A takes an address of this machine, not '{address}'."));
        Ok(Self { address: address.parse().map_err(fault)?, host: host.to_owned(), port })
    }

    async fn open(&self, to: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        let socket = if to.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        socket.bind(SocketAddr::new(self.address, 0))?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[async_trait]
impl Transport for Bound {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let Self { address, host, port } = self;
        let fault = |error| TransportError::new(format!("connect from {address} to {host}:{port}"), error);
        let found = lookup_host((host.as_str(), *port)).await.map_err(fault)?;
        let mut last = std::io::ErrorKind::AddrNotAvailable.into();
        // Only addresses of the same family can be reached from there.
        for to in found.filter(|to| to.is_ipv6() == address.is_ipv6()) {
            match self.open(to).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => last = error,
            }
        }
        Err(fault(last))
    }
}
