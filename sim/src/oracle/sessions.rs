//! Sessions and subscriptions as the clients know them: what is certain, what is possible, what cannot be.

use crate::plan::Plan;
use crate::wire::ConnIndex;
use mqtt_packet::{QoS, TopicFilter, TopicName, Version};

/// A subscription, from the first SUBSCRIBE for it on.
#[derive(Clone, Debug)]
struct Subscription {
    filter: &'static str,
    /// The QoS of the last SUBACK, if nothing was asked since.
    granted: Option<QoS>,
    /// When that came.
    granted_at: Option<u64>,
    /// SUBSCRIBEs of this connection without an answer.
    asked: u32,
    /// UNSUBSCRIBE was sent.
    is_leaving: bool,
    /// Whether it keeps the client's own messages away: by the last SUBSCRIBE, certainly, possibly.
    no_local: [bool; 3],
    /// Whether it wants the retain flag as it was published: certainly, possibly.
    as_published: [bool; 2],
    /// Whether it ever asked for what is retained.
    replays: bool,
    /// When it cannot be there any more.
    until: Option<u64>,
}

/// What the retain flag of a message may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flag {
    /// Some subscription asked for retained messages.
    pub(super) may_replay: bool,
    /// A live message may have the flag that it was published with, or has it for certain.
    pub(super) may_be_kept: bool,
    pub(super) must_be_kept: bool,
}

/// What a SUBSCRIBE asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// To keep the client's own messages away.
    pub no_local: bool,
    /// The retain flag as it was published.
    pub as_published: bool,
    /// What is retained.
    pub replays: bool,
}

/// A client's session.
#[derive(Clone, Debug)]
struct Session {
    version: Version,
    /// Counts the sessions that the client may have had.
    epoch: u32,
    /// Whether the client can be sure that the broker has it.
    is_certain: bool,
    /// For how many seconds it outlives its connection, by the last CONNECT.
    expiry: u32,
    /// Whether the last CONNECT wanted a new one.
    clean_start: bool,
    /// On which connection the last CONNECT was made.
    connection: Option<ConnIndex>,
    /// Since when the broker may take it for lost.
    lost: Option<u64>,
    /// The same of the connection of the last CONNECT, whose CONNACK may be read after its end.
    lost_here: Option<u64>,
    /// Whether it must have ended before the last CONNECT.
    has_expired: bool,
    /// Since when the broker takes it for lost.
    given_up: Option<u64>,
    resumed: u32,
    /// Counts the sessions that there may have been without the client hearing of it.
    generation: u32,
    /// When a connection was given up whose CONNECT asked for a new session and got no answer: the broker may read it
    /// after a later one, and end the session that this one made.
    stray: Option<u64>,
    /// Whether CONNACK came to the last CONNECT.
    is_answered: bool,
    /// How often it connected.
    begun: u32,
    /// When CONNACK came last.
    connected: Option<u64>,
    subscriptions: Vec<Subscription>,
}

/// What the broker does at a moment, the client learns later.
const SLACK: u64 = 1000;

/// So late comes what a client sent, at most.
const LATE: u64 = 15_000;

/// What is wrong with a CONNACK.
pub type Complaint = Option<&'static str>;

/// All of them.
#[derive(Clone, Debug)]
pub struct Sessions {
    sessions: Vec<Session>,
    /// Whether the broker has a disk.
    is_durable: bool,
    /// Whether a wall clock that jumped may have ended sessions early.
    pub is_time_uncertain: bool,
    /// Whether it jumped back: what a broker finds on its disk lasts longer then.
    pub has_gone_back: bool,
}

impl Sessions {
    pub(super) fn new(plan: &Plan) -> Self {
        let sessions = plan.clients.iter().map(|client| Session {
            version: client.version,
            epoch: 0,
            is_certain: false,
            expiry: 0,
            clean_start: false,
            connection: None,
            lost: None,
            lost_here: None,
            given_up: None,
            has_expired: false,
            resumed: 0,
            generation: 0,
            stray: None,
            is_answered: true,
            begun: 0,
            connected: None,
            subscriptions: Vec::new(),
        });
        Self {
            sessions: sessions.collect(),
            is_durable: plan.broker.durable,
            is_time_uncertain: false,
            has_gone_back: false,
        }
    }

