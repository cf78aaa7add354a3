//! The brokers that are measured, as processes: what they use, and how they end.

#![allow(dead_code)] // Not every bench uses all of it.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Clock ticks of `/proc` a second, the same on all Linux.
const TICKS: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Mosquitto,
    MosquittoAutosave,
    Nats,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Ours, Self::MosquittoAutosave, Self::Mosquitto, Self::Nats];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "mqtt-broker-lite, default",
            Self::Mosquitto => "mosquitto, persistence, else default",
            Self::MosquittoAutosave => "mosquitto, autosave_on_changes",
            Self::Nats => "nats-server, JetStream",
        }
    }
}

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: f64,
    /// Bytes that it made the system write to the disk.
    pub written: u64,
}

impl Usage {
    /// Of a process, or of this one.
    pub fn of(process: &str) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        // Behind the name, which may have blanks in it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|text| text.parse::<f64>().unwrap()).sum();
        let io = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
        Self { cpu: ticks / TICKS, written: written.parse().unwrap() }
    }

    pub fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu - before.cpu, written: self.written - before.written }
    }
}

pub struct Server {
    child: Child,
    pub address: String,
}

/// The program that was built with this bench.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_mqtt-broker-lite")
}

impl Server {
    /// Starts a broker on what is in its directory; nothing if there is no such program here.
    pub fn start(kind: Kind, directory: &Path) -> Option<Self> {
        std::fs::create_dir_all(directory).unwrap();
        match kind {
            Kind::Ours => Some(Self::ours(directory, &[])),
            Kind::Mosquitto | Kind::MosquittoAutosave => {
                let autosave =
                    if kind == Kind::MosquittoAutosave { "autosave_on_changes true\n" } else { "" };
                let text = |port| {
                    format!(
                        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
                         persistence_location {}/\nmax_queued_messages 0\n{autosave}",
                        directory.display()
                    )
                };
                Self::foreign(&["/usr/sbin/mosquitto", "mosquitto"], directory, text)
            }
            Kind::Nats => {
                let text = |port| {
                    format!(
                        "server_name: bench\nlisten: 127.0.0.1:-1\njetstream {{ store_dir: \"{}\" }}\n\
                         mqtt {{ host: 127.0.0.1, port: {port} }}\n",
                        directory.join("data").display()
                    )
                };
                Self::foreign(&["/usr/sbin/nats-server", "nats-server"], directory, text)
            }
        }
    }

    pub fn ours(directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(program()).arg("--data-dir").arg(directory).args(arguments), "warn")
    }

    /// One of ours that stores nothing, and does not say what is wrong with its clients.
    pub fn in_memory() -> Self {
        Self::spawn(Command::new(program()).arg("--in-memory"), "error")
    }

    fn spawn(command: &mut Command, log: &str) -> Self {
        let mut child = command
            .args(["--listen", "mqtt://127.0.0.1:0", "--log", log])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| match line.strip_prefix("listening on mqtt://") {
            Some(address) => Some(address.to_owned()),
            None => {
                eprintln!("{line}");
                None
            }
        });
        std::thread::spawn(move || {
            lines.filter(|line| !line.starts_with("try:")).for_each(|line| eprintln!("{line}"))
        });
        Self { child, address: address.expect("it did not start") }
    }

    fn foreign(programs: &[&str], directory: &Path, text: impl Fn(u16) -> String) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = directory.join("server.conf");
        std::fs::write(&file, text(port)).unwrap();
        let log = || std::fs::File::create(directory.join("log")).unwrap();
        let child = programs.iter().find_map(|program| {
            Command::new(program).arg("-c").arg(&file).stdout(log()).stderr(log()).spawn().ok()
        })?;
        let server = Self { child, address: format!("127.0.0.1:{port}") };
        let begin = Instant::now();
        while TcpStream::connect(&server.address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "see {}", directory.join("log").display());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    pub fn usage(&self) -> Usage {
        Usage::of(&self.child.id().to_string())
    }

    /// Its memory now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn stop(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty directory on the disk that is measured.
pub fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// How many batches a store of ours had since it was made.
pub fn batches(directory: &Path) -> u64 {
    let output = Command::new(program()).args(["store", "check"]).arg(directory).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = text.split("up to number ").nth(1).and_then(|rest| rest.split_whitespace().next());
    number.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}
