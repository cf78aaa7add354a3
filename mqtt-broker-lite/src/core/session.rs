//! What is known about a client and may outlive its connections (3.1.1 section 3.1.2.4, 5.0 section 4.1).

use super::connection::Connection;
use super::outbound::Outbound;
use super::recall::Replay;
use super::{Cause, Client, SessionNumber, SessionRecord, StoredWill};
use mqtt_packet::{PacketId, SubscribeOptions};
use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A session that never ends by itself.
pub(super) const FOR_EVER: u32 = u32::MAX;

/// A subscription of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// Its options, the QoS being the granted one.
    pub options: SubscribeOptions,
    /// Its Subscription Identifier; 0 for none.
    pub id: u32,
}

/// A client as a key of a table, by its Client Identifier, which is not copied for that.
#[derive(Debug)]
pub(super) struct ByClientId(pub(super) Arc<Client>);

impl Borrow<str> for ByClientId {
    fn borrow(&self) -> &str {
        &self.0.client_id
    }
}

impl Hash for ByClientId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.client_id.hash(state);
    }
}

impl PartialEq for ByClientId {
    fn eq(&self, other: &Self) -> bool {
        self.0.client_id == other.0.client_id
    }
}

impl Eq for ByClientId {}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: SessionNumber,
    pub(super) client: Arc<Client>,
    /// For how many seconds it outlives its connection.
    pub(super) expiry: u32,
    pub(super) connection: Option<Box<Connection>>,
    pub(super) subscriptions: BTreeMap<Box<str>, SubscriptionRecord>,
    /// Its shared subscriptions, by their names.
    pub(super) groups: Vec<Box<str>>,
    /// QoS 2 messages of the client that wait for PUBREL, and the causes under which they were stored.
    pub(super) received: BTreeMap<PacketId, Option<Cause>>,
    pub(super) outbound: Outbound,
    /// Retained messages that are still to be sent for subscriptions.
    pub(super) replays: VecDeque<Replay>,
    pub(super) will: Option<StoredWill>,
    pub(super) away: Option<Away>,
    /// When the takeovers so far are forgotten, by the monotonic clock.
    pub(super) takeovers_end: u64,
    /// What publishers wait for who wrote faster than this session's client reads.
    pub(super) waits_for_room: Option<Cause>,
    /// It was waited for in vain; nobody waits again until it has read.
    pub(super) is_given_up: bool,
    /// Whether the store knows it.
    pub(super) is_stored: bool,
}

/// A session without a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Away {
    /// Since when, in milliseconds since 1970.
    pub(super) since: u64,
    /// When it ends, by the monotonic clock.
    pub(super) ends: Option<u64>,
    /// When its will is published, by the monotonic clock.
    pub(super) will_at: Option<u64>,
}

impl Session {
    pub(super) fn new(number: SessionNumber, client: Arc<Client>) -> Self {
        Self {
            number,
            client,
            expiry: 0,
            connection: None,
            subscriptions: BTreeMap::new(),
            groups: Vec::new(),
            received: BTreeMap::new(),
            outbound: Outbound::default(),
            replays: VecDeque::new(),
            will: None,
            away: None,
            takeovers_end: 0,
            waits_for_room: None,
            is_given_up: false,
            is_stored: false,
        }
    }

    /// Whether it outlives its connection, so that messages must be kept until they are acknowledged.
    pub(super) fn is_kept(&self) -> bool {
        self.expiry > 0
    }

    pub(super) fn record(&self) -> SessionRecord {
        SessionRecord {
            client: Arc::clone(&self.client),
            expiry: self.expiry,
            away_since: self.away.map(|away| away.since),
            will: self.will.clone(),
        }
    }
}
