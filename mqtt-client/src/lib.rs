//! An MQTT client for 3.1, 3.1.1 and 5.0: a session engine without I/O, allocator or clock, and a blocking client over
//! it.
//!
//! The [`Engine`] takes bytes, requests and time, and gives bytes, events and a deadline; [how to drive it](engine) is a
//! page of its own. The blocking [`Client`] drives it over a [`Network`] and a [`Timer`], from a Cortex-M to a server.
//! All memory is lent by the caller: [`Memory`], or [`Storage`] in fixed sizes.
//!
//! # The loop
//!
//! ```no_run
//! # #[cfg(feature = "std")] {
//! use mqtt_client::system::{SystemTimer, Tcp};
//! use mqtt_client::*;
//!
//! let mut storage = Storage::<16, 4096, 4096>::new();
//! let mut receive = [0; 4096];
//! let wait = Duration::from_secs(10);
//! let network = Tcp::connect("localhost:1883", wait).unwrap();
//! let settings = Settings::new(Version::V3_1_1);
//! let mut client =
//!     Client::new(network, SystemTimer::new(), storage.lend(), &mut receive, Aliases::none(), settings);
//! client.connect(&ConnectOptions::new("demo".try_into().unwrap()), wait).unwrap();
//! let all = SubscribeFilter {
//!     filter: "plant/#".try_into().unwrap(),
//!     options: SubscribeOptions::new(QoS::ExactlyOnce),
//! };
//! client.subscribe(&[all]).unwrap();
//! while client.is_connected() {
//!     if let Some((Event::Message { publish, .. }, engine)) = client.poll(wait).unwrap() {
//!         let answer = Message::new("answer".try_into().unwrap(), publish.payload);
//!         engine.publish(&answer).unwrap();
//!     }
//! }
//! # }
//! ```
//!
//! # Names, for those who come from Paho
//!
//! | Paho | here |
//! |---|---|
//! | `Network` with `mqttread`, `mqttwrite` | [`Network`]: `read`, `write`, `close` |
//! | `Timer` with five functions | [`Timer::now`]; countdowns are [`Instant`]s |
//! | `NetworkConnect` | `system::Tcp::connect`, or the board's own |
//! | `MQTTClientInit(sendbuf, readbuf)` | [`Client::new`] with lent [`Memory`] |
//! | `MQTTPacket_connectData` | [`ConnectOptions`] and [`Settings`] |
//! | `MQTTConnect`, `MQTTConnectWithResults` | [`Client::connect`], which returns [`Connected`] |
//! | `MQTTPublish` | [`Client::publish_and_wait`]; [`Client::publish`] does not wait |
//! | `MQTTSubscribe`, `MQTTSubscribeWithResults` | [`Client::subscribe`], [`Client::wait`], [`Event::Granted`] |
//! | `MQTTUnsubscribe` | [`Client::unsubscribe`] |
//! | `MQTTYield` | [`Client::poll`], which returns an event instead of calling a handler |
//! | `MQTTDisconnect` | [`Client::disconnect`] |
//! | `MQTTIsConnected` | [`Client::is_connected`] |
//! | `messageHandler`, `MessageData` | [`Event::Message`] |
//! | `keepalive` inside of `MQTTYield` | the same, or [`Client::next_timeout`] and sleep |
//!
//! # What it decides
//!
//! - A message of QoS 2 is delivered when it comes, and its identifier remembered until PUBREL.
//! - A message of QoS 1 or 2 is taken without a connection, too. Messages of which no byte was sent are no part of a
//!   session: they survive its loss and go out in the next one.
//! - A server that resumes a session which is unknown here is left in 5.0 [MQTT-3.2.2-4], and the next connection is a
//!   clean start; in 3.1.1 it is believed. In 3.1, which has no Session Present, the server is believed to have the
//!   session that was asked for.
//! - PINGREQ is sent after seven eighths of the Keep Alive without sending, or without hearing anything.
//! - Anything that is heard after PINGREQ, or written in front of it, counts as a sign of life.
//! - An acknowledgement that nobody waits for does nothing; one of the wrong kind ends the connection.
//! - Before 5.0 a server cannot be told how many messages it may send at once. One that sends more messages of QoS 2 than
//!   there is memory for is disconnected from [MQTT-4.8.0-2]; with acknowledgement by hand, reading stops instead.
//! - Memory of messages is given back in the order in which they were published: one that is never acknowledged holds
//!   up, in the end, those behind it.
//!
//! # Features
//!
//! `std` (default): sockets, the system's clock and a store in a file, in [`system`]. `full` (default) is the sum of what
//! a small device may leave out to save flash and RAM: `v5`, MQTT 5.0; `streaming`, messages larger than the memory for
//! receiving or transmitting; `strict`, frames whose strings are looked at more closely; `store`, sessions that survive
//! a power cut; `qos0-outcomes`, whether a message of QoS 0 was written; `manual-acknowledgement`; `topic-aliases`;
//! `authentication`, the enhanced one of 5.0. `tls`: TLS by rustls. `embedded-io-v0_7`: drivers of `embedded-io` 0.7 as
//! transports.

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
#[cfg(any(doc, doctest))]
#[doc = include_str!("../PORTING.md")]
pub mod porting {}
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

/// Keeps the page's example true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
