//! One batch: the last word on each key, a number and a checksum.

use super::record::Kind;
use fjall::Slice;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use xxhash_rust::xxh3::Xxh3;

/// The changes of a batch, each key once: what is put and removed again before it was ever written is not written.
/// One after another uses the same memory.
#[derive(Debug, Default)]
pub(super) struct Batch {
    steps: Vec<Step>,
    index: HashMap<(Kind, Slice), usize>,
}

#[derive(Debug)]
struct Step {
    kind: Kind,
    key: Slice,
    value: Option<Slice>,
    /// It was not there before this batch.
    is_new: bool,
    is_void: bool,
}

impl Batch {
    /// Under which key of [`Kind::Meta`] a batch has its number and checksum.
    pub(super) const KEY: &'static [u8] = b"batch";
    /// Under which key is up to which batch everything of the log is here; it comes right before that.
    pub(super) const LOG: &'static [u8] = b"log";

    pub(super) fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.is_void)
    }

    /// How many steps it has at most.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn put(&mut self, kind: Kind, key: Slice, value: Slice) {
        if let Some(step) = self.find(kind, &key) {
            step.value = Some(value);
            step.is_void = false;
            return;
        }
        // Numbers of messages and places in queues are given once.
        let is_new = matches!(kind, Kind::Message | Kind::Queue);
        self.steps.push(Step { kind, key, value: Some(value), is_new, is_void: false });
    }

    pub(super) fn remove(&mut self, kind: Kind, key: Slice) {
        if let Some(step) = self.find(kind, &key) {
            step.value = None;
            step.is_void = step.is_new;
            return;
        }
        self.steps.push(Step { kind, key, value: None, is_new: false, is_void: false });
    }

    /// The step of a key; if there is none, the next that is added is taken for it.
    fn find(&mut self, kind: Kind, key: &Slice) -> Option<&mut Step> {
        let next = self.steps.len();
        match self.index.entry((kind, key.clone())) {
            Entry::Occupied(at) => self.steps.get_mut(*at.get()),
            Entry::Vacant(free) => {
                free.insert(next);
                None
            }
        }
    }

    /// What is to be written, in order, with the number and the checksum at the end. Afterwards the batch is empty.
    pub(super) fn finish(&mut self, number: u64) -> impl Iterator<Item = (Kind, Slice, Option<Slice>)> {
        self.index.clear();
        self.steps.retain(|step| !step.is_void);
        let mut sum = Xxh3::new();
        for step in &self.steps {
            add(&mut sum, &step.key, step.value.as_deref());
        }
        sum.update(&number.to_be_bytes());
        let mut seal = [0; 16];
        let (first, second) = seal.split_at_mut(8);
        first.copy_from_slice(&number.to_be_bytes());
        second.copy_from_slice(&sum.digest().to_be_bytes());
        let steps = self.steps.drain(..).map(|step| (step.kind, step.key, step.value));
        steps.chain([(Kind::Meta, Self::KEY.into(), Some(seal.into()))])
    }

    /// The number in a seal.
    pub(super) fn number(seal: &[u8]) -> Option<u64> {
        let (number, sum) = seal.split_first_chunk::<8>()?;
        (sum.len() == 8).then(|| u64::from_be_bytes(*number))
    }
}

/// What of a record is checked: which it is and what it says.
pub(super) fn add(sum: &mut Xxh3, key: &[u8], value: Option<&[u8]>) {
    sum.update(&(key.len() as u64).to_be_bytes());
    sum.update(key);
    sum.update(&value.map_or(u64::MAX, |value| value.len() as u64).to_be_bytes());
    sum.update(value.unwrap_or_default());
}
