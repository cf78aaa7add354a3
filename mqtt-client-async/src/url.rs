//! Servers by URL, and what their carriers need beside it.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::transport::Transport;

/// Why a text names no server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not a URL with a host, or with a path for `unix`.
    #[error("{0:?} is no URL of a server, such as mqtt://localhost:1883")]
    Malformed(String),
    /// The scheme stands for no carrier.
    #[error(
        "the scheme {0:?} is not known; there are mqtt, mqtts, ws, wss and unix, for proxies socks5, socks5h and http"
    )]
    Scheme(String),
    /// The carrier is not built in.
    #[error("{scheme}:// needs the feature {feature:?} of mqtt-client-async")]
    Feature {
        /// The scheme.
        scheme: String,
        /// What brings the carrier.
        feature: &'static str,
    },
    /// TLS cannot be set up: the words of `transport::TlsError`.
    #[error("{0}")]
    Tls(String),
}

/// What carriers need to know besides the URL.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Carriers {
    /// Whom `mqtts` and `wss` trust.
    #[cfg(feature = "tls")]
    pub tls: crate::transport::TlsOptions,
    /// What is on the way to the server; not for `unix`.
    #[cfg(feature = "proxy")]
    pub proxy: Option<crate::transport::Proxy>,
    /// What `ws` and `wss` say besides.
    #[cfg(feature = "ws")]
    pub headers: http::HeaderMap,
}

impl Carriers {
    /// The system's roots of trust, no proxy, no headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: crate::transport::TlsOptions) -> Self {
        Self { tls, ..self }
    }

    /// The same through this proxy.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(self, proxy: crate::transport::Proxy) -> Self {
        Self { proxy: Some(proxy), ..self }
    }

    /// The same with a header more for WebSocket.
    #[cfg(feature = "ws")]
    #[must_use]
    pub fn header(mut self, name: http::HeaderName, value: http::HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

/// What a URL says.
pub(crate) struct Target {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
}

impl Target {
    pub(crate) fn parse(url: &str, carriers: &Carriers) -> Result<Self, UrlError> {
        if let Some(path) = url.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(UrlError::Malformed(url.to_owned()));
            }
            return Ok(Self { transport: unix(path)?, user_name: None, password: None });
        }
        let place = Place::parse(url)?;
        let (port, has_tls, is_websocket) = match place.scheme.as_str() {
            "mqtt" => (1883, false, false),
            "mqtts" => (8883, true, false),
            "ws" => (80, false, true),
            "wss" => (443, true, true),
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let mut transport = tcp(&place, place.port.unwrap_or(port), carriers)?;
        if has_tls {
            transport = tls(transport, &place, carriers)?;
        }
        if is_websocket {
            transport = websocket(transport, &place, carriers)?;
        }
        Ok(Self { transport, user_name: place.user_name, password: place.password })
    }
}

/// The parts of a URL.
#[cfg_attr(not(all(feature = "tcp", feature = "ws")), allow(dead_code))] // What no carrier asks for.
pub(crate) struct Place {
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
    /// `host:port/path`, for WebSocket.
    tail: String,
}

impl Place {
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let malformed = || UrlError::Malformed(without_credentials(url));
        let uri: http::Uri = url.parse().map_err(|_| malformed())?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(malformed)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let front = authority.as_str().rsplit('@').next().unwrap_or_default();
        let names_port = !front.ends_with(authority.host());
        if host.is_empty() || names_port && authority.port_u16().is_none() {
            return Err(malformed());
        }
        let (user_name, password) = credentials(authority.as_str()).ok_or_else(malformed)?;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        // Where nearly all servers have it.
        let path = if path == "/" { "/mqtt" } else { path };
        Ok(Self {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port: authority.port_u16(),
            user_name,
            password,
            tail: format!("{front}{path}"),
        })
    }

    #[allow(dead_code)] // With all carriers built in.
    fn lacks(&self, feature: &'static str) -> UrlError {
        UrlError::Feature { scheme: self.scheme.clone(), feature }
    }
}

