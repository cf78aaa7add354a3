//! What the broker says about itself by HTTP: the figures after known traffic, and that all of it is OpenMetrics.

#![cfg(all(feature = "metrics", feature = "persistence"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod made;

use made::Directory;
use mqtt_broker_lite::core::Settings;
use mqtt_broker_lite::{Broker, SyncMode};
use mqtt_client_async::{Client, LastWill, Options, Publish, QoS, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

fn address(broker: &Broker) -> String {
    let url = broker.metrics_url().unwrap();
    url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().to_owned()
}

/// The head and the body of an answer.
fn ask(address: &str, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (head.to_owned(), body.to_owned())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The labels of `{a="b",c="d"}`, without what may be escaped: nothing of ours has to be.
fn labels(text: &str) -> Vec<(&str, &str)> {
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        assert!(is_name(name), "{text}");
        let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        assert!(!value.contains(['"', '\\', '\n']), "{text}");
        (name, value)
    });
    pairs.collect()
}

/// Every sample by its name and labels. Panics where a line is not OpenMetrics.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let lines: Vec<_> = page.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"));
    let mut kinds = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut samples = BTreeMap::new();
    let mut family = "";
    for line in &lines[..lines.len() - 1] {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<_> = comment.splitn(3, ' ').collect();
            match words[..] {
                ["HELP", name, text] => assert!(!text.is_empty() && helped.insert(name), "{line}"),
                ["TYPE", name, kind @ ("counter" | "gauge" | "histogram")] => {
                    assert!(is_name(name) && kinds.insert(name, kind).is_none(), "{line}");
                    family = name;
                }
                ["UNIT", name, unit] => assert!(name.ends_with(unit), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let (name, of) = match sample.split_once('{') {
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap())),
            None => (sample, Vec::new()),
        };
        let end = name.strip_prefix(family).unwrap_or_else(|| panic!("{line}: not of {family}"));
        let is_right = match kinds[family] {
            "counter" => end == "_total" && value >= 0.0,
            "gauge" => end.is_empty(),
            _ => match end {
                "_bucket" => of.iter().any(|(label, bound)| *label == "le" && bound.parse::<f64>().is_ok()),
                _ => matches!(end, "_sum" | "_count"),
            },
        };
        assert!(is_right, "{line}");
        assert!(samples.insert(sample.to_owned(), value).is_none(), "{line}: twice");
    }
    assert!(kinds.keys().all(|name| helped.contains(name)), "a metric is not explained");
    samples
}

