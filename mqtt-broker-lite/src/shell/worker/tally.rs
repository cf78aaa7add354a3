//! What a worker counts beside its shard.

use super::Worker;
use crate::core::{Counts, Pressure};
use std::time::Duration;

/// Counted from the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shell) struct Tally {
    /// Connections that were accepted.
    pub(in crate::shell) accepted: u64,
    /// Connections for which a limit left no room.
    pub(in crate::shell) turned_away: u64,
    /// Bytes of MQTT: those of TLS and WebSocket around it are not counted.
    pub(in crate::shell) bytes_received: u64,
    pub(in crate::shell) bytes_sent: u64,
    /// Messages that a subscription inside the process was too slow for.
    pub(in crate::shell) missed_inside: u64,
    /// How long it did something else than wait.
    pub(in crate::shell) busy: Duration,
}

/// What one worker and its shard are like now.
#[derive(Clone, Debug)]
pub(in crate::shell) struct Figures {
    pub(in crate::shell) counts: Counts,
    pub(in crate::shell) tally: Tally,
    pub(in crate::shell) connections: usize,
    pub(in crate::shell) pressure: Pressure,
}

impl Tally {
    pub(super) fn note_bytes(&mut self, received: usize, sent: usize) {
        self.bytes_received = self.bytes_received.saturating_add(received as u64);
        self.bytes_sent = self.bytes_sent.saturating_add(sent as u64);
    }
}

impl Worker {
    pub(super) fn figures(&self) -> Figures {
        Figures {
            counts: self.shard.count(),
            tally: self.tally,
            connections: self.sockets.len(),
            pressure: self.pressure,
        }
    }
}
