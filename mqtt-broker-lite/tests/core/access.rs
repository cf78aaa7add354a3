//! Who may do what, asked at every state; and extended authentication (sections 4.12, 5.4).

use super::world::*;
use mqtt_broker_lite::core::{
    Access, AuthStep, Client as Who, Credentials, Decision, Mechanism, Policy, Question, Settings, Verdict,
};
use mqtt_packet::Version::{V3_1_1, V5};
use mqtt_packet::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Everything is allowed but what is on the list, which a test may change at any time.
#[derive(Clone, Default)]
pub struct Rules(Arc<Mutex<BTreeSet<Rule>>>);

/// Client Identifier, what is forbidden, and the topic.
type Rule = (String, &'static str, String);

impl Rules {
    pub fn forbid(&self, client: &str, what: &'static str, topic: &str) {
        self.0.lock().unwrap().insert((client.to_owned(), what, topic.to_owned()));
    }
}

impl Policy for Rules {
    fn authenticate(&mut self, credentials: &Credentials) -> Verdict {
        match (credentials.user_name.as_deref(), credentials.password.as_deref()) {
            (Some("slow"), _) => Verdict::Ask,
            (Some("moved"), _) => Verdict::Refuse(ReasonCode::SERVER_MOVED),
            (Some("elsewhere"), _) => Verdict::Refuse(ReasonCode::USE_ANOTHER_SERVER),
            (Some("eve"), _) => Verdict::Refuse(ReasonCode::NOT_AUTHORIZED),
            (Some("bob"), password) if password != Some(b"secret") => {
                Verdict::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD)
            }
            _ => Verdict::Allow,
        }
    }

    fn authorize(&mut self, client: &Who, access: Access, topic: &str) -> bool {
        let what = match access {
            Access::Publish => "publish",
            Access::Subscribe => "subscribe",
            Access::Receive => "receive",
        };
        !self.0.lock().unwrap().contains(&(client.client_id.to_string(), what, topic.to_owned()))
    }

    fn mechanism(&mut self, method: &str, _: &str, _: [u8; 16]) -> Option<Box<dyn Mechanism>> {
        (method == "steps").then(|| Box::new(Steps(0)) as Box<dyn Mechanism>)
    }
}

/// Wants to hear "one", then "two"; a third time "three".
struct Steps(usize);

impl Mechanism for Steps {
    fn step(&mut self, data: &[u8]) -> AuthStep {
        let said = data == [&b"one"[..], b"two", b"three"][self.0 % 3];
        self.0 += 1;
        match (said, self.0) {
            (false, _) => AuthStep::Refuse(ReasonCode::NOT_AUTHORIZED),
            (true, 1) => AuthStep::Continue(b"more".to_vec()),
            (true, _) => AuthStep::Success(Some(b"done".to_vec())),
        }
    }
}

pub fn ruled() -> (World, Rules) {
    let rules = Rules::default();
    (World::with_policy(Settings::default(), rules.clone()), rules)
}

fn user<'a>(version: Version, name: &'a str, password: &'a [u8]) -> Connect<'a> {
    Connect { user_name: Some(Utf8Str::new(name).unwrap()), password: Some(password), ..clean(version, "a") }
}

// [MQTT-3.1.4-2 @5.0] [MQTT-3.2.2-4 @3.1.1] [MQTT-3.2.2-7 @5.0]
#[test]
fn who_is_not_let_in_is_told_so_in_connack() {
    let (mut world, _) = ruled();
    for (name, password, code_3, code_5) in [("eve", &b""[..], 5, 0x87), ("bob", b"guess", 4, 0x86)] {
        let old = world.connect_with(user(V3_1_1, name, password));
        assert_eq!(world.bytes(old), [0x20, 2, 0, code_3]);
        assert!(!world.is_open(old));
        let new = world.connect_with(user(V5, name, password));
        assert_eq!(world.bytes(new)[2..4], [0, code_5]);
        assert!(!world.is_open(new));
    }
    let client = world.connect_with(user(V5, "bob", b"secret"));
    world.accepted(client);
}

#[test]
fn a_slow_answer_parks_the_connection_in_order() {
    let (mut world, _) = ruled();
    for decision in [Decision::Allow, Decision::Refuse(ReasonCode::NOT_AUTHORIZED)] {
        let watcher = world.client(V5, "w");
        world.subscribe(watcher, "t", 0);
        let client = world.connect_with(user(V3_1_1, "slow", b"x"));
        world.publish(client, "t", 0, 0, "first");
        world.send(client, Packet::PingReq(PingReq));
        world.expect(client, &[]);
        let Question::Authenticate(credentials) = &world.questions[0].2;
        assert_eq!(credentials.password.as_deref(), Some(&b"x"[..]));
        assert!(!format!("{credentials:?}").contains("password"), "a secret in a log");
        world.answer(decision.clone());
        if decision == Decision::Allow {
            world.expect(client, &["CONNACK 0x00 Success", "PINGRESP"]);
            world.expect(watcher, &["PUBLISH \"t\" qos 0 \"first\""]);
        } else {
            world.expect_closed(client, &["CONNACK 0x87 Not authorized"]);
            world.expect(watcher, &[]);
        }
        // Nobody answers: the connection does not wait for ever.
        let client = world.connect_with(user(V3_1_1, "slow", b"x"));
        world.seconds(10);
        assert!(!world.is_open(client));
        world.answer(Decision::Allow);
    }
}

