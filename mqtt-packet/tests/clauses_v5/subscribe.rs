//! Sections 3.8 and 3.10: SUBSCRIBE and UNSUBSCRIBE.

use crate::refused;
use crate::wire::{encode, stands, wire};
use mqtt_packet::{
    DecodeError, EncodeError, Packet, PacketId, PacketType, Properties, Property, PropertyId, PropertyPlace,
    PropertyWriter, QoS, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, SubscribeFilters,
    SubscribeOptions, TopicFilter, Unsubscribe, Version,
};

const PROTOCOL_ERROR: ReasonCode = ReasonCode::PROTOCOL_ERROR;
const ID: PacketId = PacketId::MIN;

fn to(filter: &str, options: SubscribeOptions) -> [SubscribeFilter<'_>; 1] {
    [SubscribeFilter { filter: TopicFilter::new(filter).unwrap(), options }]
}

#[test]
fn subscribe_has_a_filter() {
    // [MQTT-3.8.3-2 @5.0]: decoder and encoder
    let error = DecodeError::NoFilters(PacketType::Subscribe);
    refused("82 .. 0001 {}", error, "MQTT-3.8.3-2", PROTOCOL_ERROR);
    refused("82 .. 0001 {0B 01}", error, "MQTT-3.8.3-2", PROTOCOL_ERROR);
    let none = Packet::Subscribe(Subscribe::new(ID, &[]));
    assert_eq!(encode(&none, Version::V5), Err(EncodeError::Rule(error)));
}

#[test]
fn unsubscribe_has_a_filter() {
    // [MQTT-3.10.3-2 @5.0]: decoder and encoder
    let error = DecodeError::NoFilters(PacketType::Unsubscribe);
    refused("A2 .. 0001 {}", error, "MQTT-3.10.3-2", PROTOCOL_ERROR);
    let none = Packet::Unsubscribe(Unsubscribe::new(ID, &[]));
    assert_eq!(encode(&none, Version::V5), Err(EncodeError::Rule(error)));
}

