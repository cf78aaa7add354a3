//! Any bytes: nothing panics, and a packet that is decoded is one that can be encoded.
//!
//! Input: a byte for the version, then a stream of frames. As on a connection, a CONNECT changes the version of what
//! follows.

#![no_main]

use fuzz::{check_parts_of, decode, encode, version_of};
use libfuzzer_sys::fuzz_target;
use mqtt_packet::{
    Connect, DecodeError, Frame, Packet, Properties, PropertyPlace, PropertyWriter, Role, Version,
};
use std::fmt::Write;

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let mut version = version_of(first);
    while let Some((frame, behind)) = split(rest) {
        let announced = Connect::version_of(frame);
        if let Some(packet) = decode_both_ways(frame, version) {
            if let Packet::Connect(connect) = packet {
                assert_eq!(announced, Some(connect.version));
                version = connect.version;
            }
            is_readable(&packet);
            has_its_parts(&packet, version);
            is_written_again(&packet, frame, &rest[..rest.len() - behind.len()], version);
            for role in [Role::Client, Role::Server] {
                packet.check_sender(role, version).unwrap_or_else(is_named(version));
            }
        }
        rest = behind;
    }
});

fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    Frame::split(bytes).unwrap_or_else(|error| {
        is_named(Version::V5)(error);
        None
    })
}

/// Being strict refuses more and changes nothing.
fn decode_both_ways(frame: Frame<'_>, version: Version) -> Option<Packet<'_>> {
    let strict = Packet::decode(frame.strict(), version);
    match Packet::decode(frame, version) {
        Ok(packet) => {
            match strict {
                Ok(strict) => assert_eq!(strict, packet),
                Err(error) => assert_eq!(
                    error.to_string(),
                    "the string contains a control character or a non-character"
                ),
            }
            Some(packet)
        }
        Err(error) => {
            assert!(strict.is_err());
            is_named(version)(error);
            None
        }
    }
}

/// Every error says which rule was broken and what to answer.
fn is_named(version: Version) -> impl Fn(DecodeError) {
    move |error| {
        assert!(!error.rule(version).is_empty());
        assert!(error.reason_code().is_error());
    }
}

struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn is_readable(packet: &Packet<'_>) {
    let mut len = Length(0);
    write!(len, "{packet}{packet:?}").expect("nothing refuses");
    assert!(len.0 > 0);
}

/// Whatever a packet lists was validated: nothing is lost on the way through its iterators.
fn has_its_parts(packet: &Packet<'_>, version: Version) {
    let place = PropertyPlace::of(packet.packet_type());
    match packet {
        Packet::Connect(connect) => {
            are_written_again(connect.properties, place);
            if let Some(will) = connect.will {
                are_written_again(will.properties, PropertyPlace::WILL);
                assert!(!will.topic.is_empty());
            }
        }
        Packet::ConnAck(connack) => are_written_again(connack.properties, place),
        Packet::Publish(publish) => are_written_again(publish.properties, place),
        Packet::Ack(ack) => are_written_again(ack.properties, place),
        Packet::Subscribe(subscribe) => {
            are_written_again(subscribe.properties, place);
            assert!(subscribe.filters.iter().count() > 0);
            assert!(
                subscribe.filters.iter().all(|entry| version != Version::V5 || entry.filter.shared().is_ok())
            );
        }
        Packet::SubAck(suback) => are_written_again(suback.properties, place),
        Packet::Unsubscribe(unsubscribe) => {
            are_written_again(unsubscribe.properties, place);
            assert!(unsubscribe.filters.iter().count() > 0);
        }
        Packet::UnsubAck(unsuback) => are_written_again(unsuback.properties, place),
        Packet::Disconnect(disconnect) => are_written_again(disconnect.properties, place),
        Packet::Auth(auth) => are_written_again(auth.properties, place),
        Packet::PingReq(_) | Packet::PingResp(_) => (),
    }
}

/// There is one way to write a property: writing what was read gives the same bytes.
fn are_written_again(properties: Properties<'_>, place: PropertyPlace) {
    let mut memory = vec![0; properties.len()];
    let mut writer = PropertyWriter::new(place, &mut memory);
    for property in properties {
        assert!(properties.contains(property.id()));
        writer.push(property).expect("a property that was read can be written");
    }
    assert_eq!(writer.finish().blocks().concat(), properties.blocks().concat());
}

/// What decodes is encoded in its shortest form and decodes to the same.
fn is_written_again(packet: &Packet<'_>, frame: Frame<'_>, read: &[u8], version: Version) {
    let written = encode(packet, version);
    assert_eq!(decode(&written, version), *packet);
    assert!(written.len() <= frame.len());
    // 3.1 has bits that nobody looks at; after it, only what is longer than it needs to be is written differently.
    if version != Version::V3_1 && written.len() == frame.len() {
        assert_eq!(written, read);
    }
    if let Packet::Publish(publish) = packet {
        check_parts_of(publish, &written, version);
    }
}
