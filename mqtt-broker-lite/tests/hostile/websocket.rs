//! Hostile WebSocket, with and without TLS: requests that are none, frames that are none (RFC 6455).

use super::ground::{Ground, MIB};
use super::link::{Kind, Link, UPGRADE, frame};
use super::packets::{Connect, Version, publish};

const WEB: [Kind; 2] = [Kind::Ws, Kind::Wss];

/// What happens to the request of a client, and the beginning of the answer.
type Request = (&'static str, fn() -> Vec<u8>, &'static str);

fn without(line: &str) -> Vec<u8> {
    assert!(UPGRADE.contains(line));
    UPGRADE
        .lines()
        .filter(|one| !one.starts_with(line))
        .map(|line| format!("{line}\r\n"))
        .collect::<String>()
        .into_bytes()
}

fn instead(of: &str, what: &str) -> Vec<u8> {
    assert!(UPGRADE.contains(of));
    UPGRADE.replacen(of, what, 1).into_bytes()
}

const REQUESTS: &[Request] = &[
    ("no Host", || without("Host"), "HTTP/1.1"),
    ("no Upgrade", || without("Upgrade"), "HTTP/1.1 400"),
    ("no Connection", || without("Connection"), "HTTP/1.1 400"),
    ("no key", || without("Sec-WebSocket-Key"), "HTTP/1.1 400"),
    ("no version", || without("Sec-WebSocket-Version"), "HTTP/1.1 400"),
    ("no sub-protocol", || without("Sec-WebSocket-Protocol"), "HTTP/1.1 400"),
    ("another sub-protocol", || instead("mqtt", "chat"), "HTTP/1.1 400"),
    ("another version", || instead("Version: 13", "Version: 12"), "HTTP/1.1 400"),
    ("another method", || instead("GET", "POST"), "HTTP/1.1 400"),
    ("HTTP/1.0", || instead("HTTP/1.1", "HTTP/1.0"), "HTTP/1.1 400"),
    ("HTTP/2", || b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "HTTP/1.1 400"),
    ("no HTTP", || b"\r\r\r\n\n\n hello\r\n\r\n".to_vec(), "HTTP/1.1 400"),
    ("a CONNECT of MQTT", || Connect::new(Version::V5, "a").bytes(), "HTTP/1.1 400"),
    ("a NUL in a header", || instead("Host: x", "Host: x\0y"), "HTTP/1.1 400"),
    ("a header without a name", || instead("Host", ""), "HTTP/1.1 400"),
    ("a header without a colon", || instead("Host: x", "Host"), "HTTP/1.1 400"),
    ("a method without end", || vec![b'A'; 20_000], "HTTP/1.1 4"),
    ("a path of 10 KiB", || instead("GET /", &format!("GET /{}", "a".repeat(10_240))), "HTTP/1.1 4"),
    ("a header of 10 KiB", || instead("Host: x", &format!("Host: {}", "x".repeat(10_240))), "HTTP/1.1 4"),
    ("a header of 1 MiB", || instead("Host: x", &format!("Host: {}", "x".repeat(1 << 20))), "HTTP/1.1 4"),
    ("a thousand headers", || instead("Host: x", &"Host: x\r\n".repeat(1000)), "HTTP/1.1 4"),
    ("two hundred headers", || instead("Host: x", &"A: x\r\n".repeat(200)), "HTTP/1.1 4"),
];

#[test]
fn a_request_that_is_none_is_refused() {
    let ground = Ground::new("connect_timeout_seconds = 2", "");
    for kind in WEB {
        // The carrier below WebSocket.
        let below = if kind == Kind::Ws { Kind::Tcp } else { Kind::Tls };
        for (name, request, status) in REQUESTS {
            ground.case(&format!("{name} over {kind:?}"), MIB, || {
                let mut link =
                    Link::open(below, ground.address(kind as usize), &ground.authority.certificate);
                // Who is refused may have no time to send all of it.
                let _ = link.raw(&request());
                let last = if status.ends_with(' ') { link.receive(12) } else { link.last() };
                let said = String::from_utf8_lossy(&last.bytes).into_owned();
                match said.starts_with(status) && last.is_end {
                    true => Ok(()),
                    false => Err(format!("{said:?}, end: {}", last.is_end)),
                }
            });
        }
    }
    ground.end(2 * REQUESTS.len());
}

