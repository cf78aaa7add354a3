//! Many at once: takeovers, wills, connections that come and go.

use super::ground::{Ground, KIB, MIB};
use super::link::{Kind, Link};
use super::packets::{Connect, Version, publish, string, subscribe};

fn each() -> impl Iterator<Item = (Kind, Version)> {
    Kind::ALL.into_iter().flat_map(|kind| Version::BOTH.map(|version| (kind, version)))
}

/// Takes a client over again and again: each time the old connection ends, or the new one is told that it is too much.
fn take_over(ground: &Ground, kind: Kind, connect: &Connect<'_>, times: usize) -> Result<(), String> {
    let (bytes, version) = (connect.bytes(), connect.version);
    let mut last = ground.connect(kind, &bytes);
    let mut taken = 0;
    for _ in 0..times {
        let mut next = ground.open(kind);
        next.send(&bytes).unwrap();
        let code = next.packet()?[3];
        if code == 0 {
            // [MQTT-3.1.4-2 @3.1.1] [MQTT-3.1.4-3 @5.0]
            last.ends_saying(version, 0xE0, 0x8E)?;
            last = next;
            taken += 1;
        } else if code != if version == Version::V5 { 0x9F } else { 3 } {
            return Err(format!("refused with {code:02x}"));
        }
    }
    // So many in a row are allowed.
    if taken < 20 {
        return Err(format!("taken over {taken} times only"));
    }
    last.lives_after(&[])
}

#[test]
fn takeovers() {
    let ground = Ground::new("", "");
    for (kind, version) in each() {
        for is_clean in [true, false] {
            ground.case(
                &format!("one after another, clean: {is_clean} ({version:?} over {kind:?})"),
                MIB,
                || {
                    let id = format!("{is_clean}{version:?}{kind:?}");
                    take_over(&ground, kind, &Connect { is_clean, ..Connect::new(version, &id) }, 100)
                },
            );
        }
        ground.case(&format!("sol 17: from eight sides ({version:?} over {kind:?})"), 2 * MIB, || {
            let connect = Connect::new(version, &format!("everybody{version:?}{kind:?}")).bytes();
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        for _ in 0..25 {
                            // Whoever comes later may be faster than the answer.
                            let mut link = ground.open(kind);
                            let _ = link.send(&connect);
                            let _ = link.packet();
                        }
                    });
                }
            });
            // One that comes after all of them has it.
            ground.connect(kind, &connect).lives_after(&[])
        });
    }
    ground.end(24);
}

/// A reader of wills, of 5.0 because it is the same for all.
fn reader(ground: &Ground, filter: &str, qos: u8) -> Link {
    let mut link = ground.connect(Kind::Tcp, &Connect::new(Version::V5, "reader").bytes());
    link.send(&subscribe(Version::V5, 1, &[(filter, qos)])).unwrap();
    assert_eq!(link.packet().unwrap()[0], 0x90);
    link
}

