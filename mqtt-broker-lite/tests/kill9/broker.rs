//! The broker as a process that can be killed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Broker {
    child: Child,
    pub address: String,
}

/// Kept after a failure, to be looked at.
pub fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("mqtt-kill9-{}", std::process::id()))
}

impl Broker {
    /// Starts the program; what earlier ones stored is there.
    pub fn start() -> Self {
        let program = std::env::var("BROKER");
        let program = program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_mqtt-broker-lite"));
        let workers = std::env::var("WORKERS").unwrap_or_else(|_| "2".to_owned());
        let mut child = Command::new(program)
            .args(["--listen", "mqtt://127.0.0.1:0", "--log", "warn", "--workers", &workers, "--data-dir"])
            .arg(directory())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("it did not start: {said}");
            };
            if let Some(address) = line.strip_prefix("listening on mqtt://") {
                break address.to_owned();
            }
            said.push_str(&line);
        };
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if !line.starts_with("try:") {
                    eprintln!("{line}");
                }
            }
        });
        Self { child, address }
    }

    pub fn kill(&mut self) {
        // SIGKILL on Unix.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
