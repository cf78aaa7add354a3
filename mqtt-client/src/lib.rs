//! An MQTT client for 3.1, 3.1.1 and 5.0: a session engine without I/O, allocator or clock, and a blocking client over
//! it.

#![cfg_attr(not(feature = "std"), no_std)]

mod backoff;
mod client;
pub mod delivery;
#[cfg(feature = "embedded-io-v0_7")]
mod embedded_io;
pub mod engine;
mod error;
mod event;
mod fault;
mod limits;
mod memory;
mod message;
mod network;
mod options;
mod session;
mod store;
mod subscriptions;
#[cfg(feature = "std")]
pub mod system;
mod time;
mod timer;
mod topic_alias;

pub use backoff::{Backoff, is_worth_retrying};
pub use client::Client;
#[cfg(feature = "embedded-io-v0_7")]
pub use embedded_io::EmbeddedIo;
pub use engine::{Change, Engine, Key};
pub use error::{ClientError, ProtocolError, RequestError};
pub use event::{Connected, Event, Loss, Outcome, Receipt, Ticket};
pub use fault::{FaultError, Faults, Faulty};
pub use limits::Limits;
pub use memory::{Memory, Storage};
pub use message::Message;
pub use network::Network;
pub use options::{ConnectOptions, Settings};
pub use session::{ReceivedSlot, SendSlot};
pub use store::{LoadError, NoStore, RamStore, Store, StoreFull, load, save};
pub use subscriptions::Subscriptions;
pub use time::{Duration, Instant};
pub use timer::Timer;
pub use topic_alias::Aliases;

pub use mqtt_packet::{
    self, Ack, Auth, ConnAck, Delivery, Disconnect, Framer, PacketId, Piece, Properties, Property,
    PropertyPlace, PropertyWriter, Publish, PublishHead, QoS, ReasonCode, RetainHandling, SubAck,
    SubscribeFilter, SubscribeOptions, TopicFilter, TopicName, UnsubAck, Utf8Str, Version, Will,
};
