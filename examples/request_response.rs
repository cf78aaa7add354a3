//! Questions and answers over MQTT 5.0: `cargo run -p examples --example request_response`.

#![allow(clippy::disallowed_methods)] // Spawning.

use mqtt_broker_lite::Broker;
use mqtt_client_async::{Client, Options, Publish, QoS, Requests};
use std::{error::Error, time::Duration};

/// Answers on whatever topic the request names, with its correlation data.
async fn serve(client: Client) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut requests = client.subscribe(("service/length", QoS::AtLeastOnce)).await?;
    client.publish(Publish::new("service/state", "ready").retain(true)).await?.await?;
    while let Some(request) = requests.recv().await {
        if let Some(reply) = request.reply(request.payload().len().to_string()) {
            client.publish(reply).await?.await?;
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    tokio::spawn(serve(Client::connect(Options::new(&broker.url())?).await?));

    let client = Client::connect(Options::new(&broker.url())?).await?;
    client.subscribe("service/state").await?.recv().await.ok_or("no service")?;
    // One topic for all responses; they may come in any order.
    let requests = Requests::new(&client, "answers/client-1").await?;
    let ask = |word: &'static str| {
        requests.request(Publish::new("service/length", word).qos(QoS::AtLeastOnce), Duration::from_secs(5))
    };
    let (one, other) = tokio::try_join!(ask("broker"), ask("subscription"))?;
    for (word, answer) in [("broker", one), ("subscription", other)] {
        println!("{word} has {} letters", String::from_utf8_lossy(answer.payload()));
    }
    Ok(())
}
