//! What the shards of a broker say to each other, and who owns what crosses between them.
//!
//! A session lives on the shard of its Client Identifier, a retained message on that of its topic, a shared
//! subscription on that of its name. Which filters a shard wants is known to all others, so a message crosses only to
//! where somebody waits for it. Everything that one input causes on several shards is one [`Cause`] in as many parts.

use super::deliver::Item;
use super::held::Then;
use super::membership::Membership;
use super::retained::Cursor;
use super::shard::Shard;
use super::shared::Assignment;
use super::sys::Counts;
use super::topic_tree::{Grant, Target};
use super::{Cause, ConnId, Message, ObserverId, Output, Part, SessionNumber, ShardId};
use bytes::Bytes;
use mqtt_packet::{QoS, TopicFilter};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something from one shard to another. Between two shards everything arrives, once, and in order: a crash takes all of
/// them.
#[derive(Clone, Debug)]
pub struct Envelope(pub(super) Letter);

#[derive(Clone, Debug)]
pub(super) enum Letter {
    /// Somebody here is subscribed to this filter now, or nobody is any more. Who asks for it is answered.
    Route { filter: Box<str>, is_wanted: bool, known: Option<Cause> },
    /// The route of that cause is known here.
    RouteKnown(Cause),
    /// Messages, with the part of their cause that is to be written here.
    Messages { cause: Option<(Cause, Part)>, messages: Vec<Routed> },
    /// Somebody here reads slower than messages of this topic come from there.
    Busy { topic: Bytes, room: Cause },
    /// Whoever that was has read, or is waited for no longer.
    Free(Cause),
    /// So many bytes of your messages were taken.
    Taken(usize),
    /// What this shard counted, for the one that speaks for all.
    Counts(Box<Counts>),
    /// The next of your retained messages, please.
    Recall { walk: Walk, filter: Box<str>, cursor: Cursor },
    /// Here they are.
    Recalled { walk: Walk, messages: Vec<Arc<Message>>, cursor: Cursor },
    /// Is there a place for a retained message of this topic? A connection waits for the answer.
    AskForPlace { connection: ConnId, topic: Bytes },
    /// The answer; where there are plenty, there is no need to ask again.
    Place { connection: ConnId, is_free: bool, has_plenty: bool },
    /// There are not plenty any more.
    FewPlaces,
    /// A session takes part in a shared subscription, or not any more, or is away or back.
    Member(Membership),
}

/// A message for another shard.
#[derive(Clone, Debug)]
pub(super) enum Routed {
    Publish {
        message: Arc<Message>,
        /// Whether to keep it as the retained message of its topic.
        keep: Keep,
        /// Give it to whoever is subscribed there.
        deliver: bool,
    },
    /// A message of a shared subscription, for the member that was chosen.
    Assign(Assignment),
    /// Back to the shared subscription: the member is gone.
    Return(Assignment),
}

/// Whether a shard keeps a message that comes from another as retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    No,
    /// If there is a place for it.
    IfThereIsPlace,
    /// In any case: its publisher was told so.
    Promised,
}

impl Routed {
    fn message(&self) -> &Message {
        match self {
            Self::Publish { message, .. } => message,
            Self::Assign(assignment) | Self::Return(assignment) => assignment.message(),
        }
    }
}

/// A walk over retained messages, for one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) reader: Reader,
    pub(super) number: u64,
}

/// Whose subscription it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reader {
    Session(SessionNumber),
    /// Somebody inside the process.
    Observer(ObserverId),
}

/// A filter that this shard wants messages for.
#[derive(Debug)]
pub(super) struct Route {
    /// How many local sessions and groups are behind it.
    count: usize,
    /// What waits until all other shards know it.
    known: Option<Cause>,
}

