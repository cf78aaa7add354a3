//! What the simulator found, so that it does not come back. A seed means the same world only as long as its scenario
//! draws the same numbers, so what matters is also said in words, and tested without a world where that is possible.

#![allow(clippy::expect_used, clippy::panic)]

use mqtt_broker_lite::core::{AllowAll, ConnId, Input, Now, Output, Settings, Shard};
use sim::scenario::named;

/// Live messages of a topic made the retained one stay away from somebody who was just subscribing, though they did not
/// replace it. [MQTT-3.3.1-9 @5.0]
#[test]
fn a_retained_message_comes_although_others_of_its_topic_do() {
    let scenario = named("shards").expect("the scenario is there");
    for seed in [471, 1156, 1507, 2455, 2662] {
        assert_eq!(sim::run(&scenario.plan(seed), false).violation, None, "seed {seed}");
    }
}

/// A message that was on its way to a member who had left came back to its group with two places on the disk, one of them
/// for ever; and one that was begun with a member came to another after a crash, even if it had waited for that member's
/// connection to take it while the disk was slow. [MQTT-4.8.2-5 @5.0]
#[test]
fn a_message_of_a_group_has_one_place() {
    let scenario = named("shared").expect("the scenario is there");
    for seed in [80, 138, 729, 1776, 1849] {
        assert_eq!(sim::run(&scenario.plan(seed), false).violation, None, "seed {seed}");
    }
}

/// A session ended while earlier writes of its shard waited for another's: its end was written with them, and what was to
/// be read before it, to know whose messages nobody needs any more, found nothing. They stayed on the disk.
#[test]
fn a_session_that_ends_leaves_no_message_behind() {
    let scenario = named("mixed").expect("the scenario is there");
    assert_eq!(sim::run(&scenario.plan(2558), false).violation, None);
}

/// A broker that lost its last writes gave a packet identifier again that the client still remembered, and the client
/// took the new message for a repeat.
#[test]
fn identifiers_go_on_elsewhere_where_writes_may_be_lost() {
    let scenario = named("interval").expect("the scenario is there");
    for seed in [32, 45, 96, 132, 195, 523, 753] {
        assert_eq!(sim::run(&scenario.plan(seed), false).violation, None, "seed {seed}");
    }
}

/// Not the broker's fault: a CONNECT that asked for a new session was read after the one that followed it, and ended the
/// session in which a QoS 2 message had come already. Its publisher cannot know, and the oracle must not complain.
#[test]
fn a_stray_connect_may_end_a_session() {
    let scenario = named("slow-disk").expect("the scenario is there");
    assert_eq!(sim::run(&scenario.plan(17_326), false).violation, None);
}

/// Not the broker's fault either: a client came back just before its will was due, and CONNACK left the broker just behind
/// that. [MQTT-3.1.3-9 @5.0]
#[test]
fn who_comes_back_in_time_keeps_his_will_back() {
    let scenario = named("shards").expect("the scenario is there");
    assert_eq!(sim::run(&scenario.plan(6620), false).violation, None);
}

/// Nor this: the shard of the session heard of the client just behind that. [MQTT-3.1.3-9 @5.0]
#[test]
fn who_comes_back_in_time_may_be_too_late_for_the_shard_of_his_session() {
    let scenario = named("shards").expect("the scenario is there");
    assert_eq!(sim::run(&scenario.plan(929), false).violation, None);
}

/// A retained message of QoS 2 was refused for want of memory, its publisher did not hear of that, and it was taken when it
/// came again: behind another one.
#[test]
fn what_was_refused_may_be_retained_when_it_comes_again() {
    let scenario = named("short-memory").expect("the scenario is there");
    for seed in [1398, 3065] {
        assert_eq!(sim::run(&scenario.plan(seed), false).violation, None);
    }
}

/// A retained message of QoS 2 came again in a session that a CONNECT without an answer had made: the broker could not know it.
#[test]
fn in_another_session_a_retained_message_is_another() {
    let scenario = named("expiry").expect("the scenario is there");
    assert_eq!(sim::run(&scenario.plan(2104), false).violation, None);
}

/// Its publisher's session was damaged, and a CONNECT without an answer made another: the publisher repeats a message that
/// the broker takes for a new one.
#[test]
fn where_a_session_was_damaged_its_messages_may_come_twice() {
    let scenario = named("damage").expect("the scenario is there");
    assert_eq!(sim::run(&scenario.plan(3869), false).violation, None);
}

/// A client acknowledged a message that came again before one that had come in front of it and was not accepted yet.
/// [MQTT-4.6.0-3]
#[test]
fn a_repeat_is_acknowledged_in_its_turn() {
    for (name, seeds) in [("storm", [19, 22, 42, 242]), ("long-queues", [11, 35, 258, 268])] {
        let scenario = named(name).expect("the scenario is there");
        for seed in seeds {
            assert_eq!(sim::run(&scenario.plan(seed), false).violation, None, "seed {seed} of {name}");
        }
    }
}

/// A message that is safe was acknowledged before one that had come in front of it and was not safe yet; a will stayed on
/// the disk whose session ended with it; a client that was owed much was never read again. A retained message was refused
/// because its client was cut off while another shard was asked for a place, and came again behind later ones (the last
/// three). [MQTT-4.6.0-3] [MQTT-4.6.0-6]
#[test]
fn what_everything_at_once_found() {
    let scenario = named("mixed").expect("the scenario is there");
    for seed in [2, 5, 14, 832, 1476, 1604, 1636, 1717, 5020, 9948, 2239, 4214, 7760] {
        assert_eq!(sim::run(&scenario.plan(seed), false).violation, None, "seed {seed}");
    }
}

/// A shard whose deadline had come before it was told so said for ever when to wake it.
#[test]
fn a_deadline_that_has_come_is_said_once() {
    let settings = Settings::default();
    let late = settings.connect_timeout + 1;
    let mut shard = Shard::new(settings, Box::new(AllowAll));
    shard.handle(Now { mono: 0, wall: 0 }, Input::Opened(ConnId(1), [0; 16]));
    shard.handle(Now { mono: late, wall: late }, Input::Opened(ConnId(2), [1; 16]));
    let said: Vec<_> = std::iter::from_fn(|| shard.poll()).take(10).collect();
    assert!(matches!(said[..], [Output::WakeAt(_)]), "{said:?}");
}
