//! Prints what is published, with the blocking client:
//! `cargo run -p examples --example subscribe -- FILTER [--qos 1] [--count N] [--broker mqtt://host:port]`.

#![allow(clippy::disallowed_methods, clippy::arithmetic_side_effects)]

use clap::Parser;
use mqtt_client::{
    Aliases, Client, ConnectOptions, Duration, QoS, Settings, Storage, SubscribeFilter, SubscribeOptions,
    Version,
    system::{SystemTimer, Tcp},
};
use std::error::Error;
use std::io::Write;

#[derive(Parser)]
struct Arguments {
    filter: String,
    #[arg(long, default_value_t = 0)]
    qos: u8,
    /// Leave after so many messages.
    #[arg(long)]
    count: Option<u64>,
    #[arg(long, default_value = "mqtt://127.0.0.1:1883")]
    broker: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let patience = Duration::from_secs(10);
    let network = Tcp::connect(arguments.broker.trim_start_matches("mqtt://"), patience)?;

    let mut storage = Storage::<16, 4096, 4096>::new();
    let mut receive = vec![0; 1 << 20];
    let settings = Settings::new(Version::V3_1_1);
    let mut client =
        Client::new(network, SystemTimer::new(), storage.lend(), &mut receive, Aliases::none(), settings);

    client.connect(&ConnectOptions::new("subscribe-example".try_into()?), patience)?;
    let qos = QoS::from_bits(arguments.qos).ok_or("the QoS is 0, 1 or 2")?;
    let filter = arguments.filter.as_str().try_into()?;
    let wanted = SubscribeFilter { filter, options: SubscribeOptions::new(qos) };
    let ticket = client.subscribe(&[wanted])?;
    let outcome = client.wait(ticket, patience, |_, _| {})?;
    eprintln!("subscribed to {filter}: {outcome:?}");

    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        // Keep alive and acknowledgements are seen to meanwhile; a shorter wait would not be a busier one.
        if let Some((publish, _)) = client.recv_timeout(Duration::from_secs(3600))? {
            std::io::stdout().write_all(publish.payload)?;
            println!();
            left -= 1;
        }
    }
    Ok(client.disconnect(patience)?)
}
