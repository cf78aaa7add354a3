//! The driver: connects, converses, and connects again, until the client is to end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt_client::{Aliases, Engine, Framer, Memory, ReceivedSlot, SendSlot, Settings, Version};
use tokio::time::{Instant, timeout_at};
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
        // Once for each client, not once for each future that hands it on.
        let options = Box::new(options);
        let run = async move {
            let guard = guard;
            let error = run(&guard.0, &options).await;
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

async fn run(shared: &Arc<Shared>, options: &Options) -> ConnectionError {
    let mut memory = Box::new(Lent::new(options));
    // Boxed, as everything that is over before there is a connection: a client that does nothing is to take little.
    let mut session = match Box::pin(begin(&mut memory, shared, options)).await {
        Ok(session) => session,
        Err(error) => return error,
    };
    let end = reconnect(&mut session, shared, options).await;
    session.settle().await;
    end
}

/// The memory that the engine and the framer work in.
struct Lent {
    transmit: Vec<u8>,
    messages: Vec<u8>,
    send: Vec<SendSlot>,
    received: Vec<ReceivedSlot>,
    receive: Vec<u8>,
    aliases: Vec<u8>,
    own_aliases: Vec<u8>,
}

impl Lent {
    fn new(options: &Options) -> Self {
        let sizes = options.memory;
        let received = match options.version {
            Version::V5 => usize::from(options.receive_maximum),
            _ => sizes.received.clamp(1, 65_535),
        };
        Self {
            transmit: vec![0; sizes.transmit],
            messages: vec![0; sizes.messages],
            send: vec![SendSlot::EMPTY; sizes.in_flight.min(16_383)],
            received: vec![ReceivedSlot::EMPTY; received],
            receive: vec![0; sizes.receive],
            aliases: vec![0; usize::from(options.topic_alias_maximum).saturating_mul(ALIAS_LEN)],
            own_aliases: vec![0; usize::from(options.topic_aliases).saturating_mul(OWN_ALIAS_LEN)],
        }
    }
}

/// A session, with what the store has of it.
async fn begin<'m>(
    lent: &'m mut Lent,
    shared: &Arc<Shared>,
    options: &Options,
) -> Result<Box<Session<'m>>, ConnectionError> {
    let memory = Memory {
        transmit: &mut lent.transmit,
        messages: &mut lent.messages,
        send: &mut lent.send,
        received: &mut lent.received,
        aliases: &mut lent.own_aliases,
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
    let mut buffer = if has_store { vec![0; options.memory.messages] } else { Vec::new() };
    let storage = Storage::open(options.store.as_ref(), &mut engine, &mut buffer).await?;
    let framer = Framer::new(&mut lent.receive, options.version);
    let aliases = Aliases::new(&mut lent.aliases, options.topic_alias_maximum);
    Ok(Box::new(Session::new(engine, framer, aliases, options, shared.clone(), storage)))
}

/// One attempt after the other, for as long as the policy says so.
async fn reconnect(session: &mut Session<'_>, shared: &Shared, options: &Options) -> ConnectionError {
    // What a hook has changed.
    let mut changed: Option<Box<ConnectValues>> = None;
    let mut last_error = None;
    let mut number = 0_u32;
    let mut server = 0_usize;
    loop {
        let Some(transport) = options.transports.get(server) else {
            return ConnectionError::Shutdown;
        };
        let values = changed.take().map_or_else(|| options.connect.clone(), |values| *values);
        let mut attempt = Box::new(Attempt::new(number, last_error.take(), values, transport.clone()));
        let deadline = now().checked_add(options.connect_timeout);
        let opened = Box::pin(open_in_time(session, &mut attempt, options, deadline)).await;
        if options.before_connect.is_some() {
            changed = Some(Box::new(attempt.values));
        } else {
            drop(attempt);
        }
        let (accepted, error) = match opened {
            Ok(opened) => session.converse(opened, options, deadline).await,
            Err(error) => (false, error),
        };
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
        if let Err(end) = Box::pin(session.wait(tokio::time::sleep(delay))).await {
            return end;
        }
    }
}

/// A carrier that is open, and what CONNECT is to say on it.
pub(crate) struct Opened {
    pub(crate) carrier: Box<dyn Carrier>,
    pub(crate) values: Box<ConnectValues>,
    pub(crate) exchange: Option<Box<dyn Exchange>>,
}

async fn open_in_time(
    session: &mut Session<'_>,
    attempt: &mut Attempt,
    options: &Options,
    deadline: Option<Instant>,
) -> Result<Opened, ConnectionError> {
    let open = open(attempt, options);
    match deadline {
        Some(deadline) => {
            let opened = session.wait(timeout_at(deadline, open)).await?;
            opened.unwrap_or(Err(ConnectionError::ConnectTimeout))
        }
        None => session.wait(open).await?,
    }
}

/// Asks the hook, begins the authentication, and opens the carrier.
async fn open(attempt: &mut Attempt, options: &Options) -> Result<Opened, ConnectionError> {
    if let Some(hook) = &options.before_connect {
        hook.before_connect(attempt).await?;
    }
    let mut values = Box::new(attempt.values.clone());
    let exchange = authentication::begin(options, &mut values).await?;
    tracing::debug!(transport = ?attempt.transport, number = attempt.number, "connecting");
    Ok(Opened { carrier: attempt.transport.connect().await?, values, exchange })
}
