//! A server of which the test says what it sends, and sees what it gets.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use mqtt_client::*;

/// An engine, what is around it in a shell, and the bytes of both directions.
pub struct Peer<'b> {
    pub engine: Engine<'b>,
    pub framer: Framer<'static>,
    pub aliases: Aliases<'static>,
    pub now: Instant,
}

impl<'b> Peer<'b> {
    pub fn new(memory: Memory<'b>, settings: Settings) -> Self {
        Self {
            engine: Engine::new(memory, settings),
            framer: Framer::new(Box::leak(vec![0; 1024].into_boxed_slice()), settings.version),
            aliases: Aliases::new(Box::leak(vec![0; 160].into_boxed_slice()), 5),
            now: Instant::from_millis(u32::MAX - 1000),
        }
    }

    pub fn connected<const S: usize, const M: usize, const T: usize>(
        storage: &'b mut Storage<S, M, T>,
        version: Version,
    ) -> Self {
        let mut peer = Self::new(storage.lend(), Settings::new(version));
        let options = ConnectOptions::new("scripted".try_into().unwrap());
        peer.connect(&options, false);
        peer
    }

    /// CONNECT, and a CONNACK without properties.
    pub fn connect(&mut self, options: &ConnectOptions<'_>, session_present: bool) {
        self.engine.connect(self.now, options).unwrap();
        self.sends(&[0x10]);
        let present = u8::from(session_present);
        let connack: &[u8] = match self.engine.version() {
            Version::V5 => &[0x20, 3, present, 0, 0],
            _ => &[0x20, 2, present, 0],
        };
        self.receives(connack).unwrap();
        assert!(self.engine.is_connected());
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

    /// The packets that the engine has to transmit have these first bytes.
    #[track_caller]
    pub fn sends(&mut self, first_bytes: &[u8]) {
        let bytes = self.transmitted();
        let found: Vec<u8> = packets(&bytes).iter().map(|packet| packet[0]).collect();
        assert_eq!(found, first_bytes, "{bytes:02X?}");
    }

    /// The server sends these bytes; returns what the events were.
    pub fn receives(&mut self, bytes: &[u8]) -> Result<Vec<String>, ProtocolError> {
        let mut events = Vec::new();
        for chunk in bytes.chunks(512) {
            self.framer.spare()[..chunk.len()].copy_from_slice(chunk);
            self.framer.filled(chunk.len());
            while self.framer.ready().map_err(|error| self.engine.handle_malformed(error))? {
                let piece = self.framer.next().unwrap();
                if let Some(event) = self.engine.handle(self.now, piece, &mut self.aliases)? {
                    events.push(format!("{event:?}"));
                }
            }
        }
        Ok(events)
    }

    pub fn completions(&mut self) -> Vec<(Ticket, Outcome)> {
        std::iter::from_fn(|| self.engine.poll_completion()).collect()
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
