//! When to connect again, and what is asked before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mqtt_client::ReasonCode;

use crate::error::{ConnectionError, TransportError};
use crate::options::ConnectValues;
use crate::transport::Transport;

/// Decides after each failure whether and when there is another attempt.
pub trait ReconnectPolicy: Send + Sync + 'static {
    /// How long to wait before the next attempt; `None` ends the client. `attempt` counts from 1 since there was a
    /// connection; `error` is why there is none.
    fn next_delay(&self, attempt: u32, error: &ConnectionError) -> Option<Duration>;
}

/// A delay that doubles, with a cap, of which each wait is a random part: many clients that lost their server together
/// do not come back together.
///
/// It gives up where another attempt cannot help: the server refused the credentials, the Client Identifier or the
/// version, has banned the client, or named another server; the session was taken over; or the options make no CONNECT.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    attempts: u32,
}

impl Default for Backoff {
    /// From 1 second to 2 minutes, without end.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(120))
    }
}

impl Backoff {
    /// At most `first` at the first attempt, and at most `cap` at any.
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, attempts: u32::MAX }
    }

    /// Gives up after so many attempts in a row.
    #[must_use]
    pub const fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// The longest wait before this attempt, counted from 1.
    fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.first.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.cap)
    }
}

impl ReconnectPolicy for Backoff {
    fn next_delay(&self, attempt: u32, error: &ConnectionError) -> Option<Duration> {
        if attempt > self.attempts || is_fatal(error) {
            return None;
        }
        Some(self.ceiling(attempt).mul_f64(fastrand::f64()))
    }
}

/// Whether another attempt with the same values cannot help.
pub fn is_fatal(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::Refused(words) | ConnectionError::Disconnected(words) => matches!(
            words.reason_code,
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
                | ReasonCode::CLIENT_IDENTIFIER_NOT_VALID
                | ReasonCode::BAD_USER_NAME_OR_PASSWORD
                | ReasonCode::NOT_AUTHORIZED
                | ReasonCode::BANNED
                | ReasonCode::BAD_AUTHENTICATION_METHOD
                | ReasonCode::SESSION_TAKEN_OVER
                | ReasonCode::USE_ANOTHER_SERVER
                | ReasonCode::SERVER_MOVED
        ),
        ConnectionError::Options(_)
        | ConnectionError::Store(_)
        | ConnectionError::Shutdown
        | ConnectionError::DriverDropped => true,
        _ => false,
    }
}

/// An attempt to connect, for a [hook](BeforeConnect) to look at and to change.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Counts from 0: 0 is the first attempt after start or after a connection.
    pub number: u32,
    /// Why the last attempt failed, or the last connection ended.
    pub error: Option<ConnectionError>,
    /// What CONNECT will say: put a fresh token here. Changes stay for the attempts that follow.
    pub values: ConnectValues,
    /// To where; put another server here.
    pub transport: Arc<dyn Transport>,
}

impl Attempt {
    pub(crate) const fn new(
        number: u32,
        error: Option<ConnectionError>,
        values: ConnectValues,
        transport: Arc<dyn Transport>,
    ) -> Self {
        Self { number, error, values, transport }
    }
}

/// What is asked before each attempt to connect, the first included.
#[async_trait]
pub trait BeforeConnect: Send + Sync + 'static {
    /// May change the attempt. Its time counts towards the [connect timeout](crate::Options::connect_timeout).
    ///
    /// # Errors
    /// The attempt counts as failed with this error.
    async fn before_connect(&self, attempt: &mut Attempt) -> Result<(), TransportError>;
}
