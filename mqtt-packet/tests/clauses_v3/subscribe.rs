//! Sections 3.8 to 3.11 and 4.7: subscriptions, their answers, topic filters.

use crate::wire::{V3, accepted, encode, refused, stands, wire};
use mqtt_packet::{
    DecodeError, EncodeError, Filters, Packet, PacketId, PacketType, Properties, QoS, ReasonCode,
    RetainHandling, StringError, SubAck, Subscribe, SubscribeFilter, SubscribeOptions, TopicFilter, UnsubAck,
    Unsubscribe, Version,
};

const MALFORMED: ReasonCode = ReasonCode::MALFORMED_PACKET;
const ID: PacketId = PacketId::MIN;

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

#[test]
fn subscribe_has_a_filter() {
    // [MQTT-3.8.3-3 @3.1.1]: decoder and encoder
    for version in V3 {
        let error = DecodeError::NoFilters(PacketType::Subscribe);
        refused(&wire("82 02 0001"), version, error, "MQTT-3.8.3-3", ReasonCode::PROTOCOL_ERROR);
        let none = Packet::Subscribe(Subscribe::new(ID, &[]));
        assert_eq!(encode(&none, version), Err(EncodeError::Rule(error)));
    }
}

#[test]
fn unsubscribe_has_a_filter() {
    // [MQTT-3.10.3-2 @3.1.1]: decoder and encoder
    for version in V3 {
        let error = DecodeError::NoFilters(PacketType::Unsubscribe);
        refused(&wire("A2 02 0001"), version, error, "MQTT-3.10.3-2", ReasonCode::PROTOCOL_ERROR);
        let none = Unsubscribe { id: ID, properties: Properties::EMPTY, filters: Filters::new(&[]) };
        assert_eq!(encode(&Packet::Unsubscribe(none), version), Err(EncodeError::Rule(error)));
    }
}

#[test]
fn requested_qos_is_0_1_or_2_and_nothing_else_is_in_its_byte() {
    // [MQTT-3.8.3-4 @3.1.1]
    for byte in 0..=255_u8 {
        let bytes = wire(&format!("82 .. 0001 \"a/b\" 02 \"c\" {byte:02X}"));
        match QoS::from_bits(byte) {
            Some(qos) => {
                let Packet::Subscribe(subscribe) = stands(&bytes, Version::V3_1_1) else {
                    panic!("not a SUBSCRIBE")
                };
                let last = subscribe.filters.iter().last().unwrap();
                assert_eq!(last.options, SubscribeOptions::new(qos));
            }
            None => {
                let (error, code) = match byte {
                    3 => (DecodeError::SubscribeQosReserved, ReasonCode::PROTOCOL_ERROR),
                    _ => (DecodeError::SubscribeOptionsReserved, MALFORMED),
                };
                refused(&bytes, Version::V3_1_1, error, "MQTT-3.8.3-4", code);
            }
        }
        // In 3.1 the other bits are reserved and nobody looks at them.
        let decoded = crate::wire::decode(&bytes, Version::V3_1);
        assert_eq!(decoded.is_ok(), byte & 3 != 3, "{byte:#04x}");
    }
}

#[test]
fn options_of_5_0_are_left_out() {
    let options = SubscribeOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filters = [SubscribeFilter { filter: filter("a"), options }];
    for version in V3 {
        let bytes = encode(&Packet::Subscribe(Subscribe::new(ID, &filters)), version);
        assert_eq!(bytes.unwrap(), wire("82 .. 0001 \"a\" 01"));
    }
}

#[test]
fn several_filters_stay_in_order() {
    // [MQTT-3.8.3-1 @3.1.1] [MQTT-3.10.3-1 @3.1.1]: one behind the other, without gaps
    let bytes = wire("82 .. 0001 \"a/#\" 00 \"+\" 01 \"a/#\" 02");
    let Packet::Subscribe(subscribe) = stands(&bytes, Version::V3_1_1) else { panic!("not a SUBSCRIBE") };
    let entries: Vec<_> =
        subscribe.filters.iter().map(|entry| (entry.filter.as_str(), entry.options.qos as u8)).collect();
    assert_eq!(entries, [("a/#", 0), ("+", 1), ("a/#", 2)]);
    let bytes = wire("A2 .. 0001 \"b\" \"a\" \"b\"");
    let Packet::Unsubscribe(unsubscribe) = stands(&bytes, Version::V3_1_1) else {
        panic!("not an UNSUBSCRIBE")
    };
    assert_eq!(unsubscribe.filters.iter().map(TopicFilter::as_str).collect::<Vec<_>>(), ["b", "a", "b"]);
    let gaps = [
        "A2 .. 0001 \"a\" 00",
        "A2 .. 0001 \"a\" FF \"b\"",
        "A2 .. 0001 \"a\" 0002 'b'",
        "82 .. 0001 \"a\" 00 00",
        "82 .. 0001 \"a\" 00 FF \"b\" 00",
        "82 .. 0001 \"a\"",
        "82 .. 0001 \"a\" 00 \"b\"",
        "82 .. 0001 0002 'a'",
        "82 01 00",
        "A2 01 00",
    ];
    for notation in gaps {
        for version in V3 {
            refused(&wire(notation), version, DecodeError::Truncated, "MQTT-4.8.0-1", MALFORMED);
        }
    }
}

