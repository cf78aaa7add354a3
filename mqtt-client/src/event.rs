//! What the engine reports: [`Event`]s, borrowed from what was received, and [`Outcome`]s of what was asked for.

use mqtt_packet::{
    Ack, Auth, ConnAck, Delivery, Disconnect, PacketId, Properties, Publish, PublishHead, ReasonCode, SubAck,
    UnsubAck,
};

/// What came from the server and is of interest to the application.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'rx> {
    /// The server accepted the connection.
    Connected(Connected<'rx>),
    /// The server refused the connection, and why. It is over.
    Refused(ConnAck<'rx>),
    /// A message.
    Message {
        /// The message; its topic is there also where the server sent an alias.
        publish: Publish<'rx>,
        /// To be handed to [`Engine::accept`](crate::Engine::accept), where acknowledgement is by hand; otherwise,
        /// and at QoS 0, there is none.
        receipt: Option<Receipt>,
    },
    /// The front of a message that is larger than the receive buffer. Its payload follows in [`Event::Chunk`]s; if
    /// the connection ends before the last one, the message counts as not received.
    MessageStart(PublishHead<'rx>),
    /// The next bytes of that message's payload.
    Chunk {
        /// At least one byte.
        bytes: &'rx [u8],
        /// Whether this was the last of it.
        last: bool,
        /// With the last one, as in [`Event::Message`].
        receipt: Option<Receipt>,
    },
    /// The server answered SUBSCRIBE: one reason code for each topic filter, in their order. The ticket's outcome
    /// follows.
    Granted(Ticket, SubAck<'rx>),
    /// The server answered UNSUBSCRIBE. The ticket's outcome follows.
    Unsubscribed(Ticket, UnsubAck<'rx>),
    /// The server acknowledged a message and had more to say than a reason code. The ticket's outcome follows.
    Acknowledged(Ticket, Ack<'rx>),
    /// The next step of an extended authentication, to be answered with [`Engine::auth`](crate::Engine::auth); or
    /// its success after a re-authentication.
    Auth(Auth<'rx>),
    /// The server leaves, says why, and may name another server. The connection is over.
    Disconnected(Disconnect<'rx>),
    /// A request is over. Only from the blocking client; the engine says so by
    /// [`Engine::poll_completion`](crate::Engine::poll_completion).
    Completed(Ticket, Outcome),
}

/// An accepted connection.
#[derive(Clone, Copy, Debug)]
pub struct Connected<'rx> {
    /// Whether the server resumed the session. If not, it knows none of the subscriptions that were made before.
    pub session_present: bool,
    /// What else the server said; the limits among it are obeyed already.
    pub properties: Properties<'rx>,
}

/// Names a request until its [`Outcome`] was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    number: u16,
    #[cfg(feature = "qos0-outcomes")]
    at_most_once: bool,
}

impl Ticket {
    /// The ticket of a message of QoS 0, whose outcome is not told.
    #[cfg(not(feature = "qos0-outcomes"))]
    pub(crate) const NONE: Self = Self { number: 0 };

    pub(crate) const fn of(id: PacketId) -> Self {
        Self {
            number: id.get(),
            #[cfg(feature = "qos0-outcomes")]
            at_most_once: false,
        }
    }

    #[cfg(feature = "qos0-outcomes")]
    pub(crate) const fn at_most_once(number: u16) -> Self {
        Self { number, at_most_once: true }
    }

    /// The Packet Identifier of the request; a PUBLISH of QoS 0 has none.
    pub const fn packet_id(self) -> Option<PacketId> {
        #[cfg(feature = "qos0-outcomes")]
        if self.at_most_once {
            return None;
        }
        PacketId::new(self.number)
    }
}

/// What became of a request. Every ticket has one outcome, once; without the feature `qos0-outcomes` that of a message of
/// QoS 0 has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A message of QoS 0 was handed to the network.
    Written,
    /// The server answered: a message was acknowledged whole (PUBACK, PUBCOMP) or refused (also by PUBREC), a
    /// subscription granted or refused, with the first failure among several topic filters.
    Answered(ReasonCode),
    /// There is no answer, and there will be none.
    Lost(Loss),
}

impl Outcome {
    /// Whether what was asked for is done.
    pub const fn is_success(self) -> bool {
        match self {
            Self::Written => true,
            Self::Answered(code) => !code.is_error(),
            Self::Lost(_) => false,
        }
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Loss {
    /// The connection ended first; a subscription or a message of QoS 0 is not repeated.
    Closed = 0,
    /// The session ended, at the server or here, with the message unacknowledged: it may have arrived or not.
    SessionLost = 1,
    /// The message is larger than the server of a later connection takes.
    TooLarge = 2,
    /// The server of a later connection does not take its QoS.
    QosNotSupported = 3,
    /// The server of a later connection keeps no retained messages.
    RetainNotSupported = 4,
}

impl Loss {
    pub(crate) const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Closed,
            1 => Self::SessionLost,
            2 => Self::TooLarge,
            3 => Self::QosNotSupported,
            _ => Self::RetainNotSupported,
        }
    }
}

/// The right to acknowledge a received message, on the connection on which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    pub(crate) delivery: Delivery,
    pub(crate) connection: u16,
}

impl Receipt {
    /// The Packet Identifier of the message.
    pub const fn packet_id(self) -> Option<PacketId> {
        self.delivery.id()
    }
}
