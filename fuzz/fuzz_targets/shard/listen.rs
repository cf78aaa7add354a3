//! What clients hear, compared with what they are owed.

use crate::IS_TOLD;
use crate::history::{Connection, History};
use crate::model::{Copy, Flight, Model, Stage};
use mqtt_packet::*;

/// What the broker is to answer.
#[derive(Debug, PartialEq)]
pub enum Expected {
    /// Whether the session was there.
    ConnAck(bool),
    Ack(AckKind, u16, ReasonCode),
    SubAck(u8),
    /// Whether there was such a subscription.
    UnsubAck(bool),
}

/// What the client is to answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub kind: AckKind,
    pub id: u16,
}

impl History {
    /// Everybody looks at what came.
    pub fn listen(&mut self) {
        self.model.now = self.world.now;
        if self.world.disk_is_slow {
            self.model.slow_at = self.world.now.wall;
        }
        for (&who, connection) in &mut self.connections {
            let Some(line) = self.world.lines.get_mut(&connection.id) else { continue };
            assert!(line.closed.is_none(), "{who} was closed: {:?}", line.closed);
            connection.heard.append(&mut line.received);
            let heard = std::mem::take(&mut connection.heard);
            let mut rest = &heard[..];
            while let Some((frame, behind)) = Frame::split(rest).expect("whole packets") {
                let packet = Packet::decode(frame, connection.version).expect("a valid packet");
                packet.check_sender(Role::Server, connection.version).expect("a packet of a server");
                hear(&mut self.model, who, connection, &packet);
                rest = behind;
            }
            connection.heard = rest.to_vec();
        }
        self.look();
    }

    /// Those in the process get everything, in order.
    fn look(&mut self) {
        let observed = std::mem::take(&mut self.world.observed);
        for (id, message) in observed.into_iter().filter(|_| self.has_model) {
            let Some(observer) = self.model.observers.get_mut(&id.0) else { continue };
            let topic = std::str::from_utf8(message.topic()).expect("a topic");
            if let Some(kept) = observer.recalled.remove(topic) {
                assert_eq!(
                    (kept.qos, &kept.payload[..], true),
                    (message.qos as u8, message.payload(), message.retain)
                );
                continue;
            }
            let due = observer.due.pop_front().expect("nothing is owed to the observer");
            assert_eq!((&due.topic[..], &due.payload[..]), (topic, message.payload()));
            assert_eq!((due.qos, due.retain), (message.qos as u8, message.retain));
        }
        for observer in self.model.observers.values().filter(|_| self.has_model) {
            assert!(observer.due.is_empty(), "an observer misses {:?}", observer.due);
            assert!(observer.recalled.is_empty(), "an observer misses {:?}", observer.recalled);
        }
    }

    /// What is owed has come, unless there is a reason to wait.
    pub fn check(&mut self) {
        if !self.has_model || self.world.disk_is_slow {
            return;
        }
        let (now, is_calm) = (self.model.now, !self.is_congested());
        for (who, connection) in &self.connections {
            let session = &self.model.sessions[who];
            let line = &self.world.lines[&connection.id];
            assert!(!is_calm || connection.expected.is_empty(), "{who} waits for {:?}", connection.expected);
            if line.is_stalled || !is_calm {
                continue;
            }
            let waits = |flight: &&Flight| !flight.is_here && flight.stage != Stage::AwaitPubComp;
            let releases = |flight: &&Flight| flight.stage == Stage::AwaitPubComp;
            assert!(
                session.flights.iter().filter(releases).all(|flight| flight.is_here),
                "{who} got no PUBREL: {:?}",
                session.flights
            );
            let others = session.flights.iter().filter(releases);
            let others = others.filter(|flight| !connection.outstanding.contains(&flight.id)).count();
            let is_blocked = session.flights.iter().any(|flight| waits(&flight));
            if connection.outstanding.len() + others < connection.quota {
                assert!(!is_blocked, "{who} got no repeat: {:?}", session.flights);
                assert!(session.is_silent(now), "{who} is owed {session:?}");
            }
            assert!(is_blocked || !session.owes_qos0(now), "{who} is owed {:?}", session.due0);
        }
        for (id, line) in self.world.lines.iter().filter(|_| is_calm) {
            assert!(!line.is_paused, "{id:?} is not read, and nobody is slow");
        }
    }
}

