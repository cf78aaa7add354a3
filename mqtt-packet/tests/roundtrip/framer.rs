//! The framer: any segmentation of a stream, any buffer, either way to read, gives the same packets.

use mqtt_packet::{DecodeError, FixedHeader, Frame, Framer, Packet, PacketType, Piece, Publish, Version};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::generate::{packet, publish, version};
use crate::wire::{encoded, frame};

/// How a reader reads.
#[derive(Clone, Debug)]
struct Reading {
    buffer: usize,
    /// How many bytes there are at each read, again from the front at the end.
    sizes: Vec<usize>,
    exact: bool,
    max_packet_len: u32,
}

fn reading() -> impl Strategy<Value = Reading> {
    let buffer = prop_oneof![5..40_usize, 40..600_usize];
    let max_packet_len = prop_oneof![3 => Just(u32::MAX), 1 => 2..500_u32];
    (buffer, vec(1..60_usize, 1..20), any::<bool>(), max_packet_len)
        .prop_map(|(buffer, sizes, exact, max_packet_len)| Reading { buffer, sizes, exact, max_packet_len })
}

fn stream() -> impl Strategy<Value = (Version, Vec<Vec<u8>>)> {
    version().prop_flat_map(|version| {
        let small = packet(version);
        let message = publish(version).prop_map(Packet::Publish);
        let packets = vec(prop_oneof![small, message], 0..8);
        packets.prop_map(move |packets| {
            (version, packets.iter().map(|packet| encoded(packet, version)).collect())
        })
    })
}

/// Reads the stream as a user does; what came out, each packet in its bytes.
fn read(version: Version, packets: &[Vec<u8>], reading: &Reading) -> (Vec<Vec<u8>>, Result<(), DecodeError>) {
    let input = packets.concat();
    let mut memory = vec![0xEE; reading.buffer];
    let mut framer = Framer::new(&mut memory, version).with_max_packet_len(reading.max_packet_len);
    let mut sizes = reading.sizes.iter().cycle();
    let (mut out, mut fed) = (Vec::new(), 0);
    loop {
        loop {
            match framer.ready() {
                Ok(true) => take(framer.next().expect("it was ready"), version, &mut out),
                Ok(false) => break,
                Err(error) => return (out, Err(error)),
            }
        }
        assert!(framer.next().is_none(), "nothing is ready");
        if fed == input.len() {
            assert!(!framer.is_inside_packet());
            return (out, Ok(()));
        }
        let spare = if reading.exact { framer.spare_exact() } else { framer.spare() };
        assert!(!spare.is_empty(), "a read of nothing looks like the end of the stream");
        if reading.exact {
            assert!(spare.len() <= end_of_packet(packets, fed) - fed, "beyond the packet");
        }
        let count = spare.len().min(*sizes.next().unwrap()).min(input.len() - fed);
        spare[..count].copy_from_slice(&input[fed..fed + count]);
        framer.filled(count);
        fed += count;
    }
}

/// Where the packet with the byte at `position` ends.
fn end_of_packet(packets: &[Vec<u8>], position: usize) -> usize {
    let ends = packets.iter().scan(0, |end, packet| {
        *end += packet.len();
        Some(*end)
    });
    ends.into_iter().find(|end| *end > position).expect("a position within the stream")
}

fn take(piece: Piece<'_>, version: Version, out: &mut Vec<Vec<u8>>) {
    match piece {
        Piece::Packet(frame) => out.push(encoded(&Packet::decode(frame, version).unwrap(), version)),
        Piece::PublishStart(head) => {
            assert_eq!(head.publish.payload, b"");
            let mut memory = vec![0; head.publish.encoded_len(version) + 4];
            let mut sink = mqtt_packet::SliceSink::new(&mut memory);
            head.publish.encode_head(head.payload_len, version, &mut sink).unwrap();
            out.push(sink.written().to_vec());
        }
        Piece::Chunk { bytes, last } => {
            assert!(!bytes.is_empty());
            let packet = out.last_mut().expect("a head in front");
            packet.extend_from_slice(bytes);
            let header = FixedHeader::decode(packet).unwrap().unwrap();
            assert_eq!(last, packet.len() == header.packet_len() as usize);
        }
    }
}

