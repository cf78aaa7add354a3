//! Stores of every format that there was: this version opens them, and everything in them is there. `tests/formats` has
//! one of each, as it was after the end of the process, and what is in it. For a new format, `MAKE_FORMAT=DIRECTORY`
//! makes one.

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

mod made;
mod traffic;

use made::Directory;
use mqtt_broker_lite::Broker;
use mqtt_broker_lite::core::{
    Cause, Change, Client, Content, Message, MessageNumber, SessionNumber, SessionRecord, ShardId,
    StoredWill, SubscriptionRecord,
};
use mqtt_broker_lite::store::{Durable, Store, SyncMode, Written, check, dump};
use mqtt_packet::{PacketId, QoS, RetainHandling, SubscribeOptions};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use traffic::client::{Client as Connection, PUBACK, PUBREL, Packet};

fn client(name: &str, user_name: Option<&str>) -> Arc<Client> {
    Arc::new(Client { client_id: name.into(), user_name: user_name.map(Into::into), rules: None })
}

fn message(topic: &str, qos: QoS, retain: bool, payload: &str) -> Message {
    Message {
        // Content Type.
        content: Content::new(topic.as_bytes(), b"\x03\x00\x01t", payload.as_bytes()),
        qos,
        retain,
        expires: None,
        publisher: client("publisher", Some("user")),
    }
}

fn queued(session: u64, sequence: u64, message: u64, qos: QoS) -> Change {
    Change::Queued {
        session: SessionNumber(session),
        sequence,
        message: MessageNumber(message),
        qos,
        retain: false,
        subscription_ids: [7, 300].into(),
    }
}

/// Everything that there is, in two parts: the first is in tables afterwards, the second in the journal.
fn changes() -> [Vec<Change>; 2] {
    let will = StoredWill {
        message: Arc::new(message("will", QoS::ExactlyOnce, true, "gone")),
        expiry: Some(60),
        delay: 4_000_000_000,
    };
    let session = |expiry, away_since, will| SessionRecord {
        client: client("s", Some("user")),
        expiry,
        away_since,
        will,
    };
    let options = SubscribeOptions {
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
        ..SubscribeOptions::new(QoS::ExactlyOnce)
    };
    let expiring =
        Message { expires: Some(9_000_000_000_000), ..message("t/2", QoS::ExactlyOnce, false, "two") };
    let shared = message("g/1", QoS::AtLeastOnce, false, "shared");
    [
        vec![
            Change::Session(SessionNumber(1), session(u32::MAX, Some(1), None)),
            Change::Subscription(SessionNumber(1), "t/#".into(), SubscriptionRecord { options, id: 300 }),
            Change::Message(MessageNumber(1), Arc::new(message("t/1", QoS::AtLeastOnce, false, "one"))),
            queued(1, 1, 1, QoS::AtLeastOnce),
            Change::InFlight { session: SessionNumber(1), sequence: 1, serial: 65_536, received: None },
            Change::Retained(Arc::new(message("r/1", QoS::AtLeastOnce, true, "kept"))),
            Change::Retained(Arc::new(message("r/2", QoS::AtLeastOnce, true, "replaced"))),
            Change::Received(SessionNumber(1), PacketId::new(3).unwrap()),
        ],
        vec![
            Change::Session(SessionNumber(1), session(u32::MAX, Some(2), Some(will))),
            Change::Group(SessionNumber(2), "g/g/+".into()),
            Change::Message(MessageNumber(2), Arc::new(expiring)),
            queued(1, 2, 2, QoS::ExactlyOnce),
            Change::InFlight { session: SessionNumber(1), sequence: 9, serial: 65_540, received: Some(1) },
            Change::Message(MessageNumber(3), Arc::new(shared)),
            queued(2, 1, 3, QoS::AtLeastOnce),
            // One that has its queue for itself.
            Change::Message(
                MessageNumber::alone(ShardId(0), 4),
                Arc::new(message("t/3", QoS::AtLeastOnce, false, "three")),
            ),
            Change::Queued {
                session: SessionNumber(1),
                sequence: 3,
                message: MessageNumber::alone(ShardId(0), 4),
                qos: QoS::AtLeastOnce,
                retain: true,
                subscription_ids: [1, 200].into(),
            },
            Change::InFlight { session: SessionNumber(1), sequence: 3, serial: 65_541, received: None },
            Change::RetainedGone("r/2".into()),
            Change::Received(SessionNumber(1), PacketId::new(65_535).unwrap()),
        ],
    ]
}

