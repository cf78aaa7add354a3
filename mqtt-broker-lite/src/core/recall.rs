//! The walk over retained messages that a subscription brings: over this shard's own, and over those of the others in
//! batches that they are asked for. Never a burst into memory, never dropped for a limit.

use super::deliver::{Item, Terms};
use super::form::Forms;
use super::link::{Letter, Reader, Walk, home};
use super::message::Message;
use super::retained::{Cursor, Retained};
use super::shard::Shard;
use super::timers::Timer;
use super::{Access, ShardId};
use bytes::Bytes;
use mqtt_packet::{QoS, TopicFilter};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A walk for one subscription.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) filter: Box<str>,
    qos: QoS,
    /// The Subscription Identifier; 0 for none.
    id: u32,
    /// Tells it from an earlier walk for the same session.
    number: u64,
    cursor: Cursor,
    /// Whose messages the walk is at, and whose are the last.
    shard: ShardId,
    last: ShardId,
    /// Whether that shard was asked and has not answered.
    is_asked: bool,
    /// What it answered.
    batch: VecDeque<Arc<Message>>,
    /// What arrived live meanwhile: newer than what is under way.
    live: BTreeSet<Bytes>,
}

/// How many topics that arrived live are remembered: what is behind by more has long arrived where it is retained.
const MAX_LIVE: usize = 4096;

/// What a walk can do next.
pub(super) enum Step {
    Send(Arc<Message>),
    /// Nothing was found for a while: others have their turn first.
    Interrupted,
    Ask(ShardId, Letter),
    Done,
    Wait,
    GoOn,
}

impl Shard {
    /// A walk from the beginning.
    pub(super) fn walk(&mut self, filter: TopicFilter<'_>, qos: QoS, id: u32) -> Replay {
        self.last_walk = self.last_walk.saturating_add(1);
        let shards = self.settings.shards;
        let (shard, last) = if filter.has_wildcard() {
            (ShardId(0), ShardId(shards.saturating_sub(1)))
        } else {
            let home = home(filter.as_bytes(), shards);
            (home, home)
        };
        Replay {
            filter: filter.as_str().into(),
            qos,
            id,
            number: self.last_walk,
            cursor: Cursor::From(Vec::new()),
            shard,
            last,
            is_asked: false,
            batch: VecDeque::new(),
            live: BTreeSet::new(),
        }
    }

    /// Sends retained messages for as long as there is room.
    pub(super) fn replay_retained(&mut self, key: usize, forms: &mut Forms) {
        loop {
            let Some((step, qos, id, reader)) = self.next_step(key) else {
                return;
            };
            match step {
                Step::Send(message) => self.send_retained(key, &message, qos, id, forms),
                Step::Interrupted => {
                    self.timers.start(self.now.mono, Timer::Replay(reader));
                    return;
                }
                Step::Ask(shard, letter) => {
                    self.tell(shard, letter);
                    return;
                }
                Step::Wait => return,
                Step::Done => {
                    if let Some(session) = self.sessions.get_mut(key) {
                        session.replays.pop_front();
                        if session.replays.is_empty() {
                            // It takes memory until the next subscription, which may never come.
                            session.replays = VecDeque::new();
                        }
                    }
                }
                Step::GoOn => {}
            }
        }
    }

    fn next_step(&mut self, key: usize) -> Option<(Step, QoS, u32, Reader)> {
        let session = self.sessions.get_mut(key)?;
        let reader = Reader::Session(session.number);
        let replay = session.replays.front_mut()?;
        let connection = session.connection.as_deref()?;
        if connection.subacks > 0
            || !connection.may_send(replay.qos, self.window)
            || !session.outbound.has_room(replay.qos, &self.settings)
            || session.outbound.must_wait(replay.qos)
        {
            return None;
        }
        let (qos, id) = (replay.qos, replay.id);
        Some((replay.step(reader, self.settings.shard, &self.retained), qos, id, reader))
    }

