//! Debian's mosquitto on a port of its own, for as long as the value lives.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Mosquitto {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Mosquitto {
    /// A broker that takes everybody. `None`, said aloud, where the program is not installed; in CI that fails.
    pub fn start() -> Option<Self> {
        Self::with("")
    }

    /// The same with further lines in its configuration.
    pub fn with(configuration: &str) -> Option<Self> {
        let places = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"];
        let Some(program) = places.iter().find(|place| std::path::Path::new(place).exists()) else {
            assert!(std::env::var("CI").is_err(), "mosquitto is not installed");
            // Past the test harness, which hides what a passing test prints.
            std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: mosquitto is not installed\n")
                .unwrap();
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory =
            std::env::temp_dir().join(format!("mqtt-client-mosquitto-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("mosquitto.conf");
        let lines = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_inflight_messages 20\n\
             max_queued_messages 0\n{configuration}\n"
        );
        std::fs::write(&file, lines).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let broker = Self { child, port, directory };
        for _ in 0..500 {
            if TcpStream::connect(broker.address()).is_ok() {
                return Some(broker);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("mosquitto does not listen");
    }

    pub fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.port)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A directory with a certificate for `localhost` and its key, `cert.pem` and `key.pem`. `None`, said aloud, where
/// openssl is not installed; in CI that fails.
pub fn certificate() -> Option<PathBuf> {
    let directory = std::env::temp_dir().join(format!("mqtt-client-certificate-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(&directory)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        assert!(std::env::var("CI").is_err(), "openssl is not installed");
        // Past the test harness, which hides what a passing test prints.
        std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: openssl is not installed\n").unwrap();
        return None;
    }
    // The broker gives up its privileges before it reads them.
    #[cfg(unix)]
    for file in ["key.pem", "cert.pem"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(directory.join(file), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    Some(directory)
}