/// What comes of frames.
#[derive(Clone, Copy)]
enum Fate {
    /// The server closes with one of these codes.
    Closes(&'static [u16]),
    /// The connection ends, in whatever words.
    Ends,
    /// Everything is as it was.
    Lives,
}
use Fate::{Closes, Ends, Lives};

fn repeated(piece: &[u8], count: usize) -> Vec<u8> {
    piece.repeat(count)
}

const PROTOCOL: Fate = Closes(&[1002]);

type Row = (&'static str, fn() -> Vec<u8>, Fate);

/// Bytes on a WebSocket on which MQTT is connected.
const FRAMES: &[Row] = &[
    ("a frame that is not masked", || b"\x82\x02\xC0\x00".to_vec(), PROTOCOL),
    ("the first reserved bit", || frame(0xC2, b"\xC0\x00"), PROTOCOL),
    ("the second reserved bit", || frame(0xA2, b"\xC0\x00"), PROTOCOL),
    ("the third reserved bit", || frame(0x92, b"\xC0\x00"), PROTOCOL),
    ("the reserved frame 3", || frame(0x83, b"\xC0\x00"), PROTOCOL),
    ("the reserved frame 7", || frame(0x87, b""), PROTOCOL),
    ("the reserved control frame 11", || frame(0x8B, b""), PROTOCOL),
    ("the reserved control frame 15", || frame(0x8F, b""), PROTOCOL),
    ("a ping in fragments", || frame(0x09, b"x"), PROTOCOL),
    ("a close in fragments", || frame(0x08, b""), PROTOCOL),
    ("a ping of 126 bytes", || frame(0x89, &[0; 126]), PROTOCOL),
    ("a ping of 256 MiB", || b"\x89\xFF\0\0\0\0\x10\0\0\0\0\0\0\0".to_vec(), Closes(&[1002, 1009])),
    ("a continuation of nothing", || frame(0x80, b"\xC0\x00"), PROTOCOL),
    ("a new message within another", || [frame(0x02, b"\xC0"), frame(0x82, b"\x00")].concat(), PROTOCOL),
    ("a text frame", || frame(0x81, b"hello"), Closes(&[1003])),
    ("a text frame that is no text", || frame(0x81, b"\xFF\xFF"), Closes(&[1003, 1007])),
    ("an empty text frame", || frame(0x81, b""), Closes(&[1003])),
    ("a frame of 256 MiB is announced", || b"\x82\xFF\0\0\0\0\x10\0\0\0\0\0\0\0x".to_vec(), Closes(&[1009])),
    (
        "a frame of 2^63 bytes is announced",
        || b"\x82\xFF\x80\0\0\0\0\0\0\0\0\0\0\0x".to_vec(),
        Closes(&[1002, 1009]),
    ),
    (
        "a frame of 2^64 bytes is announced",
        || b"\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0x".to_vec(),
        Closes(&[1002, 1009]),
    ),
    (
        "fragments without end",
        || [frame(0x02, &[0; 60_000]), repeated(&frame(0x00, &[0; 60_000]), 20)].concat(),
        Closes(&[1009]),
    ),
    ("a close of one byte", || frame(0x88, b"\x03"), PROTOCOL),
    ("a close with the code 0", || frame(0x88, b"\x00\x00"), PROTOCOL),
    ("a close with the code 999", || frame(0x88, b"\x03\xE7"), PROTOCOL),
    ("a close with the code 1005", || frame(0x88, b"\x03\xED"), PROTOCOL),
    ("a close with the code 5000", || frame(0x88, b"\x13\x88"), PROTOCOL),
    ("a close whose reason is no text", || frame(0x88, b"\x03\xE8\xFF"), Closes(&[1002, 1007])),
    ("a close of 126 bytes", || frame(0x88, &[3; 126]), PROTOCOL),
    ("a close, as it should be", || frame(0x88, b"\x03\xE8"), Closes(&[1000])),
    ("a close without a code", || frame(0x88, b""), Ends),
    (
        "a close, and then data",
        || [frame(0x88, b"\x03\xE8"), repeated(&frame(0x82, b"\xC0\x00"), 100)].concat(),
        Ends,
    ),
    ("half a frame and the end", || b"\x82\xFE\x10".to_vec(), Ends),
    ("a pong that nobody asked for", || frame(0x8A, b"here"), Lives),
    ("empty frames without end", || repeated(&frame(0x82, b""), 20_000), Lives),
    (
        "empty fragments without end",
        || [frame(0x02, b""), repeated(&frame(0x00, b""), 20_000), frame(0x80, b"")].concat(),
        Lives,
    ),
    ("pings without end", || repeated(&frame(0x89, &[7; 125]), 5_000), Lives),
    ("pongs without end", || repeated(&frame(0x8A, &[7; 125]), 20_000), Lives),
    (
        "CVE-2026-25627: a packet that is longer than its frame",
        || {
            let packet = publish(Version::V3, 0, "nobody", 0, &[0; 300]);
            packet.chunks(7).flat_map(|piece| frame(0x82, piece)).collect()
        },
        Lives,
    ),
    (
        "a packet in fragments with pings between",
        || {
            let packet = publish(Version::V3, 0, "nobody", 0, &[0; 300]);
            let mut bytes = frame(0x02, &packet[..1]);
            for piece in packet[1..].chunks(3) {
                bytes.extend(frame(0x89, b"x"));
                bytes.extend(frame(0x00, piece));
            }
            bytes.extend(frame(0x80, b""));
            bytes
        },
        Lives,
    ),
    (
        "many packets in a frame",
        || frame(0x82, &repeated(&publish(Version::V3, 0, "nobody", 0, b"x"), 5000)),
        Lives,
    ),
    ("a length with leading zeros", || b"\x82\xFE\x00\x02\0\0\0\0\xC0\x00".to_vec(), Ends),
    ("a frame with a mask", || b"\x82\x82\x01\x02\x03\x04\xC1\x02".to_vec(), Lives),
];

// [MQTT-6.0.0-1 @3.1.1] [MQTT-6.0.0-1 @5.0] [MQTT-6.0.0-2 @3.1.1] [MQTT-6.0.0-2 @5.0]
#[test]
fn a_frame_that_is_none_ends_the_connection_and_borders_mean_nothing() {
    let ground = Ground::new("", "");
    for kind in WEB {
        for (name, bytes, fate) in FRAMES {
            ground.case(&format!("{name} over {kind:?}"), 2 * MIB, || {
                let mut link = ground.connect(kind, &Connect::new(Version::V3, "web").bytes());
                let _ = link.raw(&bytes());
                if matches!(fate, Ends) {
                    link.end();
                }
                match fate {
                    Closes(codes) => {
                        let last = link.last();
                        match link.close_code {
                            Some(code) if codes.contains(&code) && last.is_end => Ok(()),
                            code => Err(format!("closed with {code:?}: {last:02x?}")),
                        }
                    }
                    Ends => link.last().is_end.then_some(()).ok_or_else(|| "it is still open".to_owned()),
                    Lives => {
                        let extra: &[u8] = match *name {
                            "a frame with a mask" => b"\xD0\x00",
                            _ => b"",
                        };
                        link.lives_after(extra)
                    }
                }
            });
        }
    }
    ground.end(2 * FRAMES.len());
}