    pub(super) fn on_recalled(&mut self, walk: Walk, messages: Vec<Arc<Message>>, cursor: Cursor) {
        match walk.reader {
            Reader::Session(number) => {
                let Some(&key) = self.by_number.get(&number) else {
                    return;
                };
                let replay = self.sessions.get_mut(key).and_then(|session| session.replays.front_mut());
                if replay.is_some_and(|replay| replay.recalled(walk, messages, cursor)) {
                    self.drain(key);
                }
            }
            Reader::Observer(observer) => {
                let replay = self.observers.get_mut(&observer).and_then(|known| known.replay.as_mut());
                if replay.is_some_and(|replay| replay.recalled(walk, messages, cursor)) {
                    self.recall_for(observer);
                }
            }
        }
    }

    /// Whether a retained message may still be sent: it is not over, and its publisher has not lost the right to it.
    pub(super) fn is_still_said(&mut self, message: &Message) -> bool {
        let Some(view) = message.view() else {
            return false;
        };
        if message.is_expired(self.now.wall) {
            self.forget_retained(view.topic.as_bytes()); // [U5-3.3.1-2]
            return false;
        }
        // The broker and its program have no name, and need no right.
        let is_client = !message.publisher.client_id.is_empty();
        !is_client || self.may(&message.publisher, Access::Publish, view.topic.as_utf8())
    }

    fn send_retained(&mut self, key: usize, message: &Arc<Message>, qos: QoS, id: u32, forms: &mut Forms) {
        let Some(view) = message.view().filter(|_| self.is_still_said(message)) else {
            return;
        };
        let ids = [id];
        let terms = Terms {
            qos: qos.min(view.qos),
            retain: true, // [MQTT-3.3.1-8] [U5-3.3.1-1]
            subscription_ids: if id > 0 { &ids } else { &[] },
            group: None,
        };
        self.send_new(key, terms, &mut Item::of(view, message), forms);
    }

    pub(super) fn on_replay_timeout(&mut self, reader: Reader) {
        match reader {
            Reader::Session(number) => {
                if let Some(&key) = self.by_number.get(&number) {
                    self.drain(key);
                }
            }
            Reader::Observer(observer) => self.recall_for(observer),
        }
    }
}

impl Replay {
    /// The subscription was replaced by one that wants it so.
    pub(super) fn go_on_as(&mut self, qos: QoS, id: u32) {
        (self.qos, self.id) = (qos, id);
    }

    /// What comes next for a reader who has room for it.
    pub(super) fn step(&mut self, reader: Reader, own: ShardId, retained: &Retained) -> Step {
        if let Some(message) = self.batch.pop_front() {
            return if self.live.contains(message.topic()) { Step::GoOn } else { Step::Send(message) };
        }
        if self.is_asked {
            return Step::Wait;
        }
        if self.cursor == Cursor::End {
            if self.shard == self.last {
                return Step::Done;
            }
            self.shard = ShardId(self.shard.0.saturating_add(1));
            self.cursor = Cursor::From(Vec::new());
            return Step::GoOn;
        }
        if self.shard != own {
            self.is_asked = true;
            let walk = Walk { reader, number: self.number };
            let letter = Letter::Recall { walk, filter: self.filter.clone(), cursor: self.cursor.clone() };
            return Step::Ask(self.shard, letter);
        }
        // It was a filter when the walk began.
        let Ok(filter) = TopicFilter::new(&self.filter) else {
            return Step::Done;
        };
        let (found, next) = retained.next(filter, &self.cursor);
        self.cursor = next;
        match found {
            Some(message) => Step::Send(Arc::clone(message)),
            None if self.cursor == Cursor::End => Step::GoOn,
            None => Step::Interrupted,
        }
    }

    /// What was asked for is here; false if that was for an earlier walk.
    fn recalled(&mut self, walk: Walk, messages: Vec<Arc<Message>>, cursor: Cursor) -> bool {
        let is_this = self.number == walk.number;
        if is_this {
            self.is_asked = false;
            self.batch = messages.into();
            self.cursor = cursor;
        }
        is_this
    }

    /// A message goes to the same reader while retained ones are still to come from other shards: if they are older, they
    /// must not come after it.
    pub(super) fn note_live(&mut self, topic: &[u8]) {
        if self.live.len() < MAX_LIVE {
            self.live.insert(Bytes::copy_from_slice(topic));
        }
    }
}
