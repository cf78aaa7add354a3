//! Hostile TLS: bytes that are none, handshakes that go wrong, certificates that are not good, and what may be repeated
//! without end.

use super::ground::{Ground, MIB, WAIT};
use super::link::{Kind, Link, tcp, tls_config};
use super::made::{Authority, Directory, Pair};
use super::packets::{Connect, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// One record of TLS.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    [&[kind, 3, 3], &length[..], content].concat()
}

/// A ClientHello of this version with these cipher suites and nothing else.
fn hello(version: u16, suites: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend_from_slice(&[7; 32]);
    body.push(0);
    body.extend_from_slice(&(suites.len() as u16).to_be_bytes());
    body.extend_from_slice(suites);
    body.extend_from_slice(&[1, 0]);
    let length = (body.len() as u32).to_be_bytes();
    [&[1], &length[1..], &body[..]].concat()
}

const AES: &[u8] = &[0x13, 0x01, 0xC0, 0x2B, 0xC0, 0x2F];

type Row = (&'static str, fn() -> Vec<u8>);

/// What somebody sends who knows no TLS, or too much.
const BYTES: &[Row] = &[
    ("a CONNECT in the open", || Connect::new(Version::V5, "a").bytes()),
    ("an HTTP request", || b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ("zeros", || vec![0; 1000]),
    ("ones", || vec![0xFF; 1000]),
    ("a record of 64 KiB is announced", || b"\x16\x03\x01\xFF\xFF\x01".to_vec()),
    ("a record of 16 KiB and more", || record(0x16, &[0; 18_433])),
    ("a handshake of 16 MiB is announced", || record(0x16, &[1, 0xFF, 0xFF, 0xFF, 3, 3])),
    ("a handshake of 16 MiB", || {
        let mut bytes = record(0x16, &[1, 0xFF, 0xFF, 0xFF, 3, 3]);
        (0..100).for_each(|_| bytes.extend(record(0x16, &[0; 16_000])));
        bytes
    }),
    ("SSL 2", || b"\x80\x2E\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80".to_vec()),
    ("SSL 3", || record(0x16, &hello(0x0300, AES))),
    ("TLS 1.0", || record(0x16, &hello(0x0301, AES))),
    ("TLS 1.1", || record(0x16, &hello(0x0302, AES))),
    ("no cipher suites", || record(0x16, &hello(0x0303, &[]))),
    ("only suites without encryption", || record(0x16, &hello(0x0303, &[0, 1, 0, 2]))),
    ("only suites with RC4", || record(0x16, &hello(0x0303, &[0, 4, 0, 5]))),
    ("a hello that is cut off", || record(0x16, &hello(0x0303, AES)[..20])),
    ("a hello with bytes behind it", || record(0x16, &[hello(0x0303, AES), vec![0; 50]].concat())),
    ("a hello in records of one byte", || {
        hello(0x0303, AES).iter().flat_map(|byte| record(0x16, &[*byte])).collect()
    }),
    ("a hello of a server", || record(0x16, &[2, 0, 0, 38, 3, 3])),
    ("an unknown handshake", || record(0x16, &[99, 0, 0, 0])),
    ("a finished before anything", || record(0x16, &[20, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2])),
    ("a renegotiation before anything", || record(0x16, &[0, 0, 0, 0])),
    ("data before a handshake", || record(0x17, &[1; 100])),
    ("a change of ciphers before anything", || record(0x14, &[1])),
    ("changes of ciphers without end", || record(0x14, &[1]).repeat(10_000)),
    ("a warning", || record(0x15, &[1, 0])),
    ("warnings without end", || record(0x15, &[1, 90]).repeat(10_000)),
    ("a fatal alert", || record(0x15, &[2, 40])),
    ("CVE-2014-0160: a heartbeat", || record(0x18, &[1, 0xFF, 0xFF])),
    ("an unknown record", || record(0x63, &[1])),
    ("empty records without end", || record(0x16, &[]).repeat(10_000)),
];

#[test]
fn what_is_no_tls_is_an_alert_and_the_end() {
    let ground = Ground::new("connect_timeout_seconds = 2", "");
    for kind in [Kind::Tls, Kind::Wss] {
        for (name, bytes) in BYTES {
            ground.case(&format!("{name} over {kind:?}"), MIB, || {
                let mut stream = tcp(ground.address(kind as usize));
                let _ = stream.write_all(&bytes());
                let mut said = Vec::new();
                match stream.read_to_end(&mut said) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        return Err("it is open".to_owned());
                    }
                    _ => {}
                }
                // Nothing of MQTT, and nothing in the open: if it is said why, then as an alert.
                match said.first() {
                    None | Some(0x15) => Ok(()),
                    Some(_) => Err(format!("{said:02x?}")),
                }
            });
        }
    }
    ground.end(2 * BYTES.len());
}

fn with_certificate(
    authority: &str,
    pair: Option<&Pair>,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let builder = builder.with_root_certificates(roots);
    match pair {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                .unwrap()
        }
    }
}

