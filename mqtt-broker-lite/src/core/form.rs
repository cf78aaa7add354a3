//! A message is encoded once for each form it leaves in (version, QoS, retain flag), not once for each subscriber.

use super::message::{View, seconds_left};
use super::wire::{LARGE, Wire};
use mqtt_packet::{
    Delivery, EncodeError, FixedHeader, PacketId, PacketType, Properties, Property, PropertyPlace,
    PropertyWriter, Publish, QoS, Sink, Version,
};

/// Room for the properties of a subscriber's own: expiry, alias and this many Subscription Identifiers.
const MAX_IDS: usize = 64;
const OWN_ROOM: usize = 16 + MAX_IDS * 5;

/// How one subscriber gets a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dispatch<'a> {
    pub(super) version: Version,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) subscription_ids: &'a [u32],
}

/// An encoded packet with a gap for the Packet Identifier, without a large payload.
#[derive(Debug)]
struct Form {
    version: Version,
    qos: QoS,
    retain: bool,
    /// Where the identifier stands.
    id_at: usize,
    packet: Bytes,
}

/// The forms of one message; the memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Forms {
    forms: Vec<Form>,
    used: usize,
}

impl Forms {
    /// Forgets the last message.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// The index of the form for `dispatch`, encoded now unless it is there. `None` for what cannot be encoded.
    fn find(&mut self, view: &View<'_>, dispatch: Dispatch<'_>, wall: u64) -> Option<usize> {
        let Dispatch { version, qos, retain, .. } = dispatch;
        let known = self.forms.iter().take(self.used).position(|form| {
            (form.version == Version::V5) == (version == Version::V5)
                && form.qos == qos
                && form.retain == retain
        });
        if known.is_some() {
            return known;
        }
        if self.used == self.forms.len() {
            self.forms.push(Form { version, qos, retain, id_at: 0, packet: Bytes::default() });
        }
        let form = self.forms.get_mut(self.used)?;
        (form.version, form.qos, form.retain) = (version, qos, retain);
        form.packet.len = 0;
        let delivery = Delivery::new(qos, Some(PacketId::MIN))?;
        let mut room = None;
        let own = match version {
            Version::V5 => own_properties(room.insert(own_room()), view, dispatch, None, wall)?,
            _ => Properties::EMPTY,
        };
        form.id_at = encode(view, delivery, dispatch, own, &mut form.packet)?;
        self.used = self.used.saturating_add(1);
        self.used.checked_sub(1)
    }

    /// The length of the packet in this form.
    pub(super) fn len(&mut self, view: &View<'_>, dispatch: Dispatch<'_>, wall: u64) -> Option<usize> {
        let index = self.find(view, dispatch, wall)?;
        let form = self.forms.get(index)?;
        let beside = if view.payload.len() > LARGE { view.payload.len() } else { 0 };
        Some(form.packet.len.saturating_add(beside))
    }

    /// Writes the packet in this form; a large payload goes in as `large`.
    pub(super) fn put(
        &mut self,
        view: &View<'_>,
        dispatch: Dispatch<'_>,
        id: Option<PacketId>,
        wall: u64,
        out: &mut Wire,
    ) -> Option<()> {
        let index = self.find(view, dispatch, wall)?;
        let form = self.forms.get_mut(index)?;
        if let (Some(id), Some(gap)) =
            (id, form.packet.room.get_mut(form.id_at..).and_then(<[u8]>::first_chunk_mut))
        {
            *gap = id.get().to_be_bytes();
        }
        out.put(form.packet.written());
        Some(())
    }
}

/// What stands in front of the message's own properties for one subscriber: expiry, alias, Subscription
/// Identifiers [MQTT-3.3.4-4, MQTT-3.3.2-6].
pub(super) fn own_properties<'b>(
    room: &'b mut [u8; OWN_ROOM],
    view: &View<'_>,
    dispatch: Dispatch<'_>,
    alias: Option<u16>,
    wall: u64,
) -> Option<Properties<'b>> {
    if dispatch.version != Version::V5 {
        return Some(Properties::EMPTY);
    }
    let mut own = PropertyWriter::new(PropertyPlace::of(PacketType::Publish), room);
    if let Some(expires) = view.expires {
        own.push(Property::MessageExpiryInterval(seconds_left(expires, wall))).ok()?;
    }
    if let Some(alias) = alias {
        own.push(Property::TopicAlias(alias)).ok()?;
    }
    for &id in dispatch.subscription_ids.iter().take(MAX_IDS) {
        own.push(Property::SubscriptionIdentifier(id)).ok()?;
    }
    Some(own.finish())
}

/// Room for [`own_properties`].
pub(super) const fn own_room() -> [u8; OWN_ROOM] {
    [0; OWN_ROOM]
}

/// The packet of one subscriber.
pub(super) fn publish<'a>(
    view: &View<'a>,
    delivery: Delivery,
    dispatch: Dispatch<'_>,
    own: Properties<'a>,
) -> Option<Publish<'a>> {
    let properties = match dispatch.version {
        Version::V5 => own.followed_by(view.properties)?,
        _ => Properties::EMPTY,
    };
    Some(Publish { retain: dispatch.retain, delivery, topic: view.topic, properties, payload: view.payload })
}

/// Encodes everything, or everything but a large payload; returns where the Packet Identifier stands.
fn encode(
    view: &View<'_>,
    delivery: Delivery,
    dispatch: Dispatch<'_>,
    own: Properties<'_>,
    out: &mut Bytes,
) -> Option<usize> {
    let publish = publish(view, delivery, dispatch, own)?;
    if view.payload.len() > LARGE {
        let len = u32::try_from(view.payload.len()).ok()?;
        publish.encode_head(len, dispatch.version, out).ok()?;
    } else {
        publish.encode(dispatch.version, out).ok()?;
    }
    let header = FixedHeader::decode(out.written()).ok()??;
    let topic = publish.topic.as_bytes().len();
    Some(usize::from(header.header_len).saturating_add(2).saturating_add(topic))
}

/// A sink whose memory is used again: it only grows, as to clear it would cost as much as to write it.
#[derive(Debug, Default)]
struct Bytes {
    room: Vec<u8>,
    len: usize,
}

impl Bytes {
    fn written(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or_default()
    }
}

impl Sink for Bytes {
    fn room(&mut self, len: usize) -> Result<&mut [u8], EncodeError> {
        let start = self.len;
        self.len = start.saturating_add(len);
        if self.room.len() < self.len {
            self.room.resize(self.len, 0);
        }
        self.room.get_mut(start..self.len).ok_or(EncodeError::NoRoom)
    }
}
