//! A world before it runs: who there is, what they do and when, and what goes wrong. All of it follows from a scenario
//! and a seed, but it is a value of its own, so that a shrinker can take things away from it.

use mqtt_packet::{QoS, RetainHandling, Version};

/// The topics that messages are about. From [`OPEN_TOPICS`] on they are for shared subscriptions alone: no wildcard at
/// the front of a filter reaches them [MQTT-4.7.2-1].
pub const TOPICS: [&str; 8] = ["a", "a/b", "a/b/c", "a/c", "d", "d/b", "$s/a", "$s/b"];

/// How many of the topics are for everybody.
pub const OPEN_TOPICS: usize = 6;

/// The topic filters that clients subscribe to: they overlap. From [`OWN_FILTERS`] on they are shared.
pub const FILTERS: [&str; 13] = [
    "#",
    "a/#",
    "+/b",
    "a/+",
    "a",
    "a/b",
    "d/+",
    "d",
    "+/+/c",
    "w/+",
    "$share/g/$s/a",
    "$share/h/$s/+",
    "$share/h/$s/a",
];

/// How many of the filters are a client's own.
pub const OWN_FILTERS: usize = 10;

/// Everything that a world is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the chance of the running world comes from.
    pub seed: u64,
    /// When the last fault and the last action are over, in milliseconds.
    pub end: u64,
    /// The clients.
    pub clients: Vec<ClientPlan>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How the network is.
    pub network: Network,
    /// How the broker is.
    pub broker: BrokerPlan,
}

/// How bytes travel.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The longest usual delay, in milliseconds.
    pub latency: u64,
    /// The largest piece in which bytes arrive.
    pub piece: u64,
    /// How many bytes are under way in one direction before a write would block.
    pub window: usize,
}

/// How the broker is.
#[derive(Clone, Copy, Debug)]
pub struct BrokerPlan {
    /// How many shards it has.
    pub shards: u16,
    /// Whether it keeps its state on the disk.
    pub durable: bool,
    /// The longest usual time of a sync, in milliseconds.
    pub sync: u64,
    /// `None`: nothing counts as safe before it is synced. Otherwise everything does once it is written, and is synced
    /// within so many milliseconds.
    pub interval: Option<u64>,
    /// Whether clients may do some things only.
    pub restricts: bool,
    /// Whether it has to ask somebody else who a client is.
    pub asks: bool,
    /// Its Receive Maximum.
    pub receive_maximum: u16,
    /// How many QoS 1 and 2 messages it has in flight towards a client.
    pub max_inflight: u16,
    /// How many messages wait for a session at most.
    pub max_queue: usize,
    /// How many of them wait in memory, if there is a disk where the others can.
    pub queue_window: usize,
    /// How many bytes wait in its shell for a connection before messages wait in the session.
    pub window: usize,
    /// Topic aliases that it uses itself.
    pub outgoing_aliases: u16,
    /// How many bytes wait for a slow reader before publishers wait for it.
    pub slow_queue: usize,
    /// How many bytes of messages it should have in memory, if that is bounded.
    pub memory: Option<usize>,
    /// The longest payload of this world.
    pub largest: usize,
}

/// A client.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// The version that it speaks.
    pub version: Version,
    /// Whether each connection starts a new session.
    pub clean_start: bool,
    /// For how many seconds its session outlives a connection.
    pub expiry: u32,
    /// Its Keep Alive in seconds.
    pub keep_alive: u16,
    /// Whether it keeps its session in a store.
    pub durable: bool,
    /// Whether it acknowledges by hand, a while later.
    pub manual: bool,
    /// Topic aliases in both directions.
    pub aliases: u16,
    /// How many messages fit its memory in each direction.
    pub slots: usize,
    /// How many bytes of messages fit its memory.
    pub memory: usize,
    /// How many bytes it transmits at once.
    pub transmit: usize,
    /// How many bytes it receives at once.
    pub receive: usize,
    /// The largest packet that it takes, if it speaks 5.0; 0 for any.
    pub max_packet: u32,
    /// Its will, if it has one.
    pub will: Option<WillPlan>,
    /// What it does: when, in milliseconds, and what.
    pub actions: Vec<(u64, Action)>,
}

