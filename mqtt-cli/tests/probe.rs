//! `mqtt probe` against our broker and Debian's mosquitto: what it finds out is what is known of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use mqtt_broker_lite::Broker;
use mqtt_broker_lite::core::Settings;
use serde_json::Value;

fn probe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqtt")).arg("probe").args(arguments).output().unwrap()
}

fn json(url: &str) -> Value {
    let output = probe(&["--broker", url, "--json", "--max-payload", "100000"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What was found under a heading.
fn value<'j>(json: &'j Value, group: &str, name: &str) -> &'j Value {
    let rows = json["findings"][group].as_array().unwrap_or_else(|| panic!("no {group} in {json:#}"));
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {json:#}"));
    &row["value"]
}

/// The statements that do not hold, with the version.
fn broken(json: &Value) -> BTreeSet<String> {
    let mut broken = BTreeSet::new();
    for version in ["3.1.1", "5.0"] {
        let rows = json["findings"][format!("conformance, MQTT {version}")].as_array().unwrap();
        assert!(rows.len() > 30, "{rows:?}");
        for row in rows.iter().filter(|row| row["value"] == false) {
            broken.insert(format!("{} @{version}", row["statement"].as_str().unwrap()));
        }
    }
    broken
}

#[test]
fn our_broker_has_everything_and_keeps_every_rule() {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap();
    let json = json(&broker.url());
    assert_eq!(broken(&json), BTreeSet::new(), "{json:#}");
    for version in ["MQTT 3.1", "MQTT 3.1.1", "MQTT 5.0"] {
        assert_eq!(value(&json, "versions", version), true);
    }
    for what in [
        "QoS 0",
        "QoS 1",
        "QoS 2",
        "retained messages",
        "wildcard +",
        "wildcard #",
        "shared subscriptions",
        "sessions that outlive a connection",
        "wills",
        "Subscription Identifiers",
        "Topic Aliases",
        "Message Expiry Interval",
    ] {
        assert_eq!(value(&json, "what works", what), true, "{what}");
    }
    assert_eq!(value(&json, "announced in CONNACK, MQTT 5.0", "Receive Maximum"), 1024);
    assert_eq!(value(&json, "found by trying", "most topic levels"), 128);
    assert_eq!(value(&json, "found by trying", "largest payload, bytes"), 100_000);
}

#[test]
fn what_a_server_does_not_have_is_found() {
    let settings = Settings {
        maximum_qos: mqtt_broker_lite::QoS::AtLeastOnce,
        retain_available: false,
        shared_available: false,
        max_topic_levels: 7,
        ..Settings::default()
    };
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").settings(settings).start().unwrap();
    let output = probe(&["--broker", &broker.url(), "--no-conformance", "--max-payload", "100"]);
    let table = String::from_utf8(output.stdout).unwrap();
    for (name, value) in [
        ("Maximum QoS", "1"),
        ("Retain Available", "no"),
        ("Shared Subscription Available", "no"),
        ("most topic levels", "7"),
        ("QoS 1", "yes"),
        ("QoS 2", "no"),
        ("retained messages", "no"),
        ("shared subscriptions", "no"),
    ] {
        let line = table.lines().find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {table}"));
        let found = line.trim_start()[name.len()..].split_whitespace().next();
        assert_eq!(found, Some(value), "{line}");
    }
    assert!(!table.contains("conformance"), "{table}");
}

#[test]
fn mosquitto_has_its_ways() {
    let Some((url, _mosquitto)) = mosquitto() else { return };
    let json = json(&url);
    assert_eq!(value(&json, "what works", "QoS 2"), true);
    assert_eq!(value(&json, "what works", "topics of the server itself ($SYS)"), true);
    assert_eq!(value(&json, "announced in CONNACK, MQTT 5.0", "Receive Maximum"), 20);
    let known = ["MQTT-3.1.4-3 @5.0", "MQTT-3.3.4-6 @5.0", "MQTT-3.8.3-4 @5.0"];
    assert_eq!(broken(&json), known.map(str::to_owned).into(), "{json:#}");
    let strict = probe(&["--broker", &url, "--strict"]);
    assert_eq!(strict.status.code(), Some(1), "{strict:?}");
}

#[test]
fn who_cannot_be_reached_and_who_refuses_is_a_failure() {
    let output = probe(&["--broker", "mqtt://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("Error: mqtt://127.0.0.1:1: connect to"),
        "{output:?}"
    );
    // It takes a connection, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", silent.local_addr().unwrap());
    let output = probe(&["--broker", &url, "--patience", "0.1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("MQTT 5.0: no answer came"), "{output:?}");
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's mosquitto; `None`, and said so aloud, where it is not installed.
fn mosquitto() -> Option<(String, Running)> {
    if !std::path::Path::new("/usr/sbin/mosquitto").exists() {
        assert!(std::env::var_os("CI").is_none(), "mosquitto is not installed");
        let _ = std::io::stderr().write_all(b"SKIPPED: mosquitto is not installed\n");
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("/usr/sbin/mosquitto");
    let child = command.args(["-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = Running(child.unwrap());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(std::time::Instant::now() < end, "mosquitto does not listen");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Some((format!("mqtt://127.0.0.1:{port}"), running))
}
