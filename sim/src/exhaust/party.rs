//! A client of a small world: our engine in a shell that does everything at once.

use mqtt_client::{
    Aliases, ConnectOptions, Engine, Event, Framer, Instant, Memory, Message, Outcome, Properties, QoS,
    ReceivedSlot, SendSlot, Settings, SubscribeFilter, SubscribeOptions, TopicFilter, TopicName, Utf8Str,
    Version,
};
use mqtt_packet::Frame;

/// Nothing in a small world takes time.
const NOW: Instant = Instant::from_millis(0);

/// What all messages are about.
const TOPIC: &str = "t";

/// What a client lends to its engine and framer.
pub(super) struct Lent {
    transmit: [u8; 256],
    messages: [u8; 64],
    send: [SendSlot; 4],
    received: [ReceivedSlot; 4],
    receive: [u8; 256],
}

impl Lent {
    pub(super) const fn new() -> Self {
        Self {
            transmit: [0; 256],
            messages: [0; 64],
            send: [SendSlot::EMPTY; 4],
            received: [ReceivedSlot::EMPTY; 4],
            receive: [0; 256],
        }
    }
}

pub(super) struct Party<'m> {
    name: &'static str,
    pub(super) engine: Engine<'m>,
    framer: Framer<'m>,
    aliases: Aliases<'m>,
    /// The first bytes of the payloads that it got, in their order.
    pub(super) got: Vec<u8>,
    /// How many of its messages were acknowledged.
    pub(super) acknowledged: usize,
    /// What is wrong.
    pub(super) broken: Option<String>,
}

impl<'m> Party<'m> {
    pub(super) fn new(name: &'static str, lent: &'m mut Lent) -> Self {
        let memory = Memory {
            transmit: &mut lent.transmit,
            messages: &mut lent.messages,
            send: &mut lent.send,
            received: &mut lent.received,
            aliases: &mut [],
        };
        Self {
            name,
            engine: Engine::new(memory, Settings::new(Version::V3_1_1)),
            framer: Framer::new(&mut lent.receive, Version::V3_1_1),
            aliases: Aliases::none(),
            got: Vec::new(),
            acknowledged: 0,
            broken: None,
        }
    }

    pub(super) fn fail(&mut self, what: impl std::fmt::Display) {
        self.broken.get_or_insert_with(|| format!("{}: {what}", self.name));
    }

    /// Connects to a session that never ends; returns the packets that it sends, as do the others.
    pub(super) fn connect(&mut self) -> Vec<Vec<u8>> {
        self.framer.reset();
        let options = ConnectOptions {
            clean_start: false,
            session_expiry_interval: u32::MAX,
            keep_alive: 0,
            ..ConnectOptions::new(Utf8Str::new(self.name).expect("it is a string"))
        };
        if let Err(error) = self.engine.connect(NOW, &options) {
            self.fail(error);
        }
        self.packets()
    }

    pub(super) fn subscribe(&mut self, qos: QoS) -> Vec<Vec<u8>> {
        let filter = TopicFilter::new(TOPIC).expect("it is a filter");
        let entry = SubscribeFilter { filter, options: SubscribeOptions::new(qos) };
        if let Err(error) = self.engine.subscribe(&[entry], Properties::EMPTY) {
            self.fail(error);
        }
        self.packets()
    }

    pub(super) fn publish(&mut self, number: u8, qos: QoS) -> Vec<Vec<u8>> {
        let message = Message {
            topic: TopicName::new(TOPIC).expect("it is a topic"),
            payload: &[number],
            qos,
            retain: false,
            properties: Properties::EMPTY,
        };
        if let Err(error) = self.engine.publish(&message) {
            self.fail(error);
        }
        self.packets()
    }

    /// The broker sent this.
    pub(super) fn hear(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        self.engine.heard(NOW);
        self.framer.spare()[..packet.len()].copy_from_slice(packet);
        self.framer.filled(packet.len());
        while self.framer.ready().unwrap_or(false) {
            let Some(piece) = self.framer.next() else { break };
            match self.engine.handle(NOW, piece, &mut self.aliases) {
                Ok(Some(Event::Message { publish, .. })) => self.got.extend(publish.payload.first()),
                Ok(Some(Event::Refused(_) | Event::Disconnected(_))) => self.fail("the broker sends it away"),
                Ok(_) => {}
                Err(error) => self.fail(error),
            }
        }
        self.packets()
    }

    /// Its connection is gone; it connects again.
    pub(super) fn lose(&mut self) -> Vec<Vec<u8>> {
        self.engine.handle_closed();
        self.drain();
        self.connect()
    }

    fn drain(&mut self) {
        while let Some((ticket, outcome)) = self.engine.poll_completion() {
            match outcome {
                Outcome::Answered(code) if !code.is_error() => self.acknowledged += 1,
                _ => self.fail(format!("{ticket:?}: {outcome:?}")),
            }
        }
    }

    /// Everything that it has to send.
    fn packets(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            self.drain();
            let part = self.engine.transmit();
            let n = part.len();
            if n == 0 {
                break;
            }
            bytes.extend_from_slice(part);
            self.engine.transmitted(NOW, n);
        }
        packets(&bytes)
    }
}

/// Cuts what was sent into packets.
pub(super) fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Ok(Some((_, rest))) = Frame::split(bytes) {
        packets.push(bytes[..bytes.len() - rest.len()].to_vec());
        bytes = rest;
    }
    packets
}