    /// A client sends CONNECT on a new connection.
    pub fn dials(&mut self, at: u64, client: usize, index: ConnIndex, clean_start: bool, expiry: u32) {
        let session = &mut self.sessions[client];
        if session.expiry == 0 || clean_start {
            session.end_certainty();
        }
        if session.clean_start && !session.is_answered {
            session.stray = Some(at);
        }
        if session.stray.is_some_and(|since| at <= since + LATE) {
            session.generation += 1;
            session.end_certainty();
        }
        session.is_answered = false;
        session.connection = Some(index);
        session.begun += 1;
        let lifetime = u64::from(session.expiry) * 1000;
        // CONNECT may take a while.
        let may_be_over = |since: u64| at + LATE >= since + lifetime;
        if session.expiry < u32::MAX && (self.is_time_uncertain || session.lost.is_some_and(may_be_over)) {
            session.generation += 1;
        }
        let is_over = |since: u64| at > since + lifetime + SLACK;
        session.has_expired = session.expiry < u32::MAX && session.given_up.is_some_and(is_over);
        // What it finds there the next time it may have made itself, without having heard of it.
        session.given_up = None;
        session.lost_here = None;
        session.clean_start = clean_start;
        session.expiry = expiry;
    }

    /// CONNACK came.
    pub fn connected(&mut self, at: u64, client: usize, session_present: bool) -> Complaint {
        let (is_time_uncertain, has_gone_back) = (self.is_time_uncertain, self.has_gone_back);
        let session = &mut self.sessions[client];
        let lifetime = u64::from(session.expiry) * 1000;
        let lasts = session.expiry == u32::MAX;
        let complaint = if session.version == Version::V3_1 {
            None
        } else if session_present && (session.clean_start || session.expiry == 0) {
            Some("a session is resumed that cannot be there")
        } else if session_present && session.has_expired && !has_gone_back {
            Some("a session is resumed that has expired")
        } else if !session_present
            && session.is_certain
            && (lasts || !is_time_uncertain)
            && (lasts || session.lost.is_none_or(|since| at < since + lifetime))
        {
            Some("a session is not resumed that must be there")
        } else {
            None
        };
        // What is resumed may be a session that was made since, by a CONNECT of which no CONNACK came: then identifiers
        // that the client remembers mean other messages there.
        let may_be_over = !lasts && session.lost.is_some_and(|since| at + SLACK >= since + lifetime);
        let is_doubtful = may_be_over || !session.is_certain;
        if is_doubtful {
            session.end_certainty();
        }
        let is_resumed = session_present || session.version == Version::V3_1 && session.is_certain;
        if is_resumed {
            session.resumed += 1;
        } else {
            session.end_certainty();
            for subscription in &mut session.subscriptions {
                subscription.until.get_or_insert(at);
            }
        }
        for subscription in &mut session.subscriptions {
            subscription.asked = 0;
        }
        session.is_certain = !(is_doubtful && session_present);
        session.is_answered = true;
        session.connected = Some(at);
        session.lost = session.lost_here;
        complaint
    }

    /// Which of its sessions a client may have.
    pub(super) fn epoch(&self, client: usize) -> u32 {
        self.sessions[client].epoch
    }

    /// Which of the sessions that it need not have heard of.
    pub(super) fn generation(&self, client: usize) -> u32 {
        self.sessions[client].generation
    }

    /// Whether the broker keeps a client's session if it crashes.
    pub(super) fn is_kept(&self, client: usize) -> bool {
        self.is_durable && self.sessions[client].expiry > 0
    }

    /// How often a client connected.
    pub(super) fn begun(&self, client: usize) -> u32 {
        self.sessions[client].begun
    }

