//! WebSocket of the server's side, by tungstenite (RFC 6455; MQTT section 6): the request and its answer, then binary
//! frames, whose borders mean nothing to MQTT.

use super::Layer;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// The largest request.
const REQUEST: usize = 8 << 10;
/// How much goes into one frame.
const FRAME: usize = 64 << 10;
/// After so many frames without data somebody else has his turn.
const FRAMES_PER_READ: usize = 16;
/// The sub-protocols, the standard's first; the other was that of MQTT 3.1.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// What is asked of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// The path, unless it is all the same.
    pub(crate) path: Option<Box<str>>,
    /// The pages that may connect, unless all may. A client that is no browser names none.
    pub(crate) origins: Vec<Box<str>>,
}

pub(crate) struct WebSocket {
    layer: Layer,
    state: State,
    rules: Arc<Rules>,
    /// The largest frame and message.
    limit: usize,
    /// What is left of the answer to the request.
    answer: Vec<u8>,
    /// What is left of the last message.
    rest: Bytes,
    is_pending: bool,
}

enum State {
    /// What came of the request.
    Request(Vec<u8>),
    Open(Box<WebSocketContext>),
    /// Nothing more is read.
    Over,
}

impl WebSocket {
    pub(crate) fn new(layer: Layer, rules: Arc<Rules>, limit: usize) -> Self {
        Self {
            layer,
            state: State::Request(Vec::new()),
            rules,
            limit,
            answer: Vec::new(),
            rest: Bytes::new(),
            is_pending: false,
        }
    }

    pub(super) fn layer(&self) -> &Layer {
        &self.layer
    }

    pub(super) fn layer_mut(&mut self) -> &mut Layer {
        &mut self.layer
    }

    pub(super) fn has_pending(&self) -> bool {
        self.is_pending || !self.answer.is_empty() || self.layer.has_pending()
    }

    pub(super) fn allow(&mut self, size: usize) {
        self.limit = size;
        if let State::Open(context) = &mut self.state {
            context.set_config(|config| {
                config.max_frame_size = Some(size);
                config.max_message_size = Some(size);
            });
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..FRAMES_PER_READ {
            if !self.rest.is_empty() {
                let count = self.rest.len().min(buffer.len());
                let taken = self.rest.split_to(count);
                if let Some(place) = buffer.get_mut(..count) {
                    place.copy_from_slice(&taken);
                }
                return Ok(count);
            }
            match &mut self.state {
                State::Request(_) => {
                    let count = self.layer.read(buffer)?;
                    if count == 0 {
                        return Ok(0);
                    }
                    self.on_request(buffer.get(..count).unwrap_or_default())?;
                }
                State::Open(_) => {
                    if self.read_message()? {
                        return Ok(0);
                    }
                }
                State::Over => return Ok(0),
            }
        }
        Err(ErrorKind::Interrupted.into())
    }

    fn on_request(&mut self, bytes: &[u8]) -> io::Result<()> {
        let State::Request(head) = &mut self.state else {
            return Ok(());
        };
        head.extend_from_slice(bytes);
        let parsed = match Request::try_parse(head) {
            Ok(Some((length, request))) if length <= REQUEST => Ok((length, self.rules.answer(&request))),
            Ok(None) if head.len() <= REQUEST => return Ok(()),
            Ok(_) => Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Err(_) => Err(StatusCode::BAD_REQUEST),
        };
        let (answer, fault) = match parsed {
            Ok((length, Ok(answer))) => {
                let rest = head.split_off(length);
                let context = WebSocketContext::from_partially_read(rest, Role::Server, Some(self.config()));
                self.state = State::Open(Box::new(context));
                (answer, None)
            }
            Ok((_, Err(status))) | Err(status) => {
                self.state = State::Over;
                (refusal(status), Some(status))
            }
        };
        write_response(&mut self.answer, &answer).map_err(io::Error::other)?;
        let flushed = self.flush();
        match (fault, flushed) {
            (Some(status), _) => {
                Err(io::Error::new(ErrorKind::InvalidData, format!("WebSocket refused: {status}")))
            }
            (None, Err(error)) if error.kind() != ErrorKind::WouldBlock => Err(error),
            (None, _) => Ok(()),
        }
    }

    fn config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_write_buffer_size(FRAME.saturating_mul(2))
            .max_frame_size(Some(self.limit))
            .max_message_size(Some(self.limit))
    }

