//! From settings to a client: the carrier, the session, the identifier.

mod bound;
mod scram;
mod srv;
mod tls;
mod trace;

pub(crate) use scram::Hash;

use std::sync::Arc;
use std::time::Duration;

use mqtt_client_async::transport::{Proxy, Tcp, Tls, TlsOptions, Transport, Unix, WebSocket};
use mqtt_client_async::{
    Backoff, Client, ConnectionError, Event, LastWill, MemoryOptions, Options, Publish, ReconnectPolicy,
    Subscribe, Subscription, Version, is_fatal,
};

use crate::failure::{Failure, Outcome};
use crate::options::{Carrier, Settings, Tool};

/// A client that is connected, and how it ends.
pub(crate) async fn client(settings: &Settings) -> Outcome<Client> {
    let options = options(settings).await?;
    let connected = Client::connect(options).await;
    connected.map_err(|error| Failure::connection(&error, settings.version()))
}

/// A client that is connected, and a stream of everything that comes, from the first message on: a server that resumes a
/// session sends what waits in it at once.
pub(crate) async fn client_with_stream(
    settings: &Settings,
    stream: &Subscribe,
) -> Outcome<(Client, Subscription)> {
    let (client, driver) = Client::new(options(settings).await?);
    let stream = client.messages_with(stream);
    let mut events = client.events();
    tokio::spawn(driver);
    loop {
        match events.recv().await {
            Some(Event::Connected { .. }) => return Ok((client, stream)),
            Some(Event::Disconnected(error) | Event::Closed(error)) => {
                return Err(Failure::connection(&error, settings.version()));
            }
            Some(_) => {}
            None => return Err(Failure::connection(&client.ended().await, settings.version())),
        }
    }
}

/// The options of a client.
pub(crate) async fn options(settings: &Settings) -> Outcome<Options> {
    let client_id = client_id(settings);
    let mut transport = transport(settings).await?;
    if settings.debug {
        transport = trace::traced(transport, settings, &client_id);
    }
    let properties = &settings.properties;
    let mut options = Options::with_transport(transport)
        .version(settings.version())
        .client_id(client_id)
        .keep_alive(Duration::from_secs(u64::from(settings.keep_alive)))
        // Whoever is told to wait, waits: the time limits are the command line's.
        .delivery_timeout(None)
        .request_timeout(Duration::from_secs(3600))
        .topic_alias_maximum(properties.topic_alias_maximum)
        .topic_aliases(u16::from(properties.topic_alias))
        .max_message_size(max_message_size(properties.maximum_packet_size))
        .receive_maximum(receive_maximum(settings))
        .assume_session(true)
        .memory(memory(settings))
        .reconnect(Reconnect::new(settings));
    options = session(options, settings);
    if let Some(name) = &settings.user_name {
        let (user_name, password) = (name.clone(), settings.password.clone().unwrap_or_default());
        options = match settings.scram {
            Some(hash) => options.authenticator(scram::Scram { hash, user_name, password }),
            None => options.credentials(user_name, password),
        };
    }
    if let Some(will) = will(settings) {
        options = options.will(will);
    }
    Ok(options)
}

/// What the command line says of the session, and 5.0 properties that the client has no word for.
fn session(options: Options, settings: &Settings) -> Options {
    let forever = Duration::from_secs(u64::from(u32::MAX));
    let expiry = match settings.version() {
        Version::V5 => Duration::from_secs(u64::from(settings.session_expiry.unwrap_or(0))),
        _ if settings.clean_session => Duration::ZERO,
        _ => forever,
    };
    let clean = settings.clean_session;
    options.session(expiry).before_connect(SessionStart {
        clean,
        properties: settings.properties.connect.clone(),
        is_bare_user: settings.password.is_none(),
    })
}

/// What CONNECT says beyond the client's options: Clean Start whatever the session's length, further properties, and a
/// user without a password.
struct SessionStart {
    clean: bool,
    properties: mqtt_client_async::PropertyList,
    is_bare_user: bool,
}

#[async_trait::async_trait]
impl mqtt_client_async::BeforeConnect for SessionStart {
    async fn before_connect(
        &self,
        attempt: &mut mqtt_client_async::Attempt,
    ) -> Result<(), mqtt_client_async::TransportError> {
        attempt.values.clean_start = self.clean;
        attempt.values.properties = self.properties.clone();
        if self.is_bare_user {
            attempt.values.password = None;
        }
        Ok(())
    }
}

