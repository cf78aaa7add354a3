//! TLS, WebSocket, Unix sockets, URLs, proxies and SRV records.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use crate::common::{compare, observed};
use crate::servers::{self, CERTIFICATES, Server};
use crate::world::{HAS_DEBIANS, Observer, Program, TOOLS, Tool, fresh_topic, run, words};

/// TLS options that Debian's programs have; `DIR` is where the certificates are.
pub const TLS: &[&str] = &[
    "--cafile DIR/ca.pem",
    "--capath DIR/trusted",
    "--cafile DIR/ca.pem --insecure",
    "--cafile DIR/ca.pem --tls-version tlsv1.2",
    "--cafile DIR/ca.pem --tls-version tlsv1.3",
    "--cafile DIR/ca.pem --tls-version tlsv9",
    "--cafile DIR/ca.pem --tls-version tlsv1.2 --ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
    "--cafile DIR/ca.pem --tls-alpn mqtt",
    "--cafile DIR/ca.pem --cert DIR/client.pem --key DIR/client.key --keyform pem",
    "--cafile DIR/ca.pem --cert DIR/client.pem",
    "--cafile DIR/ca.pem --keyform pem",
    "--cafile DIR/none.pem",
    "--psk 00 --cafile DIR/ca.pem",
];

#[test]
fn tls() {
    let Some(server) = servers::mosquitto() else { return };
    let observer = Observer::new(&server);
    let more = server.more.as_ref().unwrap();
    let directory = CERTIFICATES.display().to_string();
    for tool in TOOLS {
        for options in TLS {
            let address = format!("-h localhost -p {}", more.tls);
            compare(&server, &observer, tool, &address, &options.replace("DIR", &directory));
        }
        let address = format!("-h localhost -p {}", more.client_certificate);
        let options =
            "--cafile DIR/ca.pem --cert DIR/client.pem --key DIR/client.key".replace("DIR", &directory);
        compare(&server, &observer, tool, &address, &options);

        // A server that is not trusted, and one whose certificate is asked for and not given.
        for options in ["--tls-use-os-certs", "--cafile DIR/client.pem"] {
            let address = format!("-h localhost -p {}", more.tls);
            let options = options.replace("DIR", &directory);
            let (result, seen) = observed(&observer, Program::Ours, tool, &address, &options);
            assert_eq!((result.code, seen.len()), (1, 0), "{tool:?} {options}: {result:?}");
        }
        let key_log = CERTIFICATES.join(format!("log-{}", fresh_topic()));
        let options = format!("--cafile {directory}/ca.pem --tls-keylog {}", key_log.display());
        let (result, _) =
            observed(&observer, Program::Ours, tool, &format!("-h localhost -p {}", more.tls), &options);
        assert_eq!(result.code, 0, "{}", result.err);
        let text = std::fs::read_to_string(key_log).unwrap();
        assert!(text.contains("CLIENT_TRAFFIC_SECRET_0 "), "{text}");
    }
}

#[test]
fn websocket_and_unix_socket() {
    let Some(server) = servers::mosquitto() else { return };
    let observer = Observer::new(&server);
    let more = server.more.as_ref().unwrap();
    for tool in TOOLS {
        let address = format!("-h 127.0.0.1 -p {}", more.websocket);
        let (result, seen) = observed(&observer, Program::Ours, tool, &address, "--ws");
        assert_eq!(result.code, 0, "{tool:?}: {}", result.err);
        assert_eq!(seen.len(), usize::from(tool != Tool::Sub));
        let broker = format!("--broker ws://127.0.0.1:{}/mqtt --ws-header X-Test:1", more.websocket);
        assert_eq!(observed(&observer, Program::Ours, tool, &broker, "").0.code, 0);
        compare(&server, &observer, tool, &format!("--unix {}", more.unix.display()), "");
        let broker = format!("--broker unix://{}", more.unix.display());
        assert_eq!(observed(&observer, Program::Ours, tool, &broker, "").0.code, 0);
    }
}

