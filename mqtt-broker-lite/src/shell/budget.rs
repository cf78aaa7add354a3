//! One budget of memory for the whole broker: what is taken is asked of who knows (the allocator of the program), and the
//! shards are told how short it is.

use crate::core::Pressure;
use std::sync::Arc;

/// From this part of the budget on nothing waits for slow readers that does not have to.
const TIGHT: usize = 128;
/// A pressure ends only when so much of what began it is free again: what it gave up would come back at once otherwise, and
/// go again.
const EASE: usize = 8;

#[derive(Clone)]
pub(super) struct Budget {
    pub(super) limit: usize,
    pub(super) used: Arc<dyn Fn() -> usize + Send + Sync>,
}

impl Budget {
    pub(super) fn used(&self) -> usize {
        (self.used)()
    }

    /// How short memory is now, where it was as short as this before.
    pub(super) fn pressure(&self, before: Pressure) -> Pressure {
        let used = self.used();
        let steps = [
            (Pressure::Exhausted, self.limit),
            (Pressure::Scarce, (self.limit / 4).saturating_mul(3)),
            (Pressure::Tight, self.limit / TIGHT),
        ];
        let holds = |&&(pressure, from): &&(Pressure, usize)| {
            let from = if pressure <= before { from.saturating_sub(from / EASE) } else { from };
            used >= from
        };
        steps.iter().find(holds).map_or(Pressure::None, |(pressure, _)| *pressure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Pressure::{Exhausted, None, Scarce, Tight};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// What is said as the memory that is taken changes.
    fn said<const N: usize>(taken: [usize; N]) -> [Pressure; N] {
        let now = Arc::new(AtomicUsize::new(0));
        let used = Arc::clone(&now);
        let budget = Budget { limit: 12_800, used: Arc::new(move || used.load(Ordering::Relaxed)) };
        let mut pressure = None;
        taken.map(|bytes| {
            now.store(bytes, Ordering::Relaxed);
            pressure = budget.pressure(pressure);
            pressure
        })
    }

    #[test]
    fn the_less_there_is_the_more_is_given_up() {
        let taken = [0, 99, 100, 9599, 9600, 12_799, 12_800, usize::MAX];
        assert_eq!(said(taken), [None, None, Tight, Tight, Scarce, Scarce, Exhausted, Exhausted]);
    }

    #[test]
    fn a_pressure_ends_well_below_where_it_began() {
        assert_eq!(said([12_800, 12_799, 11_200, 11_199]), [Exhausted, Exhausted, Exhausted, Scarce]);
        assert_eq!(said([9600, 9599, 8400, 8399]), [Scarce, Scarce, Scarce, Tight]);
        assert_eq!(said([100, 99, 88, 87, 99]), [Tight, Tight, Tight, None, None]);
        // All at once.
        assert_eq!(said([usize::MAX, 0]), [Exhausted, None]);
    }

    #[test]
    fn at_the_border_it_does_not_flutter() {
        let mut taken = [0; 1000];
        for (turn, taken) in taken.iter_mut().enumerate() {
            *taken = if turn % 2 == 0 { 9600 } else { 9590 };
        }
        let changes = said(taken).windows(2).filter(|two| two[0] != two[1]).count();
        assert_eq!(changes, 0);
    }
}
