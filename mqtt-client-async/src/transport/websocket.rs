//! WebSocket over any carrier (3.1.1 and 5.0 section 6): binary messages, of which the packets take no notice.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures_core::Stream as _;
use futures_sink::Sink;
use http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::filling::Filling;
use super::{Carrier, Transport};
use crate::error::TransportError;

/// A server behind WebSocket.
#[derive(Clone)]
pub struct WebSocket {
    below: Arc<dyn Transport>,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl WebSocket {
    /// The server at `url`, `ws://host:port/path` or the same with `wss`, over a carrier that leads there: for `wss`
    /// that is one with TLS.
    pub fn new(below: Arc<dyn Transport>, url: impl Into<String>) -> Self {
        Self { below, url: url.into(), headers: Vec::new() }
    }

    /// The same and a header more, for example `Authorization`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Headers may be secret.
impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("url", &self.url)
            .field("below", &self.below)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for WebSocket {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let fault = |error| TransportError::new(format!("open a WebSocket at {}", self.url), as_io(error));
        let mut request = self.url.as_str().into_client_request().map_err(fault)?;
        let headers = request.headers_mut();
        // [MQTT-6.0.0-3]
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let carrier = self.below.connect().await?;
        let (stream, _) = client_async(request, carrier).await.map_err(fault)?;
        Ok(Box::new(Stream::new(Bytewise { stream, unread: Bytes::new() })))
    }
}

fn as_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

pub(super) type Stream = Filling<Bytewise>;

/// A WebSocket as a stream of bytes.
pub(super) struct Bytewise {
    pub(super) stream: WebSocketStream<Box<dyn Carrier>>,
    unread: Bytes,
}

impl AsyncRead for Bytewise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // [MQTT-6.0.0-1]
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                // Pings are answered below.
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(as_io(error))),
            }
        }
        let n = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.get(..n).unwrap_or_default());
        self.unread.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytewise {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.stream).poll_ready(cx)).map_err(as_io)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.stream).start_send(message).map_err(as_io)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(as_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx).map_err(as_io)
    }
}