/// The URL is server, credentials and topic at once.
#[test]
fn urls() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        for tool in TOOLS {
            for (option, front) in [("-L", ""), ("--url", "me:secret@"), ("-L", "me@")] {
                let codes = [Program::Ours, Program::Debians].map(|program| {
                    if program == Program::Debians && !*HAS_DEBIANS {
                        return None;
                    }
                    let topic = fresh_topic();
                    observer.respond(&topic);
                    observer.retain(&topic, "kept");
                    let url = format!("mqtt://{front}127.0.0.1:{}/{topic}", server.port);
                    let rest = match tool {
                        Tool::Pub => "-m hello".to_owned(),
                        Tool::Sub => "-C 1 -W 10".to_owned(),
                        Tool::Rr => format!("-m hello -e {topic}/r -W 10"),
                    };
                    let result = run(program, tool, &words(&format!("{option} {url} {rest}")), b"");
                    Some((result.code, result.out))
                });
                assert_eq!(codes[0].as_ref().unwrap().0, 0, "{tool:?} {option} {front}");
                if let [ours, Some(theirs)] = codes {
                    assert_eq!(ours.unwrap(), theirs, "{tool:?} {option} {front}");
                }
            }
            for url in ["http://localhost/a", "mqtt://localhost"] {
                assert_eq!(run(Program::Ours, tool, &words(&format!("-L {url} -m b")), b"").code, 1, "{url}");
            }
        }
    }
}

/// A SOCKS5 proxy that takes `me` and `secret`, or no name where none is given.
fn proxy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(move || serve(client.unwrap()));
        }
    });
    port
}

fn serve(mut client: TcpStream) -> Option<()> {
    let mut take = |n: usize| {
        let mut bytes = vec![0; n];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let methods = take(2)?[1];
    let by_name = take(usize::from(methods))?.contains(&2);
    client.write_all(&[5, if by_name { 2 } else { 0 }]).ok()?;
    let mut take = |n: usize| {
        let mut bytes = vec![0; n];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    if by_name {
        let name_len = take(2)?[1];
        let name = take(usize::from(name_len))?;
        let len = take(1)?[0];
        let password = take(usize::from(len))?;
        let is_well = name == b"me" && password == b"secret";
        client.write_all(&[1, u8::from(!is_well)]).ok()?;
    }
    let mut take = |n: usize| {
        let mut bytes = vec![0; n];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let head = take(4)?;
    let len = if head[3] == 3 { usize::from(take(1)?[0]) } else { 4 };
    let host = take(len)?;
    let port = take(2)?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    let host = match head[3] {
        3 => String::from_utf8(host).unwrap(),
        _ => format!("{}.{}.{}.{}", host[0], host[1], host[2], host[3]),
    };
    let mut server = TcpStream::connect((host.as_str(), port)).ok()?;
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
    Some(())
}

#[test]
fn through_a_proxy() {
    let proxy = proxy();
    for server in servers::all() {
        let observer = Observer::new(&server);
        let address = format!("-h 127.0.0.1 -p {}", server.port);
        for tool in TOOLS {
            for front in ["", "me:secret@"] {
                let options = format!("--proxy socks5h://{front}127.0.0.1:{proxy}");
                compare(&server, &observer, tool, &address, &options);
            }
        }
    }
}

/// Answers every question with one SRV record that leads to `localhost` and this port.
fn name_server(port: u16) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut query) {
            let mut answer = query[..len].to_vec();
            answer[2] = 0x81;
            answer[7] = 1;
            answer.extend_from_slice(&[192, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 17, 0, 1, 0, 1]);
            answer.extend_from_slice(&port.to_be_bytes());
            answer.extend_from_slice(b"\x09localhost\0");
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

#[test]
fn the_server_by_its_srv_record() {
    let server: Server = servers::ours();
    let observer = Observer::new(&server);
    let topic = fresh_topic();
    let names = name_server(server.port);
    observer.retain(&topic, "kept");
    observer.respond(&topic);
    for (tool, rest) in [
        (Tool::Sub, "-C 1 -W 10".to_owned()),
        (Tool::Pub, "-m hello".to_owned()),
        (Tool::Rr, format!("-e {topic}/r -m hello -W 10")),
    ] {
        let output = std::process::Command::new(crate::world::DIRECTORY.join(tool.name()))
            .args(words(&format!("-S -h example.org -t {topic} {rest}")))
            .env("MQTT_NAME_SERVER", &names)
            .output()
            .unwrap();
        assert!(output.status.success(), "{tool:?}: {output:?}");
    }
}
