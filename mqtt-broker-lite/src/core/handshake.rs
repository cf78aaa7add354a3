//! CONNECT and what follows until CONNACK: is the packet right, is the client who it says, which session is its own
//! (3.1.1 and 5.0 sections 3.1 and 3.2).

use super::authenticate::Exchange;
use super::connection::{Authentication, Connection, keep_alive};
use super::depart::reason_string;
use super::held::Then;
use super::session::{ByClientId, Session};
use super::shard::{Shard, Stage};
use super::timers::Timer;
use super::topic_tree::levels;
use super::will::stored;
use super::{
    Access, Client, CloseReason, ConnId, Credentials, Decision, Output, Question, SessionNumber, Settings,
    Token, Verdict, Wire,
};
use mqtt_packet::{
    ConnAck, Connect, DecodeError, EncodeError, FixedHeader, Frame, PacketType, Properties, Property,
    PropertyPlace, PropertyWriter, QoS, ReasonCode, Utf8Str, Version,
};
use std::sync::Arc;

/// A connection before its CONNACK.
pub(super) struct Opened {
    pub(super) entropy: [u8; 16],
    pub(super) deadline: u64,
    pub(super) waits_for: WaitsFor,
}

/// What a connection that is not connected yet waits for.
pub(super) enum WaitsFor {
    Connect,
    /// The answer to a question; what the client sent meanwhile is parked, in order.
    Answer {
        token: Token,
        connect: Vec<u8>,
        parked: Vec<u8>,
    },
    /// The client's next AUTH.
    Auth(Exchange),
}

impl Shard {
    pub(super) fn on_opened(&mut self, id: ConnId, entropy: [u8; 16]) {
        let deadline = self.now.mono.saturating_add(self.settings.connect_timeout);
        let opened = Opened { entropy, deadline, waits_for: WaitsFor::Connect };
        self.connections.insert(id, Stage::Opened(Box::new(opened)));
        self.timers.start(deadline, Timer::Connect(id));
    }

    pub(super) fn opened(&mut self, id: ConnId) -> Option<&mut Opened> {
        match self.connections.get_mut(&id)? {
            Stage::Opened(opened) => Some(opened),
            Stage::Online(_) => None,
        }
    }

    pub(super) fn on_connect_timeout(&mut self, id: ConnId) {
        let now = self.now.mono;
        match self.opened(id).map(|opened| opened.deadline) {
            Some(deadline) if deadline > now => self.timers.start(deadline, Timer::Connect(id)),
            Some(_) => self.refuse(id, CloseReason::ConnectTimeout, None),
            None => {}
        }
    }

    /// A connection that never came to a session is forgotten.
    pub(super) fn forget(&mut self, opened: Opened) {
        if let WaitsFor::Answer { token, .. } = opened.waits_for {
            self.asked.remove(&token);
        }
    }

    pub(super) fn on_early_frame(&mut self, id: ConnId, frame: Frame<'_>) {
        let limit = self.settings.max_connect_size as usize;
        let Some(opened) = self.opened(id) else {
            return;
        };
        match &mut opened.waits_for {
            WaitsFor::Connect if frame.packet_type() == PacketType::Connect => self.on_connect(id, frame),
            WaitsFor::Connect => {
                let reason = CloseReason::rule(
                    "MQTT-3.1.0-1",
                    ReasonCode::PROTOCOL_ERROR,
                    "the first packet is not CONNECT",
                );
                self.refuse(id, reason, None);
            }
            WaitsFor::Answer { parked, .. } if parked.len().saturating_add(frame.len()) <= limit => {
                parked.extend(raw(frame));
            }
            WaitsFor::Answer { .. } => {
                let reason = CloseReason::rule(
                    "MQTT-4.8.0-2",
                    ReasonCode::QUOTA_EXCEEDED,
                    "too much sent before CONNACK",
                );
                self.refuse(id, reason, None);
            }
            WaitsFor::Auth(_) => self.on_early_auth(id, frame),
        }
    }

