//! PINGREQ and PINGRESP: two bytes each (3.1.1 and 5.0 sections 3.12 and 3.13).

use super::debug_is_display;
use crate::sink::start;
use crate::{DecodeError, EncodeError, Frame, PacketType, Sink, Version};
use core::fmt;

/// "Are you there?", from the client.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PingReq;

/// "I am", from the server.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PingResp;

macro_rules! ping {
    ($packet:ident, $name:literal) => {
        impl $packet {
            /// Decodes the packet.
            ///
            /// # Errors
            /// Whatever rule the packet breaks.
            pub fn decode(frame: Frame<'_>, version: Version) -> Result<Self, DecodeError> {
                frame.open(PacketType::$packet, version)?.finish()?;
                Ok(Self)
            }

            /// The length of the encoded packet: 2.
            pub const fn encoded_len(&self, _version: Version) -> usize {
                2
            }

            /// Writes the packet.
            ///
            /// # Errors
            /// [`EncodeError::NoRoom`]; nothing was written then.
            pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
                if !version.is_supported() {
                    return Err(EncodeError::NotInVersion);
                }
                start(out, PacketType::$packet.first_byte(), 0).map(|_| ())
            }
        }

        impl fmt::Display for $packet {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($name)
            }
        }
    };
}

ping!(PingReq, "PINGREQ");
ping!(PingResp, "PINGRESP");

debug_is_display!(PingReq, PingResp);
