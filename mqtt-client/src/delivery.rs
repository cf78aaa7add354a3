//! The QoS table: what each side of a delivery waits for, and what follows from the packet that comes
//! (3.1.1 and 5.0 section 4.3).
//!
//! Pure functions over stages that are named by what is awaited. Nothing here knows of buffers, time, versions or
//! connections: the client's engine and the broker keep the stages, each in its own way, and ask this table.
//!
//! | sender | PUBACK | PUBREC, success | PUBREC, failure | PUBCOMP |
//! |---|---|---|---|---|
//! | `AwaitPubAck` | done | violation | violation | violation |
//! | `AwaitPubRec` | violation | PUBREL, `AwaitPubComp` | done | violation |
//! | `AwaitPubComp` | violation | PUBREL again | violation | done |
//! | not known | nothing | PUBREL, not found | nothing | nothing |
//!
//! | receiver | PUBLISH QoS 1 | PUBLISH QoS 2 | PUBREL |
//! |---|---|---|---|
//! | not known | deliver, PUBACK | deliver, PUBREC, `AwaitPubRel` | PUBCOMP, not found |
//! | `AwaitAccept` | violation | nothing yet | violation |
//! | `AwaitPubRel` | violation | PUBREC again | PUBCOMP, forget |

use mqtt_packet::{AckKind, QoS, ReasonCode};

/// What the sender of a QoS 1 or QoS 2 message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Sending {
    /// QoS 1: PUBLISH was or will be sent.
    AwaitPubAck = 1,
    /// QoS 2: PUBLISH was or will be sent.
    AwaitPubRec = 2,
    /// QoS 2: PUBREC came, PUBREL was or will be sent; the message itself is never sent again
    /// [MQTT-4.3.3-1 of 3.1.1, MQTT-4.3.3-6 of 5.0].
    AwaitPubComp = 3,
}

/// What the sender does about an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acknowledged {
    /// The exchange is over, the identifier is free. Its outcome is the acknowledgement's reason code.
    Done,
    /// Answer with PUBREL of this reason code. A known exchange now awaits PUBCOMP.
    Release(ReasonCode),
    /// Nothing is known about this identifier and nothing is to be done.
    Ignore,
    /// The peer broke the protocol: the connection is closed.
    Violation,
}

impl Sending {
    /// The first stage of a message of this QoS; `None` at QoS 0, which waits for nothing.
    pub const fn new(qos: QoS) -> Option<Self> {
        match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(Self::AwaitPubAck),
            QoS::ExactlyOnce => Some(Self::AwaitPubRec),
        }
    }

    /// Whether a resumed session repeats the PUBLISH; otherwise it repeats PUBREL.
    pub const fn repeats_publish(self) -> bool {
        !matches!(self, Self::AwaitPubComp)
    }

    /// What follows from an acknowledgement of the receiver: PUBACK, PUBREC or PUBCOMP. `stage` is `None` where
    /// the identifier is not in use.
    pub fn acknowledged(stage: Option<Self>, kind: AckKind, reason: ReasonCode) -> Acknowledged {
        match (stage, kind) {
            (Some(Self::AwaitPubAck), AckKind::PubAck) | (Some(Self::AwaitPubComp), AckKind::PubComp) => {
                Acknowledged::Done
            }
            (Some(Self::AwaitPubRec), AckKind::PubRec) if reason.is_error() => Acknowledged::Done,
            (Some(Self::AwaitPubRec), AckKind::PubRec) => Acknowledged::Release(ReasonCode::SUCCESS),
            (Some(Self::AwaitPubComp), AckKind::PubRec) if !reason.is_error() => {
                Acknowledged::Release(ReasonCode::SUCCESS)
            }
            (None, AckKind::PubRec) if !reason.is_error() => {
                Acknowledged::Release(ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)
            }
            (None, AckKind::PubAck | AckKind::PubRec | AckKind::PubComp) => Acknowledged::Ignore,
            _ => Acknowledged::Violation,
        }
    }
}

/// What the receiver of a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Receiving {
    /// The application, or a store, has not taken the message yet; then PUBACK or PUBREC goes out.
    AwaitAccept = 1,
    /// QoS 2: PUBREC was or will be sent; until PUBREL every repeat is recognised.
    AwaitPubRel = 2,
}

/// What the receiver does about a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// It is new: deliver it, and acknowledge it once it is accepted.
    Deliver,
    /// It was delivered before: send PUBREC again and deliver nothing [MQTT-4.3.3-2 of 3.1.1, MQTT-4.3.3-10 of 5.0].
    Again,
    /// It was delivered before and is not accepted yet: PUBREC is still to come.
    Wait,
    /// The peer uses an identifier for two things at once: the connection is closed.
    Violation,
}

impl Receiving {
    /// What follows from a PUBLISH with this identifier. `stage` is `None` where the identifier is not in use, and at
    /// QoS 0, where there is none.
    pub const fn arrived(stage: Option<Self>, qos: QoS) -> Arrival {
        match (stage, qos) {
            (None, _) | (_, QoS::AtMostOnce) => Arrival::Deliver,
            (Some(_), QoS::AtLeastOnce) => Arrival::Violation,
            (Some(Self::AwaitAccept), QoS::ExactlyOnce) => Arrival::Wait,
            (Some(Self::AwaitPubRel), QoS::ExactlyOnce) => Arrival::Again,
        }
    }

    /// What an accepted message is answered with; `None` at QoS 0.
    pub const fn answer(qos: QoS) -> Option<AckKind> {
        match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(AckKind::PubAck),
            QoS::ExactlyOnce => Some(AckKind::PubRec),
        }
    }

    /// The reason code of the PUBCOMP that answers a PUBREL, after which the identifier is free; `None` where the
    /// peer released what was not acknowledged yet, and the connection is closed. `stage` is `None` where the
    /// identifier is not in use.
    pub const fn released(stage: Option<Self>) -> Option<ReasonCode> {
        match stage {
            Some(Self::AwaitPubRel) => Some(ReasonCode::SUCCESS),
            None => Some(ReasonCode::PACKET_IDENTIFIER_NOT_FOUND),
            Some(Self::AwaitAccept) => None,
        }
    }
}
