//! Messages: [`Publish`] on its way out, [`Message`] that came in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mqtt_client::{ReasonCode, Receipt};
use mqtt_packet::{DecodeError, Delivery, Properties, Property, QoS, StringError, TopicName, Utf8Str};

use crate::error::PublishError;
use crate::properties::PropertyList;
use crate::shared::{Hold, Shared};

/// A topic name with bytes of its own; cloning it copies nothing. Checked where it is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic(Bytes);

impl Topic {
    /// A topic that is known when the program is built.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The topic as it was given.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> Result<TopicName<'_>, StringError> {
        TopicName::from_bytes(&self.0)
    }
}

impl From<&str> for Topic {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Topic {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&String> for Topic {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Topic> for Topic {
    fn from(topic: &Topic) -> Self {
        topic.clone()
    }
}

/// A message to be published.
///
/// ```
/// use mqtt_client_async::{Publish, QoS};
/// let publish = Publish::new("plant/1/temperature", "21.5").qos(QoS::AtLeastOnce).retain(true);
/// ```
#[derive(Clone, Debug)]
pub struct Publish {
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: PropertyList,
    /// A property whose value is no MQTT string or topic name.
    fault: Option<StringError>,
}

impl Publish {
    /// A message that stands in a packet.
    pub(crate) fn copy(publish: &mqtt_packet::Publish<'_>) -> Self {
        Self {
            retain: publish.retain,
            properties: PropertyList::copy(&publish.properties),
            ..Self::new(publish.topic.as_str(), Bytes::copy_from_slice(publish.payload))
                .qos(publish.delivery.qos())
        }
    }

    /// A message of QoS 0, not retained, without properties.
    pub fn new(topic: impl Into<Topic>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PropertyList::new(),
            fault: None,
        }
    }

    /// The same with this QoS.
    #[must_use]
    pub fn qos(self, qos: QoS) -> Self {
        Self { qos, ..self }
    }

    /// The same, to be kept as the topic's retained message or not.
    #[must_use]
    pub fn retain(self, retain: bool) -> Self {
        Self { retain, ..self }
    }

    /// The same and a property more; not sent before 5.0.
    #[must_use]
    pub fn property(self, property: Property<'_>) -> Self {
        Self { properties: self.properties.with(property), ..self }
    }

    /// The same with these properties and no others; not sent before 5.0.
    #[must_use]
    pub fn properties(self, properties: PropertyList) -> Self {
        Self { properties, ..self }
    }

    /// The server drops the message when it is older than this (5.0 section 3.3.2.3.3), in whole seconds.
    #[must_use]
    pub fn expires_after(self, age: Duration) -> Self {
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        self.property(Property::MessageExpiryInterval(seconds))
    }

    /// What the payload is, for example a MIME type (5.0 section 3.3.2.3.9).
    #[must_use]
    pub fn content_type(self, text: &str) -> Self {
        self.text(text, Property::ContentType)
    }

    /// Where an answer is to be published (5.0 section 3.3.2.3.5).
    #[must_use]
    pub fn response_topic(mut self, topic: &str) -> Self {
        match TopicName::new(topic) {
            Ok(topic) => self.property(Property::ResponseTopic(topic)),
            Err(fault) => {
                self.fault = Some(fault);
                self
            }
        }
    }

    /// What the answer is to repeat (5.0 section 3.3.2.3.6).
    #[must_use]
    pub fn correlation_data(self, data: &[u8]) -> Self {
        self.property(Property::CorrelationData(data))
    }

    /// A name and a value for the receivers (5.0 section 3.3.2.3.7).
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        match (Utf8Str::new(name), Utf8Str::new(value)) {
            (Ok(name), Ok(value)) => self.property(Property::UserProperty(name, value)),
            (Err(fault), _) | (_, Err(fault)) => {
                self.fault = Some(fault);
                self
            }
        }
    }

    fn text<'a>(mut self, text: &'a str, property: fn(Utf8Str<'a>) -> Property<'a>) -> Self {
        match Utf8Str::new(text) {
            Ok(text) => self.property(property(text)),
            Err(fault) => {
                self.fault = Some(fault);
                self
            }
        }
    }