/// A certificate that nobody vouches for.
fn by_itself() -> Pair {
    let made = rcgen::generate_simple_self_signed(["good".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Connects and says CONNECT; true if CONNACK comes.
fn is_let_in(address: SocketAddr, config: ClientConfig) -> Result<bool, String> {
    let mut link = Link::with(tcp(address), Some(config));
    // A refusal may come while this is written, or after.
    let _ = link.send(&Connect::new(Version::V5, "certified").bytes());
    match link.packet() {
        Ok(packet) => Ok(packet[..1] == [0x20] && packet[3] == 0),
        Err(what) if what.starts_with("silence") => Err(what),
        Err(_) => Ok(false),
    }
}

#[test]
fn only_good_certificates_open_the_door() {
    let (directory, authority, stranger) = (Directory::new(), Authority::new(), Authority::new());
    let (certificate, key) = authority.server();
    let certificate = directory.write("server.pem", certificate);
    let key = directory.write("server.key", key);
    let ca = directory.write("ca.pem", &authority.certificate);
    let mut text = "in_memory = true\nlog = \"off\"\n[[listener]]\nurl = \"mqtt://127.0.0.1:0\"\n".to_owned();
    for wants in ["required", "optional"] {
        text += &format!(
            "[[listener]]\nurl = \"mqtts://127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {key:?}\n\
             client_ca = {ca:?}\nclient_certificates = \"{wants}\"\n"
        );
    }
    let good = authority.client("good");
    let pairs: [(&str, Option<Pair>, [bool; 2]); 6] = [
        ("a good one", Some(good), [true, true]),
        ("none", None, [false, true]),
        ("one of a stranger", Some(stranger.client("good")), [false; 2]),
        ("an old one", Some(authority.expired_client("good")), [false; 2]),
        ("one of a server", Some(authority.server()), [false; 2]),
        ("one that it signed itself", Some(by_itself()), [false; 2]),
    ];
    let ground = Ground::with(&text, directory, authority);
    for (index, wants) in [(1, "required"), (2, "optional")] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            for (name, pair, is_welcome) in &pairs {
                ground.case(&format!("{name}, {wants}, {:?}", version.version), MIB, || {
                    let config = with_certificate(&ground.authority.certificate, pair.as_ref(), version);
                    match is_let_in(ground.address(index), config)? {
                        is_in if is_in == is_welcome[index - 1] => Ok(()),
                        is_in => Err(format!("let in: {is_in}")),
                    }
                });
            }
        }
    }
    ground.end(24);
}

#[test]
fn what_may_be_repeated_is_bounded() {
    let ground = Ground::new("", "");
    for kind in [Kind::Tls, Kind::Wss] {
        ground.case(&format!("CVE-2026-39304: new keys without end over {kind:?}"), MIB, || {
            let mut link = ground.connect(kind, &Connect::new(Version::V5, "keys").bytes());
            let renew = |link: &mut Link| {
                let stream = link.tls();
                stream.conn.refresh_traffic_keys().map_err(std::io::Error::other)?;
                let mut socket = &stream.sock;
                stream.conn.write_tls(&mut socket)
            };
            for _ in 0..8 {
                renew(&mut link).map_err(|error| error.to_string())?;
            }
            link.lives_after(&[])?;
            // Nobody needs as many: rustls ends it.
            // The end may be seen when it is written to, or read from.
            let _ = (0..20_000).try_for_each(|_| renew(&mut link).map(drop));
            link.last().is_end.then_some(()).ok_or_else(|| "it is still open".to_owned())
        });
        ground.case(&format!("a byte a record over {kind:?}"), MIB, || {
            let mut link = ground.open(kind);
            for byte in Connect::new(Version::V5, "bytes").bytes() {
                link.send(&[byte]).unwrap();
            }
            match link.packet()? {
                packet if packet[0] == 0x20 && packet[3] == 0 => link.lives_after(&[]),
                packet => Err(format!("{packet:02x?}")),
            }
        });
        ground.case(&format!("a handshake given up, 200 times, over {kind:?}"), 2 * MIB, || {
            for number in 0..200 {
                let mut stream = tcp(ground.address(kind as usize));
                let config = Arc::new(tls_config(&ground.authority.certificate));
                let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
                let mut session = rustls::ClientConnection::new(config, name).unwrap();
                session.write_tls(&mut stream).unwrap();
                if number % 2 == 0 {
                    // Everything that the server says to a hello.
                    let _ = stream.read(&mut [0; 100]);
                }
            }
            Ok(())
        });
        ground.case(&format!("another protocol over {kind:?}"), MIB, || {
            let mut config = tls_config(&ground.authority.certificate);
            config.alpn_protocols = vec![b"h2".to_vec()];
            let is_in = is_let_in(ground.address(kind as usize), config)?;
            if is_in { Err("let in".to_owned()) } else { Ok(()) }
        });
        // A session of TLS 1.2 may ask for a new handshake; rustls never does, so OpenSSL's program asks.
        ground.case(&format!("renegotiations over {kind:?}"), 2 * MIB, || {
            renegotiate(ground.address(kind as usize))
        });
    }
    ground.end(10);
}

fn renegotiate(address: SocketAddr) -> Result<(), String> {
    let process = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut process) = process else {
        assert!(std::env::var_os("CI").is_none(), "openssl must be installed here");
        std::io::stderr().write_all(b"SKIPPED: openssl is not installed\n").unwrap();
        return Ok(());
    };
    let mut input = process.stdin.take().unwrap();
    // A line that is only R asks; that this program stops at the refusal is all the same.
    for _ in 0..10 {
        std::thread::sleep(WAIT / 100);
        if input.write_all(b"R\n").is_err() {
            break;
        }
    }
    drop(input);
    let output = process.wait_with_output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if !said.contains("RENEGOTIATING") {
        return Err(format!("nothing was asked: {said}"));
    }
    // It is refused, and not done.
    match said.contains("no renegotiation")
        || said.contains("unexpected message")
        || said.contains("handshake failure")
    {
        true => Ok(()),
        false => Err(said),
    }
}
