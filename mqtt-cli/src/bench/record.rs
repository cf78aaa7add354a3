//! What is counted and measured, per second and in all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;

/// Nanoseconds since the benchmark began.
pub(super) type Nanos = u64;

pub(super) const SECOND: Nanos = 1_000_000_000;
/// Latencies above this count as this.
const LONGEST: Nanos = 120 * SECOND;

/// Latencies in nanoseconds, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    // The bounds are constants that it takes.
    Histogram::new_with_bounds(1, LONGEST, 3).unwrap_or_else(|_| unreachable!())
}

/// What happened in one second, on all threads.
#[derive(Clone)]
pub(super) struct Second {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) latency: Histogram<u64>,
}

impl Second {
    fn new() -> Self {
        Self { sent: 0, received: 0, latency: histogram() }
    }
}

/// What all threads write to.
pub(super) struct Shared {
    start: Instant,
    /// Nothing before this counts.
    warm: Nanos,
    seconds: Mutex<BTreeMap<u64, Second>>,
}

impl Shared {
    pub(super) fn new(warm: Nanos) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), warm, seconds: Mutex::new(BTreeMap::new()) })
    }

    pub(super) fn now(&self) -> Nanos {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes the seconds that lie before this one.
    pub(super) fn take_before(&self, second: u64) -> BTreeMap<u64, Second> {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = seconds.split_off(&second);
        core::mem::replace(&mut *seconds, rest)
    }
}

/// A thread's notes of the current second.
pub(super) struct Recorder {
    shared: Arc<Shared>,
    second: u64,
    current: Second,
}

impl Recorder {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, second: 0, current: Second::new() }
    }

    pub(super) fn now(&self) -> Nanos {
        self.shared.now()
    }

    /// Begins another second where it is time.
    pub(super) fn roll(&mut self, now: Nanos) {
        let second = now / SECOND;
        if second != self.second {
            self.flush();
            self.second = second;
        }
    }

    /// Hands over what was noted.
    pub(super) fn flush(&mut self) {
        let current = core::mem::replace(&mut self.current, Second::new());
        if current.sent == 0 && current.received == 0 && current.latency.is_empty() {
            return;
        }
        let mut seconds = self.shared.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let second = seconds.entry(self.second).or_insert_with(Second::new);
        second.sent += current.sent;
        second.received += current.received;
        // Both have the same bounds.
        let _ = second.latency.add(&current.latency);
    }

    pub(super) fn sent(&mut self, at: Nanos, count: u64) {
        if at >= self.shared.warm {
            self.current.sent += count;
        }
    }

    /// Something came back that was, or should have been, sent then.
    pub(super) fn received(&mut self, sent: Nanos, now: Nanos) {
        if now >= self.shared.warm {
            self.current.received += 1;
        }
        if sent >= self.shared.warm {
            self.current.latency.saturating_record(now.saturating_sub(sent).max(1));
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}
