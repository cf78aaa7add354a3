//! Who may connect and who may do what, by files, over sockets: passwords, certificates, tokens, rights, reloads.

#![cfg(all(feature = "access", feature = "jwt", feature = "tls"))]
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
use made::{Authority, Directory};
use mqtt_broker_lite::access::{Access, AccessFiles, Door, TokenFiles, hash};
use mqtt_broker_lite::{Broker, ClientCertificates, Listen, TlsFiles};
use mqtt_client_async::transport::TlsOptions;
use mqtt_client_async::{
    Carriers, Client, ConnectionError, LastWill, Options, Publish, QoS, ReasonCode, Subscription, Version,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const WAIT: Duration = Duration::from_secs(20);
const REFUSED: u8 = 0x86;

fn line(name: &str, password: &str) -> String {
    format!("{name}:{}\n", hash(password.as_bytes(), b"0123456789abcdef").unwrap())
}

/// alice and bob by passwords of two kinds, with rights.
struct Place {
    directory: Directory,
    access: Arc<Access>,
    broker: Broker,
}

const RIGHTS: &str = "topic readwrite public/#\nuser alice\ntopic readwrite plant/#\ntopic deny plant/secret\n\
                      user bob\ntopic read plant/#\ntopic write public/#\npattern readwrite own/%c/%u\n";

fn place(rights: &str, allow_anonymous: bool) -> Place {
    let directory = Directory::new();
    let passwords = directory.write("passwords", line("alice", "secret") + &line("bob", "hunter2"));
    let acl = directory.write("acl", rights);
    let files = AccessFiles { passwords: Some(passwords), acl: Some(acl), ..AccessFiles::default() };
    let door = Door { allow_anonymous, ..Door::default() };
    let access = Access::load(files, vec![door]).unwrap();
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").access(&access).start().unwrap();
    Place { directory, access, broker }
}

impl Place {
    fn options(&self, id: &str) -> Options {
        Options::new(&self.broker.url()).unwrap().client_id(id).no_reconnect().version(Version::V5)
    }

    async fn client(&self, id: &str, user: &str, password: &str) -> Client {
        Client::connect(self.options(id).credentials(user, password.to_owned())).await.unwrap()
    }
}

fn code(error: ConnectionError) -> u8 {
    match error {
        ConnectionError::Refused(words) => words.reason_code.0,
        other => panic!("{other:?}"),
    }
}

/// What the broker says to a message of QoS 1.
async fn publish(client: &Client, topic: &str) -> u8 {
    let message = Publish::new(topic, "x").qos(QoS::AtLeastOnce);
    match client.publish(message).await.unwrap().await {
        Ok(_) => 0,
        Err(mqtt_client_async::DeliveryError::Refused(acknowledgement)) => acknowledgement.reason_code.0,
        Err(other) => panic!("{other:?}"),
    }
}

async fn receive(stream: &mut Subscription) -> String {
    let message = tokio::time::timeout(WAIT, stream.recv()).await.expect("nothing came").unwrap();
    message.topic().to_owned()
}

// CVE-2021-46434 (names found out by answers), CVE-2018-12551 (a user without a password).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_and_its_password_are_asked_for() {
    let place = place(RIGHTS, false);
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        let connect = |user: &str, password: &str| {
            Client::connect(place.options("c").version(version).credentials(user, password.to_owned()))
        };
        connect("alice", "secret").await.unwrap();
        connect("bob", "hunter2").await.unwrap();
        let wrong =
            [("alice", "hunter2"), ("alice", ""), ("mallory", "secret"), ("Alice", "secret"), ("", "secret")];
        for (user, password) in wrong {
            assert_eq!(code(connect(user, password).await.unwrap_err()), REFUSED, "{user} {password}");
        }
        let anonymous = Client::connect(place.options("c").version(version)).await;
        assert_eq!(code(anonymous.unwrap_err()), 0x87);
    }
}

