//! SUBSCRIBE and UNSUBSCRIBE, and the retained messages that a subscription brings
//! (3.1.1 and 5.0 sections 3.8 to 3.11).

use super::deliver::{Item, Terms};
use super::form::Forms;
use super::held::Then;
use super::retained::Cursor;
use super::shard::Shard;
use super::shared;
use super::timers::Timer;
use super::topic_tree::{Grant, Target, levels};
use super::{Access, Change, Client, CloseReason, SubscriptionRecord};
use mqtt_packet::{
    Frame, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, TopicFilter, UnsubAck,
    Unsubscribe,
};
use std::sync::Arc;

/// A walk over the retained messages for one subscription.
#[derive(Debug)]
pub(super) struct Replay {
    filter: Box<str>,
    cursor: Cursor,
    qos: QoS,
    /// The Subscription Identifier; 0 for none.
    id: u32,
}

/// How a subscription stands in the topic tree.
pub(super) fn grant(record: SubscriptionRecord) -> Grant {
    Grant {
        qos: record.options.qos,
        no_local: record.options.no_local,
        retain_as_published: record.options.retain_as_published,
        id: record.id,
    }
}

impl Shard {
    pub(super) fn on_subscribe(&mut self, key: usize, frame: Frame<'_>) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get(key) else {
            return Ok(());
        };
        let Some(connection) = session.connection.as_deref() else {
            return Ok(());
        };
        let (version, bridge) = (connection.version, connection.bridge);
        let client = Arc::clone(&session.client);
        let subscribe =
            Subscribe::decode(frame, version).map_err(|error| CloseReason::Packet(error, version))?;
        let id = subscribe.properties.subscription_identifiers().next().unwrap_or(0);
        if id > 0 && !self.settings.subscription_ids_available {
            return Err(CloseReason::rule(
                "U5-3.2.2-6",
                ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
                "a subscription identifier where there are none",
            ));
        }
        let mut codes = Vec::new();
        for SubscribeFilter { filter, mut options } in subscribe.filters {
            if bridge {
                options.no_local = true;
                options.retain_as_published = true;
            }
            let code = match self.examine(key, &client, filter) {
                Ok(()) => {
                    options.qos = options.qos.min(self.settings.maximum_qos);
                    self.add_subscription(key, filter, SubscriptionRecord { options, id });
                    options.qos as u8
                }
                Err(refusal) => refusal.0,
            };
            codes.push(code);
        }
        let cause = self.journal.cause();
        self.reply(key, cause, Then::Nothing, |version, out| {
            SubAck::new(subscribe.id, &codes).encode(version, out)
        });
        self.drain(key);
        Ok(())
    }

    /// Whether a session may have this subscription.
    fn examine(&mut self, key: usize, client: &Client, filter: TopicFilter<'_>) -> Result<(), ReasonCode> {
        let Some(session) = self.sessions.get(key) else {
            return Err(ReasonCode::UNSPECIFIED_ERROR);
        };
        let inner = shared::inner(filter);
        if inner.is_some() && !self.settings.shared_available {
            return Err(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED); // [U5-3.2.2-7]
        }
        if levels(filter.as_bytes()).count() > self.settings.max_topic_levels {
            return Err(ReasonCode::TOPIC_FILTER_INVALID);
        }
        if filter.has_wildcard() && !self.settings.wildcard_available {
            return Err(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        let is_new = !session.subscriptions.contains_key(filter.as_str());
        if is_new && session.subscriptions.len() >= self.settings.max_subscriptions {
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        if !self.may(client, Access::Subscribe, inner.unwrap_or(filter).as_utf8()) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        Ok(())
    }

    /// Adds or replaces a subscription and starts the walk over the retained messages that it asks for.
    fn add_subscription(&mut self, key: usize, filter: TopicFilter<'_>, record: SubscriptionRecord) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let name: Box<str> = filter.as_str().into();
        let is_new = session.subscriptions.insert(name.clone(), record).is_none();
        let shared = shared::inner(filter);
        let sends_retained = match record.options.retain_handling {
            _ if shared.is_some() => false, // [U5-3.8.4-1]
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => is_new, // [MQTT-3.3.1-10]
            RetainHandling::DoNotSend => false,
        };
        session.replays.retain(|replay| replay.filter != name);
        if session.is_kept() {
            self.journal.record(Change::Subscription(session.number, name.clone(), record));
        }
        if sends_retained {
            session.replays.push_back(Replay {
                filter: name.clone(),
                cursor: Cursor::From(Vec::new()),
                qos: record.options.qos,
                id: record.id,
            });
        }
        self.enter(key, filter, grant(record));
    }

    pub(super) fn on_unsubscribe(&mut self, key: usize, frame: Frame<'_>) -> Result<(), CloseReason> {
        let Some(version) = self.connection(key).map(|connection| connection.version) else {
            return Ok(());
        };
        let unsubscribe =
            Unsubscribe::decode(frame, version).map_err(|error| CloseReason::Packet(error, version))?;
        let mut codes = Vec::new();
        for filter in unsubscribe.filters {
            let code = if self.remove_subscription(key, filter) {
                ReasonCode::SUCCESS
            } else {
                ReasonCode::NO_SUBSCRIPTION_EXISTED
            };
            codes.push(code.0);
        }
        let cause = self.journal.cause();
        self.reply(key, cause, Then::Nothing, |version, out| {
            UnsubAck::new(unsubscribe.id, &codes).encode(version, out)
        });
        Ok(())
    }

    /// Removes the subscription with exactly this filter [MQTT-3.10.4-1]; true if there was one.
    fn remove_subscription(&mut self, key: usize, filter: TopicFilter<'_>) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let name = filter.as_str();
        if session.subscriptions.remove(name).is_none() {
            return false;
        }
        session.replays.retain(|replay| &*replay.filter != name);
        if session.is_kept() {
            self.journal.record(Change::SubscriptionGone(session.number, name.into()));
        }
        self.exit(key, filter);
        true
    }

    /// From now on messages come by this subscription.
    pub(super) fn enter(&mut self, key: usize, filter: TopicFilter<'_>, grant: Grant) {
        let Some(inner) = shared::inner(filter) else {
            self.tree.insert(filter, Target::Session(key), grant);
            return;
        };
        let name = filter.as_str();
        self.join(key, name, inner, grant);
        if let Some(session) = self.sessions.get_mut(key)
            && !session.groups.iter().any(|known| **known == *name)
        {
            session.groups.push(name.into());
        }
    }

    /// From now on they do not.
    pub(super) fn exit(&mut self, key: usize, filter: TopicFilter<'_>) {
        if shared::inner(filter).is_none() {
            self.tree.remove(filter, Target::Session(key));
            return;
        }
        let name = filter.as_str();
        self.leave(key, name);
        if let Some(session) = self.sessions.get_mut(key) {
            session.groups.retain(|known| **known != *name);
        }
    }

    /// Sends retained messages for as long as there is room: never a burst into memory, never dropped for a limit.
    pub(super) fn replay_retained(&mut self, key: usize, forms: &mut Forms) {
        while let Some(session) = self.sessions.get_mut(key) {
            let Some(replay) = session.replays.front() else {
                return;
            };
            let is_ready = session.connection.as_deref().is_some_and(|connection| {
                connection.may_send(replay.qos, &self.settings) && !session.outbound.must_wait(replay.qos)
            });
            if !is_ready {
                return;
            }
            let Ok(filter) = TopicFilter::new(&replay.filter) else {
                return;
            };
            let (qos, id, number) = (replay.qos, replay.id, session.number);
            let (found, next) = self.retained.next(filter, &replay.cursor);
            let found = found.cloned();
            let is_interrupted = found.is_none() && next != Cursor::End;
            if next == Cursor::End {
                session.replays.pop_front();
            } else if let Some(replay) = session.replays.front_mut() {
                replay.cursor = next;
            }
            if let Some(message) = found {
                self.send_retained(key, &message, qos, id, forms);
            }
            if is_interrupted {
                // Others have their turn first.
                self.timers.start(self.now.mono, Timer::Replay(number));
                return;
            }
        }
    }

    fn send_retained(
        &mut self,
        key: usize,
        message: &Arc<super::Message>,
        qos: QoS,
        id: u32,
        forms: &mut Forms,
    ) {
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

    pub(super) fn on_replay_timeout(&mut self, number: super::SessionNumber) {
        if let Some(&key) = self.by_number.get(&number) {
            self.drain(key);
        }
    }
}
