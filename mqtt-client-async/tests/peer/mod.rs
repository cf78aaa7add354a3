//! A server inside the test, of which the test says every byte, behind a transport of its own.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::sync::Arc;
use std::time::Duration;

use mqtt_client_async::transport::{Carrier, Transport};
use mqtt_client_async::*;
use mqtt_packet::{Frame, SliceSink};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Mutex, mpsc};

/// How many bytes a connection holds in each direction.
const PIPE: usize = 1 << 16;

/// Where connections arrive.
pub struct Server {
    arrivals: Mutex<mpsc::UnboundedReceiver<DuplexStream>>,
    pub version: Version,
}

#[derive(Debug)]
struct Pipe(mpsc::UnboundedSender<DuplexStream>);

#[async_trait::async_trait]
impl Transport for Pipe {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let refused = || TransportError::new("pipe", std::io::ErrorKind::ConnectionRefused.into());
        self.0.send(theirs).map_err(|_| refused())?;
        Ok(Box::new(ours))
    }
}

impl Server {
    /// A server, and options that lead to it.
    pub fn new(version: Version) -> (Self, Options) {
        let (server, pipe) = Self::with_pipe(version);
        (server, Options::with_transport(pipe).version(version).client_id("tested"))
    }

    /// A server, and the way to it.
    pub fn with_pipe(version: Version) -> (Self, Arc<dyn Transport>) {
        let (sender, arrivals) = mpsc::unbounded_channel();
        (Self { arrivals: Mutex::new(arrivals), version }, Arc::new(Pipe(sender)))
    }

    /// The next connection, before its first byte.
    pub async fn next(&self) -> Peer {
        let stream = self.arrivals.lock().await.recv().await.expect("the client is there");
        Peer { stream, version: self.version, buffer: Vec::new() }
    }

    /// The next connection, accepted with a new session.
    pub async fn accept(&self) -> Peer {
        self.accept_with(false, &[]).await
    }

    /// The next connection, accepted. `properties` is a block without its length, for 5.0.
    pub async fn accept_with(&self, session_present: bool, properties: &[u8]) -> Peer {
        let mut peer = self.next().await;
        peer.expect(0x10).await;
        peer.connack(session_present, 0, properties).await;
        peer
    }

    /// A client on an accepted connection.
    pub async fn connected(version: Version) -> (Self, Client, Peer) {
        Self::connected_with(version, |options| options).await
    }

    pub async fn connected_with(
        version: Version,
        change: impl FnOnce(Options) -> Options,
    ) -> (Self, Client, Peer) {
        let (server, options) = Self::new(version);
        let (client, peer) = tokio::join!(Client::connect(change(options)), server.accept());
        (server, client.unwrap(), peer)
    }
}

/// The server's end of a connection.
pub struct Peer {
    pub stream: DuplexStream,
    version: Version,
    buffer: Vec<u8>,
}

impl Peer {
    /// The next packet, whole; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Ok(Some((frame, _))) = Frame::split(&self.buffer) {
                let len = frame.len();
                return Some(self.buffer.drain(..len).collect());
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// The next packet, which has this first byte.
    #[track_caller]
    pub fn expect(&mut self, first: u8) -> impl Future<Output = Vec<u8>> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let packet = tokio::time::timeout(Duration::from_secs(3600), self.next()).await;
            let packet = packet.unwrap_or_else(|_| panic!("no packet came for {caller}"));
            let packet = packet.unwrap_or_else(|| panic!("the connection ended for {caller}"));
            assert_eq!(packet[0], first, "{packet:02X?} came for {caller}");
            packet
        }
    }

    /// Nothing comes for so long.
    pub async fn expect_silence(&mut self, duration: Duration) {
        if let Ok(packet) = tokio::time::timeout(duration, self.next()).await {
            panic!("{packet:02X?} came");
        }
    }

    /// The client closes the connection; what it says before that is returned.
    pub async fn expect_end(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        while let Some(packet) = self.next().await {
            said.push(packet[0]);
        }
        said
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The client may be gone; the test sees that elsewhere.
        let _ = self.stream.write_all(bytes).await;
    }

    pub async fn connack(&mut self, session_present: bool, code: u8, properties: &[u8]) {
        let mut packet = vec![0x20, 2, u8::from(session_present), code];
        if self.version == Version::V5 {
            packet.push(properties.len() as u8);
            packet.extend_from_slice(properties);
            packet[1] = (packet.len() - 2) as u8;
        }
        self.send(&packet).await;
    }

    /// An acknowledgement, a reason code behind it in 5.0.
    pub async fn ack(&mut self, first: u8, id: u16, code: u8) {
        let [high, low] = id.to_be_bytes();
        if self.version == Version::V5 && code != 0 {
            self.send(&[first, 3, high, low, code]).await;
        } else {
            self.send(&[first, 2, high, low]).await;
        }
    }

    /// SUBACK, or UNSUBACK, for a packet that was received.
    pub async fn answer(&mut self, request: &[u8], code: u8) {
        let (high, low) = (request[2], request[3]);
        let first = if request[0] == 0x82 { 0x90 } else { 0xB0 };
        match (self.version, first) {
            (Version::V5, _) => self.send(&[first, 4, high, low, 0, code]).await,
            (_, 0x90) => self.send(&[first, 3, high, low, code]).await,
            _ => self.send(&[first, 2, high, low]).await,
        }
    }

    /// Takes SUBSCRIBE and grants it.
    pub async fn grant(&mut self) -> Vec<u8> {
        let request = self.expect(0x82).await;
        self.answer(&request, 0).await;
        request
    }

    pub async fn publish(&mut self, topic: &str, qos: QoS, id: u16, payload: &[u8]) {
        let bytes = publish(self.version, topic, qos, id, payload, &[]);
        self.send(&bytes).await;
    }
}

/// A PUBLISH; `properties` is a block without its length, for 5.0.
pub fn publish(
    version: Version,
    topic: &str,
    qos: QoS,
    id: u16,
    payload: &[u8],
    properties: &[u8],
) -> Vec<u8> {
    let place = PropertyPlace::of(PacketType::Publish);
    let publish = mqtt_packet::Publish {
        delivery: mqtt_packet::Delivery::new(qos, mqtt_packet::PacketId::new(id)).unwrap_or_default(),
        properties: Properties::from_block(properties, place).unwrap(),
        ..mqtt_packet::Publish::new(TopicName::new(topic).unwrap(), payload)
    };
    let mut bytes = vec![0; publish.encoded_len(version)];
    publish.encode(version, &mut SliceSink::new(&mut bytes)).unwrap();
    bytes
}

/// The Packet Identifier of a PUBLISH of QoS 1 or 2.
pub fn id_of(packet: &[u8]) -> u16 {
    let mut at = 1;
    while packet[at] & 0x80 != 0 {
        at += 1;
    }
    let topic = usize::from(u16::from_be_bytes([packet[at + 1], packet[at + 2]]));
    u16::from_be_bytes([packet[at + 3 + topic], packet[at + 4 + topic]])
}
