//! `mqtt bench` against our broker: every scenario, and what it writes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqtt")).arg("bench").args(arguments).output().unwrap()
}

fn broker() -> mqtt_broker_lite::Broker {
    mqtt_broker_lite::Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap()
}

#[test]
fn every_scenario_gets_back_what_it_sent() {
    let broker = broker();
    let url = broker.url();
    for (scenario, count, expected) in [
        ("conn", "20", 20),
        ("pub", "50", 200),
        ("sub", "50", 200),
        ("rr", "50", 200),
        ("pipeline", "50", 200),
    ] {
        for qos in ["0", "1", "2"] {
            for version in ["311", "5"] {
                let output = bench(&[
                    scenario,
                    "--broker",
                    &url,
                    "--clients",
                    "4",
                    "--count",
                    count,
                    "--qos",
                    qos,
                    "--quiet",
                    "--protocol-version",
                    version,
                    "--threads",
                    "2",
                    "--json",
                    "-",
                ]);
                let text = String::from_utf8_lossy(&output.stdout);
                let place = format!("{scenario} {qos} {version}: {text} {output:?}");
                assert!(output.status.success(), "{place}");
                let json: serde_json::Value =
                    serde_json::from_str(&text[text.find("\n{").unwrap()..]).unwrap();
                let result = &json["results"][0];
                assert_eq!(result["figures"]["lost"], 0.0, "{place}");
                let measured = if scenario == "pub" && qos == "0" { "sent" } else { "received" };
                assert_eq!(result[measured], expected, "{place}");
            }
        }
    }
}

#[test]
fn a_rate_two_servers_and_the_files() {
    let (one, other) = (broker(), broker());
    let directory = std::env::temp_dir().join(format!("mqtt-cli-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let [csv, plot] = ["table.csv", "plot.svg"].map(|name| directory.join(name));
    let output = bench(&[
        "pipeline",
        "--broker",
        &one.url(),
        "--against",
        &other.url(),
        "--rate",
        "1000",
        "--duration",
        "2",
        "--warmup",
        "0.2",
        "--csv",
        csv.to_str().unwrap(),
        "--plot",
        plot.to_str().unwrap(),
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("ratio") && text.contains(&one.url()) && text.contains(&other.url()), "{text}");
    let csv = std::fs::read_to_string(csv).unwrap();
    assert!(csv.starts_with("target,second,sent,received,p50_us,") && csv.lines().count() > 4, "{csv}");
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("Distribution of the latency"), "{svg}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn no_server_is_a_failure() {
    let output = bench(&["pub", "--broker", "mqtt://127.0.0.1:1", "--duration", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("Error: connect to"), "{output:?}");
}
