//! SUBSCRIBE: a client wants messages (3.1.1 and 5.0 section 3.8).

use super::{check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::reader::Reader;
use crate::sink::{Writer, binary_len, framed_len, start, sum};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, Properties, PropertyId, PropertyPlace, QoS, Sink,
    TopicFilter, Version,
};
use core::fmt;

const NO_LOCAL_SHIFT: u8 = 2;
const RETAIN_AS_PUBLISHED_SHIFT: u8 = 3;
const RETAIN_HANDLING_SHIFT: u8 = 4;

/// A request for one or more subscriptions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// What SUBACK will repeat. Always there, whatever QoS is asked for.
    pub id: PacketId,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// What is asked for, at least one.
    pub filters: SubscribeFilters<'a>,
}

/// One subscription: to what, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// To what.
    pub filter: TopicFilter<'a>,
    /// How.
    pub options: SubscribeOptions,
}

/// How messages of a subscription are delivered (5.0 section 3.8.3.1); in 3.x only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SubscribeOptions {
    /// The highest QoS that the client wants.
    pub qos: QoS,
    /// Whether the client's own messages stay away; not with a shared subscription.
    pub no_local: bool,
    /// Whether the retain flag of forwarded messages stays as published.
    pub retain_as_published: bool,
    /// When retained messages are sent for the subscription.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a subscription (5.0 section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum RetainHandling {
    /// With every SUBSCRIBE.
    #[default]
    SendAtSubscribe = 0,
    /// Only if the subscription is new.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl SubscribeOptions {
    /// The QoS, and the defaults, which are what 3.x does.
    pub const fn new(qos: QoS) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }

    /// The options of their byte on the wire.
    ///
    /// # Errors
    /// [`DecodeError::SubscribeOptionsReserved`], [`DecodeError::SubscribeQosReserved`],
    /// [`DecodeError::RetainHandlingReserved`].
    #[inline]
    pub const fn from_byte(byte: u8, version: Version) -> Result<Self, DecodeError> {
        // Nearly always only the QoS.
        match byte {
            0 => return Ok(Self::new(QoS::AtMostOnce)),
            1 => return Ok(Self::new(QoS::AtLeastOnce)),
            2 => return Ok(Self::new(QoS::ExactlyOnce)),
            _ => {}
        }
        let reserved = if version.is_v5() { 0xC0 } else { 0xFC };
        if byte & reserved != 0 && !matches!(version, Version::V3_1) {
            return Err(DecodeError::SubscribeOptionsReserved);
        }
        let Some(qos) = QoS::from_bits(byte & 3) else {
            return Err(DecodeError::SubscribeQosReserved);
        };
        if !version.is_v5() {
            return Ok(Self::new(qos));
        }
        let retain_handling = match byte >> RETAIN_HANDLING_SHIFT & 3 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::RetainHandlingReserved),
        };
        Ok(Self {
            qos,
            no_local: byte >> NO_LOCAL_SHIFT & 1 != 0,
            retain_as_published: byte >> RETAIN_AS_PUBLISHED_SHIFT & 1 != 0,
            retain_handling,
        })
    }

    /// The byte on the wire; in 3.x only the QoS is left.
    pub const fn to_byte(self, version: Version) -> u8 {
        let qos = self.qos as u8;
        if !version.is_v5() {
            return qos;
        }
        // Shifted, not asked for: a branch costs more.
        qos | (self.no_local as u8) << NO_LOCAL_SHIFT
            | (self.retain_as_published as u8) << RETAIN_AS_PUBLISHED_SHIFT
            | (self.retain_handling as u8) << RETAIN_HANDLING_SHIFT
    }
}

/// The subscriptions of a SUBSCRIBE, in their order: a slice of the caller's, or validated bytes of the packet.
#[derive(Clone, Copy)]
pub struct SubscribeFilters<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Slice(&'a [SubscribeFilter<'a>]),
    Wire(&'a [u8], Version),
}

