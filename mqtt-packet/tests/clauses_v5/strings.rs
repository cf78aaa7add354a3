//! Section 1.5.4 and 1.5.7: the rules of strings, in every field that is one; sections 4.7.1 to 4.8.2: topic names,
//! filters and shared filters.

use crate::refused;
use crate::wire::{self, frame, prefixed, stands, wire};
use mqtt_packet::{
    DecodeError, Packet, PropertyPlace, PropertyWriter, ReasonCode, StringError, TopicFilter, TopicName,
    Version,
};

const MALFORMED: ReasonCode = ReasonCode::MALFORMED_PACKET;

/// Every string of 5.0, `@` being its place.
const FIELDS: [(&str, &str); 24] = [
    ("[MQTT-3.1.3-4 @5.0] client identifier", "10 .. 0004'MQTT' 05 02 003C {} @"),
    ("[MQTT-3.1.3-11 @5.0] will topic", "10 .. 0004'MQTT' 05 06 003C {} \"c\" {} @ \"will\""),
    ("[MQTT-3.1.3-12] user name", "10 .. 0004'MQTT' 05 82 003C {} \"c\" @"),
    ("[MQTT-3.3.2-1 @5.0] topic name", "30 .. @ {} 'payload'"),
    ("[MQTT-3.8.3-1 @5.0] topic filter of SUBSCRIBE", "82 .. 0001 {} \"first\" 00 @ 01"),
    ("[MQTT-3.10.3-1 @5.0] topic filter of UNSUBSCRIBE", "A2 .. 0001 {} \"first\" @"),
    ("[MQTT-3.3.2-13] response topic", "30 .. \"a\" {08 @}"),
    ("[MQTT-3.3.2-13] response topic of a will", "10 .. 0004'MQTT' 05 06 003C {} \"c\" {08 @} \"t\" \"m\""),
    ("[MQTT-3.3.2-19] content type", "30 .. \"a\" {03 @}"),
    ("[MQTT-3.3.2-19] content type of a will", "10 .. 0004'MQTT' 05 06 003C {} \"c\" {03 @} \"t\" \"m\""),
    ("assigned client identifier", "20 .. 00 00 {12 @}"),
    ("response information", "20 .. 00 00 {1A @}"),
    ("server reference", "20 .. 00 9C {1C @}"),
    ("server reference of DISCONNECT", "E0 .. 9C {1C @}"),
    ("authentication method of CONNECT", "10 .. 0004'MQTT' 05 02 003C {15 @} \"c\""),
    ("authentication method of AUTH", "F0 .. 18 {15 @}"),
    ("reason string of PUBACK", "40 .. 0001 80 {1F @}"),
    ("reason string of SUBACK", "90 .. 0001 {1F @} 00"),
    ("reason string of DISCONNECT", "E0 .. 80 {1F @}"),
    ("[MQTT-1.5.7-1] name of a user property", "30 .. \"a\" {26 @ \"value\"}"),
    ("[MQTT-1.5.7-1] value of a user property", "30 .. \"a\" {26 \"name\" @}"),
    ("[MQTT-1.5.7-1] name of the second user property", "82 .. 0001 {26 \"n\" \"v\" 26 @ \"v\"} \"a\" 00"),
    ("[MQTT-1.5.7-1] value of a user property of CONNECT", "10 .. 0004'MQTT' 05 02 003C {26 \"n\" @} \"c\""),
    (
        "[MQTT-1.5.7-1] value of a user property of a will",
        "10 .. 0004'MQTT' 05 06 003C {} \"c\" {26 \"n\" @} \"t\" \"m\"",
    ),
];

fn with(template: &str, text: &[u8]) -> Vec<u8> {
    let hex: String = prefixed(text).iter().map(|byte| format!("{byte:02X}")).collect();
    wire(&template.replace('@', &hex))
}

#[test]
fn ill_formed_utf_8_is_refused_in_every_string() {
    // [MQTT-1.5.4-1]
    let ill_formed: [&[u8]; 10] = [
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xC0\x80",
        b"\xE0\x80\xAF",
        b"\xF4\x90\x80\x80",
        b"\xFE",
        b"\xBF",
        b"a\xE2\x82",
        b"a text of several words and \xC3",
        b"\xC3\xC3",
    ];
    for (_, template) in FIELDS {
        for text in ill_formed {
            let error = DecodeError::String(StringError::IllFormed);
            wire::refused(&with(template, text), Version::V5, error, "MQTT-1.5.4-1", MALFORMED);
        }
    }
}

