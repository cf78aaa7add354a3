//! What fuzzing found.

#![allow(clippy::unwrap_used)]

use mqtt_packet::{DecodeError, Framer, Version};

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
