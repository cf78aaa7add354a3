//! Debian's mosquitto_pub and mosquitto_sub against this broker, over real sockets. Skipped aloud where they are not
//! installed, failed where the environment says that this is continuous integration.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use mqtt_broker_lite::Broker;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU16;
use std::process::{Child, Command, Output, Stdio};

/// These tests are built twice.
fn workers() -> NonZeroU16 {
    NonZeroU16::new(if env!("CARGO_CRATE_NAME").ends_with("3_workers") { 3 } else { 1 }).unwrap()
}

/// A broker, and the clients that know where it is. `None` where the clients are missing.
struct Setting {
    broker: Broker,
}

impl Setting {
    fn new() -> Option<Self> {
        let found = Command::new("mosquitto_sub").arg("--help").output().is_ok();
        if !found {
            assert!(std::env::var_os("CI").is_none(), "mosquitto-clients must be installed here");
            // Past the test harness, which hides what a passing test prints.
            std::io::Write::write_all(
                &mut std::io::stderr(),
                b"SKIPPED: mosquitto_sub is not installed (Debian package mosquitto-clients)\n",
            )
            .unwrap();
            return None;
        }
        let broker = Broker::builder().listen("mqtt://127.0.0.1:0").workers(workers()).start().unwrap();
        Some(Self { broker })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let port = self.broker.addresses()[0].port().to_string();
        // Line by line even into a pipe: a test waits for some of them.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", program, "-h", "127.0.0.1", "-p", &port]).args(arguments);
        command
    }

    fn publish(&self, arguments: &[&str]) {
        let output = self.command("mosquitto_pub", arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn publish_bytes(&self, arguments: &[&str], payload: &[u8]) {
        let mut command = self.command("mosquitto_pub", arguments);
        let mut child = command.arg("-s").stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// A subscriber that is subscribed when this returns, and ends after `count` messages or ten seconds.
    fn subscribe(&self, count: usize, arguments: &[&str]) -> Subscriber {
        let count = count.to_string();
        let mut command = self.command("mosquitto_sub", &["-C", &count, "-W", "10", "-d"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // With -d it says when SUBACK came; the rest of its output is what it received.
        let mut said = Vec::new();
        let mut byte = [0];
        let stdout = child.stdout.as_mut().unwrap();
        while !(said.ends_with(b"\n") && said.windows(11).any(|part| part == b"Subscribed ")) {
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        Subscriber(child)
    }
}

struct Subscriber(Child);

impl Subscriber {
    fn output(self) -> String {
        let Output { stdout, status, .. } = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(stdout).unwrap();
        assert!(status.success(), "not everything came: {text}");
        text
    }
}

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

// [MQTT-7.1.1-1] [MQTT-7.0.0-2] [MQTT-4.2-1]
#[test]
fn messages_of_every_qos_and_version_arrive() {
    let Some(setting) = Setting::new() else { return };
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let subscriber =
                setting.subscribe(3, &["-V", version, "-t", "ELC/+", "-q", "2", "-F", "got %t %q %r %p"]);
            for publisher in VERSIONS {
                setting.publish(&["-V", publisher, "-t", "ELC/x", "-q", qos, "-m", publisher]);
            }
            let output = subscriber.output();
            for publisher in VERSIONS {
                assert!(output.contains(&format!("got ELC/x {qos} 0 {publisher}\n")), "{output}");
            }
        }
    }
}

#[test]
fn payloads_of_no_one_and_many_bytes_arrive_unchanged() {
    let Some(setting) = Setting::new() else { return };
    let many: Vec<u8> = (0..256 * 1024_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for payload in [&b""[..], b"\0", &many] {
        for qos in ["0", "1", "2"] {
            let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
            let subscriber = setting.subscribe(1, &["-t", "bytes", "-q", "2", "-F", "<%l:%x>"]);
            if payload.is_empty() {
                setting.publish(&["-t", "bytes", "-q", qos, "-n"]);
            } else {
                setting.publish_bytes(&["-t", "bytes", "-q", qos], payload);
            }
            let output = subscriber.output();
            assert!(
                output.contains(&format!("<{}:{hex}>", payload.len())),
                "{} bytes, QoS {qos}",
                payload.len()
            );
        }
    }
}

#[test]
fn a_retained_message_waits_for_a_subscriber_until_it_is_deleted() {
    let Some(setting) = Setting::new() else { return };
    setting.publish(&["-t", "state", "-r", "-q", "1", "-m", "running"]);
    let output = setting.subscribe(1, &["-t", "#", "-F", "%t %r %p."]).output();
    assert!(output.contains("state 1 running."), "{output}");
    // An empty message without the retain flag deletes nothing.
    setting.publish(&["-t", "state", "-n"]);
    let output = setting.subscribe(1, &["-t", "state", "-F", "%t %r %p."]).output();
    assert!(output.contains("state 1 running."), "{output}");
    setting.publish(&["-t", "state", "-r", "-n"]);
    let subscriber = setting.subscribe(1, &["-t", "state", "-F", "%r %p."]);
    setting.publish(&["-t", "state", "-m", "live"]);
    let output = subscriber.output();
    assert!(output.contains("0 live.") && !output.contains("running"), "{output}");
}

#[test]
fn the_will_of_a_killed_client_is_published() {
    let Some(setting) = Setting::new() else { return };
    let watcher = setting.subscribe(1, &["-t", "will/+", "-q", "2", "-F", "%t %q %p."]);
    let mut victim = setting.subscribe(
        1,
        &["-t", "x", "--will-topic", "will/victim", "--will-payload", "gone", "--will-qos", "2"],
    );
    victim.0.kill().unwrap();
    victim.0.wait().unwrap();
    let output = watcher.output();
    assert!(output.contains("will/victim 2 gone."), "{output}");
}

#[test]
fn a_second_client_of_the_same_name_takes_over() {
    let Some(setting) = Setting::new() else { return };
    let first = setting.subscribe(1, &["-V", "mqttv5", "-i", "twin", "-t", "x"]);
    let second = setting.subscribe(1, &["-V", "mqttv5", "-i", "twin", "-t", "x", "-F", "%p."]);
    let Output { stdout, stderr, .. } = first.0.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(said.contains("142"), "the first was not told 0x8E: {said}");
    setting.publish(&["-t", "x", "-m", "for the second"]);
    assert!(second.output().contains("for the second."));
}

#[test]
fn a_malformed_packet_ends_its_connection_and_no_other() {
    let Some(setting) = Setting::new() else { return };
    let subscriber = setting.subscribe(1, &["-t", "x", "-F", "%p."]);
    let mut hostile = TcpStream::connect(setting.broker.addresses()[0]).unwrap();
    // CONNECT, CONNACK, then SUBSCRIBE with the wrong flags.
    hostile.write_all(b"\x10\x0E\x00\x04MQTT\x04\x02\x00\x00\x00\x02hi").unwrap();
    hostile.write_all(b"\x80\x06\x00\x01\x00\x01x\x00").unwrap();
    let mut answer = Vec::new();
    hostile.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    setting.publish(&["-t", "x", "-m", "still here"]);
    assert!(subscriber.output().contains("still here."));
}
