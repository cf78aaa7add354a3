//! The walk over retained messages that a subscription brings: over this shard's own, and over those of the others in
//! batches that they are asked for. Never a burst into memory, never dropped for a limit.

use super::deliver::{Item, Terms};
use super::form::Forms;
use super::link::{Letter, Walk, home};
use super::message::Message;
use super::retained::Cursor;
use super::session::Session;
use super::shard::Shard;
use super::timers::Timer;
use super::{Access, SessionNumber, ShardId};
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

/// What a walk can do next.
enum Step {
    Send(Arc<Message>),
    /// Nothing was found for a while: others have their turn first.
    Interrupted,
    Ask(ShardId, Letter),
    Done,
    Wait,
    GoOn,
}

impl Shard {
    /// Starts a walk.
    pub(super) fn begin_replay(&mut self, key: usize, filter: TopicFilter<'_>, qos: QoS, id: u32) {
        self.last_walk = self.last_walk.saturating_add(1);
        let shards = self.settings.shards;
        let (shard, last) = if filter.has_wildcard() {
            (ShardId(0), ShardId(shards.saturating_sub(1)))
        } else {
            let home = home(filter.as_bytes(), shards);
            (home, home)
        };
        let replay = Replay {
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
        };
        if let Some(session) = self.sessions.get_mut(key) {
            session.replays.push_back(replay);
        }
    }

    /// Sends retained messages for as long as there is room.
    pub(super) fn replay_retained(&mut self, key: usize, forms: &mut Forms) {
        loop {
            let Some((step, qos, id, number)) = self.next_step(key) else {
                return;
            };
            match step {
                Step::Send(message) => self.send_retained(key, &message, qos, id, forms),
                Step::Interrupted => {
                    self.timers.start(self.now.mono, Timer::Replay(number));
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
                    }
                }
                Step::GoOn => {}
            }
        }
    }

    fn next_step(&mut self, key: usize) -> Option<(Step, QoS, u32, SessionNumber)> {
        let session = self.sessions.get_mut(key)?;
        let number = session.number;
        let replay = session.replays.front_mut()?;
        let connection = session.connection.as_deref()?;
        if connection.subacks > 0
            || !connection.may_send(replay.qos, &self.settings)
            || session.outbound.must_wait(replay.qos)
        {
            return None;
        }
        let (qos, id) = (replay.qos, replay.id);
        let filter = TopicFilter::new(&replay.filter).ok()?;
        let step = if let Some(message) = replay.batch.pop_front() {
            if replay.live.contains(&message.topic) { Step::GoOn } else { Step::Send(message) }
        } else if replay.is_asked {
            Step::Wait
        } else if replay.cursor == Cursor::End {
            replay.live.clear();
            if replay.shard == replay.last {
                Step::Done
            } else {
                replay.shard = ShardId(replay.shard.0.saturating_add(1));
                replay.cursor = Cursor::From(Vec::new());
                Step::GoOn
            }
        } else if replay.shard == self.settings.shard {
            let (found, next) = self.retained.next(filter, &replay.cursor);
            replay.cursor = next;
            match found {
                Some(message) => Step::Send(Arc::clone(message)),
                None if replay.cursor == Cursor::End => Step::GoOn,
                None => Step::Interrupted,
            }
        } else {
            replay.live.clear();
            replay.is_asked = true;
            let walk = Walk { session: number, number: replay.number };
            let letter =
                Letter::Recall { walk, filter: replay.filter.clone(), cursor: replay.cursor.clone() };
            Step::Ask(replay.shard, letter)
        };
        Some((step, qos, id, number))
    }

    pub(super) fn on_recalled(&mut self, walk: Walk, messages: Vec<Arc<Message>>, cursor: Cursor) {
        let Some(&key) = self.by_number.get(&walk.session) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let Some(replay) = session.replays.front_mut().filter(|replay| replay.number == walk.number) {
            replay.is_asked = false;
            replay.batch = messages.into();
            replay.cursor = cursor;
            self.drain(key);
        }
    }

    fn send_retained(&mut self, key: usize, message: &Arc<Message>, qos: QoS, id: u32, forms: &mut Forms) {
        let Some(view) = message.view() else {
            return;
        };
        if message.is_expired(self.now.wall) {
            self.forget_retained(view.topic.as_bytes()); // [U5-3.3.1-2]
            return;
        }
        // A publisher that lost its right does not speak through what it left behind.
        if !self.may(&message.publisher, Access::Publish, view.topic.as_utf8()) {
            return;
        }
        let ids = [id];
        let terms = Terms {
            qos: qos.min(view.qos),
            retain: true, // [MQTT-3.3.1-8] [U5-3.3.1-1]
            subscription_ids: if id > 0 { &ids } else { &[] },
            group: None,
        };
        self.send_new(key, terms, &mut Item::of(view, Arc::clone(message)), forms);
    }

    pub(super) fn on_replay_timeout(&mut self, number: SessionNumber) {
        if let Some(&key) = self.by_number.get(&number) {
            self.drain(key);
        }
    }
}

impl Session {
    /// A message goes to this session while retained ones are on their way from another shard: if they are older, they
    /// must not come after it.
    pub(super) fn note_live(&mut self, topic: &[u8]) {
        if let Some(replay) = self.replays.front_mut()
            && (replay.is_asked || !replay.batch.is_empty())
        {
            replay.live.insert(Bytes::copy_from_slice(topic));
        }
    }
}