#[test]
fn u_0000_is_refused_in_every_string() {
    // [MQTT-1.5.4-2], for topic names and filters also [MQTT-4.7.3-2 @5.0]
    for (_, template) in FIELDS {
        for text in [&b"\0"[..], b"a\0b", b"a text of several words and \0"] {
            let error = DecodeError::String(StringError::NullCharacter);
            wire::refused(&with(template, text), Version::V5, error, "MQTT-1.5.4-2", MALFORMED);
        }
    }
}

#[test]
fn u_feff_is_kept_everywhere() {
    // [MQTT-1.5.4-3]
    for (field, template) in FIELDS {
        for text in ["\u{FEFF}", "\u{FEFF}a", "a\u{FEFF}b"] {
            let bytes = with(template, text.as_bytes());
            let packet = stands(&bytes, Version::V5);
            let shown = text.escape_debug().to_string();
            assert!(packet.to_string().contains(&shown), "{field}: {packet}");
        }
    }
}

#[test]
fn control_characters_and_non_characters_are_for_the_receiver_to_decide() {
    let error = StringError::DisallowedCharacter;
    assert_eq!((error.rule(Version::V5), error.reason_code()), ("section 1.5.4", MALFORMED));
    for (field, template) in FIELDS {
        for text in ["\u{1}", "a\u{85}", "\u{FFFE}", "\u{2FFFF}"] {
            let bytes = with(template, text.as_bytes());
            stands(&bytes, Version::V5);
            let strict = Packet::decode(frame(&bytes).strict(), Version::V5);
            assert_eq!(strict, Err(DecodeError::String(error)), "{field} {text:?}");
        }
        let bytes = with(template, "fine \u{1F980}".as_bytes());
        assert!(Packet::decode(frame(&bytes).strict(), Version::V5).is_ok(), "{field}");
    }
}

#[test]
fn strings_may_be_empty_or_65_535_bytes_long() {
    let longest = "x".repeat(65_535);
    for (field, template) in FIELDS {
        stands(&with(template, longest.as_bytes()), Version::V5);
        let is_topic = field.contains("topic");
        let decoded = wire::decode(&with(template, b""), Version::V5).map(|_| ());
        assert_eq!(decoded.is_err(), is_topic, "{field}");
    }
}

#[test]
fn topic_names_and_filters_have_a_character() {
    // [MQTT-4.7.3-1 @5.0]
    let (error, code) = (DecodeError::String(StringError::EmptyFilter), ReasonCode::TOPIC_FILTER_INVALID);
    refused("82 .. 0001 {} \"\" 00", error, "MQTT-4.7.3-1", code);
    refused("A2 .. 0001 {} \"a\" \"\"", error, "MQTT-4.7.3-1", code);
    let (error, code) = (DecodeError::String(StringError::Empty), ReasonCode::TOPIC_NAME_INVALID);
    refused("10 .. 0004'MQTT' 05 06 003C {} \"c\" {} \"\" \"m\"", error, "MQTT-4.7.3-1", code);
    let (error, code) = (DecodeError::ResponseTopic, ReasonCode::PROTOCOL_ERROR);
    refused("30 .. \"a\" {08 \"\"}", error, "MQTT-3.3.2-14", code);
    // Only a Topic Alias can stand for the name of a PUBLISH.
    stands(&wire("30 .. \"\" {23 0001}"), Version::V5);
}

#[test]
fn topic_names_and_filters_have_at_most_65_535_bytes() {
    // [MQTT-4.7.3-3 @5.0]: the length prefix cannot say more, and no value can be made
    let too_long = "x".repeat(65_536);
    let error = StringError::TooLong;
    assert_eq!(TopicName::new(&too_long), Err(error));
    assert_eq!(TopicFilter::new(&too_long), Err(error));
    assert_eq!((error.rule(Version::V5), error.reason_code()), ("MQTT-4.7.3-3", MALFORMED));
}

#[test]
fn wildcards_are_for_filters_only() {
    // [MQTT-4.7.0-1] [MQTT-3.3.2-2 @5.0]
    let (error, code) = (DecodeError::String(StringError::Wildcard), ReasonCode::TOPIC_NAME_INVALID);
    for text in ["#", "+", "a/+/b", "a/#", "a+b", "#a"] {
        refused(&format!("30 .. \"{text}\" {{}}"), error, "MQTT-3.3.2-2", code);
        refused(&format!("30 .. \"{text}\" {{23 0001}}"), error, "MQTT-3.3.2-2", code);
        let will = format!("10 .. 0004'MQTT' 05 06 003C {{}} \"c\" {{}} \"{text}\" \"m\"");
        refused(&will, DecodeError::WillTopicWildcard, "MQTT-4.7.0-1", code);
        assert_eq!(TopicName::new(text), Err(StringError::Wildcard));
    }
    for text in ["#", "+", "a/+/b", "a/#"] {
        stands(&wire(&format!("82 .. 0001 {{}} \"{text}\" 00")), Version::V5);
        stands(&wire(&format!("A2 .. 0001 {{}} \"{text}\"")), Version::V5);
    }
}

