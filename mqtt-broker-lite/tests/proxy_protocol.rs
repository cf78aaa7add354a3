//! Behind a proxy: who the client is, how it is counted and what the log says is the proxy's word, and only where it is asked
//! for.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod made;

use async_trait::async_trait;
use made::{Authority, Directory};
use mqtt_broker_lite::core::{Decision, Settings};
use mqtt_broker_lite::{Applicant, Authenticator, Broker, Listen, ListenLimits, TlsFiles};
use mqtt_client_async::transport::TlsOptions;
use mqtt_client_async::{Carriers, Client, Options};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);
/// CONNECT of 3.1.1, and its answer.
const CONNECT: &[u8] = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01w";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Remembers where clients are.
#[derive(Clone, Default)]
struct Doorman(Arc<Mutex<Vec<SocketAddr>>>);

#[async_trait]
impl Authenticator for Doorman {
    async fn authenticate(&self, applicant: Applicant) -> Decision {
        self.0.lock().unwrap().push(applicant.address.unwrap());
        Decision::Allow
    }
}

/// A header of version 2: command, family, and what follows.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, body].concat()
}

/// Version 2 over IPv4: from 203.0.113.7, port 5555, with something that is not known behind it.
fn v2_ipv4() -> Vec<u8> {
    let body = [203, 0, 113, 7, 198, 51, 100, 1, 0x15, 0xB3, 0x07, 0x5B, 0xEA, 0x00, 0x02, 1, 2];
    v2(1, 0x11, &body)
}

fn v2_ipv6() -> Vec<u8> {
    let mut body = vec![0; 36];
    body[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
    body[15] = 9;
    body[32..].copy_from_slice(&[0x15, 0xB3, 0x07, 0x5B]);
    v2(1, 0x21, &body)
}

fn proxied(max_per_address: Option<usize>) -> ListenLimits {
    ListenLimits { proxy_protocol: true, max_per_address, ..ListenLimits::default() }
}

fn open(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream
}

fn is_accepted(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).is_ok() && answer == CONNACK
}

