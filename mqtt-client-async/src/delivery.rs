//! What becomes of published messages: a table of slots that the driver fills and [`Delivery`] futures read.
//!
//! A slot is let go when both sides are done with it, so neither a dropped future nor a driver that is late can mistake
//! one message for another. Slots are used again: in the steady state nothing is allocated.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::time::Instant;

use crate::error::DeliveryError;
use crate::message::Delivered;
use crate::shared::Shared;

/// What became of a message.
pub(crate) type Fate = Result<Delivered, DeliveryError>;

struct Slot {
    fate: Option<Fate>,
    waker: Option<Waker>,
    /// When the application gives up waiting.
    deadline: Option<Instant>,
    /// Whether the future exists, and whether the driver still works on the message.
    awaited: bool,
    driven: bool,
}

/// All messages of a client of which somebody wants to know something.
#[derive(Default)]
pub(crate) struct Deliveries {
    slots: Slab<Slot>,
    /// How many messages have no fate yet.
    open: usize,
    /// How many were delivered since the client began, and of how many it is unknown.
    delivered: u64,
    lost: u64,
    /// No deadline is before this.
    next_deadline: Option<Instant>,
}

impl Deliveries {
    pub(crate) fn open(&mut self, deadline: Option<Instant>) -> usize {
        self.open = self.open.saturating_add(1);
        if let Some(deadline) = deadline {
            self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline)));
        }
        self.slots.insert(Slot { fate: None, waker: None, deadline, awaited: true, driven: true })
    }

    pub(crate) const fn count_open(&self) -> usize {
        self.open
    }

    /// How many messages were delivered since the client began, and of how many nobody knows.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.delivered, self.lost)
    }

    /// Whether the message has no fate yet.
    pub(crate) fn is_open(&self, key: usize) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.fate.is_none())
    }

    /// The driver is done with a message. Returns whom to wake.
    pub(crate) fn complete(&mut self, key: usize, fate: Fate) -> Option<Waker> {
        let slot = self.slots.get_mut(key)?;
        slot.driven = false;
        if slot.fate.is_none() {
            self.open = self.open.saturating_sub(1);
            match &fate {
                Ok(_) => self.delivered = self.delivered.saturating_add(1),
                Err(DeliveryError::Refused(_) | DeliveryError::NotSent(_)) => {}
                Err(_) => self.lost = self.lost.saturating_add(1),
            }
            slot.fate = Some(fate);
        }
        let waker = slot.waker.take();
        if !slot.awaited {
            self.slots.remove(key);
        }
        waker
    }

    /// The earliest time at which [`expire`](Self::expire) may have something to do.
    pub(crate) const fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Ends the waits that are over. Returns whom to wake.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.next_deadline.is_none_or(|next| now < next) {
            return wakers;
        }
        let mut next: Option<Instant> = None;
        for (_, slot) in &mut self.slots {
            let Some(deadline) = slot.deadline.filter(|_| slot.fate.is_none()) else {
                continue;
            };
            if deadline <= now {
                slot.fate = Some(Err(DeliveryError::Timeout));
                self.open = self.open.saturating_sub(1);
                self.lost = self.lost.saturating_add(1);
                wakers.extend(slot.waker.take());
            } else {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
        }
        self.next_deadline = next;
        wakers
    }

    /// The driver is gone: nothing will be heard of any message any more. Returns whom to wake.
    pub(crate) fn close(&mut self) -> Vec<Waker> {
        let keys: Vec<usize> =
            self.slots.iter().filter(|(_, slot)| slot.driven).map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.complete(key, Err(DeliveryError::Closed))).collect()
    }

    fn poll(&mut self, key: usize, cx: &mut Context<'_>) -> Poll<Fate> {
        let Some(slot) = self.slots.get_mut(key) else {
            return Poll::Ready(Err(DeliveryError::Closed));
        };
        match slot.fate.take() {
            Some(fate) => {
                // `driven` slots stay known as having a fate.
                if slot.driven {
                    slot.fate = Some(fate.clone());
                }
                self.abandon(key);
                Poll::Ready(fate)
            }
            None => {
                match &mut slot.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Nobody waits for this message any more.
    pub(crate) fn abandon(&mut self, key: usize) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.awaited = false;
            slot.waker = None;
            if !slot.driven {
                self.slots.remove(key);
            }
        }
    }
}

/// Resolves to what became of a published message. It always does: at the latest after
/// [`delivery_timeout`](crate::Options::delivery_timeout), and when the client ends.
///
/// # Cancel safety
/// Dropping it changes nothing about the message; polling it again later, also by reference, loses nothing.
#[must_use = "without awaiting it nobody knows what became of the message; drop it if that is well"]
pub struct Delivery {
    shared: Arc<Shared>,
    key: Option<usize>,
}

impl Delivery {
    pub(crate) const fn new(shared: Arc<Shared>, key: usize) -> Self {
        Self { shared, key: Some(key) }
    }
}

impl Future for Delivery {
    type Output = Fate;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(key) = self.key else {
            return Poll::Ready(Err(DeliveryError::Closed));
        };
        let fate = self.shared.lock().deliveries.poll(key, cx);
        if fate.is_ready() {
            self.key = None;
        }
        fate
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.lock().deliveries.abandon(key);
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}
