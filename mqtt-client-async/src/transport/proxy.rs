//! Proxies below any other carrier: SOCKS5, with the name looked up by the proxy, and HTTP CONNECT.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_socks::tcp::Socks5Stream;

use super::{Carrier, Tcp, Transport};
use crate::UrlError;
use crate::error::TransportError;

/// The longest answer of an HTTP proxy.
const LONGEST_ANSWER: usize = 8 << 10;

/// A proxy on the way to a server.
#[derive(Clone)]
pub struct Proxy {
    kind: Kind,
    below: Arc<dyn Transport>,
    /// As it may be printed.
    name: String,
    credentials: Option<(String, String)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Socks5,
    HttpConnect,
}

impl Proxy {
    /// A proxy by its URL: `socks5://`, `socks5h://` (both let the proxy look up the server's name) or `http://`, with
    /// `user:password@` where it wants that.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn new(url: &str) -> Result<Self, UrlError> {
        let place = crate::url::Place::parse(url)?;
        let (kind, port) = match place.scheme.as_str() {
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            "http" => (Kind::HttpConnect, 8080),
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let port = place.port.unwrap_or(port);
        let name = format!("{}:{port}", place.host);
        let credentials = place.user_name.map(|user| (user, place.password.unwrap_or_default()));
        Ok(Self { kind, below: Arc::new(Tcp::new(place.host, port)), name, credentials })
    }

    /// The proxy that the environment names in `ALL_PROXY` or `HTTPS_PROXY`, in capital or small letters, unless
    /// `NO_PROXY` excepts `host`; `None` where there is none.
    ///
    /// # Errors
    /// [`UrlError`]: what is named there is no proxy that is known here.
    pub fn from_env(host: &str) -> Result<Option<Self>, UrlError> {
        let read = |name: &str| {
            let small = name.to_ascii_lowercase();
            std::env::var(name).or_else(|_| std::env::var(small)).ok().filter(|value| !value.is_empty())
        };
        let is_excepted = read("NO_PROXY").is_some_and(|list| {
            list.split(',').map(str::trim).any(|entry| entry == "*" || is_below(host, entry))
        });
        if is_excepted {
            return Ok(None);
        }
        read("ALL_PROXY").or_else(|| read("HTTPS_PROXY")).map(|url| Self::new(&url)).transpose()
    }

    /// The way through this proxy to `port` of `host`.
    #[must_use]
    pub fn to(&self, host: impl Into<String>, port: u16) -> Arc<dyn Transport> {
        Arc::new(Proxied { proxy: self.clone(), host: host.into(), port })
    }
}

/// Whether a host is this domain or below it.
fn is_below(host: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.');
    host == domain || !domain.is_empty() && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// Secrets are not printed.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.name).finish()
    }
}

#[derive(Debug)]
struct Proxied {
    proxy: Proxy,
    host: String,
    port: u16,
}

#[async_trait]
impl Transport for Proxied {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let Self { proxy, host, port } = self;
        let carrier = proxy.below.connect().await?;
        let step = || format!("connect to {host}:{port} through the proxy {}", proxy.name);
        let result = match proxy.kind {
            Kind::Socks5 => self.socks5(carrier).await,
            Kind::HttpConnect => self.http_connect(carrier).await,
        };
        result.map_err(|error| TransportError::new(step(), error))
    }
}

impl Proxied {
    async fn socks5(&self, carrier: Box<dyn Carrier>) -> io::Result<Box<dyn Carrier>> {
        let target = (self.host.as_str(), self.port);
        let stream = match &self.proxy.credentials {
            None => Socks5Stream::connect_with_socket(carrier, target).await,
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(carrier, target, user, password).await
            }
        };
        Ok(stream.map_err(io::Error::other)?.into_inner())
    }

    async fn http_connect(&self, mut carrier: Box<dyn Carrier>) -> io::Result<Box<dyn Carrier>> {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let target = format!("{host}:{}", self.port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some((user, password)) = &self.proxy.credentials {
            let encoded = STANDARD.encode(format!("{user}:{password}"));
            request.push_str(&format!("Proxy-Authorization: Basic {encoded}\r\n"));
        }
        request.push_str("\r\n");
        carrier.write_all(request.as_bytes()).await?;
        carrier.flush().await?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the empty line is the server's.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= LONGEST_ANSWER {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy's answer does not end"));
            }
            answer.push(carrier.read_u8().await?);
        }
        let first_line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let first_line = String::from_utf8_lossy(first_line);
        let mut words = first_line.split(' ');
        let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
        let is_well = words.next().is_some_and(|code| code.len() == 3 && code.starts_with('2'));
        if !is_http || !is_well {
            return Err(io::Error::other(format!("the proxy said {first_line:?}")));
        }
        Ok(carrier)
    }
}
