//! An MQTT client for tokio: 3.1, 3.1.1 and 5.0.
//!
//! One task owns the connection; a [`Client`] is a handle on it that can be cloned and used from anywhere. Reading never
//! waits for the program, acknowledgements and pings never wait behind messages, and every wait has a bound.
//!
//! ```no_run
//! use mqtt_client_async::{Client, Options, Publish, QoS};
//!
//! # #[cfg(feature = "tcp")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Options::new("mqtt://localhost:1883")?).await?;
//! let mut temperatures = client.subscribe(("plant/+/temperature", QoS::AtLeastOnce)).await?;
//!
//! let message = Publish::new("plant/1/temperature", "21.5").qos(QoS::AtLeastOnce);
//! let delivery = client.publish(message).await?; // waits for room in the queue
//! delivery.await?; // waits for the server's acknowledgement
//!
//! while let Some(message) = temperatures.recv().await {
//!     println!("{}: {:?}", message.topic(), message.payload());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The [guide] has a tour, what dropping each future means, what has which bound, sessions and reconnects, and a table for
//! those who come from rumqttc.
//!
//! Features: `tcp` (default), `tls`, `ws`, `unix` and `proxy` add carriers and change nothing else.

// A shell: sockets, clock, tasks and the lock between them are its work.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod authentication;
mod auto_traits;
mod client;
mod delivery;
mod desk;
mod driver;
mod error;
mod event;
mod figures;
pub mod guide;
mod message;
mod options;
mod properties;
mod queue;
mod reconnect;
mod request;
mod router;
mod session;
mod shared;
mod storage;
mod subscription;
pub mod transport;
mod url;

pub use authentication::{AuthenticationError, Authenticator, Exchange, ReauthenticateError};
pub use client::{Client, Report};
pub use delivery::Delivery;
pub use driver::Driver;
pub use error::{ConnectionError, DeliveryError, PublishError, ServerWords, SubscribeError, TransportError};
pub use event::{Event, Events};
pub use figures::Figures;
pub use message::{Acknowledgement, Delivered, Message, Publish, Topic};
pub use options::{ConnectValues, LastWill, MemoryOptions, OfflinePolicy, Options};
pub use properties::PropertyList;
pub use reconnect::{Attempt, Backoff, BeforeConnect, ReconnectPolicy, is_fatal};
pub use request::{Requests, ResponseError};
pub use shared::Status;
pub use storage::StoreError;
pub use subscription::{Granted, Overflow, Subscribe, Subscription};
pub use url::{Carriers, UrlError};

pub use mqtt_client::system::FileStore;
pub use mqtt_client::{
    Key, Loss, Properties, Property, ProtocolError, QoS, ReasonCode, RequestError, RetainHandling, Store,
    Utf8Str, Version,
};
pub use mqtt_packet::{PacketType, PropertyPlace, TopicFilter, TopicName};
