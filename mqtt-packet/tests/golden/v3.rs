//! What the packets of 3.1 and 3.1.1 say.

use mqtt_packet::{
    Ack, AckKind, ConnAck, Connect, Delivery, Disconnect, Packet, PingReq, PingResp, Properties, Publish,
    QoS, ReasonCode, SubAck, Subscribe, UnsubAck, Unsubscribe, Version, Will,
};

use crate::{Golden, filter, id, publish, qos_1, qos_2, text, to, topic};

const fn will(name: &'static str, payload: &'static [u8], qos: QoS, retain: bool) -> Option<Will<'static>> {
    Some(Will { topic: topic(name), payload, qos, retain, properties: Properties::EMPTY })
}

const fn connack(session_present: bool, reason_code: ReasonCode) -> Packet<'static> {
    Packet::ConnAck(ConnAck::new(session_present, reason_code))
}

const fn ack(kind: AckKind, number: u16) -> Packet<'static> {
    Packet::Ack(Ack::new(kind, id(number)))
}

const BRIDGE: Connect<'static> =
    Connect { bridge: true, clean_start: false, ..Connect::new(Version::V3_1_1, text("bridge")) };

pub(crate) const V3_1: &[Golden] = &[
    Golden::new("connect_smallest", Packet::Connect(Connect::new(Version::V3_1, text("c")))),
    Golden::new(
        "connect_everything",
        Packet::Connect(Connect {
            keep_alive: 1,
            will: will("will", b"message", QoS::ExactlyOnce, true),
            user_name: Some(text("user")),
            password: Some(b"pwd"),
            ..Connect::new(Version::V3_1, text("clientX"))
        }),
    ),
    Golden::new("connect_bridge", Packet::Connect(Connect { version: Version::V3_1, ..BRIDGE })),
    Golden::new("connack_accepted", connack(false, ReasonCode::SUCCESS)),
    Golden::new("connack_not_authorized", connack(false, ReasonCode::NOT_AUTHORIZED)),
    Golden::new("publish_qos_0", Packet::Publish(Publish::new(topic("a/b"), b"hello"))),
    Golden::new("publish_qos_1_again", Packet::Publish(publish(topic("a/b"), qos_1(10, true), b""))),
    Golden::new("puback", ack(AckKind::PubAck, 10)),
    Golden::new("pubrec", ack(AckKind::PubRec, 11)),
    Golden::new("pubrel", ack(AckKind::PubRel, 11)),
    Golden::new("pubcomp", ack(AckKind::PubComp, 11)),
    Golden::new(
        "subscribe_two",
        Packet::Subscribe(Subscribe::new(id(12), &[to("a/b", QoS::AtLeastOnce), to("+/", QoS::ExactlyOnce)])),
    ),
    Golden::new("suback_granted", Packet::SubAck(SubAck::new(id(12), &[0, 1, 2]))),
    Golden::new("unsubscribe_one", Packet::Unsubscribe(Unsubscribe::new(id(13), &[filter("a/b")]))),
    Golden::new("unsuback", Packet::UnsubAck(UnsubAck::new(id(13), &[]))),
    Golden::new("pingreq", Packet::PingReq(PingReq)),
    Golden::new("pingresp", Packet::PingResp(PingResp)),
    Golden::new("disconnect", Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS))),
];