#[test]
fn response_topic_has_no_wildcard() {
    // [MQTT-3.3.2-14]
    for text in ["#", "+", "a/+", "a/#"] {
        for template in [FIELDS[6].1, FIELDS[7].1] {
            let (error, code) = (DecodeError::ResponseTopic, ReasonCode::PROTOCOL_ERROR);
            wire::refused(&with(template, text.as_bytes()), Version::V5, error, "MQTT-3.3.2-14", code);
        }
    }
    // An encoder has no way to say it: the value is a topic name, and the absent one is refused.
    let mut memory = [0; 16];
    let mut writer = PropertyWriter::new(PropertyPlace::WILL, &mut memory);
    let absent = mqtt_packet::Property::ResponseTopic(TopicName::ALIASED);
    assert_eq!(writer.push(absent).unwrap_err(), DecodeError::ResponseTopic.into());
}

/// A filter that is not one, in SUBSCRIBE and UNSUBSCRIBE.
fn filter_refused(text: &str, error: StringError, rule: &str) {
    let (error, code) = (DecodeError::String(error), ReasonCode::TOPIC_FILTER_INVALID);
    refused(&format!("82 .. 0001 {{}} \"a\" 00 \"{text}\" 00"), error, rule, code);
    refused(&format!("A2 .. 0001 {{}} \"{text}\""), error, rule, code);
}

#[test]
fn multi_level_wildcard_is_the_last_level() {
    // [MQTT-4.7.1-1 @5.0]
    for text in ["sport/tennis#", "a/#/b", "##", "#/", "$share/g/a#", "$share/g/#/b", "a filter of words/#/b"]
    {
        filter_refused(text, StringError::MultiLevelWildcard, "MQTT-4.7.1-1");
    }
    for text in ["#", "a/#", "/#", "+/#", "$share/g/#", "$SYS/#", "a filter of several words/#"] {
        stands(&wire(&format!("82 .. 0001 {{}} \"{text}\" 00")), Version::V5);
    }
}

#[test]
fn single_level_wildcard_is_a_level() {
    // [MQTT-4.7.1-2 @5.0]
    for text in ["a+", "+a", "a/b+", "++", "a/+b/c", "$share/g/a+", "a filter of words/a+"] {
        filter_refused(text, StringError::SingleLevelWildcard, "MQTT-4.7.1-2");
    }
    for text in ["+", "+/a", "a/+/b", "+/+", "$share/g/+", "$SYS/+", "a filter of several words/+/x"] {
        stands(&wire(&format!("82 .. 0001 {{}} \"{text}\" 00")), Version::V5);
    }
}

#[test]
fn share_name_has_a_character() {
    // [MQTT-4.8.2-1]
    for text in ["$share/", "$share//", "$share//a"] {
        filter_refused(text, StringError::ShareName, "MQTT-4.8.2-1");
    }
    for (text, share_name, inner) in [
        ("$share/g/a", "g", "a"),
        ("$share/group one/+/b/#", "group one", "+/b/#"),
        ("$share/$/$SYS/x", "$", "$SYS/x"),
        ("$share/\u{20AC}//", "\u{20AC}", "/"),
    ] {
        stands(&wire(&format!("82 .. 0001 {{}} \"{text}\" 00")), Version::V5);
        let shared = TopicFilter::new(text).unwrap().shared().unwrap().unwrap();
        assert_eq!((shared.share_name.as_str(), shared.filter.as_str()), (share_name, inner));
    }
    // Only `$share/` makes a shared filter.
    for text in ["$share", "$Share/g/a", "$shared/g/a", "/$share/g/a", "share/g/a", "$SHARE//"] {
        assert_eq!(TopicFilter::new(text).unwrap().shared(), Ok(None));
        stands(&wire(&format!("82 .. 0001 {{}} \"{text}\" 00")), Version::V5);
    }
}

#[test]
fn share_name_has_no_wildcard_and_a_filter_follows() {
    // [MQTT-4.8.2-2]
    for text in ["$share/+/a", "$share/#"] {
        filter_refused(text, StringError::ShareNameWildcard, "MQTT-4.8.2-2");
    }
    // The wildcard rules of the whole filter may see it first.
    for text in ["$share/a+/a", "$share/g#/a", "$share/#/a"] {
        assert!(wire::decode(&wire(&format!("82 .. 0001 {{}} \"{text}\" 00")), Version::V5).is_err());
    }
    for text in ["$share/g", "$share/g/"] {
        filter_refused(text, StringError::ShareFilter, "MQTT-4.8.2-2");
    }
}