// [MQTT-3.3.5-2]
#[test]
fn a_forbidden_message_goes_nowhere() {
    let (mut world, rules) = ruled();
    rules.forbid("p", "publish", "t");
    let watcher = world.client(V5, "w");
    world.subscribe(watcher, "#", 0);
    let old = world.client(V3_1_1, "p");
    world.publish(old, "t", 1, 1, "x");
    world.publish(old, "t", 2, 2, "x");
    world.retain(old, "t", "x");
    world.expect(old, &["PUBACK id 1", "PUBREC id 2"]);
    let new = world.client(V5, "p");
    world.publish(new, "t", 1, 1, "x");
    world.publish(new, "t", 2, 2, "x");
    world.expect(new, &["PUBACK id 1 0x87 Not authorized", "PUBREC id 2 0x87 Not authorized"]);
    world.publish(new, "$SYS/broker/version", 1, 1, "mine");
    world.expect(new, &["PUBACK id 1 0x87 Not authorized"]);
    world.expect(watcher, &[]);
    let late = world.client(V5, "late");
    world.subscribe(late, "#", 0);
    world.expect(late, &[]);
}

// [MQTT-3.9.3-2 @5.0]
#[test]
fn each_filter_is_asked_for_and_a_shared_one_for_what_is_inside() {
    let (mut world, rules) = ruled();
    rules.forbid("s", "subscribe", "t");
    let client = world.client(V5, "s");
    for filter in ["t", "$share/g/t"] {
        world.subscribe_with(client, filter, SubscribeOptions::default(), 0);
        world.expect(client, &["SUBACK id 99 [0x87 Not authorized]"]);
    }
    world.publish(client, "t", 0, 0, "x");
    world.expect(client, &[]);
}

#[test]
fn who_is_sent_to_another_server_is_told_to_which() {
    let there = "there.example:1883";
    let settings = Settings { server_reference: Some(there.into()), ..Settings::default() };
    let mut world = World::with_policy(settings, Rules::default());
    for (name, code) in [("moved", "0x9D Server moved"), ("elsewhere", "0x9C Use another server")] {
        let client = world.connect_with(user(V5, name, b""));
        let connack = world.first(client);
        assert!(connack.starts_with(&format!("CONNACK {code}")), "{connack}");
        assert!(connack.contains(&format!("ServerReference(\"{there}\")")), "{connack}");
        assert!(!world.is_open(client));
    }
    let client = world.connect_with(user(V5, "eve", b""));
    assert!(!world.first(client).contains("ServerReference"));
}

/// CVE-2018-12546, CVE-2021-34434, moquette 689, volantmq 183: rights are taken away while something waits.
#[test]
fn a_right_is_asked_for_when_it_is_used() {
    let (mut world, rules) = ruled();
    let publisher = world.client(V5, "p");
    // Live, queued, shared and retained messages to a session that may not receive any more.
    let (client, _) = world.resume(V5, "s");
    world.subscribe(client, "t", 1);
    world.subscribe(client, "$share/g/u", 1);
    world.cut(client);
    world.publish(publisher, "t", 1, 1, "queued");
    world.publish(publisher, "u", 1, 2, "shared");
    world.retain(publisher, "t", "retained");
    rules.forbid("s", "receive", "t");
    rules.forbid("s", "receive", "u");
    let (client, _) = world.resume(V5, "s");
    world.subscribe(client, "t", 1);
    world.publish(publisher, "t", 1, 3, "live");
    world.publish(publisher, "u", 1, 4, "live");
    world.expect(client, &[]);
    // Retained messages of a publisher that may not publish any more.
    world.retain(publisher, "v", "left behind");
    rules.forbid("p", "publish", "v");
    world.subscribe(client, "v", 1);
    world.expect(client, &[]);
    // Wills, when the client connects and when they are published.
    let will = |topic| Will {
        topic: TopicName::new(topic).unwrap(),
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    rules.forbid("m", "publish", "w1");
    let refused = world.connect_with(Connect { will: Some(will("w1")), ..clean(V5, "m") });
    assert_eq!(world.bytes(refused)[3], 0x87);
    let mortal = world.connect_with(Connect { will: Some(will("w2")), ..clean(V5, "m") });
    world.accepted(mortal);
    world.subscribe(client, "w2", 0);
    rules.forbid("m", "publish", "w2");
    world.cut(mortal);
    world.expect(client, &[]);
}

/// Authentication Method `steps` with this data.
fn steps(data: &str) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap();
    [&b"\x15\0\x05steps\x16\0"[..], &[length], data.as_bytes()].concat()
}

fn auth(world: &mut World, client: Client, code: ReasonCode, data: &str) {
    let block = steps(data);
    world.send(client, Packet::Auth(Auth::new(code, properties(PacketType::Auth, &block))));
}

