//! What the server takes, as its CONNACK said (5.0 section 3.2.2.3); before 5.0 it takes everything.

#[cfg(feature = "v5")]
use mqtt_packet::ConnAck;
use mqtt_packet::QoS;

/// What the server of this connection takes. The engine obeys it by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many messages of QoS 1 and 2 may be unacknowledged: 1 to 65,535.
    pub receive_maximum: u16,
    /// The largest packet in bytes, with its fixed header.
    pub maximum_packet_size: u32,
    /// The highest Topic Alias; 0 for none.
    pub topic_alias_maximum: u16,
    /// The Keep Alive that counts, in seconds; 0 for none.
    pub keep_alive: u16,
    /// For how many seconds the session outlives the connection; `u32::MAX` for ever.
    pub session_expiry_interval: u32,
    /// The highest QoS of a message.
    pub maximum_qos: QoS,
    /// Whether messages can be retained.
    pub retain_available: bool,
    /// Whether topic filters may have wildcards.
    pub wildcard_subscription_available: bool,
    /// Whether subscriptions may have an identifier.
    pub subscription_identifiers_available: bool,
    /// Whether there are shared subscriptions.
    pub shared_subscription_available: bool,
}

impl Limits {
    /// No limit, for a connection that asked for this Keep Alive and Session Expiry Interval.
    pub(crate) const fn new(keep_alive: u16, session_expiry_interval: u32) -> Self {
        Self {
            receive_maximum: u16::MAX,
            maximum_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            keep_alive,
            session_expiry_interval,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_identifiers_available: true,
            shared_subscription_available: true,
        }
    }

    /// What a server of 3.1 or 3.1.1 takes: everything.
    #[cfg(not(feature = "v5"))]
    pub(crate) const NONE: Self = Self::new(0, u32::MAX);

    /// Takes over what the server said.
    #[cfg(feature = "v5")]
    pub(crate) fn negotiate(&mut self, connack: &ConnAck<'_>) {
        let said = connack.properties;
        take(&mut self.receive_maximum, said.receive_maximum());
        take(&mut self.maximum_packet_size, said.maximum_packet_size());
        take(&mut self.topic_alias_maximum, said.topic_alias_maximum());
        take(&mut self.keep_alive, said.server_keep_alive()); // [MQTT-3.1.2-21]
        take(&mut self.session_expiry_interval, said.session_expiry_interval());
        let maximum_qos = said.maximum_qos();
        take(
            &mut self.maximum_qos,
            maximum_qos.map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
        );
        take(&mut self.retain_available, said.retain_available());
        take(&mut self.wildcard_subscription_available, said.wildcard_subscription_available());
        take(&mut self.subscription_identifiers_available, said.subscription_identifiers_available());
        take(&mut self.shared_subscription_available, said.shared_subscription_available());
    }
}

/// Where all servers take everything, there is nothing to be kept: the limits are a constant.
#[cfg(not(feature = "v5"))]
#[derive(Debug)]
pub(crate) struct NoLimits;

#[cfg(not(feature = "v5"))]
impl core::ops::Deref for NoLimits {
    type Target = Limits;

    fn deref(&self) -> &Limits {
        &Limits::NONE
    }
}

/// What the server said, if it did.
#[cfg(feature = "v5")]
fn take<T>(limit: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *limit = said;
    }
}
