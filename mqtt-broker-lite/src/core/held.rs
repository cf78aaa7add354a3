//! Outputs of one connection that wait for their cause: durable before acknowledged, in the order of their packets
//! [MQTT-4.6.0-2]. The head of the queue waits, and everything behind it with it.

use super::journal::Journal;
use super::{Cause, Wire};
use std::collections::VecDeque;

/// What sending a held packet means beyond its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// Nothing either: what is behind waits for a slow reader.
    Room,
    /// A message to the client is out.
    Published,
    /// One message of the client's is acknowledged: it may send one more.
    Acknowledged,
    /// The client is connected.
    Connected,
    /// A SUBACK is out: what is retained may follow.
    Subscribed,
}

#[derive(Debug)]
pub(super) struct HeldPacket {
    cause: Option<Cause>,
    pub(super) wire: Wire,
    pub(super) then: Then,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    packets: VecDeque<HeldPacket>,
    /// How many of them are PUBLISH.
    publishes: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether a PUBLISH waits: no other may overtake it, as repeats go in the order of the first copies
    /// [MQTT-4.6.0-6].
    pub(super) fn has_publish(&self) -> bool {
        self.publishes > 0
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// The last in the queue of what has not happened yet.
    pub(super) fn last_cause(&self, journal: &Journal) -> Option<Cause> {
        let waiting = |packet: &HeldPacket| packet.cause.filter(|cause| !journal.is_synced(*cause));
        self.packets.iter().rev().find_map(waiting)
    }

    /// Waits for slow readers no longer.
    pub(super) fn give_up_rooms(&mut self) {
        for packet in self.packets.iter_mut().filter(|packet| packet.then == Then::Room) {
            packet.cause = None;
        }
    }

    pub(super) fn push(&mut self, cause: Option<Cause>, wire: Wire, then: Then) {
        self.publishes = self.publishes.saturating_add(usize::from(then == Then::Published));
        self.packets.push_back(HeldPacket { cause, wire, then });
    }

    /// The head, if it waits no longer.
    pub(super) fn pop(&mut self, journal: &Journal) -> Option<HeldPacket> {
        let head = self.packets.front()?;
        if head.cause.is_some_and(|cause| !journal.is_synced(cause)) {
            return None;
        }
        let packet = self.packets.pop_front()?;
        self.publishes = self.publishes.saturating_sub(usize::from(packet.then == Then::Published));
        Some(packet)
    }
}
