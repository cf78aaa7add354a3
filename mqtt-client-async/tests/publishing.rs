//! Messages that go out: in which order, and what becomes of each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types
)]

mod peer;

use std::time::Duration;

use mqtt_client_async::*;
use peer::{Server, id_of};

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
    peer.ack(0x40, id_of(&third), 0).await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
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
