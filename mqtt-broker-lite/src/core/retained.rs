//! Retained messages, sorted by topic. Whoever subscribes walks over them with a cursor, the last topic it got, and
//! jumps over whatever its filter cannot match: the cost is that of the matches, not of all there is.

use super::deliver::Item;
use super::link::home;
use super::shard::Shard;
use super::timers::Timer;
use super::{Change, Message};
use bytes::Bytes;
use mqtt_packet::TopicFilter;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Retained {
    messages: BTreeMap<Bytes, Arc<Message>>,
    /// Those that expire, by when.
    expiring: BTreeSet<(u64, Bytes)>,
    /// For when the timer is set that looks for them, by the monotonic clock.
    looks_at: Option<u64>,
}

/// Where a walk stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// At the first topic that is not before this.
    From(Vec<u8>),
    /// Behind the last topic.
    End,
}

/// How many topics one step looks at, of a walk and of a search for what expired.
const STEP: usize = 256;

impl Retained {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes they take.
    pub(super) fn bytes(&self) -> usize {
        self.messages.values().map(|message| message.size()).sum()
    }

    pub(super) fn set(&mut self, message: Arc<Message>) {
        let topic = message.topic_bytes();
        if let Some(expires) = message.expires {
            self.expiring.insert((expires, topic.clone()));
        }
        if let Some(old) = self.messages.insert(topic, Arc::clone(&message))
            && old.expires != message.expires
        {
            self.expires_no_more(&old);
        }
    }

    pub(super) fn get(&self, topic: &[u8]) -> Option<&Arc<Message>> {
        self.messages.get(topic)
    }

    pub(super) fn remove(&mut self, topic: &[u8]) -> Option<Arc<Message>> {
        let message = self.messages.remove(topic)?;
        self.expires_no_more(&message);
        Some(message)
    }

    fn expires_no_more(&mut self, message: &Message) {
        if let Some(expires) = message.expires {
            self.expiring.remove(&(expires, message.topic_bytes()));
        }
    }

    /// A message whose time is over.
    fn expired(&self, wall: u64) -> Option<Bytes> {
        let (expires, topic) = self.expiring.first()?;
        (*expires <= wall).then(|| topic.clone())
    }

    /// The next message that matches, and where to go on; after a while without one, only where to go on.
    pub(super) fn next(&self, filter: TopicFilter<'_>, cursor: &Cursor) -> (Option<&Arc<Message>>, Cursor) {
        let Cursor::From(mut from) = cursor.clone() else {
            return (None, Cursor::End);
        };
        if !filter.has_wildcard() {
            return (self.messages.get(filter.as_bytes()), Cursor::End);
        }
        for _ in 0..STEP {
            let range = (Bound::Included(&from[..]), Bound::Unbounded);
            let Some((topic, message)) = self.messages.range::<[u8], _>(range).next() else {
                return (None, Cursor::End);
            };
            match compare(filter.as_bytes(), topic) {
                Place::Match => return (Some(message), Cursor::From(after(topic))),
                Place::Later(next) => from = next,
                Place::Never => return (None, Cursor::End),
            }
        }
        (None, Cursor::From(from))
    }
}

/// What a topic that was met says about where the next match can be.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Match,
    /// Not before this.
    Later(Vec<u8>),
    Never,
}

/// The smallest topic behind `topic`: no topic contains U+0000.
fn after(topic: &[u8]) -> Vec<u8> {
    [topic, b"\0"].concat()
}

/// Behind everything that starts with `prefix` and a `/`: the character behind `/` is `0`.
fn behind_children(prefix: &[u8]) -> Vec<u8> {
    [prefix, b"0"].concat()
}

/// Walks filter and topic level by level.
fn compare(filter: &[u8], topic: &[u8]) -> Place {
    let mut wanted = filter.split(|&byte| byte == b'/').peekable();
    let mut start = 0;
    let mut after_plus = false;
    while let Some(level_wanted) = wanted.next() {
        let (parents, rest) = topic.split_at_checked(start).unwrap_or((topic, &[]));
        let len = rest.iter().position(|&byte| byte == b'/');
        let end = start.saturating_add(len.unwrap_or(rest.len()));
        let so_far = topic.get(..end).unwrap_or_default();
        if level_wanted == b"#" || level_wanted == b"+" {
            if start == 0 && topic.first() == Some(&b'$') {
                return Place::Later(b"%".to_vec()); // [MQTT-4.7.2-1]
            }
            if level_wanted == b"#" {
                return Place::Match;
            }
            after_plus = true;
        } else if so_far != [parents, level_wanted].concat() {
            return elsewhere(topic, parents, level_wanted, after_plus);
        }
        match (wanted.peek(), len) {
            (None, None) => return Place::Match,
            (None, Some(_)) => return Place::Later(behind_children(so_far)),
            // `a/#` asks for `a` too.
            (Some(&b"#"), None) => return Place::Match,
            (Some(_), None) => return Place::Later(after(topic)),
            (Some(_), Some(_)) => start = end.saturating_add(1),
        }
    }
    Place::Never
}

