//! CONNECT, CONNACK, keep alive, takeover (sections 3.1, 3.2, 3.12, 3.14).

use super::world::*;
use mqtt_broker_lite::core::{CloseReason, Settings};
use mqtt_packet::Version::{V3_1, V3_1_1, V5};
use mqtt_packet::*;

const ALL: [Version; 3] = [V3_1, V3_1_1, V5];

// [MQTT-3.1.4-4 @3.1.1] [MQTT-3.1.4-5 @5.0] [MQTT-3.2.0-1 @3.1.1] [MQTT-3.2.0-1 @5.0] [MQTT-3.2.2-1 @3.1.1]
// [MQTT-3.2.2-2 @5.0] [MQTT-3.1.3-5 @3.1.1] [MQTT-3.1.3-5 @5.0]
#[test]
fn a_client_is_accepted_and_told_so_first() {
    let longest = "0123456789abcdefghijABC";
    for version in ALL {
        for client_id in ["a", "Z9", longest] {
            let mut world = World::new();
            let client = world.connect_with(clean(version, client_id));
            let bytes = world.bytes(client);
            match version {
                V5 => assert_eq!(bytes[..1], [0x20]),
                _ => assert_eq!(bytes, [0x20, 2, 0, 0]),
            }
            assert!(world.is_open(client));
        }
    }
}

// [MQTT-3.1.0-1 @3.1.1] [MQTT-3.1.0-1 @5.0] [MQTT-3.14.0-1 @5.0]
#[test]
fn what_is_not_connect_comes_too_early() {
    for hex in ["C0 00", "30 03 00 01 74", "82 06 00 01 00 01 74 00", "E0 00", "F0 00", "40 02 00 01"] {
        let mut world = World::new();
        let client = world.open();
        world.hex(client, hex);
        let reason = world.expect_closed(client, &[]);
        assert_eq!(reason.statement(), Some("MQTT-3.1.0-1"), "{hex}");
    }
}

// [MQTT-3.1.0-2 @3.1.1] [MQTT-3.1.0-2 @5.0] [MQTT-3.2.0-2]
#[test]
fn a_second_connect_ends_the_connection() {
    let mut world = World::new();
    for version in [V3_1_1, V5] {
        let client = world.client(version, "a");
        world.send(client, Packet::Connect(clean(version, "a")));
        let reason = match version {
            V5 => world.expect_closed(
                client,
                &["DISCONNECT 0x82 Protocol Error [ReasonString(\"a second CONNECT\")]"],
            ),
            _ => world.expect_closed(client, &[]),
        };
        assert_eq!(reason.statement(), Some("MQTT-3.1.0-2"));
    }
}

// [MQTT-3.1.2-1 @3.1.1] [MQTT-3.1.2-1 @5.0]
#[test]
fn another_protocol_is_not_treated_as_mqtt() {
    let mut world = World::new();
    let client = world.open();
    world.hex(client, "10 0D 00 04 48545450 04 02 0000 0001 61");
    let reason = world.expect_closed(client, &[]);
    assert_eq!(reason.statement(), Some("MQTT-3.1.2-1"));
}

// [MQTT-3.1.2-2 @3.1.1] [MQTT-3.1.2-2 @5.0] [MQTT-3.2.2-5 @3.1.1] [MQTT-3.2.2-7 @5.0]
#[test]
fn an_unknown_level_is_refused_with_its_code() {
    for level in ["00", "03", "06", "7F", "85"] {
        let mut world = World::new();
        let client = world.open();
        world.hex(client, &format!("10 0D 00 04 4D515454 {level} 02 0000 0001 61"));
        assert_eq!(world.bytes(client), [0x20, 2, 0, 1], "{level}");
        assert!(!world.is_open(client));
    }
}

