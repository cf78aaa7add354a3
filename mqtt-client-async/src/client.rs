//! [`Client`]: the handle.

use std::sync::Arc;
use std::time::Duration;

use mqtt_client::{ReasonCode, RequestError};
use mqtt_packet::TopicFilter;
use tokio::sync::{oneshot, watch};

use crate::authentication::ReauthenticateError;
use crate::delivery::Delivery;
use crate::driver::Driver;
use crate::error::{ConnectionError, PublishError, SubscribeError};
use crate::event::Events;
use crate::figures::Figures;
use crate::message::Publish;
use crate::options::Options;
use crate::properties::PropertyList;
use crate::session::now;
use crate::shared::{Close, Control, Shared, Status};
use crate::subscription::{Subscribe, Subscription};

/// A handle on a connection to a server. Cloning it is cheap; all clones are one client. When the last one is dropped,
/// what was taken is delivered for up to [`response_timeout`](Options::response_timeout), and the client takes its leave
/// with DISCONNECT.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    request_timeout: Duration,
    /// For how long the last handle lets the driver go on.
    patience: Duration,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(drain(self.patience));
    }
}

fn drain(patience: Duration) -> Close {
    let now = now();
    Close::Drain { deadline: now.checked_add(patience).unwrap_or(now) }
}

/// What [`Client::shutdown`] found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many messages were delivered meanwhile.
    pub delivered: u64,
    /// Of how many that is unknown: they were not sent, or not acknowledged. What the server refused is not among them.
    pub pending: u64,
    /// Why the client ended: [`ConnectionError::Shutdown`] where it took its leave as it should.
    pub reason: ConnectionError,
}

impl Client {
    /// Connects, and starts a task on the current tokio runtime that drives the client.
    ///
    /// # Errors
    /// [`ConnectionError`]: the first attempt failed, and the client with it. To go on trying instead, use
    /// [`start`](Self::start).
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(options: Options) -> Result<Self, ConnectionError> {
        let (client, driver) = Self::new(options);
        let mut events = client.events();
        let task = tokio::spawn(driver);
        // A dropped future, or a failed attempt, leaves no task behind.
        let mut attempt = AbortOnDrop(Some(task));
        while let Some(event) = events.recv().await {
            match event {
                crate::Event::Connected { .. } => {
                    attempt.0 = None;
                    return Ok(client);
                }
                crate::Event::Disconnected(error) | crate::Event::Closed(error) => return Err(error),
                _ => {}
            }
        }
        Err(ConnectionError::DriverDropped)
    }

