//! A session that outlives the program: what it published without a server, its next run delivers.
//! `cargo run -p examples --example async_store`.

use mqtt_broker_lite::Broker;
use mqtt_client_async::{Client, FileStore, Options, Publish, QoS, UrlError};
use std::{error::Error, path::Path, time::Duration};

/// A session needs a name that stays, and a life beyond the connection.
fn options(url: &str, file: &Path) -> Result<Options, UrlError> {
    let file = file.to_owned();
    let options = Options::new(url)?.client_id("meter-7").session(Duration::from_secs(24 * 3600));
    Ok(options.store(move || FileStore::open(&file)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("async_store-{}", std::process::id()));

    // The first run: there is no server at this port. The message is in the file before the client has ended, and would
    // be after a power cut, too.
    let first = options("mqtt://127.0.0.1:1", &file)?;
    let client = Client::start(first.clone());
    drop(client.publish(Publish::new("meter/7", "21.5 kWh").qos(QoS::AtLeastOnce)).await?);
    client.abort().await;
    for message in first.stored_messages()? {
        println!("kept for {}: {}", message.topic(), String::from_utf8_lossy(message.payload()));
    }

    // The next run: the server is there. A stream of everything shows what a program would see of its own session.
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let listener = Client::connect(Options::new(&broker.url())?).await?;
    let mut meters = listener.subscribe(("meter/+", QoS::AtLeastOnce)).await?;
    let next = options(&broker.url(), &file)?;
    let client = Client::connect(next.clone()).await?;
    let message = meters.recv().await.ok_or("the stream ended")?;
    println!("delivered to {}: {}", message.topic(), String::from_utf8_lossy(message.payload()));
    let report = client.shutdown(Duration::from_secs(5)).await;
    println!("pending: {}, kept: {}", report.pending, next.stored_messages()?.len());

    listener.shutdown(Duration::from_secs(1)).await;
    broker.shutdown();
    Ok(std::fs::remove_file(&file)?)
}