// [MQTT-3.1.4-1 @3.1.1] [MQTT-3.2.2-6 @3.1.1] [MQTT-3.1.2-3 @3.1.1] [MQTT-2.2.2-2 @3.1.1] [MQTT-4.8.0-1]
#[test]
fn a_malformed_connect_of_3_1_1_gets_no_answer() {
    for (hex, statement) in [
        ("10 0D 00 04 4D515454 04 03 0000 0001 61", "MQTT-3.1.2-3"),
        ("10 0D 00 04 4D515454 04 42 0000 0001 61", "MQTT-3.1.2-22"),
        ("10 0D 00 04 4D515454 04 82 0000 0001 61", "MQTT-3.1.2-19"),
        ("10 0D 00 04 4D515454 04 0A 0000 0001 61", "MQTT-3.1.2-13"),
        ("10 0D 00 04 4D515454 04 1E 0000 0001 61", "MQTT-3.1.2-14"),
        ("12 0D 00 04 4D515454 04 02 0000 0001 61", "MQTT-2.2.2-2"),
        ("10 0D 00 04 4D515454 04 02 0000 0001 FF", "MQTT-1.5.3-1"),
        ("10 0B 00 04 4D515454 04 02 0000 00", "MQTT-3.1.3-3"),
        ("10 0E 00 04 4D515454 04 02 0000 0001 61 00", "MQTT-4.8.0-1"),
    ] {
        let mut world = World::new();
        let client = world.open();
        world.hex(client, hex);
        let reason = world.expect_closed(client, &[]);
        assert_eq!(reason.statement(), Some(statement), "{hex}");
    }
}

// [MQTT-3.1.4-1 @5.0] [MQTT-3.1.2-3 @5.0] [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT-3.2.2-6 @5.0] [MQTT-3.2.2-8]
#[test]
fn a_malformed_connect_of_5_0_is_told_why() {
    for (hex, code) in [
        ("10 0E 00 04 4D515454 05 03 0000 00 0001 61", 0x81),
        ("10 0E 00 04 4D515454 05 02 0000 00 0001 FF", 0x81),
        ("10 11 00 04 4D515454 05 02 0000 03 21 0000 0001 61", 0x82),
        ("10 14 00 04 4D515454 05 02 0000 06 21 0001 21 0001 0001 61", 0x82),
        ("10 10 00 04 4D515454 05 02 0000 02 24 01 0001 61", 0x81),
        ("10 12 00 04 4D515454 05 02 0000 04 16 0001 78 0001 61", 0x82),
    ] {
        let mut world = World::new();
        let client = world.open();
        world.hex(client, hex);
        let bytes = world.bytes(client);
        assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, 0, code), "{hex}");
        assert!(!world.is_open(client));
    }
}

// [MQTT-3.1.3-8 @3.1.1] [MQTT-3.1.3-9 @3.1.1] [MQTT-3.2.2-4 @3.1.1] [MQTT-3.2.2-5 @3.1.1]
#[test]
fn an_empty_identifier_needs_a_clean_session_in_3_x() {
    let mut world = World::new();
    for hex in ["10 0C 00 04 4D515454 04 00 0000 0000", "10 0E 00 06 4D5149736470 03 02 0000 0000"] {
        let client = world.open();
        world.hex(client, hex);
        assert_eq!(world.bytes(client), [0x20, 2, 0, 2]);
        assert!(!world.is_open(client));
    }
}

// [MQTT-3.1.3-6 @3.1.1] [MQTT-3.1.3-6 @5.0] [MQTT-3.1.3-7 @5.0] [MQTT-3.2.2-16]
#[test]
fn a_client_without_a_name_gets_one_of_its_own() {
    let mut world = World::new();
    let (one, other) = (world.connect_with(clean(V3_1_1, "")), world.connect_with(clean(V3_1_1, "")));
    world.accepted(one);
    world.accepted(other);
    let mut names = Vec::new();
    for _ in 0..2 {
        let client = world.connect_with(clean(V5, ""));
        let connack = world.accepted(client);
        let (_, name) = connack.split_once("AssignedClientIdentifier(\"").expect("no name");
        names.push(name.split('"').next().unwrap().to_owned());
    }
    assert_ne!(names[0], names[1]);
    // It is the client's name: who uses it takes over.
    let thief = world.client(V5, &names[0]);
    assert!(world.is_open(thief) && world.is_open(one) && world.is_open(other));
}

