//! [`Options`]: to which server, as whom, and how patient.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_client::{Store, Utf8Str, Version};
use mqtt_packet::{DecodeError, Property, TopicName, Will};

use crate::authentication::Authenticator;
use crate::message::{Message, Publish, Topic};
use crate::properties::PropertyList;
use crate::reconnect::{Backoff, BeforeConnect, ReconnectPolicy};
use crate::storage::{self, StoreError};
use crate::transport::Transport;
use crate::url::{Carriers, Target, UrlError};

/// What happens to messages that are published while there is no connection.
///
/// | policy | QoS 0 | QoS 1 and 2 |
/// |---|---|---|
/// | `Queue` | waits in the queue | waits in the queue |
/// | `QueueAcknowledged` | refused | waits in the queue |
/// | `FailFast` | refused | refused |
///
/// A message that was taken earlier waits in each case, for at most [`Options::delivery_timeout`]; one of QoS 0 that
/// was on its way when the connection ended is reported as lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OfflinePolicy {
    /// All wait, within the bounds of the queue.
    #[default]
    Queue,
    /// Those of QoS 1 and 2 wait.
    QueueAcknowledged,
    /// None waits: [`PublishError::NotConnected`](crate::PublishError::NotConnected).
    FailFast,
}

/// How much memory a client may use for what is on its way. All of it is reserved once; what is never used costs no
/// physical memory on systems that give memory when it is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Bytes of packets on their way to the network: 128 KiB. Payloads from 16 KiB on, or from a quarter of
    /// this or of `messages`, are written from where they are, so they may be of any size.
    pub transmit: usize,
    /// Bytes of messages of QoS 1 and 2 that are not acknowledged, likewise: 256 KiB.
    pub messages: usize,
    /// How many requests of QoS 1 and 2, SUBSCRIBE and UNSUBSCRIBE may be unanswered, at most 16,383: 1,536.
    pub in_flight: usize,
    /// How many received messages of QoS 1 and 2 may be unacknowledged before 5.0, where the server cannot be told: more
    /// than it sends at once, commonly 20. 4,096. In 5.0 [`Options::receive_maximum`] says it.
    pub received: usize,
    /// Bytes read at once: 64 KiB. Larger messages are no problem; other packets must fit.
    pub receive: usize,
}

impl MemoryOptions {
    /// For programs with many clients that do little: an idle one takes less than 8 KiB, the system's socket aside, with
    /// a [`receive_maximum`](Options::receive_maximum) of 16 in 5.0. CONNECT, with its credentials and its will, must
    /// fit `transmit`, topic and properties of a message of QoS 1 or 2 `messages`; with a
    /// [store](Options::store) all of the message.
    pub const SMALL: Self =
        Self { transmit: 1024, messages: 512, in_flight: 16, received: 64, receive: 1024 };
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { transmit: 128 << 10, messages: 256 << 10, in_flight: 1536, received: 4096, receive: 64 << 10 }
    }
}

/// What the queue towards the driver takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) offline: OfflinePolicy,
    pub(crate) delivery_timeout: Option<Duration>,
    pub(crate) request_timeout: Duration,
}

/// What the server publishes when the client is lost (3.1.1 and 5.0 section 3.1.2.5).
#[derive(Clone, Debug)]
pub struct LastWill {
    publish: Publish,
    delay: u32,
}

impl LastWill {
    /// This message. Of its properties those that a will may have are allowed: no Topic Alias.
    pub const fn new(publish: Publish) -> Self {
        Self { publish, delay: 0 }
    }

    /// The same, published so much later, in whole seconds (5.0 section 3.1.3.2.2).
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay: u32::try_from(delay.as_secs()).unwrap_or(u32::MAX), ..self }
    }
}

/// What a client is told when it is made.
///
/// ```
/// use mqtt_client_async::{Options, Version};
/// use std::time::Duration;
/// # #[cfg(feature = "tcp")] {
/// let options = Options::new("mqtt://localhost:1883")?
///     .version(Version::V5)
///     .client_id("thermometer-1")
///     .keep_alive(Duration::from_secs(30));
/// # }
/// # Ok::<(), mqtt_client_async::UrlError>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) transports: Vec<Arc<dyn Transport>>,
    pub(crate) version: Version,
    pub(crate) connect: ConnectValues,
    pub(crate) assume_session: bool,
    pub(crate) receive_maximum: u16,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) topic_aliases: u16,
    pub(crate) max_message_size: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) low_latency: bool,
    pub(crate) queue: QueueLimits,
    pub(crate) memory: MemoryOptions,
    pub(crate) reconnect: Option<Arc<dyn ReconnectPolicy>>,
    pub(crate) before_connect: Option<Arc<dyn BeforeConnect>>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) store: Option<storage::Opener>,
}

