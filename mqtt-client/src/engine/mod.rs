//! The engine: one MQTT session and its connection, without I/O, clock, allocator or wait.
//!
//! # How to drive it
//!
//! Bytes and time go in; bytes, events and a deadline come out. The contract of a shell:
//!
//! 1. **Connect** a transport, [reset](crate::Framer::reset) the framer, and call [`Engine::connect`].
//! 2. **One input at a time**: a request ([`publish`](Engine::publish), [`subscribe`](Engine::subscribe), ..), a piece
//!    of what was received ([`handle`](Engine::handle)), a deadline that has passed
//!    ([`handle_timeout`](Engine::handle_timeout)), or the end of the connection
//!    ([`handle_closed`](Engine::handle_closed)). Call [`heard`](Engine::heard) whenever bytes arrive, also where they
//!    do not make a whole piece yet.
//! 3. **After each input** drain [`poll_completion`](Engine::poll_completion), and with a store
//!    [`poll_change`](Engine::poll_change). Write [`transmit`](Engine::transmit) and report what was written with
//!    [`transmitted`](Engine::transmitted), until it is empty or the transport would block; a shell that has more input
//!    at hand may handle that first, and write once. Drain completions after `transmitted`, too.
//! 4. Then **sleep** until bytes arrive, the transport can be written again, a request is made, or
//!    [`next_timeout`](Engine::next_timeout). A shell whose write would block goes on reading, as long as
//!    [`can_receive`](Engine::can_receive): everything that is received may need an answer.
//! 5. Where [`wants_close`](Engine::wants_close) says so, **close** the transport and call `handle_closed`. After an
//!    error of `handle` or `handle_timeout`, write what `transmit` still has (in 5.0 a DISCONNECT that says why), at
//!    most once and without waiting, then do the same.
//!
//! Partial writes, cancelled writes and reads in any pieces do no harm. Back-pressure is a value,
//! [`RequestError::Busy`](crate::RequestError::Busy): ask again after the next input or write. A request that was taken ends exactly once, with an
//! [`Outcome`] for its [`Ticket`]; a message of QoS 0 without the feature `qos0-outcomes` when it is taken.
//!
//! ```
//! use mqtt_client::{Aliases, ConnectOptions, Engine, Event, Framer, Instant, Settings, Storage, Version};
//!
//! let mut storage = Storage::<4, 512, 128>::new();
//! let mut engine = Engine::new(storage.lend(), Settings::new(Version::V3_1_1));
//! let mut receive = [0; 128];
//! let mut framer = Framer::new(&mut receive, Version::V3_1_1);
//! let mut aliases = Aliases::none();
//! let now = Instant::from_millis(0);
//!
//! engine.connect(now, &ConnectOptions::new("thermometer-1".try_into().unwrap())).unwrap();
//! // The transport takes all of CONNECT ..
//! let n = engine.transmit().len();
//! engine.transmitted(now, n);
//! // .. and brings CONNACK.
//! framer.spare()[..4].copy_from_slice(&[0x20, 0x02, 0x00, 0x00]);
//! framer.filled(4);
//! while framer.ready().unwrap() {
//!     let Some(piece) = framer.next() else { break };
//!     let event = engine.handle(now, piece, &mut aliases).unwrap();
//!     assert!(matches!(event, Some(Event::Connected(_))));
//! }
//! assert_eq!(engine.next_timeout(), Some(Instant::from_millis(52_500)));
//! ```

mod handshake;
mod inbound;
mod keep_alive;
mod outbound;
mod outbox;
mod storage;
#[cfg(feature = "streaming")]
mod stream;
mod tickets;

use crate::error::ProtocolError;
use crate::event::{Loss, Outcome, Ticket};
use crate::limits::Limits;
#[cfg(not(feature = "v5"))]
use crate::limits::NoLimits;
use crate::memory::Memory;
use crate::options::Settings;
use crate::session::{CLOSED, FORGOTTEN, InFlight, Inbox, Owed, ReceivedSlot, Stage, flag};
use crate::time::{Duration, Instant};
use crate::topic_alias::{ALIASES, Aliases};
use keep_alive::KeepAlive;
use mqtt_packet::{DecodeError, PacketType, ReasonCode, Version};
use outbox::{ACK_LEN, Outbox, Source};
pub use storage::{Change, Key};
pub(crate) use tickets::TOLD;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Disconnected,
    /// CONNECT is on its way, CONNACK is awaited.
    Connecting,
    Connected,
    /// Nothing more is said or heard; what is left is transmitted, then the transport is closed.
    Closing,
}

