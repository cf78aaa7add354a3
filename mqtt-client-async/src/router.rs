//! Which streams a message is for: the topic filters of a client in a tree, and the streams behind each of them.
//!
//! A topic costs its levels and what matches, however many filters there are. A stream gets a message once, also where
//! several of its filters match and the server sends a copy for each: one filter of the stream, the *owner*, decides,
//! and where the server tells Subscription Identifiers only the copy that bears the owner's is delivered.

use std::collections::HashMap;

use bytes::Bytes;
use mqtt_packet::{PacketType, Properties, PropertyPlace, SubscribeOptions, TopicFilter};
use slab::Slab;

use crate::properties::PropertyList;

/// A topic filter that at least one stream wants.
pub(crate) struct Filter {
    pub(crate) text: Bytes,
    /// As it was asked for last, with the highest QoS that anybody asked for.
    pub(crate) options: SubscribeOptions,
    /// What else SUBSCRIBE says, as it was said last.
    pub(crate) properties: PropertyList,
    /// Whether the server may hold the subscription: it was asked for and not refused.
    pub(crate) held: bool,
    streams: Vec<usize>,
}

/// A filter of a stream that matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    stream: usize,
    /// The highest QoS first.
    rank: u8,
    filter: usize,
}

/// The filters of a client.
pub(crate) struct Router {
    filters: Slab<Filter>,
    by_text: HashMap<Bytes, usize>,
    tree: Tree,
    /// Streams without a filter, which get everything.
    everything: Vec<usize>,
    /// Whether a Subscription Identifier was ever the application's: then none says which filter is meant.
    foreign_identifiers: bool,
    /// The last topic and what matched it: many messages of one topic follow each other. Every change of the filters
    /// forgets it.
    topic: Option<Vec<u8>>,
    matches: Vec<Match>,
    /// Memory for an answer, used again and again.
    found: Vec<usize>,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self {
            filters: Slab::new(),
            by_text: HashMap::new(),
            tree: Tree::new(),
            everything: Vec::new(),
            foreign_identifiers: false,
            topic: None,
            matches: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Adds a filter of a stream; returns its key.
    pub(crate) fn add(&mut self, filter: TopicFilter<'_>, options: SubscribeOptions, stream: usize) -> usize {
        self.topic = None;
        let text = filter.as_bytes();
        if let Some(&key) = self.by_text.get(text) {
            if let Some(known) = self.filters.get_mut(key) {
                let qos = known.options.qos.max(options.qos);
                known.options = SubscribeOptions { qos, ..options };
                known.streams.push(stream);
            }
            return key;
        }
        let text = Bytes::copy_from_slice(text);
        let key = self.filters.insert(Filter {
            text: text.clone(),
            options,
            properties: PropertyList::new(),
            held: false,
            streams: vec![stream],
        });
        self.tree.insert(matched_part(filter).as_bytes(), key);
        self.by_text.insert(text, key);
        key
    }

    /// Sets what else SUBSCRIBE says for a filter.
    pub(crate) fn set_properties(&mut self, key: usize, properties: &PropertyList) {
        let place = PropertyPlace::of(PacketType::Subscribe);
        let has_identifier =
            properties.at(place).is_ok_and(|own| own.subscription_identifiers().next().is_some());
        self.foreign_identifiers |= has_identifier;
        if let Some(filter) = self.filters.get_mut(key) {
            filter.properties = properties.clone();
        }
    }

    /// Takes a filter from a stream. Returns the filter if nobody wants it any more.
    pub(crate) fn remove(&mut self, key: usize, stream: usize) -> Option<Filter> {
        self.topic = None;
        let filter = self.filters.get_mut(key)?;
        if let Some(at) = filter.streams.iter().position(|&found| found == stream) {
            filter.streams.swap_remove(at);
        }
        if !filter.streams.is_empty() {
            return None;
        }
        let filter = self.filters.remove(key);
        self.by_text.remove(&filter.text);
        if let Ok(text) = TopicFilter::from_bytes(&filter.text) {
            self.tree.remove(matched_part(text).as_bytes(), key);
        }
        Some(filter)
    }

    pub(crate) fn add_everything(&mut self, stream: usize) {
        self.everything.push(stream);
    }

    pub(crate) fn remove_everything(&mut self, stream: usize) {
        self.everything.retain(|&found| found != stream);
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Filter> {
        self.filters.get_mut(key)
    }

    pub(crate) fn get(&self, key: usize) -> Option<&Filter> {
        self.filters.get(key)
    }

    /// The keys of all filters.
    pub(crate) fn keys(&self) -> impl Iterator<Item = usize> + '_ {
        self.filters.iter().map(|(key, _)| key)
    }

    /// The Subscription Identifier of a filter.
    pub(crate) fn identifier(key: usize) -> Option<u32> {
        u32::try_from(key).ok()?.checked_add(1).filter(|&id| id <= mqtt_packet::MAX_REMAINING_LENGTH)
    }

    /// The streams that a message is for, each once.
    pub(crate) fn route(&mut self, topic: &[u8], properties: &Properties<'_>) -> &[usize] {
        if self.topic.as_deref() != Some(topic) {
            self.match_topic(topic);
        }
        let Self { filters, everything, foreign_identifiers, matches, found, .. } = self;
        let key_of = |id: u32| usize::try_from(id).ok()?.checked_sub(1);
        let is_known = |id| !*foreign_identifiers && key_of(id).is_some_and(|key| filters.contains(key));
        let says_which = properties.subscription_identifiers().any(is_known);
        let is_meant = |found: &&Match| {
            !says_which || properties.subscription_identifiers().any(|id| key_of(id) == Some(found.filter))
        };
        found.clear();
        found.extend(matches.iter().filter(is_meant).map(|found| found.stream));
        found.extend(everything.iter());
        found
    }

    /// Finds for each stream the filter that decides.
    fn match_topic(&mut self, topic: &[u8]) {
        let Self { filters, tree, matches, .. } = self;
        matches.clear();
        tree.for_each_match(topic, |key| {
            if let Some(filter) = filters.get(key) {
                let rank = 2_u8.saturating_sub(filter.options.qos as u8);
                matches.extend(filter.streams.iter().map(|&stream| Match { stream, rank, filter: key }));
            }
        });
        if matches.len() > 1 {
            matches.sort_unstable();
            matches.dedup_by_key(|found| found.stream);
        }
        let kept = self.topic.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(topic);
    }
}

/// What topics are matched with: a shared subscription without its front.
fn matched_part(filter: TopicFilter<'_>) -> TopicFilter<'_> {
    match filter.shared() {
        Ok(Some(shared)) => shared.filter,
        _ => filter,
    }
}

/// A level of the tree.
#[derive(Default)]
struct Node {
    children: HashMap<Box<[u8]>, usize>,
    /// Below `+`.
    plus: Option<usize>,
    /// The filters that end here, and those that go on with `#`.
    ends: Vec<usize>,
    rest: Vec<usize>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.ends.is_empty() && self.rest.is_empty()
    }
}

struct Tree {
    nodes: Slab<Node>,
    /// There is none before the first filter.
    root: usize,
    /// Memory for the nodes reached at one level, and at the next.
    reached: Vec<usize>,
    next: Vec<usize>,
}

impl Tree {
    fn new() -> Self {
        Self { nodes: Slab::new(), root: 0, reached: Vec::new(), next: Vec::new() }
    }

