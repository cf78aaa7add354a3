//! What can go wrong, by whose fault it is: [`RequestError`] is the caller's, [`ProtocolError`] the peer's,
//! [`ClientError`] adds the transport's.

use mqtt_packet::{DecodeError, EncodeError, PacketType, ReasonCode, Version};
use thiserror::Error;

/// Why the engine did not take a request. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No memory or no identifier is free: ask again after something was sent or acknowledged.
    #[error("all memory for requests in flight is in use")]
    Busy,
    /// Not connected, or not any more.
    #[error("not connected")]
    NotConnected,
    /// Connected already, or about to be.
    #[error("there is a connection already")]
    AlreadyConnected,
    /// The packet is larger than the memory lent for it.
    #[error("the packet does not fit the memory that was lent")]
    NoRoom,
    /// The packet is larger than the server's Maximum Packet Size [MQTT-3.2.2-15], or a part of it than MQTT can say.
    #[error("the packet is larger than the server takes")]
    TooLarge,
    /// The QoS is above the server's Maximum QoS [MQTT-3.2.2-11].
    #[error("the server does not take this QoS")]
    QosNotSupported,
    /// The server keeps no retained messages [MQTT-3.2.2-14].
    #[error("the server keeps no retained messages")]
    RetainNotSupported,
    /// The server has no wildcards in topic filters.
    #[error("the server has no wildcard subscriptions")]
    WildcardNotSupported,
    /// The server has no shared subscriptions.
    #[error("the server has no shared subscriptions")]
    SharedNotSupported,
    /// The server has no Subscription Identifiers.
    #[error("the server has no subscription identifiers")]
    SubscriptionIdNotSupported,
    /// AUTH is not possible: CONNECT named no Authentication Method, or another one [MQTT-4.12.0-7].
    #[error("the authentication method is not the one of this connection")]
    AuthenticationMethod,
    /// A Session Expiry Interval at the end of a connection that began with none [MQTT-3.14.2-1 of 5.0].
    #[error("a session that ends with its connection cannot be given a session expiry interval")]
    SessionExpiry,
    /// The receipt, ticket or stream belongs to an earlier connection or was used before.
    #[error("that has been dealt with before")]
    Stale,
    /// The packet cannot be written in this version of the protocol, or breaks a rule.
    #[error(transparent)]
    Encode(EncodeError),
}

impl From<EncodeError> for RequestError {
    // Whoever does not look at the error does not pay for it.
    #[inline(always)]
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::NoRoom => Self::NoRoom,
            EncodeError::TooLong => Self::TooLarge,
            other => Self::Encode(other),
        }
    }
}

/// What the peer did, or did not do. The connection is over: write what is left to transmit, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Bytes that are not a packet, or a packet larger than was said to be taken.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A packet that may not come now.
    #[error("{0:?} may not come now")]
    Unexpected(PacketType),
    /// An acknowledgement that does not belong to the QoS of its message, or that comes too early.
    #[error("an acknowledgement of the wrong kind")]
    Acknowledgement,
    /// SUBACK or UNSUBACK with more or fewer reason codes than there were topic filters.
    #[error("not one reason code for each topic filter")]
    ReasonCodeCount,
    /// A Packet Identifier that is in use for another message.
    #[error("a packet identifier stands for two messages at once")]
    PacketIdInUse,
    /// More unacknowledged messages than Receive Maximum allows.
    #[error("more unacknowledged messages than the receive maximum")]
    ReceiveMaximum,
    /// More QoS 2 messages at once than memory was lent for; before 5.0 a server cannot be told.
    #[error("no memory for another unacknowledged message")]
    NoMemory,
    /// A Topic Alias above the maximum, or a topic too long for the memory lent for aliases.
    #[error("a topic alias that was not offered")]
    TopicAlias,
    /// A Topic Alias that nothing is known of.
    #[error("a topic alias without a topic")]
    UnknownTopicAlias,
    /// The server resumes a session of which nothing is known here.
    #[error("the server has a session that is unknown here")]
    UnknownSession,
    /// Another Authentication Method than the one of CONNECT, or one where there was none.
    #[error("another authentication method than in CONNECT")]
    AuthenticationMethod,
    /// A Reason String or User Property that CONNECT asked not to be sent.
    #[error("problem information that was not asked for")]
    ProblemInformation,
    /// No CONNACK in time.
    #[error("no CONNACK in time")]
    ConnectTimeout,
    /// Nothing was heard in time after PINGREQ: the connection is half open.
    #[error("no PINGRESP in time")]
    KeepAlive,
}

impl ProtocolError {
    /// The reason code that DISCONNECT tells the server in 5.0.
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::ReceiveMaximum => ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
            Self::NoMemory => ReasonCode::QUOTA_EXCEEDED,
            Self::TopicAlias => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::ConnectTimeout | Self::KeepAlive => ReasonCode::UNSPECIFIED_ERROR,
            _ => ReasonCode::PROTOCOL_ERROR,
        }
    }

    /// The normative statement that the peer broke: `MQTT-x.y.z-n`, or `U311-..`/`U5-..` for the rules that the
    /// standard states without a number (see `spec/` in the repository).
    pub const fn rule(self, version: Version) -> &'static str {
        let v5 = matches!(version, Version::V5);
        match self {
            Self::Decode(error) => error.rule(version),
            Self::Unexpected(PacketType::ConnAck) if v5 => "MQTT-3.2.0-2",
            Self::Unexpected(PacketType::Auth) => "U5-3.15.0-1",
            Self::Acknowledgement if v5 => "MQTT-4.3.3-4",
            Self::ReasonCodeCount if v5 => "MQTT-3.8.4-6",
            Self::ReasonCodeCount => "MQTT-3.8.4-5",
            Self::PacketIdInUse if v5 => "MQTT-2.2.1-4",
            Self::PacketIdInUse => "MQTT-2.3.1-4",
            Self::ReceiveMaximum => "MQTT-3.3.4-9",
            Self::NoMemory => "MQTT-4.8.0-2",
            Self::TopicAlias => "MQTT-3.3.2-11",
            Self::UnknownTopicAlias => "U5-3.3.2-2",
            Self::UnknownSession => "MQTT-3.2.2-4",
            Self::AuthenticationMethod => "MQTT-4.12.0-5",
            Self::ProblemInformation => "MQTT-3.1.2-29",
            Self::ConnectTimeout => "U311-3.2.0-1",
            Self::KeepAlive => "U311-3.1.2-2",
            Self::Unexpected(_) | Self::Acknowledgement => {
                if v5 {
                    "MQTT-4.13.1-1"
                } else {
                    "MQTT-4.8.0-1"
                }
            }
        }
    }
}

/// Why a call of the blocking client failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ClientError<E> {
    /// The transport failed or ended. The connection is over.
    #[error("the transport failed: {0}")]
    Network(E),
    /// The request was not taken; nothing has changed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server broke the protocol, or was silent for too long. The connection is over.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The server refused the connection.
    #[error("the server refused the connection: {0}")]
    Refused(ReasonCode),
    /// The store failed, so nothing can be promised; the connection is over.
    #[error("the store failed")]
    Store,
    /// Time is up.
    #[error("time is up")]
    Timeout,
}
