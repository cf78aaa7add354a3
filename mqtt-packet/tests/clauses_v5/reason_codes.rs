//! Section 2.4: the table of reason codes. Which may stand in which packet, from which side: 43 by 9.

use crate::wire::{accepted, decode, encode, wire};
use mqtt_packet::{
    Ack, AckKind, Auth, ConnAck, DecodeError, Disconnect, EncodeError, Packet, PacketId, PacketType,
    Properties, PropertyPlace, ReasonCode, Role, SubAck, UnsubAck, Version,
};

/// Number, name and packets. A client (`c`) or a server (`s`) or both may send it in DISCONNECT and AUTH.
///
/// The standard is not of one mind about 0x8C and 0x9B in DISCONNECT; both are taken from both sides.
const TABLE: [(u8, &str, &str); 43] = [
    (0x00, "Success", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECTc DISCONNECTs AUTHs"),
    (0x01, "Granted QoS 1", "SUBACK"),
    (0x02, "Granted QoS 2", "SUBACK"),
    (0x04, "Disconnect with Will Message", "DISCONNECTc"),
    (0x10, "No matching subscribers", "PUBACK PUBREC"),
    (0x11, "No subscription existed", "UNSUBACK"),
    (0x18, "Continue authentication", "AUTHc AUTHs"),
    (0x19, "Re-authenticate", "AUTHc"),
    (0x80, "Unspecified error", "CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECTc DISCONNECTs"),
    (0x81, "Malformed Packet", "CONNACK DISCONNECTc DISCONNECTs"),
    (0x82, "Protocol Error", "CONNACK DISCONNECTc DISCONNECTs"),
    (0x83, "Implementation specific error", "CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECTc DISCONNECTs"),
    (0x84, "Unsupported Protocol Version", "CONNACK"),
    (0x85, "Client Identifier not valid", "CONNACK"),
    (0x86, "Bad User Name or Password", "CONNACK"),
    (0x87, "Not authorized", "CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECTs"),
    (0x88, "Server unavailable", "CONNACK"),
    (0x89, "Server busy", "CONNACK DISCONNECTs"),
    (0x8A, "Banned", "CONNACK"),
    (0x8B, "Server shutting down", "DISCONNECTs"),
    (0x8C, "Bad authentication method", "CONNACK DISCONNECTc DISCONNECTs"),
    (0x8D, "Keep Alive timeout", "DISCONNECTs"),
    (0x8E, "Session taken over", "DISCONNECTs"),
    (0x8F, "Topic Filter invalid", "SUBACK UNSUBACK DISCONNECTs"),
    (0x90, "Topic Name invalid", "CONNACK PUBACK PUBREC DISCONNECTc DISCONNECTs"),
    (0x91, "Packet Identifier in use", "PUBACK PUBREC SUBACK UNSUBACK"),
    (0x92, "Packet Identifier not found", "PUBREL PUBCOMP"),
    (0x93, "Receive Maximum exceeded", "DISCONNECTc DISCONNECTs"),
    (0x94, "Topic Alias invalid", "DISCONNECTc DISCONNECTs"),
    (0x95, "Packet too large", "CONNACK DISCONNECTc DISCONNECTs"),
    (0x96, "Message rate too high", "DISCONNECTc DISCONNECTs"),
    (0x97, "Quota exceeded", "CONNACK PUBACK PUBREC SUBACK DISCONNECTc DISCONNECTs"),
    (0x98, "Administrative action", "DISCONNECTc DISCONNECTs"),
    (0x99, "Payload format invalid", "CONNACK PUBACK PUBREC DISCONNECTc DISCONNECTs"),
    (0x9A, "Retain not supported", "CONNACK DISCONNECTs"),
    (0x9B, "QoS not supported", "CONNACK DISCONNECTc DISCONNECTs"),
    (0x9C, "Use another server", "CONNACK DISCONNECTs"),
    (0x9D, "Server moved", "CONNACK DISCONNECTs"),
    (0x9E, "Shared Subscriptions not supported", "SUBACK DISCONNECTs"),
    (0x9F, "Connection rate exceeded", "CONNACK DISCONNECTs"),
    (0xA0, "Maximum connect time", "DISCONNECTs"),
    (0xA1, "Subscription Identifiers not supported", "SUBACK DISCONNECTs"),
    (0xA2, "Wildcard Subscriptions not supported", "SUBACK DISCONNECTs"),
];

/// The packets with a reason code: `@` is its place; and the statement that lists their codes.
const PACKETS: [(&str, PacketType, &str, &str); 9] = [
    ("CONNACK", PacketType::ConnAck, "20 .. 00 @ {}", "[MQTT-3.2.2-8]"),
    ("PUBACK", PacketType::PubAck, "40 .. 0001 @", "[MQTT-3.4.2-1]"),
    ("PUBREC", PacketType::PubRec, "50 .. 0001 @", "[MQTT-3.5.2-1]"),
    ("PUBREL", PacketType::PubRel, "62 .. 0001 @", "[MQTT-3.6.2-1]"),
    ("PUBCOMP", PacketType::PubComp, "70 .. 0001 @", "[MQTT-3.7.2-1]"),
    ("SUBACK", PacketType::SubAck, "90 .. 0001 {} 00 @", "[MQTT-3.9.3-2 @5.0]"),
    ("UNSUBACK", PacketType::UnsubAck, "B0 .. 0001 {} 00 @", "[MQTT-3.11.3-2]"),
    ("DISCONNECT", PacketType::Disconnect, "E0 .. @", "[MQTT-3.14.2-1]"),
    ("AUTH", PacketType::Auth, "F0 .. @ {15 \"m\"}", "[MQTT-3.15.2-1]"),
];

/// Whether the table gives `code` to this packet, from this side where the packet has two.
fn listed(code: u8, packet: &str, role: Option<Role>) -> bool {
    let packets = TABLE.iter().find(|row| row.0 == code).map_or("", |row| row.2);
    let mut words = packets.split(' ');
    words.any(|word| match word.strip_prefix(packet) {
        Some("") => true,
        Some("c") => role != Some(Role::Server),
        Some("s") => role != Some(Role::Client),
        _ => false,
    })
}

#[test]
fn each_code_stands_where_the_table_has_it_and_nowhere_else() {
    for (name, packet, template, rule) in PACKETS {
        for code in 0..=255_u8 {
            let bytes = wire(&template.replace('@', &format!("{code:02X}")));
            let is_listed = listed(code, name, None);
            assert_eq!(ReasonCode(code).is_allowed_in(packet), is_listed, "{code:#04x} in {name}");
            assert_eq!(ReasonCode(code).can_be_told(Version::V5, packet), is_listed);
            if is_listed {
                accepted(&bytes, Version::V5);
                continue;
            }
            let error = DecodeError::ReasonCode(packet);
            assert_eq!(decode(&bytes, Version::V5), Err(error), "{code:#04x} in {name}");
            let number = rule.trim_matches(['[', ']']).trim_end_matches(" @5.0");
            assert_eq!(error.rule(Version::V5), number);
            assert_eq!(error.reason_code(), ReasonCode::PROTOCOL_ERROR);
        }
    }
}

#[test]
fn each_code_is_written_where_the_table_has_it_and_nowhere_else() {
    // [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2 @5.0]
    // [MQTT-3.11.3-2] [MQTT-3.14.2-1] [MQTT-3.15.2-1]
    let method = [0x15, 0, 1, b'm'];
    let method = Properties::from_block(&method, PropertyPlace::of(PacketType::Auth)).unwrap();
    let id = PacketId::MIN;
    for code in 0..=255 {
        let (reason_code, codes) = (ReasonCode(code), [0, code]);
        let ack = |kind| Packet::Ack(Ack { reason_code, ..Ack::new(kind, id) });
        let packets = [
            Packet::ConnAck(ConnAck::new(false, reason_code)),
            ack(AckKind::PubAck),
            ack(AckKind::PubRec),
            ack(AckKind::PubRel),
            ack(AckKind::PubComp),
            Packet::SubAck(SubAck::new(id, &codes)),
            Packet::UnsubAck(UnsubAck::new(id, &codes)),
            Packet::Disconnect(Disconnect::new(reason_code)),
            Packet::Auth(Auth::new(reason_code, method)),
        ];
        for ((name, packet_type, ..), packet) in PACKETS.into_iter().zip(packets) {
            let written = encode(&packet, Version::V5);
            if listed(code, name, None) {
                assert_eq!(accepted(&written.unwrap(), Version::V5), packet);
            } else {
                let error = EncodeError::Rule(DecodeError::ReasonCode(packet_type));
                assert_eq!(written, Err(error), "{code:#04x} in {name}");
            }
        }
    }
}

#[test]
fn some_codes_belong_to_one_side() {
    // [MQTT-3.14.2-1] [MQTT-3.15.2-1]
    for (name, packet_type, template, rule) in PACKETS {
        for role in [Role::Client, Role::Server] {
            for (code, ..) in TABLE.into_iter().filter(|row| listed(row.0, name, None)) {
                let bytes = wire(&template.replace('@', &format!("{code:02X}")));
                let packet = accepted(&bytes, Version::V5);
                let may_send = packet_type.is_sent_by(role) && listed(code, name, Some(role));
                let asked = ReasonCode(code).is_allowed_from(role, packet_type);
                assert_eq!(asked, may_send, "{code:#04x} in {name} from {role:?}");
                let error = match packet_type.is_sent_by(role) {
                    true => DecodeError::ReasonCode(packet_type),
                    false => DecodeError::UnexpectedPacket,
                };
                let checked = packet.check_sender(role, Version::V5);
                assert_eq!(
                    checked,
                    if may_send { Ok(()) } else { Err(error) },
                    "{packet} from {role:?} {rule}"
                );
            }
        }
    }
}

#[test]
fn codes_have_the_names_of_the_standard() {
    for code in 0..=255 {
        let name = TABLE.iter().find(|row| row.0 == code).map(|row| row.1);
        assert_eq!(ReasonCode(code).name(), name);
        assert_eq!(ReasonCode(code).is_error(), code >= 0x80);
        let shown = format!("0x{code:02X} {}", name.unwrap_or("unknown reason"));
        assert_eq!(ReasonCode(code).to_string(), shown);
    }
}

#[test]
fn packets_without_a_code_allow_none() {
    for packet in (1..16).filter_map(PacketType::from_number) {
        if PACKETS.iter().all(|row| row.1 != packet) {
            for code in 0..=255 {
                assert!(!ReasonCode(code).is_allowed_in(packet), "{code:#04x} in {packet:?}");
                assert!(!ReasonCode(code).is_allowed_from(Role::Client, packet));
                assert!(!ReasonCode(code).is_allowed_from(Role::Server, packet));
            }
        }
    }
}
