//! Two clients on tokio and a broker in the same process: `cargo run -p examples --example async_chat`.

use mqtt_broker_lite::Broker;
use mqtt_client_async::{Client, Options, Publish, QoS};
use std::{error::Error, time::Duration};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let alice = Client::connect(Options::new(&broker.url())?).await?;
    let bob = Client::connect(Options::new(&broker.url())?).await?;

    // A stream of one's own for each subscription, with a filter, and it survives reconnects.
    let mut heard = bob.subscribe(("chat/#", QoS::AtLeastOnce)).await?;
    for line in ["hello bob", "are you there?"] {
        let delivery = alice.publish(Publish::new("chat/alice", line).qos(QoS::AtLeastOnce)).await?;
        // What became of it: acknowledged, or why not. Dropping this instead cancels nothing.
        delivery.await?;
    }
    for _ in 0..2 {
        let message = heard.recv().await.ok_or("the stream ended")?;
        println!("{}: {}", message.topic(), String::from_utf8_lossy(message.payload()));
    }

    for client in [alice, bob] {
        client.shutdown(Duration::from_secs(1)).await;
    }
    broker.shutdown();
    Ok(())
}
