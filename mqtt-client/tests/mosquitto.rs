//! The blocking client against Debian's mosquitto.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod broker;

use broker::Mosquitto;
use mqtt_client::system::{SystemTimer, Tcp};
use mqtt_client::*;

const WAIT: Duration = Duration::from_secs(10);
const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];
const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

type Blocking = Client<'static, Tcp, SystemTimer>;

/// A client with memory for messages of 300 KiB.
fn client(broker: &Mosquitto, version: Version) -> Blocking {
    let memory = Memory {
        transmit: vec![0; 4096].leak(),
        messages: vec![0; 600_000].leak(),
        send: vec![SendSlot::EMPTY; 32].leak(),
        received: vec![ReceivedSlot::EMPTY; 32].leak(),
        aliases: &mut [],
    };
    let network = Tcp::connect(broker.address(), WAIT).unwrap();
    Client::new(
        network,
        SystemTimer::new(),
        memory,
        vec![0; 300_000].leak(),
        Aliases::none(),
        Settings::new(version),
    )
}

fn connected(broker: &Mosquitto, version: Version, name: &str) -> Blocking {
    let mut client = client(broker, version);
    client.connect(&ConnectOptions::new(name.try_into().unwrap()), WAIT).unwrap();
    client
}

fn subscribe(client: &mut Blocking, filter: &str, qos: QoS) {
    let filter = SubscribeFilter { filter: filter.try_into().unwrap(), options: SubscribeOptions::new(qos) };
    let ticket = client.subscribe(&[filter]).unwrap();
    let outcome = client.wait(ticket, WAIT, |_, _| ()).unwrap();
    assert_eq!(outcome, Outcome::Answered(ReasonCode(qos as u8)));
}

/// The next message: topic, payload, QoS and retain flag.
fn receive(client: &mut Blocking) -> (String, Vec<u8>, QoS, bool) {
    let (publish, _) = client.recv_timeout(WAIT).unwrap().expect("a message");
    (publish.topic.as_str().to_owned(), publish.payload.to_vec(), publish.delivery.qos(), publish.retain)
}

#[test]
fn messages_of_every_qos_and_size_arrive_in_every_version() {
    let Some(broker) = Mosquitto::start() else { return };
    let large: Vec<u8> = (0..256 * 1024).map(|i| ((i * 31) >> 3) as u8).collect();
    for version in VERSIONS {
        let mut subscriber = connected(&broker, version, "subscriber");
        let mut publisher = connected(&broker, version, "publisher");
        subscribe(&mut subscriber, "interop/#", QoS::ExactlyOnce);
        for qos in ALL_QOS {
            for payload in [&[][..], b"\0", &large] {
                let message = Message::new("interop/a".try_into().unwrap(), payload).with_qos(qos);
                let ticket = match qos {
                    QoS::AtMostOnce => publisher.publish_in_place(&message).unwrap(),
                    _ => publisher.publish(&message).unwrap(),
                };
                let outcome = publisher.wait(ticket, WAIT, |_, _| ()).unwrap();
                assert!(outcome.is_success(), "{version:?} {qos:?} {outcome:?}");
                assert_eq!(receive(&mut subscriber), ("interop/a".to_owned(), payload.to_vec(), qos, false));
            }
        }
        publisher.disconnect(WAIT).unwrap();
        subscriber.disconnect(WAIT).unwrap();
    }
}

// [MQTT-7.1.2-1 @3.1.1] [MQTT-4.2-1 @5.0] [MQTT-7.0.0-2 @3.1.1]
#[test]
fn a_retained_message_waits_for_its_subscriber_until_it_is_deleted() {
    let Some(broker) = Mosquitto::start() else { return };
    for version in VERSIONS {
        let mut publisher = connected(&broker, version, "publisher");
        let publish = |publisher: &mut Blocking, payload: &[u8]| {
            let message = Message::new("kept".try_into().unwrap(), payload);
            let message = message.with_qos(QoS::ExactlyOnce).with_retain(true);
            assert!(publisher.publish_and_wait(&message, WAIT, |_, _| ()).unwrap().is_success());
        };
        publish(&mut publisher, b"state");
        let mut subscriber = connected(&broker, version, "subscriber");
        subscribe(&mut subscriber, "kept", QoS::AtLeastOnce);
        assert_eq!(receive(&mut subscriber), ("kept".to_owned(), b"state".to_vec(), QoS::AtLeastOnce, true));
        publish(&mut publisher, b"");
        assert_eq!(receive(&mut subscriber).1, b"");
        let mut late = connected(&broker, version, "late");
        subscribe(&mut late, "kept", QoS::AtLeastOnce);
        assert!(late.recv_timeout(Duration::from_millis(300)).unwrap().is_none());
    }
}

