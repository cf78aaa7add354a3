//! The head of a PUBLISH by itself, and a PUBLISH in pieces.

use mqtt_packet::{
    DecodeError, EncodeError, FixedHeader, PacketType, Properties, PropertyPlace, Publish, SliceSink, Version,
};
use proptest::prelude::*;

use crate::generate::{self, delivery, properties, version};
use crate::wire::{ALL, frame};

fn encoded(publish: &Publish<'_>, version: Version) -> Result<Vec<u8>, EncodeError> {
    let mut memory = vec![0xEE; publish.encoded_len(version)];
    publish.encode(version, &mut SliceSink::new(&mut memory)).map(|()| memory)
}

/// A message and what one subscriber gets of it.
fn message() -> impl Strategy<Value = (Publish<'static>, Properties<'static>)> {
    (generate::publish(Version::V5), properties(PropertyPlace::of(PacketType::Publish)))
}

proptest! {
    #[test]
    fn head_and_payload_are_the_packet((version, publish) in version().prop_flat_map(|version| {
        (Just(version), generate::publish(version))
    })) {
        let whole = encoded(&publish, version).unwrap();
        let mut memory = vec![0xEE; whole.len() - publish.payload.len()];
        let mut out = SliceSink::new(&mut memory);
        publish.encode_head(publish.payload.len() as u32, version, &mut out).unwrap();
        prop_assert_eq!([out.into_written(), publish.payload].concat(), whole);
    }

    #[test]
    fn head_without_room_is_not_written(publish in generate::publish(Version::V3_1_1), room: prop::sample::Index) {
        let len = publish.encoded_len(Version::V3_1_1) - publish.payload.len();
        let mut memory = vec![0xEE; room.index(len)];
        let mut out = SliceSink::new(&mut memory);
        let result = publish.encode_head(publish.payload.len() as u32, Version::V3_1_1, &mut out);
        prop_assert_eq!(result, Err(EncodeError::NoRoom));
        prop_assert!(memory.iter().all(|&byte| byte == 0xEE));
    }

    #[test]
    fn pieces_are_the_packet(
        (message, own) in message(),
        (delivery, retain, version) in (delivery(), any::<bool>(), version()),
    ) {
        let mut scratch = [0; 16];
        let pieces = message.pieces(delivery, retain, own, version, &mut scratch);
        let joined = match version {
            Version::V5 => own.followed_by(message.properties),
            _ => Some(Properties::EMPTY),
        };
        let Some(properties) = joined else {
            prop_assert!(matches!(pieces, Err(EncodeError::Rule(DecodeError::PropertyRepeated(_)))));
            return Ok(());
        };
        let whole = encoded(&Publish { delivery, retain, properties, ..message }, version);
        prop_assert_eq!(pieces.map(|pieces| pieces.concat()), whole);
    }

    #[test]
    fn pieces_share_what_subscribers_share(message in generate::publish(Version::V3_1_1)) {
        let mut scratch = [0; 16];
        let own = Properties::EMPTY;
        let pieces = message.pieces(message.delivery, false, own, Version::V3_1_1, &mut scratch).unwrap();
        prop_assert_eq!(pieces[1].as_ptr(), message.topic.as_bytes().as_ptr());
        prop_assert_eq!(pieces[5].as_ptr(), message.payload.as_ptr());
    }

    #[test]
    fn head_of_a_prefix_is_the_head((version, publish) in version().prop_flat_map(|version| {
        (Just(version), generate::publish(version))
    })) {
        let bytes = encoded(&publish, version).unwrap();
        let frame = frame(&bytes);
        let head_len = frame.body().len() - publish.payload.len();
        for cut in 0..=frame.body().len() {
            let head = Publish::decode_head(frame.header(), &frame.body()[..cut], version).unwrap();
            prop_assert_eq!(head.is_some(), cut >= head_len, "cut at {} of {}", cut, head_len);
            if let Some(head) = head {
                prop_assert_eq!(head.publish, Publish { payload: b"", ..publish });
                prop_assert_eq!((head.head_len, head.payload_len as usize), (head_len, publish.payload.len()));
            }
        }
        // Bytes of the packet behind do not matter.
        let longer = [frame.body(), b"more"].concat();
        let head = Publish::decode_head(frame.header(), &longer, version).unwrap().unwrap();
        prop_assert_eq!(head.payload_len as usize, publish.payload.len());
    }

    #[test]
    fn head_of_a_damaged_prefix_is_judged_like_the_packet(
        (version, publish) in version().prop_flat_map(|version| (Just(version), generate::publish(version))),
        (at, byte) in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut bytes = encoded(&publish, version).unwrap();
        let header = FixedHeader::decode(&bytes).unwrap().unwrap();
        let body = &mut bytes[usize::from(header.header_len)..];
        let at = at.index(body.len());
        body[at] = byte;
        let whole = Publish::decode(frame(&bytes), version);
        let body = &bytes[usize::from(header.header_len)..];
        for cut in 0..=body.len() {
            match Publish::decode_head(header, &body[..cut], version) {
                Ok(None) => prop_assert!(cut < body.len(), "the whole body is enough to know"),
                Ok(Some(head)) => {
                    let payload = &body[head.head_len..];
                    prop_assert_eq!(Ok(Publish { payload, ..head.publish }), whole);
                }
                Err(error) => prop_assert_eq!(Err(error), whole),
            }
        }
    }
}

#[test]
fn head_is_of_a_publish_only() {
    for version in ALL {
        let header = FixedHeader::decode(&[0x40, 2]).unwrap().unwrap();
        let error = DecodeError::UnexpectedPacket;
        assert_eq!(Publish::decode_head(header, &[0, 1], version), Err(error));
    }
}

#[test]
#[cfg(feature = "v5")]
fn own_properties_of_a_subscriber_come_first() {
    let place = PropertyPlace::of(PacketType::Publish);
    let of_message = Properties::from_block(&[0x01, 1, 0x0B, 9], place).unwrap();
    let own = Properties::from_block(&[0x0B, 5, 0x23, 0, 7], place).unwrap();
    let topic = mqtt_packet::TopicName::new("t").unwrap();
    let message = Publish { properties: of_message, ..Publish::new(topic, b"x") };
    let mut scratch = [0; 16];
    let pieces = message.pieces(message.delivery, false, own, Version::V5, &mut scratch).unwrap();
    let expected = [0x30, 14, 0, 1, b't', 9, 0x0B, 5, 0x23, 0, 7, 0x01, 1, 0x0B, 9, b'x'];
    assert_eq!(pieces.concat(), expected);
    // A property that may stand once may not come from both.
    let own = Properties::from_block(&[0x01, 0], place).unwrap();
    let repeated = message.pieces(message.delivery, false, own, Version::V5, &mut scratch);
    let error = DecodeError::PropertyRepeated(mqtt_packet::PropertyId::PayloadFormatIndicator);
    assert_eq!(repeated, Err(EncodeError::Rule(error)));
    // Where the message has two blocks already there is no place for a third.
    let of_message = own.followed_by(Properties::from_block(&[0x0B, 9], place).unwrap()).unwrap();
    let message = Publish { properties: of_message, ..message };
    let own = Properties::from_block(&[0x23, 0, 7], place).unwrap();
    let third = message.pieces(message.delivery, false, own, Version::V5, &mut scratch);
    assert_eq!(third, Err(EncodeError::NoRoom));
}
