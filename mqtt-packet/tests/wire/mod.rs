//! Packets written by hand, without the encoder, and what the decoder must say of them.
//!
//! The notation of [`wire`]: hex digits are bytes, `'text'` is its characters, `"text"` is an MQTT string (two bytes
//! of length in front), `..` is the length of everything behind it and `{ }` a block with its length in front, both
//! lengths as Variable Byte Integers.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.

use mqtt_packet::{DecodeError, EncodeError, Frame, Packet, Properties, ReasonCode, SliceSink, Version};

pub const V3: [Version; 2] = [Version::V3_1, Version::V3_1_1];
pub const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

/// The bytes of the notation above.
pub fn wire(notation: &str) -> Vec<u8> {
    let mut rest = notation.chars();
    let bytes = block(&mut rest, notation);
    assert!(rest.as_str().is_empty(), "`}}` without `{{` in {notation}");
    bytes
}

fn block(rest: &mut std::str::Chars<'_>, notation: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut length_at = None;
    while let Some(first) = rest.next() {
        match first {
            '}' => break,
            '{' => {
                let inner = block(rest, notation);
                bytes.extend(varint(inner.len()));
                bytes.extend(inner);
            }
            '.' => {
                assert_eq!(rest.next(), Some('.'), "half of `..` in {notation}");
                length_at = Some(bytes.len());
            }
            '\'' | '"' => {
                let text: Vec<u8> = rest.by_ref().take_while(|&c| c != first).collect::<String>().into();
                if first == '"' {
                    bytes.extend((text.len() as u16).to_be_bytes());
                }
                bytes.extend(text);
            }
            space if space.is_whitespace() => {}
            high => {
                let digits = [high, rest.next().unwrap_or(' ')];
                let byte = u8::from_str_radix(&String::from_iter(digits), 16);
                bytes.push(byte.unwrap_or_else(|_| panic!("{digits:?} in {notation}")));
            }
        }
    }
    if let Some(at) = length_at {
        let length = varint(bytes.len() - at);
        bytes.splice(at..at, length);
    }
    bytes
}

/// A Variable Byte Integer in its shortest form.
pub fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Bytes behind their two bytes of length.
pub fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&length.to_be_bytes(), bytes].concat()
}

/// A packet of its first byte and the parts of its body.
pub fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[first], varint(body.len()).as_slice(), &body].concat()
}

/// The one whole packet in `bytes`.
pub fn frame(bytes: &[u8]) -> Frame<'_> {
    let (frame, rest) = Frame::split(bytes).expect("a fixed header").expect("a whole packet");
    assert!(rest.is_empty(), "bytes behind the packet {bytes:02x?}");
    frame
}

pub fn decode(bytes: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    Packet::decode(frame(bytes), version)
}

/// What the packet is, which must be valid.
#[track_caller]
pub fn accepted(bytes: &[u8], version: Version) -> Packet<'_> {
    decode(bytes, version).unwrap_or_else(|error| panic!("{error} in {version:?}: {bytes:02x?}"))
}

/// The packet must be refused with this error, which names this statement and is answered with this code.
#[track_caller]
pub fn refused(bytes: &[u8], version: Version, error: DecodeError, rule: &str, code: ReasonCode) {
    assert_eq!(decode(bytes, version), Err(error), "{version:?}: {bytes:02x?}");
    assert_eq!(error.rule(version), rule, "{error:?} in {version:?}");
    assert_eq!(error.reason_code(), code, "{error:?}");
}

/// Encodes into exactly as much room as the packet says that it takes.
pub fn encode(packet: &Packet<'_>, version: Version) -> Result<Vec<u8>, EncodeError> {
    let mut buffer = vec![0xEE; packet.encoded_len(version).min(1 << 20)];
    let mut out = SliceSink::new(&mut buffer);
    packet.encode(version, &mut out)?;
    assert_eq!(out.len(), packet.encoded_len(version), "{packet} in {version:?}");
    Ok(buffer)
}

/// The bytes that the packet is encoded to, which must be possible.
#[track_caller]
pub fn encoded(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    encode(packet, version).unwrap_or_else(|error| panic!("{error} in {version:?}: {packet}"))
}

/// The bytes are a valid packet, and the encoder writes it in these bytes.
#[track_caller]
pub fn stands<'a>(bytes: &'a [u8], version: Version) -> Packet<'a> {
    let packet = accepted(bytes, version);
    assert_eq!(encoded(&packet, version), bytes, "{packet} in {version:?}");
    packet
}

/// The packet with these properties instead of its own.
pub fn with_properties<'a>(mut packet: Packet<'a>, properties: Properties<'a>) -> Packet<'a> {
    match &mut packet {
        Packet::Connect(connect) => connect.properties = properties,
        Packet::ConnAck(connack) => connack.properties = properties,
        Packet::Publish(publish) => publish.properties = properties,
        Packet::Ack(ack) => ack.properties = properties,
        Packet::Subscribe(subscribe) => subscribe.properties = properties,
        Packet::SubAck(suback) => suback.properties = properties,
        Packet::Unsubscribe(unsubscribe) => unsubscribe.properties = properties,
        Packet::UnsubAck(unsuback) => unsuback.properties = properties,
        Packet::Disconnect(disconnect) => disconnect.properties = properties,
        Packet::Auth(auth) => auth.properties = properties,
        Packet::PingReq(_) | Packet::PingResp(_) => {}
    }
    packet
}
