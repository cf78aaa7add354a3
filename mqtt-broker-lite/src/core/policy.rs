//! Who may connect and who may do what: asked at every step, answered by whoever embeds the core.

use super::{Client, ConnId};
use mqtt_packet::ReasonCode;

/// What a client says about itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The connection, for who knows more about it: a certificate, an address.
    pub connection: ConnId,
    /// The Client Identifier, the assigned one where it gave none.
    pub client_id: Box<str>,
    /// The user name.
    pub user_name: Option<Box<str>>,
    /// The password.
    pub password: Option<Box<[u8]>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("connection", &self.connection)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

/// Whether a client may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allow,
    /// No, with the code for CONNACK.
    Refuse(ReasonCode),
    /// It takes longer: ask by [`Output::Ask`](super::Output::Ask).
    Ask,
}

/// What a client wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Publish under a topic name, now or by its will.
    Publish,
    /// Subscribe to a topic filter; of a shared subscription, the filter inside.
    Subscribe,
    /// Receive a message of a topic name, asked for every message.
    Receive,
}

/// One step of an extended authentication (5.0 section 4.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthStep {
    /// The client is to answer this.
    Continue(Vec<u8>),
    /// The client is who it says; the last data for it, if there is any.
    Success(Option<Vec<u8>>),
    /// It is not.
    Refuse(ReasonCode),
}

/// The server's side of one extended authentication.
pub trait Mechanism: Send {
    /// What the client sent, nothing if it sent no data.
    fn step(&mut self, data: &[u8]) -> AuthStep;

    /// The user name that was proven, once there is one. It counts instead of the one in CONNECT, which nobody
    /// checked; without one the client has none.
    fn user_name(&self) -> Option<&str> {
        None
    }
}

/// Decides what clients may do. Answers at once: what takes time is [`Verdict::Ask`].
pub trait Policy: Send {
    /// Whether a client may connect.
    fn authenticate(&mut self, credentials: &Credentials) -> Verdict;

    /// Whether a connected client may do something with a topic.
    fn authorize(&mut self, client: &Client, access: Access, topic: &str) -> bool;

    /// Whether [`authorize`](Self::authorize) can ever say no for this access: if not, it is not asked.
    fn restricts(&self, access: Access) -> bool {
        let _ = access;
        true
    }

    /// The server's side of an extended authentication by this method; `None` where the method is not supported. The
    /// entropy is of the connection, for whatever needs some.
    fn mechanism(&mut self, method: &str, client_id: &str, entropy: [u8; 16]) -> Option<Box<dyn Mechanism>> {
        let _ = (method, client_id, entropy);
        None
    }
}

/// Everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn authenticate(&mut self, _: &Credentials) -> Verdict {
        Verdict::Allow
    }

    fn authorize(&mut self, _: &Client, _: Access, _: &str) -> bool {
        true
    }

    fn restricts(&self, _: Access) -> bool {
        false
    }
}
