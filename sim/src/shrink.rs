//! Takes from a world that breaks a promise whatever it does not need for it: clients, faults, actions, the end of it.

use crate::plan::{Fault, Plan};
use crate::world::run;

/// A smaller plan that breaks the same promise. Tries at most so many worlds.
pub fn shrink(plan: &Plan, tries: usize) -> Plan {
    let Some(violation) = run(plan, false).violation else {
        return plan.clone();
    };
    let mut left = tries;
    let mut fails = |candidate: &Plan| {
        left = left.saturating_sub(1);
        left > 0 && run(candidate, false).violation.is_some_and(|other| other.promise == violation.promise)
    };
    let mut plan = plan.clone();
    loop {
        let before = size(&plan);
        remove_clients(&mut plan, &mut fails);
        remove_parts(&mut plan, |plan| &mut plan.faults, &mut fails);
        for client in 0..plan.clients.len() {
            remove_parts(&mut plan, |plan| &mut plan.clients[client].actions, &mut fails);
        }
        shorten(&mut plan, &mut fails);
        if size(&plan) == before {
            return plan;
        }
    }
}

fn size(plan: &Plan) -> (usize, usize, usize, u64) {
    let actions = plan.clients.iter().map(|client| client.actions.len()).sum();
    (plan.clients.len(), plan.faults.len(), actions, plan.end)
}

fn remove_clients(plan: &mut Plan, fails: &mut impl FnMut(&Plan) -> bool) {
    for client in (0..plan.clients.len()).rev() {
        if plan.clients.len() == 1 {
            return;
        }
        let mut candidate = plan.clone();
        candidate.clients.remove(client);
        candidate.faults.retain(|fault| fault.kind.client() != Some(client));
        for fault in &mut candidate.faults {
            if let Some(other) = fault.kind.client().filter(|other| *other > client) {
                *fault = Fault { kind: fault.kind.with_client(other - 1), ..*fault };
            }
        }
        if fails(&candidate) {
            *plan = candidate;
        }
    }
}

/// Halves first, then single ones.
fn remove_parts<T: Clone>(
    plan: &mut Plan,
    parts: impl Fn(&mut Plan) -> &mut Vec<T>,
    fails: &mut impl FnMut(&Plan) -> bool,
) {
    let mut piece = parts(plan).len();
    while piece > 0 {
        let mut at = 0;
        while at < parts(plan).len() {
            let mut candidate = plan.clone();
            let list = parts(&mut candidate);
            let end = (at + piece).min(list.len());
            list.drain(at..end);
            if fails(&candidate) {
                *plan = candidate;
            } else {
                at = end;
            }
        }
        piece /= 2;
    }
}

fn shorten(plan: &mut Plan, fails: &mut impl FnMut(&Plan) -> bool) {
    let last_action = plan.clients.iter().flat_map(|client| &client.actions).map(|action| action.0).max();
    let last_fault = plan.faults.iter().map(|fault| fault.at).max();
    let mut candidate = plan.clone();
    candidate.end = last_action.max(last_fault).unwrap_or(0) + 1;
    if candidate.end < plan.end && fails(&candidate) {
        *plan = candidate;
    }
}
