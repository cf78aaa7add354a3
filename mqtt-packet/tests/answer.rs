//! The decoder for all answers says what the decoder of each packet says.

use mqtt_packet::{
    Ack, Answer, DecodeError, Frame, PacketType, Properties, ReasonCode, SubAck, UnsubAck, Version,
};

type Parts<'a> = (PacketType, u16, ReasonCode, Properties<'a>, Vec<ReasonCode>);

fn by_packet(frame: Frame<'_>, version: Version) -> Result<Parts<'_>, DecodeError> {
    let packet_type = frame.packet_type();
    Ok(match packet_type {
        PacketType::SubAck => {
            let SubAck { id, properties, reason_codes } = SubAck::decode(frame, version)?;
            (packet_type, id.get(), ReasonCode::SUCCESS, properties, reason_codes.iter().collect())
        }
        PacketType::UnsubAck => {
            let UnsubAck { id, properties, reason_codes } = UnsubAck::decode(frame, version)?;
            (packet_type, id.get(), ReasonCode::SUCCESS, properties, reason_codes.iter().collect())
        }
        _ => {
            let Ack { id, reason_code, properties, .. } = Ack::decode(frame, version)?;
            (packet_type, id.get(), reason_code, properties, Vec::new())
        }
    })
}

fn at_once(frame: Frame<'_>, version: Version) -> Result<Parts<'_>, DecodeError> {
    let Answer { packet_type, id, reason_code, properties, reason_codes } = Answer::decode(frame, version)?;
    Ok((packet_type, id.get(), reason_code, properties, reason_codes.iter().collect()))
}

#[test]
fn one_decoder_for_all_answers_agrees_with_each() {
    let bodies: [&[u8]; 14] = [
        &[],
        &[0],
        &[0, 0],
        &[0, 7],
        &[0, 7, 0],
        &[0, 7, 0, 0],
        &[0, 7, 0x80],
        &[0, 7, 0x92],
        &[0, 7, 0x87, 0],
        &[0, 7, 3],
        &[0, 7, 0, 0, 0],
        &[0, 7, 0, 4, 0x1F, 0, 1, b'x'],
        &[0, 7, 4, 0x1F, 0, 1, b'x', 1],
        &[0, 7, 2, 0x21, 0, 0],
    ];
    let (mut accepted, mut refused) = (0, 0);
    for first in 0x10..=0xFF {
        for body in bodies {
            let packet = [&[first, body.len() as u8], body].concat();
            let Ok(Some((frame, _))) = Frame::split(&packet) else { panic!("a whole packet") };
            for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
                let result = at_once(frame, version);
                assert_eq!(result, by_packet(frame, version), "{packet:02X?} in {version:?}");
                *if result.is_ok() { &mut accepted } else { &mut refused } += 1;
            }
        }
    }
    assert!(accepted > 100 && refused > 1000, "{accepted} {refused}");
}
