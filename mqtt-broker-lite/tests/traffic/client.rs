//! MQTT 3.1.1 by hand, so that nothing of ours checks itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One connection.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Whether the server knew the session.
    pub is_present: bool,
}

/// A packet from the server.
#[derive(Debug)]
pub enum Packet {
    Publish {
        qos: u8,
        retain: bool,
        id: u16,
        topic: String,
        payload: Vec<u8>,
    },
    /// PUBACK, PUBREC, PUBREL, PUBCOMP by their type.
    Ack(u8, u16),
    /// SUBACK or UNSUBACK.
    Granted(u16),
    Other,
}

pub const PUBACK: u8 = 4;
pub const PUBREC: u8 = 5;
pub const PUBREL: u8 = 6;
pub const PUBCOMP: u8 = 7;

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
}

impl Client {
    pub fn connect(address: &str, client_id: &str) -> io::Result<Self> {
        Self::connect_as(address, client_id, false)
    }

    /// With a session that ends with the connection, or stays.
    pub fn connect_as(address: &str, client_id: &str, is_clean: bool) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut client = Self { stream, input: Vec::new(), output: Vec::new(), is_present: false };
        let mut body = [b"\0\x04MQTT\x04", &[u8::from(is_clean) << 1, 0, 0][..]].concat();
        string(&mut body, client_id);
        client.put(0x10, &body);
        client.flush()?;
        let (first, body) = client.read_packet()?;
        if first != 0x20 || body.get(1) != Some(&0) {
            return Err(io::Error::other("CONNACK refuses"));
        }
        client.is_present = body[0] & 1 == 1;
        Ok(client)
    }

    pub fn wait_at_most(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
    }

    /// Fails to write when the server has not read for so long.
    pub fn write_at_most(&self, time: Duration) {
        self.stream.set_write_timeout(Some(time)).unwrap();
    }

    /// Any bytes.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
    }

    fn put(&mut self, first: u8, body: &[u8]) {
        self.output.push(first);
        let mut length = body.len();
        loop {
            let more = length >= 0x80;
            self.output.push((length & 0x7F) as u8 | u8::from(more) << 7);
            length >>= 7;
            if !more {
                break;
            }
        }
        self.output.extend(body);
    }

    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, id: u16, dup: bool, retain: bool) {
        let mut body = Vec::new();
        string(&mut body, topic);
        if qos > 0 {
            body.extend(id.to_be_bytes());
        }
        body.extend(payload);
        self.put(0x30 | u8::from(dup) << 3 | qos << 1 | u8::from(retain), &body);
    }

    pub fn ack(&mut self, kind: u8, id: u16) {
        let flags = if kind == PUBREL { 2 } else { 0 };
        self.put(kind << 4 | flags, &id.to_be_bytes());
    }

    pub fn subscribe(&mut self, filter: &str, qos: u8, id: u16) {
        let mut body = id.to_be_bytes().to_vec();
        string(&mut body, filter);
        body.push(qos);
        self.put(0x82, &body);
    }

    pub fn unsubscribe(&mut self, filter: &str, id: u16) {
        let mut body = id.to_be_bytes().to_vec();
        string(&mut body, filter);
        self.put(0xA2, &body);
    }

    pub fn ping(&mut self) {
        self.put(0xC0, &[]);
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Waits for SUBACK or UNSUBACK; returns what came before it.
    pub fn await_granted(&mut self, id: u16) -> io::Result<Vec<Packet>> {
        self.flush()?;
        let mut before = Vec::new();
        loop {
            match self.next()? {
                Packet::Granted(granted) if granted == id => return Ok(before),
                other => before.push(other),
            }
        }
    }

    /// The next packet, if a whole one is here already or can be waited for.
    pub fn next(&mut self) -> io::Result<Packet> {
        let (first, body) = self.read_packet()?;
        let id = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        Ok(match first >> 4 {
            3 => {
                let length = usize::from(id(0));
                let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
                let qos = first >> 1 & 3;
                let rest = 2 + length;
                let (id, payload) = if qos > 0 { (id(rest), rest + 2) } else { (0, rest) };
                Packet::Publish { qos, retain: first & 1 == 1, id, topic, payload: body[payload..].to_vec() }
            }
            kind @ 4..=7 => Packet::Ack(kind, id(0)),
            9 | 11 => Packet::Granted(id(0)),
            _ => Packet::Other,
        })
    }

    /// Whether a whole packet is here.
    pub fn has_packet(&self) -> bool {
        frame(&self.input).is_some_and(|(head, length)| self.input.len() >= head + length)
    }

    fn read_packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((head, length)) = frame(&self.input)
                && self.input.len() >= head + length
            {
                let packet: Vec<u8> = self.input.drain(..head + length).collect();
                return Ok((packet[0], packet[head..].to_vec()));
            }
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.input.extend(&buffer[..read]),
            }
        }
    }
}

/// The lengths of the fixed header and of what follows.
fn frame(input: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (index, byte) in input.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if *byte < 0x80 {
            return Some((index + 2, length));
        }
    }
    None
}
