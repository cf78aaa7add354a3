//! A message that outlives the packet it came in: immutable, counted, its parts in one allocation.

use bytes::{BufMut, Bytes, BytesMut};
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
    /// The topic name.
    pub topic: Bytes,
    /// The properties as they came, without Topic Alias and Message Expiry Interval.
    pub properties: Bytes,
    /// The payload.
    pub payload: Bytes,
    /// The QoS it was published with.
    pub qos: QoS,
    /// The retain flag it was published with.
    pub retain: bool,
    /// When it is of no use any more, in milliseconds since 1970.
    pub expires: Option<u64>,
    /// Who published it.
    pub publisher: Arc<Client>,
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
        let [head, tail] = self.properties.blocks();
        let properties_end = self.topic.as_bytes().len().saturating_add(self.properties.len());
        let mut body = BytesMut::with_capacity(properties_end.saturating_add(self.payload.len()));
        for part in [self.topic.as_bytes(), head, tail, self.payload] {
            body.put_slice(part);
        }
        let mut body = body.freeze();
        let topic = body.split_to(self.topic.as_bytes().len());
        let properties = body.split_to(self.properties.len());
        Arc::new(Message {
            topic,
            properties,
            payload: body,
            qos: self.qos,
            retain: self.retain,
            expires: self.expires,
            publisher: Arc::clone(self.publisher),
        })
    }
}

impl Message {
    /// How much memory it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        const OVERHEAD: usize = 192;
        OVERHEAD
            .saturating_add(self.topic.len())
            .saturating_add(self.properties.len())
            .saturating_add(self.payload.len())
    }

    /// Whether it is of no use any more.
    pub(super) fn is_expired(&self, wall: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= wall)
    }

    /// The same as borrowed parts. They were valid when they came, so nothing is ever left out here.
    pub(super) fn view(&self) -> Option<View<'_>> {
        Some(View {
            topic: TopicName::from_bytes(&self.topic).ok()?,
            properties: match &self.properties[..] {
                [] => Properties::EMPTY,
                block => Properties::from_block(block, PropertyPlace::of(PacketType::Publish)).ok()?,
            },
            payload: &self.payload,
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
