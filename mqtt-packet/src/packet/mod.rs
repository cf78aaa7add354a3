//! The control packets, one file for each shape, all in the same order: the struct, what makes it, `decode`,
//! `encoded_len`, `encode`, how people read it.

mod ack;
mod answer;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod ping;
mod publish;
mod suback;
mod subscribe;
mod unsubscribe;

use crate::header::Head;
use crate::sink::{Writer, sum};
use crate::{
    DecodeError, EncodeError, Frame, PacketType, Properties, PropertyPlace, Role, Sink, Version, varint,
};
use core::fmt;

pub use ack::{Ack, AckKind};
pub use answer::Answer;
pub use auth::Auth;
pub use connack::ConnAck;
pub use connect::{Connect, Will};
pub use disconnect::Disconnect;
pub use ping::{PingReq, PingResp};
pub use publish::{Publish, PublishHead};
pub use suback::{ReasonCodes, SubAck, UnsubAck};
pub use subscribe::{
    RetainHandling, Subscribe, SubscribeFilter, SubscribeFilters, SubscribeFiltersIter, SubscribeOptions,
};
pub use unsubscribe::{Filters, FiltersIter, Unsubscribe};

/// Any control packet: for brokers, tools and tests. A device that wants to stay small calls the `decode` of the
/// packets that it expects instead.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Each packet's struct explains.
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq(PingReq),
    PingResp(PingResp),
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// The same expression for every packet.
macro_rules! each_packet {
    ($packet:expr, $inner:ident => $body:expr) => {
        match $packet {
            Packet::Connect($inner) => $body,
            Packet::ConnAck($inner) => $body,
            Packet::Publish($inner) => $body,
            Packet::Ack($inner) => $body,
            Packet::Subscribe($inner) => $body,
            Packet::SubAck($inner) => $body,
            Packet::Unsubscribe($inner) => $body,
            Packet::UnsubAck($inner) => $body,
            Packet::PingReq($inner) => $body,
            Packet::PingResp($inner) => $body,
            Packet::Disconnect($inner) => $body,
            Packet::Auth($inner) => $body,
        }
    };
}

