//! Publishes a file with the blocking client and waits until the broker has it:
//! `cargo run -p examples --example publish -- TOPIC FILE [--qos 1] [--retain] [--broker mqtt://host:port]`.

#![allow(clippy::disallowed_methods, clippy::arithmetic_side_effects)]

use clap::Parser;
use mqtt_client::{
    Aliases, Client, ConnectOptions, Duration, Memory, Message, QoS, ReceivedSlot, SendSlot, Settings,
    Version,
    system::{SystemTimer, Tcp},
};
use std::{error::Error, fs, path::PathBuf};

#[derive(Parser)]
struct Arguments {
    topic: String,
    file: PathBuf,
    #[arg(long, default_value_t = 0)]
    qos: u8,
    #[arg(long)]
    retain: bool,
    #[arg(long, default_value = "mqtt://127.0.0.1:1883")]
    broker: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let payload =
        fs::read(&arguments.file).map_err(|error| format!("{}: {error}", arguments.file.display()))?;
    let patience = Duration::from_secs(10);
    let network = Tcp::connect(arguments.broker.trim_start_matches("mqtt://"), patience)?;

    // The client allocates nothing: all that can be in flight fits what is lent here.
    let (mut transmit, mut messages) = (vec![0; payload.len() + 512], vec![0; payload.len() + 512]);
    let (mut send, mut received, mut receive) = ([SendSlot::EMPTY; 1], [ReceivedSlot::EMPTY; 1], [0; 512]);
    let memory = Memory {
        transmit: &mut transmit,
        messages: &mut messages,
        send: &mut send,
        received: &mut received,
        aliases: &mut [],
    };
    let settings = Settings::new(Version::V3_1_1);
    let mut client =
        Client::new(network, SystemTimer::new(), memory, &mut receive, Aliases::none(), settings);

    client.connect(&ConnectOptions::new("publish-example".try_into()?), patience)?;
    let message = Message::new(arguments.topic.as_str().try_into()?, &payload)
        .with_qos(QoS::from_bits(arguments.qos).ok_or("the QoS is 0, 1 or 2")?)
        .with_retain(arguments.retain);
    let outcome = client.publish_and_wait(&message, patience, |_, _| {})?;
    println!("{} bytes to {}: {outcome:?}", payload.len(), arguments.topic);
    Ok(client.disconnect(patience)?)
}
