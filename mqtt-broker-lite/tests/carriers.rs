//! Everything that carries MQTT to the broker, with one shard and with three.

#![cfg(all(feature = "tls", feature = "ws", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod made;

use async_trait::async_trait;
use made::{Authority, Directory, Pair};
use mqtt_broker_lite::core::Decision;
use mqtt_broker_lite::{Applicant, Authenticator, Broker, Builder, ClientCertificates, Listen, TlsFiles};
use mqtt_client_async::transport::TlsOptions;
use mqtt_client_async::{Carriers, Client, ConnectionError, Options, Publish, QoS, ReasonCode, Version};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_tungstenite::tungstenite::protocol::WebSocket;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

const WAIT: Duration = Duration::from_secs(20);

/// A message to itself and back.
async fn there_and_back(options: Options, size: usize) {
    let client = Client::connect(options).await.unwrap();
    let mut stream = client.subscribe(("carried", QoS::AtLeastOnce)).await.unwrap();
    let payload: Vec<u8> = (0..size).map(|i| (i / 7) as u8).collect();
    let message = Publish::new("carried", payload.clone()).qos(QoS::AtLeastOnce);
    client.publish(message).await.unwrap().await.unwrap();
    let message = tokio::time::timeout(WAIT, stream.recv()).await.unwrap().unwrap();
    assert!(message.payload() == payload, "the message changed on its way");
    client.shutdown(WAIT).await;
}

fn files(directory: &Directory, server: &Pair) -> TlsFiles {
    TlsFiles {
        certificate: directory.write("server.pem", &server.0),
        key: directory.write("server.key", &server.1),
        ..TlsFiles::default()
    }
}

fn localhost(url: &str) -> String {
    url.replace("127.0.0.1", "localhost").replace("[::1]", "localhost")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_carrier_carries_every_version() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let files = files(&directory, &authority.server());
    for workers in [1, 3] {
        let socket = directory.0.join("mqtt.sock");
        let broker = Broker::builder()
            .workers(NonZeroU16::new(workers).unwrap())
            .listen("mqtt://127.0.0.1:0")
            .listen("mqtt://[::1]:0")
            .listen(Listen::on("mqtts://127.0.0.1:0").tls(files.clone()))
            .listen("ws://127.0.0.1:0/mqtt")
            .listen(Listen::on("wss://127.0.0.1:0").tls(files.clone()))
            .listen(format!("unix://{}", socket.display()))
            .start()
            .unwrap();
        let urls: Vec<_> = broker.urls().collect();
        let schemes: Vec<_> = urls.iter().map(|url| url.split_once(':').unwrap().0).collect();
        assert_eq!(schemes, ["mqtt", "mqtt", "mqtts", "ws", "wss", "unix"]);
        for url in &urls {
            for (number, version) in [Version::V3_1, Version::V3_1_1, Version::V5].into_iter().enumerate() {
                let tls = TlsOptions::new().ca(authority.certificate.clone());
                let url = if url.contains("s://") { localhost(url) } else { url.clone() };
                let options = Options::with_carriers(&url, &Carriers::new().tls(tls)).unwrap();
                let size = [1, 100_000, 900_000][number];
                there_and_back(options.version(version).client_id(format!("c{number}")), size).await;
            }
        }
        broker.shutdown();
        assert!(!socket.exists(), "the socket stayed in the file system");
    }
}

#[test]
fn a_socket_that_a_dead_program_left_is_replaced_and_a_living_one_is_not() {
    let directory = Directory::new();
    let path = directory.0.join("mqtt.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let url = format!("unix://{}", path.display());
    let broker = Broker::builder().listen(&url).start().unwrap();
    assert!(Broker::builder().listen(&url).start().is_err());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    broker.shutdown();
    directory.write("file", "precious");
    let url = format!("unix://{}", directory.0.join("file").display());
    assert!(Broker::builder().listen(&url).start().is_err());
    assert_eq!(std::fs::read_to_string(directory.0.join("file")).unwrap(), "precious");
}

/// CONNECT of 3.1.1, PINGREQ; and the answers.
const CONNECT: &[u8] = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01w";
const PINGREQ: &[u8] = b"\xC0\x00";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const PINGRESP: &[u8] = b"\xD0\x00";

fn open(url: &str, protocols: &str) -> Result<WebSocket<TcpStream>, tungstenite::Error> {
    let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let mut request = url.into_client_request().unwrap();
    if !protocols.is_empty() {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.parse().unwrap());
    }
    match tungstenite::client(request, stream) {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("no answer in time"),
    }
}

