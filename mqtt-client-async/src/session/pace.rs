//! When to let messages gather before they are read.
//!
//! A busy server writes each message and each acknowledgement by itself. To be woken for every one of them costs this
//! side a turn of the runtime and a system call, and the server the wake-up: together more than the message. So where
//! small reads follow each other very quickly, reading pauses for a millisecond between them. It does so only where
//! nobody waits for the next byte - the application does not publish in between, as one that answers does, or has much
//! in flight - and goes on only while at least as much arrives as did before: a server that waits for acknowledgements
//! sends less then.

use std::time::Duration;

use tokio::time::Instant;

/// The pause, which is the resolution of tokio's timers, and as long the windows in which reads are counted.
const PAUSE: Duration = Duration::from_millis(1);
/// From so many reads in a window on pauses are tried.
const READS: u32 = 16;
/// A read of so many bytes has gathered enough; one of so many found more than should wait.
const ENOUGH: usize = 1024;
const TOO_MUCH: usize = 32 << 10;
/// With so many requests in flight no single answer is waited for.
const MANY: usize = 256;
/// Pauses after which is looked whether they pay, and after which the rate without them is measured again.
const TRIAL: u32 = 4;
const ROUND: u32 = 64;
/// For how long there are none where they did not pay, at first and at most.
const PENALTY: Duration = Duration::from_millis(16);
const MAX_PENALTY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Counts reads.
    Watching,
    /// Pauses between reads, so many times yet.
    Pausing { until: Instant, left: u32 },
    /// Pauses did not pay.
    Off { until: Instant },
}

pub(super) struct Pace {
    state: State,
    /// What was read since.
    since: Instant,
    reads: u32,
    bytes: usize,
    /// Whether the application has published meanwhile.
    published: bool,
    /// Bytes per second before there were pauses.
    rate: u64,
    penalty: Duration,
    enabled: bool,
}

impl Pace {
    pub(super) fn new(now: Instant, enabled: bool) -> Self {
        Self {
            state: State::Watching,
            since: now,
            reads: 0,
            bytes: 0,
            published: false,
            rate: 0,
            penalty: PENALTY,
            enabled,
        }
    }

    /// The application has published.
    pub(super) const fn published(&mut self) {
        self.published = true;
    }

    /// Until when reading pauses.
    pub(super) fn pause(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Pausing { until, .. } if now < until => Some(until),
            _ => None,
        }
    }

    /// So many bytes were read, and so many requests are in flight.
    pub(super) fn read(&mut self, now: Instant, bytes: usize, in_flight: usize) {
        if !self.enabled {
            return;
        }
        self.reads = self.reads.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        let nobody_waits = !self.published || in_flight >= MANY;
        match self.state {
            State::Watching if bytes >= ENOUGH => self.start(now, State::Watching),
            State::Watching if now.saturating_duration_since(self.since) >= PAUSE => {
                let is_busy = self.reads >= READS && nobody_waits;
                self.rate = self.rate(now);
                // Many reads over a long time are few.
                let is_busy = is_busy && now.saturating_duration_since(self.since) < PAUSE.saturating_mul(2);
                self.start(now, if is_busy { pausing(now, ROUND) } else { State::Watching });
            }
            State::Watching => {}
            State::Pausing { .. } if !nobody_waits || bytes >= TOO_MUCH => self.start(now, State::Watching),
            State::Pausing { left, .. } => {
                let paused = ROUND.saturating_sub(left).saturating_add(1);
                if paused >= TRIAL && self.rate(now) < self.rate {
                    let until = now.checked_add(self.penalty).unwrap_or(now);
                    self.penalty = self.penalty.saturating_mul(2).min(MAX_PENALTY);
                    self.start(now, State::Off { until });
                } else if paused >= ROUND {
                    self.penalty = PENALTY;
                    self.start(now, State::Watching);
                } else {
                    self.state = pausing(now, left.saturating_sub(1));
                    self.published = false;
                }
            }
            State::Off { until } if now >= until => self.start(now, State::Watching),
            State::Off { .. } => {}
        }
    }

    fn start(&mut self, now: Instant, state: State) {
        self.state = state;
        self.since = now;
        self.reads = 0;
        self.bytes = 0;
        self.published = false;
    }

    fn rate(&self, now: Instant) -> u64 {
        let micros = now.saturating_duration_since(self.since).as_micros().max(1);
        let rate = (self.bytes as u128).saturating_mul(1_000_000).checked_div(micros).unwrap_or(0);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

fn pausing(now: Instant, left: u32) -> State {
    State::Pausing { until: now.checked_add(PAUSE).unwrap_or(now), left }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]

    use super::*;

    /// Reads so often and so much, one after the other; how many of them came after a pause.
    fn reads(pace: &mut Pace, now: &mut Instant, n: u32, every: Duration, bytes: usize) -> u32 {
        let mut pauses = 0;
        for _ in 0..n {
            *now += every;
            if let Some(until) = pace.pause(*now) {
                pauses += 1;
                *now = until;
            }
            pace.read(*now, bytes, 0);
        }
        pauses
    }

    const OFTEN: Duration = Duration::from_micros(20);

    #[tokio::test(start_paused = true)]
    async fn quick_small_reads_are_gathered_and_slow_or_large_ones_are_not() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, true);
        assert_eq!(reads(&mut pace, &mut now, 1000, Duration::from_micros(100), 80), 0);
        assert_eq!(reads(&mut pace, &mut now, 1000, OFTEN, 4096), 0);
        assert_eq!(reads(&mut pace, &mut now, 50, OFTEN, 80), 0);
        // The server goes on sending meanwhile.
        assert!(reads(&mut pace, &mut now, 60, OFTEN, 80 * 60) > 50);
        let mut pace = Pace::new(now, false);
        assert_eq!(reads(&mut pace, &mut now, 1000, OFTEN, 80), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_waits_for_us_is_not_kept_waiting() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, true);
        // It sends no more than before, however long the pause.
        let pauses = reads(&mut pace, &mut now, 100_000, OFTEN, 80);
        assert!((4..60).contains(&pauses), "{pauses}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_publishes_in_between_is_not_kept_waiting() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, true);
        for _ in 0..1000 {
            pace.published();
            assert_eq!(reads(&mut pace, &mut now, 1, OFTEN, 80), 0);
        }
        // With much in flight no single answer is waited for.
        let mut pauses = 0;
        for _ in 0..1000 {
            pace.published();
            now += OFTEN;
            pace.read(now, 80, 500);
            pauses += u32::from(pace.pause(now).is_some());
        }
        assert!(pauses > 0);
    }
}
