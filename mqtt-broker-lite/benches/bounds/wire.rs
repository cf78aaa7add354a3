//! One connection of MQTT 3.1.1, by hand.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Wire(TcpStream);

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 0x80;
        packet.push((length & 0x7F) as u8 | u8::from(more) << 7);
        length >>= 7;
        if !more {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// QoS 1 with an identifier, else QoS 0.
pub fn publish(topic: &str, payload: &[u8], id: Option<u16>) -> Vec<u8> {
    let id = id.map(u16::to_be_bytes);
    let body = [&string(topic)[..], id.as_ref().map_or(&[], |id| &id[..]), payload].concat();
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

impl Wire {
    pub fn connect(stream: TcpStream, client_id: &str, is_clean: bool) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut wire = Self(stream);
        let flags = if is_clean { 2 } else { 0 };
        let body = [b"\0\x04MQTT\x04", &[flags, 0, 0][..], &string(client_id)].concat();
        wire.send(&packet(0x10, &body)).unwrap();
        wire.await_packet(0x20);
        wire
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub fn give_up_after(&self, time: Duration) {
        self.0.set_write_timeout(Some(time)).unwrap();
    }

    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        let body = [&[0, 1][..], &string(filter), &[qos]].concat();
        self.send(&packet(0x82, &body)).unwrap();
        self.await_packet(0x90);
    }

    /// The next packet, which is of this type and short.
    pub fn await_packet(&mut self, first: u8) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        assert_eq!(head[0], first);
        let mut body = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut body).unwrap();
    }
}