/// A session and its connection. The [module](self) tells how to drive it.
// In this order: what is asked for most often is where an instruction of two bytes reaches it.
#[derive(Debug)]
#[repr(C)]
pub struct Engine<'b> {
    phase: Phase,
    clean_start: bool,
    /// Whether there is a session that the server may resume.
    has_session: bool,
    /// Whether it ends with the connection.
    session_ends: bool,
    /// Whether the server has a session that is unknown here.
    must_start_clean: bool,
    /// Whether CONNECT asked for no Reason Strings and User Properties.
    no_problem_information: bool,
    /// Messages of QoS 1 and 2 that were sent on this connection and are not acknowledged.
    unacknowledged: u16,
    /// The Topic Alias Maximum that the server was told.
    alias_maximum: u16,
    /// Which connection this is, so that receipts of earlier ones are known.
    connection: u16,
    settings: Settings,
    keep_alive: KeepAlive,
    out: Outbox<'b>,
    inbox: Inbox<'b>,
    inflight: InFlight<'b>,
    /// Aliases towards the server.
    aliases: Aliases<'b>,
    #[cfg(feature = "v5")]
    limits: Limits,
    #[cfg(not(feature = "v5"))]
    limits: NoLimits,
    /// The Authentication Method of the connection, as a hash; 0 for none.
    #[cfg(feature = "authentication")]
    method: u32,
    /// The message whose payload comes in chunks; `None` in it for a repeat that is passed over.
    #[cfg(feature = "streaming")]
    incoming: Option<Option<mqtt_packet::Delivery>>,
}

impl<'b> Engine<'b> {
    /// An engine without a session, in lent memory.
    pub fn new(memory: Memory<'b>, settings: Settings) -> Self {
        #[cfg(feature = "topic-aliases")]
        let aliases = {
            let maximum = u16::try_from(memory.aliases.len() / ALIAS_LEN).unwrap_or(u16::MAX);
            Aliases::new(memory.aliases, maximum)
        };
        #[cfg(not(feature = "topic-aliases"))]
        let aliases = Aliases::none();
        Self {
            out: Outbox::new(memory.transmit),
            inflight: InFlight::new(memory.send, memory.messages),
            inbox: Inbox::new(memory.received),
            aliases,
            #[cfg(feature = "v5")]
            limits: Limits::new(0, 0),
            #[cfg(not(feature = "v5"))]
            limits: NoLimits,
            settings,
            keep_alive: KeepAlive::default(),
            #[cfg(feature = "authentication")]
            method: 0,
            #[cfg(feature = "streaming")]
            incoming: None,
            unacknowledged: 0,
            alias_maximum: 0,
            connection: 0,
            phase: Phase::Disconnected,
            has_session: false,
            session_ends: false,
            clean_start: true,
            must_start_clean: false,
            no_problem_information: false,
        }
    }

    /// The version that is spoken.
    pub const fn version(&self) -> Version {
        self.settings.version
    }

    /// How long the server may take to respond.
    pub const fn response_timeout(&self) -> Duration {
        self.settings.response_timeout
    }

    /// Whether the connection is open: CONNACK came, and nothing has ended it since.
    pub const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Whether there is no connection, not even one that begins or ends.
    pub const fn is_disconnected(&self) -> bool {
        matches!(self.phase, Phase::Disconnected)
    }

    /// What the server of this connection takes.
    pub const fn limits(&self) -> Limits {
        #[cfg(feature = "v5")]
        return self.limits;
        #[cfg(not(feature = "v5"))]
        return Limits::new(self.keep_alive.seconds(), if self.clean_start { 0 } else { u32::MAX });
    }

    /// How many more messages of QoS 1 and 2 the server takes now: its Receive Maximum less those that it has not
    /// acknowledged (5.0 section 4.9). 0 without a connection. Without the feature `v5` no server has a limit, and there
    /// is nothing to count: 65,535.
    pub const fn send_quota(&self) -> u16 {
        if !self.is_connected() {
            return 0;
        }
        self.limits().receive_maximum.saturating_sub(self.unacknowledged)
    }

    /// How many messages of QoS 1 and 2 came in and are not acknowledged to their end.
    pub const fn unacknowledged(&self) -> u16 {
        self.inbox.count()
    }