/// What CONNECT says; a [hook](BeforeConnect) may change it before each attempt.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConnectValues {
    /// Who the client is; empty lets the server choose.
    pub client_id: String,
    /// Whether the server is to forget an earlier session.
    pub clean_start: bool,
    /// For how many seconds the session outlives the connection; `u32::MAX` for ever. Before 5.0 a session lasts for
    /// ever or not at all, as `clean_start` says.
    pub session_expiry_interval: u32,
    /// Seconds without a packet after which the client pings; 0 for never.
    pub keep_alive: u16,
    /// Who the user is.
    pub user_name: Option<String>,
    /// The user's secret.
    pub password: Option<Bytes>,
    /// What the server publishes when the client is lost.
    pub will: Option<LastWill>,
    /// Further properties of CONNECT (5.0).
    pub properties: PropertyList,
}

/// Secrets are not printed.
impl std::fmt::Debug for ConnectValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectValues")
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("session_expiry_interval", &self.session_expiry_interval)
            .field("keep_alive", &self.keep_alive)
            .field("user_name", &self.user_name.is_some())
            .field("password", &self.password.is_some())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("transports", &self.transports)
            .field("version", &self.version)
            .field("connect", &self.connect)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// A server by its URL, MQTT 5.0 and no session beyond the connection.
    ///
    /// | URL | carrier | default port | feature |
    /// |---|---|---|---|
    /// | `mqtt://host:port` | TCP | 1883 | `tcp` |
    /// | `mqtts://host:port` | TLS | 8883 | `tls` |
    /// | `ws://host:port/path` | WebSocket | 80 | `ws` |
    /// | `wss://host:port/path` | WebSocket over TLS | 443 | `ws`, `tls` |
    /// | `unix:///path` | Unix domain socket | | `unix` |
    ///
    /// `user:password@` in front of the host are the credentials, percent-encoded where needed. The path of a WebSocket is
    /// `/mqtt` unless another is given.
    ///
    /// # Errors
    /// [`UrlError`]: not such a URL, or its carrier is not built in or cannot be set up.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Self::with_carriers(url, &Carriers::new())
    }

    /// The same with TLS, a proxy or headers as they are said there.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_carriers(url: &str, carriers: &Carriers) -> Result<Self, UrlError> {
        let target = Target::parse(url, carriers)?;
        let mut options = Self::with_transport(target.transport);
        options.connect.user_name = target.user_name;
        options.connect.password = target.password.map(Bytes::from);
        Ok(options)
    }

    /// A server behind a transport of your own.
    pub fn with_transport(transport: Arc<dyn Transport>) -> Self {
        Self {
            transports: vec![transport],
            version: Version::V5,
            connect: ConnectValues {
                client_id: String::new(),
                clean_start: true,
                session_expiry_interval: 0,
                keep_alive: 60,
                user_name: None,
                password: None,
                will: None,
                properties: PropertyList::new(),
            },
            assume_session: false,
            receive_maximum: 256,
            topic_alias_maximum: 0,
            topic_aliases: 0,
            max_message_size: 16 << 20,
            connect_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            low_latency: false,
            queue: QueueLimits {
                messages: 1024,
                bytes: 8 << 20,
                offline: OfflinePolicy::Queue,
                delivery_timeout: Some(Duration::from_secs(300)),
                request_timeout: Duration::from_secs(30),
            },
            memory: MemoryOptions::default(),
            reconnect: Some(Arc::new(Backoff::default())),
            before_connect: None,
            authenticator: None,
            store: None,
        }
    }

    /// Another server, for when the ones before it cannot be reached.
    ///
    /// # Errors
    /// As for [`new`](Self::new). Credentials in this URL are ignored.
    pub fn or_server(self, url: &str, carriers: &Carriers) -> Result<Self, UrlError> {
        Ok(self.or_transport(Target::parse(url, carriers)?.transport))
    }

    /// Another server, for when the ones before it cannot be reached.
    #[must_use]
    pub fn or_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transports.push(transport);
        self
    }

    /// The version of the protocol; 5.0 unless told otherwise.
    #[must_use]
    pub fn version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Who the client is. Empty, as it is by default, lets the server choose; before 5.0 not all servers do.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.connect.client_id = client_id.into();
        self
    }

    /// A session that outlives its connection by so long, in whole seconds: it is resumed. Before 5.0 the length says
    /// nothing but "for ever" or, where it is zero, "not at all".
    #[must_use]
    pub fn session(mut self, expiry: Duration) -> Self {
        self.connect.session_expiry_interval = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
        self.connect.clean_start = expiry.is_zero();
        self
    }

    /// Whether the first connection may resume a session of an earlier run of the program, of which nothing is known
    /// here: its subscriptions bring messages that only a stream of [everything](crate::Client::messages) gets. By
    /// default such a server is disconnected from, as 5.0 wants it [MQTT-3.2.2-4].
    #[must_use]
    pub fn assume_session(self, assume_session: bool) -> Self {
        Self { assume_session, ..self }
    }

    /// How long the connection may be silent before the client pings, in whole seconds up to 65,535; zero for ever.
    /// 60 seconds by default.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.connect.keep_alive = u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX);
        self
    }

    /// Who the user is, and the secret.
    #[must_use]
    pub fn credentials(mut self, user_name: impl Into<String>, password: impl Into<Bytes>) -> Self {
        self.connect.user_name = Some(user_name.into());
        self.connect.password = Some(password.into());
        self
    }

    /// What the server publishes when the client is lost.
    #[must_use]
    pub fn will(mut self, will: LastWill) -> Self {
        self.connect.will = Some(will);
        self
    }

    /// A further property of CONNECT (5.0).
    #[must_use]
    pub fn property(mut self, property: Property<'_>) -> Self {
        self.connect.properties = self.connect.properties.with(property);
        self
    }

    /// How many messages of QoS 1 and 2 a 5.0 server may send before they are acknowledged: 256 by default.
    #[must_use]
    pub fn receive_maximum(self, receive_maximum: u16) -> Self {
        Self { receive_maximum: receive_maximum.max(1), ..self }
    }

    /// How many Topic Aliases a 5.0 server may use towards this client: none by default.
    #[must_use]
    pub fn topic_alias_maximum(self, topic_alias_maximum: u16) -> Self {
        Self { topic_alias_maximum, ..self }
    }

    /// How many Topic Aliases the client uses towards a 5.0 server, as far as that allows them: the first so many topics of
    /// each connection, of up to 62 bytes, are sent once and as a number after that. None by default.
    #[must_use]
    pub fn topic_aliases(self, topic_aliases: u16) -> Self {
        Self { topic_aliases, ..self }
    }

    /// The largest payload that is taken, in bytes: 16 MiB by default. A 5.0 server is told; a larger message that comes
    /// all the same is passed over with [`Event::MessageTooLarge`](crate::Event::MessageTooLarge).
    #[must_use]
    pub fn max_message_size(self, max_message_size: usize) -> Self {
        Self { max_message_size, ..self }
    }

    /// How long one attempt to connect may take in all, from looking up the name to CONNACK: 30 seconds by default.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// How long the server may take for PINGRESP: 10 seconds by default.
    #[must_use]
    pub fn response_timeout(self, response_timeout: Duration) -> Self {
        Self { response_timeout, ..self }
    }

    /// How long the server may take no byte of what is written, before the connection counts as dead: 30 seconds by
    /// default.
    #[must_use]
    pub fn write_timeout(self, write_timeout: Duration) -> Self {
        Self { write_timeout, ..self }
    }

    /// Whether every message is read as soon as it arrives. By default, where more than 8,000 small reads a second follow
    /// each other and the application does not publish in between, or has hundreds of messages in flight, what comes
    /// gathers for one or two milliseconds, which is less work for both sides. Where a server sends less then, because it
    /// waits for acknowledgements, that is left off.
    #[must_use]
    pub fn low_latency(self, low_latency: bool) -> Self {
        Self { low_latency, ..self }
    }

    /// How long the application waits: for room in the queue, and for the answers to SUBSCRIBE and UNSUBSCRIBE, also
    /// while there is no connection. 30 seconds by default.
    #[must_use]
    pub fn request_timeout(mut self, request_timeout: Duration) -> Self {
        self.queue.request_timeout = request_timeout;
        self
    }

    /// How long a [`Delivery`](crate::Delivery) may take, from the call of `publish` on; `None` for as long as the client
    /// lives. 5 minutes by default.
    #[must_use]
    pub fn delivery_timeout(mut self, delivery_timeout: Option<Duration>) -> Self {
        self.queue.delivery_timeout = delivery_timeout;
        self
    }

    /// How many messages, and how many bytes of topics and payloads, wait in the queue towards the driver: 1,024 and 8
    /// MiB by default. At least one message fits always.
    #[must_use]
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.queue.messages = messages.max(1);
        self.queue.bytes = bytes;
        self
    }

    /// What happens to messages that are published without a connection.
    #[must_use]
    pub fn offline(mut self, offline: OfflinePolicy) -> Self {
        self.queue.offline = offline;
        self
    }

    /// How much memory the client may use for what is on its way.
    #[must_use]
    pub fn memory(self, memory: MemoryOptions) -> Self {
        Self { memory, ..self }
    }

    /// When to connect again; by default [`Backoff::default`].
    #[must_use]
    pub fn reconnect(self, policy: impl ReconnectPolicy) -> Self {
        Self { reconnect: Some(Arc::new(policy)), ..self }
    }

    /// Ends the client with its first connection.
    #[must_use]
    pub fn no_reconnect(self) -> Self {
        Self { reconnect: None, ..self }
    }

    /// What is asked before each attempt to connect.
    #[must_use]
    pub fn before_connect(self, hook: impl BeforeConnect) -> Self {
        Self { before_connect: Some(Arc::new(hook)), ..self }
    }

    /// Extended authentication by this method (5.0 section 4.12): on the way to CONNACK, and again with
    /// [`Client::reauthenticate`](crate::Client::reauthenticate).
    #[must_use]
    pub fn authenticator(self, authenticator: impl Authenticator) -> Self {
        Self { authenticator: Some(Arc::new(authenticator)), ..self }
    }

    /// Keeps the session in a store, so that it outlives the process: messages of QoS 1 and 2 that were taken and are not
    /// acknowledged, also those taken without a connection, and which messages of QoS 2 came in. `open` is called once
    /// for each client that is made of these options; no two of them may share a store at a time. Off by default.
    ///
    /// It goes with a fixed Client Identifier and a [`session`](Self::session). A message leaves once it is safe, so each
    /// costs a write to the disk, which those that are published together share. The [`MemoryOptions`] are the bound of
    /// what is kept, and the longest message must fit there.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use mqtt_client_async::{FileStore, Options};
    /// # #[cfg(feature = "tcp")] {
    /// let options = Options::new("mqtt://localhost")?
    ///     .client_id("meter-7")
    ///     .session(Duration::from_secs(7 * 24 * 3600))
    ///     .store(|| FileStore::open("/var/lib/meter/session"));
    /// # }
    /// # Ok::<(), mqtt_client_async::UrlError>(())
    /// ```
    #[must_use]
    pub fn store<S, E>(self, open: impl Fn() -> Result<S, E> + Send + Sync + 'static) -> Self
    where
        S: Store<Error: std::fmt::Display> + Send + 'static,
        E: std::fmt::Display,
    {
        Self { store: Some(storage::opener(open)), ..self }
    }

    /// The messages in the [store](Self::store), by their Packet Identifiers: what an earlier run of the program published
    /// at QoS 1 and 2 and what has not arrived as far as is known. The next client sends them. Empty without a store.
    ///
    /// It blocks, and the store may not be in use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn stored_messages(&self) -> Result<Vec<Message>, StoreError> {
        match &self.store {
            Some(opener) => storage::messages(opener, self.version, &mut vec![0; self.memory.messages]),
            None => Ok(Vec::new()),
        }
    }
}

