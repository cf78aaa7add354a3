//! The store beside the one in memory: the same batches, files and windows so small that everything happens all the time,
//! and the end of the process at any moment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods
)]

use super::{Durable, Sizes};
use crate::core::{
    Cause, Change, Client, Content, Message, MessageNumber, SessionNumber, SessionRecord, ShardId,
    SubscriptionRecord,
};
use crate::store::record::{self, Kind};
use crate::store::{Memory, Store, SyncMode, Written, check, repair, scan};
use mqtt_packet::{PacketId, QoS, SubscribeOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of a few pages.
const SMALL: Sizes = Sizes { segment: 16 << 10, files: 3, moved: 2, most: 6, few: 4, direct: 4 << 10 };

struct Rng(u64);

impl Rng {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }
}

/// What the shards would write: sessions with queues, out of which messages are given and acknowledged.
#[derive(Default)]
struct Traffic {
    number: u64,
    sessions: Vec<Session>,
    /// How many places refer to a message that is shared.
    shared: BTreeMap<u64, u64>,
}

#[derive(Default)]
struct Session {
    number: u64,
    is_group: bool,
    sequence: u64,
    serial: u64,
    /// The sequence, the message, and the serial if it is in flight.
    queue: Vec<(u64, MessageNumber, Option<u64>)>,
    /// Serials of which PUBREC came.
    received: Vec<u64>,
}

fn client(name: &str) -> Arc<Client> {
    Arc::new(Client { client_id: name.into(), user_name: None, rules: None })
}

fn message(topic: u64, length: u64) -> Arc<Message> {
    Arc::new(Message {
        content: Content::new(format!("t/{topic}").as_bytes(), b"", &vec![topic as u8; length as usize]),
        qos: QoS::AtLeastOnce,
        retain: true,
        expires: None,
        publisher: client("publisher"),
    })
}

fn place(session: u64, sequence: u64, message: MessageNumber) -> Change {
    let session = SessionNumber(session);
    let qos = QoS::AtLeastOnce;
    Change::Queued { session, sequence, message, qos, retain: false, subscription_ids: [3].into() }
}

