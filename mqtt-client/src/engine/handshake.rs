//! From CONNECT to CONNACK, and the extended authentication on the way and later (3.1.1 and 5.0 sections 3.1 and 3.2,
//! 5.0 section 4.12).

use super::{Engine, Phase, hash, is_v5};
use crate::error::{ProtocolError, RequestError};
use crate::event::{Connected, Event};
#[cfg(feature = "v5")]
use crate::limits::Limits;
use crate::options::ConnectOptions;
use crate::time::Instant;
use crate::topic_alias::{ALIASES, Aliases};
use mqtt_packet::{
    Auth, ConnAck, Connect, DecodeError, EncodeError, PacketType, Properties, PropertyId, PropertyPlace,
    ReasonCode, Role, Version,
};

/// The engine's own properties of CONNECT: four of at most five bytes.
const OWN_LEN: usize = 16;

impl Engine<'_> {
    /// Queues CONNECT, the first packet on a new transport [MQTT-3.1.0-1]. The framer is to be reset before.
    ///
    /// After a connection that ended with [`ProtocolError::UnknownSession`] it is a clean start whatever the options
    /// say: the server would resume the same unknown session for ever else.
    ///
    /// # Errors
    /// [`RequestError::AlreadyConnected`], [`RequestError::NoRoom`] where CONNECT is larger than the transmit memory,
    /// [`RequestError::Encode`].
    pub fn connect(&mut self, now: Instant, options: &ConnectOptions<'_>) -> Result<(), RequestError> {
        if self.phase != Phase::Disconnected {
            return Err(RequestError::AlreadyConnected);
        }
        let version = self.settings.version;
        let method = if is_v5(version) { method(options.properties) } else { 0 };
        if method != 0 && !cfg!(feature = "authentication") {
            return Err(RequestError::AuthenticationMethod);
        }
        let mut own = [0; OWN_LEN];
        let properties = if is_v5(version) {
            self.own_properties(options, &mut own)?
                .followed_by(options.properties)
                .ok_or(EncodeError::Rule(DecodeError::PropertyRepeated(PropertyId::ReceiveMaximum)))?
        } else {
            Properties::EMPTY
        };
        let clean_start = options.clean_start || self.must_start_clean;
        let connect = Connect {
            clean_start,
            keep_alive: options.keep_alive,
            properties,
            will: options.will,
            user_name: options.user_name,
            password: options.password,
            ..Connect::new(version, options.client_id)
        };
        self.out.append(0, |out| connect.encode(version, out))?;
        self.phase = Phase::Connecting;
        self.clean_start = clean_start;
        #[cfg(feature = "v5")]
        {
            // Not asked of the packet, which is so large that it would be copied for it.
            let session_expiry_interval = match version {
                Version::V5 => properties.session_expiry_interval().unwrap_or(0),
                _ if clean_start => 0,
                _ => u32::MAX,
            };
            self.limits = Limits::new(options.keep_alive, session_expiry_interval);
        }
        if is_v5(version) {
            self.set_method(method);
            self.no_problem_information = options.properties.request_problem_information() == Some(false);
            self.alias_maximum = if ALIASES { options.topic_alias_maximum } else { 0 };
        }
        self.keep_alive.await_answer(now);
        self.keep_alive.set_seconds(options.keep_alive);
        Ok(())
    }

    /// The Receive Maximum that a server is told: all that there is memory for.
    pub(super) fn receive_maximum(&self) -> u16 {
        self.inbox.capacity().max(1)
    }

    /// What the engine itself has to tell a 5.0 server.
    fn own_properties<'p>(
        &self,
        options: &ConnectOptions<'_>,
        block: &'p mut [u8; OWN_LEN],
    ) -> Result<Properties<'p>, EncodeError> {
        let mut len = 0_usize;
        let mut put = |id: PropertyId, value: &[u8]| {
            let end = len.wrapping_add(value.len()).wrapping_add(1);
            if let Some((first, rest)) = block.get_mut(len..end).and_then(<[u8]>::split_first_mut) {
                *first = id as u8;
                mqtt_packet::copy(rest, value);
                len = end;
            }
        };
        if options.session_expiry_interval > 0 {
            put(PropertyId::SessionExpiryInterval, &options.session_expiry_interval.to_be_bytes());
        }
        put(PropertyId::ReceiveMaximum, &self.receive_maximum().to_be_bytes());
        if options.maximum_packet_size > 0 {
            put(PropertyId::MaximumPacketSize, &options.maximum_packet_size.to_be_bytes());
        }
        if ALIASES && options.topic_alias_maximum > 0 {
            put(PropertyId::TopicAliasMaximum, &options.topic_alias_maximum.to_be_bytes());
        }
        let block = block.get(..len).unwrap_or_default();
        Ok(Properties::from_block(block, PropertyPlace::of(PacketType::Connect))?)
    }

    pub(super) fn connack<'rx>(
        &mut self,
        now: Instant,
        connack: ConnAck<'rx>,
        aliases: &mut Aliases<'_>,
        event: &mut Option<Event<'rx>>,
    ) -> Result<(), ProtocolError> {
        if connack.reason_code != ReasonCode::SUCCESS {
            self.phase = Phase::Closing;
            self.keep_alive.stop();
            *event = Some(Event::Refused(connack));
            return Ok(());
        }
        if is_v5(self.settings.version) {
            self.check_method(&connack.properties)?;
            #[cfg(feature = "v5")]
            self.limits.negotiate(&connack);
            self.keep_alive.set_seconds(self.limits.keep_alive);
            aliases.clear(); // [MQTT-3.3.2-7]
        }
        // In 3.1 nobody says whether a session was resumed: believe that it was if it was asked for.
        let resumed =
            connack.session_present || (self.settings.version == Version::V3_1 && !self.clean_start);
        if resumed {
            let unknown = !self.has_session && !self.settings.assume_session;
            if self.clean_start || unknown && is_v5(self.settings.version) {
                self.must_start_clean = true;
                return Err(ProtocolError::UnknownSession); // [MQTT-3.2.2-4]
            }
        } else {
            self.end_session(); // [MQTT-3.2.2-5]
        }
        self.has_session = true;
        self.session_ends = self.limits().session_expiry_interval == 0;
        self.must_start_clean = false;
        self.phase = Phase::Connected;
        if cfg!(feature = "v5") {
            self.unacknowledged = 0;
        }
        self.inflight.set_pending(0);
        self.keep_alive.start(now);
        *event = Some(Event::Connected(Connected {
            session_present: connack.session_present,
            properties: connack.properties,
        }));
        Ok(())
    }

    /// The Authentication Method of the connection, as a hash; 0 for none, and always without the feature.
    const fn method(&self) -> u32 {
        #[cfg(feature = "authentication")]
        return self.method;
        #[cfg(not(feature = "authentication"))]
        return 0;
    }

    const fn set_method(&mut self, method: u32) {
        #[cfg(feature = "authentication")]
        {
            self.method = method;
        }
        let _ = method;
    }

    /// AUTH and CONNACK repeat the Authentication Method of CONNECT, and have none if that had none
    /// [MQTT-4.12.0-5, MQTT-4.12.0-6].
    fn check_method(&self, properties: &Properties<'_>) -> Result<(), ProtocolError> {
        if method(*properties) == self.method() { Ok(()) } else { Err(ProtocolError::AuthenticationMethod) }
    }

    pub(super) fn auth_arrived<'rx>(&mut self, auth: Auth<'rx>) -> Result<Event<'rx>, ProtocolError> {
        self.check_method(&auth.properties)?;
        auth.check_sender(Role::Server)?;
        if self.phase == Phase::Connecting && auth.reason_code == ReasonCode::SUCCESS {
            return Err(ProtocolError::Unexpected(PacketType::Auth));
        }
        Ok(Event::Auth(auth))
    }

    /// Queues AUTH: the answer to the server's [`Event::Auth`] with 0x18 [MQTT-4.12.0-3], or with 0x19 the start of a
    /// re-authentication on an open connection [MQTT-4.12.1-1]. `properties` repeat the Authentication Method of
    /// CONNECT.
    ///
    /// # Errors
    /// [`RequestError::AuthenticationMethod`], [`RequestError::NotConnected`], [`RequestError::NoRoom`],
    /// [`RequestError::Encode`].
    pub fn auth(
        &mut self,
        now: Instant,
        reason_code: ReasonCode,
        properties: Properties<'_>,
    ) -> Result<(), RequestError> {
        match self.phase {
            Phase::Connecting if reason_code == ReasonCode::CONTINUE_AUTHENTICATION => {}
            Phase::Connected => {}
            _ => return Err(RequestError::NotConnected),
        }
        if self.method() == 0 || method(properties) != self.method() {
            return Err(RequestError::AuthenticationMethod); // [MQTT-4.12.0-7]
        }
        let auth = Auth::new(reason_code, properties);
        auth.check_sender(Role::Client).map_err(EncodeError::Rule)?;
        self.check_size(auth.encoded_len(Version::V5))?;
        self.out.append(0, |out| auth.encode(Version::V5, out))?;
        if self.phase == Phase::Connecting {
            self.keep_alive.await_answer(now);
        }
        Ok(())
    }
}

/// The Authentication Method among these properties, as a hash; 0 for none. Without the feature it only matters whether
/// there is one.
fn method(properties: Properties<'_>) -> u32 {
    if !cfg!(feature = "authentication") {
        return properties.contains(PropertyId::AuthenticationMethod).into();
    }
    properties.authentication_method().map_or(0, |method| hash(method.as_bytes()))
}
