//! Who may do what, in a world whose broker restricts that: broker and oracle ask the same.

use crate::plan::{FILTERS, Plan, TOPICS};
use mqtt_broker_lite::core::Access;

/// The rights of the clients of a world.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    /// Whether they are restricted at all.
    pub are_restricted: bool,
    /// The one who may see everything.
    witness: usize,
}

impl Rights {
    /// Those of this plan, whose last client is its witness.
    pub fn new(plan: &Plan) -> Self {
        Self { are_restricted: plan.broker.restricts, witness: plan.clients.len().saturating_sub(1) }
    }

    /// Whether a client may do this with a topic or a filter.
    pub fn allow(&self, client: usize, access: Access, name: &str) -> bool {
        if !self.are_restricted || client == self.witness {
            return true;
        }
        let is_every = |names: &[&str], nth: usize| {
            let at = names.iter().position(|known| *known == name);
            at.is_some_and(|at| (at + client).is_multiple_of(nth))
        };
        !match access {
            Access::Publish => is_every(&TOPICS, 4),
            Access::Subscribe => is_every(&FILTERS, 5),
            Access::Receive => is_every(&TOPICS, 3),
        }
    }
}
