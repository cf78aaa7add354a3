//! [`Subscription`]: a stream of messages with a bound, and what happens when it is slow.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use mqtt_client::{QoS, ReasonCode, RequestError, RetainHandling, SubscribeOptions};
use mqtt_packet::{EncodeError, PacketType, PropertyPlace, TopicFilter};

use crate::error::SubscribeError;
use crate::message::{ManualHold, Message, Right};
use crate::properties::PropertyList;
use crate::queue::{Queue, Taken};
use crate::shared::{AwaitedAnswer, Shared, State};

/// What happens to messages for a stream that is slow. Reading from the network never waits for a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Hold the flow back: a message of QoS 1 or 2 that finds the stream full waits in it unacknowledged until it is taken,
    /// so the server sends no more than its limit, in 5.0 our Receive Maximum. As messages are acknowledged in their order,
    /// that holds back all messages of QoS 1 and 2 of the client. Messages of QoS 0 that find the stream full are dropped.
    /// Should the server send twice the bytes that the stream may hold, nothing is read until some are taken: the one case
    /// in which a slow stream can cost the connection, by its Keep Alive.
    #[default]
    Hold,
    /// Messages are acknowledged as they come; where the stream is full the oldest is dropped.
    DropOldest,
    /// Messages are acknowledged as they come; of each topic only the latest is kept, and where there are too many topics
    /// the oldest message is dropped.
    KeepLatest,
}

/// What to subscribe to, and how.
///
/// ```
/// use mqtt_client_async::{Overflow, QoS, Subscribe};
/// let one = Subscribe::from("plant/+/temperature");
/// let more = Subscribe::new(QoS::AtLeastOnce).to("plant/#").to("weather").overflow(Overflow::KeepLatest);
/// ```
#[derive(Clone, Debug)]
pub struct Subscribe {
    pub(crate) filters: Vec<(String, SubscribeOptions)>,
    pub(crate) options: SubscribeOptions,
    /// What SUBSCRIBE says besides.
    pub(crate) properties: PropertyList,
    pub(crate) stream: StreamOptions,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamOptions {
    pub(crate) overflow: Overflow,
    pub(crate) manual: bool,
    pub(crate) capacity: usize,
    pub(crate) capacity_bytes: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { overflow: Overflow::Hold, manual: false, capacity: 1024, capacity_bytes: 16 << 20 }
    }
}

impl Subscribe {
    /// Nothing yet, with this QoS as the highest at which messages are wanted.
    pub fn new(qos: QoS) -> Self {
        Self {
            filters: Vec::new(),
            options: SubscribeOptions::new(qos),
            properties: PropertyList::new(),
            stream: StreamOptions::default(),
        }
    }

    /// And to this topic filter, with the options as they are now.
    #[must_use]
    pub fn to(mut self, filter: impl Into<String>) -> Self {
        self.filters.push((filter.into(), self.options));
        self
    }

    /// For topic filters that follow: the highest QoS at which their messages are wanted.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.options.qos = qos;
        self
    }

    /// For topic filters that follow: not what this client publishes itself (5.0 section 3.8.3.1).
    #[must_use]
    pub fn no_local(mut self, no_local: bool) -> Self {
        self.options.no_local = no_local;
        self
    }

    /// For topic filters that follow: messages keep the RETAIN flag that they were published with (5.0 section 3.8.3.1).
    #[must_use]
    pub fn retain_as_published(mut self, retain_as_published: bool) -> Self {
        self.options.retain_as_published = retain_as_published;
        self
    }

    /// For topic filters that follow: when retained messages are sent (5.0 section 3.8.3.1).
    #[must_use]
    pub fn retain_handling(mut self, retain_handling: RetainHandling) -> Self {
        self.options.retain_handling = retain_handling;
        self
    }

    /// What SUBSCRIBE says besides (5.0). A Subscription Identifier takes the place of the client's own, by which it tells
    /// several copies of a message apart; a stream may get one for each of its topic filters then.
    #[must_use]
    pub fn properties(self, properties: PropertyList) -> Self {
        Self { properties, ..self }
    }

    /// What happens when the stream is slow.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.stream.overflow = overflow;
        self
    }

    /// How many messages, and how many bytes of topics and payloads, the stream may hold: by default 1,024 and 16 MiB.
    /// At least one message fits always.
    #[must_use]
    pub fn capacity(mut self, messages: usize, bytes: usize) -> Self {
        self.stream.capacity = messages.max(1);
        self.stream.capacity_bytes = bytes;
        self
    }

    /// Messages of QoS 1 and 2 are acknowledged by hand, with [`Message::acknowledge`]. Implies [`Overflow::Hold`].
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.stream.manual = true;
        self.stream.overflow = Overflow::Hold;
        self
    }

    pub(crate) fn check(&self) -> Result<(), SubscribeError> {
        if self.filters.is_empty() {
            return Err(SubscribeError::NoFilter);
        }
        for (filter, _) in &self.filters {
            TopicFilter::new(filter).and_then(TopicFilter::shared).map_err(SubscribeError::Filter)?;
        }
        let place = PropertyPlace::of(PacketType::Subscribe);
        self.properties.at(place).map_err(|rule| RequestError::from(EncodeError::Rule(rule)))?;
        Ok(())
    }
}

/// To one topic filter, at most at QoS 0.
impl From<&str> for Subscribe {
    fn from(filter: &str) -> Self {
        Self::new(QoS::AtMostOnce).to(filter)
    }
}

