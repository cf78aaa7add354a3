//! Any valid packet: decoding takes back what encoding did, however the packet was put together.
//!
//! Input: version, another version, properties of the sender's own, and a packet, as `Arbitrary` makes them.

#![no_main]

use arbitrary::{Result, Unstructured};
use bytes::{Bytes, BytesMut};
use fuzz::{check_parts_of, decode, encode};
use libfuzzer_sys::fuzz_target;
use mqtt_packet::{
    EncodeError, Filters, Frame, Packet, PacketType, Properties, Property, PropertyPlace, PropertyWriter,
    Publish, SliceSink, SubscribeFilters, Version, slice_of,
};

/// No input is larger, so no property block is.
const LARGEST: usize = 4096;

fuzz_target!(|data: &[u8]| {
    // An input that ends too early is no finding.
    let _ = run(&mut Unstructured::new(data));
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let version = input.arbitrary()?;
    let other = input.arbitrary()?;
    let mut memory = [0; LARGEST];
    let own = own_properties(input, &mut memory)?;
    let packet = Packet::arbitrary_of(version, input)?;

    let bytes = encode(&packet, version);
    assert_eq!(decode(&bytes, version), packet);
    needs_all_its_room(&packet, &bytes, version);
    grows_a_buffer(&packet, &bytes, version);
    is_not_whole_before_its_end(&bytes);
    is_the_same_from_a_slice(&packet, &bytes, version);
    if let Packet::Publish(publish) = packet {
        check_parts_of(&publish, &bytes, version);
        is_the_same_in_pieces(&publish, own, version);
        is_the_same_in_pieces(&publish, own, other);
    }
    is_translated_or_refused(&packet, other);
    Ok(())
}

/// Up to four properties of a PUBLISH; those that may not stand there are left out.
fn own_properties<'m>(input: &mut Unstructured<'_>, memory: &'m mut [u8]) -> Result<Properties<'m>> {
    let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::Publish), memory);
    for _ in 0..input.int_in_range(0..=4)? {
        let property: Property<'_> = input.arbitrary()?;
        let _ = writer.push(property);
    }
    Ok(writer.finish())
}

fn needs_all_its_room(packet: &Packet<'_>, bytes: &[u8], version: Version) {
    let mut memory = vec![0; bytes.len() - 1];
    let mut out = SliceSink::new(&mut memory);
    assert_eq!(packet.encode(version, &mut out), Err(EncodeError::NoRoom));
    assert!(out.is_empty());
}

/// A growing buffer gets the same bytes, and what borrows from them can be kept without a copy.
fn grows_a_buffer(packet: &Packet<'_>, bytes: &[u8], version: Version) {
    let mut buffer = BytesMut::new();
    packet.encode(version, &mut buffer).expect("it was encoded before");
    assert_eq!(buffer, bytes);
    let buffer: Bytes = buffer.freeze();
    if let Packet::Publish(publish) = decode(&buffer, version) {
        assert_eq!(slice_of(&buffer, publish.payload).expect("it borrows from there"), publish.payload);
    }
}

fn is_not_whole_before_its_end(bytes: &[u8]) {
    for len in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(Frame::split(&bytes[..len]), Ok(None)));
    }
}

/// Lists of the caller's say the same as lists off the wire.
fn is_the_same_from_a_slice(packet: &Packet<'_>, bytes: &[u8], version: Version) {
    match *packet {
        Packet::Subscribe(mut subscribe) => {
            let filters: Vec<_> = subscribe.filters.iter().collect();
            subscribe.filters = SubscribeFilters::new(&filters);
            assert_eq!(Packet::Subscribe(subscribe), *packet);
            assert_eq!(encode(&Packet::Subscribe(subscribe), version), bytes);
        }
        Packet::Unsubscribe(mut unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().collect();
            unsubscribe.filters = Filters::new(&filters);
            assert_eq!(Packet::Unsubscribe(unsubscribe), *packet);
            assert_eq!(encode(&Packet::Unsubscribe(unsubscribe), version), bytes);
        }
        _ => (),
    }
}

/// What fan-out sends is what encoding the whole message with the subscriber's own properties gives.
fn is_the_same_in_pieces(publish: &Publish<'_>, own: Properties<'_>, version: Version) {
    let mut scratch = [0; 16];
    let (delivery, retain) = (publish.delivery, publish.retain);
    let pieces = publish.pieces(delivery, retain, own, version, &mut scratch);
    let joined =
        if version == Version::V5 { own.followed_by(publish.properties) } else { Some(Properties::EMPTY) };
    let Some(properties) = joined else {
        assert!(pieces.is_err());
        return;
    };
    let whole = Publish { properties, ..*publish };
    let mut memory = vec![0; whole.encoded_len(version)];
    let mut out = SliceSink::new(&mut memory);
    match whole.encode(version, &mut out) {
        Ok(()) => assert_eq!(pieces.expect("as the whole").concat(), out.written()),
        Err(error) => assert_eq!(pieces, Err(error)),
    }
}

/// A packet of one version said in another is a packet of that version, or refused.
fn is_translated_or_refused(packet: &Packet<'_>, other: Version) {
    let mut buffer = BytesMut::new();
    match packet.encode(other, &mut buffer) {
        Ok(()) => {
            assert_eq!(buffer.len(), packet.encoded_len(other));
            let said = decode(&buffer, other);
            assert_eq!(said.packet_type(), packet.packet_type());
            assert_eq!(encode(&said, other), buffer);
        }
        Err(_) => assert!(buffer.is_empty()),
    }
}
