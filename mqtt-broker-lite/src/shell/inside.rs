//! Publishing and subscribing inside the process.

use super::Broker;
use super::worker::{Letter, Mailbox};
use crate::core::{Message, ObserverId};
use mqtt_packet::{QoS, StringError, TopicFilter, TopicName};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How many messages wait for a subscription inside the process before new ones are dropped.
const WAITING: usize = 4096;

/// After how many messages taken the shard is told.
const TOLD_AT: usize = 256;

impl Broker {
    /// Publishes a message without a connection.
    ///
    /// # Errors
    /// The topic name is not one.
    pub fn publish(&self, topic: &str, payload: &[u8], qos: QoS, retain: bool) -> Result<(), StringError> {
        TopicName::new(topic)?;
        if let (Some(message), Some(mailbox)) =
            (Message::new(topic, payload, qos, retain), self.mailboxes.first())
        {
            mailbox.send(Letter::Publish(message));
        }
        Ok(())
    }

    /// Subscribes without a connection: to what is retained, and to what is published from now on.
    ///
    /// # Errors
    /// The topic filter is not one.
    pub fn subscribe(&self, filter: &str) -> Result<Subscription, StringError> {
        TopicFilter::new(filter)?;
        let number = self.observers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = ObserverId(number);
        let (sender, receiver) = sync_channel(WAITING);
        // There is always a first shard.
        let mailbox = self.mailboxes.first().cloned();
        if let Some(mailbox) = &mailbox {
            mailbox.send(Letter::Observe(id, filter.to_owned(), sender));
        }
        Ok(Subscription { id, receiver, mailbox, taken: Cell::new(0) })
    }
}

/// A subscription inside the process. Dropping it ends it.
///
/// Retained messages come first, as fast as they are taken, however many there are. Up to 4,096 messages wait to be
/// taken; what is published then is dropped, with a warning in the log.
pub struct Subscription {
    id: ObserverId,
    receiver: Receiver<Arc<Message>>,
    mailbox: Option<Mailbox>,
    /// How many were taken and the shard does not know it.
    taken: Cell<usize>,
}

impl Subscription {
    /// The next message, if one comes in this time.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or [`RecvTimeoutError::Disconnected`] where the broker has stopped.
    pub fn next_within(&self, time: Duration) -> Result<Arc<Message>, RecvTimeoutError> {
        let message = self.receiver.recv_timeout(time)?;
        self.took();
        Ok(message)
    }

    fn took(&self) {
        let taken = self.taken.get().saturating_add(1);
        self.taken.set(if taken < TOLD_AT { taken } else { 0 });
        if taken == TOLD_AT
            && let Some(mailbox) = &self.mailbox
        {
            mailbox.send(Letter::Took(self.id, taken));
        }
    }
}

/// Waits for the next message; ends when the broker stops.
impl Iterator for Subscription {
    type Item = Arc<Message>;

    fn next(&mut self) -> Option<Arc<Message>> {
        let message = self.receiver.recv().ok()?;
        self.took();
        Some(message)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.send(Letter::Unobserve(self.id));
        }
    }
}
