//! PUBLISH: a message, in either direction (3.1.1 and 5.0 section 3.3).
//!
//! The payload is the last field, so everything in front of it, the head, can be read and written on its own:
//! that is how payloads larger than memory travel.

use super::{check_encode, debug_is_display, fmt_properties, properties_len, put_properties};
use crate::header::check_version;
use crate::reader::Reader;
use crate::sink::{Writer, binary_len, framed_len, start, start_head, sum};
use crate::{
    DecodeError, Delivery, EncodeError, FixedHeader, Frame, PacketType, Properties, PropertyId,
    PropertyPlace, QoS, Role, Sink, SliceSink, TopicName, Version, varint,
};
use core::fmt;

const DUP: u8 = 0x08;
const QOS: u8 = 0x06;
const QOS_1: u8 = 0x02;
const RETAIN: u8 = 0x01;

/// A message on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// From a client: keep this as the topic's retained message. From a server: this is one.
    pub retain: bool,
    /// QoS, Packet Identifier and DUP.
    pub delivery: Delivery,
    /// Where it goes; [`TopicName::ALIASED`] only with a Topic Alias.
    pub topic: TopicName<'a>,
    /// The properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// What is said: any bytes, or none.
    pub payload: &'a [u8],
}

/// What stands in front of a PUBLISH's payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublishHead<'a> {
    /// The packet without its payload.
    pub publish: Publish<'a>,
    /// How many bytes of the packet's body came before the payload.
    pub head_len: usize,
    /// How many bytes the payload has.
    pub payload_len: u32,
}

impl<'a> Publish<'a> {
    /// A message of QoS 0, not retained, without properties.
    pub const fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Self {
        Self { retain: false, delivery: Delivery::AtMostOnce, topic, properties: Properties::EMPTY, payload }
    }

