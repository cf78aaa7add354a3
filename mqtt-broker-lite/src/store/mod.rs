//! Where what must survive is kept. The core writes changes under causes; the one committer of a store waits for all
//! parts of a cause and keeps them together or not at all.

mod memory;

pub use memory::Memory;

use crate::core::{Cause, Change, Part};
use std::collections::BTreeMap;

/// Collects the parts of causes until each is whole.
#[derive(Debug, Default)]
pub struct Parts {
    waiting: BTreeMap<Cause, Vec<Vec<Change>>>,
}

impl Parts {
    /// Takes a part; gives everything of the cause once all its parts are there.
    pub fn add(&mut self, cause: Cause, part: Part, changes: Vec<Change>) -> Option<Vec<Change>> {
        if part.of <= 1 {
            return Some(changes);
        }
        let parts = self.waiting.entry(cause).or_default();
        parts.push(changes);
        if parts.len() < usize::from(part.of) {
            return None;
        }
        let parts = self.waiting.remove(&cause)?;
        Some(parts.into_iter().flatten().collect())
    }
}
