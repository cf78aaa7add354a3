//! What several fuzz targets do.

use mqtt_packet::{Frame, Packet, Publish, SliceSink, Version};

/// The version that a byte of the input chooses.
pub fn version_of(byte: u8) -> Version {
    match byte % 4 {
        0 => Version::V3_1,
        1 => Version::V3_1_1,
        _ => Version::V5,
    }
}

/// The bytes of a packet that can be encoded, in exactly the room that it says it takes.
pub fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut memory = vec![0; packet.encoded_len(version)];
    let mut out = SliceSink::new(&mut memory);
    if let Err(error) = packet.encode(version, &mut out) {
        panic!("{packet} is not encoded: {error}");
    }
    assert_eq!(out.len(), packet.encoded_len(version), "{packet} has another length than it says");
    memory
}

/// The packet that is all of `bytes`.
pub fn decode(bytes: &[u8], version: Version) -> Packet<'_> {
    let Ok(Some((frame, []))) = Frame::split(bytes) else { panic!("{bytes:x?} is not one frame") };
    match Packet::decode(frame, version) {
        Ok(packet) => packet,
        Err(error) => panic!("{bytes:x?} is not decoded: {error}"),
    }
}

/// A message written in parts is the message written whole, and read in parts it is the message read whole.
pub fn check_parts_of(publish: &Publish<'_>, whole: &[u8], version: Version) {
    let mut memory = vec![0; whole.len()];
    let mut head = SliceSink::new(&mut memory);
    publish
        .encode_head(publish.payload.len() as u32, version, &mut head)
        .expect("what was encoded has a head");
    let head = head.into_written();
    assert_eq!([head, publish.payload].concat(), whole);

    let (frame, _) = Frame::split(whole).expect("a frame").expect("a whole frame");
    for len in [0, frame.body().len() - publish.payload.len(), frame.body().len()] {
        let read = Publish::decode_head(frame.header(), &frame.body()[..len], version).expect("a head");
        let Some(read) = read else {
            assert!(head.len() > whole.len() - frame.body().len() + len, "{publish} is not read in time");
            continue;
        };
        assert_eq!(Publish { payload: publish.payload, ..read.publish }, *publish);
        assert_eq!(read.head_len + read.payload_len as usize, frame.body().len());
        assert_eq!(read.payload_len as usize, publish.payload.len());
    }
}
