//! Messages to be published.

use mqtt_packet::{Properties, QoS, TopicName};

/// A message to be published.
///
/// ```
/// use mqtt_client::{Message, QoS, TopicName};
/// let topic = TopicName::new("plant/1/temperature").unwrap();
/// let message = Message::new(topic, b"21.5").with_qos(QoS::AtLeastOnce).with_retain(true);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// What is said: any bytes, or none.
    pub payload: &'a [u8],
    /// How hard both sides try.
    pub qos: QoS,
    /// Whether the server keeps it as the topic's retained message.
    pub retain: bool,
    /// Properties of PUBLISH; ignored before 5.0. A Topic Alias is the engine's affair and may not be among them.
    pub properties: Properties<'a>,
}

impl<'a> Message<'a> {
    /// A message of QoS 0, not retained, without properties.
    pub const fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Self {
        Self { topic, payload, qos: QoS::AtMostOnce, retain: false, properties: Properties::EMPTY }
    }

    /// The same with this QoS.
    #[must_use]
    pub const fn with_qos(self, qos: QoS) -> Self {
        Self { qos, ..self }
    }

    /// The same, to be retained or not.
    #[must_use]
    pub const fn with_retain(self, retain: bool) -> Self {
        Self { retain, ..self }
    }

    /// The same with these properties.
    #[must_use]
    pub const fn with_properties(self, properties: Properties<'a>) -> Self {
        Self { properties, ..self }
    }
}
