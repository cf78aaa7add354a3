//! `mqtt pub`: publishes, and is done when the server has everything.

use std::io::{BufRead, IsTerminal, Read};
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use mqtt_client_async::{Client, Delivery, Publish};

use crate::connect;
use crate::failure::{Failure, Outcome};
use crate::options::{Settings, Source};
use crate::output::publish_from_line;

/// How many messages may wait to be acknowledged before the next line is read.
const WINDOW: usize = 512;

pub(crate) async fn run(settings: &Settings) -> Outcome {
    // What cannot be published needs no connection.
    let payload = payload(settings)?;
    let client = connect::client(settings).await?;
    let result = match payload {
        Some(payload) => repeat(&client, settings, payload).await,
        None => lines(&client, settings).await,
    };
    // Who said why must not be followed by the connection's end.
    let result = explain(result, &client, settings).await;
    leave(&client, settings).await;
    result
}

/// Says goodbye with the properties of `-D disconnect`.
pub(crate) async fn leave(client: &Client, settings: &Settings) {
    let properties = settings.properties.disconnect.clone();
    if client.disconnect_with(mqtt_client_async::ReasonCode::SUCCESS, properties).await.is_err() {
        client.abort().await;
    }
}

/// Where a delivery was lost with the connection, the connection's end says more.
async fn explain(result: Outcome, client: &Client, settings: &Settings) -> Outcome {
    match result {
        Err(failure) if failure.code == 7 => {
            let patience = Duration::from_secs(1);
            match tokio::time::timeout(patience, client.ended()).await {
                Ok(error) => Err(Failure::connection(&error, settings.version())),
                Err(_) => Err(failure),
            }
        }
        other => other,
    }
}

/// What is published as one message; `None` where each line is one.
pub(crate) fn payload(settings: &Settings) -> Outcome<Option<Bytes>> {
    let typed = match &settings.source {
        Some(Source::Argument(bytes)) => bytes.clone(),
        Some(Source::Nothing) => return Ok(Some(Bytes::new())),
        Some(Source::File(path)) => std::fs::read(path)
            .map_err(|error| Failure::error(format!("loading input file \"{}\": {error}", path.display())))?,
        Some(Source::StandardInput) => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes)?;
            if bytes.is_empty() {
                return Err(Failure::error("Zero length input."));
            }
            bytes
        }
        Some(Source::Lines | Source::JsonLines) | None => return Ok(None),
    };
    let payload = settings.codec.encode(typed).map_err(Failure::error)?;
    if payload.len() > mqtt_packet::MAX_REMAINING_LENGTH as usize {
        return Err(Failure::error("Message length must be less than 268435455 bytes."));
    }
    Ok(Some(payload.into()))
}

fn publish(settings: &Settings, payload: impl Into<Bytes>) -> Publish {
    Publish::new(settings.topic.as_deref().unwrap_or_default(), payload)
        .qos(settings.qos)
        .retain(settings.retain)
        .properties(settings.properties.publish.clone())
}

async fn repeat(client: &Client, settings: &Settings, payload: Bytes) -> Outcome {
    let progress = progress(u64::from(settings.repeat));
    for number in 0..settings.repeat {
        if number > 0 && !settings.repeat_delay.is_zero() {
            tokio::time::sleep(settings.repeat_delay).await;
        }
        let delivery = client.publish(publish(settings, payload.clone())).await?;
        delivery.await.map_err(|error| Failure::delivery(&error))?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

/// A bar for work that takes a while, where somebody sees it.
fn progress(count: u64) -> ProgressBar {
    if count < 10 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(count);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// A count for work of which nobody knows how long it is, where somebody sees it and does not type it himself.
fn counter() -> ProgressBar {
    if std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let counter = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} messages, {per_sec}") {
        counter.set_style(style);
    }
    counter
}

/// Each line of standard input is a message. They are read by a thread, because reading cannot be interrupted.
async fn lines(client: &Client, settings: &Settings) -> Outcome {
    let mut lines = read_lines();
    let mut open = std::collections::VecDeque::<Delivery>::new();
    let (mut result, progress) = (Ok(()), counter());
    while let Some(line) = next_line(&mut lines, client, settings).await? {
        let message = message(settings, line?)?;
        open.push_back(client.publish(message).await?);
        progress.inc(1);
        while open.len() >= WINDOW {
            if let Some(delivery) = open.pop_front() {
                result = result.and(delivery.await.map(drop).map_err(|error| Failure::delivery(&error)));
            }
        }
        result = stop_at_the_first(result)?;
    }
    for delivery in open {
        result = result.and(delivery.await.map(drop).map_err(|error| Failure::delivery(&error)));
    }
    progress.finish_and_clear();
    result
}

fn stop_at_the_first(result: Outcome) -> Outcome<Outcome> {
    result.map(Ok)
}

type Line = std::io::Result<Vec<u8>>;

/// The next line, or why there will be no more connection to publish it.
async fn next_line(
    lines: &mut tokio::sync::mpsc::Receiver<Line>,
    client: &Client,
    settings: &Settings,
) -> Outcome<Option<Line>> {
    tokio::select! {
        line = lines.recv() => Ok(line),
        error = client.ended() => Err(Failure::connection(&error, settings.version())),
    }
}

/// The lines of standard input, read by a thread of their own.
pub(crate) fn read_lines() -> tokio::sync::mpsc::Receiver<Line> {
    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            if line.ends_with(b"\n") {
                line.pop();
            }
            let line = match read {
                Ok(0) => return,
                Ok(_) => Ok(line),
                Err(error) => Err(error),
            };
            let is_end = line.is_err();
            if sender.blocking_send(line).is_err() || is_end {
                return;
            }
        }
    });
    receiver
}

fn message(settings: &Settings, line: Vec<u8>) -> Outcome<Publish> {
    if settings.source == Some(Source::JsonLines) {
        let line = String::from_utf8(line).map_err(|_| Failure::error("a line is no UTF-8"))?;
        let message = publish_from_line(&line, settings.topic.as_deref(), settings.qos, settings.retain);
        return message.map_err(|words| Failure::error(format!("{words}: {line}")));
    }
    Ok(publish(settings, settings.codec.encode(line).map_err(Failure::error)?))
}