    fn insert(&mut self, filter: &[u8], key: usize) {
        if self.nodes.is_empty() {
            self.root = self.nodes.insert(Node::default());
        }
        let mut at = self.root;
        for level in filter.split(|&byte| byte == b'/') {
            if level == b"#" {
                if let Some(node) = self.nodes.get_mut(at) {
                    node.rest.push(key);
                }
                return;
            }
            let below = self.nodes.get(at).and_then(|node| child(node, level));
            at = below.unwrap_or_else(|| {
                let new = self.nodes.insert(Node::default());
                if let Some(node) = self.nodes.get_mut(at) {
                    if level == b"+" {
                        node.plus = Some(new);
                    } else {
                        node.children.insert(level.into(), new);
                    }
                }
                new
            });
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.ends.push(key);
        }
    }

    fn remove(&mut self, filter: &[u8], key: usize) {
        let mut path = Vec::new();
        let mut at = self.root;
        for level in filter.split(|&byte| byte == b'/') {
            if level == b"#" {
                break;
            }
            let Some(below) = self.nodes.get(at).and_then(|node| child(node, level)) else {
                return;
            };
            path.push((at, level));
            at = below;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.ends.retain(|&found| found != key);
            node.rest.retain(|&found| found != key);
        }
        for (above, level) in path.into_iter().rev() {
            if !self.nodes.get(at).is_some_and(Node::is_empty) {
                return;
            }
            self.nodes.remove(at);
            if let Some(node) = self.nodes.get_mut(above) {
                if level == b"+" {
                    node.plus = None;
                } else {
                    node.children.remove(level);
                }
            }
            at = above;
        }
    }