// [MQTT-3.1.4-2 @3.1.1] [MQTT-3.1.4-3 @5.0] [MQTT-3.14.4-1 @5.0] [MQTT-3.14.4-2 @5.0] [MQTT-3.14.2-2] [MQTT-3.1.3-2 @3.1.1] [MQTT-3.1.3-2 @5.0]
#[test]
fn the_same_name_takes_over() {
    for old_version in ALL {
        for new_version in ALL {
            let mut world = World::new();
            let old = world.client(old_version, "twin");
            let bystander = world.client(V5, "Twin");
            let new = world.client(new_version, "twin");
            let said: &[&str] = match old_version {
                V5 => {
                    &["DISCONNECT 0x8E Session taken over [ReasonString(\"taken over by a new connection\")]"]
                }
                _ => &[],
            };
            assert_eq!(world.expect_closed(old, said), CloseReason::TakenOver);
            assert!(world.is_open(new) && world.is_open(bystander));
        }
    }
}

// [MQTT-3.1.4-5 @3.1.1] [MQTT-3.1.4-6 @5.0]
#[test]
fn what_follows_a_refused_connect_is_not_processed() {
    let mut world = World::new();
    let watcher = world.client(V3_1_1, "w");
    world.subscribe(watcher, "#", 0);
    let client = world.open();
    world.hex(client, "10 0C 00 04 4D515454 04 00 0000 0000  30 03 00 01 74");
    assert!(!world.is_open(client));
    world.expect(watcher, &[]);
}

// [U311-3.1.4-2]
#[test]
fn what_follows_an_accepted_connect_need_not_wait() {
    let mut world = World::new();
    let watcher = world.client(V3_1_1, "w");
    world.subscribe(watcher, "t", 0);
    let client = world.open();
    world.hex(client, "10 0D 00 04 4D515454 04 02 0000 0001 61  30 04 00 01 74 78  C0 00");
    world.expect(client, &["CONNACK 0x00 Success", "PINGRESP"]);
    world.expect(watcher, &["PUBLISH \"t\" qos 0 \"x\""]);
}

// [U311-3.1.4-1]
#[test]
fn a_silent_connection_is_closed() {
    let mut world = World::new();
    let client = world.open();
    world.pass(9_999);
    assert!(world.is_open(client));
    world.pass(1);
    assert_eq!(world.expect_closed(client, &[]), CloseReason::ConnectTimeout);
}

// [MQTT-3.1.2-24 @3.1.1] [MQTT-3.1.2-22 @5.0] [MQTT-3.2.2-22] [U311-3.1.2-3]
#[test]
fn a_silent_client_is_lost_after_one_and_a_half_keep_alives() {
    for version in ALL {
        let mut world = World::new();
        let mut connect = clean(version, "a");
        connect.keep_alive = 10;
        let client = world.connect_with(connect);
        world.accepted(client);
        let patient = world.client(version, "patient");
        for _ in 0..5 {
            world.seconds(14);
            world.send(client, Packet::PingReq(PingReq));
            world.expect(client, &["PINGRESP"]);
        }
        world.pass(15_000);
        assert!(world.is_open(client), "too early");
        world.pass(500);
        let said: &[&str] = match version {
            V5 => &[
                "DISCONNECT 0x8D Keep Alive timeout [ReasonString(\"nothing came for one and a half times the keep alive\")]",
            ],
            _ => &[],
        };
        assert_eq!(world.expect_closed(client, said), CloseReason::KeepAlive);
        world.seconds(1_000_000);
        assert!(world.is_open(patient), "Keep Alive 0 is not supervised");
    }
}

