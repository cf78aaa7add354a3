//! From bytes to properties.

use super::blocks::Blocks;
use super::table::{self, Kind, Row, with_property_names};
use super::{Properties, Property, PropertyId, PropertyPlace};
use crate::reader::Reader;
use crate::{DecodeError, StringError, TopicName, Utf8Str};

impl<'a> Properties<'a> {
    /// Reads the Property Length and validates the block behind it.
    // Not a function that gives properties: where an error could stand in their place, they would be taken apart and
    // joined again.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn decode(
        &mut self,
        reader: &mut Reader<'a>,
        place: PropertyPlace,
    ) -> Result<(), DecodeError> {
        if !reader.skip_zero() {
            let len = reader.varint()?;
            let block = reader.take(len as usize).map_err(|_| DecodeError::PropertyLength)?;
            let present = present(block, reader.is_strict(), place, place.repeatable())?;
            self.0 = Blocks::new(block, &[], present);
        }
        Ok(())
    }
}

/// One bit for each property in the block, which is valid: every property is one that may stand at `place`, as often as it
/// does, with the value that it has.
#[inline(never)]
pub(super) fn present(
    block: &[u8],
    strict: bool,
    place: PropertyPlace,
    repeatable: u32,
) -> Result<u32, DecodeError> {
    let mut present = 0;
    let mut reader = Reader::new(block, strict);
    while !reader.is_empty() {
        let (row, bit) = row(&mut reader)?;
        if row.places & place.0 == 0 {
            return Err(DecodeError::PropertyNotAllowed);
        }
        if present & bit & !repeatable != 0 {
            return Err(DecodeError::PropertyRepeated(row.id));
        }
        present |= bit;
        let valid = match row.kind {
            Kind::Bool => reader.take(1).map(|value| matches!(value, [0 | 1])),
            Kind::U16 => reader.take(2).map(|_| true),
            Kind::U16NonZero => reader.take(2).map(|value| value != [0; 2]),
            Kind::U32 => reader.take(4).map(|_| true),
            Kind::U32NonZero => reader.take(4).map(|value| value != [0; 4]),
            Kind::VarInt => reader.varint().map(|value| value != 0),
            Kind::Utf8 => reader.utf8().map(|_| true),
            Kind::Pair => reader.utf8().and_then(|_| reader.utf8()).map(|_| true),
            Kind::Topic => reader.binary().and_then(|name| check_topic(name, strict)).map(|()| true),
            Kind::Binary => reader.binary().map(|_| true),
        };
        match valid {
            Ok(true) => {}
            Ok(false) => return Err(DecodeError::PropertyValue(row.id)),
            Err(DecodeError::Truncated) => return Err(DecodeError::PropertyLength),
            Err(error) => return Err(error),
        }
    }
    Ok(present)
}

/// A Response Topic is a topic name [MQTT-3.3.2-13, MQTT-3.3.2-14].
#[inline(never)]
fn check_topic(name: &[u8], strict: bool) -> Result<(), DecodeError> {
    match TopicName::check(name, strict) {
        Ok(topic) if !topic.is_empty() => Ok(()),
        Ok(_) | Err(StringError::Wildcard) => Err(DecodeError::ResponseTopic),
        Err(error) => Err(error.into()),
    }
}

/// Reads one property of a block that was validated.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Option<Property<'a>> {
    let (row, _) = row(reader).ok()?;
    name(row.id, value(row.kind, reader).ok()?)
}

#[inline(always)]
fn row(reader: &mut Reader<'_>) -> Result<(&'static Row, u32), DecodeError> {
    // The number is a Variable Byte Integer, but all that exist fit one byte.
    let number = reader.u8()?;
    table::row(number).ok_or(DecodeError::PropertyNotAllowed)
}

/// A value of each type, before it gets the name of its property.
enum Value<'a> {
    Bool(bool),
    U16(u16),
    U32(u32),
    Utf8(Utf8Str<'a>),
    Topic(TopicName<'a>),
    Binary(&'a [u8]),
    Pair(Utf8Str<'a>, Utf8Str<'a>),
}

/// Reads the value behind a property's number, which was validated.
#[inline(always)]
fn value<'a>(kind: Kind, reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
    Ok(match kind {
        Kind::Bool => Value::Bool(reader.u8()? != 0),
        Kind::U16 | Kind::U16NonZero => Value::U16(reader.u16()?),
        Kind::U32 | Kind::U32NonZero => Value::U32(reader.u32()?),
        Kind::VarInt => Value::U32(reader.varint()?),
        Kind::Utf8 => Value::Utf8(Utf8Str::trusted(reader.binary()?)),
        Kind::Topic => Value::Topic(TopicName::trusted(reader.binary()?)),
        Kind::Binary => Value::Binary(reader.binary()?),
        Kind::Pair => Value::Pair(Utf8Str::trusted(reader.binary()?), Utf8Str::trusted(reader.binary()?)),
    })
}

macro_rules! value_pattern {
    (U16NonZero $value:ident) => {
        Value::U16($value)
    };
    (U32NonZero $value:ident) => {
        Value::U32($value)
    };
    (VarInt $value:ident) => {
        Value::U32($value)
    };
    ($kind:ident $value:ident) => {
        Value::$kind($value)
    };
}

macro_rules! name_of_value {
    ($($name:ident $kind:ident)*) => {
        /// Joins a property's name and its value; `None` never, as the table gave both.
        #[cfg_attr(target_pointer_width = "64", inline)]
        #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
        fn name<'a>(id: PropertyId, value: Value<'a>) -> Option<Property<'a>> {
            match (id, value) {
                $((PropertyId::$name, value_pattern!($kind value)) => Some(Property::$name(value)),)*
                (PropertyId::UserProperty, Value::Pair(name, value)) => Some(Property::UserProperty(name, value)),
                _ => None,
            }
        }
    };
}

with_property_names!(name_of_value);
