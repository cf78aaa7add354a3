//! What the feature `serde` writes and reads. Without 5.0 there is no property to be written.

#![cfg(feature = "v5")]
#![allow(clippy::unwrap_used)]

use mqtt_packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PacketId, PacketType, PingReq,
    Properties, PropertyPlace, PropertyWriter, Publish, QoS, ReasonCode, RetainHandling, SubAck, Subscribe,
    SubscribeFilter, SubscribeOptions, TopicFilter, TopicName, UnsubAck, Unsubscribe, Utf8Str, Version, Will,
};
use mqtt_packet::{Property, Property::*};
use serde_json::{Value, from_str, to_string};

/// Compares as values: what stands where in a line means nothing.
fn is_written(packet: Packet<'_>, expected: &str) {
    let written: Value = from_str(&to_string(&packet).unwrap()).unwrap();
    let expected: Value = from_str(expected).unwrap();
    assert_eq!(written, expected);
}

fn block<'b>(place: PropertyPlace, properties: &[Property<'_>], memory: &'b mut [u8]) -> Properties<'b> {
    let mut writer = PropertyWriter::new(place, memory);
    for &property in properties {
        writer.push(property).unwrap();
    }
    writer.finish()
}

fn text(text: &str) -> Utf8Str<'_> {
    Utf8Str::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

#[test]
fn a_message_is_its_topic_its_bytes_and_its_properties() {
    let topic = TopicName::new("plant/1/\"näher\"").unwrap();
    let place = PropertyPlace::of(PacketType::Publish);
    let own = [
        PayloadFormatIndicator(true),
        MessageExpiryInterval(60),
        ContentType(text("text/plain")),
        ResponseTopic(TopicName::new("answers").unwrap()),
        CorrelationData(&[1, 2]),
        SubscriptionIdentifier(7),
        TopicAlias(3),
        UserProperty(text("a"), text("1")),
        UserProperty(text("a"), text("2")),
    ];
    let mut memory = [0; 100];
    let id = PacketId::new(10).unwrap();
    let publish = Publish {
        retain: true,
        delivery: Delivery::AtLeastOnce { id, dup: false },
        properties: block(place, &own, &mut memory),
        ..Publish::new(topic, &[0, 255])
    };
    is_written(
        Packet::Publish(publish),
        r#"{"Publish": {"retain": true, "delivery": {"AtLeastOnce": {"id": 10, "dup": false}},
            "topic": "plant/1/\"näher\"", "payload": [0, 255], "properties": [
            {"PayloadFormatIndicator": true}, {"MessageExpiryInterval": 60}, {"ContentType": "text/plain"},
            {"ResponseTopic": "answers"}, {"CorrelationData": [1, 2]}, {"SubscriptionIdentifier": 7},
            {"TopicAlias": 3}, {"UserProperty": ["a", "1"]}, {"UserProperty": ["a", "2"]}]}}"#,
    );
    is_written(
        Packet::Publish(Publish::new(TopicName::ALIASED, b"")),
        r#"{"Publish": {"retain": false, "delivery": "AtMostOnce", "topic": "", "payload": [], "properties": []}}"#,
    );
}

