//! Sessions in a file: what was taken outlives the process, `kill -9` included, and arrives exactly once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod peer;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt_broker_lite::Broker;
use mqtt_client_async::*;
use peer::{Server, id_of};

/// A file of this test, removed with it.
struct StoreFile(PathBuf);

impl StoreFile {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mqtt-client-async-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for StoreFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn stored(options: Options, path: &Path) -> Options {
    let path = path.to_owned();
    options.client_id("stored").session(Duration::from_secs(3600)).store(move || FileStore::open(&path))
}

fn payloads(options: &Options) -> Vec<Vec<u8>> {
    options.stored_messages().unwrap().iter().map(|message| message.payload().to_vec()).collect()
}

#[tokio::test]
async fn what_was_taken_offline_is_sent_by_the_next_process() {
    for version in [Version::V3_1_1, Version::V5] {
        let file = StoreFile::new(&format!("offline-{version:?}"));
        let (server, options) = Server::new(version);
        let options = stored(options, &file.0);
        assert_eq!(payloads(&options), [b""; 0]);
        // The server cannot be reached, as far as this one knows.
        let hour = Duration::from_secs(3600);
        let (client, driver) = Client::new(options.clone().reconnect(Backoff::new(hour, hour)));
        let driver = tokio::spawn(driver);
        drop(server.next().await);
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce];
        for (n, qos) in qos.into_iter().enumerate() {
            let message = Publish::new("a", vec![b'0' + n as u8]).qos(qos).retain(n == 2);
            drop(client.publish(message).await.unwrap());
        }
        // They are safe without a connection; then the process is gone.
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if std::fs::metadata(&file.0).unwrap().len() > 60 {
                break;
            }
        }
        driver.abort();
        let _ = driver.await;
        assert_eq!(payloads(&options), [b"0", b"1", b"2"]);
        let kept = options.stored_messages().unwrap();
        assert!(kept[2].retain() && !kept[1].retain());

        // The next one sends them, in their order, and knows what the server has.
        let client = Client::start(options.clone());
        let mut peer = server.accept_with(false, &[]).await;
        let (one, two, three) = (peer.expect(0x32).await, peer.expect(0x34).await, peer.expect(0x33).await);
        assert_eq!([&one, &two, &three].map(|packet| *packet.last().unwrap()), *b"012");
        peer.ack(0x40, id_of(&one), 0).await;
        peer.ack(0x50, id_of(&two), 0).await;
        peer.expect(0x62).await;
        drop(peer);
        // That PUBREC came is safe, too: PUBREL is what is repeated.
        client.abort().await;
        assert_eq!(payloads(&options), [b"2"]);
        let client = Client::start(options.clone());
        let mut peer = server.accept_with(true, &[]).await;
        peer.expect(0x62).await;
        let repeated = peer.expect(0x3B).await;
        assert_eq!(id_of(&repeated), id_of(&three));
        peer.ack(0x70, id_of(&two), 0).await;
        peer.ack(0x40, id_of(&three), 0).await;
        // A shutdown waits for what earlier processes took.
        let (report, said) = tokio::join!(client.shutdown(Duration::from_secs(10)), peer.expect_end());
        assert!(matches!(report.reason, ConnectionError::Shutdown));
        assert_eq!(said, [0xE0]);
        assert_eq!(payloads(&options), [b""; 0]);
    }
}

// [MQTT-4.3.3-10 @5.0]
#[tokio::test]
async fn a_received_message_of_qos_2_is_known_to_the_next_process() {
    let file = StoreFile::new("received");
    let (server, options) = Server::new(Version::V5);
    let options = stored(options, &file.0);
    let (client, driver) = Client::new(options.clone());
    let mut all = client.messages();
    let driver = tokio::spawn(driver);
    let mut peer = server.accept_with(false, &[]).await;
    peer.publish("a", QoS::ExactlyOnce, 7, b"once").await;
    assert_eq!(all.recv().await.unwrap().payload(), b"once");
    // PUBREC says that it is safe.
    peer.expect(0x50).await;
    driver.abort();
    let _ = driver.await;
    drop((client, all));

    let (client, driver) = Client::new(options);
    let mut all = client.messages();
    tokio::spawn(driver);
    let mut peer = server.accept_with(true, &[]).await;
    peer.send(&peer::publish(Version::V5, "a", QoS::ExactlyOnce, 7, b"once", &[])).await;
    peer.expect(0x50).await;
    peer.send(&[0x62, 2, 0, 7]).await;
    peer.expect(0x70).await;
    peer.publish("a", QoS::ExactlyOnce, 7, b"twice").await;
    assert_eq!(all.recv().await.unwrap().payload(), b"twice");
    client.abort().await;
}

/// Fails from some write on.
#[derive(Clone)]
struct FullDisk;

impl Store for FullDisk {
    type Error = &'static str;

    fn put(&mut self, _: Key, _: &[u8]) -> Result<(), Self::Error> {
        Err("the disk is full")
    }