// CVE-2018-20145: what a listener says for itself holds there, whatever it carries.
#[cfg(all(feature = "ws", unix))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_listener_has_its_own_door() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let server = authority.server();
    let tls = TlsFiles {
        certificate: directory.write("server.pem", &server.0),
        key: directory.write("server.key", &server.1),
        ..TlsFiles::default()
    };
    let passwords = directory.write("passwords", line("alice", "secret"));
    for first_is_open in [true, false] {
        let is_open = |index: usize| index.is_multiple_of(2) == first_is_open;
        let files = AccessFiles { passwords: Some(passwords.clone()), ..AccessFiles::default() };
        let doors = (0..5).map(|index| Door { allow_anonymous: is_open(index), ..Door::default() });
        let broker = Broker::builder()
            .listen("mqtt://127.0.0.1:0")
            .listen(Listen::on("mqtts://127.0.0.1:0").tls(tls.clone()))
            .listen("ws://127.0.0.1:0")
            .listen(Listen::on("wss://127.0.0.1:0").tls(tls.clone()))
            .listen(format!("unix://{}", directory.0.join("mqtt.sock").display()))
            .access(&Access::load(files, doors.collect()).unwrap())
            .start()
            .unwrap();
        for (index, url) in broker.urls().enumerate() {
            let trusted = TlsOptions::new().ca(authority.certificate.clone());
            let url = if url.contains("s://") { url.replace("127.0.0.1", "localhost") } else { url };
            let options = || {
                let options = Options::with_carriers(&url, &Carriers::new().tls(trusted.clone())).unwrap();
                options.client_id("c").no_reconnect().version(Version::V5)
            };
            match Client::connect(options()).await {
                Ok(_) => assert!(is_open(index), "{url} is open"),
                Err(error) => assert_eq!((code(error), is_open(index)), (0x87, false), "{url}"),
            }
            Client::connect(options().credentials("alice", "secret")).await.unwrap();
        }
        broker.shutdown();
    }
}

/// The matrix: who, what, where, and whether.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_hold_for_every_action() {
    let place = place(RIGHTS, true);
    let nobody = Client::connect(place.options("n")).await.unwrap();
    let (alice, bob) =
        (place.client("a", "alice", "secret").await, place.client("b", "bob", "hunter2").await);
    for (client, topic, answer) in [
        (&nobody, "public/x", 0x10),
        (&nobody, "plant/x", 0x87),
        (&alice, "plant/x", 0x10),
        (&alice, "plant/secret", 0x87),
        (&alice, "public/x", 0x87),
        (&alice, "own/a/alice", 0x10),
        (&alice, "own/b/alice", 0x87),
        (&bob, "public/x", 0x10),
        (&bob, "plant/x", 0x87),
        (&bob, "own/b/bob", 0x10),
        (&bob, "own/+/bob", 0x87),
    ] {
        if topic.contains('+') {
            continue;
        }
        let found = publish(client, topic).await;
        assert!(found == answer || (answer == 0x10 && found == 0), "{topic}: {found:#x}");
    }
    for (client, filter, is_granted) in [
        (&nobody, "public/#", true),
        (&nobody, "plant/#", false),
        (&alice, "plant/secret", false),
        (&alice, "#", true),
        (&bob, "plant/+", true),
        (&bob, "public/#", false),
        (&bob, "own/+/bob", true),
        (&bob, "own/a/+", false),
        (&bob, "$SYS/#", false),
        (&bob, "$share/g/public/#", false),
    ] {
        let result = client.subscribe((filter, QoS::AtLeastOnce)).await;
        assert_eq!(result.is_ok(), is_granted, "{filter}");
    }
    // A wide subscription receives what may be read, and nothing else.
    let mut all = bob.subscribe(("#", QoS::AtLeastOnce)).await.unwrap();
    assert_eq!(publish(&nobody, "public/y").await & 0x80, 0);
    assert_eq!(publish(&alice, "own/a/alice").await & 0x80, 0);
    assert_eq!(publish(&alice, "plant/y").await & 0x80, 0);
    assert_eq!(receive(&mut all).await, "plant/y");
    // A will needs the right to it.
    let will = |topic: &str| LastWill::new(Publish::new(topic, "gone"));
    let options = |topic| place.options("w").credentials("bob", "hunter2").will(will(topic));
    assert_eq!(code(Client::connect(options("plant/x")).await.unwrap_err()), 0x87);
    Client::connect(options("public/x")).await.unwrap();
}

