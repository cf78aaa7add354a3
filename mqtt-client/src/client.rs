//! The blocking client: an [`Engine`] with a transport and a clock.
//!
//! Every call that waits has a bound, and a bound that is reached in the middle of a packet loses nothing: the next call
//! goes on where it stopped. There are no callbacks into the client: what comes is the return value of
//! [`poll`](Client::poll), or is shown to a closure that gets the engine and can publish, and cannot wait.

use crate::engine::{Engine, TOLD};
use crate::error::{ClientError, ProtocolError, RequestError};
use crate::event::{Connected, Event, Outcome, Receipt, Ticket};
use crate::memory::Memory;
use crate::message::Message;
use crate::network::Network;
use crate::options::{ConnectOptions, Settings};
#[cfg(feature = "store")]
use crate::store::{LoadError, load};
use crate::store::{NoStore, Store, save};
use crate::time::{Duration, Instant};
use crate::timer::Timer;
use crate::topic_alias::Aliases;
use mqtt_packet::{Framer, PacketType, Properties, Publish, QoS, ReasonCode, SubscribeFilter, TopicFilter};

/// How long one direction is waited for while there is work in the other one, too.
const TURN: Duration = Duration::from_millis(10);

/// A blocking client over a [`Network`] and a [`Timer`].
#[derive(Debug)]
#[repr(C)]
pub struct Client<'b, N, T, S = NoStore> {
    engine: Engine<'b>,
    framer: Framer<'b>,
    aliases: Aliases<'b>,
    network: N,
    timer: T,
    store: S,
}

type Result<O, N> = core::result::Result<O, ClientError<<N as Network>::Error>>;

impl<'b, N: Network, T: Timer> Client<'b, N, T, NoStore> {
    /// A client over a transport that is connected, or will be before [`connect`](Self::connect).
    ///
    /// `receive` takes what comes from the network: every packet but a large PUBLISH must fit, 128 bytes do for a small
    /// device, and all that fits at once is read at once. `aliases` are for topics of the server;
    /// [`Aliases::none`] is well.
    pub fn new(
        network: N,
        timer: T,
        memory: Memory<'b>,
        receive: &'b mut [u8],
        aliases: Aliases<'b>,
        settings: Settings,
    ) -> Self {
        Self {
            engine: Engine::new(memory, settings),
            framer: Framer::new(receive, settings.version),
            aliases,
            network,
            timer,
            store: NoStore,
        }
    }

    #[cfg(feature = "store")]
    /// The same with a session that is kept in a store, and that is taken over from it if there is one. `buffer` must
    /// hold the longest message of that session. [`Settings::durable`] must be set.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn with_store<S: Store>(
        mut self,
        mut store: S,
        buffer: &mut [u8],
    ) -> core::result::Result<Client<'b, N, T, S>, LoadError<S::Error>> {
        load(&mut self.engine, &mut store, buffer)?;
        let Self { engine, framer, aliases, network, timer, .. } = self;
        Ok(Client { engine, framer, aliases, network, timer, store })
    }
}

