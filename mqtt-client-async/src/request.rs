//! Requests that are answered by a message (5.0 section 4.10).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqtt_client::{Property, QoS};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::error::{DeliveryError, PublishError, SubscribeError};
use crate::message::{Message, Publish};
use crate::subscription::{Subscribe, Subscription};

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The client could not subscribe to the response topic.
    #[error("no subscription to the response topic: {0}")]
    Subscribe(#[from] SubscribeError),
    /// The request was not taken.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The request was not delivered.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// No response in time. One that comes later is dropped.
    #[error("no response in time")]
    Timeout,
    /// The client ended first.
    #[error("the client is closed")]
    Closed,
}

impl Client {
    /// Publishes a request, and waits for the first message on `response_topic`, which should be this request's alone.
    /// It works with every version: in 5.0 the request says the response topic in its properties, before that responders
    /// know it otherwise. For many requests in 5.0 see [`Requests`].
    ///
    /// # Errors
    /// [`ResponseError`]; all of it takes no longer than `patience`.
    ///
    /// # Cancel safety
    /// Where the future is dropped, the request may have been sent; a response is dropped.
    pub async fn request(
        &self,
        request: Publish,
        response_topic: &str,
        patience: Duration,
    ) -> Result<Message, ResponseError> {
        let request = request.response_topic(response_topic);
        let exchange = async {
            let mut responses = self.subscribe((response_topic, QoS::AtLeastOnce)).await?;
            self.publish(request).await?.await?;
            responses.recv().await.ok_or(ResponseError::Closed)
        };
        tokio::time::timeout(patience, exchange).await.unwrap_or(Err(ResponseError::Timeout))
    }
}

/// Who waits for which response.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Message>>>>;

/// Many requests at once over one response topic, told apart by their correlation data. For 5.0.
#[derive(Debug)]
pub struct Requests {
    client: Client,
    response_topic: String,
    waiting: Waiting,
    next: AtomicU64,
    task: JoinHandle<()>,
}

impl Requests {
    /// Subscribes to the response topic, which should be this client's alone, and starts a task that hands out responses
    /// until this is dropped.
    ///
    /// # Errors
    /// [`SubscribeError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn new(client: &Client, response_topic: impl Into<String>) -> Result<Self, SubscribeError> {
        let response_topic = response_topic.into();
        let subscribe = Subscribe::new(QoS::AtLeastOnce).to(response_topic.as_str());
        let responses = client.subscribe(subscribe).await?;
        let waiting = Waiting::default();
        let task = tokio::spawn(hand_out(responses, waiting.clone()));
        Ok(Self { client: client.clone(), response_topic, waiting, next: AtomicU64::new(0), task })
    }

    /// Publishes a request and waits for its response; a late one is dropped.
    ///
    /// # Errors
    /// [`ResponseError`]; all of it takes no longer than `patience`.
    ///
    /// # Cancel safety
    /// Where the future is dropped, the request may have been sent; its response is dropped.
    pub async fn request(&self, request: Publish, patience: Duration) -> Result<Message, ResponseError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, response) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        let _entry = Entry { waiting: &self.waiting, number };
        let request = request.response_topic(&self.response_topic).correlation_data(&number.to_be_bytes());
        let exchange = async {
            self.client.publish(request).await?.await?;
            response.await.map_err(|_| ResponseError::Closed)
        };
        tokio::time::timeout(patience, exchange).await.unwrap_or(Err(ResponseError::Timeout))
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request that somebody waits for.
struct Entry<'w> {
    waiting: &'w Waiting,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

async fn hand_out(mut responses: Subscription, waiting: Waiting) {
    while let Some(response) = responses.recv().await {
        let number = response.properties().correlation_data().and_then(|data| data.try_into().ok());
        let Some(number) = number.map(u64::from_be_bytes) else {
            continue;
        };
        let requester = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(requester) = requester {
            // It may have given up just now.
            let _ = requester.send(response);
        }
    }
    // Nobody is left waiting.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

impl Message {
    /// A message that answers this one: on its response topic, with its correlation data. `None` where it asks for no
    /// answer.
    pub fn reply(&self, payload: impl Into<bytes::Bytes>) -> Option<Publish> {
        let properties = self.properties();
        let reply = Publish::new(properties.response_topic()?.as_str(), payload).qos(self.qos());
        Some(match properties.correlation_data() {
            Some(data) => reply.property(Property::CorrelationData(data)),
            None => reply,
        })
    }
}
