//! The loop of one shard: wait, read everything that is ready, let the core work, write everything once, again.

use super::ask::{Answer, Applicant, Gate};
use super::budget::Budget;
use super::carrier::Carrier;
use super::disk::Disk;
use super::guard::{Bucket, Guard};
use super::listener::Listener;
pub(super) use super::mailbox::{Letter, Mailbox};
use super::socket::{Limits, Origin, Phase, Progress, Socket};
use crate::core::{ConnId, Input, Message, Now, ObserverId, Pressure, Settings, Shard, ShardId};
use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use slab::Slab;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

const WAKER: Token = Token(usize::MAX);
/// Tokens below are listeners, the others sockets.
const FIRST_SOCKET: usize = 1 << 10;
const READ_SIZE: usize = 64 << 10;
/// After so many bytes read, what they caused is written before more is read.
const TURN_BYTES: usize = 256 << 10;
/// How many reads a connection has in one turn, so that a flood does not starve its neighbours.
const READS_PER_TURN: usize = 2;
/// Whoever sends more packets than this in a turn is read in small pieces next time: the smallest cost as much as others.
const MANY_PACKETS: usize = 8192;
const SMALL_READ_SIZE: usize = 8 << 10;
/// A turn that took less leaves time to be visited.
const LIGHT: Duration = Duration::from_micros(100);
/// One turn that took longer may have been interrupted, by who was told something in it first of all: so many in a row mean
/// that there is much to do.
const LONG_TURNS: u32 = 2;
/// How long a closed connection may take its last bytes, in milliseconds.
const LINGER: u64 = 2000;

mod accept;
mod obey;
#[cfg_attr(not(feature = "metrics"), allow(dead_code))] // Nobody asks then.
mod tally;

#[cfg(feature = "metrics")]
pub(super) use tally::Figures;
use tally::Tally;

pub(super) struct Worker {
    shard: Shard,
    limits: Limits,
    /// Where sockets are registered with what this worker's thread waits for.
    registry: Registry,
    letters: Receiver<Letter>,
    /// Who answers what takes time.
    gate: Arc<dyn Gate>,
    guard: Arc<Guard>,
    /// Connections that sent too much, and until when they are not read.
    throttled: BTreeSet<(u64, usize, ConnId)>,
    own: ShardId,
    mailbox: Mailbox,
    observers: HashMap<ObserverId, SyncSender<Arc<Message>>>,
    /// The mailboxes of all shards, this one's included.
    pub(super) shards: Vec<Mailbox>,
    /// The way to the store, if there is one.
    pub(super) disk: Option<Disk>,
    listeners: Vec<Listener>,
    /// Listeners that may have more connections.
    to_accept: Vec<usize>,
    accept_after: u64,
    sockets: Slab<Socket>,
    last_id: u64,
    to_read: VecDeque<usize>,
    to_write: Vec<usize>,
    /// Sockets that are closed on our side, and until when the other side has time.
    closing: VecDeque<(u64, usize, ConnId)>,
    start: Instant,
    wake_at: Option<u64>,
    /// Until when its thread waits, if nobody calls it.
    waits_until: Option<u64>,
    /// How many turns in a row took longer than [`LIGHT`].
    long_turns: u32,
    /// Somebody else's thread does its work.
    is_visited: bool,
    /// To which shards it has letters, and how many.
    to_call: Vec<(usize, usize)>,
    buffer: Vec<u8>,
    /// How much memory there may be, if there is a bound; and how short it was.
    budget: Option<Budget>,
    pressure: Pressure,
    tally: Tally,
    is_stopping: bool,
}