/// Binary frames until so many bytes came.
fn receive(socket: &mut WebSocket<TcpStream>, expected: &[u8]) {
    let mut bytes = Vec::new();
    while bytes.len() < expected.len() {
        match socket.read().unwrap() {
            Message::Binary(data) => bytes.extend_from_slice(&data),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bytes, expected);
}

// [MQTT-6.0.0-2 @3.1.1] [MQTT-6.0.0-2 @5.0] [MQTT-6.0.0-4 @3.1.1] [MQTT-6.0.0-4 @5.0]
#[test]
fn frame_borders_mean_nothing() {
    let broker = Broker::builder().listen("ws://127.0.0.1:0/mqtt").start().unwrap();
    // A byte in a frame.
    let mut socket = open(&broker.url(), "mqtt").unwrap();
    for byte in [CONNECT, PINGREQ].concat() {
        socket.send(Message::binary(vec![byte])).unwrap();
    }
    receive(&mut socket, &[CONNACK, PINGRESP].concat());
    // Everything in one frame, with the beginning of the next packet.
    let mut socket = open(&broker.url(), "other, mqtt").unwrap();
    socket.send(Message::binary([CONNECT, PINGREQ, PINGREQ, &PINGREQ[..1]].concat())).unwrap();
    receive(&mut socket, &[CONNACK, PINGRESP, PINGRESP].concat());
    // Pings of WebSocket itself, an empty frame, and a message in fragments.
    socket.send(Message::Ping(b"there?".to_vec().into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(b"there?".to_vec().into()));
    socket.send(Message::binary(Vec::new())).unwrap();
    let stream = socket.get_mut();
    // The rest of PINGREQ and one more, masked with zeros: FIN is not set, a ping between, then a continuation.
    stream.write_all(b"\x02\x81\0\0\0\0\x00\x89\x80\0\0\0\0\x80\x82\0\0\0\0\xC0\x00").unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(Vec::new().into()));
    receive(&mut socket, &[PINGRESP, PINGRESP].concat());
    // The request and the first frames in one piece.
    let address = *broker.addresses().first().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let request = "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    let frame = [&[0x82, 0x80 | CONNECT.len() as u8, 0, 0, 0, 0], CONNECT].concat();
    stream.write_all(&[request.as_bytes(), &frame].concat()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(CONNACK) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.starts_with("HTTP/1.1 101") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{answer}"
    );
}

// [MQTT-6.0.0-1 @3.1.1] [MQTT-6.0.0-1 @5.0]
#[test]
fn a_text_frame_ends_the_connection() {
    let broker = Broker::builder().listen("ws://127.0.0.1:0/mqtt").start().unwrap();
    for is_connected in [false, true] {
        let mut socket = open(&broker.url(), "mqtt").unwrap();
        if is_connected {
            socket.send(Message::binary(CONNECT)).unwrap();
            receive(&mut socket, CONNACK);
        }
        socket.send(Message::text("hello")).unwrap();
        match socket.read().unwrap() {
            Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1003),
            other => panic!("{other:?}"),
        }
    }
}

