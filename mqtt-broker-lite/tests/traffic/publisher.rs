//! Publishes at full speed, and repeats after each kill what was not acknowledged.

use super::client::{Client, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub struct Publisher {
    number: u8,
    pub qos: u8,
    /// Messages on their way at once.
    window: usize,
    /// Bytes of a message.
    payload: usize,
    next: u64,
    /// What is on its way, by packet identifier: the message, and whether PUBREC came.
    flying: BTreeMap<u16, (u64, bool)>,
    last_id: u16,
    /// How many acknowledgements came, for others to see.
    count: Arc<AtomicU64>,
}

impl Publisher {
    pub fn new(number: u8, qos: u8) -> Self {
        Self {
            number,
            qos,
            window: 32,
            payload: 100,
            next: 0,
            flying: BTreeMap::new(),
            last_id: 0,
            count: Arc::default(),
        }
    }

    /// With so many messages on their way, of so many bytes.
    pub fn with(self, window: usize, payload: usize) -> Self {
        Self { window, payload, ..self }
    }

    /// How many were acknowledged; of all before the next, what is not on its way.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged_messages().count() as u64
    }

    /// Which ones.
    pub fn acknowledged_messages(&self) -> impl Iterator<Item = u64> {
        let open = self.flying.values().filter(|(_, is_received)| !is_received);
        let open: BTreeSet<u64> = open.map(|(message, _)| *message).collect();
        (0..self.next).filter(move |message| !open.contains(message))
    }

    /// How many acknowledgements came so far.
    pub fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    /// How many were published.
    pub fn published(&self) -> u64 {
        self.next
    }

    fn send(&self, client: &mut Client, id: u16, message: u64, dup: bool) {
        let mut payload = message.to_be_bytes().to_vec();
        payload.resize(self.payload, b'x');
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
            Packet::Ack(PUBACK, id) if self.qos == 1 => {
                let came = self.flying.remove(&id).is_some();
                self.count.fetch_add(u64::from(came), Ordering::SeqCst);
            }
            Packet::Ack(PUBCOMP, id) if self.qos == 2 => {
                // Without PUBREC in this life: it was repeated as PUBREL.
                self.flying.remove(&id);
            }
            _ => {}
        }
    }

    pub fn publish_until(&mut self, address: &str, stop: &AtomicBool) {
        // The connection ends with the broker.
        let _ = self.publish(address, || stop.load(Ordering::Relaxed), u64::MAX);
    }

    /// Publishes until so many are acknowledged.
    pub fn publish_so_many(&mut self, address: &str, messages: u64) {
        let count = self.count();
        self.publish(address, || count.load(Ordering::SeqCst) >= messages, messages).unwrap();
    }

    fn publish(&mut self, address: &str, is_over: impl Fn() -> bool, messages: u64) -> io::Result<()> {
        let mut client = self.connect(address)?;
        while !is_over() {
            while self.flying.len() < self.window && self.next < messages {
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