impl ConnectValues {
    /// Lends everything to `connect` in the form in which the engine wants it.
    pub(crate) fn with_options<R>(
        &self,
        more: &Options,
        connect: impl FnOnce(&mqtt_client::ConnectOptions<'_>) -> R,
    ) -> Result<R, DecodeError> {
        let mut delay = [0; 8];
        let mut options =
            mqtt_client::ConnectOptions::new(Utf8Str::new(&self.client_id).map_err(DecodeError::String)?);
        options.clean_start = self.clean_start;
        options.session_expiry_interval = self.session_expiry_interval;
        options.keep_alive = self.keep_alive;
        // Room for the topic and the properties of the largest payload.
        let packet = more.max_message_size.saturating_add(0x2_0000);
        options.maximum_packet_size = u32::try_from(packet).unwrap_or(u32::MAX);
        options.topic_alias_maximum = more.topic_alias_maximum;
        options.user_name =
            self.user_name.as_deref().map(Utf8Str::new).transpose().map_err(DecodeError::String)?;
        options.password = self.password.as_deref();
        let place = mqtt_packet::PropertyPlace::of(mqtt_packet::PacketType::Connect);
        options.properties = self.properties.at(place)?;
        options.will = self.will.as_ref().map(|will| will.lend(&mut delay)).transpose()?;
        Ok(connect(&options))
    }
}

impl LastWill {
    fn lend<'w>(&'w self, delay: &'w mut [u8; 8]) -> Result<Will<'w>, DecodeError> {
        let publish = &self.publish;
        let place = mqtt_packet::PropertyPlace::WILL;
        let mut writer = mqtt_packet::PropertyWriter::new(place, delay);
        if self.delay > 0 {
            // It fits: five bytes.
            let _ = writer.push(Property::WillDelayInterval(self.delay));
        }
        let own = publish.properties.at(place)?;
        let topic: TopicName<'_> = Topic::name(&publish.topic).map_err(DecodeError::String)?;
        Ok(Will {
            topic,
            payload: &publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: writer.finish().followed_by(own).unwrap_or(own),
        })
    }
}
