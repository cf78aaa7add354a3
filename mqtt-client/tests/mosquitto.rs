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