impl<'a> SubscribeFilters<'a> {
    /// The subscriptions of a slice.
    pub const fn new(filters: &'a [SubscribeFilter<'a>]) -> Self {
        Self(Source::Slice(filters))
    }

    /// Each subscription.
    pub fn iter(&self) -> SubscribeFiltersIter<'a> {
        SubscribeFiltersIter(match self.0 {
            Source::Slice(filters) => IterSource::Slice(filters.iter()),
            Source::Wire(bytes, version) => IterSource::Wire(Reader::new(bytes, false), version),
        })
    }

    /// Validates `bytes`, the rest of the packet.
    #[inline(always)]
    pub(crate) fn decode(bytes: &'a [u8], strict: bool, version: Version) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::NoFilters(PacketType::Subscribe)); // [MQTT-3.8.3-3], [MQTT-3.8.3-2]
        }
        // One branch for the version, in front of everything; small machines have it once.
        if cfg!(target_pointer_width = "64") && version.is_v5() {
            check_wire(bytes, strict, Version::V5)?;
        } else {
            check_wire(bytes, strict, version)?;
        }
        Ok(Self(Source::Wire(bytes, version)))
    }

    /// The bytes as they came, where this version writes them the same; in 3.1 they may have reserved bits that nobody
    /// looked at.
    fn wire(&self, version: Version) -> Option<&'a [u8]> {
        match self.0 {
            Source::Wire(bytes, wire) if wire == version && version != Version::V3_1 => Some(bytes),
            _ => None,
        }
    }

    /// The same for each subscription. A slice, which is what an application encodes, has a loop of its own; small
    /// machines do without.
    #[inline(always)]
    fn each(&self, mut what: impl FnMut(&SubscribeFilter<'a>)) {
        match self.0 {
            Source::Slice(filters) => {
                for entry in filters {
                    what(entry);
                }
            }
            _ => {
                for entry in self.iter() {
                    what(&entry);
                }
            }
        }
    }

    #[inline(always)]
    fn len(&self, version: Version) -> usize {
        if let Some(bytes) = self.wire(version) {
            return bytes.len();
        }
        let mut len = 0;
        self.each(|entry| len = sum(len, wire_len(entry.filter)));
        len
    }

    /// The same, unless [`decode`](Self::decode) would refuse what is written.
    #[inline(always)]
    fn checked_len(&self, version: Version) -> Result<usize, DecodeError> {
        if let Some(bytes) = self.wire(version) {
            return Ok(bytes.len());
        }
        let (mut len, mut refused) = (0, None);
        self.each(|&SubscribeFilter { filter, options }| {
            len = sum(len, wire_len(filter));
            if let Err(error) = check_shared(filter, options, version) {
                refused = Some(error);
            }
        });
        match refused {
            Some(error) => Err(error),
            None if len == 0 => Err(DecodeError::NoFilters(PacketType::Subscribe)),
            None => Ok(len),
        }
    }

    #[inline(always)]
    fn put(&self, version: Version, writer: &mut Writer<'_>) {
        if let Some(bytes) = self.wire(version) {
            return writer.put(bytes);
        }
        self.each(|entry| {
            writer.put_binary(entry.filter.as_bytes());
            writer.put_u8(entry.options.to_byte(version));
        });
    }
}

/// How many bytes a filter and its options take.
#[inline(always)]
const fn wire_len(filter: TopicFilter<'_>) -> usize {
    binary_len(filter.as_bytes()).wrapping_add(1)
}

#[inline(always)]
fn check_wire(bytes: &[u8], strict: bool, version: Version) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes, strict);
    while !reader.is_empty() {
        let filter = TopicFilter::check(reader.binary()?, strict)?;
        let options = SubscribeOptions::from_byte(reader.u8()?, version)?;
        check_shared(filter, options, version)?;
    }
    Ok(())
}

/// A shared subscription is well-formed and without No Local [MQTT-3.8.3-4 of 5.0]; in 3.x `$share` means nothing.
#[inline]
fn check_shared(
    filter: TopicFilter<'_>,
    options: SubscribeOptions,
    version: Version,
) -> Result<(), DecodeError> {
    if !version.is_v5() || filter.as_bytes().first() != Some(&b'$') {
        return Ok(());
    }
    match filter.shared()? {
        Some(_) if options.no_local => Err(DecodeError::NoLocalOnShared),
        _ => Ok(()),
    }
}

