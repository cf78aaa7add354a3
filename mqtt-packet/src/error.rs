//! What can be wrong with a packet, named by the statement of the standard that it breaks.
//!
//! Every error is `Copy`, two bytes, and knows two things about itself: the identifier of the statement
//! ([`DecodeError::rule`]) and the reason code with which a receiver answers ([`DecodeError::reason_code`]).

use crate::{PacketType, PropertyId, ReasonCode, Version};
use thiserror::Error;

/// Why bytes are not a string, a topic name or a topic filter of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StringError {
    /// Longer than the 65,535 bytes that a length prefix can say.
    #[error("the string is longer than 65,535 bytes")]
    TooLong,
    /// Not well-formed UTF-8, or an encoded surrogate.
    #[error("the string is not well-formed UTF-8")]
    IllFormed,
    /// U+0000 inside the string.
    #[error("the string contains U+0000")]
    NullCharacter,
    /// A control character or a non-character, where the receiver asked to be strict.
    #[error("the string contains a control character or a non-character")]
    DisallowedCharacter,
    /// A topic name without a character.
    #[error("the topic name is empty")]
    Empty,
    /// A topic filter without a character.
    #[error("the topic filter is empty")]
    EmptyFilter,
    /// `#` or `+` in a topic name.
    #[error("the topic name contains a wildcard")]
    Wildcard,
    /// `#` that is not the whole last level of a filter.
    #[error("`#` is not the whole last level of the topic filter")]
    MultiLevelWildcard,
    /// `+` that is not a whole level of a filter.
    #[error("`+` is not a whole level of the topic filter")]
    SingleLevelWildcard,
    /// `$share/` without a share name.
    #[error("the share name is empty")]
    ShareName,
    /// A share name with a wildcard in it.
    #[error("the share name contains a wildcard")]
    ShareNameWildcard,
    /// `$share/name` without a topic filter behind it.
    #[error("no topic filter follows the share name")]
    ShareFilter,
}

