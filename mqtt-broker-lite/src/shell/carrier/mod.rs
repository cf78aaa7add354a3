//! What carries the bytes of MQTT: a socket, TLS over it, WebSocket over either. None of them has a task or a thread:
//! each is a value in the poller's slab that is asked when its socket is ready, and says [`ErrorKind::WouldBlock`]
//! when it is not.

#[cfg(feature = "tls")]
pub(super) mod tls;
#[cfg(feature = "ws")]
pub(super) mod websocket;

use super::stream::Stream;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
#[cfg(feature = "tls")]
use tls::Tls;
#[cfg(feature = "ws")]
use websocket::WebSocket;

/// A socket, or TLS over one.
pub(crate) enum Layer {
    Plain(Stream),
    #[cfg(feature = "tls")]
    Tls(Box<Tls>),
}

impl Layer {
    fn stream(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.stream(),
        }
    }

    fn stream_mut(&mut self) -> &mut Stream {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.stream_mut(),
        }
    }

    /// Whether it has bytes of its own that the socket did not take yet.
    fn has_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.has_pending(),
        }
    }

    fn say_goodbye(&mut self) {
        match self {
            Self::Plain(_) => {}
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.say_goodbye(),
        }
    }
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Layer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, pieces) {
            (Self::Plain(stream), [one]) => stream.write(one),
            (Self::Plain(stream), _) => stream.write_vectored(pieces),
            #[cfg(feature = "tls")]
            (Self::Tls(tls), _) => tls.write_vectored(pieces),
        }
    }

    /// `WouldBlock` while something is left.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
        }
    }
}

pub(crate) enum Carrier {
    Bytes(Layer),
    #[cfg(feature = "ws")]
    WebSocket(Box<WebSocket>),
}

impl Carrier {
    fn layer(&self) -> &Layer {
        match self {
            Self::Bytes(layer) => layer,
            #[cfg(feature = "ws")]
            Self::WebSocket(websocket) => websocket.layer(),
        }
    }

    pub(super) fn stream(&self) -> &Stream {
        self.layer().stream()
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        match self {
            Self::Bytes(layer) => layer.stream_mut(),
            #[cfg(feature = "ws")]
            Self::WebSocket(websocket) => websocket.layer_mut().stream_mut(),
        }
    }

    /// Whether a read that does not fill the buffer has emptied the socket. Elsewhere only `WouldBlock` says so.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Bytes(Layer::Plain(_)))
    }

    /// The common name of the client's certificate, which was verified.
    pub(super) fn common_name(&self) -> Option<String> {
        match self.layer() {
            Layer::Plain(_) => None,
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => tls.common_name(),
        }
    }

    /// The largest piece that the peer may send at once from now on.
    pub(super) fn allow(&mut self, size: usize) {
        match self {
            Self::Bytes(_) => {
                let _ = size;
            }
            #[cfg(feature = "ws")]
            Self::WebSocket(websocket) => websocket.allow(size),
        }
    }

    /// Bytes of MQTT; none at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(layer) => layer.read(buffer),
            #[cfg(feature = "ws")]
            Self::WebSocket(websocket) => websocket.read(buffer),
        }
    }

    /// Takes bytes of MQTT; returns how many.
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Bytes(layer) => layer.write_vectored(pieces),
            #[cfg(feature = "ws")]
            Self::WebSocket(websocket) => websocket.write(pieces),
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        match self {
            Self::Bytes(layer) => layer.has_pending(),
            #[cfg(feature = "ws")]
            Self::WebSocket(websocket) => websocket.has_pending(),
        }
    }

    /// Writes what is pending, as far as the socket takes it.
    pub(super) fn push(&mut self) -> io::Result<()> {
        let result = match self {
            Self::Bytes(layer) => layer.flush(),
            #[cfg(feature = "ws")]
            Self::WebSocket(websocket) => websocket.flush(),
        };
        result.or_else(|error| if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) })
    }

    /// Says in the carrier's own words that nothing more comes.
    pub(super) fn say_goodbye(&mut self) {
        match self {
            Self::Bytes(layer) => layer.say_goodbye(),
            #[cfg(feature = "ws")]
            Self::WebSocket(websocket) => {
                websocket.say_goodbye();
                if !websocket.has_pending() {
                    websocket.layer_mut().say_goodbye();
                }
            }
        }
    }
}
