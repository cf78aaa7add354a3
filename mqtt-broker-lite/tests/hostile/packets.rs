//! Packets of hostile peers: right ones, with anything in them.

/// A packet with this first byte; what stands in it is not looked at.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = if length > 127 { 0x80 } else { 0 };
        packet.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u16).to_be_bytes(), text].concat()
}

/// A CONNECT of a version, for tables that go through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V3,
    V5,
}

impl Version {
    pub const BOTH: [Self; 2] = [Self::V3, Self::V5];

    /// An empty property block, where there is one.
    pub fn none(self) -> &'static [u8] {
        if self == Self::V5 { &[0] } else { &[] }
    }
}

/// What a CONNECT may have.
pub struct Connect<'a> {
    pub version: Version,
    pub id: &'a str,
    pub is_clean: bool,
    pub keep_alive: u16,
    /// Topic, payload, flags of the will from bit 3 on.
    pub will: Option<(&'a str, &'a [u8], u8)>,
    /// Properties of 5.0, without their length.
    pub properties: &'a [u8],
}

impl<'a> Connect<'a> {
    pub fn new(version: Version, id: &'a str) -> Self {
        Self { version, id, is_clean: true, keep_alive: 0, will: None, properties: &[] }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (level, none) = (if self.version == Version::V5 { 5 } else { 4 }, self.version.none());
        let mut flags = if self.is_clean { 2 } else { 0 };
        let mut body = string("MQTT");
        if let Some((.., more)) = self.will {
            flags |= 4 | more << 3;
        }
        body.extend_from_slice(&[level, flags]);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            body.extend_from_slice(&packet(0, self.properties)[1..]);
        }
        body.extend_from_slice(&string(self.id));
        if let Some((topic, payload, _)) = self.will {
            body.extend_from_slice(none);
            body.extend_from_slice(&string(topic));
            body.extend_from_slice(&string(payload));
        }
        packet(0x10, &body)
    }
}

/// PUBLISH with an identifier if its first byte says QoS 1 or 2.
pub fn publish(version: Version, first: u8, topic: impl AsRef<[u8]>, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    if first & 0x06 != 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.extend_from_slice(version.none());
    body.extend_from_slice(payload);
    packet(0x30 | first, &body)
}

pub fn subscribe(version: Version, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes(), version.none()].concat();
    for (filter, options) in filters {
        body.extend_from_slice(&string(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}