    /// How often a client's session was resumed.
    pub fn resumed(&self, client: usize) -> u32 {
        self.sessions[client].resumed
    }

    /// A connection of a client is over for somebody.
    pub fn lost(&mut self, at: u64, client: usize, index: ConnIndex) {
        let session = &mut self.sessions[client];
        if session.connection != Some(index) {
            return;
        }
        session.lost.get_or_insert(at);
        session.lost_here.get_or_insert(at);
        if session.expiry == 0 {
            session.end_certainty();
        }
    }

    /// The broker has no connection of this client any more.
    pub fn given_up(&mut self, at: u64, client: usize, index: ConnIndex) {
        let session = &mut self.sessions[client];
        if session.connection == Some(index) {
            session.given_up.get_or_insert(at);
        }
    }

    /// Nothing is certain about a client's session any more.
    pub fn is_void(&mut self, client: usize) {
        self.sessions[client].end_certainty();
    }

    /// The broker crashed. What it was told since `undone` it may have forgotten.
    pub(super) fn broker_crashed(&mut self, keeps_sessions: bool, undone: Option<u64>) {
        for session in &mut self.sessions {
            let is_undone = |at: Option<u64>| undone.zip(at).is_some_and(|(since, at)| at >= since);
            if !keeps_sessions || session.expiry == 0 || is_undone(session.connected) {
                session.end_certainty();
            }
            for subscription in &mut session.subscriptions {
                if is_undone(subscription.granted_at) {
                    subscription.granted = None;
                }
                if is_undone(subscription.until) {
                    subscription.until = None;
                }
            }
        }
    }

    /// The broker has dropped a client's session. The client need not hear of it: a CONNECT without an answer makes
    /// another, which the next one finds.
    pub(super) fn is_dropped(&mut self, client: usize) {
        let session = &mut self.sessions[client];
        session.generation += 1;
        session.end_certainty();
    }

    /// SUBSCRIBE is sent.
    pub fn subscribes(&mut self, client: usize, filter: &'static str, asked: Asked) {
        let Asked { no_local, as_published, replays } = asked;
        let session = &mut self.sessions[client];
        if let Some(known) = session.open(filter) {
            known.granted = None;
            known.asked += 1;
            known.no_local = [no_local, known.no_local[1] & no_local, known.no_local[2] | no_local];
            known.as_published = [known.as_published[0] & as_published, known.as_published[1] | as_published];
            known.replays |= replays;
            return;
        }
        let new = Subscription {
            filter,
            granted: None,
            granted_at: None,
            asked: 1,
            is_leaving: false,
            no_local: [no_local; 3],
            as_published: [as_published; 2],
            replays,
            until: None,
        };
        session.subscriptions.push(new);
    }

    /// SUBACK came.
    pub fn granted(&mut self, at: u64, client: usize, filter: &'static str, qos: QoS) {
        if let Some(known) = self.sessions[client].open(filter) {
            known.asked = known.asked.saturating_sub(1);
            if known.asked == 0 {
                known.granted = Some(qos);
                known.granted_at = Some(at);
                // What is on its way is older.
                known.no_local[2] = known.no_local[0];
            }
        }
    }

    /// UNSUBSCRIBE is sent.
    pub fn unsubscribes(&mut self, client: usize, filter: &'static str) {
        if let Some(known) = self.sessions[client].open(filter) {
            known.granted = None;
            known.is_leaving = true;
        }
    }

    /// UNSUBACK came.
    pub fn unsubscribed(&mut self, at: u64, client: usize, filter: &'static str) {
        for known in &mut self.sessions[client].subscriptions {
            if known.filter == filter && known.is_leaving {
                known.until.get_or_insert(at);
            }
        }
    }

