//! The same telemetry by MQTT and by HTTP, and the bytes of both: `cargo run -p examples --example mqtt_against_http`.
//! Both have one connection for all messages. HTTP has the headers of curl and nginx; those of IP and TCP do not count.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::arithmetic_side_effects)] // Sockets, sums.

use mqtt_broker_lite::Broker;
use mqtt_client_async::{Client, Options, Publish, QoS};
use std::{error::Error, io, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

const COUNT: u32 = 1000;
const PAYLOAD: &str = r#"{"temperature":21.5,"humidity":48}"#;
const REQUEST: &str = "POST /plant/1/climate HTTP/1.1\r\nHost: telemetry.example.org\r\nUser-Agent: curl/8.14.1\r\n\
    Accept: */*\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 204 No Content\r\nServer: nginx/1.26.3\r\nDate: Thu, 26 Nov 2026 08:00:00 GMT\r\n\
    Connection: keep-alive\r\n\r\n";

async fn http() -> io::Result<u64> {
    let door = TcpListener::bind("127.0.0.1:0").await?;
    let (mut client, (mut server, _)) =
        tokio::try_join!(TcpStream::connect(door.local_addr()?), door.accept())?;
    let mut bytes = 0;
    for _ in 0..COUNT {
        client.write_all(format!("{REQUEST}{PAYLOAD}").as_bytes()).await?;
        bytes += server.read_exact(&mut [0; REQUEST.len() + PAYLOAD.len()]).await?;
        server.write_all(RESPONSE.as_bytes()).await?;
        bytes += client.read_exact(&mut [0; RESPONSE.len()]).await?;
    }
    Ok(bytes as u64)
}

async fn mqtt(qos: QoS) -> Result<u64, Box<dyn Error>> {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start()?;
    let (listener, address) = (TcpListener::bind("127.0.0.1:0").await?, broker.addresses().to_vec());
    // The topic is said once; then a number stands for it.
    let options = Options::new(&format!("mqtt://{}", listener.local_addr()?))?.topic_aliases(1);
    // Stands between client and broker, and counts.
    let count = tokio::spawn(async move {
        let (mut client, mut server) = (listener.accept().await?.0, TcpStream::connect(&address[..]).await?);
        copy_bidirectional(&mut client, &mut server).await
    });
    let client = Client::connect(options).await?;
    for _ in 0..COUNT {
        client.publish(Publish::new("plant/1/climate", PAYLOAD).qos(qos)).await?.await?;
    }
    client.shutdown(Duration::from_secs(5)).await;
    Ok(count.await?.map(|(up, down)| up + down)?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let http = http().await?;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let bytes = mqtt(qos).await?;
        println!("MQTT QoS {}: {bytes} bytes, HTTP {http}: {:.1} x", qos as u8, http as f64 / bytes as f64);
    }
    Ok(())
}
