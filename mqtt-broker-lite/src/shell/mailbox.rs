//! What others say to a worker, and the way there.

use super::carrier::Carrier;
use super::socket::Origin;
#[cfg(feature = "metrics")]
use super::worker::Figures;
use super::worker::Worker;
use crate::core::{
    Cause, Change, Decision, Envelope, Message, ObserverId, SessionNumber, ShardId, Token as QuestionToken,
};
use mio::Waker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex};

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

/// Whoever brings more letters than this at once leaves them to be read.
pub(super) const FEW: usize = 4;

/// Where a worker sits while its thread waits; empty before it began and after it stopped.
pub(super) type Seat = Arc<Mutex<Option<Worker>>>;

/// The way to a worker from other threads.
///
/// To wake a thread takes longer than to read a letter. So who brings a few letters to a worker that waits, and that had
/// little to do of late, does the worker's work for them. Nobody waits for a worker that is busy: it is woken.
#[derive(Clone)]
pub(super) struct Mailbox {
    letters: Sender<Letter>,
    waker: Arc<Waker>,
    /// Whether the worker was woken and has not looked yet: one system call is enough for any number of letters.
    is_called: Arc<AtomicBool>,
    pub(super) seat: Seat,
}

impl Mailbox {
    /// A mailbox, and where its letters come out.
    pub(super) fn new(waker: Waker) -> (Self, Receiver<Letter>) {
        let (sender, letters) = channel();
        let mailbox =
            Self { letters: sender, waker: Arc::new(waker), is_called: Arc::default(), seat: Arc::default() };
        (mailbox, letters)
    }

    /// Wakes the worker for a letter.
    pub(super) fn send(&self, letter: Letter) {
        self.post(letter);
        self.call();
    }

    /// Leaves a letter, to be followed by [`call`](Self::call) or [`read`](Self::read).
    pub(super) fn post(&self, letter: Letter) {
        // A worker that is gone has stopped.
        let _ = self.letters.send(letter);
    }

    /// Wakes the worker.
    pub(super) fn call(&self) {
        if !self.is_called.swap(true, Ordering::SeqCst) {
            let _ = self.waker.wake();
        }
    }

    /// Has the letters read on this thread if the worker waits, else on its own.
    pub(super) fn read(&self) {
        let visited = match self.seat.try_lock().as_deref_mut() {
            Ok(Some(worker)) => worker.visit(),
            Ok(None) | Err(_) => false,
        };
        if !visited {
            self.call();
        }
    }

    /// Nobody needs to call until [`look`](Self::look).
    pub(super) fn hold_calls(&self) {
        self.is_called.store(true, Ordering::SeqCst);
    }

    /// The worker looks: whoever leaves a letter after this has to call again.
    pub(super) fn look(&self) {
        // Not a mere store: what those left who did not call has to be seen.
        self.is_called.swap(false, Ordering::SeqCst);
    }
}
