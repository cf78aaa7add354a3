//! UNSUBSCRIBE: a client wants no more of it (3.1.1 and 5.0 section 3.10).

use super::{check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::reader::Reader;
use crate::sink::{binary_len, framed_len, start};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, Properties, PropertyPlace, Sink, TopicFilter,
    Version,
};
use core::fmt;

/// A request to end one or more subscriptions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// What UNSUBACK will repeat.
    pub id: PacketId,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// Which subscriptions, at least one, each exactly as it was subscribed.
    pub filters: Filters<'a>,
}

/// The topic filters of an UNSUBSCRIBE, in their order: a slice of the caller's, or validated bytes of the packet.
#[derive(Clone, Copy)]
pub struct Filters<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Slice(&'a [TopicFilter<'a>]),
    Wire(&'a [u8]),
}

impl<'a> Filters<'a> {
    /// The filters of a slice.
    pub const fn new(filters: &'a [TopicFilter<'a>]) -> Self {
        Self(Source::Slice(filters))
    }

    /// Each filter.
    pub fn iter(&self) -> FiltersIter<'a> {
        FiltersIter(match self.0 {
            Source::Slice(filters) => IterSource::Slice(filters.iter()),
            Source::Wire(bytes) => IterSource::Wire(Reader::new(bytes, false)),
        })
    }

    /// Validates `bytes`, the rest of the packet.
    pub(crate) fn decode(bytes: &'a [u8], strict: bool, version: Version) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::NoFilters(PacketType::Unsubscribe)); // [MQTT-3.10.3-2]
        }
        let mut reader = Reader::new(bytes, strict);
        while !reader.is_empty() {
            let filter = TopicFilter::check(reader.binary()?, strict)?;
            check_shared(filter, version)?;
        }
        Ok(Self(Source::Wire(bytes)))
    }
}

/// A shared subscription is well-formed; in 3.x `$share` means nothing.
fn check_shared(filter: TopicFilter<'_>, version: Version) -> Result<(), DecodeError> {
    if version.is_v5() {
        filter.shared()?;
    }
    Ok(())
}

/// Iterator over the topic filters of an UNSUBSCRIBE.
#[derive(Clone)]
pub struct FiltersIter<'a>(IterSource<'a>);

#[derive(Clone)]
enum IterSource<'a> {
    Slice(core::slice::Iter<'a, TopicFilter<'a>>),
    Wire(Reader<'a>),
}

impl<'a> Iterator for FiltersIter<'a> {
    type Item = TopicFilter<'a>;

    fn next(&mut self) -> Option<TopicFilter<'a>> {
        match &mut self.0 {
            IterSource::Slice(filters) => filters.next().copied(),
            // Never an error that matters: the bytes were validated when they were decoded.
            IterSource::Wire(reader) => reader.binary().ok().map(TopicFilter::trusted),
        }
    }
}

impl<'a> IntoIterator for Filters<'a> {
    type Item = TopicFilter<'a>;
    type IntoIter = FiltersIter<'a>;

    fn into_iter(self) -> FiltersIter<'a> {
        self.iter()
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Filters<'_> {}

impl<'a> Unsubscribe<'a> {
    /// A request without properties.
    pub const fn new(id: PacketId, filters: &'a [TopicFilter<'a>]) -> Self {
        Self { id, properties: Properties::EMPTY, filters: Filters::new(filters) }
    }

    /// Decodes an UNSUBSCRIBE.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut reader = frame.open(PacketType::Unsubscribe, version)?;
        let Some(id) = reader.packet_id() else { return Err(reader.no_packet_id()) };
        let mut properties = Properties::EMPTY;
        if version.is_v5() {
            properties.decode(&mut reader, PropertyPlace::of(PacketType::Unsubscribe))?;
        }
        let filters = Filters::decode(reader.rest(), reader.is_strict(), version)?;
        Ok(Self { id, properties, filters })
    }

    fn body_len(&self, version: Version) -> usize {
        let head = properties_len(self.properties, version).saturating_add(2);
        self.filters.iter().fold(head, |len, filter| len.saturating_add(binary_len(filter.as_bytes())))
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(self.body_len(version))
    }

    /// Writes the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then.
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        check_encode(&self.properties, PropertyPlace::of(PacketType::Unsubscribe), version)?;
        if self.filters.iter().next().is_none() {
            return Err(DecodeError::NoFilters(PacketType::Unsubscribe).into());
        }
        for filter in self.filters {
            check_shared(filter, version)?;
        }
        let mut writer = start(out, PacketType::Unsubscribe.first_byte(), self.body_len(version))?;
        writer.put_u16(self.id.get());
        put_properties(&mut writer, self.properties, version);
        for filter in self.filters {
            writer.put_binary(filter.as_bytes());
        }
        Ok(())
    }
}

impl fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for Unsubscribe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UNSUBSCRIBE id {}", self.id)?;
        for filter in self.filters {
            write!(f, " {filter:?}")?;
        }
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(Unsubscribe<'_>);
