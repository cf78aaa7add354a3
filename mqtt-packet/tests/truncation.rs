//! Damaged packets: cut anywhere, or with any byte replaced, left out or put in. What comes out is a typed error or a
//! valid packet, in every version, strict or not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod vectors;
mod wire;

use mqtt_packet::{DecodeError, FixedHeader, Frame, Packet, Version};

/// How many inputs of a test were valid packets, and how many were refused.
#[derive(Default)]
struct Count {
    valid: usize,
    refused: usize,
}

impl Count {
    /// Decodes the packet at the front of `bytes`, if there is one: in every version, and strictly in its own.
    fn sound(&mut self, bytes: &[u8], own: Version) {
        let frame = match Frame::split(bytes) {
            Ok(Some((frame, _))) => frame,
            Ok(None) => return,
            Err(error) => return self.refused(error, Version::V3_1_1),
        };
        for version in wire::ALL.into_iter().filter(|version| version.is_supported()) {
            let lenient = Packet::decode(frame, version);
            self.judge(frame, version, lenient);
            if version == own {
                match Packet::decode(frame.strict(), version) {
                    Ok(packet) => assert_eq!(Ok(packet), lenient),
                    Err(error) => self.refused(error, version),
                }
            }
        }
    }

    fn judge(&mut self, frame: Frame<'_>, version: Version, decoded: Result<Packet<'_>, DecodeError>) {
        match decoded {
            Ok(packet) => {
                self.valid += 1;
                let bytes = wire::encoded(&packet, version);
                assert!(bytes.len() <= frame.len(), "{packet} got longer");
                assert_eq!(wire::accepted(&bytes, version), packet, "{version:?}: {bytes:02x?}");
            }
            Err(error) => self.refused(error, version),
        }
    }

    fn refused(&mut self, error: DecodeError, version: Version) {
        self.refused += 1;
        assert!(!error.rule(version).is_empty());
        assert!(error.reason_code().is_error());
    }

    /// Both ends must have happened, or the test shows nothing.
    fn finish(self, at_least: usize) {
        assert!(self.valid > at_least && self.refused > at_least, "{} {}", self.valid, self.refused);
    }
}

#[test]
fn prefix_of_a_packet_is_no_packet() {
    for vector in vectors::all() {
        for cut in 0..vector.bytes.len() {
            let prefix = &vector.bytes[..cut];
            assert!(matches!(Frame::split(prefix), Ok(None)), "{} to {cut}", vector.name);
            if let Some(header) = FixedHeader::decode(prefix).unwrap() {
                assert_eq!(header.packet_len() as usize, vector.bytes.len());
            }
        }
        let twice = vector.bytes.repeat(2);
        let (frame, rest) = Frame::split(&twice).unwrap().unwrap();
        assert_eq!((frame.len(), rest), (vector.bytes.len(), &vector.bytes[..]));
    }
}

#[test]
fn body_may_be_cut_anywhere() {
    let mut count = Count::default();
    for vector in vectors::all() {
        let body = wire::frame(&vector.bytes).body();
        for cut in 0..body.len() {
            count.sound(&wire::packet(vector.bytes[0], &[&body[..cut]]), vector.version);
        }
    }
    count.finish(100);
}

/// Every byte of every packet of a version, replaced by every other.
fn any_byte_may_be_any_other(version: Version) {
    let mut count = Count::default();
    for vector in vectors::of(version) {
        let mut bytes = vector.bytes.clone();
        for position in 0..bytes.len() {
            let byte = bytes[position];
            for other in 0..=255 {
                bytes[position] = other;
                count.sound(&bytes, version);
            }
            bytes[position] = byte;
        }
    }
    count.finish(20_000);
}

#[test]
fn any_byte_of_3_1_may_be_any_other() {
    any_byte_may_be_any_other(Version::V3_1);
}

#[test]
fn any_byte_of_3_1_1_may_be_any_other() {
    any_byte_may_be_any_other(Version::V3_1_1);
}

#[test]
#[cfg(feature = "v5")]
fn any_byte_of_5_0_may_be_any_other() {
    any_byte_may_be_any_other(Version::V5);
}

#[test]
fn any_byte_may_be_missing() {
    let mut count = Count::default();
    for vector in vectors::all() {
        let body = wire::frame(&vector.bytes).body();
        for position in 0..body.len() {
            count.sound(
                &wire::packet(vector.bytes[0], &[&body[..position], &body[position + 1..]]),
                vector.version,
            );
        }
    }
    count.finish(100);
}

#[test]
fn a_byte_may_be_put_in_anywhere() {
    let mut count = Count::default();
    for vector in vectors::all() {
        let body = wire::frame(&vector.bytes).body();
        for position in 0..=body.len() {
            for byte in [0x00, 0x01, b'#', b'+', 0x7F, 0x80, 0xFF] {
                count.sound(
                    &wire::packet(vector.bytes[0], &[&body[..position], &[byte], &body[position..]]),
                    vector.version,
                );
            }
        }
    }
    count.finish(1_000);
}

#[test]
fn short_packets_of_every_first_byte() {
    let mut count = Count::default();
    for first in 0..=255 {
        for length in 0..=4 {
            for byte in 0..=255 {
                let body = &[byte; 4][..length];
                count.sound(&wire::packet(first, &[body]), Version::V3_1_1);
            }
        }
    }
    count.finish(20_000);
}