// [MQTT-6.0.0-4 @5.0]
#[test]
fn a_request_for_something_else_is_refused() {
    let listen = Listen::on("ws://127.0.0.1:0/mqtt").origins(["https://example.org"]);
    let broker = Broker::builder().listen(listen).start().unwrap();
    let other = broker.url().replace("/mqtt", "/other");
    for (url, protocols, status) in
        [(&other, "mqtt", 404), (&broker.url(), "chat", 400), (&broker.url(), "", 400)]
    {
        match open(url, protocols) {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), status),
            other => panic!("{:?}", other.err()),
        }
    }
    for (origin, status) in [("https://example.org", 101), ("https://example.com", 403)] {
        let mut stream = TcpStream::connect(broker.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
}

/// Lets in whom his certificate, or his name, says to be welcome; remembers whom it saw.
#[derive(Clone, Default)]
struct Doorman(Arc<Mutex<Vec<Applicant>>>);

#[async_trait]
impl Authenticator for Doorman {
    async fn authenticate(&self, applicant: Applicant) -> Decision {
        self.0.lock().unwrap().push(applicant.clone());
        tokio::time::sleep(Duration::from_millis(20)).await;
        match (applicant.common_name, applicant.credentials.user_name.as_deref()) {
            (Some(name), _) => Decision::AllowAs(name.into()),
            (None, Some("welcome")) => Decision::Allow,
            (None, Some("panic")) => panic!("as the test wants"),
            (None, _) => Decision::Refuse(ReasonCode::NOT_AUTHORIZED),
        }
    }
}

impl Doorman {
    fn guards(&self, builder: Builder) -> Builder {
        let runtime = tokio::runtime::Handle::current();
        builder.authenticator(self.clone(), move |task| drop(runtime.spawn(task)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authenticator_of_the_program_decides_in_its_own_time() {
    let doorman = Doorman::default();
    for workers in [1, 3] {
        let builder =
            Broker::builder().workers(NonZeroU16::new(workers).unwrap()).listen("mqtt://127.0.0.1:0");
        let broker = doorman.guards(builder).start().unwrap();
        let options = |id: &str, user: &str| {
            let options = Options::new(&broker.url()).unwrap().client_id(id).no_reconnect();
            options.credentials(user, "secret")
        };
        for id in ["a", "b", "c", "d"] {
            there_and_back(options(id, "welcome"), 10).await;
            for (user, code) in
                [("stranger", ReasonCode::NOT_AUTHORIZED), ("panic", ReasonCode::SERVER_UNAVAILABLE)]
            {
                let error = Client::connect(options(id, user)).await.unwrap_err();
                assert!(
                    matches!(error, ConnectionError::Refused(ref words) if words.reason_code == code),
                    "{error:?}"
                );
            }
        }
    }
    let seen = doorman.0.lock().unwrap();
    assert!(seen.iter().all(|applicant| applicant.address.is_some() && applicant.listener == 0));
    assert!(!format!("{seen:?}").contains("secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_clients_are_wanted_or_welcome() {
    let (directory, authority, stranger) = (Directory::new(), Authority::new(), Authority::new());
    let doorman = Doorman::default();
    let mut files = files(&directory, &authority.server());
    files.client_ca = Some(directory.write("ca.pem", &authority.certificate));
    files.client_certificates = ClientCertificates::Required;
    let required = Listen::on("mqtts://127.0.0.1:0").tls(files.clone());
    files.client_certificates = ClientCertificates::Optional;
    files.only_tls13 = true;
    let optional = Listen::on("mqtts://127.0.0.1:0").tls(files);
    let broker = doorman.guards(Broker::builder().listen(required).listen(optional)).start().unwrap();
    let urls: Vec<_> = broker.urls().map(|url| localhost(&url)).collect();
    let with = |url: &str, pair: Option<Pair>, alpn: &str| {
        let mut tls = TlsOptions::new().ca(authority.certificate.clone()).alpn(alpn);
        if let Some((certificate, key)) = pair {
            tls = tls.client_certificate(certificate, key);
        }
        Options::with_carriers(url, &Carriers::new().tls(tls)).unwrap().client_id("c").no_reconnect()
    };
    for url in &urls {
        there_and_back(with(url, Some(authority.client("device 7")), "mqtt"), 10).await;
        for wrong in [stranger.client("device 7"), authority.expired_client("device 7"), authority.server()] {
            let error = Client::connect(with(url, Some(wrong), "mqtt")).await.unwrap_err();
            assert!(!matches!(error, ConnectionError::ConnectTimeout), "{error:?}");
        }
        // [RFC 7301]: nothing in common is an alert, not a connection.
        assert!(Client::connect(with(url, Some(authority.client("x")), "h2")).await.is_err());
    }
    assert_eq!(doorman.0.lock().unwrap().len(), 2, "somebody came through");
    assert!(doorman.0.lock().unwrap().iter().all(|one| one.common_name.as_deref() == Some("device 7")));
    // Without one: not even a CONNECT here, by name there.
    let error = Client::connect(with(&urls[0], None, "mqtt")).await.unwrap_err();
    assert!(!matches!(error, ConnectionError::Refused(_) | ConnectionError::ConnectTimeout), "{error:?}");
    there_and_back(with(&urls[1], None, "mqtt").credentials("welcome", ""), 10).await;
    let error = Client::connect(with(&urls[1], None, "mqtt")).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Refused(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_while_connections_stay() {
    let (directory, old, new) = (Directory::new(), Authority::new(), Authority::new());
    let files = files(&directory, &old.server());
    let broker = Broker::builder().listen(Listen::on("wss://127.0.0.1:0/mqtt").tls(files)).start().unwrap();
    let url = localhost(&broker.url());
    let trusting = |authority: &Authority, id: &str| {
        let tls = TlsOptions::new().ca(authority.certificate.clone());
        Options::with_carriers(&url, &Carriers::new().tls(tls)).unwrap().client_id(id).no_reconnect()
    };
    let client = Client::connect(trusting(&old, "old")).await.unwrap();
    let fresh = new.server();
    // A key that does not fit changes nothing.
    directory.write("server.pem", &fresh.0);
    assert!(broker.reload_certificates().unwrap_err().contains("server.pem"));
    there_and_back(trusting(&old, "a"), 10).await;
    directory.write("server.key", "no key");
    assert!(broker.reload_certificates().unwrap_err().contains("server.key"));
    there_and_back(trusting(&old, "a"), 10).await;
    directory.write("server.key", &fresh.1);
    broker.reload_certificates().unwrap();
    there_and_back(trusting(&new, "a"), 10).await;
    assert!(Client::connect(trusting(&old, "a")).await.is_err());
    client.publish(Publish::new("still", "there").qos(QoS::AtLeastOnce)).await.unwrap().await.unwrap();
}

#[test]
fn a_listener_without_its_certificate_does_not_start() {
    let directory = Directory::new();
    let error = |listen: Listen| Broker::builder().listen(listen).start().err().unwrap().to_string();
    assert!(error(Listen::on("mqtts://127.0.0.1:0")).contains("certificate"));
    let files = TlsFiles { certificate: directory.0.join("none.pem"), ..TlsFiles::default() };
    assert!(error(Listen::on("mqtts://127.0.0.1:0").tls(files.clone())).contains("none.pem"));
    assert!(error(Listen::on("mqtt://127.0.0.1:0").tls(files)).contains("mqtts://"));
    assert!(error(Listen::on("mqtt://127.0.0.1:0/path")).contains("path"));
    assert!(error(Listen::on("unix://relative")).contains("path"));
}
