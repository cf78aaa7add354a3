//! Publishes at full speed, and repeats after each kill what was not acknowledged.

use crate::client::{Client, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Messages on their way at once.
const WINDOW: usize = 32;

pub struct Publisher {
    number: u8,
    pub qos: u8,
    next: u64,
    /// What is on its way, by packet identifier: the message, and whether PUBREC came.
    flying: BTreeMap<u16, (u64, bool)>,
    last_id: u16,
}

impl Publisher {
    pub fn new(number: u8, qos: u8) -> Self {
        Self { number, qos, next: 0, flying: BTreeMap::new(), last_id: 0 }
    }

    /// How many were acknowledged; of all before the next, what is not on its way.
    pub fn acknowledged(&self) -> u64 {
        self.next - self.flying.values().filter(|(_, is_received)| !is_received).count() as u64
    }

    /// How many were published.
    pub fn published(&self) -> u64 {
        self.next
    }

    fn send(&self, client: &mut Client, id: u16, message: u64, dup: bool) {
        let mut payload = message.to_be_bytes().to_vec();
        payload.resize(100, b'x');
        client.publish(&format!("k/{}", self.number), &payload, self.qos, id, dup, false);
    }

    fn connect(&self, address: &str) -> io::Result<Client> {
        let mut client = Client::connect(address, &format!("publisher-{}", self.number))?;
        assert!(client.is_present || self.next == 0, "the session of publisher {} is lost", self.number);
        // In the order in which they were sent; identifiers wrap around.
        let mut flying: Vec<_> = self.flying.iter().collect();
        flying.sort_by_key(|(_, (message, _))| *message);
        for (&id, &(message, is_received)) in flying {
            if is_received {
                client.ack(PUBREL, id);
            } else {
                self.send(&mut client, id, message, true);
            }
        }
        client.flush()?;
        Ok(client)
    }

    fn on_packet(&mut self, client: &mut Client, packet: &Packet) {
        match *packet {
            Packet::Ack(PUBREC, id) if self.qos == 2 => {
                if let Some((_, is_received)) = self.flying.get_mut(&id) {
                    *is_received = true;
                    client.ack(PUBREL, id);
                }
            }
            Packet::Ack(PUBACK, id) if self.qos == 1 => drop(self.flying.remove(&id)),
            Packet::Ack(PUBCOMP, id) if self.qos == 2 => {
                // Without PUBREC in this life: it was repeated as PUBREL.
                self.flying.remove(&id);
            }
            _ => {}
        }
    }

    pub fn publish_until(&mut self, address: &str, stop: &AtomicBool) {
        // The connection ends with the broker.
        let _ = self.publish(address, stop);
    }

    fn publish(&mut self, address: &str, stop: &AtomicBool) -> io::Result<()> {
        let mut client = self.connect(address)?;
        while !stop.load(Ordering::Relaxed) {
            while self.flying.len() < WINDOW {
                loop {
                    self.last_id = self.last_id.wrapping_add(1).max(1);
                    if !self.flying.contains_key(&self.last_id) {
                        break;
                    }
                }
                self.flying.insert(self.last_id, (self.next, false));
                self.send(&mut client, self.last_id, self.next, false);
                self.next += 1;
            }
            client.flush()?;
            loop {
                let packet = client.next()?;
                self.on_packet(&mut client, &packet);
                if !client.has_packet() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Repeats until everything is acknowledged.
    pub fn finish(&mut self, address: &str) {
        let mut client = self.connect(address).unwrap();
        while !self.flying.is_empty() {
            let packet = client.next().expect("an acknowledgement after the restart");
            self.on_packet(&mut client, &packet);
            client.flush().unwrap();
        }
    }
}