const LONG: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                      0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) const V3_1_1: &[Golden] = &[
    Golden::new(
        "connect_smallest",
        Packet::Connect(Connect { keep_alive: 0, ..Connect::new(Version::V3_1_1, text("")) }),
    ),
    Golden::new(
        "connect_everything",
        Packet::Connect(Connect {
            keep_alive: 65_535,
            will: will("will/topic", b"last words", QoS::AtLeastOnce, true),
            user_name: Some(text("user")),
            password: Some(b"pa\x00\xFFss\x00"),
            ..Connect::new(Version::V3_1_1, text("client-1"))
        }),
    ),
    Golden::new(
        "connect_will_qos_2",
        Packet::Connect(Connect {
            clean_start: false,
            keep_alive: 10,
            will: will("last", b"\x00\xFF\x80#+", QoS::ExactlyOnce, false),
            ..Connect::new(Version::V3_1_1, text("c"))
        }),
    ),
    Golden::new(
        "connect_user_name",
        Packet::Connect(Connect {
            user_name: Some(text("\u{65E5}x")),
            ..Connect::new(Version::V3_1_1, text("id"))
        }),
    ),
    Golden::new("connect_bridge", Packet::Connect(BRIDGE)),
    Golden::new("connack_accepted", connack(false, ReasonCode::SUCCESS)),
    Golden::new("connack_session_present", connack(true, ReasonCode::SUCCESS)),
    Golden::new("connack_protocol_version", connack(false, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION)),
    Golden::new("connack_identifier", connack(false, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID)),
    Golden::new("connack_unavailable", connack(false, ReasonCode::SERVER_UNAVAILABLE)),
    Golden::new("connack_credentials", connack(false, ReasonCode::BAD_USER_NAME_OR_PASSWORD)),
    Golden::new("connack_not_authorized", connack(false, ReasonCode::NOT_AUTHORIZED)),
    Golden::new("publish_qos_0", Packet::Publish(Publish::new(topic("a/b"), b"hello"))),
    Golden::new(
        "publish_empty_retained",
        Packet::Publish(Publish { retain: true, ..Publish::new(topic("/"), b"") }),
    ),
    Golden::new(
        "publish_qos_1",
        Packet::Publish(publish(topic("a/b"), qos_1(10, false), b"\x00\x01\xFE\xFF")),
    ),
    Golden::new(
        "publish_qos_1_again",
        Packet::Publish(Publish { retain: true, ..publish(topic("a/b"), qos_1(65_535, true), b"x") }),
    ),
    Golden::new("publish_qos_2", Packet::Publish(publish(topic("$a"), qos_2(1, false), b""))),
    Golden::new("publish_qos_2_again", Packet::Publish(publish(topic("$a"), qos_2(1, true), b""))),
    Golden::new("publish_long", Packet::Publish(publish(topic("t"), Delivery::AtMostOnce, LONG))),
    Golden::new("puback", ack(AckKind::PubAck, 10)),
    Golden::new("pubrec", ack(AckKind::PubRec, 65_535)),
    Golden::new("pubrel", ack(AckKind::PubRel, 1)),
    Golden::new("pubcomp", ack(AckKind::PubComp, 256)),
    Golden::new("subscribe_one", Packet::Subscribe(Subscribe::new(id(1), &[to("a/b", QoS::AtMostOnce)]))),
    Golden::new(
        "subscribe_three",
        Packet::Subscribe(Subscribe::new(
            id(0x1234),
            &[to("#", QoS::ExactlyOnce), to("+/b/+/#", QoS::AtLeastOnce), to("/\u{20AC}", QoS::AtMostOnce)],
        )),
    ),
    Golden::new("suback_granted", Packet::SubAck(SubAck::new(id(1), &[0]))),
    Golden::new("suback_mixed", Packet::SubAck(SubAck::new(id(0x1234), &[2, 1, 0x80, 0]))),
    Golden::new("unsubscribe_one", Packet::Unsubscribe(Unsubscribe::new(id(2), &[filter("a/b")]))),
    Golden::new(
        "unsubscribe_two",
        Packet::Unsubscribe(Unsubscribe::new(id(3), &[filter("#"), filter("$SYS")])),
    ),
    Golden::new("unsuback", Packet::UnsubAck(UnsubAck::new(id(2), &[]))),
    Golden::new("pingreq", Packet::PingReq(PingReq)),
    Golden::new("pingresp", Packet::PingResp(PingResp)),
    Golden::new("disconnect", Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS))),
];
