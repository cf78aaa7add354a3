//! Reason codes: their names, and which packet may carry which, as data (5.0 section 2.4). The codes of 3.x are the
//! same values under other numbers, translated at this border.

use crate::{PacketType, Role, Version};
use core::fmt;

/// Why something was accepted or refused. Below 0x80 is success.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ReasonCode(pub u8);

/// Sets of packets, one bit each. DISCONNECT and AUTH have two more, in the place of packets without a reason code: what a
/// client may say and what a server may say.
const CONNACK: u16 = bit(PacketType::ConnAck);
const PUBACK: u16 = bit(PacketType::PubAck);
const PUBREC: u16 = bit(PacketType::PubRec);
const PUBREL: u16 = bit(PacketType::PubRel);
const PUBCOMP: u16 = bit(PacketType::PubComp);
const SUBACK: u16 = bit(PacketType::SubAck);
const UNSUBACK: u16 = bit(PacketType::UnsubAck);
const DISCONNECT_S: u16 = bit(PacketType::Disconnect) | bit(PacketType::Publish);
const DISCONNECT_C: u16 = bit(PacketType::Disconnect) | 1;
const DISCONNECT: u16 = DISCONNECT_C | DISCONNECT_S;
const AUTH_S: u16 = bit(PacketType::Auth) | bit(PacketType::Subscribe);
const AUTH_C: u16 = bit(PacketType::Auth) | bit(PacketType::Connect);
const AUTH: u16 = AUTH_C | AUTH_S;
/// The packets that have one, whoever sends them.
const CODED: u16 = CONNACK
    | PUBACK
    | PUBREC
    | PUBREL
    | PUBCOMP
    | SUBACK
    | UNSUBACK
    | bit(PacketType::Disconnect)
    | bit(PacketType::Auth);

const fn bit(packet: PacketType) -> u16 {
    1 << packet as u8
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $packets:expr;)*) => {
        impl ReasonCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The name that the standard gives the code; `None` for a number that has none.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }

        /// Which packets may carry the codes 0x00 to 0x1F, and those from 0x80 on.
        static PACKETS: [[u16; 36]; 2] = {
            let mut packets = [[0; 36]; 2];
            $(
                #[allow(clippy::indexing_slicing)] // Evaluated by the compiler.
                { packets[$code >> 7][$code & 0x7F] = $packets; }
            )*
            packets
        };
    };
}

