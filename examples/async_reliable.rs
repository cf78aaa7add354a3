//! A worker that loses nothing: messages acknowledged by hand once the work is done, requests answered, and a connection
//! that comes back by a policy, with fresh credentials. `cargo run -p examples --example async_reliable`.

#![allow(clippy::disallowed_methods)]

use mqtt_broker_lite::Broker;
use mqtt_client_async::{
    Attempt, Backoff, BeforeConnect, Client, Event, OfflinePolicy, Options, Publish, QoS, Requests,
    Subscribe, TransportError,
};
use std::{error::Error, time::Duration};

/// Asked before each attempt to connect: the place to fetch a token, or to choose another server.
struct FreshToken;

#[async_trait::async_trait]
impl BeforeConnect for FreshToken {
    async fn before_connect(&self, attempt: &mut Attempt) -> Result<(), TransportError> {
        attempt.values.user_name = Some("worker".to_owned());
        attempt.values.password = Some(format!("token of attempt {}", attempt.number).into());
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let options = Options::new(&broker.url())?
        .client_id("worker-1")
        .session(Duration::from_secs(3600))
        .reconnect(Backoff::new(Duration::from_millis(100), Duration::from_secs(30)).attempts(20))
        .before_connect(FreshToken)
        .offline(OfflinePolicy::QueueAcknowledged);
    let worker = Client::connect(options).await?;

    // What happens to the connection, for a log.
    let mut events = worker.events();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Disconnected(error) | Event::Closed(error) = event {
                eprintln!("worker: {error}");
            }
        }
    });

    // At most ten at a time: the server keeps the rest until some are acknowledged.
    let wanted = Subscribe::new(QoS::AtLeastOnce).to("jobs/+").manual().capacity(10, 1 << 20);
    let mut jobs = worker.subscribe(wanted).await?;
    let answers = worker.clone();
    tokio::spawn(async move {
        while let Some(job) = jobs.recv().await {
            // The work. Should the program die here, the job comes again.
            let result = String::from_utf8_lossy(job.payload()).to_uppercase();
            if let Some(answer) = job.reply(result) {
                // From inside of the loop, also with a full queue: nothing can stall.
                if let Ok(delivery) = answers.publish(answer.qos(QoS::AtLeastOnce)).await {
                    let _ = delivery.await;
                }
            }
            job.acknowledge();
        }
    });

    // Who has work to do, and wants to know what became of it.
    let client = Client::connect(Options::new(&broker.url())?).await?;
    let requests = Requests::new(&client, "clients/1/answers").await?;
    for text in ["one", "two"] {
        let job = Publish::new("jobs/1", text).qos(QoS::AtLeastOnce);
        let answer = requests.request(job, Duration::from_secs(5)).await?;
        println!("{text}: {}", String::from_utf8_lossy(answer.payload()));
    }

    client.shutdown(Duration::from_secs(1)).await;
    let report = worker.shutdown(Duration::from_secs(1)).await;
    println!("{} answers delivered, {} unknown", worker.figures().delivered, report.pending);
    broker.shutdown();
    Ok(())
}
