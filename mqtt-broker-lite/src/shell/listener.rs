//! Addresses, and sockets that wait for clients there.

use super::StartError;
use super::carrier::{Carrier, Layer};
use super::inherited::Inherited;
use super::stream::Stream;
use mio::event::Source;
use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

#[cfg(feature = "ws")]
use super::carrier::websocket::{Rules, WebSocket};
#[cfg(feature = "tls")]
use super::carrier::{tls::Tls, tls::TlsFiles};
#[cfg(any(feature = "tls", feature = "ws"))]
use std::sync::Arc;

/// One place where clients are waited for: an address and what goes with it.
#[derive(Clone, Debug)]
pub struct Listen {
    pub(super) url: String,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsFiles>,
    #[cfg(feature = "ws")]
    pub(super) origins: Vec<String>,
    pub(super) limits: ListenLimits,
}

/// What a listener takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenLimits {
    /// Connections.
    pub max_connections: Option<usize>,
    /// Connections of one address; of IPv6, of one /64 network.
    pub max_per_address: Option<usize>,
    /// Packets that one client may send in a second. What comes faster is read later.
    pub message_rate: Option<u32>,
    /// Bytes that one client may send in a second. What comes faster is read later.
    pub byte_rate: Option<u32>,
    /// Whether a proxy says in front of everything where the client is (PROXY protocol, versions 1 and 2).
    pub proxy_protocol: bool,
}

impl Listen {
    /// Listens here: `mqtt://host:port`, `mqtts://host:port`, `ws://host:port/path`, `wss://host:port/path`,
    /// `unix:///path`. Port 0 takes a free one.
    pub fn on(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "ws")]
            origins: Vec::new(),
            limits: ListenLimits::default(),
        }
    }

    /// How many may come, and how much they may send.
    #[must_use]
    pub fn limits(mut self, limits: ListenLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the URL is one, and the certificates are what they should be; opens nothing.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), StartError> {
        let address = Address::parse(&self.url)?;
        #[cfg(feature = "tls")]
        if let Address::Net { kind, .. } = address {
            certificates(self, kind)?;
        }
        let _ = address;
        Ok(())
    }

    /// The certificates, for `mqtts://` and `wss://`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// The web pages that may connect by WebSocket, as `https://example.org`; all, unless some are named.
    #[cfg(feature = "ws")]
    #[must_use]
    pub fn origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.origins = origins.into_iter().map(Into::into).collect();
        self
    }
}

impl<T: Into<String>> From<T> for Listen {
    fn from(url: T) -> Self {
        Self::on(url)
    }
}

/// Whether only this machine can reach a listener of this URL.
#[cfg(feature = "cli")]
pub(crate) fn is_local(url: &str) -> bool {
    Address::parse(url).is_ok_and(|address| address.is_local())
}

/// What is spoken below MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