#[test]
fn passwords_and_authentication_data_are_not_written() {
    let mut memory = [0; 64];
    let secret = [AuthenticationMethod(text("PLAIN")), AuthenticationData(b"hunter2")];
    let connect = Connect {
        user_name: Some(text("ann")),
        password: Some(b"hunter2"),
        will: Some(Will {
            topic: TopicName::new("gone").unwrap(),
            payload: b"!",
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: Properties::EMPTY,
        }),
        properties: block(PropertyPlace::of(PacketType::Connect), &secret, &mut memory),
        ..Connect::new(Version::V5, text("c"))
    };
    is_written(
        Packet::Connect(connect),
        r#"{"Connect": {"version": "V5", "bridge": false, "clean_start": true, "keep_alive": 60, "client_id": "c",
            "properties": [{"AuthenticationMethod": "PLAIN"}, {"AuthenticationData": "***"}],
            "will": {"topic": "gone", "payload": [33], "qos": "ExactlyOnce", "retain": false, "properties": []},
            "user_name": "ann", "password": "***"}}"#,
    );
    is_written(
        Packet::Auth(Auth::new(ReasonCode::CONTINUE_AUTHENTICATION, connect.properties)),
        r#"{"Auth": {"reason_code": 24,
            "properties": [{"AuthenticationMethod": "PLAIN"}, {"AuthenticationData": "***"}]}}"#,
    );
    is_written(
        Packet::Connect(Connect::new(Version::V3_1, text("c"))),
        r#"{"Connect": {"version": "V3_1", "bridge": false, "clean_start": true, "keep_alive": 60, "client_id": "c",
            "properties": [], "will": null, "user_name": null, "password": null}}"#,
    );
}

#[test]
fn reason_codes_are_numbers_and_filters_are_lists() {
    let id = PacketId::new(5).unwrap();
    let options = SubscribeOptions {
        retain_handling: RetainHandling::DoNotSend,
        ..SubscribeOptions::new(QoS::AtLeastOnce)
    };
    let wanted = [SubscribeFilter { filter: filter("a/+"), options }];
    is_written(
        Packet::Subscribe(Subscribe::new(id, &wanted)),
        r#"{"Subscribe": {"id": 5, "properties": [], "filters": [{"filter": "a/+", "options":
            {"qos": "AtLeastOnce", "no_local": false, "retain_as_published": false, "retain_handling": "DoNotSend"}}]}}"#,
    );
    is_written(
        Packet::Unsubscribe(Unsubscribe::new(id, &[filter("a/#"), filter("b")])),
        r##"{"Unsubscribe": {"id": 5, "properties": [], "filters": ["a/#", "b"]}}"##,
    );
    is_written(
        Packet::SubAck(SubAck::new(id, &[1, 0x87])),
        r#"{"SubAck": {"id": 5, "properties": [], "reason_codes": [1, 135]}}"#,
    );
    is_written(
        Packet::UnsubAck(UnsubAck::new(id, &[17])),
        r#"{"UnsubAck": {"id": 5, "properties": [], "reason_codes": [17]}}"#,
    );
    is_written(
        Packet::Ack(Ack::new(AckKind::PubRec, id)),
        r#"{"Ack": {"kind": "PubRec", "id": 5, "reason_code": 0, "properties": []}}"#,
    );
    is_written(
        Packet::ConnAck(ConnAck::new(true, ReasonCode::SUCCESS)),
        r#"{"ConnAck": {"session_present": true, "reason_code": 0, "properties": []}}"#,
    );
    is_written(
        Packet::Disconnect(Disconnect::new(ReasonCode::SERVER_MOVED)),
        r#"{"Disconnect": {"reason_code": 157, "properties": []}}"#,
    );
    is_written(Packet::PingReq(PingReq), r#"{"PingReq": null}"#);
}

#[test]
fn small_values_are_read_back() {
    let id = PacketId::new(0xFFFF).unwrap();
    let delivery = Delivery::ExactlyOnce { id, dup: true };
    assert_eq!(from_str::<Delivery>(&to_string(&delivery).unwrap()).unwrap(), delivery);
    let options = SubscribeOptions::new(QoS::ExactlyOnce);
    assert_eq!(from_str::<SubscribeOptions>(&to_string(&options).unwrap()).unwrap(), options);
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        assert_eq!(from_str::<Version>(&to_string(&version).unwrap()).unwrap(), version);
    }
    assert_eq!(from_str::<ReasonCode>("135").unwrap(), ReasonCode::NOT_AUTHORIZED);
    assert_eq!(from_str::<PacketType>("\"SubAck\"").unwrap(), PacketType::SubAck);
    // There is no Packet Identifier 0 [MQTT-2.2.1-3], wherever it comes from.
    assert!(from_str::<PacketId>("0").is_err());
}
