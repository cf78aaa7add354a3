//! One session and its connections: drives the engine by its contract, between a carrier and what handles share.
//!
//! Nothing here waits for an application: what a stream does not take is held or dropped by the stream's policy, and
//! messages are taken from the queue only as the engine takes them. Acknowledgements and pings are the engine's and go
//! first.

mod requests;
mod trace;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use mqtt_client::system::Pace;
use mqtt_client::{Aliases, Engine, Event as EngineEvent, Framer, Instant as EngineInstant};
use mqtt_packet::{EncodeError, Piece, Properties, ReasonCode};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

use crate::authentication::{Authentication, ReauthenticateError};
use crate::desk::Desk;
use crate::driver::Opened;
use crate::error::ConnectionError;
use crate::options::Options;
use crate::shared::{Close, Inbox, Shared};
use crate::storage::Storage;
use crate::transport::{self, Carrier};

/// From this length on a payload is written from where it lies, without a copy.
const LARGE: usize = 16 << 10;
/// For how long what comes gathers where much does: the resolution of tokio's timers.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// The engine's clock.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(now())
    }

    /// What the engine's clock shows then.
    fn show(self, now: Instant) -> EngineInstant {
        // It may wrap.
        EngineInstant::from_millis(now.saturating_duration_since(self.0).as_millis() as u32)
    }
}

/// The time. This is the shell: the one place below which nobody asks.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How the session is to end.
enum Closing {
    Drain {
        deadline: Instant,
    },
    Disconnect(Close),
    /// DISCONNECT was queued.
    Said,
    Abort,
}

/// A timer that is set as rarely as possible: deadlines move with every packet, mostly into the future.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Timer {
    fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(now())), armed: None }
    }

    /// Whether `deadline`, or an earlier one that was asked for before, has passed.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            return false;
        };
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.sleep.as_mut().reset(deadline);
            self.armed = Some(deadline);
        }
        let is_over = self.sleep.as_mut().poll(cx).is_ready();
        if is_over {
            self.armed = None;
        }
        is_over
    }
}

pub(crate) struct Session<'b> {
    engine: Engine<'b>,
    framer: Framer<'b>,
    aliases: Aliases<'b>,
    desk: Desk,
    shared: Arc<Shared>,
    inbox: Inbox,
    clock: Clock,
    timer: Timer,
    closing: Option<Closing>,
    /// The carrier has taken no byte since; `None` where there is nothing to write.
    stalled_since: Option<Instant>,
    needs_flush: bool,
    /// Whether there is more to deal with after the turn of who receives.
    is_turn_over: bool,
    /// The large payload that is being written, and what counts as large.
    payload: Bytes,
    large: usize,
    trace: trace::Trace,
    write_timeout: std::time::Duration,
    /// Messages are offered to the engine again when no more than so many are in flight.
    resume_at: usize,
    /// When the attempt to connect is over.
    connect_deadline: Option<Instant>,
    pace: Pace,
    pub(crate) authentication: Authentication,
    pub(crate) storage: Storage,
}

impl<'b> Session<'b> {
    pub(crate) fn new(
        engine: Engine<'b>,
        framer: Framer<'b>,
        aliases: Aliases<'b>,
        options: &Options,
        shared: Arc<Shared>,
        mut storage: Storage,
    ) -> Self {
        Self {
            engine,
            framer,
            aliases,
            desk: Desk::new(shared.clone(), options, core::mem::take(&mut storage.restored)),
            shared,
            inbox: Inbox::default(),
            clock: Clock::new(),
            timer: Timer::new(),
            closing: None,
            stalled_since: None,
            needs_flush: false,
            is_turn_over: false,
            payload: Bytes::new(),
            large: match &options.store {
                None => LARGE.min(options.memory.transmit / 4).min(options.memory.messages / 4),
                // All of it is kept.
                Some(_) => usize::MAX,
            },
            trace: trace::Trace::new(options.version),
            write_timeout: options.write_timeout,
            resume_at: usize::MAX,
            connect_deadline: None,
            pace: Pace::new(if options.low_latency { std::time::Duration::ZERO } else { PAUSE }),
            authentication: Authentication::new(options.authenticator.clone()),
            storage,
        }
    }

