//! The broker says it when a device is gone: `cargo run -p examples --example last_will`.

use mqtt_broker_lite::Broker;
use mqtt_client_async::{Client, LastWill, Options, Publish, QoS, Subscribe};
use std::error::Error;

/// Retained, so that whoever asks later learns it, too.
fn state(text: &'static str) -> Publish {
    Publish::new("pump/1/state", text).qos(QoS::AtLeastOnce).retain(true)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let watcher = Client::connect(Options::new(&broker.url())?).await?;
    let mut states = watcher.subscribe(Subscribe::new(QoS::AtLeastOnce).to("pump/+/state")).await?;

    // The will goes to the broker with CONNECT, long before it is needed.
    let pump = Client::connect(Options::new(&broker.url())?.will(LastWill::new(state("lost")))).await?;
    pump.publish(state("running")).await?.await?;
    // As if somebody pulled the plug: the connection ends without a goodbye. After `shutdown` there would be no will.
    pump.abort().await;

    for _ in 0..2 {
        let message = states.recv().await.ok_or("the stream ended")?;
        println!("{}: {}", message.topic(), String::from_utf8_lossy(message.payload()));
    }
    Ok(())
}