reason_codes! {
    /// Success, Normal disconnection, or Granted QoS 0.
    SUCCESS = 0x00, "Success", CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH_S;
    /// The subscription was granted with at most QoS 1.
    GRANTED_QOS_1 = 0x01, "Granted QoS 1", SUBACK;
    /// The subscription was granted with at most QoS 2.
    GRANTED_QOS_2 = 0x02, "Granted QoS 2", SUBACK;
    /// The client leaves and wants its will published.
    DISCONNECT_WITH_WILL_MESSAGE = 0x04, "Disconnect with Will Message", DISCONNECT_C;
    /// The message was accepted and nobody is subscribed to it.
    NO_MATCHING_SUBSCRIBERS = 0x10, "No matching subscribers", PUBACK | PUBREC;
    /// There was no such subscription to remove.
    NO_SUBSCRIPTION_EXISTED = 0x11, "No subscription existed", UNSUBACK;
    /// The authentication goes on with another step.
    CONTINUE_AUTHENTICATION = 0x18, "Continue authentication", AUTH;
    /// The client starts a re-authentication.
    RE_AUTHENTICATE = 0x19, "Re-authenticate", AUTH_C;
    /// The peer does not want to say why.
    UNSPECIFIED_ERROR = 0x80, "Unspecified error", CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    /// Bytes that are not a packet.
    MALFORMED_PACKET = 0x81, "Malformed Packet", CONNACK | DISCONNECT;
    /// A packet that may not come here or says what it must not.
    PROTOCOL_ERROR = 0x82, "Protocol Error", CONNACK | DISCONNECT;
    /// A valid packet that this peer does not accept.
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83, "Implementation specific error", CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    /// The server does not speak this version.
    UNSUPPORTED_PROTOCOL_VERSION = 0x84, "Unsupported Protocol Version", CONNACK;
    /// The server does not allow this Client Identifier.
    CLIENT_IDENTIFIER_NOT_VALID = 0x85, "Client Identifier not valid", CONNACK;
    /// The server does not know these credentials.
    BAD_USER_NAME_OR_PASSWORD = 0x86, "Bad User Name or Password", CONNACK;
    /// The client may not do this.
    NOT_AUTHORIZED = 0x87, "Not authorized", CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT_S;
    /// The server is not available.
    SERVER_UNAVAILABLE = 0x88, "Server unavailable", CONNACK;
    /// The server is busy; try later.
    SERVER_BUSY = 0x89, "Server busy", CONNACK | DISCONNECT_S;
    /// The client is banned by an administrator.
    BANNED = 0x8A, "Banned", CONNACK;
    /// The server goes down.
    SERVER_SHUTTING_DOWN = 0x8B, "Server shutting down", DISCONNECT_S;
    /// The authentication method is not supported, or not the current one.
    BAD_AUTHENTICATION_METHOD = 0x8C, "Bad authentication method", CONNACK | DISCONNECT;
    /// Nothing came for one and a half times the Keep Alive.
    KEEP_ALIVE_TIMEOUT = 0x8D, "Keep Alive timeout", DISCONNECT_S;
    /// Another connection uses the same Client Identifier.
    SESSION_TAKEN_OVER = 0x8E, "Session taken over", DISCONNECT_S;
    /// The topic filter is well-formed but not accepted.
    TOPIC_FILTER_INVALID = 0x8F, "Topic Filter invalid", SUBACK | UNSUBACK | DISCONNECT_S;
    /// The topic name is well-formed but not accepted.
    TOPIC_NAME_INVALID = 0x90, "Topic Name invalid", CONNACK | PUBACK | PUBREC | DISCONNECT;
    /// The Packet Identifier is in use.
    PACKET_IDENTIFIER_IN_USE = 0x91, "Packet Identifier in use", PUBACK | PUBREC | SUBACK | UNSUBACK;
    /// The Packet Identifier is not known.
    PACKET_IDENTIFIER_NOT_FOUND = 0x92, "Packet Identifier not found", PUBREL | PUBCOMP;
    /// More messages in flight than Receive Maximum allows.
    RECEIVE_MAXIMUM_EXCEEDED = 0x93, "Receive Maximum exceeded", DISCONNECT;
    /// A Topic Alias of 0 or above the Topic Alias Maximum.
    TOPIC_ALIAS_INVALID = 0x94, "Topic Alias invalid", DISCONNECT;
    /// A packet above the Maximum Packet Size.
    PACKET_TOO_LARGE = 0x95, "Packet too large", CONNACK | DISCONNECT;
    /// Too many messages in too short a time.
    MESSAGE_RATE_TOO_HIGH = 0x96, "Message rate too high", DISCONNECT;
    /// A limit of the peer is reached.
    QUOTA_EXCEEDED = 0x97, "Quota exceeded", CONNACK | PUBACK | PUBREC | SUBACK | DISCONNECT;
    /// An administrator closed the connection.
    ADMINISTRATIVE_ACTION = 0x98, "Administrative action", DISCONNECT;
    /// The payload is not what its format indicator says.
    PAYLOAD_FORMAT_INVALID = 0x99, "Payload format invalid", CONNACK | PUBACK | PUBREC | DISCONNECT;
    /// The server does not keep retained messages.
    RETAIN_NOT_SUPPORTED = 0x9A, "Retain not supported", CONNACK | DISCONNECT_S;
    /// A QoS above the peer's Maximum QoS.
    QOS_NOT_SUPPORTED = 0x9B, "QoS not supported", CONNACK | DISCONNECT;
    /// Use another server for now.
    USE_ANOTHER_SERVER = 0x9C, "Use another server", CONNACK | DISCONNECT_S;
    /// Use another server for good.
    SERVER_MOVED = 0x9D, "Server moved", CONNACK | DISCONNECT_S;
    /// The server has no shared subscriptions.
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E, "Shared Subscriptions not supported", SUBACK | DISCONNECT_S;
    /// Too many connections in too short a time.
    CONNECTION_RATE_EXCEEDED = 0x9F, "Connection rate exceeded", CONNACK | DISCONNECT_S;
    /// The time that was granted to this connection is over.
    MAXIMUM_CONNECT_TIME = 0xA0, "Maximum connect time", DISCONNECT_S;
    /// The server has no Subscription Identifiers.
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1, "Subscription Identifiers not supported", SUBACK | DISCONNECT_S;
    /// The server has no wildcard subscriptions.
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2, "Wildcard Subscriptions not supported", SUBACK | DISCONNECT_S;
}

