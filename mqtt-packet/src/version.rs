//! The protocol versions; the number of each is the Protocol Level that CONNECT carries.

/// A version of the protocol.
///
/// Its number is the Protocol Level on the wire (3.1.1 section 3.1.2.2, 5.0 section 3.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum Version {
    /// MQTT 3.1, protocol name `MQIsdp`.
    V3_1 = 3,
    /// MQTT 3.1.1.
    V3_1_1 = 4,
    /// MQTT 5.0. Refused everywhere when the feature `v5` is off.
    V5 = 5,
}

impl Version {
    /// The version of a Protocol Level, without the bridge bit (0x80); `None` for a level that nobody has defined.
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            3 => Some(Self::V3_1),
            4 => Some(Self::V3_1_1),
            5 => Some(Self::V5),
            _ => None,
        }
    }

    /// The Protocol Level on the wire: 3, 4 or 5.
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// Whether this build of the crate speaks the version: false only for 5.0 without the feature `v5`.
    pub const fn is_supported(self) -> bool {
        !matches!(self, Self::V5) || cfg!(feature = "v5")
    }

    /// The one question behind every difference of the wire formats. A constant without the feature `v5`, so that
    /// everything behind it falls out at link time.
    #[inline(always)]
    pub(crate) const fn is_v5(self) -> bool {
        cfg!(feature = "v5") && matches!(self, Self::V5)
    }
}
