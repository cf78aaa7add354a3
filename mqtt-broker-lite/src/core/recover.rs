//! A shard from what was stored: the changes that are left are fed to it before anybody connects.

use super::deliver::record_queued;
use super::outbound::Queued;
use super::session::{Away, ByClientId, FOR_EVER, Session};
use super::shard::Shard;
use super::subscribe::grant;
use super::timers::Timer;
use super::{Change, Message, MessageNumber, Now, SessionNumber, SessionRecord, SubscriptionRecord};
use mqtt_packet::TopicFilter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of a piece of what is stored.
#[derive(Default)]
struct Piece {
    messages: BTreeMap<MessageNumber, Arc<Message>>,
    /// Places in queues that were written anew.
    moved: BTreeSet<(SessionNumber, u64)>,
}

impl Shard {
    /// Rebuilds what was stored, from the changes that are left of it: sessions before what belongs to them, messages
    /// before what refers to them, a place in a queue before what is in flight of it. May be called with one piece after
    /// the other; a message is in the same piece as what refers to it.
    ///
    /// Sessions that were connected count as lost at this moment; time that passed since the others were left counts.
    pub fn restore(&mut self, now: Now, stored: impl IntoIterator<Item = Change>) {
        self.now = now;
        let mut piece = Piece::default();
        for change in stored {
            self.restore_one(change, &mut piece);
        }
        self.end_turn();
    }

    /// Numbers up to this one were given to sessions and messages, by whichever shard: with another count of shards,
    /// what one has numbered may be at home at another.
    pub fn restore_numbers(&mut self, last: u64) {
        self.last_session = self.last_session.max(last);
        self.journal.count_message(last);
    }

    /// Messages that wait for a session behind those that were given back, up to this place in its order; they stay on
    /// the disk until it is their turn.
    pub fn restore_rest(&mut self, session: SessionNumber, last: u64, messages: &[MessageNumber]) {
        if let Some(session) = self.numbered(session) {
            session.outbound.restore_stored(messages.len(), last);
            for number in messages {
                self.journal.restore(*number);
            }
        }
    }

    fn restore_one(&mut self, change: Change, piece: &mut Piece) {
        match change {
            Change::Session(number, record) => self.restore_session(number, record),
            Change::Group(number, name) => self.restore_group(number, &name),
            Change::Subscription(number, filter, record) => self.restore_subscription(number, filter, record),
            Change::Message(number, message) => drop(piece.messages.insert(number, message)),
            Change::Queued { session, sequence, message: number, qos, retain, subscription_ids } => {
                if let Some(message) = piece.messages.get(&number) {
                    let queued = Queued {
                        sequence,
                        message: Arc::clone(message),
                        number: Some(number),
                        qos,
                        retain,
                        subscription_ids,
                        group: None,
                    };
                    if self.restore_queued(session, queued, number) {
                        piece.moved.insert((session, sequence));
                    }
                }
            }
            Change::InFlight { session, sequence, serial, received } => {
                if piece.moved.contains(&(session, sequence)) {
                    // It may have been stored with its place, which was written anew.
                    self.journal.record(Change::InFlight { session, sequence, serial, received });
                }
                if let Some(session) = self.numbered(session) {
                    session.outbound.restore_in_flight(sequence, serial, received);
                }
            }
            Change::Received(session, id) => {
                if let Some(session) = self.numbered(session) {
                    session.received.insert(id, None);
                }
            }
            Change::Retained(message) => self.keep(message),
            // What is gone is not left.
            Change::SessionGone(_)
            | Change::GroupGone(_)
            | Change::SubscriptionGone(..)
            | Change::MessageGone(_)
            | Change::QueuedGone(..)
            | Change::InFlightGone(..)
            | Change::ReceivedGone(..)
            | Change::RetainedGone(_) => {}
        }
    }

    /// True if it had to be written anew.
    fn restore_queued(
        &mut self,
        owner: SessionNumber,
        mut queued: Queued,
        mut number: MessageNumber,
    ) -> bool {
        let is_moved = number.shard() != self.settings.shard && self.journal.is_durable();
        if is_moved {
            // Another shard numbered it, when there were more or fewer of them: a message has one owner.
            let mut own = None;
            number = self.journal.refer(&mut own, &queued.message);
            queued.number = own;
            record_queued(owner, &queued, &mut self.journal);
            self.journal.release_silently(number);
        }
        if self.restore_parked(owner, &queued) {
            self.journal.restore(number);
        } else if let Some(session) = self.numbered(owner) {
            session.outbound.restore(queued);
            self.journal.restore(number);
        }
        is_moved
    }

    /// Numbers that were given are not given again.
    pub(super) fn count_session(&mut self, number: SessionNumber) {
        if number.0 >> 48 == u64::from(self.settings.shard.0) {
            self.last_session = self.last_session.max(number.0 & 0xFFFF_FFFF_FFFF);
        }
    }

    fn numbered(&mut self, number: SessionNumber) -> Option<&mut Session> {
        self.sessions.get_mut(*self.by_number.get(&number)?)
    }

    fn restore_session(&mut self, number: SessionNumber, record: SessionRecord) {
        let now = self.now;
        let since = record.away_since.unwrap_or(now.wall);
        let passed = now.wall.saturating_sub(since);
        let left = |seconds: u32| {
            let whole = u64::from(seconds).saturating_mul(1000);
            now.mono.saturating_add(whole.saturating_sub(passed))
        };
        let mut session = Session::new(number, Arc::clone(&record.client));
        session.is_stored = true;
        if self.settings.may_forget {
            session.outbound.skip_serials(now.wall);
        }
        session.expiry = record.expiry;
        let ends = (record.expiry != FOR_EVER).then(|| left(record.expiry));
        let will_at = record.will.as_ref().map(|will| left(will.delay));
        session.away = Some(Away { since, ends, will_at });
        session.will = record.will;
        for (at, timer) in [(ends, Timer::Session(number)), (will_at, Timer::Will(number))] {
            if let Some(at) = at {
                self.timers.start(at, timer);
            }
        }
        let key = self.sessions.insert(session);
        self.by_client.insert(ByClientId(record.client), key);
        self.by_number.insert(number, key);
        self.count_session(number);
        // One that was not kept any more ends at once.
        if record.away_since.is_none() && record.expiry > 0 {
            self.store_session(key);
        }
    }

    fn restore_subscription(&mut self, number: SessionNumber, filter: Box<str>, record: SubscriptionRecord) {
        let Some(&key) = self.by_number.get(&number) else {
            return;
        };
        if let Ok(filter) = TopicFilter::new(&filter) {
            self.enter(key, filter, grant(record));
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.subscriptions.insert(filter, record);
        }
    }
}
