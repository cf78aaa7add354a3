//! A carrier of one's own: here a serial line with a modem at its other end. `cargo run -p examples --example own_transport`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Spawning, sockets.

use mqtt_broker_lite::Broker;
use mqtt_client_async::transport::{Carrier, Transport};
use mqtt_client_async::{Client, Options, Publish, QoS, TransportError};
use std::{error::Error, net::SocketAddr, sync::Arc};
use tokio::{io::copy_bidirectional, net::TcpStream};

/// The modem dials the broker each time that the client connects.
#[derive(Debug)]
struct SerialLine {
    number: SocketAddr,
}

#[async_trait::async_trait]
impl Transport for SerialLine {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let fault = |error| TransportError::new(format!("dial {}", self.number), error);
        let mut call = TcpStream::connect(self.number).await.map_err(fault)?;
        // It takes 16 bytes at a time; packets are cut anywhere.
        let (ours, mut modem) = tokio::io::duplex(16);
        tokio::spawn(async move { copy_bidirectional(&mut modem, &mut call).await });
        Ok(Box::new(ours))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let line = SerialLine { number: *broker.addresses().first().ok_or("no listener")? };
    let client = Client::connect(Options::with_transport(Arc::new(line))).await?;

    let mut echo = client.subscribe(("echo", QoS::ExactlyOnce)).await?;
    let payload: String = "over the serial line ".repeat(100);
    client.publish(Publish::new("echo", payload.clone()).qos(QoS::ExactlyOnce)).await?.await?;
    let message = echo.recv().await.ok_or("the stream ended")?;
    println!("{} of {} bytes came back", message.payload().len(), payload.len());
    Ok(())
}
