//! What is known about a connection and ends with it: version, limits of the client, topic aliases, keep alive,
//! quotas, and the bytes of this turn.

use super::held::Held;
use super::{Cause, ConnId, Mechanism, Settings, Wire};
use bytes::Bytes;
use mqtt_packet::{Connect, QoS, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hasher;

/// Connections are found by the numbers that the shell gave them, which nobody outside can choose: one multiplication
/// spreads them, where a hash that cannot be foreseen takes a tenth of the time of a message.
#[derive(Debug, Default)]
pub(super) struct Numbered(u64);

impl Hasher for Numbered {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The fractional part of the golden ratio.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) version: Version,
    /// The client is a bridge of 3.x: its subscriptions behave as with No Local and Retain As Published.
    pub(super) bridge: bool,
    /// What this turn sends.
    pub(super) out: Wire,
    /// What earlier turns sent and the shell still has.
    pub(super) unsent: usize,
    /// The shell does not read from it for a while.
    pub(super) is_paused: bool,
    pub(super) held: Held,
    /// How many SUBACKs are not out yet.
    pub(super) subacks: usize,
    /// Whether CONNACK is out; nothing comes before it [MQTT-3.2.0-1].
    pub(super) is_connected: bool,
    /// Causes that wrote something before this session was resumed: nothing is repeated before they are safe.
    pub(super) barrier: BTreeSet<Cause>,
    /// From which count of packet identifiers on there may be something to repeat.
    pub(super) replay: Option<u64>,
    /// How many more QoS 1 and 2 messages may be sent [MQTT-4.9.0-1]. Below 0 where more PUBRELs were repeated than the
    /// client takes messages.
    quota: i32,
    quota_max: i32,
    /// How many of the client's QoS 1 and 2 messages are not acknowledged.
    pub(super) unacknowledged: u16,
    /// The client's Maximum Packet Size [MQTT-3.1.2-24].
    pub(super) max_packet: usize,
    /// Session Expiry Interval of CONNECT: DISCONNECT must not change it from 0.
    pub(super) connect_expiry: u32,
    pub(super) aliases_in: Vec<Option<Bytes>>,
    /// If the client takes any.
    pub(super) aliases_out: Option<Box<AliasesOut>>,
    /// Milliseconds without a packet after which the client is lost; 0 for never.
    pub(super) patience: u64,
    pub(super) last_heard: u64,
    /// The extended authentication of this connection and the method it goes by.
    pub(super) authentication: Option<Box<Authentication>>,
}

pub(super) struct Authentication {
    pub(super) method: Box<str>,
    pub(super) mechanism: Box<dyn Mechanism>,
    /// Whether a re-authentication is under way.
    pub(super) is_running: bool,
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("method", &self.method)
            .field("is_running", &self.is_running)
            .finish_non_exhaustive()
    }
}

/// Aliases that the server gives to topics of one connection [MQTT-3.1.2-26].
#[derive(Debug)]
pub(super) struct AliasesOut {
    max: u16,
    topics: BTreeMap<Box<[u8]>, u16>,
}

/// How a topic goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alias {
    /// By its name.
    None,
    /// By its name, which from now on has this alias.
    New(u16),
    /// By its alias alone.
    Known(u16),
}

impl AliasesOut {
    fn new(max: u16) -> Option<Box<Self>> {
        (max > 0).then(|| Box::new(Self { max, topics: BTreeMap::new() }))
    }

    pub(super) fn of(&self, topic: &[u8]) -> Alias {
        if let Some(&alias) = self.topics.get(topic) {
            return Alias::Known(alias);
        }
        match u16::try_from(self.topics.len()) {
            Ok(used) if used < self.max => Alias::New(used.saturating_add(1)),
            _ => Alias::None,
        }
    }

    /// A packet that set a new alias was sent.
    pub(super) fn set(&mut self, topic: &[u8], alias: u16) {
        self.topics.insert(topic.into(), alias);
    }
}

