//! Listeners of one broker, each with its own passwords, rights and tokens, by a configuration file, over sockets.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod made;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use made::Directory;
use mqtt_broker_lite::access::{Access, hash};
use mqtt_broker_lite::config::Config;
use mqtt_broker_lite::{Broker, SyncMode};
use mqtt_client_async::{Client, ConnectionError, Options, Publish, QoS, Subscription, Version};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const WAIT: Duration = Duration::from_secs(20);
const REFUSED: u8 = 0x86;
const NOT_AUTHORIZED: u8 = 0x87;

/// The listeners, in their order.
const HOUSE: usize = 0;
const PLANT: usize = 1;
const OPEN: usize = 2;
const TOKENS: usize = 3;

const SECRET: &str = "a secret that has thirty-two bytes";

/// The house has the common files, the plant its own; one is open to all who may only read, one takes tokens, too.
struct Place {
    directory: Directory,
    access: Arc<Access>,
    broker: Broker,
}

fn line(name: &str, password: &str) -> String {
    format!("{name}:{}\n", hash(password.as_bytes(), b"0123456789abcdef").unwrap())
}

fn start(directory: Directory) -> Place {
    let at = |name: &str| directory.0.join(name).display().to_string();
    let toml = format!(
        "workers = 2\n[access]\npassword_file = {:?}\nacl_file = {:?}\n\
         [[listener]]\nurl = \"mqtt://127.0.0.1:0\"\n\
         [[listener]]\nurl = \"mqtt://127.0.0.1:0\"\npassword_file = {:?}\nacl_file = {:?}\n\
         [[listener]]\nurl = \"mqtt://127.0.0.1:0\"\nallow_anonymous = true\nacl_file = {:?}\n\
         [[listener]]\nurl = \"mqtt://127.0.0.1:0\"\njwt_key_file = {:?}\njwt_issuer = \"us\"\n",
        at("passwords"),
        at("acl"),
        at("passwords.plant"),
        at("acl.plant"),
        at("acl.open"),
        at("key"),
    );
    let file = directory.write("broker.toml", toml);
    let config = Config::load(Some(&file), std::iter::empty()).unwrap();
    let (builder, access) = config.builder().unwrap();
    let broker = builder.data(directory.0.join("data"), SyncMode::Always).start().unwrap();
    Place { directory, access: access.unwrap(), broker }
}

fn place() -> Place {
    let directory = Directory::new();
    directory.write("passwords", line("alice", "house"));
    directory.write("passwords.plant", line("alice", "plant") + &line("bob", "plant"));
    directory.write("acl", "user alice\ntopic house/#\nuser tom\ntopic house/#\n");
    directory.write("acl.plant", "user alice\ntopic plant/#\nuser bob\ntopic read #\n");
    directory.write("acl.open", "topic read house/#\n");
    directory.write("key", SECRET);
    start(directory)
}

impl Place {
    fn options(&self, listener: usize, id: &str) -> Options {
        let url = self.broker.urls().nth(listener).unwrap();
        Options::new(&url).unwrap().client_id(id).no_reconnect().version(Version::V5)
    }

    async fn enter(&self, listener: usize, id: &str, user: &str, password: &str) -> Result<Client, u8> {
        let options = self.options(listener, id).credentials(user, password.to_owned());
        connect(options).await
    }
}

async fn connect(options: Options) -> Result<Client, u8> {
    Client::connect(options).await.map_err(|error| match error {
        ConnectionError::Refused(words) => words.reason_code.0,
        other => panic!("{other:?}"),
    })
}

/// Whether a message of QoS 1 was taken.
async fn may_publish(client: &Client, message: Publish) -> bool {
    match client.publish(message.qos(QoS::AtLeastOnce)).await.unwrap().await {
        Ok(_) => true,
        Err(mqtt_client_async::DeliveryError::Refused(refusal)) => {
            assert_eq!(refusal.reason_code.0, NOT_AUTHORIZED);
            false
        }
        Err(other) => panic!("{other:?}"),
    }
}

