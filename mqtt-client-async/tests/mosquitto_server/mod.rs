//! Debian's mosquitto, started by a test on a free port and ended with it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Mosquitto {
    child: Child,
    directory: PathBuf,
    pub port: u16,
}

impl Mosquitto {
    /// `None`, and said so aloud, where it is not installed; with `CI` in the environment it must be.
    pub fn start() -> Option<Self> {
        let port = free_port();
        Self::start_with(&[port], &format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
    }

    /// With these lines as its configuration, which has listeners at these ports.
    pub fn start_with(ports: &[u16], configuration: &str) -> Option<Self> {
        let port = ports[0];
        let directory = std::env::temp_dir().join(format!("mqtt-client-async-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("mosquitto.conf");
        // It may read and make files where the test does.
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        std::fs::write(&file, format!("user {user}\n{configuration}")).unwrap();
        let program = ["/usr/sbin/mosquitto", "mosquitto"];
        let child = program.iter().find_map(|program| {
            Command::new(program)
                .arg("-c")
                .arg(&file)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        });
        let Some(child) = child else {
            assert!(std::env::var_os("CI").is_none(), "mosquitto is not installed");
            // Past the test harness, which hides what a passing test prints.
            std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: mosquitto is not installed\n")
                .unwrap();
            return None;
        };
        let server = Self { child, directory, port };
        ports.iter().for_each(|&port| await_listener(port));
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn await_listener(port: u16) {
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "mosquitto does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
}
