//! Quality of Service, the Packet Identifier, and the two joined: what a PUBLISH promises.

use core::fmt;
use core::num::NonZeroU16;

/// Quality of Service: how hard sender and receiver try (3.1.1 section 4.3, 5.0 section 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: sent once, never acknowledged, may be lost.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: repeated until acknowledged, may arrive more than once.
    AtLeastOnce = 1,
    /// QoS 2: arrives exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS of its two bits on the wire; `None` for 3 and above.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// Packet Identifier: 1 to 65,535, never 0 (3.1.1 section 2.3.1, 5.0 section 2.2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The smallest identifier, 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);

    /// The identifier of a number; `None` for 0.
    #[inline]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number, 1 to 65,535.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Debug for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for PacketId {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", self.get());
    }
}

/// QoS, Packet Identifier and DUP of a PUBLISH in one value, so that they cannot disagree
/// [MQTT-2.3.1-5, MQTT-3.3.1-2].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Delivery {
    /// QoS 0: no identifier, never a repeat.
    #[default]
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// The identifier that PUBACK will repeat.
        id: PacketId,
        /// Whether this packet may have been sent before.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// The identifier of the whole exchange up to PUBCOMP.
        id: PacketId,
        /// Whether this packet may have been sent before.
        dup: bool,
    },
}

impl Delivery {
    /// A first transmission at this QoS; `None` where a QoS above 0 has no identifier.
    pub const fn new(qos: QoS, id: Option<PacketId>) -> Option<Self> {
        match (qos, id) {
            (QoS::AtMostOnce, _) => Some(Self::AtMostOnce),
            (QoS::AtLeastOnce, Some(id)) => Some(Self::AtLeastOnce { id, dup: false }),
            (QoS::ExactlyOnce, Some(id)) => Some(Self::ExactlyOnce { id, dup: false }),
            _ => None,
        }
    }

    /// The QoS.
    #[inline]
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// The Packet Identifier, absent at QoS 0.
    #[inline]
    pub const fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { id, .. } | Self::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// The DUP flag; false at QoS 0.
    #[inline]
    pub const fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }
}
