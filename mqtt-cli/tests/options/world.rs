//! Programs, servers, and who looks at what the programs did.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mqtt_client_async::{Client, Message, Options, Publish, QoS, Subscribe, Subscription};

use crate::servers::Server;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Pub,
    Sub,
    Rr,
}

pub const TOOLS: [Tool; 3] = [Tool::Pub, Tool::Sub, Tool::Rr];

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pub => "mosquitto_pub",
            Self::Sub => "mosquitto_sub",
            Self::Rr => "mosquitto_rr",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Ours,
    Debians,
}

/// A directory for this test program, with an empty home and our program under mosquitto's names.
pub static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("mqtt-cli-options-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(directory.join("home/.config")).unwrap();
    for tool in TOOLS {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mqtt"), directory.join(tool.name())).unwrap();
    }
    directory
});

/// Whether Debian's programs are there; said aloud where they are not, and with `CI` they must be.
pub static HAS_DEBIANS: LazyLock<bool> = LazyLock::new(|| {
    let found = std::path::Path::new("/usr/bin/mosquitto_sub").exists();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "mosquitto-clients is not installed");
        let _ = std::io::stderr().write_all(b"SKIPPED: mosquitto-clients is not installed\n");
    }
    found
});

/// What a program did.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn start(program: Program, tool: Tool, arguments: &[String]) -> Child {
    let path = match program {
        Program::Ours => DIRECTORY.join(tool.name()),
        Program::Debians => PathBuf::from("/usr/bin").join(tool.name()),
    };
    Command::new(path)
        .args(arguments)
        .env("HOME", DIRECTORY.join("home"))
        .env_remove("XDG_CONFIG_HOME")
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a program to its end, for at most 30 seconds.
pub fn finish(mut child: Child, input: &[u8]) -> Run {
    child.stdin.take().unwrap().write_all(input).unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |source: &mut dyn Read| {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let watchdog = child.id();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if is_done.recv_timeout(Duration::from_secs(30)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").arg("-9").arg(watchdog.to_string()).status();
        }
    });
    let reader = std::thread::spawn(move || read(&mut err));
    let out = read(&mut out);
    let code = child.wait().unwrap().code().unwrap_or(-1);
    drop(done);
    guard.join().unwrap();
    Run { code, out, err: reader.join().unwrap() }
}

pub fn run(program: Program, tool: Tool, arguments: &[String], input: &[u8]) -> Run {
    finish(start(program, tool, arguments), input)
}

/// Words of a command line. `~` stands for a space within a word.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.replace('~', " ")).collect()
}

/// A topic that nobody used before.
pub fn fresh_topic() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Replaces what differs from run to run: times, chosen names and process ids.
pub fn normalized(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        if let Some(start) = line.find("\"tst\":") {
            let value = start + line[start..].find(char::is_numeric).unwrap();
            let end = value + line[value..].find('"').unwrap();
            line.replace_range(value..end, "TIME");
        }
        // Theirs leaves it to the server, ours chooses: before 5.0 not all servers do.
        line = line.replace("Client (null) ", "Client NAME ");
        for front in ["mosq-", "auto-"] {
            if let Some(start) = line.find(front) {
                let end = line[start..].find(' ').map_or(line.len(), |end| start + end);
                line.replace_range(start..end, "NAME");
            }
        }
        // Before 5.0 and at QoS 0 their PUBLISH has a number all the same.
        if let Some(start) = line.find(", m").filter(|_| line.contains("PUBLISH")) {
            let end = line[start + 2..].find(',').map_or(line.len(), |end| start + 2 + end);
            line.replace_range(start + 2..end, "m#");
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// A client of the test beside the programs.
pub struct Observer {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Observer {
    pub fn new(server: &Server) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = Options::new(&format!("mqtt://127.0.0.1:{}", server.port)).unwrap();
        let client =
            runtime.block_on(Client::connect(options.client_id(format!("observer-{}", fresh_topic()))));
        Self { client: client.unwrap(), runtime }
    }

    pub fn retain(&self, topic: &str, payload: &str) {
        self.publish(Publish::new(topic, payload.to_owned()).retain(true).qos(QoS::AtLeastOnce));
    }

    pub fn publish(&self, publish: Publish) {
        let client = self.client.clone();
        self.runtime.block_on(async move { client.publish(publish).await.unwrap().await.unwrap() });
    }

    pub fn watch(&self, filter: &str) -> Watch<'_> {
        let subscribe = Subscribe::new(QoS::ExactlyOnce).retain_as_published(true).to(filter);
        let stream = self.runtime.block_on(self.client.subscribe(subscribe)).unwrap();
        Watch { observer: self, stream }
    }

    /// Whether the server has a retained message there.
    pub fn retained(&self, topic: &str) -> bool {
        let mut stream = self.runtime.block_on(self.client.subscribe(topic)).unwrap();
        let wait = async { tokio::time::timeout(Duration::from_millis(300), stream.recv()).await };
        self.runtime.block_on(wait).is_ok()
    }

    /// Answers every request on a topic, also those that do not say where to.
    pub fn respond(&self, topic: &str) {
        let client = self.client.clone();
        let mut requests = self.runtime.block_on(client.subscribe((topic, QoS::ExactlyOnce))).unwrap();
        let fallback = format!("{topic}/r");
        self.runtime.spawn(async move {
            while let Some(request) = requests.recv().await {
                let answer = format!("re: {}", String::from_utf8_lossy(request.payload()));
                let reply = request
                    .reply(answer.clone())
                    .unwrap_or_else(|| Publish::new(&fallback, answer).qos(request.qos()));
                client.publish(reply).await.unwrap().await.unwrap();
            }
        });
    }
}

pub struct Watch<'o> {
    observer: &'o Observer,
    stream: Subscription,
}

impl Watch<'_> {
    /// So many messages in words, and whatever else comes shortly after.
    pub fn take(&mut self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut seen = Vec::new();
        loop {
            let patience = match seen.len() < count {
                true => deadline.saturating_duration_since(Instant::now()),
                false => Duration::from_millis(30),
            };
            let next = async { tokio::time::timeout(patience, self.stream.recv()).await };
            match self.observer.runtime.block_on(next) {
                Ok(Some(message)) => seen.push(words_of(&message)),
                _ => return seen,
            }
        }
    }
}

fn words_of(message: &Message) -> String {
    let properties: Vec<String> = message
        .properties()
        .iter()
        .filter(|property| !matches!(property, mqtt_client_async::Property::SubscriptionIdentifier(_)))
        .map(|property| format!("{property:?}"))
        .collect();
    format!(
        "{} q{} r{} {:?} {properties:?}",
        message.topic(),
        message.qos() as u8,
        u8::from(message.retain()),
        String::from_utf8_lossy(message.payload())
    )
}
