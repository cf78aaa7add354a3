//! One ordered set of deadlines. A deadline is a hint to look: whoever looks decides whether it is time, so moving a
//! deadline later costs nothing until it fires.

use super::link::Reader;
use super::{ConnId, SessionNumber};
use std::collections::BTreeSet;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// CONNECT, or the next step of an authentication.
    Connect(ConnId),
    /// A packet, any.
    KeepAlive(ConnId),
    /// The end of a will's delay.
    Will(SessionNumber),
    /// The end of a session.
    Session(SessionNumber),
    /// The next report about the broker itself.
    Sys,
    /// The end of the patience with a slow reader.
    Room(SessionNumber),
    /// The next step of a walk over retained messages.
    Replay(Reader),
    /// The end of a retained message.
    Retained,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(u64, Timer)>,
    told: Option<u64>,
}

impl Timers {
    /// Looks at `timer` once the monotonic clock shows `at`.
    pub(super) fn start(&mut self, at: u64, timer: Timer) {
        self.set.insert((at, timer));
    }

    pub(super) fn stop(&mut self, at: u64, timer: Timer) {
        self.set.remove(&(at, timer));
    }

    /// The time that was told has come: everything that is due.
    pub(super) fn due(&mut self, now: u64) -> Vec<Timer> {
        self.told = None;
        let mut due = Vec::new();
        while self.set.first().is_some_and(|&(at, _)| at <= now) {
            due.extend(self.set.pop_first().map(|(_, timer)| timer));
        }
        due
    }

    /// When to wake up, if that is earlier than what was said before. A time that has come is said once, too.
    pub(super) fn news(&mut self) -> Option<u64> {
        let &(at, _) = self.set.first()?;
        if self.told.is_some_and(|told| told <= at) {
            return None;
        }
        self.told = Some(at);
        Some(at)
    }
}