// CVE-2018-12546 (retained messages outlive a right), CVE-2021-34434 (subscriptions do), CVE-2017-7652 (a reload that
// fails opens everything).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_revokes_and_a_wrong_file_changes_nothing() {
    let place = place("user alice\ntopic t\ntopic u\nuser bob\ntopic t\ntopic u\n", false);
    let alice = place.client("a", "alice", "secret").await;
    let kept = Publish::new("u", "kept").qos(QoS::AtLeastOnce).retain(true);
    alice.publish(kept).await.unwrap().await.unwrap();
    let bob = place.client("b", "bob", "hunter2").await;
    let mut stream = bob.subscribe(("t", QoS::AtLeastOnce)).await.unwrap();
    assert_eq!(publish(&alice, "t").await, 0);
    assert_eq!(receive(&mut stream).await, "t");
    // Nonsense: everything stays.
    place.directory.write("acl", "user bob\ntopc t\n");
    place.directory.write("passwords", "");
    assert_eq!(place.access.reload().unwrap_err().len(), 1);
    place.directory.write("passwords", "alice\n");
    assert_eq!(place.access.reload().unwrap_err().len(), 2);
    std::fs::remove_file(place.directory.0.join("acl")).unwrap();
    assert_eq!(place.access.reload().unwrap_err().len(), 2);
    assert_eq!(publish(&alice, "t").await, 0);
    assert_eq!(receive(&mut stream).await, "t");
    assert_eq!(code(Client::connect(place.options("x")).await.unwrap_err()), 0x87);
    // bob may not read t any more, alice not write u; and alice has another password.
    place.directory.write("acl", "user alice\ntopic t\ntopic v\nuser bob\ntopic u\ntopic v\n");
    place.directory.write("passwords", line("alice", "changed") + &line("bob", "hunter2"));
    place.access.reload().unwrap();
    assert_eq!(publish(&alice, "u").await, 0x87);
    assert_eq!(publish(&alice, "t").await & 0x80, 0);
    let mut others = bob.subscribe(("v", QoS::AtLeastOnce)).await.unwrap();
    assert_eq!(publish(&alice, "v").await, 0);
    assert_eq!(receive(&mut others).await, "v");
    let late = tokio::time::timeout(Duration::from_millis(100), stream.recv()).await;
    assert!(late.is_err(), "a message came through a subscription whose right is gone");
    // What alice left under u is not shown any more, even to those who may read there.
    let mut left = bob.subscribe(("u", QoS::AtLeastOnce)).await.unwrap();
    let late = tokio::time::timeout(Duration::from_millis(100), left.recv()).await;
    assert!(late.is_err(), "a retained message of somebody who may not publish there any more");
    let options = place.options("z").credentials("alice", "secret");
    assert_eq!(code(Client::connect(options).await.unwrap_err()), REFUSED);
    place.client("z", "alice", "changed").await;
}

