//! Everything that can carry MQTT, against servers inside the test and Debian's mosquitto.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod mosquitto_server;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mosquitto_server::{Mosquitto, free_port};
use mqtt_client_async::transport::{Proxy, TlsOptions};
use mqtt_client_async::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite};

/// A directory of this test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mqtt-client-async-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A CA, and certificates of it for a server and a client.
struct Certificates {
    ca: String,
    server: (String, String),
    client: (String, String),
}

fn certificates() -> Certificates {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "test CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let leaf = |name: &str, usage| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.push(usage);
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    Certificates {
        ca,
        server: leaf("localhost", ExtendedKeyUsagePurpose::ServerAuth),
        client: leaf("client", ExtendedKeyUsagePurpose::ClientAuth),
    }
}

/// A message to itself and back, of 100,000 bytes, and so many small ones that reading pauses.
async fn there_and_back(options: Options) {
    let client = Client::connect(options).await.unwrap();
    let mut stream = client.subscribe(("carried", QoS::AtLeastOnce)).await.unwrap();
    let payload = vec![7; 100_000];
    let message = Publish::new("carried", payload.clone()).qos(QoS::AtLeastOnce);
    client.publish(message).await.unwrap().await.unwrap();
    let message = tokio::time::timeout(Duration::from_secs(20), stream.recv()).await.unwrap().unwrap();
    assert!(message.payload() == payload);
    let publishing = async {
        for i in 0..5000 {
            drop(client.publish(Publish::new("carried", i.to_string()).qos(QoS::AtLeastOnce)).await.unwrap());
        }
    };
    let receiving = async {
        for i in 0..5000 {
            assert_eq!(stream.recv().await.unwrap().payload(), i.to_string().as_bytes());
        }
    };
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(publishing, receiving) })
        .await
        .unwrap();
    client.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a4_34_tls_with_a_client_certificate() {
    let (directory, port, made) = (Directory::new("tls"), free_port(), certificates());
    let ca = directory.write("ca.pem", &made.ca);
    let certificate = directory.write("server.pem", &made.server.0);
    let key = directory.write("server.key", &made.server.1);
    let configuration = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\n\
         max_queued_messages 0\ncafile {ca}\ncertfile {certificate}\nkeyfile {key}\n"
    );
    let Some(_server) = Mosquitto::start_with(&[port], &configuration) else { return };
    let url = format!("mqtts://localhost:{port}");
    let options = |tls| Options::with_carriers(&url, &Carriers::new().tls(tls)).unwrap();
    let client_certificate = directory.write("client.pem", &made.client.0);
    let client_key = directory.write("client.key", &made.client.1);
    let trusting = TlsOptions::new().ca_file(&ca);
    let tls = trusting.clone().client_certificate_files(&client_certificate, &client_key);
    for version in [Version::V3_1_1, Version::V5] {
        there_and_back(options(tls.clone()).version(version).client_id("tls")).await;
    }
    // What goes wrong says what helps.
    let stranger = TlsOptions::new().ca(certificates().ca);
    let error = Client::connect(options(stranger)).await.unwrap_err().to_string();
    assert!(error.contains("TLS with localhost") && error.contains("ca_file"), "{error}");
    let error = Client::connect(options(trusting)).await.unwrap_err();
    assert!(!matches!(error, ConnectionError::ConnectTimeout), "{error}");
    let mixed = TlsOptions::new().ca_file(&ca).client_certificate_files(&client_certificate, &key);
    let error = mixed.build().unwrap_err().to_string();
    assert!(error.contains("key"), "{error}");
    let swapped = TlsOptions::new().ca_file(&client_key);
    let error = swapped.build().unwrap_err().to_string();
    assert!(error.contains("no certificate in") && error.contains("client.key"), "{error}");
}

