//! Our clients with each other through our broker: blocking and tokio, in both directions, every version.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects)]

use mqtt_broker_lite::Broker;
use mqtt_client::system::{SystemTimer, Tcp};
use mqtt_client::{
    Aliases, Client as Blocking, ConnectOptions, Duration, Memory, Message, Outcome, QoS, ReasonCode,
    ReceivedSlot, SendSlot, Settings, SubscribeFilter, SubscribeOptions, Version, Will,
};
use mqtt_client_async::{Client as Tokio, LastWill, Options, Publish, Subscription};
use std::net::SocketAddr;
use tokio::runtime::Runtime;

const WAIT: Duration = Duration::from_secs(20);
const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];
const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const WILL: (&str, &str) = ("interop/will", "lost");

/// Topic, payload, QoS and retain flag of a message.
type Received = (String, Vec<u8>, QoS, bool);

/// What both clients can do.
trait Peer {
    fn subscribe(&mut self, filter: &str);
    fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS, retain: bool);
    fn receive(&mut self) -> Received;
    /// Ends the connection without a DISCONNECT.
    fn lose(self: Box<Self>);
}

struct BlockingPeer(Blocking<'static, Tcp, SystemTimer>);

impl BlockingPeer {
    /// A client with memory for messages of 300 KiB, which it keeps to the end of the test.
    fn connect(address: SocketAddr, version: Version, name: &str) -> Self {
        let memory = Memory {
            transmit: vec![0; 4096].leak(),
            messages: vec![0; 600_000].leak(),
            send: vec![SendSlot::EMPTY; 32].leak(),
            received: vec![ReceivedSlot::EMPTY; 32].leak(),
            aliases: &mut [],
        };
        let network = Tcp::connect(address, WAIT).unwrap();
        let receive = vec![0; 300_000].leak();
        let settings = Settings::new(version);
        let mut client =
            Blocking::new(network, SystemTimer::new(), memory, receive, Aliases::none(), settings);
        let will = Will {
            topic: WILL.0.try_into().unwrap(),
            payload: WILL.1.as_bytes(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: mqtt_client::Properties::EMPTY,
        };
        client.connect(&ConnectOptions::new(name.try_into().unwrap()).with_will(will), WAIT).unwrap();
        Self(client)
    }
}

impl Peer for BlockingPeer {
    fn subscribe(&mut self, filter: &str) {
        let options = SubscribeOptions::new(QoS::ExactlyOnce);
        let wanted = SubscribeFilter { filter: filter.try_into().unwrap(), options };
        let ticket = self.0.subscribe(&[wanted]).unwrap();
        let outcome = self.0.wait(ticket, WAIT, |_, _| ()).unwrap();
        assert_eq!(outcome, Outcome::Answered(ReasonCode::GRANTED_QOS_2));
    }

    fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS, retain: bool) {
        let message = Message::new(topic.try_into().unwrap(), payload).with_qos(qos).with_retain(retain);
        let ticket = match qos {
            QoS::AtMostOnce => self.0.publish_in_place(&message).unwrap(),
            _ => self.0.publish(&message).unwrap(),
        };
        let outcome = self.0.wait(ticket, WAIT, |_, _| ()).unwrap();
        assert!(outcome.is_success(), "{outcome:?}");
    }

    fn receive(&mut self) -> Received {
        let (publish, _) = self.0.recv_timeout(WAIT).unwrap().expect("a message");
        let qos = publish.delivery.qos();
        (publish.topic.as_str().to_owned(), publish.payload.to_vec(), qos, publish.retain)
    }

    fn lose(self: Box<Self>) {}
}

struct TokioPeer {
    runtime: Runtime,
    client: Tokio,
    stream: Option<Subscription>,
}

impl TokioPeer {
    fn connect(address: SocketAddr, version: Version, name: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let will = LastWill::new(Publish::new(WILL.0, WILL.1).qos(QoS::AtLeastOnce));
        let options = Options::new(&format!("mqtt://{address}")).unwrap();
        let options = options.version(version).client_id(name).will(will);
        let client = runtime.block_on(Tokio::connect(options)).unwrap();
        Self { runtime, client, stream: None }
    }
}

impl Peer for TokioPeer {
    fn subscribe(&mut self, filter: &str) {
        let wanted = self.client.subscribe((filter, QoS::ExactlyOnce));
        self.stream = Some(self.runtime.block_on(wanted).unwrap());
    }

    fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS, retain: bool) {
        let message = Publish::new(topic, payload.to_vec()).qos(qos).retain(retain);
        self.runtime.block_on(async { self.client.publish(message).await.unwrap().await }).unwrap();
    }

    fn receive(&mut self) -> Received {
        let stream = self.stream.as_mut().expect("a subscription");
        let message = self.runtime.block_on(async { tokio::time::timeout(WAIT.into(), stream.recv()).await });
        let message = message.expect("no message in time").expect("the stream ended");
        (message.topic().to_owned(), message.payload().to_vec(), message.qos(), message.retain())
    }

    fn lose(self: Box<Self>) {
        self.runtime.block_on(self.client.abort());
    }
}

type Connect = fn(SocketAddr, Version, &str) -> Box<dyn Peer>;

/// Every pair of clients in every version, each with a broker of its own.
fn for_every_pair(test: impl Fn(SocketAddr, Version, Connect, Connect)) {
    let blocking: Connect = |address, version, name| Box::new(BlockingPeer::connect(address, version, name));
    let tokio: Connect = |address, version, name| Box::new(TokioPeer::connect(address, version, name));
    for version in VERSIONS {
        for publisher in [blocking, tokio] {
            for subscriber in [blocking, tokio] {
                let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap();
                test(*broker.addresses().first().unwrap(), version, publisher, subscriber);
                broker.shutdown();
            }
        }
    }
}

#[test]
fn messages_of_every_qos_and_size_arrive_as_they_were() {
    let large: Vec<u8> = (0..256 * 1024_u32).map(|i| ((i * 31) >> 3) as u8).collect();
    for_every_pair(|address, version, publisher, subscriber| {
        let mut subscriber = subscriber(address, version, "subscriber");
        let mut publisher = publisher(address, version, "publisher");
        subscriber.subscribe("interop/#");
        for qos in ALL_QOS {
            for payload in [&[][..], b"\0", &large] {
                publisher.publish("interop/a", payload, qos, false);
                let received = subscriber.receive();
                assert!(
                    received == ("interop/a".to_owned(), payload.to_vec(), qos, false),
                    "{version:?} {qos:?}"
                );
            }
        }
    });
}

#[test]
fn a_retained_message_waits_for_its_subscriber() {
    for_every_pair(|address, version, publisher, subscriber| {
        publisher(address, version, "publisher").publish("interop/kept", b"state", QoS::AtLeastOnce, true);
        let mut subscriber = subscriber(address, version, "subscriber");
        subscriber.subscribe("interop/+");
        let kept = ("interop/kept".to_owned(), b"state".to_vec(), QoS::AtLeastOnce, true);
        assert_eq!(subscriber.receive(), kept, "{version:?}");
    });
}

#[test]
fn the_will_of_a_lost_client_is_published() {
    for_every_pair(|address, version, publisher, subscriber| {
        let mut subscriber = subscriber(address, version, "subscriber");
        subscriber.subscribe("interop/will");
        publisher(address, version, "publisher").lose();
        let will = (WILL.0.to_owned(), WILL.1.as_bytes().to_vec(), QoS::AtLeastOnce, false);
        assert_eq!(subscriber.receive(), will, "{version:?}");
    });
}
