//! The vocabulary of what must survive a crash. Each change is idempotent by its key, and feeding the changes that
//! are left to a new shard rebuilds it.

use super::{Client, Message, ShardId, SubscriptionRecord};
use mqtt_packet::{PacketId, QoS};
use std::sync::Arc;

/// A session, numbered by its shard and never numbered so again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub u64);

/// A stored message, numbered by the shard that stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber(pub u64);

impl MessageNumber {
    /// Below this bit is the count of the shard that stores it, above it which shard that is.
    const ALONE: u64 = 1 << 47;

    /// Of a message that several queues may refer to.
    #[must_use]
    pub const fn shared(shard: ShardId, count: u64) -> Self {
        Self((shard.0 as u64) << 48 | count & (Self::ALONE - 1))
    }

    /// Of a message that one queue refers to and never another: it may be stored with its place there.
    #[must_use]
    pub const fn alone(shard: ShardId, count: u64) -> Self {
        Self(Self::shared(shard, count).0 | Self::ALONE)
    }

    /// Whether only one queue refers to it.
    #[must_use]
    pub const fn is_alone(self) -> bool {
        self.0 & Self::ALONE != 0
    }

    /// Which shard stores it.
    #[must_use]
    pub const fn shard(self) -> ShardId {
        ShardId((self.0 >> 48) as u16)
    }

    /// The how many-th of its shard it is.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.0 & (Self::ALONE - 1)
    }
}

/// What is known about a session beside its subscriptions and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Whose it is.
    pub client: Arc<Client>,
    /// For how many seconds it outlives its connection; `u32::MAX` is for ever.
    pub expiry: u32,
    /// When its connection ended, in milliseconds since 1970; `None` while there is one.
    pub away_since: Option<u64>,
    /// The will that is still to be published.
    pub will: Option<StoredWill>,
}

/// A will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    /// The message; its Message Expiry Interval counts from when it is published.
    pub message: Arc<Message>,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// Will Delay Interval in seconds.
    pub delay: u32,
}

/// Something that must survive, or need not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A session is like this.
    Session(SessionNumber, SessionRecord),
    /// A session ended, with everything under its number.
    SessionGone(SessionNumber),
    /// A shared subscription has messages under this number, as if it were a session.
    Group(SessionNumber, Box<str>),
    /// It has none any more.
    GroupGone(SessionNumber),
    /// A session has this subscription.
    Subscription(SessionNumber, Box<str>, SubscriptionRecord),
    /// A session has it no more.
    SubscriptionGone(SessionNumber, Box<str>),
    /// A message that others of these changes refer to.
    Message(MessageNumber, Arc<Message>),
    /// Nothing refers to it any more.
    MessageGone(MessageNumber),
    /// A message waits for a session.
    Queued {
        /// For which.
        session: SessionNumber,
        /// Its place in the session's order.
        sequence: u64,
        /// Which message.
        message: MessageNumber,
        /// The QoS to deliver it with.
        qos: QoS,
        /// The retain flag to deliver it with.
        retain: bool,
        /// The Subscription Identifiers to deliver it with.
        subscription_ids: Box<[u32]>,
    },
    /// It was given to the client under this count of packet identifiers.
    InFlight {
        /// By which session.
        session: SessionNumber,
        /// Which of its messages.
        sequence: u64,
        /// The session's count of packet identifiers, which gives the identifier.
        serial: u64,
        /// Whether PUBREC came, and as which of the session's.
        received: Option<u64>,
    },
    /// The message of this place was received, refused or dropped: it is never sent again.
    QueuedGone(SessionNumber, u64),
    /// The exchange of this count of packet identifiers is over.
    InFlightGone(SessionNumber, u64),
    /// A QoS 2 message came under this identifier, and PUBREL did not yet.
    Received(SessionNumber, PacketId),
    /// PUBREL came.
    ReceivedGone(SessionNumber, PacketId),
    /// The retained message of its topic.
    Retained(Arc<Message>),
    /// This topic has none any more.
    RetainedGone(Box<str>),
}

impl Change {
    /// Whether losing this only means that a client gets again what it had: nobody waits until it is safe.
    #[must_use]
    pub fn only_forgets(&self) -> bool {
        matches!(self, Self::MessageGone(_) | Self::QueuedGone(..) | Self::InFlightGone(..))
    }
}
