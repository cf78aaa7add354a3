//! How many requests are unanswered, by what passes on a connection.
//!
//! A socket is told nothing but bytes. What it needs to know of them is in the fixed headers (3.1.1 and 5.0 section
//! 2.1): which packets they are, and where the next one begins. Of a PUBREC that refuses, the request counts on; a guess
//! that is too high by a few is as good.

use mqtt_packet::PacketType;

/// The packets of one direction, however they were cut.
#[derive(Debug)]
enum Passing {
    /// So many bytes of a packet's body are yet to pass.
    Body(u32),
    /// After its first byte and what is known of its Remaining Length, of so many bits.
    Length { first: u8, value: u32, bits: u32 },
}

impl Passing {
    const NOTHING: Self = Self::Body(0);

    /// Calls `each` with the first byte of every packet.
    fn pass(&mut self, mut bytes: &[u8], mut each: impl FnMut(u8)) {
        loop {
            match *self {
                Self::Body(left) => {
                    let here = bytes.len().min(left as usize);
                    bytes = bytes.get(here..).unwrap_or_default();
                    // No more than `left`.
                    *self = Self::Body(left.saturating_sub(here as u32));
                    let Some((&first, rest)) = bytes.split_first() else {
                        return;
                    };
                    bytes = rest;
                    *self = Self::Length { first, value: 0, bits: 0 };
                }
                Self::Length { first, value, bits } => {
                    let Some((&byte, rest)) = bytes.split_first() else {
                        return;
                    };
                    bytes = rest;
                    let value = value | u32::from(byte & 0x7F) << bits;
                    *self = if byte & 0x80 == 0 || bits == 21 {
                        each(first);
                        Self::Body(value)
                    } else {
                        Self::Length { first, value, bits: bits.saturating_add(7) }
                    };
                }
            }
        }
    }
}

/// The requests of this side that await an answer.
#[derive(Debug)]
pub(super) struct Awaited {
    written: Passing,
    read: Passing,
    count: usize,
}

impl Awaited {
    pub(super) const NONE: Self = Self { written: Passing::NOTHING, read: Passing::NOTHING, count: 0 };

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Takes note of what was written. Whether there was anything in it but acknowledgements.
    pub(super) fn written(&mut self, bytes: &[u8]) -> bool {
        let mut has_asked = false;
        let count = &mut self.count;
        self.written.pass(bytes, |first| {
            let packet_type = PacketType::from_number(first >> 4);
            has_asked |= !matches!(
                packet_type,
                Some(PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp)
            );
            let is_awaited = match packet_type {
                // Not that of QoS 0.
                Some(PacketType::Publish) => first & 0b0110 != 0,
                Some(PacketType::Subscribe | PacketType::Unsubscribe) => true,
                _ => false,
            };
            *count = count.saturating_add(usize::from(is_awaited));
        });
        has_asked
    }

    /// Takes note of what was read.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let count = &mut self.count;
        self.read.pass(bytes, |first| {
            let is_answer = matches!(
                PacketType::from_number(first >> 4),
                Some(PacketType::PubAck | PacketType::PubComp | PacketType::SubAck | PacketType::UnsubAck)
            );
            *count = count.saturating_sub(usize::from(is_answer));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_until_they_are_answered_however_the_stream_is_cut() {
        // PUBLISH of QoS 0, 1 and 2, the second one with a body of 200 bytes; PUBACK; SUBSCRIBE.
        let mut written = vec![0x30, 4, 0, 1, b't', 0x40];
        written.extend([0x32, 0xC8, 0x01]);
        written.extend([0x44; 200]);
        written.extend([0x34, 5, 0, 1, b't', 0, 2, 0x40, 2, 0, 1, 0x82, 6, 0, 3, 0, 1, b't', 0]);
        // PUBLISH, PUBACK, PUBREC, PUBCOMP, SUBACK.
        let read = [0x30, 4, 0, 1, b't', 0x40, 0x40, 2, 0, 1, 0x50, 2, 0, 2, 0x70, 2, 0, 2, 0x90, 3, 0, 3, 0];
        for len in 1..=written.len() {
            let mut awaited = Awaited::NONE;
            for piece in written.chunks(len) {
                awaited.written(piece);
            }
            assert_eq!(awaited.count(), 3);
            for piece in read.chunks(len) {
                awaited.read(piece);
            }
            assert_eq!(awaited.count(), 0);
        }
    }

    #[test]
    fn acknowledgements_ask_for_nothing() {
        let mut awaited = Awaited::NONE;
        assert!(!awaited.written(&[0x40, 2, 0, 1, 0x50, 2, 0, 2, 0x62, 2, 0, 3, 0x70, 2]));
        // The rest of one.
        assert!(!awaited.written(&[0, 4]));
        assert!(awaited.written(&[0x40, 2, 0, 1, 0x30, 3, 0, 1, b't']));
        assert!(awaited.written(&[0xC0, 0]));
        assert_eq!(awaited.count(), 0);
    }
}
