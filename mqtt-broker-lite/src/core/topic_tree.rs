//! Topic filters and who subscribed to them (3.1.1 and 5.0 section 4.7).
//!
//! Filters without a wildcard are found by one look into a hash table. The others form a tree by levels, walked level
//! by level with a set of nodes, so that depth costs no stack; `$` topics are kept from wildcards at the first level
//! [MQTT-4.7.2-1].

use super::known::{Known, KnownTopics};
use super::{ObserverId, ShardId};
use mqtt_packet::{QoS, TopicFilter, TopicName};
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};

/// Who gets messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Session(usize),
    /// Somebody inside the process.
    Observer(ObserverId),
    /// Another shard, where somebody is subscribed.
    Shard(ShardId),
    /// One of the members of a shared subscription's group.
    Group(usize),
}

/// How a subscription wants its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    /// The Subscription Identifier; 0 for none.
    pub(super) id: u32,
}

/// Who is subscribed to one filter: mostly a few, for whom a sorted list takes a tenth of the memory of a tree.
#[derive(Debug)]
enum Subscribers {
    Few(Vec<(Target, Grant)>),
    /// Rare, and so in a box: all the others would be larger by a third.
    #[allow(clippy::box_collection)]
    Many(Box<BTreeMap<Target, Grant>>),
}

impl Subscribers {
    /// A list does not get longer.
    const FEW: usize = 16;

    /// Adds or replaces one; true if it is new.
    fn insert(&mut self, target: Target, grant: Grant) -> bool {
        let few = match self {
            Self::Many(many) => return many.insert(target, grant).is_none(),
            Self::Few(few) => few,
        };
        match few.binary_search_by_key(&target, |(target, _)| *target) {
            Ok(at) => {
                if let Some(known) = few.get_mut(at) {
                    known.1 = grant;
                }
                return false;
            }
            Err(_) if few.len() == Self::FEW => {
                let mut many: BTreeMap<_, _> = std::mem::take(few).into_iter().collect();
                many.insert(target, grant);
                *self = Self::Many(Box::new(many));
            }
            Err(at) => {
                few.reserve_exact(1);
                few.insert(at, (target, grant));
            }
        }
        true
    }

    /// Removes one; true if it was there.
    fn remove(&mut self, target: Target) -> bool {
        match self {
            Self::Many(many) => {
                let was_there = many.remove(&target).is_some();
                if many.len() < Self::FEW / 2 {
                    *self = Self::Few(std::mem::take(&mut **many).into_iter().collect());
                }
                was_there
            }
            Self::Few(few) => match few.binary_search_by_key(&target, |(target, _)| *target) {
                Ok(at) => {
                    few.remove(at);
                    true
                }
                Err(_) => false,
            },
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Few(few) if few.is_empty())
    }

    fn append_to(&self, found: &mut Vec<(Target, Grant)>) {
        match self {
            Self::Few(few) => found.extend_from_slice(few),
            Self::Many(many) => found.extend(many.iter().map(|(target, grant)| (*target, *grant))),
        }
    }
}

impl Default for Subscribers {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

/// A hash that differs from broker to broker and not from run to run. Nothing iterates over the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(pub(super) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

#[derive(Debug, Default)]
struct Node {
    parent: usize,
    children: BTreeMap<Box<[u8]>, usize>,
    /// Filters that end here.
    here: Subscribers,
    /// Filters that end here with a `#` behind.
    below: Subscribers,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.children.is_empty() && self.here.is_empty() && self.below.is_empty()
    }
}

const ROOT: usize = 0;

#[derive(Debug)]
pub(super) struct TopicTree {
    exact: HashMap<Box<[u8]>, Subscribers, Seeded>,
    nodes: slab::Slab<Node>,
    wildcards: usize,
    known: KnownTopics,
}

impl TopicTree {
    pub(super) fn new(hash: Seeded) -> Self {
        let mut nodes = slab::Slab::new();
        nodes.insert(Node::default());
        Self { exact: HashMap::with_hasher(hash), nodes, wildcards: 0, known: KnownTopics::default() }
    }

    /// Adds or replaces a subscription; true if it is new.
    pub(super) fn insert(&mut self, filter: TopicFilter<'_>, target: Target, grant: Grant) -> bool {
        self.known.forget();
        if !filter.has_wildcard() {
            let subscribers = self.exact.entry(filter.as_bytes().into()).or_default();
            return subscribers.insert(target, grant);
        }
        let (path, below) = path(filter);
        let mut at = ROOT;
        for level in path {
            let child = self.nodes.get(at).and_then(|node| node.children.get(level));
            at = match child {
                Some(&child) => child,
                None => self.grow(at, level),
            };
        }
        let Some(node) = self.nodes.get_mut(at) else {
            return false;
        };
        let subscribers = if below { &mut node.below } else { &mut node.here };
        let is_new = subscribers.insert(target, grant);
        self.wildcards = self.wildcards.saturating_add(usize::from(is_new));
        is_new
    }