    /// Starts a task on the current tokio runtime that connects and drives the client, and returns at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let (client, driver) = Self::new(options);
        tokio::spawn(driver);
        client
    }

    /// A client, and the future that drives it, to be polled by the caller within a tokio runtime.
    pub fn new(options: Options) -> (Self, Driver) {
        let shared = Shared::new(options.queue);
        let handle = Handle {
            shared: shared.clone(),
            request_timeout: options.queue.request_timeout,
            patience: options.response_timeout,
        };
        (Self { handle: Arc::new(handle) }, Driver::new(shared, options))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Publishes a message, and waits for room in the queue if there is none. What becomes of it, the [`Delivery`] tells.
    ///
    /// # Errors
    /// [`PublishError`]: it was not taken. The wait ends after [`request_timeout`](Options::request_timeout).
    ///
    /// # Cancel safety
    /// Where the future is dropped before it is ready, the message is not sent.
    pub async fn publish(&self, publish: Publish) -> Result<Delivery, PublishError> {
        publish.check()?;
        self.shared().push_when_room(publish, self.handle.request_timeout).await
    }

    /// Publishes a message if there is room in the queue.
    ///
    /// # Errors
    /// [`PublishError`]: it was not taken.
    pub fn try_publish(&self, publish: Publish) -> Result<Delivery, PublishError> {
        publish.check()?;
        self.shared().push(&mut Some(publish))
    }

    /// Subscribes, and waits for the server's answer. The stream has what the server [granted](Subscription::granted).
    /// Messages may be in it already.
    ///
    /// # Errors
    /// [`SubscribeError`]: there is no subscription, or all topic filters were refused. The wait ends after
    /// [`request_timeout`](Options::request_timeout), also without a connection.
    ///
    /// # Cancel safety
    /// Where the future is dropped before it is ready, there is no subscription; the server is told if it knows of it.
    pub async fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Result<Subscription, SubscribeError> {
        let subscribe = subscribe.into();
        subscribe.check()?;
        let (mut subscription, answers) = self.begin_subscription(&subscribe)?;
        subscription.granted = self.shared().await_answers(answers).await?;
        match subscription.granted.first() {
            Some(first) if subscription.granted.iter().all(|granted| granted.reason_code.is_error()) => {
                Err(SubscribeError::Refused(first.reason_code))
            }
            _ => Ok(subscription),
        }
    }

    fn begin_subscription(
        &self,
        subscribe: &Subscribe,
    ) -> Result<(Subscription, Vec<crate::shared::AwaitedAnswer>), SubscribeError> {
        let mut state = self.shared().lock();
        if state.is_closing() {
            return Err(SubscribeError::Closed);
        }
        let (mut subscription, stream) =
            Subscription::open(self.shared().clone(), &mut state, subscribe.stream);
        let mut answers = Vec::with_capacity(subscribe.filters.len());
        for (text, options) in &subscribe.filters {
            // It was looked at before.
            let Ok(filter) = TopicFilter::new(text) else {
                continue;
            };
            let key = state.router.add(filter, *options, stream);
            state.router.set_properties(key, &subscribe.properties);
            subscription.filters.push(key);
            let Some(text) = state.router.get(key).map(|filter| filter.text.clone()) else {
                continue;
            };
            let (answer, awaited) = oneshot::channel();
            answers.push((text.clone(), awaited));
            state.ask(Control::Subscribe { key, text, answer: Some(answer) });
        }
        self.shared().wake_driver(state);
        Ok((subscription, answers))
    }

    /// Unsubscribes from a topic filter that an earlier run of the program left in its session, and waits for the answer:
    /// [`ReasonCode::NO_SUBSCRIPTION_EXISTED`] where there was none (5.0). What a [`Subscription`] holds, it ends itself.
    ///
    /// # Errors
    /// [`SubscribeError`]. The wait ends after [`request_timeout`](Options::request_timeout).
    ///
    /// # Cancel safety
    /// Where the future is dropped, the server may have been asked.
    pub async fn unsubscribe(
        &self,
        filter: &str,
        properties: PropertyList,
    ) -> Result<ReasonCode, SubscribeError> {
        let text = TopicFilter::new(filter).map_err(SubscribeError::Filter)?;
        let text = bytes::Bytes::copy_from_slice(text.as_bytes());
        let (answer, awaited) = oneshot::channel();
        let control = Control::Unsubscribe { text: text.clone(), properties, answer: Some(answer) };
        {
            let mut state = self.shared().lock();
            if state.is_closing() {
                return Err(SubscribeError::Closed);
            }
            state.ask(control);
            self.shared().wake_driver(state);
        }
        let answers = self.shared().await_answers(vec![(text, awaited)]).await?;
        answers.first().map(|granted| granted.reason_code).ok_or(SubscribeError::Closed)
    }

    /// A stream of everything that comes, whatever it was subscribed by.
    pub fn messages(&self) -> Subscription {
        self.messages_with(&Subscribe::new(mqtt_client::QoS::AtMostOnce))
    }

    /// A stream of everything that comes, with the bound, overflow policy and way of acknowledgement of `options`, whose
    /// topic filters are ignored.
    pub fn messages_with(&self, options: &Subscribe) -> Subscription {
        let mut state = self.shared().lock();
        let (subscription, key) = Subscription::open(self.shared().clone(), &mut state, options.stream);
        state.router.add_everything(key);
        drop(state);
        subscription
    }

    /// What happens to the connection from now on.
    pub fn events(&self) -> Events {
        Events::new(self.shared().clone())
    }

    /// Where the client is; to be watched.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared().status()
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.shared().lock().is_connected()
    }

    /// What the client has on its hands. With [`Subscription::len`] and [`Subscription::dropped`] of its streams, all that
    /// it holds is known.
    pub fn figures(&self) -> Figures {
        self.shared().lock().figures()
    }

    /// Authenticates the connection again, with a new [exchange](crate::Exchange), and waits for the server's answer.
    /// Everything else goes on meanwhile.
    ///
    /// # Errors
    /// [`ReauthenticateError`]. The wait ends after [`request_timeout`](Options::request_timeout).
    ///
    /// # Cancel safety
    /// Where the future is dropped, the authentication goes on.
    pub async fn reauthenticate(&self) -> Result<(), ReauthenticateError> {
        let answered = self.ask_for_authentication()?;
        let answered = tokio::time::timeout(self.handle.request_timeout, answered).await;
        answered.map_err(|_| ReauthenticateError::Timeout)?.unwrap_or(Err(ReauthenticateError::Closed))
    }

    fn ask_for_authentication(
        &self,
    ) -> Result<oneshot::Receiver<Result<(), ReauthenticateError>>, ReauthenticateError> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.shared().lock();
        if state.is_closing() {
            return Err(ReauthenticateError::Closed);
        }
        state.reauthentications.push(answer);
        self.shared().wake_driver(state);
        Ok(answered)
    }

    /// Takes no more requests, delivers what was taken for at most `patience`, takes leave with DISCONNECT, and waits for
    /// the end.
    ///
    /// # Cancel safety
    /// The client ends also where the future is dropped.
    pub async fn shutdown(&self, patience: Duration) -> Report {
        let (delivered, lost) = self.shared().lock().deliveries.counts();
        self.shared().close(drain(patience));
        let reason = self.ended().await;
        let (delivered_now, lost_now) = self.shared().lock().deliveries.counts();
        Report {
            delivered: delivered_now.saturating_sub(delivered),
            pending: lost_now.saturating_sub(lost),
            reason,
        }
    }

    /// Takes leave with this reason and these properties behind all that was published, without waiting for
    /// acknowledgements, and waits for the end. With [`ReasonCode::DISCONNECT_WITH_WILL_MESSAGE`] the server publishes the
    /// will. Before 5.0, DISCONNECT says nothing.
    ///
    /// # Errors
    /// [`RequestError`]: the version or the server does not allow it. The client goes on then.
    ///
    /// # Cancel safety
    /// The client ends also where the future is dropped.
    pub async fn disconnect_with(
        &self,
        reason_code: ReasonCode,
        properties: PropertyList,
    ) -> Result<(), RequestError> {
        let (answer, answered) = oneshot::channel();
        self.shared().close(Close::Disconnect { reason_code, properties, answer: Some(answer) });
        // Without an answer it has ended another way.
        answered.await.unwrap_or(Ok(()))?;
        self.ended().await;
        Ok(())
    }

    /// Closes the connection at once and without a word, so that the server publishes the will, and waits for the end.
    ///
    /// # Cancel safety
    /// The client ends also where the future is dropped.
    pub async fn abort(&self) {
        self.shared().close(Close::Abort);
        self.ended().await;
    }

    /// Waits until the client has ended, and says why.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ended(&self) -> ConnectionError {
        let mut status = self.status();
        let ended = status.wait_for(|status| matches!(status, Status::Closed(_))).await;
        match ended.as_deref() {
            Ok(Status::Closed(error)) => error.clone(),
            _ => ConnectionError::DriverDropped,
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("status", &*self.status().borrow()).finish_non_exhaustive()
    }
}

/// Ends a task with its owner.
struct AbortOnDrop<T>(Option<tokio::task::JoinHandle<T>>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
