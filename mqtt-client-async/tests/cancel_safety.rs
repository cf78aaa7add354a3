//! Every future of the client, dropped after every number of polls: nothing is lost, nothing is left behind, and the
//! client goes on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod peer;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt_client_async::*;
use peer::{Peer, Server, id_of};

/// More polls than any of the futures needs.
const POLLS: usize = 12;
const V: [Version; 2] = [Version::V3_1_1, Version::V5];

/// A future that is given up after so many polls.
struct Cut<F> {
    future: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn cut<F: Future>(future: F, polls: usize) -> Cut<F> {
    Cut { future: Box::pin(future), polls }
}

/// What a server that answers everything has seen.
#[derive(Default)]
struct Seen {
    /// How often each payload came.
    payloads: BTreeMap<Vec<u8>, usize>,
    /// SUBSCRIBE less UNSUBSCRIBE for each filter.
    filters: BTreeMap<Vec<u8>, isize>,
}

/// Answers everything, a little late.
async fn serve(mut peer: Peer, version: Version, seen: Arc<Mutex<Seen>>) {
    while let Some(packet) = peer.next().await {
        tokio::task::yield_now().await;
        let is_v5 = version == Version::V5;
        match packet[0] {
            0x82 | 0xA2 => {
                let start = if !is_v5 { 4 } else { 5 + usize::from(packet[4]) };
                let len = usize::from(packet[start + 1]);
                let filter = packet[start + 2..start + 2 + len].to_vec();
                *seen.lock().unwrap().filters.entry(filter).or_default() +=
                    if packet[0] == 0x82 { 1 } else { -1 };
                peer.answer(&packet, 0).await;
            }
            0x30 | 0x32 => {
                let payload = packet[packet.len() - 4..].to_vec();
                *seen.lock().unwrap().payloads.entry(payload).or_default() += 1;
                if packet[0] == 0x32 {
                    peer.ack(0x40, id_of(&packet), 0).await;
                }
            }
            // One challenge, then content.
            0xF0 => {
                let code = if packet[2] == 0x19 { 0x18 } else { 0 };
                peer.send(&[&[0xF0, 2 + OPEN.len() as u8, code, OPEN.len() as u8], OPEN].concat()).await;
            }
            0xE0 => return,
            _ => {}
        }
    }
}

/// A method of authentication that knows no secret, and it as a property.
struct Open;
const OPEN: &[u8] = b"\x15\x00\x04open";

impl Authenticator for Open {
    fn method(&self) -> &str {
        "open"
    }

    fn begin(&self) -> Box<dyn Exchange> {
        Box::new(Self)
    }
}

#[async_trait::async_trait]
impl Exchange for Open {
    async fn answer(&mut self, _: &[u8]) -> Result<bytes::Bytes, AuthenticationError> {
        tokio::task::yield_now().await;
        Ok(bytes::Bytes::new())
    }
}

struct World {
    client: Client,
    seen: Arc<Mutex<Seen>>,
}

impl World {
    async fn new(version: Version) -> Self {
        let (_server, client, peer) =
            Server::connected_with(version, |options| options.queue(2, 1 << 20).no_reconnect()).await;
        Self::of(client, peer, version)
    }

    fn of(client: Client, peer: Peer, version: Version) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        tokio::spawn(serve(peer, version, seen.clone()));
        Self { client, seen }
    }

    /// The client works, and has nothing left to do.
    async fn check(self) -> Arc<Mutex<Seen>> {
        let message = Publish::new("t", "last").qos(QoS::AtLeastOnce);
        self.client.publish(message).await.unwrap().await.unwrap();
        let stream = self.client.subscribe("last").await.unwrap();
        stream.unsubscribe().await.unwrap();
        let report = self.client.shutdown(Duration::from_secs(10)).await;
        assert_eq!(report.pending, 0);
        assert!(matches!(report.reason, ConnectionError::Shutdown), "{}", report.reason);
        self.seen
    }
}

