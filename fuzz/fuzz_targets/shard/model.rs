//! What a broker owes, as naively as it can be said: lists that are searched from the front, and no shards.

use mqtt_broker_lite::core::Now;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A published message.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: &'static str,
    /// As which of all messages it was published: a will is made long before.
    pub number: u32,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub expires: Option<u64>,
}

/// A message as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    /// Subscription Identifiers, sorted.
    pub ids: Vec<u32>,
}

impl Copy {
    /// 3.x does not say which subscriptions it came by.
    pub fn is(&self, seen: &Self, is_v5: bool) -> bool {
        let ids = if is_v5 { &self.ids[..] } else { &[] };
        self.topic == seen.topic
            && self.payload == seen.payload
            && (self.qos, self.retain, ids) == (seen.qos, seen.retain, &seen.ids[..])
    }
}

/// A copy that a session is owed.
#[derive(Clone, Debug)]
pub struct Due {
    pub copy: Copy,
    number: u32,
    /// It was published with the retain flag, and so replaced what was retained.
    was_retained: bool,
    pub expires: Option<u64>,
    since: u64,
    /// QoS 0, and the connection it was meant for is gone.
    is_optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    AwaitPubAck,
    AwaitPubRec,
    AwaitPubComp,
}

#[derive(Debug)]
pub struct Flight {
    pub id: u16,
    pub copy: Copy,
    /// Whether the client has heard by which subscriptions it came: 3.x does not say.
    pub has_ids: bool,
    pub expires: Option<u64>,
    pub stage: Stage,
    /// Whether its PUBLISH or PUBREL came on this connection.
    pub is_here: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub id: u32,
}

/// Retained messages that are still to come for a subscription.
#[derive(Debug)]
pub struct Walk {
    pub filter: &'static str,
    /// QoS and Subscription Identifier of the subscription it is for, and of those that took its place meanwhile: by which
    /// of them a message comes depends on how far the broker was.
    terms: Vec<(u8, u32)>,
    left: BTreeMap<&'static str, Left>,
}

/// What may come of one topic, and whether something must.
#[derive(Debug)]
struct Left {
    values: Vec<Message>,
    is_owed: bool,
}

impl Walk {
    pub fn owes(&self, now: Now) -> bool {
        self.left
            .values()
            .any(|left| left.is_owed && left.values.iter().all(|value| !is_over(value.expires, now)))
    }

    /// A newer value came: no older one comes behind it, but that QoS 0 overtakes what waits for the disk.
    fn outdate(&mut self, seen: &Copy, number: u32) {
        let terms = &self.terms;
        let may_wait =
            |value: &Message| seen.qos == 0 && terms.iter().any(|&(qos, _)| value.qos.min(qos) > 0);
        if let Some(left) = self.left.get_mut(&seen.topic[..]) {
            left.values.retain(|value| value.number >= number || may_wait(value));
        }
    }

    /// Takes what came, if it can be a part of this walk; only what is owed, and only by the subscription as it is now.
    fn take(&mut self, seen: &Copy, is_v5: bool, only_owed: bool, only_last: bool) -> Option<Option<u64>> {
        let left = self.left.get(&seen.topic[..])?;
        let first = if only_last { self.terms.len() - 1 } else { 0 };
        let found = left.values.iter().find(|value| {
            self.terms[first..].iter().any(|&(qos, id)| {
                let copy = Copy {
                    topic: value.topic.into(),
                    payload: value.payload.clone(),
                    qos: value.qos.min(qos),
                    retain: true,
                    ids: if id > 0 { vec![id] } else { Vec::new() },
                };
                copy.is(seen, is_v5)
            })
        });
        let expires = found.filter(|_| left.is_owed || !only_owed)?.expires;
        self.left.remove(&seen.topic[..]);
        Some(expires)
    }
}

#[derive(Clone, Debug)]
pub struct Will {
    pub message: Message,
    pub delay: u32,
}

#[derive(Debug, Default)]
pub struct Session {
    pub expiry: u32,
    pub is_online: bool,
    pub subscriptions: BTreeMap<&'static str, Subscription>,
    /// Groups that it left: what they had given it, it still has.
    left: BTreeSet<&'static str>,
    pub due: VecDeque<Due>,
    pub due0: VecDeque<Due>,
    pub flights: Vec<Flight>,
    /// Identifiers of the client's QoS 2 messages.
    pub received: BTreeSet<u16>,
    pub will: Option<Will>,
    pub ends: Option<u64>,
    pub will_at: Option<u64>,
    pub walks: Vec<Walk>,
}

