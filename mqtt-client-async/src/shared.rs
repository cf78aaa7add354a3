//! What handles and driver share: queues towards the driver, streams and deliveries towards the application.
//!
//! One lock, held for a few instructions and never while somebody is woken. The driver takes everything that waits at
//! once, so a burst of requests costs one wake-up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use mqtt_client::{QoS, ReasonCode, Receipt, RequestError};
use slab::Slab;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::authentication::Awaiting;
use crate::delivery::{Deliveries, Delivery};
use crate::error::{ConnectionError, PublishError, SubscribeError};
use crate::event::{Event, EventQueue};
use crate::figures::Figures;
use crate::message::Publish;
use crate::options::{OfflinePolicy, QueueLimits};
use crate::properties::PropertyList;
use crate::queue::Queue;
use crate::router::Router;
use crate::subscription::Granted;

/// Where a client is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// There is no connection; one is being made, or will be.
    Connecting,
    /// There is a connection.
    Connected,
    /// The client has ended, and why.
    Closed(ConnectionError),
}

/// The right to acknowledge a received message, once, when all streams that hold it have let it go.
// The tag of a message's option lies in that of this: as wide as a word it lets a message be moved in whole words. Parts
// of words, written one by one and read together, the processor waits for.
#[repr(u64)]
pub(crate) enum Hold {
    One(Receipt),
    Many(Arc<Held>),
}

pub(crate) struct Held {
    receipt: Receipt,
    left: AtomicUsize,
    /// A failure, if one of the holders said so.
    reason: AtomicU8,
}

impl Hold {
    /// One for each of `n` streams.
    pub(crate) fn split(receipt: Receipt, n: usize) -> impl FnMut() -> Self {
        let held =
            (n > 1).then(|| Arc::new(Held { receipt, left: AtomicUsize::new(n), reason: AtomicU8::new(0) }));
        move || held.as_ref().map_or(Self::One(receipt), |held| Self::Many(held.clone()))
    }

    /// Lets go; `Some` for the last one.
    fn release(self, reason_code: ReasonCode) -> Option<(Receipt, ReasonCode)> {
        match self {
            Self::One(receipt) => Some((receipt, reason_code)),
            Self::Many(held) => {
                held.reason.fetch_max(reason_code.0, Ordering::AcqRel);
                let is_last = held.left.fetch_sub(1, Ordering::AcqRel) == 1;
                is_last.then(|| (held.receipt, ReasonCode(held.reason.load(Ordering::Acquire))))
            }
        }
    }
}

/// Where the answer to SUBSCRIBE or UNSUBSCRIBE is awaited.
pub(crate) type Answer = oneshot::Sender<Result<ReasonCode, SubscribeError>>;
/// An answer that is awaited, and for which topic filter.
pub(crate) type AwaitedAnswer = (Bytes, oneshot::Receiver<Result<ReasonCode, SubscribeError>>);

/// A request that goes before messages.
pub(crate) enum Control {
    Subscribe { key: usize, text: Bytes, answer: Option<Answer> },
    Unsubscribe { text: Bytes, properties: PropertyList, answer: Option<Answer> },
}

impl Control {
    pub(crate) const fn text(&self) -> &Bytes {
        match self {
            Self::Subscribe { text, .. } | Self::Unsubscribe { text, .. } => text,
        }
    }

    pub(crate) fn answer(self) -> Option<Answer> {
        match self {
            Self::Subscribe { answer, .. } | Self::Unsubscribe { answer, .. } => answer,
        }
    }
}

/// How the client is to end.
pub(crate) enum Close {
    /// Deliver what was taken, until the deadline; then DISCONNECT.
    Drain { deadline: Instant },
    /// DISCONNECT behind what was written, with this reason and these properties.
    Disconnect {
        reason_code: ReasonCode,
        properties: PropertyList,
        answer: Option<oneshot::Sender<Result<(), RequestError>>>,
    },
    /// Close the connection without a word.
    Abort,
}

/// A message that waits for the driver.
pub(crate) struct Queued {
    pub(crate) publish: Publish,
    pub(crate) delivery: usize,
}

