//! mqtt-client-async.

use bytes::Bytes;
use mqtt_client_async::{Client, MemoryOptions, Options, Publish, QoS, Topic, Version};

use crate::{Found, PAYLOAD, Trips, timed};

fn qos_of(qos: u8) -> QoS {
    QoS::from_bits(qos).unwrap()
}

async fn connect(port: u16, id: &str) -> Client {
    let options = Options::new(&format!("mqtt://127.0.0.1:{port}")).unwrap();
    Client::connect(options.version(Version::V3_1_1).client_id(id)).await.unwrap()
}

pub async fn publish(port: u16, qos: u8, n: usize) -> Found {
    let client = connect(port, "ours").await;
    let topic = Topic::from_static("bench/publish");
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let found = timed(n, async {
        let mut last = None;
        for i in 0..n {
            // The last one is acknowledged: all before it have arrived then.
            let qos = if i + 1 == n && qos == 0 { QoS::AtLeastOnce } else { qos_of(qos) };
            let publish = Publish::new(&topic, payload.clone()).qos(qos);
            last = Some(client.publish(publish).await.unwrap());
        }
        last.unwrap().await.unwrap();
    })
    .await;
    client.shutdown(std::time::Duration::from_secs(10)).await;
    found
}

pub async fn receive(port: u16, qos: u8, n: usize, from_outside: bool) -> Found {
    let client = connect(port, "ours").await;
    let what = mqtt_client_async::Subscribe::new(qos_of(qos)).to("bench/receive").capacity(n, usize::MAX);
    let mut stream = client.subscribe(what).await.unwrap();
    let source = from_outside.then(|| crate::bare::source(port, qos, n));
    let found = timed(n, async {
        for _ in 0..n {
            stream.recv().await.unwrap();
        }
    })
    .await;
    if let Some(source) = source {
        source.join().unwrap();
    }
    drop(stream);
    client.shutdown(std::time::Duration::from_secs(10)).await;
    found
}

pub async fn round_trips(port: u16, qos: u8, n: usize) -> Found {
    let client = connect(port, "ours").await;
    let mut stream = client.subscribe(("bench/trip", qos_of(qos))).await.unwrap();
    let topic = Topic::from_static("bench/trip");
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let mut trips = Trips::new(n);
    let found = timed(n, async {
        for _ in 0..n {
            trips.start();
            drop(client.publish(Publish::new(&topic, payload.clone()).qos(qos_of(qos))).await.unwrap());
            stream.recv().await.unwrap();
            trips.end();
        }
    })
    .await;
    trips.put(found)
}

/// So many clients that do nothing.
pub async fn idle(port: u16, n: u32, is_small: bool) -> Vec<Client> {
    let mut clients = Vec::new();
    for i in 0..n {
        let options =
            Options::new(&format!("mqtt://127.0.0.1:{port}")).unwrap().client_id(format!("idle-{i}"));
        let options =
            if is_small { options.memory(MemoryOptions::SMALL).receive_maximum(16) } else { options };
        clients.push(Client::connect(options).await.unwrap());
    }
    clients
}
