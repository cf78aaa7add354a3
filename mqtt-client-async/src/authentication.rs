//! Extended authentication (5.0 section 4.12): what a method brings along, and its exchange on a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use mqtt_client::{Engine, Instant, ReasonCode, RequestError};
use mqtt_packet::{Auth, DecodeError, EncodeError, PacketType, Property, PropertyPlace, Utf8Str, Version};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::error::ConnectionError;
use crate::options::{ConnectValues, Options};
use crate::properties::PropertyList;

/// A method of authentication, for example SCRAM-SHA-256 or Kerberos.
///
/// ```
/// use bytes::Bytes;
/// use mqtt_client_async::{Authenticator, AuthenticationError, Exchange};
///
/// /// Repeats what the server says.
/// struct Parrot;
///
/// impl Authenticator for Parrot {
///     fn method(&self) -> &str {
///         "parrot"
///     }
///
///     fn begin(&self) -> Box<dyn Exchange> {
///         Box::new(Parrot)
///     }
/// }
///
/// #[async_trait::async_trait]
/// impl Exchange for Parrot {
///     async fn answer(&mut self, challenge: &[u8]) -> Result<Bytes, AuthenticationError> {
///         Ok(Bytes::copy_from_slice(challenge))
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// Its name, which both sides know.
    fn method(&self) -> &str;

    /// An exchange: one for each connection, and one for each time that a connection is authenticated again.
    fn begin(&self) -> Box<dyn Exchange>;
}

/// What the client says in one authentication.
#[async_trait]
pub trait Exchange: Send + 'static {
    /// What comes first, with CONNECT or the request to authenticate again: nothing, where the server begins.
    ///
    /// # Errors
    /// The attempt to connect fails with it, or the authentication again.
    async fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        Ok(None)
    }

    /// Answers a challenge. The connection goes on meanwhile; dropped where it ends.
    ///
    /// # Errors
    /// The connection ends with it.
    async fn answer(&mut self, challenge: &[u8]) -> Result<Bytes, AuthenticationError>;

    /// The server is content, and this is its last word: the place to check that it is who it should be. Nothing else is
    /// said on a new connection before.
    ///
    /// # Errors
    /// The connection ends with it.
    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), AuthenticationError> {
        let _ = data;
        Ok(())
    }
}

/// Why an authentication failed on this side, in words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{words}")]
pub struct AuthenticationError {
    words: String,
}

impl AuthenticationError {
    /// What went wrong. It is logged, so it should tell no secret.
    pub fn new(words: impl Into<String>) -> Self {
        Self { words: words.into() }
    }
}

/// Why a connection was not authenticated again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReauthenticateError {
    /// The client has no [authenticator](crate::Options::authenticator).
    #[error("the client has no authenticator")]
    NoAuthenticator,
    /// There is no connection. The next one is authenticated anyway.
    #[error("not connected")]
    NotConnected,
    /// This side could not begin.
    #[error("the exchange could not begin: {0}")]
    Failed(#[from] AuthenticationError),
    /// The connection ended first: so does a server that is not content.
    #[error("the connection ended first")]
    ConnectionLost,
    /// The server did not end it within [`request_timeout`](crate::Options::request_timeout).
    #[error("no answer in time")]
    Timeout,
    /// The client was shut down, or has given up.
    #[error("the client is closed")]
    Closed,
}

/// Where the end of an authentication is awaited.
pub(crate) type Awaiting = oneshot::Sender<Result<(), ReauthenticateError>>;

/// An exchange that thinks about what to say next, and with which reason code that is said.
type Thinking = Pin<Box<dyn Future<Output = (ReasonCode, Box<dyn Exchange>, Said)> + Send>>;
type Said = Result<Option<Bytes>, AuthenticationError>;

/// The authentication of a connection.
pub(crate) struct Authentication {
    authenticator: Option<Arc<dyn Authenticator>>,
    /// The exchange that is under way, while it does not think.
    exchange: Option<Box<dyn Exchange>>,
    thinking: Option<Thinking>,
    /// What is to be said, once there is room.
    to_say: Option<(ReasonCode, PropertyList)>,
    awaiting: Vec<Awaiting>,
}

impl Authentication {
    pub(crate) const fn new(authenticator: Option<Arc<dyn Authenticator>>) -> Self {
        Self { authenticator, exchange: None, thinking: None, to_say: None, awaiting: Vec::new() }
    }

    /// The connection has ended.
    pub(crate) fn end(&mut self) {
        self.exchange = None;
        self.thinking = None;
        self.to_say = None;
        self.answer(&Err(ReauthenticateError::ConnectionLost));
    }

    fn answer(&mut self, result: &Result<(), ReauthenticateError>) {
        for awaiting in self.awaiting.drain(..) {
            // Nobody waits any more where this fails.
            let _ = awaiting.send(result.clone());
        }
    }

