//! Publishing and subscribing inside the process, without a connection.

use super::deliver::Item;
use super::link::Reader;
use super::recall::{Replay, Step};
use super::shard::Shard;
use super::timers::Timer;
use super::topic_tree::{Grant, Target};
use super::{Cause, Client, Message, ObserverId, Output};
use mqtt_packet::{QoS, TopicFilter};
use std::sync::Arc;

/// Somebody inside the process who listens to a filter.
#[derive(Debug)]
pub(super) struct Observer {
    filter: Box<str>,
    /// What tells when all shards know the filter: before that, retained messages and new ones could miss each other.
    waits_for: Option<Cause>,
    /// Retained messages that are still to be shown.
    pub(super) replay: Option<Replay>,
    /// How many messages he was shown and did not take.
    untaken: usize,
}

/// How many messages may wait to be taken before what is retained waits.
const WINDOW: usize = 1024;

impl Shard {
    /// The program that embeds the broker says something. It may say everything, also what clients may not.
    pub(super) fn on_inside_publish(&mut self, message: &Arc<Message>) {
        if let Some(view) = message.view() {
            self.publish(&mut Item::of(view, message), None);
        }
    }

    /// It listens to a filter from now on, and hears first what is retained there.
    pub(super) fn on_observe(&mut self, observer: ObserverId, filter: &str) {
        let Ok(filter) = TopicFilter::new(filter) else {
            return;
        };
        let grant = Grant { qos: QoS::ExactlyOnce, no_local: false, retain_as_published: true, id: 0 };
        if self.tree.insert(filter, Target::Observer(observer), grant) {
            self.add_route(filter, None);
            let replay = Some(self.walk(filter, grant.qos, grant.id));
            let waits_for = self.known_route(filter).filter(|&known| !self.journal.is_synced(known));
            let known = Observer { filter: filter.as_str().into(), waits_for, replay, untaken: 0 };
            self.observers.insert(observer, known);
            self.recall_for(observer);
        }
    }

    pub(super) fn on_took(&mut self, observer: ObserverId, count: usize) {
        if let Some(known) = self.observers.get_mut(&observer) {
            known.untaken = known.untaken.saturating_sub(count);
            self.recall_for(observer);
        }
    }

    /// All shards know a route.
    pub(super) fn recall_behind(&mut self, route: Cause) {
        let mut ready = Vec::new();
        for (&observer, known) in &mut self.observers {
            if known.waits_for == Some(route) {
                known.waits_for = None;
                ready.push(observer);
            }
        }
        for observer in ready {
            self.recall_for(observer);
        }
    }

    /// Shows retained messages for as long as they are taken.
    pub(super) fn recall_for(&mut self, observer: ObserverId) {
        let reader = Reader::Observer(observer);
        let has_room = |known: &&mut Observer| known.waits_for.is_none() && known.untaken < WINDOW;
        while let Some(known) = self.observers.get_mut(&observer).filter(has_room) {
            let Some(replay) = &mut known.replay else {
                return;
            };
            match replay.step(reader, self.settings.shard, &self.retained) {
                Step::Send(message) => {
                    if self.is_still_said(&message) {
                        self.remind(observer, message);
                    }
                }
                Step::Interrupted => {
                    self.timers.start(self.now.mono, Timer::Replay(reader));
                    return;
                }
                Step::Ask(shard, letter) => {
                    self.tell(shard, letter);
                    return;
                }
                Step::Wait => return,
                Step::Done => known.replay = None,
                Step::GoOn => {}
            }
        }
    }

    fn remind(&mut self, observer: ObserverId, message: Arc<Message>) {
        if let Some(known) = self.observers.get_mut(&observer) {
            known.untaken = known.untaken.saturating_add(1);
            self.outputs.push_back(Output::Observed(observer, message));
        }
    }

    pub(super) fn on_unobserve(&mut self, observer: ObserverId) {
        let Some(known) = self.observers.remove(&observer) else {
            return;
        };
        if let Ok(filter) = TopicFilter::new(&known.filter) {
            self.tree.remove(filter, Target::Observer(observer));
            self.remove_route(filter);
        }
    }

    pub(super) fn show(&mut self, observer: ObserverId, item: &mut Item<'_>) {
        let message = Arc::clone(item.message());
        if let Some(known) = self.observers.get_mut(&observer) {
            known.untaken = known.untaken.saturating_add(1);
            if let Some(replay) = known.replay.as_mut().filter(|_| message.retain) {
                replay.note_live(message.topic());
            }
        }
        self.outputs.push_back(Output::Observed(observer, message));
    }
}

impl Message {
    /// A message of the embedding program; `None` where the topic name is not one.
    #[must_use]
    pub fn new(topic: &str, payload: &[u8], qos: QoS, retain: bool) -> Option<Arc<Self>> {
        let publisher = Arc::new(Client { client_id: "".into(), user_name: None, rules: None });
        let view = super::message::View {
            topic: mqtt_packet::TopicName::new(topic).ok()?,
            properties: mqtt_packet::Properties::EMPTY,
            payload,
            qos,
            retain,
            expires: None,
            publisher: &publisher,
        };
        Some(view.to_message())
    }
}
