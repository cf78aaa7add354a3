//! Sessions that survive the program: what waits for the store, what is restored, and what a torn file leaves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods
)]

mod scripted;

use mqtt_client::system::FileStore;
use scripted::*;
use std::collections::BTreeMap;

fn durable(version: Version) -> Peer {
    let settings = Settings { durable: true, ..Settings::new(version) };
    let mut peer = Peer::new(memory(4), settings);
    peer.connect(&lasting(), "");
    peer
}

/// What the engine has to have kept, as text.
fn changes(peer: &mut Peer) -> Vec<String> {
    let mut changes = Vec::new();
    while let Some(change) = peer.engine.poll_change() {
        changes.push(match change {
            Change::Put(key, record) => format!("put {key} {}", record.len()),
            Change::Remove(key) => format!("remove {key}"),
        });
    }
    changes
}

#[test]
fn a1_8_nothing_is_promised_before_it_is_safe() {
    let mut peer = durable(Version::V3_1_1);
    let ticket = peer.publish(b"2", QoS::ExactlyOnce);
    peer.sends("");
    assert_eq!(changes(&mut peer), ["put 1 8"]);
    peer.sends("");
    peer.engine.synced();
    peer.sends("34 06 0001 74 0001 32");
    peer.receives("50 02 0001");
    peer.sends("");
    assert_eq!(changes(&mut peer), ["put 1 0"]);
    peer.engine.synced();
    peer.sends("62 02 0001");
    peer.receives("70 02 0001");
    assert_eq!(peer.outcomes(), [(ticket, OK)]);
    assert_eq!(changes(&mut peer), ["remove 1"]);
    peer.engine.synced();
    assert!(peer.engine.is_idle());
    // And for messages that come in.
    assert_eq!(peer.receives("34 06 0001 74 0007 32").len(), 1);
    peer.sends("");
    assert_eq!(changes(&mut peer), ["put 65543 0"]);
    peer.engine.synced();
    peer.sends("50 02 0007");
    peer.receives("62 02 0007");
    peer.sends("");
    assert_eq!(changes(&mut peer), ["remove 65543"]);
    peer.engine.synced();
    peer.sends("70 02 0007");
}

// One that is safe already waits for one that came before it and was accepted later. [MQTT-4.6.0-3 @3.1.1]
#[test]
fn what_is_safe_first_is_not_acknowledged_first() {
    let settings = Settings { durable: true, manual_acknowledgement: true, ..Settings::new(Version::V3_1_1) };
    let mut peer = Peer::new(memory(4), settings);
    peer.connect(&lasting(), "");
    let receipts =
        ["34 05 0001 74 0001", "34 05 0001 74 0002"].map(|packet| match peer.receives(packet)[..] {
            [Happened::Message(_, _, _, Some(receipt))] => receipt,
            ref other => panic!("{other:?}"),
        });
    peer.engine.accept(receipts[1], ReasonCode::SUCCESS).unwrap();
    changes(&mut peer);
    peer.engine.synced();
    peer.engine.accept(receipts[0], ReasonCode::SUCCESS).unwrap();
    peer.sends("");
    changes(&mut peer);
    peer.sends("");
    peer.engine.synced();
    peer.sends("50 02 0001 50 02 0002");
}

#[test]
fn a_session_that_ended_leaves_nothing_in_the_store() {
    let mut peer = durable(Version::V5);
    peer.publish(b"1", QoS::AtLeastOnce);
    peer.receives("34 07 0001 74 0007 00 32");
    changes(&mut peer);
    peer.engine.synced();
    peer.transmitted();
    peer.close();
    peer.connect(&lasting(), "");
    let mut found = changes(&mut peer);
    found.sort();
    assert_eq!(found, ["remove 1", "remove 65543"]);
    peer.outcomes();
    peer.engine.synced();
    peer.sends("");
    assert!(peer.engine.is_idle());
}

/// A store that is a map.
#[derive(Clone, Default)]
struct Map(BTreeMap<Key, Vec<u8>>);