impl Scheme {
    const ALL: [(&'static str, Self, u16); 4] = [
        ("mqtt", Self::Mqtt, 1883),
        ("mqtts", Self::Mqtts, 8883),
        ("ws", Self::Ws, 80),
        ("wss", Self::Wss, 443),
    ];

    fn is_secure(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    fn is_web(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// Where to listen.
pub(super) enum Address {
    Net { scheme: &'static str, kind: Scheme, candidates: Vec<SocketAddr>, path: String },
    Unix(PathBuf),
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, StartError> {
        let wrong = |what| StartError::Url { url: url.to_owned(), what };
        let Some((scheme, place)) = url.split_once("://") else {
            return Err(wrong("not an address like mqtt://127.0.0.1:1883"));
        };
        if scheme == "unix" {
            if cfg!(not(unix)) {
                return Err(wrong("there are no such sockets on this system"));
            }
            return match place.starts_with('/') {
                true => Ok(Self::Unix(PathBuf::from(place))),
                false => Err(wrong("not a path like unix:///run/mqtt.sock")),
            };
        }
        let known = Scheme::ALL.iter().find(|(name, ..)| *name == scheme);
        let Some(&(scheme, kind, port)) = known else {
            return Err(wrong("not mqtt://, mqtts://, ws://, wss:// or unix://"));
        };
        if kind.is_secure() && cfg!(not(feature = "tls")) {
            return Err(wrong("this program was built without TLS"));
        }
        if kind.is_web() && cfg!(not(feature = "ws")) {
            return Err(wrong("this program was built without WebSocket"));
        }
        let (place, path) = place.split_once('/').unwrap_or((place, ""));
        if !kind.is_web() && !path.is_empty() {
            return Err(wrong("only ws:// and wss:// have a path"));
        }
        let has_port =
            place.rsplit_once(':').is_some_and(|(host, port)| !host.ends_with(':') && !port.ends_with(']'));
        let candidates = if has_port {
            place.to_socket_addrs()
        } else {
            (place.trim_matches(['[', ']']), port).to_socket_addrs()
        };
        let candidates: Vec<_> = candidates.map_err(|_| wrong("no such host or port"))?.collect();
        if candidates.is_empty() {
            return Err(wrong("no such host"));
        }
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self::Net { scheme, kind, candidates, path })
    }

    /// Whether only this machine can reach it.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Net { candidates, .. } => candidates.iter().all(|address| match address.ip() {
                IpAddr::V4(ip) => ip.is_loopback(),
                IpAddr::V6(ip) => ip.is_loopback(),
            }),
        }
    }
}

/// Certificates that can be changed while connections are accepted with them.
#[cfg(feature = "tls")]
pub(super) struct Certificates {
    files: TlsFiles,
    alpn: &'static [&'static str],
    current: std::sync::RwLock<Arc<rustls::ServerConfig>>,
}

#[cfg(feature = "tls")]
impl Certificates {
    fn new(files: &TlsFiles, is_web: bool) -> Result<Self, String> {
        let alpn: &[_] = if is_web { &["http/1.1"] } else { &["mqtt"] };
        Ok(Self { current: files.load(alpn)?.into(), files: files.clone(), alpn })
    }

    /// Reads the files again, for [`Self::swap`].
    pub(super) fn load(&self) -> Result<Arc<rustls::ServerConfig>, String> {
        self.files.load(self.alpn)
    }

    pub(super) fn swap(&self, config: Arc<rustls::ServerConfig>) {
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = config;
    }

