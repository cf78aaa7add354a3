//! Everything that is no packet, or not now. All sequences of `tests/bytes` over the carriers that they were not made for,
//! and what broke other programs, by name.

use super::ground::{Ground, KIB, MIB, WAIT};
use super::link::{Kind, Link};
use super::packets::{Connect, Version, packet, publish, string, subscribe};
use std::collections::BTreeMap;
use std::sync::Mutex;

#[allow(dead_code)] // What mosquitto says otherwise is of no interest here.
#[path = "../bytes/mod.rs"]
mod sequences;

/// How many sequences are played at once.
const AT_ONCE: usize = 4;

fn play(ground: &Ground, kind: Kind, sequence: &sequences::Sequence) -> Result<(), String> {
    let mut links = BTreeMap::<char, Link>::new();
    for (number, step) in sequence.steps.iter().enumerate() {
        let link = links.entry(step.client).or_insert_with(|| ground.open(kind));
        // Whether the peer still listens shows when it is read from.
        let _ = link.send(&step.sends);
        let last = if step.closes { link.last() } else { link.receive(step.gets.len()) };
        if last.bytes != step.gets || step.closes && !last.is_end {
            return Err(format!("step {number}: {last:02x?}"));
        }
    }
    Ok(())
}

#[test]
fn every_sequence_of_bytes_is_answered_the_same_over_tls_and_websocket() {
    let ground = Ground::new("", "");
    // A filter may match what another sequence publishes at the same time.
    let sequences: Vec<_> =
        sequences::all().into_iter().filter(|sequence| !sequence.name.contains("SUBSCRIBE to '")).collect();
    let next = Mutex::new(sequences.iter().zip([Kind::Tls, Kind::Ws, Kind::Wss].into_iter().cycle()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((sequence, kind)) = next.lock().unwrap().next() else { return };
                    // What the other three hold meanwhile counts, too.
                    let name = format!("{} over {kind:?}", sequence.name);
                    ground.case(&name, 4 * MIB, || play(&ground, kind, sequence));
                }
            });
        }
    });
    ground.end(3000);
}

