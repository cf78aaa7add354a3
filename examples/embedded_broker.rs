//! A broker inside a test, in one line: `cargo test -p examples --example embedded_broker`.

use mqtt_broker_lite::Broker;
use mqtt_client_async::{Client, Options, Publish, QoS};

/// What a test is about: here, a service that turns a switch when it is told to.
async fn turn_on(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    client.publish(Publish::new("lamp/1/set", "on").qos(QoS::AtLeastOnce).retain(true)).await?.await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let client = Client::connect(Options::new(&broker.url())?).await?;
    turn_on(&client).await?;

    // Whoever comes later still learns the state of the lamp.
    let mut lamp = client.subscribe("lamp/+/set").await?;
    let state = lamp.recv().await.ok_or("no state")?;
    println!("{} is {}", state.topic(), String::from_utf8_lossy(state.payload()));
    Ok(())
}

#[cfg(test)]
#[test]
fn the_lamp_is_on_afterwards() {
    main().unwrap();
}
