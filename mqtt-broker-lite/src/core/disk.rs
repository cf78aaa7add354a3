//! What the disk does for the memory: queues of which only the beginning is here, and room that ends.

use super::deliver::{Item, Terms, queued, record_queued};
use super::outbound::Queued;
use super::session::Session;
use super::shard::Shard;
use super::sys::Loss;
use super::{Change, Message, MessageNumber, Output, SessionNumber};
use mqtt_packet::{QoS, ReasonCode, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Shard {
    /// Whether a message for a session waits on the disk only: behind others that do, or behind a window full.
    pub(super) fn goes_to_disk(&self, key: usize, terms: Terms<'_>, size: usize) -> bool {
        let Some(session) = self.sessions.get(key) else {
            return false;
        };
        let outbound = &session.outbound;
        let has_place = session.is_kept() || outbound.stored.count > 0;
        let is_stored = self.journal.is_durable() && has_place && terms.qos > QoS::AtMostOnce;
        let most = self.settings.queue_window_bytes.min(self.settings.max_queue_bytes);
        let is_full = outbound.queue_len() >= self.settings.queue_window
            || outbound.queue_bytes().saturating_add(size) > most;
        is_stored && (outbound.stored.count > 0 || terms.group.is_none() && is_full)
    }

    /// Lets a message wait on the disk, if it may.
    pub(super) fn enqueue_stored(&mut self, key: usize, terms: Terms<'_>, item: &mut Item<'_>) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.outbound.stored.count >= self.settings.max_stored_messages {
            self.counts.note_loss(Loss::QueueFull);
            return;
        }
        let mut queued = queued(terms, item.message());
        queued.sequence = session.outbound.next_sequence();
        queued.number = Some(item.store(terms, &mut self.journal));
        record_queued(session.number, &queued, &mut self.journal);
        session.outbound.push_stored();
    }

    /// Asks for what is next on the disk, before the memory runs out.
    pub(super) fn fetch(&mut self, key: usize) {
        let (window, bytes) = (self.settings.queue_window, self.settings.queue_window_bytes);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let number = session.number;
        let is_low =
            session.outbound.queue_len() <= window >> 1 && session.outbound.queue_bytes() <= bytes >> 1;
        let stored = &mut session.outbound.stored;
        if stored.count > 0 && !stored.is_asked && is_low && session.connection.is_some() {
            stored.is_asked = true;
            self.fetching.push((number, stored.after, window));
        }
    }

    /// What was asked for is here.
    pub(super) fn on_fetched(&mut self, number: SessionNumber, changes: Vec<Change>) {
        if let Some(comes_again) = self.ended.get_mut(&number) {
            if std::mem::take(comes_again) {
                return;
            }
            self.ended.remove(&number);
            for change in changes {
                if let Change::Queued { message, .. } = change {
                    self.journal.release(Some(message));
                }
            }
            return;
        }
        let Some(&key) = self.by_number.get(&number) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let mut messages: BTreeMap<MessageNumber, Arc<Message>> = BTreeMap::new();
        let before = session.outbound.stored.count;
        for change in changes {
            match change {
                Change::Message(number, message) => drop(messages.insert(number, message)),
                Change::Queued { sequence, message: number, qos, retain, subscription_ids, .. } => {
                    if let Some(message) = messages.get(&number) {
                        let message = Arc::clone(message);
                        session.outbound.fetched(Queued {
                            sequence,
                            message,
                            number: Some(number),
                            qos,
                            retain,
                            subscription_ids,
                            group: None,
                        });
                    }
                }
                _ => {}
            }
        }
        let stored = &mut session.outbound.stored;
        stored.is_asked = false;
        if stored.count == before {
            // There is nothing where something was counted: nobody asks for it again.
            stored.count = 0;
        }
        if stored.count == 0 && !session.is_kept() {
            self.store_session(key);
        }
        self.drain(key);
    }

    /// A session ends: what waits for it on the disk only is asked for once more, to know what nobody needs then.
    pub(super) fn forget_stored(&mut self, session: &Session) {
        let stored = &session.outbound.stored;
        if stored.count == 0 {
            return;
        }
        // What this turn wrote is not read: the session ends in it.
        for message in self.journal.queued(session.number, stored.after) {
            self.journal.release(Some(message));
        }
        let before = self.fetching.len();
        self.fetching.retain(|(number, ..)| *number != session.number);
        // What was asked for earlier comes first, and is a part of all.
        let comes_twice = stored.is_asked && self.fetching.len() == before;
        self.ended.insert(session.number, comes_twice);
        self.outputs.push_back(Output::Fetch(session.number, stored.after, usize::MAX));
    }

    /// The disk is full, or has room again.
    pub(super) fn on_full(&mut self, is_full: bool) {
        match (is_full, self.full) {
            (true, None) => self.full = Some(self.journal.begin_wait()),
            (false, Some(room)) => {
                self.full = None;
                self.on_synced(room);
            }
            _ => {}
        }
    }

    /// What a new message of QoS 1 or 2 is answered while the disk is full: 5.0 is told. To 3.x nothing can be said; its
    /// message is taken into the reserve, and nothing more is read from it until there is room.
    pub(super) fn refuse_for_room(&mut self, key: usize) -> Option<ReasonCode> {
        let room = self.full?;
        let connection = self.connection(key)?;
        if connection.version == Version::V5 {
            self.counts.note_loss(Loss::NoRoom);
            return Some(ReasonCode::QUOTA_EXCEEDED);
        }
        self.pause(key, Some(room));
        None
    }
}