/// A store with all of it, as it is after SIGKILL.
fn make(directory: &Path) {
    let mut store = Durable::open(directory, SyncMode::Always).unwrap();
    let writer = ShardId(0);
    for (number, changes) in (1..).zip(changes()) {
        store.commit(&[Written { writer, cause: Cause { shard: writer, number }, changes }]).unwrap();
        if number == 1 {
            store.compact().unwrap();
        }
    }
    drop(store);
    // The rest of a journal is zeros, and that of a file of the log; how long that is is its name.
    for entry in fs::read_dir(directory.join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            let content = fs::read(&path).unwrap();
            let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let used = used.next_multiple_of(4096);
            fs::write(path.with_extension(used.to_string()), &content[..used]).unwrap();
            fs::remove_file(path).unwrap();
        }
    }
    for entry in fs::read_dir(directory.join("db")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let content = fs::read(&path).unwrap();
            let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            fs::write(&path, &content[..used]).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every record as a line, in an order that does not depend on the tables.
fn dumped(directory: &Path) -> String {
    let mut out = Vec::new();
    dump(directory, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The stores, by their formats, and what is in them.
fn formats() -> Vec<(PathBuf, String)> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    let mut found: Vec<_> = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    let with_content = |path: PathBuf| {
        (path.clone(), fs::read_to_string(path.with_extension("jsonl")).unwrap().trim_end().to_owned())
    };
    found.into_iter().map(with_content).collect()
}

#[test]
fn what_this_version_writes_is_among_the_formats() {
    let directory = Directory::new();
    let data = std::env::var_os("MAKE_FORMAT").map_or_else(|| directory.0.join("data"), PathBuf::from);
    make(&data);
    let format = fs::read_to_string(data.join("format")).unwrap();
    let kept = directory.0.join("copy");
    copy(&data, &kept);
    let (newest, content) = formats().pop().unwrap();
    assert_eq!(
        fs::read_to_string(newest.join("format")).unwrap(),
        format,
        "a new format is not in tests/formats"
    );
    // Not before, so that what it made can be kept.
    assert_eq!(dumped(&kept), content);
}

#[test]
fn every_format_is_read_and_goes_on() {
    for (format, content) in formats() {
        let directory = Directory::new();
        let data = directory.0.join("data");
        copy(&format, &data);
        assert!(!check(&data).unwrap().iter().any(|finding| finding.is_damage), "{}", format.display());
        assert_eq!(dumped(&data), content, "{}", format.display());
        // And a broker goes on with it.
        let broker =
            Broker::builder().listen("mqtt://127.0.0.1:0").data(&data, SyncMode::Always).start().unwrap();
        let address = broker.addresses()[0].to_string();
        let mut session = Connection::connect(&address, "s").unwrap();
        assert!(session.is_present);
        let mut came = Vec::new();
        while !came.iter().any(|line: &String| line.starts_with("t/2")) {
            match session.next().unwrap() {
                Packet::Ack(PUBREL, id) => came.push(format!("PUBREL {id}")),
                Packet::Publish { qos, id, topic, payload, .. } => {
                    came.push(format!("{topic} {qos} {id} {}", String::from_utf8(payload).unwrap()));
                    if qos == 1 {
                        session.ack(PUBACK, id);
                        session.flush().unwrap();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(came[..2], ["PUBREL 5", "t/1 1 1 one"], "{}", format.display());
        let third = content.contains("three").then_some("t/3 1 6 three");
        assert_eq!(
            came[2..came.len() - 1].iter().map(String::as_str).collect::<Vec<_>>(),
            third.into_iter().collect::<Vec<_>>()
        );
        assert!(
            came[came.len() - 1].starts_with("t/2 2 ") && came[came.len() - 1].ends_with(" two"),
            "{came:?}"
        );
        session.subscribe("r/+", 0, 9);
        let before = session.await_granted(9).unwrap();
        let retained = before.into_iter().next().unwrap_or_else(|| session.next().unwrap());
        assert!(
            matches!(&retained, Packet::Publish { retain: true, topic, payload, .. } if topic == "r/1" && payload == b"kept"),
            "{retained:?}"
        );
        broker.shutdown();
        assert!(!dumped(&data).contains("\"one\""), "what was acknowledged is still there");
    }
}
