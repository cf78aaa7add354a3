//! Foreign clients, all behind one face.
//!
//! paho-mqtt, MQTT.js and rumqttc are programs in `peers/` that connect as their arguments say and are driven by lines on
//! standard input, words apart by tabs: `subscribe FILTER QOS`, `publish TOPIC QOS RETAIN PAYLOAD`, `disconnect`. They
//! answer on standard output: `connected SESSION-PRESENT`, `subscribed QOS`, `published`, `message TOPIC QOS RETAIN
//! PAYLOAD`, `disconnected`, `refused REASON`. mosquitto's programs are told the same by their options.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long anything may take, also on a machine that is busy.
const WAIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Mosquitto,
    Paho,
    MqttJs,
    Rumqttc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Tcp,
    Tls,
    Ws,
    Wss,
    Unix,
}

/// Where the broker listens, and what its clients need to get there.
#[derive(Clone, Debug)]
pub struct Place {
    pub url: String,
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// How a client is to connect.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub id: &'a str,
    /// 3, 4 or 5, as on the wire.
    pub version: u8,
    pub clean: bool,
    /// The topic of a will that says "gone".
    pub will: Option<&'a str>,
}

impl<'a> Plan<'a> {
    pub fn new(id: &'a str, version: u8) -> Self {
        Self { id, version, clean: true, will: None }
    }
}

/// Topic, QoS, retain flag, payload.
pub type Message = (String, u8, bool, String);

pub struct Peer {
    kind: Kind,
    /// mosquitto has one program to subscribe and one to publish: neither runs before it has something to do.
    mosquitto: Vec<String>,
    publish: Vec<String>,
    child: Option<Child>,
    lines: Option<Receiver<Vec<String>>>,
    pub session_present: bool,
    /// What came while something else was waited for.
    messages: Vec<Message>,
}

/// Where `scripts/interop-peers` puts them.
fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("peers")
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/peers")
}

impl Kind {
    /// The program with what comes before the arguments; `None` where it is missing.
    fn command(self) -> Option<Command> {
        let works = |command: &mut Command| {
            let command = command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        match self {
            Self::Mosquitto => {
                Command::new("mosquitto_sub").arg("--help").output().is_ok().then(|| Command::new("stdbuf"))
            }
            Self::Paho => {
                let ours = installed().join("venv/bin/python");
                let known = "import paho.mqtt.client as client; client.CallbackAPIVersion.VERSION2";
                let python = [ours, PathBuf::from("python3")]
                    .into_iter()
                    .find(|python| works(Command::new(python).args(["-c", known])))?;
                let mut command = Command::new(python);
                command.arg(peers().join("paho_peer.py"));
                Some(command)
            }
            Self::MqttJs => {
                let modules = installed().join("node_modules");
                let mut probe = Command::new("node");
                probe.env("NODE_PATH", &modules).args(["-e", "require('mqtt')"]);
                works(&mut probe).then(|| {
                    let mut command = Command::new("node");
                    command.env("NODE_PATH", &modules).arg(peers().join("mqttjs_peer.js"));
                    command
                })
            }
            Self::Rumqttc => {
                let program = installed().join("rumqttc/debug/rumqttc-peer");
                program.exists().then(|| Command::new(program))
            }
        }
    }

    /// Whether it is here; says aloud if not, and fails where it must be.
    pub fn is_here(self) -> bool {
        let is_here = self.command().is_some();
        if !is_here {
            assert!(std::env::var_os("CI").is_none(), "{self:?} must be here: scripts/interop-peers");
            let text = format!("SKIPPED: {self:?} is not here: scripts/interop-peers installs it\n");
            // Past the test harness, which hides what a passing test prints.
            std::io::stderr().write_all(text.as_bytes()).unwrap();
        }
        is_here
    }

    pub fn carriers(self) -> &'static [Carrier] {
        use Carrier::{Tcp, Tls, Unix, Ws, Wss};
        match self {
            // No WebSocket in its programs.
            Self::Mosquitto => &[Tcp, Tls, Unix],
            Self::Paho => &[Tcp, Tls, Ws, Wss, Unix],
            Self::MqttJs => &[Tcp, Tls, Ws, Wss],
            // Its TLS and WebSocket are features that need more than Rust and a C compiler.
            Self::Rumqttc => &[Tcp, Unix],
        }
    }
}

impl Peer {
    /// A client that is connected.
    pub fn connect(kind: Kind, place: &Place, plan: Plan<'_>) -> Self {
        let mut peer = Self {
            kind,
            mosquitto: Vec::new(),
            publish: Vec::new(),
            child: None,
            lines: None,
            session_present: false,
            messages: Vec::new(),
        };
        if kind == Kind::Mosquitto {
            peer.publish = mosquitto_options(place, plan, false);
            peer.mosquitto = mosquitto_options(place, plan, true);
            return peer;
        }
        let mut command = kind.command().expect("it is here");
        let flag = |flag: bool| if flag { "1" } else { "0" };
        // In seconds: longer than any test.
        let expiry = if plan.clean { "0" } else { "600" };
        command.arg(format!("url={}", place.url)).arg(format!("version={}", plan.version));
        command.arg(format!("id={}", plan.id)).arg(format!("clean={}", flag(plan.clean)));
        command.arg(format!("expiry={expiry}")).arg(format!("ca={}", place.ca.display()));
        command
            .arg(format!("cert={}", place.certificate.display()))
            .arg(format!("key={}", place.key.display()));
        if let Some(topic) = plan.will {
            command.arg(format!("will={topic}"));
        }
        peer.run(command);
        peer.session_present = peer.answer("connected")[0] == "1";
        peer
    }

