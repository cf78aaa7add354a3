//! Little that costs much: subscriptions, retained messages, properties, aliases.

use super::ground::{Ground, KIB, MIB};
use super::link::Kind;
use super::packets::{Connect, Version, packet, publish, string, subscribe};

fn each() -> impl Iterator<Item = (Kind, Version)> {
    Kind::ALL.into_iter().flat_map(|kind| Version::BOTH.map(|version| (kind, version)))
}

/// Filters that are all different.
fn filters(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("f{number}")).collect()
}

// [MQTT-3.8.4-6 @5.0]
#[test]
fn subscriptions() {
    let ground = Ground::new("max_subscriptions = 1000", "");
    for (kind, version) in each() {
        ground.case(
            &format!("50,000 filters where 1,000 may be ({version:?} over {kind:?})"),
            8 * MIB,
            || {
                let mut link = ground.connect(kind, &Connect::new(version, "greedy").bytes());
                let filters = filters(50_000);
                let rows: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
                link.send(&subscribe(version, 1, &rows)).unwrap();
                let suback = link.packet()?;
                let codes = &suback[suback.len() - 50_000..];
                let refused = if version == Version::V5 { 0x97 } else { 0x80 };
                match codes[..1000].iter().all(|code| *code == 0)
                    && codes[1000..].iter().all(|code| *code == refused)
                {
                    true => link.lives_after(&[]),
                    false => Err("other codes".to_owned()),
                }
            },
        );
        // Each level may be the name or a wildcard: a thousand filters that all match.
        ground.case(&format!("a thousand filters of one topic ({version:?} over {kind:?})"), 2 * MIB, || {
            let mut link = ground.connect(kind, &Connect::new(version, "wild").bytes());
            let filter = |bits: u32| -> String {
                let level = |bit: u32| if (bits >> bit) & 1 == 0 { "a" } else { "+" };
                (0..9).map(level).collect::<Vec<_>>().join("/")
            };
            let filters: Vec<_> = (0..512).map(filter).collect();
            let rows: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
            link.send(&subscribe(version, 1, &rows)).unwrap();
            link.packet()?;
            let message = publish(version, 0, "a/a/a/a/a/a/a/a/a", 0, b"x");
            (0..20).for_each(|_| link.send(&message).unwrap());
            // Overlapping subscriptions are one message.
            link.lives_after(&message.repeat(20))
        });
        ground.case(&format!("CVE-2024-8376: shared and not ({version:?} over {kind:?})"), MIB, || {
            let mut link = ground.connect(kind, &Connect::new(version, "mixed").bytes());
            let names = ["m", "$share/g/m", "$share/h/m", "m/#", "$share/g/m/#"];
            let rows = names.map(|name| (name, 0));
            let unsubscribe = |names: &[&str]| {
                let filters: Vec<_> = names.iter().flat_map(string).collect();
                packet(0xA2, &[&[0, 2], version.none(), &filters[..]].concat())
            };
            for round in 0..50 {
                link.send(&subscribe(version, 1, &rows)).unwrap();
                link.send(&unsubscribe(&names[round % 5..])).unwrap();
                link.send(&unsubscribe(&names)).unwrap();
                link.send(&publish(version, 0, "m", 0, b"x")).unwrap();
                for _ in 0..3 {
                    link.packet()?;
                }
            }
            link.lives_after(&[])
        });
    }
    ground.end(24);
}

#[test]
fn retained_messages() {
    let ground = Ground::new("max_retained = 100", "");
    for (kind, version) in each() {
        // Of each worker, of which there are two.
        ground.case(&format!("2,000 of 1 KiB where 200 may be ({version:?} over {kind:?})"), MIB, || {
            let mut link = ground.connect(kind, &Connect::new(version, "keeper").bytes());
            for number in 0..2000_u16 {
                let first = if number % 2 == 0 { 3 } else { 1 };
                link.send(&publish(version, first, format!("kept/{number}"), 1, &[0; 1000])).unwrap();
                if first == 3 {
                    let answer = link.packet()?;
                    if answer[0] != 0x40 {
                        return Err(format!("{answer:02x?}"));
                    }
                }
            }
            link.lives_after(&[])
        });
        ground.case(
            &format!("FlashMQ 130: thousands that are empty ({version:?} over {kind:?})"),
            MIB,
            || {
                let mut link = ground.connect(kind, &Connect::new(version, "keeper").bytes());
                for number in 0..3000 {
                    link.send(&publish(version, 1, format!("empty/{number}"), 0, b"")).unwrap();
                }
                link.lives_after(&[])
            },
        );
    }
    ground.end(16);
}