impl Traffic {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn changes(&mut self, rng: &mut Rng) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..1 + rng.below(12) {
            match rng.below(20) {
                0 => self.begin(rng, &mut changes),
                1 if rng.below(3) == 0 => self.end(rng, &mut changes),
                2 => changes.push(Change::Retained(message(rng.below(5), rng.below(600)))),
                3 => changes.push(Change::RetainedGone(format!("t/{}", rng.below(5)).into())),
                4..=8 => self.queue(rng, &mut changes),
                9 => self.share(rng, &mut changes),
                10..=16 => self.acknowledge(rng, &mut changes),
                _ => self.other(rng, &mut changes),
            }
        }
        changes
    }

    fn begin(&mut self, rng: &mut Rng, changes: &mut Vec<Change>) {
        if self.sessions.len() > 6 {
            return;
        }
        // Of some shard.
        let number = self.next() | rng.below(3) << 48;
        let is_group = rng.below(4) == 0;
        changes.push(match is_group {
            true => Change::Group(SessionNumber(number), format!("g/{number}").into()),
            false => session(number, None),
        });
        self.sessions.push(Session { number, is_group, ..Session::default() });
    }

    fn any(&mut self, rng: &mut Rng) -> Option<&mut Session> {
        let count = self.sessions.len() as u64;
        self.sessions.get_mut(rng.below(count) as usize)
    }

    fn end(&mut self, rng: &mut Rng, changes: &mut Vec<Change>) {
        if self.sessions.is_empty() {
            return;
        }
        let at = rng.below(self.sessions.len() as u64) as usize;
        let gone = self.sessions.swap_remove(at);
        for (_, message, _) in &gone.queue {
            self.unrefer(*message, changes);
        }
        let number = SessionNumber(gone.number);
        changes.push(if gone.is_group { Change::GroupGone(number) } else { Change::SessionGone(number) });
    }

    fn queue(&mut self, rng: &mut Rng, changes: &mut Vec<Change>) {
        let count = self.next();
        let length = if rng.below(50) == 0 { 20_000 } else { rng.below(900) };
        let Some(session) = self.any(rng) else {
            return;
        };
        session.sequence += 1 + rng.below(2);
        let alone = MessageNumber::alone(ShardId(0), count);
        changes.push(Change::Message(alone, message(count, length)));
        changes.push(place(session.number, session.sequence, alone));
        let mut serial = None;
        if !session.is_group && rng.below(2) == 0 {
            session.serial += 1;
            serial = Some(session.serial);
            changes.push(Change::InFlight {
                session: SessionNumber(session.number),
                sequence: session.sequence,
                serial: session.serial,
                received: None,
            });
        }
        session.queue.push((session.sequence, alone, serial));
    }

    fn share(&mut self, rng: &mut Rng, changes: &mut Vec<Change>) {
        let count = self.next();
        let number = MessageNumber::shared(ShardId(1), count);
        if self.sessions.len() < 2 {
            return;
        }
        changes.push(Change::Message(number, message(count, rng.below(900))));
        self.shared.insert(number.0, 2);
        for session in self.sessions.iter_mut().take(2) {
            session.sequence += 1;
            changes.push(place(session.number, session.sequence, number));
            session.queue.push((session.sequence, number, None));
        }
    }

    /// The message of a place that is gone.
    fn unrefer(&mut self, message: MessageNumber, changes: &mut Vec<Change>) {
        if let Some(count) = self.shared.get_mut(&message.0) {
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.shared.remove(&message.0);
        }
        changes.push(Change::MessageGone(message));
    }

    fn acknowledge(&mut self, rng: &mut Rng, changes: &mut Vec<Change>) {
        let late = rng.below(3);
        let is_second = rng.below(4) == 0;
        let Some(session) = self.any(rng) else {
            return;
        };
        let number = SessionNumber(session.number);
        if session.queue.len() as u64 <= late {
            return;
        }
        let (sequence, message, serial) = session.queue.remove(late as usize);
        if let Some(serial) = serial {
            if is_second {
                session.received.push(serial);
                changes.push(Change::InFlight { session: number, sequence, serial, received: Some(serial) });
            } else {
                changes.push(Change::InFlightGone(number, serial));
            }
        }
        changes.push(Change::QueuedGone(number, sequence));
        self.unrefer(message, changes);
    }

    fn other(&mut self, rng: &mut Rng, changes: &mut Vec<Change>) {
        let (what, which) = (rng.below(6), rng.below(4));
        let Some(one) = self.any(rng) else {
            return;
        };
        let number = SessionNumber(one.number);
        let id = PacketId::new(which as u16 + 1).unwrap();
        let filter: Box<str> = format!("f/{which}").into();
        match what {
            0 if !one.is_group => changes.push(session(one.number, Some(which))),
            1 => changes.push(Change::SubscriptionGone(number, filter)),
            2 => {
                let options = SubscribeOptions::new(QoS::AtLeastOnce);
                let id = rng.below(1000) as u32;
                changes.push(Change::Subscription(number, filter, SubscriptionRecord { options, id }));
            }
            3 => changes.push(Change::Received(number, id)),
            4 => changes.push(Change::ReceivedGone(number, id)),
            _ => {
                if let Some(serial) = one.received.pop() {
                    changes.push(Change::InFlightGone(number, serial));
                }
            }
        }
    }
}

fn session(number: u64, away_since: Option<u64>) -> Change {
    let record = SessionRecord { client: client(&format!("{number}")), expiry: 60, away_since, will: None };
    Change::Session(SessionNumber(number), record)
}

/// Every record as a line.
fn lines(changes: impl IntoIterator<Item = Change>) -> Vec<String> {
    let mut lines: Vec<_> = changes.into_iter().map(|change| format!("{change:?}")).collect();
    lines.sort();
    // That a message is in flight may be stored twice.
    lines.dedup();
    lines
}

fn all_of(store: &mut Durable) -> Vec<String> {
    let mut found = Vec::new();
    let database = store.whole().unwrap();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Meta) {
        database
            .each(kind, &mut |key, value| {
                found.extend(record::changes(kind, key, value)?);
                Ok(())
            })
            .unwrap();
    }
    lines(found)
}

fn compare(store: &mut Durable, model: &Memory, what: &str) {
    let (found, wanted) = (all_of(store), lines(model.stored()));
    let missing: Vec<_> =
        wanted.iter().filter(|line| !found.contains(line)).map(|line| &line[..60]).collect();
    let left: Vec<_> = found.iter().filter(|line| !wanted.contains(line)).map(|line| &line[..60]).collect();
    assert!(missing.is_empty() && left.is_empty(), "{what}: missing {missing:?}, too much {left:?}");
}

