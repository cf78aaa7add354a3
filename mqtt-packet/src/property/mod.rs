//! The properties of 5.0 (section 2.2.2): a block of bytes, validated once when it is decoded or written, and
//! iterated without an error after.

mod blocks;
mod debug;
mod read;
#[cfg(feature = "serde")]
mod serialize;
mod table;
mod write;

use crate::reader::Reader;
use crate::{DecodeError, PacketType, TopicName, Utf8Str};
use blocks::Blocks;
use core::fmt;
pub use table::{Property, PropertyId};
pub use write::PropertyWriter;

/// Where properties stand: in a packet, or in the will of a CONNECT. Which properties a place may have is data
/// (the table in `property/table.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PropertyPlace(u16);

impl PropertyPlace {
    /// The will of a CONNECT (5.0 section 3.1.3.2).
    pub const WILL: Self = Self(1);

    /// The properties of a packet.
    pub const fn of(packet: PacketType) -> Self {
        Self(1 << packet as u8)
    }

    /// Whether the property may stand here.
    pub const fn allows(self, id: PropertyId) -> bool {
        self.allowed() & id.bit() != 0
    }

    /// One bit for each property that may stand here more than once. In a PUBLISH there may be several Subscription
    /// Identifiers, one for each subscription that matched.
    #[inline(always)]
    const fn repeatable(self) -> u32 {
        if self.0 == Self::of(PacketType::Publish).0 {
            PropertyId::REPEATABLE
        } else {
            PropertyId::UserProperty.bit()
        }
    }

    /// One bit for each property that may stand here.
    #[inline]
    pub(crate) const fn allowed(self) -> u32 {
        table::allowed(self.0)
    }
}

/// Validated properties, in at most two blocks.
///
/// Two, because a broker keeps the publisher's block as it came and puts its own in front of it for each subscriber:
/// a property section is only a length and a sequence, so two valid blocks make a valid one unless a property that
/// may stand once stands in both ([`followed_by`](Self::followed_by)).
#[derive(Clone, Copy, Default)]
pub struct Properties<'a>(Blocks<'a>);

impl<'a> Properties<'a> {
    /// No property.
    pub const EMPTY: Properties<'static> = Properties(Blocks::new(&[], &[], 0));

    /// Whether there is no property.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.present() == 0
    }

    /// The length of the blocks in bytes, without the Property Length in front of them.
    #[inline]
    pub const fn len(&self) -> usize {
        self.0.head().len().saturating_add(self.0.tail().len())
    }

    /// The encoded blocks; the second is empty unless two were joined.
    #[inline]
    pub const fn blocks(&self) -> [&'a [u8]; 2] {
        [self.0.head(), self.0.tail()]
    }

    /// Whether the property is there.
    #[inline]
    pub const fn contains(&self, id: PropertyId) -> bool {
        self.0.present() & id.bit() != 0
    }

    /// Each property in its order.
    #[inline]
    pub const fn iter(&self) -> PropertiesIter<'a> {
        PropertiesIter { reader: Reader::new(self.0.head(), false), tail: self.0.tail() }
    }

    /// These properties and then those of `next`, without copying; `None` where that makes more than two blocks or
    /// a property stand twice that may stand once.
    pub const fn followed_by(self, next: Self) -> Option<Self> {
        let repeated = self.0.present() & next.0.present() & !PropertyId::REPEATABLE;
        if repeated != 0 {
            return None;
        }
        let present = self.0.present() | next.0.present();
        if next.is_empty() {
            Some(self)
        } else if self.is_empty() {
            Some(next)
        } else if self.0.tail().is_empty() && next.0.tail().is_empty() {
            Some(Self(Blocks::new(self.0.head(), next.0.head(), present)))
        } else {
            None
        }
    }

    /// The first of these properties that stands in `next` too and may stand only once.
    pub(crate) fn repeated_in(&self, next: &Self) -> Option<PropertyId> {
        let repeated = self.0.present() & next.0.present() & !PropertyId::REPEATABLE;
        self.iter().map(|property| property.id()).find(|id| repeated & id.bit() != 0)
    }

    /// Decodes a block without its length, for example one that was stored.
    ///
    /// # Errors
    /// Everything that a packet with these properties would be refused for.
    pub fn from_block(block: &'a [u8], place: PropertyPlace) -> Result<Self, DecodeError> {
        let present = read::present(block, false, place)?;
        Ok(Self(Blocks::new(block, &[], present)))
    }

    /// Moves `reader` behind one property, which is looked at no further.
    #[cfg(feature = "arbitrary")]
    pub(crate) fn skip_one(reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        read::read(reader).map(drop).ok_or(DecodeError::PropertyLength)
    }

    /// Whether every property may stand at `place`, a constant wherever this is asked.
    #[inline(always)]
    pub(crate) const fn fit(&self, place: PropertyPlace) -> bool {
        self.0.present() & !table::allowed_at_once(place.0) == 0
    }

    /// The value of the first property with this identifier.
    #[inline(always)]
    fn find(&self, id: PropertyId) -> Option<read::Value<'a>> {
        if !self.contains(id) {
            return None;
        }
        let mut value = read::Value::NONE;
        read::find(id, self.0.both(), &mut value);
        Some(value)
    }
}