impl<'b, N: Network, T: Timer, S: Store> Client<'b, N, T, S> {
    /// The engine, for whatever the client has no call of its own for.
    pub const fn engine(&mut self) -> &mut Engine<'b> {
        &mut self.engine
    }

    /// The transport.
    pub const fn network(&mut self) -> &mut N {
        &mut self.network
    }

    /// The store.
    pub const fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Whether the connection is open.
    pub const fn is_connected(&self) -> bool {
        self.engine.is_connected()
    }

    /// Opens the connection: CONNECT and CONNACK. An earlier one on this transport is taken as lost.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the server's reason; whatever ends a connection; [`ClientError::Timeout`].
    pub fn connect(&mut self, options: &ConnectOptions<'_>, timeout: Duration) -> Result<Connected<'_>, N> {
        let deadline = self.timer.now().after(timeout);
        self.begin_connect(options)?;
        if !self.wait_for_piece(deadline, false)? {
            return Err(self.broken(ClientError::Timeout));
        }
        match self.take_piece()? {
            Some((Event::Connected(connected), _)) => Ok(connected),
            Some((Event::Refused(connack), _)) => Err(ClientError::Refused(connack.reason_code)),
            _ => Err(ClientError::Protocol(ProtocolError::Unexpected(PacketType::Auth))),
        }
    }

    /// Queues CONNECT only: [`poll`](Self::poll) then brings [`Event::Connected`] or [`Event::Refused`], and before
    /// them the [`Event::Auth`]s of an extended authentication.
    ///
    /// # Errors
    /// [`ClientError::Request`].
    pub fn begin_connect(&mut self, options: &ConnectOptions<'_>) -> Result<(), N> {
        if !self.engine.is_disconnected() {
            self.engine.handle_closed();
        }
        self.framer.reset();
        let now = self.timer.now();
        Ok(self.engine.connect(now, options)?)
    }

    /// Goes on over another transport, with the session where it was.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn reconnect(
        &mut self,
        network: N,
        options: &ConnectOptions<'_>,
        timeout: Duration,
    ) -> Result<Connected<'_>, N> {
        self.network = network;
        self.connect(options, timeout)
    }

    /// Leaves with DISCONNECT and closes the transport. What was published at QoS 1 and 2 and is not acknowledged stays
    /// in the session, if that outlives the connection.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] where the rest could not be written in time; the transport is closed all the same.
    pub fn disconnect(&mut self, timeout: Duration) -> Result<(), N> {
        let now = self.timer.now();
        self.engine.disconnect(now, ReasonCode::SUCCESS, Properties::EMPTY)?;
        let result = self.flush_until(now.after(timeout));
        self.close();
        if result? { Ok(()) } else { Err(ClientError::Timeout) }
    }

    /// Publishes a message: takes it and writes as much as the transport takes at once. The ticket's outcome comes as
    /// [`Event::Completed`] or from [`wait`](Self::wait).
    ///
    /// # Errors
    /// [`ClientError::Request`], with [`RequestError::Busy`] where too much is in flight: poll, then ask again.
    pub fn publish(&mut self, message: &Message<'_>) -> Result<Ticket, N> {
        let ticket = self.enqueue(message)?;
        self.flush(TURN)?;
        Ok(ticket)
    }

    #[cfg(feature = "streaming")]
    /// Publishes a message that may be larger than all memory: its payload is written straight from where it lies. The
    /// call waits until it is written whole, or until the transport takes nothing for the response timeout, which ends
    /// the connection. At QoS 1 and 2 the payload may be asked for once more later, see
    /// [`Engine::payload_wanted`].
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and whatever ends the connection.
    pub fn publish_in_place(&mut self, message: &Message<'_>) -> Result<Ticket, N> {
        let mut payload = message.payload;
        let ticket = self.begin_publish(message, u32::try_from(payload.len()).unwrap_or(u32::MAX))?;
        let patience = self.engine.response_timeout();
        while !payload.is_empty() {
            match self.write_payload(payload, patience)? {
                // Half a packet is the end of the connection.
                0 => return Err(self.broken(ClientError::Timeout)),
                n => payload = payload.get(n..).unwrap_or_default(),
            }
        }
        Ok(ticket)
    }

    #[cfg(feature = "streaming")]
    /// Begins a message whose payload of `payload_len` bytes follows by [`write_payload`](Self::write_payload), all of
    /// it, before anything else can be published.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn begin_publish(&mut self, message: &Message<'_>, payload_len: u32) -> Result<Ticket, N> {
        let result = match self.engine.begin_publish(message, payload_len) {
            Err(RequestError::Busy) => {
                self.flush(TURN)?;
                self.engine.begin_publish(message, payload_len)
            }
            result => result,
        };
        Ok(result?)
    }

    #[cfg(feature = "streaming")]
    /// Writes the next bytes of the payload that was begun, at most for `timeout`; returns how many were taken.
    ///
    /// # Errors
    /// Whatever ends the connection.
    pub fn write_payload(&mut self, bytes: &[u8], timeout: Duration) -> Result<usize, N> {
        let deadline = self.timer.now().after(timeout);
        if !self.flush_until(deadline)? {
            return Ok(0);
        }
        let left = self.engine.payload_left() as usize;
        let bytes = bytes.get(..left).unwrap_or(bytes);
        loop {
            let now = self.timer.now();
            match self.network.write(bytes, deadline.since(now)) {
                Ok(0) if !bytes.is_empty() && !self.timer.now().is_at_or_after(deadline) => {}
                Ok(n) => {
                    self.engine.payload_written(now, n);
                    return Ok(n);
                }
                Err(error) => return Err(self.broken(ClientError::Network(error))),
            }
        }
    }

    /// Publishes a message without writing it: it leaves with the next call that writes, together with others, which
    /// is what makes many small messages fast. Where a message of QoS 0 finds the memory for transmission full, that is
    /// written first.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn enqueue(&mut self, message: &Message<'_>) -> Result<Ticket, N> {
        // At QoS 1 and 2, room comes with an acknowledgement, and where outcomes of QoS 0 were not asked for, with asking:
        // to write now would be a call for each message.
        let mut can_make_room = message.qos == QoS::AtMostOnce;
        loop {
            match self.engine.publish(message) {
                Err(RequestError::Busy) if can_make_room && self.engine.has_ticket() => {
                    self.flush(TURN)?;
                    can_make_room = false;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Publishes a message and waits for its outcome; other events go to `on_event`.
    ///
    /// # Errors
    /// As [`publish`](Self::publish) and [`wait`](Self::wait).
    pub fn publish_and_wait(
        &mut self,
        message: &Message<'_>,
        timeout: Duration,
        on_event: impl FnMut(Event<'_>, &mut Engine<'b>),
    ) -> Result<Outcome, N> {
        let ticket = self.publish(message)?;
        self.wait(ticket, timeout, on_event)
    }

    /// Asks for subscriptions, each with its options. [`wait`](Self::wait) for the ticket, or for [`Event::Granted`]
    /// with a reason code for each filter.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn subscribe(&mut self, filters: &[SubscribeFilter<'_>]) -> Result<Ticket, N> {
        let ticket = self.engine.subscribe(filters, Properties::EMPTY)?;
        self.flush(TURN)?;
        Ok(ticket)
    }

    /// Asks for the end of subscriptions.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn unsubscribe(&mut self, filters: &[TopicFilter<'_>]) -> Result<Ticket, N> {
        let ticket = self.engine.unsubscribe(filters, Properties::EMPTY)?;
        self.flush(TURN)?;
        Ok(ticket)
    }

    /// Accepts a received message by hand, see [`Engine::accept`]; the acknowledgement leaves with the next call that
    /// writes.
    ///
    /// # Errors
    /// [`RequestError::Stale`].
    pub fn accept(&mut self, receipt: Receipt) -> Result<(), N> {
        Ok(self.engine.accept(receipt, ReasonCode::SUCCESS)?)
    }

    /// Waits for the outcome of a request; what else happens meanwhile goes to `on_event`, the outcomes of others as
    /// [`Event::Completed`].
    ///
    /// # Errors
    /// Whatever ends the connection, before the outcome was there: it comes later, or with the next connection.
    /// [`ClientError::Timeout`]: nothing is lost, it may be waited for again.
    pub fn wait(
        &mut self,
        ticket: Ticket,
        timeout: Duration,
        mut on_event: impl FnMut(Event<'_>, &mut Engine<'b>),
    ) -> Result<Outcome, N> {
        let deadline = self.timer.now().after(timeout);
        if !TOLD && ticket.packet_id().is_none() {
            return if self.flush_until(deadline)? {
                Ok(Outcome::Written)
            } else {
                Err(ClientError::Timeout)
            };
        }
        loop {
            while let Some((done, outcome)) = self.engine.poll_completion() {
                if done == ticket {
                    return Ok(outcome);
                }
                on_event(Event::Completed(done, outcome), &mut self.engine);
            }
            if self.wait_for_piece(deadline, true)? {
                if let Some((event, engine)) = self.take_piece()? {
                    on_event(event, engine);
                }
            } else if !self.engine.has_completion() {
                return Err(ClientError::Timeout);
            }
        }
    }

    /// Waits until something happens, at most for `timeout`; see [`poll_until`](Self::poll_until).
    ///
    /// # Errors
    /// Whatever ends the connection.
    pub fn poll<'c>(&'c mut self, timeout: Duration) -> Result<Option<(Event<'c>, &'c mut Engine<'b>)>, N> {
        let deadline = self.timer.now().after(timeout);
        self.poll_until(deadline)
    }

    /// Waits until something happens, at most until `deadline`, and sees to keep alive, acknowledgements and replay
    /// meanwhile. Returns the event and the engine, so that a message can be answered while it is held; `None` where
    /// nothing of interest happened in this turn, which may be before the deadline.
    ///
    /// # Errors
    /// Whatever ends the connection, once; then [`RequestError::NotConnected`].
    pub fn poll_until<'c>(
        &'c mut self,
        deadline: Instant,
    ) -> Result<Option<(Event<'c>, &'c mut Engine<'b>)>, N> {
        if let Some((ticket, outcome)) = self.engine.poll_completion() {
            return Ok(Some((Event::Completed(ticket, outcome), &mut self.engine)));
        }
        if !self.wait_for_piece(deadline, true)? {
            return Ok(match self.engine.poll_completion() {
                Some((ticket, outcome)) => Some((Event::Completed(ticket, outcome), &mut self.engine)),
                None => None,
            });
        }
        self.take_piece()
    }

    /// Takes what has arrived already, without waiting; see [`poll_until`](Self::poll_until).
    ///
    /// # Errors
    /// Whatever ends the connection.
    pub fn try_recv<'c>(&'c mut self) -> Result<Option<(Event<'c>, &'c mut Engine<'b>)>, N> {
        self.poll(Duration::ZERO)
    }

    /// Waits for the next message, at most for `timeout`. Other events are passed over, outcomes stay where they are.
    /// `None` when time is up; also where a repeat was passed over.
    ///
    /// # Errors
    /// Whatever ends the connection.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<(Publish<'_>, Option<Receipt>)>, N> {
        let deadline = self.timer.now().after(timeout);
        loop {
            if !self.wait_for_piece(deadline, false)? {
                return Ok(None);
            }
            if self.framer.peek() == Some(PacketType::Publish) {
                break;
            }
            self.take_piece()?;
        }
        Ok(match self.take_piece()? {
            Some((Event::Message { publish, receipt }, _)) => Some((publish, receipt)),
            _ => None,
        })
    }

    /// Runs the connection until `deadline`, or until `on_event` returns something.
    ///
    /// # Errors
    /// Whatever ends the connection.
    pub fn run_until<R>(
        &mut self,
        deadline: Instant,
        mut on_event: impl FnMut(Event<'_>, &mut Engine<'b>) -> Option<R>,
    ) -> Result<Option<R>, N> {
        loop {
            if let Some((event, engine)) = self.poll_until(deadline)? {
                if let Some(result) = on_event(event, engine) {
                    return Ok(Some(result));
                }
            } else if self.timer.now().is_at_or_after(deadline) {
                return Ok(None);
            }
        }
    }

    /// Until when the application may sleep without [`poll`](Self::poll)ing, if nothing arrives: the engine's next
    /// deadline; `None` for ever.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.engine.next_timeout()
    }

    /// Writes what waits for transmission, at most for `timeout`; whether all of it was written.
    ///
    /// # Errors
    /// Whatever ends the connection.
    pub fn flush(&mut self, timeout: Duration) -> Result<bool, N> {
        self.save()?;
        if self.engine.transmit().is_empty() {
            return Ok(true);
        }
        let deadline = self.timer.now().after(timeout);
        self.flush_until(deadline)
    }

    /// What is to be transmitted may promise what must be safe first.
    fn save(&mut self) -> Result<(), N> {
        if S::KEEPS && save(&mut self.engine, &mut self.store).is_err() {
            return Err(self.broken(ClientError::Store));
        }
        Ok(())
    }

    fn flush_until(&mut self, deadline: Instant) -> Result<bool, N> {
        self.save()?;
        loop {
            let now = self.timer.now();
            let bytes = self.engine.transmit();
            if bytes.is_empty() {
                return match self.network.flush() {
                    Ok(()) => Ok(true),
                    Err(error) => Err(self.broken(ClientError::Network(error))),
                };
            }
            match self.network.write(bytes, deadline.since(now)) {
                Ok(0) if self.timer.now().is_at_or_after(deadline) => return Ok(false),
                Ok(n) => self.engine.transmitted(now, n),
                Err(error) => return Err(self.broken(ClientError::Network(error))),
            }
        }
    }

    /// Drives the connection until a piece can be handled (`true`), or time is up, or with `or_outcome` a request is
    /// over.
    fn wait_for_piece(&mut self, deadline: Instant, or_outcome: bool) -> Result<bool, N> {
        loop {
            if self.engine.wants_close() {
                self.close();
            }
            if self.engine.is_disconnected() {
                return Err(RequestError::NotConnected.into());
            }
            match self.framer.ready() {
                Ok(ready) if ready && self.engine.can_receive() => return Ok(true),
                Ok(_) => {}
                Err(error) => {
                    let error = self.engine.handle_malformed(error);
                    return Err(self.broken(error.into()));
                }
            }
            let all_written = self.flush(TURN)?;
            if or_outcome && self.engine.has_completion() {
                return Ok(false);
            }
            let now = self.timer.now();
            let mut wait = deadline.since(now);
            if let Some(timeout) = self.engine.next_timeout() {
                if now.is_at_or_after(timeout) {
                    if let Err(error) = self.engine.timed_out(now) {
                        return Err(self.broken(error.into()));
                    }
                    continue;
                }
                wait = wait.min(timeout.since(now));
            }
            if !all_written {
                wait = wait.min(TURN);
            }
            if !self.read(wait)? && self.timer.now().is_at_or_after(deadline) {
                return Ok(false);
            }
        }
    }

    /// Reads what is there, or waits for it; whether bytes came.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn read(&mut self, wait: Duration) -> Result<bool, N> {
        let spare = self.framer.spare();
        if spare.is_empty() {
            // A whole packet is here that may not be handled yet.
            let now = self.timer.now();
            return self.flush_until(now.after(wait)).map(|_| false);
        }
        match self.network.read(spare, wait) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.framer.filled(n);
                let now = self.timer.now();
                self.engine.heard(now);
                Ok(true)
            }
            Err(error) => Err(self.broken(ClientError::Network(error))),
        }
    }

    /// Handles the piece that is ready.
    fn take_piece<'c>(&'c mut self) -> Result<Option<(Event<'c>, &'c mut Engine<'b>)>, N> {
        let Self { engine, framer, aliases, network, timer, .. } = self;
        // It stays where it is made.
        let next = framer.next();
        let Some(piece) = &next else {
            return Ok(None);
        };
        let mut event = None;
        if let Err(error) = engine.handle_into(timer.now(), piece, aliases, &mut event) {
            last_words(engine, network);
            return Err(error.into());
        }
        Ok(event.map(|event| (event, engine)))
    }

    /// Ends the connection for an error.
    // Where it is called, it is known which one.
    #[inline(always)]
    fn broken(&mut self, error: ClientError<N::Error>) -> ClientError<N::Error> {
        match error {
            ClientError::Network(_) => self.close(),
            _ => last_words(&mut self.engine, &mut self.network),
        }
        error
    }

    fn close(&mut self) {
        self.network.close();
        self.engine.handle_closed();
    }
}

/// Writes what is left to say as far as it goes at once, and closes.
fn last_words<N: Network>(engine: &mut Engine<'_>, network: &mut N) {
    let bytes = engine.transmit();
    if !bytes.is_empty() && network.write(bytes, Duration::ZERO).is_ok() {
        let _ = network.flush();
    }
    network.close();
    engine.handle_closed();
}
