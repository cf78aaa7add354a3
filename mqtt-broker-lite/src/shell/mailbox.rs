//! What others say to a worker, and the way there.

use super::carrier::Carrier;
use super::socket::Origin;
#[cfg(feature = "metrics")]
use super::worker::Figures;
use crate::core::{
    Cause, Change, Decision, Envelope, Message, ObserverId, SessionNumber, ShardId, Token as QuestionToken,
};
use mio::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, SyncSender};

/// What others want of a worker.
pub(super) enum Letter {
    ShutDown,
    /// Another shard says something.
    Link(ShardId, Envelope),
    /// These causes are safe.
    Synced(Vec<Cause>),
    /// What waits for a session on the disk.
    Fetched(SessionNumber, Vec<Change>),
    /// The disk is full, or not any more.
    Full(bool),
    Publish(Arc<Message>),
    Observe(ObserverId, String, SyncSender<Arc<Message>>),
    Took(ObserverId, usize),
    Unobserve(ObserverId),
    /// A connection whose session is at home here, and what it sent so far.
    Adopt(Carrier, Origin, Vec<u8>),
    /// A question was answered.
    Answer(QuestionToken, Decision),
    /// Somebody wants to know how things are.
    #[cfg(feature = "metrics")]
    Count(SyncSender<Figures>),
}

/// The way to a worker from other threads.
#[derive(Clone)]
pub(super) struct Mailbox {
    pub(super) letters: Sender<Letter>,
    pub(super) waker: Arc<Waker>,
    /// Whether the worker was woken and has not looked yet: one system call is enough for any number of letters.
    pub(super) is_called: Arc<AtomicBool>,
}

impl Mailbox {
    pub(super) fn send(&self, letter: Letter) {
        // A worker that is gone has stopped.
        if self.letters.send(letter).is_ok() && !self.is_called.swap(true, Ordering::SeqCst) {
            let _ = self.waker.wake();
        }
    }
}
