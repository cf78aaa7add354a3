//! [`Events`]: what happens to the connection, in its order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use mqtt_client::ReasonCode;
use slab::Slab;

use crate::error::ConnectionError;
use crate::shared::Shared;

/// Something that happened to the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server accepted the connection.
    Connected {
        /// Whether the server resumed the session.
        session_present: bool,
        /// How many topic filters the client subscribes to again, because the server does not know them.
        resubscribed: usize,
        /// The Client Identifier that the server chose, where it was left to it (5.0).
        assigned_client_id: Option<String>,
    },
    /// The connection ended, or an attempt to make one failed.
    Disconnected(ConnectionError),
    /// The next attempt begins after this time.
    Waiting {
        /// Attempts since there was a connection.
        attempt: u32,
        /// How long.
        delay: Duration,
    },
    /// A subscription was asked for again after a reconnect, and the server refused it. Its stream gets nothing for
    /// this topic filter.
    SubscriptionLost {
        /// The topic filter.
        filter: String,
        /// Why.
        reason_code: ReasonCode,
    },
    /// A message was larger than [`max_message_size`](crate::Options::max_message_size): it was passed over and
    /// acknowledged.
    MessageTooLarge {
        /// Its topic.
        topic: String,
        /// The length of its payload.
        len: usize,
    },
    /// A message came that no stream wants; it was acknowledged.
    Unrouted {
        /// Its topic.
        topic: String,
    },
    /// So many events were dropped here because this stream was slow.
    Missed(u64),
    /// The client has ended: the last event.
    Closed(ConnectionError),
}

/// How many events a stream holds.
const CAPACITY: usize = 256;

/// The driver's side of a stream of events.
#[derive(Default)]
pub(crate) struct EventQueue {
    events: VecDeque<Event>,
    missed: u64,
    waker: Option<Waker>,
}

impl EventQueue {
    /// Puts an event in. Returns whom to wake.
    pub(crate) fn push(&mut self, event: Event) -> Option<Waker> {
        if self.events.len() >= CAPACITY {
            self.events.pop_front();
            self.missed = self.missed.saturating_add(1);
        }
        self.events.push_back(event);
        self.waker.take()
    }

    fn pop(&mut self) -> Option<Event> {
        match self.missed {
            0 => self.events.pop_front(),
            missed => {
                self.missed = 0;
                Some(Event::Missed(missed))
            }
        }
    }
}

/// A stream of events from the moment it was asked for. It holds 256; where it is slow the oldest give way to
/// [`Event::Missed`]. It ends after [`Event::Closed`].
///
/// # Cancel safety
/// An event leaves the stream only by being returned.
pub struct Events {
    shared: Arc<Shared>,
    key: usize,
}

impl Events {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let key = shared.lock().events.insert(EventQueue::default());
        Self { shared, key }
    }

    /// The next event; `None` when the client has ended.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.shared.lock();
        let is_closed = state.is_closed();
        let Some(queue) = state.events.get_mut(self.key) else {
            return Poll::Ready(None);
        };
        if let Some(event) = queue.pop() {
            return Poll::Ready(Some(event));
        }
        if is_closed {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_recv(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let queue = state.events.try_remove(self.key);
        if state.events.is_empty() {
            // Every client has one at first, few have one for long.
            state.events = Slab::new();
        }
        drop(state);
        drop(queue);
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