// [MQTT-3.12.4-1 @3.1.1] [MQTT-3.12.4-1 @5.0]
#[test]
fn a_ping_is_answered() {
    for version in ALL {
        let mut world = World::new();
        let client = world.client(version, "a");
        world.hex(client, "C0 00 C0 00");
        world.expect(client, &["PINGRESP", "PINGRESP"]);
    }
}

// [MQTT-3.14.1-1 @3.1.1] [MQTT-3.14.1-1 @5.0] [MQTT-3.6.1-1 @3.1.1] [MQTT-3.6.1-1 @5.0] [MQTT-3.8.1-1 @3.1.1]
// [MQTT-3.8.1-1 @5.0] [MQTT-3.10.1-1 @3.1.1] [MQTT-3.10.1-1 @5.0] [MQTT-3.15.1-1] [MQTT-4.13.1-1]
#[test]
fn wrong_flags_end_the_connection() {
    for hex in ["E1 00", "60 02 0001", "80 06 0001 0001 61 00", "A0 05 0001 0001 61", "C1 00", "41 02 0001"] {
        let mut world = World::new();
        let client = world.client(V3_1_1, "a");
        world.hex(client, hex);
        let reason = world.expect_closed(client, &[]);
        assert_eq!(reason.statement(), Some("MQTT-2.2.2-2"), "{hex}");
    }
    for hex in ["E1 00", "60 02 0001", "80 07 0001 00 0001 61 00", "A0 06 0001 00 0001 61", "F1 00"] {
        let mut world = World::new();
        let client = world.client(V5, "a");
        world.hex(client, hex);
        let bytes = world.bytes(client);
        assert_eq!((bytes[0], bytes[2]), (0xE0, 0x81), "{hex}");
        assert!(!world.is_open(client));
    }
}

// [MQTT-3.2.2-12] [MQTT-3.2.2-13] [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-11] [MQTT-3.2.2-14] [U5-3.2.2-2]
// [U5-3.2.2-3] [U5-3.2.2-5] [U5-3.2.2-6] [U5-3.2.2-7]
#[test]
fn a_server_that_can_less_says_so_and_holds_to_it() {
    let settings = Settings {
        maximum_qos: QoS::AtMostOnce,
        retain_available: false,
        wildcard_available: false,
        subscription_ids_available: false,
        shared_available: false,
        ..Settings::default()
    };
    let mut world = World::with(settings);
    let client = world.connect_with(clean(V5, "a"));
    let connack = world.accepted(client);
    for said in [
        "MaximumQos(false)",
        "RetainAvailable(false)",
        "WildcardSubscriptionAvailable(false)",
        "SubscriptionIdentifiersAvailable(false)",
        "SharedSubscriptionAvailable(false)",
    ] {
        assert!(connack.contains(said), "{connack}");
    }
    world.subscribe_with(client, "t", SubscribeOptions::new(QoS::ExactlyOnce), 0);
    world.expect(client, &["SUBACK id 99 [0x00 Success]"]);
    world.subscribe_with(client, "t/#", SubscribeOptions::new(QoS::AtMostOnce), 0);
    world.expect(client, &["SUBACK id 99 [0xA2 Wildcard Subscriptions not supported]"]);
    world.subscribe_with(client, "$share/g/t", SubscribeOptions::new(QoS::AtMostOnce), 0);
    world.expect(client, &["SUBACK id 99 [0x9E Shared Subscriptions not supported]"]);
    for (will_qos, retain, code) in [(QoS::AtLeastOnce, false, 0x9B), (QoS::AtMostOnce, true, 0x9A)] {
        let will = Will {
            topic: TopicName::new("w").unwrap(),
            payload: b"",
            qos: will_qos,
            retain,
            properties: Properties::EMPTY,
        };
        let refused = world.connect_with(Connect { will: Some(will), ..clean(V5, "b") });
        assert_eq!(world.bytes(refused)[3], code);
        assert!(!world.is_open(refused));
    }
    for (hex, code) in [
        ("32 06 0001 74 0001 00", 0x9B),
        ("31 04 0001 74 00", 0x9A),
        ("82 09 0001 02 0B 01 0001 74 00", 0xA1),
    ] {
        let client = world.client(V5, "c");
        world.hex(client, hex);
        let bytes = world.bytes(client);
        assert_eq!((bytes[0], bytes[2]), (0xE0, code), "{hex}");
        assert!(!world.is_open(client));
    }
}