/// What the driver has taken and not dealt with.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) publishes: VecDeque<Queued>,
    pub(crate) control: VecDeque<Control>,
    pub(crate) released: Vec<(Receipt, ReasonCode)>,
    pub(crate) reauthentications: Vec<Awaiting>,
    pub(crate) close: Option<Close>,
    /// When the wait for a delivery may be over.
    pub(crate) next_deadline: Option<Instant>,
    /// Whether streams hold more bytes than they may.
    pub(crate) is_over: bool,
    /// For [`Figures`]: how many messages the server takes, and how many of its own are not acknowledged.
    pub(crate) send_quota: u16,
    pub(crate) unacknowledged: u16,
}

pub(crate) struct State {
    publishes: VecDeque<Queued>,
    /// What the engine has not taken yet, here and at the driver.
    queued: usize,
    queued_bytes: usize,
    control: VecDeque<Control>,
    released: Vec<(Receipt, ReasonCode)>,
    pub(crate) reauthentications: Vec<Awaiting>,
    pub(crate) deliveries: Deliveries,
    pub(crate) queues: Slab<Queue>,
    pub(crate) router: Router,
    /// How many streams hold more bytes than they may.
    pub(crate) over: usize,
    pub(crate) events: Slab<EventQueue>,
    close: Option<Close>,
    connected: bool,
    /// Nothing more is taken; then: the driver has ended.
    closing: bool,
    closed: bool,
    send_quota: u16,
    unacknowledged: u16,
    driver: Option<Waker>,
    /// Where the client is, for who asks to watch it later.
    status: Status,
}