    fn for_each_match(&mut self, topic: &[u8], mut matches: impl FnMut(usize)) {
        let Self { nodes, root, reached, next } = self;
        reached.clear();
        reached.push(*root);
        // A wildcard at the front does not match a topic that begins with `$` [MQTT-4.7.2-1].
        let mut wildcards = topic.first() != Some(&b'$');
        for level in topic.split(|&byte| byte == b'/') {
            next.clear();
            for node in reached.iter().filter_map(|&at| nodes.get(at)) {
                if wildcards {
                    node.rest.iter().for_each(|&key| matches(key));
                    next.extend(node.plus);
                }
                next.extend(node.children.get(level));
            }
            wildcards = true;
            core::mem::swap(reached, next);
            if reached.is_empty() {
                return;
            }
        }
        for node in reached.iter().filter_map(|&at| nodes.get(at)) {
            node.ends.iter().chain(&node.rest).for_each(|&key| matches(key));
        }
    }
}

fn child(node: &Node, level: &[u8]) -> Option<usize> {
    if level == b"+" { node.plus } else { node.children.get(level).copied() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PropertyList;
    use mqtt_packet::{Property, QoS, TopicName};

    const FILTERS: [&str; 13] = [
        "a/b",
        "a/+",
        "+/b",
        "a/#",
        "#",
        "+",
        "+/+",
        "/+",
        "$SYS/#",
        "$SYS/+",
        "a/b/#",
        "a//b",
        "$share/g/a/b",
    ];

    fn router() -> Router {
        let mut router = Router::new();
        for (stream, filter) in FILTERS.iter().enumerate() {
            router.add(TopicFilter::new(filter).unwrap(), SubscribeOptions::new(QoS::AtMostOnce), stream);
        }
        router
    }

    /// The answer for a topic and the Subscription Identifiers of a message.
    fn route(router: &mut Router, topic: &str, identifiers: &[u32]) -> Vec<usize> {
        let list = identifiers
            .iter()
            .fold(PropertyList::new(), |list, &id| list.with(Property::SubscriptionIdentifier(id)));
        router.route(topic.as_bytes(), &list.of_publish().unwrap()).to_vec()
    }

    // [MQTT-4.7.2-1 @3.1.1] [MQTT-4.7.2-1 @5.0]
    #[test]
    fn the_tree_finds_what_matches_one_by_one() {
        let mut router = router();
        for topic in ["a", "a/b", "a/b/c", "/b", "a//b", "$SYS/uptime", "$SYS", "b", "x/y/z", "/"] {
            let name = TopicName::new(topic).unwrap();
            let expected: Vec<usize> = (0..FILTERS.len())
                .filter(|&at| matched_part(TopicFilter::new(FILTERS[at]).unwrap()).matches(name))
                .collect();
            assert_eq!(route(&mut router, topic, &[]), expected, "{topic}");
        }
    }

    #[test]
    fn what_was_removed_matches_no_more_and_leaves_no_node() {
        let mut router = router();
        let keys: Vec<usize> = router.keys().collect();
        for (stream, key) in keys.into_iter().enumerate() {
            assert!(router.remove(key, stream).is_some());
        }
        assert_eq!(route(&mut router, "a/b", &[]), [0; 0]);
        assert_eq!(router.tree.nodes.len(), 1);
    }

    #[test]
    fn of_several_copies_a_stream_gets_the_one_with_the_highest_qos() {
        let mut router = Router::new();
        let options = SubscribeOptions::new;
        let wide = router.add(TopicFilter::new("a/#").unwrap(), options(QoS::AtMostOnce), 7);
        let narrow = router.add(TopicFilter::new("a/b").unwrap(), options(QoS::AtLeastOnce), 7);
        let id = |key| Router::identifier(key).unwrap();
        assert_eq!(route(&mut router, "a/b", &[id(wide)]), [0; 0]);
        assert_eq!(route(&mut router, "a/b", &[id(narrow)]), [7]);
        assert_eq!(route(&mut router, "a/b", &[id(wide), id(narrow)]), [7]);
        assert_eq!(route(&mut router, "a/c", &[id(wide)]), [7]);
        // An identifier that nobody knows says nothing.
        assert_eq!(route(&mut router, "a/b", &[99]), [7]);
    }
}