impl Session {
    pub fn is_silent(&self, now: Now) -> bool {
        self.due.iter().all(|due| is_over(due.expires, now)) && !self.walks.iter().any(|walk| walk.owes(now))
    }

    pub fn owes_qos0(&self, now: Now) -> bool {
        self.due0.iter().any(|due| !due.is_optional && !is_over(due.expires, now))
    }

    /// A new PUBLISH that was owed by a subscription of its own.
    fn take_due(
        &mut self,
        seen: &Copy,
        is_v5: bool,
        now: Now,
        before: Now,
        slow_at: u64,
    ) -> Option<Option<u64>> {
        let queue = if seen.qos == 0 { &mut self.due0 } else { &mut self.due };
        // The broker begins to deliver before it waits for the disk, and what was begun is not given up.
        let may_come = |due: &Due| due.since <= slow_at || !is_over(due.expires, before);
        let at = queue.iter().position(|due| {
            !due.is_optional && !is_over(due.expires, now) || may_come(due) && due.copy.is(seen, is_v5)
        })?;
        let due = queue.get(at).filter(|due| due.copy.is(seen, is_v5))?.clone();
        queue.drain(..=at);
        if due.was_retained {
            for walk in &mut self.walks {
                walk.outdate(seen, due.number);
            }
        }
        Some(due.expires)
    }

    /// A subscription ends, or another takes its place, or the process ends: of what was to come for it, some may be on
    /// its way.
    pub fn break_off(&mut self, is_meant: impl Fn(&str) -> bool) {
        for walk in self.walks.iter_mut().filter(|walk| is_meant(walk.filter)) {
            walk.left.values_mut().for_each(|left| left.is_owed = false);
        }
    }

    fn take_retained(&mut self, seen: &Copy, is_v5: bool) -> Option<Option<u64>> {
        [(true, true), (true, false), (false, true), (false, false)].into_iter().find_map(|(owed, last)| {
            self.walks.iter_mut().find_map(|walk| walk.take(seen, is_v5, owed, last))
        })
    }
}

/// A message of a shared subscription.
#[derive(Debug)]
struct Shared {
    qos: u8,
    retain: bool,
    is_owed: bool,
    since: u64,
    /// It is from before a restart: whoever it was for then is not known to have it from a group any more.
    is_old: bool,
    /// To whom, at which QoS, and whether that session is still the same.
    given: Vec<(usize, u8, bool)>,
}

pub struct Observer {
    pub filter: &'static str,
    /// What was retained when it came, to be shown first.
    pub recalled: BTreeMap<&'static str, Message>,
    pub due: VecDeque<Copy>,
}

