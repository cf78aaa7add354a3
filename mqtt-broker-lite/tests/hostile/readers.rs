//! Those who subscribe and do not read.

use super::ground::{Ground, KIB, MIB};
use super::link::{Kind, Link};
use super::packets::{Connect, Version, publish, subscribe};

const PAYLOAD: usize = 16 * KIB;

/// Subscribes and never reads again.
fn stalled(ground: &Ground, kind: Kind, version: Version, id: &str, topic: &str, qos: u8) -> Link {
    let mut link = ground.connect(kind, &Connect::new(version, id).bytes());
    link.send(&subscribe(version, 1, &[(topic, qos)])).unwrap();
    assert_eq!(link.packet().unwrap()[0], 0x90);
    link
}

/// Publishes so many bytes, each message acknowledged if it can be.
fn offer(ground: &Ground, version: Version, topic: &str, qos: u8, bytes: usize) -> Result<(), String> {
    let mut link = ground.connect(Kind::Tcp, &Connect::new(version, &format!("offers {topic}")).bytes());
    let message = publish(version, qos << 1, topic, 1, &[b'm'; PAYLOAD]);
    for _ in 0..bytes / PAYLOAD {
        link.send(&message).map_err(|error| error.to_string())?;
        if qos > 0 && link.packet()?[0] != 0x40 {
            return Err("another answer".to_owned());
        }
    }
    link.lives_after(&[])
}

#[test]
fn one_that_does_not_read() {
    let ground = Ground::new("", "");
    for (kind, version) in Kind::ALL.into_iter().flat_map(|kind| Version::BOTH.map(|version| (kind, version)))
    {
        for qos in [0, 1] {
            ground.case(&format!("64 MiB of QoS {qos} ({version:?} over {kind:?})"), 16 * MIB, || {
                let _reader = stalled(&ground, kind, version, "stalled", "one", qos);
                offer(&ground, version, "one", qos, 64 * MIB)
            });
        }
    }
    ground.end(16);
}

#[test]
fn fifty_that_do_not_read() {
    let ground = Ground::new("", "");
    for kind in Kind::ALL {
        ground.case(&format!("16 MiB for all of them over {kind:?}"), 32 * MIB, || {
            let _readers: Vec<_> = (0..50)
                .map(|number| stalled(&ground, kind, Version::V3, &format!("stalled{number}"), "all", 0))
                .collect();
            offer(&ground, Version::V3, "all", 0, 16 * MIB)
        });
    }
    // Up to 33 MiB were seen; the allocator has its part in it.
    ground.case("16 MiB for each of them", 40 * MIB, || {
        let _readers: Vec<_> = (0..50)
            .map(|number| {
                stalled(&ground, Kind::Tcp, Version::V3, &format!("s{number}"), &format!("t{number}"), 0)
            })
            .collect();
        (0..50).try_for_each(|number| offer(&ground, Version::V3, &format!("t{number}"), 0, 16 * MIB))
    });
    ground.end(5);
}
