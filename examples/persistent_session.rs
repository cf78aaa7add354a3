//! A session that outlives reader and broker: `cargo run -p examples --example persistent_session`.

#![allow(clippy::disallowed_methods)] // Spawning.

use mqtt_broker_lite::{Broker, SyncMode};
use mqtt_client_async::{Client, Options, Publish, QoS};
use std::{error::Error, path::Path, time::Duration};

fn start_broker(directory: &Path) -> Result<Broker, mqtt_broker_lite::StartError> {
    // What is acknowledged is on the disk.
    Broker::builder().listen("mqtt://127.0.0.1:0").data(directory, SyncMode::Always).start()
}

/// The same name and a session of a day: the broker keeps what comes while the reader is away.
fn reader(broker: &Broker) -> Result<Options, mqtt_client_async::UrlError> {
    Ok(Options::new(&broker.url())?
        .client_id("reader")
        .session(Duration::from_secs(86_400))
        .assume_session(true))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("mqtt-session-{}", std::process::id()));
    let broker = start_broker(&directory)?;

    // The reader subscribes, and leaves. Dropping the subscription first would end it.
    let client = Client::connect(reader(&broker)?).await?;
    let subscription = client.subscribe(("mail/#", QoS::AtLeastOnce)).await?;
    client.shutdown(Duration::from_secs(1)).await;
    drop(subscription);

    let writer = Client::connect(Options::new(&broker.url())?).await?;
    for letter in ["first letter", "second letter"] {
        writer.publish(Publish::new("mail/reader", letter).qos(QoS::AtLeastOnce)).await?.await?;
    }
    writer.shutdown(Duration::from_secs(1)).await;
    broker.shutdown();
    println!("the broker is gone, and comes back");
    let broker = start_broker(&directory)?;

    // What has waited comes at once, so there is a stream for it before there is a connection.
    let (client, driver) = Client::new(reader(&broker)?);
    let mut letters = client.messages();
    tokio::spawn(driver);
    for _ in 0..2 {
        let letter = letters.recv().await.ok_or("the stream ended")?;
        println!("{}: {}", letter.topic(), String::from_utf8_lossy(letter.payload()));
    }
    broker.shutdown();
    Ok(std::fs::remove_dir_all(directory)?)
}