// CVE-2018-12550
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list_of_rights_denies_everything() {
    let place = place("", true);
    let alice = place.client("a", "alice", "secret").await;
    assert_eq!(publish(&alice, "t").await, 0x87);
    assert!(alice.subscribe(("#", QoS::AtMostOnce)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_common_name_of_a_certificate_is_a_user() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let (certificate, key) = authority.server();
    let files = TlsFiles {
        certificate: directory.write("server.pem", certificate),
        key: directory.write("server.key", key),
        client_ca: Some(directory.write("ca.pem", &authority.certificate)),
        client_certificates: ClientCertificates::Required,
        ..TlsFiles::default()
    };
    let acl = directory.write("acl", "user device7\ntopic write up\nuser device8\ntopic read up\n");
    let door = Door { use_common_name: true, ..Door::default() };
    let access = Access::load(AccessFiles { acl: Some(acl), ..AccessFiles::default() }, vec![door]).unwrap();
    let listen = Listen::on("mqtts://127.0.0.1:0").tls(files);
    let broker = Broker::builder().listen(listen).access(&access).start().unwrap();
    let url = broker.url().replace("127.0.0.1", "localhost");
    let options = |name: &str| {
        let (certificate, key) = authority.client(name);
        let tls = TlsOptions::new().ca(authority.certificate.clone()).client_certificate(certificate, key);
        Options::with_carriers(&url, &Carriers::new().tls(tls)).unwrap().client_id("c").no_reconnect()
    };
    // Whatever CONNECT says, the certificate counts.
    let client = Client::connect(options("device7").credentials("device8", "")).await.unwrap();
    assert_eq!(publish(&client, "up").await & 0x80, 0);
    assert!(client.subscribe(("up", QoS::AtMostOnce)).await.is_err());
    drop(client);
    let client = Client::connect(options("device8")).await.unwrap();
    assert_eq!(publish(&client, "up").await, 0x87);
    assert!(client.subscribe(("up", QoS::AtMostOnce)).await.is_ok());
    // A revocation by the list of rights, while it is connected.
    directory.write("acl", "user device7\ntopic write up\n");
    access.reload().unwrap();
    assert!(client.subscribe(("up", QoS::AtMostOnce)).await.is_err());
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

fn token(algorithm: Algorithm, key: &EncodingKey, claims: serde_json::Value) -> String {
    encode(&Header::new(algorithm), &claims, key).unwrap()
}

fn url64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// What must not open the door, and why.
fn wrong_tokens(
    algorithm: Algorithm,
    key: &EncodingKey,
    right: &serde_json::Value,
    public: &str,
) -> Vec<(&'static str, String)> {
    let good = token(algorithm, key, right.clone());
    let but = |name: &str, value: serde_json::Value| {
        let mut claims = right.clone();
        claims[name] = value;
        token(algorithm, key, claims)
    };
    let without = |name: &str| {
        let mut claims = right.clone();
        claims.as_object_mut().unwrap().remove(name);
        token(algorithm, key, claims)
    };
    let parts: Vec<_> = good.split('.').collect();
    let none = format!("{}.{}.{}", url64(br#"{"alg":"none"}"#), parts[1], parts[2]);
    // The public key taken for a secret.
    let confused = token(Algorithm::HS256, &EncodingKey::from_secret(public.as_bytes()), right.clone());
    let other = rcgen::KeyPair::generate().unwrap();
    let other = EncodingKey::from_ec_pem(other.serialize_pem().as_bytes()).unwrap();
    let bent = format!("{}.{}.{}", parts[0], parts[1], parts[2].chars().rev().collect::<String>());
    vec![
        ("expired", but("exp", in_seconds(-60).into())),
        ("not yet", but("nbf", in_seconds(60).into())),
        ("other issuer", but("iss", "them".into())),
        ("other audience", but("aud", "http".into())),
        ("no user", but("sub", "".into())),
        ("a number", but("sub", 7.into())),
        ("no end", without("exp")),
        ("no issuer", without("iss")),
        ("no audience", without("aud")),
        ("no claim", without("sub")),
        ("no algorithm", none),
        ("confused", confused),
        ("other key", token(Algorithm::ES256, &other, right.clone())),
        ("bent", bent),
        ("no token", "not.a.token".to_owned()),
        ("empty", String::new()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_a_password() {
    let directory = Directory::new();
    let secret = "a secret that has thirty-two bytes";
    let pair = rcgen::KeyPair::generate().unwrap();
    let ec = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let rsa = EncodingKey::from_rsa_pem(include_bytes!("made/rsa.pem")).unwrap();
    let hs = EncodingKey::from_secret(secret.as_bytes());
    let point = pair.public_key_raw();
    let set = serde_json::json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "other"},
        {"kty": "EC", "crv": "P-256", "kid": "ours", "x": url64(&point[1..33]), "y": url64(&point[33..65])},
    ]});
    let public = pair.public_key_pem();
    let kinds = [
        (Algorithm::HS256, &hs, directory.write("secret", secret)),
        (Algorithm::RS256, &rsa, directory.write("rsa.pem", include_bytes!("made/rsa.public.pem"))),
        (Algorithm::ES256, &ec, directory.write("ec.pem", &public)),
        (Algorithm::ES256, &ec, directory.write("keys.json", set.to_string())),
    ];
    let acl = directory.write("acl", "user tom\ntopic t\n");
    for (algorithm, key, file) in kinds {
        let tokens = TokenFiles {
            key: file,
            issuer: Some("us".to_owned()),
            audience: Some("mqtt".to_owned()),
            user_claim: None,
        };
        let files = AccessFiles { passwords: None, acl: Some(acl.clone()), tokens: Some(tokens) };
        let access = Access::load(files, vec![Door::default()]).unwrap();
        let broker = Broker::builder().listen("mqtt://127.0.0.1:0").access(&access).start().unwrap();
        let connect = |user: &str, token: String| {
            let options = Options::new(&broker.url()).unwrap().client_id("c").no_reconnect();
            Client::connect(options.credentials(user, token))
        };
        let right = serde_json::json!({"sub": "tom", "iss": "us", "aud": "mqtt", "exp": in_seconds(60)});
        let good = token(algorithm, key, right.clone());
        for user in ["tom", ""] {
            let client = connect(user, good.clone()).await.unwrap();
            assert_eq!(publish(&client, "t").await & 0x80, 0);
            assert_eq!(publish(&client, "u").await, 0x87);
        }
        for (what, wrong) in wrong_tokens(algorithm, key, &right, &public) {
            let error = connect("tom", wrong).await.unwrap_err();
            assert_eq!(code(error), REFUSED, "{algorithm:?}: {what}");
        }
        assert_eq!(code(connect("jerry", good).await.unwrap_err()), REFUSED);
    }
}

#[test]
fn keys_that_are_none_do_not_start() {
    let directory = Directory::new();
    for (name, content) in [
        ("short", "too short"),
        ("empty", ""),
        ("bad.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ("bad.json", "{"),
        ("none.json", "{\"keys\": []}"),
    ] {
        let tokens = TokenFiles { key: directory.write(name, content), ..TokenFiles::default() };
        let files = AccessFiles { tokens: Some(tokens), ..AccessFiles::default() };
        let faults = Access::load(files, Vec::new()).err().unwrap();
        assert!(faults[0].to_string().contains(name), "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_checks_at_once_do_not_hold_up_the_others() {
    let place = place(RIGHTS, true);
    let nobody = Client::connect(place.options("n")).await.unwrap();
    let checks = (0..40).map(|number| {
        let options = place.options(&format!("c{number}")).credentials("alice", format!("guess {number}"));
        tokio::spawn(Client::connect(options.connect_timeout(Duration::from_secs(60))))
    });
    let checks: Vec<_> = checks.collect();
    // While passwords are checked, others work.
    let begin = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(publish(&nobody, "public/x").await & 0x80, 0);
    }
    let passed = begin.elapsed() / 20;
    assert!(passed < Duration::from_secs(1), "a message took {passed:?}");
    for check in checks {
        assert!(matches!(code(check.await.unwrap().unwrap_err()), REFUSED | 0x89));
    }
}

#[test]
fn reason_codes_are_what_the_tests_say() {
    assert_eq!(ReasonCode::BAD_USER_NAME_OR_PASSWORD.0, REFUSED);
}
