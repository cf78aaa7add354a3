//! `mqtt rr`: a request and its response.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_client_async::{Client, Message, Publish, Subscribe, Subscription, Version};

use crate::connect;
use crate::failure::{Failure, Outcome};
use crate::options::Settings;
use crate::output::Printer;
use crate::publish::{leave, payload, read_lines};

pub(crate) async fn run(settings: &Settings) -> Outcome {
    let payload = payload(settings)?;
    let patience = settings.patience.unwrap_or(Duration::MAX);
    let exchange = async {
        let client = connect::client(settings).await?;
        // It lasts until the goodbye: dropping it earlier would unsubscribe.
        let mut responses = None;
        let result = exchange(&client, settings, payload, &mut responses).await;
        leave(&client, settings).await;
        result
    };
    tokio::time::timeout(patience, exchange).await.unwrap_or_else(|_| Err(Failure::timed_out()))
}

async fn exchange(
    client: &Client,
    settings: &Settings,
    payload: Option<Bytes>,
    responses: &mut Option<Subscription>,
) -> Outcome {
    let mut printer = Printer::new(settings);
    let response_topic = settings.response_topic.as_deref().unwrap_or_default();
    let subscribe = Subscribe::new(settings.qos)
        .properties(settings.properties.subscribe.clone())
        .retain_as_published(settings.retain_as_published)
        .retain_handling(settings.retain_handling)
        .to(response_topic);
    let subscription = client.subscribe(subscribe).await.map_err(|error| Failure::subscription(&error))?;
    let responses = responses.insert(subscription);
    match payload {
        Some(payload) => ask(client, settings, payload, responses, &mut printer).await,
        None => {
            let mut lines = read_lines();
            while let Some(line) = lines.recv().await {
                let payload = settings.codec.encode(line?).map_err(Failure::error)?;
                ask(client, settings, payload.into(), responses, &mut printer).await?;
            }
            Ok(())
        }
    }
}

async fn ask(
    client: &Client,
    settings: &Settings,
    payload: Bytes,
    responses: &mut Subscription,
    printer: &mut Printer,
) -> Outcome {
    let mut request = Publish::new(settings.topic.as_deref().unwrap_or_default(), payload)
        .qos(settings.qos)
        .retain(settings.retain)
        .properties(settings.properties.publish.clone());
    if settings.version() == Version::V5 {
        request = request.response_topic(settings.response_topic.as_deref().unwrap_or_default());
    }
    let sent = Instant::now();
    client.publish(request).await?.await.map_err(|error| Failure::delivery(&error))?;
    let response = response(client, settings, responses).await?;
    let taken = sent.elapsed();
    printer.print(&response)?;
    if settings.latency {
        println!("{}", latency(taken));
    }
    Ok(())
}

async fn response(client: &Client, settings: &Settings, responses: &mut Subscription) -> Outcome<Message> {
    loop {
        match responses.recv().await {
            Some(message) if message.retain() && settings.no_retained => {}
            Some(message) => return Ok(message),
            None => return Err(Failure::connection(&client.ended().await, settings.version())),
        }
    }
}

/// In the unit that fits.
fn latency(taken: Duration) -> String {
    let nanoseconds = taken.subsec_nanos();
    match (taken.as_secs(), nanoseconds) {
        (1.., _) => format!("Latency: {}.{nanoseconds:09}", taken.as_secs()),
        (0, ..1000) => format!("Latency: {nanoseconds}ns"),
        (0, ..1_000_000) => format!("Latency: {:.6}µs", f64::from(nanoseconds) / 1e3),
        (0, _) => format!("Latency: {:.6}ms", f64::from(nanoseconds) / 1e6),
    }
}