fn hear(model: &mut Model, who: usize, connection: &mut Connection, packet: &Packet<'_>) {
    if *IS_TOLD {
        eprintln!("-> {who}: {packet}");
    }
    let answered = match packet {
        Packet::Publish(publish) => return hear_publish(model, who, connection, publish),
        Packet::Ack(ack) if ack.kind == AckKind::PubRel => {
            let session = model.sessions.get_mut(&who).expect("who receives has a session");
            let flight = session.flights.iter_mut().find(|flight| flight.id == ack.id.get());
            let flight = flight.filter(|flight| flight.stage == Stage::AwaitPubComp && !flight.is_here);
            flight.expect("PUBREL after PUBREC, and once").is_here = true;
            connection.answers.push_back(Answer { kind: AckKind::PubComp, id: ack.id.get() });
            return;
        }
        Packet::ConnAck(connack) => {
            assert_eq!(connack.reason_code, ReasonCode::SUCCESS);
            Expected::ConnAck(connack.session_present)
        }
        Packet::Ack(ack) => Expected::Ack(ack.kind, ack.id.get(), ack.reason_code),
        Packet::SubAck(suback) => Expected::SubAck(suback.reason_codes.iter().next().expect("one").0),
        Packet::UnsubAck(unsuback) => {
            let code = unsuback.reason_codes.iter().next();
            let was_there = code.map(|code| code == ReasonCode::SUCCESS);
            match connection.expected.front() {
                // 3.x does not say.
                Some(&Expected::UnsubAck(there)) => Expected::UnsubAck(was_there.unwrap_or(there)),
                _ => Expected::UnsubAck(true),
            }
        }
        other => panic!("{who} got {other}"),
    };
    assert_eq!(connection.expected.pop_front(), Some(answered), "what {who} waited for");
}

fn hear_publish(model: &mut Model, who: usize, connection: &mut Connection, publish: &Publish<'_>) {
    assert!(
        !matches!(connection.expected.front(), Some(Expected::ConnAck(_))),
        "CONNACK comes before everything else"
    );
    let is_v5 = connection.version == Version::V5;
    let mut topic = publish.topic.as_str().to_owned();
    if let Some(alias) = publish.properties.topic_alias() {
        assert!(alias <= 2, "an alias above the maximum");
        match topic.is_empty() {
            true => topic.clone_from(&connection.aliases[&alias]),
            false => drop(connection.aliases.insert(alias, topic.clone())),
        }
    }
    let mut ids: Vec<_> = publish.properties.subscription_identifiers().collect();
    ids.sort_unstable();
    let qos = publish.delivery.qos() as u8;
    let seen = Copy { topic, payload: publish.payload.to_vec(), qos, retain: publish.retain, ids };
    let id = publish.delivery.id().map(PacketId::get);
    let expires = match id {
        Some(id) if publish.delivery.dup() && was_begun(model, who, id) => {
            repeated(model, who, &seen, id, is_v5)
        }
        _ => {
            let expires = model.take(who, &seen, is_v5);
            begun(model, who, &seen, id, expires, is_v5);
            expires
        }
    };
    let left = publish.properties.message_expiry_interval();
    assert!(left.is_none_or(|left| left <= 5), "it lives longer than its publisher said");
    if is_v5 && !seen.topic.starts_with("$s") {
        assert_eq!(left.is_some(), expires.is_some(), "whether {seen:?} has an end");
    }
    if let Some(id) = id {
        let is_new = connection.outstanding.insert(id);
        assert!(is_new, "the same twice");
        assert!(connection.outstanding.len() <= connection.quota, "more than the Receive Maximum");
        let kind = if qos == 1 { AckKind::PubAck } else { AckKind::PubRec };
        connection.answers.push_back(Answer { kind, id });
    }
}

/// Whether a message with DUP is a repeat. The broker gives an identifier before it waits for the disk, so it may repeat
/// what never left.
fn was_begun(model: &Model, who: usize, id: u16) -> bool {
    model.sessions[&who].flights.iter().any(|flight| flight.id == id)
}

fn repeated(model: &mut Model, who: usize, seen: &Copy, id: u16, is_v5: bool) -> Option<u64> {
    let session = model.sessions.get_mut(&who).expect("who receives has a session");
    // In order: nothing before it is still to be repeated.
    let flight =
        session.flights.iter_mut().find(|flight| !flight.is_here && flight.stage != Stage::AwaitPubComp);
    let Some(flight) = flight.filter(|flight| flight.id == id) else {
        panic!("nothing to repeat is {seen:?}")
    };
    if is_v5 && !flight.has_ids {
        (flight.copy.ids, flight.has_ids) = (seen.ids.clone(), true);
    }
    assert!(flight.copy.is(seen, is_v5), "not what is repeated is {seen:?}");
    flight.is_here = true;
    flight.expires
}

fn begun(model: &mut Model, who: usize, seen: &Copy, id: Option<u16>, expires: Option<u64>, is_v5: bool) {
    let session = model.sessions.get_mut(&who).expect("who receives has a session");
    let Some(id) = id else { return };
    assert!(session.flights.iter().all(|flight| flight.id != id), "an identifier that is in use");
    assert!(
        session.flights.iter().all(|flight| flight.is_here || flight.stage == Stage::AwaitPubComp),
        "something new before what is repeated"
    );
    let stage = if seen.qos == 1 { Stage::AwaitPubAck } else { Stage::AwaitPubRec };
    session.flights.push(Flight { id, copy: seen.clone(), has_ids: is_v5, expires, stage, is_here: true });
}