impl<'a> Packet<'a> {
    /// Decodes the packet in `frame` as `version` writes it. A CONNECT says its version itself.
    ///
    /// # Errors
    /// Whatever rule of the standard the packet breaks.
    #[inline]
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        // The smallest packets, of which every message has some, first: they do not pay for the registers and the stack
        // that the others need.
        match Ack::usual(&frame, version) {
            Some((kind, id)) => Ok(Self::Ack(Ack::new(kind, id))),
            None => Self::decode_larger(frame.head(), frame.body(), version),
        }
    }

    #[inline(never)]
    fn decode_larger(head: Head, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let frame = Frame::of(head, body);
        // Each arm is a whole result of its own, so that it is made where it is wanted and not copied there.
        match frame.packet_type() {
            PacketType::Publish => Publish::decode(frame, version).map(Self::Publish),
            PacketType::Connect => Self::decode_connect(head, body),
            _ => Self::decode_other(head, body, version),
        }
    }

    #[inline(never)]
    fn decode_connect(head: Head, body: &'a [u8]) -> Result<Self, DecodeError> {
        Connect::decode_here(Frame::of(head, body)).map(Self::Connect)
    }

    /// The packets that are not part of every message.
    #[inline(never)]
    fn decode_other(head: Head, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let frame = Frame::of(head, body);
        match frame.packet_type() {
            PacketType::Connect => Connect::decode(frame).map(Self::Connect),
            PacketType::ConnAck => ConnAck::decode(frame, version).map(Self::ConnAck),
            PacketType::Publish => Publish::decode(frame, version).map(Self::Publish),
            PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
                Ack::decode_any(head, body, version).map(Self::Ack)
            }
            PacketType::Subscribe => Subscribe::decode(frame, version).map(Self::Subscribe),
            PacketType::SubAck => SubAck::decode(frame, version).map(Self::SubAck),
            PacketType::Unsubscribe => Unsubscribe::decode(frame, version).map(Self::Unsubscribe),
            PacketType::UnsubAck => UnsubAck::decode(frame, version).map(Self::UnsubAck),
            PacketType::PingReq => PingReq::decode(frame, version).map(Self::PingReq),
            PacketType::PingResp => PingResp::decode(frame, version).map(Self::PingResp),
            PacketType::Disconnect => Disconnect::decode(frame, version).map(Self::Disconnect),
            PacketType::Auth => Auth::decode(frame, version).map(Self::Auth),
        }
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        each_packet!(self, packet => packet.encoded_len(version))
    }

    /// Writes the packet. A CONNECT knows its version itself.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        match self {
            // Four bytes, nearly always: not by way of the stack that the others need.
            Self::Ack(ack) => ack.encode(version, out),
            _ => self.encode_larger(version, out),
        }
    }

    #[inline(never)]
    fn encode_larger(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        match self {
            Self::Publish(publish) => publish.encode(version, out),
            _ => self.encode_other(version, out),
        }
    }

    #[inline(never)]
    fn encode_other(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        each_packet!(self, packet => packet.encode(version, out))
    }

    /// Which packet.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::Ack(ack) => ack.kind.packet_type(),
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq(_) => PacketType::PingReq,
            Self::PingResp(_) => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Whether this side may send this packet with this content: some packets, reason codes and properties belong
    /// to one side only.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedPacket`] or the rule about the content.
    pub fn check_sender(&self, role: Role, version: Version) -> Result<(), DecodeError> {
        if !self.packet_type().is_sent_by(role) {
            return Err(DecodeError::UnexpectedPacket);
        }
        match self {
            Self::Publish(publish) => publish.check_sender(role),
            Self::Disconnect(disconnect) => disconnect.check_sender(role, version),
            Self::Auth(auth) => auth.check_sender(role),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each_packet!(self, packet => fmt::Display::fmt(packet, f))
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Debug` of a packet is its `Display`: one form to read, and one place that keeps secrets and payloads out.
macro_rules! debug_is_display {
    ($($packet:ty),*) => {$(
        impl core::fmt::Debug for $packet {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $packet {
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::write!(f, "{}", defmt::Display2Format(self));
            }
        }
    )*};
}
pub(crate) use debug_is_display;

/// The bytes that a property section takes: its length and its blocks, or nothing before 5.0.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn properties_len(properties: Properties<'_>, version: Version) -> usize {
    if !version.is_v5() {
        return 0;
    }
    if properties.is_empty() {
        return 1;
    }
    let len = properties.len();
    // A block beyond what a length can say makes the packet too long, which `sink::start` finds.
    sum(len, varint::len(u32::try_from(len).unwrap_or(u32::MAX)))
}

/// Writes a property section.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn put_properties(writer: &mut Writer<'_>, properties: Properties<'_>, version: Version) {
    if !version.is_v5() {
        return;
    }
    if properties.is_empty() {
        return writer.put_u8(0);
    }
    writer.put_varint(properties.len() as u32);
    for block in properties.blocks() {
        if !block.is_empty() {
            writer.put(block);
        }
    }
}

/// Refuses properties that do not belong into this packet, and 5.0 where it is not built in.
#[inline(always)]
fn check_encode(
    properties: &Properties<'_>,
    place: PropertyPlace,
    version: Version,
) -> Result<(), EncodeError> {
    if !version.is_supported() {
        return Err(EncodeError::NotInVersion);
    }
    if version.is_v5() && !properties.fit(place) {
        return Err(DecodeError::PropertyNotAllowed.into());
    }
    Ok(())
}

/// Shows properties behind a packet, if there are any.
fn fmt_properties(properties: &Properties<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if properties.is_empty() { Ok(()) } else { write!(f, " {properties:?}") }
}
