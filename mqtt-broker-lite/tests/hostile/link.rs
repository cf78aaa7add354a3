//! A connection of a peer that does as it likes: bytes over TCP, TLS, WebSocket or both, and every layer can be reached.

use super::ground::WAIT;
use super::packets::Version;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// What carries MQTT; in the order of the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    pub fn scheme(self) -> &'static str {
        ["mqtt", "mqtts", "ws", "wss"][self as usize]
    }

    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    fn is_web(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// What a browser asks.
pub const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                           Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// One frame of a client, masked with zeros.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// How one side of a connection ended, and what came before.
#[derive(Debug)]
pub struct Last {
    pub bytes: Vec<u8>,
    /// Whether it was the end, and not a silence.
    pub is_end: bool,
}

enum Layer {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

pub struct Link {
    layer: Layer,
    is_web: bool,
    /// What came of MQTT and was not asked for.
    inbox: Vec<u8>,
    /// What came of a frame that is not whole.
    partial: Vec<u8>,
    /// The code that the server closed its WebSocket with.
    pub close_code: Option<u16>,
}

/// A TLS client that trusts this authority.
pub fn tls_config(authority: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.unwrap().with_root_certificates(roots).with_no_client_auth()
}

pub fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.set_write_timeout(Some(WAIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl Link {
    pub fn open(kind: Kind, address: SocketAddr, authority: &str) -> Self {
        let config = kind.is_secure().then(|| tls_config(authority));
        let mut link = Self::with(tcp(address), config);
        if kind.is_web() {
            link.upgrade(UPGRADE);
        }
        link
    }

    /// Over this stream, with TLS if it is to be.
    pub fn with(stream: TcpStream, config: Option<ClientConfig>) -> Self {
        let layer = match config {
            None => Layer::Plain(stream),
            Some(config) => {
                let name = ServerName::try_from("localhost").unwrap();
                let session = ClientConnection::new(Arc::new(config), name).unwrap();
                Layer::Tls(Box::new(StreamOwned::new(session, stream)))
            }
        };
        Self { layer, is_web: false, inbox: Vec::new(), partial: Vec::new(), close_code: None }
    }

    /// Asks for WebSocket; the rest of this link is frames.
    fn upgrade(&mut self, request: &str) {
        self.raw(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(self.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        self.is_web = true;
    }

    fn stream(&self) -> &TcpStream {
        match &self.layer {
            Layer::Plain(stream) => stream,
            Layer::Tls(stream) => &stream.sock,
        }
    }

    /// The session of TLS, and the stream below it.
    pub fn tls(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        match &mut self.layer {
            Layer::Tls(stream) => stream,
            Layer::Plain(_) => panic!("there is no TLS"),
        }
    }

    pub fn patience(&self, patience: Duration) {
        self.stream().set_read_timeout(Some(patience)).unwrap();
    }

    pub fn write_patience(&self, patience: Duration) {
        self.stream().set_write_timeout(Some(patience)).unwrap();
    }

    /// Ends our side.
    pub fn end(&self) {
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    /// Goes without a word.
    pub fn reset(self) {
        let _ = self.stream().shutdown(Shutdown::Both);
    }

    /// Sends bytes of MQTT, on WebSocket as one frame.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.is_web {
            true => self.raw(&frame(0x82, bytes)),
            false => self.raw(bytes),
        }
    }

    /// Sends bytes below WebSocket.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.layer {
            Layer::Plain(stream) => stream.write_all(bytes),
            Layer::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = match &mut self.layer {
            Layer::Plain(stream) => return stream.read(buffer),
            Layer::Tls(stream) => stream,
        };
        // Not as the stream reads: it gives up where it cannot write, and what came before would be lost.
        loop {
            match stream.conn.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if stream.conn.read_tls(&mut stream.sock)? == 0 {
                return Ok(0);
            }
            let processed = stream.conn.process_new_packets();
            let _ = stream.conn.write_tls(&mut stream.sock);
            processed.map_err(io::Error::other)?;
        }
    }

    /// Reads once; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let count = match self.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(error);
            }
            // A reset is an end, too; so is one that TLS was not told of.
            Err(_) => 0,
        };
        if count == 0 {
            return Ok(false);
        }
        if !self.is_web {
            self.inbox.extend_from_slice(&buffer[..count]);
            return Ok(true);
        }
        self.partial.extend_from_slice(&buffer[..count]);
        while let Some((first, from, to)) = self.frame() {
            let payload = &self.partial[from..to];
            match first & 0x0F {
                2 => self.inbox.extend_from_slice(payload),
                8 if payload.len() >= 2 => {
                    self.close_code = Some(u16::from_be_bytes([payload[0], payload[1]]))
                }
                _ => {}
            }
            self.partial.drain(..to);
        }
        Ok(true)
    }

    /// The first whole frame of the server: its first byte, and where its payload is.
    fn frame(&self) -> Option<(u8, usize, usize)> {
        let (&first, &second) = (self.partial.first()?, self.partial.get(1)?);
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (from, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes([*self.partial.get(2)?, *self.partial.get(3)?]))),
            127 => (10, u64::from_be_bytes(self.partial.get(2..10)?.try_into().unwrap()) as usize),
            length => (2, usize::from(length)),
        };
        (self.partial.len() >= from + length).then_some((first, from, from + length))
    }

    /// The next so many bytes of MQTT, or fewer if they do not come.
    pub fn receive(&mut self, count: usize) -> Last {
        let mut is_end = false;
        while self.inbox.len() < count && !is_end {
            match self.fill() {
                Ok(more) => is_end = !more,
                Err(_) => break,
            }
        }
        let count = count.min(self.inbox.len());
        Last { bytes: self.inbox.drain(..count).collect(), is_end }
    }

    /// Everything up to the end.
    pub fn last(&mut self) -> Last {
        self.receive(usize::MAX)
    }

    /// The next packet.
    pub fn packet(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let length = match mqtt_packet::Frame::split(&self.inbox) {
                Ok(Some((_, rest))) => self.inbox.len() - rest.len(),
                Ok(None) => match self.fill() {
                    Ok(true) => continue,
                    Ok(false) => return Err(format!("the end after {:02x?}", self.inbox)),
                    Err(_) => return Err(format!("silence after {:02x?}", self.inbox)),
                },
                Err(error) => return Err(format!("no packet: {error}")),
            };
            return Ok(self.inbox.drain(..length).collect());
        }
    }

    /// These bytes come, and then the end.
    pub fn ends_with(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self.last() {
            last if last.is_end && last.bytes == bytes => Ok(()),
            last => Err(format!("{last:02x?} instead of {bytes:02x?} and the end")),
        }
    }

    /// The connection ends: 5.0 is told this code by CONNACK (0x20) or DISCONNECT (0xE0), 3.x is told nothing.
    pub fn ends_saying(&mut self, version: Version, packet: u8, code: u8) -> Result<(), String> {
        if version == Version::V5 {
            let answer = self.packet()?;
            let said = if packet == 0x20 { answer.get(3) } else { answer.get(2) };
            if answer[0] != packet || said != Some(&code) {
                return Err(format!("{answer:02x?} instead of {packet:02x} with {code:02x}"));
            }
        }
        self.ends_with(&[])
    }

    /// These bytes come, and after that a ping is answered.
    pub fn lives_after(&mut self, bytes: &[u8]) -> Result<(), String> {
        // It shows when the answer is missing.
        let _ = self.send(b"\xC0\x00");
        let expected = [bytes, b"\xD0\x00"].concat();
        match self.receive(expected.len()) {
            last if last.bytes == expected => Ok(()),
            last => Err(format!("{last:02x?} instead of {expected:02x?}")),
        }
    }
}
