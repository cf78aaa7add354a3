//! Any two strings as topic name and topic filter: valid and matching is what a plain reading of the standard says.
//!
//! Input: the topic name, a byte 0xFF, the topic filter.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_packet::{StringError, TopicFilter, TopicName, Utf8Str};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |&byte| byte == 0xFF);
    let (name, filter) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for bytes in [name, filter] {
        is_text(bytes);
        is_name(bytes);
        is_filter(bytes);
    }
    if let (Ok(name), Ok(filter)) = (TopicName::from_bytes(name), TopicFilter::from_bytes(filter)) {
        assert_eq!(filter.matches(name), matches(filter.as_str(), name.as_str()), "{filter:?} and {name:?}");
    }
});

/// The text of bytes that are an MQTT string.
fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0') && text.len() <= 0xFFFF)
}

fn is_text(bytes: &[u8]) {
    match (Utf8Str::from_bytes(bytes), text_of(bytes)) {
        (Ok(text), Some(expected)) => {
            assert_eq!(text.as_str(), expected);
            assert_eq!(text.check_strict().is_ok(), !expected.chars().any(is_disallowed));
        }
        (Err(StringError::IllFormed), None) => assert!(std::str::from_utf8(bytes).is_err()),
        (Err(StringError::NullCharacter), None) => assert!(bytes.contains(&0)),
        (Err(StringError::TooLong), None) => assert!(bytes.len() > 0xFFFF),
        other => panic!("{bytes:x?}: {other:?}"),
    }
}

fn is_disallowed(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (0xFDD0..=0xFDEF).contains(&code) || matches!(code & 0xFFFF, 0xFFFE | 0xFFFF)
}

fn is_name(bytes: &[u8]) {
    let expected = text_of(bytes).is_some_and(|text| !text.is_empty() && !text.contains(['#', '+']));
    assert_eq!(TopicName::from_bytes(bytes).is_ok(), expected, "{bytes:x?}");
    if bytes.is_empty() {
        assert_eq!(TopicName::from_bytes(bytes), Err(StringError::Empty));
    }
}

fn is_filter(bytes: &[u8]) {
    let expected = text_of(bytes).filter(|text| !text.is_empty() && has_whole_wildcards(text));
    let filter = TopicFilter::from_bytes(bytes);
    assert_eq!(filter.map(TopicFilter::as_str).ok(), expected, "{bytes:x?}");
    let (Ok(filter), Some(text)) = (filter, expected) else { return };
    assert_eq!(filter.has_wildcard(), text.contains(['#', '+']));
    match text.strip_prefix("$share/").map(|shared| shared.split_once('/')) {
        None => assert_eq!(filter.shared(), Ok(None)),
        Some(Some((share, inner)))
            if !share.is_empty() && !share.contains(['#', '+']) && !inner.is_empty() =>
        {
            let shared = filter.shared().expect("a share name and a filter").expect("a shared subscription");
            assert_eq!((shared.share_name.as_str(), shared.filter.as_str()), (share, inner));
            assert!(has_whole_wildcards(shared.filter.as_str()));
        }
        Some(_) => assert!(filter.shared().is_err()),
    }
}

/// `#` is the last level and nothing else, `+` a level and nothing else.
fn has_whole_wildcards(filter: &str) -> bool {
    let levels: Vec<_> = filter.split('/').collect();
    levels.iter().enumerate().all(|(at, &level)| match level {
        "#" => at + 1 == levels.len(),
        "+" => true,
        level => !level.contains(['#', '+']),
    })
}

fn matches(filter: &str, name: &str) -> bool {
    let filter: Vec<_> = filter.split('/').collect();
    let name: Vec<_> = name.split('/').collect();
    let is_hidden = name[0].starts_with('$') && matches!(filter[0], "#" | "+");
    !is_hidden && levels_match(&filter, &name)
}

fn levels_match(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) => true,
        ([], []) => true,
        ([wanted, filter @ ..], [level, name @ ..]) => {
            (wanted == &"+" || wanted == level) && levels_match(filter, name)
        }
        _ => false,
    }
}
