//! A server of which the test says what it sends, and sees what it gets.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use mqtt_client::mqtt_packet;
pub use mqtt_client::*;
pub use mqtt_packet::{AckKind, DecodeError, Packet, PacketType, PropertyId};

pub const OK: Outcome = Outcome::Answered(ReasonCode::SUCCESS);
pub const BOTH: [Version; 2] = [Version::V3_1_1, Version::V5];

/// What an event was, without its loans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    Connected(bool),
    Refused(ReasonCode),
    Message(String, Vec<u8>, QoS, Option<Receipt>),
    Start(String, u32),
    Chunk(Vec<u8>, bool, Option<Receipt>),
    Granted(Ticket, Vec<u8>),
    Unsubscribed(Ticket, Vec<u8>),
    Acknowledged(Ticket, String),
    Auth(ReasonCode),
    Disconnected(ReasonCode, Option<String>),
}

impl From<Event<'_>> for Happened {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Connected(connected) => Self::Connected(connected.session_present),
            Event::Refused(connack) => Self::Refused(connack.reason_code),
            Event::Message { publish, receipt } => Self::Message(
                publish.topic.as_str().to_owned(),
                publish.payload.to_vec(),
                publish.delivery.qos(),
                receipt,
            ),
            Event::MessageStart(head) => {
                Self::Start(head.publish.topic.as_str().to_owned(), head.payload_len)
            }
            Event::Chunk { bytes, last, receipt } => Self::Chunk(bytes.to_vec(), last, receipt),
            Event::Granted(ticket, ack) => {
                Self::Granted(ticket, ack.reason_codes.iter().map(|code| code.0).collect())
            }
            Event::Unsubscribed(ticket, ack) => {
                Self::Unsubscribed(ticket, ack.reason_codes.iter().map(|code| code.0).collect())
            }
            Event::Acknowledged(ticket, ack) => Self::Acknowledged(ticket, ack.to_string()),
            Event::Auth(auth) => Self::Auth(auth.reason_code),
            Event::Disconnected(disconnect) => Self::Disconnected(
                disconnect.reason_code,
                disconnect.properties.server_reference().map(|server| server.as_str().to_owned()),
            ),
            other => panic!("{other:?}"),
        }
    }
}

/// An engine, what is around it in a shell, and the bytes of both directions.
pub struct Peer {
    pub engine: Engine<'static>,
    pub framer: Framer<'static>,
    pub aliases: Aliases<'static>,
    pub now: Instant,
}

/// Memory for `slots` requests and as many received messages.
pub fn memory(slots: usize) -> Memory<'static> {
    Memory {
        transmit: vec![0; 160].leak(),
        messages: vec![0; 512].leak(),
        send: vec![SendSlot::EMPTY; slots].leak(),
        received: vec![ReceivedSlot::EMPTY; slots].leak(),
        aliases: vec![0; 128].leak(),
    }
}

pub fn options() -> ConnectOptions<'static> {
    ConnectOptions::new("scripted".try_into().unwrap())
}

/// Options for a session that outlives its connection.
pub fn lasting() -> ConnectOptions<'static> {
    options().with_session(3600)
}

pub fn topic(name: &str) -> TopicName<'_> {
    name.try_into().unwrap()
}

pub fn message(payload: &[u8], qos: QoS) -> Message<'_> {
    Message::new(topic("t"), payload).with_qos(qos)
}

pub fn filter(name: &str, qos: QoS) -> SubscribeFilter<'_> {
    SubscribeFilter { filter: name.try_into().unwrap(), options: SubscribeOptions::new(qos) }
}

/// A packet as hexadecimal digits; blanks mean nothing.
pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b' ').collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

impl Peer {
    pub fn new(memory: Memory<'static>, settings: Settings) -> Self {
        Self {
            engine: Engine::new(memory, settings),
            framer: Framer::new(vec![0; 64].leak(), settings.version),
            aliases: Aliases::new(vec![0; 160].leak(), 5),
            // The clock wraps a second later.
            now: Instant::from_millis(u32::MAX - 1000),
        }
    }

    /// Connected, with memory for four messages each way and a clean session.
    pub fn connected(version: Version) -> Self {
        let mut peer = Self::new(memory(4), Settings::new(version));
        peer.connect(&options(), "");
        peer
    }

