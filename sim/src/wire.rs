//! Connections: a byte pipe in each direction. Bytes arrive in any pieces and after any delay, a pipe can stand still,
//! and a cut ends both at any byte, noticed by each side in its own time or not at all.

use crate::rng::Rng;
use mqtt_packet::{Ack, AckKind, Delivery, PacketId, QoS};
use std::collections::VecDeque;

/// A connection, numbered as the broker numbers it.
pub type ConnIndex = usize;

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the broker.
    Up,
    /// From the broker to the client.
    Down,
}

/// What happens at the end of a pipe.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// These bytes.
    Bytes(Vec<u8>),
    /// No more bytes: the writer has closed.
    End,
    /// Nothing, and nothing will before more is written.
    Nothing,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Pipe {
    bytes: VecDeque<u8>,
    window: usize,
    /// The writer has closed it.
    ended: bool,
    /// It is cut: what is written now never arrives.
    cut: bool,
    /// How many bytes were written since.
    lost: usize,
    /// Nothing arrives before this.
    pub held_until: u64,
    /// Whether the next arrival is under way.
    pub scheduled: bool,
}

impl Pipe {
    fn new(window: usize) -> Self {
        Self { window, ..Self::default() }
    }

    /// Takes bytes from the writer, as many as there is room for.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.window.saturating_sub(self.bytes.len() + self.lost));
        if self.cut {
            self.lost += n;
        } else {
            self.bytes.extend(&bytes[..n]);
        }
        n
    }

    /// The writer closes: what is under way arrives, then the end.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The network breaks: some of what is under way arrives, the rest and all that follows does not.
    pub fn cut(&mut self, rng: &mut Rng) {
        self.cut = true;
        let kept = rng.below(self.bytes.len() as u64 + 1) as usize;
        self.bytes.truncate(kept);
    }

    /// The reader takes the next piece.
    pub fn read(&mut self, rng: &mut Rng, longest: u64) -> Arrival {
        if self.bytes.is_empty() {
            return if self.ended && !self.cut { Arrival::End } else { Arrival::Nothing };
        }
        let most = longest.min(self.bytes.len() as u64);
        let n = if rng.chance(50) { most } else { rng.between(1, most) };
        Arrival::Bytes(self.bytes.drain(..n as usize).collect())
    }

    /// Whether something is still to arrive.
    pub fn has_news(&self) -> bool {
        !self.bytes.is_empty() || self.ended && !self.cut
    }
}

/// Messages that one side has read from a connection and not acknowledged: each kind is acknowledged in the order in which
/// it came [MQTT-4.6.0-2] [MQTT-4.6.0-3].
#[derive(Debug, Default)]
pub struct Unanswered {
    /// Those of QoS 1 and those of QoS 2.
    published: [VecDeque<PacketId>; 2],
}

impl Unanswered {
    /// What is promised of it.
    pub const PROMISE: &str = "acknowledgements come in order [MQTT-4.6.0-2]";

    /// A PUBLISH came.
    pub fn publish(&mut self, delivery: Delivery) {
        if let Some(id) = delivery.id() {
            self.published[usize::from(delivery.qos() == QoS::ExactlyOnce)].push_back(id);
        }
    }

    /// An answer is sent; false if another had to be sent before it. Who has a message from an earlier connection may say
    /// so before it comes again.
    pub fn answer(&mut self, ack: &Ack<'_>) -> bool {
        let line = match ack.kind {
            AckKind::PubAck => &mut self.published[0],
            AckKind::PubRec => &mut self.published[1],
            AckKind::PubComp => {
                // PUBREL came before a repeat was answered: that says more.
                self.published[1].retain(|id| *id != ack.id);
                return true;
            }
            AckKind::PubRel => return true,
        };
        let place = line.iter().position(|id| *id == ack.id);
        place.map(|place| line.remove(place));
        place.is_none_or(|place| place == 0)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Which client made it.
    pub client: usize,
    /// From the client to the broker.
    pub up: Pipe,
    /// From the broker to the client.
    pub down: Pipe,
    /// Whether the client has it still.
    pub client_has_it: bool,
    /// Whether the broker has it: from its acceptance until it knows of its end.
    pub broker_has_it: bool,
    /// Whether it is cut.
    pub is_cut: bool,
    /// Whether the broker ever had it.
    pub was_accepted: bool,
    /// The broker has forgotten it and everything about it in a crash: what still arrives is out of date.
    pub is_orphan: bool,
    /// What the client has read of it and not acknowledged.
    pub unanswered: Unanswered,
    /// The message that is the client's will, and for how many milliseconds it is kept back at most.
    pub will: Option<(usize, u64)>,
}

impl Connection {
    /// A new connection.
    pub fn new(client: usize, window: usize) -> Self {
        Self {
            client,
            up: Pipe::new(window),
            down: Pipe::new(window),
            client_has_it: true,
            broker_has_it: false,
            is_cut: false,
            was_accepted: false,
            is_orphan: false,
            unanswered: Unanswered::default(),
            will: None,
        }
    }

    /// One direction of it.
    pub fn pipe(&mut self, direction: Direction) -> &mut Pipe {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// The network breaks.
    pub fn cut(&mut self, rng: &mut Rng) {
        self.is_cut = true;
        self.up.cut(rng);
        self.down.cut(rng);
    }
}
