//! Sockets without a client, which say no more than what is needed: what a server can do at most, and the other side of
//! who receives.
//!
//! To be woken for each packet would cost the server more than to write it. So they read rarely, and much at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;

use mqtt_packet::{Delivery, Frame, PacketId, PacketType, Publish, QoS, SliceSink, TopicName, Version};

use crate::{Found, PAYLOAD, Trips, timed_now};

/// A read of so many bytes was not too early.
const MUCH: usize = 64 << 10;

fn connect(port: u16, id: [u8; 3]) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(b"\x10\x0F\0\x04MQTT\x04\x02\0\0\0\x03").unwrap();
    stream.write_all(&id).unwrap();
    let mut connack = [0; 4];
    // A source sends at once and takes no notice.
    let is_taken = stream.read_exact(&mut connack).is_ok() && connack[3] == 0;
    (stream, is_taken)
}

/// Publishes as fast as the server takes it.
struct Publisher {
    stream: TcpStream,
    qos: u8,
    n: usize,
    /// Messages with each identifier once, to be sent again and again; made before the clock runs.
    block: Vec<u8>,
    is_taken: bool,
}

impl Publisher {
    fn new(port: u16, qos: u8, n: usize) -> Self {
        let (stream, is_taken) = connect(port, *b"raw");
        let block = messages(qos, n.min(if qos == 2 { usize::from(crate::IN_FLIGHT) } else { 65_535 }));
        Self { stream, qos, n, block, is_taken }
    }

    /// Until the server has dealt with all of them.
    fn run(mut self) {
        match (self.is_taken, self.qos) {
            (false, _) => return,
            (true, 2) => self.publish_exactly_once(),
            (true, _) => self.publish(),
        }
        self.stream.write_all(&[0xE0, 0]).unwrap();
    }

    /// At QoS 0 or 1.
    fn publish(&mut self) {
        let mut reader = self.stream.try_clone().unwrap();
        // The answers to the messages and to PINGREQ.
        let answers = if self.qos == 0 { 2 } else { self.n * 4 + 2 };
        let reader = std::thread::spawn(move || read_rarely(&mut reader, answers, Duration::from_millis(5)));
        let mut left = self.n * length(self.qos);
        while left > 0 {
            let now = left.min(self.block.len());
            self.stream.write_all(&self.block[..now]).unwrap();
            left -= now;
        }
        self.stream.write_all(&[0xC0, 0]).unwrap();
        reader.join().unwrap();
    }

    /// As many at a time as a server lets be in flight, and their releases.
    fn publish_exactly_once(&mut self) {
        let mut left = self.n;
        while left > 0 {
            let count = left.min(usize::from(crate::IN_FLIGHT));
            self.stream.write_all(&self.block[..count * length(2)]).unwrap();
            read_rarely(&mut self.stream, count * 4, Duration::from_millis(1));
            let releases: Vec<u8> =
                (1..=count as u16).flat_map(|id| [0x62, 2, (id >> 8) as u8, id as u8]).collect();
            self.stream.write_all(&releases).unwrap();
            read_rarely(&mut self.stream, count * 4, Duration::from_millis(1));
            left -= count;
        }
    }
}

/// Reads so many bytes.
fn read_rarely(stream: &mut TcpStream, mut left: usize, pause: Duration) {
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => left = left.saturating_sub(n),
        }
        if left > 0 {
            std::thread::sleep(pause);
        }
    }
}

/// Publishes in a thread of its own; to a server inside of this program nothing.
pub fn source(port: u16, qos: u8, n: usize) -> JoinHandle<()> {
    let publisher = Publisher::new(port, qos, n);
    std::thread::spawn(move || publisher.run())
}

pub fn publish(port: u16, qos: u8, n: usize) -> Found {
    let publisher = Publisher::new(port, qos, n);
    timed_now(n, || publisher.run())
}

/// Receives.
struct Subscriber {
    stream: TcpStream,
    /// What was read, of which so many bytes are the beginning of a packet.
    buffer: Vec<u8>,
    len: usize,
    answers: Vec<u8>,
}

