//! A statement named in brackets: `[MQTT-3.3.1-5 @5.0]`, or without the version where one standard only has the number.

use crate::statement::{StatementId, Statements, Version};

/// What a bracket names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mention {
    /// Exactly one statement.
    Of(StatementId),
    /// A number that stands in both standards, without a version.
    Ambiguous(String),
    /// A number or version that no table has.
    Unknown(String),
}

/// The statements named in a text, in its order.
#[must_use]
pub fn mentions(text: &str, statements: &Statements) -> Vec<Mention> {
    let brackets = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    brackets.filter_map(|(inside, _)| mention(inside, statements)).collect()
}

fn mention(inside: &str, statements: &Statements) -> Option<Mention> {
    let (number, version) = match inside.split_once(" @") {
        Some((number, version)) => (number, Some(version)),
        None => (inside, None),
    };
    let dotted = number.split_once('-')?.1;
    let ours = ["MQTT-", "U311-", "U5-"].iter().any(|prefix| number.starts_with(prefix));
    if !ours || !dotted.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let known = statements.versions(number);
    let id = |version: Version| Mention::Of(StatementId { version, number: number.to_owned() });
    Some(match (version.map(str::parse::<Version>), known) {
        (Some(Ok(version)), known) if known.contains(&version) => id(version),
        (None, &[only]) => id(only),
        (None, &[_, _, ..]) => Mention::Ambiguous(inside.to_owned()),
        _ => Mention::Unknown(inside.to_owned()),
    })
}
