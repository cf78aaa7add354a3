//! [`Settings`]: what the command line says.

use std::path::PathBuf;
use std::time::Duration;

use mqtt_client_async::{PropertyList, QoS, RetainHandling, Version};

use super::Tool;
use crate::codec::Codec;
use crate::connect::Hash;
use crate::output::Format;

/// Where messages to publish come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Argument(Vec<u8>),
    File(PathBuf),
    Nothing,
    StandardInput,
    /// Standard input, each line a message.
    Lines,
    /// Standard input, each line a message in JSON, as `sub --json-lines` prints it.
    JsonLines,
}

/// What carries the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Carrier {
    #[default]
    Tcp,
    WebSocket,
}

/// A topic filter to subscribe to, and a QoS of its own.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) filter: String,
    pub(crate) qos: Option<QoS>,
}

/// Whom TLS trusts, and how it shows who we are.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsSettings {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) ca_path: Option<PathBuf>,
    pub(crate) use_os_certs: bool,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) key_form: Option<String>,
    pub(crate) engine: Option<String>,
    pub(crate) ciphers: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) alpn: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) none: bool,
    pub(crate) psk: Option<String>,
    pub(crate) psk_identity: Option<String>,
    pub(crate) key_log: Option<PathBuf>,
}

/// The last will.
#[derive(Clone, Debug, Default)]
pub(crate) struct WillSettings {
    pub(crate) topic: Option<String>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// When and how often to connect again.
#[derive(Clone, Debug)]
pub(crate) struct Reconnect {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
    /// `None`: without end.
    pub(crate) attempts: Option<u32>,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30), attempts: None }
    }
}

/// 5.0 properties for each packet that takes some from the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties {
    pub(crate) connect: PropertyList,
    pub(crate) publish: PropertyList,
    pub(crate) subscribe: PropertyList,
    pub(crate) unsubscribe: PropertyList,
    pub(crate) disconnect: PropertyList,
    pub(crate) will: PropertyList,
    /// The largest number of topic aliases that the server may use towards us.
    pub(crate) topic_alias_maximum: u16,
    /// Whether messages are to be published with a topic alias.
    pub(crate) topic_alias: bool,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) will_delay: u32,
    /// The application's own Subscription Identifier.
    pub(crate) subscription_identifier: Option<u32>,
}

/// All that the command line says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) tool: Tool,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) unix: Option<PathBuf>,
    pub(crate) carrier: Carrier,
    /// Where the server has its WebSocket.
    pub(crate) ws_path: Option<String>,
    pub(crate) ws_headers: Vec<String>,
    /// Whether a URL said TLS.
    pub(crate) wants_tls: bool,
    pub(crate) srv: bool,
    pub(crate) bind: Option<String>,
    pub(crate) proxy: Option<String>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    /// How user and password are shown, where not plainly.
    pub(crate) scram: Option<Hash>,
    pub(crate) id: Option<String>,
    pub(crate) id_prefix: Option<String>,
    pub(crate) keep_alive: u16,
    pub(crate) clean_session: bool,
    pub(crate) session_expiry: Option<u32>,
    /// As asked for; see [`version`](Self::version).
    pub(crate) asked_version: Option<Version>,
    pub(crate) properties: Properties,
    pub(crate) will: WillSettings,
    pub(crate) tls: TlsSettings,
    pub(crate) max_in_flight: u16,
    pub(crate) reconnect: Reconnect,
    pub(crate) qos: QoS,
    pub(crate) debug: bool,
    pub(crate) quiet: bool,
    pub(crate) codec: Codec,
    // pub and rr
    pub(crate) topic: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) source: Option<Source>,
    pub(crate) retain: bool,
    pub(crate) repeat: u32,
    pub(crate) repeat_delay: Duration,
    // sub and rr
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) unsubscribe: Vec<String>,
    pub(crate) filter_out: Vec<String>,
    pub(crate) count: Option<u64>,
    pub(crate) exit_after_subscribing: bool,
    pub(crate) patience: Option<Duration>,
    pub(crate) no_retained: bool,
    pub(crate) retained_only: bool,
    pub(crate) remove_retained: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
    pub(crate) verbose: bool,
    pub(crate) newline: bool,
    pub(crate) format: Option<Format>,
    pub(crate) pretty: bool,
    /// The share of messages that is printed.
    pub(crate) share: f64,
    pub(crate) watch: bool,
    pub(crate) message_rate: bool,
    pub(crate) latency: bool,
}

impl Settings {
    pub(crate) fn new(tool: Tool) -> Self {
        Self {
            tool,
            keep_alive: 60,
            clean_session: true,
            max_in_flight: 20,
            repeat: 1,
            newline: true,
            share: 1.0,
            ..Self::default()
        }
    }

    /// The version of the protocol.
    pub(crate) fn version(&self) -> Version {
        let default = if self.tool == Tool::Rr { Version::V5 } else { Version::V3_1_1 };
        self.asked_version.unwrap_or(default)
    }

    /// Whether TLS is asked for, by whatever option.
    pub(crate) fn has_tls(&self) -> bool {
        let tls = &self.tls;
        !tls.none
            && (self.wants_tls
                || tls.ca_file.is_some()
                || tls.ca_path.is_some()
                || tls.use_os_certs
                || tls.psk.is_some()
                || self.port == Some(8883))
    }

    /// The port of the server.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(if self.has_tls() { 8883 } else { 1883 })
    }

    pub(crate) fn host(&self) -> &str {
        self.host.as_deref().unwrap_or("localhost")
    }
}
