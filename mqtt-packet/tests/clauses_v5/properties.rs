//! Section 2.2.2: the table of properties. Which may stand where, how often, with which values, 27 by 16.

use crate::wire::{self, wire};
use mqtt_packet::{
    DecodeError, EncodeError, PacketType, Properties, PropertyId, PropertyPlace, PropertyWriter, ReasonCode,
    Version,
};

/// Number, name, a value on the wire, and where it may stand, as section 2.2.2.2 and the packets' sections have it.
/// `acks` are PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
const TABLE: [(u8, &str, &str, &str); 27] = [
    (0x01, "PayloadFormatIndicator", "01", "PUBLISH Will"),
    (0x02, "MessageExpiryInterval", "00000000", "PUBLISH Will"),
    (0x03, "ContentType", "\"text\"", "PUBLISH Will"),
    (0x08, "ResponseTopic", "\"a/b\"", "PUBLISH Will"),
    (0x09, "CorrelationData", "0002 00FF", "PUBLISH Will"),
    (0x0B, "SubscriptionIdentifier", "8001", "PUBLISH SUBSCRIBE"),
    (0x11, "SessionExpiryInterval", "FFFFFFFF", "CONNECT CONNACK DISCONNECT"),
    (0x12, "AssignedClientIdentifier", "\"id\"", "CONNACK"),
    (0x13, "ServerKeepAlive", "0000", "CONNACK"),
    (0x15, "AuthenticationMethod", "\"m\"", "CONNECT CONNACK AUTH"),
    (0x16, "AuthenticationData", "0001 FF", "CONNECT CONNACK AUTH"),
    (0x17, "RequestProblemInformation", "00", "CONNECT"),
    (0x18, "WillDelayInterval", "0000003C", "Will"),
    (0x19, "RequestResponseInformation", "01", "CONNECT"),
    (0x1A, "ResponseInformation", "\"info\"", "CONNACK"),
    (0x1C, "ServerReference", "\"host\"", "CONNACK DISCONNECT"),
    (0x1F, "ReasonString", "\"why\"", "CONNACK acks DISCONNECT AUTH"),
    (0x21, "ReceiveMaximum", "0001", "CONNECT CONNACK"),
    (0x22, "TopicAliasMaximum", "0000", "CONNECT CONNACK"),
    (0x23, "TopicAlias", "FFFF", "PUBLISH"),
    (0x24, "MaximumQos", "01", "CONNACK"),
    (0x25, "RetainAvailable", "00", "CONNACK"),
    (
        0x26,
        "UserProperty",
        "\"n\" \"v\"",
        "CONNECT CONNACK PUBLISH Will acks SUBSCRIBE UNSUBSCRIBE DISCONNECT AUTH",
    ),
    (0x27, "MaximumPacketSize", "00000001", "CONNECT CONNACK"),
    (0x28, "WildcardSubscriptionAvailable", "01", "CONNACK"),
    (0x29, "SubscriptionIdentifiersAvailable", "00", "CONNACK"),
    (0x2A, "SharedSubscriptionAvailable", "01", "CONNACK"),
];

/// Where properties can stand, and a packet in which `@` is the block. AUTH needs its method, which is in front.
const PLACES: [(&str, &str); 14] = [
    ("Will", "10 .. 0004'MQTT' 05 06 003C {} \"c\" {@} \"t\" \"m\""),
    ("CONNECT", "10 .. 0004'MQTT' 05 02 003C {@} \"c\""),
    ("CONNACK", "20 .. 00 00 {@}"),
    ("PUBLISH", "30 .. \"a\" {@} 'payload'"),
    ("PUBACK", "40 .. 0001 00 {@}"),
    ("PUBREC", "50 .. 0001 00 {@}"),
    ("PUBREL", "62 .. 0001 00 {@}"),
    ("PUBCOMP", "70 .. 0001 00 {@}"),
    ("SUBSCRIBE", "82 .. 0001 {@} \"a\" 00"),
    ("SUBACK", "90 .. 0001 {@} 00"),
    ("UNSUBSCRIBE", "A2 .. 0001 {@} \"a\""),
    ("UNSUBACK", "B0 .. 0001 {@} 00"),
    ("DISCONNECT", "E0 .. 00 {@}"),
    ("AUTH", "F0 .. 18 {15 \"m\" @}"),
];

fn may_stand(places: &str, place: &str) -> bool {
    let acks = ["PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK"];
    places.split(' ').any(|word| word == place || word == "acks" && acks.contains(&place))
}

/// A packet with this property. One that needs another property gets it, and AUTH names its method once.
fn with(template: &str, number: u8, value: &str) -> String {
    let block = match (number, template.starts_with("10")) {
        (0x16, true) => format!("15 \"m\" 16 {value}"),
        _ => format!("{number:02X} {value}"),
    };
    match number {
        0x15 => template.replace("15 \"m\" @", &block).replace('@', &block),
        _ => template.replace('@', &block),
    }
}