#[tokio::test]
async fn certificates_may_be_pem_or_der_and_a_whole_configuration_is_taken_as_it_is() {
    let made = certificates();
    let der = pem_to_der(&made.ca);
    let options = TlsOptions::new()
        .ca(der)
        .client_certificate(made.client.0.clone(), made.client.1.clone())
        .alpn("x-amzn-mqtt-ca");
    let config = options.build().unwrap();
    assert_eq!(config.alpn_protocols, [b"x-amzn-mqtt-ca"]);
    let same = TlsOptions::with_config(config.clone()).build().unwrap();
    assert!(std::sync::Arc::ptr_eq(&config, &same));
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

/// A WebSocket server in front of a TCP server; what the handshake said is sent to the test.
async fn websocket_front(behind: u16) -> (u16, tokio::sync::mpsc::UnboundedReceiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, handshakes) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_websocket(stream, behind, sender.clone()));
        }
    });
    (port, handshakes)
}

async fn serve_websocket(
    stream: TcpStream,
    behind: u16,
    handshakes: tokio::sync::mpsc::UnboundedSender<Vec<String>>,
) {
    use tungstenite::handshake::server::{Request, Response};
    #[allow(clippy::result_large_err)]
    let answer = |request: &Request, mut response: Response| {
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let said = vec![request.uri().to_string(), header("sec-websocket-protocol"), header("x-token")];
        handshakes.send(said).unwrap();
        response.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, answer).await.unwrap();
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = TcpStream::connect(("127.0.0.1", behind)).await.unwrap().into_split();
    tokio::spawn(async move {
        let mut buffer = [0; 1000];
        // In pieces that have nothing to do with packets, and pings in between.
        while let Ok(n @ 1..) = read.read(&mut buffer).await {
            let bytes = tungstenite::Message::binary(buffer[..n].to_vec());
            if sink.send(bytes).await.is_err()
                || sink.send(tungstenite::Message::Ping(vec![1].into())).await.is_err()
            {
                break;
            }
        }
    });
    while let Some(Ok(message)) = source.next().await {
        assert!(!message.is_text());
        if let tungstenite::Message::Binary(bytes) = message {
            write.write_all(&bytes).await.unwrap();
        }
    }
}

// [MQTT-6.0.0-3 @3.1.1] [MQTT-6.0.0-3 @5.0]
#[tokio::test]
async fn a4_35_websocket_with_path_headers_and_sub_protocol() {
    let Some(server) = Mosquitto::start() else { return };
    let (port, mut handshakes) = websocket_front(server.port).await;
    let url = format!("ws://127.0.0.1:{port}/some/path?x=1");
    let header = ("x-token".parse().unwrap(), "secret".parse().unwrap());
    let carriers = Carriers::new().header(header.0, header.1);
    let options = Options::with_carriers(&url, &carriers).unwrap().client_id("ws");
    assert!(!format!("{options:?}").contains("secret"));
    there_and_back(options).await;
    assert_eq!(handshakes.recv().await.unwrap(), ["/some/path?x=1", "mqtt", "secret"]);
}

/// A client over WebSocket, and the server's end of it.
async fn over_websocket(version: Version) -> (Client, WebSocketStream<TcpStream>) {
    use tungstenite::handshake::server::{Request, Response};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/mqtt", listener.local_addr().unwrap());
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        #[allow(clippy::result_large_err)]
        let answer = |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, answer).await.unwrap();
        assert!(
            matches!(socket.next().await, Some(Ok(tungstenite::Message::Binary(data))) if data[0] == 0x10)
        );
        // One byte in each frame.
        let connack: &[u8] = if version == Version::V5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        for byte in connack {
            socket.send(tungstenite::Message::binary(vec![*byte])).await.unwrap();
        }
        socket
    };
    let options = Options::new(&url).unwrap().version(version).client_id("ws").no_reconnect();
    let (client, socket) = tokio::join!(Client::connect(options), serve);
    (client.unwrap(), socket)
}