    /// Reads one message; true at the end.
    fn read_message(&mut self) -> io::Result<bool> {
        let State::Open(context) = &mut self.state else {
            return Ok(true);
        };
        let (code, what) = match context.read(&mut self.layer) {
            Ok(Message::Binary(bytes)) => {
                self.rest = bytes;
                return Ok(false);
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                self.is_pending = true;
                self.push()?;
                return Ok(false);
            }
            Ok(Message::Close(_)) => {
                self.is_pending = true;
                self.push()?;
                return Ok(true);
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(true),
            Err(Error::Io(error)) => return Err(error),
            // [MQTT-6.0.0-1]
            Ok(Message::Text(_)) => (CloseCode::Unsupported, "a text frame".to_owned()),
            Err(error @ Error::Capacity(_)) => (CloseCode::Size, error.to_string()),
            Err(error @ Error::Utf8(_)) => (CloseCode::Invalid, error.to_string()),
            Err(error) => (CloseCode::Protocol, error.to_string()),
        };
        self.close(code);
        self.push()?;
        Err(io::Error::new(ErrorKind::InvalidData, format!("WebSocket: {what}")))
    }

    fn close(&mut self, code: CloseCode) {
        if let State::Open(context) = &mut self.state {
            // Whether it could be sent is seen by who flushes.
            let _ = context.close(&mut self.layer, Some(CloseFrame { code, reason: "".into() }));
            self.is_pending = true;
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        self.close(CloseCode::Normal);
        // A failure comes again at the next write.
        let _ = self.push();
    }

    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush()?;
        let State::Open(context) = &mut self.state else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let mut frame = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum::<usize>().min(FRAME));
        for piece in pieces {
            let room = FRAME.saturating_sub(frame.len());
            frame.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        let count = frame.len();
        self.is_pending = true;
        match context.write(&mut self.layer, Message::Binary(frame.into())) {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(fault(error)),
        }
        self.push()?;
        Ok(count)
    }

    fn push(&mut self) -> io::Result<()> {
        match self.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// `WouldBlock` while something is left.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.answer.is_empty() {
            let written = self.layer.write(&self.answer)?;
            self.answer.drain(..written);
        }
        if let State::Open(context) = &mut self.state
            && self.is_pending
        {
            match context.flush(&mut self.layer) {
                Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => self.is_pending = false,
                Err(error) => return Err(fault(error)),
            }
        }
        self.layer.flush()
    }
}

impl Rules {
    /// The answer to a request, or why there is none.
    fn answer(&self, request: &Request) -> Result<Response, StatusCode> {
        if self.path.as_ref().is_some_and(|path| **path != *request.uri().path()) {
            return Err(StatusCode::NOT_FOUND);
        }
        if let Some(origin) = request.headers().get("Origin")
            && !self.origins.is_empty()
            && !self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
        {
            return Err(StatusCode::FORBIDDEN);
        }
        let mut response = create_response(request).map_err(|_| StatusCode::BAD_REQUEST)?;
        let offers = request.headers().get_all("Sec-WebSocket-Protocol");
        let offers = || {
            offers
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(',').map(str::trim))
        };
        // [MQTT-6.0.0-3] [MQTT-6.0.0-4]
        let protocol = PROTOCOLS.into_iter().find(|name| offers().any(|offer| offer == *name));
        let protocol = protocol.ok_or(StatusCode::BAD_REQUEST)?;
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol));
        Ok(response)
    }
}

fn refusal(status: StatusCode) -> Response {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = Version::HTTP_11;
    response.headers_mut().insert("Connection", HeaderValue::from_static("close"));
    response.headers_mut().insert("Content-Length", HeaderValue::from_static("0"));
    response
}

fn fault(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