    /// Connected, with a session that outlives the connection.
    pub fn lasting(version: Version) -> Self {
        let mut peer = Self::new(memory(4), Settings::new(version));
        peer.connect(&lasting(), "");
        peer
    }

    /// CONNECT, and a CONNACK with these properties.
    pub fn connect(&mut self, options: &ConnectOptions<'_>, properties: &str) {
        self.engine.connect(self.now, options).unwrap();
        self.sends_types(&[0x10]);
        self.accept(false, properties);
    }

    /// The connection ends, and the next one resumes the session.
    pub fn resume(&mut self, properties: &str) {
        self.close();
        self.engine.connect(self.now, &lasting()).unwrap();
        self.sends_types(&[0x10]);
        self.accept(true, properties);
    }

    pub fn accept(&mut self, session_present: bool, properties: &str) {
        let properties = hex(properties);
        let mut connack = vec![0x20, 2, u8::from(session_present), 0];
        if self.engine.version() == Version::V5 {
            connack[1] = 3 + properties.len() as u8;
            connack.push(properties.len() as u8);
            connack.extend(properties);
        }
        assert_eq!(self.gets(&connack), [Happened::Connected(session_present)]);
        assert!(self.engine.is_connected());
    }

    pub fn close(&mut self) {
        self.framer.reset();
        self.engine.handle_closed();
    }

    pub fn publish(&mut self, payload: &[u8], qos: QoS) -> Ticket {
        self.engine.publish(&message(payload, qos)).unwrap()
    }

    /// Everything that the engine has to transmit.
    pub fn transmitted(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let part = self.engine.transmit();
            if part.is_empty() {
                return bytes;
            }
            bytes.extend_from_slice(part);
            let n = part.len();
            self.engine.transmitted(self.now, n);
        }
    }

    /// The engine transmits exactly these bytes.
    #[track_caller]
    pub fn sends(&mut self, bytes: &str) {
        let found = self.transmitted();
        assert_eq!(found, hex(bytes), "found {found:02X?}");
    }

    /// The packets that the engine has to transmit have these first bytes.
    #[track_caller]
    pub fn sends_types(&mut self, first_bytes: &[u8]) {
        let bytes = self.transmitted();
        let found: Vec<u8> = packets(&bytes).iter().map(|packet| packet[0]).collect();
        assert_eq!(found, first_bytes, "{bytes:02X?}");
    }

    /// The server sends these bytes.
    #[track_caller]
    pub fn gets(&mut self, bytes: &[u8]) -> Vec<Happened> {
        self.try_gets(bytes).unwrap()
    }

    /// The server sends these hexadecimal digits.
    #[track_caller]
    pub fn receives(&mut self, digits: &str) -> Vec<Happened> {
        self.gets(&hex(digits))
    }

    /// The server sends what ends the connection.
    #[track_caller]
    pub fn fails(&mut self, digits: &str) -> ProtocolError {
        let error = self.try_gets(&hex(digits)).unwrap_err();
        assert!(!self.engine.is_connected());
        error
    }

    pub fn try_gets(&mut self, bytes: &[u8]) -> Result<Vec<Happened>, ProtocolError> {
        let mut happened = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let spare = self.framer.spare();
            let n = spare.len().min(rest.len());
            spare[..n].copy_from_slice(&rest[..n]);
            self.framer.filled(n);
            rest = &rest[n..];
            while self.framer.ready().map_err(|error| self.engine.handle_malformed(error))? {
                let piece = self.framer.next().unwrap();
                let event = self.engine.handle(self.now, piece, &mut self.aliases)?;
                happened.extend(event.map(Happened::from));
            }
        }
        Ok(happened)
    }

    pub fn outcomes(&mut self) -> Vec<(Ticket, Outcome)> {
        std::iter::from_fn(|| self.engine.poll_completion()).collect()
    }

    pub fn sleep(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
    }
}

/// The packets in a stream.
pub fn packets(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let (frame, _) = mqtt_packet::Frame::split(bytes).unwrap().expect("whole packets only");
        let (packet, rest) = bytes.split_at(frame.len());
        packets.push(packet);
        bytes = rest;
    }
    packets
}