    /// Decodes a PUBLISH.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    #[inline(always)]
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        // One branch for the version, in front of everything; small machines have it once.
        if cfg!(target_pointer_width = "64") && version.is_v5() {
            Self::decode_as(frame, Version::V5)
        } else {
            Self::decode_as(frame, version)
        }
    }

    #[inline(always)]
    fn decode_as(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut reader = frame.open(PacketType::Publish, version)?;
        Self::decode_fields(frame.flags(), &mut reader, version)
    }

    /// Decodes what stands in front of the payload, from the first bytes of the packet's body; `None` where these
    /// are not enough to know. `body` may have any part of the payload behind the head.
    ///
    /// # Errors
    /// Whatever rule the packet breaks.
    pub fn decode_head(
        header: FixedHeader,
        body: &'a [u8],
        version: Version,
    ) -> Result<Option<PublishHead<'a>>, DecodeError> {
        Self::decode_head_with(header, body, version, false)
    }

    pub(crate) fn decode_head_with(
        header: FixedHeader,
        body: &'a [u8],
        version: Version,
        strict: bool,
    ) -> Result<Option<PublishHead<'a>>, DecodeError> {
        if header.packet_type != PacketType::Publish {
            return Err(DecodeError::UnexpectedPacket);
        }
        check_version(version, header.overlong)?;
        let body = match body.split_at_checked(header.remaining_length as usize) {
            Some((body, _)) => body,
            // The lengths alone first: a head that trickles in is looked at once, not with every byte.
            None if head_is_there(header, body, version) => body,
            None => return Ok(None),
        };
        let mut reader = Reader::new(body, strict);
        let publish = Self { payload: &[], ..Self::decode_fields(header.flags, &mut reader, version)? };
        let head_len = body.len().wrapping_sub(reader.rest().len());
        let payload_len = header.remaining_length.wrapping_sub(head_len as u32);
        Ok(Some(PublishHead { publish, head_len, payload_len }))
    }

    #[inline(always)]
    fn decode_fields(flags: u8, reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let topic = reader.topic_name_or_empty()?;
        let dup = flags & DUP != 0;
        let delivery = if flags & QOS == 0 {
            // In 3.1 nobody looked at a DUP that means nothing [MQTT-3.3.1-2].
            if dup && version != Version::V3_1 {
                return Err(DecodeError::DupAtQos0);
            }
            Delivery::AtMostOnce
        } else if flags & QOS == QOS {
            return Err(DecodeError::QosReserved); // [MQTT-3.3.1-4]
        } else {
            let Some(id) = reader.packet_id() else { return Err(reader.no_packet_id()) };
            if flags & QOS == QOS_1 {
                Delivery::AtLeastOnce { id, dup }
            } else {
                Delivery::ExactlyOnce { id, dup }
            }
        };
        let mut properties = Properties::EMPTY;
        if version.is_v5() {
            properties.decode(reader, PropertyPlace::of(PacketType::Publish))?;
        }
        if topic.is_empty() && !properties.contains(PropertyId::TopicAlias) {
            return Err(DecodeError::TopicMissing);
        }
        Ok(Self { retain: flags & RETAIN != 0, delivery, topic, properties, payload: reader.rest() })
    }

    /// Refuses what only the other side may send: a Subscription Identifier from a client [MQTT-3.3.4-6].
    ///
    /// # Errors
    /// [`DecodeError::SubscriptionIdFromClient`].
    pub fn check_sender(&self, role: Role) -> Result<(), DecodeError> {
        if role == Role::Client && self.properties.contains(PropertyId::SubscriptionIdentifier) {
            return Err(DecodeError::SubscriptionIdFromClient);
        }
        Ok(())
    }

    /// The length of everything between fixed header and payload.
    #[inline(always)]
    fn head_len(&self, version: Version) -> usize {
        let id = if self.delivery.qos() == QoS::AtMostOnce { 0 } else { 2_usize };
        // A topic name has at most 65,535 bytes.
        sum(properties_len(self.properties, version), binary_len(self.topic.as_bytes()).wrapping_add(id))
    }

    /// The length of the encoded packet with its fixed header, in bytes.
    #[inline]
    pub fn encoded_len(&self, version: Version) -> usize {
        framed_len(sum(self.head_len(version), self.payload.len()))
    }

    /// Writes the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        // One branch for the version, in front of everything; small machines have it once.
        if cfg!(target_pointer_width = "64") && version.is_v5() {
            self.encode_as(Version::V5, out)
        } else {
            self.encode_as(version, out)
        }
    }

    #[inline(always)]
    fn encode_as(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        self.check(version)?;
        let body_len = sum(self.head_len(version), self.payload.len());
        let mut writer = start(out, self.first_byte(), body_len)?;
        self.put_head(version, &mut writer);
        writer.put(self.payload);
        Ok(())
    }

    /// Writes the packet up to its payload, which is not [`payload`](Self::payload) but `payload_len` bytes that the
    /// caller sends behind it.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was written then.
    pub fn encode_head(
        &self,
        payload_len: u32,
        version: Version,
        out: &mut impl Sink,
    ) -> Result<(), EncodeError> {
        self.check(version)?;
        let body_len = sum(self.head_len(version), payload_len as usize);
        let mut writer = start_head(out, self.first_byte(), body_len, payload_len as usize)?;
        self.put_head(version, &mut writer);
        Ok(())
    }

    /// The packet in pieces, for a vectored write and for fan-out: the same message goes to many subscribers, and
    /// all that is different is the delivery, the retain flag and a few properties of each subscriber's own
    /// (`own`, in front of those of the message).
    ///
    /// The pieces, in their order: fixed header and topic length; topic; Packet Identifier and Property Length;
    /// `own`; the message's properties; payload. `scratch` holds the first and the third, everything else is
    /// borrowed from the message.
    ///
    /// ```
    /// # use mqtt_packet::*;
    /// let message = Publish::new(TopicName::new("plant/1/state").unwrap(), b"running");
    /// for id in 1..=3 {
    ///     let delivery = Delivery::AtLeastOnce { id: PacketId::new(id).unwrap(), dup: false };
    ///     let mut scratch = [0; 16];
    ///     let pieces = message.pieces(delivery, false, Properties::EMPTY, Version::V3_1_1, &mut scratch).unwrap();
    ///     let mut whole = [0; 32];
    ///     let mut out = SliceSink::new(&mut whole);
    ///     Publish { delivery, ..message }.encode(Version::V3_1_1, &mut out).unwrap();
    ///     assert_eq!(pieces.concat(), out.written());
    /// }
    /// ```
    ///
    /// # Errors
    /// [`EncodeError`] as for [`encode`](Self::encode); [`EncodeError::Rule`] also where `own` repeats a property of the
    /// message that may stand once, and [`EncodeError::NoRoom`] where the message's properties stand in two blocks
    /// already, so that `own` has no place.
    pub fn pieces<'s>(
        &self,
        delivery: Delivery,
        retain: bool,
        own: Properties<'s>,
        version: Version,
        scratch: &'s mut [u8; 16],
    ) -> Result<[&'s [u8]; 6], EncodeError>
    where
        'a: 's,
    {
        let properties = match own.followed_by(self.properties) {
            Some(properties) => properties,
            None if version.is_v5() => {
                let repeated = own.repeated_in(&self.properties).map(DecodeError::PropertyRepeated);
                return Err(repeated.map_or(EncodeError::NoRoom, EncodeError::Rule));
            }
            None => Properties::EMPTY,
        };
        let publish = Publish { retain, delivery, properties, ..*self };
        publish.check(version)?;
        let (front, middle) = scratch.split_at_mut(8);
        let (mut front, mut middle) = (SliceSink::new(front), SliceSink::new(middle));
        let body_len = sum(publish.head_len(version), self.payload.len());
        let topic = self.topic.as_bytes();
        start_head(&mut front, publish.first_byte(), body_len, body_len.wrapping_sub(2))?
            .put_u16(topic.len() as u16);
        if let Some(id) = delivery.id() {
            Writer::new(middle.room(2)?).put_u16(id.get());
        }
        let mut blocks = [&[][..], &[]];
        if version.is_v5() {
            let len = properties.len() as u32;
            Writer::new(middle.room(varint::len(len))?).put_varint(len);
            blocks = properties.blocks();
        }
        Ok([front.into_written(), topic, middle.into_written(), blocks[0], blocks[1], self.payload])
    }

    #[inline(always)]
    fn first_byte(&self) -> u8 {
        let dup = if self.delivery.dup() { DUP } else { 0 };
        PacketType::Publish.first_byte() | dup | (self.delivery.qos() as u8) << 1 | u8::from(self.retain)
    }

    #[inline(always)]
    fn put_head(&self, version: Version, writer: &mut Writer<'_>) {
        writer.put_binary(self.topic.as_bytes());
        if let Some(id) = self.delivery.id() {
            writer.put_u16(id.get());
        }
        put_properties(writer, self.properties, version);
    }

    #[inline(always)]
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        check_encode(&self.properties, PropertyPlace::of(PacketType::Publish), version)?;
        let aliased = version.is_v5() && self.properties.contains(PropertyId::TopicAlias);
        if self.topic.is_empty() && !aliased {
            return Err(DecodeError::TopicMissing.into());
        }
        Ok(())
    }
}

/// Whether the body of a PUBLISH reaches to its payload, by its length fields alone.
fn head_is_there(header: FixedHeader, body: &[u8], version: Version) -> bool {
    let mut reader = Reader::new(body, false);
    let mut skip = || -> Result<(), DecodeError> {
        reader.binary()?;
        if header.flags & QOS != 0 {
            reader.u16()?;
        }
        if version.is_v5() {
            let len = reader.varint()?;
            reader.take(len as usize)?;
        }
        Ok(())
    };
    // Anything but "more to come" is for the decoder to name.
    !matches!(skip(), Err(DecodeError::Truncated))
}

impl fmt::Display for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PUBLISH {:?} qos {}", self.topic, self.delivery.qos() as u8)?;
        if let Some(id) = self.delivery.id() {
            write!(f, " id {id}")?;
        }
        if self.delivery.dup() {
            f.write_str(" dup")?;
        }
        if self.retain {
            f.write_str(" retain")?;
        }
        write!(f, " {} bytes", self.payload.len())?;
        fmt_properties(&self.properties, f)
    }
}

impl fmt::Display for PublishHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "head of {} with {} bytes to come", self.publish, self.payload_len)
    }
}

debug_is_display!(Publish<'_>, PublishHead<'_>);
