//! Messages that come in: to which stream, how often, acknowledged when, and what a slow stream does to the others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods
)]

mod peer;

use std::time::Duration;

use mqtt_client_async::*;
use peer::{Peer, Server, id_of, publish};

const V: [Version; 2] = [Version::V3_1_1, Version::V5];
const SHORT: Duration = Duration::from_millis(100);

async fn subscribed(client: &Client, peer: &mut Peer, what: Subscribe) -> Subscription {
    let n = what.clone();
    let (stream, ()) = tokio::join!(client.subscribe(n), async {
        let filters = format!("{what:?}").matches("qos: ").count() - 1;
        for _ in 0..filters {
            peer.grant().await;
        }
    });
    stream.unwrap()
}

fn at(qos: QoS) -> Subscribe {
    Subscribe::new(qos)
}

// The most repeated complaint about clients that have to be polled.
#[tokio::test(start_paused = true)]
async fn a1_1_publishing_from_the_receive_loop_with_a_full_queue_does_not_stall() {
    const N: u16 = 2000;
    for version in V {
        let (_server, client, mut peer) =
            Server::connected_with(version, |options| options.queue(1, 1).receive_maximum(10)).await;
        let mut stream = subscribed(&client, &mut peer, at(QoS::AtLeastOnce).to("flood")).await;
        // The server floods without regard, as far as the Receive Maximum allows it, and acknowledges what comes.
        let server = tokio::spawn(async move {
            let (mut sent, mut acknowledged, mut answered) = (0_u16, 0_u16, 0_u16);
            let window = if version == Version::V5 { 10 } else { N };
            while acknowledged < N || answered < N {
                while sent < N && sent - acknowledged < window {
                    sent += 1;
                    peer.publish("flood", QoS::AtLeastOnce, sent, b"x").await;
                    if sent % 50 == 0 {
                        break;
                    }
                }
                let packet = peer.next().await.unwrap();
                match packet[0] {
                    0x40 => acknowledged += 1,
                    0x32 => {
                        answered += 1;
                        peer.ack(0x40, id_of(&packet), 0).await;
                    }
                    other => panic!("{other:#X}"),
                }
            }
        });
        for _ in 0..N {
            stream.recv().await.unwrap();
            // Waits for room, and for the acknowledgement that stands behind the flood.
            let answer = Publish::new("answer", "y").qos(QoS::AtLeastOnce);
            client.publish(answer).await.unwrap().await.unwrap();
        }
        server.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a4_38_messages_go_to_the_streams_whose_filters_match_and_once_to_each() {
    for version in V {
        let (_server, client, mut peer) = Server::connected(version).await;
        let mut wide = subscribed(&client, &mut peer, at(QoS::AtMostOnce).to("a/#").to("a/b")).await;
        let mut narrow = subscribed(&client, &mut peer, at(QoS::AtMostOnce).to("+/b")).await;
        let mut everything = client.messages();
        for topic in ["a/b", "a/c", "x/b", "x/y"] {
            peer.publish(topic, QoS::AtMostOnce, 0, topic.as_bytes()).await;
        }
        let topics = async |stream: &mut Subscription| {
            let mut topics = Vec::new();
            while let Ok(Some(message)) = tokio::time::timeout(SHORT, stream.recv()).await {
                topics.push(message.topic().to_owned());
            }
            topics
        };
        assert_eq!(topics(&mut wide).await, ["a/b", "a/c"]);
        assert_eq!(topics(&mut narrow).await, ["a/b", "x/b"]);
        assert_eq!(topics(&mut everything).await, ["a/b", "a/c", "x/b", "x/y"]);
    }
}

// [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[tokio::test(start_paused = true)]
async fn copies_for_overlapping_subscriptions_are_told_apart_by_their_identifiers() {
    let (_server, client, mut peer) = Server::connected(Version::V5).await;
    let what = at(QoS::AtLeastOnce).to("a/#").to("a/b");
    let (stream, identifiers) = tokio::join!(client.subscribe(what), async {
        let mut identifiers = Vec::new();
        for _ in 0..2 {
            let request = peer.grant().await;
            assert_eq!(request[4..6], [2, 0x0B]);
            identifiers.push(request[6]);
        }
        identifiers
    });
    let mut stream = stream.unwrap();
    for id in &identifiers {
        let copy = publish(Version::V5, "a/b", QoS::AtMostOnce, 0, b"", &[0x0B, *id]);
        peer.send(&copy).await;
    }
    stream.recv().await.unwrap();
    assert!(tokio::time::timeout(SHORT, stream.recv()).await.is_err());
    // One copy with both is one message, too.
    let both = [0x0B, identifiers[0], 0x0B, identifiers[1]];
    peer.send(&publish(Version::V5, "a/b", QoS::AtMostOnce, 0, b"", &both)).await;
    stream.recv().await.unwrap();
    assert!(tokio::time::timeout(SHORT, stream.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn each_filter_has_its_answer_and_all_refused_is_an_error() {
    for version in V {
        let (_server, client, mut peer) = Server::connected(version).await;
        let failure = if version == Version::V5 { 0x87 } else { 0x80 };
        let what = at(QoS::ExactlyOnce).to("yes").to("no");
        let (stream, ()) = tokio::join!(client.subscribe(what), async {
            for code in [1, failure] {
                let request = peer.expect(0x82).await;
                peer.answer(&request, code).await;
            }
        });
        let codes: Vec<u8> = stream.unwrap().granted().iter().map(|granted| granted.reason_code.0).collect();
        assert_eq!(codes, [1, failure]);
        // Dropped at once: only what was granted is taken back.
        let request = peer.expect(0xA2).await;
        assert!(request.ends_with(b"yes"));
        let (stream, request) = tokio::join!(client.subscribe("never"), async {
            let request = peer.expect(0x82).await;
            peer.answer(&request, failure).await;
        });
        let () = request;
        assert_eq!(stream.unwrap_err(), SubscribeError::Refused(ReasonCode(failure)));
        peer.expect_silence(SHORT).await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_unsubscribes_what_nobody_else_wants() {
    for version in V {
        let (_server, client, mut peer) = Server::connected(version).await;
        let one = subscribed(&client, &mut peer, at(QoS::AtMostOnce).to("a").to("b")).await;
        let two = subscribed(&client, &mut peer, at(QoS::AtMostOnce).to("a")).await;
        drop(one);
        let request = peer.expect(0xA2).await;
        assert!(request.ends_with(b"\x00\x01b"));
        peer.answer(&request, 0).await;
        peer.expect_silence(SHORT).await;
        let (answers, ()) = tokio::join!(two.unsubscribe(), async {
            let request = peer.expect(0xA2).await;
            let code = if version == Version::V5 { 0x11 } else { 0 };
            peer.answer(&request, code).await;
        });
        let answers = answers.unwrap();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].filter, "a");
        assert_eq!(answers[0].reason_code.0, if version == Version::V5 { 0x11 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_that_is_dropped_leaves_no_subscription() {
    let (_server, client, mut peer) = Server::connected(Version::V5).await;
    let subscribing = tokio::time::timeout(SHORT, client.subscribe("a"));
    let (result, request) = tokio::join!(subscribing, peer.expect(0x82));
    assert!(result.is_err());
    peer.answer(&request, 0).await;
    peer.expect(0xA2).await;
}

// [MQTT-4.6.0-2 @3.1.1] [MQTT-4.6.0-2 @5.0]
#[tokio::test(start_paused = true)]
async fn a_full_stream_holds_acknowledgements_back_and_the_rest_goes_on() {
    for version in V {
        for (qos, ack) in [(QoS::AtLeastOnce, 0x40), (QoS::ExactlyOnce, 0x50)] {
            let (_server, client, mut peer) = Server::connected(version).await;
            let mut stream = subscribed(&client, &mut peer, at(qos).to("a").capacity(1, 1000)).await;
            for id in [1, 2, 3] {
                peer.publish("a", qos, id, b"").await;
            }
            assert_eq!(peer.expect(ack).await[2..4], [0, 1]);
            peer.expect_silence(SHORT).await;
            // A stream that nobody reads does not keep other things from going on.
            let delivery = client.publish(Publish::new("b", "").qos(QoS::AtLeastOnce)).await.unwrap();
            let packet = peer.expect(0x32).await;
            peer.ack(0x40, id_of(&packet), 0).await;
            delivery.await.unwrap();
            stream.recv().await.unwrap();
            peer.expect_silence(SHORT).await;
            for id in [2, 3] {
                stream.recv().await.unwrap();
                let packet = peer.expect(ack).await;
                assert_eq!(packet[2..4], [0, id]);
            }
        }
    }
}

// [MQTT-4.6.0-2 @3.1.1] [MQTT-4.6.0-2 @5.0]
#[tokio::test(start_paused = true)]
async fn a1_12_by_hand_acknowledgements_leave_in_the_order_of_the_messages() {
    for version in V {
        let (server, client, mut peer) = Server::connected_with(version, |options| {
            options.reconnect(Backoff::new(SHORT, SHORT)).session(Duration::from_secs(100))
        })
        .await;
        let mut stream = subscribed(&client, &mut peer, at(QoS::AtLeastOnce).to("a").manual()).await;
        let mut messages = Vec::new();
        for id in 1..=3 {
            peer.publish("a", QoS::AtLeastOnce, id, b"").await;
            messages.push(stream.recv().await.unwrap());
        }
        messages[2].acknowledge();
        messages[1].acknowledge();
        peer.expect_silence(SHORT).await;
        assert_eq!(client.figures().unacknowledged, 3);
        messages[0].acknowledge();
        for id in 1..=3 {
            assert_eq!(peer.expect(0x40).await[2..4], [0, id]);
        }
        assert_eq!(client.figures().unacknowledged, 0);
        // Once is enough, also when the identifier has come again.
        peer.publish("a", QoS::AtLeastOnce, 1, b"next").await;
        let next = stream.recv().await.unwrap();
        messages[0].acknowledge();
        peer.expect_silence(SHORT).await;
        // A handle of an old connection is inert; the message comes again, and nothing is stuck.
        drop(peer);
        let mut peer = server.accept_with(true, &[]).await;
        next.acknowledge();
        peer.expect_silence(SHORT).await;
        peer.publish("a", QoS::AtLeastOnce, 1, b"next").await;
        let again = stream.recv().await.unwrap();
        if version == Version::V5 {
            again.refuse(ReasonCode::QUOTA_EXCEEDED);
            assert_eq!(peer.expect(0x40).await, [0x40, 3, 0, 1, 0x97]);
        } else {
            again.acknowledge();
            assert_eq!(peer.expect(0x40).await, [0x40, 2, 0, 1]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_for_several_streams_is_acknowledged_when_the_last_has_taken_it() {
    let (_server, client, mut peer) = Server::connected(Version::V5).await;
    let mut one = subscribed(&client, &mut peer, at(QoS::AtLeastOnce).to("a").manual()).await;
    let mut two = subscribed(&client, &mut peer, at(QoS::AtLeastOnce).to("+").manual()).await;
    let mut three =
        subscribed(&client, &mut peer, at(QoS::AtLeastOnce).to("#").overflow(Overflow::DropOldest)).await;
    peer.publish("a", QoS::AtLeastOnce, 9, b"").await;
    three.recv().await.unwrap();
    one.recv().await.unwrap().acknowledge();
    let by_hand = two.recv().await.unwrap();
    peer.expect_silence(SHORT).await;
    by_hand.acknowledge();
    assert_eq!(peer.expect(0x40).await, [0x40, 2, 0, 9]);
    // A stream that ends lets go what it holds.
    peer.publish("a", QoS::AtLeastOnce, 10, b"").await;
    one.recv().await.unwrap().acknowledge();
    two.recv().await.unwrap().acknowledge();
    assert_eq!(peer.expect(0x40).await, [0x40, 2, 0, 10]);
    peer.publish("a", QoS::AtLeastOnce, 11, b"").await;
    two.recv().await.unwrap().acknowledge();
    drop(one);
    let mut said = [peer.next().await.unwrap()[0], peer.next().await.unwrap()[0]];
    said.sort_unstable();
    assert_eq!(said, [0x40, 0xA2]);
}

#[tokio::test(start_paused = true)]
async fn a1_7_a_full_stream_does_what_was_declared() {
    for version in V {
        let (_server, client, mut peer) = Server::connected(version).await;
        let hold = at(QoS::AtMostOnce).to("#").capacity(3, 1000);
        let mut hold = subscribed(&client, &mut peer, hold).await;
        let oldest = at(QoS::AtMostOnce).to("+/+").overflow(Overflow::DropOldest).capacity(3, 1000);
        let mut oldest = subscribed(&client, &mut peer, oldest).await;
        let latest = at(QoS::AtMostOnce).to("+/#").overflow(Overflow::KeepLatest).capacity(3, 1000);
        let mut latest = subscribed(&client, &mut peer, latest).await;
        for n in 0..8_u8 {
            let topic = format!("t/{}", n % 4);
            peer.publish(&topic, QoS::AtLeastOnce, u16::from(n) + 1, &[n]).await;
            peer.publish(&topic, QoS::AtMostOnce, 0, &[n]).await;
        }
        // The first three fit; later ones of QoS 1 wait unacknowledged, those of QoS 0 are dropped.
        peer.expect(0x40).await;
        peer.expect(0x40).await;
        peer.expect_silence(SHORT).await;
        let payloads = |stream: &mut Subscription| {
            std::iter::from_fn(|| stream.try_recv()).map(|message| message.payload()[0]).collect::<Vec<_>>()
        };
        assert_eq!(payloads(&mut hold), [0, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(hold.dropped(), 7);
        assert_eq!(payloads(&mut oldest), [6, 7, 7]);
        assert_eq!(oldest.dropped(), 13);
        // Of four topics three, each with its latest.
        let mut found = payloads(&mut latest);
        found.sort_unstable();
        assert_eq!(found, [5, 6, 7]);
    }
}

#[tokio::test(start_paused = true)]
async fn held_bytes_are_bounded_by_not_reading() {
    let (_server, client, mut peer) = Server::connected(Version::V3_1_1).await;
    let what = at(QoS::AtLeastOnce).to("#").capacity(10, 10_000);
    let mut stream = subscribed(&client, &mut peer, what).await;
    let flood = tokio::spawn(async move {
        for id in 1..=1000 {
            peer.publish("t", QoS::AtLeastOnce, id, &[0; 999]).await;
        }
        peer
    });
    tokio::time::sleep(SHORT).await;
    assert_eq!(stream.len(), 21);
    for _ in 0..1000 {
        stream.recv().await.unwrap();
        // What comes may come.
        tokio::time::sleep(SHORT).await;
        assert!(stream.len() <= 21);
    }
    flood.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_as_much_room_as_was_taken() {
    let (_server, client, mut peer) = Server::connected(Version::V3_1_1).await;
    for (messages, bytes) in [(10, 1000), (1000, 10)] {
        let mut stream =
            subscribed(&client, &mut peer, at(QoS::AtMostOnce).to("t").capacity(messages, bytes)).await;
        for (taken, sent) in [(4, 10), (0, 5), (1, 0), (10, 3)] {
            for _ in 0..sent {
                peer.publish("t", QoS::AtMostOnce, 0, b"").await;
            }
            tokio::time::sleep(SHORT).await;
            assert!(stream.len() <= 10);
            for _ in 0..taken {
                stream.recv().await.unwrap();
            }
        }
        // One of the five found no room, and two of the three.
        assert_eq!((stream.dropped(), stream.len()), (3, 0));
        drop(stream);
        peer.expect(0xA2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_in_a_stream_are_acknowledged_when_it_ends() {
    let (_server, client, mut peer) = Server::connected(Version::V3_1_1).await;
    let mut stream = subscribed(&client, &mut peer, at(QoS::AtLeastOnce).to("t").capacity(1, 1000)).await;
    for id in 1..=100 {
        peer.publish("t", QoS::AtLeastOnce, id, b"").await;
    }
    assert_eq!(peer.expect(0x40).await[3], 1);
    stream.recv().await.unwrap();
    stream.recv().await.unwrap();
    assert_eq!(peer.expect(0x40).await[3], 2);
    peer.expect_silence(SHORT).await;
    assert_eq!(stream.len(), 98);
    drop(stream);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 98 {
        match peer.next().await.unwrap() {
            packet if packet[0] == 0x40 => acknowledged.push(packet[3]),
            packet => assert_eq!(packet[0], 0xA2),
        }
    }
    assert_eq!(acknowledged, (3..=100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_too() {
    let (_server, client, mut peer) = Server::connected(Version::V3_1_1).await;
    let what = at(QoS::AtMostOnce).to("#").overflow(Overflow::DropOldest).capacity(1_000_000, 1000);
    let mut stream = subscribed(&client, &mut peer, what).await;
    for _ in 0..100 {
        peer.publish("t", QoS::AtMostOnce, 0, &[0; 499]).await;
    }
    tokio::time::sleep(SHORT).await;
    assert_eq!(stream.len(), 2);
    // What is larger than all comes alone.
    peer.publish("t", QoS::AtMostOnce, 0, &[0; 5000]).await;
    tokio::time::sleep(SHORT).await;
    assert_eq!(stream.len(), 1);
    assert_eq!(stream.recv().await.unwrap().payload().len(), 5000);
}

// [MQTT-3.1.2-24 @5.0]
#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_is_passed_over_and_the_stream_goes_on() {
    for version in V {
        for len in [2000, 500_000] {
            let (_server, client, mut peer) =
                Server::connected_with(version, |options| options.max_message_size(1000)).await;
            let mut stream = subscribed(&client, &mut peer, at(QoS::AtLeastOnce).to("#")).await;
            let mut events = client.events();
            let large = publish(version, "large", QoS::AtLeastOnce, 1, &vec![0; len], &[]);
            peer.send(&large).await;
            peer.publish("small", QoS::AtLeastOnce, 2, b"").await;
            assert_eq!(stream.recv().await.unwrap().topic(), "small");
            assert_eq!(peer.expect(0x40).await[3], 1);
            assert_eq!(peer.expect(0x40).await[3], 2);
            match events.recv().await.unwrap() {
                Event::MessageTooLarge { topic, len: told } => {
                    assert_eq!((topic.as_str(), told), ("large", len))
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_nobody_wants_is_acknowledged_and_reported() {
    let (_server, client, mut peer) = Server::connected(Version::V5).await;
    let mut events = client.events();
    peer.publish("stray", QoS::AtLeastOnce, 1, b"").await;
    peer.expect(0x40).await;
    assert!(matches!(events.recv().await, Some(Event::Unrouted { topic }) if topic == "stray"));
}

// [MQTT-3.3.2-7]
#[tokio::test(start_paused = true)]
async fn the_servers_topic_aliases_are_understood() {
    let (server, options) = Server::new(Version::V5);
    let options = options.topic_alias_maximum(2);
    let (client, mut peer) = tokio::join!(Client::connect(options), server.accept());
    let client = client.unwrap();
    let mut stream = client.messages();
    peer.send(&publish(Version::V5, "long/topic/name", QoS::AtMostOnce, 0, b"1", &[0x23, 0, 2])).await;
    peer.send(b"\x30\x07\x00\x00\x03\x23\x00\x022").await;
    for payload in [b"1", b"2"] {
        let message = stream.recv().await.unwrap();
        assert_eq!((message.topic(), message.payload()), ("long/topic/name", &payload[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a4_41_a_request_gets_its_response_and_a_late_one_is_dropped() {
    let (_server, client, mut peer) = Server::connected(Version::V5).await;
    let (requests, _) = tokio::join!(Requests::new(&client, "me/responses"), peer.grant());
    let requests = requests.unwrap();
    let patience = Duration::from_secs(5);
    let (one, two) = (
        requests.request(Publish::new("q", "1"), patience),
        requests.request(Publish::new("q", "2"), patience),
    );
    let server = async {
        let mut questions = Vec::new();
        for _ in 0..2 {
            let packet = peer.expect(0x30).await;
            let (frame, _) = mqtt_packet::Frame::split(&packet).unwrap().unwrap();
            let question = mqtt_packet::Publish::decode(frame, Version::V5).unwrap();
            let data = question.properties.correlation_data().unwrap().to_vec();
            assert_eq!(question.properties.response_topic().unwrap().as_str(), "me/responses");
            questions.push((data, question.payload.to_vec()));
        }
        // The other way round, and a stranger's in between.
        peer.publish("me/responses", QoS::AtMostOnce, 0, b"unasked").await;
        for (data, payload) in questions.iter().rev() {
            let block = [&[0x09, 0, 8][..], data].concat();
            peer.send(&publish(Version::V5, "me/responses", QoS::AtMostOnce, 0, payload, &block)).await;
        }
        questions
    };
    let (one, two, questions) = tokio::join!(one, two, server);
    assert_eq!((one.unwrap().payload(), two.unwrap().payload()), (&b"1"[..], &b"2"[..]));
    let late = requests.request(Publish::new("q", "3"), patience).await;
    assert_eq!(late.unwrap_err(), ResponseError::Timeout);
    let block = [&[0x09, 0, 8][..], &questions[0].0].concat();
    peer.send(&publish(Version::V5, "me/responses", QoS::AtMostOnce, 0, b"late", &block)).await;
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_request_works_before_5_0_by_its_response_topic() {
    let (_server, client, mut peer) = Server::connected(Version::V3_1_1).await;
    let request = client.request(Publish::new("q", "1"), "r/17", Duration::from_secs(5));
    let (response, ()) = tokio::join!(request, async {
        peer.grant().await;
        peer.expect(0x30).await;
        peer.publish("r/17", QoS::AtMostOnce, 0, b"yes").await;
    });
    assert_eq!(response.unwrap().payload(), b"yes");
    peer.expect(0xA2).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_goes_where_the_request_says() {
    let (_server, client, mut peer) = Server::connected(Version::V5).await;
    let mut stream = client.messages();
    let block = [&[0x08, 0, 1, b'r', 0x09, 0, 2][..], b"id"].concat();
    peer.send(&publish(Version::V5, "q", QoS::AtMostOnce, 0, b"", &block)).await;
    let question = stream.recv().await.unwrap();
    drop(client.publish(question.reply("yes").unwrap()).await.unwrap());
    assert_eq!(peer.expect(0x30).await, b"\x30\x0C\x00\x01r\x05\x09\x00\x02idyes");
    peer.publish("q", QoS::AtMostOnce, 0, b"no answer wanted").await;
    assert!(stream.recv().await.unwrap().reply("").is_none());
}
