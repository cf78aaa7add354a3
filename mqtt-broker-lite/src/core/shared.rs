//! Shared subscriptions: each message goes to one member of the group (5.0 section 4.8.2).
//!
//! A connected member is preferred, among them the one with the least on its way, among these the one that waited
//! longest. What a member did not begin to receive goes to another when it is lost; while all are away, the group
//! keeps its messages itself.

use super::deliver::{Item, Terms};
use super::form::Forms;
use super::outbound::Queued;
use super::session::Session;
use super::shard::Shard;
use super::topic_tree::{Grant, Target};
use super::{Change, SessionNumber};
use mqtt_client::delivery::Sending;
use mqtt_packet::{QoS, TopicFilter};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The subscribers of one share name and filter.
#[derive(Debug)]
pub(super) struct Group {
    /// `$share/name/filter`.
    name: Arc<str>,
    /// The sessions, and how each wants its messages.
    members: BTreeMap<usize, Member>,
    /// What waits until a member connects.
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    last_sequence: u64,
    /// Under which number the store knows the queue, if it does.
    number: Option<SessionNumber>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    grant: Grant,
    /// When it was last chosen, counted in choices.
    chosen: u64,
}

impl Group {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            members: BTreeMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            last_sequence: 0,
            number: None,
        }
    }

    fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.queue_bytes = self.queue_bytes.saturating_sub(queued.message.size());
        Some(queued)
    }
}