async fn receive(stream: &mut Subscription) -> String {
    let message = tokio::time::timeout(WAIT, stream.recv()).await.expect("nothing came").unwrap();
    message.topic().to_owned()
}

async fn comes_nothing(stream: &mut Subscription) -> bool {
    tokio::time::timeout(Duration::from_millis(200), stream.recv()).await.is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_listener_asks_by_its_own_files() {
    let place = place();
    for (listener, user, password, answer) in [
        (HOUSE, "alice", "house", None),
        (HOUSE, "alice", "plant", Some(REFUSED)),
        (HOUSE, "bob", "plant", Some(REFUSED)),
        (PLANT, "alice", "house", Some(REFUSED)),
        (PLANT, "alice", "plant", None),
        (PLANT, "bob", "plant", None),
        // What a listener does not say is as for all.
        (OPEN, "alice", "house", None),
        (OPEN, "bob", "plant", Some(REFUSED)),
        (TOKENS, "alice", "house", None),
    ] {
        // One name each, so that sessions move between listeners and shards.
        let entered = place.enter(listener, user, user, password).await;
        assert_eq!(entered.err(), answer, "{listener} {user} {password}");
    }
    for listener in [HOUSE, PLANT, OPEN, TOKENS] {
        let entered = connect(place.options(listener, "nobody")).await;
        assert_eq!(entered.is_ok(), listener == OPEN, "{listener}");
    }
    let end = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 60;
    let claims = serde_json::json!({"sub": "tom", "iss": "us", "exp": end});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    for listener in [HOUSE, PLANT, OPEN, TOKENS] {
        let entered = place.enter(listener, "tom", "tom", &token).await;
        assert_eq!(entered.err(), (listener != TOKENS).then_some(REFUSED), "{listener}");
    }
    let tom = place.enter(TOKENS, "tom", "tom", &token).await.unwrap();
    assert!(may_publish(&tom, Publish::new("house/x", "x")).await);
    assert!(!may_publish(&tom, Publish::new("plant/x", "x")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_those_of_the_listener_that_a_client_came_by() {
    let place = place();
    let house = place.enter(HOUSE, "h", "alice", "house").await.unwrap();
    let plant = place.enter(PLANT, "p", "alice", "plant").await.unwrap();
    for (client, topic, may) in [
        (&house, "house/x", true),
        (&house, "plant/x", false),
        (&plant, "house/x", false),
        (&plant, "plant/x", true),
    ] {
        assert_eq!(may_publish(client, Publish::new(topic, "x")).await, may, "{topic}");
        assert_eq!(client.subscribe((topic, QoS::AtMostOnce)).await.is_ok(), may, "{topic}");
    }
    let reader = connect(place.options(OPEN, "reader")).await.unwrap();
    assert!(!may_publish(&reader, Publish::new("house/x", "x")).await);
    let mut all = reader.subscribe(("#", QoS::AtLeastOnce)).await.unwrap();
    let bob = place.enter(PLANT, "b", "bob", "plant").await.unwrap();
    let mut bobs = bob.subscribe(("#", QoS::AtLeastOnce)).await.unwrap();
    assert!(may_publish(&plant, Publish::new("plant/y", "x")).await);
    assert!(may_publish(&house, Publish::new("house/y", "x")).await);
    assert_eq!(receive(&mut all).await, "house/y");
    let mut both = [receive(&mut bobs).await, receive(&mut bobs).await];
    both.sort();
    assert_eq!(both, ["house/y", "plant/y"]);
    // The session of one listener, resumed by another: what it may no more, is not its own any more.
    let kept =
        |listener| place.options(listener, "moved").session(Duration::from_secs(600)).assume_session(true);
    let moved = connect(kept(PLANT).credentials("alice", "plant")).await.unwrap();
    let _plants = moved.subscribe(("plant/#", QoS::AtLeastOnce)).await.unwrap();
    moved.shutdown(WAIT).await;
    assert!(may_publish(&plant, Publish::new("plant/z", "x")).await);
    let moved = connect(kept(HOUSE).credentials("alice", "house")).await.unwrap();
    let mut houses = moved.subscribe(("house/#", QoS::AtLeastOnce)).await.unwrap();
    assert!(may_publish(&house, Publish::new("house/z", "x")).await);
    assert_eq!(receive(&mut houses).await, "house/z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_for_all_listeners_or_for_none() {
    let place = place();
    let plant = place.enter(PLANT, "p", "alice", "plant").await.unwrap();
    assert!(may_publish(&plant, Publish::new("plant/x", "x")).await);
    // One file is right and another is not: nothing changes.
    place.directory.write("acl.plant", "user bob\ntopic read #\n");
    place.directory.write("acl.open", "topc read house/#\n");
    let faults = place.access.reload().unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].to_string().ends_with("\"topc\" is not user, topic or pattern"), "{faults:?}");
    // The common passwords stand in three sets, and are named once.
    place.directory.write("passwords", "alice\n");
    assert_eq!(place.access.reload().unwrap_err().len(), 2);
    assert!(may_publish(&plant, Publish::new("plant/x", "x")).await);
    place.directory.write("passwords", line("alice", "house"));
    place.directory.write("passwords.plant", line("alice", "changed"));
    place.directory.write("acl.open", "topic read plant/#\n");
    place.access.reload().unwrap();
    assert!(!may_publish(&plant, Publish::new("plant/x", "x")).await);
    assert_eq!(place.enter(PLANT, "q", "alice", "plant").await.err(), Some(REFUSED));
    place.enter(PLANT, "q", "alice", "changed").await.unwrap();
    place.enter(HOUSE, "q", "alice", "house").await.unwrap();
    let reader = connect(place.options(OPEN, "reader")).await.unwrap();
    assert!(reader.subscribe(("house/#", QoS::AtMostOnce)).await.is_err());
    assert!(reader.subscribe(("plant/#", QoS::AtMostOnce)).await.is_ok());
}

/// Who was known before a restart is judged by the rules of any listener, until he is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_neither_loses_nor_widens_rights() {
    let before = place();
    let kept = |place: &Place, listener| place.options(listener, "kept").session(Duration::from_secs(600));
    let client = connect(kept(&before, PLANT).credentials("alice", "plant")).await.unwrap();
    let plants = client.subscribe(("plant/#", QoS::AtLeastOnce)).await.unwrap();
    assert!(may_publish(&client, Publish::new("plant/kept", "x").retain(true)).await);
    assert!(may_publish(&client, Publish::new("plant/gone", "x").retain(true)).await);
    client.shutdown(WAIT).await;
    drop(plants);
    before.broker.shutdown();
    // No listener grants plant/gone to alice any more.
    before.directory.write(
        "acl.plant",
        "user alice\ntopic plant/kept\ntopic plant/later\ntopic plant/end\nuser bob\ntopic #\n",
    );
    let after = start(before.directory);
    let bob = after.enter(PLANT, "b", "bob", "plant").await.unwrap();
    let mut retained = bob.subscribe(("plant/#", QoS::AtLeastOnce)).await.unwrap();
    assert_eq!(receive(&mut retained).await, "plant/kept");
    assert!(comes_nothing(&mut retained).await, "a retained message whose right is gone");
    // While alice is away, what she may read waits for her.
    for topic in ["plant/later", "plant/secret", "plant/end"] {
        assert!(may_publish(&bob, Publish::new(topic, "x")).await);
    }
    let url = after.broker.urls().nth(PLANT).unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("mqtt://").unwrap()).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.write_all(b"\x10\x1E\0\x04MQTT\x04\xC0\0\0\0\x04kept\0\x05alice\0\x05plant").unwrap();
    let mut came = Vec::new();
    while !came.ends_with(b"plant/end") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        came.extend(byte);
    }
    assert_eq!(came[..4], [0x20, 2, 1, 0], "no session");
    let came = String::from_utf8_lossy(&came).into_owned();
    assert!(came.contains("plant/later") && !came.contains("plant/secret"), "{came:?}");
}
