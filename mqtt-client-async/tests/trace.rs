//! What a packet trace says. Alone in its program: `tracing` remembers for the whole process whether anybody listens at a
//! place, so a test on another thread, without a subscriber, could silence this one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types
)]

mod peer;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt_client_async::*;
use peer::{Server, id_of};

/// What was traced.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a4_43_the_trace_tells_each_packet_and_no_secret() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let (_server, client, mut peer) =
        Server::connected_with(Version::V5, |options| options.credentials("me", "top-secret-password")).await;
    let mut stream = client.messages();
    let large = Publish::new("large", vec![b'x'; 100_000]).qos(QoS::AtLeastOnce);
    let delivery = client.publish(large).await.unwrap();
    let id = id_of(&peer.expect(0x32).await);
    peer.ack(0x40, id, 0).await;
    delivery.await.unwrap();
    peer.publish("answer", QoS::AtMostOnce, 0, b"secret-payload").await;
    stream.recv().await.unwrap();
    client.shutdown(Duration::from_secs(1)).await;
    drop(guard);
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let mut rest = text.as_str();
    for line in [
        "sent CONNECT",
        "received CONNACK",
        "sent Publish of 1000",
        "received PUBACK",
        "received PUBLISH",
        "sent DISCONNECT",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("{line} is not in its place in\n{text}"));
        rest = rest.get(at..).unwrap();
    }
    assert!(text.contains("client_id=\"tested\""), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(!text.contains("xxxx"), "{text}");
}
