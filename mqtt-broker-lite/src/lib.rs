//! An MQTT broker: all of 3.1, 3.1.1 and 5.0, as a program or inside yours.
//!
//! ```
//! use mqtt_broker_lite::{Broker, QoS};
//!
//! let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
//! println!("{}", broker.url());
//! // Clients connect, publish and subscribe; so can the program itself.
//! let mut subscription = broker.subscribe("plant/#").expect("a topic filter");
//! broker.publish("plant/1/state", b"running", QoS::AtMostOnce, false).expect("a topic name");
//! assert_eq!(subscription.next().expect("a message").payload(), b"running");
//! broker.shutdown();
//! # Ok::<(), mqtt_broker_lite::StartError>(())
//! ```
//!
//! [`core`] is the broker without sockets, files and clocks; everything else here connects it to them.

#[cfg(feature = "access")]
pub mod access;
#[cfg(feature = "cli")]
pub mod config;
pub mod core;
#[cfg(feature = "scram")]
pub mod scram;
mod shell;
pub mod store;

pub use mqtt_packet::{QoS, StringError};
pub use shell::{
    Applicant, Authenticator, Broker, Builder, Inherited, Listen, ListenLimits, StartError, Subscription,
    Task,
};
#[cfg(feature = "tls")]
pub use shell::{ClientCertificates, ReadCertificates, TlsFiles};
pub use store::{Limits, StoreError, SyncMode};
