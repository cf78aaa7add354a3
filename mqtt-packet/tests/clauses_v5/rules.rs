//! What the errors say about themselves.

use std::collections::HashSet;

use mqtt_packet::{DecodeError, EncodeError, PacketType, PropertyId, ReasonCode, StringError, Version};

const STATEMENTS: [(&str, &str); 3] = [
    ("3.1.1", include_str!("../../../spec/mqtt-3.1.1.tsv")),
    ("5.0", include_str!("../../../spec/mqtt-5.0.tsv")),
    ("untagged", include_str!("../../../spec/untagged.tsv")),
];

fn packets() -> impl Iterator<Item = PacketType> {
    (1..16).filter_map(PacketType::from_number)
}

fn properties() -> impl Iterator<Item = PropertyId> {
    use PropertyId::*;
    let bounded = [
        PayloadFormatIndicator,
        SubscriptionIdentifier,
        RequestProblemInformation,
        RequestResponseInformation,
        ReceiveMaximum,
        TopicAlias,
        MaximumQos,
        RetainAvailable,
        MaximumPacketSize,
        WildcardSubscriptionAvailable,
        SubscriptionIdentifiersAvailable,
        SharedSubscriptionAvailable,
    ];
    bounded.into_iter()
}

/// The errors that 3.1.1 and 5.0 share.
fn errors_of_both() -> Vec<DecodeError> {
    use DecodeError::*;
    use StringError as S;
    let strings = [S::TooLong, S::IllFormed, S::NullCharacter, S::Empty, S::EmptyFilter, S::Wildcard];
    let filters = [S::MultiLevelWildcard, S::SingleLevelWildcard];
    let mut errors = vec![
        RemainingLength,
        ReservedPacketType,
        UnexpectedPacket,
        PacketTooLarge,
        ReservedFlags,
        Truncated,
        TrailingBytes,
        PacketIdZero,
        QosReserved,
        DupAtQos0,
        TopicMissing,
        ProtocolName,
        ProtocolLevel,
        ConnectFlagReserved,
        WillQosReserved,
        WillQosWithoutWill,
        WillRetainWithoutWill,
        WillTopicWildcard,
        ClientIdMissing,
        WillMissing,
        UserNameMissing,
        PasswordMissing,
        ConnAckFlags,
        SessionPresentInRefusal,
        SubscribeOptionsReserved,
        SubscribeQosReserved,
        ReasonCode(PacketType::ConnAck),
        ReasonCode(PacketType::SubAck),
        NoReasonCodes(PacketType::SubAck),
        NoFilters(PacketType::Subscribe),
        NoFilters(PacketType::Unsubscribe),
    ];
    errors.extend(strings.into_iter().chain(filters).map(String));
    errors
}

/// The errors of 5.0 alone.
fn errors_of_v5() -> Vec<DecodeError> {
    use DecodeError::*;
    use StringError as S;
    let mut errors = vec![
        OverlongInteger,
        ResponseTopic,
        RetainHandlingReserved,
        NoLocalOnShared,
        PropertyNotAllowed,
        PropertyLength,
        AuthDataWithoutMethod,
        AuthMethodMissing,
        SubscriptionIdFromClient,
        SessionExpiryFromServer,
        ServerReferenceFromClient,
        NoReasonCodes(PacketType::UnsubAck),
        String(S::ShareName),
        String(S::ShareNameWildcard),
        String(S::ShareFilter),
    ];
    let coded = packets().filter(|packet| mqtt_packet::ReasonCode::SUCCESS.is_allowed_in(*packet));
    errors.extend(coded.map(ReasonCode));
    errors.extend(properties().map(PropertyRepeated));
    let numbered = properties().filter(|property| *property != PropertyId::PayloadFormatIndicator);
    errors.extend(numbered.map(PropertyValue));
    errors
}

#[test]
fn rules_are_statements_of_the_standard() {
    let (both, v5) = (errors_of_both(), errors_of_v5());
    let is_statement = |rule: &str, version: &str| {
        STATEMENTS
            .iter()
            .filter(|table| table.0 == version || table.0 == "untagged")
            .any(|(_, table)| table.lines().any(|line| line.split('\t').next() == Some(rule)))
    };
    for error in both.iter().chain(&[DecodeError::PasswordWithoutUserName, DecodeError::ClientIdEmpty]) {
        let rule = error.rule(Version::V3_1_1);
        assert!(is_statement(rule, "3.1.1") && !rule.starts_with("U5-"), "{error:?} {rule}");
        assert_eq!(error.rule(Version::V3_1), rule);
    }
    for error in both.iter().chain(&v5) {
        let rule = error.rule(Version::V5);
        assert!(is_statement(rule, "5.0") && !rule.starts_with("U311-"), "{error:?} {rule}");
    }
}

#[test]
fn answers_can_be_sent() {
    // [MQTT-3.14.2-1]: the code of every error can stand in a DISCONNECT, or in the CONNACK that answers a CONNECT
    let (both, v5) = (errors_of_both(), errors_of_v5());
    for error in both.into_iter().chain(v5) {
        let code = error.reason_code();
        let by_connack = matches!(error, DecodeError::ProtocolName | DecodeError::ProtocolLevel);
        let packet = if by_connack { PacketType::ConnAck } else { PacketType::Disconnect };
        assert!(code.is_error() && code.is_allowed_in(packet), "{error:?} {code}");
    }
    assert_eq!(DecodeError::ClientIdEmpty.reason_code(), ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
}

#[test]
fn errors_are_small_and_readable() {
    assert!(size_of::<DecodeError>() <= 2 && size_of::<EncodeError>() <= 3);
    let (both, v5) = (errors_of_both(), errors_of_v5());
    let errors: HashSet<DecodeError> = both.into_iter().chain(v5).collect();
    let texts: HashSet<_> = errors.iter().map(ToString::to_string).collect();
    assert!(texts.iter().all(|text| !text.is_empty() && !text.ends_with('.') && !text.contains('\n')));
    assert_eq!(texts.len(), errors.len(), "two errors read alike");
    let rule = EncodeError::from(DecodeError::PacketIdZero);
    assert_eq!(rule.to_string(), "the packet would break a rule: the packet identifier is 0");
}
