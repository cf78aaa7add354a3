//! What carries the bytes: one trait, and a file for each carrier.

use std::any::Any;
use std::fmt;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::TransportError;

#[cfg(any(feature = "tls", feature = "ws"))]
mod filling;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(feature = "tcp")]
mod resting;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(all(feature = "unix", unix))]
mod unix;
#[cfg(feature = "ws")]
mod websocket;

#[cfg(feature = "proxy")]
pub use proxy::Proxy;
#[cfg(feature = "tcp")]
pub use tcp::Tcp;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError, TlsOptions};
#[cfg(all(feature = "unix", unix))]
pub use unix::Unix;
#[cfg(feature = "ws")]
pub use websocket::WebSocket;

/// An open connection: bytes in both directions, reliable and in order.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Unpin + Any {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + Any> Carrier for T {}

/// Lets a carrier rest, where TCP is what carries it: nothing that arrives wakes this side until the carrier was read and
/// had nothing. Nobody may be waiting for it.
#[cfg(feature = "tcp")]
pub(crate) fn rest(carrier: &mut dyn Carrier) -> std::io::Result<()> {
    let carrier: &mut dyn Any = carrier;
    if let Some(stream) = carrier.downcast_mut::<resting::Restable>() {
        return stream.rest();
    }
    #[cfg(feature = "tls")]
    if let Some(stream) = carrier.downcast_mut::<tls::Stream>() {
        return rest(&mut **stream.inner.get_mut().0);
    }
    #[cfg(feature = "ws")]
    if let Some(stream) = carrier.downcast_mut::<websocket::Stream>() {
        return rest(&mut **stream.inner.stream.get_mut());
    }
    Ok(())
}

#[cfg(not(feature = "tcp"))]
pub(crate) fn rest(_: &mut dyn Carrier) -> std::io::Result<()> {
    Ok(())
}

/// A way to the server, opened anew for each connection. Bring your own: the client needs nothing else.
///
/// ```
/// use mqtt_client_async::transport::{Carrier, Transport};
/// use mqtt_client_async::TransportError;
///
/// /// A connection inside the process, for tests.
/// #[derive(Debug)]
/// struct Pipe(tokio::sync::mpsc::UnboundedSender<tokio::io::DuplexStream>);
///
/// #[async_trait::async_trait]
/// impl Transport for Pipe {
///     async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
///         let (ours, theirs) = tokio::io::duplex(4096);
///         let refused = || TransportError::new("pipe", std::io::ErrorKind::ConnectionRefused.into());
///         self.0.send(theirs).map_err(|_| refused())?;
///         Ok(Box::new(ours))
///     }
/// }
/// ```
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Opens a connection. The client bounds its time, by dropping the future.
    ///
    /// # Errors
    /// [`TransportError`]: which step failed and why.
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError>;
}