/// The filter inside `$share/name/filter`; `None` where it is not one.
pub(super) fn inner(filter: TopicFilter<'_>) -> Option<TopicFilter<'_>> {
    filter.shared().ok().flatten().map(|shared| shared.filter)
}

impl Shard {
    /// A session joins a group, or changes how it wants its messages.
    pub(super) fn join(&mut self, key: usize, name: &str, filter: TopicFilter<'_>, grant: Grant) {
        let group = match self.groups_by_name.get(name) {
            Some(&group) => group,
            None => {
                let group = self.groups.insert(Group::new(name));
                self.groups_by_name.insert(name.into(), group);
                self.tree.insert(filter, Target::Group(group), grant);
                group
            }
        };
        if let Some(group) = self.groups.get_mut(group) {
            let chosen = group.members.get(&key).map_or(0, |member| member.chosen);
            group.members.insert(key, Member { grant, chosen });
        }
    }

    /// A session leaves a group; the last one takes the group with it [U5-3.10.4-1].
    pub(super) fn leave(&mut self, key: usize, name: &str) {
        let Some(&index) = self.groups_by_name.get(name) else {
            return;
        };
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        group.members.remove(&key);
        if !group.members.is_empty() {
            return;
        }
        self.groups_by_name.remove(name);
        if let Some(filter) = TopicFilter::new(name).ok().and_then(inner) {
            self.tree.remove(filter, Target::Group(index));
        }
        let group = self.groups.remove(index);
        for queued in &group.queue {
            if let Some(number) = queued.number {
                self.journal.release(number);
            }
        }
        if let Some(number) = group.number {
            self.journal.record(Change::GroupGone(number));
        }
    }

    /// Gives a message to one member of a group, or lets it wait for one.
    pub(super) fn share(&mut self, index: usize, item: &mut Item<'_>, forms: &mut Forms) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        self.choices = self.choices.saturating_add(1);
        let sessions = &self.sessions;
        let online = group.members.iter_mut().filter_map(|(&key, member)| {
            let session = sessions.get(key)?;
            session.connection.as_ref()?;
            Some((load(session), member.chosen, key, member))
        });
        let Some((.., key, member)) = online.min_by_key(|(load, chosen, key, _)| (*load, *chosen, *key))
        else {
            self.park(index, item);
            return;
        };
        member.chosen = self.choices;
        let grant = member.grant;
        let name = Arc::clone(&group.name);
        let ids = [grant.id];
        let terms = Terms {
            qos: grant.qos.min(item.view.qos), // [MQTT-4.8.2-3]
            retain: grant.retain_as_published && item.view.retain,
            subscription_ids: if grant.id > 0 { &ids } else { &[] }, // [U5-3.3.4-1]
            group: Some(&name),
        };
        self.offer(key, terms, item, forms);
    }

    /// All members are away: the group keeps the message, if there is a session that may come back for it.
    fn park(&mut self, index: usize, item: &mut Item<'_>) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        let kept =
            group.members.iter().filter(|(key, _)| self.sessions.get(**key).is_some_and(Session::is_kept));
        let qos = kept.map(|(_, member)| member.grant.qos).max().map(|qos| qos.min(item.view.qos));
        let Some(qos) = qos.filter(|&qos| qos > QoS::AtMostOnce) else {
            return;
        };
        let message = Arc::clone(item.message());
        let bytes = group.queue_bytes.saturating_add(message.size());
        if group.queue.len() >= self.settings.max_queue_messages || bytes > self.settings.max_queue_bytes {
            return;
        }
        group.queue_bytes = bytes;
        let mut queued = Queued {
            sequence: 0,
            number: None,
            qos,
            retain: item.view.retain,
            subscription_ids: Box::default(),
            group: Some(Arc::clone(&group.name)),
            message,
        };
        if self.journal.is_durable() {
            let number = group.number.unwrap_or_else(|| {
                self.last_session = self.last_session.saturating_add(1);
                let number = SessionNumber(u64::from(self.settings.shard.0) << 48 | self.last_session);
                self.journal.record(Change::Group(number, (*group.name).into()));
                number
            });
            group.number = Some(number);
            group.last_sequence = group.last_sequence.saturating_add(1);
            queued.sequence = group.last_sequence;
            queued.number = Some(self.journal.refer(item.number(), &queued.message));
            super::deliver::record_queued(number, &queued, &mut self.journal);
        }
        group.queue.push_back(queued);
    }

    /// Sends what the groups of a session kept, for as long as it may.
    pub(super) fn drain_groups(&mut self, key: usize, forms: &mut Forms) {
        let names = match self.sessions.get(key) {
            Some(session) if !session.groups.is_empty() => session.groups.clone(),
            _ => return,
        };
        for name in names {
            let Some(&index) = self.groups_by_name.get(&*name) else {
                continue;
            };
            while let Some(queued) = self.take_parked(key, index) {
                self.redispatch(index, queued, forms);
            }
        }
    }

    /// The next message of a group, if this session may have it now.
    fn take_parked(&mut self, key: usize, index: usize) -> Option<Queued> {
        let group = self.groups.get_mut(index)?;
        let front = group.queue.front()?;
        let session = self.sessions.get(key)?;
        let connection = session.connection.as_deref()?;
        if !connection.may_send(front.qos, &self.settings) || session.outbound.must_wait(front.qos) {
            return None;
        }
        let queued = group.pop()?;
        if let Some(number) = group.number.filter(|_| queued.number.is_some()) {
            self.journal.record(Change::QueuedGone(number, queued.sequence));
        }
        Some(queued)
    }

    /// What was meant for one member goes to another.
    fn redispatch(&mut self, index: usize, queued: Queued, forms: &mut Forms) {
        if !queued.message.is_expired(self.now.wall)
            && let Some(view) = queued.message.view()
        {
            let mut item = Item::of(view, Arc::clone(&queued.message));
            *item.number() = queued.number;
            forms.clear();
            self.share(index, &mut item, forms);
        }
        // The new reference was counted before the old one goes.
        if let Some(number) = queued.number {
            self.journal.release(number);
        }
    }

    /// A member lost its connection and keeps its session: what it did not begin to receive goes to the others.
    pub(super) fn hand_on_waiting(&mut self, key: usize) {
        let Some(session) = self.sessions.get_mut(key).filter(|session| !session.groups.is_empty()) else {
            return;
        };
        let number = session.number;
        let taken = session.outbound.take_shared();
        let mut forms = std::mem::take(&mut self.forms);
        for queued in taken {
            if queued.number.is_some() {
                self.journal.record(Change::QueuedGone(number, queued.sequence));
            }
            let index = queued.group.as_ref().and_then(|name| self.groups_by_name.get(&**name));
            match index {
                Some(&index) => self.redispatch(index, queued, &mut forms),
                None => queued.number.into_iter().for_each(|number| self.journal.release(number)),
            }
        }
        self.forms = forms;
    }

    /// A member is gone for good. What it did not begin to receive goes to another, and what it did not acknowledge
    /// at QoS 1 [U5-4.8.2-2]; a QoS 2 message that was begun goes to nobody else [MQTT-4.8.2-5].
    pub(super) fn hand_on_all(&mut self, mut session: Session) {
        let mut forms = std::mem::take(&mut self.forms);
        for (stage, queued) in session.outbound.take_all() {
            let index = queued.group.as_ref().and_then(|name| self.groups_by_name.get(&**name));
            let goes_on = matches!(stage, None | Some(Sending::AwaitPubAck));
            match index {
                Some(&index) if goes_on => self.redispatch(index, queued, &mut forms),
                _ => queued.number.into_iter().for_each(|number| self.journal.release(number)),
            }
        }
        self.forms = forms;
    }

    /// A group with a queue, from before a restart.
    pub(super) fn restore_group(&mut self, number: SessionNumber, name: Box<str>) {
        let Some(filter) = TopicFilter::new(&name).ok().and_then(inner) else {
            return;
        };
        let group = self.groups.insert(Group { number: Some(number), ..Group::new(&name) });
        let grant = Grant { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, id: 0 };
        self.tree.insert(filter, Target::Group(group), grant);
        self.groups_by_name.insert(name, group);
        self.groups_by_number.insert(number, group);
        self.count_session(number);
    }

    /// A message that a group kept before a restart; false if the number is no group's.
    pub(super) fn restore_parked(&mut self, number: SessionNumber, queued: &Queued) -> bool {
        let index = self.groups_by_number.get(&number);
        let Some(group) = index.and_then(|&index| self.groups.get_mut(index)) else {
            return false;
        };
        group.last_sequence = group.last_sequence.max(queued.sequence);
        group.queue_bytes = group.queue_bytes.saturating_add(queued.message.size());
        group.queue.push_back(Queued { group: Some(Arc::clone(&group.name)), ..queued.clone() });
        true
    }
}

/// How much is on its way to a session.
fn load(session: &Session) -> usize {
    session.outbound.in_flight.len().saturating_add(session.outbound.queue_len())
}
