//! An MQTT client for 3.1, 3.1.1 and 5.0: a session engine without I/O, allocator or clock, and a blocking client over
//! it.

#![cfg_attr(not(feature = "std"), no_std)]

pub mod delivery;
pub mod engine;
mod error;
mod event;
mod limits;
mod memory;
mod message;
mod options;
mod session;
mod time;
mod topic_alias;

pub use engine::{Change, Engine, Key};
pub use error::{ProtocolError, RequestError};
pub use event::{Connected, Event, Loss, Outcome, Receipt, Ticket};
pub use limits::Limits;
pub use memory::{Memory, Storage};
pub use message::Message;
pub use options::{ConnectOptions, Settings};
pub use session::{ReceivedSlot, SendSlot};
pub use time::{Duration, Instant};
pub use topic_alias::Aliases;

pub use mqtt_packet::{
    self, Ack, Auth, ConnAck, Delivery, Disconnect, Framer, PacketId, Piece, Properties, Property,
    PropertyPlace, PropertyWriter, Publish, PublishHead, QoS, ReasonCode, RetainHandling, SubAck,
    SubscribeFilter, SubscribeOptions, TopicFilter, TopicName, UnsubAck, Utf8Str, Version, Will,
};
