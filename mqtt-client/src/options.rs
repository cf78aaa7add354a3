//! What the application decides: once for an engine ([`Settings`]), and for each connection ([`ConnectOptions`]).

use crate::time::Duration;
use mqtt_packet::{Properties, Utf8Str, Version, Will};

/// How an engine behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The version that is spoken.
    pub version: Version,
    /// How long the server may take for CONNACK and for PINGRESP.
    pub response_timeout: Duration,
    /// Whether the application accepts each received message by hand, see [`Engine::accept`](crate::Engine::accept).
    /// Otherwise a message is acknowledged when it is handed out.
    #[cfg(feature = "manual-acknowledgement")]
    pub manual_acknowledgement: bool,
    /// Whether the session is kept in a store, see [`Engine::poll_change`](crate::Engine::poll_change).
    #[cfg(feature = "store")]
    pub durable: bool,
    /// Whether the application holds the state of a session that the engine was not given, so that a server which
    /// resumes one is believed at the first connection. Otherwise 5.0 wants the connection closed [MQTT-3.2.2-4].
    pub assume_session: bool,
}

impl Settings {
    /// Automatic acknowledgement, no store, 10 seconds for the server to respond.
    pub const fn new(version: Version) -> Self {
        Self {
            version,
            response_timeout: Duration::from_secs(10),
            #[cfg(feature = "manual-acknowledgement")]
            manual_acknowledgement: false,
            #[cfg(feature = "store")]
            durable: false,
            assume_session: false,
        }
    }

    // Constants without their features, so that everything behind them falls out at link time.

    pub(crate) const fn is_manual(&self) -> bool {
        #[cfg(feature = "manual-acknowledgement")]
        return self.manual_acknowledgement;
        #[cfg(not(feature = "manual-acknowledgement"))]
        return false;
    }

    pub(crate) const fn is_durable(&self) -> bool {
        #[cfg(feature = "store")]
        return self.durable;
        #[cfg(not(feature = "store"))]
        return false;
    }
}

/// The newest version that this build speaks: 5.0, or 3.1.1 without the feature `v5`.
impl Default for Settings {
    fn default() -> Self {
        Self::new(if Version::V5.is_supported() { Version::V5 } else { Version::V3_1_1 })
    }
}

/// What CONNECT says.
///
/// ```
/// use mqtt_client::ConnectOptions;
/// let options = ConnectOptions::new("thermometer-1".try_into().unwrap()).with_keep_alive(30);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions<'a> {
    /// Who the client is; empty to have the server choose, with a clean start.
    pub client_id: Utf8Str<'a>,
    /// Whether an earlier session is thrown away. Before 5.0 also: whether this one ends with its connection.
    pub clean_start: bool,
    /// For how many seconds the session outlives its connection, `u32::MAX` for ever. Before 5.0 `clean_start`
    /// decides instead.
    pub session_expiry_interval: u32,
    /// The longest time in seconds between two packets to the server; 0 switches the supervision off. A 5.0 server
    /// may overrule it.
    pub keep_alive: u16,
    /// The largest packet that the server may send, in bytes with fixed header; 0 for any. 5.0 only.
    pub maximum_packet_size: u32,
    /// The highest Topic Alias that the server may use: [`Aliases::maximum`](crate::Aliases::maximum), or 0 for none.
    /// 5.0 only.
    pub topic_alias_maximum: u16,
    /// What the server publishes when the client is lost.
    pub will: Option<Will<'a>>,
    /// Who the user is.
    pub user_name: Option<Utf8Str<'a>>,
    /// The user's secret, any bytes.
    pub password: Option<&'a [u8]>,
    /// Further properties of CONNECT, for example user properties or the Authentication Method; ignored before 5.0.
    pub properties: Properties<'a>,
}

impl<'a> ConnectOptions<'a> {
    /// A clean start, a session that ends with its connection, and a Keep Alive of 60 seconds.
    pub const fn new(client_id: Utf8Str<'a>) -> Self {
        Self {
            client_id,
            clean_start: true,
            session_expiry_interval: 0,
            keep_alive: 60,
            maximum_packet_size: 0,
            topic_alias_maximum: 0,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        }
    }

    /// The same with a session that outlives its connection by so many seconds and is resumed.
    #[must_use]
    pub const fn with_session(self, session_expiry_interval: u32) -> Self {
        Self { clean_start: false, session_expiry_interval, ..self }
    }

    /// The same with this Keep Alive, in seconds.
    #[must_use]
    pub const fn with_keep_alive(self, keep_alive: u16) -> Self {
        Self { keep_alive, ..self }
    }

    /// The same with a will.
    #[must_use]
    pub const fn with_will(self, will: Will<'a>) -> Self {
        Self { will: Some(will), ..self }
    }

    /// The same with credentials.
    #[must_use]
    pub const fn with_credentials(self, user_name: Utf8Str<'a>, password: &'a [u8]) -> Self {
        Self { user_name: Some(user_name), password: Some(password), ..self }
    }

    /// The same with these further properties.
    #[must_use]
    pub const fn with_properties(self, properties: Properties<'a>) -> Self {
        Self { properties, ..self }
    }
}
