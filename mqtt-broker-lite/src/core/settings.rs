//! Everything about a shard that an operator may want otherwise.

use super::ShardId;
use mqtt_packet::QoS;
#[cfg(doc)]
use mqtt_packet::ReasonCode;

/// How a shard behaves and where its limits are. All limits hold for each connection or session, unless they say
/// otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which shard this is.
    pub shard: ShardId,
    /// How many shards the broker has.
    pub shards: u16,
    /// Whether anything survives a restart: without, nothing is written and nothing waits for the disk.
    pub durable: bool,
    /// Whether the store may forget what it said was safe, because it syncs later: after a restart packet identifiers
    /// go on elsewhere then.
    pub may_forget: bool,
    /// Makes hashes differ between brokers, so that nobody can choose topics that collide.
    pub seed: u64,
    /// Time from opening a connection to its CONNECT, and for each step of an authentication, in milliseconds.
    pub connect_timeout: u64,
    /// Sessions of the shard, with and without a connection; who needs one more is refused.
    pub max_sessions: usize,
    /// How often in a row a connected client may be taken over under its Client Identifier; from then on once in each
    /// `takeover_interval`, so that two clients of one name do not keep the broker busy.
    pub max_takeovers: u64,
    /// In milliseconds.
    pub takeover_interval: u64,
    /// The largest packet from a client, in bytes with its fixed header; the shell refuses what is larger.
    pub max_packet_size: u32,
    /// The largest packet before the client is known.
    pub max_connect_size: u32,
    /// Levels of a topic name or filter.
    pub max_topic_levels: usize,
    /// QoS 1 and 2 messages of a 5.0 client that are not acknowledged yet.
    pub receive_maximum: u16,
    /// The highest Topic Alias from a client.
    pub topic_alias_maximum: u16,
    /// Topic Aliases that the server uses itself, if the client takes that many.
    pub outgoing_aliases: u16,
    /// QoS 1 and 2 messages on their way to a client, if it takes that many.
    pub max_inflight: u16,
    /// Bytes that may wait in the shell before messages wait in the session instead.
    pub window: usize,
    /// Bytes of waiting messages from which on those who send to a connected session are slowed down.
    pub slow_queue_bytes: usize,
    /// Bytes of messages on their way to each other shard from which on those who publish to it are slowed down.
    pub link_window: usize,
    /// Messages that wait for a stored session in memory; from there on they wait on the disk and are read back. Without
    /// a store there is no use for it.
    pub queue_window: usize,
    /// Bytes of them.
    pub queue_window_bytes: usize,
    /// Messages that wait for a session on the disk.
    pub max_stored_messages: usize,
    /// Messages that wait for a session in memory.
    pub max_queue_messages: usize,
    /// Bytes of messages that wait for a session in memory; and of those that are on their way to a client and not
    /// acknowledged.
    pub max_queue_bytes: usize,
    /// Whether QoS 0 messages wait for a session that is away.
    pub queue_qos0_offline: bool,
    /// Subscriptions of a session.
    pub max_subscriptions: usize,
    /// Retained messages of the shard.
    pub max_retained: usize,
    /// The highest Session Expiry Interval in seconds; `u32::MAX` lets sessions live for ever.
    pub max_session_expiry: u32,
    /// The highest Keep Alive in seconds, also for clients that ask for none; 0 leaves it to the client.
    pub max_keep_alive: u16,
    /// The highest QoS that clients may publish with.
    pub maximum_qos: QoS,
    /// Whether there are retained messages.
    pub retain_available: bool,
    /// Whether filters may have wildcards.
    pub wildcard_available: bool,
    /// Whether there are Subscription Identifiers.
    pub subscription_ids_available: bool,
    /// Whether there are shared subscriptions.
    pub shared_available: bool,
    /// How often the topics under `$SYS` are published, in milliseconds; 0 for never.
    pub sys_interval: u64,
    /// The server that clients are sent to who are refused with [`ReasonCode::USE_ANOTHER_SERVER`] or
    /// [`ReasonCode::SERVER_MOVED`].
    pub server_reference: Option<Box<str>>,
    /// What CONNACK says about response topics to clients that ask.
    pub response_information: Option<Box<str>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shard: ShardId(0),
            shards: 1,
            durable: false,
            may_forget: false,
            seed: 0,
            connect_timeout: 10_000,
            max_sessions: 1_000_000,
            max_takeovers: 20,
            takeover_interval: 1000,
            max_packet_size: 1 << 20,
            max_connect_size: 64 << 10,
            max_topic_levels: 128,
            receive_maximum: 1024,
            topic_alias_maximum: 32,
            outgoing_aliases: 32,
            max_inflight: 1024,
            window: 256 << 10,
            slow_queue_bytes: 512 << 10,
            link_window: 1 << 20,
            queue_window: usize::MAX,
            queue_window_bytes: usize::MAX,
            max_stored_messages: 100_000_000,
            max_queue_messages: 100_000,
            max_queue_bytes: 16 << 20,
            queue_qos0_offline: false,
            max_subscriptions: 10_000,
            max_retained: 1_000_000,
            max_session_expiry: u32::MAX,
            max_keep_alive: 0,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_available: true,
            subscription_ids_available: true,
            shared_available: true,
            sys_interval: 0,
            server_reference: None,
            response_information: None,
        }
    }
}
