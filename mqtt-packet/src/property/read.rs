//! From bytes to properties.

use super::table::{Kind, ROWS, Row, with_property_names};
use super::{Properties, Property, PropertyId, PropertyPlace, response_topic};
use crate::reader::Reader;
use crate::{DecodeError, PacketType, TopicName, Utf8Str};

impl<'a> Properties<'a> {
    /// Reads the Property Length and validates the block behind it.
    // Not a function that gives properties: where an error could stand in their place, they would be taken apart and
    // joined again.
    #[inline(always)]
    pub(crate) fn decode(
        &mut self,
        reader: &mut Reader<'a>,
        place: PropertyPlace,
    ) -> Result<(), DecodeError> {
        if !reader.skip_zero() {
            let len = reader.varint()?;
            self.head = reader.take(len as usize).map_err(|_| DecodeError::PropertyLength)?;
            self.present = present(self.head, reader.is_strict(), place)?;
        }
        Ok(())
    }
}

/// One bit for each property in the block, which is valid.
#[inline(never)]
pub(super) fn present(block: &[u8], strict: bool, place: PropertyPlace) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(block, strict);
    // In a PUBLISH there may be several Subscription Identifiers, one for each subscription that matched.
    let repeatable = match place {
        place if place == PropertyPlace::of(PacketType::Publish) => PropertyId::REPEATABLE,
        _ => PropertyId::UserProperty.bit(),
    };
    let mut present = 0;
    while !reader.is_empty() {
        let row = row(&mut reader)?;
        if row.places & place.0 == 0 {
            return Err(DecodeError::PropertyNotAllowed);
        }
        if present & row.id.bit() & !repeatable != 0 {
            return Err(DecodeError::PropertyRepeated(row.id));
        }
        present |= row.id.bit();
        check_value(row, &mut reader).map_err(|error| match error {
            DecodeError::Truncated => DecodeError::PropertyLength,
            other => other,
        })?;
    }
    Ok(present)
}

/// Moves behind the value of a property, which is one that it may have.
#[inline(always)]
fn check_value(row: &Row, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let valid = match row.kind {
        Kind::Bool => matches!(reader.take(1)?, [0 | 1]),
        Kind::U16 => reader.take(2).map(|_| true)?,
        Kind::U16NonZero => reader.take(2)? != [0; 2],
        Kind::U32 => reader.take(4).map(|_| true)?,
        Kind::U32NonZero => reader.take(4)? != [0; 4],
        Kind::VarInt => reader.varint()? != 0,
        Kind::Binary => reader.binary().map(|_| true)?,
        Kind::Utf8 => reader.utf8().map(|_| true)?,
        Kind::Topic => response_topic(reader.topic_name()).map(|_| true)?,
        Kind::Pair => reader.utf8().and_then(|_| reader.utf8()).map(|_| true)?,
    };
    if valid { Ok(()) } else { Err(DecodeError::PropertyValue(row.id)) }
}

/// Reads one property of a block that was validated.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Option<Property<'a>> {
    let row = row(reader).ok()?;
    name(row.id, value::<false>(row, reader).ok()?)
}

#[inline(always)]
fn row(reader: &mut Reader<'_>) -> Result<&'static Row, DecodeError> {
    // The number is a Variable Byte Integer, but all that exist fit one byte.
    let number = reader.u8()?;
    ROWS.get(usize::from(number)).ok_or(DecodeError::PropertyNotAllowed)
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

/// Reads the value behind a property's number; with `CHECK`, it is one that the property may have.
#[inline(always)]
fn value<'a, const CHECK: bool>(row: &Row, reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
    let bad_value = Err(DecodeError::PropertyValue(row.id));
    Ok(match row.kind {
        Kind::Bool => match reader.u8()? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return bad_value,
        },
        Kind::U16 | Kind::U16NonZero => match reader.u16()? {
            0 if row.kind == Kind::U16NonZero => return bad_value,
            value => Value::U16(value),
        },
        Kind::U32 | Kind::U32NonZero => match reader.u32()? {
            0 if row.kind == Kind::U32NonZero => return bad_value,
            value => Value::U32(value),
        },
        Kind::VarInt => match reader.varint()? {
            0 => return bad_value,
            value => Value::U32(value),
        },
        Kind::Utf8 => Value::Utf8(text::<CHECK>(reader)?),
        Kind::Topic if CHECK => Value::Topic(response_topic(reader.topic_name())?),
        Kind::Topic => Value::Topic(TopicName::trusted(reader.binary()?)),
        Kind::Binary => Value::Binary(reader.binary()?),
        Kind::Pair => Value::Pair(text::<CHECK>(reader)?, text::<CHECK>(reader)?),
    })
}

#[inline(always)]
fn text<'a, const CHECK: bool>(reader: &mut Reader<'a>) -> Result<Utf8Str<'a>, DecodeError> {
    if CHECK { reader.utf8() } else { Ok(Utf8Str::trusted(reader.binary()?)) }
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
        #[inline]
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
