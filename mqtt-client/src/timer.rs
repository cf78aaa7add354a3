//! The clock of a blocking client.

use crate::time::Instant;

/// A clock that only goes forward, whatever happens to the time of day. It may start anywhere and may wrap after 2^32
/// milliseconds.
pub trait Timer {
    /// What the clock shows now.
    fn now(&mut self) -> Instant;
}

impl<T: Timer + ?Sized> Timer for &mut T {
    fn now(&mut self) -> Instant {
        (**self).now()
    }
}
