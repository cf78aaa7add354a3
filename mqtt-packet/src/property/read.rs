//! From bytes to properties.

use super::blocks::Blocks;
use super::table::{self, Kind, Row, with_property_names};
use super::{Properties, Property, PropertyId, PropertyPlace};
use crate::reader::Reader;
use crate::utf8::check_text;
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
            let present = present(block, reader.is_strict(), place)?;
            self.0 = Blocks::new(block, &[], present);
        }
        Ok(())
    }
}

/// Validates a block, and gives one bit for each property in it: every one may stand at `place`, as often as it does, with
/// the value that it has.
#[inline(always)]
pub(super) fn present(block: &[u8], strict: bool, place: PropertyPlace) -> Result<u32, DecodeError> {
    if cfg!(target_pointer_width = "64") {
        return present_once(block, strict, place, place.repeatable());
    }
    let mut present = 0;
    present_into(block, strict, place, &mut present)?;
    Ok(present)
}

#[inline(never)]
fn present_once(
    block: &[u8],
    strict: bool,
    place: PropertyPlace,
    repeatable: u32,
) -> Result<u32, DecodeError> {
    let mut present = 0;
    validate(block, strict, (place, repeatable), &mut present)?;
    Ok(present)
}

/// The same for small machines: what is passed and returned fits registers.
#[inline(never)]
fn present_into(
    block: &[u8],
    strict: bool,
    place: PropertyPlace,
    present: &mut u32,
) -> Result<(), DecodeError> {
    validate(block, strict, (place, place.repeatable()), present)
}

#[inline(always)]
fn validate(
    block: &[u8],
    strict: bool,
    (place, repeatable): (PropertyPlace, u32),
    all: &mut u32,
) -> Result<(), DecodeError> {
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
        match skip_value(row, &mut reader) {
            Err(DecodeError::Truncated) => return Err(DecodeError::PropertyLength),
            result => result?,
        }
    }
    *all = present;
    Ok(())
}

/// Validates the value behind a property's number.
#[inline(always)]
fn skip_value(row: &Row, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    if cfg!(not(target_pointer_width = "64")) {
        // There is a function that reads values.
        let mut value = Value::NONE;
        value_into(row.kind, reader, &mut value)?;
        return value.check(row, reader.is_strict());
    }
    let is_valid = match row.kind {
        Kind::Bool => matches!(reader.take(1)?, [0 | 1]),
        Kind::U16NonZero => reader.take(2)? != [0; 2],
        Kind::U32NonZero => reader.take(4)? != [0; 4],
        kind => {
            let mut value = Value::NONE;
            value_into(kind, reader, &mut value)?;
            return value.check(row, reader.is_strict());
        }
    };
    if is_valid { Ok(()) } else { Err(DecodeError::PropertyValue(row.id)) }
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
    let mut value = Value::NONE;
    value_into(row.kind, reader, &mut value).ok()?;
    Some(name(row.id, value))
}

/// The value of the first property with this number in two blocks that were validated; [`Value::NONE`] where it is in
/// neither.
#[inline(never)]
pub(super) fn find<'a>(id: PropertyId, &[block, mut next]: &[&'a [u8]; 2], value: &mut Value<'a>) {
    let mut reader = Reader::new(block, false);
    loop {
        if reader.is_empty() {
            reader = Reader::new(core::mem::take(&mut next), false);
        }
        let Ok((row, _)) = row(&mut reader) else {
            return;
        };
        if value_into(row.kind, &mut reader, value).is_err() || row.id as u8 == id as u8 {
            return;
        }
    }
}

/// The same of a property whose value is a number.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(super) fn find_number(id: PropertyId, blocks: &[&[u8]; 2]) -> u32 {
    let mut value = Value::NONE;
    find(id, blocks, &mut value);
    value.number
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

impl Value<'_> {
    pub(super) const NONE: Self = Self { number: 0, bytes: &[], more: &[] };

    /// Whether the property of this row may have the value.
    #[inline(always)]
    fn check(&self, row: &Row, strict: bool) -> Result<(), DecodeError> {
        let is_valid = match row.kind {
            Kind::Bool => self.number <= 1,
            Kind::U16NonZero | Kind::U32NonZero | Kind::VarInt => self.number != 0,
            Kind::U16 | Kind::U32 | Kind::Binary => true,
            Kind::Topic => return check_topic(self.bytes, strict),
            Kind::Utf8 | Kind::Pair => {
                check_text(self.bytes, strict)?;
                // Where there is no second string, it is empty: small machines look at it all the same.
                if cfg!(not(target_pointer_width = "64")) || row.kind == Kind::Pair {
                    check_text(self.more, strict)?;
                }
                true
            }
        };
        if is_valid { Ok(()) } else { Err(DecodeError::PropertyValue(row.id)) }
    }
}

/// Reads the value behind a property's number.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn value_into<'a>(kind: Kind, reader: &mut Reader<'a>, value: &mut Value<'a>) -> Result<(), DecodeError> {
    let len = kind.number_len();
    if cfg!(not(target_pointer_width = "64")) && len > 0 {
        let bytes = reader.take(len)?;
        value.number = bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
        return Ok(());
    }
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
    Ok(())
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

// The same by type, for the getters of text and bytes.

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