// [MQTT-6.0.0-2 @3.1.1] [MQTT-6.0.0-2 @5.0]
#[tokio::test]
async fn borders_of_websocket_frames_mean_nothing() {
    for version in [Version::V3_1_1, Version::V5] {
        let (client, mut socket) = over_websocket(version).await;
        let mut stream = client.messages();
        let packet: &[u8] = if version == Version::V5 { b"0\x06\0\x01t\0hi" } else { b"0\x05\0\x01thi" };
        let three = packet.repeat(3);
        // The first with half of the second, nothing, and the rest byte by byte.
        let (front, rest) = three.split_at(packet.len() + 4);
        socket.send(tungstenite::Message::binary(front.to_vec())).await.unwrap();
        socket.send(tungstenite::Message::binary(Vec::new())).await.unwrap();
        for byte in rest {
            socket.send(tungstenite::Message::binary(vec![*byte])).await.unwrap();
        }
        for _ in 0..3 {
            let message = tokio::time::timeout(Duration::from_secs(20), stream.recv()).await.unwrap();
            assert_eq!(message.unwrap().payload(), b"hi");
        }
    }
}

// [MQTT-6.0.0-1 @3.1.1] [MQTT-6.0.0-1 @5.0]
#[tokio::test]
async fn a_text_frame_ends_the_connection() {
    for version in [Version::V3_1_1, Version::V5] {
        let (client, mut socket) = over_websocket(version).await;
        socket.send(tungstenite::Message::text("hello")).await.unwrap();
        let error = client.ended().await;
        assert!(error.to_string().contains("text message"), "{error}");
        // The socket is closed; what the client still said was no text.
        while let Some(Ok(message)) = socket.next().await {
            assert!(!message.is_text());
        }
    }
}

#[tokio::test]
async fn websocket_of_mosquitto() {
    let port = free_port();
    let plain = free_port();
    let configuration = format!(
        "listener {plain} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n\
         max_queued_messages 0\n"
    );
    let Some(_server) = Mosquitto::start_with(&[plain, port], &configuration) else { return };
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        let options = Options::new(&format!("ws://localhost:{port}/mqtt")).unwrap();
        there_and_back(options.version(version).client_id("ws")).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unix_socket() {
    let (directory, port) = (Directory::new("unix"), free_port());
    let path = directory.0.join("mqtt.sock");
    let configuration =
        format!("listener {port} 127.0.0.1\nlistener 0 {}\nallow_anonymous true\n", path.display());
    let Some(_server) = Mosquitto::start_with(&[port], &configuration) else { return };
    there_and_back(Options::new(&format!("unix://{}", path.display())).unwrap().client_id("unix")).await;
    let error = Client::connect(Options::new("unix:///no/such/socket").unwrap()).await.unwrap_err();
    assert!(error.to_string().starts_with("connect to /no/such/socket: "), "{error}");
}

/// A proxy that reads this from a connection before it forwards to `behind`.
async fn proxy(
    behind: u16,
    talk: fn(TcpStream) -> futures_util::future::BoxFuture<'static, TcpStream>,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = talk(stream).await;
                let mut server = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    port
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut found = vec![0; bytes.len()];
    stream.read_exact(&mut found).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(bytes));
}

#[tokio::test]
async fn a4_36_an_http_proxy_below_tcp_and_websocket() {
    let Some(server) = Mosquitto::start() else { return };
    let port = proxy(server.port, |mut stream| {
        Box::pin(async move {
            let request = b"CONNECT broker.test:1883 HTTP/1.1\r\nHost: broker.test:1883\r\n\
                Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
            expect(&mut stream, request).await;
            stream.write_all(b"HTTP/1.1 200 Well\r\nVia: test\r\n\r\n").await.unwrap();
            stream
        })
    })
    .await;
    let proxy_url = format!("http://me:secret@127.0.0.1:{port}");
    let carriers = Carriers::new().proxy(Proxy::new(&proxy_url).unwrap());
    there_and_back(Options::with_carriers("mqtt://broker.test", &carriers).unwrap().client_id("http")).await;
    assert!(!format!("{carriers:?}").contains("secret"));
}