fn will(settings: &Settings) -> Option<LastWill> {
    let topic = settings.will.topic.as_deref()?;
    let publish = Publish::new(topic, settings.will.payload.clone().unwrap_or_default())
        .qos(settings.will.qos)
        .retain(settings.will.retain)
        .properties(settings.properties.will.clone());
    Some(LastWill::new(publish).delay(Duration::from_secs(u64::from(settings.properties.will_delay))))
}

fn max_message_size(maximum_packet_size: Option<u32>) -> usize {
    // As large as MQTT allows, unless told otherwise. The client adds room for topic and properties.
    maximum_packet_size.map_or(256 << 20, |size| (size as usize).saturating_sub(0x2_0000).max(1))
}

/// With `-C` no more is asked for than will be printed: what comes beyond it would be lost.
fn receive_maximum(settings: &Settings) -> u16 {
    let wanted = settings.count.and_then(|count| u16::try_from(count).ok()).filter(|&count| count < 20);
    settings.properties.receive_maximum.or(wanted).unwrap_or(settings.max_in_flight)
}

fn memory(settings: &Settings) -> MemoryOptions {
    let mut memory = MemoryOptions::default();
    memory.in_flight = usize::from(settings.max_in_flight);
    memory
}

/// `-i`, or `-I` and the process id, or chance; the server's choice in 5.0.
fn client_id(settings: &Settings) -> String {
    if let Some(id) = &settings.id {
        return id.clone();
    }
    if let Some(prefix) = &settings.id_prefix {
        return format!("{prefix}{}", std::process::id());
    }
    match settings.version() {
        Version::V5 => String::new(),
        _ => {
            let chance: String = std::iter::repeat_with(fastrand::alphanumeric).take(18).collect();
            format!("mosq-{chance}")
        }
    }
}

/// The way to the server.
pub(crate) async fn transport(settings: &Settings) -> Outcome<Arc<dyn Transport>> {
    if let Some(path) = &settings.unix {
        return Ok(Arc::new(Unix::new(path)));
    }
    let (host, port) = match settings.srv {
        true => srv::look_up(settings.host(), settings.has_tls()).await?,
        false => (settings.host().to_owned(), settings.port()),
    };
    let mut way: Arc<dyn Transport> = match (&settings.proxy, &settings.bind) {
        (Some(proxy), _) => Proxy::new(proxy).map_err(Failure::error)?.to(host.as_str(), port),
        (None, Some(address)) => Arc::new(bound::Bound::new(address, &host, port)?),
        (None, None) => Arc::new(Tcp::new(host.as_str(), port)),
    };
    if settings.has_tls() {
        let options = TlsOptions::with_config(tls::configuration(&settings.tls)?);
        way = Arc::new(Tls::new(way, &host, &options).map_err(Failure::error)?);
    }
    if settings.carrier == Carrier::WebSocket {
        way = Arc::new(websocket(settings, way, &host, port)?);
    }
    Ok(way)
}

fn websocket(settings: &Settings, way: Arc<dyn Transport>, host: &str, port: u16) -> Outcome<WebSocket> {
    let scheme = if settings.has_tls() { "wss" } else { "ws" };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let path = settings.ws_path.as_deref().unwrap_or("/mqtt");
    let mut websocket = WebSocket::new(way, format!("{scheme}://{host}:{port}{path}"));
    for header in &settings.ws_headers {
        let fault = || Failure::usage(format!("'{header}' is no header, such as 'Authorization: Bearer x'."));
        let (name, value) = header.split_once(':').ok_or_else(fault)?;
        let name = name.trim().parse::<http::HeaderName>().map_err(|_| fault())?;
        let value = value.trim().parse::<http::HeaderValue>().map_err(|_| fault())?;
        websocket = websocket.header(name, value);
    }
    Ok(websocket)
}

/// When to connect again: as told, and not where it cannot help. Who publishes one message does not wait for a server.
struct Reconnect {
    backoff: Backoff,
    never: bool,
}

impl Reconnect {
    fn new(settings: &Settings) -> Self {
        let told = &settings.reconnect;
        let attempts = told.attempts.unwrap_or(u32::MAX);
        Self {
            backoff: Backoff::new(told.first, told.longest).attempts(attempts),
            never: told.attempts == Some(0) || settings.tool != Tool::Sub && told.attempts.is_none(),
        }
    }
}

impl ReconnectPolicy for Reconnect {
    fn next_delay(&self, attempt: u32, error: &ConnectionError) -> Option<Duration> {
        if self.never || is_fatal(error) {
            return None;
        }
        self.backoff.next_delay(attempt, error)
    }
}
