//! One budget of memory for the whole broker: what is taken is asked of who knows (the allocator of the program), and the
//! shards are told how short it is.

use crate::core::Pressure;
use std::sync::Arc;

/// From this part of the budget on nothing waits for slow readers that does not have to.
const TIGHT: usize = 128;

#[derive(Clone)]
pub(super) struct Budget {
    pub(super) limit: usize,
    pub(super) used: Arc<dyn Fn() -> usize + Send + Sync>,
}

impl Budget {
    pub(super) fn pressure(&self) -> Pressure {
        let used = (self.used)();
        if used >= self.limit {
            Pressure::Exhausted
        } else if used >= (self.limit / 4).saturating_mul(3) {
            Pressure::Scarce
        } else if used >= self.limit / TIGHT {
            Pressure::Tight
        } else {
            Pressure::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_less_there_is_the_more_is_given_up() {
        let taken = Arc::new(AtomicUsize::new(0));
        let used = Arc::clone(&taken);
        let budget = Budget { limit: 12_800, used: Arc::new(move || used.load(Ordering::Relaxed)) };
        let said = [0, 99, 100, 9599, 9600, 12_799, 12_800, usize::MAX].map(|bytes| {
            taken.store(bytes, Ordering::Relaxed);
            budget.pressure()
        });
        use Pressure::{Exhausted, None, Scarce, Tight};
        assert_eq!(said, [None, None, Tight, Tight, Scarce, Scarce, Exhausted, Exhausted]);
    }
}
