//! The queue of a stream: the driver puts messages in one by one, who receives takes many at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use mqtt_client::QoS;

use crate::message::{Message, Right};
use crate::shared::Hold;
use crate::subscription::{Overflow, StreamOptions};

/// So many messages are taken at once, and no more once there are so many bytes of them.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 64 << 10;

/// The driver's end, behind the lock.
pub(crate) struct Queue {
    items: VecDeque<Message>,
    bytes: usize,
    waker: Option<Waker>,
    options: StreamOptions,
    dropped: u64,
    /// Whether there are more bytes than there may be, at the last look.
    is_over: bool,
    taken: Arc<Count>,
}

/// How many messages the receiving end has, and of how many bytes: they count until they are handed out.
#[derive(Default)]
struct Count {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl Queue {
    pub(crate) fn new(options: StreamOptions, taken: &Taken) -> Self {
        let taken = taken.count.clone();
        Self { items: VecDeque::new(), bytes: 0, waker: None, options, dropped: 0, is_over: false, taken }
    }

    /// How many messages wait, at either end.
    pub(crate) fn len(&self) -> usize {
        self.items.len().saturating_add(self.taken.messages.load(Ordering::Acquire))
    }

    /// How many messages gave way to others.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a message of this length is acknowledged only when it was handed out.
    pub(crate) fn holds(&self, len: usize) -> bool {
        self.options.manual || self.options.overflow == Overflow::Hold && self.is_full(len)
    }

    /// Puts a message in, or drops one. Returns whom to wake.
    pub(crate) fn push(&mut self, message: Message) -> Option<Waker> {
        match self.options.overflow {
            Overflow::Hold if message.qos() == QoS::AtMostOnce && self.is_full(message.len()) => {
                self.dropped = self.dropped.saturating_add(1);
                return None;
            }
            Overflow::Hold => {}
            Overflow::KeepLatest | Overflow::DropOldest => {
                if self.options.overflow == Overflow::KeepLatest && self.replace(&message) {
                    return self.waker.take();
                }
                while self.is_full(message.len()) && self.pop().is_some() {
                    self.dropped = self.dropped.saturating_add(1);
                }
            }
        }
        self.bytes = self.bytes.saturating_add(message.len());
        self.items.push_back(message);
        self.is_over = self.is_over || self.has_too_much();
        self.waker.take()
    }

    /// Whether it holds more bytes than it may: the driver reads no more until somebody takes them.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    fn has_too_much(&self) -> bool {
        self.options.overflow == Overflow::Hold
            && self.bytes() > self.options.capacity_bytes.saturating_mul(2)
            && self.len() > 1
    }

    fn is_full(&self, len: usize) -> bool {
        let messages = self.len();
        messages > 0
            && (messages >= self.options.capacity
                || self.bytes().saturating_add(len) > self.options.capacity_bytes)
    }

    fn bytes(&self) -> usize {
        self.bytes.saturating_add(self.taken.bytes.load(Ordering::Acquire))
    }

    /// Puts a message in place of an earlier one of the same topic.
    fn replace(&mut self, message: &Message) -> bool {
        let Some(earlier) = self.items.iter_mut().find(|earlier| earlier.topic() == message.topic()) else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(earlier.len()).saturating_add(message.len());
        *earlier = message.clone();
        self.dropped = self.dropped.saturating_add(1);
        true
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.len());
        Some(message)
    }

    /// The next message. Others go along to the receiving end, which is empty, where none of them can be dropped or
    /// replaced any more.
    pub(crate) fn take(&mut self, taken: &mut Taken) -> Option<Message> {
        let next = self.pop()?;
        self.is_over = self.has_too_much();
        while self.options.overflow == Overflow::Hold && taken.has_room() {
            let Some(message) = self.pop() else {
                break;
            };
            taken.put(message);
        }
        taken.tell();
        Some(next)
    }

    /// Whom to wake when there is a message.
    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(own) => own.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Nobody takes anything from here any more: what is held is let go.
    pub(crate) fn into_holds(self) -> impl Iterator<Item = Hold> {
        holds(self.items)
    }
}

/// The receiving end: messages that were taken from the queue together, so that not each of them costs the lock.
#[derive(Default)]
pub(crate) struct Taken {
    items: VecDeque<Message>,
    bytes: usize,
    count: Arc<Count>,
}

impl Taken {
    pub(crate) fn pop(&mut self) -> Option<Message> {
        let message = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.len());
        self.tell();
        Some(message)
    }

    fn has_room(&self) -> bool {
        self.items.len() < AT_ONCE && self.bytes < BYTES_AT_ONCE
    }

    fn put(&mut self, message: Message) {
        self.bytes = self.bytes.saturating_add(message.len());
        self.items.push_back(message);
    }

    /// Lets the driver know how much room there is.
    fn tell(&self) {
        self.count.messages.store(self.items.len(), Ordering::Release);
        self.count.bytes.store(self.bytes, Ordering::Release);
    }

    /// Nobody wants them any more: what is held is let go.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Hold> {
        holds(core::mem::take(&mut self.items))
    }
}

fn holds(items: VecDeque<Message>) -> impl Iterator<Item = Hold> {
    items.into_iter().filter_map(|message| match message.right {
        Right::Taker(hold) => Some(hold),
        _ => None,
    })
}