/// Every sample, once this one has that value.
fn figures(address: &str, sample: &str, value: f64) -> BTreeMap<String, f64> {
    let begin = Instant::now();
    loop {
        let (head, body) = ask(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text;"), "{head}");
        let samples = parse(&body);
        if samples.get(sample) == Some(&value) {
            return samples;
        }
        assert!(begin.elapsed() < WAIT, "{sample} is not {value}:\n{body}");
    }
}

fn options(broker: &Broker, id: &str) -> Options {
    Options::new(&broker.url()).unwrap().client_id(id).no_reconnect().version(Version::V5)
}

async fn publish(client: &Client, message: Publish) {
    client.publish(message).await.unwrap().await.unwrap();
}

/// One who takes no packets of more than 100 bytes, subscribed to `large`.
fn small(broker: &Broker) -> TcpStream {
    let mut small = TcpStream::connect(broker.addresses()[0]).unwrap();
    small.set_read_timeout(Some(WAIT)).unwrap();
    small.write_all(b"\x10\x17\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\x64\0\x05small").unwrap();
    small.write_all(b"\x82\x0B\0\x01\0\0\x05large\0").unwrap();
    // Up to the last byte of SUBACK.
    let mut answers = Vec::new();
    while !answers.ends_with(&[0x90, 4, 0, 1, 0, 0]) {
        let mut byte = [0];
        small.read_exact(&mut byte).unwrap();
        answers.extend(byte);
    }
    small
}

/// What the traffic of the test below comes to.
fn check(found: &BTreeMap<String, f64>) {
    for (sample, value) in [
        ("messages_received_total{qos=\"0\"}", 2.0),
        ("messages_received_total{qos=\"1\"}", 8.0),
        ("messages_received_total{qos=\"2\"}", 4.0),
        ("messages_sent_total{qos=\"0\"}", 2.0),
        ("messages_sent_total{qos=\"1\"}", 3.0),
        ("messages_sent_total{qos=\"2\"}", 4.0),
        ("messages_dropped_total{reason=\"queue_full\"}", 0.0),
        ("connections_accepted_total", 4.0),
        ("connections_turned_away_total", 0.0),
        ("connections_closed_total{reason=\"disconnected\"}", 2.0),
        ("connections_closed_total{reason=\"refused\"}", 1.0),
        ("connections_closed_total{reason=\"lost\"}", 0.0),
        ("sessions", 2.0),
        ("sessions_connected", 1.0),
        ("subscriptions", 2.0),
        ("retained_messages", 1.0),
        ("queued_messages", 3.0),
        ("stored_messages", 0.0),
        ("inflight_messages", 0.0),
        ("memory_bytes", 7.0),
        ("memory_pressure", 0.0),
        ("store_commit_seconds_bucket{le=\"+Inf\"}", found["mqtt_broker_store_commit_seconds_count"]),
    ] {
        assert_eq!(found.get(&format!("mqtt_broker_{sample}")), Some(&value), "{sample}");
    }
    // What is known only about.
    for sample in ["bytes_received_total", "bytes_sent_total", "queued_bytes", "store_commit_seconds_sum"] {
        assert!(found[&format!("mqtt_broker_{sample}")] > 0.0, "{sample}");
    }
    let sum = |name: &str| -> f64 {
        ["0", "1"].iter().map(|shard| found[&format!("mqtt_broker_shard_{name}{{shard=\"{shard}\"}}")]).sum()
    };
    assert_eq!(sum("sessions"), 2.0);
    assert_eq!(sum("packets_received_total"), found["mqtt_broker_packets_received_total"]);
    assert!(sum("busy_seconds_total") > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_are_those_of_the_traffic() {
    let directory = Directory::new();
    let broker = Broker::builder()
        .listen("mqtt://127.0.0.1:0")
        .workers(NonZeroU16::new(2).unwrap())
        .data(directory.0.join("data"), SyncMode::Always)
        .settings(Settings::default())
        .memory_budget(1 << 30, || 7)
        .metrics("127.0.0.1:0".parse().unwrap())
        .start()
        .unwrap();
    let address = address(&broker);
    // Three messages wait for one that goes away.
    let kept = options(&broker, "away").session(Duration::from_secs(600));
    let away = Client::connect(kept).await.unwrap();
    let _kept = away.subscribe(("kept", QoS::AtLeastOnce)).await.unwrap();
    away.shutdown(WAIT).await;
    let _small = small(&broker);
    let client = Client::connect(options(&broker, "client")).await.unwrap();
    let mut stream = client.subscribe(("t/#", QoS::ExactlyOnce)).await.unwrap();
    for (qos, count) in [(QoS::AtMostOnce, 2), (QoS::AtLeastOnce, 3), (QoS::ExactlyOnce, 4)] {
        for _ in 0..count {
            publish(&client, Publish::new("t/1", "x").qos(qos)).await;
            tokio::time::timeout(WAIT, stream.recv()).await.unwrap().unwrap();
        }
    }
    publish(&client, Publish::new("r", "x").qos(QoS::AtLeastOnce).retain(true)).await;
    for _ in 0..3 {
        publish(&client, Publish::new("kept", "x").qos(QoS::AtLeastOnce)).await;
    }
    publish(&client, Publish::new("large", "x".repeat(2000)).qos(QoS::AtLeastOnce)).await;
    client.shutdown(WAIT).await;
    // One that is refused.
    Client::connect(options(&broker, "deep").will(LastWill::new(Publish::new("$SYS/x", ""))))
        .await
        .unwrap_err();
    figures(&address, "mqtt_broker_messages_dropped_total{reason=\"too_large\"}", 1.0);
    figures(&address, "mqtt_broker_connections_closed_total{reason=\"disconnected\"}", 2.0);
    let found = figures(&address, "mqtt_broker_connections", 1.0);
    check(&found);
    broker.shutdown();
    assert!(TcpStream::connect(&address).is_err(), "somebody still listens for metrics");
}

#[test]
fn whoever_asks_for_something_else_is_told_so() {
    let start = || Broker::builder().listen("mqtt://127.0.0.1:0").metrics("127.0.0.1:0".parse().unwrap());
    let broker = start().start().unwrap();
    let address = address(&broker);
    for (request, says) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 "),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 "),
        ("\x10\x0D\0\x04MQTT\r\n\r\n", "400 "),
        (&format!("GET /metrics HTTP/1.1\r\nX: {}", "y".repeat(8192)), "400 "),
    ] {
        let (head, _) = ask(&address, request.as_bytes());
        assert!(head.starts_with(&format!("HTTP/1.1 {says}")), "{head}");
    }
    // Who says nothing and stays does not keep the others out for ever.
    let silent = TcpStream::connect(&address).unwrap();
    figures(&address, "mqtt_broker_connections", 0.0);
    drop(silent);
    // A taken address is said before anything starts.
    let taken = Broker::builder().listen("mqtt://127.0.0.1:0").metrics(address.parse().unwrap()).start();
    assert!(taken.err().unwrap().to_string().contains("/metrics"));
    assert!(Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap().metrics_url().is_none());
}