    /// One connection from CONNECT to its end. Whether it was accepted, and why it ended.
    pub(crate) async fn converse(
        &mut self,
        opened: Opened,
        options: &Options,
        deadline: Option<Instant>,
    ) -> (bool, ConnectionError) {
        let Opened { mut carrier, values, exchange } = opened;
        let carrier = &mut *carrier;
        self.authentication.opened(exchange);
        self.framer.reset();
        self.trace.begin();
        let time = self.clock.show(now());
        let asked = values.with_options(options, |connect| self.engine.connect(time, connect));
        // CONNECT has all of them.
        drop(values);
        let asked = asked.unwrap_or_else(|rule| Err(EncodeError::Rule(rule).into()));
        if let Err(error) = asked {
            return (false, ConnectionError::Options(error));
        }
        self.connect_deadline = deadline;
        let error = std::future::poll_fn(|cx| self.poll_connection(cx, carrier)).await;
        let accepted = self.desk.is_connected();
        if matches!(error, ConnectionError::Authentication(_)) {
            // Not content with the server. Before CONNACK there is no DISCONNECT.
            let time = self.clock.show(now());
            let _ = self.engine.disconnect(time, ReasonCode::BAD_AUTHENTICATION_METHOD, Properties::EMPTY);
        }
        if !matches!(self.closing, Some(Closing::Abort)) {
            // The last words, and the end of the stream, for as long as it takes no waiting.
            std::future::poll_fn(|cx| {
                self.last_words(cx, carrier);
                Poll::Ready(())
            })
            .await;
        }
        self.end_connection();
        (accepted, error)
    }

    fn end_connection(&mut self) {
        self.engine.handle_closed();
        self.desk.disconnected();
        self.authentication.end();
        self.complete();
        self.shared.set_connected(false);
        self.stalled_since = None;
        self.needs_flush = false;
        self.payload = Bytes::new();
        self.connect_deadline = None;
        self.resume_at = usize::MAX;
    }

