//! A part of a small world that hears and answers, as an automaton that is found out about step by step: each state is
//! known by its number, and what comes of an input in a state is looked up, once it was tried. To try it the part does
//! again what first led to that state, because neither engine nor shard can be copied.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, RwLock};

/// A part of a world.
pub(super) trait Part: Sync {
    /// What it hears.
    type Input: Copy + Eq + Hash + Send + Sync;
    /// What it answers.
    type Output: Copy + Default + Send + Sync;
    /// What others have to know about its state.
    type Facts: Copy + Send + Sync;

    /// What comes of these inputs, one after the other.
    fn run(&self, inputs: &[Self::Input]) -> Ran<Self::Output, Self::Facts>;
}

/// Where inputs led to.
pub(super) struct Ran<O, F> {
    /// What tells the state from others.
    pub(super) identity: u128,
    /// What the last input was answered.
    pub(super) output: O,
    pub(super) facts: F,
    /// What is wrong, or unfinished, in words.
    pub(super) words: String,
}

/// How a state was come to first.
struct Known<P: Part> {
    before: u32,
    input: Option<P::Input>,
    facts: P::Facts,
}

/// What comes of an input in a state.
type Steps<P> = HashMap<(u32, <P as Part>::Input), (u32, <P as Part>::Output)>;

/// More than there are processors.
const SHELVES: usize = 64;

pub(super) struct Automaton<P: Part> {
    part: P,
    hasher: RandomState,
    numbers: Mutex<HashMap<u128, u32>>,
    known: RwLock<Vec<Known<P>>>,
    steps: Vec<RwLock<Steps<P>>>,
    /// Everything that was asked for.
    #[cfg(test)]
    heard: Mutex<Vec<P::Input>>,
}

impl<P: Part> Automaton<P> {
    /// Where it begins.
    pub(super) const FIRST: u32 = 0;

    pub(super) fn new(part: P) -> Self {
        let first = part.run(&[]);
        Self {
            part,
            hasher: RandomState::new(),
            numbers: Mutex::new(HashMap::from([(first.identity, Self::FIRST)])),
            known: RwLock::new(vec![Known { before: Self::FIRST, input: None, facts: first.facts }]),
            steps: (0..SHELVES).map(|_| RwLock::default()).collect(),
            #[cfg(test)]
            heard: Mutex::default(),
        }
    }

    /// How many states are known, and how many steps.
    pub(super) fn size(&self) -> (usize, usize) {
        let steps = self.steps.iter().map(|shelf| shelf.read().expect("no thread panics").len());
        (self.known.read().expect("no thread panics").len(), steps.sum())
    }

    pub(super) fn facts(&self, state: u32) -> P::Facts {
        self.known.read().expect("no thread panics")[state as usize].facts
    }

    /// What comes of an input: the next state, and the answer.
    pub(super) fn step(&self, state: u32, input: P::Input) -> (u32, P::Output) {
        #[cfg(test)]
        self.heard.lock().unwrap().push(input);
        let key = (state, input);
        let shelf = &self.steps[self.hasher.hash_one(key) as usize % SHELVES];
        if let Some(step) = shelf.read().expect("no thread panics").get(&key) {
            return *step;
        }
        let mut inputs = self.history(state);
        inputs.push(input);
        let ran = self.part.run(&inputs);
        let step = (self.number(ran.identity, state, input, ran.facts), ran.output);
        shelf.write().expect("no thread panics").insert(key, step);
        step
    }

    fn number(&self, identity: u128, before: u32, input: P::Input, facts: P::Facts) -> u32 {
        let mut numbers = self.numbers.lock().expect("no thread panics");
        *numbers.entry(identity).or_insert_with(|| {
            let mut known = self.known.write().expect("no thread panics");
            known.push(Known { before, input: Some(input), facts });
            u32::try_from(known.len() - 1).expect("so many do not fit memory")
        })
    }

    /// The inputs that led to a state first.
    fn history(&self, mut state: u32) -> Vec<P::Input> {
        let known = self.known.read().expect("no thread panics");
        let mut inputs = Vec::new();
        while let Some(input) = known[state as usize].input {
            inputs.push(input);
            state = known[state as usize].before;
        }
        inputs.reverse();
        inputs
    }

    /// What is wrong, or unfinished, in a state.
    pub(super) fn words(&self, state: u32) -> String {
        self.part.run(&self.history(state)).words
    }

    /// Everything that was asked for since the last time.
    #[cfg(test)]
    pub(super) fn heard(&self) -> Vec<P::Input> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    /// What really comes of inputs, not looked up, and whether that is this state.
    #[cfg(test)]
    pub(super) fn is_where(&self, inputs: &[P::Input], state: u32) -> bool {
        self.numbers.lock().unwrap().get(&self.part.run(inputs).identity) == Some(&state)
    }
}

/// Values that are known by their numbers.
pub(super) struct Names<T>(RwLock<Named<T>>);

struct Named<T> {
    numbers: HashMap<Arc<T>, u32>,
    values: Vec<Arc<T>>,
}

impl<T: Eq + Hash + Default> Default for Names<T> {
    /// The default value is number 0.
    fn default() -> Self {
        let names = Self(RwLock::new(Named { numbers: HashMap::new(), values: Vec::new() }));
        names.number(T::default());
        names
    }
}

impl<T: Eq + Hash> Names<T> {
    pub(super) fn number(&self, value: T) -> u32 {
        let mut names = self.0.write().expect("no thread panics");
        if let Some(&number) = names.numbers.get(&value) {
            return number;
        }
        let number = u32::try_from(names.values.len()).expect("so many do not fit memory");
        let value = Arc::new(value);
        names.values.push(Arc::clone(&value));
        names.numbers.insert(value, number);
        number
    }

    pub(super) fn value(&self, number: u32) -> Arc<T> {
        Arc::clone(&self.0.read().expect("no thread panics").values[number as usize])
    }
}
