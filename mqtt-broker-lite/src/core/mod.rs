//! The broker without sockets, files and clocks: inputs in, outputs out, and the same inputs always give the same
//! outputs.
//!
//! A [`Shard`] owns sessions. It is told what happened ([`Input`]) and asked what to do ([`Output`]); everything it
//! says about time, bytes and entropy came in as an argument. The disk is a peer like any other: what must survive
//! is an [`Output::Write`] under a [`Cause`], and whatever promises it to a client waits for [`Input::Synced`].

mod acknowledge;
mod authenticate;
mod change;
mod congestion;
mod connection;
mod credit;
mod deliver;
mod depart;
mod disk;
mod form;
mod handshake;
mod held;
mod inside;
mod journal;
mod known;
mod link;
mod membership;
mod message;
mod outbound;
mod pass;
mod place;
mod policy;
mod pressure;
mod publish;
mod reason;
mod recall;
mod recover;
mod retained;
mod session;
mod settings;
mod shard;
mod shared;
mod subscribe;
mod sys;
mod timers;
mod topic_tree;
mod will;
mod wire;

pub use change::{Change, MessageNumber, SessionNumber, SessionRecord, StoredWill};
pub use link::{Envelope, home};
pub use message::{Client, Content, Message};
pub use policy::{Access, AllowAll, AuthStep, Credentials, Mechanism, Policy, Verdict};
pub use pressure::{Load, Pressure};
pub use reason::CloseReason;
pub use session::SubscriptionRecord;
pub use settings::Settings;
pub use shard::Shard;
pub use sys::{Counts, Loss};
pub use wire::Wire;

use mqtt_packet::{DecodeError, ReasonCode};
use std::sync::Arc;

/// A connection, numbered by the shell. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Somebody inside the process who listens, numbered by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObserverId(pub u64);

/// One of the shards of a broker: 0 and up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// One thing that happened and changed what must survive. Everything that promises its result waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause {
    /// Where it happened.
    pub shard: ShardId,
    /// The shard's own count, from 1 after each start.
    pub number: u64,
}

/// Which part of a cause a shard writes; the store commits all parts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// From 0.
    pub index: u16,
    /// How many there are, at least 1.
    pub of: u16,
}

impl Part {
    /// A cause that concerns one shard only.
    pub const WHOLE: Self = Self { index: 0, of: 1 };
}

/// The time, as whoever calls knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds since some fixed moment; never goes back. For everything that ends with the process.
    pub mono: u64,
    /// Milliseconds since 1970; for what survives a restart.
    pub wall: u64,
}

/// A question that was asked, to find its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What the shell is asked to find out, elsewhere and in its own time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// May this client connect?
    Authenticate(Credentials),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// Yes, under this user name, whatever CONNECT says.
    AllowAs(Box<str>),
    /// Yes, by these rules, for a [`Policy`] that has several; and under this user name, if there is one here.
    AllowBy {
        /// What [`Client::rules`] will be.
        rules: u16,
        /// Instead of what CONNECT says.
        user_name: Option<Box<str>>,
    },
    /// No, with the code for CONNACK.
    Refuse(ReasonCode),
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A client opened a connection. Entropy comes with it, for whatever needs some.
    Opened(ConnId, [u8; 16]),
    /// Packets arrived: whole, one behind the other. Each may change what the next means; all are dealt with.
    Packets(ConnId, &'a [u8]),
    /// Bytes arrived that cannot be cut into packets, or a packet above [`Settings::max_packet_size`].
    Broken(ConnId, DecodeError),
    /// The shell got rid of so many bytes of what was sent on a connection.
    Sent(ConnId, usize),
    /// A connection is gone.
    Closed(ConnId),
    /// The embedding program publishes.
    Publish(Arc<Message>),
    /// Somebody in the process wants every message that matches a filter: what is retained, and everything from now on.
    Observe(ObserverId, &'a str),
    /// He took so many of the messages that he was shown. What is retained comes no faster than it is taken.
    Took(ObserverId, usize),
    /// He does not any more.
    Unobserve(ObserverId),
    /// Another shard said something.
    Link(ShardId, Envelope),
    /// Everything under a cause is safe.
    Synced(Cause),
    /// What a session asked for by [`Output::Fetch`].
    Fetched(SessionNumber, Vec<Change>),
    /// The disk is full, or not any more: new messages of QoS 1 and 2 are refused, or their senders wait.
    Full(bool),
    /// Memory is shorter than before, or not as short.
    Pressure(Pressure),
    /// A question was answered.
    Answer(Token, Decision),
    /// The broker stops: tell those who can be told.
    Shutdown,
    /// The time of the last [`Output::WakeAt`] has come.
    Timeout,
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Send bytes on a connection.
    Send(ConnId, Wire),
    /// Send what there is to send, then close the connection. Nothing more is said about it.
    Close(ConnId, CloseReason),
    /// Show a message to somebody in the process.
    Observed(ObserverId, Arc<Message>),
    /// Say something to another shard: everything arrives there, once and in order.
    Link(ShardId, Envelope),
    /// Do not read from this connection until [`Output::Resume`]: its messages go to somebody slow.
    Pause(ConnId),
    /// Read from it again.
    Resume(ConnId),
    /// Make these changes safe, all or none and in the order of each shard's writes, and answer [`Input::Synced`] to
    /// every shard that wrote a part. See [`Pending`](crate::store::Pending).
    Write(Cause, Part, Vec<Change>),
    /// Read back what waits for a session behind this place in its order, up to so many messages, and answer
    /// [`Input::Fetched`]: everything that this shard wrote before counts, nothing that it writes later.
    Fetch(SessionNumber, u64, usize),
    /// Find something out.
    Ask(Token, Question),
    /// Give [`Input::Timeout`] when the monotonic clock shows this; replaces what was said before.
    WakeAt(u64),
}
