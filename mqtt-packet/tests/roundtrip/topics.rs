//! Topic names and filters beside the simplest models of them.

use mqtt_packet::{StringError, TopicFilter, TopicName, Utf8Str};
use proptest::prelude::*;

/// Section 4.7, word by word, level by level.
fn matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => matches(filter, topic),
        ([wanted, filter @ ..], [level, topic @ ..]) => wanted == level && matches(filter, topic),
        _ => false,
    }
}

fn expected_match(filter: &str, topic: &str) -> bool {
    let hidden = topic.starts_with('$') && (filter.starts_with('#') || filter.starts_with('+'));
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    !hidden && matches(&filter, &topic)
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.len() <= 65_535 && std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'))
}

fn is_name(bytes: &[u8]) -> bool {
    is_text(bytes) && !bytes.is_empty() && !bytes.contains(&b'#') && !bytes.contains(&b'+')
}

fn is_filter(bytes: &[u8]) -> bool {
    let levels: Vec<&[u8]> = bytes.split(|&byte| byte == b'/').collect();
    let last = levels.len() - 1;
    let level_is_fine = |(at, level): (usize, &&[u8])| match *level {
        b"+" => true,
        b"#" => at == last,
        level => !level.contains(&b'#') && !level.contains(&b'+'),
    };
    is_text(bytes) && !bytes.is_empty() && levels.iter().enumerate().all(level_is_fine)
}

fn judge(bytes: &[u8]) {
    assert_eq!(Utf8Str::from_bytes(bytes).is_ok(), is_text(bytes), "{bytes:02x?}");
    assert_eq!(TopicName::from_bytes(bytes).is_ok(), is_name(bytes), "{bytes:02x?}");
    assert_eq!(TopicFilter::from_bytes(bytes).is_ok(), is_filter(bytes), "{bytes:02x?}");
}

/// Every sequence of up to `len` of these.
fn sequences<'a>(of: &[&'a str], len: usize) -> Vec<Vec<&'a str>> {
    let mut all: Vec<Vec<&str>> = vec![vec![]];
    let mut from = 0;
    for _ in 0..len {
        let to = all.len();
        for at in from..to {
            for one in of {
                let longer = [all[at].as_slice(), &[*one]].concat();
                all.push(longer);
            }
        }
        from = to;
    }
    all
}

#[test]
fn every_filter_and_topic_of_four_levels() {
    let filters = sequences(&["a", "b", "", "+", "$a"], 3);
    let topics: Vec<_> = sequences(&["a", "b", "", "$a"], 4).iter().map(|levels| levels.join("/")).collect();
    for levels in filters {
        for filter in [levels.join("/"), [levels.as_slice(), &["#"]].concat().join("/")] {
            let Ok(made) = TopicFilter::new(&filter) else { continue };
            for topic in &topics {
                let Ok(name) = TopicName::new(topic) else { continue };
                assert_eq!(made.matches(name), expected_match(&filter, topic), "{filter} {topic}");
            }
        }
    }
}

#[test]
fn matching_by_the_examples_of_the_standard() {
    let yes = [
        ("sport/tennis/player1/#", "sport/tennis/player1"),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
        ("sport/#", "sport"),
        ("sport/+", "sport/"),
        ("+/+", "/finance"),
        ("/+", "/finance"),
        ("$SYS/#", "$SYS/monitor/Clients"),
        ("$SYS/monitor/+", "$SYS/monitor/Clients"),
        ("#", "/"),
    ];
    let no = [
        ("sport/tennis/+", "sport/tennis/player1/ranking"),
        ("sport/+", "sport"),
        ("+", "/finance"),
        ("#", "$SYS/monitor"),
        ("+/monitor/Clients", "$SYS/monitor/Clients"),
        ("ACCOUNTS", "Accounts"),
        ("a/b", "a/b/"),
        ("/a", "a"),
    ];
    for (pairs, expected) in [(&yes[..], true), (&no[..], false)] {
        for (filter, topic) in pairs {
            let matched = TopicFilter::new(filter).unwrap().matches(TopicName::new(topic).unwrap());
            assert_eq!(matched, expected, "{filter} {topic}");
        }
    }
}

#[test]
fn every_short_string_at_every_place_of_a_word() {
    // Validation looks at eight bytes at a time, so what matters is where in a word something stands.
    let pieces = ["a", "/", "+", "#", "\0", "\u{E9}", "$"];
    for sequence in sequences(&pieces, 3) {
        let middle = sequence.concat();
        for before in 0..18 {
            for after in [0, 1, 7, 8] {
                let front = "0123456/0123456/01".split_at(before).0;
                let back = "/aaaaaaa".split_at(after).0;
                judge(format!("{front}{middle}{back}").as_bytes());
            }
        }
    }
}

#[test]
fn every_pair_of_bytes() {
    for first in 0..=255_u8 {
        for second in 0..=255_u8 {
            judge(&[first, second]);
            judge(&[b'a', b'b', b'/', b'c', b'd', b'/', b'e', first, second, b'/']);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_like_the_model(bytes: Vec<u8>) {
        judge(&bytes);
    }

    #[test]
    fn strings_of_topics_are_judged_like_the_model(pieces in prop::collection::vec(
        prop::sample::select(&["a", "/", "/", "+", "/+/", "#", "/#", "\0", "\u{20AC}", "$share/", "level"][..]),
        0..20,
    )) {
        let text = pieces.concat();
        judge(text.as_bytes());
        if let Ok(filter) = TopicFilter::new(&text) {
            prop_assert_eq!(filter.has_wildcard(), text.contains(['#', '+']));
            prop_assert_eq!(filter.shared(), shared(&text));
        }
    }
}

/// Section 4.8.2 on a string that is a filter.
fn shared(text: &str) -> Result<Option<mqtt_packet::SharedFilter<'_>>, StringError> {
    let mut parts = text.splitn(3, '/');
    let (first, second, third) = (parts.next(), parts.next(), parts.next());
    match (first, second, third) {
        (Some("$share"), Some(""), _) => Err(StringError::ShareName),
        (Some("$share"), Some("+" | "#"), _) => Err(StringError::ShareNameWildcard),
        (Some("$share"), Some(_), None | Some("")) => Err(StringError::ShareFilter),
        (Some("$share"), Some(name), Some(filter)) => Ok(Some(mqtt_packet::SharedFilter {
            share_name: Utf8Str::new(name)?,
            filter: TopicFilter::new(filter)?,
        })),
        _ => Ok(None),
    }
}