    /// The session of a client that must get a message which comes to the broker now; `None` if it need not.
    pub(super) fn must_get(&self, at: u64, client: usize, publisher: usize, topic: &str) -> Option<u32> {
        let session = self.certain(at, client)?;
        let mut is_wanted = false;
        for subscription in session.matching(topic) {
            if subscription.until.is_none() {
                is_wanted |= subscription.granted.is_some_and(|qos| qos > QoS::AtMostOnce);
                if subscription.no_local[2] && publisher == client {
                    return None;
                }
            }
        }
        is_wanted.then_some(session.epoch)
    }

    /// The session of a client, if it is there for certain.
    fn certain(&self, at: u64, client: usize) -> Option<&Session> {
        // A session that may be about to expire.
        const MARGIN: u64 = 500;
        let session = &self.sessions[client];
        let lifetime = u64::from(session.expiry) * 1000;
        let may_be_over = session.expiry < u32::MAX
            && (self.is_time_uncertain || session.lost.is_some_and(|since| at + MARGIN >= since + lifetime));
        (session.is_certain && !may_be_over).then_some(session)
    }

    /// The session of a client that is a member of a group for certain.
    pub(super) fn must_share(&self, at: u64, client: usize, filter: &str) -> Option<(u32, usize)> {
        let session = self.certain(at, client)?;
        Some((session.epoch, self.member(client, filter)?))
    }

    /// By which of its subscriptions a client is a member of a group, if it has its session.
    pub(super) fn member(&self, client: usize, filter: &str) -> Option<usize> {
        self.sessions[client].subscriptions.iter().position(|known| {
            known.filter == filter && known.until.is_none() && !known.is_leaving && known.granted.is_some()
        })
    }

    /// Whether a client was ever a member of a group.
    pub(super) fn may_share(&self, client: usize, filter: &str) -> bool {
        self.sessions[client].subscriptions.iter().any(|known| known.filter == filter)
    }

    /// Whether a client can have had a subscription for a topic since a message came to the broker; without that
    /// moment ever, if it is its own message one that takes those.
    pub(super) fn may_get(&self, client: usize, since: Option<u64>, topic: &str, is_own: bool) -> bool {
        self.sessions[client].matching(topic).any(|subscription| {
            let was_there = match (subscription.until, since) {
                (Some(until), Some(since)) => until >= since,
                (Some(_), None) | (None, _) => true,
            };
            was_there && !(is_own && subscription.no_local[1])
        })
    }

    /// What the retain flag of a message for a client may be, by all subscriptions that it ever had.
    pub(super) fn flag(&self, client: usize, topic: &str) -> Flag {
        let mut flag = Flag { must_be_kept: true, ..Flag::default() };
        let mut is_wanted = false;
        for subscription in self.sessions[client].matching(topic) {
            is_wanted = true;
            flag.may_replay |= subscription.replays;
            flag.may_be_kept |= subscription.as_published[1];
            flag.must_be_kept &= subscription.as_published[0];
        }
        flag.must_be_kept &= is_wanted;
        flag
    }

    /// Whether a client has the same session as then, for certain.
    pub(super) fn is_still(&self, client: usize, epoch: u32) -> bool {
        let session = &self.sessions[client];
        session.is_certain && session.epoch == epoch
    }
}

impl Session {
    /// It may be gone: nothing is owed to it any more.
    fn end_certainty(&mut self) {
        if self.is_certain {
            self.epoch += 1;
        }
        self.is_certain = false;
        for subscription in &mut self.subscriptions {
            subscription.granted = None;
        }
    }

    fn open(&mut self, filter: &str) -> Option<&mut Subscription> {
        let is_open =
            |known: &&mut Subscription| known.filter == filter && known.until.is_none() && !known.is_leaving;
        self.subscriptions.iter_mut().find(is_open)
    }

    fn matching(&self, topic: &str) -> impl Iterator<Item = &Subscription> {
        let topic = TopicName::new(topic).ok();
        self.subscriptions.iter().filter(move |subscription| {
            let filter = TopicFilter::new(subscription.filter).ok();
            let filter = filter.filter(|filter| !filter.as_str().starts_with("$share/"));
            filter.zip(topic).is_some_and(|(filter, topic)| filter.matches(topic))
        })
    }
}
