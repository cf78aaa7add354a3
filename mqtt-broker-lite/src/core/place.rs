//! Places for retained messages. Each shard has so many, and only the shard where a topic is at home knows whether there
//! is one for it, or its last message has one already.
//!
//! Whoever can be told that there is none, a 5.0 client at QoS 1 and 2, waits with everything that it sends behind until
//! that shard has answered; then the message is either refused whole or kept for certain. A shard that has plenty of
//! places says so with its answer, and nobody asks it again until it takes that back.

use super::handshake::{raw, whole};
use super::link::{Letter, home};
use super::shard::{Shard, Stage};
use super::{Cause, ConnId, ShardId};
use bytes::Bytes;
use mqtt_packet::{Frame, Publish, QoS, TopicName, Version};
use std::collections::{BTreeMap, BTreeSet};

/// What is known here about the places of all shards.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Shards that have plenty.
    plenty_at: BTreeSet<ShardId>,
    /// Shards that think so of this one.
    told_plenty: BTreeSet<ShardId>,
    /// Connections that wait for an answer.
    waiting: BTreeMap<ConnId, Waiting>,
    /// What the answer was for the packet at hand.
    answer: Option<Answer>,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Free,
    Full,
    /// The client was gone before it was answered, and learns nothing. Its message counts, as everything that it sent, and
    /// is kept if there is a place: it would come behind later ones if it were left to be sent again.
    NobodyAsks,
}

#[derive(Debug)]
struct Waiting {
    /// What its client is not read for.
    wait: Cause,
    /// The message, and what came behind it.
    parked: Vec<u8>,
    /// How much of that is dealt with.
    done: usize,
}

/// Where no more than these are free, or an eighth, that is not plenty.
const FEW: usize = 64;

impl Shard {
    /// Whether a retained message may only be taken once the shard where its topic is at home has said that there is a
    /// place for it.
    pub(super) fn must_ask_for_place(
        &mut self,
        key: usize,
        publish: &Publish<'_>,
        topic: TopicName<'_>,
    ) -> bool {
        if !is_kept(publish) || self.places.answer.is_some() {
            return false;
        }
        let home = home(topic.as_bytes(), self.settings.shards);
        home != self.settings.shard && !self.places.plenty_at.contains(&home) && self.can_refuse(key, publish)
    }

    /// Whether the answer to a message can say that it was not taken.
    pub(super) fn can_refuse(&mut self, key: usize, publish: &Publish<'_>) -> bool {
        if self.places.answer == Some(Answer::NobodyAsks) {
            return false;
        }
        let version = self.connection(key).map(|connection| connection.version);
        version == Some(Version::V5) && publish.delivery.qos() > QoS::AtMostOnce
    }

    pub(super) fn ask_for_place(&mut self, key: usize, frame: Frame<'_>, topic: TopicName<'_>) {
        let Some(id) = self.connection(key).map(|connection| connection.id) else {
            return;
        };
        let wait = self.journal.begin_wait();
        self.places.waiting.insert(id, Waiting { wait, parked: raw(frame), done: 0 });
        self.pause(key, Some(wait));
        let name = Bytes::copy_from_slice(topic.as_bytes());
        let home = home(&name, self.settings.shards);
        self.tell(home, Letter::AskForPlace { connection: id, topic: name });
    }

    /// Whether a client waits, and all that it sends with it.
    pub(super) fn is_behind_place(&self, id: ConnId) -> bool {
        self.places.waiting.contains_key(&id)
    }

    /// A packet of a client that waits is parked behind its message: true if it was.
    pub(super) fn park_behind_place(&mut self, id: ConnId, frame: Frame<'_>) -> bool {
        let waiting = self.places.waiting.get_mut(&id);
        waiting.map(|waiting| waiting.parked.extend(raw(frame))).is_some()
    }

    /// Another shard asks whether there is a place here.
    pub(super) fn on_ask_for_place(&mut self, from: ShardId, connection: ConnId, topic: &[u8]) {
        let is_free = TopicName::from_bytes(topic).is_ok_and(|topic| !self.has_no_place(topic));
        let has_plenty = self.has_plenty();
        if has_plenty {
            self.places.told_plenty.insert(from);
        }
        self.tell(from, Letter::Place { connection, is_free, has_plenty });
    }

    /// The answer is here.
    pub(super) fn on_place(&mut self, from: ShardId, connection: ConnId, is_free: bool, has_plenty: bool) {
        if has_plenty {
            self.places.plenty_at.insert(from);
        }
        self.go_on_behind_place(connection, if is_free { Answer::Free } else { Answer::Full });
    }

    pub(super) fn on_few_places(&mut self, from: ShardId) {
        self.places.plenty_at.remove(&from);
    }

    /// Handles what a client sent since it waits, up to the next message that has to wait; all, if nobody asks any more.
    fn go_on_behind_place(&mut self, id: ConnId, answer: Answer) {
        let Some(Waiting { wait, parked, done }) = self.places.waiting.remove(&id) else {
            return;
        };
        self.on_synced(wait);
        let Some((frame, mut rest)) = parked.get(done..).and_then(whole) else {
            return;
        };
        let Some(&Stage::Online(key)) = self.connections.get(&id) else {
            return;
        };
        self.places.answer = Some(answer);
        if let Err(reason) = self.on_publish(key, frame) {
            self.close(key, reason);
        }
        self.places.answer = self.places.answer.filter(|answer| *answer == Answer::NobodyAsks);
        while let Some((frame, behind)) = whole(rest) {
            let done = parked.len().saturating_sub(rest.len());
            self.on_frame(id, frame);
            if let Some(next) = self.places.waiting.get_mut(&id) {
                // It has a copy of this message alone.
                (next.parked, next.done) = (parked, done);
                break;
            }
            rest = behind;
        }
        self.places.answer = None;
    }

    /// A connection ends, but not by what came on it: what it sent counts.
    pub(super) fn settle_places(&mut self, id: ConnId) {
        self.go_on_behind_place(id, Answer::NobodyAsks);
    }

    /// A connection ended.
    pub(super) fn forget_places(&mut self, id: ConnId) {
        if let Some(waiting) = self.places.waiting.remove(&id) {
            self.on_synced(waiting.wait);
        }
    }

    fn has_plenty(&self) -> bool {
        let max = self.settings.max_retained;
        let few = max.wrapping_shr(3).saturating_add(FEW);
        !self.is_exhausted() && self.retained.len().saturating_add(few) < max
    }

    /// There are more retained messages, or less memory: others are told when that matters to them.
    pub(super) fn count_places(&mut self) {
        if self.places.told_plenty.is_empty() || self.has_plenty() {
            return;
        }
        for shard in std::mem::take(&mut self.places.told_plenty) {
            self.tell(shard, Letter::FewPlaces);
        }
    }

    /// Whether a message of this topic would be one retained message too many, as far as that is known here: of topics
    /// that are at home elsewhere only what was asked for.
    pub(super) fn has_no_place(&self, topic: TopicName<'_>) -> bool {
        if !self.is_home(topic.as_bytes()) {
            return self.places.answer == Some(Answer::Full);
        }
        let is_full = self.retained.len() >= self.settings.max_retained || self.is_exhausted();
        is_full && self.retained.get(topic.as_bytes()).is_none()
    }
}

/// Whether a message is to take a place.
pub(super) fn is_kept(publish: &Publish<'_>) -> bool {
    publish.retain && !publish.payload.is_empty()
}
