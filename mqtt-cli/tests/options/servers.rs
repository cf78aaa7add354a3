//! The servers: ours in this process, Debian's beside it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use crate::world::DIRECTORY;

/// A server, and where it listens.
pub struct Server {
    pub name: &'static str,
    pub port: u16,
    /// Ports and paths of carriers that only mosquitto has here.
    pub more: Option<More>,
    _running: Running,
}

enum Running {
    Ours { _broker: Box<mqtt_broker_lite::Broker> },
    Mosquitto(Child),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Mosquitto(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub struct More {
    pub tls: u16,
    pub client_certificate: u16,
    pub websocket: u16,
    pub password: u16,
    pub unix: PathBuf,
}

/// All servers that there are.
pub fn all() -> Vec<Server> {
    let mut servers = vec![ours()];
    servers.extend(mosquitto());
    servers
}

pub fn ours() -> Server {
    let broker = mqtt_broker_lite::Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap();
    let port = broker.addresses()[0].port();
    Server {
        name: "mqtt-broker-lite",
        port,
        more: None,
        _running: Running::Ours { _broker: Box::new(broker) },
    }
}

/// Debian's mosquitto with a listener for each carrier; `None`, and said so aloud, where it is not installed.
pub fn mosquitto() -> Option<Server> {
    let path = Path::new("/usr/sbin/mosquitto");
    if !path.exists() {
        assert!(std::env::var_os("CI").is_none(), "mosquitto is not installed");
        let _ = std::io::stderr().write_all(b"SKIPPED: mosquitto is not installed\n");
        return None;
    }
    let [port, tls, client_certificate, websocket, password] = free_ports();
    let directory = DIRECTORY.join(format!("mosquitto-{port}"));
    std::fs::create_dir_all(&directory).unwrap();
    let unix = directory.join("socket");
    let passwords = directory.join("passwords");
    std::fs::write(&passwords, "me:secret\n").unwrap();
    if let Ok(status) = Command::new("mosquitto_passwd").arg("-U").arg(&passwords).status() {
        assert!(status.success());
    }
    let certificates = CERTIFICATES.display();
    let tls_lines = format!(
        "cafile {certificates}/ca.pem\ncertfile {certificates}/server.pem\nkeyfile {certificates}/server.key\n"
    );
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    let configuration = format!(
        "user {user}\nper_listener_settings true\n\
         listener {port} 127.0.0.1\nallow_anonymous true\n\
         listener {tls} 127.0.0.1\nallow_anonymous true\n{tls_lines}\
         listener {client_certificate} 127.0.0.1\nallow_anonymous true\n{tls_lines}require_certificate true\n\
         listener {websocket} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n\
         listener {password} 127.0.0.1\nallow_anonymous false\npassword_file {}\n\
         listener 0 {}\nallow_anonymous true\n",
        passwords.display(),
        unix.display(),
    );
    let file = directory.join("mosquitto.conf");
    std::fs::write(&file, configuration).unwrap();
    let child = Command::new(path).arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = Running::Mosquitto(child.unwrap());
    for port in [port, tls, client_certificate, websocket, password] {
        await_listener(port);
    }
    let more = More { tls, client_certificate, websocket, password, unix };
    Some(Server { name: "mosquitto", port, more: Some(more), _running: running })
}

/// Ports that were free just now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

pub fn await_listener(port: u16) {
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "nobody listens at {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory with a CA, a server's and a client's certificate.
pub static CERTIFICATES: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = DIRECTORY.join("certificates");
    std::fs::create_dir_all(directory.join("trusted")).unwrap();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "CA of a test");
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    write("ca.pem", ca_certificate.pem());
    write("trusted/ca.pem", ca_certificate.pem());
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
    // OpenSSL finds certificates in a directory by the hashes of their names.
    let _ = Command::new("openssl").arg("rehash").arg(directory.join("trusted")).status();
    directory
});