#[test]
fn wills() {
    let ground = Ground::new("", "");
    let payload = vec![b'w'; 1000];
    for (kind, version) in each() {
        for (name, count, is_taken_over) in
            [("connections that are cut", 100, false), ("takeovers", 20, true)]
        {
            ground.case(&format!("wills of {name} ({version:?} over {kind:?})"), 4 * MIB, || {
                let mut reader = reader(&ground, "will/#", 0);
                let connect = |number: usize| {
                    let id = match is_taken_over {
                        true => format!("same{version:?}{kind:?}"),
                        false => format!("willing{number}"),
                    };
                    Connect { will: Some(("will/of", &payload, 0)), ..Connect::new(version, &id) }.bytes()
                };
                let links: Vec<_> = (0..count).map(|number| ground.connect(kind, &connect(number))).collect();
                links.into_iter().for_each(Link::reset);
                for number in 0..count {
                    // [MQTT-3.1.2-8 @3.1.1] [MQTT-3.1.2-8 @5.0]
                    let will = reader.packet().map_err(|what| format!("after {number} wills: {what}"))?;
                    if will != publish(Version::V5, 0, "will/of", 0, &payload) {
                        return Err(format!("{will:02x?}"));
                    }
                }
                reader.lives_after(&[])
            });
        }
    }
    for kind in Kind::ALL {
        // CVE-2019-11778: the will is due later than its session ends. [MQTT-3.1.2-8 @5.0]
        ground.case(&format!("CVE-2019-11778, issue 1244: delayed wills over {kind:?}"), MIB, || {
            let mut reader = reader(&ground, "late", 0);
            for number in 0..50 {
                let mut body = string("MQTT");
                body.extend_from_slice(b"\x05\x06\x00\x00\x05\x11\x00\x00\x00\x01");
                body.extend_from_slice(&string(format!("late{number}")));
                body.extend_from_slice(b"\x05\x18\x00\x00\x0E\x10");
                body.extend_from_slice(&[string("late"), string("x")].concat());
                ground.connect(kind, &super::packets::packet(0x10, &body)).reset();
            }
            for number in 0..50 {
                reader.packet().map_err(|what| format!("after {number} wills: {what}"))?;
            }
            reader.lives_after(&[])
        });
    }
    ground.end(20);
}

#[test]
fn connections_that_come_and_go() {
    let ground = Ground::new("", "");
    for (kind, version) in each() {
        ground.case(&format!("a hundred that say nothing and go ({version:?} over {kind:?})"), MIB, || {
            (0..100).for_each(|_| ground.open(kind).reset());
            Ok(())
        });
        ground.case(&format!("a hundred that are let in and go ({version:?} over {kind:?})"), MIB, || {
            for number in 0..100 {
                ground.connect(kind, &Connect::new(version, &format!("short{number}")).bytes()).reset();
            }
            Ok(())
        });
        ground.case(
            &format!("a hundred that go in the middle of a packet ({version:?} over {kind:?})"),
            MIB,
            || {
                for number in 0..100 {
                    let mut link =
                        ground.connect(kind, &Connect::new(version, &format!("cut{number}")).bytes());
                    link.send(&publish(version, 2, "cut", 1, &[0; 1000])[..500]).unwrap();
                    link.reset();
                }
                Ok(())
            },
        );
        // CVE-2025-59946: subscriptions come and go while messages do.
        ground.case(
            &format!("CVE-2025-59946: subscriptions in a storm ({version:?} over {kind:?})"),
            2 * MIB,
            || {
                std::thread::scope(|scope| {
                    for side in 0..4 {
                        let ground = &ground;
                        scope.spawn(move || {
                            for number in 0..20 {
                                let id = format!("storm{side}-{number}");
                                let mut link = ground.connect(kind, &Connect::new(version, &id).bytes());
                                for id in 1..10 {
                                    let _ = link.send(&subscribe(
                                        version,
                                        id,
                                        &[("storm/+", 0), ("$share/s/storm/#", 0)],
                                    ));
                                    let _ = link.send(&publish(version, 0, format!("storm/{side}"), 0, b"x"));
                                }
                                link.reset();
                            }
                        });
                    }
                });
                Ok(())
            },
        );
    }
    ground.end(32);
}

/// Sessions that stay behind cost little, each.
#[test]
fn sessions_that_nobody_comes_back_to() {
    let ground = Ground::new("", "");
    for kind in Kind::ALL {
        ground.case(&format!("sessions that stay, over {kind:?}"), MIB, || {
            let before = ground.memory();
            for number in 0..if kind == Kind::Tcp { 1000 } else { 200 } {
                let id = format!("left behind {number:04} over {kind:?}");
                ground
                    .connect(kind, &Connect { is_clean: false, ..Connect::new(Version::V3, &id) }.bytes())
                    .reset();
            }
            let grown = ground.memory().saturating_sub(before);
            if grown < 900 * KIB { Ok(()) } else { Err(format!("{} KiB", grown / KIB)) }
        });
    }
    ground.end(4);
}
