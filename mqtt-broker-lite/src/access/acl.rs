//! Access control lists in mosquitto's syntax.
//!
//! ```text
//! # Clients without a user name:
//! topic read public/#
//! user alice
//! topic readwrite plant/#
//! topic deny plant/secret
//! # Everybody; %c is the client identifier, %u the user name:
//! pattern write devices/%c/state
//! ```
//!
//! What no line grants is denied, and `deny` wins. A right is compared level by level before anything is put in for
//! `%c` and `%u`, so what stands there is never a wildcard and never reaches into another level (CVE-2017-7650). A
//! subscription is granted if the filter could match a topic that may be read; each message is asked for again.

use super::{Fault, lines, read};
use crate::core::{self, Client};
use mqtt_packet::TopicFilter;
use std::collections::HashMap;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Read,
    Write,
    ReadWrite,
    Deny,
}

impl Right {
    fn named(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "readwrite" => Some(Self::ReadWrite),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }

    fn covers(self, access: core::Access) -> bool {
        match access {
            core::Access::Publish => matches!(self, Self::Write | Self::ReadWrite),
            core::Access::Subscribe | core::Access::Receive => matches!(self, Self::Read | Self::ReadWrite),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    right: Right,
    filter: Box<str>,
    /// Whether `%c` and `%u` stand for something.
    is_pattern: bool,
}

/// An access control list.
#[derive(Debug, Default)]
pub struct Acl {
    anonymous: Vec<Rule>,
    users: HashMap<Box<str>, Vec<Rule>>,
    patterns: Vec<Rule>,
}

impl Acl {
    /// Reads a file.
    ///
    /// # Errors
    /// Every line that is not right: a list that is understood in part grants or denies something that nobody wrote.
    pub fn read(path: &Path) -> Result<Self, Vec<Fault>> {
        Self::parse(&read(path)?, path)
    }

    /// # Errors
    /// Every line that is not right.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Vec<Fault>> {
        let mut acl = Self::default();
        let mut faults = Vec::new();
        let mut user: Option<Box<str>> = None;
        for (number, line) in lines(text) {
            let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
            let rest = rest.trim();
            let result = match word {
                "user" if rest.is_empty() => Err("no user name".to_owned()),
                "user" => {
                    acl.users.entry(rest.into()).or_default();
                    user = Some(rest.into());
                    Ok(())
                }
                "topic" | "pattern" => rule(rest, word == "pattern").map(|rule| match (&user, word) {
                    (_, "pattern") => acl.patterns.push(rule),
                    (Some(name), _) => acl.users.entry(name.clone()).or_default().push(rule),
                    (None, _) => acl.anonymous.push(rule),
                }),
                _ => Err(format!("{word:?} is not user, topic or pattern")),
            };
            if let Err(what) = result {
                faults.push(Fault::new(path, number, what));
            }
        }
        if faults.is_empty() { Ok(acl) } else { Err(faults) }
    }

    pub(super) fn allows(&self, client: &Client, access: core::Access, topic: &str) -> bool {
        let own = match &client.user_name {
            None => Some(&self.anonymous),
            Some(name) => self.users.get(name),
        };
        let rules = || own.into_iter().flatten().chain(&self.patterns);
        let meets = |rule: &Rule| match access {
            core::Access::Subscribe => overlaps(rule, topic, client),
            core::Access::Publish | core::Access::Receive => matches(rule, topic, client),
        };
        let is_denied = rules().any(|rule| {
            rule.right == Right::Deny
                && match access {
                    // Only a filter that can match nothing else is denied as a whole.
                    core::Access::Subscribe => covers(rule, topic, client),
                    core::Access::Publish | core::Access::Receive => matches(rule, topic, client),
                }
        });
        !is_denied && rules().any(|rule| rule.right.covers(access) && meets(rule))
    }
}

/// `[read|write|readwrite|deny] filter`. The filter may have spaces.
fn rule(text: &str, is_pattern: bool) -> Result<Rule, String> {
    let (right, filter) = match text.split_once(char::is_whitespace) {
        Some((word, rest)) => match Right::named(word) {
            Some(right) => (right, rest.trim()),
            None => (Right::ReadWrite, text),
        },
        // A right without a topic is a topic that was forgotten.
        None if Right::named(text).is_some() => return Err("no topic".to_owned()),
        None => (Right::ReadWrite, text),
    };
    if filter.starts_with("$share/") {
        return Err("a shared subscription needs the right to what is inside of it".to_owned());
    }
    TopicFilter::new(filter).map_err(|error| format!("{filter:?}: {error}"))?;
    if is_pattern && !filter.contains("%c") && !filter.contains("%u") {
        return Err(format!("{filter:?} has neither %c nor %u: use topic"));
    }
    if !is_pattern && (filter.contains("%c") || filter.contains("%u")) {
        return Err(format!("{filter:?} has %c or %u: use pattern"));
    }
    Ok(Rule { right, filter: filter.into(), is_pattern })
}

/// Whether a level of a rule, with what is put in, is this level.
fn is_level(rule: &Rule, level: &str, actual: &str, client: &Client) -> bool {
    if !rule.is_pattern || !level.contains('%') {
        return level == actual;
    }
    let user = client.user_name.as_deref();
    // Without a user name %u is nobody.
    if level.contains("%u") && user.is_none() {
        return false;
    }
    let mut rest = level;
    let mut actual = actual;
    while let Some(at) = rest.find('%') {
        let (before, behind) = rest.split_at(at);
        let Some(left) = actual.strip_prefix(before) else {
            return false;
        };
        let (value, skip) = match behind.get(..2) {
            Some("%c") => (&*client.client_id, 2),
            Some("%u") => (user.unwrap_or_default(), 2),
            _ => ("%", 1),
        };
        let Some(left) = left.strip_prefix(value) else {
            return false;
        };
        actual = left;
        rest = behind.get(skip..).unwrap_or_default();
    }
    rest == actual
}

/// Wildcards at the beginning do not reach topics that begin with `$`.
fn is_hidden(rule: &Rule, topic: &str) -> bool {
    topic.starts_with('$') && rule.filter.starts_with(['#', '+'])
}

fn matches(rule: &Rule, topic: &str, client: &Client) -> bool {
    if is_hidden(rule, topic) {
        return false;
    }
    let mut actual = topic.split('/');
    for level in rule.filter.split('/') {
        if level == "#" {
            return true;
        }
        match actual.next() {
            Some(found) if level == "+" || is_level(rule, level, found, client) => {}
            _ => return false,
        }
    }
    actual.next().is_none()
}

/// Whether some topic matches both the rule and a filter.
fn overlaps(rule: &Rule, filter: &str, client: &Client) -> bool {
    if is_hidden(rule, filter) || (rule.filter.starts_with('$') && filter.starts_with(['#', '+'])) {
        return false;
    }
    let (mut own, mut other) = (rule.filter.split('/'), filter.split('/'));
    loop {
        match (own.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(level), Some(asked)) => {
                if level != "+" && asked != "+" && !is_level(rule, level, asked, client) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Whether every topic that matches a filter matches the rule.
fn covers(rule: &Rule, filter: &str, client: &Client) -> bool {
    if is_hidden(rule, filter) {
        return false;
    }
    let (mut own, mut other) = (rule.filter.split('/'), filter.split('/'));
    loop {
        match (own.next(), other.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(asked)) if asked != "#" => {}
            (Some(level), Some(asked))
                if asked != "#" && asked != "+" && is_level(rule, level, asked, client) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Access::{Publish, Receive, Subscribe};

    fn acl(text: &str) -> Acl {
        Acl::parse(text, Path::new("acl")).unwrap()
    }

    fn client(id: &str, user: Option<&str>) -> Client {
        Client { client_id: id.into(), user_name: user.map(Into::into), rules: None }
    }

    #[test]
    fn rights_are_those_of_the_file() {
        let acl = acl("topic read public/#\n\n# a comment\nuser al ice\ntopic plant/+/x y\n\
             topic deny plant/secret/x y\nuser bob\ntopic write out\npattern write devices/%c/%u/state\n");
        let (nobody, alice, bob) = (client("n", None), client("a", Some("al ice")), client("b", Some("bob")));
        for (client, access, topic, allowed) in [
            (&nobody, Receive, "public/a/b", true),
            (&nobody, Receive, "public", true),
            (&nobody, Subscribe, "public/+", true),
            (&nobody, Subscribe, "#", true),
            (&nobody, Subscribe, "private/#", false),
            (&nobody, Publish, "public/a", false),
            (&nobody, Publish, "devices/n//state", false),
            (&alice, Receive, "public/a", false),
            (&alice, Publish, "plant/1/x y", true),
            (&alice, Publish, "plant/secret/x y", false),
            (&alice, Receive, "plant/secret/x y", false),
            (&alice, Subscribe, "plant/secret/x y", false),
            (&alice, Subscribe, "plant/#", true),
            (&alice, Publish, "plant/1/2/x y", false),
            (&bob, Publish, "out", true),
            (&bob, Subscribe, "out", false),
            (&bob, Receive, "out", false),
            (&bob, Publish, "devices/b/bob/state", true),
            (&bob, Publish, "devices/a/bob/state", false),
            (&client("x", Some("unknown")), Receive, "public/a", false),
        ] {
            assert_eq!(acl.allows(client, access, topic), allowed, "{client:?} {access:?} {topic}");
        }
    }

    // CVE-2017-7650 (wildcards in a name widen a pattern), CVE-2026-44838 (a name read as a pattern language).
    #[test]
    fn no_name_widens_a_pattern() {
        let acl = acl("pattern readwrite %c/%u/x\npattern readwrite a%c%%b\n");
        for name in ["+", "#", "a/b", "+/+", "$", ".*", "%u", "", "\u{0}"] {
            let client = client(name, Some(name));
            for access in [Publish, Receive, Subscribe] {
                for topic in ["other/other/x", "a/b/a/b/x", "victim/victim/x", "a/b/x", "x"] {
                    assert!(!acl.allows(&client, access, topic), "{name:?} {topic}");
                }
            }
        }
        assert!(acl.allows(&client("+", Some("u")), Publish, "+/u/x"), "its own level, as it is");
        assert!(acl.allows(&client("c", None), Publish, "ac%%b"));
    }

    // CVE-2018-12550: an empty file denies.
    #[test]
    fn an_empty_file_denies_everything() {
        for text in ["", "\n", "# nothing\n", "user a\n"] {
            for user in [None, Some("a")] {
                for access in [Publish, Receive, Subscribe] {
                    assert!(!acl(text).allows(&client("c", user), access, "t"));
                }
            }
        }
    }

    #[test]
    fn system_topics_need_their_name() {
        let list = acl("topic read #\ntopic read +/x\n");
        for access in [Receive, Subscribe] {
            assert!(!list.allows(&client("c", None), access, "$SYS/x"));
            assert!(acl("topic read $SYS/#").allows(&client("c", None), access, "$SYS/x"));
        }
    }

    // CVE-2017-7651's neighbour in files: what is half understood does not start (CVE-2018-12551).
    #[test]
    fn every_wrong_line_is_named() {
        let text = "topic read\nuser\ntopic write a/#/b\nsomething else\npattern read fixed\ntopic %c\ntopic ok\n\
                    topic read $share/g/t\n";
        let faults = Acl::parse(text, Path::new("acl")).unwrap_err();
        let numbers: Vec<_> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 8]);
        assert!(faults.first().unwrap().to_string().starts_with("acl:1: no topic"));
    }
}