#[test]
fn every_options_byte() {
    // [MQTT-3.8.3-5] [U5-3.8.3-1] [U5-3.8.3-2]
    for byte in 0..=255_u8 {
        let notation = format!("82 .. 0001 {{}} \"a\" {byte:02X}");
        let (reserved, handling, qos) = (byte >> 6, byte >> 4 & 3, byte & 3);
        if reserved != 0 {
            let error = DecodeError::SubscribeOptionsReserved;
            refused(&notation, error, "MQTT-3.8.3-5", ReasonCode::MALFORMED_PACKET);
        } else if qos == 3 {
            refused(&notation, DecodeError::SubscribeQosReserved, "U5-3.8.3-1", PROTOCOL_ERROR);
        } else if handling == 3 {
            refused(&notation, DecodeError::RetainHandlingReserved, "U5-3.8.3-2", PROTOCOL_ERROR);
        } else {
            let bytes = wire(&notation);
            let Packet::Subscribe(subscribe) = stands(&bytes, Version::V5) else { panic!("not a SUBSCRIBE") };
            let handlings =
                [RetainHandling::SendAtSubscribe, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
            let expected = SubscribeOptions {
                qos: QoS::from_bits(qos).unwrap(),
                no_local: byte & 4 != 0,
                retain_as_published: byte & 8 != 0,
                retain_handling: handlings[usize::from(handling)],
            };
            assert_eq!(subscribe.filters.iter().next().unwrap().options, expected);
            assert_eq!(expected.to_byte(Version::V5), byte);
        }
    }
}

#[test]
fn no_local_is_not_for_shared_subscriptions() {
    // [MQTT-3.8.3-4 @5.0]: decoder and encoder
    let error = DecodeError::NoLocalOnShared;
    refused("82 .. 0001 {} \"$share/g/a\" 04", error, "MQTT-3.8.3-4", PROTOCOL_ERROR);
    refused("82 .. 0001 {} \"a\" 04 \"$share/g/#\" 2E", error, "MQTT-3.8.3-4", PROTOCOL_ERROR);
    stands(&wire("82 .. 0001 {} \"$share/g/a\" 29"), Version::V5);
    stands(&wire("82 .. 0001 {} \"$SYS/a\" 04"), Version::V5);
    let no_local = SubscribeOptions { no_local: true, ..SubscribeOptions::new(QoS::AtMostOnce) };
    let shared = to("$share/g/a", no_local);
    let packet = Packet::Subscribe(Subscribe::new(ID, &shared));
    assert_eq!(encode(&packet, Version::V5), Err(EncodeError::Rule(error)));
    assert_eq!(encode(&packet, Version::V3_1_1).unwrap(), wire("82 .. 0001 \"$share/g/a\" 00"));
}

#[test]
fn subscribe_has_one_subscription_identifier() {
    // [U5-3.8.2-1]: decoder and encoder
    let error = DecodeError::PropertyRepeated(PropertyId::SubscriptionIdentifier);
    refused("82 .. 0001 {0B 01 0B 02} \"a\" 00", error, "U5-3.8.2-1", PROTOCOL_ERROR);
    refused("82 .. 0001 {0B 01 26 \"n\" \"v\" 0B 01} \"a\" 00", error, "U5-3.8.2-1", PROTOCOL_ERROR);
    stands(&wire("82 .. 0001 {0B FFFFFF7F} \"a\" 00"), Version::V5);
    let subscribe = PropertyPlace::of(PacketType::Subscribe);
    let mut memory = [0; 16];
    let mut writer = PropertyWriter::new(subscribe, &mut memory);
    writer.push(Property::SubscriptionIdentifier(1)).unwrap();
    let again = writer.push(Property::SubscriptionIdentifier(2)).unwrap_err();
    assert_eq!(again, EncodeError::Rule(error));
    // Neither two joined blocks nor the properties of a PUBLISH get around that.
    let one = Properties::from_block(&[0x0B, 1], subscribe).unwrap();
    let two = one.followed_by(Properties::from_block(&[0x0B, 2], subscribe).unwrap());
    let of_publish =
        Properties::from_block(&[0x0B, 1, 0x0B, 2], PropertyPlace::of(PacketType::Publish)).unwrap();
    let filters = to("a", SubscribeOptions::default());
    for properties in two.into_iter().chain([of_publish]) {
        let packet = Subscribe { id: ID, properties, filters: SubscribeFilters::new(&filters) };
        assert_eq!(encode(&Packet::Subscribe(packet), Version::V5), Err(EncodeError::Rule(error)));
        // 3.1.1 writes no properties.
        assert!(encode(&Packet::Subscribe(packet), Version::V3_1_1).is_ok());
    }
}

#[test]
fn shared_filters_that_are_none_are_not_encoded() {
    for text in ["$share/g", "$share//a", "$share/+/a"] {
        let filters = to(text, SubscribeOptions::default());
        assert!(encode(&Packet::Subscribe(Subscribe::new(ID, &filters)), Version::V5).is_err(), "{text}");
        let filters = [filters[0].filter];
        assert!(encode(&Packet::Unsubscribe(Unsubscribe::new(ID, &filters)), Version::V5).is_err(), "{text}");
    }
}

#[test]
fn fields_are_not_cut() {
    for notation in [
        "82 .. 0001 {} \"a\"",
        "82 .. 0001 {} \"a\" 00 00",
        "82 .. 0001 {} 0002 'a'",
        "A2 .. 0001 {} \"a\" 00",
        "A2 .. 0001 {} 0002 'a'",
        "82 01 00",
        "A2 00",
    ] {
        refused(notation, DecodeError::Truncated, "MQTT-4.13.1-1", ReasonCode::MALFORMED_PACKET);
    }
}