    /// Whether nothing is in flight and nothing waits to be transmitted.
    pub const fn is_idle(&self) -> bool {
        self.inflight.count() == 0 && self.out.is_empty()
    }

    /// Whether the shell is to close the transport and call [`handle_closed`](Self::handle_closed): everything was
    /// said, or an error ended the connection and its last words are transmitted.
    pub const fn wants_close(&self) -> bool {
        matches!(self.phase, Phase::Closing) && self.out.is_empty()
    }

    /// Whether there is room for the acknowledgement that a received packet may need. If not, the shell does not read
    /// before something was transmitted, or accepted by hand.
    pub fn can_receive(&self) -> bool {
        self.out.room() >= ACK_LEN && !self.waits_for_application()
    }

    /// Whether all memory for received messages is taken by messages that the application has not accepted. A 5.0
    /// server was told how many it may send, so reading need not stop for it.
    fn waits_for_application(&self) -> bool {
        self.settings.is_manual()
            && !is_v5(self.settings.version)
            && self.inbox.count() >= self.inbox.capacity()
            && self.inbox.owed().any(ReceivedSlot::is_unaccepted)
    }

    /// Bytes to be written to the transport; empty where there is nothing to write now.
    pub fn transmit(&mut self) -> &[u8] {
        match self.out.next() {
            Ok(part) => part,
            Err((Source::Messages(start), len)) => self.inflight.bytes(start, len),
            Err((Source::Application, _)) => &[],
        }
    }

    /// The transport took the first `n` bytes of [`transmit`](Self::transmit).
    // Small machines have it once, where the shell writes.
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub fn transmitted(&mut self, now: Instant, n: usize) {
        if n == 0 {
            return;
        }
        let long_ended = self.out.advance(n);
        self.keep_alive.sent(now, self.out.written());
        if long_ended {
            self.unpin();
        }
        self.pump();
    }

    /// Nothing is transmitted from the messages any more.
    fn unpin(&mut self) {
        for position in 0..self.inflight.count() {
            if let Some(slot) = self.inflight.slot_mut(position) {
                slot.flags &= !flag::PINNED;
            }
        }
        self.inflight.free_front();
    }

    /// What became of a request: each ticket ends once. To be drained after every input.
    pub fn poll_completion(&mut self) -> Option<(Ticket, Outcome)> {
        if let Some((id, outcome)) = self.inflight.poll_done() {
            return Some((Ticket::of(id), outcome));
        }
        self.out.tickets.poll_done()
    }

    /// Whether [`poll_completion`](Self::poll_completion) has something to give.
    pub fn has_completion(&self) -> bool {
        self.inflight.has_done() || self.out.tickets.has_done()
    }

    /// Whether another message of QoS 0 can have a ticket: not before outcomes are asked for.
    pub(crate) const fn has_ticket(&self) -> bool {
        self.out.tickets.can_give_out()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest; `None` for never.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.keep_alive.next(self.settings.response_timeout)
    }

