//! What the broker says about itself under `$SYS`, by the names that mosquitto made common.

use super::deliver::Item;
use super::link::Letter;
use super::shard::Shard;
use super::timers::Timer;
use super::{Message, ShardId};
use mqtt_packet::QoS;
use std::sync::Arc;

/// What a shard counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) packets_received: u64,
    pub(super) publishes_received: u64,
    pub(super) publishes_sent: u64,
    sessions: u64,
    connected: u64,
    subscriptions: u64,
    retained: u64,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            packets_received: self.packets_received.saturating_add(other.packets_received),
            publishes_received: self.publishes_received.saturating_add(other.publishes_received),
            publishes_sent: self.publishes_sent.saturating_add(other.publishes_sent),
            sessions: self.sessions.saturating_add(other.sessions),
            connected: self.connected.saturating_add(other.connected),
            subscriptions: self.subscriptions.saturating_add(other.subscriptions),
            retained: self.retained.saturating_add(other.retained),
        }
    }
}

/// The shard that speaks for all.
const SPEAKER: ShardId = ShardId(0);

impl Shard {
    /// Starts to tell, if the settings say so.
    pub(super) fn begin_sys(&mut self) {
        if self.settings.sys_interval > 0 {
            self.started.get_or_insert(self.now.mono);
            self.timers.start(self.now.mono.saturating_add(self.settings.sys_interval), Timer::Sys);
        }
    }

    pub(super) fn on_sys_timeout(&mut self) {
        let counts = self.count();
        if self.settings.shard == SPEAKER {
            self.counts_elsewhere.insert(SPEAKER, counts);
            self.speak();
        } else {
            self.tell(SPEAKER, Letter::Counts(counts));
        }
        self.begin_sys();
    }

    fn count(&self) -> Counts {
        let len = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let (mut connected, mut subscriptions) = (0_usize, 0_usize);
        for (_, session) in &self.sessions {
            connected = connected.saturating_add(usize::from(session.connection.is_some()));
            subscriptions = subscriptions.saturating_add(session.subscriptions.len());
        }
        Counts {
            sessions: len(self.sessions.len()),
            connected: len(connected),
            subscriptions: len(subscriptions),
            retained: len(self.retained.len()),
            ..self.counts
        }
    }

    fn speak(&mut self) {
        let all = self.counts_elsewhere.values().fold(Counts::default(), |sum, counts| sum.plus(*counts));
        let uptime = self.now.mono.saturating_sub(self.started.unwrap_or(self.now.mono)) / 1000;
        let says = [
            ("version", concat!("mqtt-broker-lite ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("uptime", format!("{uptime} seconds")),
            ("clients/total", all.sessions.to_string()),
            ("clients/connected", all.connected.to_string()),
            ("clients/disconnected", all.sessions.saturating_sub(all.connected).to_string()),
            ("messages/received", all.packets_received.to_string()),
            ("publish/messages/received", all.publishes_received.to_string()),
            ("publish/messages/sent", all.publishes_sent.to_string()),
            ("subscriptions/count", all.subscriptions.to_string()),
            ("retained messages/count", all.retained.to_string()),
        ];
        for (name, value) in says {
            let topic = format!("$SYS/broker/{name}");
            let message = Message::new(&topic, value.as_bytes(), QoS::AtMostOnce, true);
            if let Some(message) = message
                && let Some(view) = message.view()
            {
                self.publish(&mut Item::of(view, Arc::clone(&message)), None);
            }
        }
    }
}
