//! From properties to bytes.

use super::blocks::Blocks;
use super::table::with_property_names;
use super::{Properties, Property, PropertyId, PropertyPlace};
use crate::sink::{Writer, check_binary};
use crate::{DecodeError, EncodeError, Sink, SliceSink, varint};
use core::fmt;

/// Builds a block of properties in lent memory.
///
/// ```
/// use mqtt_packet::{PacketType, Property, PropertyPlace, PropertyWriter, Publish, TopicName};
/// let mut memory = [0; 32];
/// let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::Publish), &mut memory);
/// writer.push(Property::MessageExpiryInterval(60)).unwrap();
/// writer.push(Property::ContentType("text/plain".try_into().unwrap())).unwrap();
/// let topic = TopicName::new("plant/1/state").unwrap();
/// let publish = Publish { properties: writer.finish(), ..Publish::new(topic, b"running") };
/// assert_eq!(publish.properties.message_expiry_interval(), Some(60));
/// ```
pub struct PropertyWriter<'b> {
    place: PropertyPlace,
    buffer: &'b mut [u8],
    len: usize,
    present: u32,
}

impl<'b> PropertyWriter<'b> {
    /// An empty block for `place` in `buffer`.
    pub const fn new(place: PropertyPlace, buffer: &'b mut [u8]) -> Self {
        Self { place, buffer, len: 0, present: 0 }
    }

    /// Appends a property.
    ///
    /// # Errors
    /// [`EncodeError::NoRoom`], [`EncodeError::TooLong`] for a value above 65,535 bytes, and
    /// [`EncodeError::Rule`] for a property that may not stand here, not again, or not with this value. The block
    /// stays as it was.
    pub fn push(&mut self, property: Property<'_>) -> Result<&mut Self, EncodeError> {
        let id = property.id();
        if !self.place.allows(id) {
            return Err(DecodeError::PropertyNotAllowed.into());
        }
        let repeatable = id == PropertyId::UserProperty
            || id == PropertyId::SubscriptionIdentifier && self.place.allows(PropertyId::TopicAlias);
        if self.present & id.bit() != 0 && !repeatable {
            return Err(DecodeError::PropertyRepeated(id).into());
        }
        let mut out = SliceSink::new(self.buffer.get_mut(self.len..).unwrap_or_default());
        write(property, &mut out)?;
        self.len = self.len.wrapping_add(out.len());
        self.present |= id.bit();
        Ok(self)
    }

    /// The block.
    pub fn finish(self) -> Properties<'b> {
        Properties(Blocks::new(self.buffer.get(..self.len).unwrap_or_default(), &[], self.present))
    }
}

/// How much was written; nothing of what, which may be Authentication Data.
impl fmt::Debug for PropertyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PropertyWriter")
            .field("place", &self.place)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

fn write_one(id: PropertyId, value: &[u8], out: &mut SliceSink<'_>) -> Result<(), EncodeError> {
    let mut writer = Writer::new(out.room(value.len().wrapping_add(1))?);
    writer.put_u8(id as u8);
    writer.put(value);
    Ok(())
}

fn write_binary(id: PropertyId, value: &[u8], out: &mut SliceSink<'_>) -> Result<(), EncodeError> {
    check_binary(value)?;
    let mut writer = Writer::new(out.room(value.len().wrapping_add(3))?);
    writer.put_u8(id as u8);
    writer.put_binary(value);
    Ok(())
}

macro_rules! write_value {
    (Bool $id:ident $value:ident $out:ident) => {
        write_one($id, &[u8::from($value)], $out)
    };
    (U16 $id:ident $value:ident $out:ident) => {
        write_one($id, &$value.to_be_bytes(), $out)
    };
    (U32 $id:ident $value:ident $out:ident) => {
        write_one($id, &$value.to_be_bytes(), $out)
    };
    (U16NonZero $id:ident $value:ident $out:ident) => {
        non_zero($id, $value.into(), &$value.to_be_bytes(), $out)
    };
    (U32NonZero $id:ident $value:ident $out:ident) => {
        non_zero($id, $value, &$value.to_be_bytes(), $out)
    };
    (VarInt $id:ident $value:ident $out:ident) => {
        write_varint($id, $value, $out)
    };
    (Utf8 $id:ident $value:ident $out:ident) => {
        write_binary($id, $value.as_bytes(), $out)
    };
    (Topic $id:ident $value:ident $out:ident) => {
        write_topic($id, $value.as_bytes(), $out)
    };
    (Binary $id:ident $value:ident $out:ident) => {
        write_binary($id, $value, $out)
    };
}

fn non_zero(id: PropertyId, value: u32, bytes: &[u8], out: &mut SliceSink<'_>) -> Result<(), EncodeError> {
    if value == 0 { Err(DecodeError::PropertyValue(id).into()) } else { write_one(id, bytes, out) }
}

fn write_varint(id: PropertyId, value: u32, out: &mut SliceSink<'_>) -> Result<(), EncodeError> {
    if value > crate::MAX_REMAINING_LENGTH {
        return Err(DecodeError::PropertyValue(id).into());
    }
    non_zero(id, value, varint::write(value).get(..varint::len(value)).unwrap_or_default(), out)
}

fn write_topic(id: PropertyId, topic: &[u8], out: &mut SliceSink<'_>) -> Result<(), EncodeError> {
    if topic.is_empty() { Err(DecodeError::ResponseTopic.into()) } else { write_binary(id, topic, out) }
}

macro_rules! write_by_name {
    ($($name:ident $kind:ident)*) => {
        fn write(property: Property<'_>, out: &mut SliceSink<'_>) -> Result<(), EncodeError> {
            let id = property.id();
            match property {
                $(Property::$name(value) => write_value!($kind id value out),)*
                Property::UserProperty(name, value) => {
                    let mut writer = Writer::new(out.room(name.len().saturating_add(value.len()).saturating_add(5))?);
                    writer.put_u8(id as u8);
                    writer.put_binary(name.as_bytes());
                    writer.put_binary(value.as_bytes());
                    Ok(())
                }
            }
        }
    };
}

with_property_names!(write_by_name);