/// A will.
#[derive(Clone, Copy, Debug)]
pub struct WillPlan {
    /// Its QoS.
    pub qos: QoS,
    /// Its delay in seconds.
    pub delay: u32,
}

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Publishes a message.
    Publish {
        /// Which of [`TOPICS`].
        topic: usize,
        /// With which QoS.
        qos: QoS,
        /// Whether it is to be retained.
        retain: bool,
        /// How many bytes; a retained one of none removes what is retained.
        size: usize,
        /// Its Message Expiry Interval, for clients of 5.0.
        expiry: Option<u32>,
    },
    /// Subscribes.
    Subscribe {
        /// Which of [`FILTERS`].
        filter: usize,
        /// With which QoS.
        qos: QoS,
        /// What it wants of the retained messages, if it speaks 5.0.
        retain_handling: RetainHandling,
        /// Whether it has a Subscription Identifier, if it speaks 5.0.
        identified: bool,
        /// Whether its own messages are kept away from it, if it speaks 5.0.
        no_local: bool,
        /// Whether messages come with the retain flag that they were published with, if it speaks 5.0.
        as_published: bool,
    },
    /// Unsubscribes.
    Unsubscribe {
        /// Which of [`FILTERS`].
        filter: usize,
    },
    /// Disconnects in order, and comes back later.
    Disconnect {
        /// For how many milliseconds it is away.
        away: u64,
    },
    /// Connects again although it is connected, as after a change of its network that nobody else noticed.
    TakeOver,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// When, in milliseconds.
    pub at: u64,
    /// What.
    pub kind: FaultKind,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug)]
pub enum FaultKind {
    /// The connection of a client breaks, at any byte in each direction. Each side notices within so many
    /// milliseconds.
    Cut {
        /// Whose connection.
        client: usize,
        /// The longest time until the client notices.
        client_notices: u64,
        /// The longest time until the broker notices.
        broker_notices: u64,
    },
    /// Nothing arrives for a while, in one direction or both.
    Stall {
        /// Whose connection.
        client: usize,
        /// For how long.
        millis: u64,
        /// Whether what the client sends is held up.
        up: bool,
        /// Whether what it receives is held up.
        down: bool,
    },
    /// The client does not read for a while.
    Slow {
        /// Which client.
        client: usize,
        /// For how long.
        millis: u64,
    },
    /// The client loses everything but what its store has.
    ClientCrash {
        /// Which client.
        client: usize,
        /// For how long it is down.
        millis: u64,
    },
    /// The broker loses everything but what its disk has.
    BrokerCrash {
        /// For how long it is down.
        millis: u64,
        /// How many entries of its disk are damaged.
        damaged: u32,
    },
    /// Something else in the broker takes a part of its memory for a while.
    ShortOfMemory {
        /// For how long.
        millis: u64,
        /// How many percent of it.
        percent: u64,
    },
    /// The wall clock jumps.
    ClockJump {
        /// By so many milliseconds, forward or back.
        millis: i64,
    },
}

impl FaultKind {
    /// The client that it is about.
    pub const fn client(&self) -> Option<usize> {
        match self {
            Self::Cut { client, .. }
            | Self::Stall { client, .. }
            | Self::Slow { client, .. }
            | Self::ClientCrash { client, .. } => Some(*client),
            Self::BrokerCrash { .. } | Self::ShortOfMemory { .. } | Self::ClockJump { .. } => None,
        }
    }

    /// The same about another client.
    #[must_use]
    pub fn with_client(mut self, other: usize) -> Self {
        match &mut self {
            Self::Cut { client, .. }
            | Self::Stall { client, .. }
            | Self::Slow { client, .. }
            | Self::ClientCrash { client, .. } => *client = other,
            Self::BrokerCrash { .. } | Self::ShortOfMemory { .. } | Self::ClockJump { .. } => {}
        }
        self
    }
}