impl StringError {
    /// The statement of the standard that the string breaks.
    pub const fn rule(self, version: Version) -> &'static str {
        let v5 = matches!(version, Version::V5);
        match self {
            Self::TooLong => "MQTT-4.7.3-3",
            Self::IllFormed => either(v5, "MQTT-1.5.3-1", "MQTT-1.5.4-1"),
            Self::NullCharacter => either(v5, "MQTT-1.5.3-2", "MQTT-1.5.4-2"),
            Self::DisallowedCharacter => either(v5, "section 1.5.3", "section 1.5.4"),
            Self::Empty | Self::EmptyFilter => "MQTT-4.7.3-1",
            Self::Wildcard => "MQTT-3.3.2-2",
            Self::MultiLevelWildcard => either(v5, "MQTT-4.7.1-2", "MQTT-4.7.1-1"),
            Self::SingleLevelWildcard => either(v5, "MQTT-4.7.1-3", "MQTT-4.7.1-2"),
            Self::ShareName => "MQTT-4.8.2-1",
            Self::ShareNameWildcard | Self::ShareFilter => "MQTT-4.8.2-2",
        }
    }

    /// The reason code to answer with.
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::TooLong | Self::IllFormed | Self::NullCharacter | Self::DisallowedCharacter => {
                ReasonCode::MALFORMED_PACKET
            }
            Self::Empty | Self::Wildcard => ReasonCode::TOPIC_NAME_INVALID,
            Self::EmptyFilter
            | Self::MultiLevelWildcard
            | Self::SingleLevelWildcard
            | Self::ShareName
            | Self::ShareNameWildcard
            | Self::ShareFilter => ReasonCode::TOPIC_FILTER_INVALID,
        }
    }
}

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// A Variable Byte Integer whose fourth byte says that a fifth follows.
    #[error("a variable byte integer is longer than four bytes")]
    RemainingLength,
    /// A Variable Byte Integer of 5.0 that is longer than it needs to be.
    #[error("a variable byte integer is not in its shortest form")]
    OverlongInteger,
    /// Packet type 0, or 15 before 5.0.
    #[error("the packet type is reserved")]
    ReservedPacketType,
    /// A packet of another type than the one expected, or from the wrong side.
    #[error("the packet is not one that may come here")]
    UnexpectedPacket,
    /// The packet is larger than the receiver said that it takes.
    #[error("the packet is larger than the maximum packet size")]
    PacketTooLarge,
    /// Flag bits of the fixed header that do not have their prescribed value.
    #[error("reserved flags of the fixed header are not as prescribed")]
    ReservedFlags,
    /// A field runs past the end of the packet.
    #[error("a field runs past the end of the packet")]
    Truncated,
    /// Bytes behind the last field.
    #[error("bytes are left behind the last field")]
    TrailingBytes,
    /// A string, topic name or topic filter that is not one.
    #[error(transparent)]
    String(#[from] StringError),
    /// Packet Identifier 0.
    #[error("the packet identifier is 0")]
    PacketIdZero,
    /// QoS 3 in a PUBLISH.
    #[error("QoS 3 does not exist")]
    QosReserved,
    /// DUP in a PUBLISH of QoS 0.
    #[error("DUP is set at QoS 0")]
    DupAtQos0,
    /// A PUBLISH of 5.0 with neither a topic name nor a topic alias.
    #[error("neither topic name nor topic alias")]
    TopicMissing,
    /// A wildcard in a Response Topic, or an empty one.
    #[error("the response topic is not a topic name")]
    ResponseTopic,
    /// CONNECT with a protocol name that is not MQTT's.
    #[error("the protocol name is unknown")]
    ProtocolName,
    /// CONNECT with a protocol level that is unknown or not built in.
    #[error("the protocol version is not supported")]
    ProtocolLevel,
    /// Bit 0 of the connect flags.
    #[error("the reserved connect flag is set")]
    ConnectFlagReserved,
    /// Will QoS 3.
    #[error("the will QoS is 3")]
    WillQosReserved,
    /// Will QoS without a will.
    #[error("will QoS without a will")]
    WillQosWithoutWill,
    /// A wildcard in the will's topic name.
    #[error("the will topic contains a wildcard")]
    WillTopicWildcard,
    /// Will Retain without a will.
    #[error("will retain without a will")]
    WillRetainWithoutWill,
    /// A password without a user name, before 5.0.
    #[error("a password without a user name")]
    PasswordWithoutUserName,
    /// CONNECT ends before its Client Identifier.
    #[error("the client identifier is missing")]
    ClientIdMissing,
    /// CONNECT ends before the will that its flags announce.
    #[error("the will is missing")]
    WillMissing,
    /// CONNECT ends before the user name that its flags announce.
    #[error("the user name is missing")]
    UserNameMissing,
    /// CONNECT ends before the password that its flags announce.
    #[error("the password is missing")]
    PasswordMissing,
    /// An empty Client Identifier where the session is to be kept (before 5.0), or at all (3.1).
    #[error("an empty client identifier needs a clean session")]
    ClientIdEmpty,
    /// Bits 7 to 1 of the connect acknowledge flags.
    #[error("reserved connect acknowledge flags are set")]
    ConnAckFlags,
    /// Session Present in a CONNACK that refuses.
    #[error("session present in a refusal")]
    SessionPresentInRefusal,
    /// A reason code that this packet does not have.
    #[error("the reason code does not exist in {0:?}")]
    ReasonCode(PacketType),
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter.
    #[error("{0:?} without a topic filter")]
    NoFilters(PacketType),
    /// SUBACK, or UNSUBACK of 5.0, without a reason code.
    #[error("{0:?} without a reason code")]
    NoReasonCodes(PacketType),
    /// Reserved bits of the subscription options.
    #[error("reserved subscription options are set")]
    SubscribeOptionsReserved,
    /// Maximum QoS 3 in the subscription options.
    #[error("a subscription asks for QoS 3")]
    SubscribeQosReserved,
    /// Retain Handling 3 in the subscription options.
    #[error("retain handling 3 does not exist")]
    RetainHandlingReserved,
    /// No Local on a shared subscription.
    #[error("no local on a shared subscription")]
    NoLocalOnShared,
    /// A property that does not exist, or not in this packet.
    #[error("the property does not exist in this packet")]
    PropertyNotAllowed,
    /// A property section that does not end where its length says.
    #[error("the property section does not end where it says")]
    PropertyLength,
    /// A property that may stand once stands twice.
    #[error("the property {0:?} stands more than once")]
    PropertyRepeated(PropertyId),
    /// A property with a value that it cannot have.
    #[error("the property {0:?} has a value that it cannot have")]
    PropertyValue(PropertyId),
    /// Authentication Data in a CONNECT without Authentication Method.
    #[error("authentication data without a method")]
    AuthDataWithoutMethod,
    /// AUTH without Authentication Method.
    #[error("AUTH without an authentication method")]
    AuthMethodMissing,
    /// A PUBLISH from a client with a Subscription Identifier.
    #[error("a client's PUBLISH has a subscription identifier")]
    SubscriptionIdFromClient,
    /// A DISCONNECT from a server with a Session Expiry Interval.
    #[error("a server's DISCONNECT has a session expiry interval")]
    SessionExpiryFromServer,
    /// A DISCONNECT from a client with a Server Reference.
    #[error("a client's DISCONNECT has a server reference")]
    ServerReferenceFromClient,
}

