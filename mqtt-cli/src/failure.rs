//! Why a program ends, and with which exit code: those of mosquitto's programs.

use mqtt_client_async::{
    ConnectionError, DeliveryError, PublishError, ReasonCode, RequestError, SubscribeError, Version,
};

/// The time that was given is over.
pub(crate) const TIMED_OUT: u8 = 27;
/// The connection ended before everything was done.
const CONNECTION_LOST: u8 = 7;
/// The message is larger than the server takes.
const OVERSIZE: u8 = 25;

/// An end that is not a success.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// For people; nothing where it was said before.
    pub(crate) words: String,
    /// Whether the words are about the command line: `--quiet` does not hide them, and the way to help follows.
    pub(crate) is_usage: bool,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: u8, words: impl Into<String>) -> Self {
        Self { code, words: words.into(), is_usage: false }
    }

    /// The command line is wrong.
    pub(crate) fn usage(words: impl Into<String>) -> Self {
        Self { code: 1, words: format!("Error: {}", words.into()), is_usage: true }
    }

    /// Something that this program needs does not work.
    pub(crate) fn error(words: impl std::fmt::Display) -> Self {
        Self::new(1, format!("Error: {words}"))
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(TIMED_OUT, "Timed out")
    }

    /// There is no connection, or not any more.
    pub(crate) fn connection(error: &ConnectionError, version: Version) -> Self {
        match error {
            ConnectionError::Refused(words) => {
                let code = return_code(words.reason_code, version);
                let mut text = match version {
                    Version::V5 => described(words),
                    _ => refusal(code).to_owned(),
                };
                if words.reason_code == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION && version == Version::V5 {
                    text.push_str(". Try connecting to an MQTT v5 broker, or use MQTT v3.x mode");
                }
                Self::new(code, format!("Connection error: {text}"))
            }
            ConnectionError::Disconnected(words) => {
                Self::new(words.reason_code.0, format!("Error: the server ended the connection: {words}"))
            }
            ConnectionError::ClosedByServer | ConnectionError::Broken(_) => {
                Self::new(CONNECTION_LOST, "Error: The connection was lost.")
            }
            ConnectionError::Options(RequestError::TooLarge) => {
                Self::new(OVERSIZE, format!("Error: {error}"))
            }
            _ => Self::error(error),
        }
    }

    pub(crate) fn delivery(error: &DeliveryError) -> Self {
        match error {
            DeliveryError::Refused(acknowledgement) => {
                let place = mqtt_packet::PropertyPlace::of(mqtt_packet::PacketType::PubAck);
                let properties = acknowledgement.properties.at(place).ok();
                let why = properties.and_then(|properties| properties.reason_string());
                let why = why.map(|why| format!(": {}", why.as_str())).unwrap_or_default();
                let code = acknowledgement.reason_code;
                Self::new(code.0, format!("Error: the server refused the message: {code}{why}"))
            }
            DeliveryError::NotSent(RequestError::TooLarge | RequestError::NoRoom) => {
                Self::new(OVERSIZE, "Error: Message payload is too large for the server.")
            }
            DeliveryError::NotSent(RequestError::QosNotSupported) => {
                Self::error("Message QoS not supported on broker, try a lower QoS.")
            }
            DeliveryError::Lost(_) | DeliveryError::Closed => {
                Self::new(CONNECTION_LOST, "Error: The connection was lost.")
            }
            DeliveryError::Timeout => Self::timed_out(),
            _ => Self::error(error),
        }
    }

    pub(crate) fn subscription(error: &SubscribeError) -> Self {
        match error {
            SubscribeError::Refused(code) => {
                Self::new(code.0, format!("All subscription requests were denied ({code})."))
            }
            SubscribeError::Timeout => Self::timed_out(),
            _ => Self::error(error),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Timeout => Self::timed_out(),
            _ => Self::error(error),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::error(error)
    }
}

/// What the server said, without the number.
fn described(words: &mqtt_client_async::ServerWords) -> String {
    let mut text = words.reason_code.name().map_or_else(|| words.reason_code.to_string(), str::to_owned);
    for more in [&words.reason_string, &words.server_reference].into_iter().flatten() {
        text.push_str(": ");
        text.push_str(more);
    }
    text
}

/// The code that CONNACK had: before 5.0 the numbers are others (3.1.1 section 3.2.2.3).
fn return_code(code: ReasonCode, version: Version) -> u8 {
    match code {
        _ if version == Version::V5 => code.0,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => 1,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => 2,
        ReasonCode::SERVER_UNAVAILABLE => 3,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => 4,
        ReasonCode::NOT_AUTHORIZED => 5,
        ReasonCode(other) => other,
    }
}

const fn refusal(code: u8) -> &'static str {
    match code {
        1 => "Connection Refused: unacceptable protocol version.",
        2 => "Connection Refused: identifier rejected.",
        3 => "Connection Refused: broker unavailable.",
        4 => "Connection Refused: bad user name or password.",
        5 => "Connection Refused: not authorised.",
        _ => "Connection Refused: unknown reason.",
    }
}
