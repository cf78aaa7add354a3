//! The messages of one session on their way to its client: those that wait, and those that wait for an
//! acknowledgement, in the order they were sent.
//!
//! Packet identifiers come from a count that never goes back: the identifier of count `n` is `(n - 1) % 65,535 + 1`.
//! So the messages in flight are sorted by count, and an identifier is found by search, not by a table.

use super::{Message, MessageNumber, Settings};
use mqtt_client::delivery::Sending;
use mqtt_packet::{PacketId, QoS};
use std::collections::VecDeque;
use std::sync::Arc;

const IDS: u64 = u16::MAX as u64;

/// A message for one session.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    /// Its place in the session's order; 0 where nothing of it is stored.
    pub(super) sequence: u64,
    pub(super) message: Arc<Message>,
    /// Under which number it is stored, if it is.
    pub(super) number: Option<MessageNumber>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) subscription_ids: Box<[u32]>,
    /// The shared subscription that it came by.
    pub(super) group: Option<Arc<str>>,
}

/// A message that was sent and not acknowledged.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) serial: u64,
    pub(super) stage: Sending,
    /// The place of its PUBREC among those of the session: PUBRELs go in this order [MQTT-4.6.0-4].
    pub(super) received: u64,
    /// What is repeated after a reconnect; nothing where the session ends with the connection, or after PUBREC.
    pub(super) queued: Option<Queued>,
}

#[derive(Debug, Default)]
pub(super) struct Outbound {
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    /// How many of the queue are of QoS 0.
    queue_qos0: usize,
    /// What waits behind the queue, on the disk only.
    pub(super) stored: Stored,
    pub(super) in_flight: VecDeque<InFlight>,
    /// Bytes of the messages in flight that may have to be repeated.
    in_flight_bytes: usize,
    last_serial: u64,
    /// By how much the count goes on from before a restart.
    skipped: u64,
    last_sequence: u64,
    last_received: u64,
}

/// Messages of QoS 1 and 2 that wait on the disk only. While there are any, all new ones of the session wait there.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) count: usize,
    /// Everything up to this place in the session's order is in memory, or was.
    pub(super) after: u64,
    /// Whether some are being read back.
    pub(super) is_asked: bool,
}

/// The identifier of a count from 1.
pub(super) fn packet_id(serial: u64) -> PacketId {
    let id = serial.wrapping_sub(1) % IDS;
    u16::try_from(id.wrapping_add(1)).ok().and_then(PacketId::new).unwrap_or(PacketId::MIN)
}