/// The return codes of CONNACK before 5.0.
static CONNACK_3: [ReasonCode; 6] = [
    ReasonCode::SUCCESS,
    ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
    ReasonCode::SERVER_UNAVAILABLE,
    ReasonCode::BAD_USER_NAME_OR_PASSWORD,
    ReasonCode::NOT_AUTHORIZED,
];

impl ReasonCode {
    /// Whether the code reports a failure: 0x80 and above.
    #[inline]
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// Whether a 5.0 packet of this type may carry the code, from whichever side.
    ///
    /// Two codes that the standard lists inconsistently are accepted in DISCONNECT from both sides: 0x8C and 0x9B.
    #[inline]
    pub fn is_allowed_in(self, packet: PacketType) -> bool {
        self.packets() & bit(packet) & CODED != 0
    }

    /// The same, asked for one side.
    pub fn is_allowed_from(self, role: Role, packet: PacketType) -> bool {
        let packets = match (packet, role) {
            (PacketType::Disconnect, Role::Client) => DISCONNECT_C & !CODED,
            (PacketType::Disconnect, Role::Server) => DISCONNECT_S & !CODED,
            (PacketType::Auth, Role::Client) => AUTH_C & !CODED,
            (PacketType::Auth, Role::Server) => AUTH_S & !CODED,
            (other, _) => bit(other) & CODED,
        };
        packet.is_sent_by(role) && self.packets() & packets != 0
    }

    fn packets(self) -> u16 {
        let half = PACKETS.get(usize::from(self.0 >> 7));
        half.and_then(|half| half.get(usize::from(self.0 & 0x7F))).copied().unwrap_or_default()
    }

    /// The return code of a CONNACK before 5.0 (3.1.1 section 3.2.2.3); `None` for 6 and above.
    pub(crate) fn from_connack_3(code: u8) -> Option<Self> {
        CONNACK_3.get(usize::from(code)).copied()
    }

    /// The return code of a CONNACK before 5.0; `None` where there is none for this reason, and the server closes
    /// the connection without a CONNACK [MQTT-3.2.2-6].
    pub(crate) const fn to_connack_3(self) -> Option<u8> {
        Some(match self {
            Self::SUCCESS => 0,
            Self::UNSUPPORTED_PROTOCOL_VERSION => 1,
            Self::CLIENT_IDENTIFIER_NOT_VALID => 2,
            Self::SERVER_UNAVAILABLE => 3,
            Self::BAD_USER_NAME_OR_PASSWORD => 4,
            Self::NOT_AUTHORIZED => 5,
            _ => return None,
        })
    }

    /// Whether a packet of this type can tell this reason in this version.
    pub fn can_be_told(self, version: Version, packet: PacketType) -> bool {
        if version.is_v5() {
            return self.is_allowed_in(packet);
        }
        match packet {
            PacketType::ConnAck => self.to_connack_3().is_some(),
            PacketType::SubAck => self.is_error() || self.0 <= 2,
            _ => self == Self::SUCCESS,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} {}", self.0, self.name().unwrap_or("unknown reason"))
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for ReasonCode {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "0x{=u8:02X}", self.0);
    }
}
