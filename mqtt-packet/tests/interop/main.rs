//! Our packets beside those of another codec: npm's `mqtt-packet`, which MQTT.js and aedes use. What it writes we read,
//! and write in the same bytes; what we write it reads; each difference is in a table here, with its reason.
//!
//! `npm-mqtt-packet.tsv` has what that codec said; `npm ci && npm run generate` in this directory makes it again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod said;
#[path = "../vectors/mod.rs"]
mod vectors;
#[path = "../wire/mod.rs"]
mod wire;

use mqtt_packet::Version;

use said::said;

/// One line of the file.
struct Row {
    direction: &'static str,
    version: Version,
    name: &'static str,
    bytes: Vec<u8>,
    said: &'static str,
}

/// The lines of one direction, in the versions that this build speaks.
fn rows(direction: &str) -> Vec<Row> {
    let lines = include_str!("npm-mqtt-packet.tsv").lines().skip(1);
    let rows = lines.map(|line| {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let version = match columns[1] {
            "v3_1" => Version::V3_1,
            "v3_1_1" => Version::V3_1_1,
            _ => Version::V5,
        };
        Row {
            direction: columns[0],
            version,
            name: columns[2],
            bytes: wire::wire(columns[3]),
            said: columns[4],
        }
    });
    rows.filter(|row| row.direction == direction && row.version.is_supported()).collect()
}

/// Packets of ours that it refuses: (names, why).
const NOT_READ: &[(&[&str], &str)] = &[
    (
        &["connect_without_announced_fields"],
        "In 3.1 the length decides whether an announced user name is there; it wants what 3.1.1 wants.",
    ),
    (
        &[
            "connect_reserved_bits",
            "connack_reserved_byte",
            "pubrel_again",
            "subscribe_again",
            "unsubscribe_again",
        ],
        "3.1 has DUP on these packets and leaves reserved bits alone; it checks them as in 3.1.1.",
    ),
];

/// Packets that it takes and we refuse: (names, why).
const TAKEN: &[(&[&str], &str)] = &[
    (
        &["connect_bridge_of_5_0"],
        "It masks the bridge bit of any level; 5.0 has options instead of that bit.",
    ),
    (&["connect_name_of_3_1"], "It does not look whether protocol name and level belong together."),
    (&["connect_will_qos_3"], "It does not check the Will QoS."),
    (
        &["connect_password_without_user_name"],
        "It takes a password alone in 3.1.1 too, which only 5.0 allows.",
    ),
    (&["connect_nameless_with_session"], "It leaves this to its user, the server."),
    (
        &["connack_session_in_refusal", "connack_code_6", "connack_code_of_suback"],
        "It takes any CONNACK code.",
    ),
    (
        &["connect_bytes_behind", "connack_bytes_behind", "puback_bytes_behind", "pubcomp_bytes_behind"],
        "It drops what is behind the last field.",
    ),
    (&["pingreq_bytes_behind", "disconnect_bytes_behind"], "It drops what is behind the last field."),
    (
        &["connack_short", "connack_without_property_length", "publish_without_id", "puback_short"],
        "It gives out a packet of which fields are missing; an identifier then reads as -1.",
    ),
    (&["connect_surrogate", "publish_ill_formed"], "It replaces ill-formed UTF-8 by U+FFFD."),
    (&["publish_nul", "connect_nul_in_user_property"], "It takes U+0000."),
    (&["publish_dup_at_qos_0"], "It does not check DUP."),
    (
        &["publish_wildcard", "connect_will_topic_wildcard", "publish_response_topic_wildcard"],
        "It looks at no topic name.",
    ),
    (&["publish_without_topic"], "It looks at no topic name, nor for the alias that could stand for it."),
    (
        &[
            "subscribe_multi_level_wildcard",
            "subscribe_single_level_wildcard",
            "subscribe_empty_filter",
            "unsubscribe_multi_level_wildcard",
            "subscribe_no_local_on_shared",
            "subscribe_share_without_name",
            "subscribe_share_without_filter",
        ],
        "It looks at no topic filter.",
    ),
    (&["publish_id_0", "puback_id_0", "subscribe_id_0"], "It takes Packet Identifier 0."),
    (
        &["subscribe_nothing", "suback_nothing", "unsubscribe_nothing", "unsuback_nothing"],
        "It takes packets without a filter or code.",
    ),
    (
        &["length_longer_than_needed", "property_length_longer_than_needed"],
        "It takes integers of any length up to 4.",
    ),
    (
        &["connect_property_of_publish", "connect_will_property_of_connect", "puback_property_of_publish"],
        "It takes every property everywhere.",
    ),
    (
        &[
            "connect_expiry_twice",
            "disconnect_expiry_twice",
            "publish_alias_twice",
            "subscribe_two_identifiers",
        ],
        "It takes properties more than once.",
    ),
    (
        &[
            "connect_receive_maximum_0",
            "connect_maximum_packet_size_0",
            "connect_problem_information_2",
            "connack_maximum_qos_2",
            "publish_alias_0",
            "publish_subscription_identifier_0",
            "publish_format_indicator_2",
        ],
        "It takes any value of a property.",
    ),
    (
        &["connect_data_without_method", "auth_without_method"],
        "It does not look for the Authentication Method.",
    ),
];

