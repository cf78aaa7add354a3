//! What the broker says about itself under `$SYS`, by the names that mosquitto made common.

use super::deliver::Item;
use super::link::Letter;
use super::shard::Shard;
use super::timers::Timer;
use super::{CloseReason, Message, ShardId};
use mqtt_packet::QoS;

/// What a shard counts: from the beginning, and what there is at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets of connected clients.
    pub packets_received: u64,
    /// Messages of clients, by QoS.
    pub received: [u64; 3],
    /// Messages to clients, by QoS; one that is repeated counts again.
    pub sent: [u64; 3],
    /// Connections that the shard ended or lost, in the order of [`CloseReason::KINDS`]; not those that came to nothing.
    pub closed: [u64; CloseReason::KINDS.len()],
    /// Messages that somebody did not get who might have, in the order of [`Loss::ALL`].
    pub lost: [u64; Loss::ALL.len()],
    /// Sessions, with and without a connection.
    pub sessions: u64,
    /// Sessions with a connection.
    pub connected: u64,
    /// Subscriptions, shared ones too.
    pub subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Messages that wait in memory for sessions and groups.
    pub waiting: u64,
    /// Bytes of them; a message that waits for several counts for each.
    pub waiting_bytes: u64,
    /// Messages that wait for sessions on the disk only.
    pub stored: u64,
    /// Messages that were sent and are not acknowledged.
    pub in_flight: u64,
}

/// Why somebody did not get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Too much waited for him.
    QueueFull,
    /// It waited at QoS 0, and memory got scarce.
    Memory,
    /// His Maximum Packet Size is smaller.
    TooLarge,
    /// It expired before its turn.
    Expired,
    /// Its publisher must not publish there, or the subscriber must not read it when its turn comes.
    Forbidden,
    /// There was no room for it in the broker: its publisher was refused.
    NoRoom,
}

impl Loss {
    /// All of them, with their names.
    pub const ALL: [(Self, &str); 6] = [
        (Self::QueueFull, "queue_full"),
        (Self::Memory, "memory"),
        (Self::TooLarge, "too_large"),
        (Self::Expired, "expired"),
        (Self::Forbidden, "forbidden"),
        (Self::NoRoom, "no_room"),
    ];
}

fn both<const N: usize>(one: [u64; N], other: [u64; N]) -> [u64; N] {
    let mut sum = one;
    for (sum, more) in sum.iter_mut().zip(other) {
        *sum = sum.saturating_add(more);
    }
    sum
}

impl Counts {
    /// Of two shards together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            packets_received: self.packets_received.saturating_add(other.packets_received),
            received: both(self.received, other.received),
            sent: both(self.sent, other.sent),
            closed: both(self.closed, other.closed),
            lost: both(self.lost, other.lost),
            sessions: self.sessions.saturating_add(other.sessions),
            connected: self.connected.saturating_add(other.connected),
            subscriptions: self.subscriptions.saturating_add(other.subscriptions),
            retained: self.retained.saturating_add(other.retained),
            waiting: self.waiting.saturating_add(other.waiting),
            waiting_bytes: self.waiting_bytes.saturating_add(other.waiting_bytes),
            stored: self.stored.saturating_add(other.stored),
            in_flight: self.in_flight.saturating_add(other.in_flight),
        }
    }

    pub(super) fn note_received(&mut self, qos: QoS, count: u64) {
        add(&mut self.received, qos as usize, count);
    }

    pub(super) fn note_sent(&mut self, qos: QoS, count: u64) {
        add(&mut self.sent, qos as usize, count);
    }

    pub(super) fn note_closed(&mut self, reason: CloseReason) {
        add(&mut self.closed, reason.kind(), 1);
    }

    pub(super) fn note_loss(&mut self, loss: Loss) {
        add(&mut self.lost, loss as usize, 1);
    }
}

fn add(counts: &mut [u64], index: usize, more: u64) {
    if let Some(count) = counts.get_mut(index) {
        *count = count.saturating_add(more);
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
            self.tell(SPEAKER, Letter::Counts(Box::new(counts)));
        }
        self.begin_sys();
    }

    /// What this shard counted, and what there is now; looks at every session.
    #[must_use]
    pub fn count(&self) -> Counts {
        let number = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let mut counts = Counts {
            sessions: number(self.sessions.len()),
            retained: number(self.retained.len()),
            ..self.counts
        };
        let add = |sum: &mut u64, len: usize| *sum = sum.saturating_add(number(len));
        for (_, session) in &self.sessions {
            add(&mut counts.connected, usize::from(session.connection.is_some()));
            add(&mut counts.subscriptions, session.subscriptions.len());
            add(&mut counts.waiting, session.outbound.queue_len());
            add(&mut counts.waiting_bytes, session.outbound.queue_bytes());
            add(&mut counts.stored, session.outbound.stored.count);
            add(&mut counts.in_flight, session.outbound.in_flight.len());
        }
        for (_, group) in &self.groups {
            add(&mut counts.waiting, group.queue.len());
            add(&mut counts.waiting_bytes, group.queue_bytes());
        }
        counts
    }

    fn speak(&mut self) {
        let all = self.counts_elsewhere.values().fold(Counts::default(), |sum, counts| sum.plus(*counts));
        let sum = |by_qos: [u64; 3]| by_qos.into_iter().fold(0, u64::saturating_add);
        let uptime = self.now.mono.saturating_sub(self.started.unwrap_or(self.now.mono)) / 1000;
        let says = [
            ("version", concat!("mqtt-broker-lite ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("uptime", format!("{uptime} seconds")),
            ("clients/total", all.sessions.to_string()),
            ("clients/connected", all.connected.to_string()),
            ("clients/disconnected", all.sessions.saturating_sub(all.connected).to_string()),
            ("messages/received", all.packets_received.to_string()),
            ("publish/messages/received", sum(all.received).to_string()),
            ("publish/messages/sent", sum(all.sent).to_string()),
            ("subscriptions/count", all.subscriptions.to_string()),
            ("retained messages/count", all.retained.to_string()),
        ];
        for (name, value) in says {
            let topic = format!("$SYS/broker/{name}");
            let message = Message::new(&topic, value.as_bytes(), QoS::AtMostOnce, true);
            if let Some(message) = message
                && let Some(view) = message.view()
            {
                self.publish(&mut Item::of(view, &message), None);
            }
        }
    }
}