    /// How much room it takes in a queue.
    pub(crate) fn len(&self) -> usize {
        self.topic.0.len().saturating_add(self.payload.len())
    }

    pub(crate) fn check(&self) -> Result<(), PublishError> {
        self.topic.name().map_err(PublishError::Topic)?;
        if let Some(fault) = self.fault {
            return Err(PublishError::Properties(DecodeError::String(fault)));
        }
        if !self.properties.is_empty() {
            self.properties.of_publish().map_err(PublishError::Properties)?;
        }
        Ok(())
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivered {
    /// At QoS 0: it was handed to the network.
    Written,
    /// At QoS 1 and 2: the server has taken it over.
    Acknowledged(Acknowledgement),
}

/// What the server said in PUBACK, PUBCOMP, or a PUBREC that refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Success, or why not. Before 5.0 always success.
    pub reason_code: ReasonCode,
    /// What else it said, read with [`PropertyList::at`].
    pub properties: PropertyList,
}

/// A message that came in. Topic, properties and payload are one piece of memory of their size.
// Few words that are moved as they are: it goes through several hands.
pub struct Message {
    /// The topic, perhaps the Packet Identifier and the properties' length, the properties, the payload.
    bytes: Arc<[u8]>,
    pub(crate) right: Right,
    payload_start: u32,
    properties_len: u32,
    topic_len: u16,
    delivery: Delivery,
    retain: bool,
}

/// The right to acknowledge a message.
pub(crate) enum Right {
    None,
    /// It was not decided yet who has it.
    Receipt(Receipt),
    /// Whoever takes the message from its stream.
    Taker(Hold),
    /// The application.
    Manual(Arc<ManualHold>),
}

impl Message {
    /// The topic name.
    pub fn topic(&self) -> &str {
        str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    pub(crate) fn topic_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.topic_len)).unwrap_or_default()
    }

    /// The payload: any bytes, or none.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload_start()..).unwrap_or_default()
    }

    /// The payload, to be kept: shares the memory of the message.
    pub fn payload_bytes(&self) -> Bytes {
        Bytes::from_owner(Memory(Arc::clone(&self.bytes))).slice(self.payload_start()..)
    }

    fn payload_start(&self) -> usize {
        self.payload_start as usize
    }

    /// The properties; none before 5.0.
    pub fn properties(&self) -> Properties<'_> {
        if self.properties_len == 0 {
            return Properties::EMPTY;
        }
        let start = self.payload_start().saturating_sub(self.properties_len as usize);
        let block = self.bytes.get(start..self.payload_start()).unwrap_or_default();
        let place = mqtt_packet::PropertyPlace::of(mqtt_packet::PacketType::Publish);
        // They were validated when they came.
        Properties::from_block(block, place).unwrap_or(Properties::EMPTY)
    }

    /// The QoS with which the server sent it.
    pub fn qos(&self) -> QoS {
        self.delivery.qos()
    }

    /// Whether it is a retained message, sent because of a new subscription; or one that was published to be retained,
    /// where the subscription asked to be told.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// Whether the server sent it before, perhaps without success.
    pub fn dup(&self) -> bool {
        self.delivery.dup()
    }

    /// The Packet Identifier; none at QoS 0.
    pub fn packet_id(&self) -> Option<u16> {
        self.delivery.id().map(mqtt_packet::PacketId::get)
    }

    /// Tells the server that the message was taken over, where the subscription is
    /// [acknowledged by hand](crate::Subscribe::manual); otherwise does nothing. The acknowledgement leaves in the
    /// order in which the messages came, so it waits for those of earlier messages. Where the connection has ended,
    /// nothing is sent: the server sends the message again.
    pub fn acknowledge(&self) {
        self.answer(ReasonCode::SUCCESS);
    }

    /// Refuses the message, as [`acknowledge`](Self::acknowledge) takes it; before 5.0 the server cannot be told and
    /// takes it for an acknowledgement.
    pub fn refuse(&self, reason_code: ReasonCode) {
        self.answer(reason_code);
    }

    fn answer(&self, reason_code: ReasonCode) {
        if let Right::Manual(hold) = &self.right {
            hold.answer(reason_code);
        }
    }

    /// What stands in a packet that came whole, whose body this is.
    // Inlined, as all up to its place in the queue of messages is: it is made there.
    #[inline]
    pub(crate) fn whole(publish: &mqtt_packet::Publish<'_>, body: &[u8], receipt: Option<Receipt>) -> Self {
        // Behind the length of the topic. The topic of an alias stands elsewhere.
        let is_topic = |bytes: &&[u8]| std::ptr::eq(bytes.as_ptr(), publish.topic.as_bytes().as_ptr());
        let (bytes, payload_start) = match body.get(2..).filter(is_topic) {
            Some(bytes) => (bytes.into(), bytes.len().saturating_sub(publish.payload.len())),
            None => {
                let mut message = MessageBuilder::new(publish, publish.payload.len());
                message.push(publish.payload);
                (message.message.bytes, message.message.payload_start as usize)
            }
        };
        Self::new(publish, bytes, payload_start, receipt)
    }

    #[inline]
    fn new(
        publish: &mqtt_packet::Publish<'_>,
        bytes: Arc<[u8]>,
        payload_start: usize,
        receipt: Option<Receipt>,
    ) -> Self {
        // A packet is shorter than 2^28 bytes, a topic than 2^16.
        Self {
            bytes,
            right: receipt.map_or(Right::None, Right::Receipt),
            payload_start: payload_start as u32,
            properties_len: publish.properties.len() as u32,
            topic_len: publish.topic.as_bytes().len() as u16,
            delivery: publish.delivery,
            retain: publish.retain,
        }
    }

    /// How much its topic, properties and payload are together.
    pub(crate) fn len(&self) -> usize {
        let front = usize::from(self.topic_len).saturating_add(self.properties_len as usize);
        self.bytes.len().saturating_sub(self.payload_start()).saturating_add(front)
    }
}