/// The shard where a name is at home.
#[must_use]
pub fn home(name: &[u8], shards: u16) -> ShardId {
    // FNV-1a: the same in every run and on every machine, because stored state is distributed by it, too.
    let hash = name.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    // Of its bits the lowest hardly mix: of names that are alike but for one letter all pairs would fall apart, or none.
    // The end of MurmurHash3 makes every bit depend on all.
    let hash = (hash ^ hash >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    let spread = (hash ^ hash >> 33).checked_rem(u64::from(shards)).unwrap_or(0);
    ShardId(u16::try_from(spread).unwrap_or(0))
}

/// How many retained messages cross at once.
const BATCH: usize = 32;

impl Shard {
    /// The other shards.
    pub(super) fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.settings.shard;
        (0..self.settings.shards).map(ShardId).filter(move |&shard| shard != own)
    }

    pub(super) fn is_home(&self, name: &[u8]) -> bool {
        home(name, self.settings.shards) == self.settings.shard
    }

    pub(super) fn tell(&mut self, shard: ShardId, letter: Letter) {
        self.outputs.push_back(Output::Link(shard, Envelope(letter)));
    }

    /// A local target appears behind a filter: the others are told, if it is the first. `key` waits for that.
    pub(super) fn add_route(&mut self, filter: TopicFilter<'_>, key: Option<usize>) {
        if self.settings.shards < 2 {
            return;
        }
        let name = filter.as_str();
        if let Some(route) = self.routes.get_mut(name) {
            route.count = route.count.saturating_add(1);
            self.await_known_route(filter, key);
            return;
        }
        let known = self.journal.begin_wait();
        let route = Route { count: 1, known: Some(known) };
        self.routes.insert(name.into(), route);
        let others: Vec<_> = self.others().collect();
        self.unknown_routes.insert(known, others.len());
        for shard in others {
            let filter = name.into();
            self.tell(shard, Letter::Route { filter, is_wanted: true, known: Some(known) });
        }
        self.await_route(Some(known), key);
    }

    /// What a session is told next waits until all shards know a route.
    fn await_route(&mut self, known: Option<Cause>, key: Option<usize>) {
        if let (Some(known), Some(key)) = (known, key)
            && !self.journal.is_synced(known)
        {
            self.reply(key, Some(known), Then::Nothing, |_, _| Ok(()));
        }
    }

    /// A local target behind a filter is gone: the others are told, if it was the last.
    pub(super) fn remove_route(&mut self, filter: TopicFilter<'_>) {
        let name = filter.as_str();
        let Some(route) = self.routes.get_mut(name) else {
            return;
        };
        route.count = route.count.saturating_sub(1);
        if route.count > 0 {
            return;
        }
        self.routes.remove(name);
        for shard in self.others() {
            let letter = Letter::Route { filter: name.into(), is_wanted: false, known: None };
            self.tell(shard, letter);
        }
    }

    /// Sends a message along to another shard at the end of this turn.
    pub(super) fn route(&mut self, shard: ShardId, item: &mut Item<'_>, retain: bool) {
        self.begin_crossing(item.view.qos);
        let keep = match retain {
            true if item.is_promised => Keep::Promised,
            true => Keep::IfThereIsPlace,
            false => Keep::No,
        };
        let message = item.message();
        let crossing = self.crossing.entry(shard).or_default();
        if let Some(Routed::Publish { message: last, deliver, .. }) = crossing.last_mut()
            && Arc::ptr_eq(last, message)
        {
            *deliver |= !retain;
            return;
        }
        crossing.push(Routed::Publish { message: Arc::clone(message), keep, deliver: !retain });
        let bytes = message.size();
        self.spend(shard, bytes);
    }

    /// Sends something else along.
    pub(super) fn cross(&mut self, shard: ShardId, routed: Routed, qos: QoS) {
        self.begin_crossing(qos);
        let bytes = routed.message().size();
        self.crossing.entry(shard).or_default().push(routed);
        self.spend(shard, bytes);
    }

    /// What is acknowledged must be safe on all shards that it concerns.
    fn begin_crossing(&mut self, qos: QoS) {
        if qos > QoS::AtMostOnce && self.journal.is_durable() && !self.is_adopted {
            self.crossing_matters = true;
            self.journal.open();
        }
    }

    /// What tells when all shards know the route of a filter.
    pub(super) fn known_route(&self, filter: TopicFilter<'_>) -> Option<Cause> {
        self.routes.get(filter.as_str())?.known
    }

    /// What a session is told next waits until all shards know this filter.
    pub(super) fn await_known_route(&mut self, filter: TopicFilter<'_>, key: Option<usize>) {
        self.await_route(self.known_route(filter), key);
    }

    /// Ends a turn: what it changed is written, and what crosses to other shards goes with the same cause.
    pub(super) fn end_turn(&mut self) {
        if !self.crossing_matters && self.journal.cause().is_none() && self.fetching.is_empty() {
            return;
        }
        let matters = std::mem::take(&mut self.crossing_matters);
        // What waits for nobody is gathered until the shell asks.
        let crossing = if matters { std::mem::take(&mut self.crossing) } else { BTreeMap::new() };
        let written = self.journal.take();
        let of = u16::try_from(crossing.len().saturating_add(1)).unwrap_or(u16::MAX);
        let joint = written.as_ref().filter(|_| matters).map(|(cause, _)| *cause);
        for (index, (shard, messages)) in (1..).zip(crossing) {
            let cause = joint.map(|cause| (cause, Part { index, of }));
            self.tell(shard, Letter::Messages { cause, messages });
        }
        if let Some((cause, changes)) = written {
            let part = if joint.is_some() { Part { index: 0, of } } else { Part::WHOLE };
            self.outputs.push_back(Output::Write(cause, part, changes));
        }
        for (session, after, limit) in self.fetching.drain(..) {
            self.outputs.push_back(Output::Fetch(session, after, limit));
        }
    }

    /// Another shard says something.
    pub(super) fn on_link(&mut self, from: ShardId, envelope: Envelope) {
        match envelope.0 {
            Letter::Route { filter, is_wanted, known } => {
                self.on_route(from, &filter, is_wanted);
                if let Some(known) = known {
                    self.tell(from, Letter::RouteKnown(known));
                }
            }
            Letter::RouteKnown(cause) => self.on_route_known(cause),
            Letter::Messages { cause, messages } => self.on_messages(from, cause, messages),
            Letter::Busy { topic, room } => self.on_busy(topic, room),
            Letter::Taken(bytes) => self.on_taken(from, bytes),
            Letter::Counts(counts) => drop(self.counts_elsewhere.insert(from, *counts)),
            Letter::Free(room) => self.on_free(room),
            Letter::Recall { walk, filter, cursor } => self.on_recall(from, walk, &filter, cursor),
            Letter::Recalled { walk, messages, cursor } => self.on_recalled(walk, messages, cursor),
            Letter::AskForPlace { connection, topic } => self.on_ask_for_place(from, connection, &topic),
            Letter::Place { connection, is_free, has_plenty } => {
                self.on_place(from, connection, is_free, has_plenty);
            }
            Letter::FewPlaces => self.on_few_places(from),
            Letter::Member(membership) => self.on_membership(from, membership),
        }
    }

    fn on_route(&mut self, from: ShardId, filter: &str, is_wanted: bool) {
        let Ok(filter) = TopicFilter::new(filter) else {
            return;
        };
        let target = Target::Shard(from);
        if is_wanted {
            let grant = Grant { qos: QoS::ExactlyOnce, no_local: false, retain_as_published: false, id: 0 };
            self.tree.insert(filter, target, grant);
        } else {
            self.tree.remove(filter, target);
        }
    }

    fn on_route_known(&mut self, cause: Cause) {
        let Some(missing) = self.unknown_routes.get_mut(&cause) else {
            return;
        };
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            self.unknown_routes.remove(&cause);
            self.on_synced(cause);
            self.recall_behind(cause);
        }
    }

    fn on_messages(&mut self, from: ShardId, cause: Option<(Cause, Part)>, messages: Vec<Routed>) {
        if let Some((cause, _)) = cause {
            self.journal.adopt(cause);
        }
        self.is_adopted = true;
        let bytes = messages.iter().map(|routed| routed.message().size()).fold(0, usize::saturating_add);
        for routed in messages {
            match routed {
                Routed::Publish { message, keep, deliver } => {
                    let Some(view) = message.view() else {
                        continue;
                    };
                    let mut item = Item::of(view, &message);
                    item.is_promised = keep == Keep::Promised;
                    if keep != Keep::No {
                        self.retain(&mut item);
                    }
                    if deliver {
                        self.congested.clear();
                        self.fan_out(&mut item, None);
                        self.tell_busy(from, message.topic());
                    }
                }
                Routed::Assign(assignment) => self.on_assign(assignment),
                Routed::Return(assignment) => self.on_return(assignment),
            }
        }
        self.is_adopted = false;
        self.take_from(from, bytes);
        // The part is owed even if nothing is to be written here.
        if let Some((_, part)) = cause
            && let Some((cause, changes)) = self.journal.take()
        {
            self.outputs.push_back(Output::Write(cause, part, changes));
        }
    }

    fn on_recall(&mut self, from: ShardId, walk: Walk, filter: &str, cursor: Cursor) {
        let Ok(filter) = TopicFilter::new(filter) else {
            return;
        };
        let mut cursor = cursor;
        let mut messages = Vec::new();
        for _ in 0..BATCH {
            let (found, next) = self.retained.next(filter, &cursor);
            cursor = next;
            let found = found.cloned();
            messages.extend(found.filter(|message| self.is_still_said(message)));
            if cursor == Cursor::End {
                break;
            }
        }
        self.tell(from, Letter::Recalled { walk, messages, cursor });
    }
}