impl Outbound {
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.last_sequence = self.last_sequence.saturating_add(1);
        self.last_sequence
    }

    /// The place of one more PUBREC.
    pub(super) fn next_received(&mut self) -> u64 {
        self.last_received = self.last_received.saturating_add(1);
        self.last_received
    }

    /// The next count whose identifier is not in use [MQTT-2.3.1-4, MQTT-2.2.1-4].
    pub(super) fn next_serial(&mut self) -> u64 {
        let skipped = std::mem::take(&mut self.skipped);
        let mut serial = self.last_serial.saturating_add(skipped).saturating_add(1);
        let oldest = self.in_flight.front().map_or(serial, |oldest| oldest.serial);
        if serial.saturating_sub(oldest) >= IDS {
            while self.find(packet_id(serial)).is_some() {
                serial = serial.saturating_add(1);
            }
        }
        self.last_serial = serial;
        serial
    }

    /// After a restart identifiers go on elsewhere: where the store may have lost what was last written, the client may
    /// remember one that the store does not, and would take its next message for a repeat.
    pub(super) fn skip_serials(&mut self, wall: u64) {
        self.skipped = wall % IDS;
    }

    /// Where in `in_flight` an identifier is.
    pub(super) fn find(&self, id: PacketId) -> Option<usize> {
        let oldest = self.in_flight.front()?.serial;
        // Who acknowledges in order, which is the rule, acknowledges the oldest.
        if packet_id(oldest) == id {
            return Some(0);
        }
        let newest = self.in_flight.back()?.serial;
        let back =
            u64::from(packet_id(newest).get()).saturating_add(IDS).saturating_sub(u64::from(id.get())) % IDS;
        let mut serial = newest.checked_sub(back)?;
        while serial >= oldest && serial > 0 {
            if let Ok(index) = self.in_flight.binary_search_by_key(&serial, |in_flight| in_flight.serial) {
                return Some(index);
            }
            serial = serial.checked_sub(IDS)?;
        }
        None
    }

    /// Whether one more message of this QoS may be on its way.
    pub(super) fn has_room(&self, qos: QoS, settings: &Settings) -> bool {
        qos == QoS::AtMostOnce || self.in_flight_bytes < settings.max_queue_bytes
    }

    /// An exchange is over.
    pub(super) fn remove_in_flight(&mut self, index: usize) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(index)?;
        self.lighten(in_flight.queued.as_ref());
        Some(in_flight)
    }

    /// A message in flight is never repeated.
    pub(super) fn take_queued(&mut self, index: usize) -> Option<Queued> {
        let queued = self.in_flight.get_mut(index)?.queued.take();
        self.lighten(queued.as_ref());
        queued
    }

    fn lighten(&mut self, queued: Option<&Queued>) {
        let bytes = queued.map_or(0, |queued| queued.message.size());
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
    }

    pub(super) fn push_in_flight(&mut self, in_flight: InFlight) {
        let bytes = in_flight.queued.as_ref().map_or(0, |queued| queued.message.size());
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(bytes);
        self.in_flight.push_back(in_flight);
    }

    pub(super) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// Bytes of everything that waits or is in flight.
    pub(super) fn bytes(&self) -> usize {
        self.queue_bytes.saturating_add(self.in_flight_bytes)
    }

    /// How many messages of QoS 0 wait.
    pub(super) fn passing(&self) -> usize {
        self.queue_qos0
    }

    /// Whether a new message of this QoS must not overtake one that waits: order is owed within a topic and QoS.
    pub(super) fn must_wait(&self, qos: QoS) -> bool {
        match qos {
            QoS::AtMostOnce => self.queue_qos0 > 0,
            _ => self.queue.len() > self.queue_qos0 || self.stored.count > 0,
        }
    }

    /// One more message waits on the disk only; it has its place already.
    pub(super) fn push_stored(&mut self) {
        if self.stored.count == 0 {
            self.stored.after = self.last_sequence.saturating_sub(1);
        }
        self.stored.count = self.stored.count.saturating_add(1);
    }

    /// A message was read back.
    pub(super) fn fetched(&mut self, queued: Queued) {
        if self.stored.count > 0 && queued.sequence > self.stored.after {
            self.stored.after = queued.sequence;
            self.stored.count = self.stored.count.saturating_sub(1);
            self.push(queued);
        }
    }

    /// So many more wait on the disk only, up to this place; for a restart, when what is in memory is there.
    pub(super) fn restore_stored(&mut self, count: usize, last: u64) {
        if self.stored.count == 0 {
            self.stored.after = self.last_sequence;
        }
        self.stored.count = self.stored.count.saturating_add(count);
        self.last_sequence = self.last_sequence.max(last);
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.count(&queued, true);
        self.queue.push_back(queued);
    }

    fn count(&mut self, queued: &Queued, comes: bool) {
        let bytes = queued.message.size();
        let qos0 = usize::from(queued.qos == QoS::AtMostOnce);
        if comes {
            self.queue_bytes = self.queue_bytes.saturating_add(bytes);
            self.queue_qos0 = self.queue_qos0.saturating_add(qos0);
        } else {
            self.queue_bytes = self.queue_bytes.saturating_sub(bytes);
            self.queue_qos0 = self.queue_qos0.saturating_sub(qos0);
        }
    }

    pub(super) fn front(&self) -> Option<&Queued> {
        self.queue.front()
    }

    /// The first that may go without quota.
    pub(super) fn pop_qos0(&mut self) -> Option<Queued> {
        if self.queue_qos0 == 0 {
            return None;
        }
        let index = self.queue.iter().position(|queued| queued.qos == QoS::AtMostOnce)?;
        let queued = self.queue.remove(index)?;
        self.count(&queued, false);
        Some(queued)
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.count(&queued, false);
        Some(queued)
    }

    /// What waits and came by a shared subscription.
    pub(super) fn take_shared(&mut self) -> VecDeque<Queued> {
        let (shared, own): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(|queued| queued.group.is_some());
        self.queue = own;
        for queued in &shared {
            self.count(queued, false);
        }
        shared
    }

    /// Everything in flight, with what it waits for, and everything that waits, for a session that ends.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (Option<Sending>, Queued)> + use<> {
        self.queue_bytes = 0;
        self.queue_qos0 = 0;
        self.in_flight_bytes = 0;
        let in_flight = std::mem::take(&mut self.in_flight);
        let queue = std::mem::take(&mut self.queue);
        let in_flight =
            in_flight.into_iter().filter_map(|in_flight| Some((Some(in_flight.stage), in_flight.queued?)));
        in_flight.chain(queue.into_iter().map(|queued| (None, queued)))
    }

    /// Puts back what was stored before a restart.
    pub(super) fn restore(&mut self, queued: Queued) {
        self.last_sequence = self.last_sequence.max(queued.sequence);
        let at = self.queue.partition_point(|other| other.sequence < queued.sequence);
        self.count(&queued, true);
        self.queue.insert(at, queued);
    }

    /// Puts back what was in flight before a restart; the message, if it is still needed, was restored before.
    pub(super) fn restore_in_flight(&mut self, sequence: u64, serial: u64, received: Option<u64>) {
        let queued = match self.queue.binary_search_by_key(&sequence, |queued| queued.sequence) {
            Ok(at) => self.queue.remove(at),
            Err(_) => None,
        };
        if let Some(queued) = &queued {
            self.count(queued, false);
        }
        let stage = match (received, &queued) {
            (Some(_), _) => Some(Sending::AwaitPubComp),
            (None, Some(queued)) => Sending::new(queued.qos),
            (None, None) => None,
        };
        let Some(stage) = stage else {
            return;
        };
        self.last_serial = self.last_serial.max(serial);
        self.last_sequence = self.last_sequence.max(sequence);
        self.last_received = self.last_received.max(received.unwrap_or(0));
        let bytes = queued.as_ref().map_or(0, |queued| queued.message.size());
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(bytes);
        let at = self.in_flight.partition_point(|other| other.serial < serial);
        self.in_flight.insert(at, InFlight { serial, stage, received: received.unwrap_or(0), queued });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(outbound: &mut Outbound) -> PacketId {
        let serial = outbound.next_serial();
        outbound.push_in_flight(InFlight { serial, stage: Sending::AwaitPubAck, received: 0, queued: None });
        packet_id(serial)
    }

    /// [MQTT-2.3.1-4] [MQTT-2.2.1-4]
    #[test]
    fn an_identifier_in_use_is_not_given_again() {
        let mut outbound = Outbound::default();
        let stuck: Vec<_> = (0..3).map(|_| sent(&mut outbound)).collect();
        for _ in 0..200_000 {
            let id = sent(&mut outbound);
            assert!(!stuck.contains(&id));
            let index = outbound.find(id).unwrap();
            assert_eq!(index, 3);
            outbound.in_flight.remove(index);
        }
        for id in stuck {
            let index = outbound.find(id).unwrap();
            outbound.in_flight.remove(index);
        }
        assert_eq!(outbound.find(PacketId::MIN), None);
    }
}
