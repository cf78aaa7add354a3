//! Topics that come again and again, and who was found for them: so they are neither hashed with care nor matched again.
//!
//! A table of places, each for the last topic that came there twice. Who picks topics that share a place makes them
//! slow, as all were without the table, and never slower: so a quick hash is good enough.

use super::topic_tree::{Grant, Target, levels};
use mqtt_packet::TopicName;

/// A topic that was matched.
#[derive(Debug)]
pub(super) struct Known {
    topic: Box<str>,
    /// When the subscriptions changed last before that.
    version: u64,
    /// How many levels it has.
    pub(super) levels: usize,
    /// Who is subscribed, once for each subscription.
    pub(super) found: Vec<(Target, Grant)>,
    /// Whether one target may stand there more than once.
    pub(super) may_repeat: bool,
}

impl Known {
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }
}

#[derive(Debug, Default)]
struct Place {
    /// The hash of the topic that came last and was not known.
    came: u64,
    known: Option<Known>,
}

#[derive(Debug, Default)]
pub(super) struct KnownTopics {
    /// None before the first topic.
    places: Vec<Place>,
    /// How often subscriptions changed.
    version: u64,
}

/// How many places, a power of two.
const PLACES: usize = 1024;
/// Longer topics are not kept, nor more subscribers: what that takes is small beside the matching.
const TOPIC: usize = 128;
const SUBSCRIBERS: usize = 16;

impl KnownTopics {
    /// A subscription came, went or is another now: nobody knows whose topics.
    pub(super) fn forget(&mut self) {
        self.version = self.version.wrapping_add(1);
    }

    /// What is known of a topic. Only valid ones are, so whoever asks need not have looked.
    pub(super) fn get(&self, topic: &[u8]) -> Option<&Known> {
        let known = self.places.get(place(hash(topic)))?.known.as_ref()?;
        (known.version == self.version && known.topic.as_bytes() == topic).then_some(known)
    }

    /// Keeps what was found for a topic, if that came before.
    pub(super) fn keep(&mut self, topic: TopicName<'_>, found: &[(Target, Grant)], may_repeat: bool) {
        if topic.as_bytes().len() > TOPIC || found.len() > SUBSCRIBERS {
            return;
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, Place::default);
        }
        let hash = hash(topic.as_bytes());
        let Some(place) = self.places.get_mut(place(hash)) else {
            return;
        };
        match &mut place.known {
            Some(known) if known.topic.as_bytes() == topic.as_bytes() => {
                known.version = self.version;
                known.may_repeat = may_repeat;
                known.found.clear();
                known.found.extend_from_slice(found);
            }
            _ if place.came != hash => place.came = hash,
            known => {
                *known = Some(Known {
                    topic: topic.as_str().into(),
                    version: self.version,
                    levels: levels(topic.as_bytes()).count(),
                    found: found.to_vec(),
                    may_repeat,
                });
            }
        }
    }
}

/// Mixes eight bytes at a time: first those from the front, then the last, which may have been among them.
fn hash(topic: &[u8]) -> u64 {
    // The fractional part of the golden ratio.
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(29) ^ word).wrapping_mul(MIX);
    let (words, rest) = topic.as_chunks();
    let hash = words.iter().fold(topic.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    match topic.last_chunk() {
        Some(last) => mix(hash, u64::from_le_bytes(*last)),
        None => rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte))),
    }
}

/// The place of a hash: its upper bits, in which all of the topic is mixed.
fn place(hash: u64) -> usize {
    hash.rotate_left(PLACES.trailing_zeros()) as usize & (PLACES - 1)
}
