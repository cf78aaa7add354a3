//! Workers that share a subscription, each message for one of them: `cargo run -p examples --example shared_workers`.

#![allow(clippy::disallowed_methods, clippy::arithmetic_side_effects)] // Spawning, counting.

use mqtt_broker_lite::Broker;
use mqtt_client_async::{Client, Options, Publish, QoS};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let (done, mut results) = mpsc::channel(16);
    for worker in 1..=3 {
        let client = Client::connect(Options::new(&broker.url())?).await?;
        let mut jobs = client.subscribe(("$share/workers/jobs/#", QoS::AtLeastOnce)).await?;
        let done = done.clone();
        tokio::spawn(async move {
            while let Some(job) = jobs.recv().await {
                // Here the work would be done.
                let _ = done.send((worker, job.topic().to_owned())).await;
            }
            drop(client);
        });
    }

    let boss = Client::connect(Options::new(&broker.url())?).await?;
    for job in 0..12 {
        boss.publish(Publish::new(format!("jobs/{job}"), "do it").qos(QoS::AtLeastOnce)).await?.await?;
    }

    let (mut jobs, mut shares) = (BTreeSet::new(), BTreeMap::new());
    for _ in 0..12 {
        let (worker, job) = results.recv().await.ok_or("the workers ended")?;
        jobs.insert(job);
        *shares.entry(worker).or_insert(0_u32) += 1;
    }
    println!("{} jobs, each done once", jobs.len());
    for (worker, share) in shares {
        println!("worker {worker}: {share} jobs");
    }
    Ok(())
}
