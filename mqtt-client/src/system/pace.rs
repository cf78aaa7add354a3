//! When to let messages gather before they are read.
//!
//! A busy server writes each message and each acknowledgement by itself. To be woken for every one of them costs this
//! side a turn and a system call, and the server the wake-up: together more than the message. So where small reads
//! follow each other very quickly, reading pauses between them. It does so only where nobody waits for the next byte -
//! the application does not publish in between, as one that answers does, or has much in flight - and goes on only
//! while as much arrives as did before: a server that waits for acknowledgements sends less then.

use std::time::{Duration, Instant};

/// Reads are counted for so long.
const WINDOW: Duration = Duration::from_millis(1);
/// From so many reads in a window on pauses are tried.
const READS: u32 = 8;
/// Reads of so many bytes have gathered enough; one of so many found more than should wait.
const ENOUGH: usize = 1024;
const TOO_MUCH: usize = 64 << 10;
/// With so many requests in flight no single answer is waited for.
const MANY: usize = 256;
/// Pauses after which is looked whether they pay.
const TRIAL: u32 = 4;
/// For how long there are pauses before the rate without them is measured again.
const ROUND: Duration = Duration::from_millis(128);
/// Where nothing came for so long after a pause, what came before is over.
const IDLE: Duration = Duration::from_millis(4);
/// For how long there are none where they did not pay, at first and at most.
const PENALTY: Duration = Duration::from_millis(16);
const MAX_PENALTY: Duration = Duration::from_millis(256);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Counts reads.
    Watching,
    /// Pauses between reads; so many have been.
    Pausing { until: Instant, paused: u32 },
    /// Pauses did not pay.
    Off { until: Instant },
}

/// When to let messages gather before they are read: for shells that read from a socket.
///
/// A shell says what it [reads](Self::read) and when the application has [published](Self::published), and does not read
/// before the end of a [pause](Self::pause).
#[derive(Debug)]
pub struct Pace {
    state: State,
    /// What was read since; `None` before the first read.
    since: Option<Instant>,
    reads: u32,
    bytes: usize,
    /// Whether somebody may wait for an answer to what was published meanwhile.
    published: bool,
    /// Bytes per second without pauses; 0 where that is not known.
    rate: u64,
    penalty: Duration,
    /// How long each pause is; zero where there are to be none.
    length: Duration,
}

impl Pace {
    /// Pauses of this length, as the timers of the shell allow it; with zero there are none.
    pub const fn new(length: Duration) -> Self {
        Self {
            state: State::Watching,
            since: None,
            reads: 0,
            bytes: 0,
            published: false,
            rate: 0,
            penalty: PENALTY,
            length,
        }
    }

    /// Whether there are ever pauses.
    pub const fn is_on(&self) -> bool {
        !self.length.is_zero()
    }

    /// Whether there may be a pause now.
    pub(super) const fn is_pausing(&self) -> bool {
        matches!(self.state, State::Pausing { .. })
    }

    /// The application has published, and so many requests are in flight.
    pub const fn published(&mut self, in_flight: usize) {
        self.published |= in_flight < MANY;
    }