fn place(name: &str) -> PropertyPlace {
    match name {
        "Will" => PropertyPlace::WILL,
        _ => PropertyPlace::of(packet_type(name)),
    }
}

fn packet_type(name: &str) -> PacketType {
    let mut types = (1..16).filter_map(PacketType::from_number);
    types.find(|packet| format!("{packet:?}").to_uppercase() == name).unwrap()
}

/// The identifier of a number, which a property of that number has.
fn id(number: u8) -> PropertyId {
    let (_, name, value, places) = *TABLE.iter().find(|row| row.0 == number).unwrap();
    let block = wire(&format!("{number:02X} {value}"));
    let place = place(&places.split(' ').next().unwrap().replace("acks", "PUBACK"));
    let property = Properties::from_block(&block, place).unwrap().iter().next().unwrap();
    assert_eq!(format!("{:?}", property.id()), name);
    assert_eq!(property.id() as u8, number);
    property.id()
}

#[test]
fn each_property_stands_where_the_table_has_it_and_nowhere_else() {
    // [U5-2.2.2-1]
    for (number, name, value, places) in TABLE {
        for (where_, template) in PLACES {
            let allowed = may_stand(places, where_);
            let notation = with(template, number, value);
            assert_eq!(place(where_).allows(id(number)), allowed, "{name} in {where_}");
            if allowed {
                wire::stands(&wire(&notation), Version::V5);
            } else {
                let error = DecodeError::PropertyNotAllowed;
                crate::refused(&notation, error, "U5-2.2.2-1", ReasonCode::MALFORMED_PACKET);
            }
        }
        for packet in [PacketType::PingReq, PacketType::PingResp] {
            assert!(!PropertyPlace::of(packet).allows(id(number)), "{name} in {packet:?}");
        }
    }
}

#[test]
fn other_numbers_are_no_properties() {
    // [U5-2.2.2-1]
    let known: Vec<u8> = TABLE.iter().map(|row| row.0).collect();
    for (_, template) in PLACES {
        for number in (0..=255).filter(|number| !known.contains(number)) {
            let notation = with(template, number, "00 00 00 00");
            crate::refused(
                &notation,
                DecodeError::PropertyNotAllowed,
                "U5-2.2.2-1",
                ReasonCode::MALFORMED_PACKET,
            );
        }
    }
}

#[test]
fn properties_that_may_stand_once_stand_once() {
    // [U5-3.1.2-1], for the Subscription Identifier of SUBSCRIBE [U5-3.8.2-1]
    for (number, _, value, places) in TABLE {
        for (where_, template) in PLACES.into_iter().filter(|(where_, _)| may_stand(places, where_)) {
            let twice = with(template, number, &format!("{value} {number:02X} {value}"));
            match (number, where_) {
                (0x26, _) | (0x0B, "PUBLISH") => {
                    wire::stands(&wire(&twice), Version::V5);
                }
                _ => {
                    let rule = if number == 0x0B { "U5-3.8.2-1" } else { "U5-3.1.2-1" };
                    let error = DecodeError::PropertyRepeated(id(number));
                    crate::refused(&twice, error, rule, ReasonCode::PROTOCOL_ERROR);
                    // Not even with others between them.
                    let apart = format!("{value} 26 \"n\" \"v\" {number:02X} {value}");
                    let apart = with(template, number, &apart);
                    crate::refused(&apart, error, rule, ReasonCode::PROTOCOL_ERROR);
                }
            }
        }
    }
}

#[test]
fn property_section_ends_where_it_says() {
    // [U5-2.2.2-2]
    for (number, _, value, places) in TABLE {
        let property = wire(&format!("{number:02X} {value}"));
        for (where_, template) in PLACES.into_iter().filter(|(where_, _)| may_stand(places, where_)) {
            if (where_, number) == ("AUTH", 0x15) {
                continue;
            }
            for cut in 1..property.len() {
                let hex: String = property[..cut].iter().map(|byte| format!("{byte:02X}")).collect();
                let notation = template.replace('@', &hex);
                let error = DecodeError::PropertyLength;
                crate::refused(&notation, error, "U5-2.2.2-2", ReasonCode::MALFORMED_PACKET);
            }
        }
    }
}

