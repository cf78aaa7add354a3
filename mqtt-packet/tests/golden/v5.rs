//! What the packets of 5.0 say.

use mqtt_packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PingReq, PingResp, Properties,
    Property, Publish, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, SubscribeOptions,
    TopicName, UnsubAck, Unsubscribe, Version, Will,
};

use crate::{Golden, filter, id, publish, qos_1, qos_2, text, to, topic};

const fn connack(session_present: bool, reason_code: ReasonCode) -> Packet<'static> {
    Packet::ConnAck(ConnAck::new(session_present, reason_code))
}

const fn ack(kind: AckKind, number: u16, reason_code: ReasonCode) -> Packet<'static> {
    Packet::Ack(Ack { reason_code, ..Ack::new(kind, id(number)) })
}

const fn disconnect(reason_code: ReasonCode) -> Packet<'static> {
    Packet::Disconnect(Disconnect::new(reason_code))
}

const fn auth(reason_code: ReasonCode) -> Packet<'static> {
    Packet::Auth(Auth::new(reason_code, Properties::EMPTY))
}

const fn reason(words: &'static str) -> Property<'static> {
    Property::ReasonString(text(words))
}

const fn user(name: &'static str, value: &'static str) -> Property<'static> {
    Property::UserProperty(text(name), text(value))
}

const CONNECT_EVERYTHING: Golden = Golden {
    name: "connect_everything",
    packet: Packet::Connect(Connect {
        will: Some(Will {
            topic: topic("will"),
            payload: b"message!",
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Properties::EMPTY,
        }),
        user_name: Some(text("user")),
        password: Some(b"pass"),
        ..Connect::new(Version::V5, text("cli"))
    }),
    properties: &[
        Property::SessionExpiryInterval(3600),
        Property::ReceiveMaximum(10),
        Property::MaximumPacketSize(65_536),
        Property::TopicAliasMaximum(65_535),
        Property::RequestResponseInformation(true),
        Property::RequestProblemInformation(false),
        user("na", "val"),
        Property::AuthenticationMethod(text("me")),
        Property::AuthenticationData(b"\x00\xFFda"),
    ],
    will_properties: &[
        Property::WillDelayInterval(5),
        Property::PayloadFormatIndicator(true),
        Property::MessageExpiryInterval(60),
        Property::ContentType(text("text")),
        Property::ResponseTopic(topic("reply")),
        Property::CorrelationData(b"\x00\x01"),
        user("wn", "wv"),
    ],
};

const CONNACK_EVERYTHING: Golden = Golden::new("connack_everything", connack(false, ReasonCode::SUCCESS))
    .with(&[
        Property::SessionExpiryInterval(120),
        Property::ReceiveMaximum(20),
        Property::MaximumQos(true),
        Property::RetainAvailable(false),
        Property::MaximumPacketSize(4096),
        Property::AssignedClientIdentifier(text("given")),
        Property::TopicAliasMaximum(16),
        reason("ok"),
        user("n", ""),
        Property::WildcardSubscriptionAvailable(false),
        Property::SubscriptionIdentifiersAvailable(true),
        Property::SharedSubscriptionAvailable(false),
        Property::ServerKeepAlive(30),
        Property::ResponseInformation(text("info")),
        Property::ServerReference(text("other")),
        Property::AuthenticationMethod(text("me")),
        Property::AuthenticationData(b"ok"),
    ]);

const PUBLISH_EVERYTHING: Golden = Golden::new(
    "publish_everything",
    Packet::Publish(Publish { retain: true, ..publish(topic("a/b"), qos_1(10, true), b"hi") }),
)
.with(&[
    Property::PayloadFormatIndicator(true),
    Property::MessageExpiryInterval(u32::MAX),
    Property::TopicAlias(5),
    Property::ResponseTopic(topic("r/e")),
    Property::CorrelationData(b"\xFE\xFF"),
    user("k", "v"),
    user("k", "w"),
    Property::SubscriptionIdentifier(1),
    Property::SubscriptionIdentifier(128),
    Property::SubscriptionIdentifier(268_435_455),
    Property::ContentType(text("text/plain")),
]);

const LONG: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                      0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd";

const SUBSCRIBE_OPTIONS: Golden = Golden::new(
    "subscribe_options",
    Packet::Subscribe(Subscribe::new(
        id(65_535),
        &[
            SubscribeFilter {
                filter: filter("#"),
                options: SubscribeOptions {
                    qos: QoS::ExactlyOnce,
                    no_local: true,
                    retain_as_published: true,
                    retain_handling: RetainHandling::DoNotSend,
                },
            },
            SubscribeFilter {
                filter: filter("$share/g/a/+"),
                options: SubscribeOptions {
                    retain_handling: RetainHandling::SendIfNew,
                    ..SubscribeOptions::new(QoS::AtLeastOnce)
                },
            },
            SubscribeFilter {
                filter: filter("$/x"),
                options: SubscribeOptions { no_local: true, ..SubscribeOptions::new(QoS::AtMostOnce) },
            },
        ],
    )),
)
.with(&[Property::SubscriptionIdentifier(268_435_455), user("n", "")]);

