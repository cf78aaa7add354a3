//! How connections and sessions end, and what becomes of the will.

use super::connection::Connection;
use super::session::{Away, FOR_EVER};
use super::shard::{Shard, Stage, take_out};
use super::timers::Timer;
use super::{Change, CloseReason, ConnId, Output, SessionNumber, Wire};
use mqtt_packet::{
    Disconnect, Frame, PacketType, Properties, Property, PropertyPlace, PropertyWriter, ReasonCode, Role,
    TopicFilter, Utf8Str, Version,
};

impl Shard {
    pub(super) fn on_disconnect(&mut self, key: usize, frame: Frame<'_>) -> Result<(), CloseReason> {
        let max_expiry = self.settings.max_session_expiry;
        let Some(connection) = self.connection(key) else {
            return Ok(());
        };
        let version = connection.version;
        let disconnect = Disconnect::decode(frame, version)
            .and_then(|disconnect| disconnect.check_sender(Role::Client, version).map(|()| disconnect))
            .map_err(|error| CloseReason::Packet(error, version))?;
        let expiry = disconnect.properties.session_expiry_interval();
        if expiry.is_some_and(|expiry| expiry > 0) && connection.connect_expiry == 0 {
            return Err(CloseReason::rule(
                "U5-3.14.2-1",
                ReasonCode::PROTOCOL_ERROR,
                "DISCONNECT gives a session expiry interval to a session that had none",
            ));
        }
        if let Some(session) = self.sessions.get_mut(key) {
            if let Some(expiry) = expiry {
                session.expiry = expiry.min(max_expiry);
            }
            if disconnect.reason_code == ReasonCode::SUCCESS {
                session.will = None; // [MQTT-3.14.4-3]
            }
        }
        self.close(key, CloseReason::Disconnected);
        Ok(())
    }

    pub(super) fn on_closed(&mut self, id: ConnId) {
        self.settle_places(id);
        match self.connections.remove(&id) {
            Some(Stage::Online(key)) => self.close(key, CloseReason::Lost),
            Some(Stage::Opened(opened)) => self.forget(*opened),
            None => {}
        }
    }