    /// Goes on for as long as there is something to do; ready when the connection has ended.
    fn poll_connection(&mut self, cx: &mut Context<'_>, carrier: &mut dyn Carrier) -> Poll<ConnectionError> {
        loop {
            match self.step(cx, carrier) {
                // Who receives has its turn while the messages are in the processor's cache. What acknowledges them goes
                // first: the server awakes meanwhile, and is ready for what the receiver answers.
                Ok(true) if self.desk.take_delivered() => {
                    if let Err(error) = self.write(cx, carrier, now()) {
                        return Poll::Ready(self.desk.end_reason(error));
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(error) => return Poll::Ready(self.desk.end_reason(error)),
            }
        }
    }

    /// Takes what waits for the driver, and tells how the connection stands.
    fn take_inbox(&mut self) {
        self.inbox.send_quota = self.engine.send_quota();
        self.inbox.unacknowledged = self.engine.unacknowledged();
        self.shared.take(&mut self.inbox);
    }

    /// Everything that can be done now, once. False where the rest waits for somebody who will wake us.
    fn step(&mut self, cx: &mut Context<'_>, carrier: &mut dyn Carrier) -> Result<bool, ConnectionError> {
        let now = now();
        self.take_inbox();
        self.desk.is_over = self.inbox.is_over;
        let mut progress = self.take_requests(now)?;
        progress |= self.authentication.poll(cx, &mut self.engine, self.clock.show(now))?;
        progress |= self.storage.poll(cx, &mut self.engine)?;
        progress |= self.write(cx, carrier, now)?;
        progress |= self.complete();
        if self.engine.wants_close() {
            return Err(ConnectionError::ClosedByServer);
        }
        progress |= self.read(cx, carrier, now)?;
        progress |= self.complete();
        progress |= self.pass_time(cx, now)?;
        if progress {
            return Ok(true);
        }
        Ok(!self.shared.sleep_driver(cx.waker(), self.inbox.publishes.is_empty()))
    }

    /// Waits without a connection, until `until` is done. `Err` where the client is to end.
    pub(crate) async fn wait<R>(&mut self, until: impl Future<Output = R>) -> Result<R, ConnectionError> {
        let mut until = std::pin::pin!(until);
        std::future::poll_fn(|cx| {
            if let Err(error) = self.step_offline(cx) {
                return Poll::Ready(Err(error));
            }
            until.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Waits until what changed is safe.
    pub(crate) async fn settle(&mut self) {
        std::future::poll_fn(|cx| match self.storage.poll(cx, &mut self.engine) {
            Ok(_) if self.storage.is_busy() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Whether the client is to end rather than to connect again.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.closing, Some(Closing::Said | Closing::Abort))
    }

    /// Whether everything that was taken has arrived; with a store also what an earlier run took.
    fn is_drained(&self) -> bool {
        let is_stored = self.storage.is_on() && (self.storage.is_busy() || !self.engine.is_idle());
        !is_stored && self.shared.lock().is_drained()
    }

    fn step_offline(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        loop {
            self.take_inbox();
            // Of a connection that has ended.
            self.inbox.released.clear();
            for awaiting in self.inbox.reauthentications.drain(..) {
                let _ = awaiting.send(Err(ReauthenticateError::NotConnected));
            }
            if self.storage.is_on() {
                self.take_publishes();
            }
            self.storage.poll(cx, &mut self.engine)?;
            self.complete();
            self.take_close();
            let now = now();
            let deadline = match self.closing {
                Some(Closing::Drain { deadline }) if now < deadline && !self.is_drained() => Some(deadline),
                Some(_) => return Err(ConnectionError::Shutdown),
                None => None,
            };
            let deadline = earlier(deadline, self.inbox.next_deadline);
            let is_over = self.timer.poll(cx, deadline);
            if is_over {
                self.desk.expire(now);
            } else if self.shared.sleep_driver(cx.waker(), self.inbox.publishes.is_empty()) {
                return Ok(());
            }
        }
    }

    /// Writes until the carrier takes no more.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        carrier: &mut dyn Carrier,
        now: Instant,
    ) -> Result<bool, ConnectionError> {
        let mut progress = false;
        loop {
            let payload_left = self.engine.payload_left() as usize;
            let mut bytes = self.engine.transmit();
            if bytes.is_empty() && payload_left > 0 {
                let start = self.payload.len().saturating_sub(payload_left);
                bytes = self.payload.get(start..).unwrap_or_default();
            }
            if bytes.is_empty() {
                self.stalled_since = None;
                if self.needs_flush && Pin::new(&mut *carrier).poll_flush(cx)?.is_ready() {
                    self.needs_flush = false;
                }
                return Ok(progress);
            }
            match Pin::new(&mut *carrier).poll_write(cx, bytes)? {
                Poll::Ready(0) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
                Poll::Ready(n) => {
                    self.trace.written(bytes.get(..n).unwrap_or_default());
                    self.engine.transmitted(self.clock.show(now), n);
                    self.stalled_since = None;
                    self.needs_flush = true;
                    progress = true;
                }
                Poll::Pending => {
                    self.stalled_since.get_or_insert(now);
                    return Ok(progress);
                }
            }
        }
    }

    /// Reads once, and deals with all that is whole.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        carrier: &mut dyn Carrier,
        now: Instant,
    ) -> Result<bool, ConnectionError> {
        let mut progress = self.handle_pieces(now)?;
        if self.is_turn_over {
            return Ok(true);
        }
        let pauses = self.closing.is_none() && self.pace.pause(now.into_std()).is_some();
        // Not where a write waits for room.
        if pauses && self.stalled_since.is_none() && !self.needs_flush {
            transport::rest(carrier)?;
        }
        if !self.engine.can_receive() || self.desk.is_over || pauses {
            return Ok(progress);
        }
        let mut buffer = ReadBuf::new(self.framer.spare());
        match Pin::new(&mut *carrier).poll_read(cx, &mut buffer)? {
            Poll::Ready(()) => {
                let (n, is_all) = (buffer.filled().len(), buffer.remaining() > 0);
                if n == 0 {
                    return Err(ConnectionError::ClosedByServer);
                }
                self.framer.filled(n);
                self.pace.read(now.into_std(), n, is_all);
                self.engine.heard(self.clock.show(now));
                self.handle_pieces(now)?;
                progress = true;
            }
            Poll::Pending => {}
        }
        Ok(progress)
    }

    /// Deals with all that is whole, or as much of it as is enough for a turn.
    fn handle_pieces(&mut self, now: Instant) -> Result<bool, ConnectionError> {
        let result = self.handle_some(now);
        let has_enough = self.desk.has_enough();
        let has_placed = self.desk.flush(&mut self.engine);
        self.is_turn_over = has_enough && has_placed;
        Ok(result? || has_placed)
    }

    fn handle_some(&mut self, now: Instant) -> Result<bool, ConnectionError> {
        let mut progress = false;
        let time = self.clock.show(now);
        while self.engine.can_receive() && !self.desk.is_over && !self.desk.has_enough() {
            match self.framer.ready() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(self.engine.handle_malformed(error).into()),
            }
            // It stays where it is made: to move it costs more than to make it.
            let next = self.framer.next();
            let (piece, body) = match &next {
                Some(piece @ Piece::Packet(frame)) => (piece, frame.body()),
                Some(piece) => (piece, <&[u8]>::default()),
                None => break,
            };
            progress = true;
            self.trace.received(piece);
            let mut event = None;
            self.engine.handle_into(time, piece, &mut self.aliases, &mut event)?;
            match &event {
                None => {}
                Some(EngineEvent::Auth(auth)) => self.authentication.heard(auth)?,
                Some(EngineEvent::Connected(connected)) => {
                    let data = connected.properties.authentication_data();
                    self.authentication.finish(data)?;
                    self.connect_deadline = None;
                    self.desk.connected(connected, &mut self.inbox.control);
                }
                Some(event) => self.desk.handle(&mut self.engine, event, body),
            }
        }
        Ok(progress)
    }

    /// Tells the desk what became of requests.
    fn complete(&mut self) -> bool {
        self.desk.complete(&mut self.engine, &mut self.inbox.control)
    }

    fn pass_time(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, ConnectionError> {
        let time = self.clock.show(now);
        let mut deadline = self.inbox.next_deadline;
        if let Some(next) = self.engine.next_timeout() {
            deadline = earlier(deadline, now.checked_add(next.since(time).into()));
        }
        let stalled = self.stalled_since.and_then(|since| since.checked_add(self.write_timeout));
        deadline = earlier(earlier(deadline, stalled), self.connect_deadline);
        deadline = earlier(deadline, self.pace.pause(now.into_std()).map(Instant::from_std));
        if let Some(Closing::Drain { deadline: end }) = self.closing {
            deadline = earlier(deadline, Some(end));
        }
        if !self.timer.poll(cx, deadline) {
            return Ok(false);
        }
        let now = self::now();
        self.engine.handle_timeout(self.clock.show(now))?;
        self.desk.expire(now);
        let has_passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if has_passed(self.connect_deadline) {
            return Err(ConnectionError::ConnectTimeout);
        }
        if has_passed(stalled) && self.stalled_since.is_some() {
            return Err(ConnectionError::WriteTimeout);
        }
        Ok(true)
    }

    /// Writes what is left as far as that needs no waiting, and ends the stream.
    fn last_words(&mut self, cx: &mut Context<'_>, carrier: &mut dyn Carrier) {
        let _ = self.write(cx, carrier, now());
        let _ = Pin::new(carrier).poll_shutdown(cx);
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