    /// Until when reading pauses.
    pub fn pause(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Pausing { until, .. } if now < until => Some(until),
            _ => None,
        }
    }

    /// So many bytes were read; whether there was room for more.
    pub fn read(&mut self, now: Instant, bytes: usize, is_all: bool) {
        if !self.is_on() {
            return;
        }
        let time = now.saturating_duration_since(*self.since.get_or_insert(now));
        self.reads = self.reads.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        match self.state {
            // It gathered before: a rate has nothing of that.
            State::Watching if self.reads == 1 && bytes >= ENOUGH => self.start(now, State::Watching),
            State::Watching if time >= WINDOW => {
                let rate = self.rate(time);
                // By chance a window has far more or far less than others.
                self.rate = if self.rate == 0 { rate } else { self.rate.midpoint(rate) };
                self.decide(now, time);
            }
            State::Watching => {}
            State::Pausing { until, .. }
                if self.published || bytes >= TOO_MUCH || now.saturating_duration_since(until) > IDLE =>
            {
                self.start(now, State::Watching);
            }
            // There is more.
            State::Pausing { .. } if !is_all => {}
            State::Pausing { paused, .. } => {
                let paused = paused.saturating_add(1);
                if paused >= TRIAL && !self.pays(time) {
                    let until = later(now, self.penalty);
                    self.penalty = self.penalty.saturating_mul(2).min(MAX_PENALTY);
                    self.start(now, State::Off { until });
                } else if time >= ROUND {
                    self.penalty = PENALTY;
                    self.start(now, State::Watching);
                } else {
                    self.state = self.pausing(now, paused);
                }
            }
            State::Off { until } if now >= until => {
                self.rate = self.rate(time);
                self.decide(now, time);
            }
            State::Off { .. } => {}
        }
    }

    const fn start(&mut self, now: Instant, state: State) {
        self.state = state;
        self.since = Some(now);
        self.reads = 0;
        self.bytes = 0;
        self.published = false;
    }

    /// Pauses where many small reads followed each other and nobody waits.
    fn decide(&mut self, now: Instant, time: Duration) {
        let are_quick = WINDOW.saturating_mul(self.reads) >= time.saturating_mul(READS);
        let are_small = self.bytes < ENOUGH.saturating_mul(self.reads as usize);
        let pauses = are_quick && are_small && !self.published;
        if pauses {
            self.start(now, self.pausing(now, 0));
        } else {
            self.rate = 0;
            self.start(now, State::Watching);
        }
    }

    fn pausing(&self, now: Instant, paused: u32) -> State {
        State::Pausing { until: later(now, self.length), paused }
    }

    /// Whether about as much arrives as before. Less than before comes by chance; from a server that waits for us comes
    /// far less.
    fn pays(&self, time: Duration) -> bool {
        self.rate(time) >= self.rate.saturating_sub(self.rate / 4)
    }

    fn rate(&self, time: Duration) -> u64 {
        let micros = time.as_micros().max(1);
        let rate = (self.bytes as u128).saturating_mul(1_000_000).checked_div(micros).unwrap_or(0);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

fn later(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or(now)
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
            pace.read(*now, bytes, true);
        }
        pauses
    }

    const PAUSE: Duration = Duration::from_millis(1);
    const OFTEN: Duration = Duration::from_micros(20);

    #[test]
    fn quick_small_reads_are_gathered_and_slow_or_large_ones_are_not() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PAUSE);
        assert_eq!(reads(&mut pace, &mut now, 1000, Duration::from_micros(200), 80), 0);
        assert_eq!(reads(&mut pace, &mut now, 1000, OFTEN, 4096), 0);
        assert_eq!(reads(&mut pace, &mut now, 50, OFTEN, 80), 0);
        // The server goes on sending meanwhile.
        assert!(reads(&mut pace, &mut now, 60, OFTEN, 80 * 60) > 50);
        assert_eq!(reads(&mut Pace::new(Duration::ZERO), &mut now, 1000, OFTEN, 80), 0);
    }

    #[test]
    fn a_server_that_waits_for_us_is_not_kept_waiting() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PAUSE);
        // It sends no more than before, however long the pause.
        let pauses = reads(&mut pace, &mut now, 100_000, OFTEN, 80);
        assert!((4..60).contains(&pauses), "{pauses}");
    }

    #[test]
    fn what_gathered_before_a_window_is_no_rate() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PAUSE);
        assert_eq!(reads(&mut pace, &mut now, 51, OFTEN, 80), 0);
        // The server goes on sending for a whole round; more than in a window has gathered at its end.
        while reads(&mut pace, &mut now, 1, OFTEN, 4000) > 0 {}
        reads(&mut pace, &mut now, 1, OFTEN, 20_000);
        assert_eq!(reads(&mut pace, &mut now, 50, OFTEN, 80), 0);
        assert!(reads(&mut pace, &mut now, 60, OFTEN, 4000) > 50);
    }

    #[test]
    fn a_burst_that_is_over_is_no_server_that_waits() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PAUSE);
        let mut pauses = 0;
        for _ in 0..20 {
            assert_eq!(reads(&mut pace, &mut now, 50, OFTEN, 80), 0);
            pauses += reads(&mut pace, &mut now, 10, OFTEN, 4000);
            now += Duration::from_millis(50);
            pace.read(now, 80, true);
        }
        assert!(pauses > 180, "{pauses}");
    }

    #[test]
    fn a_read_without_room_for_more_goes_on_at_once() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PAUSE);
        reads(&mut pace, &mut now, 52, OFTEN, 80);
        assert!(pace.pause(now).is_some());
        now += PAUSE;
        pace.read(now, 4000, false);
        assert_eq!(pace.pause(now), None);
        pace.read(now, 400, true);
        assert!(pace.pause(now).is_some());
    }

    #[test]
    fn who_publishes_in_between_is_not_kept_waiting() {
        let mut now = Instant::now();
        let mut pace = Pace::new(PAUSE);
        for _ in 0..1000 {
            pace.published(1);
            assert_eq!(reads(&mut pace, &mut now, 1, OFTEN, 80), 0);
        }
        // With much in flight no single answer is waited for.
        let mut pauses = 0;
        for _ in 0..1000 {
            pace.published(500);
            pauses += reads(&mut pace, &mut now, 1, OFTEN, 80);
        }
        assert!(pauses > 0);
    }
}
