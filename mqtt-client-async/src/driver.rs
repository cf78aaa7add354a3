//! The driver: connects, converses, and connects again, until the client is to end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt_client::{Aliases, Engine, Framer, Memory, ReceivedSlot, SendSlot, Settings, Version};
use tokio::time::timeout_at;
use tracing::Instrument;

use crate::authentication::{self, Exchange};
use crate::error::ConnectionError;
use crate::event::Event;
use crate::options::{ConnectValues, Options};
use crate::reconnect::Attempt;
use crate::session::{Session, now};
use crate::shared::Shared;
use crate::storage::Storage;
use crate::transport::Carrier;

/// How much memory each Topic Alias of the server has, for topics of up to 254 bytes; and each of ours.
const ALIAS_LEN: usize = 256;
const OWN_ALIAS_LEN: usize = 64;

/// The future that does the work of a client: it owns the connection. It must be polled for anything to happen, and is
/// ready when the client has ended, with the reason; [`ConnectionError::Shutdown`] is the good one. Dropping it closes
/// the connection at once, without DISCONNECT, and ends everything that waits.
#[must_use = "nothing happens unless it is polled"]
pub struct Driver(Pin<Box<dyn Future<Output = ConnectionError> + Send>>);

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, options: Options) -> Self {
        let span = tracing::info_span!("mqtt", client_id = options.connect.client_id);
        let guard = Guard(shared.clone());
        let run = async move {
            let guard = guard;
            let error = run(&guard.0, options).await;
            tracing::info!(%error, "client ended");
            guard.0.end(error.clone());
            error
        };
        Self(Box::pin(run.instrument(span)))
    }
}

impl Future for Driver {
    type Output = ConnectionError;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Whatever becomes of the driver, nobody is left waiting.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        // Without effect where it has ended in good order.
        self.0.end(ConnectionError::DriverDropped);
    }
}

async fn run(shared: &Arc<Shared>, options: Options) -> ConnectionError {
    let sizes = options.memory;
    let received = match options.version {
        Version::V5 => usize::from(options.receive_maximum),
        _ => sizes.received.clamp(1, 65_535),
    };
    let mut transmit = vec![0; sizes.transmit];
    let mut messages = vec![0; sizes.messages];
    let mut send = vec![SendSlot::EMPTY; sizes.in_flight.min(16_383)];
    let mut received = vec![ReceivedSlot::EMPTY; received];
    let mut receive = vec![0; sizes.receive];
    let mut aliases = vec![0; usize::from(options.topic_alias_maximum).saturating_mul(ALIAS_LEN)];
    let mut own_aliases = vec![0; usize::from(options.topic_aliases).saturating_mul(OWN_ALIAS_LEN)];
    let memory = Memory {
        transmit: &mut transmit,
        messages: &mut messages,
        send: &mut send,
        received: &mut received,
        aliases: &mut own_aliases,
    };
    let mut settings = Settings::new(options.version);
    settings.response_timeout = options.response_timeout.into();
    // The streams decide when a message is taken.
    settings.manual_acknowledgement = true;
    let has_store = options.store.is_some();
    settings.durable = has_store;
    // What the store does not have of it is nothing.
    settings.assume_session = options.assume_session || has_store;
    let mut engine = Engine::new(memory, settings);
    let mut buffer = if has_store { vec![0; sizes.messages] } else { Vec::new() };
    let storage = match Storage::open(options.store.as_ref(), &mut engine, &mut buffer).await {
        Ok(storage) => storage,
        Err(error) => return error.into(),
    };
    drop(buffer);
    let framer = Framer::new(&mut receive, options.version);
    let aliases = Aliases::new(&mut aliases, options.topic_alias_maximum);
    let mut session = Session::new(engine, framer, aliases, &options, shared.clone(), storage);
    let end = reconnect(&mut session, shared, &options).await;
    session.settle().await;
    end
}

/// One attempt after the other, for as long as the policy says so.
async fn reconnect(session: &mut Session<'_>, shared: &Shared, options: &Options) -> ConnectionError {
    let mut values = options.connect.clone();
    let mut last_error = None;
    let mut number = 0_u32;
    let mut server = 0_usize;
    loop {
        let Some(transport) = options.transports.get(server) else {
            return ConnectionError::Shutdown;
        };
        let mut attempt = Attempt::new(number, last_error.take(), values, transport.clone());
        let (accepted, error) = connect(session, &mut attempt, options).await;
        values = attempt.values;
        if session.is_over() {
            return error;
        }
        tracing::warn!(%error, "not connected");
        shared.emit(&Event::Disconnected(error.clone()));
        if accepted {
            number = 0;
        } else {
            server = server.saturating_add(1).checked_rem(options.transports.len()).unwrap_or(0);
        }
        number = number.saturating_add(1);
        let delay = options.reconnect.as_ref().and_then(|policy| policy.next_delay(number, &error));
        let Some(delay) = delay else {
            return error;
        };
        shared.emit(&Event::Waiting { attempt: number, delay });
        last_error = Some(error);
        if let Err(end) = session.wait(tokio::time::sleep(delay)).await {
            return end;
        }
    }
}

/// One attempt, and the connection if there is one. Whether it was accepted, and why it ended.
async fn connect(
    session: &mut Session<'_>,
    attempt: &mut Attempt,
    options: &Options,
) -> (bool, ConnectionError) {
    let deadline = now().checked_add(options.connect_timeout);
    let mut values = attempt.values.clone();
    let open = open(attempt, &mut values, options);
    let opened = match deadline {
        Some(deadline) => session.wait(timeout_at(deadline, open)).await,
        None => session.wait(async { Ok(open.await) }).await,
    };
    let (mut carrier, exchange) = match opened {
        Ok(Ok(Ok(opened))) => opened,
        Ok(Ok(Err(error))) | Err(error) => return (false, error),
        Ok(Err(_)) => return (false, ConnectionError::ConnectTimeout),
    };
    session.authentication.opened(exchange);
    session.converse(&mut *carrier, &values, options, deadline).await
}

type Opened = (Box<dyn Carrier>, Option<Box<dyn Exchange>>);

/// Asks the hook, begins the authentication, and opens the carrier. `values` is what CONNECT will say.
async fn open(
    attempt: &mut Attempt,
    values: &mut ConnectValues,
    options: &Options,
) -> Result<Opened, ConnectionError> {
    if let Some(hook) = &options.before_connect {
        hook.before_connect(attempt).await?;
        values.clone_from(&attempt.values);
    }
    let exchange = authentication::begin(options, values).await?;
    tracing::debug!(transport = ?attempt.transport, number = attempt.number, "connecting");
    Ok((attempt.transport.connect().await?, exchange))
}
