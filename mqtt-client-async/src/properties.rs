//! Properties of 5.0 that own their bytes.

use bytes::{Bytes, BytesMut};
use mqtt_packet::{DecodeError, PacketType, Properties, Property, PropertyPlace, PropertyWriter};

/// Properties with bytes of their own, in the order in which they were added.
///
/// Whether they may stand where they are put is checked there; before 5.0 they are not sent.
///
/// ```
/// use mqtt_client_async::{Property, PropertyList};
/// let properties = PropertyList::new().with(Property::MessageExpiryInterval(60));
/// assert_eq!(properties.of_publish().unwrap().message_expiry_interval(), Some(60));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyList {
    block: Bytes,
    /// A property that has no encoding: too long, or a number out of its range.
    fault: Option<DecodeError>,
}

impl PropertyList {
    /// No property.
    pub const fn new() -> Self {
        Self { block: Bytes::new(), fault: None }
    }

    /// The same and one property more.
    #[must_use]
    pub fn with(mut self, property: Property<'_>) -> Self {
        let mut block = BytesMut::from(core::mem::take(&mut self.block));
        let start = block.len();
        block.resize(start.saturating_add(size_bound(&property)), 0);
        let place = home(&property);
        let room = block.get_mut(start..).unwrap_or_default();
        let mut writer = PropertyWriter::new(place, room);
        let result = writer.push(property).map(|_| ());
        let len = writer.finish().len();
        block.truncate(start.saturating_add(len));
        if let Err(error) = result {
            self.fault = Some(match error {
                mqtt_packet::EncodeError::Rule(rule) => rule,
                _ => DecodeError::PropertyLength,
            });
        }
        self.block = block.freeze();
        self
    }

    /// The properties of a packet that was received.
    pub(crate) fn copy(properties: &Properties<'_>) -> Self {
        let [head, tail] = properties.blocks();
        let block = if tail.is_empty() { Bytes::copy_from_slice(head) } else { [head, tail].concat().into() };
        Self { block, fault: None }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty() && self.fault.is_none()
    }

    /// To read them as those of this place.
    ///
    /// # Errors
    /// What a packet with these properties would be refused for.
    pub fn at(&self, place: PropertyPlace) -> Result<Properties<'_>, DecodeError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Properties::from_block(&self.block, place),
        }
    }

    /// To read them as those of a PUBLISH.
    ///
    /// # Errors
    /// What a packet with these properties would be refused for.
    pub fn of_publish(&self) -> Result<Properties<'_>, DecodeError> {
        self.at(PropertyPlace::of(PacketType::Publish))
    }
}

/// At least as long as the property is encoded.
fn size_bound(property: &Property<'_>) -> usize {
    let value = match property {
        Property::UserProperty(name, value) => name.len().saturating_add(value.len()),
        Property::ContentType(text)
        | Property::AssignedClientIdentifier(text)
        | Property::AuthenticationMethod(text)
        | Property::ResponseInformation(text)
        | Property::ServerReference(text)
        | Property::ReasonString(text) => text.len(),
        Property::ResponseTopic(topic) => topic.as_bytes().len(),
        Property::CorrelationData(bytes) | Property::AuthenticationData(bytes) => bytes.len(),
        _ => 0,
    };
    value.saturating_add(8)
}

/// A place where the property may stand. Where it does stand is seen later.
fn home(property: &Property<'_>) -> PropertyPlace {
    const PLACES: [PropertyPlace; 7] = [
        PropertyPlace::of(PacketType::Publish),
        PropertyPlace::of(PacketType::Connect),
        PropertyPlace::of(PacketType::ConnAck),
        PropertyPlace::of(PacketType::Subscribe),
        PropertyPlace::of(PacketType::Disconnect),
        PropertyPlace::of(PacketType::Auth),
        PropertyPlace::WILL,
    ];
    let id = property.id();
    PLACES.into_iter().find(|place| place.allows(id)).unwrap_or(PropertyPlace::WILL)
}