impl Subscriber {
    fn new(port: u16, topic: &str, qos: u8) -> Self {
        let (mut stream, _) = connect(port, *b"sub");
        let len = topic.len() as u8;
        let mut packet = vec![0x82, len + 5, 0, 1, 0, len];
        packet.extend(topic.bytes());
        packet.push(qos);
        stream.write_all(&packet).unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        Self { stream, buffer: vec![0; 1 << 18], len: 0, answers: Vec::new() }
    }

    /// Reads until so many messages came, and acknowledges them.
    fn take(&mut self, n: usize, pause: Duration) {
        let mut left = n;
        loop {
            let read = self.stream.read(&mut self.buffer[self.len..]).unwrap();
            assert!(read > 0, "the server closed");
            let end = self.len + read;
            let mut rest = &self.buffer[..end];
            while let Ok(Some((frame, behind))) = Frame::split(rest) {
                let is_message = frame.packet_type() == PacketType::Publish;
                left = left.saturating_sub(usize::from(is_message));
                acknowledge(frame, &mut self.answers);
                rest = behind;
            }
            self.len = rest.len();
            self.buffer.copy_within(end - self.len..end, 0);
            self.stream.write_all(&self.answers).unwrap();
            self.answers.clear();
            if left == 0 {
                return;
            }
            if read < MUCH && !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
    }
}

fn acknowledge(frame: Frame<'_>, answers: &mut Vec<u8>) {
    let (first, id) = match frame.packet_type() {
        PacketType::Publish => {
            let publish = Publish::decode(frame, Version::V3_1_1).unwrap();
            let first = if publish.delivery.qos() == QoS::AtLeastOnce { 0x40 } else { 0x50 };
            (first, publish.delivery.id())
        }
        PacketType::PubRel => (0x70, PacketId::new(u16::from_be_bytes([frame.body()[0], frame.body()[1]]))),
        _ => return,
    };
    if let Some(id) = id {
        let [high, low] = id.get().to_be_bytes();
        answers.extend([first, 2, high, low]);
    }
}

pub fn receive(port: u16, qos: u8, n: usize, from_outside: bool) -> Found {
    let mut subscriber = Subscriber::new(port, "bench/receive", qos);
    let source = from_outside.then(|| source(port, qos, n));
    let found = timed_now(n, || subscriber.take(n, Duration::from_millis(1)));
    if let Some(source) = source {
        source.join().unwrap();
    }
    found
}

pub fn round_trips(port: u16, qos: u8, n: usize) -> Found {
    let mut subscriber = Subscriber::new(port, "bench/trip", qos);
    let block = packets("bench/trip", qos, n.min(65_535));
    let mut trips = Trips::new(n);
    let found = timed_now(n, || {
        for message in block.chunks(block.len() / n.min(65_535)).cycle().take(n) {
            trips.start();
            subscriber.stream.write_all(message).unwrap();
            subscriber.take(1, Duration::ZERO);
            trips.end();
        }
    });
    trips.put(found)
}

/// The length of each message.
fn length(qos: u8) -> usize {
    messages(qos, 1).len()
}

/// So many messages to who receives, as they are on the wire.
pub fn messages(qos: u8, n: usize) -> Vec<u8> {
    packets("bench/receive", qos, n)
}

fn packets(topic: &str, qos: u8, n: usize) -> Vec<u8> {
    let payload = [7; PAYLOAD];
    let mut bytes = Vec::new();
    for i in 0..n {
        let id = PacketId::new((i % 65_535 + 1) as u16);
        let publish = Publish {
            delivery: Delivery::new(QoS::from_bits(qos).unwrap(), id).unwrap(),
            ..Publish::new(TopicName::new(topic).unwrap(), &payload)
        };
        let start = bytes.len();
        bytes.resize(start + publish.encoded_len(Version::V3_1_1), 0);
        publish.encode(Version::V3_1_1, &mut SliceSink::new(&mut bytes[start..])).unwrap();
    }
    bytes
}