#[derive(Default)]
pub struct Model {
    pub now: Now,
    /// When this step began.
    pub before: Now,
    /// When the disk was slow last, by the wall clock.
    pub slow_at: u64,
    pub sessions: BTreeMap<usize, Session>,
    pub retained: BTreeMap<&'static str, Message>,
    pub observers: BTreeMap<u64, Observer>,
    published: u32,
    /// By the name of the group and the payload.
    shared: BTreeMap<(&'static str, Vec<u8>), Shared>,
}

fn is_over(expires: Option<u64>, now: Now) -> bool {
    expires.is_some_and(|expires| expires <= now.wall)
}

/// The filter inside of a shared subscription.
pub fn inner(filter: &'static str) -> Option<&'static str> {
    filter.strip_prefix("$share/")?.split_once('/').map(|(_, inner)| inner)
}

pub fn matches(filter: &str, topic: &str) -> bool {
    let is_hidden = topic.starts_with('$') && filter.starts_with(['#', '+']);
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    let levels = filter.iter().position(|level| *level == "#").unwrap_or(filter.len());
    let fits = if levels < filter.len() { topic.len() >= levels } else { topic.len() == levels };
    !is_hidden
        && fits
        && filter.iter().zip(&topic).take(levels).all(|(wanted, level)| *wanted == "+" || wanted == level)
}

impl Model {
    /// Says a message; whether anybody is subscribed.
    pub fn publish(&mut self, from: Option<usize>, message: &Message) -> bool {
        self.published += 1;
        let message = &Message { number: self.published, ..message.clone() };
        if message.retain {
            self.retain(message);
        }
        let mut found = false;
        for (&who, session) in &mut self.sessions {
            let all = session.subscriptions.iter();
            let hits: Vec<_> = all
                .filter(|(filter, _)| inner(filter).is_none() && matches(filter, message.topic))
                .map(|(_, subscription)| *subscription)
                .collect();
            found |= !hits.is_empty();
            offer(session, &hits, from == Some(who), message, self.now.wall);
        }
        for observer in self.observers.values_mut().filter(|observer| matches(observer.filter, message.topic))
        {
            found = true;
            let copy = Copy {
                topic: message.topic.into(),
                payload: message.payload.clone(),
                qos: message.qos,
                retain: message.retain,
                ids: Vec::new(),
            };
            observer.due.push_back(copy);
        }
        let groups: BTreeSet<_> = self
            .sessions
            .values()
            .flat_map(|session| session.subscriptions.keys().copied())
            .filter(|name| inner(name).is_some_and(|filter| matches(filter, message.topic)))
            .collect();
        for name in groups {
            found = true;
            let is_owed = message.qos > 0 && message.expires.is_none();
            let since = self.now.wall;
            let (qos, retain) = (message.qos, message.retain);
            let shared = Shared { qos, retain, is_owed, since, is_old: false, given: Vec::new() };
            self.shared.insert((name, message.payload.clone()), shared);
        }
        found
    }

    fn retain(&mut self, message: &Message) {
        for walk in self.sessions.values_mut().flat_map(|session| &mut session.walks) {
            if matches(walk.filter, message.topic) {
                let left =
                    walk.left.entry(message.topic).or_insert(Left { values: Vec::new(), is_owed: false });
                left.is_owed = false;
                if !message.payload.is_empty() {
                    left.values.push(message.clone());
                }
            }
        }
        if message.payload.is_empty() {
            self.retained.remove(message.topic);
        } else {
            self.retained.insert(message.topic, message.clone());
        }
    }

    /// Retained messages that a new subscription, or somebody in the process, is owed now.
    pub fn recalled(&self, filter: &str) -> impl Iterator<Item = &Message> {
        self.retained
            .values()
            .filter(move |kept| matches(filter, kept.topic) && !is_over(kept.expires, self.now))
    }

    pub fn subscribe(&mut self, who: usize, filter: &'static str, wanted: Subscription, handling: u8) {
        let left: BTreeMap<_, _> = self
            .recalled(filter)
            .map(|kept| (kept.topic, Left { values: vec![kept.clone()], is_owed: true }))
            .collect();
        let Some(session) = self.sessions.get_mut(&who) else { return };
        let is_new = session.subscriptions.insert(filter, wanted).is_none();
        let terms = (wanted.qos, wanted.id);
        if inner(filter).is_none() && (handling == 0 || handling == 1 && is_new) {
            session.break_off(|other| other == filter);
            session.walks.push(Walk { filter, terms: vec![terms], left });
        } else {
            let same = session.walks.iter_mut().filter(|walk| walk.filter == filter);
            same.for_each(|walk| walk.terms.push(terms));
        }
    }

    /// Whether there was such a subscription.
    pub fn unsubscribe(&mut self, who: usize, filter: &'static str) -> bool {
        let Some(session) = self.sessions.get_mut(&who) else { return false };
        session.break_off(|other| other == filter);
        let was_there = session.subscriptions.remove(filter).is_some();
        if was_there && inner(filter).is_some() {
            session.left.insert(filter);
        }
        self.check_group(filter);
        was_there
    }

    /// The last member takes the group and its messages along. What was given may have been of another group that has the
    /// same message, so that what went along was not given: then nothing is owed by that other group.
    fn check_group(&mut self, filter: &'static str) {
        if !self.sessions.values().any(|session| session.subscriptions.contains_key(filter)) {
            let gone: BTreeSet<_> = self.shared.keys().filter(|(name, _)| *name == filter).cloned().collect();
            for ((_, payload), shared) in &mut self.shared {
                shared.is_owed &= !gone.iter().any(|(_, gone)| gone == payload);
            }
        }
    }

    /// A connection is gone.
    pub fn depart(&mut self, who: usize) {
        let Some(session) = self.sessions.get_mut(&who) else { return };
        session.is_online = false;
        session.due0.iter_mut().for_each(|due| due.is_optional = true);
        if session.expiry == 0 {
            self.end_session(who);
            return;
        }
        let after = |seconds: u32| self.now.mono + u64::from(seconds) * 1000;
        session.ends = (session.expiry != u32::MAX).then(|| after(session.expiry));
        session.will_at = session.will.as_ref().map(|will| after(will.delay));
        if session.will.as_ref().is_some_and(|will| will.delay == 0) {
            self.publish_will(who);
        }
    }

    pub fn publish_will(&mut self, who: usize) {
        let will = self.sessions.get_mut(&who).and_then(|session| {
            session.will_at = None;
            session.will.take()
        });
        if let Some(will) = will {
            self.publish(Some(who), &will.message);
        }
    }

    /// The broker starts again.
    pub fn restart(&mut self) {
        self.observers.clear();
        for session in self.sessions.values_mut() {
            session.due0.clear();
            session.break_off(|_| true);
        }
        self.shared.values_mut().for_each(|shared| shared.is_old = true);
    }

    pub fn end_session(&mut self, who: usize) {
        self.publish_will(who);
        let Some(session) = self.sessions.remove(&who) else { return };
        for filter in session.subscriptions.keys().chain(&session.left) {
            self.check_group(filter);
            // A delivery at QoS 2 is begun before it waits for the disk, and never goes to another member then.
            for ((name, _), shared) in &mut self.shared {
                let is_begun = shared.qos == 2 && shared.since <= self.slow_at;
                shared.is_owed &= name != filter || !(is_begun || shared.is_old);
            }
        }
        for given in self.shared.values_mut().flat_map(|shared| &mut shared.given) {
            given.2 &= given.0 != who;
        }
    }

    /// A client got a message that is no repeat: was it owed?
    pub fn take(&mut self, who: usize, seen: &Copy, is_v5: bool) -> Option<u64> {
        let (now, before) = (self.now, self.before);
        let session = self.sessions.get_mut(&who).expect("who receives has a session");
        if let Some(expires) = session.take_due(seen, is_v5, now, before, self.slow_at) {
            return expires;
        }
        if seen.retain
            && let Some(expires) = session.take_retained(seen, is_v5)
        {
            return expires;
        }
        self.take_shared(who, seen);
        None
    }

    fn take_shared(&mut self, who: usize, seen: &Copy) {
        let own = self.sessions.get(&who).map(|session| &session.subscriptions);
        let all = self.shared.iter_mut().filter(|((name, payload), shared)| {
            *payload == seen.payload
                && inner(name).is_some_and(|filter| matches(filter, &seen.topic))
                && shared.qos >= seen.qos
                && (shared.retain || !seen.retain)
                && shared.given.iter().all(|&(_, qos, is_there)| qos == 1 && !is_there)
        });
        // Several groups may have the same message: it came by the one that it names, or else by one of the client's own,
        // at whose QoS it came.
        let first = all.min_by_key(|((name, _), shared)| {
            let member = own.and_then(|own| own.get(name));
            let is_named = member.is_some_and(|member| seen.ids.contains(&member.id));
            let is_at_its_qos = member.is_some_and(|member| member.qos.min(shared.qos) == seen.qos);
            (!is_named, member.is_none(), !is_at_its_qos, !shared.is_owed, shared.given.len())
        });
        let Some((_, shared)) = first else { panic!("nobody owed {who} {seen:?}") };
        shared.given.push((who, seen.qos, true));
    }

    /// At the end: everything that groups were given is at somebody's.
    pub fn check_shared(&self) {
        for (key, shared) in &self.shared {
            assert!(!shared.is_owed || !shared.given.is_empty(), "{key:?} is lost: {shared:?}");
        }
    }
}

/// One copy of a message for a session, by those of its subscriptions that match.
fn offer(session: &mut Session, hits: &[Subscription], is_own: bool, message: &Message, since: u64) {
    let hits: Vec<_> = hits.iter().filter(|hit| !(is_own && hit.no_local)).collect();
    let Some(qos) = hits.iter().map(|hit| hit.qos).max() else { return };
    let mut ids: Vec<_> = hits.iter().map(|hit| hit.id).filter(|id| *id > 0).collect();
    ids.sort_unstable();
    let qos = qos.min(message.qos);
    let copy = Copy {
        topic: message.topic.into(),
        payload: message.payload.clone(),
        qos,
        retain: message.retain && hits.iter().any(|hit| hit.retain_as_published),
        ids,
    };
    let due = Due {
        copy,
        number: message.number,
        was_retained: message.retain,
        expires: message.expires,
        since,
        is_optional: false,
    };
    match qos {
        0 if session.is_online => session.due0.push_back(due),
        0 => {}
        _ => session.due.push_back(due),
    }
}