/// The identifier of 3.x or of 5.0.
const fn either(v5: bool, id_3: &'static str, id_5: &'static str) -> &'static str {
    if v5 { id_5 } else { id_3 }
}

impl DecodeError {
    /// The normative statement that the bytes break: `MQTT-x.y.z-n`, or `U311-..`/`U5-..` for the rules that the
    /// standard states without a number (see `spec/` in the repository), or the section where it leaves the choice to
    /// the receiver.
    pub const fn rule(self, version: Version) -> &'static str {
        let v5 = matches!(version, Version::V5);
        match self {
            Self::RemainingLength => either(v5, "U311-2.2.3-1", "U5-1.5.5-1"),
            Self::OverlongInteger => "MQTT-1.5.5-1",
            Self::ReservedPacketType => either(v5, "U311-2.2.1-1", "MQTT-4.13.1-1"),
            Self::UnexpectedPacket | Self::Truncated | Self::TrailingBytes => {
                either(v5, "MQTT-4.8.0-1", "MQTT-4.13.1-1")
            }
            Self::PacketTooLarge => either(v5, "MQTT-4.8.0-2", "MQTT-3.2.2-15"),
            Self::ReservedFlags => either(v5, "MQTT-2.2.2-2", "MQTT-2.1.3-1"),
            Self::String(error) => error.rule(version),
            Self::PacketIdZero => either(v5, "MQTT-2.3.1-1", "MQTT-2.2.1-3"),
            Self::QosReserved => "MQTT-3.3.1-4",
            Self::DupAtQos0 => "MQTT-3.3.1-2",
            Self::TopicMissing => either(v5, "MQTT-4.7.3-1", "U5-3.3.2-1"),
            Self::ResponseTopic => "MQTT-3.3.2-14",
            Self::ProtocolName => "MQTT-3.1.2-1",
            Self::ProtocolLevel => "MQTT-3.1.2-2",
            Self::ConnectFlagReserved => "MQTT-3.1.2-3",
            Self::WillQosReserved => either(v5, "MQTT-3.1.2-14", "MQTT-3.1.2-12"),
            Self::WillQosWithoutWill => either(v5, "MQTT-3.1.2-13", "MQTT-3.1.2-11"),
            // What is said of PUBLISH [MQTT-3.3.2-2] is not said of CONNECT: here it is the rule about every topic name.
            Self::WillTopicWildcard => either(v5, "MQTT-4.7.1-1", "MQTT-4.7.0-1"),
            Self::WillRetainWithoutWill => either(v5, "MQTT-3.1.2-15", "MQTT-3.1.2-13"),
            Self::PasswordWithoutUserName => "MQTT-3.1.2-22",
            Self::ClientIdMissing => "MQTT-3.1.3-3",
            Self::WillMissing => "MQTT-3.1.2-9",
            Self::UserNameMissing => either(v5, "MQTT-3.1.2-19", "MQTT-3.1.2-17"),
            Self::PasswordMissing => either(v5, "MQTT-3.1.2-21", "MQTT-3.1.2-19"),
            Self::ClientIdEmpty => "MQTT-3.1.3-7",
            Self::ConnAckFlags => either(v5, "U311-3.1.2-1", "MQTT-3.2.2-1"),
            Self::SessionPresentInRefusal => either(v5, "MQTT-3.2.2-4", "MQTT-3.2.2-6"),
            Self::ReasonCode(packet) => reason_code_rule(packet, v5),
            Self::NoFilters(PacketType::Unsubscribe) => "MQTT-3.10.3-2",
            Self::NoFilters(_) => either(v5, "MQTT-3.8.3-3", "MQTT-3.8.3-2"),
            Self::NoReasonCodes(PacketType::UnsubAck) => "MQTT-3.11.3-1",
            Self::NoReasonCodes(_) => either(v5, "MQTT-3.8.4-5", "MQTT-3.8.4-6"),
            Self::SubscribeOptionsReserved => either(v5, "MQTT-3.8.3-4", "MQTT-3.8.3-5"),
            Self::SubscribeQosReserved => either(v5, "MQTT-3.8.3-4", "U5-3.8.3-1"),
            Self::RetainHandlingReserved => "U5-3.8.3-2",
            Self::NoLocalOnShared => "MQTT-3.8.3-4",
            Self::PropertyNotAllowed => "U5-2.2.2-1",
            Self::PropertyLength => "U5-2.2.2-2",
            Self::PropertyRepeated(PropertyId::SubscriptionIdentifier) => "U5-3.8.2-1",
            Self::PropertyRepeated(_) => "U5-3.1.2-1",
            Self::PropertyValue(property) => property_value_rule(property),
            Self::AuthDataWithoutMethod => "U5-3.1.2-5",
            Self::AuthMethodMissing => "U5-3.15.2-1",
            Self::SubscriptionIdFromClient => "MQTT-3.3.4-6",
            Self::SessionExpiryFromServer => "MQTT-3.14.2-2",
            Self::ServerReferenceFromClient => "MQTT-4.13.1-1",
        }
    }

    /// The reason code to answer with, by DISCONNECT, or by CONNACK where the packet was a CONNECT
    /// (5.0 section 4.13). Before 5.0 only those of CONNACK can be told to the peer.
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::String(error) => error.reason_code(),
            Self::PacketTooLarge => ReasonCode::PACKET_TOO_LARGE,
            Self::ProtocolName | Self::ProtocolLevel => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::ClientIdEmpty => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            Self::WillTopicWildcard => ReasonCode::TOPIC_NAME_INVALID,
            Self::PropertyValue(PropertyId::TopicAlias) => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::UnexpectedPacket
            | Self::PacketIdZero
            | Self::TopicMissing
            | Self::ResponseTopic
            | Self::SessionPresentInRefusal
            | Self::ReasonCode(_)
            | Self::NoFilters(_)
            | Self::NoReasonCodes(_)
            | Self::SubscribeQosReserved
            | Self::RetainHandlingReserved
            | Self::NoLocalOnShared
            | Self::PropertyRepeated(_)
            | Self::PropertyValue(_)
            | Self::AuthDataWithoutMethod
            | Self::AuthMethodMissing
            | Self::SubscriptionIdFromClient
            | Self::SessionExpiryFromServer
            | Self::ServerReferenceFromClient => ReasonCode::PROTOCOL_ERROR,
            _ => ReasonCode::MALFORMED_PACKET,
        }
    }
}

