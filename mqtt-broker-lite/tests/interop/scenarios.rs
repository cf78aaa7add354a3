//! What foreign clients do, and what must come of it.

use crate::peer::{Kind, Message, Peer, Place, Plan};
use std::time::Duration;

/// Which client, and over what.
pub type Side<'a> = (Kind, &'a Place);

fn connect((kind, place): Side<'_>, plan: Plan<'_>) -> Peer {
    Peer::connect(kind, place, plan)
}

fn message(topic: &str, qos: u8, retain: bool, payload: &str) -> Message {
    (topic.to_owned(), qos, retain, payload.to_owned())
}

/// Every QoS arrives as it was sent, and no higher than it was asked for.
pub fn every_qos(from: Side<'_>, to: Side<'_>, version: u8) {
    for wanted in 0..3 {
        let mut subscriber = connect(to, Plan::new("subscriber", version));
        subscriber.subscribe("qos/+/x", wanted);
        let mut publisher = connect(from, Plan::new("publisher", version));
        for qos in 0..3 {
            publisher.publish(&format!("qos/{qos}/x"), qos, false, "payload");
            let expected = message(&format!("qos/{qos}/x"), qos.min(wanted), false, "payload");
            assert_eq!(subscriber.receive(), expected, "{from:?} to {to:?}");
        }
        publisher.disconnect();
        subscriber.disconnect();
    }
}

pub fn mixed_versions(own: Side<'_>, other: Side<'_>) {
    for (from, sends, to, receives) in
        [(own, 4, other, 5), (own, 5, other, 4), (other, 4, own, 5), (other, 5, own, 4)]
    {
        let mut subscriber = connect(to, Plan::new("subscriber", receives));
        subscriber.subscribe("mixed", 2);
        let mut publisher = connect(from, Plan::new("publisher", sends));
        publisher.publish("mixed", 2, false, "payload");
        assert_eq!(subscriber.receive(), message("mixed", 2, false, "payload"));
    }
}

/// A retained message waits for who comes later, until it is deleted.
pub fn retained(own: Side<'_>, version: u8) {
    let mut publisher = connect(own, Plan::new("publisher", version));
    publisher.publish("retained/a", 1, true, "old");
    publisher.publish("retained/a", 1, true, "kept");
    publisher.publish("retained/b", 2, true, "too");
    let mut late = connect(own, Plan::new("late", version));
    late.subscribe("retained/#", 2);
    let mut kept = [late.receive(), late.receive()];
    kept.sort();
    assert_eq!(kept, [message("retained/a", 1, true, "kept"), message("retained/b", 2, true, "too")]);
    for topic in ["retained/a", "retained/b"] {
        publisher.publish(topic, 1, true, "");
        assert_eq!(late.receive(), message(topic, 1, false, ""), "who is there sees it deleted");
    }
    let mut later = connect(own, Plan::new("later", version));
    later.subscribe("retained/#", 2);
    publisher.publish("retained/last", 1, false, "end");
    assert_eq!(later.receive_until("end"), []);
}

/// Whoever ends without a word has left one; whoever says good-bye has not.
pub fn will(own: Side<'_>, other: Side<'_>, version: u8) {
    let mut watcher = connect(other, Plan::new("watcher", version));
    watcher.subscribe("will/+", 1);
    for (topic, dies) in [("will/polite", false), ("will/killed", true)] {
        if !dies && version == 5 && own.0 == Kind::Mosquitto {
            // It says "with will message" whenever it is interrupted.
            continue;
        }
        let mut client = connect(own, Plan { will: Some(topic), ..Plan::new("mortal", version) });
        client.subscribe("nothing", 0);
        if dies {
            client.kill();
        } else {
            client.disconnect();
        }
    }
    assert_eq!(watcher.receive(), message("will/killed", 1, false, "gone"));
}

/// What comes while a client with a kept session is away waits for it; a clean one has nothing.
pub fn kept_session(own: Side<'_>, other: Side<'_>, version: u8) {
    let plan = Plan { clean: false, ..Plan::new("keeper", version) };
    let mut client = connect(own, plan);
    assert!(!client.session_present);
    client.subscribe("kept/+", 2);
    client.disconnect();
    let mut publisher = connect(other, Plan::new("publisher", version));
    for qos in 0..3 {
        publisher.publish(&format!("kept/{qos}"), qos, false, "waits");
    }
    let mut client = connect(own, plan);
    if own.0 == Kind::Mosquitto {
        // It runs when it has something to subscribe to.
        client.subscribe("kept/end", 2);
    } else {
        assert!(client.session_present, "{own:?}");
    }
    assert_eq!(client.receive(), message("kept/1", 1, false, "waits"));
    assert_eq!(client.receive(), message("kept/2", 2, false, "waits"));
    client.disconnect();
    let mut client = connect(own, Plan::new("keeper", version));
    assert!(!client.session_present);
    client.subscribe("other", 0);
    publisher.publish("kept/1", 1, false, "for nobody");
    publisher.publish("other", 1, false, "end");
    assert_eq!(client.receive_until("end"), []);
}

/// Each message goes to one member of the group.
pub fn shared(own: Side<'_>, other: Side<'_>, version: u8) {
    let mut members = ["one", "two"].map(|id| {
        let mut member = connect(own, Plan::new(id, version));
        member.subscribe("$share/group/work/+", 1);
        member
    });
    let mut publisher = connect(other, Plan::new("publisher", version));
    let mut expected = Vec::new();
    for number in 0..10 {
        publisher.publish("work/item", 1, false, &number.to_string());
        expected.push(number.to_string());
    }
    let mut taken = [Vec::new(), Vec::new()];
    for turn in 0..1000 {
        if taken.iter().flatten().count() == expected.len() {
            break;
        }
        let member = turn % 2;
        taken[member]
            .extend(members[member].receive_within(Duration::from_millis(100)).map(|message| message.3));
    }
    assert!(taken.iter().all(|taken| !taken.is_empty()), "one had all the work: {taken:?}");
    let mut all: Vec<_> = taken.into_iter().flatten().collect();
    all.sort();
    assert_eq!(all, expected);
}

/// Each says something of each QoS, and each hears all of it.
pub fn everybody(sides: &[Side<'_>]) {
    let mut peers = Vec::new();
    for (number, &side) in sides.iter().enumerate() {
        let mut peer =
            connect(side, Plan::new(&format!("peer{number}"), if number % 2 == 0 { 5 } else { 4 }));
        peer.subscribe("room/#", 2);
        peers.push(peer);
    }
    for number in 0..peers.len() {
        for qos in 0..3 {
            let said = message(&format!("room/{number}"), qos, false, "hello");
            peers[number].publish(&said.0, qos, false, "hello");
            for peer in &mut peers {
                assert_eq!(peer.receive(), said);
            }
        }
    }
}