type Way = Result<Arc<dyn Transport>, UrlError>;

#[cfg(feature = "tcp")]
fn tcp(place: &Place, port: u16, carriers: &Carriers) -> Way {
    #[cfg(feature = "proxy")]
    if let Some(proxy) = &carriers.proxy {
        return Ok(proxy.to(&place.host, port));
    }
    let _ = carriers;
    Ok(Arc::new(crate::transport::Tcp::new(&place.host, port)))
}

#[cfg(not(feature = "tcp"))]
fn tcp(place: &Place, _: u16, _: &Carriers) -> Way {
    Err(place.lacks("tcp"))
}

#[cfg(feature = "tls")]
fn tls(below: Arc<dyn Transport>, place: &Place, carriers: &Carriers) -> Way {
    let tls = crate::transport::Tls::new(below, &place.host, &carriers.tls);
    Ok(Arc::new(tls.map_err(|error| UrlError::Tls(error.to_string()))?))
}

#[cfg(not(feature = "tls"))]
fn tls(_: Arc<dyn Transport>, place: &Place, _: &Carriers) -> Way {
    Err(place.lacks("tls"))
}

#[cfg(feature = "ws")]
fn websocket(below: Arc<dyn Transport>, place: &Place, carriers: &Carriers) -> Way {
    let url = format!("{}://{}", place.scheme, place.tail);
    let mut websocket = crate::transport::WebSocket::new(below, url);
    for (name, value) in &carriers.headers {
        websocket = websocket.header(name.clone(), value.clone());
    }
    Ok(Arc::new(websocket))
}

#[cfg(not(feature = "ws"))]
fn websocket(_: Arc<dyn Transport>, place: &Place, _: &Carriers) -> Way {
    Err(place.lacks("ws"))
}

#[cfg(all(feature = "unix", unix))]
fn unix(path: &str) -> Way {
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    Ok(Arc::new(crate::transport::Unix::new(path)))
}

#[cfg(not(all(feature = "unix", unix)))]
fn unix(_: &str) -> Way {
    Err(UrlError::Feature { scheme: "unix".to_owned(), feature: "unix" })
}

/// The user's name and secret in front of the host; `None` where they are not text.
fn credentials(authority: &str) -> Option<(Option<String>, Option<String>)> {
    let Some((user, _)) = authority.rsplit_once('@') else {
        return Some((None, None));
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    match user.split_once(':') {
        Some((name, password)) => Some((Some(decode(name)?), Some(decode(password)?))),
        None => Some((Some(decode(user)?), None)),
    }
}

/// The URL as it may be printed.
fn without_credentials(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let (front, back) = (url.get(..scheme).unwrap_or_default(), url.get(at..).unwrap_or_default());
            format!("{front}://***{back}")
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_host_port_credentials_and_path() {
        let place = Place::parse("wss://user%40home:p%3Aw@[::1]:9001/some/path?x=1").unwrap();
        assert_eq!((place.host.as_str(), place.port), ("::1", Some(9001)));
        assert_eq!(place.user_name.as_deref(), Some("user@home"));
        assert_eq!(place.password.as_deref(), Some("p:w"));
        assert_eq!(place.tail, "[::1]:9001/some/path?x=1");
        assert_eq!(Place::parse("ws://host").unwrap().tail, "host/mqtt");
    }

    #[test]
    fn what_is_no_url_is_said_without_its_secret() {
        for url in ["", "localhost", "mqtt://", "mqtt://:1883", "mqtt://host:99999", "unix://relative"] {
            assert!(matches!(Target::parse(url, &Carriers::new()), Err(UrlError::Malformed(_))), "{url}");
        }
        let error = Target::parse("mqtt://me:secret@bad host", &Carriers::new()).err().unwrap();
        assert!(!error.to_string().contains("secret"), "{error}");
        let error = Target::parse("amqp://host", &Carriers::new()).err().unwrap();
        assert_eq!(error, UrlError::Scheme("amqp".to_owned()));
    }
}