/// What the peer sees in the end.
#[derive(Clone, Copy)]
enum Answer {
    /// The end; 5.0 is told this code.
    End(u8),
    /// The end, whatever is said before.
    Silence,
    /// This, and it lives.
    Lives(&'static [u8]),
}
use Answer::{End, Lives, Silence};

/// What is sent by somebody who is not connected.
type First = (&'static str, fn(Version) -> Vec<u8>, Answer);

/// A CONNECT whose body goes wrong behind the keep alive.
fn connect_with(version: Version, flags: u8, rest: &[u8]) -> Vec<u8> {
    let level = if version == Version::V5 { 5 } else { 4 };
    packet(0x10, &[&string("MQTT")[..], &[level, flags, 0, 0], rest].concat())
}

const FIRST: &[First] = &[
    ("CVE-2017-7651, CVE-2023-0809: 256 MiB are announced", |_| b"\x30\xFF\xFF\xFF\x7F".to_vec(), Silence),
    ("a CONNECT of 256 MiB is announced", |_| b"\x10\xFF\xFF\xFF\x7F\x00\x04MQTT".to_vec(), Silence),
    ("a CONNECT of 64 KiB and one byte", |_| b"\x10\x81\x80\x04\x00\x04MQTT".to_vec(), Silence),
    ("sol 15: PUBACK before CONNECT", |_| b"\x40\x02\x00\x01".to_vec(), Silence),
    ("PUBLISH before CONNECT", |version| publish(version, 0, "a", 0, b"x"), Silence),
    ("SUBSCRIBE before CONNECT", |version| subscribe(version, 1, &[("#", 0)]), Silence),
    ("PINGREQ before CONNECT", |_| b"\xC0\x00".to_vec(), Silence),
    ("DISCONNECT before CONNECT", |_| b"\xE0\x00".to_vec(), Silence),
    ("AUTH before CONNECT", |_| b"\xF0\x00".to_vec(), Silence),
    ("CVE-2021-28166: a client sends CONNACK", |_| b"\x20\x02\x00\x00".to_vec(), Silence),
    ("rumqtt 812: a client sends CONNACK of 5.0", |_| b"\x20\x03\x00\x00\x00".to_vec(), Silence),
    ("rumqtt 812: a client sends UNSUBACK of 5.0", |_| b"\xB0\x04\x00\x01\x00\x00".to_vec(), Silence),
    ("CVE-2026-21888: a length of five bytes", |_| b"\x10\xFF\xFF\xFF\xFF\x01".to_vec(), Silence),
    ("CVE-2025-66168: a length that overflows", |_| b"\x10\xFF\xFF\xFF\xFF\xFF\xFF".to_vec(), Silence),
    ("an HTTP request", |_| b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Silence),
    ("an SSH client", |_| b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), Silence),
    ("a TLS client", |_| b"\x16\x03\x01\x00\xC8\x01\x00\x00\xC4\x03\x03".to_vec(), Silence),
    ("a header of a proxy where none is", |_| b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(), Silence),
    ("nothing but zeros", |_| vec![0; 1000], Silence),
    ("nothing but ones", |_| vec![0xFF; 1000], Silence),
    ("an empty CONNECT", |_| b"\x10\x00".to_vec(), Silence),
    ("a protocol name that reaches beyond the packet", |_| b"\x10\x06\xFF\xFFMQTT".to_vec(), Silence),
    (
        "NanoMQ 1181: a CONNECT that ends in its client id",
        |v| connect_with(v, 2, &[v.none(), &[0, 9, b'a']].concat()),
        Silence,
    ),
    ("CVE-2024-42644: reserved flags", |v| connect_with(v, 3, &[v.none(), &string("a")].concat()), Silence),
    (
        "a will of QoS 3",
        |v| connect_with(v, 0x1E, &[v.none(), &string("a"), v.none(), &string("w"), &string("x")].concat()),
        Silence,
    ),
    (
        "flags of a will that is not there",
        |v| connect_with(v, 0x22, &[v.none(), &string("a")].concat()),
        Silence,
    ),
    (
        "CVE-2026-32696: a password of nobody is missing",
        |v| connect_with(v, 0x42, &[v.none(), &string("a")].concat()),
        Silence,
    ),
    ("a user name that is missing", |v| connect_with(v, 0x82, &[v.none(), &string("a")].concat()), Silence),
    (
        "wolfMQTT 473: a will that is longer than the packet",
        |v| connect_with(v, 6, &[v.none(), &string("a"), v.none(), &string("w"), &[0xFF, 0xFF, 1]].concat()),
        Silence,
    ),
    (
        "CVE-2017-7654: bytes behind the last field",
        |v| connect_with(v, 2, &[v.none(), &string("a"), &[0; 100]].concat()),
        Silence,
    ),
    (
        "a client id that is not UTF-8",
        |v| connect_with(v, 2, &[v.none(), &string(b"\xC0\x80")].concat()),
        Silence,
    ),
    ("a client id with a NUL", |v| connect_with(v, 2, &[v.none(), &string("a\0b")].concat()), Silence),
    (
        "a client id with half of a surrogate pair",
        |v| connect_with(v, 2, &[v.none(), &string(b"\xED\xA0\x80")].concat()),
        Silence,
    ),
    (
        "a will topic with a wildcard",
        |v| connect_with(v, 6, &[v.none(), &string("a"), v.none(), &string("w/#"), &string("x")].concat()),
        Silence,
    ),
];

/// What is sent by somebody who is.
type Later = (&'static str, fn(Version) -> Vec<u8>, Answer);

const LATER: &[Later] = &[
    ("256 MiB are announced", |_| b"\x30\xFF\xFF\xFF\x7F\x00\x01a".to_vec(), End(0x95)),
    (
        "one byte more than the largest packet is announced",
        |_| b"\x30\xFD\xFF\x3F\x00\x01a".to_vec(),
        End(0x95),
    ),
    ("CVE-2026-40046: a length of five bytes", |_| b"\x30\xFF\xFF\xFF\xFF\x01".to_vec(), End(0x81)),
    ("packet type 0", |_| b"\x00\x00".to_vec(), End(0x81)),
    ("a second CONNECT", |v| Connect::new(v, "other").bytes(), End(0x82)),
    ("CVE-2021-34432: PUBLISH with an empty topic", |v| publish(v, 0, "", 0, b"x"), End(0x82)),
    (
        "CVE-2019-17210, MQTT-C 158: a topic longer than its packet",
        |_| b"\x30\x04\xFF\xFFab".to_vec(),
        End(0x81),
    ),
    (
        "NanoMQ 2270: PUBLISH of QoS 1 cut off before its identifier",
        |_| b"\x32\x03\x00\x01a".to_vec(),
        End(0x81),
    ),
    ("rust-mqtt 45: PUBLISH of one byte", |_| b"\x30\x01\x00".to_vec(), End(0x81)),
    ("PUBLISH of QoS 3", |_| b"\x36\x06\x00\x01a\x00\x01\x00".to_vec(), End(0x81)),
    ("PUBLISH of QoS 0 that is repeated", |v| publish(v, 8, "a", 0, b"x"), End(0x81)),
    ("PUBLISH with the identifier 0", |v| publish(v, 2, "a", 0, b"x"), End(0x82)),
    ("PUBLISH to a filter", |v| publish(v, 0, "a/#", 0, b"x"), End(0x90)),
    ("PUBLISH to a topic that is not UTF-8", |v| publish(v, 0, b"\xFF\xFE", 0, b"x"), End(0x81)),
    ("CVE-2018-12543: PUBLISH to $x", |v| publish(v, 0, "$x", 0, b"x"), Lives(&[])),
    ("FlashMQ 130: an empty retained message", |v| publish(v, 1, "empty", 0, b""), Lives(&[])),
    ("wolfMQTT 430: PUBACK of one byte", |_| b"\x40\x01\x00".to_vec(), End(0x81)),
    ("rumqtt 201: PUBACK of an unknown identifier", |_| b"\x40\x02\xFF\xFF".to_vec(), Lives(&[])),
    ("PUBCOMP of an unknown identifier", |_| b"\x70\x02\x12\x34".to_vec(), Lives(&[])),
    ("PUBACK with the identifier 0", |_| b"\x40\x02\x00\x00".to_vec(), End(0x82)),
    ("PUBREL with wrong flags", |_| b"\x60\x02\x00\x01".to_vec(), End(0x81)),
    ("CVE-2024-10525: SUBACK without codes, from a client", |_| b"\x90\x02\x00\x01".to_vec(), End(0x82)),
    ("NanoMQ 2145: CONNACK from a client", |_| b"\x20\x00".to_vec(), End(0x82)),
    ("PINGRESP from a client", |_| b"\xD0\x00".to_vec(), End(0x82)),
    ("mqtt-packet 107: UNSUBACK from a client", |_| b"\xB0\x00".to_vec(), End(0x82)),
    ("PINGREQ with a body", |_| b"\xC0\x01\x00".to_vec(), End(0x81)),
    ("DISCONNECT with flags", |_| b"\xE1\x00".to_vec(), End(0x81)),
    ("SUBSCRIBE to nothing", |v| subscribe(v, 1, &[]), End(0x82)),
    ("SUBSCRIBE with the identifier 0", |v| subscribe(v, 0, &[("a", 0)]), End(0x82)),
    ("SUBSCRIBE with wrong flags", |v| [&[0x80], &subscribe(v, 1, &[("a", 0)])[1..]].concat(), End(0x81)),
    (
        "NSWG-ECO-500: SUBSCRIBE to a filter beyond its packet",
        |v| packet(0x82, &[&[0, 1], v.none(), &[0xFF, 0xFF, b'a', 0]].concat()),
        End(0x81),
    ),
    (
        "2.0.21: SUBSCRIBE without its last options",
        |v| packet(0x82, &[&[0, 1], v.none(), &string("a")[..]].concat()),
        End(0x81),
    ),
    ("SUBSCRIBE to an empty filter", |v| subscribe(v, 1, &[("", 0)]), End(0x8F)),
    ("SUBSCRIBE with QoS 3", |v| subscribe(v, 1, &[("a", 3)]), End(0x82)),
    ("SUBSCRIBE with reserved options", |v| subscribe(v, 1, &[("a", 0xC0)]), End(0x81)),
    ("SUBSCRIBE with a # in the middle", |v| subscribe(v, 1, &[("a/#/b", 0)]), End(0x8F)),
    ("UNSUBSCRIBE from nothing", |v| packet(0xA2, &[&[0, 1], v.none()].concat()), End(0x82)),
    (
        "NanoMQ 1155: UNSUBSCRIBE from a filter beyond its packet",
        |v| packet(0xA2, &[&[0, 1], v.none(), &[0, 9, b'a']].concat()),
        End(0x81),
    ),
];

/// What only 5.0 has.
const ONLY_5: &[(&str, &[u8], Answer)] = &[
    ("NanoMQ 1169: properties longer than the packet", b"\x30\x05\x00\x01a\x7F\x01", End(0x81)),
    ("NanoMQ 1722: a property that ends behind the block", b"\x30\x07\x00\x01a\x02\x03\x00\x05", End(0x81)),
    (
        "Mongoose 984: a length of properties of five bytes",
        b"\x30\x08\x00\x01a\xFF\xFF\xFF\xFF\x01",
        End(0x81),
    ),
    ("wolfMQTT 377: an unknown property", b"\x30\x06\x00\x01a\x02\x7E\x01", End(0x81)),
    ("a property of another packet", b"\x30\x07\x00\x01a\x03\x21\x00\x01", End(0x81)),
    ("the same property twice", b"\x30\x08\x00\x01a\x04\x01\x00\x01\x00", End(0x82)),
    ("CVE-2021-46434: the topic alias 0", b"\x30\x07\x00\x01a\x03\x23\x00\x00", End(0x94)),
    ("a topic alias that is too high", b"\x30\x07\x00\x01a\x03\x23\xFF\xFF", End(0x94)),
    ("a topic alias that stands for nothing", b"\x30\x06\x00\x00\x03\x23\x00\x07", End(0x82)),
    ("a Subscription Identifier from a client", b"\x30\x06\x00\x01a\x02\x0B\x01", End(0x82)),
    ("the Subscription Identifier 0", b"\x82\x09\x00\x01\x02\x0B\x00\x00\x01a\x00", End(0x82)),
    ("a shared subscription without a name", b"\x82\x0E\x00\x01\x00\x00\x08$share//\x00", End(0x8F)),
    ("a shared subscription to nothing", b"\x82\x0E\x00\x01\x00\x00\x08$share/a\x00", End(0x8F)),
    ("a shared subscription without echo", b"\x82\x10\x00\x01\x00\x00\x0A$share/a/b\x04", End(0x82)),
    ("a password without a name: AUTH out of the blue", b"\xF0\x00", End(0x82)),
    ("AUTH with flags", b"\xF1\x00", End(0x81)),
    (
        "DISCONNECT that prolongs a session that was to end",
        b"\xE0\x07\x00\x05\x11\x00\x00\x00\x09",
        End(0x82),
    ),
    ("a user property cut in half", b"\x30\x0A\x00\x01a\x06\x26\x00\x01a\x00\x09", End(0x81)),
    ("a Response Topic with a wildcard", b"\x30\x08\x00\x01a\x04\x08\x00\x01#", End(0x82)),
    ("a PUBACK with a code of SUBACK", b"\x40\x03\x00\x01\x9E", End(0x82)),
];

fn check(link: &mut Link, version: Version, bytes: &[u8], packet: u8, answer: Answer) -> Result<(), String> {
    let _ = link.send(bytes);
    match answer {
        End(code) => link.ends_saying(version, packet, code),
        Silence => match link.last() {
            last if last.is_end => Ok(()),
            last => Err(format!("{last:02x?}")),
        },
        Lives(answer) => link.lives_after(answer),
    }
}

#[test]
fn what_broke_others_does_not_break_this_one() {
    let ground = Ground::new("connect_timeout_seconds = 2", "");
    for kind in Kind::ALL {
        for version in Version::BOTH {
            for (name, bytes, answer) in FIRST {
                ground.case(&format!("{name} ({version:?} over {kind:?})"), MIB, || {
                    check(&mut ground.open(kind), version, &bytes(version), 0x20, *answer)
                });
            }
            for (name, bytes, answer) in LATER {
                ground.case(&format!("{name} ({version:?} over {kind:?})"), MIB, || {
                    let mut link = ground.connect(kind, &Connect::new(version, "bad").bytes());
                    check(&mut link, version, &bytes(version), 0xE0, *answer)
                });
            }
        }
        for (name, bytes, answer) in ONLY_5 {
            ground.case(&format!("{name} (5.0 over {kind:?})"), MIB, || {
                let mut link = ground.connect(kind, &Connect::new(Version::V5, "bad").bytes());
                check(&mut link, Version::V5, bytes, 0xE0, *answer)
            });
        }
    }
    ground.end(500);
}

// What a server takes is in its CONNACK.
#[test]
fn fifty_that_announce_256_mib_take_less_than_one() {
    let ground = Ground::new("", "");
    for kind in Kind::ALL {
        for version in Version::BOTH {
            // Whoever is known is told that it is too large; whoever is not, may only announce 64 KiB.
            ground.case(&format!("50 connected ({version:?} over {kind:?})"), MIB, || {
                for number in 0..50 {
                    let mut link =
                        ground.connect(kind, &Connect::new(version, &format!("big{number}")).bytes());
                    let _ = link.send(b"\x30\xFF\xFF\xFF\x7F\x00\x01a");
                    link.ends_saying(version, 0xE0, 0x95)?;
                }
                Ok(())
            });
        }
        ground.case(&format!("50 unknown at once over {kind:?}"), 4 * MIB, || {
            let mut links: Vec<_> = (0..50).map(|_| ground.open(kind)).collect();
            let before = ground.memory();
            for link in &mut links {
                let _ = link.send(b"\x10\xFF\xFF\xFF\x7F\x00\x04MQTT");
            }
            links.iter_mut().try_for_each(|link| link.last().is_end.then_some(()).ok_or("one is open"))?;
            let grown = ground.memory().saturating_sub(before);
            if grown < MIB { Ok(()) } else { Err(format!("{} KiB", grown / KIB)) }
        });
    }
    ground.end(12);
}

// The standards have no bound for levels; this server has.
#[test]
fn topics_without_end_are_refused() {
    let ground = Ground::new("", "");
    let deep = |levels: usize| "/".repeat(levels - 1);
    for kind in Kind::ALL {
        for version in Version::BOTH {
            for levels in [129, 200, 1000, 65_000] {
                ground.case(
                    &format!("CVE-2019-11779: {levels} levels ({version:?} over {kind:?})"),
                    2 * MIB,
                    || {
                        let mut link = ground.connect(kind, &Connect::new(version, "deep").bytes());
                        link.send(&subscribe(version, 7, &[(&deep(levels), 1)])).unwrap();
                        let code = if version == Version::V5 { 0x8F } else { 0x80 };
                        let suback = packet(0x90, &[&[0, 7], version.none(), &[code]].concat());
                        link.lives_after(&suback)?;
                        link.send(&publish(version, 2, deep(levels), 9, b"x")).unwrap();
                        // Only 5.0 can say so and go on.
                        match version {
                            Version::V3 => link.ends_with(&[]),
                            Version::V5 => link.lives_after(b"\x40\x03\x00\x09\x90"),
                        }
                    },
                );
            }
            ground.case(&format!("128 levels are served ({version:?} over {kind:?})"), 2 * MIB, || {
                let mut link = ground.connect(kind, &Connect::new(version, "deep").bytes());
                link.patience(WAIT);
                link.send(&subscribe(version, 7, &[(&deep(128), 0)])).unwrap();
                if link.packet()? != packet(0x90, &[&[0, 7], version.none(), &[0]].concat()) {
                    return Err("another SUBACK".to_owned());
                }
                let message = publish(version, 0, deep(128), 0, b"x");
                link.send(&message).unwrap();
                link.lives_after(&message)
            });
        }
    }
    ground.end(40);
}