impl Store for Map {
    type Error = ();

    fn put(&mut self, key: Key, record: &[u8]) -> Result<(), ()> {
        self.0.insert(key, record.to_vec());
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Result<(), ()> {
        self.0.remove(&key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), ()> {
        Ok(())
    }

    fn next(&mut self, from: Key, buffer: &mut [u8]) -> Result<Option<(Key, usize)>, ()> {
        Ok(self.0.range(from..).next().map(|(key, record)| {
            buffer[..record.len()].copy_from_slice(record);
            (*key, record.len())
        }))
    }
}

/// Another program with the session of the store.
fn restarted(version: Version, store: &mut impl Store<Error = impl std::fmt::Debug>) -> Peer {
    let settings = Settings { durable: true, ..Settings::new(version) };
    let mut peer = Peer::new(memory(4), settings);
    load(&mut peer.engine, store, &mut [0; 100]).unwrap();
    peer.engine.connect(peer.now, &lasting()).unwrap();
    peer.sends_types(&[0x10]);
    peer.accept(true, "");
    peer
}

#[test]
fn a3_28_a_restarted_program_goes_on_with_the_session() {
    for version in BOTH {
        let mut store = Map::default();
        let mut peer = durable(version);
        // The identifiers wrap in the middle of it.
        for _ in 0..65_533 {
            let id = peer.publish(b"", QoS::AtLeastOnce).packet_id().unwrap().get();
            save(&mut peer.engine, &mut store).unwrap();
            peer.transmitted();
            peer.gets(&[0x40, 2, (id >> 8) as u8, id as u8]);
            save(&mut peer.engine, &mut store).unwrap();
            peer.outcomes();
        }
        peer.publish(b"a", QoS::AtLeastOnce);
        peer.publish(b"b", QoS::ExactlyOnce);
        peer.publish(b"c", QoS::ExactlyOnce);
        peer.publish(b"d", QoS::AtLeastOnce);
        save(&mut peer.engine, &mut store).unwrap();
        peer.sends_types(&[0x32, 0x34, 0x34, 0x32]);
        peer.receives("50 02 FFFF");
        peer.receives(if version == Version::V5 {
            "34 07 0001 74 0007 00 32"
        } else {
            "34 06 0001 74 0007 32"
        });
        save(&mut peer.engine, &mut store).unwrap();
        peer.sends("50 02 0007 62 02 FFFF");

        let mut peer = restarted(version, &mut store);
        let sent = peer.transmitted();
        let found: Vec<(u8, u8)> = packets(&sent).iter().map(|p| (p[0], *p.last().unwrap())).collect();
        assert_eq!(found, [(0x3A, b'a'), (0x62, 0xFF), (0x3C, b'c'), (0x3A, b'd')]);
        // The received message is known, and the next identifier is a new one.
        let repeat =
            if version == Version::V5 { "3C 07 0001 74 0007 00 32" } else { "3C 06 0001 74 0007 32" };
        assert_eq!(peer.receives(repeat), []);
        peer.sends("50 02 0007");
        peer.receives("40 02 FFFE 70 02 FFFF");
        assert_eq!(peer.outcomes().len(), 2);
        save(&mut peer.engine, &mut store).unwrap();
        assert_eq!(peer.publish(b"e", QoS::AtLeastOnce).packet_id().unwrap().get(), 3);
    }
}

#[test]
fn records_that_are_none_are_refused() {
    for (key, record) in
        [(0, &b""[..]), (1, b"x"), (1, b"\x30\x03\0\x01t"), (0x2_0001, b""), (5, &[0x32, 9, 0])]
    {
        let mut engine = Engine::new(memory(4), Settings::default());
        assert_eq!(engine.restore(key, record), Err(RequestError::Stale), "{key}");
    }
}

#[test]
fn a_ram_store_keeps_and_forgets() {
    let mut memory = [0; 100];
    let mut store = RamStore::new(&mut memory);
    let mut buffer = [0; 50];
    store.put(5, b"five").unwrap();
    store.put(1, b"").unwrap();
    store.put(9, &[9; 40]).unwrap();
    assert_eq!(store.put(10, &[0; 40]), Err(StoreFull));
    store.put(5, b"another five").unwrap();
    store.remove(1).unwrap();
    store.remove(77).unwrap();
    // What is in the memory is the store.
    let mut store = RamStore::new(&mut memory);
    assert_eq!(store.next(0, &mut buffer), Ok(Some((5, 12))));
    assert_eq!(&buffer[..12], b"another five");
    assert_eq!(store.next(6, &mut buffer), Ok(Some((9, 40))));
    assert_eq!(store.next(10, &mut buffer), Ok(None));
    assert_eq!(store.next(9, &mut [0; 39]), Err(StoreFull));
    store.remove(9).unwrap();
    store.put(10, &[1; 40]).unwrap();
}

fn records(path: &std::path::Path) -> std::io::Result<Vec<(Key, Vec<u8>)>> {
    let mut store = FileStore::open(path)?;
    let mut buffer = [0; 1000];
    let mut records = Vec::new();
    let mut from = 0;
    while let Some((key, len)) = store.next(from, &mut buffer)? {
        records.push((key, buffer[..len].to_vec()));
        from = key + 1;
    }
    Ok(records)
}

#[test]
fn a_file_that_is_cut_anywhere_keeps_a_prefix_of_the_changes() {
    let directory = std::env::temp_dir().join(format!("mqtt-client-store-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("session");
    let mut states = vec![Vec::new()];
    let mut store = FileStore::open(&path).unwrap();
    for (key, record) in [(1, Some("one")), (2, Some("")), (1, None), (3, Some("three")), (2, Some("two"))] {
        match record {
            Some(record) => store.put(key, record.as_bytes()).unwrap(),
            None => store.remove(key).unwrap(),
        }
        store.sync().unwrap();
        states.push(records(&path).unwrap());
    }
    assert_eq!(states.last().unwrap(), &[(2, b"two".to_vec()), (3, b"three".to_vec())]);
    let whole = std::fs::read(&path).unwrap();
    let mut last = 0;
    for len in 0..=whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let state = records(&path).unwrap();
        let at = states.iter().skip(last).position(|known| *known == state);
        last += at.unwrap_or_else(|| panic!("{len} bytes: {state:?}"));
    }
    assert_eq!(last, states.len() - 1);
    // Damage in front of a whole batch is reported, wherever it is, and the file stays as it is: a number, a length that
    // points past the end, a checksum, a record.
    let last_batch = whole.len() - (16 + 8 + "two".len());
    for (at, bit) in (8..last_batch).flat_map(|at| [(at, 1), (at, 0x80)]) {
        let mut damaged = whole.clone();
        damaged[at] ^= bit;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(records(&path).unwrap_err().kind(), std::io::ErrorKind::InvalidData, "{at}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
    // A last batch of which any part was not written is one that was never promised.
    for at in last_batch + 3..whole.len() {
        let mut torn = whole.clone();
        torn[last_batch..=at].fill(0);
        std::fs::write(&path, &torn).unwrap();
        assert_eq!(records(&path).unwrap(), states[states.len() - 2], "{at}");
    }
    // A file of somebody else is not touched.
    std::fs::write(&path, b"something else").unwrap();
    assert!(FileStore::open(&path).is_err());
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn history_does_not_pile_up_in_the_file() {
    let directory = std::env::temp_dir().join(format!("mqtt-client-history-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("session");
    let mut store = FileStore::open(&path).unwrap();
    for round in 0..3_000_u32 {
        store.put(1 + round % 7, &round.to_be_bytes().repeat(20)).unwrap();
        if round % 10 == 0 {
            store.sync().unwrap();
        }
    }
    store.sync().unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 70_000);
    assert_eq!(store.len(), 7);
    drop(store);
    assert_eq!(records(&path).unwrap().len(), 7);
    std::fs::remove_dir_all(&directory).unwrap();
}