    fn current(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

enum Waiting {
    Tcp(TcpListener),
    #[cfg(unix)]
    /// With its path, if the socket is to go with the listener.
    Unix(UnixListener, Option<PathBuf>),
}

pub(super) struct Listener {
    socket: Waiting,
    url: String,
    address: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    pub(super) certificates: Option<Arc<Certificates>>,
    #[cfg(feature = "ws")]
    rules: Option<Arc<Rules>>,
    /// The largest first packet.
    first: usize,
    is_proxied: bool,
}

impl Listener {
    pub(super) fn open(
        address: Address,
        listen: &Listen,
        first: u32,
        inherited: &mut Inherited,
    ) -> Result<Self, StartError> {
        let url = &listen.url;
        let failed = |source| StartError::Listen { url: url.clone(), source };
        let first = first as usize;
        match address {
            #[cfg(unix)]
            Address::Unix(path) => Ok(Self {
                socket: match inherited.take_unix(&path) {
                    // Whoever opened it takes it away.
                    Some(socket) => Waiting::Unix(socket.map_err(failed)?, None),
                    None => Waiting::Unix(open_unix(&path).map_err(failed)?, Some(path)),
                },
                url: url.clone(),
                address: None,
                #[cfg(feature = "tls")]
                certificates: None,
                #[cfg(feature = "ws")]
                rules: None,
                first,
                is_proxied: false,
            }),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(failed(io::ErrorKind::Unsupported.into())),
            Address::Net { scheme, kind, candidates, path } => {
                #[cfg(feature = "tls")]
                let certificates = certificates(listen, kind)?;
                let handed = inherited.take_tcp(&candidates);
                let socket = handed.unwrap_or_else(|| bind(&candidates)).map_err(failed)?;
                let address = socket.local_addr().map_err(failed)?;
                #[cfg(feature = "ws")]
                let rules = kind.is_web().then(|| {
                    let path = (!path.is_empty()).then(|| path.as_str().into());
                    let origins = listen.origins.iter().map(|origin| origin.as_str().into()).collect();
                    Arc::new(Rules { path, origins })
                });
                let _ = kind;
                Ok(Self {
                    socket: Waiting::Tcp(socket),
                    url: format!("{scheme}://{address}{path}"),
                    address: Some(address),
                    #[cfg(feature = "tls")]
                    certificates,
                    #[cfg(feature = "ws")]
                    rules,
                    first,
                    is_proxied: listen.limits.proxy_protocol,
                })
            }
        }
    }

    /// With the real port.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// With the real port.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The next connection.
    pub(super) fn accept(&self) -> io::Result<Carrier> {
        let stream = match &self.socket {
            Waiting::Tcp(socket) => {
                let (stream, _) = socket.accept()?;
                // Without this a small packet may wait for an acknowledgement of the network.
                let _ = stream.set_nodelay(true);
                Stream::tcp(stream, self.is_proxied)
            }
            #[cfg(unix)]
            Waiting::Unix(socket, _) => Stream::unix(socket.accept()?.0),
        };
        self.carrier(stream)
    }

    fn carrier(&self, stream: Stream) -> io::Result<Carrier> {
        let layer = Layer::Plain(stream);
        #[cfg(feature = "tls")]
        let layer = match (&self.certificates, layer) {
            (Some(certificates), Layer::Plain(stream)) => {
                Layer::Tls(Box::new(Tls::new(certificates.current(), stream)?))
            }
            (_, layer) => layer,
        };
        #[cfg(feature = "ws")]
        if let Some(rules) = &self.rules {
            let websocket = WebSocket::new(layer, Arc::clone(rules), self.first);
            return Ok(Carrier::WebSocket(Box::new(websocket)));
        }
        let _ = self.first;
        Ok(Carrier::Bytes(layer))
    }
}

#[cfg(feature = "tls")]
fn certificates(listen: &Listen, kind: Scheme) -> Result<Option<Arc<Certificates>>, StartError> {
    let failed = |what| StartError::Certificates { url: listen.url.clone(), what };
    match (kind.is_secure(), &listen.tls) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(failed("it has certificates, but is not mqtts:// or wss://".to_owned())),
        (true, None) => Err(failed("it needs a certificate and a key".to_owned())),
        (true, Some(files)) => Certificates::new(files, kind.is_web())
            .map(|certificates| Some(Arc::new(certificates)))
            .map_err(failed),
    }
}

fn bind(candidates: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut first_error = None;
    for &candidate in candidates {
        match TcpListener::bind(candidate) {
            Ok(socket) => return Ok(socket),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// Opens a socket in the file system, for this user and this group. One that a dead program left is replaced.
#[cfg(unix)]
fn open_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::fs::{Permissions, metadata, remove_file, set_permissions};
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let is_socket = metadata(path).is_ok_and(|data| data.file_type().is_socket());
    if is_socket
        && let Err(error) = std::os::unix::net::UnixStream::connect(path)
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

impl Drop for Listener {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Waiting::Unix(_, Some(path)) = &self.socket {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match &mut self.socket {
            Waiting::Tcp(socket) => socket.register(registry, token, interests),
            #[cfg(unix)]
            Waiting::Unix(socket, _) => socket.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match &mut self.socket {
            Waiting::Tcp(socket) => socket.reregister(registry, token, interests),
            #[cfg(unix)]
            Waiting::Unix(socket, _) => socket.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.socket {
            Waiting::Tcp(socket) => socket.deregister(registry),
            #[cfg(unix)]
            Waiting::Unix(socket, _) => socket.deregister(registry),
        }
    }
}
