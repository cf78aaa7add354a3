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
pub(super) struct Held(VecDeque<HeldPacket>);

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The last in the queue of what has not happened yet.
    pub(super) fn last_cause(&self, journal: &Journal) -> Option<Cause> {
        let waiting = |packet: &HeldPacket| packet.cause.filter(|cause| !journal.is_synced(*cause));
        self.0.iter().rev().find_map(waiting)
    }

    /// Waits for slow readers no longer.
    pub(super) fn give_up_rooms(&mut self) {
        for packet in self.0.iter_mut().filter(|packet| packet.then == Then::Room) {
            packet.cause = None;
        }
    }

    pub(super) fn push(&mut self, cause: Option<Cause>, wire: Wire, then: Then) {
        self.0.push_back(HeldPacket { cause, wire, then });
    }

    /// The head, if it waits no longer.
    pub(super) fn pop(&mut self, journal: &Journal) -> Option<HeldPacket> {
        let head = self.0.front()?;
        if head.cause.is_some_and(|cause| !journal.is_synced(cause)) {
            return None;
        }
        self.0.pop_front()
    }
}
