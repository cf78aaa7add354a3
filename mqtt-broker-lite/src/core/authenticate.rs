//! Extended authentication: AUTH back and forth before CONNACK, and again later (5.0 section 4.12).

use super::connection::Authentication;
use super::handshake::{Known, Proven, WaitsFor, whole};
use super::held::Then;
use super::shard::Shard;
use super::{AuthStep, CloseReason, ConnId, Mechanism, Output, Wire};
use mqtt_packet::{
    Auth, Connect, EncodeError, Frame, PacketType, Property, PropertyPlace, PropertyWriter, ReasonCode, Role,
    Sink, Utf8Str, Version,
};

/// An authentication before CONNACK.
pub(super) struct Exchange {
    /// The CONNECT that it is for.
    connect: Vec<u8>,
    method: Box<str>,
    mechanism: Box<dyn Mechanism>,
}

impl Shard {
    /// A CONNECT that names a method.
    pub(super) fn begin_authentication(&mut self, id: ConnId, connect: &Connect<'_>, raw: Vec<u8>) {
        let method = connect.properties.authentication_method().unwrap_or_default();
        let Some(client_id) = self.client_id(id, connect) else {
            return;
        };
        let Some(entropy) = self.opened(id).map(|opened| opened.entropy) else {
            return;
        };
        let Some(mechanism) = self.policy.mechanism(method.as_str(), &client_id, entropy) else {
            let code = ReasonCode::BAD_AUTHENTICATION_METHOD; // [MQTT-4.12.0-1]
            self.refuse_connect(id, Version::V5, CloseReason::Refused(code), Some(code));
            return;
        };
        let exchange = Exchange { connect: raw, method: method.as_str().into(), mechanism };
        let data = connect.properties.authentication_data().unwrap_or_default();
        self.step(id, exchange, data);
    }

    fn step(&mut self, id: ConnId, mut exchange: Exchange, data: &[u8]) {
        match exchange.mechanism.step(data) {
            AuthStep::Continue(data) => {
                let mut wire = Wire::default();
                let _ = encode(&exchange.method, ReasonCode::CONTINUE_AUTHENTICATION, Some(&data), &mut wire);
                let deadline = self.now.mono.saturating_add(self.settings.connect_timeout);
                if let Some(opened) = self.opened(id) {
                    opened.deadline = deadline;
                    opened.waits_for = WaitsFor::Auth(exchange);
                    self.outputs.push_back(Output::Send(id, wire));
                }
            }
            AuthStep::Success(data) => {
                let Some(Ok(connect)) = whole(&exchange.connect).map(|(frame, _)| Connect::decode(frame))
                else {
                    return;
                };
                let authentication = Box::new(Authentication {
                    method: exchange.method,
                    mechanism: exchange.mechanism,
                    is_running: false,
                });
                self.admit(id, &connect, Known::default(), Some(Proven { authentication, data }));
            }
            AuthStep::Refuse(code) => {
                self.refuse_connect(id, Version::V5, CloseReason::Refused(code), Some(code));
            }
        }
    }

    /// A packet of a client whose authentication is under way: AUTH, or it goes.
    pub(super) fn on_early_auth(&mut self, id: ConnId, frame: Frame<'_>) {
        let Some(opened) = self.opened(id) else {
            return;
        };
        let WaitsFor::Auth(exchange) = std::mem::replace(&mut opened.waits_for, WaitsFor::Connect) else {
            return;
        };
        if frame.packet_type() == PacketType::Disconnect {
            self.refuse(id, CloseReason::Disconnected, None);
            return;
        }
        match check(frame, &exchange.method, ReasonCode::CONTINUE_AUTHENTICATION) {
            Ok(data) => self.step(id, exchange, data),
            Err(reason) => self.refuse_connect(id, Version::V5, reason, Some(reason.reason_code())),
        }
    }

    /// AUTH on an open connection: a re-authentication [MQTT-4.12.1-1]. Everything else goes on meanwhile.
    pub(super) fn on_reauthentication(&mut self, key: usize, frame: Frame<'_>) -> Result<(), CloseReason> {
        let Some(connection) = self.connection(key) else {
            return Ok(());
        };
        let version = connection.version;
        let Some(authentication) = &mut connection.authentication else {
            Auth::decode(frame, version).map_err(|error| CloseReason::Packet(error, version))?;
            return Err(CloseReason::rule(
                "MQTT-4.12.0-7",
                ReasonCode::PROTOCOL_ERROR,
                "AUTH on a connection without an authentication method",
            ));
        };
        let expected = if authentication.is_running {
            ReasonCode::CONTINUE_AUTHENTICATION
        } else {
            ReasonCode::RE_AUTHENTICATE
        };
        let data = check(frame, &authentication.method, expected)?;
        let before = authentication.mechanism.user_name().map(str::to_owned);
        let (code, data) = match authentication.mechanism.step(data) {
            AuthStep::Continue(data) => (ReasonCode::CONTINUE_AUTHENTICATION, Some(data)),
            AuthStep::Success(data) => (ReasonCode::SUCCESS, data),
            AuthStep::Refuse(code) => {
                return Err(CloseReason::rule("MQTT-4.12.1-2", code, "the re-authentication failed"));
            }
        };
        if code == ReasonCode::SUCCESS && authentication.mechanism.user_name() != before.as_deref() {
            let code = ReasonCode::NOT_AUTHORIZED;
            return Err(CloseReason::rule("MQTT-4.12.1-2", code, "the re-authentication is somebody else's"));
        }
        authentication.is_running = code == ReasonCode::CONTINUE_AUTHENTICATION;
        let method = authentication.method.clone();
        self.reply(key, None, Then::Nothing, |_, out| encode(&method, code, data.as_deref(), out));
        Ok(())
    }
}

/// The data of a client's AUTH, if it is the right one [MQTT-4.12.0-5].
fn check<'a>(frame: Frame<'a>, method: &str, expected: ReasonCode) -> Result<&'a [u8], CloseReason> {
    let auth = Auth::decode(frame, Version::V5)
        .and_then(|auth| auth.check_sender(Role::Client).map(|()| auth))
        .map_err(|error| CloseReason::Packet(error, Version::V5))?;
    let named = auth.properties.authentication_method().unwrap_or_default();
    if named != *method {
        return Err(CloseReason::rule(
            "MQTT-4.12.0-5",
            ReasonCode::PROTOCOL_ERROR,
            "AUTH names another authentication method",
        ));
    }
    if auth.reason_code != expected {
        return Err(CloseReason::rule(
            "U5-3.15.0-1",
            ReasonCode::PROTOCOL_ERROR,
            "AUTH does not go on where the authentication is",
        ));
    }
    Ok(auth.properties.authentication_data().unwrap_or_default())
}

/// An AUTH of the server.
fn encode(
    method: &str,
    code: ReasonCode,
    data: Option<&[u8]>,
    out: &mut impl Sink,
) -> Result<(), EncodeError> {
    let len = data.map_or(0, <[u8]>::len).saturating_add(method.len()).saturating_add(8);
    let mut room = vec![0; len];
    let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::Auth), &mut room);
    writer.push(Property::AuthenticationMethod(Utf8Str::new(method).unwrap_or_default()))?;
    if let Some(data) = data {
        writer.push(Property::AuthenticationData(data))?;
    }
    Auth::new(code, writer.finish()).encode(Version::V5, out)
}