#[test]
fn property_section_does_not_overrun_the_packet() {
    // [U5-2.2.2-2]
    for notation in [
        "10 .. 0004'MQTT' 05 02 003C 05 1100000001",
        "10 .. 0004'MQTT' 05 02 003C 0A \"c\"",
        "10 .. 0004'MQTT' 05 06 003C {} \"c\" 7F \"t\" \"m\"",
        "20 .. 00 00 01",
        "20 .. 00 00 06 1100000001",
        "30 .. \"a\" 01",
        "30 .. \"a\" FFFFFF7F 'payload'",
        "40 .. 0001 00 05 26",
        "82 .. 0001 7F \"a\" 00",
        "90 .. 0001 02 00",
        "A2 .. 0001 7F \"a\"",
        "B0 .. 0001 02 00",
        "E0 .. 00 01",
        "F0 .. 18 05 15 \"m\"",
    ] {
        // A section that ends the packet too early may leave a field behind it without bytes: the same fault.
        let bytes = wire(notation);
        let error = wire::decode(&bytes, Version::V5).unwrap_err();
        assert!(
            matches!(error, DecodeError::PropertyLength | DecodeError::ClientIdMissing),
            "{error} in {notation}"
        );
        assert_eq!(error.reason_code(), ReasonCode::MALFORMED_PACKET);
    }
}

#[test]
fn values_have_their_bounds() {
    // [U5-3.1.2-2] [U5-3.1.2-3] [U5-3.1.2-4] [U5-3.2.2-1] [U5-3.3.2-5]
    let never_zero = [
        (0x21, "0000", "U5-3.1.2-2", ReasonCode::PROTOCOL_ERROR),
        (0x27, "00000000", "U5-3.1.2-3", ReasonCode::PROTOCOL_ERROR),
        (0x23, "0000", "MQTT-3.3.2-8", ReasonCode::TOPIC_ALIAS_INVALID),
        (0x0B, "00", "U5-3.3.2-5", ReasonCode::PROTOCOL_ERROR),
    ];
    for (number, value, rule, code) in never_zero {
        in_every_place(number, value, rule, code);
    }
    let flags = [
        (0x17, "U5-3.1.2-4"),
        (0x19, "U5-3.1.2-4"),
        (0x24, "U5-3.2.2-1"),
        (0x25, "U5-3.2.2-1"),
        (0x28, "U5-3.2.2-1"),
        (0x29, "U5-3.2.2-1"),
        (0x2A, "U5-3.2.2-1"),
        (0x01, "section 3.3.2.3.2"),
    ];
    for (number, rule) in flags {
        for value in 2..=255 {
            in_every_place(number, &format!("{value:02X}"), rule, ReasonCode::PROTOCOL_ERROR);
        }
    }
}

/// The value is refused wherever the property may stand.
fn in_every_place(number: u8, value: &str, rule: &str, code: ReasonCode) {
    let places = TABLE.iter().find(|row| row.0 == number).unwrap().3;
    for (_, template) in PLACES.into_iter().filter(|(where_, _)| may_stand(places, where_)) {
        let error = DecodeError::PropertyValue(id(number));
        crate::refused(&with(template, number, value), error, rule, code);
    }
}

#[test]
fn writer_keeps_the_same_table() {
    // [U5-2.2.2-1] [U5-3.1.2-1]: what a decoder refuses is not written either
    for (number, name, value, places) in TABLE {
        let block = wire(&format!("{number:02X} {value}"));
        let home = place(&places.split(' ').next().unwrap().replace("acks", "PUBACK"));
        let property = Properties::from_block(&block, home).unwrap().iter().next().unwrap();
        for (where_, _) in PLACES {
            let mut memory = [0; 64];
            let mut writer = PropertyWriter::new(place(where_), &mut memory);
            let written = writer.push(property).map(|_| ());
            if !may_stand(places, where_) {
                assert_eq!(written, Err(DecodeError::PropertyNotAllowed.into()), "{name} in {where_}");
                assert!(writer.finish().is_empty());
                continue;
            }
            assert_eq!(written, Ok(()), "{name} in {where_}");
            let again = writer.push(property).map(|_| ());
            let repeatable = number == 0x26 || number == 0x0B && where_ == "PUBLISH";
            let repeated = EncodeError::Rule(DecodeError::PropertyRepeated(id(number)));
            assert_eq!(again, if repeatable { Ok(()) } else { Err(repeated) }, "{name} in {where_}");
            let times = if repeatable { 2 } else { 1 };
            assert_eq!(writer.finish().blocks()[0], block.repeat(times), "{name} in {where_}");
        }
    }
}

#[test]
fn properties_of_another_packet_are_not_encoded() {
    // [U5-2.2.2-1]
    for (number, name, value, places) in TABLE {
        let block = wire(&format!("{number:02X} {value}"));
        let home = place(&places.split(' ').next().unwrap().replace("acks", "PUBACK"));
        let properties = Properties::from_block(&block, home).unwrap();
        for (where_, template) in PLACES {
            if may_stand(places, where_) || where_ == "Will" {
                continue;
            }
            let bytes = wire(&template.replace('@', ""));
            let packet = wire::with_properties(wire::accepted(&bytes, Version::V5), properties);
            let error = EncodeError::Rule(DecodeError::PropertyNotAllowed);
            assert_eq!(wire::encode(&packet, Version::V5), Err(error), "{name} in {where_}");
        }
    }
}
