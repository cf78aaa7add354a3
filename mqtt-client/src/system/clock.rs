//! The system's monotonic clock.

use crate::time::Instant;
use crate::timer::Timer;

/// The system's monotonic clock, in milliseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub struct SystemTimer(std::time::Instant);

impl SystemTimer {
    /// A clock that shows 0 now.
    pub fn new() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Default for SystemTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for SystemTimer {
    fn now(&mut self) -> Instant {
        // What is above 32 bits is what wraps.
        Instant::from_millis(self.0.elapsed().as_millis() as u32)
    }
}