#[test]
fn suback_codes_are_0_1_2_and_0x80() {
    // [MQTT-3.9.3-2 @3.1.1]
    let bytes = wire("90 .. 0001 00 01 02 80");
    let Packet::SubAck(suback) = stands(&bytes, Version::V3_1_1) else { panic!("not a SUBACK") };
    assert_eq!(suback.reason_codes.iter().map(|code| code.0).collect::<Vec<_>>(), [0, 1, 2, 0x80]);
    for code in (0..=255).filter(|code| ![0, 1, 2, 0x80].contains(code)) {
        let error = DecodeError::ReasonCode(PacketType::SubAck);
        for bytes in [wire(&format!("90 03 0001 {code:02X}")), wire(&format!("90 04 0001 00 {code:02X}"))] {
            refused(&bytes, Version::V3_1_1, error, "MQTT-3.9.3-2", ReasonCode::PROTOCOL_ERROR);
        }
    }
}

#[test]
fn every_refusal_is_written_as_0x80() {
    // [MQTT-3.9.3-2 @3.1.1]: whatever reason the server has
    let each = |version| (0..=255_u8).map(move |code| (version, code));
    for (version, code) in V3.into_iter().flat_map(each) {
        let codes = [1, code];
        let written = encode(&Packet::SubAck(SubAck::new(ID, &codes)), version);
        match code {
            0..=2 => assert_eq!(written.unwrap(), [0x90, 4, 0, 1, 1, code]),
            0x80.. => assert_eq!(written.unwrap(), [0x90, 4, 0, 1, 1, 0x80]),
            _ => {
                let error = DecodeError::ReasonCode(PacketType::SubAck);
                assert_eq!(written, Err(EncodeError::Rule(error)));
            }
        }
    }
}

/// 3.1 has no refusal: of its two bits of QoS, 0x80 has neither, and a client that knows 3.1.1 reads a refusal.
#[test]
fn refusal_in_3_1_is_the_least_qos_for_who_reads_two_bits() {
    let bytes = wire("90 .. 0001 01 80");
    let Packet::SubAck(suback) = stands(&bytes, Version::V3_1) else { panic!("not a SUBACK") };
    assert_eq!(suback.reason_codes.iter().map(|code| code.is_error()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(bytes[5] & 0b11, QoS::AtMostOnce as u8);
}

#[test]
fn suback_has_a_code() {
    for version in V3 {
        let error = DecodeError::NoReasonCodes(PacketType::SubAck);
        refused(&wire("90 02 0001"), version, error, "MQTT-3.8.4-5", ReasonCode::PROTOCOL_ERROR);
        let none = Packet::SubAck(SubAck::new(ID, &[]));
        assert_eq!(encode(&none, version), Err(EncodeError::Rule(error)));
    }
}

#[test]
fn unsuback_has_no_codes() {
    for version in V3 {
        let packet = Packet::UnsubAck(UnsubAck::new(ID, &[0x11, 0x87]));
        let bytes = encode(&packet, version).unwrap();
        assert_eq!(bytes, [0xB0, 2, 0, 1]);
        let Packet::UnsubAck(unsuback) = accepted(&bytes, version) else { panic!("not an UNSUBACK") };
        assert!(unsuback.reason_codes.is_empty());
    }
}

/// A filter that is not one must not be taken from the wire and not be made.
fn filter_refused(text: &str, error: StringError, rule: &str) {
    let code = ReasonCode::TOPIC_FILTER_INVALID;
    for notation in [format!("82 .. 0001 \"a\" 00 \"{text}\" 00"), format!("A2 .. 0001 \"{text}\"")] {
        refused(&wire(&notation), Version::V3_1_1, DecodeError::String(error), rule, code);
    }
    assert_eq!(TopicFilter::new(text), Err(error));
}

#[test]
fn multi_level_wildcard_is_the_last_level() {
    // [MQTT-4.7.1-2 @3.1.1]
    for text in
        ["sport/tennis#", "sport/tennis/#/ranking", "a/#/b", "##", "#/", "#a", "a#", "a/#b", "#/+", "/##"]
    {
        filter_refused(text, StringError::MultiLevelWildcard, "MQTT-4.7.1-2");
    }
    for text in ["#", "/#", "sport/#", "sport/tennis/player1/#", "+/#", "//#", "\u{20AC}/#"] {
        assert!(filter(text).has_wildcard());
        stands(&wire(&format!("82 .. 0001 \"{text}\" 00")), Version::V3_1_1);
    }
}

#[test]
fn single_level_wildcard_is_a_level() {
    // [MQTT-4.7.1-3]
    for text in ["sport+", "a+", "+a", "a/b+", "a/+b/c", "++", "+ /a", "a/++", "\u{20AC}+"] {
        filter_refused(text, StringError::SingleLevelWildcard, "MQTT-4.7.1-3");
    }
    for text in ["+", "+/", "/+", "+/tennis/#", "sport/+/player1", "+/+", "a/+", "//+//", "\u{20AC}/+"] {
        assert!(filter(text).has_wildcard());
        stands(&wire(&format!("82 .. 0001 \"{text}\" 00")), Version::V3_1_1);
    }
}

#[test]
fn wildcards_are_for_filters_only() {
    // [MQTT-4.7.1-1 @3.1.1]: the same text is a filter and not a topic name
    for text in ["#", "+", "a/+/b", "a/#"] {
        assert!(TopicFilter::new(text).is_ok());
        assert_eq!(mqtt_packet::TopicName::new(text), Err(StringError::Wildcard));
    }
    assert!(!filter("a/b").has_wildcard());
}

#[test]
fn share_means_nothing_before_5_0() {
    for text in ["$share", "$share/", "$share//a", "$share/group", "$share/group/a/#"] {
        for version in V3 {
            stands(&wire(&format!("82 .. 0001 \"{text}\" 00")), version);
            stands(&wire(&format!("A2 .. 0001 \"{text}\"")), version);
        }
    }
}
