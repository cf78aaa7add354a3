//! The same again and again, as fast as it goes; and more connections than there is room for.

use super::ground::{Ground, MIB};
use super::link::{Kind, Link};
use super::made::{Authority, Directory};
use super::packets::{Connect, Version, packet, publish, subscribe};
use std::io::Read;
use std::time::Duration;

const COUNT: u16 = 10_000;

/// What is sent many times, and how long the answer to one is.
type Flood = (&'static str, fn(Version, u16) -> Vec<u8>, fn(Version) -> usize);

const FLOODS: &[Flood] = &[
    ("PINGREQ", |_, _| b"\xC0\x00".to_vec(), |_| 2),
    ("PUBLISH to nobody", |version, _| publish(version, 0, "nobody", 0, b"x"), |_| 0),
    // 5.0 gets one byte more, for nobody is there (0x10).
    (
        "PUBLISH of QoS 1 to nobody",
        |version, id| publish(version, 2, "nobody", id, b"x"),
        |v| if v == Version::V5 { 5 } else { 4 },
    ),
    (
        "CVE-2023-28366: PUBLISH of QoS 2 that is repeated",
        |version, _| publish(version, 0x0C, "nobody", 7, b"x"),
        |v| if v == Version::V5 { 0 } else { 4 },
    ),
    ("PUBACK of unknown identifiers", |_, id| packet(0x40, &id.to_be_bytes()), |_| 0),
    ("PUBCOMP of unknown identifiers", |_, id| packet(0x70, &id.to_be_bytes()), |_| 0),
    (
        "PUBREL of unknown identifiers",
        |_, id| packet(0x62, &id.to_be_bytes()),
        |v| if v == Version::V5 { 5 } else { 4 },
    ),
    (
        "SUBSCRIBE to the same",
        |version, id| subscribe(version, id, &[("same", 1)]),
        |v| if v == Version::V5 { 6 } else { 5 },
    ),
    ("retained messages of one topic", |version, _| publish(version, 1, "retained", 0, &[0; 100]), |_| 0),
    (
        "FlashMQ 157: a retained message that comes and goes",
        |version, id| publish(version, 1, "retained", 0, if id % 2 == 0 { b"x" } else { b"" }),
        |_| 0,
    ),
];

/// Sends all of it while somebody else reads the answers; then everything is as it was.
fn flood(link: &mut Link, version: Version, (_, one, answer): &Flood) -> Result<(), String> {
    let mut answers = usize::from(COUNT) * answer(version);
    let mut id = 0_u16;
    while id < COUNT {
        // What one sends before it reads is what fits into the socket in any case.
        let piece: Vec<_> = (1..=100).flat_map(|number| one(version, id + number)).collect();
        link.send(&piece).map_err(|error| format!("{error} after {id}"))?;
        let now = 100 * answer(version);
        let last = link.receive(now);
        if last.bytes.len() != now {
            return Err(format!("{} of {now} bytes of answers", last.bytes.len()));
        }
        answers -= now;
        id += 100;
    }
    assert_eq!(answers, 0);
    link.lives_after(&[])
}

#[test]
fn floods() {
    let ground = Ground::new("", "");
    for kind in Kind::ALL {
        for version in Version::BOTH {
            for row in FLOODS {
                // 5.0 tells whether the identifier was known: the answers are not all of one length.
                if row.0.starts_with("CVE-2023-28366") && version == Version::V5 {
                    continue;
                }
                ground.case(&format!("{} ({version:?} over {kind:?})", row.0), 2 * MIB, || {
                    let mut link = ground.connect(kind, &Connect::new(version, "flood").bytes());
                    flood(&mut link, version, row)
                });
            }
            // Who asks for answers and does not read them is not read either.
            ground.case(&format!("PINGREQ without reading ({version:?} over {kind:?})"), 4 * MIB, || {
                let mut link = ground.connect(kind, &Connect::new(version, "deaf").bytes());
                link.write_patience(Duration::from_millis(300));
                let pings = b"\xC0\x00".repeat(8000);
                for _ in 0..1000 {
                    if link.send(&pings).is_err() {
                        break;
                    }
                }
                link.reset();
                Ok(())
            });
        }
    }
    ground.end(80);
}

/// A message of QoS 2 arrives once, however often it is sent before its PUBREL.
// [MQTT-4.3.3-2 @3.1.1] [MQTT-4.3.3-10]
#[test]
fn duplicates_of_qos_2_are_one_message() {
    let ground = Ground::new("", "");
    for kind in Kind::ALL {
        for version in Version::BOTH {
            ground.case(&format!("CVE-2023-28366 ({version:?} over {kind:?})"), MIB, || {
                let mut reader = ground.connect(Kind::Tcp, &Connect::new(Version::V3, "reader").bytes());
                reader.send(&subscribe(Version::V3, 1, &[("twice", 0)])).unwrap();
                reader.packet()?;
                let mut link = ground.connect(kind, &Connect::new(version, "again").bytes());
                for id in [1_u16, 500, 65_535] {
                    for number in 0..300 {
                        link.send(&publish(version, if number == 0 { 4 } else { 0x0C }, "twice", id, b"x"))
                            .unwrap();
                        let answer = link.packet()?;
                        if answer[0] != 0x50 || answer[2..4] != id.to_be_bytes() {
                            return Err(format!("{answer:02x?}"));
                        }
                    }
                    link.send(&packet(0x62, &id.to_be_bytes())).unwrap();
                    link.packet()?;
                }
                let once = publish(Version::V3, 0, "twice", 0, b"x");
                reader.lives_after(&once.repeat(3))
            });
        }
    }
    ground.end(8);
}

/// Every identifier of QoS 2 at once, none released.
#[test]
fn identifiers_run_out() {
    let ground = Ground::new("receive_maximum = 100", "");
    for kind in Kind::ALL {
        ground.case(&format!("65,535 of 3.1.1 over {kind:?}"), 16 * MIB, || {
            let mut link = ground.connect(kind, &Connect::new(Version::V3, "all").bytes());
            for ids in (1..=u16::MAX).collect::<Vec<_>>().chunks(500) {
                let piece: Vec<_> =
                    ids.iter().flat_map(|id| publish(Version::V3, 4, "nobody", *id, b"x")).collect();
                link.send(&piece).unwrap();
                let answers: Vec<_> = ids.iter().flat_map(|id| packet(0x50, &id.to_be_bytes())).collect();
                if link.receive(answers.len()).bytes != answers {
                    return Err("another answer".to_owned());
                }
            }
            link.lives_after(&[])
        });
        // [MQTT-3.3.4-7] [MQTT-3.3.4-9]
        ground.case(&format!("one more than Receive Maximum of 5.0 over {kind:?}"), MIB, || {
            let mut link = ground.connect(kind, &Connect::new(Version::V5, "all").bytes());
            for id in 1..=101 {
                link.send(&publish(Version::V5, 4, "nobody", id, b"x")).unwrap();
            }
            for _ in 1..=100 {
                let answer = link.packet()?;
                if answer[0] != 0x50 {
                    return Err(format!("{answer:02x?}"));
                }
            }
            link.ends_saying(Version::V5, 0xE0, 0x93)
        });
    }
    ground.end(8);
}

#[test]
fn a_listener_has_its_limits() {
    let ground = Ground::new("", "max_connections = 20\nmessage_rate = 2000\nbyte_rate = \"1 MiB\"");
    for kind in Kind::ALL {
        ground.case(&format!("faster than it may over {kind:?}"), 2 * MIB, || {
            let mut link = ground.connect(kind, &Connect::new(Version::V3, "fast").bytes());
            let piece = publish(Version::V3, 0, "nobody", 0, &[0; 500]).repeat(100);
            link.write_patience(Duration::from_millis(500));
            for _ in 0..100 {
                if link.send(&piece).is_err() {
                    break;
                }
            }
            link.reset();
            Ok(())
        });
    }
    for kind in Kind::ALL {
        ground.case(&format!("more connections than there may be over {kind:?}"), 4 * MIB, || {
            let mut links = Vec::new();
            let mut closed = 0;
            for _ in 0..60 {
                let stream = super::link::tcp(ground.address(kind as usize));
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                match (&stream).read(&mut [0]) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => links.push(stream),
                    _ => closed += 1,
                }
            }
            // The client beside has one of them on TCP; who has just gone may have another.
            if links.len() > 20 || links.len() < 17 {
                Err(format!("{} open, {closed} closed", links.len()))
            } else {
                Ok(())
            }
        });
    }
    ground.end(8);
}

/// The time that a process has worked, in hundredths of a second.
fn worked(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Without descriptors nobody new is let in, but those who are there are served, and nothing spins.
#[test]
fn descriptors_run_out() {
    let text = "in_memory = true\nlog = \"off\"\nworkers = 2\n[[listener]]\nurl = \"mqtt://127.0.0.1:0\"\n";
    let ground = Ground::limited(64, text, Directory::new(), Authority::new());
    for version in Version::BOTH {
        ground.case(
            &format!("CVE-2017-7652: 200 connections with 64 descriptors ({version:?})"),
            4 * MIB,
            || {
                let links: Vec<_> = (0..200).map(|_| super::link::tcp(ground.address(0))).collect();
                std::thread::sleep(Duration::from_millis(300));
                let before = worked(ground.process());
                std::thread::sleep(Duration::from_secs(1));
                let worked = worked(ground.process()) - before;
                // The client beside is a part of that.
                if worked > 60 {
                    return Err(format!(
                        "worked {worked} hundredths of a second while nothing could be done"
                    ));
                }
                drop(links);
                // From now on there is room again.
                ground.connect(Kind::Tcp, &Connect::new(version, "later").bytes()).lives_after(&[])
            },
        );
    }
    ground.end(2);
}
