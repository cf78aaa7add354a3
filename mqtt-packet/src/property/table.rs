//! The property table of 5.0 (section 2.2.2.2) as data: number, name, type, where it may stand, whether it may be
//! repeated. Everything else about properties is generated from it or asks it.

use crate::{TopicName, Utf8Str};

/// The type of a property's value. The first four are bounded: what the bound forbids is in no valid packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A byte that may be 0 or 1, as all bytes among the properties.
    Bool,
    U16,
    /// Not 0.
    U16NonZero,
    U32,
    /// Not 0.
    U32NonZero,
    /// A Variable Byte Integer, not 0.
    VarInt,
    Utf8,
    Topic,
    Binary,
    Pair,
}

impl Kind {
    /// How many bytes a number of this kind has; 0 where it is none, or one of any length.
    #[inline(always)]
    pub(super) const fn number_len(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::U16 | Self::U16NonZero => 2,
            Self::U32 | Self::U32NonZero => 4,
            _ => 0,
        }
    }
}

/// How the value of each kind looks in [`Property`].
macro_rules! value_type {
    (Bool) => { bool };
    (U16) => { u16 };
    (U16NonZero) => { u16 };
    (U32) => { u32 };
    (U32NonZero) => { u32 };
    (VarInt) => { u32 };
    (Utf8) => { Utf8Str<'a> };
    (Topic) => { TopicName<'a> };
    (Binary) => { &'a [u8] };
}

const WILL: u16 = 1;
const CONNECT: u16 = 1 << 1;
const CONNACK: u16 = 1 << 2;
const PUBLISH: u16 = 1 << 3;
const PUBACK: u16 = 1 << 4;
const PUBREC: u16 = 1 << 5;
const PUBREL: u16 = 1 << 6;
const PUBCOMP: u16 = 1 << 7;
const SUBSCRIBE: u16 = 1 << 8;
const SUBACK: u16 = 1 << 9;
const UNSUBSCRIBE: u16 = 1 << 10;
const UNSUBACK: u16 = 1 << 11;
const DISCONNECT: u16 = 1 << 14;
const AUTH: u16 = 1 << 15;
const ACKS: u16 = PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK;
const EVERYWHERE: u16 =
    WILL | CONNECT | CONNACK | PUBLISH | ACKS | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT | AUTH;

/// One row of the table.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) id: PropertyId,
    pub(super) kind: Kind,
    pub(super) places: u16,
}

macro_rules! properties {
    ($($(#[$doc:meta])* $number:literal $name:ident $kind:ident $places:expr;)*) => {
        /// The number that each property has on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[repr(u8)]
        #[allow(missing_docs)] // Explained at `Property`.
        pub enum PropertyId {
            $($name = $number,)*
            UserProperty = 0x26,
        }

        /// A property and its value.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub enum Property<'a> {
            $($(#[$doc])* $name(value_type!($kind)),)*
            /// A name and a value that mean something to the application; may stand more than once (section
            /// 3.1.2.11.8).
            UserProperty(Utf8Str<'a>, Utf8Str<'a>),
        }

        impl Property<'_> {
            /// Which property.
            pub const fn id(&self) -> PropertyId {
                match self {
                    $(Self::$name(_) => PropertyId::$name,)*
                    Self::UserProperty(..) => PropertyId::UserProperty,
                }
            }
        }

        /// The rows in their order, which is that of the bits.
        static ROWS: [Row; Position::UserProperty as usize + 1] = [
            $(Row { id: PropertyId::$name, kind: Kind::$kind, places: $places },)*
            Row { id: PropertyId::UserProperty, kind: Kind::Pair, places: EVERYWHERE },
        ];

        /// Which row a property has.
        #[derive(Clone, Copy)]
        enum Position {
            $($name,)*
            UserProperty,
        }

        /// Which row each number has; none is where no row can be.
        static POSITIONS: [u8; LAST + 1] = {
            let mut positions = [u8::MAX; LAST + 1];
            #[allow(clippy::indexing_slicing)] // Evaluated by the compiler.
            {
                $(positions[$number] = Position::$name as u8;)*
                positions[0x26] = Position::UserProperty as u8;
            }
            positions
        };

        impl PropertyId {
            /// The bit of this property in a set.
            #[inline(always)]
            pub(super) const fn bit(self) -> u32 {
                1 << match self {
                    $(Self::$name => Position::$name as u8,)*
                    Self::UserProperty => Position::UserProperty as u8,
                }
            }
        }

        /// One bit for each property that may stand at `place`.
        #[inline(always)]
        pub(super) const fn allowed_at_once(place: u16) -> u32 {
            let mut allowed = if EVERYWHERE & place != 0 { PropertyId::UserProperty.bit() } else { 0 };
            $(if $places & place != 0 { allowed |= PropertyId::$name.bit(); })*
            allowed
        }

        /// Makes the property of a number from its value, read by kind.
        macro_rules! with_property_names {
            ($callback:ident) => { $callback! { $($name $kind)* } };
        }
        pub(super) use with_property_names;
    };
}

/// The largest number of a property.
const LAST: usize = 0x2A;

properties! {
    /// Whether the payload is UTF-8 text.
    0x01 PayloadFormatIndicator Bool PUBLISH | WILL;
    /// For how many seconds the message is of use.
    0x02 MessageExpiryInterval U32 PUBLISH | WILL;
    /// What the payload is, for example a MIME type.
    0x03 ContentType Utf8 PUBLISH | WILL;
    /// Where the answer to this request goes.
    0x08 ResponseTopic Topic PUBLISH | WILL;
    /// What the answer repeats, so that the requester knows it.
    0x09 CorrelationData Binary PUBLISH | WILL;
    /// The number of a subscription; may stand more than once in a PUBLISH.
    0x0B SubscriptionIdentifier VarInt PUBLISH | SUBSCRIBE;
    /// For how many seconds the session outlives its connection; 0xFFFF_FFFF is for ever.
    0x11 SessionExpiryInterval U32 CONNECT | CONNACK | DISCONNECT;
    /// The Client Identifier that the server gave.
    0x12 AssignedClientIdentifier Utf8 CONNACK;
    /// The Keep Alive, in seconds, that the server wants.
    0x13 ServerKeepAlive U16 CONNACK;
    /// The name of the extended authentication.
    0x15 AuthenticationMethod Utf8 CONNECT | CONNACK | AUTH;
    /// What the authentication method has to say.
    0x16 AuthenticationData Binary CONNECT | CONNACK | AUTH;
    /// Whether reason strings and user properties are wanted on failures.
    0x17 RequestProblemInformation Bool CONNECT;
    /// For how many seconds the will is held back.
    0x18 WillDelayInterval U32 WILL;
    /// Whether Response Information is wanted.
    0x19 RequestResponseInformation Bool CONNECT;
    /// What a response topic is made of.
    0x1A ResponseInformation Utf8 CONNACK;
    /// Which server to use instead.
    0x1C ServerReference Utf8 CONNACK | DISCONNECT;
    /// The reason in words, for people.
    0x1F ReasonString Utf8 CONNACK | ACKS | DISCONNECT | AUTH;
    /// How many QoS 1 and 2 messages may be in flight towards the sender; 1 to 65,535.
    0x21 ReceiveMaximum U16NonZero CONNECT | CONNACK;
    /// The highest Topic Alias that the sender takes.
    0x22 TopicAliasMaximum U16 CONNECT | CONNACK;
    /// A number that stands for the topic name; 1 to 65,535.
    0x23 TopicAlias U16NonZero PUBLISH;
    /// Whether the server takes QoS 1 (`true`) or only QoS 0; absent means QoS 2.
    0x24 MaximumQos Bool CONNACK;
    /// Whether the server keeps retained messages.
    0x25 RetainAvailable Bool CONNACK;
    /// The largest packet, in bytes, that the sender takes; at least 1.
    0x27 MaximumPacketSize U32NonZero CONNECT | CONNACK;
    /// Whether the server takes wildcards in topic filters.
    0x28 WildcardSubscriptionAvailable Bool CONNACK;
    /// Whether the server takes Subscription Identifiers.
    0x29 SubscriptionIdentifiersAvailable Bool CONNACK;
    /// Whether the server has shared subscriptions.
    0x2A SharedSubscriptionAvailable Bool CONNACK;
}

impl PropertyId {
    /// The properties that may stand more than once: one in every packet, one in PUBLISH.
    pub(super) const REPEATABLE: u32 = Self::UserProperty.bit() | Self::SubscriptionIdentifier.bit();
}

/// The row of the property with this number, and its bit. Small machines search, which takes less flash than a table.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(super) fn row(number: u8) -> Option<(&'static Row, u32)> {
    if cfg!(not(target_pointer_width = "64")) {
        let mut bit = 1_u32;
        for row in &ROWS {
            if row.id as u8 == number {
                return Some((row, bit));
            }
            bit = bit.wrapping_shl(1);
        }
        return None;
    }
    let position = usize::from(*POSITIONS.get(usize::from(number))?);
    Some((ROWS.get(position)?, 1_u32.wrapping_shl(position as u32)))
}

/// One bit for each property that may stand at `place`.
#[inline]
pub(super) const fn allowed(place: u16) -> u32 {
    if cfg!(target_pointer_width = "64") {
        return allowed_at_once(place);
    }
    let mut allowed = 0;
    let mut rest: &[Row] = &ROWS;
    while let Some((row, before)) = rest.split_last() {
        allowed = allowed << 1 | (row.places & place != 0) as u32;
        rest = before;
    }
    allowed
}