// [MQTT-3.1.2-28]
#[test]
fn response_information_is_given_to_those_who_ask() {
    let settings = Settings { response_information: Some("answers/".into()), ..Settings::default() };
    for (block, wanted) in [(&[0x19, 1][..], true), (&[0x19, 0], false), (&[], false)] {
        let mut world = World::with(settings.clone());
        let client = world
            .connect_with(Connect { properties: properties(PacketType::Connect, block), ..clean(V5, "a") });
        let connack = world.accepted(client);
        assert_eq!(connack.contains("ResponseInformation(\"answers/\")"), wanted, "{connack}");
    }
}

// [MQTT-3.2.2-22] [U5-3.2.2-8] [MQTT-3.3.2-12]
#[test]
fn connack_says_what_the_server_decided_otherwise() {
    let settings = Settings { max_keep_alive: 60, max_session_expiry: 3600, ..Settings::default() };
    let mut world = World::with(settings);
    let client = world.connect_with(kept(V5, "a"));
    let connack = world.accepted(client);
    assert!(connack.contains("ServerKeepAlive(60)"), "{connack}");
    assert!(connack.contains("SessionExpiryInterval(3600)"), "{connack}");
    let mut modest = clean(V5, "b");
    modest.keep_alive = 30;
    let client = world.connect_with(modest);
    let connack = world.accepted(client);
    assert!(!connack.contains("ServerKeepAlive") && !connack.contains("SessionExpiry"), "{connack}");
    world.seconds(46);
    assert!(!world.is_open(client));
}

// [MQTT-3.1.2-24 @5.0] [MQTT-3.2.2-19] [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.2.2-20]
#[test]
fn no_packet_is_larger_than_the_client_takes() {
    let mut world = World::new();
    let tiny = Connect { properties: properties(PacketType::Connect, &[0x27, 0, 0, 0, 5]), ..clean(V5, "a") };
    let client = world.connect_with(tiny);
    assert_eq!(world.expect_closed(client, &[]).reason_code(), ReasonCode::PACKET_TOO_LARGE);
    let small =
        Connect { properties: properties(PacketType::Connect, &[0x27, 0, 0, 0, 20]), ..clean(V5, "a") };
    let client = world.connect_with(small);
    world.accepted(client);
    world.hex(client, "10 0E 00 04 4D515454 05 02 0000 00 0001 61");
    world.expect_closed(client, &["DISCONNECT 0x82 Protocol Error"]);
}

/// Two clients of one name take over from each other without end: from some point on the one that is there stays.
#[test]
fn takeovers_of_one_client_are_limited() {
    for (version, code) in [(V3_1, 3), (V3_1_1, 3), (V5, 0x9F)] {
        let settings = Settings { max_takeovers: 5, takeover_interval: 1000, ..Settings::default() };
        let mut world = World::with(settings);
        let mut twin = world.client(version, "twin");
        for _ in 0..5 {
            let next = world.client(version, "twin");
            assert!(!world.is_open(twin));
            twin = next;
        }
        let refused = world.connect_with(clean(version, "twin"));
        assert_eq!(world.bytes(refused)[3], code);
        assert!(!world.is_open(refused) && world.is_open(twin));
        // Others come, and this one again after a while.
        world.client(version, "other");
        world.pass(1000);
        let next = world.client(version, "twin");
        assert!(!world.is_open(twin));
        let refused = world.connect_with(clean(version, "twin"));
        assert!(!world.is_open(refused));
        // Coming back is no takeover.
        world.disconnect(next);
        for _ in 0..20 {
            let client = world.client(version, "twin");
            world.disconnect(client);
        }
    }
}