#[test]
fn what_it_writes_we_read() {
    let rows = rows("theirs");
    for Row { version, name, bytes, said: expected, .. } in &rows {
        let packet = wire::accepted(bytes, *version);
        assert_eq!(said(&packet, *version), *expected, "{name} of {version:?}");
    }
    assert!(rows.len() >= 88);
}

#[test]
fn what_it_writes_we_write() {
    for Row { version, name, bytes, .. } in &rows("theirs") {
        let ours = wire::encoded(&wire::accepted(bytes, *version), *version);
        assert!(ours == *bytes || is_long_form_of(&ours, bytes), "{name} of {version:?}: {ours:02x?}");
    }
}

/// It writes Property Length 0, and with it code 0, where acknowledgements and DISCONNECT may leave them out; we leave
/// them out.
fn is_long_form_of(short: &[u8], long: &[u8]) -> bool {
    let [first, _, body @ ..] = short else { return false };
    let zeros = long.len() - short.len();
    matches!(first >> 4, 4..=7 | 14) && zeros <= 2 && wire::packet(*first, &[body, &[0, 0][..zeros]]) == long
}

#[test]
fn what_we_write_it_reads() {
    let mut not_read = Vec::new();
    for Row { version, name, bytes, said: theirs, .. } in &rows("ours") {
        assert_eq!(*bytes, vectors::named(name, *version).bytes, "{name} is stale: npm run generate");
        let ours = said(&wire::accepted(bytes, *version), *version);
        if theirs.starts_with("error: ") {
            not_read.push(*name);
        } else {
            assert_eq!(ours, *theirs, "{name} of {version:?}");
        }
    }
    assert_eq!(not_read, explained(NOT_READ));
    let count = vectors::all().len();
    assert_eq!(rows("ours").len(), count, "vectors are missing: npm run generate");
}

#[test]
fn what_we_refuse_it_refuses_or_the_reason_is_known() {
    let mut taken = Vec::new();
    for Row { version, name, bytes, said: theirs, .. } in &rows("refused") {
        let vector = vectors::refused(*version).into_iter().find(|vector| vector.0 == *name);
        assert_eq!(vector.expect("a vector of this name").1, *bytes, "{name} is stale: npm run generate");
        if !theirs.starts_with("error: ") {
            taken.push(*name);
        }
    }
    taken.sort();
    taken.dedup();
    let mut known = explained(TAKEN);
    if cfg!(feature = "v5") {
        known.sort();
        assert_eq!(taken, known);
    }
    assert!(taken.iter().all(|name| known.contains(name)));
}

fn explained(table: &[(&[&'static str], &str)]) -> Vec<&'static str> {
    assert!(table.iter().all(|(_, why)| why.ends_with('.')));
    table.iter().flat_map(|(names, _)| names.iter().copied()).collect()
}