    fn remove(&mut self, _: Key) -> Result<(), Self::Error> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn next(&mut self, _: Key, _: &mut [u8]) -> Result<Option<(Key, usize)>, Self::Error> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_store_that_fails_ends_the_client_and_nothing_was_promised() {
    let (server, options) = Server::new(Version::V5);
    let options = options.session(Duration::from_secs(60)).store(|| Ok::<_, String>(FullDisk));
    let (client, mut peer) = tokio::join!(Client::connect(options), server.accept_with(false, &[]));
    let client = client.unwrap();
    let delivery = client.publish(Publish::new("a", "kept?").qos(QoS::AtLeastOnce)).await.unwrap();
    assert!(delivery.await.is_err());
    assert!(client.ended().await.to_string().contains("the disk is full"));
    // No PUBLISH.
    assert!(!peer.expect_end().await.contains(&0x32));

    let options = Server::new(Version::V5).1.store(|| FileStore::open("/no/such/directory/session"));
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Store(_)), "{error}");
    // No file of ours: it stays as it is.
    let file = StoreFile::new("stranger");
    std::fs::write(&file.0, "somebody else's").unwrap();
    let error = Client::connect(stored(Server::new(Version::V5).1, &file.0)).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Store(_)), "{error}");
    assert_eq!(std::fs::read(&file.0).unwrap(), b"somebody else's");
}

/// Where the child finds its server and its file.
const URL: &str = "MQTT_CLIENT_ASYNC_TEST_URL";
const PATH: &str = "MQTT_CLIENT_ASYNC_TEST_PATH";
const FROM: &str = "MQTT_CLIENT_ASYNC_TEST_FROM";

/// The process that is killed: publishes numbers from `FROM` on for as long as it lives; or, without one, sends what the
/// store holds.
#[tokio::test]
async fn child() {
    let (Ok(url), Ok(path)) = (std::env::var(URL), std::env::var(PATH)) else { return };
    let options = stored(Options::new(&url).unwrap(), Path::new(&path));
    let client = Client::start(options);
    let Ok(from) = std::env::var(FROM) else {
        client.status().wait_for(|status| matches!(status, Status::Connected)).await.unwrap();
        let report = client.shutdown(Duration::from_secs(60)).await;
        assert!(matches!(report.reason, ConnectionError::Shutdown));
        return;
    };
    let mut n: u32 = from.parse().unwrap();
    let last = Arc::new(Mutex::new(0));
    loop {
        let delivery =
            client.publish(Publish::new("crash", n.to_string()).qos(QoS::ExactlyOnce)).await.unwrap();
        let last = last.clone();
        tokio::spawn(async move {
            if delivery.await.is_ok() {
                *last.lock().unwrap() = n;
                println!("delivered {n}");
            }
        });
        n += 1;
    }
}

fn run_child(url: &str, path: &Path, from: Option<u32>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(URL, url).env(PATH, path).stdout(Stdio::piped());
    if let Some(from) = from {
        command.env(FROM, from.to_string());
    }
    command.spawn().unwrap()
}

/// What a child says that it delivered: when the first comes, and all of it once the child has ended.
fn read_delivered(
    child: &mut std::process::Child,
) -> (tokio::sync::oneshot::Receiver<()>, std::thread::JoinHandle<Vec<u32>>) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, first) = tokio::sync::oneshot::channel();
    let reader = std::thread::spawn(move || {
        let mut sender = Some(sender);
        let mut delivered = Vec::new();
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("delivered ") {
                delivered.push(n.parse::<u32>().unwrap());
                if let Some(sender) = sender.take() {
                    let _ = sender.send(());
                }
            }
        }
        delivered
    });
    (first, reader)
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_46_what_a_killed_process_had_taken_arrives_exactly_once() {
    let kills: u32 = std::env::var("CRASH_KILLS").ok().map_or(8, |text| text.parse().unwrap());
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").start().unwrap();
    let url = broker.urls().next().unwrap().to_string();
    let file = StoreFile::new("crash");
    let watcher = Client::connect(Options::new(&url).unwrap().client_id("watcher")).await.unwrap();
    let wanted = Subscribe::new(QoS::ExactlyOnce).to("crash").capacity(1 << 20, 1 << 30);
    let mut stream = watcher.subscribe(wanted).await.unwrap();
    let mut seen = BTreeSet::new();
    let mut from = 0;
    let mut dice = fastrand::Rng::with_seed(7);
    let (mut promised, mut delivered) = (0, 0);
    for _ in 0..kills {
        let mut child = run_child(&url, &file.0, Some(from));
        let (first, reader) = read_delivered(&mut child);
        first.await.expect("the child delivers");
        tokio::time::sleep(Duration::from_millis(dice.u64(0..300))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let was_delivered = reader.join().unwrap();
        // What the next process will be asked for, seen from outside.
        let kept: Vec<u32> = payloads(&stored(Options::new(&url).unwrap(), &file.0))
            .iter()
            .map(|payload| str::from_utf8(payload).unwrap().parse().unwrap())
            .collect();
        assert!(run_child(&url, &file.0, None).wait().unwrap().success());
        assert_eq!(payloads(&stored(Options::new(&url).unwrap(), &file.0)), [b""; 0]);
        // Behind everything that the broker has taken.
        let mark = Publish::new("crash", "mark").qos(QoS::ExactlyOnce);
        watcher.publish(mark).await.unwrap().await.unwrap();
        while let Some(message) = stream.recv().await {
            let text = str::from_utf8(message.payload()).unwrap();
            if text == "mark" {
                break;
            }
            let n: u32 = text.parse().unwrap();
            assert!(seen.insert(n), "{n} came twice");
        }
        for n in kept.iter().chain(&was_delivered) {
            assert!(seen.contains(n), "{n} was promised and never came");
        }
        promised += kept.len();
        delivered += was_delivered.len();
        from = seen.last().unwrap() + 1000;
    }
    assert!(promised > 0 && delivered > 0, "{promised} {delivered}");
    println!("{kills} kills: {delivered} delivered before, {promised} by the next process, none twice");
}