impl Connection {
    pub(super) fn new(id: ConnId, connect: &Connect<'_>, settings: &Settings, now: u64) -> Self {
        let properties = &connect.properties;
        let quota = properties.receive_maximum().unwrap_or(u16::MAX).min(settings.max_inflight).max(1).into();
        let alias_maximum = properties.topic_alias_maximum().unwrap_or(0);
        Self {
            id,
            version: connect.version,
            bridge: connect.bridge,
            out: Wire::default(),
            unsent: 0,
            is_paused: false,
            held: Held::default(),
            subacks: 0,
            is_connected: false,
            barrier: BTreeSet::new(),
            replay: None,
            quota,
            quota_max: quota,
            unacknowledged: 0,
            max_packet: properties.maximum_packet_size().map_or(usize::MAX, |max| max as usize),
            connect_expiry: connect.session_expiry_interval(),
            aliases_in: Vec::new(),
            aliases_out: AliasesOut::new(alias_maximum.min(settings.outgoing_aliases)),
            patience: patience(keep_alive(connect.keep_alive, settings)),
            last_heard: now,
            authentication: None,
        }
    }

    /// Whether messages may be sent at all now, if so many bytes may wait in the shell.
    pub(super) fn is_open(&self, window: usize) -> bool {
        self.is_connected && self.barrier.is_empty() && self.room(window) > 0
    }

    /// How many more bytes may wait in the shell; the last message may have more.
    pub(super) fn room(&self, window: usize) -> usize {
        window.saturating_sub(self.unsent.saturating_add(self.out.len()))
    }

    /// Whether a new message of this QoS may be sent now.
    pub(super) fn may_send(&self, qos: QoS, window: usize) -> bool {
        self.is_open(window) && self.replay.is_none() && (qos == QoS::AtMostOnce || self.quota > 0)
    }

    pub(super) fn has_quota(&self) -> bool {
        self.quota > 0
    }

    pub(super) fn take_quota(&mut self) {
        self.quota = self.quota.saturating_sub(1);
    }

    /// [U5-4.9.0-1]: never above its start value.
    pub(super) fn give_quota(&mut self) {
        self.quota = self.quota.saturating_add(1).min(self.quota_max);
    }

    /// When the client is lost, if nothing comes.
    pub(super) fn silent_until(&self) -> Option<u64> {
        (self.patience > 0).then(|| self.last_heard.saturating_add(self.patience))
    }
}

/// The Keep Alive that is supervised: the client's, or a shorter one of the server's.
pub(super) fn keep_alive(asked: u16, settings: &Settings) -> u16 {
    match settings.max_keep_alive {
        0 => asked,
        max if asked == 0 => max,
        max => asked.min(max),
    }
}

/// One and a half times the Keep Alive [MQTT-3.1.2-24, MQTT-3.1.2-22], and a little for the way.
fn patience(keep_alive: u16) -> u64 {
    const GRACE: u64 = 250;
    match keep_alive {
        0 => 0,
        seconds => u64::from(seconds).saturating_mul(1500).saturating_add(GRACE),
    }
}

/// Whose turn output is to be collected, and buffers to use again.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) dirty: Vec<usize>,
    pool: Vec<Vec<u8>>,
    /// Bytes in it.
    pooled: usize,
}

impl Outbox {
    const POOLED: usize = 64;
    const POOLED_BYTES: usize = 4 << 20;
    /// What comes of a turn's reading for one connection, mostly.
    const POOLED_SIZE: usize = 256 << 10;

    /// Where the bytes of this turn for the connection of session `key` go.
    pub(super) fn open<'c>(&mut self, key: usize, connection: &'c mut Connection) -> &'c mut Wire {
        if connection.out.is_empty() {
            self.dirty.push(key);
            if connection.out.capacity() == 0
                && let Some(buffer) = self.pool.pop()
            {
                self.pooled = self.pooled.saturating_sub(buffer.capacity());
                connection.out = Wire::reusing(buffer);
            }
        }
        &mut connection.out
    }

    /// Takes back a buffer.
    pub(super) fn reuse(&mut self, wire: Wire) {
        let pooled = self.pooled.saturating_add(wire.capacity());
        if self.pool.len() < Self::POOLED
            && pooled <= Self::POOLED_BYTES
            && (1..=Self::POOLED_SIZE).contains(&wire.capacity())
        {
            self.pooled = pooled;
            self.pool.push(wire.into_buffer());
        }
    }
}
