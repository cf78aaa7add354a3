//! What users of other clients suffer from around connecting: waits without an end, lost subscriptions, blind retries,
//! half-open connections, goodbyes that are none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods
)]

mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mqtt_client_async::transport::{Carrier, Transport};
use mqtt_client_async::*;
use peer::{Server, id_of};

const V: [Version; 2] = [Version::V3_1_1, Version::V5];

fn at_once() -> Backoff {
    Backoff::new(Duration::from_millis(1), Duration::from_millis(1))
}

#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl Transport for Silent {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        std::future::pending().await
    }
}

// [U311-3.2.0-1]
#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_no_more_than_the_connect_timeout_at_each_step() {
    // The carrier never opens.
    let options = Options::with_transport(Arc::new(Silent)).connect_timeout(Duration::from_secs(7));
    let start = tokio::time::Instant::now();
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, ConnectionError::ConnectTimeout), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    for version in V {
        // It opens, and no CONNACK comes.
        let (server, options) = Server::new(version);
        let start = tokio::time::Instant::now();
        let options = options.connect_timeout(Duration::from_secs(5));
        let (client, _peer) = tokio::join!(Client::connect(options), server.next());
        assert!(matches!(client.unwrap_err(), ConnectionError::ConnectTimeout));
        assert!(start.elapsed() <= Duration::from_millis(5001), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a1_3_every_wait_ends_when_the_server_falls_silent() {
    for version in V {
        let (_server, client, _peer) = Server::connected_with(version, |options| {
            options
                .request_timeout(Duration::from_secs(20))
                .delivery_timeout(Some(Duration::from_secs(40)))
                .queue(1, 100)
                .no_reconnect()
                .keep_alive(Duration::ZERO)
        })
        .await;
        assert_eq!(client.subscribe("a").await.unwrap_err(), SubscribeError::Timeout);
        let message = Publish::new("a", "1").qos(QoS::AtLeastOnce);
        let delivery = client.publish(message).await.unwrap();
        assert_eq!(delivery.await, Err(DeliveryError::Timeout));
        // The pipe takes no more, the queue fills.
        let message = || Publish::new("a", vec![0; 60_000]);
        let mut taken = Vec::new();
        let error = loop {
            match client.publish(message()).await {
                Ok(delivery) => taken.push(delivery),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, PublishError::Timeout | PublishError::Closed), "{error}");
        for delivery in taken {
            let _ = delivery.await;
        }
        assert!(matches!(client.ended().await, ConnectionError::WriteTimeout));
    }
}

#[tokio::test(start_paused = true)]
async fn everything_that_waits_resolves_when_the_connection_is_lost_for_good() {
    for version in V {
        let (_server, client, mut peer) =
            Server::connected_with(version, |options| options.no_reconnect()).await;
        let delivery = client.publish(Publish::new("a", "1").qos(QoS::ExactlyOnce)).await.unwrap();
        let mut everything = client.messages();
        let subscribing = tokio::spawn({
            let client = client.clone();
            async move { client.subscribe("a").await.unwrap_err() }
        });
        peer.expect(0x34).await;
        peer.expect(0x82).await;
        drop(peer);
        assert!(matches!(
            delivery.await,
            Err(DeliveryError::Lost(Loss::SessionLost) | DeliveryError::Closed)
        ));
        assert_eq!(subscribing.await.unwrap(), SubscribeError::Closed);
        assert!(everything.recv().await.is_none());
        assert!(matches!(client.ended().await, ConnectionError::ClosedByServer));
        assert_eq!(client.try_publish(Publish::new("a", "")).unwrap_err(), PublishError::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_leaves_nobody_waiting() {
    let (_server, options) = Server::new(Version::V5);
    let (client, driver) = Client::new(options);
    let delivery = client.try_publish(Publish::new("a", "1")).unwrap();
    drop(driver);
    assert_eq!(delivery.await, Err(DeliveryError::Closed));
    assert!(matches!(client.ended().await, ConnectionError::DriverDropped));
}

// [MQTT-3.1.2-6 @3.1.1]
#[tokio::test(start_paused = true)]
async fn a1_5_a_lost_session_is_subscribed_again_and_a_kept_one_is_not() {
    for version in V {
        let (server, client, mut peer) =
            Server::connected_with(version, |options| options.reconnect(at_once()).session(Duration::MAX))
                .await;
        let (stream, request) = tokio::join!(client.subscribe(("a/+", QoS::AtLeastOnce)), peer.grant());
        let mut stream = stream.unwrap();
        let mut events = client.events();
        // The server kept the session: nothing is said.
        drop(peer);
        let mut peer = server.accept_with(true, &[]).await;
        peer.expect_silence(Duration::from_secs(20)).await;
        // The server lost it: the same is said again, before messages that wait.
        drop(peer);
        client.status().wait_for(|status| matches!(status, Status::Connecting)).await.unwrap();
        let waiting = client.publish(Publish::new("b", "").qos(QoS::AtMostOnce)).await.unwrap();
        let mut peer = server.accept_with(false, &[]).await;
        let again = peer.grant().await;
        assert_eq!(again[4..], request[4..]);
        peer.expect(0x30).await;
        waiting.await.unwrap();
        peer.publish("a/b", QoS::AtMostOnce, 0, b"still here").await;
        assert_eq!(stream.recv().await.unwrap().payload(), b"still here");
        let mut seen = Vec::new();
        while seen.len() < 2 {
            if let Event::Connected { session_present, resubscribed, .. } = events.recv().await.unwrap() {
                seen.push((session_present, resubscribed));
            }
        }
        assert_eq!(seen, [(true, 0), (false, 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_refused_the_second_time_is_reported() {
    let (server, client, mut peer) =
        Server::connected_with(Version::V5, |options| options.reconnect(at_once())).await;
    let (stream, _) = tokio::join!(client.subscribe("secret/#"), peer.grant());
    let _stream = stream.unwrap();
    let mut events = client.events();
    drop(peer);
    let mut peer = server.accept().await;
    let again = peer.expect(0x82).await;
    peer.answer(&again, 0x87).await;
    loop {
        if let Event::SubscriptionLost { filter, reason_code } = events.recv().await.unwrap() {
            assert_eq!((filter.as_str(), reason_code), ("secret/#", ReasonCode::NOT_AUTHORIZED));
            return;
        }
    }
}

// [MQTT-4.4.0-1 @3.1.1] [MQTT-4.4.0-1 @5.0] [MQTT-3.3.1-1 @3.1.1] [MQTT-3.3.1-1 @5.0]
#[tokio::test(start_paused = true)]
async fn an_unacknowledged_message_is_sent_again_in_a_resumed_session() {
    for version in V {
        for len in [1, 200_000] {
            let (server, client, mut peer) = Server::connected_with(version, |options| {
                options.reconnect(at_once()).session(Duration::from_secs(1000))
            })
            .await;
            let payload = vec![7; len];
            let message = Publish::new("a", payload.clone()).qos(QoS::AtLeastOnce);
            let delivery = client.publish(message).await.unwrap();
            let first = peer.expect(0x32).await;
            drop(peer);
            let mut peer = server.accept_with(true, &[]).await;
            let again = peer.expect(0x3A).await;
            assert_eq!(first[1..], again[1..]);
            assert!(again.ends_with(&payload));
            peer.ack(0x40, id_of(&again), 0).await;
            assert!(delivery.await.is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a1_6_the_policy_waits_longer_each_time_and_gives_up_where_it_is_told() {
    struct Counting(AtomicU32);
    impl ReconnectPolicy for Counting {
        fn next_delay(&self, attempt: u32, error: &ConnectionError) -> Option<Duration> {
            assert!(matches!(error, ConnectionError::ClosedByServer));
            assert_eq!(self.0.fetch_add(1, Ordering::Relaxed) + 1, attempt);
            (attempt < 4).then(|| Duration::from_secs(attempt.into()))
        }
    }
    let policy = Counting(AtomicU32::new(0));
    let (server, options) = Server::new(Version::V3_1_1);
    let client = Client::start(options.reconnect(policy));
    let start = tokio::time::Instant::now();
    for _ in 0..4 {
        drop(server.next().await);
    }
    assert!(matches!(client.ended().await, ConnectionError::ClosedByServer));
    assert_eq!(start.elapsed().as_secs(), 1 + 2 + 3);
}

#[test]
fn the_delay_grows_to_a_cap_and_no_two_clients_have_the_same() {
    let policy = Backoff::default();
    let error = ConnectionError::ClosedByServer;
    let longest = |attempt| (0..200).map(|_| policy.next_delay(attempt, &error).unwrap()).max().unwrap();
    assert!(longest(1) <= Duration::from_secs(1));
    assert!(longest(4) > Duration::from_secs(2) && longest(4) <= Duration::from_secs(8));
    assert!(longest(u32::MAX) > Duration::from_secs(60) && longest(u32::MAX) <= Duration::from_secs(120));
    let delays: std::collections::BTreeSet<_> = (0..100).map(|_| policy.next_delay(8, &error)).collect();
    assert!(delays.len() > 90);
    assert_eq!(Backoff::default().attempts(3).next_delay(4, &error), None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_will_not_change_is_not_tried_again() {
    let fatal = [
        ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        ReasonCode::NOT_AUTHORIZED,
        ReasonCode::BANNED,
        ReasonCode::USE_ANOTHER_SERVER,
        ReasonCode::SERVER_MOVED,
    ];
    for code in fatal {
        let (server, options) = Server::new(Version::V5);
        let client = Client::start(options);
        let mut peer = server.next().await;
        peer.expect(0x10).await;
        peer.connack(false, code.0, &[]).await;
        match client.ended().await {
            ConnectionError::Refused(words) => assert_eq!(words.reason_code, code),
            other => panic!("{other}"),
        }
    }
    // One that may change is.
    let (server, options) = Server::new(Version::V5);
    let client = Client::start(options);
    let mut peer = server.next().await;
    peer.expect(0x10).await;
    peer.connack(false, ReasonCode::SERVER_BUSY.0, &[]).await;
    let _second = server.accept().await;
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_hook_brings_a_fresh_token_and_another_server_before_each_attempt() {
    struct Tokens(AtomicU32, Arc<dyn Transport>);
    #[async_trait::async_trait]
    impl BeforeConnect for Tokens {
        async fn before_connect(&self, attempt: &mut Attempt) -> Result<(), TransportError> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            attempt.values.user_name = Some("user".to_owned());
            attempt.values.password = Some(format!("token-{n}").into());
            if n == 1 {
                assert!(attempt.error.is_some());
                attempt.transport = self.1.clone();
            }
            Ok(())
        }
    }
    let (sender, mut elsewhere) = tokio::sync::mpsc::unbounded_channel();
    #[derive(Debug)]
    struct Other(tokio::sync::mpsc::UnboundedSender<()>);
    #[async_trait::async_trait]
    impl Transport for Other {
        async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
            self.0.send(()).unwrap();
            std::future::pending().await
        }
    }
    let (server, options) = Server::new(Version::V5);
    let hook = Tokens(AtomicU32::new(0), Arc::new(Other(sender)));
    let _client = Client::start(options.reconnect(at_once()).before_connect(hook));
    let mut peer = server.next().await;
    let connect = peer.expect(0x10).await;
    assert!(connect.ends_with(b"token-0"));
    drop(peer);
    elsewhere.recv().await.unwrap();
}

#[derive(Debug)]
struct Unreachable;

#[async_trait::async_trait]
impl Transport for Unreachable {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        Err(TransportError::new("reach the moon", std::io::ErrorKind::HostUnreachable.into()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_server_is_tried_where_one_cannot_be_reached() {
    let (server, pipe) = Server::with_pipe(Version::V5);
    let options = Options::with_transport(Arc::new(Unreachable)).or_transport(pipe);
    let client = Client::start(options);
    let _peer = server.accept().await;
    drop(client);
    let options = Options::with_transport(Arc::new(Unreachable));
    let error = Client::connect(options).await.unwrap_err();
    assert_eq!(error.to_string(), "reach the moon: host unreachable");
}

// [MQTT-3.1.2-24 @3.1.1] [MQTT-3.1.2-20 @5.0]
#[tokio::test(start_paused = true)]
async fn a1_10_a_half_open_connection_is_noticed_though_messages_go_out() {
    for version in V {
        let (_server, client, mut peer) = Server::connected_with(version, |options| {
            options.keep_alive(Duration::from_secs(30)).no_reconnect()
        })
        .await;
        let start = tokio::time::Instant::now();
        // The server takes everything and says nothing.
        tokio::spawn(async move { while peer.next().await.is_some() {} });
        let publisher = client.clone();
        tokio::spawn(async move {
            while publisher.publish(Publish::new("a", "still there?")).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let end = client.ended().await;
        assert!(matches!(end, ConnectionError::Protocol(ProtocolError::KeepAlive)), "{end}");
        assert!(start.elapsed() <= Duration::from_secs(30 + 10 + 1), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_alive() {
    let (_server, client, mut peer) = Server::connected_with(Version::V3_1_1, |options| {
        options.keep_alive(Duration::from_secs(30)).no_reconnect()
    })
    .await;
    for _ in 0..10 {
        peer.expect(0xC0).await;
        peer.send(&[0xD0, 0]).await;
    }
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a1_9_a_malformed_packet_ends_the_connection_and_names_the_rule() {
    for (version, bytes) in
        [(Version::V3_1_1, &[0x36, 0][..]), (Version::V5, &[0x36, 0]), (Version::V5, &[0x00, 0])]
    {
        let (_server, client, mut peer) =
            Server::connected_with(version, |options| options.no_reconnect()).await;
        peer.send(bytes).await;
        let said = peer.expect_end().await;
        assert_eq!(said, if version == Version::V5 { &[0xE0][..] } else { &[] });
        match client.ended().await {
            ConnectionError::Protocol(error) => {
                assert!(error.rule(version).starts_with("MQTT-") || error.rule(version).starts_with('U'))
            }
            other => panic!("{other}"),
        }
    }
}

// [MQTT-3.14.4-1 @3.1.1] [MQTT-3.14.4-1 @5.0]
#[tokio::test(start_paused = true)]
async fn a4_33_shutdown_delivers_what_was_taken_and_reports_what_it_could_not() {
    for version in V {
        let (_server, client, mut peer) = Server::connected(version).await;
        let one = client.publish(Publish::new("a", "1").qos(QoS::AtLeastOnce)).await.unwrap();
        let two = client.publish(Publish::new("a", "2").qos(QoS::AtLeastOnce)).await.unwrap();
        let ending = tokio::spawn({
            let client = client.clone();
            async move { client.shutdown(Duration::from_secs(5)).await }
        });
        let first = peer.expect(0x32).await;
        peer.expect(0x32).await;
        assert_eq!(client.try_publish(Publish::new("a", "3")).unwrap_err(), PublishError::Closed);
        peer.ack(0x40, id_of(&first), 0).await;
        peer.expect(0xE0).await;
        assert_eq!(peer.next().await, None);
        let report = ending.await.unwrap();
        assert_eq!((report.delivered, report.pending), (1, 1));
        assert!(matches!(report.reason, ConnectionError::Shutdown));
        assert!(one.await.is_ok());
        assert!(two.await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_delivers_and_says_goodbye_and_abort_does_not() {
    for version in V {
        let (_server, client, mut peer) = Server::connected(version).await;
        let other = client.clone();
        drop(client);
        drop(other.publish(Publish::new("a", "last words")).await.unwrap());
        drop(other);
        peer.expect(0x30).await;
        assert_eq!(peer.expect_end().await, [0xE0]);

        let (_server, client, mut peer) = Server::connected(version).await;
        client.abort().await;
        assert_eq!(peer.expect_end().await, [0; 0]);
    }
}

// [MQTT-3.1.2-10 @5.0]
#[tokio::test(start_paused = true)]
async fn disconnect_with_a_reason_and_properties_says_them() {
    let (_server, client, mut peer) =
        Server::connected_with(Version::V5, |options| options.session(Duration::from_secs(100))).await;
    let properties = PropertyList::new().with(Property::SessionExpiryInterval(7));
    let leaving = client.disconnect_with(ReasonCode::DISCONNECT_WITH_WILL_MESSAGE, properties);
    let (result, packet) = tokio::join!(leaving, peer.expect(0xE0));
    result.unwrap();
    assert_eq!(packet, [0xE0, 7, 4, 5, 0x11, 0, 0, 0, 7]);
    // What is not allowed is refused, and the client goes on.
    let (_server, client, _peer) = Server::connected(Version::V5).await;
    let properties = PropertyList::new().with(Property::SessionExpiryInterval(7));
    let result = client.disconnect_with(ReasonCode::SUCCESS, properties).await;
    assert_eq!(result, Err(RequestError::SessionExpiry));
    assert!(client.try_publish(Publish::new("a", "")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_server_says_why_it_leaves() {
    let (_server, client, mut peer) =
        Server::connected_with(Version::V5, |options| options.no_reconnect()).await;
    peer.send(&[0xE0, 9, 0x8B, 7, 0x1F, 0, 4, b'b', b'y', b'e', b'!']).await;
    match client.ended().await {
        ConnectionError::Disconnected(words) => {
            assert_eq!(words.reason_code, ReasonCode::SERVER_SHUTTING_DOWN);
            assert_eq!(words.reason_string.as_deref(), Some("bye!"));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a4_37_what_is_published_offline_follows_the_policy() {
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (policy, taken) in [
        (OfflinePolicy::Queue, [true, true, true]),
        (OfflinePolicy::QueueAcknowledged, [false, true, true]),
        (OfflinePolicy::FailFast, [false, false, false]),
    ] {
        let (server, options) = Server::new(Version::V5);
        let client = Client::start(options.offline(policy));
        let results: Vec<_> =
            qos.iter().map(|&qos| client.try_publish(Publish::new("a", "").qos(qos))).collect();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), taken);
        assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(PublishError::NotConnected))));
        let mut peer = server.accept().await;
        for (qos, _) in qos.iter().zip(taken).filter(|(_, taken)| *taken) {
            peer.expect(0x30 | (*qos as u8) << 1).await;
        }
    }
}