impl Worker {
    pub(super) fn new(
        shard: Shard,
        settings: Settings,
        mut listeners: Vec<Listener>,
        gate: Arc<dyn Gate>,
        guard: Arc<Guard>,
    ) -> io::Result<(Self, Poll)> {
        let poll = Poll::new()?;
        let (mailbox, letters) = Mailbox::new(Waker::new(poll.registry(), WAKER)?);
        for (index, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(index), Interest::READABLE)?;
        }
        let worker = Self {
            shard,
            limits: Limits {
                first: settings.max_connect_size,
                later: settings.max_packet_size,
                shard: settings.shard,
                shards: settings.shards,
            },
            registry: poll.registry().try_clone()?,
            letters,
            gate,
            guard,
            throttled: BTreeSet::new(),
            own: settings.shard,
            mailbox,
            observers: HashMap::new(),
            shards: Vec::new(),
            disk: None,
            listeners,
            to_accept: Vec::new(),
            accept_after: 0,
            sockets: Slab::new(),
            last_id: 0,
            to_read: VecDeque::new(),
            to_write: Vec::new(),
            closing: VecDeque::new(),
            start: Instant::now(),
            wake_at: None,
            waits_until: None,
            long_turns: 0,
            is_visited: false,
            to_call: Vec::new(),
            buffer: vec![0; READ_SIZE],
            budget: None,
            pressure: Pressure::None,
            tally: Tally::default(),
            is_stopping: false,
        };
        Ok((worker, poll))
    }

    /// The way to it.
    pub(super) fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Goes on where the shard was restored: by this clock, to be woken then, with so much memory.
    pub(super) fn begin(&mut self, clock: Instant, wake_at: Option<u64>, budget: Option<Budget>) {
        self.budget = budget;
        self.start = clock;
        self.wake_at = wake_at;
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self, mut poll: Poll) {
        let mut events = Events::with_capacity(1024);
        let seat = Arc::clone(&self.mailbox.seat);
        let mut timeout = self.rest();
        *seat.lock().unwrap_or_else(PoisonError::into_inner) = Some(self);
        loop {
            let polled = poll.poll(&mut events, timeout);
            // If a visitor panicked, nobody knows what this worker is like now.
            let Ok(mut seat) = seat.lock() else {
                return;
            };
            let Some(worker) = seat.as_mut() else {
                return;
            };
            match polled {
                Ok(()) => {
                    for event in &events {
                        worker.on_event(event);
                    }
                    worker.turn();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "the poller failed");
                    worker.is_stopping = true;
                    worker.sockets.clear();
                }
            }
            if worker.is_stopping && worker.sockets.is_empty() {
                *seat = None;
                return;
            }
            timeout = worker.rest();
        }
    }

    /// Does on a visitor's thread what its own waits for; false if its own has to do something, too.
    pub(super) fn visit(&mut self) -> bool {
        if self.long_turns >= LONG_TURNS {
            return false;
        }
        self.is_visited = true;
        self.turn();
        self.is_visited = false;
        let waits_too_long = self.due().is_some_and(|due| self.waits_until.is_none_or(|until| due < until));
        !waits_too_long && !self.is_stopping
    }

    /// Before its thread waits: for how long.
    fn rest(&mut self) -> Option<Duration> {
        self.waits_until = self.due();
        // One more, because a millisecond that has begun is not over.
        let wait = match self.waits_until? {
            0 => 0,
            until => until.saturating_sub(self.now().mono).saturating_add(1),
        };
        Some(Duration::from_millis(wait))
    }

    /// When something is to be done though nothing happens.
    fn due(&self) -> Option<u64> {
        if !self.to_read.is_empty() {
            return Some(0);
        }
        let resume = (!self.to_accept.is_empty()).then_some(self.accept_after);
        let linger = self.closing.front().map(|&(until, ..)| until);
        let throttled = self.throttled.first().map(|&(until, ..)| until);
        [self.wake_at, resume, linger, throttled].into_iter().flatten().min()
    }

    fn now(&self) -> Now {
        now(self.start)
    }

    fn on_event(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            Token(index) if index < FIRST_SOCKET => {
                if !self.to_accept.contains(&index) {
                    self.to_accept.push(index);
                }
            }
            Token(token) => {
                let index = token.saturating_sub(FIRST_SOCKET);
                let Some(socket) = self.sockets.get_mut(index) else {
                    return;
                };
                socket.is_ending |= event.is_read_closed() || event.is_error();
                if (event.is_readable() || socket.is_ending)
                    && !std::mem::replace(&mut socket.is_listed, true)
                {
                    self.to_read.push_back(index);
                }
                if event.is_writable() && socket.has_output() {
                    self.list_for_writing(index);
                }
            }
        }
    }

    /// After a time of not being read.
    fn list_for_reading(&mut self, index: usize, id: ConnId) {
        if self.sockets.get(index).is_some_and(|socket| socket.id == id) {
            self.to_read.push_back(index);
        }
    }

    fn list_for_writing(&mut self, index: usize) {
        if let Some(socket) = self.sockets.get_mut(index)
            && !std::mem::replace(&mut socket.is_dirty, true)
        {
            self.to_write.push(index);
        }
    }

    fn turn(&mut self) {
        let begin = Instant::now();
        let now = self.now();
        self.feel_pressure(now);
        self.read_letters(now);
        self.accept(now);
        while let Some(&(until, index, id)) = self.throttled.first()
            && until <= now.mono
        {
            self.throttled.pop_first();
            self.list_for_reading(index, id);
        }
        let mut read = 0_usize;
        for _ in 0..self.to_read.len() {
            let Some(index) = self.to_read.pop_front() else {
                break;
            };
            read = read.saturating_add(self.read(index, now));
            if read > TURN_BYTES {
                self.work(now);
                read = 0;
            }
        }
        if self.wake_at.is_some_and(|at| at <= now.mono) {
            self.wake_at = None;
            self.shard.handle(now, Input::Timeout);
        }
        self.work(now);
        while let Some(&(until, index, id)) = self.closing.front()
            && until <= now.mono
        {
            self.closing.pop_front();
            if self.sockets.get(index).is_some_and(|socket| socket.id == id) {
                self.remove(index);
            }
        }
        let took = begin.elapsed();
        self.long_turns = if took < LIGHT { 0 } else { self.long_turns.saturating_add(1) };
        self.tally.busy = self.tally.busy.saturating_add(took);
    }

    /// Reads what others left; true if there was something.
    fn read_letters(&mut self, now: Now) -> bool {
        self.mailbox.look();
        let mut any = false;
        while let Ok(letter) = self.letters.try_recv() {
            self.read_letter(letter, now);
            any = true;
        }
        any
    }

    fn feel_pressure(&mut self, now: Now) {
        let pressure = self.budget.as_ref().map_or(Pressure::None, |budget| budget.pressure(self.pressure));
        if std::mem::replace(&mut self.pressure, pressure) != pressure {
            tracing::debug!(?pressure, "memory");
            self.shard.handle(now, Input::Pressure(pressure));
        }
    }

    fn read_letter(&mut self, letter: Letter, now: Now) {
        match letter {
            Letter::ShutDown => self.shut_down(now),
            Letter::Synced(causes) => {
                for cause in causes {
                    self.shard.handle(now, Input::Synced(cause));
                }
            }
            Letter::Fetched(session, changes) => {
                self.shard.handle(now, Input::Fetched(session, changes));
            }
            Letter::Full(is_full) => self.shard.handle(now, Input::Full(is_full)),
            Letter::Link(from, envelope) => self.shard.handle(now, Input::Link(from, envelope)),
            Letter::Publish(message) => self.shard.handle(now, Input::Publish(message)),
            Letter::Observe(id, filter, sender) => {
                self.observers.insert(id, sender);
                self.shard.handle(now, Input::Observe(id, &filter));
            }
            Letter::Took(id, count) => self.shard.handle(now, Input::Took(id, count)),
            Letter::Unobserve(id) => {
                self.observers.remove(&id);
                self.shard.handle(now, Input::Unobserve(id));
            }
            Letter::Adopt(carrier, origin, sent) => self.adopt(carrier, origin, &sent, now),
            Letter::Answer(token, decision) => self.shard.handle(now, Input::Answer(token, decision)),
            // Whoever asked may be gone.
            #[cfg(feature = "metrics")]
            Letter::Count(asker) => drop(asker.try_send(self.figures())),
        }
    }

    fn shut_down(&mut self, now: Now) {
        self.is_stopping = true;
        self.listeners.clear();
        self.to_accept.clear();
        self.shard.handle(now, Input::Shutdown);
        self.work(now);
        // Who has not come to a session yet, goes as he came; who has everything already, is not waited for.
        let done = self.sockets.iter().filter(|(_, socket)| socket.phase != Phase::Flushing);
        let done: Vec<_> = done.map(|(index, _)| index).collect();
        for index in done {
            self.remove(index);
        }
    }

    /// A connection comes from the shard that accepted it.
    fn adopt(&mut self, carrier: Carrier, origin: Origin, sent: &[u8], now: Now) {
        if self.is_stopping {
            return;
        }
        if let Some(index) = self.open(carrier, origin, now)
            && let Some(socket) = self.sockets.get_mut(index)
        {
            socket.take(sent, &mut self.shard, now, self.limits);
            // A carrier may hold more that was read.
            if !std::mem::replace(&mut socket.is_listed, true) {
                self.to_read.push_back(index);
            }
        }
    }

    /// A connection goes to the shard where its session is at home.
    fn hand_over(&mut self, index: usize, home: ShardId, now: Now) {
        let Some(mut socket) = self.sockets.try_remove(index) else {
            return;
        };
        self.shard.handle(now, Input::Closed(socket.id));
        let sent = socket.take_unread();
        if self.registry.deregister(socket.carrier.stream_mut()).is_ok()
            && let Some(shard) = self.shards.get(usize::from(home.0))
        {
            shard.send(Letter::Adopt(socket.carrier, socket.origin, sent));
        }
    }

    fn open(&mut self, mut carrier: Carrier, origin: Origin, now: Now) -> Option<usize> {
        let entry = self.sockets.vacant_entry();
        let index = entry.key();
        let token = Token(index.saturating_add(FIRST_SOCKET));
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.registry.register(carrier.stream_mut(), token, interest).is_err() {
            return None;
        }
        self.last_id = self.last_id.wrapping_add(1);
        let id = ConnId(self.last_id << 32 | index as u64);
        let bucket = Bucket::new(self.guard.limits(origin.listener), now.mono);
        entry.insert(Socket::new(id, carrier, origin, bucket));
        let bits = u128::from(entropy()) << 64 | u128::from(entropy());
        self.shard.handle(now, Input::Opened(id, bits.to_be_bytes()));
        Some(index)
    }

    /// Reads a socket, if it has its turn; returns how much came.
    fn read(&mut self, index: usize, now: Now) -> usize {
        let Some(socket) = self.sockets.get_mut(index) else {
            return 0;
        };
        if !socket.may_be_read() {
            socket.is_listed = false;
            return 0;
        }
        let (progress, total) = read_some(socket, &mut self.buffer, &mut self.shard, now, self.limits);
        if matches!(progress, Progress::Introduced) {
            self.introduce(index, now);
            return 0;
        }
        self.tally.note_bytes(total, 0);
        socket.is_listed = matches!(progress, Progress::More);
        if let Some(home) = socket.home {
            self.hand_over(index, home, now);
            return total;
        }
        // The carrier may have to answer.
        let has_pending = socket.carrier.has_pending();
        let packets = std::mem::take(&mut socket.packets);
        socket.is_dense = packets.saturating_mul(8) > total && (socket.is_dense || packets > MANY_PACKETS);
        let wait = socket.bucket.as_mut().map_or(0, |bucket| bucket.take(total, packets, now.mono));
        if wait > 0 && matches!(progress, Progress::More | Progress::Drained) {
            // It counts as listed, so that nothing lists it before its time.
            socket.is_listed = true;
            self.throttled.insert((now.mono.saturating_add(wait), index, socket.id));
            if has_pending {
                self.list_for_writing(index);
            }
            return total;
        }
        match progress {
            Progress::More => self.to_read.push_back(index),
            Progress::Drained | Progress::Introduced => {}
            Progress::Broken => self.give_up(index, now),
            Progress::Gone => {
                let (id, phase) = (socket.id, socket.phase);
                if phase == Phase::Open {
                    self.shard.handle(now, Input::Closed(id));
                }
                self.remove(index);
            }
        }
        if has_pending {
            self.list_for_writing(index);
        }
        total
    }

    /// The carrier is broken: what it has to say about that is said, then it is closed.
    fn give_up(&mut self, index: usize, now: Now) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        let id = socket.id;
        let was_open = std::mem::replace(&mut socket.phase, Phase::Flushing) == Phase::Open;
        socket.forget_output();
        if was_open {
            self.shard.handle(now, Input::Closed(id));
            self.closing.push_back((now.mono.saturating_add(LINGER), index, id));
        }
        self.list_for_writing(index);
    }

    fn write(&mut self, index: usize, now: Now) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        socket.is_dirty = false;
        let id = socket.id;
        let result = socket.flush(&mut self.shard);
        self.tally.note_bytes(0, *result.as_ref().unwrap_or(&0));
        if socket.has_recovered() && !std::mem::replace(&mut socket.is_listed, true) {
            self.to_read.push_back(index);
        }
        match (result, socket.phase) {
            (Ok(written), Phase::Open) => self.shard.handle(now, Input::Sent(id, written)),
            (Ok(_), Phase::Flushing) if !socket.has_output() => {
                socket.phase = Phase::Lingering;
                // At the end the system delivers the last bytes; nobody waits for the other side to have read them.
                if socket.carrier.stream().end().is_err() || self.is_stopping {
                    self.remove(index);
                }
            }
            (Ok(_), _) => {}
            (Err(_), phase) => {
                if phase == Phase::Open {
                    self.shard.handle(now, Input::Closed(id));
                }
                self.remove(index);
            }
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(mut socket) = self.sockets.try_remove(index) {
            // It is closed in any case.
            let _ = self.registry.deregister(socket.carrier.stream_mut());
        }
    }
}

/// Reads a socket as often as it may in one turn; returns how much came.
fn read_some(
    socket: &mut Socket,
    buffer: &mut [u8],
    shard: &mut Shard,
    now: Now,
    limits: Limits,
) -> (Progress, usize) {
    let mut progress = Progress::More;
    let mut total = 0_usize;
    let (reads, size) = match socket.is_dense {
        true => (1, SMALL_READ_SIZE),
        false => (READS_PER_TURN, READ_SIZE),
    };
    for _ in 0..reads {
        let read;
        let buffer = buffer.get_mut(..size).unwrap_or_default();
        (progress, read) = socket.read(buffer, shard, now, limits);
        total = total.saturating_add(read);
        if !matches!(progress, Progress::More) {
            break;
        }
    }
    (progress, total)
}

/// Where a connection's socket is.
fn index(id: ConnId) -> usize {
    (id.0 & 0xFFFF_FFFF) as usize
}

/// The time, by a clock that was started then.
pub(super) fn now(start: Instant) -> Now {
    let since = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Now { mono: since(start.elapsed()), wall: SystemTime::UNIX_EPOCH.elapsed().map_or(0, since) }
}

/// Something that nobody can foresee; not for secrets.
pub(super) fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}