/// Which statement lists the reason codes of a packet.
const fn reason_code_rule(packet: PacketType, v5: bool) -> &'static str {
    match packet {
        PacketType::ConnAck => either(v5, "MQTT-3.2.2-6", "MQTT-3.2.2-8"),
        PacketType::PubAck => "MQTT-3.4.2-1",
        PacketType::PubRec => "MQTT-3.5.2-1",
        PacketType::PubRel => "MQTT-3.6.2-1",
        PacketType::PubComp => "MQTT-3.7.2-1",
        PacketType::SubAck => "MQTT-3.9.3-2",
        PacketType::UnsubAck => "MQTT-3.11.3-2",
        PacketType::Disconnect => "MQTT-3.14.2-1",
        _ => "MQTT-3.15.2-1",
    }
}

/// Which statement bounds the value of a property.
const fn property_value_rule(property: PropertyId) -> &'static str {
    match property {
        PropertyId::ReceiveMaximum => "U5-3.1.2-2",
        PropertyId::MaximumPacketSize => "U5-3.1.2-3",
        PropertyId::RequestProblemInformation | PropertyId::RequestResponseInformation => "U5-3.1.2-4",
        PropertyId::TopicAlias => "MQTT-3.3.2-8",
        PropertyId::SubscriptionIdentifier => "U5-3.3.2-5",
        PropertyId::PayloadFormatIndicator => "section 3.3.2.3.2",
        _ => "U5-3.2.2-1",
    }
}

/// Why a packet was not written. Nothing was written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The lent memory is too small; `encoded_len` tells how much it takes.
    #[error("no room for the packet")]
    NoRoom,
    /// A field is longer than 65,535 bytes, or the packet than 268,435,460.
    #[error("a field or the packet is longer than the protocol can say")]
    TooLong,
    /// The packet, or what it says, does not exist in this version of the protocol.
    #[error("not in this version of the protocol")]
    NotInVersion,
    /// The packet would break a rule of the standard.
    #[error("the packet would break a rule: {0}")]
    Rule(#[from] DecodeError),
}
