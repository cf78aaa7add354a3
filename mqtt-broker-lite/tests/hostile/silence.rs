//! Those who say nothing, or not enough, or too slowly.

use super::ground::{Ground, MIB};
use super::link::{Kind, Link, UPGRADE, frame, tcp};
use super::packets::{Connect, Version};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends the rest again and again, slowly, until nobody takes it.
fn trickle(link: &mut Link, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        if link.send(&[*byte]).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
}

fn is_over(mut stream: TcpStream) -> Result<(), String> {
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err("it is still open".to_owned()),
        _ => Ok(()),
    }
}

type Act = fn(&Ground, Kind) -> Result<(), String>;

// [U311-3.1.4-1]
const UNKNOWN: &[(&str, Act)] = &[
    ("nothing below anything", |ground, kind| is_over(tcp(ground.address(kind as usize)))),
    ("one byte below anything", |ground, kind| {
        let mut stream = tcp(ground.address(kind as usize));
        stream.write_all(&[if kind.is_secure() { 0x16 } else { b'G' }]).unwrap();
        // On TCP that is no packet type that anything may begin with.
        is_over(stream)
    }),
    ("a request that never ends", |ground, kind| {
        let mut stream = tcp(ground.address(kind as usize));
        let _ = stream.write_all(&UPGRADE.as_bytes()[..40]);
        is_over(stream)
    }),
    ("nothing of MQTT", |ground, kind| ground.open(kind).ends_with(&[])),
    ("half a CONNECT", |ground, kind| {
        let mut link = ground.open(kind);
        link.send(&Connect::new(Version::V5, "half").bytes()[..9]).unwrap();
        link.ends_with(&[])
    }),
    ("a CONNECT, byte by byte and too slowly", |ground, kind| {
        let mut link = ground.open(kind);
        trickle(
            &mut link,
            &Connect::new(Version::V5, &"slow".repeat(50)).bytes()[..100],
            Duration::from_millis(100),
        );
        link.ends_with(&[])
    }),
    ("a CONNECT whose end never comes, of many bytes", |ground, kind| {
        let mut link = ground.open(kind);
        link.send(b"\x10\xFF\xFF\x03\x00\x04MQTT").unwrap();
        for _ in 0..40 {
            if link.send(&[0; 1000]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        link.last().is_end.then_some(()).ok_or_else(|| "it is still open".to_owned())
    }),
];

type Known = (&'static str, fn(&mut Link));

const KNOWN: &[Known] = &[
    ("nothing", |_| {}),
    ("a packet that never ends", |link| {
        trickle(link, b"\x30\xFF\x7F\x00\x01aaaaaaaaaaaaaaaaaaaaaaaaaaa", Duration::from_millis(200))
    }),
];

#[test]
fn who_does_not_connect_in_time_is_disconnected() {
    let ground = Ground::new("connect_timeout_seconds = 2", "");
    std::thread::scope(|scope| {
        for kind in Kind::ALL {
            for (name, act) in UNKNOWN {
                let ground = &ground;
                scope.spawn(move || {
                    ground.case(&format!("{name} over {kind:?}"), 4 * MIB, || act(ground, kind))
                });
            }
        }
    });
    ground.end(28);
}

// CVE-2020-13849. [MQTT-3.1.2-24 @3.1.1] [MQTT-3.1.2-22 @5.0]
#[test]
fn a_keep_alive_is_kept_by_packets_and_has_a_bound() {
    let ground = Ground::new("max_keep_alive_seconds = 1", "");
    std::thread::scope(|scope| {
        for (kind, version) in
            Kind::ALL.into_iter().flat_map(|kind| Version::BOTH.map(|version| (kind, version)))
        {
            for (number, (name, act)) in KNOWN.iter().enumerate() {
                for keep_alive in [0, 1, 65_535] {
                    let ground = &ground;
                    let name = format!("{name} for {keep_alive} s ({version:?} over {kind:?})");
                    let id = format!("{number}{keep_alive}{version:?}{kind:?}");
                    scope.spawn(move || {
                        ground.case(&name, 4 * MIB, || {
                            let connect = Connect { keep_alive, ..Connect::new(version, &id) };
                            let mut link = ground.connect(kind, &connect.bytes());
                            act(&mut link);
                            link.ends_saying(version, 0xE0, 0x8D)
                        });
                    });
                }
            }
        }
        for kind in [Kind::Ws, Kind::Wss] {
            let ground = &ground;
            scope.spawn(move || {
                ground.case(&format!("only pings of WebSocket over {kind:?}"), 4 * MIB, || {
                    let mut link =
                        ground.connect(kind, &Connect::new(Version::V5, &format!("ping{kind:?}")).bytes());
                    for _ in 0..40 {
                        if link.raw(&frame(0x89, b"alive")).is_err() {
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    link.ends_saying(Version::V5, 0xE0, 0x8D)
                });
            });
        }
    });
    ground.end(50);
}

#[test]
fn who_is_slow_but_in_time_is_served() {
    let ground = Ground::new("", "");
    for kind in Kind::ALL {
        for version in Version::BOTH {
            ground.case(&format!("byte by byte ({version:?} over {kind:?})"), MIB, || {
                let mut link = ground.open(kind);
                trickle(&mut link, &Connect::new(version, "trickle").bytes(), Duration::from_millis(1));
                let connack = link.packet()?;
                if connack[..1] != [0x20] || connack[3] != 0 {
                    return Err(format!("{connack:02x?}"));
                }
                link.lives_after(&[])
            });
        }
    }
    ground.end(8);
}
