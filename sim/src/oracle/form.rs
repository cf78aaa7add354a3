//! The form in which a message comes: its retain flag, and how large its packet may be.

use super::{Delivered, Oracle, Published};

/// What a PUBLISH is longer than its payload, at most.
pub(super) const FRONT: usize = 100;

/// The largest packet that a client takes that says this.
pub(super) const fn largest_packet(said: u32) -> usize {
    if said == 0 { usize::MAX } else { said as usize }
}

impl Oracle {
    /// Whether this is a retained message that a subscription asked for, as far as can be told.
    pub(super) fn is_replay(&self, delivered: &Delivered) -> bool {
        let flag = self.sessions.flag(delivered.client, &delivered.topic);
        delivered.retain && (flag.may_replay || !flag.may_be_kept)
    }

    /// A live message has the retain flag of its publisher if its subscriptions want that, and otherwise none; and it fits
    /// what the client takes.
    pub(super) fn check_flag(&mut self, delivered: &Delivered, message: &Published) {
        let Delivered { at, client, retain, .. } = *delivered;
        let flag = self.sessions.flag(client, message.topic);
        if retain && !flag.may_replay && !flag.may_be_kept {
            self.broken(at, "a live message is not retained [MQTT-3.3.1-12]", || format!("{delivered:?}"));
        }
        if !retain && message.retain && flag.must_be_kept {
            self.broken(at, "retain as published [MQTT-3.3.1-13]", || format!("{delivered:?}"));
        }
        if delivered.payload.len() > self.max_packets[client] {
            self.broken(at, "no packet above the maximum [MQTT-3.1.2-24]", || {
                format!("{} bytes", delivered.payload.len())
            });
        }
    }
}
