//! A few worlds of each scenario: the long runs are the program's.

#![allow(clippy::expect_used, clippy::panic)]

use sim::exhaust::{self, Case};
use sim::scenario::named;

#[track_caller]
fn run(name: &str, seeds: std::ops::Range<u64>) {
    let scenario = named(name).expect("the scenario is there");
    for seed in seeds {
        if let Some(violation) = sim::run(&scenario.plan(seed), false).violation {
            panic!("seed {seed} of {name}: {violation}");
        }
    }
}

#[test]
fn every_qos_over_a_network_that_breaks() {
    run("qos", 0..40);
}

#[test]
fn takeovers_of_half_open_connections() {
    run("takeover", 0..40);
}

#[test]
fn wills_of_clients_that_are_lost_or_leave() {
    run("wills", 0..40);
}

#[test]
fn retained_messages_under_change() {
    run("retained", 0..30);
}

#[test]
fn retain_flags_as_they_were_published() {
    run("as-published", 0..30);
}

#[test]
fn payloads_larger_than_any_buffer() {
    run("large", 0..10);
}

#[test]
fn a_broker_with_little_memory() {
    run("short-memory", 0..3);
}

#[test]
fn subscriptions_that_change_under_load() {
    run("subscriptions", 0..30);
}

#[test]
fn slow_consumers() {
    run("slow", 0..5);
}

#[test]
fn messages_and_sessions_that_expire() {
    run("expiry", 0..30);
}

#[test]
fn power_cuts_of_the_broker() {
    run("power-cut", 0..30);
}

#[test]
fn power_cuts_while_much_is_not_safe_yet() {
    run("slow-disk", 0..30);
}

#[test]
fn a_store_that_syncs_from_time_to_time() {
    run("interval", 0..30);
}

#[test]
fn disks_that_damage_what_they_had() {
    run("damage", 0..30);
}

#[test]
fn shared_subscriptions() {
    run("shared", 0..30);
}

#[test]
fn clients_that_may_not_do_everything() {
    run("rights", 0..30);
}

#[test]
fn more_messages_than_may_wait() {
    run("crowded", 0..5);
}

/// Every state of two messages at QoS 1, with a cut or a crash anywhere.
#[test]
fn every_way_that_a_small_world_can_go() {
    let case = exhaust::named("qos1").expect("the case is there");
    for (cuts, crashes) in [(1, 0), (0, 1)] {
        let found = exhaust::explore(Case { cuts, crashes, ..case }, 2, u64::MAX, &|_| {});
        assert!(found.is_whole && found.states > 500 && found.ends > 0, "{found:?}");
    }
}

#[test]
fn queues_that_are_read_back_from_the_disk() {
    run("long-queues", 0..5);
}

#[test]
fn everybody_at_once() {
    run("storm", 0..5);
}

#[test]
fn crashes_of_clients() {
    run("client-crash", 0..30);
}

#[test]
fn brokers_of_several_shards() {
    run("shards", 0..30);
}

#[test]
fn everything_at_once() {
    run("mixed", 0..20);
}

#[test]
fn the_same_seed_is_the_same_world() {
    let scenario = named("mixed").expect("the scenario is there");
    for seed in 0..5 {
        let [one, other] = [true, true].map(|charted| sim::run(&scenario.plan(seed), charted));
        assert!(one.chart.len() > 100, "the chart says little: {:?}", one.chart);
        assert_eq!(one.chart, other.chart, "seed {seed}");
    }
}
