//! Milliseconds since the start, counted by SysTick's interrupt, as the client's `Timer`.

use crate::board::BOARD;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::exception;
use mqtt_client::{Instant, Timer};

static MILLIS: AtomicU32 = AtomicU32::new(0);

/// The running clock.
#[derive(Clone, Copy)]
pub struct Clock(());

impl Clock {
    /// Starts counting.
    pub fn start(mut systick: SYST) -> Self {
        systick.set_clock_source(SystClkSource::Core);
        systick.set_reload(BOARD.cycles_per_milli - 1);
        systick.clear_current();
        systick.enable_interrupt();
        systick.enable_counter();
        Self(())
    }
}

impl Timer for Clock {
    fn now(&mut self) -> Instant {
        Instant::from_millis(MILLIS.load(Ordering::Relaxed))
    }
}

#[exception]
fn SysTick() {
    // The only writer: no read-modify-write, which a Cortex-M0 does not have.
    MILLIS.store(MILLIS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}