    /// Bytes arrived, though they may not make a whole packet yet: the server lives.
    // Measured: a call is smaller than what it does.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn heard(&mut self, now: Instant) {
        if self.phase == Phase::Connected {
            self.keep_alive.heard(now);
        }
    }

    /// Time has passed: sends PINGREQ where it is due. Called too early it does nothing.
    ///
    /// # Errors
    /// [`ProtocolError::ConnectTimeout`] and [`ProtocolError::KeepAlive`]: the server did not answer in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        match self.next_timeout() {
            Some(timeout) if now.is_at_or_after(timeout) => self.timed_out(now),
            _ => Ok(()),
        }
    }

    /// [`next_timeout`](Self::next_timeout) has passed, which is another time afterwards.
    ///
    /// # Errors
    /// As [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn timed_out(&mut self, now: Instant) -> Result<(), ProtocolError> {
        if self.keep_alive.awaits_answer() {
            return self.no_answer(now);
        }
        // Without room the peer takes nothing, which the deadline will show.
        let _ = self.out.append_bytes(0, &PINGREQ);
        let end = self.out.position();
        self.keep_alive.pinged(now, end);
        Ok(())
    }

    fn no_answer(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let error = match self.phase {
            Phase::Connecting => ProtocolError::ConnectTimeout,
            Phase::Connected if self.waits_for_application() => {
                self.keep_alive.heard(now);
                return Ok(());
            }
            Phase::Connected => ProtocolError::KeepAlive,
            // The last words are not taken.
            _ => {
                self.out.close();
                self.keep_alive.stop();
                return Ok(());
            }
        };
        self.fail(error);
        Err(error)
    }

    /// What was received is not MQTT: the framer found `error`. Ends the connection as an error of
    /// [`handle`](Self::handle) does.
    pub fn handle_malformed(&mut self, error: DecodeError) -> ProtocolError {
        let error = ProtocolError::Decode(error);
        self.fail(error);
        error
    }

    /// The connection is over for the peer's sake: tells it why, where the version can [U5-4.13.1-1].
    // Measured: with 5.0 the receiving function is so large that what is moved to its end is too far away.
    #[cfg_attr(not(feature = "v5"), cold)]
    #[inline(never)]
    fn fail(&mut self, error: ProtocolError) {
        if matches!(self.phase, Phase::Connecting | Phase::Connected) {
            self.leave(error.reason_code());
        }
    }

    /// Says a last word where the version has one for it, and nothing after it [MQTT-3.14.4-2].
    fn leave(&mut self, reason_code: ReasonCode) {
        self.phase = Phase::Closing;
        self.keep_alive.stop();
        if is_v5(self.settings.version) {
            let first = (PacketType::Disconnect as u8) << 4;
            let _ = self.out.append_bytes(0, &[first, 1, reason_code.0]);
        }
    }

    /// The transport is gone, whoever closed it. What belongs to the connection ends; the session stays if it is one
    /// that outlives connections.
    pub fn handle_closed(&mut self) {
        self.inflight.each(|slot| {
            if slot.has(flag::QUEUED) && slot.stage.is_publish() && !self.out.is_unsent(slot.at) {
                slot.flags |= flag::SENT;
            }
            slot.flags &= !(flag::QUEUED | flag::PINNED | flag::RELEASE);
            matches!(slot.stage, Stage::AwaitSubAck | Stage::AwaitUnsubAck).then_some(Loss::Closed)
        });
        self.out.close();
        self.inflight.free_front();
        self.inbox.change(CLOSED);
        if core::mem::take(&mut self.session_ends) {
            self.end_session(); // [MQTT-3.1.2-6 of 3.1.1]
        }
        if ALIASES && is_v5(self.settings.version) {
            self.aliases.clear(); // [MQTT-3.3.2-7]
        }
        self.keep_alive.stop();
        #[cfg(feature = "streaming")]
        {
            self.incoming = None;
        }
        self.phase = Phase::Disconnected;
        if cfg!(feature = "manual-acknowledgement") {
            self.connection = self.connection.wrapping_add(1);
        }
    }

    /// Forgets everything that the session consisted of. Messages of which no byte was sent are none of it: they stay
    /// and are sent in the next session.
    fn end_session(&mut self) {
        self.has_session = false;
        let unstored = self.unstored();
        self.inflight.each(|slot| {
            let was_sent = slot.stage.is_publish() && slot.has(flag::SENT);
            if !was_sent && slot.stage != Stage::AwaitPubComp {
                return None;
            }
            slot.flags |= unstored;
            Some(Loss::SessionLost)
        });
        if self.settings.is_durable() {
            self.inbox.change(FORGOTTEN);
        } else {
            self.inbox.clear();
        }
    }

    /// What becomes of a received message of which nothing is known any more.
    const fn forgotten(&self) -> Owed {
        if self.settings.is_durable() { Owed::StoreForget } else { Owed::Gone }
    }

    /// The flag of a slot whose state a store has to learn.
    const fn unstored(&self) -> u8 {
        if self.settings.is_durable() { flag::UNSTORED } else { 0 }
    }
}

/// The same in every version, and always.
const PINGREQ: [u8; 2] = [(PacketType::PingReq as u8) << 4, 0];

#[cfg(feature = "topic-aliases")]
/// How much memory is lent for each alias towards the server: room for a topic of 62 bytes.
const ALIAS_LEN: usize = 64;

/// Whether this is 5.0; a constant without the feature, so that everything behind it falls out at link time.
const fn is_v5(version: Version) -> bool {
    cfg!(feature = "v5") && matches!(version, Version::V5)
}

/// A name in four bytes, to compare it with later; never 0.
fn hash(name: &[u8]) -> u32 {
    let hash =
        name.iter().fold(0x811C_9DC5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.max(1)
}

/// The time that remains of `Duration::MAX` is no time to wait for.
const _: () = assert!(Duration::MAX.as_millis() > u16::MAX as u32 * 1000);