    fn on_connect(&mut self, id: ConnId, frame: Frame<'_>) {
        let version = Connect::version_of(frame).unwrap_or(Version::V3_1_1);
        let connect = match Connect::decode(frame) {
            Ok(connect) => connect,
            Err(error) => {
                let reason = CloseReason::Packet(error, version);
                // A protocol that is not MQTT gets no answer in MQTT.
                let is_foreign = matches!(error, DecodeError::ProtocolName);
                let code = (!is_foreign).then_some(error.reason_code());
                self.refuse_connect(id, version, reason, code);
                return;
            }
        };
        if let Err(code) = self.examine_connect(&connect) {
            self.refuse_with(id, version, code);
            return;
        }
        if connect.properties.authentication_method().is_some() {
            self.begin_authentication(id, &connect, raw(frame));
            return;
        }
        let Some(credentials) = self.credentials(id, &connect) else {
            return;
        };
        match self.policy.authenticate(&credentials) {
            Verdict::Allow => self.admit(id, &connect, Known::default(), None),
            Verdict::Refuse(code) => {
                self.refuse_with(id, version, code);
            }
            Verdict::Ask => self.ask(id, credentials, raw(frame)),
        }
    }

    /// What the server cannot do for this client, whoever it is.
    fn examine_connect(&self, connect: &Connect<'_>) -> Result<(), ReasonCode> {
        let Some(will) = &connect.will else {
            return Ok(());
        };
        if will.qos > self.settings.maximum_qos {
            return Err(ReasonCode::QOS_NOT_SUPPORTED); // [MQTT-3.2.2-12]
        }
        if will.retain && !self.settings.retain_available {
            return Err(ReasonCode::RETAIN_NOT_SUPPORTED); // [MQTT-3.2.2-13]
        }
        if levels(will.topic.as_bytes()).count() > self.settings.max_topic_levels {
            return Err(ReasonCode::TOPIC_NAME_INVALID);
        }
        if will.topic.as_bytes().starts_with(b"$SYS/") {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        Ok(())
    }

    /// Who the client says it is; the server chooses a Client Identifier for one that has none [MQTT-3.1.3-6].
    fn credentials(&mut self, id: ConnId, connect: &Connect<'_>) -> Option<Credentials> {
        Some(Credentials {
            connection: id,
            client_id: self.client_id(id, connect)?,
            user_name: connect.user_name.map(|name| name.as_str().into()),
            password: connect.password.map(Into::into),
        })
    }

    pub(super) fn client_id(&mut self, id: ConnId, connect: &Connect<'_>) -> Option<Box<str>> {
        if !connect.client_id.is_empty() {
            return Some(connect.client_id.as_str().into());
        }
        let entropy = u128::from_be_bytes(self.opened(id)?.entropy);
        // One that is at home here, where the connection is.
        let names = (0..).map(|count| format!("auto-{:032x}", entropy.wrapping_add(count)));
        names.into_iter().find(|name| self.is_home(name.as_bytes())).map(Into::into)
    }

    fn ask(&mut self, id: ConnId, credentials: Credentials, connect: Vec<u8>) {
        self.last_token = self.last_token.saturating_add(1);
        let token = Token(self.last_token);
        let deadline = self.now.mono.saturating_add(self.settings.connect_timeout);
        if let Some(opened) = self.opened(id) {
            opened.deadline = deadline;
            opened.waits_for = WaitsFor::Answer { token, connect, parked: Vec::new() };
            self.asked.insert(token, id);
            self.outputs.push_back(Output::Ask(token, Question::Authenticate(credentials)));
        }
    }

    pub(super) fn on_answer(&mut self, token: Token, decision: Decision) {
        let Some(id) = self.asked.remove(&token) else {
            return;
        };
        let Some(opened) = self.opened(id) else {
            return;
        };
        let waits_for = std::mem::replace(&mut opened.waits_for, WaitsFor::Connect);
        let WaitsFor::Answer { connect, parked, .. } = waits_for else {
            return;
        };
        let Some(Ok(connect)) = whole(&connect).map(|(frame, _)| Connect::decode(frame)) else {
            return;
        };
        match decision {
            Decision::Allow => self.admit(id, &connect, Known::default(), None),
            Decision::AllowAs(user_name) => {
                self.admit(id, &connect, Known { user_name: Some(user_name), rules: None }, None);
            }
            Decision::AllowBy { rules, user_name } => {
                self.admit(id, &connect, Known { user_name, rules: Some(rules) }, None);
            }
            Decision::Refuse(code) => {
                self.refuse_with(id, connect.version, code);
            }
        }
        let mut rest = &parked[..];
        while let Some((frame, behind)) = whole(rest) {
            self.on_frame(id, frame);
            rest = behind;
        }
    }

    /// Refuses a CONNECT for a reason that is all there is to say.
    fn refuse_with(&mut self, id: ConnId, version: Version, code: ReasonCode) {
        self.refuse_connect(id, version, CloseReason::Refused(code), Some(code));
    }

    /// Refuses a CONNECT, with a CONNACK if its version has a code for the reason.
    pub(super) fn refuse_connect(
        &mut self,
        id: ConnId,
        version: Version,
        reason: CloseReason,
        code: Option<ReasonCode>,
    ) {
        let code = code.filter(|code| code.can_be_told(version, PacketType::ConnAck));
        let connack = code.map(|code| {
            let text = reason.to_string();
            let mut room = [[0; 256]; 2];
            let mut connack = ConnAck::new(false, code);
            if version == Version::V5 {
                let [words, reference] = &mut room;
                let reference = self.server_reference(code, reference);
                connack.properties = reason_string(&text, PacketType::ConnAck, words);
                if let Some(both) = connack.properties.followed_by(reference) {
                    connack.properties = both;
                }
                // The client's Maximum Packet Size is not known if its CONNECT was not read to the end.
                if connack.encoded_len(version) > SMALLEST_CLIENT {
                    connack.properties = reference; // [MQTT-3.2.2-19]
                }
            }
            let mut wire = Wire::default();
            let _ = connack.encode(version, &mut wire);
            wire
        });
        self.refuse(id, reason, connack);
    }

    /// Where a client is to go that is not wanted here.
    fn server_reference<'b>(&self, code: ReasonCode, room: &'b mut [u8]) -> Properties<'b> {
        let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::ConnAck), room);
        let is_sent_away = matches!(code, ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED);
        if let Some(Ok(reference)) = self.settings.server_reference.as_deref().map(Utf8Str::new)
            && is_sent_away
        {
            // One that is too long is left out.
            let _ = writer.push(Property::ServerReference(reference));
        }
        writer.finish()
    }

    /// The client is accepted: its session is found or made, and CONNACK goes out once that is safe.
    pub(super) fn admit(&mut self, id: ConnId, connect: &Connect<'_>, known: Known, proven: Option<Proven>) {
        let Some(client_id) = self.client_id(id, connect) else {
            return;
        };
        let user_name = match &proven {
            Some(proven) => proven.authentication.mechanism.user_name().map(Into::into),
            None => known.user_name.or_else(|| connect.user_name.map(|name| name.as_str().into())),
        };
        let client = Arc::new(Client { client_id, user_name, rules: known.rules });
        if let Some(will) = &connect.will
            && !self.may(&client, Access::Publish, will.topic.as_utf8())
        {
            return self.refuse_with(id, connect.version, ReasonCode::NOT_AUTHORIZED);
        }
        let takeovers_end = match self.examine_session(&client, connect.version) {
            Ok(end) => end,
            Err(code) => return self.refuse_with(id, connect.version, code),
        };
        if let Some(Stage::Opened(opened)) = self.connections.remove(&id) {
            self.timers.stop(opened.deadline, Timer::Connect(id));
        }
        let (key, session_present) = self.session_for(connect, &client);
        let mut connection = Connection::new(id, connect, &self.settings, self.now.mono);
        let data = proven.as_ref().and_then(|proven| proven.data.clone());
        connection.authentication = proven.map(|proven| proven.authentication);
        if session_present {
            connection.replay = Some(0);
            connection.barrier = self.journal.unsynced().collect();
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.client = Arc::clone(&client);
        session.expiry = connect.session_expiry_interval().min(self.settings.max_session_expiry);
        session.will = connect.will.as_ref().map(|will| stored(will, &client));
        session.away = None;
        session.takeovers_end = takeovers_end;
        if let Some(until) = connection.silent_until() {
            self.timers.start(until, Timer::KeepAlive(id));
        }
        let has_barrier = !connection.barrier.is_empty();
        session.connection = Some(Box::new(connection));
        self.connections.insert(id, Stage::Online(key));
        if has_barrier {
            self.resuming.push(key);
        }
        self.store_session(key);
        self.announce(key);
        self.send_connack(key, connect, session_present, data.as_deref());
    }

    /// Whether a client may have its session now: it is not taken over too often, and there are not too many others. Until
    /// when its takeovers count, with this one if it is one.
    fn examine_session(&self, client: &Client, version: Version) -> Result<u64, ReasonCode> {
        let Settings { max_sessions, max_takeovers, takeover_interval, .. } = self.settings;
        let code =
            |code: ReasonCode| if version == Version::V5 { code } else { ReasonCode::SERVER_UNAVAILABLE };
        let session = self.by_client.get(&*client.client_id).and_then(|&key| self.sessions.get(key));
        let Some(session) = session else {
            let has_room = self.sessions.len() < max_sessions && !self.is_exhausted();
            return if has_room { Ok(0) } else { Err(code(ReasonCode::QUOTA_EXCEEDED)) };
        };
        if session.connection.is_none() {
            return Ok(session.takeovers_end);
        }
        let end = session.takeovers_end.max(self.now.mono).saturating_add(takeover_interval);
        let latest = self.now.mono.saturating_add(max_takeovers.saturating_mul(takeover_interval));
        if end <= latest { Ok(end) } else { Err(code(ReasonCode::CONNECTION_RATE_EXCEEDED)) }
    }

    /// The session of a client: its old one, or a new one [MQTT-3.1.2-4 to -6]. An older connection ends first, and
    /// with it a session that does not outlive it.
    fn session_for(&mut self, connect: &Connect<'_>, client: &Arc<Client>) -> (usize, bool) {
        if let Some(&key) = self.by_client.get(&*client.client_id) {
            if let Some(old) = self.connection(key).map(|connection| connection.id) {
                self.settle_places(old);
            }
            self.close(key, CloseReason::TakenOver);
        }
        if let Some(&key) = self.by_client.get(&*client.client_id) {
            if !connect.clean_start {
                self.check_subscriptions(key, client);
                // The key has what is known of the client now, so that nothing else is kept for it.
                self.by_client.remove(&*client.client_id);
                self.by_client.insert(ByClientId(Arc::clone(client)), key);
                return (key, true);
            }
            self.end_session(key);
        }
        self.last_session = self.last_session.saturating_add(1);
        let number = SessionNumber(u64::from(self.settings.shard.0) << 48 | self.last_session);
        let session = Session::new(number, Arc::clone(client));
        let key = self.sessions.insert(session);
        self.by_client.insert(ByClientId(Arc::clone(client)), key);
        self.by_number.insert(number, key);
        (key, false)
    }

    fn send_connack(
        &mut self,
        key: usize,
        connect: &Connect<'_>,
        session_present: bool,
        data: Option<&[u8]>,
    ) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let client_id = connect.client_id.is_empty().then(|| Arc::clone(&session.client));
        let method = connect.properties.authentication_method().map_or(0, |method| method.len());
        let mut room = vec![0; ABILITIES.saturating_add(method).saturating_add(data.map_or(0, <[u8]>::len))];
        let properties = match connect.version {
            Version::V5 => self.abilities(connect, session.expiry, client_id.as_deref(), data, &mut room),
            _ => Ok(Properties::EMPTY),
        };
        let connack = ConnAck {
            session_present,
            reason_code: ReasonCode::SUCCESS,
            properties: properties.unwrap_or(Properties::EMPTY),
        };
        let limit = session.connection.as_deref().map_or(0, |connection| connection.max_packet);
        if connack.encoded_len(connect.version) > limit {
            self.close(key, CloseReason::Packet(DecodeError::PacketTooLarge, connect.version));
            return;
        }
        let cause = self.journal.cause();
        self.reply(key, cause, Then::Connected, |version, out| connack.encode(version, out));
    }

    /// Everything that CONNACK of 5.0 says about the server (5.0 section 3.2.2.3).
    fn abilities<'b>(
        &self,
        connect: &Connect<'_>,
        expiry: u32,
        assigned: Option<&Client>,
        data: Option<&[u8]>,
        room: &'b mut [u8],
    ) -> Result<Properties<'b>, EncodeError> {
        let settings = &self.settings;
        let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::ConnAck), room);
        if expiry != connect.session_expiry_interval() {
            writer.push(Property::SessionExpiryInterval(expiry))?;
        }
        if settings.receive_maximum < u16::MAX {
            writer.push(Property::ReceiveMaximum(settings.receive_maximum))?;
        }
        if settings.maximum_qos < QoS::ExactlyOnce {
            writer.push(Property::MaximumQos(settings.maximum_qos == QoS::AtLeastOnce))?;
        }
        writer.push(Property::MaximumPacketSize(settings.max_packet_size))?;
        if let Some(client) = assigned {
            let client_id = Utf8Str::new(&client.client_id).unwrap_or_default();
            writer.push(Property::AssignedClientIdentifier(client_id))?;
        }
        if settings.topic_alias_maximum > 0 {
            writer.push(Property::TopicAliasMaximum(settings.topic_alias_maximum))?;
        }
        for (is_there, absent) in [
            (settings.retain_available, Property::RetainAvailable(false)),
            (settings.wildcard_available, Property::WildcardSubscriptionAvailable(false)),
            (settings.subscription_ids_available, Property::SubscriptionIdentifiersAvailable(false)),
            (settings.shared_available, Property::SharedSubscriptionAvailable(false)),
        ] {
            if !is_there {
                writer.push(absent)?;
            }
        }
        let supervised = keep_alive(connect.keep_alive, settings);
        if supervised != connect.keep_alive {
            writer.push(Property::ServerKeepAlive(supervised))?;
        }
        if connect.properties.request_response_information() == Some(true)
            && let Some(Ok(text)) = settings.response_information.as_deref().map(Utf8Str::new)
        {
            writer.push(Property::ResponseInformation(text))?;
        }
        if let Some(method) = connect.properties.authentication_method() {
            writer.push(Property::AuthenticationMethod(method))?;
            if let Some(data) = data {
                writer.push(Property::AuthenticationData(data))?;
            }
        }
        Ok(writer.finish())
    }
}

/// What whoever let a client in knows about it.
#[derive(Default)]
pub(super) struct Known {
    /// Counts instead of what CONNECT says.
    user_name: Option<Box<str>>,
    rules: Option<u16>,
}

/// A client that proved itself by an extended authentication.
pub(super) struct Proven {
    pub(super) authentication: Box<Authentication>,
    pub(super) data: Option<Vec<u8>>,
}

/// Room for the properties of CONNACK beside what the authentication says.
const ABILITIES: usize = 512;

/// A CONNACK of this length is sent to everybody.
const SMALLEST_CLIENT: usize = 128;

/// The bytes of a packet again, to keep it.
pub(super) fn raw(frame: Frame<'_>) -> Vec<u8> {
    let FixedHeader { packet_type, flags, remaining_length, .. } = frame.header();
    let mut bytes = vec![(packet_type as u8) << 4 | flags];
    let mut rest = remaining_length;
    loop {
        let digit = (rest & 0x7F) as u8;
        rest >>= 7;
        bytes.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(frame.body());
    bytes
}

/// The first packet of what was kept.
pub(super) fn whole(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    Frame::split(bytes).ok().flatten()
}
