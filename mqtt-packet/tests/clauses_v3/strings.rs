//! Section 1.5.3: the rules of strings, in every field that is one; section 4.7.3: topic names and filters.

use crate::wire::{V3, accepted, decode, encoded, frame, prefixed, refused, stands, wire};
use mqtt_packet::{DecodeError, Packet, ReasonCode, StringError, TopicFilter, TopicName, Utf8Str, Version};

/// Every string of 3.1.1, `@` being its place.
const FIELDS: [(&str, &str); 6] = [
    ("[MQTT-3.1.3-4 @3.1.1] client identifier", "10 .. 0004'MQTT' 04 02 003C @"),
    ("[MQTT-3.1.3-10 @3.1.1] will topic", "10 .. 0004'MQTT' 04 06 003C \"c\" @ \"will\""),
    ("[MQTT-3.1.3-11 @3.1.1] user name", "10 .. 0004'MQTT' 04 82 003C \"c\" @"),
    ("[MQTT-3.3.2-1 @3.1.1] topic name", "30 .. @ 'payload'"),
    ("[MQTT-3.8.3-1 @3.1.1] topic filter of SUBSCRIBE", "82 .. 0001 \"first\" 00 @ 01"),
    ("[MQTT-3.10.3-1 @3.1.1] topic filter of UNSUBSCRIBE", "A2 .. 0001 \"first\" @"),
];

fn with(template: &str, text: &[u8]) -> Vec<u8> {
    let hex: String = prefixed(text).iter().map(|byte| format!("{byte:02X}")).collect();
    wire(&template.replace('@', &hex))
}

#[test]
fn ill_formed_utf_8_is_refused_in_every_string() {
    // [MQTT-1.5.3-1]
    let ill_formed: [&[u8]; 14] = [
        b"\xED\xA0\x80",             // U+D800, the first surrogate
        b"\xED\xBF\xBF",             // U+DFFF, the last one
        b"\xED\xA0\xB4\xED\xB4\x9E", // a pair of surrogates
        b"\xC0\x80",                 // U+0000 in two bytes
        b"\xC1\xBF",                 // `DEL` in two bytes
        b"\xE0\x9F\xBF",             // three bytes where two do
        b"\xF0\x8F\xBF\xBF",         // four bytes where three do
        b"\xF4\x90\x80\x80",         // behind U+10FFFF
        b"\xF5\x80\x80\x80",
        b"\xFF",
        b"\x80",  // starts in the middle
        b"a\xC3", // ends in the middle
        b"long enough for a word \xE2\x82",
        b"\xC3(",
    ];
    for (field, template) in FIELDS {
        for text in ill_formed {
            let error = DecodeError::String(StringError::IllFormed);
            for version in
                V3.into_iter().filter(|version| *version == Version::V3_1_1 || !template.starts_with("10"))
            {
                let bytes = with(template, text);
                assert_eq!(decode(&bytes, version), Err(error), "{field}");
                refused(&bytes, version, error, "MQTT-1.5.3-1", ReasonCode::MALFORMED_PACKET);
            }
        }
    }
}

#[test]
fn u_0000_is_refused_in_every_string() {
    // [MQTT-1.5.3-2], for topic names and filters also [MQTT-4.7.3-2 @3.1.1]
    let texts: [&[u8]; 4] = [b"\0", b"a\0", b"\0a", b"a long string with \0 in it"];
    for (field, template) in FIELDS {
        for text in texts {
            let bytes = with(template, text);
            let error = DecodeError::String(StringError::NullCharacter);
            assert_eq!(decode(&bytes, Version::V3_1_1), Err(error), "{field}");
            refused(&bytes, Version::V3_1_1, error, "MQTT-1.5.3-2", ReasonCode::MALFORMED_PACKET);
        }
    }
    assert_eq!(TopicName::new("a\0"), Err(StringError::NullCharacter));
    assert_eq!(TopicFilter::new("a/\0/#"), Err(StringError::NullCharacter));
    assert_eq!(Utf8Str::new("\0"), Err(StringError::NullCharacter));
}

#[test]
fn u_feff_is_kept_everywhere() {
    // [MQTT-1.5.3-3]
    for text in ["\u{FEFF}", "\u{FEFF}a", "a\u{FEFF}", "a\u{FEFF}b"] {
        for (field, template) in FIELDS {
            let bytes = with(template, text.as_bytes());
            let packet = stands(&bytes, Version::V3_1_1);
            let kept = match packet {
                Packet::Connect(connect) => {
                    let will_topic = connect.will.map(|will| will.topic.as_str());
                    will_topic
                        .or(connect.user_name.map(Utf8Str::as_str))
                        .unwrap_or(connect.client_id.as_str())
                }
                Packet::Publish(publish) => publish.topic.as_str(),
                Packet::Subscribe(subscribe) => subscribe.filters.iter().last().unwrap().filter.as_str(),
                Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.iter().last().unwrap().as_str(),
                other => panic!("{other}"),
            };
            assert_eq!(kept, text, "{field}");
        }
    }
}