    /// The exchange of a connection that is about to begin.
    pub(crate) fn opened(&mut self, exchange: Option<Box<dyn Exchange>>) {
        self.exchange = exchange;
    }

    /// Authenticates an open connection again; who asks while that is under way waits for the same end.
    pub(crate) fn again(&mut self, awaiting: Awaiting) {
        let Some(authenticator) = &self.authenticator else {
            let _ = awaiting.send(Err(ReauthenticateError::NoAuthenticator));
            return;
        };
        self.awaiting.push(awaiting);
        if self.exchange.is_none() && self.thinking.is_none() {
            let mut exchange = authenticator.begin();
            self.thinking = Some(Box::pin(async move {
                let said = exchange.first().await;
                (ReasonCode::RE_AUTHENTICATE, exchange, said)
            }));
        }
    }

    /// The server says AUTH.
    pub(crate) fn heard(&mut self, auth: &Auth<'_>) -> Result<(), ConnectionError> {
        let data = auth.properties.authentication_data();
        if auth.reason_code == ReasonCode::SUCCESS {
            return self.finish(data);
        }
        let Some(mut exchange) = self.exchange.take() else {
            return Err(
                AuthenticationError::new("the server asks for an answer, and nobody knows one").into()
            );
        };
        let challenge = data.unwrap_or_default().to_vec();
        self.thinking = Some(Box::pin(async move {
            let said = exchange.answer(&challenge).await.map(Some);
            (ReasonCode::CONTINUE_AUTHENTICATION, exchange, said)
        }));
        Ok(())
    }

    /// The server is content.
    pub(crate) fn finish(&mut self, data: Option<&[u8]>) -> Result<(), ConnectionError> {
        let Some(mut exchange) = self.exchange.take() else {
            return Ok(());
        };
        exchange.finish(data)?;
        self.answer(&Ok(()));
        Ok(())
    }

    /// Goes on thinking, and says what came of it. Whether anything has changed.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        engine: &mut Engine<'_>,
        now: Instant,
    ) -> Result<bool, ConnectionError> {
        if let Some(thinking) = &mut self.thinking {
            let Poll::Ready((reason_code, exchange, said)) = thinking.as_mut().poll(cx) else {
                return Ok(false);
            };
            self.thinking = None;
            match said {
                Ok(data) => {
                    self.exchange = Some(exchange);
                    self.to_say = Some((reason_code, self.properties(PropertyList::new(), data.as_deref())?));
                }
                Err(error) if reason_code == ReasonCode::RE_AUTHENTICATE => {
                    self.answer(&Err(error.into()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some((reason_code, properties)) = self.to_say.take() else {
            return Ok(false);
        };
        let place = PropertyPlace::of(PacketType::Auth);
        let said = properties.at(place).map_err(|rule| EncodeError::Rule(rule).into());
        match said.and_then(|properties| engine.auth(now, reason_code, properties)) {
            Ok(()) => Ok(true),
            // Behind what is on its way.
            Err(RequestError::Busy | RequestError::NoRoom) if !engine.transmit().is_empty() => {
                self.to_say = Some((reason_code, properties));
                Ok(false)
            }
            Err(RequestError::NotConnected) => Ok(false),
            Err(error) => Err(ConnectionError::Options(error)),
        }
    }

    /// These properties, with method and data.
    fn properties(
        &self,
        properties: PropertyList,
        data: Option<&[u8]>,
    ) -> Result<PropertyList, ConnectionError> {
        let method = self.authenticator.as_deref().map_or("", Authenticator::method);
        with_method(properties, method, data)
    }
}

fn with_method(
    properties: PropertyList,
    method: &str,
    data: Option<&[u8]>,
) -> Result<PropertyList, ConnectionError> {
    let method = Utf8Str::new(method)
        .map_err(|fault| RequestError::from(EncodeError::Rule(DecodeError::String(fault))))?;
    let properties = properties.with(Property::AuthenticationMethod(method));
    Ok(match data {
        Some(data) => properties.with(Property::AuthenticationData(data)),
        None => properties,
    })
}

/// Begins the exchange of a new connection, and adds to CONNECT what it says first.
pub(crate) async fn begin(
    options: &Options,
    values: &mut ConnectValues,
) -> Result<Option<Box<dyn Exchange>>, ConnectionError> {
    let Some(authenticator) = &options.authenticator else {
        return Ok(None);
    };
    if options.version != Version::V5 {
        return Err(ConnectionError::Options(EncodeError::NotInVersion.into()));
    }
    let mut exchange = authenticator.begin();
    let data = exchange.first().await?;
    values.properties = with_method(values.properties.clone(), authenticator.method(), data.as_deref())?;
    Ok(Some(exchange))
}