#[tokio::test(start_paused = true)]
async fn a4_31_publish_and_its_delivery() {
    for version in V {
        for (polls, later) in (0..POLLS).flat_map(|polls| (0..POLLS).map(move |later| (polls, later))) {
            let world = World::new(version).await;
            let mut taken = 0;
            for n in 0..6_u8 {
                let message = Publish::new("t", vec![0, 0, 0, n]).qos(QoS::AtLeastOnce);
                if let Some(delivery) = cut(world.client.publish(message), polls).await {
                    taken += 1;
                    if let Some(fate) = cut(delivery.unwrap(), later).await {
                        fate.unwrap();
                    }
                }
            }
            let seen = world.check().await;
            let payloads = &seen.lock().unwrap().payloads;
            // What was taken arrived once; what was given up did not.
            assert_eq!(payloads.len(), taken + 1);
            assert!(payloads.values().all(|&times| times == 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_by_reference_can_be_polled_again() {
    let world = World::new(Version::V5).await;
    for polls in 0..POLLS {
        let message = Publish::new("t", "once").qos(QoS::AtLeastOnce);
        let mut delivery = world.client.publish(message).await.unwrap();
        if cut(&mut delivery, polls).await.is_none() {
            delivery.await.unwrap();
        }
    }
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn subscribe_and_unsubscribe() {
    for version in V {
        for (polls, later) in (0..POLLS).flat_map(|polls| (0..POLLS).map(move |later| (polls, later))) {
            let world = World::new(version).await;
            let what = Subscribe::new(QoS::AtMostOnce).to("a").to("b");
            if let Some(stream) = cut(world.client.subscribe(what), polls).await {
                cut(stream.unwrap().unsubscribe(), later).await;
            }
            let seen = world.check().await;
            assert!(seen.lock().unwrap().filters.values().all(|&balance| balance == 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn recv_of_messages_and_events() {
    const N: u8 = 100;
    for version in V {
        for polls in 0..4 {
            let (_server, client, mut peer) =
                Server::connected_with(version, |options| options.no_reconnect()).await;
            let mut stream = client.messages();
            let mut events = client.events();
            tokio::spawn(async move {
                for n in 0..N {
                    peer.publish("t", QoS::AtLeastOnce, u16::from(n) + 1, &[n]).await;
                    tokio::task::yield_now().await;
                }
                peer.expect_end().await;
            });
            for n in 0..N {
                let message = loop {
                    match cut(stream.recv(), polls).await {
                        Some(message) => break message.unwrap(),
                        None => tokio::task::yield_now().await,
                    }
                    if polls == 0 {
                        break stream.recv().await.unwrap();
                    }
                };
                assert_eq!(message.payload(), [n]);
            }
            client.abort().await;
            loop {
                match cut(events.recv(), polls.max(1)).await {
                    Some(Some(Event::Closed(ConnectionError::Shutdown))) => break,
                    Some(other) => panic!("{other:?}"),
                    None => tokio::task::yield_now().await,
                }
            }
            assert!(events.recv().await.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connect_leaves_no_connection_behind() {
    for polls in 0..POLLS {
        let (server, options) = Server::new(Version::V5);
        let serving = tokio::spawn(async move {
            let mut peer = server.next().await;
            let first = peer.next().await;
            if first.is_some() {
                peer.connack(false, 0, &[]).await;
                peer.expect_end().await;
            }
        });
        let connected = cut(Client::connect(options), polls).await;
        drop(connected);
        // Nothing came at all, or the connection has ended.
        if polls > 1 {
            serving.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_ends_come_though_nobody_waits_for_them() {
    for version in V {
        for polls in 1..POLLS {
            for way in 0..3 {
                let world = World::new(version).await;
                let client = world.client.clone();
                match way {
                    0 => drop(cut(client.shutdown(Duration::from_secs(5)), polls).await),
                    1 => drop(
                        cut(client.disconnect_with(ReasonCode::SUCCESS, PropertyList::new()), polls).await,
                    ),
                    _ => drop(cut(client.abort(), polls).await),
                }
                assert!(matches!(client.ended().await, ConnectionError::Shutdown));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests() {
    for polls in 0..POLLS {
        let world = World::new(Version::V5).await;
        let exchange = world.client.request(Publish::new("q", "what"), "a", Duration::from_secs(5));
        cut(exchange, polls).await;
        let many = Requests::new(&world.client, "b").await.unwrap();
        cut(many.request(Publish::new("q", "what"), Duration::from_secs(5)), polls).await;
        drop(many);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let seen = world.check().await;
        assert!(seen.lock().unwrap().filters.values().all(|&balance| balance == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn reauthenticate_goes_on_though_nobody_waits_for_it() {
    for (polls, later) in (0..POLLS).flat_map(|polls| (0..POLLS).map(move |later| (polls, later))) {
        let (server, options) = Server::new(Version::V5);
        let options = options.authenticator(Open).no_reconnect();
        let (client, peer) = tokio::join!(Client::connect(options), server.accept_with(false, OPEN));
        let world = World::of(client.unwrap(), peer, Version::V5);
        // The second one comes while the first one is on its way, or when it is done.
        for polls in [polls, later] {
            if let Some(result) = cut(world.client.reauthenticate(), polls).await {
                result.unwrap();
            }
        }
        world.client.reauthenticate().await.unwrap();
        world.check().await;
    }
}

#[tokio::test(start_paused = true)]
async fn unsubscribe_from_what_an_earlier_run_left() {
    for version in V {
        for polls in 0..POLLS {
            let world = World::new(version).await;
            let left = world.client.unsubscribe("left", PropertyList::new());
            let is_done = cut(left, polls).await.is_some();
            let seen = world.check().await;
            let asked = seen.lock().unwrap().filters.get(&b"left"[..]).copied().unwrap_or_default();
            // Asked for once or not at all, and where it ended it was.
            assert!(asked == -1 || asked == 0 && !is_done, "{asked}");
        }
    }
}