#[tokio::test]
async fn a_proxy_that_refuses_says_why() {
    let port = proxy(1, |mut stream| {
        Box::pin(async move {
            let mut buffer = [0; 1000];
            let _ = stream.read(&mut buffer).await.unwrap();
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
            std::future::pending().await
        })
    })
    .await;
    let carriers = Carriers::new().proxy(Proxy::new(&format!("http://127.0.0.1:{port}")).unwrap());
    let options = Options::with_carriers("mqtt://broker.test", &carriers).unwrap();
    let error = Client::connect(options).await.unwrap_err().to_string();
    assert!(error.contains("broker.test:1883 through the proxy") && error.contains("407"), "{error}");
}

#[tokio::test]
async fn a_socks_proxy_looks_up_the_name() {
    let Some(server) = Mosquitto::start() else { return };
    let port = proxy(server.port, |mut stream| {
        Box::pin(async move {
            // Version 5; without, or with user and password.
            let mut greeting = [0; 2];
            stream.read_exact(&mut greeting).await.unwrap();
            let mut methods = vec![0; greeting[1].into()];
            stream.read_exact(&mut methods).await.unwrap();
            assert!(methods.contains(&2));
            stream.write_all(&[5, 2]).await.unwrap();
            expect(&mut stream, b"\x01\x02me\x06secret").await;
            stream.write_all(&[1, 0]).await.unwrap();
            expect(&mut stream, b"\x05\x01\x00\x03\x0Bbroker.test\x07\x5B").await;
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            stream
        })
    })
    .await;
    let proxy_url = format!("socks5h://me:secret@127.0.0.1:{port}");
    let carriers = Carriers::new().proxy(Proxy::new(&proxy_url).unwrap());
    there_and_back(Options::with_carriers("mqtt://broker.test", &carriers).unwrap().client_id("socks")).await;
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named() {
    let error = Client::connect(Options::new("mqtt://127.0.0.1:1").unwrap()).await.unwrap_err().to_string();
    assert!(error.starts_with("connect to 127.0.0.1:1: "), "{error}");
    let error = Client::connect(Options::new("mqtt://no-such-host.invalid").unwrap()).await.unwrap_err();
    assert!(error.to_string().starts_with("look up no-such-host.invalid:1883: "), "{error}");
}

/// What stands in the environment of this program counts for all its tests, so it runs itself in another one.
#[test]
fn a4_36_the_environment_names_the_proxy_where_it_is_asked_for() {
    const TELL: &str = "TELL_WHAT_THE_ENVIRONMENT_NAMES";
    if std::env::var_os(TELL).is_some() {
        let (home, other) = (Proxy::from_env("broker.home.test"), Proxy::from_env("anotherhome.test"));
        return println!("proxies: {home:?} {other:?}");
    }
    let ask = |variables: &[(&str, &str)]| {
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program.args([
            "--exact",
            "a4_36_the_environment_names_the_proxy_where_it_is_asked_for",
            "--nocapture",
        ]);
        let output = program.env_clear().env(TELL, "").envs(variables.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.split_once("proxies: "));
        line.unwrap_or_else(|| panic!("{text}")).1.to_owned()
    };
    let one = r#"Ok(Some(Proxy("one:1080")))"#;
    let two = r#"Ok(Some(Proxy("two:8080")))"#;
    assert_eq!(ask(&[]), "Ok(None) Ok(None)");
    assert_eq!(ask(&[("ALL_PROXY", "socks5h://one"), ("HTTPS_PROXY", "http://two")]), format!("{one} {one}"));
    assert_eq!(ask(&[("all_proxy", "socks5://me:secret@one")]), format!("{one} {one}"));
    assert_eq!(ask(&[("https_proxy", "http://two"), ("HTTP_PROXY", "http://one")]), format!("{two} {two}"));
    for except in ["home.test", ".home.test, other", "broker.home.test"] {
        let told = ask(&[("ALL_PROXY", "socks5://one"), ("NO_PROXY", except)]);
        assert_eq!(told, format!("Ok(None) {one}"), "{except}");
    }
    assert_eq!(ask(&[("ALL_PROXY", "socks5://one"), ("no_proxy", "*")]), "Ok(None) Ok(None)");
    let fault = ask(&[("ALL_PROXY", "ftp://one")]);
    assert!(fault.starts_with(r#"Err(Scheme("ftp"))"#), "{fault}");
}