/// Iterator over the subscriptions of a SUBSCRIBE.
#[derive(Clone)]
pub struct SubscribeFiltersIter<'a>(IterSource<'a>);

#[derive(Clone)]
enum IterSource<'a> {
    Slice(core::slice::Iter<'a, SubscribeFilter<'a>>),
    Wire(Reader<'a>, Version),
}

impl<'a> Iterator for SubscribeFiltersIter<'a> {
    type Item = SubscribeFilter<'a>;

    fn next(&mut self) -> Option<SubscribeFilter<'a>> {
        match &mut self.0 {
            IterSource::Slice(filters) => filters.next().copied(),
            // Never an error that matters: the bytes were validated when they were decoded.
            IterSource::Wire(reader, version) => Some(SubscribeFilter {
                filter: TopicFilter::trusted(reader.binary().ok()?),
                options: SubscribeOptions::from_byte(reader.u8().ok()?, *version).ok()?,
            }),
        }
    }
}

impl<'a> IntoIterator for SubscribeFilters<'a> {
    type Item = SubscribeFilter<'a>;
    type IntoIter = SubscribeFiltersIter<'a>;

    fn into_iter(self) -> SubscribeFiltersIter<'a> {
        self.iter()
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscribeFilters<'_> {}

impl<'a> Subscribe<'a> {
    /// A request without properties.
    pub const fn new(id: PacketId, filters: &'a [SubscribeFilter<'a>]) -> Self {
        Self { id, properties: Properties::EMPTY, filters: SubscribeFilters::new(filters) }
    }

    /// Decodes a SUBSCRIBE.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut reader = frame.open(PacketType::Subscribe, version)?;
        let Some(id) = reader.packet_id() else { return Err(reader.no_packet_id()) };
        let mut properties = Properties::EMPTY;
        if version.is_v5() {
            properties.decode(&mut reader, PropertyPlace::of(PacketType::Subscribe))?;
        }
        let filters = SubscribeFilters::decode(reader.rest(), reader.is_strict(), version)?;
        Ok(Self { id, properties, filters })
    }

    #[inline(always)]
    fn body_len(&self, filters_len: usize, version: Version) -> usize {
        sum(sum(filters_len, properties_len(self.properties, version)), 2)
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(self.body_len(self.filters.len(version), version))
    }

    /// Writes the packet. What 3.x cannot say about a subscription is left out there.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then.
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        check_encode(&self.properties, PropertyPlace::of(PacketType::Subscribe), version)?;
        // A PUBLISH may have several, and two joined blocks may have one each.
        if version.is_v5()
            && self.properties.contains(PropertyId::SubscriptionIdentifier)
            && self.properties.subscription_identifiers().nth(1).is_some()
        {
            return Err(DecodeError::PropertyRepeated(PropertyId::SubscriptionIdentifier).into());
        }
        // One branch for the version, in front of everything; small machines have it once.
        if cfg!(target_pointer_width = "64") && version.is_v5() {
            self.encode_as(Version::V5, out)
        } else {
            self.encode_as(version, out)
        }
    }

    #[inline(always)]
    fn encode_as(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        let body_len = self.body_len(self.filters.checked_len(version)?, version);
        let mut writer = start(out, PacketType::Subscribe.first_byte(), body_len)?;
        writer.put_u16(self.id.get());
        put_properties(&mut writer, self.properties, version);
        self.filters.put(version, &mut writer);
        Ok(())
    }
}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for Subscribe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SUBSCRIBE id {}", self.id)?;
        for SubscribeFilter { filter, options } in self.filters {
            write!(f, " {filter:?} qos {}", options.qos as u8)?;
            if options.no_local {
                f.write_str(" no local")?;
            }
            if options.retain_as_published {
                f.write_str(" retain as published")?;
            }
            if options.retain_handling != RetainHandling::SendAtSubscribe {
                write!(f, " {:?}", options.retain_handling)?;
            }
        }
        fmt_properties(&self.properties, f)
    }
}

debug_is_display!(Subscribe<'_>);
