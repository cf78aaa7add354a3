//! Credits between shards: how much may be on its way to another shard before those who publish to it wait. A shard never
//! waits in a send; acknowledgements, routes and what shards say about themselves need no credit.

use super::link::Letter;
use super::shard::Shard;
use super::{Cause, ShardId};
use std::collections::BTreeMap;

/// What goes to the other shards and what came from them.
#[derive(Debug, Default)]
pub(super) struct Credits {
    spent: BTreeMap<ShardId, Spent>,
    /// Bytes of messages that were taken from others and that these do not know of.
    taken: BTreeMap<ShardId, usize>,
}

#[derive(Debug, Default)]
struct Spent {
    /// Bytes of messages that the other shard has not taken, or has not said so.
    bytes: usize,
    /// What publishers wait for, if that is too much.
    wait: Option<Cause>,
}

impl Shard {
    /// A message goes to another shard; if too much is on its way there, whoever sent it waits.
    pub(super) fn spend(&mut self, shard: ShardId, bytes: usize) {
        let spent = self.credits.spent.entry(shard).or_default();
        spent.bytes = spent.bytes.saturating_add(bytes);
        if spent.bytes <= self.settings.link_window {
            return;
        }
        let wait = *spent.wait.get_or_insert_with(|| self.journal.begin_wait());
        if self.congested.last() != Some(&wait) {
            self.congested.push(wait);
        }
    }

    /// Messages of another shard were taken. It is told in parts: a letter for each would cost as much as they do.
    pub(super) fn take_from(&mut self, shard: ShardId, bytes: usize) {
        let taken = self.credits.taken.entry(shard).or_default();
        *taken = taken.saturating_add(bytes);
        if *taken >= self.settings.link_window >> 3 {
            let bytes = std::mem::take(taken);
            self.tell(shard, Letter::Taken(bytes));
        }
    }

    /// Another shard took so much.
    pub(super) fn on_taken(&mut self, shard: ShardId, bytes: usize) {
        let Some(spent) = self.credits.spent.get_mut(&shard) else {
            return;
        };
        spent.bytes = spent.bytes.saturating_sub(bytes);
        if spent.bytes <= self.settings.link_window >> 1
            && let Some(wait) = spent.wait.take()
        {
            self.end_wait(wait);
        }
    }

    /// Whether this is a wait for another shard: that goes on whatever clients read, so nobody waits for himself.
    pub(super) fn waits_for_shard(&self, wait: Cause) -> bool {
        self.credits.spent.values().any(|spent| spent.wait == Some(wait))
    }
}
