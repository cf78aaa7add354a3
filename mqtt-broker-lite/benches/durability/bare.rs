//! The same bytes without a broker: on the raw disk, in the bare database, and in a log of recycled segments.

use crate::load::{BEHIND, PAYLOAD};
use crate::server::{Usage, directory};
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

const MIB: u64 = 1 << 20;
/// Of the log.
const SEGMENT: u64 = 8 * MIB;

/// What a message is stored with beside its payload: its number, flags, expiry, publisher, topic, properties.
const HEAD: usize = 33;
/// A message of one session is one record, put and removed: how long its key and its value are.
const KEY: usize = 16;
const VALUE: usize = HEAD + PAYLOAD;
/// What a batch takes for each message that it puts and removes.
const BYTES: u64 = (2 * KEY + VALUE) as u64;

/// What came out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Messages a second.
    pub rate: f64,
    /// Microseconds of CPU for each.
    pub cpu: f64,
    /// Bytes written for each of payload.
    pub written: f64,
}

impl Outcome {
    pub fn new(messages: u64, time: Duration, usage: Usage) -> Self {
        let messages = messages.max(1) as f64;
        Self {
            rate: messages / time.as_secs_f64(),
            cpu: usage.cpu * 1e6 / messages,
            written: usage.written as f64 / messages / PAYLOAD as f64,
        }
    }
}

/// Does batches of so many messages for this time.
fn measure(batch: u64, time: Duration, mut one_batch: impl FnMut(std::ops::Range<u64>)) -> Outcome {
    let before = Usage::of("self");
    let begin = Instant::now();
    let mut messages = 0;
    while begin.elapsed() < time {
        one_batch(messages..messages + batch);
        messages += batch;
    }
    Outcome::new(messages, begin.elapsed(), Usage::of("self").since(before))
}

/// The key of a message: its session and its place there.
fn key(message: u64) -> Vec<u8> {
    [1, message].map(u64::to_be_bytes).concat()
}

fn value(message: u64) -> Vec<u8> {
    vec![(message % 251) as u8; VALUE]
}

/// Which message is removed when this one is put.
fn removed(message: u64) -> Option<u64> {
    message.checked_sub(BEHIND as u64)
}

/// A file that has all its blocks.
fn filled(path: &Path, length: u64) -> File {
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path).unwrap();
    for at in 0..length / MIB {
        file.write_all_at(&vec![0xFF; MIB as usize], at * MIB).unwrap();
    }
    file.sync_all().unwrap();
    file
}

/// `pwrite` and `fdatasync`, over and over the same file, of what a batch of messages puts and removes.
pub fn raw(batch: u64, time: Duration) -> Outcome {
    let directory = directory("raw");
    let file = filled(&directory.join("file"), 64 * MIB);
    let size = BYTES * batch;
    let bytes = vec![0x55; size as usize];
    let mut at = 0;
    measure(batch, time, |_| {
        if at + size > 64 * MIB {
            at = 0;
        }
        file.write_all_at(&bytes, at).unwrap();
        file.sync_data().unwrap();
        at += size;
    })
}

/// The bare database, with the tables of ours: the same puts and later removals in each batch.
pub fn database(batch: u64, time: Duration) -> Outcome {
    let directory = directory("database");
    let database = Database::builder(&directory)
        .worker_threads(1)
        .cache_size(16 * MIB)
        .max_journaling_size(160 * MIB)
        .open()
        .unwrap();
    let table =
        database.keyspace("queue", || KeyspaceCreateOptions::default().max_memtable_size(32 * MIB)).unwrap();
    measure(batch, time, |messages| {
        let mut written = database.batch().durability(Some(PersistMode::SyncData));
        for message in messages {
            written.insert(&table, key(message), value(message));
            if let Some(old) = removed(message) {
                written.remove(&table, key(old));
            }
        }
        written.commit().unwrap();
    })
}

/// A prototype of a log: segments that are written over when nothing in them is alive, with an index in memory.
struct Log {
    segments: Vec<(File, u64)>,
    /// Which is written, and where.
    current: usize,
    at: u64,
    free: VecDeque<usize>,
    /// In which segment each living record is.
    index: HashMap<Vec<u8>, usize>,
    bytes: Vec<u8>,
}

impl Log {
    fn open(directory: &Path) -> Self {
        let segment = |number| (filled(&directory.join(format!("{number}")), SEGMENT), 0);
        let segments: Vec<_> = (0..4).map(segment).collect();
        let free = (1..segments.len()).collect();
        Self { segments, current: 0, at: 0, free, index: HashMap::new(), bytes: Vec::new() }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend((key.len() as u16).to_be_bytes());
        self.bytes.extend((value.len() as u16).to_be_bytes());
        self.bytes.extend(key);
        self.bytes.extend(value);
    }

    fn put(&mut self, key: Vec<u8>, value: &[u8]) {
        self.add(&key, value);
        self.segments[self.current].1 += 1;
        self.index.insert(key, self.current);
    }

    fn remove(&mut self, key: &[u8]) {
        self.add(key, &[]);
        if let Some(segment) = self.index.remove(key) {
            self.segments[segment].1 -= 1;
            if self.segments[segment].1 == 0 && segment != self.current {
                self.free.push_back(segment);
            }
        }
    }

    fn begin(&mut self, room: u64) {
        if self.at + room > SEGMENT {
            self.current = self.free.pop_front().expect("a segment in which nothing is alive");
            self.at = 0;
        }
        // Length, number and checksum come first.
        self.bytes.clear();
        self.bytes.resize(24, 0);
    }

    fn commit(&mut self, number: u64) {
        let length = (self.bytes.len() as u64).to_be_bytes();
        self.bytes[..8].copy_from_slice(&length);
        self.bytes[8..16].copy_from_slice(&number.to_be_bytes());
        let sum = xxh3_64(&self.bytes);
        self.bytes[16..24].copy_from_slice(&sum.to_be_bytes());
        let file = &self.segments[self.current].0;
        file.write_all_at(&self.bytes, self.at).unwrap();
        file.sync_data().unwrap();
        self.at += self.bytes.len() as u64;
    }
}

/// The prototype, with the same records.
pub fn log(batch: u64, time: Duration) -> Outcome {
    let directory = directory("log");
    let mut log = Log::open(&directory);
    let room = (BYTES + 8) * batch + 24;
    measure(batch, time, |messages| {
        log.begin(room);
        let number = messages.start;
        for message in messages {
            log.put(key(message), &value(message));
            if let Some(old) = removed(message) {
                log.remove(&key(old));
            }
        }
        log.commit(number);
    })
}
