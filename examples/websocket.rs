//! MQTT over WebSocket, as browsers speak it: `cargo run -p examples --example websocket`.

use mqtt_broker_lite::Broker;
use mqtt_client_async::{Client, Options, Publish, QoS};
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Two doors of one broker: what comes in by one leaves by the other.
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").listen("ws://127.0.0.1:0/mqtt").start()?;
    let urls: Vec<String> = broker.urls().collect();
    let [plain, websocket] = urls.as_slice() else { return Err("two listeners, two URLs".into()) };

    // The URL says the carrier; nothing else in a program changes.
    let page = Client::connect(Options::new(websocket)?).await?;
    let mut positions = page.subscribe(("ship/+/position", QoS::AtLeastOnce)).await?;

    let ship = Client::connect(Options::new(plain)?).await?;
    ship.publish(Publish::new("ship/3/position", "54.32 N, 10.14 E").qos(QoS::AtLeastOnce)).await?.await?;

    let message = positions.recv().await.ok_or("the stream ended")?;
    println!("{}: {}", message.topic(), String::from_utf8_lossy(message.payload()));
    Ok(())
}
