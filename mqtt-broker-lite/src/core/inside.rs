//! Publishing and subscribing inside the process, without a connection.

use super::deliver::Item;
use super::shard::Shard;
use super::topic_tree::{Grant, Target};
use super::{Client, Message, ObserverId, Output};
use mqtt_packet::{QoS, TopicFilter};
use std::sync::Arc;

impl Shard {
    /// The program that embeds the broker says something. It may say everything, also what clients may not.
    pub(super) fn on_inside_publish(&mut self, message: &Arc<Message>) {
        if let Some(view) = message.view() {
            self.publish(&mut Item::of(view, Arc::clone(message)), None);
        }
    }

    /// It listens to a filter from now on.
    pub(super) fn on_observe(&mut self, observer: ObserverId, filter: &str) {
        let Ok(filter) = TopicFilter::new(filter) else {
            return;
        };
        let grant = Grant { qos: QoS::ExactlyOnce, no_local: false, retain_as_published: true, id: 0 };
        if self.tree.insert(filter, Target::Observer(observer), grant) {
            self.add_route(filter, None);
            self.observers.insert(observer, filter.as_str().into());
        }
    }

    pub(super) fn on_unobserve(&mut self, observer: ObserverId) {
        let Some(filter) = self.observers.remove(&observer) else {
            return;
        };
        if let Ok(filter) = TopicFilter::new(&filter) {
            self.tree.remove(filter, Target::Observer(observer));
            self.remove_route(filter);
        }
    }

    pub(super) fn show(&mut self, observer: ObserverId, item: &mut Item<'_>) {
        let message = Arc::clone(item.message());
        self.outputs.push_back(Output::Observed(observer, message));
    }
}

impl Message {
    /// A message of the embedding program; `None` where the topic name is not one.
    #[must_use]
    pub fn new(topic: &str, payload: &[u8], qos: QoS, retain: bool) -> Option<Arc<Self>> {
        let publisher = Arc::new(Client { client_id: "".into(), user_name: None });
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