fn compare_queues(store: &Durable, model: &Memory, traffic: &Traffic, rng: &mut Rng, what: &str) {
    for session in &traffic.sessions {
        let after = rng.below(session.sequence + 1);
        let limit = [1, 7, 1000, usize::MAX][rng.below(4) as usize];
        let number = SessionNumber(session.number);
        let mut wanted = model.read_queue(number, after, limit).unwrap();
        if limit == usize::MAX {
            wanted.retain(|change| matches!(change, Change::Queued { .. }));
        }
        assert_eq!(store.read_queue(number, after, limit).unwrap(), wanted, "{what}");
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mqtt-log-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(directory: &Path, sync: SyncMode) -> Durable {
    let store = Durable::open_with(directory, sync, SMALL).unwrap();
    assert_eq!(store.cut_off(), [] as [String; 0]);
    store
}

fn write(store: &mut dyn Store, model: &mut Memory, number: u64, changes: Vec<Change>) {
    let writer = ShardId(0);
    let batch = [Written { writer, cause: Cause { shard: writer, number }, changes }];
    store.commit(&batch).unwrap();
    model.commit(&batch).unwrap();
}

fn run(seed: u64, batches: u64) {
    let directory = Directory::new(&seed.to_string());
    let mut rng = Rng(seed);
    let sync = [SyncMode::Always, SyncMode::Off][(seed % 2) as usize];
    let mut store = open(&directory.0, sync);
    let (mut model, mut traffic) = (Memory::default(), Traffic::default());
    for number in 1..=batches {
        let what = format!("seed {seed}, batch {number}");
        let changes = traffic.changes(&mut rng);
        write(&mut store, &mut model, number, changes);
        match rng.below(400) {
            0..=3 => {
                if rng.below(3) == 0 {
                    store.close().unwrap();
                }
                drop(store);
                let findings = check(&directory.0).unwrap();
                assert!(!findings.iter().any(|finding| finding.is_damage), "{what}: {findings:?}");
                store = open(&directory.0, sync);
                compare(&mut store, &model, &what);
            }
            4 => compare(&mut store, &model, &what),
            5..=30 => compare_queues(&store, &model, &traffic, &mut rng, &what),
            _ => {}
        }
    }
    compare(&mut store, &model, "at the end");
}

/// `SEED` for one run, `ROUNDS` for more.
#[test]
fn it_is_as_the_one_in_memory() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    if let Some(seed) = number("SEED") {
        return run(seed, 3000);
    }
    for seed in 1..=number("ROUNDS").unwrap_or(2) {
        run(seed, 1000);
    }
}

/// A move that is cut short after each of its steps, while more is written.
#[test]
fn a_move_may_end_anywhere() {
    for (seed, steps) in (1..).zip(0..=5) {
        let directory = Directory::new(&format!("move-{seed}"));
        let mut rng = Rng(seed);
        let (mut model, mut traffic) = (Memory::default(), Traffic::default());
        let mut number = 0;
        for round in 0..2 {
            let sizes = Sizes { files: 100, most: 100, few: 0, ..SMALL };
            let mut store = Durable::open_with(&directory.0, SyncMode::Always, sizes).unwrap();
            let mut more = |store: &mut Durable, batches| {
                for _ in 0..batches {
                    number += 1;
                    let changes = traffic.changes(&mut rng);
                    write(store, &mut model, number, changes);
                }
            };
            more(&mut store, 60);
            let count = store.log.segments.len() - 1;
            let mut load = store.load(count).unwrap();
            more(&mut store, 20);
            if steps == 1 {
                load.items.truncate(load.items.len() / 2);
            }
            let moved = (steps > 0).then(|| load.run().unwrap());
            more(&mut store, 20);
            match (steps, moved) {
                (3, Some(moved)) => store.database.take(moved.rest, moved.load.last).unwrap(),
                (4.., Some(moved)) => store.end_move(moved).unwrap(),
                // It has the database open.
                (_, moved) => drop(moved),
            }
            more(&mut store, if steps == 5 { 30 } else { 0 });
            drop(store);
            let mut store = open(&directory.0, SyncMode::Always);
            compare(&mut store, &model, &format!("seed {seed}, {steps} steps, round {round}"));
        }
    }
}

/// The files of a log with some batches, the oldest of which are written over, and where its last batches are.
fn small_log(directory: &Path) -> (PathBuf, Vec<u64>) {
    let mut store = open(directory, SyncMode::Always);
    let mut model = Memory::default();
    write(&mut store, &mut model, 1, vec![session(1, None)]);
    // Each is removed by the next: files are used again.
    for count in 2..40 {
        let alone = |count| MessageNumber::alone(ShardId(0), count);
        let changes = vec![Change::Message(alone(count), message(count, 20)), place(1, count, alone(count))];
        let gone =
            vec![Change::QueuedGone(SessionNumber(1), count - 1), Change::MessageGone(alone(count - 1))];
        write(&mut store, &mut model, count, [changes, gone].concat());
    }
    let last = store.log.segments.back().unwrap().path.clone();
    drop(store);
    let found = scan::read(&directory.join("log")).unwrap().unwrap();
    assert!(found.judge(0, false).damage.is_empty());
    assert_eq!(found.last(), Some(39));
    // Old ones are still there.
    assert!(found.batches.keys().any(|number| *number <= found.base()));
    let is_last =
        |whole: &&scan::Whole| found.files[whole.file].0 == last && whole.header.number > found.base();
    let batches = found.batches.values().filter(is_last).map(|whole| whole.at).collect();
    (last, batches)
}

#[test]
fn every_bit_of_the_last_file_matters() {
    let directory = Directory::new("bits");
    let (path, batches) = small_log(&directory.0);
    let original = std::fs::read(&path).unwrap();
    let log = directory.0.join("log");
    for (index, at) in batches.iter().enumerate() {
        let number = 39 - (batches.len() - 1 - index) as u64;
        let at = *at as usize;
        let length = scan::read(&log).unwrap().unwrap().batches[&number].header.length as usize + 56;
        for bit in 0..length * 8 {
            let mut changed = original.clone();
            changed[at + bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, changed).unwrap();
            let verdict = scan::read(&log).unwrap().unwrap().judge(0, false);
            assert_eq!(verdict.usable, number - 1, "batch {number}, bit {bit}");
            let is_last = number == 39;
            assert_eq!(
                (verdict.torn.is_some(), verdict.damage.is_empty()),
                (true, is_last),
                "{number}, {bit}"
            );
        }
        std::fs::write(&path, &original).unwrap();
    }
}

#[test]
fn the_last_batch_may_be_torn_at_every_byte() {
    let directory = Directory::new("torn");
    let (path, batches) = small_log(&directory.0);
    let original = std::fs::read(&path).unwrap();
    let log = directory.0.join("log");
    let at = batches[batches.len() - 1] as usize;
    let length = scan::read(&log).unwrap().unwrap().batches[&39].header.length as usize + 56;
    // What was there before: zeros, something, or an older batch.
    let older = original[batches[0] as usize..][..length].to_vec();
    for before in [vec![0; length], vec![0xA5; length], older] {
        for cut in 0..length {
            let mut changed = original.clone();
            changed[at + cut..at + length].copy_from_slice(&before[cut..]);
            if changed == original {
                continue;
            }
            std::fs::write(&path, changed).unwrap();
            let found = scan::read(&log).unwrap().unwrap();
            let verdict = found.judge(0, false);
            assert!(verdict.damage.is_empty(), "{cut}: {:?}", verdict.damage);
            assert_eq!(verdict.usable, 38, "{cut}");
            // As much of it that its number is there.
            assert!(verdict.torn.is_some() || cut < 16, "{cut}");
            found.clear(38).unwrap();
            let again = scan::read(&log).unwrap().unwrap().judge(0, false);
            assert_eq!((again.usable, again.torn), (38, None), "{cut}");
        }
    }
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let directory = Directory::new("back");
    let (path, batches) = small_log(&directory.0);
    let mut bytes = std::fs::read(&path).unwrap();
    // The one before the last, as if nothing had been synced.
    bytes[batches[batches.len() - 2] as usize + 60] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(directory.0.join("mode"), "later\n").unwrap();
    let mut store = Durable::open_with(&directory.0, SyncMode::Always, SMALL).unwrap();
    assert_eq!((store.cut_off().len(), store.log.number), (2, 37), "{:?}", store.cut_off());
    write(&mut store, &mut Memory::default(), 38, vec![session(2, None)]);
    let wanted = all_of(&mut store);
    drop(store);
    assert_eq!(all_of(&mut open(&directory.0, SyncMode::Always)), wanted);
}

#[test]
fn a_log_that_is_not_the_one_of_the_database_is_refused() {
    let directory = Directory::new("other");
    let mut store = open(&directory.0, SyncMode::Always);
    write(&mut store, &mut Memory::default(), 1, vec![session(1, None)]);
    store.close().unwrap();
    drop(store);
    let log = directory.0.join("log");
    let refused = || Durable::open(&directory.0, SyncMode::Always).unwrap_err().to_string();
    std::fs::rename(&log, directory.0.join("aside")).unwrap();
    assert!(refused().contains("the log is gone"), "{}", refused());
    crate::store::log::make(&log).unwrap();
    assert!(refused().contains("do not end as they did"), "{}", refused());
    std::fs::remove_file(directory.0.join("closed")).unwrap();
    assert!(refused().contains("the log ends with batch 0, but there was batch 1"), "{}", refused());
    assert!(check(&directory.0).unwrap().iter().any(|finding| finding.is_damage));
    // Given up, it goes on, and stays so.
    repair(&directory.0).unwrap();
    for _ in 0..2 {
        let mut store = open(&directory.0, SyncMode::Always);
        assert_eq!(all_of(&mut store).len(), 1);
    }
    assert!(!check(&directory.0).unwrap().iter().any(|finding| finding.is_damage));
}
