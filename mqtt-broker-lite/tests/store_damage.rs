//! Bits that flip and files that end early: a store opens with everything before the damage and says what it cut off, or
//! does not open and says why. `TRIALS=2000` for more than the usual hundred of each, `SEED` for others.

#![cfg(feature = "persistence")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use mqtt_broker_lite::core::{
    Cause, Change, Client, Content, Message, MessageNumber, SessionNumber, SessionRecord, ShardId,
    SubscriptionRecord,
};
use mqtt_broker_lite::store::{Durable, Restored, Store, StoreError, SyncMode, Written, check, dump, repair};
use mqtt_packet::{QoS, SubscribeOptions};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of about 2 KiB each, so that all are about 1 MiB.
const BATCHES: u64 = 480;

fn client() -> Arc<Client> {
    Arc::new(Client { client_id: "someone".into(), user_name: None, rules: None })
}

fn message(number: u64) -> Arc<Message> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(440, u8::try_from(number % 251).unwrap());
    Arc::new(Message {
        content: Content::new(format!("t/{number}").as_bytes(), b"", &payload),
        qos: QoS::AtLeastOnce,
        retain: false,
        expires: None,
        publisher: client(),
    })
}

fn written(number: u64, changes: Vec<Change>) -> Written {
    let writer = ShardId(0);
    Written { writer, cause: Cause { shard: writer, number }, changes }
}

fn batch(number: u64) -> Vec<Written> {
    let session = SessionNumber(1);
    let mut changes = Vec::new();
    if number == 1 {
        let record = SessionRecord { client: client(), expiry: u32::MAX, away_since: Some(1), will: None };
        changes.push(Change::Session(session, record));
    }
    let record = SubscriptionRecord { options: SubscribeOptions::new(QoS::AtLeastOnce), id: 0 };
    changes.push(Change::Subscription(session, format!("t/{number}").into(), record));
    for place in 0..4 {
        let sequence = number * 4 + place;
        changes.push(Change::Message(MessageNumber(sequence), message(number)));
        changes.push(Change::Queued {
            session,
            sequence,
            message: MessageNumber(sequence),
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: Box::default(),
        });
    }
    vec![written(number, changes)]
}

/// A store that others are copies of.
struct Original {
    directory: PathBuf,
    /// Where each batch begins and ends in the log.
    batches: Vec<(u64, u64)>,
    /// How many of them the database has, too.
    moved: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Ending {
    Closed,
    Killed,
    /// Half of it is in tables.
    Compacted,
}

/// What a batch begins with in the log, and where it may.
const HEADER: u64 = 56;
const PAGE: u64 = 4096;

fn log(directory: &Path) -> PathBuf {
    let mut files: Vec<_> =
        fs::read_dir(directory.join("log")).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some());
    assert_eq!(files.len(), 1);
    files.remove(0)
}

impl Original {
    fn make(name: &str, ending: Ending) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("damage-{name}"));
        let _ = fs::remove_dir_all(&directory);
        let live = directory.join("live");
        let mut store = Durable::open(&live, SyncMode::Always).unwrap();
        let (mut batches, mut moved) = (Vec::new(), 0);
        for number in 1..=BATCHES {
            store.commit(&batch(number)).unwrap();
            let begin = batches.last().map_or(0, |(_, end): &(u64, u64)| end.next_multiple_of(PAGE));
            batches.push((begin, used(&log(&live), begin)));
            if ending == Ending::Compacted && number == BATCHES / 2 {
                store.compact().unwrap();
                moved = batches.len();
            }
        }
        if ending == Ending::Closed {
            store.close().unwrap();
            moved = batches.len();
        }
        let copy = directory.join("original");
        copy_all(&live, &copy);
        // The rest is zeros, made when the files were; a bit of them is enough.
        let path = log(&copy);
        let length = batches[batches.len() - 1].1.next_multiple_of(PAGE) + PAGE;
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        fs::rename(&path, path.with_extension(length.to_string())).unwrap();
        let path = copy.join("db/0.jnl");
        let content = fs::read(&path).unwrap();
        let length = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1) + 4096;
        fs::write(&path, &content[..length]).unwrap();
        if ending == Ending::Closed {
            let text = fs::read_to_string(copy.join("closed")).unwrap();
            fs::write(copy.join("closed"), text.replace("67108864", &length.to_string())).unwrap();
        }
        Self { directory, batches, moved }
    }

    /// How many batches are whole if the log is damaged here.
    fn before(&self, at: u64) -> usize {
        self.moved.max(self.batches.iter().filter(|(_, end)| *end <= at).count())
    }

    /// Whether nothing of the batch at this place is left if everything from there on is zeros.
    fn is_between(&self, at: u64) -> bool {
        self.batches.iter().all(|(begin, end)| at < begin + HEADER || at >= *end)
    }
}

