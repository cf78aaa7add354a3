//! Messages that go out: in which order, and what becomes of each.

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

use std::collections::BTreeSet;
use std::time::Duration;

use mqtt_client_async::*;
use peer::{Peer, Server, id_of};

const V: [Version; 2] = [Version::V3_1_1, Version::V5];

#[tokio::test(start_paused = true)]
async fn a1_2_each_message_learns_of_its_own_acknowledgement() {
    for version in V {
        let (_server, client, mut peer) = Server::connected(version).await;
        let mut deliveries = Vec::new();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
            deliveries.push(client.publish(Publish::new("a", "").qos(qos)).await.unwrap());
        }
        peer.expect(0x30).await;
        let one = id_of(&peer.expect(0x32).await);
        let two = id_of(&peer.expect(0x34).await);
        let three = id_of(&peer.expect(0x32).await);
        let refused = if version == Version::V5 { 0x87 } else { 0 };
        // Out of order across the QoS.
        peer.ack(0x40, three, refused).await;
        peer.ack(0x50, two, 0).await;
        assert_eq!(id_of_ack(&peer.expect(0x62).await), two);
        peer.ack(0x70, two, 0).await;
        peer.ack(0x40, one, 0).await;
        let mut fates = Vec::new();
        for delivery in deliveries {
            fates.push(delivery.await);
        }
        assert_eq!(fates[0], Ok(Delivered::Written));
        for fate in &fates[1..3] {
            assert!(
                matches!(fate, Ok(Delivered::Acknowledged(ack)) if ack.reason_code == ReasonCode::SUCCESS)
            );
        }
        match (&fates[3], version) {
            (Err(DeliveryError::Refused(ack)), Version::V5) => {
                assert_eq!(ack.reason_code, ReasonCode::NOT_AUTHORIZED);
            }
            (Ok(_), Version::V3_1_1) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn id_of_ack(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_brings_its_properties() {
    let (_server, client, mut peer) = Server::connected(Version::V5).await;
    let delivery = client.publish(Publish::new("a", "").qos(QoS::AtLeastOnce)).await.unwrap();
    let id = id_of(&peer.expect(0x32).await);
    peer.send(&[0x40, 10, 0, id as u8, 0x10, 6, 0x1F, 0, 3, b'w', b'h', b'y']).await;
    match delivery.await.unwrap() {
        Delivered::Acknowledged(ack) => {
            assert_eq!(ack.reason_code, ReasonCode::NO_MATCHING_SUBSCRIBERS);
            let properties = ack.properties.at(PropertyPlace::of(PacketType::PubAck)).unwrap();
            assert_eq!(properties.reason_string().unwrap().as_str(), "why");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_is_refused_at_once() {
    let (_server, client, _peer) = Server::connected(Version::V5).await;
    for topic in ["", "a/+", "#", "a\0b"] {
        let error = client.try_publish(Publish::new(topic, "")).unwrap_err();
        assert!(matches!(error, PublishError::Topic(_)), "{topic:?}: {error}");
    }
    let twice = Publish::new("a", "").content_type("x").content_type("y");
    assert!(matches!(client.try_publish(twice), Err(PublishError::Properties(_))));
    let wildcard = Publish::new("a", "").response_topic("r/#");
    assert!(matches!(client.try_publish(wildcard), Err(PublishError::Properties(_))));
    let alias = Publish::new("a", "").property(Property::SubscriptionIdentifier(1));
    let delivery = client.try_publish(alias).unwrap();
    assert!(matches!(delivery.await, Err(DeliveryError::NotSent(_))));
    for filter in ["", "a/#/b", "a+", "$share/g"] {
        assert!(matches!(client.subscribe(filter).await, Err(SubscribeError::Filter(_))), "{filter:?}");
    }
    assert_eq!(
        client.subscribe(Subscribe::new(QoS::AtMostOnce)).await.unwrap_err(),
        SubscribeError::NoFilter
    );
}

// [MQTT-3.3.4-7] [MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15]
#[tokio::test(start_paused = true)]
async fn a4_42_the_servers_limits_are_obeyed_without_the_program() {
    let (server, options) = Server::new(Version::V5);
    // Receive Maximum 2, Maximum QoS 1, no retained messages, Maximum Packet Size 100.
    let limits = [0x21, 0, 2, 0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 100];
    let (client, mut peer) = tokio::join!(Client::connect(options), server.accept_with(false, &limits));
    let client = client.unwrap();
    for (message, expected) in [
        (Publish::new("a", "").qos(QoS::ExactlyOnce), RequestError::QosNotSupported),
        (Publish::new("a", "").retain(true), RequestError::RetainNotSupported),
        (Publish::new("a", vec![0; 100]), RequestError::TooLarge),
    ] {
        assert_eq!(client.publish(message).await.unwrap().await, Err(DeliveryError::NotSent(expected)));
    }
    let message = || Publish::new("a", "").qos(QoS::AtLeastOnce);
    let deliveries = [
        client.publish(message()).await.unwrap(),
        client.publish(message()).await.unwrap(),
        client.publish(message()).await.unwrap(),
    ];
    let first = peer.expect(0x32).await;
    let second = peer.expect(0x32).await;
    peer.expect_silence(Duration::from_secs(5)).await;
    peer.ack(0x40, id_of(&first), 0).await;
    let third = peer.expect(0x32).await;
    peer.ack(0x40, id_of(&second), 0).await;
    // What the server takes can be seen.
    let [first, second, last] = deliveries;
    first.await.unwrap();
    second.await.unwrap();
    let figures = client.figures();
    assert_eq!((figures.send_quota, figures.queued, figures.undelivered), (1, 0, 1));
    peer.ack(0x40, id_of(&third), 0).await;
    last.await.unwrap();
    let figures = client.figures();
    assert_eq!((figures.send_quota, figures.delivered, figures.lost), (2, 3, 0));
    // Each connection has a quota of its own.
    drop(peer);
    client.status().wait_for(|status| matches!(status, Status::Connecting)).await.unwrap();
    assert_eq!(client.figures().send_quota, 0);
    let _peer = server.accept().await;
    client.status().wait_for(|status| matches!(status, Status::Connected)).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(client.figures().send_quota, u16::MAX);
}

// [MQTT-3.2.2-17] [MQTT-3.2.2-18] [MQTT-3.3.2-7]
#[tokio::test(start_paused = true)]
async fn topic_aliases_are_used_as_far_as_the_server_offers_them_and_never_kept() {
    let (server, options) = Server::new(Version::V5);
    let options = options.topic_aliases(5).reconnect(Backoff::new(Duration::ZERO, Duration::ZERO));
    let offer = [0x22, 0, 1];
    let (client, mut peer) = tokio::join!(Client::connect(options), server.accept_with(false, &offer));
    let client = client.unwrap();
    let publish = async |topic: &str| drop(client.publish(Publish::new(topic, "")).await.unwrap());
    for _ in 0..2 {
        publish("a/long/topic").await;
        publish("b").await;
        publish("a/long/topic").await;
        assert!(peer.expect(0x30).await.ends_with(b"a/long/topic\x03\x23\0\x01"));
        assert_eq!(peer.expect(0x30).await, b"\x30\x04\0\x01b\0");
        assert_eq!(peer.expect(0x30).await, b"\x30\x06\0\0\x03\x23\0\x01");
        drop(peer);
        peer = server.accept_with(false, &offer).await;
        client.status().wait_for(|status| matches!(status, Status::Connected)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn try_publish_says_that_the_queue_is_full_and_publish_waits() {
    let (server, options) = Server::new(Version::V3_1_1);
    let client = Client::start(options.queue(2, 1000));
    let message = || Publish::new("a", vec![0; 499]);
    let kept = [client.try_publish(message()).unwrap(), client.try_publish(message()).unwrap()];
    assert_eq!(client.try_publish(message()).unwrap_err(), PublishError::Full);
    let (third, mut peer) = tokio::join!(client.publish(message()), server.accept());
    for _ in 0..3 {
        peer.expect(0x30).await;
    }
    third.unwrap().await.unwrap();
    for delivery in kept {
        delivery.await.unwrap();
    }
}

/// How many requests may be unanswered in the tests of identifiers.
const WINDOW: usize = 8;
const SOON: Duration = Duration::from_millis(1);

fn small_window(options: Options) -> Options {
    let mut memory = MemoryOptions::SMALL;
    memory.in_flight = WINDOW;
    options.memory(memory).reconnect(Backoff::new(SOON, SOON)).session(Duration::MAX)
}

/// The server's books of identifiers.
#[derive(Default)]
struct Identifiers {
    /// Messages that are not acknowledged, and whether they are of QoS 2.
    messages: std::collections::BTreeMap<u16, bool>,
    /// SUBSCRIBE and UNSUBSCRIBE without an answer.
    others: Vec<Vec<u8>>,
}

impl Identifiers {
    fn live(&self) -> BTreeSet<u16> {
        let others = self.others.iter().map(|packet| id_of_ack(packet));
        self.messages.keys().copied().chain(others).collect()
    }

    /// A packet of the client; what needs no thought is answered.
    async fn take(&mut self, peer: &mut Peer, packet: Vec<u8>) {
        let id = match packet[0] {
            0x82 | 0xA2 | 0x62 => id_of_ack(&packet),
            _ => id_of(&packet),
        };
        assert_ne!(id, 0);
        if packet[0] == 0x62 {
            self.messages.remove(&id);
            return peer.ack(0x70, id, 0).await;
        }
        // One that is sent again has its own.
        let is_again = packet[0] >> 4 == 3 && packet[0] & 8 != 0;
        assert!(is_again || !self.live().contains(&id), "{id} is in use: {packet:02X?}");
        if packet[0] >> 4 == 3 {
            self.messages.insert(id, packet[0] & 6 == 4);
        } else {
            self.others.push(packet);
        }
        assert!(self.live().len() <= WINDOW, "more in flight than there is room for");
    }

    /// Answers one of them.
    async fn answer(&mut self, peer: &mut Peer, dice: &mut fastrand::Rng) {
        if let Some(at) = (!self.others.is_empty()).then(|| dice.usize(..self.others.len())) {
            let request = self.others.swap_remove(at);
            return peer.answer(&request, 0).await;
        }
        let Some((&id, &is_exactly_once)) = self.messages.iter().nth(dice.usize(..WINDOW)) else { return };
        if is_exactly_once {
            peer.ack(0x50, id, 0).await;
        } else {
            self.messages.remove(&id);
            peer.ack(0x40, id, 0).await;
        }
    }

    /// The connection was cut; the session is there or not.
    fn cut(&mut self, session_present: bool) {
        self.others.clear();
        if !session_present {
            self.messages.clear();
        }
    }
}

/// Asks for many things at once, and waits until each has come to its end.
async fn ask_for_much(client: Client) {
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..150_u32 {
        let client = client.clone();
        if n % 5 == 0 {
            asked.spawn(async move {
                if let Ok(stream) = client.subscribe(format!("f/{n}").as_str()).await {
                    let _ = stream.unsubscribe().await;
                }
            });
        } else {
            let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][n as usize % 2];
            let delivery = client.publish(Publish::new("a", "").qos(qos)).await.unwrap();
            asked.spawn(async move { drop(delivery.await) });
        }
    }
    while let Some(end) = asked.join_next().await {
        end.unwrap();
    }
}

// [MQTT-2.3.1-2 @3.1.1] [MQTT-2.2.1-3 @5.0]
#[tokio::test(start_paused = true)]
async fn a1_4_no_identifier_is_in_use_twice_and_none_is_lost() {
    for (version, seed) in V.into_iter().flat_map(|version| (0..8).map(move |seed| (version, seed))) {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (server, client, mut peer) = Server::connected_with(version, small_window).await;
        let mut identifiers = Identifiers::default();
        let asking = tokio::spawn(ask_for_much(client.clone()));
        while !asking.is_finished() {
            if let Ok(packet) = tokio::time::timeout(Duration::from_millis(1), peer.next()).await {
                identifiers.take(&mut peer, packet.expect("the client stays")).await;
            }
            if dice.u8(..) < 3 {
                drop(peer);
                let session_present = dice.bool();
                identifiers.cut(session_present);
                peer = server.accept_with(session_present, &[]).await;
            } else if dice.bool() {
                identifiers.answer(&mut peer, &mut dice).await;
            }
        }
        asking.await.unwrap();
        // What nobody waited for.
        while let Ok(packet) = tokio::time::timeout(Duration::from_secs(1), peer.next()).await {
            identifiers.take(&mut peer, packet.unwrap()).await;
            identifiers.answer(&mut peer, &mut dice).await;
        }
        // All are free again: so many messages go out, and one more waits its turn.
        identifiers.cut(false);
        let message = || Publish::new("a", "").qos(QoS::AtLeastOnce);
        for _ in 0..=WINDOW {
            drop(client.publish(message()).await.unwrap());
        }
        for _ in 0..WINDOW {
            let packet = peer.expect(0x32).await;
            identifiers.take(&mut peer, packet).await;
        }
        peer.expect_silence(Duration::from_secs(1)).await;
        identifiers.answer(&mut peer, &mut dice).await;
    }
}

#[tokio::test(start_paused = true)]
async fn identifiers_come_round_again_without_zero() {
    const N: usize = 70_000;
    let (_server, client, mut peer) = Server::connected_with(Version::V3_1_1, small_window).await;
    let publishing = tokio::spawn(async move {
        for _ in 0..N {
            drop(client.publish(Publish::new("a", "").qos(QoS::AtLeastOnce)).await.unwrap());
        }
        client.shutdown(Duration::from_secs(10)).await
    });
    let mut all = BTreeSet::new();
    for _ in 0..N / WINDOW {
        let mut window = BTreeSet::new();
        for _ in 0..WINDOW {
            window.insert(id_of(&peer.expect(0x32).await));
        }
        assert!(window.len() == WINDOW && !window.contains(&0), "{window:?}");
        for &id in window.iter().rev() {
            peer.ack(0x40, id, 0).await;
        }
        all.extend(window);
    }
    assert_eq!(all.len(), 65_535);
    peer.expect(0xE0).await;
    drop(peer);
    assert_eq!(publishing.await.unwrap().pending, 0);
}
