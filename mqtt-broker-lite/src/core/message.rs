//! A message that outlives the packet it came in: immutable, counted, its parts in one allocation.

use bytes::Bytes;
use mqtt_packet::{PacketType, Properties, PropertyPlace, QoS, TopicName};
use std::sync::Arc;

/// Who a message or a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The user name it connected with.
    pub user_name: Option<Box<str>>,
    /// Which rules hold for it, where whoever let it in said so by [`Decision::AllowBy`](super::Decision::AllowBy). This is
    /// not stored: of who was restored nobody knows until he is back.
    pub rules: Option<u16>,
}

/// A published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic, properties and payload.
    pub content: Content,
    /// The QoS it was published with.
    pub qos: QoS,
    /// The retain flag it was published with.
    pub retain: bool,
    /// When it is of no use any more, in milliseconds since 1970.
    pub expires: Option<u64>,
    /// Who published it.
    pub publisher: Arc<Client>,
}

/// Topic, properties and payload of a message, one behind the other in one piece of memory of their size.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    bytes: Bytes,
    topic_end: u32,
    properties_end: u32,
}

impl Content {
    /// A copy of these parts. The properties are as in a packet, without their length; a Topic Alias and a Message Expiry
    /// Interval are not among them.
    #[must_use]
    pub fn new(topic: &[u8], properties: &[u8], payload: &[u8]) -> Self {
        Self::of(topic, [properties, &[]], payload)
    }

    fn of(topic: &[u8], properties: [&[u8]; 2], payload: &[u8]) -> Self {
        let [head, tail] = properties;
        let properties_end = topic.len().saturating_add(head.len()).saturating_add(tail.len());
        let mut bytes = Vec::with_capacity(properties_end.saturating_add(payload.len()));
        for part in [topic, head, tail, payload] {
            bytes.extend_from_slice(part);
        }
        // A topic is shorter than 2^16 bytes, a packet than 2^28.
        Self { bytes: bytes.into(), topic_end: topic.len() as u32, properties_end: properties_end as u32 }
    }

    fn topic(&self) -> &[u8] {
        self.bytes.get(..self.topic_end as usize).unwrap_or_default()
    }

    fn properties(&self) -> &[u8] {
        self.bytes.get(self.topic_end as usize..self.properties_end as usize).unwrap_or_default()
    }

    fn payload(&self) -> &[u8] {
        self.bytes.get(self.properties_end as usize..).unwrap_or_default()
    }
}

/// Every byte: what differs looks different.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("topic", &self.topic().escape_ascii().to_string())
            .field("properties", &self.properties().escape_ascii().to_string())
            .field("payload", &self.payload().escape_ascii().to_string())
            .finish()
    }
}

/// A message on its way, wherever its parts are.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) topic: TopicName<'a>,
    pub(super) properties: Properties<'a>,
    pub(super) payload: &'a [u8],
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expires: Option<u64>,
    pub(super) publisher: &'a Arc<Client>,
}

impl View<'_> {
    /// Copies the parts into one allocation of their exact size.
    pub(super) fn to_message(self) -> Arc<Message> {
        let content = Content::of(self.topic.as_bytes(), self.properties.blocks(), self.payload);
        Arc::new(Message {
            content,
            qos: self.qos,
            retain: self.retain,
            expires: self.expires,
            publisher: Arc::clone(self.publisher),
        })
    }
}

impl Message {
    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> &[u8] {
        self.content.topic()
    }

    /// The properties as they came, without Topic Alias and Message Expiry Interval.
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        self.content.properties()
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.content.payload()
    }

    /// The topic name, to be kept: shares the memory of the message.
    pub(super) fn topic_bytes(&self) -> Bytes {
        self.content.bytes.slice_ref(self.topic())
    }

    /// The payload, to be kept: shares the memory of the message.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        self.content.bytes.slice_ref(self.payload())
    }

    /// How much memory it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        const OVERHEAD: usize = 192;
        OVERHEAD.saturating_add(self.content.bytes.len())
    }

    /// Whether it is of no use any more.
    pub(super) fn is_expired(&self, wall: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= wall)
    }

    /// The same as borrowed parts. They were valid when they came, so nothing is ever left out here.
    pub(super) fn view(&self) -> Option<View<'_>> {
        Some(View {
            topic: TopicName::from_bytes(self.topic()).ok()?,
            properties: match self.properties() {
                [] => Properties::EMPTY,
                block => Properties::from_block(block, PropertyPlace::of(PacketType::Publish)).ok()?,
            },
            payload: self.payload(),
            qos: self.qos,
            retain: self.retain,
            expires: self.expires,
            publisher: &self.publisher,
        })
    }
}

/// The Message Expiry Interval that is left at `wall`, in seconds, rounded up: what has not expired has something left.
pub(super) fn seconds_left(expires: u64, wall: u64) -> u32 {
    u32::try_from(expires.saturating_sub(wall).div_ceil(1000)).unwrap_or(u32::MAX)
}