/// Where the zeros at the end begin.
fn used(path: &Path, from: u64) -> u64 {
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    let mut bytes = vec![0; 64 << 10];
    let read = file.read(&mut bytes).unwrap();
    let last = bytes[..read].iter().rposition(|&byte| byte != 0);
    from + last.map_or(0, |last| last as u64 + 1)
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files with something in them, in an order that is always the same.
fn files(directory: &Path, found: &mut Vec<(PathBuf, u64)>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else if entry.metadata().unwrap().len() > 0 {
            found.push((entry.path(), entry.metadata().unwrap().len()));
        }
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What is left: the batches of which all messages are there, as they were.
fn left(store: &mut Durable) -> Vec<u64> {
    let mut counts = std::collections::BTreeMap::new();
    let mut sessions = 0;
    let mut filters = BTreeSet::new();
    store
        .restore(1, usize::MAX, &mut |_, restored| {
            let Restored::Changes(changes) = restored else {
                return;
            };
            for change in changes {
                match change {
                    Change::Session(..) => sessions += 1,
                    Change::Subscription(_, filter, _) => drop(filters.insert(filter)),
                    Change::Message(number, found) => {
                        assert_eq!(found, message(number.0 / 4), "a message is not as it was");
                        *counts.entry(number.0 / 4).or_insert(0) += 1;
                    }
                    _ => {}
                }
            }
        })
        .unwrap();
    let whole: Vec<_> = counts
        .into_iter()
        .map(|(number, count)| {
            assert_eq!(count, 4);
            number
        })
        .collect();
    assert_eq!(sessions, usize::from(!whole.is_empty()));
    assert!(whole.iter().all(|number| filters.contains(&*format!("t/{number}"))));
    whole
}

/// What a trial did to a store, and what that led to.
#[derive(Default, Debug)]
struct Tally {
    refused: u64,
    cut_off: u64,
    harmless: u64,
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    Flip(u64),
    Cut,
    /// As a cut, but the file is as long as before: a write that was torn.
    Zeros,
}

fn damage(path: &Path, at: u64, harm: Harm) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    if let Harm::Flip(bit) = harm {
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        return file.write_all(&[byte[0] ^ 1 << bit]).unwrap();
    }
    file.set_len(at).unwrap();
    if harm == Harm::Zeros {
        file.set_len(length).unwrap();
    }
}

fn one_trial(original: &Original, rng: &mut Rng, harm: Harm, is_late: bool, tally: &mut Tally) {
    let copy = original.directory.join("copy");
    let _ = fs::remove_dir_all(&copy);
    copy_all(&original.directory.join("original"), &copy);
    let mut all = Vec::new();
    files(&copy, &mut all);
    let (path, at) = if is_late {
        let length = fs::metadata(log(&copy)).unwrap().len();
        (log(&copy), length - 1 - rng.below(64 << 10))
    } else {
        let mut at = rng.below(all.iter().map(|(_, length)| length).sum());
        let (path, _) = all
            .iter()
            .find(|(_, length)| {
                at < *length || {
                    at -= length;
                    false
                }
            })
            .unwrap();
        (path.clone(), at)
    };
    let is_log = path == log(&copy);
    let harm = if harm == Harm::Zeros && !is_log { Harm::Cut } else { harm };
    damage(&path, at, harm);
    let what = format!("{} at {at}, {harm:?}", path.display());
    let checked = catch_unwind(|| check(&copy)).unwrap_or_else(|_| panic!("a panic of check: {what}"));
    let opened = catch_unwind(AssertUnwindSafe(|| Durable::open(&copy, SyncMode::Always)))
        .unwrap_or_else(|_| panic!("a panic: {what}"));
    match opened {
        Err(error) => {
            assert!(error.to_string().len() > 20, "{what}: {error}");
            let is_found = checked.is_err() || checked.unwrap().iter().any(|finding| finding.is_damage);
            assert!(is_found || !is_log, "{what}: check does not find it: {error}");
            tally.refused += 1;
        }
        Ok(mut store) => {
            let found = left(&mut store);
            // Nothing that is wholly before the damage may be missing.
            let before = if is_log { original.before(at) } else { 480 };
            assert!(found.len() >= before, "{what}: {} batches left, {before} were before", found.len());
            assert!(
                found.iter().copied().eq(1..=found.len() as u64),
                "{what}: a batch in the middle is gone"
            );
            if store.cut_off().is_empty() {
                // If nothing is left of what was behind a batch, it cannot be told from one that was never written, if
                // nobody closed the store.
                let is_between = harm == Harm::Zeros && original.is_between(at);
                assert!(found.len() as u64 == BATCHES || is_between, "{what}: silence");
                tally.harmless += 1;
            } else {
                tally.cut_off += 1;
            }
        }
    }
}

#[test]
fn damage_is_found_and_said() {
    let number = |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let trials: u64 = number("TRIALS", 100);
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let seed = number("SEED", u64::try_from(clock).unwrap());
    println!("SEED={seed}");
    let mut rng = Rng(seed);
    let originals = [
        Original::make("closed", Ending::Closed),
        Original::make("killed", Ending::Killed),
        Original::make("compacted", Ending::Compacted),
    ];
    for is_cut in [false, true] {
        let mut tally = Tally::default();
        for trial in 0..trials {
            let original = &originals[usize::try_from(trial % 3).unwrap()];
            let harm = match (is_cut, trial % 4) {
                (false, _) => Harm::Flip(rng.below(8)),
                (true, 0) => Harm::Cut,
                (true, _) => Harm::Zeros,
            };
            one_trial(original, &mut rng, harm, is_cut && trial % 2 == 0, &mut tally);
        }
        println!("{trials} {}: {tally:?}", if is_cut { "cuts" } else { "flips" });
        // A flip is rarely in the last batch.
        assert!(tally.refused > trials / 20 && (tally.cut_off > 0 || !is_cut), "{tally:?}");
    }
}

#[test]
fn a_damaged_store_is_repaired_and_the_rest_is_there() {
    let original = Original::make("repair", Ending::Killed);
    let copy = original.directory.join("copy");
    copy_all(&original.directory.join("original"), &copy);
    assert!(!check(&copy).unwrap().iter().any(|finding| finding.is_damage));
    damage(&log(&copy), original.batches[100].0 + 200, Harm::Flip(3));
    let findings = check(&copy).unwrap();
    let found = findings.iter().find(|finding| finding.is_damage).unwrap();
    assert!(found.text.contains("batch 101 of the log cannot be read (log/00000000"), "{}", found.text);
    let error = Durable::open(&copy, SyncMode::Always).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(repair(&copy).unwrap().iter().any(|finding| finding.is_damage));
    assert!(log(&copy.join("damaged")).exists());
    let mut store = Durable::open(&copy, SyncMode::Always).unwrap();
    assert!(left(&mut store).into_iter().eq(1..=100));
    drop(store);
    // And it is a store like any other from then on.
    let mut out = Vec::new();
    dump(&copy, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("{\"kind\":\"message\"")).count(), 400);
    assert!(text.contains(r#""client_id":"someone""#));
    assert_eq!(Durable::open(&copy, SyncMode::Always).unwrap().cut_off(), [] as [String; 0]);
}

#[test]
fn a_damaged_table_is_left_out() {
    let original = Original::make("salvage", Ending::Compacted);
    let copy = original.directory.join("copy");
    copy_all(&original.directory.join("original"), &copy);
    // What was compacted away goes when it is opened.
    drop(Durable::open(&copy, SyncMode::Always).unwrap());
    // The log is written over, but for its end.
    let last = original.batches[original.batches.len() - 1].0;
    let mut file = OpenOptions::new().write(true).open(log(&copy)).unwrap();
    file.write_all(&vec![0; usize::try_from(last).unwrap()]).unwrap();
    // The largest file of a table: the messages.
    let mut all = Vec::new();
    files(&copy.join("db/keyspaces"), &mut all);
    let (path, length) = all.into_iter().max_by_key(|(_, length)| *length).unwrap();
    damage(&path, length / 2, Harm::Flip(0));
    let error = Durable::open(&copy, SyncMode::Always).unwrap_err();
    assert!(error.to_string().contains("not as it was written"), "{error}");
    assert!(repair(&copy).unwrap().iter().any(|finding| finding.is_damage));
    let mut store = Durable::open(&copy, SyncMode::Always).unwrap();
    let mut messages = 0;
    store
        .restore(1, usize::MAX, &mut |_, restored| {
            let Restored::Changes(changes) = restored else {
                return;
            };
            messages += changes.iter().filter(|change| matches!(change, Change::Message(..))).count();
        })
        .unwrap();
    assert!(messages > 1500 && messages < 1920, "{messages}");
    drop(store);
    // And it is a store like any other from then on.
    drop(Durable::open(&copy, SyncMode::Always).unwrap());
    assert!(!check(&copy).unwrap().iter().any(|finding| finding.is_damage));
}