#[test]
fn the_will_of_a_lost_client_is_published() {
    let Some(broker) = Mosquitto::start() else { return };
    for version in VERSIONS {
        let mut subscriber = connected(&broker, version, "subscriber");
        subscribe(&mut subscriber, "will", QoS::ExactlyOnce);
        let will = Will {
            topic: "will".try_into().unwrap(),
            payload: b"gone",
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Properties::EMPTY,
        };
        for in_good_order in [true, false] {
            let mut testator = client(&broker, version);
            let options = ConnectOptions::new("testator".try_into().unwrap()).with_will(will);
            testator.connect(&options, WAIT).unwrap();
            if in_good_order {
                testator.disconnect(WAIT).unwrap();
                assert!(subscriber.recv_timeout(Duration::from_millis(300)).unwrap().is_none());
            } else {
                testator.network().close();
                assert_eq!(
                    receive(&mut subscriber),
                    ("will".to_owned(), b"gone".to_vec(), QoS::AtLeastOnce, false)
                );
            }
        }
    }
}

#[test]
fn a_session_is_resumed_after_a_cut() {
    let Some(broker) = Mosquitto::start() else { return };
    for version in [Version::V3_1_1, Version::V5] {
        let name = format!("resumed-{}", version.level());
        let options = ConnectOptions::new(name.as_str().try_into().unwrap()).with_session(60);
        let mut session = client(&broker, version);
        session.connect(&ConnectOptions { clean_start: version == Version::V5, ..options }, WAIT).unwrap();
        subscribe(&mut session, "resumed", QoS::ExactlyOnce);
        session.network().close();
        assert!(session.recv_timeout(WAIT).is_err());
        let mut publisher = connected(&broker, version, "publisher");
        for payload in [b"1", b"2", b"3"] {
            let message = Message::new("resumed".try_into().unwrap(), payload).with_qos(QoS::ExactlyOnce);
            publisher.publish_and_wait(&message, WAIT, |_, _| ()).unwrap();
        }
        let network = Tcp::connect(broker.address(), WAIT).unwrap();
        assert!(session.reconnect(network, &options, WAIT).unwrap().session_present);
        for payload in [b"1", b"2", b"3"] {
            assert_eq!(receive(&mut session).1, payload);
        }
    }
}

#[cfg(feature = "tls")]
#[test]
fn tls_works_and_trusts_nobody_by_default() {
    use mqtt_client::system::{Tls, rustls};
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    use std::sync::Arc;

    let Some(certificate) = broker::certificate() else { return };
    let (file, key) = (certificate.join("cert.pem"), certificate.join("key.pem"));
    let lines = format!("certfile {}\nkeyfile {}", file.display(), key.display());
    let Some(broker) = Mosquitto::with(&lines) else { return };
    let config = |trusted: bool| {
        let mut roots = rustls::RootCertStore::empty();
        if trusted {
            roots.add(CertificateDer::from_pem_file(&file).unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    let server = ServerName::try_from("localhost").unwrap();
    let refused = Tls::connect(broker.address(), server.clone(), config(false), WAIT);
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    let network = Tls::connect(broker.address(), server, config(true), WAIT).unwrap();
    let memory = Memory {
        transmit: vec![0; 4096].leak(),
        messages: vec![0; 100_000].leak(),
        send: vec![SendSlot::EMPTY; 8].leak(),
        received: vec![ReceivedSlot::EMPTY; 8].leak(),
        aliases: &mut [],
    };
    let receive_memory = vec![0; 100_000].leak();
    let settings = Settings::new(Version::V5);
    let mut client =
        Client::new(network, SystemTimer::new(), memory, receive_memory, Aliases::none(), settings);
    client.connect(&ConnectOptions::new("tls".try_into().unwrap()), WAIT).unwrap();
    let wanted = SubscribeFilter {
        filter: "tls".try_into().unwrap(),
        options: SubscribeOptions::new(QoS::ExactlyOnce),
    };
    let ticket = client.subscribe(&[wanted]).unwrap();
    client.wait(ticket, WAIT, |_, _| ()).unwrap();
    let payload = vec![7; 60_000];
    let message = Message::new("tls".try_into().unwrap(), &payload).with_qos(QoS::ExactlyOnce);
    let ticket = client.publish(&message).unwrap();
    let (publish, _) = client.recv_timeout(WAIT).unwrap().expect("a message");
    assert_eq!(publish.payload, payload);
    client.wait(ticket, WAIT, |_, _| ()).unwrap();
    client.disconnect(WAIT).unwrap();
}
