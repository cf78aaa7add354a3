//! The one place that takes input apart: a cursor that cannot overrun.

use crate::varint::{self, VarInt};
use crate::{DecodeError, PacketId, StringError, TopicName, Utf8Str};

/// What is left of a packet's body.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    strict: bool,
}

impl<'a> Reader<'a> {
    #[inline(always)]
    pub(crate) const fn new(bytes: &'a [u8], strict: bool) -> Self {
        Self { rest: bytes, strict }
    }

    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline(always)]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(bytes)
    }

    #[inline(always)]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        match self.array() {
            Some(&[byte]) => Ok(byte),
            None => Err(DecodeError::Truncated),
        }
    }

    #[inline(always)]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        match self.array() {
            Some(bytes) => Ok(u16::from_be_bytes(*bytes)),
            None => Err(DecodeError::Truncated),
        }
    }

    #[inline(always)]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        match self.array() {
            Some(bytes) => Ok(u32::from_be_bytes(*bytes)),
            None => Err(DecodeError::Truncated),
        }
    }

    /// Takes one zero byte, if it is the next.
    #[inline(always)]
    pub(crate) fn skip_zero(&mut self) -> bool {
        match self.rest {
            [0, rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    // Small machines have one function for each of the next two, which returns what fits registers.

    /// A Variable Byte Integer inside a 5.0 packet, where only the shortest form is legal [MQTT-1.5.5-1].
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        self.varint_into(&mut value)?;
        Ok(value)
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn varint_into(&mut self, into: &mut u32) -> Result<(), DecodeError> {
        if let Some((value, _, rest)) = varint::read_short(self.rest) {
            self.rest = rest;
            *into = value;
            return Ok(());
        }
        let integer = varint::read(self.rest);
        match integer.len {
            0 => return Err(DecodeError::Truncated),
            VarInt::ENDLESS => return Err(DecodeError::RemainingLength),
            _ if integer.is_overlong() => return Err(DecodeError::OverlongInteger),
            len => self.take(len as usize)?,
        };
        *into = integer.value;
        Ok(())
    }

    /// Binary Data: a two-byte length and that many bytes.
    #[inline(always)]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        self.binary_if_whole().ok_or(DecodeError::Truncated)
    }

    // Before 5.0 a client reads one such field, the topic of a PUBLISH.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(all(not(target_pointer_width = "64"), feature = "v5"), inline(never))]
    #[cfg_attr(all(not(target_pointer_width = "64"), not(feature = "v5")), inline)]
    fn binary_if_whole(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        self.rest = rest;
        Some(bytes)
    }

    /// A UTF-8 Encoded String.
    #[inline(always)]
    pub(crate) fn utf8(&mut self) -> Result<Utf8Str<'a>, DecodeError> {
        Ok(Utf8Str::check(self.binary()?, self.is_strict())?)
    }

    /// A topic name, possibly the absent one of a PUBLISH with an alias.
    #[inline(always)]
    pub(crate) fn topic_name_or_empty(&mut self) -> Result<TopicName<'a>, DecodeError> {
        Ok(TopicName::check(self.binary()?, self.is_strict())?)
    }

    /// A topic name.
    #[inline(always)]
    pub(crate) fn topic_name(&mut self) -> Result<TopicName<'a>, DecodeError> {
        let topic = self.topic_name_or_empty()?;
        if topic.is_empty() { Err(StringError::Empty.into()) } else { Ok(topic) }
    }

    /// A Packet Identifier; `None`, which fits a register as a result does not, for what
    /// [`no_packet_id`](Self::no_packet_id) says.
    #[inline(always)]
    pub(crate) fn packet_id(&mut self) -> Option<PacketId> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        let id = PacketId::new(u16::from_be_bytes(*bytes))?;
        self.rest = rest;
        Some(id)
    }

    /// Why there is no Packet Identifier here.
    #[inline(always)]
    pub(crate) const fn no_packet_id(&self) -> DecodeError {
        if self.rest.len() < 2 { DecodeError::Truncated } else { DecodeError::PacketIdZero }
    }

    /// A constant without the feature, so that everything behind it falls out at link time.
    #[inline(always)]
    pub(crate) const fn is_strict(&self) -> bool {
        cfg!(feature = "strict") && self.strict
    }

    /// Nothing may be left.
    #[inline(always)]
    pub(crate) const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}