/// As many user properties as fit.
fn user_properties(bytes: usize) -> Vec<u8> {
    b"\x26\x00\x01a\x00\x01b".repeat(bytes / 7)
}

#[test]
fn properties() {
    let ground = Ground::new("", "");
    for kind in Kind::ALL {
        ground.case(
            &format!("CVE-2021-41039: 9,000 user properties in CONNECT over {kind:?}"),
            2 * MIB,
            || {
                let properties = user_properties(63_000);
                for number in 0..20 {
                    let id = format!("wordy{number}");
                    let connect = Connect { properties: &properties, ..Connect::new(Version::V5, &id) };
                    ground.connect(kind, &connect.bytes()).lives_after(&[])?;
                }
                Ok(())
            },
        );
        ground.case(&format!("28,000 user properties in PUBLISH over {kind:?}"), 2 * MIB, || {
            let mut link = ground.connect(kind, &Connect::new(Version::V5, "wordy").bytes());
            let properties = packet(0, &user_properties(200_000));
            let body = [&string("nobody")[..], &properties[1..]].concat();
            for _ in 0..5 {
                link.send(&packet(0x30, &body)).unwrap();
            }
            link.lives_after(&[])
        });
        ground.case(
            &format!("CVE-2023-3592, CVE-2021-34431: a thousand wills with bad properties over {kind:?}"),
            MIB,
            || {
                let mut body = string("MQTT");
                body.extend_from_slice(b"\x05\x06\x00\x00\x00\x00\x01w\x03\x01\x02\x7F");
                body.extend_from_slice(&[string("topic"), string(vec![0; 10_000])].concat());
                let bad = packet(0x10, &body);
                for _ in 0..if kind.is_secure() { 100 } else { 1000 } {
                    let mut link = ground.open(kind);
                    let _ = link.send(&bad);
                    if !link.last().is_end {
                        return Err("it is open".to_owned());
                    }
                }
                Ok(())
            },
        );
        ground.case(&format!("every alias for a topic of 60,000 bytes over {kind:?}"), 4 * MIB, || {
            let mut link = ground.connect(kind, &Connect::new(Version::V5, "aliases").bytes());
            for alias in (1..=32).chain(1..=32) {
                let mut body = string("t".repeat(60_000));
                body.extend_from_slice(&[3, 0x23, 0, alias]);
                link.send(&packet(0x30, &body)).unwrap();
            }
            link.lives_after(&[])
        });
    }
    ground.end(16);
}

/// What waits for somebody who is away has a bound.
#[test]
fn queues_of_those_who_are_away() {
    let ground = Ground::new("max_queue_bytes = \"2 MiB\"", "");
    for (kind, version) in each() {
        ground.case(&format!("16 MiB for one who is away ({version:?} over {kind:?})"), 5 * MIB, || {
            let connect = Connect { is_clean: false, ..Connect::new(Version::V3, "away") }.bytes();
            let mut reader = ground.connect(Kind::Tcp, &connect);
            reader.send(&subscribe(Version::V3, 1, &[("away", 1)])).unwrap();
            reader.packet()?;
            reader.reset();
            let mut link = ground.connect(kind, &Connect::new(version, "sender").bytes());
            for _ in 0..1024 {
                link.send(&publish(version, 2, "away", 1, &vec![7; 16 * KIB])).unwrap();
                let answer = link.packet()?;
                if answer[0] != 0x40 {
                    return Err(format!("{answer:02x?}"));
                }
            }
            link.lives_after(&[])?;
            // It is gone with its session.
            ground.connect(Kind::Tcp, &Connect::new(Version::V3, "away").bytes()).lives_after(&[])
        });
    }
    ground.end(8);
}