/// What the framer must make of the stream, by the lengths alone.
fn expected(
    version: Version,
    packets: &[Vec<u8>],
    reading: &Reading,
) -> (Vec<Vec<u8>>, Result<(), DecodeError>) {
    for (at, packet) in packets.iter().enumerate() {
        let front = match Packet::decode(frame(packet), version) {
            Ok(Packet::Publish(publish)) => packet.len() - publish.payload.len(),
            _ => packet.len(),
        };
        if front > reading.buffer || packet.len() > reading.max_packet_len as usize {
            return (packets[..at].to_vec(), Err(DecodeError::PacketTooLarge));
        }
    }
    (packets.to_vec(), Ok(()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_segmentation_gives_the_same_packets((version, packets) in stream(), reading in reading()) {
        let (out, end) = read(version, &packets, &reading);
        prop_assert_eq!((out, end), expected(version, &packets, &reading));
    }

    #[test]
    fn too_large_is_refused_with_the_header((version, packets) in stream(), max in 2..400_u32) {
        // Byte by byte, so that it shows when the framer knows.
        let mut memory = vec![0; 100_000];
        let mut framer = Framer::new(&mut memory, version).with_max_packet_len(max);
        for packet in packets {
            let header = FixedHeader::decode(&packet).unwrap().unwrap();
            for (at, byte) in packet.iter().enumerate() {
                framer.spare()[0] = *byte;
                framer.filled(1);
                let known = at + 1 >= usize::from(header.header_len);
                let ready = framer.ready();
                if known && header.packet_len() > max {
                    prop_assert_eq!(ready, Err(DecodeError::PacketTooLarge));
                    return Ok(());
                }
                prop_assert_eq!(ready, Ok(at + 1 == packet.len()));
            }
            prop_assert!(matches!(framer.next(), Some(Piece::Packet(_))));
        }
    }

    #[test]
    fn exact_reads_stay_within_a_payload_too(
        publish in publish(Version::V3_1_1),
        (buffer, beyond) in (300..400_usize, 1..60_usize),
        (size, next) in (1..400_usize, any::<bool>()),
    ) {
        // One piece for each read, so that some of the payload waits in the buffer while more is read.
        let front = Packet::Publish(Publish { payload: b"", ..publish }).encoded_len(Version::V3_1_1) + 1;
        prop_assume!(front < buffer);
        let payload = vec![7; buffer - front + beyond];
        let message = encoded(&Packet::Publish(Publish { payload: &payload, ..publish }), Version::V3_1_1);
        let input = [message.as_slice(), if next { &[0xD0, 0] } else { &[] }].concat();
        let mut memory = vec![0; buffer];
        let mut framer = Framer::new(&mut memory, Version::V3_1_1);
        let (mut fed, mut got) = (0, 0);
        while got < payload.len() {
            if fed < message.len() {
                let spare = framer.spare_exact();
                let count = spare.len().min(size).min(input.len() - fed);
                prop_assert!(fed + count <= message.len(), "beyond the packet");
                spare[..count].copy_from_slice(&input[fed..fed + count]);
                framer.filled(count);
                fed += count;
            }
            match framer.next() {
                Some(Piece::Chunk { bytes, .. }) => got += bytes.len(),
                Some(Piece::Packet(frame)) => got += Publish::decode(frame, Version::V3_1_1).unwrap().payload.len(),
                _ => {}
            }
        }
        prop_assert_eq!((fed, got), (message.len(), payload.len()));
    }
}

#[test]
fn a_message_of_megabytes_passes_through_a_small_buffer() {
    let topic = mqtt_packet::TopicName::new("firmware/image").unwrap();
    let payload: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let message = encoded_large(&Publish::new(topic, &payload));
    let mut memory = [0; 128];
    let mut framer = Framer::new(&mut memory, Version::V3_1_1);
    let (mut fed, mut received) = (0, Vec::new());
    let mut ended = false;
    while fed < message.len() || framer.ready().unwrap() {
        match framer.next() {
            Some(Piece::PublishStart(head)) => {
                assert_eq!(head.publish.topic, topic);
                assert_eq!(head.payload_len as usize, payload.len());
            }
            Some(Piece::Chunk { bytes, last }) => {
                received.extend_from_slice(bytes);
                ended = last;
            }
            Some(Piece::Packet(_)) => panic!("it does not fit"),
            None => {
                let spare = framer.spare();
                let count = spare.len().min(message.len() - fed);
                spare[..count].copy_from_slice(&message[fed..fed + count]);
                framer.filled(count);
                fed += count;
            }
        }
    }
    assert!(ended && !framer.is_inside_packet());
    assert!(received == payload);
}

fn encoded_large(publish: &Publish<'_>) -> Vec<u8> {
    let mut memory = vec![0; publish.encoded_len(Version::V3_1_1)];
    publish.encode(Version::V3_1_1, &mut mqtt_packet::SliceSink::new(&mut memory)).unwrap();
    memory
}

#[test]
fn reset_forgets_a_packet_that_was_begun() {
    let mut memory = [0; 16];
    let mut framer = Framer::new(&mut memory, Version::V3_1_1);
    framer.spare()[..3].copy_from_slice(&[0x40, 2, 0]);
    framer.filled(3);
    assert!(!framer.ready().unwrap() && framer.is_inside_packet());
    framer.reset();
    assert!(!framer.is_inside_packet());
    assert_eq!(framer.spare().len(), 16);
    // In the middle of a payload too.
    framer.spare()[..6].copy_from_slice(&[0x30, 100, 0, 1, b't', b'x']);
    framer.filled(6);
    assert!(matches!(framer.next(), Some(Piece::PublishStart(_))));
    framer.reset();
    framer.spare()[..2].copy_from_slice(&[0xD0, 0]);
    framer.filled(2);
    assert!(
        matches!(framer.next(), Some(Piece::Packet(frame)) if frame.packet_type() == PacketType::PingResp)
    );
}

#[test]
fn strict_framer_hands_out_strict_frames() {
    let mut memory = [0; 32];
    for (strict, expected) in [(false, true), (true, false)] {
        let mut framer = Framer::new(&mut memory, Version::V3_1_1).with_strict(strict);
        framer.spare()[..5].copy_from_slice(&[0x30, 3, 0, 1, 0x1F]);
        framer.filled(5);
        let Some(Piece::Packet(frame)) = framer.next() else { panic!("a packet was ready") };
        assert_eq!(Publish::decode(frame, Version::V3_1_1).is_ok(), expected);
        framer.reset();
        framer.spare()[..5].copy_from_slice(&[0x30, 99, 0, 1, 0x1F]);
        framer.filled(5);
        assert_eq!(framer.ready().is_ok(), expected, "the head of a message that does not fit");
    }
}

#[test]
#[cfg(feature = "v5")]
fn version_may_be_learned_from_the_first_packet() {
    let mut memory = [0; 24];
    let mut framer = Framer::new(&mut memory, Version::V3_1_1);
    let connect = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 0];
    framer.spare()[..15].copy_from_slice(&connect);
    framer.filled(15);
    let Some(Piece::Packet(first)) = framer.next() else { panic!("a packet was ready") };
    let Ok(Packet::Connect(connect)) = Packet::decode(first, Version::V3_1_1) else { panic!("a CONNECT") };
    let version = connect.version;
    framer.set_version(version);
    // A head of 5.0: topic `t`, one property.
    framer.spare()[..8].copy_from_slice(&[0x30, 99, 0, 1, b't', 2, 0x01, 1]);
    framer.filled(8);
    let Some(Piece::PublishStart(head)) = framer.next() else { panic!("a head was ready") };
    assert_eq!(head.publish.properties.payload_format_indicator(), Some(true));
    assert_eq!(head.payload_len, 93);
}

#[test]
fn framer_refuses_what_is_no_packet() {
    for (bytes, error) in [
        (&[0x00, 0x00][..], DecodeError::ReservedPacketType),
        (&[0x30, 0x80, 0x80, 0x80, 0x80], DecodeError::RemainingLength),
        (&[0x82, 0x7F], DecodeError::PacketTooLarge),
    ] {
        let mut memory = [0; 8];
        let mut framer = Framer::new(&mut memory, Version::V3_1_1);
        framer.spare()[..bytes.len()].copy_from_slice(bytes);
        framer.filled(bytes.len());
        assert_eq!(framer.ready(), Err(error));
        assert!(framer.next().is_none());
        assert_eq!(framer.ready(), Err(error), "it stays refused");
    }
    assert!(Frame::split(&[]).unwrap().is_none());
}
