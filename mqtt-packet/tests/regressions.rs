//! Faults that fuzzing and reading found, one test each.

#![allow(clippy::unwrap_used)]

use mqtt_packet::{DecodeError, Frame, Framer, SliceSink, Subscribe, Version};

/// A buffer without room for a fixed header was neither ready nor refused when it was full: its reader would have read
/// nothing, over and over.
#[test]
fn a_buffer_smaller_than_a_fixed_header_refuses_when_it_is_full() {
    for len in 0..5 {
        let mut memory = [0; 4];
        let mut framer = Framer::new(&mut memory[..len], Version::V5);
        framer.spare().copy_from_slice(&[0x30, 0x80, 0x80, 0x80][..len]);
        framer.filled(len);
        assert!(framer.spare().is_empty());
        assert_eq!(framer.ready(), Err(DecodeError::PacketTooLarge), "{len} bytes");
    }
}

/// A property that runs past the end of its section was taken for one that is still to come, so a device waited for
/// the rest of a message that it could have refused.
#[test]
#[cfg(feature = "v5")]
fn a_broken_property_is_refused_as_soon_as_its_section_is_there() {
    use mqtt_packet::{FixedHeader, PropertyId, Publish};
    // A PUBLISH of 1,000 bytes: topic `t`, a section of two bytes with the first two of a Message Expiry Interval.
    let front = [0x30, 0xE8, 0x07, 0x00, 0x01, b't', 0x02, PropertyId::MessageExpiryInterval as u8, 0x00];
    let header = FixedHeader::decode(&front).unwrap().unwrap();
    let head = Publish::decode_head(header, &front[3..], Version::V5);
    assert_eq!(head, Err(DecodeError::PropertyLength));
    assert_eq!(Publish::decode_head(header, &front[3..8], Version::V5), Ok(None));

    let mut memory = [0; 32];
    let mut framer = Framer::new(&mut memory, Version::V5);
    framer.spare()[..front.len()].copy_from_slice(&front);
    framer.filled(front.len());
    assert_eq!(framer.ready(), Err(DecodeError::PropertyLength));
}

/// A SUBSCRIBE of 3.1 was passed on with option bits that 3.1 reserves and does not check.
#[test]
fn reserved_option_bits_are_not_passed_on() {
    let sloppy = [0x82, 0x06, 0x00, 0x01, 0x00, 0x01, b't', 0x79];
    let (frame, _) = Frame::split(&sloppy).unwrap().unwrap();
    let subscribe = Subscribe::decode(frame, Version::V3_1).unwrap();
    let mut memory = [0; 8];
    let mut out = SliceSink::new(&mut memory);
    subscribe.encode(Version::V3_1, &mut out).unwrap();
    assert_eq!(out.written(), [0x82, 0x06, 0x00, 0x01, 0x00, 0x01, b't', 0x01]);
}

/// Authentication Data is as secret as a password, and was shown.
#[test]
#[cfg(feature = "v5")]
fn authentication_data_is_not_shown() {
    use mqtt_packet::{Auth, PacketType, Properties, PropertyPlace, ReasonCode};
    let block = b"\x15\0\x05PLAIN\x16\0\x07hunter2\x26\0\x01k\0\x01v";
    let properties = Properties::from_block(block, PropertyPlace::of(PacketType::Auth)).unwrap();
    assert_eq!(
        Auth::new(ReasonCode::CONTINUE_AUTHENTICATION, properties).to_string(),
        "AUTH 0x18 Continue authentication \
         [AuthenticationMethod(\"PLAIN\"), AuthenticationData(***), UserProperty(\"k\", \"v\")]"
    );
}
