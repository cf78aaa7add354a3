//! `mqtt sub`: subscribes, and prints what comes.

use std::io::Write;
use std::time::Duration;

use mqtt_client_async::{
    Client, Message, Overflow, Publish, QoS, ReasonCode, Subscribe, Subscription, TopicFilter, TopicName,
    Version,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::connect;
use crate::failure::{Failure, Outcome};
use crate::options::Settings;
use crate::output::Printer;
use crate::watch::Table;

/// Why the messages come to an end.
enum End {
    Done,
    /// SIGINT or SIGTERM.
    Interrupted,
    TimedOut,
}

pub(crate) async fn run(settings: &Settings) -> Outcome {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let patience = settings.patience.unwrap_or(Duration::MAX);
    let deadline = tokio::time::sleep(patience.min(Duration::from_secs(1 << 32)));
    tokio::pin!(deadline);
    // Everything that comes is printed, also what an earlier run of a session subscribed to. It is acknowledged once it is
    // printed, so that what is not printed comes again in a session that goes on.
    let everything = Subscribe::new(settings.qos).capacity(4096, 64 << 20).manual();
    let connect = connect::client_with_stream(settings, &everything);
    let (client, mut stream) = tokio::select! {
        connected = connect => connected?,
        _ = interrupt.recv() => return Err(Failure::new(255, "")),
        _ = terminate.recv() => return Err(Failure::new(255, "")),
        () = &mut deadline => return Err(Failure::timed_out()),
    };
    // They last until the goodbye: dropping them earlier would unsubscribe, and a session is to keep them.
    let mut subscriptions = None;
    let end = tokio::select! {
        end = messages(&client, settings, &mut stream, &mut subscriptions) => end.map(|()| End::Done),
        _ = interrupt.recv() => Ok(End::Interrupted),
        _ = terminate.recv() => Ok(End::Interrupted),
        () = &mut deadline => Ok(End::TimedOut),
    };
    let reason = match end {
        // As mosquitto_sub does: whoever is interrupted has its will published.
        Ok(End::Interrupted | End::TimedOut) => ReasonCode::DISCONNECT_WITH_WILL_MESSAGE,
        _ => ReasonCode::SUCCESS,
    };
    leave(&client, settings, reason).await;
    match end? {
        End::Done | End::Interrupted => Ok(()),
        End::TimedOut => Err(Failure::timed_out()),
    }
}

async fn leave(client: &Client, settings: &Settings, reason: ReasonCode) {
    let reason = if settings.version() == Version::V5 { reason } else { ReasonCode::SUCCESS };
    let properties = settings.properties.disconnect.clone();
    let goodbye = client.disconnect_with(reason, properties);
    // A server that is gone cannot be told.
    if !matches!(tokio::time::timeout(Duration::from_secs(2), goodbye).await, Ok(Ok(()))) {
        client.abort().await;
    }
}

/// Subscribes and prints, until all that was asked for is there.
async fn messages(
    client: &Client,
    settings: &Settings,
    stream: &mut Subscription,
    subscriptions: &mut Option<Subscription>,
) -> Outcome {
    let mut reader = Reader::new(client, settings)?;
    let subscribing = subscribe(client, settings);
    tokio::pin!(subscribing);
    // Messages may come before the acknowledgement, and be all that is wanted.
    let mut is_done = false;
    loop {
        tokio::select! {
            granted = &mut subscribing => {
                *subscriptions = granted?;
                break;
            }
            message = stream.recv(), if !is_done && !settings.exit_after_subscribing => {
                let Some(message) = message else { return ended(client, settings).await };
                is_done = reader.take(message, stream).await?;
            }
        }
    }
    if is_done {
        return Ok(());
    }
    if settings.exit_after_subscribing {
        return Ok(());
    }
    match reader.go_on(stream).await? {
        true => Ok(()),
        false => ended(client, settings).await,
    }
}

async fn ended(client: &Client, settings: &Settings) -> Outcome {
    Err(Failure::connection(&client.ended().await, settings.version()))
}

/// Subscribes to everything that is wanted, and unsubscribes from what is not.
async fn subscribe(client: &Client, settings: &Settings) -> Outcome<Option<Subscription>> {
    for filter in &settings.unsubscribe {
        let properties = settings.properties.unsubscribe.clone();
        let result = client.unsubscribe(filter, properties).await;
        result.map_err(|error| Failure::subscription(&error))?;
    }
    if settings.wanted.is_empty() {
        return Ok(None);
    }
    // The stream of everything has the messages; this one is there to hold the subscriptions.
    let mut subscribe = Subscribe::new(settings.qos)
        .overflow(Overflow::DropOldest)
        .capacity(1, 0)
        .properties(settings.properties.subscribe.clone())
        .retain_as_published(settings.retain_as_published)
        .retain_handling(settings.retain_handling);
    for wanted in &settings.wanted {
        subscribe = subscribe.qos(wanted.qos.unwrap_or(settings.qos)).to(wanted.filter.as_str());
    }
    let subscription = client.subscribe(subscribe).await.map_err(|error| Failure::subscription(&error))?;
    for granted in subscription.granted().iter().filter(|granted| granted.reason_code.is_error()) {
        if !settings.quiet {
            eprintln!("Warning: no subscription to {}: {}", granted.filter, granted.reason_code);
        }
    }
    Ok(Some(subscription))
}

/// What happens to the messages.
struct Reader<'s> {
    client: &'s Client,
    settings: &'s Settings,
    sink: Sink,
    /// How many are still wanted.
    left: u64,
}

