//! A dashboard in the terminal: `cargo run -p examples --example dashboard -- [SECONDS] [mqtt://host:port]`.
//! It shows the latest number under `plant/+/temperature`; without a URL it brings a broker and four plants along.

#![allow(clippy::disallowed_methods, clippy::arithmetic_side_effects)] // Spawning, a simulation.

use mqtt_broker_lite::{Broker, QoS, StartError};
use mqtt_client_async::{Client, Options, Overflow, Subscribe};
use ratatui::widgets::{Bar, BarChart, Block};
use std::{collections::BTreeMap, error::Error, thread, time::Duration};
use tokio::time::{interval, sleep};

/// A broker, and plants that grow warmer and cooler.
fn simulate() -> Result<String, StartError> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let url = broker.url();
    thread::spawn(move || {
        for step in 0_u32.. {
            let (plant, degrees) = (step % 4, 20 + (step / 20 + step % 4 * 7) % 20);
            let topic = format!("plant/{plant}/temperature");
            let _ = broker.publish(&topic, degrees.to_string().as_bytes(), QoS::AtMostOnce, true);
            thread::sleep(Duration::from_millis(15));
        }
    });
    Ok(url)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(3600), |text| text.parse())?;
    let client = Client::connect(Options::new(&arguments.next().map_or_else(simulate, Ok)?)?).await?;
    // A slow terminal sees the newest of each topic, never a backlog.
    let wanted = Subscribe::new(QoS::AtMostOnce).to("plant/+/temperature").overflow(Overflow::KeepLatest);
    let mut values = client.subscribe(wanted.capacity(64, 1 << 16)).await?;

    let mut latest = BTreeMap::<String, u64>::new();
    let (mut frames, end) = (interval(Duration::from_millis(100)), sleep(Duration::from_secs(seconds)));
    tokio::pin!(end);
    let mut terminal = ratatui::try_init()?;
    loop {
        tokio::select! {
            Some(message) = values.recv() => {
                let number = str::from_utf8(message.payload()).ok().and_then(|text| text.parse().ok());
                latest.insert(message.topic().to_owned(), number.unwrap_or(0));
            }
            _ = frames.tick() => {
                let bars: Vec<_> = latest.iter().map(|(topic, &value)| Bar::new(value).label(topic.as_str())).collect();
                let chart = BarChart::horizontal(bars).bar_gap(1).block(Block::bordered().title(" temperatures "));
                terminal.draw(|frame| frame.render_widget(chart, frame.area()))?;
            }
            () = &mut end => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    Ok(ratatui::try_restore()?)
}
