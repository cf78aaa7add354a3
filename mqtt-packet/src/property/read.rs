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
    Some(name(row.id, value(row.kind, reader).ok()?))
}

/// The value of the first property with this number in two blocks that were validated.
pub(super) fn find<'a>(id: PropertyId, blocks: [&'a [u8]; 2]) -> Option<Value<'a>> {
    blocks.into_iter().find_map(|block| find_in(id, Reader::new(block, false)))
}

#[inline(never)]
fn find_in<'a>(id: PropertyId, mut reader: Reader<'a>) -> Option<Value<'a>> {
    loop {
        let (row, _) = row(&mut reader).ok()?;
        let value = value(row.kind, &mut reader).ok()?;
        if row.id as u8 == id as u8 {
            return Some(value);
        }
    }
}

#[inline(always)]
fn row(reader: &mut Reader<'_>) -> Result<(&'static Row, u32), DecodeError> {
    // The number is a Variable Byte Integer, but all that exist fit one byte.
    let number = reader.u8()?;
    table::row(number).ok_or(DecodeError::PropertyNotAllowed)
}

/// A value of any type, before it gets the name of its property: a number, or bytes, or two times bytes.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    number: u32,
    bytes: &'a [u8],
    more: &'a [u8],
}

/// Reads the value behind a property's number, which was validated.
#[inline(always)]
fn value<'a>(kind: Kind, reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
    let mut value = Value { number: 0, bytes: &[], more: &[] };
    match kind {
        Kind::Bool => value.number = reader.u8()?.into(),
        Kind::U16 | Kind::U16NonZero => value.number = reader.u16()?.into(),
        Kind::U32 | Kind::U32NonZero => value.number = reader.u32()?,
        Kind::VarInt => value.number = reader.varint()?,
        Kind::Utf8 | Kind::Topic | Kind::Binary => value.bytes = reader.binary()?,
        Kind::Pair => {
            value.bytes = reader.binary()?;
            value.more = reader.binary()?;
        }
    }
    Ok(value)
}

/// A value as its kind has it in `Property`.
macro_rules! typed {
    (Bool $value:ident) => {
        $value.number != 0
    };
    (U16 $value:ident) => {
        $value.number as u16
    };
    (U16NonZero $value:ident) => {
        $value.number as u16
    };
    (Utf8 $value:ident) => {
        Utf8Str::trusted($value.bytes)
    };
    (Topic $value:ident) => {
        TopicName::trusted($value.bytes)
    };
    (Binary $value:ident) => {
        $value.bytes
    };
    ($u32:ident $value:ident) => {
        $value.number
    };
}

// The same by type, for the getters.

impl From<Value<'_>> for bool {
    fn from(value: Value<'_>) -> Self {
        typed!(Bool value)
    }
}

impl From<Value<'_>> for u16 {
    fn from(value: Value<'_>) -> Self {
        typed!(U16 value)
    }
}

impl From<Value<'_>> for u32 {
    fn from(value: Value<'_>) -> Self {
        typed!(U32 value)
    }
}

impl<'a> From<Value<'a>> for Utf8Str<'a> {
    fn from(value: Value<'a>) -> Self {
        typed!(Utf8 value)
    }
}

impl<'a> From<Value<'a>> for TopicName<'a> {
    fn from(value: Value<'a>) -> Self {
        typed!(Topic value)
    }
}

impl<'a> From<Value<'a>> for &'a [u8] {
    fn from(value: Value<'a>) -> Self {
        typed!(Binary value)
    }
}

macro_rules! name_of_value {
    ($($name:ident $kind:ident)*) => {
        /// Joins a property's name and its value.
        #[cfg_attr(target_pointer_width = "64", inline)]
        #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
        fn name<'a>(id: PropertyId, value: Value<'a>) -> Property<'a> {
            match id {
                $(PropertyId::$name => Property::$name(typed!($kind value)),)*
                PropertyId::UserProperty => {
                    Property::UserProperty(Utf8Str::trusted(value.bytes), Utf8Str::trusted(value.more))
                }
            }
        }
    };
}

with_property_names!(name_of_value);
