//! What the features of this crate change, and that nothing else depends on them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod vectors;
mod wire;

use bytes::{Bytes, BytesMut};
use mqtt_packet::{Frame, Packet, Publish, TopicName, Version, slice_of};

#[test]
fn versions_3_are_always_there() {
    for version in wire::V3 {
        assert!(version.is_supported());
        assert!(!vectors::of(version).is_empty());
    }
    assert_eq!(Version::V5.is_supported(), cfg!(feature = "v5"));
}

#[cfg(not(feature = "v5"))]
mod without_v5 {
    use super::*;
    use mqtt_packet::{
        Ack, AckKind, Auth, ConnAck, Connect, DecodeError, Disconnect, EncodeError, Framer, PacketId,
        PingReq, PingResp, Properties, QoS, ReasonCode, SliceSink, SubAck, Subscribe, SubscribeFilter,
        SubscribeOptions, TopicFilter, UnsubAck, Unsubscribe, Utf8Str,
    };

    /// A packet of each type.
    fn packets(with: impl Fn(Packet<'_>)) {
        let (id, topic) = (PacketId::MIN, TopicName::new("t").unwrap());
        let filter = TopicFilter::new("t").unwrap();
        let filters = [SubscribeFilter { filter, options: SubscribeOptions::new(QoS::AtMostOnce) }];
        with(Packet::Connect(Connect::new(Version::V5, Utf8Str::new("c").unwrap())));
        with(Packet::ConnAck(ConnAck::default()));
        with(Packet::Publish(Publish::new(topic, b"x")));
        for kind in [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp] {
            with(Packet::Ack(Ack::new(kind, id)));
            let reason_code = ReasonCode::UNSPECIFIED_ERROR;
            with(Packet::Ack(Ack { reason_code, ..Ack::new(kind, id) }));
        }
        with(Packet::Subscribe(Subscribe::new(id, &filters)));
        with(Packet::SubAck(SubAck::new(id, &[0])));
        with(Packet::Unsubscribe(Unsubscribe::new(id, &[filter])));
        with(Packet::UnsubAck(UnsubAck::new(id, &[0])));
        with(Packet::PingReq(PingReq));
        with(Packet::PingResp(PingResp));
        with(Packet::Disconnect(Disconnect::default()));
        with(Packet::Auth(Auth::new(ReasonCode::CONTINUE_AUTHENTICATION, Properties::EMPTY)));
    }

    #[test]
    fn nothing_is_written_in_5_0() {
        packets(|packet| {
            let written = wire::encode(&packet, Version::V5);
            assert_eq!(written, Err(EncodeError::NotInVersion), "{packet}");
        });
    }

    #[test]
    fn no_part_of_a_message_is_written_in_5_0() {
        let publish = Publish::new(TopicName::new("t").unwrap(), b"x");
        let mut memory = [0; 32];
        let mut out = SliceSink::new(&mut memory);
        assert_eq!(publish.encode_head(1, Version::V5, &mut out), Err(EncodeError::NotInVersion));
        let mut scratch = [0; 16];
        let pieces = publish.pieces(publish.delivery, false, Properties::EMPTY, Version::V5, &mut scratch);
        assert_eq!(pieces, Err(EncodeError::NotInVersion));
    }

    #[test]
    fn nothing_is_read_as_5_0() {
        for vector in vectors::of(Version::V5) {
            let decoded = wire::decode(&vector.bytes, Version::V5);
            // No version that is spoken here has the type of AUTH.
            let is_auth = vector.bytes[0] == 0xF0;
            let error = if is_auth { DecodeError::ReservedPacketType } else { DecodeError::ProtocolLevel };
            assert_eq!(decoded, Err(error), "{}", vector.name);
        }
    }

    #[test]
    fn connect_of_5_0_is_refused_as_a_level_that_is_not_spoken() {
        let connect = vectors::named("connect_everything", Version::V5);
        for version in wire::ALL {
            let error = DecodeError::ProtocolLevel;
            let code = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
            wire::refused(&connect.bytes, version, error, "MQTT-3.1.2-2", code);
        }
        assert_eq!(Connect::version_of(wire::frame(&connect.bytes)), None);
    }

    #[test]
    fn no_head_is_read_as_5_0() {
        let publish = vectors::named("publish_everything", Version::V5);
        let frame = wire::frame(&publish.bytes);
        let head = Publish::decode_head(frame.header(), frame.body(), Version::V5);
        assert_eq!(head, Err(DecodeError::ProtocolLevel));
        let mut memory = [0; 16];
        let mut framer = Framer::new(&mut memory, Version::V5);
        framer.spare().copy_from_slice(&publish.bytes[..16]);
        framer.filled(16);
        assert_eq!(framer.ready(), Err(DecodeError::ProtocolLevel));
    }
}

#[test]
fn a_growing_buffer_takes_packets() {
    for vector in vectors::all().iter().filter(|vector| vector.is_usual()) {
        let mut buffer = BytesMut::from(&b"in front"[..]);
        wire::accepted(&vector.bytes, vector.version).encode(vector.version, &mut buffer).unwrap();
        assert_eq!(buffer, [b"in front", &vector.bytes[..]].concat());
    }
}

#[test]
fn a_packet_that_is_refused_leaves_the_buffer_as_it_was() {
    let mut buffer = BytesMut::from(&b"in front"[..]);
    let publish = Publish::new(TopicName::ALIASED, b"x");
    assert!(publish.encode(Version::V3_1_1, &mut buffer).is_err());
    assert_eq!(buffer, &b"in front"[..]);
}

#[test]
fn parts_are_kept_without_a_copy() {
    let input = Bytes::from(vectors::named("publish_qos_1", Version::V3_1_1).bytes);
    let (frame, _) = Frame::split(&input).unwrap().unwrap();
    let Ok(Packet::Publish(publish)) = Packet::decode(frame, Version::V3_1_1) else { panic!("a PUBLISH") };
    let payload = slice_of(&input, publish.payload).unwrap();
    let topic = slice_of(&input, publish.topic.as_bytes()).unwrap();
    let (payload_at, topic_at) = (publish.payload.as_ptr(), publish.topic.as_bytes().as_ptr());
    drop(input);
    assert_eq!((payload.as_ptr(), topic.as_ptr()), (payload_at, topic_at));
    assert_eq!((&payload[..], &topic[..]), (&b"\x00\x01\xFE\xFF"[..], &b"a/b"[..]));
}

#[test]
fn a_part_of_something_else_is_no_part() {
    let input = Bytes::from_static(b"0123456789");
    assert_eq!(slice_of(&input, &input[2..5]).unwrap(), "234");
    assert_eq!(slice_of(&input, &input[..]).unwrap(), input);
    assert_eq!(slice_of(&input.slice(2..5), &input[1..5]), None, "it starts in front");
    assert_eq!(slice_of(&input.slice(2..5), &input[2..6]), None, "it ends behind");
    assert_eq!(slice_of(&input, b"0123"), None, "the same bytes elsewhere");
}
