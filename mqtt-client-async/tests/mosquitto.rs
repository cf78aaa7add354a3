//! Against Debian's mosquitto.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod mosquitto_server;

use std::time::Duration;

use mosquitto_server::Mosquitto;
use mqtt_client_async::*;

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn options(server: &Mosquitto, version: Version, name: &str) -> Options {
    let client_id = format!("{name}-{}", version as u8);
    Options::new(&server.url()).unwrap().version(version).client_id(client_id)
}

/// Nothing at all, one byte, and 256 KiB of any bytes.
fn payloads() -> [Vec<u8>; 3] {
    let mut state = 1_u32;
    let long = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    [Vec::new(), vec![0], long.take(256 << 10).collect()]
}

async fn next(subscription: &mut Subscription) -> Message {
    tokio::time::timeout(Duration::from_secs(20), subscription.recv())
        .await
        .expect("no message came")
        .unwrap()
}

#[tokio::test]
async fn every_qos_and_payload_there_and_back() {
    let Some(server) = Mosquitto::start() else { return };
    for version in VERSIONS {
        let client = Client::connect(options(&server, version, "both")).await.unwrap();
        for qos in QOS {
            let filter = format!("there/{}/#", qos as u8);
            let mut back = client.subscribe((filter.as_str(), qos)).await.unwrap();
            assert_eq!(back.granted()[0].reason_code.0, qos as u8);
            for payload in payloads() {
                let topic = format!("there/{}/{}", qos as u8, payload.len());
                let message = Publish::new(&topic, payload.clone()).qos(qos);
                let delivered = client.publish(message).await.unwrap().await.unwrap();
                assert_eq!(delivered == Delivered::Written, qos == QoS::AtMostOnce);
                let message = next(&mut back).await;
                assert_eq!((message.topic(), message.qos()), (topic.as_str(), qos));
                assert!(message.payload() == payload, "{} bytes", payload.len());
            }
            back.unsubscribe().await.unwrap();
        }
        let report = client.shutdown(Duration::from_secs(10)).await;
        assert_eq!(report.pending, 0);
        assert!(matches!(report.reason, ConnectionError::Shutdown));
    }
}

#[tokio::test]
async fn a_retained_message_is_there_for_who_comes_later() {
    let Some(server) = Mosquitto::start() else { return };
    for version in VERSIONS {
        let topic = format!("kept/{}", version as u8);
        let client = Client::connect(options(&server, version, "keeper")).await.unwrap();
        let publish = Publish::new(&topic, "here").qos(QoS::AtLeastOnce).retain(true);
        client.publish(publish).await.unwrap().await.unwrap();
        let mut later = client.subscribe(topic.as_str()).await.unwrap();
        let message = next(&mut later).await;
        assert_eq!((message.payload(), message.retain()), (&b"here"[..], true));
    }
}

#[tokio::test]
async fn the_will_is_published_for_who_is_lost_and_not_for_who_leaves() {
    let Some(server) = Mosquitto::start() else { return };
    for version in VERSIONS {
        let heir = Client::connect(options(&server, version, "heir")).await.unwrap();
        let mut wills = heir.subscribe("will/#").await.unwrap();
        let with_will = |name: &str| {
            let will = LastWill::new(Publish::new(format!("will/{name}"), "gone"));
            Client::connect(options(&server, version, name).will(will))
        };
        let leaving = with_will("leaving").await.unwrap();
        let lost = with_will("lost").await.unwrap();
        leaving.shutdown(Duration::from_secs(10)).await;
        lost.abort().await;
        assert_eq!(next(&mut wills).await.topic(), "will/lost");
        // The last handle says goodbye, too.
        drop(with_will("dropped").await.unwrap());
        let also_lost = with_will("also-lost").await.unwrap();
        also_lost.abort().await;
        assert_eq!(next(&mut wills).await.topic(), "will/also-lost");
    }
}

#[tokio::test]
async fn a_session_is_resumed_with_what_came_meanwhile() {
    let Some(server) = Mosquitto::start() else { return };
    for version in [Version::V3_1_1, Version::V5] {
        let day = Duration::from_secs(86_400);
        let sender = Client::connect(options(&server, version, "sender")).await.unwrap();
        let sleeper = options(&server, version, "sleeper").session(day);
        let client = Client::connect(sleeper.clone()).await.unwrap();
        let kept = client.subscribe(("letters/#", QoS::ExactlyOnce)).await.unwrap();
        // It leaves without unsubscribing.
        client.abort().await;
        drop(kept);
        let letter = Publish::new("letters/1", "read me").qos(QoS::ExactlyOnce);
        sender.publish(letter).await.unwrap().await.unwrap();
        let (client, driver) = Client::new(sleeper.assume_session(true));
        let mut everything = client.messages();
        tokio::spawn(driver);
        assert_eq!(next(&mut everything).await.payload(), b"read me");
    }
}

#[tokio::test]
async fn an_identifier_of_the_application_and_a_subscription_left_by_an_earlier_run() {
    let Some(server) = Mosquitto::start() else { return };
    let client = Client::connect(options(&server, Version::V5, "own")).await.unwrap();
    let properties = PropertyList::new().with(Property::SubscriptionIdentifier(4711));
    let subscribe = Subscribe::new(QoS::AtLeastOnce).properties(properties).to("own/+");
    let mut stream = client.subscribe(subscribe).await.unwrap();
    let _other = client.subscribe("own/#").await.unwrap();
    client.publish(Publish::new("own/1", "x")).await.unwrap().await.unwrap();
    let message = next(&mut stream).await;
    assert!(message.properties().subscription_identifiers().any(|id| id == 4711));

    let none = client.unsubscribe("no/such", PropertyList::new()).await.unwrap();
    assert_eq!(none, ReasonCode::NO_SUBSCRIPTION_EXISTED);
    let wrong = PropertyList::new().with(Property::SubscriptionIdentifier(1));
    assert!(matches!(client.unsubscribe("a", wrong).await, Err(SubscribeError::Request(_))));
    let wrong = PropertyList::new().with(Property::MessageExpiryInterval(1));
    let refused = client.subscribe(Subscribe::new(QoS::AtMostOnce).properties(wrong).to("a")).await;
    assert!(matches!(refused, Err(SubscribeError::Request(_))));
}
