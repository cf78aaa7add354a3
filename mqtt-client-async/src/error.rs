//! What can go wrong: for a connection, for a request that was not taken, and for one that was taken and not done.

use std::io;
use std::sync::Arc;

use mqtt_client::{Loss, ProtocolError, ReasonCode, RequestError};
use mqtt_packet::{DecodeError, StringError};
use thiserror::Error;

use crate::authentication::AuthenticationError;
use crate::message::Acknowledgement;
use crate::storage::StoreError;

/// Why there is no connection, or not any more.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The server could not be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server refused the connection.
    #[error("the server refused the connection: {0}")]
    Refused(ServerWords),
    /// The server ended the connection and said why (5.0 only).
    #[error("the server ended the connection: {0}")]
    Disconnected(ServerWords),
    /// The server broke the protocol, or did not answer in time.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The options make no CONNECT that this version of the protocol allows.
    #[error("the options make no CONNECT: {0}")]
    Options(#[from] RequestError),
    /// Reading or writing failed.
    #[error("the connection broke: {0}")]
    Broken(#[source] Arc<io::Error>),
    /// The server closed the connection without a word.
    #[error("the server closed the connection")]
    ClosedByServer,
    /// The whole attempt took longer than [`connect_timeout`](crate::Options::connect_timeout).
    #[error("no connection in time")]
    ConnectTimeout,
    /// The server took nothing of what was written for [`write_timeout`](crate::Options::write_timeout).
    #[error("the server takes no bytes")]
    WriteTimeout,
    /// This side was not content with the extended authentication, or could not go on with it.
    #[error("authentication failed: {0}")]
    Authentication(#[from] AuthenticationError),
    /// The store of the session failed: nothing is promised any more.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The application asked for the end.
    #[error("the client was shut down")]
    Shutdown,
    /// The future that drives the connection was dropped.
    #[error("nobody drives the client any more")]
    DriverDropped,
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        Self::Broken(Arc::new(error))
    }
}

/// Why a transport could not be opened: the step that failed, and what the system said.
#[derive(Clone, Debug, Error)]
#[error("{step}: {source}")]
pub struct TransportError {
    /// What was tried, with the address, file or name concerned.
    pub step: String,
    /// What went wrong.
    pub source: Arc<io::Error>,
}

impl TransportError {
    /// The error of a step.
    pub fn new(step: impl Into<String>, source: io::Error) -> Self {
        Self { step: step.into(), source: Arc::new(source) }
    }
}

/// What a server says when it refuses or ends a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerWords {
    /// Why.
    pub reason_code: ReasonCode,
    /// Why, in words for people (5.0 section 3.2.2.3.9).
    pub reason_string: Option<String>,
    /// Which server to use instead (5.0 section 4.11).
    pub server_reference: Option<String>,
}

impl std::fmt::Display for ServerWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.reason_code)?;
        if let Some(words) = &self.reason_string {
            write!(f, " ({words})")?;
        }
        if let Some(server) = &self.server_reference {
            write!(f, ", use {server}")?;
        }
        Ok(())
    }
}

/// Why a message was not taken. Nothing of it will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is no topic name.
    #[error("no topic name: {0}")]
    Topic(StringError),
    /// The properties may not stand in a PUBLISH, or not together.
    #[error("not the properties of a PUBLISH: {0}")]
    Properties(DecodeError),
    /// The queue has no room now; only where the caller does not wait.
    #[error("the queue is full")]
    Full,
    /// The queue had no room for [`request_timeout`](crate::Options::request_timeout).
    #[error("the queue had no room in time")]
    Timeout,
    /// There is no connection, and the [`OfflinePolicy`](crate::OfflinePolicy) says that the message does not wait.
    #[error("not connected")]
    NotConnected,
    /// The client was shut down, or has given up.
    #[error("the client is closed")]
    Closed,
}

/// Why a message that was taken has not been delivered, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The server refused it.
    #[error("the server refused the message: {}", .0.reason_code)]
    Refused(Acknowledgement),
    /// The server of this connection does not take it, or it does not fit the memory of the session.
    #[error("the message was not sent: {0}")]
    NotSent(RequestError),
    /// The connection or the session ended first; [`Loss`] says which. It may have arrived or not.
    #[error("the message was lost: {0:?}")]
    Lost(Loss),
    /// It was not acknowledged within [`delivery_timeout`](crate::Options::delivery_timeout). It may arrive yet.
    #[error("not acknowledged in time")]
    Timeout,
    /// The client ended first. It may have arrived or not.
    #[error("the client was closed first")]
    Closed,
}

/// Why there is no subscription.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Not a topic filter.
    #[error("no topic filter: {0}")]
    Filter(StringError),
    /// No topic filter at all [MQTT-3.8.3-3 of 3.1.1, MQTT-3.8.3-2 of 5.0].
    #[error("no topic filter")]
    NoFilter,
    /// The server does not take such a subscription, or it does not fit the memory.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server refused every topic filter; the reason for the first.
    #[error("the server refused the subscription: {0}")]
    Refused(ReasonCode),
    /// No answer within [`request_timeout`](crate::Options::request_timeout).
    #[error("no answer in time")]
    Timeout,
    /// The client was shut down, or has given up.
    #[error("the client is closed")]
    Closed,
}