pub(crate) const V5: &[Golden] = &[
    Golden::new(
        "connect_smallest",
        Packet::Connect(Connect { keep_alive: 0, ..Connect::new(Version::V5, text("")) }),
    ),
    CONNECT_EVERYTHING,
    Golden::new(
        "connect_password_only",
        Packet::Connect(Connect {
            clean_start: false,
            keep_alive: 10,
            password: Some(b"tok"),
            ..Connect::new(Version::V5, text(""))
        }),
    ),
    Golden::new("connack_success", connack(false, ReasonCode::SUCCESS)),
    Golden::new("connack_session_present", connack(true, ReasonCode::SUCCESS)),
    CONNACK_EVERYTHING,
    Golden::new("connack_moved", connack(false, ReasonCode::SERVER_MOVED))
        .with(&[Property::ServerReference(text("other"))]),
    Golden::new("publish_qos_0", Packet::Publish(Publish::new(topic("a/b"), b"hello"))),
    Golden::new(
        "publish_empty_retained",
        Packet::Publish(Publish { retain: true, ..Publish::new(topic("/"), b"") }),
    ),
    PUBLISH_EVERYTHING,
    Golden::new("publish_alias_only", Packet::Publish(publish(TopicName::ALIASED, qos_1(11, false), b"x")))
        .with(&[Property::TopicAlias(65_535)]),
    Golden::new("publish_qos_2", Packet::Publish(publish(topic("t"), qos_2(256, false), b"y"))),
    Golden::new("publish_long_properties", Packet::Publish(publish(topic("t"), Delivery::AtMostOnce, b"!")))
        .with(&[Property::CorrelationData(LONG)]),
    Golden::new("puback", ack(AckKind::PubAck, 10, ReasonCode::SUCCESS)),
    Golden::new("puback_no_subscribers", ack(AckKind::PubAck, 10, ReasonCode::NO_MATCHING_SUBSCRIBERS)),
    Golden::new("puback_why", ack(AckKind::PubAck, 10, ReasonCode::NOT_AUTHORIZED)).with(&[reason("no")]),
    Golden::new("puback_success_with_property", ack(AckKind::PubAck, 10, ReasonCode::SUCCESS))
        .with(&[user("n", "")]),
    Golden::new("pubrec", ack(AckKind::PubRec, 11, ReasonCode::SUCCESS)),
    Golden::new("pubrec_quota", ack(AckKind::PubRec, 11, ReasonCode::QUOTA_EXCEEDED)),
    Golden::new("pubrec_why", ack(AckKind::PubRec, 11, ReasonCode::UNSPECIFIED_ERROR))
        .with(&[user("n", "v")]),
    Golden::new("pubrel", ack(AckKind::PubRel, 11, ReasonCode::SUCCESS)),
    Golden::new("pubrel_unknown", ack(AckKind::PubRel, 11, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)),
    Golden::new("pubrel_why", ack(AckKind::PubRel, 11, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND))
        .with(&[reason("?")]),
    Golden::new("pubcomp", ack(AckKind::PubComp, 11, ReasonCode::SUCCESS)),
    Golden::new("pubcomp_unknown", ack(AckKind::PubComp, 11, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)),
    Golden::new("pubcomp_why", ack(AckKind::PubComp, 11, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND))
        .with(&[reason("?")]),
    Golden::new("subscribe_one", Packet::Subscribe(Subscribe::new(id(1), &[to("a/b", QoS::AtMostOnce)]))),
    SUBSCRIBE_OPTIONS,
    Golden::new(
        "suback_mixed",
        Packet::SubAck(SubAck::new(id(1), &[0, 1, 2, 0x80, 0x87, 0x8F, 0x9E, 0xA1, 0xA2])),
    ),
    Golden::new("suback_why", Packet::SubAck(SubAck::new(id(65_535), &[0x97]))).with(&[reason("no")]),
    Golden::new("unsubscribe_one", Packet::Unsubscribe(Unsubscribe::new(id(2), &[filter("a/b")]))),
    Golden::new(
        "unsubscribe_two",
        Packet::Unsubscribe(Unsubscribe::new(id(2), &[filter("+"), filter("$share/g/a/")])),
    )
    .with(&[user("n", "v")]),
    Golden::new(
        "unsuback_mixed",
        Packet::UnsubAck(UnsubAck::new(id(2), &[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91])),
    ),
    Golden::new("unsuback_why", Packet::UnsubAck(UnsubAck::new(id(2), &[0]))).with(&[reason("ok")]),
    Golden::new("pingreq", Packet::PingReq(PingReq)),
    Golden::new("pingresp", Packet::PingResp(PingResp)),
    Golden::new("disconnect", disconnect(ReasonCode::SUCCESS)),
    Golden::new("disconnect_with_will", disconnect(ReasonCode::DISCONNECT_WITH_WILL_MESSAGE)),
    Golden::new("disconnect_expiry", disconnect(ReasonCode::SUCCESS))
        .with(&[Property::SessionExpiryInterval(10)]),
    Golden::new("disconnect_moved", disconnect(ReasonCode::USE_ANOTHER_SERVER))
        .with(&[Property::ServerReference(text("other")), reason("busy")]),
    Golden::new("auth_continue", auth(ReasonCode::CONTINUE_AUTHENTICATION))
        .with(&[Property::AuthenticationMethod(text("AUTH"))]),
    Golden::new("auth_everything", auth(ReasonCode::RE_AUTHENTICATE)).with(&[
        Property::AuthenticationMethod(text("SCRAM")),
        Property::AuthenticationData(&[0, 1, 2, 3]),
        reason("r"),
        user("n", "v"),
    ]),
    Golden::new("auth_done", auth(ReasonCode::SUCCESS)).with(&[Property::AuthenticationMethod(text("m"))]),
];
