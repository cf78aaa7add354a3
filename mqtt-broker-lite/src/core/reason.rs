//! Why a connection ends: for the log, and for the reason code that a 5.0 client is told.

use mqtt_packet::{DecodeError, ReasonCode, Version};
use thiserror::Error;

/// Why the broker closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client said good-bye.
    #[error("the client disconnected")]
    Disconnected,
    /// The network did.
    #[error("the connection was lost")]
    Lost,
    /// The client sent bytes that are not a packet, or a packet that it must not send.
    #[error("{0}")]
    Packet(DecodeError, Version),
    /// The client broke a rule of the protocol.
    #[error("{what}")]
    Rule {
        /// What it did.
        what: &'static str,
        /// The statement about it.
        rule: &'static str,
        /// The code to answer with.
        code: ReasonCode,
    },
    /// CONNECT was refused.
    #[error("refused: {0}")]
    Refused(ReasonCode),
    /// The same client connected again.
    #[error("taken over by a new connection")]
    TakenOver,
    /// Nothing came for longer than the Keep Alive allows.
    #[error("nothing came for one and a half times the keep alive")]
    KeepAlive,
    /// No CONNECT came, or an authentication did not go on.
    #[error("no CONNECT in time")]
    ConnectTimeout,
    /// The broker stops.
    #[error("the broker stops")]
    ShuttingDown,
}

impl CloseReason {
    /// A broken rule, to be returned as an error.
    pub(super) const fn rule(rule: &'static str, code: ReasonCode, what: &'static str) -> Self {
        Self::Rule { what, rule, code }
    }

    /// The kinds of reasons, to count by.
    pub const KINDS: [&'static str; 9] = [
        "disconnected",
        "lost",
        "malformed",
        "rule",
        "refused",
        "taken_over",
        "keep_alive",
        "connect_timeout",
        "shutting_down",
    ];

    /// Which of the kinds it is.
    pub(super) const fn kind(self) -> usize {
        match self {
            Self::Disconnected => 0,
            Self::Lost => 1,
            Self::Packet(..) => 2,
            Self::Rule { .. } => 3,
            Self::Refused(_) => 4,
            Self::TakenOver => 5,
            Self::KeepAlive => 6,
            Self::ConnectTimeout => 7,
            Self::ShuttingDown => 8,
        }
    }

    /// The statement of the standard that was violated, if one was.
    #[must_use]
    pub const fn statement(self) -> Option<&'static str> {
        match self {
            Self::Packet(error, version) => Some(error.rule(version)),
            Self::Rule { rule, .. } => Some(rule),
            Self::KeepAlive => Some("MQTT-3.1.2-22"),
            Self::ConnectTimeout => Some("U311-3.1.4-1"),
            _ => None,
        }
    }

    /// The code for DISCONNECT, or for CONNACK where the client is not connected yet.
    #[must_use]
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::Disconnected | Self::Lost => ReasonCode::SUCCESS,
            Self::Packet(error, _) => error.reason_code(),
            Self::Rule { code, .. } | Self::Refused(code) => code,
            Self::TakenOver => ReasonCode::SESSION_TAKEN_OVER,
            Self::KeepAlive => ReasonCode::KEEP_ALIVE_TIMEOUT,
            Self::ConnectTimeout => ReasonCode::MAXIMUM_CONNECT_TIME,
            Self::ShuttingDown => ReasonCode::SERVER_SHUTTING_DOWN,
        }
    }
}