/// Getters for what is a number on the wire.
macro_rules! numbers {
    ($($(#[$doc:meta])* $getter:ident: $name:ident -> $type:ident;)*) => {
        impl Properties<'_> {
            $(
                $(#[$doc])*
                pub fn $getter(&self) -> Option<$type> {
                    if !self.contains(PropertyId::$name) {
                        return None;
                    }
                    let number = read::find_number(PropertyId::$name, self.0.both());
                    Some(number_as!(number $type))
                }
            )*
        }
    };
}

macro_rules! number_as {
    ($number:ident bool) => {
        $number != 0
    };
    ($number:ident $type:ident) => {
        $number as $type
    };
}

numbers! {
    /// Whether the payload is UTF-8 text (section 3.3.2.3.2).
    payload_format_indicator: PayloadFormatIndicator -> bool;
    /// For how many seconds the message is of use (section 3.3.2.3.3).
    message_expiry_interval: MessageExpiryInterval -> u32;
    /// For how many seconds the session outlives its connection; 0xFFFF_FFFF is for ever (section 3.1.2.11.2).
    session_expiry_interval: SessionExpiryInterval -> u32;
    /// The Keep Alive, in seconds, that the server wants (section 3.2.2.3.14).
    server_keep_alive: ServerKeepAlive -> u16;
    /// Whether reason strings and user properties are wanted on failures (section 3.1.2.11.7).
    request_problem_information: RequestProblemInformation -> bool;
    /// For how many seconds a will is held back (section 3.1.3.2.2).
    will_delay_interval: WillDelayInterval -> u32;
    /// Whether Response Information is wanted (section 3.1.2.11.6).
    request_response_information: RequestResponseInformation -> bool;
    /// How many QoS 1 and 2 messages may be in flight towards the sender of this; 1 to 65,535 (section 3.1.2.11.3).
    receive_maximum: ReceiveMaximum -> u16;
    /// The highest Topic Alias that the sender of this takes (section 3.1.2.11.5).
    topic_alias_maximum: TopicAliasMaximum -> u16;
    /// A number that stands for the topic name; 1 to 65,535 (section 3.3.2.3.4).
    topic_alias: TopicAlias -> u16;
    /// Whether the server takes QoS 1 (`true`) or only QoS 0; absent means QoS 2 (section 3.2.2.3.4).
    maximum_qos: MaximumQos -> bool;
    /// Whether the server keeps retained messages (section 3.2.2.3.5).
    retain_available: RetainAvailable -> bool;
    /// The largest packet, in bytes, that the sender of this takes; at least 1 (section 3.1.2.11.4).
    maximum_packet_size: MaximumPacketSize -> u32;
    /// Whether the server takes wildcards in topic filters (section 3.2.2.3.11).
    wildcard_subscription_available: WildcardSubscriptionAvailable -> bool;
    /// Whether the server takes Subscription Identifiers (section 3.2.2.3.12).
    subscription_identifiers_available: SubscriptionIdentifiersAvailable -> bool;
    /// Whether the server has shared subscriptions (section 3.2.2.3.13).
    shared_subscription_available: SharedSubscriptionAvailable -> bool;
}

/// Getters for what is text or bytes.
macro_rules! bytes {
    ($($(#[$doc:meta])* $getter:ident: $name:ident -> $type:ty;)*) => {
        impl<'a> Properties<'a> {
            $(
                $(#[$doc])*
                pub fn $getter(&self) -> Option<$type> {
                    self.find(PropertyId::$name).map(Into::into)
                }
            )*
        }
    };
}

bytes! {
    /// What the payload is (section 3.3.2.3.9).
    content_type: ContentType -> Utf8Str<'a>;
    /// Where the answer to this request goes (section 3.3.2.3.5).
    response_topic: ResponseTopic -> TopicName<'a>;
    /// What the answer repeats, so that the requester knows it (section 3.3.2.3.6).
    correlation_data: CorrelationData -> &'a [u8];
    /// The Client Identifier that the server gave (section 3.2.2.3.7).
    assigned_client_identifier: AssignedClientIdentifier -> Utf8Str<'a>;
    /// The name of the extended authentication (section 4.12).
    authentication_method: AuthenticationMethod -> Utf8Str<'a>;
    /// What the authentication method has to say (section 4.12).
    authentication_data: AuthenticationData -> &'a [u8];
    /// What a response topic is made of (section 3.2.2.3.15).
    response_information: ResponseInformation -> Utf8Str<'a>;
    /// Which server to use instead (section 4.11).
    server_reference: ServerReference -> Utf8Str<'a>;
    /// The reason in words, for people (section 3.2.2.3.9).
    reason_string: ReasonString -> Utf8Str<'a>;
}

impl<'a> Properties<'a> {
    /// The Subscription Identifiers, 1 to 268,435,455 each: at most one in a SUBSCRIBE, any number in a PUBLISH
    /// (section 3.3.2.3.8).
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> + 'a {
        let any = self.contains(PropertyId::SubscriptionIdentifier);
        self.iter().take_while(move |_| any).filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// The user properties, name and value, in their order.
    pub fn user_properties(&self) -> impl Iterator<Item = (Utf8Str<'a>, Utf8Str<'a>)> + 'a {
        let any = self.contains(PropertyId::UserProperty);
        self.iter().take_while(move |_| any).filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }
}

/// Iterator over the properties of a packet.
#[derive(Clone)]
pub struct PropertiesIter<'a> {
    reader: Reader<'a>,
    tail: &'a [u8],
}

impl<'a> Iterator for PropertiesIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        if self.reader.is_empty() {
            self.reader = Reader::new(core::mem::take(&mut self.tail), false);
        }
        // Never an error that matters: the blocks were validated when the value was made.
        read::read(&mut self.reader)
    }
}

impl core::iter::FusedIterator for PropertiesIter<'_> {}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertiesIter<'a>;

    fn into_iter(self) -> PropertiesIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertiesIter<'a>;

    fn into_iter(self) -> PropertiesIter<'a> {
        self.iter()
    }
}

/// Equal are properties that say the same in the same order, however many blocks they stand in.
impl PartialEq for Properties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.present() == other.0.present() && self.iter().eq(other.iter())
    }
}

impl Eq for Properties<'_> {}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
