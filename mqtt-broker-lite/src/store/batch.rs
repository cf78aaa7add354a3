//! One batch: the last word on each key, a number and a checksum.

use super::record::Kind;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use xxhash_rust::xxh3::Xxh3;

/// The changes of a batch, each key once: what is put and removed again before it was ever written is not written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    steps: Vec<Step>,
    index: HashMap<(Kind, Vec<u8>), usize>,
}

#[derive(Debug)]
struct Step {
    kind: Kind,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    /// It was not there before this batch.
    is_new: bool,
    is_void: bool,
}

impl Batch {
    /// Under which key of [`Kind::Meta`] a batch has its number and checksum.
    pub(super) const KEY: &'static [u8] = b"batch";

    pub(super) fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.is_void)
    }

    pub(super) fn put(&mut self, kind: Kind, key: Vec<u8>, value: Vec<u8>) {
        if let Some(step) = self.find(kind, &key) {
            step.value = Some(value);
            step.is_void = false;
            return;
        }
        // Numbers of messages and places in queues are given once.
        let is_new = matches!(kind, Kind::Message | Kind::Queue);
        self.steps.push(Step { kind, key, value: Some(value), is_new, is_void: false });
    }

    pub(super) fn remove(&mut self, kind: Kind, key: Vec<u8>) {
        if let Some(step) = self.find(kind, &key) {
            step.value = None;
            step.is_void = step.is_new;
            return;
        }
        self.steps.push(Step { kind, key, value: None, is_new: false, is_void: false });
    }

    /// The step of a key; if there is none, the next that is added is taken for it.
    fn find(&mut self, kind: Kind, key: &[u8]) -> Option<&mut Step> {
        let next = self.steps.len();
        match self.index.entry((kind, key.to_vec())) {
            Entry::Occupied(at) => self.steps.get_mut(*at.get()),
            Entry::Vacant(free) => {
                free.insert(next);
                None
            }
        }
    }

    /// Takes back everything of this batch under a prefix.
    pub(super) fn forget(&mut self, kind: Kind, prefix: &[u8]) {
        for step in &mut self.steps {
            if step.kind == kind && step.key.starts_with(prefix) {
                step.value = None;
                step.is_void = step.is_new;
            }
        }
    }

    /// What is to be written, in order, with the number and the checksum at the end.
    pub(super) fn finish(self, number: u64) -> impl Iterator<Item = (Kind, Vec<u8>, Option<Vec<u8>>)> {
        let mut sum = Xxh3::new();
        let mut steps: Vec<_> = self
            .steps
            .into_iter()
            .filter(|step| !step.is_void)
            .map(|step| (step.kind, step.key, step.value))
            .collect();
        for (_, key, value) in &steps {
            add(&mut sum, key, value.as_deref());
        }
        sum.update(&number.to_be_bytes());
        let mut seal = number.to_be_bytes().to_vec();
        seal.extend(sum.digest().to_be_bytes());
        steps.push((Kind::Meta, Self::KEY.to_vec(), Some(seal)));
        steps.into_iter()
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
