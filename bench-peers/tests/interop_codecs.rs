//! Our packets through rumqttc's codecs: it reads what we write and writes it again, and what it wrote we read as what
//! it was. Each difference is in a table here, with its reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "../../mqtt-packet/tests/interop/said.rs"]
mod said;
#[path = "../../mqtt-packet/tests/vectors/mod.rs"]
mod vectors;
#[path = "../../mqtt-packet/tests/wire/mod.rs"]
mod wire;

use bytes::BytesMut;
use mqtt_packet::{Frame, Packet, Version};

use said::said;

const MAXIMUM: usize = 1 << 20;

/// What it writes after it has read `bytes`.
fn through_v4(bytes: &[u8]) -> Result<BytesMut, String> {
    use rumqttc::mqttbytes::v4::Packet;
    let packet = Packet::read(&mut BytesMut::from(bytes), MAXIMUM).map_err(|error| error.to_string())?;
    let mut written = BytesMut::new();
    packet.write(&mut written, MAXIMUM).map_err(|error| format!("write: {error}"))?;
    Ok(written)
}

fn through_v5(bytes: &[u8]) -> Result<BytesMut, String> {
    use rumqttc::v5::mqttbytes::v5::Packet;
    let maximum = Some(MAXIMUM as u32);
    let packet = Packet::read(&mut BytesMut::from(bytes), maximum).map_err(|error| error.to_string())?;
    let mut written = BytesMut::new();
    packet.write(&mut written, maximum).map_err(|error| format!("write: {error}"))?;
    Ok(written)
}

/// Packets of ours that do not come back: (names, why).
const LOST: &[(Version, &[&str], &str)] = &[
    (
        Version::V3_1_1,
        &["connect_everything"],
        "It wants passwords to be UTF-8; the standard lets them be any bytes.",
    ),
    (
        Version::V3_1_1,
        &["connect_bridge"],
        "It does not know the bridge bit, which the standard does not have.",
    ),
    (
        Version::V5,
        &["disconnect"],
        "It takes no DISCONNECT without a code, the short form of section 3.14.2.",
    ),
    (
        Version::V5,
        &["disconnect_with_will", "disconnect_with_code"],
        "It takes no DISCONNECT without a Property Length, the short form of section 3.14.2.2.",
    ),
    (
        Version::V5,
        &["disconnect_with_will_and_length"],
        "It writes a DISCONNECT that has no properties with one byte more than its Remaining Length says.",
    ),
    (Version::V5, &["auth_continue", "auth_everything", "auth_done"], "It reads no AUTH."),
];

/// Packets that it takes in 3.1.1 and we refuse: (names, why).
const TAKEN_V4: &[(&[&str], &str)] = &[
    (&["connect_reserved_flag", "connack_reserved_flags"], "It does not check reserved flags."),
    (
        &["connect_other_flags", "puback_other_flags", "pubrel_other_flags", "subscribe_other_flags"],
        "It does not check the flags of the fixed header.",
    ),
    (
        &["unsubscribe_other_flags", "disconnect_other_flags"],
        "It does not check the flags of the fixed header.",
    ),
    (&["connect_password_without_user_name"], "It takes a password alone, which only 5.0 allows."),
    (&["connect_nameless_with_session"], "It leaves this to its user."),
    (
        &["connect_bytes_behind", "connack_bytes_behind", "puback_bytes_behind"],
        "It drops what is behind the last field.",
    ),
    (&["pingreq_bytes_behind", "disconnect_bytes_behind"], "It drops what is behind the last field."),
    (
        &["connect_will_topic_wildcard", "publish_wildcard", "publish_without_topic"],
        "It looks at topic names in its client, not in its codec.",
    ),
    (
        &[
            "subscribe_multi_level_wildcard",
            "subscribe_single_level_wildcard",
            "subscribe_empty_filter",
            "unsubscribe_multi_level_wildcard",
        ],
        "It looks at topic filters in its client, not in its codec.",
    ),
    (&["connack_session_in_refusal"], "It takes Session Present in a refusal."),
    (&["publish_dup_at_qos_0"], "It does not check DUP."),
    (&["publish_nul"], "It takes U+0000."),
    (&["puback_id_0", "subscribe_id_0"], "It checks the Packet Identifier in PUBLISH only."),
    (&["subscribe_reserved_bits"], "It does not check the reserved bits of the QoS byte."),
    (&["unsubscribe_nothing"], "It takes an UNSUBSCRIBE without a filter."),
];

/// The same in 5.0.
const TAKEN_V5: &[(&[&str], &str)] = &[
    (
        &["length_longer_than_needed", "property_length_longer_than_needed"],
        "It takes integers of any length up to 4.",
    ),
    (&["connect_reserved_flag", "connack_reserved_flags"], "It does not check reserved flags."),
    (
        &[
            "connect_expiry_twice",
            "publish_alias_twice",
            "subscribe_two_identifiers",
            "disconnect_expiry_twice",
        ],
        "It takes properties more than once and keeps the last.",
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
    (&["connect_data_without_method"], "It does not look for the Authentication Method."),
    (&["connect_nul_in_user_property"], "It takes U+0000."),
    (&["connack_session_in_refusal"], "It takes Session Present in a refusal."),
    (&["publish_without_topic"], "It does not look for the alias that could stand for the topic name."),
    (&["publish_response_topic_wildcard"], "It looks at no topic name."),
    (&["pubcomp_bytes_behind"], "It drops what is behind the last field."),
    (&["subscribe_reserved_bits"], "It does not check the reserved bits of the options."),
    (
        &["subscribe_no_local_on_shared", "subscribe_share_without_name", "subscribe_share_without_filter"],
        "It knows no shared subscriptions.",
    ),
    (&["unsubscribe_nothing"], "It takes an UNSUBSCRIBE without a filter."),
];

fn through(bytes: &[u8], version: Version) -> Result<BytesMut, String> {
    match version {
        Version::V5 => through_v5(bytes),
        _ => through_v4(bytes),
    }
}

fn come_back(version: Version) {
    let mut lost = Vec::new();
    for vector in vectors::of(version) {
        let ours = said(&wire::accepted(&vector.bytes, version), version);
        let theirs = through(&vector.bytes, version).ok().and_then(|bytes| {
            let (frame, behind) = Frame::split(&bytes).ok()??;
            let packet = Packet::decode(frame, version).ok().filter(|_| behind.is_empty())?;
            Some(said(&packet, version))
        });
        match theirs {
            Some(theirs) => assert_eq!(theirs, ours, "{}", vector.name),
            None => lost.push(vector.name),
        }
    }
    let known = LOST.iter().filter(|known| known.0 == version).flat_map(|known| known.1.to_vec());
    same(lost, known.collect());
}

fn taken(version: Version, table: &[(&[&'static str], &str)]) {
    let refused = vectors::refused(version).into_iter();
    let taken = refused.filter(|(_, bytes, _)| through(bytes, version).is_ok()).map(|(name, ..)| name);
    same(taken.collect(), table.iter().flat_map(|(names, _)| names.to_vec()).collect());
}

fn same(mut found: Vec<&str>, mut known: Vec<&str>) {
    found.sort_unstable();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn packets_of_3_1_1_come_back() {
    come_back(Version::V3_1_1);
}

#[test]
fn packets_of_5_0_come_back() {
    come_back(Version::V5);
}

#[test]
fn what_it_takes_of_3_1_1_is_known() {
    taken(Version::V3_1_1, TAKEN_V4);
}

#[test]
fn what_it_takes_of_5_0_is_known() {
    taken(Version::V5, TAKEN_V5);
}