/// A copy may be acknowledged in place of the message by the application; any other right stays with the message.
impl Clone for Message {
    fn clone(&self) -> Self {
        let right = match &self.right {
            Right::Manual(hold) => Right::Manual(Arc::clone(hold)),
            Right::None | Right::Receipt(_) | Right::Taker(_) => Right::None,
        };
        Self { bytes: Arc::clone(&self.bytes), right, ..*self }
    }
}

/// The memory of a message, for those who keep its payload.
struct Memory(Arc<[u8]>);

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("delivery", &self.delivery)
            .field("retain", &self.retain)
            .field("payload_len", &self.payload().len())
            .finish_non_exhaustive()
    }
}

/// A message while its bytes come in.
pub(crate) struct MessageBuilder {
    message: Message,
    /// How many of its bytes have come.
    filled: usize,
}

impl MessageBuilder {
    /// The front of a message whose payload will have `payload_len` bytes.
    pub(crate) fn new(publish: &mqtt_packet::Publish<'_>, payload_len: usize) -> Self {
        let payload_start = publish.topic.as_bytes().len().saturating_add(publish.properties.len());
        let bytes = std::iter::repeat_n(0, payload_start.saturating_add(payload_len)).collect();
        let mut builder = Self { message: Message::new(publish, bytes, payload_start, None), filled: 0 };
        builder.push(publish.topic.as_bytes());
        for block in publish.properties.blocks() {
            builder.push(block);
        }
        builder
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let end = self.filled.saturating_add(chunk.len());
        // Nobody else has it yet.
        let place = Arc::get_mut(&mut self.message.bytes).and_then(|bytes| bytes.get_mut(self.filled..end));
        if let Some(place) = place {
            place.copy_from_slice(chunk);
            self.filled = end;
        }
    }

    pub(crate) fn finish(self, receipt: Option<Receipt>) -> Message {
        Message { right: receipt.map_or(Right::None, Right::Receipt), ..self.message }
    }
}

/// The right to acknowledge a message by hand, once.
pub(crate) struct ManualHold {
    shared: Arc<Shared>,
    hold: Mutex<Option<Hold>>,
}

impl ManualHold {
    pub(crate) fn new(shared: Arc<Shared>, hold: Hold) -> Arc<Self> {
        Arc::new(Self { shared, hold: Mutex::new(Some(hold)) })
    }

    fn answer(&self, reason_code: ReasonCode) {
        let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hold) = hold {
            self.shared.release(hold, reason_code);
        }
    }
}
