//! Blocks of properties: written one by one, read one by one, joined.

use std::collections::HashSet;

use mqtt_packet::{
    DecodeError, EncodeError, PacketType, Properties, Property, PropertyId, PropertyPlace, PropertyWriter,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::generate::{properties, property};

fn place() -> impl Strategy<Value = PropertyPlace> {
    let packets = (1..16).filter_map(PacketType::from_number).map(PropertyPlace::of);
    select(packets.chain([PropertyPlace::WILL]).collect::<Vec<_>>())
}

/// How many bytes a property takes.
fn len(property: &Property<'_>) -> usize {
    use Property::*;
    1 + match property {
        PayloadFormatIndicator(_) | RequestProblemInformation(_) | RequestResponseInformation(_) => 1,
        MaximumQos(_) | RetainAvailable(_) | WildcardSubscriptionAvailable(_) => 1,
        SubscriptionIdentifiersAvailable(_) | SharedSubscriptionAvailable(_) => 1,
        ServerKeepAlive(_) | TopicAliasMaximum(_) | ReceiveMaximum(_) | TopicAlias(_) => 2,
        MessageExpiryInterval(_) | SessionExpiryInterval(_) | WillDelayInterval(_) => 4,
        MaximumPacketSize(_) => 4,
        SubscriptionIdentifier(value) => crate::wire::varint(*value as usize).len(),
        ContentType(text) | AssignedClientIdentifier(text) | AuthenticationMethod(text) => 2 + text.len(),
        ResponseInformation(text) | ServerReference(text) | ReasonString(text) => 2 + text.len(),
        ResponseTopic(topic) => 2 + topic.as_bytes().len(),
        CorrelationData(bytes) | AuthenticationData(bytes) => 2 + bytes.len(),
        UserProperty(name, value) => 4 + name.len() + value.len(),
    }
}

fn may_repeat(id: PropertyId, place: PropertyPlace) -> bool {
    id == PropertyId::UserProperty
        || id == PropertyId::SubscriptionIdentifier && place == PropertyPlace::of(PacketType::Publish)
}

proptest! {
    #[test]
    fn writer_takes_what_may_stand_and_fits(
        place in place(),
        wanted in vec(property(), 0..30),
        room in 0..300_usize,
    ) {
        let mut memory = vec![0; room];
        let mut writer = PropertyWriter::new(place, &mut memory);
        let (mut kept, mut used) = (Vec::new(), 0);
        for property in wanted {
            let id = property.id();
            let expected = if !place.allows(id) {
                Err(EncodeError::Rule(DecodeError::PropertyNotAllowed))
            } else if !may_repeat(id, place) && kept.iter().any(|kept: &Property<'_>| kept.id() == id) {
                Err(EncodeError::Rule(DecodeError::PropertyRepeated(id)))
            } else if used + len(&property) > room {
                Err(EncodeError::NoRoom)
            } else {
                kept.push(property);
                used += len(&property);
                Ok(())
            };
            prop_assert_eq!(writer.push(property).map(|_| ()), expected);
        }
        let block = writer.finish();
        prop_assert_eq!(block.len(), used);
        prop_assert_eq!(block.iter().collect::<Vec<_>>(), kept.clone());
        // The bytes are a valid section of that place.
        let read = Properties::from_block(block.blocks()[0], place).unwrap();
        prop_assert_eq!(read, block);
        for id in kept.iter().map(Property::id) {
            prop_assert!(read.contains(id));
        }
        prop_assert_eq!(read.is_empty(), kept.is_empty());
    }

    #[test]
    fn joined_blocks_are_one_section(
        (place, first, second) in place().prop_flat_map(|place| (Just(place), properties(place), properties(place))),
    ) {
        let ids = |properties: Properties<'_>| properties.iter().map(|p| p.id()).collect::<HashSet<_>>();
        let once = |id: &&PropertyId| {
            !matches!(id, PropertyId::UserProperty | PropertyId::SubscriptionIdentifier)
        };
        let repeated = ids(first).intersection(&ids(second)).filter(once).count() > 0;
        let joined = first.followed_by(second);
        prop_assert_eq!(joined.is_none(), repeated);
        if let Some(joined) = joined {
            let expected: Vec<_> = first.iter().chain(second).collect();
            prop_assert_eq!(joined.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(joined.len(), first.len() + second.len());
            prop_assert_eq!(joined.blocks().concat(), [first.blocks().concat(), second.blocks().concat()].concat());
            prop_assert_eq!(joined.is_empty(), first.is_empty() && second.is_empty());
            if place == PropertyPlace::of(PacketType::Publish) {
                let bytes = joined.blocks().concat();
                prop_assert_eq!(Properties::from_block(&bytes, place).unwrap(), joined);
            }
        }
        prop_assert_eq!(first.followed_by(Properties::EMPTY), Some(first));
        prop_assert_eq!(Properties::EMPTY.followed_by(first), Some(first));
    }

    #[test]
    fn getters_find_the_property(properties in place().prop_flat_map(properties)) {
        for property in properties.iter() {
            prop_assert!(is_found(&properties, property), "{:?}", property);
        }
        let ids: Vec<_> = properties.iter().map(|property| property.id()).collect();
        let users = ids.iter().filter(|id| **id == PropertyId::UserProperty).count();
        prop_assert_eq!(properties.user_properties().count(), users);
        let subscriptions = ids.iter().filter(|id| **id == PropertyId::SubscriptionIdentifier).count();
        prop_assert_eq!(properties.subscription_identifiers().count(), subscriptions);
    }

    #[test]
    fn any_bytes_are_a_section_or_an_error(bytes: Vec<u8>, place in place()) {
        if let Ok(properties) = Properties::from_block(&bytes, place) {
            prop_assert_eq!(properties.iter().map(|property| len(&property)).sum::<usize>(), bytes.len());
            prop_assert!(properties.iter().all(|property| place.allows(property.id())));
        }
    }
}

fn is_found<'a>(properties: &Properties<'a>, property: Property<'a>) -> bool {
    use Property::*;
    match property {
        PayloadFormatIndicator(value) => properties.payload_format_indicator() == Some(value),
        MessageExpiryInterval(value) => properties.message_expiry_interval() == Some(value),
        ContentType(value) => properties.content_type() == Some(value),
        ResponseTopic(value) => properties.response_topic() == Some(value),
        CorrelationData(value) => properties.correlation_data() == Some(value),
        SubscriptionIdentifier(value) => properties.subscription_identifiers().any(|id| id == value),
        SessionExpiryInterval(value) => properties.session_expiry_interval() == Some(value),
        AssignedClientIdentifier(value) => properties.assigned_client_identifier() == Some(value),
        ServerKeepAlive(value) => properties.server_keep_alive() == Some(value),
        AuthenticationMethod(value) => properties.authentication_method() == Some(value),
        AuthenticationData(value) => properties.authentication_data() == Some(value),
        RequestProblemInformation(value) => properties.request_problem_information() == Some(value),
        WillDelayInterval(value) => properties.will_delay_interval() == Some(value),
        RequestResponseInformation(value) => properties.request_response_information() == Some(value),
        ResponseInformation(value) => properties.response_information() == Some(value),
        ServerReference(value) => properties.server_reference() == Some(value),
        ReasonString(value) => properties.reason_string() == Some(value),
        ReceiveMaximum(value) => properties.receive_maximum() == Some(value),
        TopicAliasMaximum(value) => properties.topic_alias_maximum() == Some(value),
        TopicAlias(value) => properties.topic_alias() == Some(value),
        MaximumQos(value) => properties.maximum_qos() == Some(value),
        RetainAvailable(value) => properties.retain_available() == Some(value),
        UserProperty(name, value) => properties.user_properties().any(|pair| pair == (name, value)),
        MaximumPacketSize(value) => properties.maximum_packet_size() == Some(value),
        WildcardSubscriptionAvailable(value) => properties.wildcard_subscription_available() == Some(value),
        SubscriptionIdentifiersAvailable(value) => {
            properties.subscription_identifiers_available() == Some(value)
        }
        SharedSubscriptionAvailable(value) => properties.shared_subscription_available() == Some(value),
    }
}

#[test]
fn three_blocks_are_too_many() {
    let place = PropertyPlace::of(PacketType::Publish);
    let block = |bytes| Properties::from_block(bytes, place).unwrap();
    let (first, second, third) = (block(&[0x01, 1]), block(&[0x0B, 5]), block(&[0x23, 0, 7]));
    let two = first.followed_by(second).unwrap();
    assert_eq!(two.followed_by(third), None);
    assert_eq!(third.followed_by(two), None);
}

#[test]
fn properties_are_equal_if_they_say_the_same() {
    let place = PropertyPlace::of(PacketType::Publish);
    let block = |bytes| Properties::from_block(bytes, place).unwrap();
    let joined = block(&[0x01, 1]).followed_by(block(&[0x0B, 5])).unwrap();
    assert_eq!(joined, block(&[0x01, 1, 0x0B, 5]));
    assert_ne!(joined, block(&[0x0B, 5, 0x01, 1]));
    assert_ne!(joined, block(&[0x01, 1]));
}

#[test]
fn values_too_long_for_their_length_are_not_written() {
    let bytes = vec![0; 65_536];
    let mut memory = vec![0; 70_000];
    let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::Publish), &mut memory);
    let too_long = writer.push(Property::CorrelationData(&bytes)).map(|_| ());
    assert_eq!(too_long, Err(EncodeError::TooLong));
    writer.push(Property::CorrelationData(&bytes[1..])).unwrap();
    assert_eq!(writer.finish().len(), 65_538);
}
