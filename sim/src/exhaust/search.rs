//! The search: every state is gone on from once, or again where more may go wrong than before.

use super::world::{Budget, State, Step, World};
use super::{Case, Found};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// More than there are processors.
const SHELVES: usize = 256;

/// How many states a thread takes at once.
const HANDFUL: usize = 256;

/// How each state was come to, for the way to one that breaks a promise.
type Ways = HashMap<(State, Budget), (State, Budget, Step)>;

/// The budgets with which a state is gone on from, bit by bit.
type Budgets = u16;

pub(super) struct Search<'t> {
    case: Case,
    world: World,
    hasher: RandomState,
    known: Vec<Mutex<HashMap<State, Budgets>>>,
    states: AtomicU64,
    steps: AtomicU64,
    ends: AtomicU64,
    broken: Mutex<Option<(State, Budget, String)>>,
    is_over: AtomicBool,
    most: u64,
    ways: Option<Mutex<Ways>>,
    tell: &'t (dyn Fn(&Found) + Sync),
}

impl<'t> Search<'t> {
    /// # Panics
    /// If so much may go wrong that it cannot be counted.
    pub(super) fn new(case: Case, most: u64, keeps_ways: bool, tell: &'t (dyn Fn(&Found) + Sync)) -> Self {
        assert!((case.cuts + 1) * (case.crashes + 1) <= 16, "fewer cuts and crashes, please");
        Self {
            case,
            world: World::new(case),
            hasher: RandomState::new(),
            known: (0..SHELVES).map(|_| Mutex::default()).collect(),
            states: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            ends: AtomicU64::new(0),
            broken: Mutex::new(None),
            is_over: AtomicBool::new(false),
            most,
            ways: keeps_ways.then(Mutex::default),
            tell,
        }
    }

    pub(super) fn run(&self, threads: usize) -> Found {
        let all = Budget { cuts: self.case.cuts as u8, crashes: self.case.crashes as u8 };
        let first = self.world.first();
        let mut waiting: HashMap<Budget, Vec<State>> = HashMap::new();
        self.come(first, all, None);
        waiting.insert(all, vec![first]);
        // First everything where more may go wrong.
        let mut budgets: Vec<_> = (0..=all.cuts)
            .flat_map(|cuts| (0..=all.crashes).map(move |crashes| Budget { cuts, crashes }))
            .collect();
        budgets.sort_by_key(|budget| std::cmp::Reverse(budget.cuts + budget.crashes));
        for budget in budgets {
            while let Some(wave) = waiting.remove(&budget).filter(|wave| !wave.is_empty()) {
                for (budget, mut states) in self.wave(&wave, budget, threads) {
                    waiting.entry(budget).or_default().append(&mut states);
                }
                if wave.len() > 10_000 {
                    (self.tell)(&self.found());
                }
            }
        }
        self.found()
    }

    fn found(&self) -> Found {
        let broken = self.broken.lock().expect("no thread panics");
        let (part_states, part_steps) = self.world.size();
        Found {
            states: self.states.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
            ends: self.ends.load(Ordering::Relaxed),
            part_states,
            part_steps,
            broken: broken.as_ref().map(|(state, budget, what)| (self.way(*state, *budget), what.clone())),
            is_whole: !self.is_over.load(Ordering::Relaxed),
        }
    }

    /// Goes on from all of these states; what is new by that.
    fn wave(&self, states: &[State], budget: Budget, threads: usize) -> Vec<(Budget, Vec<State>)> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut new: HashMap<Budget, Vec<State>> = HashMap::new();
            loop {
                let from = next.fetch_add(HANDFUL, Ordering::Relaxed);
                if from >= states.len() || self.is_over.load(Ordering::Relaxed) {
                    return new;
                }
                for state in &states[from..states.len().min(from + HANDFUL)] {
                    self.go_on(*state, budget, &mut new);
                }
            }
        };
        if states.len() < HANDFUL {
            return work().into_iter().collect();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
        })
    }

    fn go_on(&self, state: State, budget: Budget, new: &mut HashMap<Budget, Vec<State>>) {
        if self.is_covered(state, budget) {
            return;
        }
        let mut steps = 0;
        self.world.go_on(state, budget, |next, left, step| {
            steps += 1;
            if self.come(next, left, Some((state, budget, step))) {
                new.entry(left).or_default().push(next);
            }
        });
        self.steps.fetch_add(steps, Ordering::Relaxed);
    }

    fn shelf(&self, state: State) -> &Mutex<HashMap<State, Budgets>> {
        &self.known[self.hasher.hash_one(state) as usize % SHELVES]
    }

    /// The bit of a budget.
    fn bit(&self, budget: Budget) -> Budgets {
        1 << (usize::from(budget.crashes) * (self.case.cuts + 1) + usize::from(budget.cuts))
    }

    /// The bits of all budgets with which as much can happen as with this one.
    fn no_smaller(&self, budget: Budget) -> Budgets {
        let cuts = budget.cuts..=self.case.cuts as u8;
        let all = cuts.flat_map(|cuts| {
            (budget.crashes..=self.case.crashes as u8).map(move |crashes| Budget { cuts, crashes })
        });
        all.map(|budget| self.bit(budget)).sum()
    }

    /// Whether a state was come to with more since it was left for later with this budget.
    fn is_covered(&self, state: State, budget: Budget) -> bool {
        let shelf = self.shelf(state).lock().expect("no thread panics");
        shelf.get(&state).is_some_and(|known| known & self.no_smaller(budget) & !self.bit(budget) != 0)
    }

    /// Comes to a state; true if it is to be gone on from.
    fn come(&self, state: State, budget: Budget, from: Option<(State, Budget, Step)>) -> bool {
        let is_state_new = {
            let mut shelf = self.shelf(state).lock().expect("no thread panics");
            let known = shelf.entry(state).or_default();
            if *known & self.no_smaller(budget) != 0 {
                return false;
            }
            std::mem::replace(known, *known | self.bit(budget)) == 0
        };
        if let (Some(ways), Some(from)) = (&self.ways, from) {
            ways.lock().expect("no thread panics").insert((state, budget), from);
        }
        if is_state_new {
            let is_end = self.world.is_end(state);
            self.ends.fetch_add(u64::from(is_end), Ordering::Relaxed);
            if let Some(what) = self.world.broken(state, is_end) {
                self.broken.lock().expect("no thread panics").get_or_insert((state, budget, what));
                self.is_over.store(true, Ordering::Relaxed);
            }
            if self.states.fetch_add(1, Ordering::Relaxed) + 1 >= self.most {
                self.is_over.store(true, Ordering::Relaxed);
            }
        }
        true
    }

    /// The steps to a state, if they were kept.
    fn way(&self, mut state: State, mut budget: Budget) -> Vec<Step> {
        let Some(ways) = self.ways.as_ref().map(|ways| ways.lock().expect("no thread panics")) else {
            return Vec::new();
        };
        let mut steps = Vec::new();
        while let Some((before, left, step)) = ways.get(&(state, budget)) {
            steps.push(*step);
            (state, budget) = (*before, *left);
        }
        steps.reverse();
        steps
    }
}