#[test]
fn control_characters_and_non_characters_are_for_the_receiver_to_decide() {
    let doubtful = [
        "\u{1}",
        "\u{1F}",
        "\u{7F}",
        "\u{80}",
        "\u{9F}",
        "\u{FDD0}",
        "\u{FDEF}",
        "\u{FFFE}",
        "\u{FFFF}",
        "\u{1FFFE}",
        "\u{10FFFF}",
    ];
    let fine = [" ", "~", "\u{A0}", "\u{FDCF}", "\u{FDF0}", "\u{FFFD}", "\u{10FFFD}", "\u{E000}"];
    for (field, template) in FIELDS {
        for text in doubtful {
            let bytes = with(template, text.as_bytes());
            stands(&bytes, Version::V3_1_1);
            let strict = Packet::decode(frame(&bytes).strict(), Version::V3_1_1);
            let error = DecodeError::String(StringError::DisallowedCharacter);
            assert_eq!(strict, Err(error), "{field} {text:?}");
            assert_eq!(error.reason_code(), ReasonCode::MALFORMED_PACKET);
        }
        for text in fine {
            let bytes = with(template, text.as_bytes());
            assert!(Packet::decode(frame(&bytes).strict(), Version::V3_1_1).is_ok(), "{field} {text:?}");
        }
    }
}

#[test]
fn topic_names_and_filters_have_a_character() {
    // [MQTT-4.7.3-1 @3.1.1]
    let code = ReasonCode::TOPIC_FILTER_INVALID;
    for notation in
        ["82 .. 0001 \"\" 00", "82 .. 0001 \"a\" 00 \"\" 00", "A2 .. 0001 \"\"", "A2 .. 0001 \"a\" \"\""]
    {
        let error = DecodeError::String(StringError::EmptyFilter);
        refused(&wire(notation), Version::V3_1_1, error, "MQTT-4.7.3-1", code);
    }
    let will = wire("10 .. 0004'MQTT' 04 06 003C \"c\" \"\" \"will\"");
    let error = DecodeError::String(StringError::Empty);
    refused(&will, Version::V3_1_1, error, "MQTT-4.7.3-1", ReasonCode::TOPIC_NAME_INVALID);
    let publish = wire("30 .. \"\" 'payload'");
    let error = DecodeError::TopicMissing;
    refused(&publish, Version::V3_1_1, error, "MQTT-4.7.3-1", ReasonCode::PROTOCOL_ERROR);
    assert_eq!(TopicName::new(""), Err(StringError::Empty));
    assert_eq!(TopicFilter::new(""), Err(StringError::EmptyFilter));
    stands(&wire("30 .. \"/\""), Version::V3_1_1);
    stands(&wire("82 .. 0001 \"/\" 00"), Version::V3_1_1);
}

#[test]
fn topic_names_and_filters_have_at_most_65_535_bytes() {
    // [MQTT-4.7.3-3 @3.1.1]
    let longest = "x".repeat(65_535);
    for template in [FIELDS[3].1, FIELDS[4].1, FIELDS[5].1] {
        stands(&with(template, longest.as_bytes()), Version::V3_1_1);
    }
    assert!(TopicName::new(&longest).is_ok() && TopicFilter::new(&longest).is_ok());
    for too_long in [longest.clone() + "x", longest + "\u{20AC}/+"] {
        assert_eq!(TopicName::new(&too_long), Err(StringError::TooLong));
        assert_eq!(TopicFilter::new(&too_long), Err(StringError::TooLong));
        assert_eq!(Utf8Str::new(&too_long), Err(StringError::TooLong));
    }
    let error = StringError::TooLong;
    assert_eq!(error.rule(Version::V3_1_1), "MQTT-4.7.3-3");
    assert_eq!(error.reason_code(), ReasonCode::MALFORMED_PACKET);
}

#[test]
fn topics_are_kept_as_they_are() {
    // Case, empty levels, spaces, `$` and characters of any length: nothing is normalised.
    for topic in [
        "Sport/tennis",
        "sport/Tennis",
        "/finance",
        "finance/",
        "//",
        "a b/ c",
        "$SYS/x",
        "\u{65E5}\u{1F600}",
    ] {
        let packet = wire(&format!("30 .. \"{topic}\""));
        let Packet::Publish(publish) = accepted(&packet, Version::V3_1_1) else { panic!("not a PUBLISH") };
        assert_eq!(publish.topic.as_str(), topic);
        assert_eq!(encoded(&Packet::Publish(publish), Version::V3_1_1), packet);
    }
}