    pub(super) fn on_shutdown(&mut self) {
        let online: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.connection.is_some())
            .map(|(key, _)| key)
            .collect();
        for key in online {
            self.close(key, CloseReason::ShuttingDown);
        }
    }

    /// Ends the connection of a session, whoever wants it.
    pub(super) fn close(&mut self, key: usize, reason: CloseReason) {
        let Some(mut connection) = self.sessions.get_mut(key).and_then(|session| session.connection.take())
        else {
            return;
        };
        self.counts.note_closed(reason);
        self.connections.remove(&connection.id);
        if reason != CloseReason::Lost {
            say_farewell(&mut connection, reason);
            if !connection.out.is_empty() {
                self.outputs.push_back(take_out(&mut connection));
            }
        }
        let id = connection.id;
        drop(connection);
        self.forget_places(id);
        self.depart(key);
        if reason == CloseReason::Lost {
            return;
        }
        match self.journal.cause() {
            // The client may take the end of the connection for the end of its will.
            Some(cause) if reason == CloseReason::Disconnected => {
                self.closing.entry(cause).or_default().push((id, reason));
            }
            _ => self.outputs.push_back(Output::Close(id, reason)),
        }
    }

    /// A session lost its connection: it ends, or waits for the client.
    fn depart(&mut self, key: usize) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !session.is_kept() {
            self.end_session(key);
            return;
        }
        let after = |seconds: u32| now.mono.saturating_add(u64::from(seconds).saturating_mul(1000));
        let ends = (session.expiry != FOR_EVER).then(|| after(session.expiry));
        let delay = session.will.as_ref().map(|will| will.delay);
        let will_at = delay.filter(|&delay| delay > 0).map(after);
        session.away = Some(Away { since: now.wall, ends, will_at });
        let number = session.number;
        if let Some(ends) = ends {
            self.timers.start(ends, Timer::Session(number));
        }
        if let Some(at) = will_at {
            self.timers.start(at, Timer::Will(number));
        }
        if delay == Some(0) {
            self.publish_will(key);
        }
        self.store_session(key);
        self.relieve(key);
        self.hand_on_waiting(key);
    }

    pub(super) fn on_session_timeout(&mut self, number: SessionNumber) {
        let Some(&key) = self.by_number.get(&number) else {
            return;
        };
        let away = self.sessions.get(key).and_then(|session| session.away);
        if away.and_then(|away| away.ends).is_some_and(|ends| ends <= self.now.mono) {
            self.end_session(key);
        }
    }

    pub(super) fn on_will_timeout(&mut self, number: SessionNumber) {
        let Some(&key) = self.by_number.get(&number) else {
            return;
        };
        let away = self.sessions.get(key).and_then(|session| session.away);
        if away.and_then(|away| away.will_at).is_some_and(|at| at <= self.now.mono) {
            self.publish_will(key);
            self.store_session(key);
        }
    }

    /// Notes how a session is, if it outlives its connections, or that the store may forget it.
    pub(super) fn store_session(&mut self, key: usize) {
        if !self.journal.is_durable() {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // Of a session that is not kept any more the rest of its queue may be on the disk only: that is read first.
        if session.is_kept() || session.outbound.stored.count > 0 {
            session.is_stored = true;
            self.journal.record(Change::Session(session.number, session.record()));
        } else if std::mem::take(&mut session.is_stored) {
            self.journal.record(Change::SessionGone(session.number));
        }
    }

    /// A session ends; its will, if it still has one, is published now [MQTT-3.1.2-8].
    pub(super) fn end_session(&mut self, key: usize) {
        self.publish_will(key);
        let Some(session) = self.sessions.try_remove(key) else {
            return;
        };
        if let Some(room) = session.waits_for_room {
            self.end_wait(room);
        }
        self.by_client.remove(&*session.client.client_id);
        self.by_number.remove(&session.number);
        for filter in session.subscriptions.keys() {
            if let Ok(filter) = TopicFilter::new(filter) {
                self.exit(key, session.number, filter);
            }
        }
        if session.is_stored {
            self.forget_stored(&session);
            self.journal.record(Change::SessionGone(session.number));
        }
        self.hand_on_all(session);
    }
}

/// DISCONNECT to a 5.0 client that is connected [MQTT-3.14.0-1]; the reason in words where there is room.
fn say_farewell(connection: &mut Connection, reason: CloseReason) {
    let version = connection.version;
    if version != Version::V5 || !connection.is_connected || reason == CloseReason::Disconnected {
        return;
    }
    let mut disconnect = Disconnect::new(reason.reason_code());
    let text = reason.to_string();
    let mut room = [0; 256];
    disconnect.properties = reason_string(&text, PacketType::Disconnect, &mut room);
    if disconnect.encoded_len(version) > connection.max_packet {
        disconnect.properties = Properties::EMPTY; // [MQTT-3.14.2-3]
    }
    if disconnect.encoded_len(version) <= connection.max_packet {
        // Only codes that DISCONNECT has come this far.
        let _ = disconnect.encode(version, &mut connection.out);
    }
}

/// A Reason String; without, where it does not fit.
pub(super) fn reason_string<'b>(text: &str, packet: PacketType, room: &'b mut [u8]) -> Properties<'b> {
    let mut writer = PropertyWriter::new(PropertyPlace::of(packet), room);
    if let Ok(text) = Utf8Str::new(text) {
        // A text that is too long is left out.
        let _ = writer.push(Property::ReasonString(text));
    }
    writer.finish()
}

impl Shard {
    /// A connection that never came to a session is refused: CONNACK where there is one for it, and the end.
    pub(super) fn refuse(&mut self, id: ConnId, reason: CloseReason, connack: Option<Wire>) {
        if let Some(Stage::Opened(opened)) = self.connections.remove(&id) {
            self.forget(*opened);
        }
        self.counts.note_closed(reason);
        if let Some(wire) = connack.filter(|wire| !wire.is_empty()) {
            self.outputs.push_back(Output::Send(id, wire));
        }
        self.outputs.push_back(Output::Close(id, reason));
    }
}
