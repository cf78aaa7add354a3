//! The broker that is measured, as a process.

use crate::wire::Wire;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Mosquitto,
}

pub struct Broker {
    child: Child,
    address: String,
}

impl Broker {
    /// Starts one with its defaults, but for the limits of mosquitto's queues, which would drop what is offered.
    pub fn start(kind: Kind, is_durable: bool) -> Option<Self> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-bounds");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        match kind {
            Kind::Ours => Some(Self::ours(&directory, is_durable)),
            Kind::Mosquitto => Self::mosquitto(&directory, is_durable),
        }
    }

    fn ours(directory: &Path, is_durable: bool) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"));
        command.args(["--listen", "mqtt://127.0.0.1:0", "--log", "off"]).stderr(Stdio::piped());
        if is_durable {
            command.arg("--data-dir").arg(directory);
        } else {
            command.arg("--in-memory");
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| Some(line.strip_prefix("listening on mqtt://")?.to_owned())).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn mosquitto(directory: &Path, is_durable: bool) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = directory.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\npersistence {is_durable}\n\
             persistence_location {}/\n",
            directory.display()
        );
        std::fs::write(&file, text).unwrap();
        let child = ["/usr/sbin/mosquitto", "mosquitto"].into_iter().find_map(|program| {
            Command::new(program).arg("-c").arg(&file).stderr(Stdio::null()).spawn().ok()
        })?;
        let broker = Self { child, address: format!("127.0.0.1:{port}") };
        let begin = Instant::now();
        while TcpStream::connect(&broker.address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "mosquitto does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(broker)
    }

    pub fn open(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    pub fn connect(&self, client_id: &str, is_clean: bool) -> Wire {
        Wire::connect(self.open(), client_id, is_clean)
    }

    /// Its memory now, in bytes.
    pub fn memory(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// The most that it had.
    pub fn most_memory(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