    fn grow(&mut self, parent: usize, level: &[u8]) -> usize {
        let child = self.nodes.insert(Node { parent, ..Node::default() });
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children.insert(level.into(), child);
        }
        child
    }

    /// Removes a subscription; true if there was one.
    pub(super) fn remove(&mut self, filter: TopicFilter<'_>, target: Target) -> bool {
        self.known.forget();
        if !filter.has_wildcard() {
            let Entry::Occupied(mut entry) = self.exact.entry(filter.as_bytes().into()) else {
                return false;
            };
            let was_there = entry.get_mut().remove(target);
            if entry.get().is_empty() {
                entry.remove();
            }
            return was_there;
        }
        let (levels, below) = path(filter);
        let mut at = ROOT;
        for level in levels {
            match self.nodes.get(at).and_then(|node| node.children.get(level)) {
                Some(&child) => at = child,
                None => return false,
            }
        }
        let Some(node) = self.nodes.get_mut(at) else {
            return false;
        };
        let subscribers = if below { &mut node.below } else { &mut node.here };
        let was_there = subscribers.remove(target);
        self.wildcards = self.wildcards.saturating_sub(usize::from(was_there));
        let (levels, _) = path(filter);
        for level in levels.rev() {
            at = self.prune(at, level);
        }
        was_there
    }

    /// Removes a node that nobody needs; returns its parent.
    fn prune(&mut self, at: usize, level: &[u8]) -> usize {
        let Some(node) = self.nodes.get(at) else {
            return ROOT;
        };
        let parent = node.parent;
        if at != ROOT && node.is_unused() {
            self.nodes.remove(at);
            if let Some(node) = self.nodes.get_mut(parent) {
                node.children.remove(level);
            }
        }
        parent
    }

    /// What is known of a topic that was matched before, and since when no subscription changed.
    pub(super) fn known(&self, topic: &[u8]) -> Option<&Known> {
        self.known.get(topic)
    }

    /// Everybody who is subscribed to `topic`, once for each subscription, in `found`. True if one target may stand
    /// there more than once.
    pub(super) fn matches(&mut self, topic: TopicName<'_>, found: &mut Vec<(Target, Grant)>) -> bool {
        found.clear();
        if let Some(known) = self.known.get(topic.as_bytes()) {
            found.extend_from_slice(&known.found);
            return known.may_repeat;
        }
        let may_repeat = self.find(topic, found);
        self.known.keep(topic, found, may_repeat);
        may_repeat
    }

    fn find(&self, topic: TopicName<'_>, found: &mut Vec<(Target, Grant)>) -> bool {
        let mut sources = 0_usize;
        let mut add = |subscribers: &Subscribers| {
            if !subscribers.is_empty() {
                sources = sources.saturating_add(1);
                subscribers.append_to(found);
            }
        };
        if let Some(subscribers) = self.exact.get(topic.as_bytes()) {
            add(subscribers);
        }
        if self.wildcards > 0 {
            self.walk(topic, &mut add);
        }
        sources > 1
    }

    fn walk(&self, topic: TopicName<'_>, add: &mut impl FnMut(&Subscribers)) {
        let hidden = topic.as_bytes().first() == Some(&b'$');
        let mut nodes: Vec<&Node> = self.nodes.get(ROOT).into_iter().collect();
        let mut next = Vec::new();
        for (depth, level) in levels(topic.as_bytes()).enumerate() {
            let hidden = hidden && depth == 0;
            for node in nodes.drain(..) {
                if !hidden {
                    add(&node.below);
                }
                let wildcard = (!hidden).then(|| node.children.get(&b"+"[..])).flatten();
                let children = [node.children.get(level), wildcard];
                next.extend(children.into_iter().flatten().filter_map(|&child| self.nodes.get(child)));
            }
            std::mem::swap(&mut nodes, &mut next);
            if nodes.is_empty() {
                return;
            }
        }
        for node in nodes {
            add(&node.below);
            add(&node.here);
        }
    }
}

/// The levels of a topic name or filter.
pub(super) fn levels(topic: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    topic.split(|&byte| byte == b'/')
}