/// The topic has another level where `level` is wanted.
fn elsewhere(topic: &[u8], parents: &[u8], level: &[u8], after_plus: bool) -> Place {
    let wanted = [parents, level].concat();
    let below = [&wanted[..], b"/"].concat();
    if topic < &wanted[..] {
        Place::Later(wanted)
    } else if topic < &below[..] {
        Place::Later(below)
    } else if after_plus {
        // Past it under these parents; others may follow.
        Place::Later(behind_children(parents.strip_suffix(b"/").unwrap_or(parents)))
    } else {
        Place::Never
    }
}

impl Shard {
    /// A message with the retain flag: it replaces the retained message of its topic, or removes it where it is empty
    /// [MQTT-3.3.1-5 to -11 of 3.1.1, MQTT-3.3.1-5 to -7 of 5.0].
    pub(super) fn retain(&mut self, item: &mut Item<'_>) {
        let topic = item.view.topic;
        let home = home(topic.as_bytes(), self.settings.shards);
        if home != self.settings.shard {
            self.route(home, item, true);
            return;
        }
        if item.view.payload.is_empty() {
            self.forget_retained(topic.as_bytes());
            return;
        }
        if !item.is_promised && self.has_no_place(topic) {
            return;
        }
        let message = Arc::clone(item.message());
        // What the broker says about itself is of this run only.
        if !topic.as_bytes().starts_with(b"$SYS/") {
            self.journal.record(Change::Retained(Arc::clone(&message)));
        }
        self.keep(message);
        self.count_places();
    }

    /// Keeps a message until it expires.
    pub(super) fn keep(&mut self, message: Arc<Message>) {
        self.retained.set(message);
        self.look_for_expired();
    }

    /// Sets the timer for the retained message that expires first.
    fn look_for_expired(&mut self) {
        let Some(&(expires, _)) = self.retained.expiring.first() else {
            return;
        };
        let at = self.now.mono.saturating_add(expires.saturating_sub(self.now.wall));
        if self.retained.looks_at.is_none_or(|before| at < before) {
            if let Some(before) = self.retained.looks_at.replace(at) {
                self.timers.stop(before, Timer::Retained);
            }
            self.timers.start(at, Timer::Retained);
        }
    }

    /// Messages that nobody walks over must go too: they count against the limit [U5-3.3.1-2].
    pub(super) fn on_retained_timeout(&mut self) {
        self.retained.looks_at = None;
        for _ in 0..STEP {
            let Some(topic) = self.retained.expired(self.now.wall) else {
                break;
            };
            self.forget_retained(&topic);
        }
        // If there are more, others have their turn first.
        self.look_for_expired();
    }

    pub(super) fn forget_retained(&mut self, topic: &[u8]) {
        if let Some(message) = self.retained.remove(topic)
            && let Some(view) = message.view()
        {
            self.journal.record(Change::RetainedGone(view.topic.as_str().into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Client;
    use crate::core::message::View;
    use mqtt_packet::{Properties, QoS, TopicName};
    use proptest::prelude::*;

    fn message(topic: TopicName<'_>) -> Arc<Message> {
        let publisher = Arc::new(Client { client_id: "p".into(), user_name: None, rules: None });
        let view = View {
            topic,
            properties: Properties::EMPTY,
            payload: b"x",
            qos: QoS::AtMostOnce,
            retain: true,
            expires: None,
            publisher: &publisher,
        };
        view.to_message()
    }

    proptest! {
        /// [MQTT-3.3.1-6 @3.1.1] [MQTT-3.3.1-9 @5.0]
        #[test]
        fn a_walk_meets_what_comparing_with_each_topic_finds(
            filter in "((\\+|a|b|ab|!|\\$a)?(/(\\+|a|b|0|!)?){0,3}(/#)?)|#",
            topics in prop::collection::vec("\\$?[ab!0]{0,2}(/[ab!0.]{0,2}){0,3}", 0..60),
        ) {
            let Ok(filter) = TopicFilter::new(&filter) else { return Ok(()) };
            let mut retained = Retained::default();
            let names: Vec<_> = topics.iter().filter_map(|topic| TopicName::new(topic).ok()).collect();
            for &topic in &names {
                retained.set(message(topic));
            }
            let mut met = Vec::new();
            let mut cursor = Cursor::From(Vec::new());
            while cursor != Cursor::End {
                let (found, next) = retained.next(filter, &cursor);
                met.extend(found.map(|message| message.topic_bytes()));
                cursor = next;
            }
            let mut expected: Vec<_> = names
                .iter()
                .filter(|topic| filter.matches(**topic))
                .map(|topic| Bytes::copy_from_slice(topic.as_bytes()))
                .collect();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(met, expected);
        }
    }
}
