//! rumqttc.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use crate::{Found, IN_FLIGHT, PAYLOAD, Trips, timed};

fn qos_of(qos: u8) -> QoS {
    rumqttc::qos(qos).unwrap()
}

async fn connect(port: u16) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("rumqttc", "127.0.0.1", port);
    options.set_inflight(IN_FLIGHT).set_keep_alive(Duration::from_secs(60));
    let (client, mut events) = AsyncClient::new(options, 1000);
    let mut network = rumqttc::NetworkOptions::new();
    // Its default lets the system hold small packets back for 40 ms.
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::ConnAck(_))) {}
    (client, events)
}

pub async fn publish(port: u16, qos: u8, n: usize) -> Found {
    let (client, mut events) = connect(port).await;
    let payload = bytes::Bytes::from(vec![7; PAYLOAD]);
    timed(n, async move {
        tokio::spawn(async move {
            for i in 0..n {
                let qos = if i + 1 == n && qos == 0 { QoS::AtLeastOnce } else { qos_of(qos) };
                client.publish_bytes("bench/publish", qos, false, payload.clone()).await.unwrap();
            }
            // The loop ends with the last handle.
            std::mem::forget(client);
        });
        let mut left = if qos == 0 { 1 } else { n };
        while left > 0 {
            let event = events.poll().await.unwrap();
            if matches!(event, Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) {
                left -= 1;
            }
        }
    })
    .await
}

pub async fn receive(port: u16, qos: u8, n: usize, from_outside: bool) -> Found {
    let (client, mut events) = connect(port).await;
    client.subscribe("bench/receive", qos_of(qos)).await.unwrap();
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    let source = from_outside.then(|| crate::bare::source(port, qos, n));
    let found = timed(n, async {
        let mut left = n;
        while left > 0 {
            if let Event::Incoming(Packet::Publish(_)) = events.poll().await.unwrap() {
                left -= 1;
            }
        }
    })
    .await;
    if let Some(source) = source {
        source.join().unwrap();
    }
    found
}

pub async fn round_trips(port: u16, qos: u8, n: usize) -> Found {
    let (client, mut events) = connect(port).await;
    client.subscribe("bench/trip", qos_of(qos)).await.unwrap();
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    let payload = bytes::Bytes::from(vec![7; PAYLOAD]);
    let mut trips = Trips::new(n);
    let found = timed(n, async {
        for _ in 0..n {
            trips.start();
            client.publish_bytes("bench/trip", qos_of(qos), false, payload.clone()).await.unwrap();
            while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::Publish(_))) {}
            trips.end();
        }
    })
    .await;
    trips.put(found)
}
