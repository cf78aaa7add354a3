//! Deadlines: CONNACK, the next PINGREQ, PINGRESP (3.1.1 and 5.0 section 3.1.2.10).
//!
//! PINGREQ is due when nothing was sent for most of the Keep Alive, and also when nothing was heard for as long: who
//! only sends would not notice a half-open connection otherwise. After it, anything that is heard keeps the connection
//! alive, and so does progress in writing what stands in front of it.

use crate::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeepAlive {
    last_sent: Instant,
    /// When something was heard; while an answer is awaited, the last sign that the peer lives.
    last_heard: Instant,
    /// Where in the stream PINGREQ ends.
    ping_end: u32,
    /// The Keep Alive; zero for none.
    seconds: u16,
    awaits: Awaits,
}

/// What the peer owes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaits {
    #[default]
    Nothing,
    /// CONNACK, or that it takes the rest.
    Answer,
    PingResp,
}

impl KeepAlive {
    /// From now on an answer is awaited: CONNACK, or that the rest is written.
    pub(crate) fn await_answer(&mut self, now: Instant) {
        self.last_sent = now;
        self.last_heard = now;
        self.awaits = Awaits::Answer;
    }

    /// The Keep Alive that counts once the connection is open, in seconds; zero for none.
    pub(crate) const fn set_seconds(&mut self, seconds: u16) {
        self.seconds = seconds;
    }

    #[cfg(not(feature = "v5"))]
    pub(crate) const fn seconds(&self) -> u16 {
        self.seconds
    }

    /// The connection is open: the Keep Alive counts.
    pub(crate) const fn start(&mut self, now: Instant) {
        self.last_heard = now;
        self.awaits = Awaits::Nothing;
    }

    /// PINGREQ is on its way, up to `end` in the stream.
    pub(crate) fn pinged(&mut self, now: Instant, end: u32) {
        self.awaits = Awaits::PingResp;
        self.ping_end = end;
        self.last_heard = now;
    }

    /// PINGRESP came.
    pub(crate) fn answered(&mut self) {
        self.awaits = Awaits::Nothing;
    }

    /// Bytes came; or none for a reason that is not the peer's fault, and it gets more time.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Bytes went, up to `written` in the stream.
    pub(crate) fn sent(&mut self, now: Instant, written: u32) {
        self.last_sent = now;
        let ping_is_behind = self.ping_end.wrapping_sub(written).wrapping_sub(1) <= Duration::MAX.as_millis();
        if self.awaits == Awaits::PingResp && ping_is_behind {
            self.last_heard = now;
        }
    }

    pub(crate) fn stop(&mut self) {
        self.seconds = 0;
        self.awaits = Awaits::Nothing;
    }

    /// Whether the deadline is one for the peer.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.awaits != Awaits::Nothing
    }

    /// When something is due, for a peer that has `timeout` to answer.
    pub(crate) fn next(&self, timeout: Duration) -> Option<Instant> {
        if self.awaits_answer() {
            return Some(self.last_heard.after(timeout));
        }
        if self.seconds == 0 {
            return None;
        }
        // An eighth earlier, as the packet must have been sent by then [MQTT-3.1.2-23 of 3.1.1, MQTT-3.1.2-20 of 5.0].
        let silence = Duration::from_millis(u32::from(self.seconds).wrapping_mul(1000 - 125));
        Some(self.last_sent.earlier(self.last_heard).after(silence))
    }
}
