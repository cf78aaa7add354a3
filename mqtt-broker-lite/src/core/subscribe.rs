//! SUBSCRIBE and UNSUBSCRIBE, and the retained messages that a subscription brings
//! (3.1.1 and 5.0 sections 3.8 to 3.11).

use super::held::Then;
use super::shard::Shard;
use super::shared;
use super::topic_tree::{Grant, Target, levels};
use super::{Access, Change, Client, CloseReason, SessionNumber, SubscriptionRecord};
use mqtt_packet::{
    Frame, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, TopicFilter, UnsubAck, Unsubscribe,
};
use std::sync::Arc;

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
        if let Some(connection) = self.connection(key) {
            connection.subacks = connection.subacks.saturating_add(1);
        }
        let cause = self.journal.cause();
        self.reply(key, cause, Then::Subscribed, |version, out| {
            SubAck::new(subscribe.id, &codes).encode(version, out)
        });
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
        if is_new && (session.subscriptions.len() >= self.settings.max_subscriptions || self.is_exhausted()) {
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
        if sends_retained {
            session.replays.retain(|replay| replay.filter != name);
        } else if let Some(replay) = session.replays.iter_mut().find(|replay| replay.filter == name) {
            // What the earlier SUBSCRIBE asked for is still to come, now by this one's terms.
            replay.go_on_as(record.options.qos, record.id);
        }
        if session.is_kept() {
            self.journal.record(Change::Subscription(session.number, name.clone(), record));
        }
        if sends_retained {
            let replay = self.walk(filter, record.options.qos, record.id);
            if let Some(session) = self.sessions.get_mut(key) {
                session.replays.push_back(replay);
            }
        }
        self.enter(key, filter, grant(record));
    }

    /// A session is resumed: subscriptions to which its client has lost the right meanwhile end.
    pub(super) fn check_subscriptions(&mut self, key: usize, client: &Client) {
        if !self.policy.restricts(Access::Subscribe) {
            return;
        }
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let names: Vec<_> = session.subscriptions.keys().cloned().collect();
        for name in names {
            if let Ok(filter) = TopicFilter::new(&name)
                && !self.may(client, Access::Subscribe, shared::inner(filter).unwrap_or(filter).as_utf8())
            {
                self.remove_subscription(key, filter);
            }
        }
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
        let number = session.number;
        session.replays.retain(|replay| &*replay.filter != name);
        if session.is_kept() {
            self.journal.record(Change::SubscriptionGone(session.number, name.into()));
        }
        self.exit(key, number, filter);
        true
    }

    /// From now on messages come by this subscription.
    pub(super) fn enter(&mut self, key: usize, filter: TopicFilter<'_>, grant: Grant) {
        if shared::inner(filter).is_some() {
            self.join(key, filter.as_str(), grant);
        } else if self.tree.insert(filter, Target::Session(key), grant) {
            self.add_route(filter, Some(key));
        } else {
            self.await_known_route(filter, Some(key));
        }
    }

    /// From now on they do not.
    pub(super) fn exit(&mut self, key: usize, number: SessionNumber, filter: TopicFilter<'_>) {
        if shared::inner(filter).is_some() {
            self.leave(key, number, filter.as_str());
        } else if self.tree.remove(filter, Target::Session(key)) {
            self.remove_route(filter);
        }
    }
}
