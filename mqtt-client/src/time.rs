//! Time in milliseconds, from a clock that may start anywhere and may wrap.
//!
//! Nothing below a shell reads a clock: each input of the engine carries an [`Instant`]. Two instants are compared by
//! their distance around the clock, so a 32-bit counter that overflows every 49.7 days is as good as any.

/// A length of time in milliseconds, at most about 24.8 days where it makes a deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u32);

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest distance that two instants can be told apart by: 2^31 - 1 milliseconds.
    pub const MAX: Self = Self(i32::MAX as u32);

    /// So many milliseconds; what is longer than [`MAX`](Self::MAX) is that.
    pub const fn from_millis(millis: u32) -> Self {
        if millis > Self::MAX.0 { Self::MAX } else { Self(millis) }
    }

    /// So many seconds; what is longer than [`MAX`](Self::MAX) is that.
    pub const fn from_secs(secs: u32) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// The length in milliseconds.
    pub const fn as_millis(self) -> u32 {
        self.0
    }
}

#[cfg(feature = "std")]
impl From<core::time::Duration> for Duration {
    fn from(duration: core::time::Duration) -> Self {
        Self::from_millis(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
    }
}

#[cfg(feature = "std")]
impl From<Duration> for core::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_millis(duration.0.into())
    }
}

/// A point in time of a clock that only goes forward. It has no order of its own: ask [`is_after`](Self::is_after).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Instant(u32);

impl Instant {
    /// The instant at which the clock shows so many milliseconds.
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis)
    }

    /// What the clock shows at this instant, in milliseconds.
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// This instant or a later one, seen from `earlier`.
    pub const fn is_at_or_after(self, earlier: Self) -> bool {
        self.0.wrapping_sub(earlier.0) <= Duration::MAX.0
    }

    /// A later instant than `earlier`.
    pub const fn is_after(self, earlier: Self) -> bool {
        !earlier.is_at_or_after(self)
    }

    /// How much later than `earlier` this is; zero where it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        if self.is_at_or_after(earlier) { Duration(self.0.wrapping_sub(earlier.0)) } else { Duration::ZERO }
    }

    /// The instant that is `duration` later.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.wrapping_add(duration.0))
    }

    /// The earlier of the two.
    #[must_use]
    pub const fn earlier(self, other: Self) -> Self {
        if other.is_at_or_after(self) { self } else { other }
    }
}
