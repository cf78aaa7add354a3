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
    awaits_answer: bool,
}

/// What a deadline that has passed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    /// The awaited answer did not come.
    NoAnswer,
}

impl KeepAlive {
    /// From now on an answer is awaited: CONNACK, or that the rest is written.
    pub(crate) fn await_answer(&mut self, now: Instant) {
        self.last_sent = now;
        self.last_heard = now;
        self.awaits_answer = true;
    }

    /// The connection is open: a Keep Alive of so many seconds counts.
    pub(crate) fn start(&mut self, now: Instant, seconds: u16) {
        self.seconds = seconds;
        self.last_heard = now;
        self.awaits_answer = false;
    }

    /// PINGREQ is on its way, up to `end` in the stream.
    pub(crate) fn pinged(&mut self, now: Instant, end: u32) {
        self.awaits_answer = true;
        self.ping_end = end;
        self.last_heard = now;
    }

    /// PINGRESP came.
    pub(crate) fn answered(&mut self) {
        self.awaits_answer = false;
    }

    /// Bytes came; or none for a reason that is not the peer's fault, and it gets more time.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Bytes went, up to `written` in the stream.
    pub(crate) fn sent(&mut self, now: Instant, written: u32) {
        self.last_sent = now;
        let ping_is_behind = self.ping_end.wrapping_sub(written).wrapping_sub(1) <= Duration::MAX.as_millis();
        if self.awaits_answer && ping_is_behind && self.seconds != 0 {
            self.last_heard = now;
        }
    }

    pub(crate) fn stop(&mut self) {
        self.seconds = 0;
        self.awaits_answer = false;
    }

    /// When something is due, for a peer that has `timeout` to answer.
    #[inline(always)]
    pub(crate) fn next(&self, timeout: Duration) -> Option<Instant> {
        if self.awaits_answer {
            return Some(self.last_heard.after(timeout));
        }
        if self.seconds == 0 {
            return None;
        }
        // An eighth earlier, as the packet must have been sent by then [MQTT-3.1.2-23 of 3.1.1, MQTT-3.1.2-20 of 5.0].
        let silence = Duration::from_millis(u32::from(self.seconds).wrapping_mul(1000 - 125));
        Some(self.last_sent.earlier(self.last_heard).after(silence))
    }

    pub(crate) fn due(&self, now: Instant, timeout: Duration) -> Due {
        match self.next(timeout) {
            Some(next) if !now.is_at_or_after(next) => Due::Nothing,
            None => Due::Nothing,
            Some(_) if self.awaits_answer => Due::NoAnswer,
            Some(_) => Due::Ping,
        }
    }
}
