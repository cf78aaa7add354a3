//! The will: what the server says for a client that is lost (3.1.1 section 3.1.2.5, 5.0 section 3.1.2.5).

use super::deliver::Item;
use super::message::View;
use super::shard::Shard;
use super::{Access, Client, StoredWill};
use mqtt_packet::{Property, PropertyPlace, PropertyWriter, Will};
use std::sync::Arc;

/// A will as it is kept: its delay and expiry are ours, everything else is the message's.
pub(super) fn stored(will: &Will<'_>, client: &Arc<Client>) -> StoredWill {
    let mut room = vec![0; will.properties.len()];
    let mut kept = PropertyWriter::new(PropertyPlace::WILL, &mut room);
    for property in will.properties {
        match property {
            Property::WillDelayInterval(_) | Property::MessageExpiryInterval(_) => {}
            // It fits, because it is a part of what was there.
            property => drop(kept.push(property)),
        }
    }
    let view = View {
        topic: will.topic,
        properties: kept.finish(),
        payload: will.payload,
        qos: will.qos,
        retain: will.retain,
        expires: None,
        publisher: client,
    };
    StoredWill {
        message: view.to_message(),
        expiry: will.properties.message_expiry_interval(),
        delay: will.properties.will_delay_interval().unwrap_or(0),
    }
}

impl Shard {
    /// Publishes the will of a session, if it has one: once [MQTT-3.1.2-10].
    pub(super) fn publish_will(&mut self, key: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(will) = session.will.take() else {
            return;
        };
        let client = Arc::clone(&session.client);
        let mut message = will.message;
        if let Some(expiry) = will.expiry {
            let lifetime = u64::from(expiry).saturating_mul(1000);
            Arc::make_mut(&mut message).expires = Some(self.now.wall.saturating_add(lifetime));
        }
        let Some(view) = message.view() else {
            return;
        };
        if self.may(&client, Access::Publish, view.topic.as_utf8()) {
            let mut item = Item::of(view, &message);
            self.publish(&mut item, Some(key));
        }
    }
}
