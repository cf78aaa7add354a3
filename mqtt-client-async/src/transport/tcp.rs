//! TCP. Addresses are looked up for each connection and tried side by side, a quarter of a second apart, so an address
//! that leads nowhere costs no more than that (RFC 8305).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::resting::Restable;
use super::{Carrier, Transport};
use crate::error::TransportError;

/// The head start of an address before the next one is tried, too.
const HEAD_START: Duration = Duration::from_millis(250);

/// A server by host and port.
#[derive(Clone, Debug)]
pub struct Tcp {
    host: String,
    port: u16,
}

impl Tcp {
    /// The server at `port` of `host`, which is a name or an address.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// An open socket.
    ///
    /// # Errors
    /// The name cannot be looked up, or no address answers; then what each of them said.
    pub async fn open(&self) -> Result<TcpStream, TransportError> {
        let Self { host, port } = self;
        let fault = |step: &str, error| TransportError::new(format!("{step} {host}:{port}"), error);
        let addresses = lookup_host((host.as_str(), *port)).await;
        let addresses: Vec<SocketAddr> = addresses.map_err(|error| fault("look up", error))?.collect();
        let stream = race(interleave(addresses), TcpStream::connect)
            .await
            .map_err(|error| fault("connect to", error))?;
        // Whole packets are written at once; waiting for more would only cost time.
        stream.set_nodelay(true).map_err(|error| fault("set up the connection to", error))?;
        Ok(stream)
    }
}

#[async_trait]
impl Transport for Tcp {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let stream = self.open().await?;
        let runtime = Handle::try_current().map_err(io::Error::other);
        let runtime = runtime.map_err(|error| TransportError::new("find tokio's runtime", error))?;
        Ok(Box::new(Restable::new(stream, runtime)))
    }
}

/// Takes the families in turn, in the order of the system's choice (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut result = VecDeque::new();
    while !one.is_empty() || !other.is_empty() {
        result.extend(one.pop_front());
        result.extend(other.pop_front());
    }
    result
}

/// The first address that answers.
async fn race<S, F>(mut addresses: VecDeque<SocketAddr>, connect: fn(SocketAddr) -> F) -> io::Result<S>
where
    S: Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut attempts = JoinSet::new();
    let mut faults = Vec::new();
    loop {
        if let Some(address) = addresses.pop_front() {
            let attempt = connect(address);
            attempts.spawn(async move { (address, attempt.await) });
        }
        let patience = if addresses.is_empty() { Duration::MAX } else { HEAD_START };
        let Ok(result) = timeout(patience, attempts.join_next()).await else {
            continue;
        };
        match result {
            Some(Ok((_, Ok(stream)))) => return Ok(stream),
            Some(Ok((address, Err(error)))) => faults.push((address, error)),
            Some(Err(_)) => {}
            None => return Err(all_failed(faults)),
        }
    }
}

/// What each address said, in one error of the first one's kind.
fn all_failed(faults: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let kind = faults.first().map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let words: Vec<String> = faults.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    let words = if words.is_empty() { "no address".to_owned() } else { words.join("; ") };
    io::Error::new(kind, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b, c) = (address("[::1]:1"), address("[::2]:1"), address("127.0.0.1:1"));
        assert_eq!(interleave(vec![a, b, c]), [a, c, b]);
    }

    // USERS: a dead route of one family.
    #[tokio::test(start_paused = true)]
    async fn a4_44_an_address_that_never_answers_costs_a_quarter_of_a_second() {
        let start = tokio::time::Instant::now();
        let addresses = ["[2001:db8::1]:1883", "127.0.0.1:1883"].map(|text| text.parse().unwrap());
        let winner = race(addresses.into(), |address: SocketAddr| async move {
            if address.is_ipv6() {
                std::future::pending::<()>().await;
            }
            Ok(address)
        });
        assert_eq!(winner.await.unwrap(), addresses[1]);
        assert_eq!(start.elapsed(), HEAD_START);
    }

    #[tokio::test]
    async fn the_failure_says_what_each_address_said() {
        let addresses = ["127.0.0.1:1", "127.0.0.2:1"].map(|text| text.parse().unwrap());
        let result: io::Result<()> =
            race(addresses.into(), |_| async { Err(io::ErrorKind::ConnectionRefused.into()) }).await;
        let words = result.unwrap_err().to_string();
        assert!(words.contains("127.0.0.1:1: ") && words.contains("127.0.0.2:1: "), "{words}");
    }
}
