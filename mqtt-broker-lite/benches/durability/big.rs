//! Starts with much in the store.

use crate::load::{PAYLOAD, receive_all};
use crate::server::{Server, directory};
use mqtt_broker_lite::core::{
    Cause, Change, Client, Content, Message, MessageNumber, SessionNumber, SessionRecord, ShardId,
    SubscriptionRecord,
};
use mqtt_broker_lite::store::{Durable, Store, SyncMode, Written};
use mqtt_packet::{QoS, SubscribeOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages of a session.
const QUEUE: u64 = 100_000;
const BATCH: u64 = 500;

fn client(name: &str) -> Arc<Client> {
    Arc::new(Client { client_id: name.into(), user_name: None, rules: None })
}

fn session(number: u64, name: &str) -> [Change; 2] {
    let number = SessionNumber(number);
    let record = SessionRecord { client: client(name), expiry: u32::MAX, away_since: Some(1), will: None };
    let subscription = SubscriptionRecord { options: SubscribeOptions::new(QoS::AtLeastOnce), id: 0 };
    [Change::Session(number, record), Change::Subscription(number, "k/0".into(), subscription)]
}

fn queued(number: u64, owner: u64, sequence: u64, publisher: &Arc<Client>) -> [Change; 2] {
    let mut payload = sequence.to_be_bytes().to_vec();
    payload.resize(PAYLOAD, b'x');
    let message = Message {
        content: Content::new(b"k/0", b"", &payload),
        qos: QoS::AtLeastOnce,
        retain: false,
        expires: None,
        publisher: Arc::clone(publisher),
    };
    let number = MessageNumber::alone(ShardId(0), number);
    let queued = Change::Queued {
        session: SessionNumber(owner),
        sequence,
        message: number,
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: Box::default(),
    };
    [Change::Message(number, Arc::new(message)), queued]
}

/// A store with so many messages for sessions, the first of which is the subscriber's.
fn fill(directory: &Path, messages: u64) {
    let mut store = Durable::open(directory, SyncMode::Off).unwrap();
    let publisher = client("publisher");
    let mut cause = 0;
    let mut write = |changes| {
        cause += 1;
        let writer = ShardId(0);
        store.commit(&[Written { writer, cause: Cause { shard: writer, number: cause }, changes }]).unwrap();
    };
    for owner in 1..=messages.div_ceil(QUEUE) {
        let name = if owner == 1 { "subscriber".to_owned() } else { format!("subscriber-{owner}") };
        write(session(owner, &name).into());
    }
    for begin in (0..messages).step_by(BATCH as usize) {
        let batch = begin..messages.min(begin + BATCH);
        write(
            batch
                .flat_map(|index| queued(index + 1, index / QUEUE + 1, index % QUEUE + 1, &publisher))
                .collect(),
        );
    }
    store.close().unwrap();
}

fn started(messages: u64, name: &str) -> (Server, Duration) {
    let directory = directory(name);
    fill(&directory, messages);
    // What is measured is not how this is written.
    rustix::fs::sync();
    let begin = Instant::now();
    let server = Server::ours(&directory, &["--workers", "1"]);
    (server, begin.elapsed())
}

/// How long it takes until a listener is open.
pub fn start(messages: u64) {
    let (server, took) = started(messages, "start");
    let came = receive_all(&server.address, Duration::from_secs(2)).get("k/0").map_or(0, |came| came.len());
    println!(
        "start with {messages} messages: {:.2} s; the first subscriber got {came} of {}",
        took.as_secs_f64(),
        messages.min(QUEUE)
    );
    server.stop();
}

/// How much memory it takes.
pub fn memory(messages: u64) {
    let (server, took) = started(messages, "memory");
    let at_start = server.peak_memory() >> 20;
    let came = receive_all(&server.address, Duration::from_secs(2)).get("k/0").map_or(0, |came| came.len());
    println!(
        "{messages} messages: started in {:.1} s, at most {at_start} MiB of memory, {} MiB when the first subscriber \
         had got {came} of {}",
        took.as_secs_f64(),
        server.peak_memory() >> 20,
        messages.min(QUEUE)
    );
    server.stop();
}
