//! When to connect again, and whether.

use crate::time::Duration;
use mqtt_packet::ReasonCode;

/// How long to wait before the next attempt: a random part of a time that doubles with each attempt (full jitter), so
/// that many clients which lost their server together do not come back together.
///
/// ```
/// use mqtt_client::{Backoff, Duration};
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
/// let random = 0x8000_0000; // From a random number generator.
/// assert_eq!(backoff.next(random), Duration::from_millis(500));
/// assert_eq!(backoff.next(random), Duration::from_secs(1));
/// backoff.reset(); // Connected.
/// assert_eq!(backoff.next(random), Duration::from_millis(500));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    limit: Duration,
}

impl Backoff {
    /// At most `first` before the first attempt, and never more than `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, limit: first }
    }

    /// How long to wait now; `random` is any number, evenly distributed.
    #[allow(clippy::should_implement_trait)] // It never ends, and takes a number.
    pub fn next(&mut self, random: u32) -> Duration {
        let limit = self.limit.min(self.most);
        self.limit = Duration::from_millis(limit.as_millis().saturating_mul(2));
        // The upper half of the product is below the limit.
        let part = u64::from(limit.as_millis()).wrapping_mul(random.into()) >> 32;
        Duration::from_millis(part as u32)
    }

    /// A connection was accepted: the next loss begins anew.
    pub const fn reset(&mut self) {
        self.limit = self.first;
    }
}

/// 1 second, then doubled up to 2 minutes.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(120))
    }
}

/// Whether the same CONNECT to the same server can succeed later, after it was refused, or the connection ended, for
/// this reason. If not, somebody has to change something first.
pub const fn is_worth_retrying(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::SUCCESS
            | ReasonCode::UNSPECIFIED_ERROR
            | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
            | ReasonCode::SERVER_UNAVAILABLE
            | ReasonCode::SERVER_BUSY
            | ReasonCode::SERVER_SHUTTING_DOWN
            | ReasonCode::KEEP_ALIVE_TIMEOUT
            | ReasonCode::RECEIVE_MAXIMUM_EXCEEDED
            | ReasonCode::MESSAGE_RATE_TOO_HIGH
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::ADMINISTRATIVE_ACTION
            | ReasonCode::CONNECTION_RATE_EXCEEDED
            | ReasonCode::MAXIMUM_CONNECT_TIME
    )
}
