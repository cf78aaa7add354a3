//! That nothing keeps a client from going from task to task: the types say so in each combination of features, see
//! `src/auto_traits.rs`; here it is done.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods
)]

mod peer;

use mqtt_client_async::*;
use peer::{Server, id_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_32_everything_can_be_spawned_on_any_thread() {
    let (_server, client, mut peer) = Server::connected(Version::V5).await;
    let (stream, _) = tokio::join!(client.subscribe(("a", QoS::AtLeastOnce)), peer.grant());
    let mut stream = stream.unwrap();
    let mut events = client.events();
    let receiving = tokio::spawn(async move { (stream.recv().await.unwrap(), stream) });
    let watching = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Closed(error) = event {
                return error;
            }
        }
        ConnectionError::DriverDropped
    });
    let publisher = client.clone();
    let publishing = tokio::spawn(async move {
        let delivery = publisher.publish(Publish::new("b", "x").qos(QoS::AtLeastOnce)).await.unwrap();
        tokio::spawn(delivery).await.unwrap()
    });
    let id = id_of(&peer.expect(0x32).await);
    peer.ack(0x40, id, 0).await;
    publishing.await.unwrap().unwrap();
    peer.publish("a", QoS::AtMostOnce, 0, b"y").await;
    let (message, stream) = receiving.await.unwrap();
    assert_eq!(message.payload(), b"y");
    let unsubscribing = tokio::spawn(stream.unsubscribe());
    let request = peer.expect(0xA2).await;
    peer.answer(&request, 0).await;
    unsubscribing.await.unwrap().unwrap();
    let ending = tokio::spawn(async move { client.shutdown(std::time::Duration::from_secs(5)).await });
    peer.expect(0xE0).await;
    drop(peer);
    assert!(matches!(ending.await.unwrap().reason, ConnectionError::Shutdown));
    assert!(matches!(watching.await.unwrap(), ConnectionError::Shutdown));
}
