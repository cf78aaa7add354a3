//! A world that breaks a promise is replayed as it was, and made small.
//!
//! The world is one that no broker could keep its promises in: nothing is kept on a disk, and all clients speak 3.1, in
//! which nobody is told that a session is gone.

#![allow(clippy::expect_used, clippy::panic)]

use mqtt_packet::Version;
use sim::plan::{Fault, FaultKind, Plan};
use sim::scenario::named;
use sim::shrink::shrink;

fn broken() -> Plan {
    let scenario = named("power-cut").expect("the scenario is there");
    let plans = (0..200).map(|seed| {
        let mut plan = scenario.plan(seed);
        plan.broker.durable = false;
        for client in &mut plan.clients {
            (client.version, client.clean_start, client.expiry) = (Version::V3_1, false, u32::MAX);
            client.aliases = 0;
        }
        plan
    });
    let mut broken = plans.filter(|plan| {
        let violation = sim::run(plan, false).violation;
        violation.is_some_and(|violation| violation.promise == "at least once")
    });
    broken.next().expect("what nobody keeps is lost in some of them")
}

#[test]
fn a_world_that_breaks_a_promise_breaks_it_again_event_by_event() {
    let plan = broken();
    let [one, other] = [true, true].map(|charted| sim::run(&plan, charted));
    assert_eq!(one.chart, other.chart);
    assert_eq!((&one.violation, one.figures), (&other.violation, other.figures));
    let quiet = sim::run(&plan, false);
    assert_eq!((quiet.violation, quiet.figures), (one.violation, one.figures), "the chart changes nothing");
}

#[test]
fn what_a_broken_promise_does_not_need_is_taken_away() {
    let breaks = |plan: &Plan| {
        sim::run(plan, false).violation.is_some_and(|violation| violation.promise == "at least once")
    };
    let plan = broken();
    let small = shrink(&plan, 5000);
    assert!(breaks(&small));
    // Somebody publishes, somebody else subscribed before, and the broker forgets it.
    assert_eq!(small.clients.len(), 2, "{small:#?}");
    let is_crash = |fault: &Fault| matches!(fault.kind, FaultKind::BrokerCrash { .. });
    assert!(small.faults.iter().any(is_crash), "{small:#?}");
    // Whatever is left is needed.
    for fault in 0..small.faults.len() {
        let mut less = small.clone();
        less.faults.remove(fault);
        assert!(!breaks(&less), "without fault {fault}: {small:#?}");
    }
    for client in 0..small.clients.len() {
        for action in 0..small.clients[client].actions.len() {
            let mut less = small.clone();
            less.clients[client].actions.remove(action);
            assert!(!breaks(&less), "without action {action} of client {client}: {small:#?}");
        }
    }
}