/// Where messages go.
enum Sink {
    Print(Printer),
    Watch(Box<Table>),
    /// Only counted: how many came in this second.
    Rate(u64),
}

impl<'s> Reader<'s> {
    fn new(client: &'s Client, settings: &'s Settings) -> Outcome<Self> {
        let sink = if settings.watch {
            Sink::Watch(Box::new(Table::new(settings)?))
        } else if settings.message_rate {
            Sink::Rate(0)
        } else {
            Sink::Print(Printer::new(settings))
        };
        Ok(Self { client, settings, sink, left: settings.count.unwrap_or(u64::MAX) })
    }

    /// Reads until enough came (true) or nothing more can come (false).
    async fn go_on(&mut self, stream: &mut Subscription) -> Outcome<bool> {
        let mut tick = tokio::time::interval(match self.sink {
            Sink::Watch(_) => Duration::from_millis(100),
            _ => Duration::from_secs(1),
        });
        tick.tick().await;
        let is_timed = !matches!(self.sink, Sink::Print(_));
        loop {
            tokio::select! {
                message = stream.recv() => {
                    let Some(message) = message else { return Ok(false) };
                    if self.take(message, stream).await? {
                        return Ok(true);
                    }
                }
                _ = tick.tick(), if is_timed => if self.tick()? { return Ok(true) },
            }
        }
    }

    /// A moment has passed; true where whoever watches wants to leave.
    fn tick(&mut self) -> Outcome<bool> {
        match &mut self.sink {
            Sink::Print(_) => Ok(false),
            Sink::Watch(table) => table.draw(),
            Sink::Rate(count) => {
                println!("{}", core::mem::take(count));
                std::io::stdout().flush()?;
                Ok(false)
            }
        }
    }

    /// Deals with a message; true where it was the last that is wanted.
    async fn take(&mut self, message: Message, stream: &mut Subscription) -> Outcome<bool> {
        let is_last = self.deal_with(&message, stream).await?;
        message.acknowledge();
        Ok(is_last)
    }

    async fn deal_with(&mut self, message: &Message, stream: &mut Subscription) -> Outcome<bool> {
        if self.settings.retained_only && !message.retain() {
            return Ok(true);
        }
        if message.retain() && self.settings.no_retained || self.is_filtered_out(message) {
            return Ok(false);
        }
        if self.settings.remove_retained && message.retain() {
            let nothing = Publish::new(message.topic(), "").qos(QoS::AtLeastOnce).retain(true);
            self.client.publish(nothing).await?.await.map_err(|error| Failure::delivery(&error))?;
        }
        if self.settings.share >= 1.0 || fastrand::f64() < self.settings.share {
            match &mut self.sink {
                Sink::Print(printer) => {
                    printer.print(message)?;
                    // Whoever reads this gets it at once, but not each of many on its own.
                    if stream.is_empty() {
                        std::io::stdout().flush()?;
                    }
                }
                Sink::Watch(table) => table.put(message),
                Sink::Rate(count) => *count += 1,
            }
        }
        self.left = self.left.saturating_sub(1);
        Ok(self.left == 0)
    }

    fn is_filtered_out(&self, message: &Message) -> bool {
        let Ok(topic) = TopicName::new(message.topic()) else {
            return false;
        };
        self.settings
            .filter_out
            .iter()
            .any(|filter| TopicFilter::new(filter).is_ok_and(|filter| filter.matches(topic)))
    }
}