impl State {
    pub(crate) const fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) fn figures(&self) -> Figures {
        let (delivered, lost) = self.deliveries.counts();
        Figures {
            queued: self.queued,
            queued_bytes: self.queued_bytes,
            undelivered: self.deliveries.count_open(),
            send_quota: self.send_quota,
            unacknowledged: self.unacknowledged,
            delivered,
            lost,
        }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether requests are refused.
    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// The end that was asked for is not to be.
    pub(crate) const fn reopen(&mut self) {
        self.closing = false;
    }

    /// Whether this filter waits to be subscribed to.
    pub(crate) fn is_asked(&self, filter: usize) -> bool {
        let asks = |control: &Control| matches!(control, Control::Subscribe { key, .. } if *key == filter);
        self.control.iter().any(asks)
    }

    fn leave_waker(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn ask(&mut self, control: Control) {
        self.control.push_back(control);
    }

    /// Whether the driver has nothing more to take from here.
    pub(crate) fn is_drained(&self) -> bool {
        self.queued == 0 && self.control.is_empty() && self.deliveries.count_open() == 0
    }
}

/// What handles and driver share.
pub(crate) struct Shared {
    state: Mutex<State>,
    room: Notify,
    /// Made when somebody asks for it.
    status: OnceLock<watch::Sender<Status>>,
    limits: QueueLimits,
}

impl Shared {
    pub(crate) fn new(limits: QueueLimits) -> Arc<Self> {
        let state = State {
            publishes: VecDeque::new(),
            queued: 0,
            queued_bytes: 0,
            control: VecDeque::new(),
            released: Vec::new(),
            reauthentications: Vec::new(),
            deliveries: Deliveries::default(),
            queues: Slab::new(),
            router: Router::new(),
            over: 0,
            events: Slab::new(),
            close: None,
            connected: false,
            closing: false,
            closed: false,
            send_quota: 0,
            unacknowledged: 0,
            driver: None,
            status: Status::Connecting,
        };
        Arc::new(Self { state: Mutex::new(state), room: Notify::new(), status: OnceLock::new(), limits })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        let state = self.lock();
        self.status.get_or_init(|| watch::Sender::new(state.status.clone())).subscribe()
    }

    /// Says where the client is, now that the state does.
    fn tell_status(&self, status: Status) {
        if let Some(watched) = self.status.get() {
            watched.send_replace(status);
        }
    }

    /// Unlocks and wakes the driver, if it sleeps.
    pub(crate) fn wake_driver(&self, mut state: MutexGuard<'_, State>) {
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Queues a message; leaves it where it is if there is an error.
    pub(crate) fn push(self: &Arc<Self>, publish: &mut Option<Publish>) -> Result<Delivery, PublishError> {
        let Some(message) = publish.as_ref() else {
            return Err(PublishError::Closed);
        };
        let (len, qos) = (message.len(), message.qos);
        let deadline = self.limits.delivery_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        if state.closing {
            return Err(PublishError::Closed);
        }
        let waits = match self.limits.offline {
            OfflinePolicy::Queue => true,
            OfflinePolicy::QueueAcknowledged => qos > QoS::AtMostOnce,
            OfflinePolicy::FailFast => false,
        };
        if !state.connected && !waits {
            return Err(PublishError::NotConnected);
        }
        let is_full = state.queued >= self.limits.messages
            || state.queued > 0 && state.queued_bytes.saturating_add(len) > self.limits.bytes;
        if is_full {
            return Err(PublishError::Full);
        }
        let Some(publish) = publish.take() else {
            return Err(PublishError::Closed);
        };
        let delivery = state.deliveries.open(deadline);
        state.queued = state.queued.saturating_add(1);
        state.queued_bytes = state.queued_bytes.saturating_add(len);
        state.publishes.push_back(Queued { publish, delivery });
        self.wake_driver(state);
        Ok(Delivery::new(self.clone(), delivery))
    }

    /// Queues a message once more, beyond the bounds, and behind what waits.
    pub(crate) fn take_back(&self, publish: Publish) {
        let mut state = self.lock();
        let delivery = state.deliveries.open(None);
        state.deliveries.abandon(delivery);
        state.queued = state.queued.saturating_add(1);
        state.queued_bytes = state.queued_bytes.saturating_add(publish.len());
        state.publishes.push_back(Queued { publish, delivery });
    }

    /// Queues a message when there is room, and waits for it for at most this long.
    pub(crate) async fn push_when_room(
        self: &Arc<Self>,
        publish: Publish,
        patience: Duration,
    ) -> Result<Delivery, PublishError> {
        let mut publish = Some(publish);
        match self.push(&mut publish) {
            Err(PublishError::Full) => {}
            result => return result,
        }
        let wait = async {
            loop {
                let mut room = std::pin::pin!(self.room.notified());
                room.as_mut().enable();
                match self.push(&mut publish) {
                    Err(PublishError::Full) => room.await,
                    result => return result,
                }
            }
        };
        tokio::time::timeout(patience, wait).await.unwrap_or(Err(PublishError::Timeout))
    }

    /// The driver takes all that waits for it.
    pub(crate) fn take(&self, inbox: &mut Inbox) {
        let mut state = self.lock();
        if inbox.publishes.is_empty() {
            core::mem::swap(&mut state.publishes, &mut inbox.publishes);
        }
        inbox.control.append(&mut state.control);
        inbox.released.append(&mut state.released);
        inbox.reauthentications.append(&mut state.reauthentications);
        inbox.next_deadline = state.deliveries.next_deadline();
        inbox.is_over = state.over > 0;
        (state.send_quota, state.unacknowledged) = (inbox.send_quota, inbox.unacknowledged);
        if let Some(close) = state.close.take() {
            inbox.close = Some(close);
        }
    }

    /// The driver is about to sleep; false where there is something to do first. `takes_messages` says whether it could
    /// take more messages now.
    pub(crate) fn sleep_driver(&self, waker: &Waker, takes_messages: bool) -> bool {
        let mut state = self.lock();
        let has_work = takes_messages && !state.publishes.is_empty()
            || !state.control.is_empty()
            || !state.released.is_empty()
            || !state.reauthentications.is_empty()
            || state.close.is_some();
        if !has_work {
            state.leave_waker(waker);
        }
        !has_work
    }

    /// The driver is done with queueing so many messages of so many bytes.
    pub(crate) fn dequeued(&self, messages: usize, bytes: usize) {
        if messages == 0 {
            return;
        }
        let mut state = self.lock();
        let is_low = |state: &State, limits: &QueueLimits| {
            state.queued <= limits.messages / 2 && state.queued_bytes <= limits.bytes / 2
        };
        let was_low = is_low(&state, &self.limits);
        state.queued = state.queued.saturating_sub(messages);
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        let is_low = is_low(&state, &self.limits);
        drop(state);
        // Who waits is woken once there is room for many.
        if is_low && !was_low {
            self.room.notify_waiters();
        }
    }

    /// Lets a received message go.
    pub(crate) fn release(&self, hold: Hold, reason_code: ReasonCode) {
        if let Some(released) = hold.release(reason_code) {
            let mut state = self.lock();
            state.released.push(released);
            self.wake_driver(state);
        }
    }

    /// Ends a stream: takes its filters off the router, and asks the server to forget those that nobody else wants.
    pub(crate) fn end_stream(
        &self,
        key: usize,
        filters: &[usize],
        wants_answers: bool,
    ) -> Vec<AwaitedAnswer> {
        let mut state = self.lock();
        let Some(mut queue) = state.queues.try_remove(key) else {
            return Vec::new();
        };
        let waker = queue.take_waker();
        state.over = state.over.saturating_sub(usize::from(queue.is_over()));
        if filters.is_empty() {
            state.router.remove_everything(key);
        }
        let mut answers = Vec::new();
        for &filter in filters {
            let Some(unwanted) = state.router.remove(filter, key) else {
                continue;
            };
            if state.closed || !unwanted.held {
                continue;
            }
            let (answer, awaited) = oneshot::channel();
            let text = unwanted.text;
            if wants_answers {
                answers.push((text.clone(), awaited));
            }
            // Without a connection these pile up: one for each topic filter is enough.
            state.control.retain(|control| {
                *control.text() != text || !matches!(control, Control::Unsubscribe { answer: None, .. })
            });
            state.control.push_back(Control::Unsubscribe {
                text,
                properties: PropertyList::new(),
                answer: wants_answers.then_some(answer),
            });
        }
        let mut released: Vec<_> =
            queue.into_holds().filter_map(|hold| hold.release(ReasonCode::SUCCESS)).collect();
        state.released.append(&mut released);
        self.wake_driver(state);
        drop(waker);
        answers
    }

    /// Waits for the server's answers, in their order.
    pub(crate) async fn await_answers(
        &self,
        answers: Vec<AwaitedAnswer>,
    ) -> Result<Vec<Granted>, SubscribeError> {
        let deadline = Instant::now().checked_add(self.limits.request_timeout);
        let mut granted = Vec::with_capacity(answers.len());
        for (text, answer) in answers {
            let answer = match deadline {
                Some(deadline) => {
                    tokio::time::timeout_at(deadline, answer).await.map_err(|_| SubscribeError::Timeout)?
                }
                None => answer.await,
            };
            let reason_code = answer.unwrap_or(Err(SubscribeError::Closed))?;
            granted.push(Granted { filter: String::from_utf8_lossy(&text).into_owned(), reason_code });
        }
        Ok(granted)
    }

    /// The connection is there, or not any more.
    pub(crate) fn set_connected(&self, connected: bool) {
        let status = if connected { Status::Connected } else { Status::Connecting };
        let mut state = self.lock();
        state.connected = connected;
        state.status = status.clone();
        drop(state);
        self.tell_status(status);
    }

    /// Asks for the end; what was asked for before gives way to what is more urgent.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let urgency = |close: &Close| match close {
            Close::Drain { .. } => 1,
            Close::Disconnect { .. } => 2,
            Close::Abort => 3,
        };
        let now = state.close.as_ref().map_or(0, urgency);
        if urgency(&close) > now {
            state.close = Some(close);
        }
        state.closing = true;
        self.wake_driver(state);
        self.room.notify_waiters();
    }

    /// The driver has ended: nobody is left waiting.
    pub(crate) fn end(&self, error: ConnectionError) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.closed = true;
        state.closing = true;
        state.connected = false;
        state.status = Status::Closed(error.clone());
        let mut wakers = state.deliveries.close();
        wakers.extend(state.queues.iter_mut().filter_map(|(_, queue)| queue.take_waker()));
        let publishes = core::mem::take(&mut state.publishes);
        let control = core::mem::take(&mut state.control);
        let close = (state.close.take(), core::mem::take(&mut state.reauthentications));
        let event = Event::Closed(error.clone());
        wakers.extend(state.events.iter_mut().filter_map(|(_, queue)| queue.push(event.clone())));
        drop(state);
        drop((publishes, control, close));
        self.tell_status(Status::Closed(error));
        self.room.notify_waiters();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Tells every stream of events.
    pub(crate) fn emit(&self, event: &Event) {
        let mut state = self.lock();
        let wakers: Vec<Waker> =
            state.events.iter_mut().filter_map(|(_, queue)| queue.push(event.clone())).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}