/// To one topic filter.
impl From<(&str, QoS)> for Subscribe {
    fn from((filter, qos): (&str, QoS)) -> Self {
        Self::new(qos).to(filter)
    }
}

/// What the server said to one topic filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The topic filter.
    pub filter: String,
    /// The granted QoS (0, 1 or 2), or why there is no subscription. Where the server does not take such a subscription
    /// at all, the error has that reason code.
    pub reason_code: ReasonCode,
}

/// A stream of messages: those of its topic filters, or all that come.
///
/// It goes on over reconnects: where the server lost the session, the client subscribes again. It ends when the client
/// ends, after the messages that are in it. Dropping it unsubscribes from the topic filters that no other stream of the
/// client wants. It does not keep the client alive.
///
/// # Cancel safety
/// A message leaves the stream only by being returned; dropping the future of [`recv`](Self::recv) loses nothing.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    shared: Arc<Shared>,
    /// `None` once it has ended.
    key: Option<usize>,
    manual: bool,
    taken: Taken,
    /// The keys of the filters; none for a stream of everything.
    pub(crate) filters: Vec<usize>,
    pub(crate) granted: Vec<Granted>,
}

impl Subscription {
    /// A stream without a topic filter, and the key of its queue.
    pub(crate) fn open(shared: Arc<Shared>, state: &mut State, options: StreamOptions) -> (Self, usize) {
        let taken = Taken::default();
        let key = state.queues.insert(Queue::new(options, &taken));
        let (filters, granted) = (Vec::new(), Vec::new());
        (Self { shared, key: Some(key), manual: options.manual, taken, filters, granted }, key)
    }

    /// What the server said to each topic filter, in their order.
    pub fn granted(&self) -> &[Granted] {
        &self.granted
    }

    /// The next message; `None` when the client has ended.
    pub async fn recv(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next message if there is one now.
    pub fn try_recv(&mut self) -> Option<Message> {
        match self.next(None) {
            Poll::Ready(Some(message)) => Some(self.hand_out(message)),
            _ => None,
        }
    }

    /// How many messages were dropped because the stream was slow, or replaced by later ones of their topic.
    pub fn dropped(&self) -> u64 {
        self.with_queue(Queue::dropped)
    }

    /// How many messages wait in the stream.
    pub fn len(&self) -> usize {
        self.with_queue(Queue::len)
    }

    /// Whether no message waits in the stream.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with_queue<R: Default>(&self, ask: impl FnOnce(&Queue) -> R) -> R {
        let state = self.shared.lock();
        self.key.and_then(|key| state.queues.get(key)).map(ask).unwrap_or_default()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        // A stream that is never empty must not keep the driver from its turn.
        let budget = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        let message = std::task::ready!(self.next(Some(cx.waker())));
        budget.made_progress();
        match message {
            Some(message) if matches!(message.right, Right::Taker(_)) => {
                Poll::Ready(Some(self.hand_out(message)))
            }
            // The rule: it goes as it is.
            message => Poll::Ready(message),
        }
    }

    /// The next message; `None` when there will be no more.
    #[inline]
    fn next(&mut self, waker: Option<&Waker>) -> Poll<Option<Message>> {
        match self.taken.pop() {
            Some(message) => Poll::Ready(Some(message)),
            None => self.take(waker),
        }
    }

    /// The next message from the queue, where nothing was taken from there before.
    fn take(&mut self, waker: Option<&Waker>) -> Poll<Option<Message>> {
        let mut state = self.shared.lock();
        let is_closed = state.is_closed();
        let Some(queue) = self.key.and_then(|key| state.queues.get_mut(key)) else {
            return Poll::Ready(None);
        };
        let was_over = queue.is_over();
        let message = queue.take(&mut self.taken);
        if message.is_none() && !is_closed {
            waker.into_iter().for_each(|waker| queue.set_waker(waker));
            return Poll::Pending;
        }
        // Lets the driver read on, where this stream was what kept it from it.
        if was_over && !queue.is_over() {
            state.over = state.over.saturating_sub(1);
            self.shared.wake_driver(state);
        }
        Poll::Ready(message)
    }

    fn hand_out(&self, mut message: Message) -> Message {
        if matches!(message.right, Right::Taker(_))
            && let Right::Taker(hold) = std::mem::replace(&mut message.right, Right::None)
        {
            if self.manual {
                message.right = Right::Manual(ManualHold::new(self.shared.clone(), hold));
            } else {
                self.shared.release(hold, ReasonCode::SUCCESS);
            }
        }
        message
    }

    /// Unsubscribes and waits for the server's answer: for each topic filter that no other stream of the client wants,
    /// whether it did exist. Messages that are in the stream are dropped.
    ///
    /// # Errors
    /// [`SubscribeError::Timeout`], [`SubscribeError::Closed`], [`SubscribeError::Request`].
    ///
    /// # Cancel safety
    /// The subscription ends also where the future is dropped.
    pub async fn unsubscribe(mut self) -> Result<Vec<Granted>, SubscribeError> {
        let answers = self.end(true);
        self.shared.await_answers(answers).await
    }

    /// Ends the stream, once.
    fn end(&mut self, wants_answers: bool) -> Vec<AwaitedAnswer> {
        let Some(key) = self.key.take() else {
            return Vec::new();
        };
        self.taken.drain().for_each(|hold| self.shared.release(hold, ReasonCode::SUCCESS));
        self.shared.end_stream(key, &self.filters, wants_answers)
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        drop(self.end(false));
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("granted", &self.granted).finish_non_exhaustive()
    }
}