    fn run(&mut self, mut command: Command) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words: Vec<_> = match line.strip_prefix("Subscribed (mid: 1): ") {
                    Some(qos) => vec!["subscribed".to_owned(), qos.to_owned()],
                    None => line.split('\t').map(Into::into).collect(),
                };
                if sender.send(words).is_err() {
                    return;
                }
            }
        });
        (self.child, self.lines) = (Some(child), Some(receiver));
    }

    /// What is said next of this kind; messages that come before it are kept.
    fn answer(&mut self, wanted: &str) -> Vec<String> {
        self.answer_within(wanted, WAIT).unwrap_or_else(|| panic!("{:?}: no {wanted}", self.kind))
    }

    fn answer_within(&mut self, wanted: &str, time: Duration) -> Option<Vec<String>> {
        loop {
            let lines = self.lines.as_ref().expect("it runs");
            let mut words = lines.recv_timeout(time).ok()?;
            let first = words.remove(0);
            if first == "message" {
                let [topic, qos, retain, payload] = <[String; 4]>::try_from(words).unwrap();
                self.messages.push((topic, qos.parse().unwrap(), retain == "1", payload));
                if wanted == "message" {
                    return Some(Vec::new());
                }
            } else if first == wanted {
                return Some(words);
            } else {
                assert!(
                    !matches!(&first[..], "refused" | "failed"),
                    "{:?} was refused: {words:?}",
                    self.kind
                );
            }
        }
    }

    fn command(&mut self, words: &[&str]) {
        let stdin = self.child.as_mut().unwrap().stdin.as_mut().unwrap();
        writeln!(stdin, "{}", words.join("\t")).unwrap();
    }

    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        let qos = qos.to_string();
        if self.kind == Kind::Mosquitto {
            let mut command = self.kind.command().expect("it is here");
            command.args([
                "-oL",
                "mosquitto_sub",
                "-d",
                "-F",
                "message\\t%t\\t%q\\t%r\\t%p",
                "-t",
                filter,
                "-q",
                &qos,
            ]);
            command.args(&self.mosquitto);
            self.run(command);
        } else {
            self.command(&["subscribe", filter, &qos]);
        }
        assert_eq!(self.answer("subscribed"), [qos]);
    }

    /// Returns when it is acknowledged.
    pub fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &str) {
        let qos = qos.to_string();
        if self.kind == Kind::Mosquitto {
            let mut command = Command::new("mosquitto_pub");
            command.args(["-t", topic, "-q", &qos]).args(&self.publish);
            command.args(if payload.is_empty() { vec!["-n"] } else { vec!["-m", payload] });
            command.args(retain.then_some("-r"));
            assert!(command.status().unwrap().success());
        } else {
            self.command(&["publish", topic, &qos, if retain { "1" } else { "0" }, payload]);
            self.answer("published");
        }
    }

    /// The next message.
    pub fn receive(&mut self) -> Message {
        if self.messages.is_empty() {
            self.answer("message");
        }
        self.messages.remove(0)
    }

    /// The next message, if one comes in this time.
    pub fn receive_within(&mut self, time: Duration) -> Option<Message> {
        if self.messages.is_empty() {
            self.answer_within("message", time)?;
        }
        Some(self.messages.remove(0))
    }

    /// Everything until a message with this payload, without it.
    pub fn receive_until(&mut self, last: &str) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            let message = self.receive();
            if message.3 == last {
                return all;
            }
            all.push(message);
        }
    }

    /// Says good-bye.
    pub fn disconnect(mut self) {
        if self.kind == Kind::Mosquitto {
            let Some(child) = &mut self.child else { return };
            // It sends DISCONNECT then.
            let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            assert!(killed.success());
            child.wait().unwrap();
        } else {
            self.command(&["disconnect"]);
            self.answer("disconnected");
        }
    }

    /// Ends without a word; so does whoever is dropped.
    pub fn kill(self) {}
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn mosquitto_options(place: &Place, plan: Plan<'_>, subscribes: bool) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| options.extend(words.iter().map(|&word| word.to_owned()));
    let (scheme, rest) = place.url.split_once("://").unwrap();
    match scheme {
        "unix" => add(&["--unix", rest]),
        _ => {
            let (host, port) = rest.rsplit_once(':').unwrap();
            add(&["-h", host, "-p", port]);
        }
    }
    if scheme == "mqtts" {
        let path = |path: &Path| path.display().to_string();
        let files = [&place.ca, &place.certificate, &place.key].map(|file| path(file));
        add(&["--cafile", &files[0], "--cert", &files[1], "--key", &files[2]]);
    }
    add(&[
        "-V",
        match plan.version {
            3 => "mqttv31",
            4 => "mqttv311",
            _ => "mqttv5",
        },
    ]);
    if subscribes {
        add(&["-i", plan.id]);
        if !plan.clean {
            add(&["-c"]);
            if plan.version == 5 {
                add(&["-x", "600"]);
            }
        }
        if let Some(topic) = plan.will {
            add(&["--will-topic", topic, "--will-payload", "gone", "--will-qos", "1"]);
        }
    }
    options
}
