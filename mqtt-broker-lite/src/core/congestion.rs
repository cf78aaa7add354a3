//! A reader that is slower than its writers slows them down, for a moment, before anything is dropped.
//!
//! First acknowledgements are withheld, so that a publisher of QoS 1 and 2 stops by itself. A publisher of QoS 0 is not
//! read for a while, but only if nothing is in flight towards it: two clients that publish to each other would wait for
//! each other for ever. Nobody waits longer than a second; then the bounds of the queue decide.

use super::held::Then;
use super::link::Letter;
use super::shard::{Shard, Stage};
use super::timers::Timer;
use super::{Cause, Output, ShardId};
use bytes::Bytes;
use mqtt_packet::QoS;
use std::collections::BTreeSet;

/// How long publishers wait for a slow reader, in milliseconds.
const PATIENCE: u64 = 1000;

impl Shard {
    /// A message had to wait for this session. If too many do, whoever sent it waits, too.
    pub(super) fn note_congestion(&mut self, key: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let is_congested = session.outbound.queue_bytes() > self.settings.slow_queue_bytes;
        if !is_congested || session.connection.is_none() || session.is_given_up {
            return;
        }
        let room = session.waits_for_room.unwrap_or_else(|| {
            let room = self.journal.begin_wait();
            self.timers.start(self.now.mono.saturating_add(PATIENCE), Timer::Room(session.number));
            room
        });
        session.waits_for_room = Some(room);
        if self.congested.last() != Some(&room) {
            self.congested.push(room);
        }
    }

    /// The message of this turn met slow readers: its publisher waits for them.
    pub(super) fn slow_down(&mut self, key: usize, qos: QoS) {
        let rooms = std::mem::take(&mut self.congested);
        if rooms.is_empty() {
            return;
        }
        let max = self.max_withheld();
        let waits_for_shard = rooms.iter().any(|&room| self.waits_for_shard(room));
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(connection) = session.connection.as_deref_mut() else {
            return;
        };
        let is_free = waits_for_shard
            || session.outbound.in_flight.is_empty() && connection.unsent == 0 && connection.out.is_empty();
        let has_too_much = connection.held.len() >= max;
        if has_too_much && !is_free {
            // It is read on, so the slow queue's bounds decide now.
            connection.held.give_up_rooms();
            self.release_held(key);
            return;
        }
        if is_free && (has_too_much || qos == QoS::AtMostOnce) {
            self.pause(key, rooms.first().copied());
        }
        if qos > QoS::AtMostOnce {
            for room in rooms {
                self.reply(key, Some(room), Then::Room, |_, _| Ok(()));
            }
        }
    }

    /// How many answers to a client may wait: those that a Receive Maximum allows, each with what it waits for.
    fn max_withheld(&self) -> usize {
        usize::from(self.settings.receive_maximum).saturating_mul(2).saturating_add(16)
    }

    /// A client that is owed too many answers is not read until they are out: 3.x knows no Receive Maximum, and there is
    /// none for SUBSCRIBE, or for repeats.
    pub(super) fn bound_withheld(&mut self, key: usize) {
        let max = self.max_withheld();
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        if let Some(connection) = session.connection.as_deref()
            && connection.held.len() > max
        {
            let last = connection.held.last_cause(&self.journal);
            self.pause(key, last);
        }
    }

    /// Does not read from a client until this has happened. What was read before goes on coming for a moment.
    pub(super) fn pause(&mut self, key: usize, until: Option<Cause>) {
        let until = until.filter(|until| !self.journal.is_synced(*until));
        let Some(connection) = self.connection(key).filter(|connection| !connection.is_paused) else {
            return;
        };
        if let Some(until) = until {
            connection.is_paused = true;
            let id = connection.id;
            self.paused.entry(until).or_default().push(id);
            self.outputs.push_back(Output::Pause(id));
        }
    }

    /// A session took some of what waited for it, or is gone.
    pub(super) fn relieve(&mut self, key: usize) {
        let half = self.settings.slow_queue_bytes.wrapping_shr(1);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let is_relieved = session.connection.is_none() || session.outbound.queue_bytes() <= half;
        if !is_relieved {
            return;
        }
        session.is_given_up = false;
        if let Some(room) = session.waits_for_room.take() {
            self.end_wait(room);
        }
    }

    /// It took too long.
    pub(super) fn on_room_timeout(&mut self, number: super::SessionNumber) {
        let session = self.by_number.get(&number).and_then(|&key| self.sessions.get_mut(key));
        let Some(session) = session else {
            return;
        };
        if let Some(room) = session.waits_for_room.take() {
            session.is_given_up = true;
            self.end_wait(room);
        }
    }

    pub(super) fn end_wait(&mut self, room: Cause) {
        self.on_synced(room);
        let shards: BTreeSet<_> =
            self.told_busy.remove(&room).into_iter().flatten().flat_map(|(_, shards)| shards).collect();
        for shard in shards {
            self.tell(shard, Letter::Free(room));
        }
    }

    /// Messages of another shard met slow readers here: their publishers are there.
    pub(super) fn tell_busy(&mut self, shard: ShardId, topic: &[u8]) {
        for room in std::mem::take(&mut self.congested) {
            let told = self.told_busy.entry(room).or_default();
            if told.get(topic).is_some_and(|shards| shards.contains(&shard)) {
                continue;
            }
            // A copy: it is kept for longer than the message.
            let topic = Bytes::copy_from_slice(topic);
            told.entry(topic.clone()).or_default().insert(shard);
            self.tell(shard, Letter::Busy { topic, room });
        }
    }

    /// Whoever publishes to this topic writes faster than somebody on another shard reads.
    pub(super) fn on_busy(&mut self, topic: Bytes, room: Cause) {
        let wait = match self.rooms_elsewhere.get(&room) {
            Some(&wait) => wait,
            None => self.journal.begin_wait(),
        };
        self.rooms_elsewhere.insert(room, wait);
        self.busy_topics.insert(topic, wait);
    }

    pub(super) fn on_free(&mut self, room: Cause) {
        if let Some(wait) = self.rooms_elsewhere.remove(&room) {
            self.busy_topics.retain(|_, busy| *busy != wait);
            self.on_synced(wait);
        }
    }

    /// A message goes to a shard where somebody may be slow.
    pub(super) fn note_busy(&mut self, topic: &[u8]) {
        if let Some(&wait) = self.busy_topics.get(topic)
            && self.congested.last() != Some(&wait)
        {
            self.congested.push(wait);
        }
    }

    /// Reads again from those who waited for this.
    pub(super) fn resume_reading(&mut self, room: Cause) {
        for id in self.paused.remove(&room).unwrap_or_default() {
            let Some(Stage::Online(key)) = self.connections.get(&id) else {
                continue;
            };
            let (key, now) = (*key, self.now.mono);
            if let Some(connection) = self.connection(key) {
                connection.is_paused = false;
                connection.last_heard = now;
                self.outputs.push_back(Output::Resume(id));
            }
        }
    }
}