const GO_ON: ReasonCode = ReasonCode::CONTINUE_AUTHENTICATION;

fn begin(world: &mut World) -> Client {
    let block = steps("one");
    let client =
        world.connect_with(Connect { properties: properties(PacketType::Connect, &block), ..clean(V5, "a") });
    world.expect(
        client,
        &["AUTH 0x18 Continue authentication [AuthenticationMethod(\"steps\"), AuthenticationData(***)]"],
    );
    client
}

// [MQTT-3.15.2-2] [MQTT-3.15.2-3] [MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-4.12.1-1] [U5-4.12.1-1] [MQTT-3.2.0-1 @5.0] [MQTT-3.1.4-6 @5.0]
#[test]
fn an_extended_authentication_goes_back_and_forth_and_can_be_repeated() {
    let (mut world, _) = ruled();
    let client = begin(&mut world);
    auth(&mut world, client, GO_ON, "two");
    let connack = world.accepted(client);
    assert!(connack.contains("AuthenticationMethod(\"steps\"), AuthenticationData(***)"), "{connack}");
    auth(&mut world, client, ReasonCode::RE_AUTHENTICATE, "three");
    world.send(client, Packet::PingReq(PingReq));
    world.expect(
        client,
        &["AUTH 0x00 Success [AuthenticationMethod(\"steps\"), AuthenticationData(***)]", "PINGRESP"],
    );
}

// [MQTT-4.12.0-1] [MQTT-4.12.0-4] [MQTT-4.12.0-6] [MQTT-4.12.0-7] [MQTT-4.12.1-2] [U5-3.15.0-1] [MQTT-3.14.2-1 @5.0]
#[test]
fn an_extended_authentication_may_fail_at_every_step() {
    let (mut world, _) = ruled();
    let unknown = world.connect_with(Connect {
        properties: properties(PacketType::Connect, b"\x15\0\x01x"),
        ..clean(V5, "a")
    });
    assert_eq!(world.bytes(unknown)[3], 0x8C);
    assert!(!world.is_open(unknown));

    let client = begin(&mut world);
    auth(&mut world, client, GO_ON, "wrong");
    assert_eq!(world.bytes(client)[3], 0x87);
    assert!(!world.is_open(client));

    let client = begin(&mut world);
    world.send(client, Packet::PingReq(PingReq));
    assert_eq!(world.bytes(client)[..1], [0x20], "no DISCONNECT before CONNACK");
    assert!(!world.is_open(client));

    let client = begin(&mut world);
    world.seconds(10);
    assert!(!world.is_open(client));

    for (code, data, expected) in [(ReasonCode::RE_AUTHENTICATE, "wrong", 0x87), (GO_ON, "three", 0x82)] {
        let client = begin(&mut world);
        auth(&mut world, client, GO_ON, "two");
        world.accepted(client);
        auth(&mut world, client, code, data);
        let bytes = world.bytes(client);
        assert_eq!((bytes[0], bytes[2]), (0xE0, expected));
        assert!(!world.is_open(client));
    }

    let plain = world.client(V5, "plain");
    auth(&mut world, plain, ReasonCode::RE_AUTHENTICATE, "one");
    let bytes = world.bytes(plain);
    assert_eq!((bytes[0], bytes[2]), (0xE0, 0x82));
}

/// Proves one user name, then another.
#[derive(Clone)]
struct Named(usize);

impl Policy for Named {
    fn authenticate(&mut self, _: &Credentials) -> Verdict {
        Verdict::Allow
    }

    fn authorize(&mut self, client: &Who, _: Access, topic: &str) -> bool {
        client.user_name.as_deref() == Some(topic)
    }

    fn mechanism(&mut self, _: &str, _: &str, _: [u8; 16]) -> Option<Box<dyn Mechanism>> {
        Some(Box::new(self.clone()))
    }
}

impl Mechanism for Named {
    fn step(&mut self, _: &[u8]) -> AuthStep {
        self.0 += 1;
        AuthStep::Success(None)
    }

    fn user_name(&self) -> Option<&str> {
        ["nobody", "ann", "ann", "bob"].get(self.0).copied()
    }
}

// [MQTT-4.12.1-2]
#[test]
fn a_client_is_who_it_proved_to_be_and_stays_that() {
    let mut world = World::with_policy(Settings::default(), Named(0));
    let block = steps("x");
    let connect = Connect { properties: properties(PacketType::Connect, &block), ..user(V5, "eve", b"") };
    let client = world.connect_with(connect);
    world.accepted(client);
    world.subscribe(client, "ann", 0);
    world.subscribe_with(client, "eve", SubscribeOptions::default(), 0);
    world.expect(client, &["SUBACK id 99 [0x87 Not authorized]"]);
    auth(&mut world, client, ReasonCode::RE_AUTHENTICATE, "x");
    assert!(world.first(client).starts_with("AUTH 0x00 Success"));
    auth(&mut world, client, ReasonCode::RE_AUTHENTICATE, "x");
    let bytes = world.bytes(client);
    assert_eq!((bytes[0], bytes[2]), (0xE0, 0x87));
    assert!(!world.is_open(client));
}