/// Whether the broker ended the connection without a word.
fn is_closed(mut stream: TcpStream) -> bool {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer.is_empty(),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_where_the_proxy_says() {
    let doorman = Doorman::default();
    let runtime = tokio::runtime::Handle::current();
    let listen = Listen::on("mqtt://127.0.0.1:0").limits(proxied(None));
    let broker = Broker::builder().listen(listen);
    let broker =
        broker.authenticator(doorman.clone(), move |task| drop(runtime.spawn(task))).start().unwrap();
    let far = |text: &str| text.parse::<SocketAddr>().ok();
    let headers = [
        (b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 1883\r\n".to_vec(), far("203.0.113.7:5555")),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 5555 1883\r\n".to_vec(), far("[2001:db8::9]:5555")),
        (v2_ipv4(), far("203.0.113.7:5555")),
        (v2_ipv6(), far("[2001:db8::9]:5555")),
        // The proxy does not know, or speaks for itself: then it is where it is.
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (v2(0, 0, &[]), None),
    ];
    for (header, place) in headers {
        // All at once; the header, then CONNECT; byte by byte.
        for size in [header.len() + CONNECT.len(), header.len(), 1] {
            let mut stream = open(&broker);
            stream.set_nodelay(true).unwrap();
            for piece in [&header[..], CONNECT].concat().chunks(size) {
                stream.write_all(piece).unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(is_accepted(&mut stream), "{header:?} by {size}");
            let seen = doorman.0.lock().unwrap().pop().unwrap();
            assert_eq!(seen, place.unwrap_or_else(|| stream.local_addr().unwrap()), "{header:?}");
        }
    }
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let listen = Listen::on("mqtt://127.0.0.1:0").limits(proxied(None));
    let broker = Broker::builder().listen(listen).start().unwrap();
    let mut huge = v2(1, 0x11, &[0; 12]);
    huge[14..16].copy_from_slice(&[0xFF, 0xFF]);
    huge.resize(4096, 0);
    let wrong: [Vec<u8>; 9] = [
        CONNECT.to_vec(),
        b"PROXY TCP4 999.0.0.1 198.51.100.1 5555 1883\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 70000 1883\r\n".to_vec(),
        b"PROXY TCP5 203.0.113.7 198.51.100.1 5555 1883\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7\r\n".to_vec(),
        [b"PROXY TCP4 ", &[b'1'; 200][..]].concat(),
        // Version 3; an address that does not fit; a length beyond everything that is taken.
        [SIGNATURE, &[0x31, 0x11, 0, 12], &[0; 12]].concat(),
        v2(1, 0x11, &[203, 0, 113, 7]),
        huge,
    ];
    for header in wrong {
        let begin = Instant::now();
        let mut stream = open(&broker);
        // It may be closed before it has all.
        let _ = stream.write_all(&header).and_then(|()| stream.write_all(CONNECT));
        assert!(is_closed(stream), "{header:?}");
        // By what it is, not by the time for CONNECT.
        assert!(begin.elapsed() < Duration::from_secs(8), "{header:?}");
    }
    // It lives.
    let mut stream = open(&broker);
    stream.write_all(&[b"PROXY UNKNOWN\r\n", CONNECT].concat()).unwrap();
    assert!(is_accepted(&mut stream));
}

#[test]
fn where_no_proxy_is_its_word_is_not_taken() {
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap();
    for header in [b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 1883\r\n".to_vec(), v2_ipv4()] {
        let mut stream = open(&broker);
        let _ = stream.write_all(&[&header, CONNECT].concat());
        assert!(is_closed(stream), "{header:?}");
    }
}

#[test]
fn connections_are_counted_where_the_proxy_says() {
    let listen = Listen::on("mqtt://127.0.0.1:0").limits(proxied(Some(1)));
    let broker = Broker::builder().listen(listen).start().unwrap();
    let enter = |address: &str| {
        let mut stream = open(&broker);
        let family = if address.parse::<IpAddr>().unwrap().is_ipv4() { "TCP4" } else { "TCP6" };
        let header = format!("PROXY {family} {address} {address} 5555 1883\r\n");
        let _ = stream.write_all(&[header.as_bytes(), CONNECT].concat());
        is_accepted(&mut stream).then_some(stream)
    };
    let one = enter("203.0.113.7").unwrap();
    assert!(enter("203.0.113.7").is_none(), "two of one address");
    let _two = enter("203.0.113.8").unwrap();
    // All of a /64 network are one.
    let _six = enter("2001:db8::1").unwrap();
    assert!(enter("2001:db8::2").is_none(), "two of one network");
    // The place is given back.
    drop(one);
    let begin = Instant::now();
    while enter("203.0.113.7").is_none() {
        assert!(begin.elapsed() < WAIT, "the place was not given back");
    }
}

/// A proxy: says where its client is, and carries bytes both ways.
fn relay(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut broker = TcpStream::connect(to).unwrap();
            broker.write_all(&v2_ipv4()).unwrap();
            let (mut back, mut from) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut back);
                let _ = back.shutdown(Shutdown::Both);
            });
            let _ = std::io::copy(&mut client, &mut broker);
            let _ = broker.shutdown(Shutdown::Both);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_comes_before_tls_and_websocket() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let (certificate, key) = authority.server();
    let files = TlsFiles {
        certificate: directory.write("server.pem", certificate),
        key: directory.write("server.key", key),
        ..TlsFiles::default()
    };
    let doorman = Doorman::default();
    let runtime = tokio::runtime::Handle::current();
    for scheme in ["mqtts", "ws", "wss"] {
        let mut listen = Listen::on(format!("{scheme}://127.0.0.1:0")).limits(proxied(Some(3)));
        if scheme != "ws" {
            listen = listen.tls(files.clone());
        }
        let runtime = runtime.clone();
        let broker = Broker::builder().workers(NonZeroU16::new(3).unwrap()).listen(listen);
        let broker = broker.authenticator(doorman.clone(), move |task| drop(runtime.spawn(task)));
        let broker = broker.start().unwrap();
        let connect = |address: SocketAddr, id: &str| {
            let tls = TlsOptions::new().ca(authority.certificate.clone());
            let url = format!("{scheme}://localhost:{}", address.port());
            let options = Options::with_carriers(&url, &Carriers::new().tls(tls)).unwrap();
            Client::connect(options.client_id(id).no_reconnect().connect_timeout(WAIT))
        };
        let proxy = relay(broker.addresses()[0]);
        // At home on different shards.
        for id in ["a", "b", "c"] {
            connect(proxy, id).await.unwrap();
            let seen = doorman.0.lock().unwrap().pop().unwrap();
            assert_eq!(seen, "203.0.113.7:5555".parse().unwrap(), "{scheme}");
        }
        assert!(connect(broker.addresses()[0], "d").await.is_err(), "{scheme}");
    }
}

#[test]
fn half_a_header_and_silence_ends_with_the_time_for_connect() {
    let settings = Settings { connect_timeout: 300, ..Settings::default() };
    let listen = Listen::on("mqtt://127.0.0.1:0").limits(proxied(None));
    let broker = Broker::builder().settings(settings).listen(listen).start().unwrap();
    for half in [&b""[..], b"PROXY", b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 1883\r", &v2_ipv4()[..20]] {
        let mut stream = open(&broker);
        stream.write_all(half).unwrap();
        assert!(is_closed(stream), "{half:?}");
    }
}

#[test]
fn the_log_has_the_address_that_the_proxy_says() {
    let directory = Directory::new();
    let toml = "[[listener]]\nurl = \"mqtt://127.0.0.1:0\"\nproxy_protocol = true\n";
    let mut child = Command::new(env!("CARGO_BIN_EXE_mqtt-broker-lite"))
        .args(["--in-memory", "--workers", "2", "--config"])
        .arg(directory.write("broker.toml", toml))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.next().unwrap();
    let mut stream = TcpStream::connect(line.strip_prefix("listening on mqtt://").unwrap()).unwrap();
    // PUBREL with wrong flags, of a client that is known.
    stream.write_all(&[&v2_ipv4()[..], CONNECT, b"\x60\x02\x00\x01"].concat()).unwrap();
    let line = lines.find(|line| line.contains("closed")).unwrap();
    assert!(line.contains("203.0.113.7:5555"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}
