//! Servers by URL.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::transport::Transport;

/// Why a text names no server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not a URL with a host.
    #[error("{0:?} is no URL of a server, such as mqtt://localhost:1883")]
    Malformed(String),
    /// The scheme stands for no carrier.
    #[error("the scheme {0:?} is none of mqtt, mqtts, ws, wss and unix")]
    Scheme(String),
    /// The carrier is not built in.
    #[error("{scheme}:// needs the feature {feature:?} of mqtt-client-async")]
    Feature {
        /// The scheme.
        scheme: &'static str,
        /// What brings the carrier.
        feature: &'static str,
    },
    /// The carrier cannot be set up.
    #[error("{0}")]
    Carrier(String),
}

/// What a URL says.
pub(crate) struct Target {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let malformed = || UrlError::Malformed(without_credentials(url));
        let (scheme, rest) = url.split_once("://").ok_or_else(malformed)?;
        let uri: http::Uri = url.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || rest.is_empty() {
            return Err(malformed());
        }
        let (user_name, password) = credentials(authority.as_str()).ok_or_else(malformed)?;
        let transport = match scheme {
            "mqtt" => tcp(host, authority.port_u16().unwrap_or(1883))?,
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        Ok(Self { transport, user_name, password })
    }
}

#[cfg(feature = "tcp")]
fn tcp(host: &str, port: u16) -> Result<Arc<dyn Transport>, UrlError> {
    Ok(Arc::new(crate::transport::Tcp::new(host, port)))
}

#[cfg(not(feature = "tcp"))]
fn tcp(_: &str, _: u16) -> Result<Arc<dyn Transport>, UrlError> {
    Err(UrlError::Feature { scheme: "mqtt", feature: "tcp" })
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