/// The levels of a filter without a `#` at its end, and whether there is one.
fn path(filter: TopicFilter<'_>) -> (impl DoubleEndedIterator<Item = &[u8]>, bool) {
    let filter = filter.as_bytes();
    let (front, below) = match filter {
        b"#" => (None, true),
        _ => match filter.strip_suffix(b"/#") {
            Some(front) => (Some(front), true),
            None => (Some(filter), false),
        },
    };
    (front.into_iter().flat_map(levels), below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRANT: Grant = Grant { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, id: 0 };

    fn found(tree: &mut TopicTree, topic: &str) -> Vec<usize> {
        let mut found = Vec::new();
        tree.matches(TopicName::new(topic).unwrap(), &mut found);
        let mut keys: Vec<_> = found
            .iter()
            .map(|(target, _)| match target {
                Target::Session(key) | Target::Group(key) => *key,
                Target::Observer(_) => usize::MAX,
                Target::Shard(shard) => usize::from(shard.0),
            })
            .collect();
        keys.sort_unstable();
        keys
    }

    proptest! {
        #[test]
        fn a_filter_has_few_or_many_subscribers(steps in prop::collection::vec((0..40_usize, any::<bool>()), 0..200)) {
            let mut subscribers = Subscribers::default();
            let mut expected = BTreeMap::new();
            for (step, (key, comes)) in (1..).zip(steps) {
                let target = Target::Session(key);
                if comes {
                    let grant = Grant { id: step, ..GRANT };
                    prop_assert_eq!(subscribers.insert(target, grant), expected.insert(target, grant).is_none());
                } else {
                    prop_assert_eq!(subscribers.remove(target), expected.remove(&target).is_some());
                }
                let mut found = Vec::new();
                subscribers.append_to(&mut found);
                prop_assert_eq!(found, expected.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(subscribers.is_empty(), expected.is_empty());
            }
        }

        /// [MQTT-4.7.2-1 @3.1.1] [MQTT-4.7.2-1 @5.0] [MQTT-4.7.3-4 @3.1.1] [MQTT-4.7.3-4 @5.0] [U5-4.7.3-1]
        /// [MQTT-3.3.2-3 @3.1.1] [MQTT-3.3.2-3 @5.0]
        #[test]
        fn finds_what_comparing_with_each_filter_finds(
            filters in prop::collection::vec("(\\$?[ab+]?(/[ab+]?){0,3}(/#)?)|#", 0..20),
            topics in prop::collection::vec("\\$?[abA]?(/[ab]?){0,4}", 1..20),
            removed in prop::collection::vec(any::<bool>(), 20),
        ) {
            let mut tree = TopicTree::new(Seeded(7));
            let mut kept = Vec::new();
            let filters: Vec<_> = filters.iter().filter_map(|text| TopicFilter::new(text).ok()).collect();
            for (key, &filter) in filters.iter().enumerate() {
                prop_assert!(tree.insert(filter, Target::Session(key), GRANT));
                prop_assert!(!tree.insert(filter, Target::Session(key), GRANT));
            }
            let topics: Vec<_> = topics.iter().filter_map(|text| TopicName::new(text).ok()).collect();
            let matching = |topic, all: &[(usize, TopicFilter<'_>)]| -> Vec<_> {
                all.iter().filter(|(_, filter)| filter.matches(topic)).map(|(key, _)| *key).collect()
            };
            let all: Vec<_> = filters.iter().copied().enumerate().collect();
            // What is found the third time was remembered.
            for &topic in topics.iter().flat_map(|topic| [topic; 3]) {
                prop_assert_eq!(found(&mut tree, topic.as_str()), matching(topic, &all), "{}", topic);
            }
            prop_assert!(topics.is_empty() || topics.iter().any(|topic| tree.known(topic.as_bytes()).is_some()));
            for (key, &filter) in filters.iter().enumerate() {
                if removed[key] {
                    prop_assert!(tree.remove(filter, Target::Session(key)));
                    prop_assert!(!tree.remove(filter, Target::Session(key)));
                } else {
                    kept.push((key, filter));
                }
            }
            for &topic in topics.iter().flat_map(|topic| [topic; 3]) {
                prop_assert_eq!(found(&mut tree, topic.as_str()), matching(topic, &kept), "{}", topic);
            }
            for (key, filter) in kept {
                prop_assert!(tree.remove(filter, Target::Session(key)));
            }
            prop_assert_eq!((tree.nodes.len(), tree.exact.len(), tree.wildcards), (1, 0, 0), "something was left");
        }
    }
}
