//! Shared subscriptions: each message goes to one member of the group (5.0 section 4.8.2).
//!
//! A group is at home on the shard of its name; its members may live on others. A connected member is preferred, among
//! them the one with the least on its way, among these the one that waited longest. What a member did not begin to
//! receive goes to another when it is lost; while all are away, the group keeps its messages itself.

use super::deliver::{Item, Terms, record_queued};
use super::form::Forms;
use super::link::{Routed, home};
use super::outbound::Queued;
use super::session::Session;
use super::shard::Shard;
use super::sys::Loss;
use super::topic_tree::{Grant, Target};
use super::{Change, Message, MessageNumber, SessionNumber, ShardId};
use mqtt_client::delivery::Sending;
use mqtt_packet::{QoS, TopicFilter};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The subscribers of one share name and filter.
#[derive(Debug)]
pub(super) struct Group {
    /// `$share/name/filter`.
    name: Arc<str>,
    pub(super) members: BTreeMap<MemberId, Member>,
    /// What waits until a member connects.
    pub(super) queue: VecDeque<Queued>,
    queue_bytes: usize,
    last_sequence: u64,
    /// Under which number the store knows the queue, if it does.
    pub(super) number: Option<SessionNumber>,
}

/// Where a member lives, and its session there.
pub(super) type MemberId = (ShardId, SessionNumber);

#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) grant: Grant,
    pub(super) is_online: bool,
    /// Whether it may come back.
    pub(super) is_kept: bool,
    /// When it was last chosen, counted in choices.
    pub(super) chosen: u64,
    /// What a member of another shard was given and did not finish.
    pub(super) outstanding: usize,
}

/// How much a member of another shard is given before it finishes something.
const MAX_OUTSTANDING: usize = 1000;

/// A message of a group and the member that it is for, or came back from.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    name: Arc<str>,
    session: SessionNumber,
    message: Arc<Message>,
    qos: QoS,
    retain: bool,
    /// The Subscription Identifier; 0 for none.
    id: u32,
    /// Under which number and place the store had it before.
    parked: Option<(SessionNumber, u64)>,
    /// Under which number it is stored for that place, on its way back.
    deposited: Option<MessageNumber>,
}

impl Group {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            members: BTreeMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            last_sequence: 0,
            number: None,
        }
    }

    pub(super) fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }
}

/// The filter inside `$share/name/filter`; `None` where it is not one.
pub(super) fn inner(filter: TopicFilter<'_>) -> Option<TopicFilter<'_>> {
    filter.shared().ok().flatten().map(|shared| shared.filter)
}

impl Shard {
    /// The connected member that gets the next message.
    fn choose(&mut self, index: usize) -> Option<(MemberId, Member)> {
        let own = self.settings.shard;
        let (sessions, by_number) = (&self.sessions, &self.by_number);
        let group = self.groups.get_mut(index)?;
        let online = group.members.iter_mut().filter(|(_, member)| member.is_online);
        let (_, (id, member)) = online
            .map(|(id, member)| {
                let local = (id.0 == own).then(|| by_number.get(&id.1).and_then(|&key| sessions.get(key)));
                let load = local.flatten().map_or(member.outstanding, load);
                ((load, member.chosen, *id), (id, member))
            })
            .min_by_key(|(order, _)| *order)?;
        self.choices = self.choices.saturating_add(1);
        member.chosen = self.choices;
        Some((*id, *member))
    }

    /// Gives a message to one member of a group, or lets it wait for one.
    pub(super) fn share(&mut self, index: usize, item: &mut Item<'_>, forms: &mut Forms) {
        let Some((id, member)) = self.choose(index) else {
            self.park(index, item);
            return;
        };
        if id.0 == self.settings.shard {
            self.give(index, id.1, member.grant, item, forms);
            return;
        }
        if member.outstanding >= MAX_OUTSTANDING || self.is_adopted && self.matters(item.view.qos) {
            // Its cause is another shard's; it goes on with one of its own.
            self.park(index, item);
            self.unparking.push(index);
            return;
        }
        self.assign(index, id, member.grant, item, None);
    }

    fn matters(&self, qos: QoS) -> bool {
        qos > QoS::AtMostOnce && self.journal.is_durable()
    }

    /// A session of this shard may take more: perhaps its groups kept something.
    pub(super) fn wake_groups(&mut self, key: usize) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        for name in &session.groups {
            if let Some(&index) = self.groups_by_name.get(name)
                && self.groups.get(index).is_some_and(|group| !group.queue.is_empty())
            {
                self.unparking.push(index);
            }
        }
    }

    /// To a member of this shard.
    fn give(
        &mut self,
        index: usize,
        session: SessionNumber,
        grant: Grant,
        item: &mut Item<'_>,
        forms: &mut Forms,
    ) {
        let name = self.groups.get(index).map(|group| Arc::clone(&group.name));
        let (Some(&key), Some(name)) = (self.by_number.get(&session), name) else {
            return;
        };
        let ids = [grant.id];
        let terms = Terms {
            qos: grant.qos.min(item.view.qos), // [MQTT-4.8.2-3]
            retain: grant.retain_as_published && item.view.retain,
            subscription_ids: if grant.id > 0 { &ids } else { &[] }, // [U5-3.3.4-1]
            group: Some(&name),
        };
        self.offer(key, terms, item, forms);
    }

    /// To a member of another shard.
    fn assign(
        &mut self,
        index: usize,
        id: MemberId,
        grant: Grant,
        item: &mut Item<'_>,
        parked: Option<(SessionNumber, u64)>,
    ) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        let qos = grant.qos.min(item.view.qos);
        if let Some(member) = group.members.get_mut(&id).filter(|_| qos > QoS::AtMostOnce) {
            member.outstanding = member.outstanding.saturating_add(1);
        }
        let assignment = Assignment {
            name: Arc::clone(&group.name),
            session: id.1,
            message: Arc::clone(item.message()),
            qos,
            retain: grant.retain_as_published && item.view.retain,
            id: grant.id,
            parked,
            deposited: None,
        };
        self.cross(id.0, Routed::Assign(assignment), qos);
    }

    /// All members are away: the group keeps the message, if there is a session that may come back for it.
    fn park(&mut self, index: usize, item: &mut Item<'_>) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        let able = group.members.values().filter(|member| member.is_kept || member.is_online);
        let qos = able.map(|member| member.grant.qos).max().map(|qos| qos.min(item.view.qos));
        let Some(qos) = qos.filter(|&qos| qos > QoS::AtMostOnce) else {
            return;
        };
        let message = Arc::clone(item.message());
        let bytes = group.queue_bytes.saturating_add(message.size());
        if group.queue.len() >= self.settings.max_queue_messages || bytes > self.settings.max_queue_bytes {
            self.counts.note_loss(Loss::QueueFull);
            return;
        }
        group.queue_bytes = bytes;
        group.last_sequence = group.last_sequence.saturating_add(1);
        let mut queued = Queued {
            sequence: group.last_sequence,
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
            queued.number = Some(self.journal.refer(item.number(), &queued.message));
            record_queued(number, &queued, &mut self.journal);
        }
        group.queue.push_back(queued);
    }

    /// Sends what groups kept to members that are here now.
    pub(super) fn unpark(&mut self) {
        let mut indices = std::mem::take(&mut self.unparking);
        indices.sort_unstable();
        indices.dedup();
        let mut forms = std::mem::take(&mut self.forms);
        for index in indices {
            while self.unpark_next(index, &mut forms) {}
        }
        self.forms = forms;
    }

    fn unpark_next(&mut self, index: usize, forms: &mut Forms) -> bool {
        let Some(front) = self.groups.get(index).and_then(|group| group.queue.front()) else {
            return false;
        };
        let qos = front.qos;
        let Some((id, member)) = self.choose(index) else {
            return false;
        };
        let is_local = id.0 == self.settings.shard;
        let has_room = if is_local { self.has_room(id.1, qos) } else { member.outstanding < MAX_OUTSTANDING };
        if !has_room {
            return false;
        }
        let Some(group) = self.groups.get_mut(index) else {
            return false;
        };
        let Some(queued) = group.queue.pop_front() else {
            return false;
        };
        group.queue_bytes = group.queue_bytes.saturating_sub(queued.message.size());
        let parked = group.number.filter(|_| queued.number.is_some()).map(|number| (number, queued.sequence));
        if let Some((number, sequence)) = parked {
            self.journal.record(Change::QueuedGone(number, sequence));
        }
        if queued.message.is_expired(self.now.wall) {
            self.counts.note_loss(Loss::Expired);
        } else if let Some(view) = queued.message.view() {
            let mut item = Item::of(view, &queued.message);
            *item.number() = queued.number;
            forms.clear();
            if is_local {
                self.give(index, id.1, member.grant, &mut item, forms);
            } else {
                self.assign(index, id, member.grant, &mut item, parked);
            }
        }
        // A new reference was counted before the old one goes.
        self.journal.release(queued.number);
        true
    }

    fn has_room(&self, session: SessionNumber, qos: QoS) -> bool {
        let session = self.by_number.get(&session).and_then(|&key| self.sessions.get(key));
        session.is_some_and(|session| {
            let connection = session.connection.as_deref();
            connection.is_some_and(|connection| connection.may_send(qos, self.window))
                && session.outbound.has_room(qos, &self.settings)
                && !session.outbound.must_wait(qos)
        })
    }

    /// A message of a group that is at home on another shard, for a session of this one.
    pub(super) fn on_assign(&mut self, mut assignment: Assignment) {
        let Some(&key) = self.by_number.get(&assignment.session) else {
            // The place where it was stored is its place again, in the same cause that took it away.
            if let Some((number, sequence)) = assignment.parked {
                assignment.deposited = Some(self.journal.deposit(&assignment.message));
                record_queued(number, &assignment.to_queued(sequence), &mut self.journal);
            }
            let home = home(assignment.name.as_bytes(), self.settings.shards);
            self.cross(home, Routed::Return(assignment), QoS::AtMostOnce);
            return;
        };
        let ids = [assignment.id];
        let terms = Terms {
            qos: assignment.qos,
            retain: assignment.retain,
            subscription_ids: if assignment.id > 0 { &ids } else { &[] },
            group: Some(&assignment.name),
        };
        if let Some(view) = assignment.message.view() {
            let mut forms = std::mem::take(&mut self.forms);
            forms.clear();
            self.offer(key, terms, &mut Item::of(view, &assignment.message), &mut forms);
            self.forms = forms;
        }
    }

    /// A message that came back from a member.
    pub(super) fn on_return(&mut self, assignment: Assignment) {
        if let (Some((number, sequence)), Some(message)) = (assignment.parked, assignment.deposited) {
            // It gets a new place, if there is still one for it.
            self.journal.record(Change::QueuedGone(number, sequence));
            self.journal.record(Change::MessageGone(message));
        }
        let Some(&index) = self.groups_by_name.get(&*assignment.name) else {
            return;
        };
        if let Some(view) = assignment.message.view() {
            self.park(index, &mut Item::of(view, &assignment.message));
        }
        self.unparking.push(index);
    }

    /// What was meant for a member of this shard goes back to its group, and on to another.
    fn give_back(&mut self, session: SessionNumber, queued: Queued, forms: &mut Forms) {
        let Some(name) = &queued.group else {
            return;
        };
        if !self.is_home(name.as_bytes()) {
            let assignment = Assignment {
                name: Arc::clone(name),
                session,
                message: Arc::clone(&queued.message),
                qos: queued.qos,
                retain: queued.retain,
                id: 0,
                parked: None,
                deposited: None,
            };
            let home = home(name.as_bytes(), self.settings.shards);
            self.cross(home, Routed::Return(assignment), queued.qos);
        } else if let Some(&index) = self.groups_by_name.get(&**name)
            && !queued.message.is_expired(self.now.wall)
            && let Some(view) = queued.message.view()
        {
            let mut item = Item::of(view, &queued.message);
            *item.number() = queued.number;
            forms.clear();
            self.share(index, &mut item, forms);
        }
    }

    /// A member lost its connection and keeps its session: what it did not begin to receive goes to the others.
    pub(super) fn hand_on_waiting(&mut self, key: usize) {
        self.announce(key);
        let Some(session) = self.sessions.get_mut(key).filter(|session| !session.groups.is_empty()) else {
            return;
        };
        let number = session.number;
        let taken = session.outbound.take_shared();
        let mut forms = std::mem::take(&mut self.forms);
        for queued in taken {
            let stored = queued.number;
            if stored.is_some() {
                self.journal.record(Change::QueuedGone(number, queued.sequence));
            }
            self.done(number, &queued);
            self.give_back(number, queued, &mut forms);
            self.journal.release(stored);
        }
        self.forms = forms;
    }

    /// A member is gone for good. What it did not begin to receive goes to another, and what it did not acknowledge
    /// at QoS 1 [U5-4.8.2-2]; a QoS 2 message that was begun goes to nobody else [MQTT-4.8.2-5].
    pub(super) fn hand_on_all(&mut self, mut session: Session) {
        let mut forms = std::mem::take(&mut self.forms);
        for (stage, queued) in session.outbound.take_all() {
            let stored = queued.number;
            if matches!(stage, None | Some(Sending::AwaitPubAck)) {
                self.give_back(session.number, queued, &mut forms);
            }
            self.journal.release(stored);
        }
        self.forms = forms;
    }

    /// A group with a queue, from before a restart.
    pub(super) fn restore_group(&mut self, number: SessionNumber, name: &str) {
        let Some(filter) = TopicFilter::new(name).ok().and_then(inner) else {
            return;
        };
        let index = match self.groups_by_name.get(name) {
            Some(&index) => index,
            None => {
                let index = self.groups.insert(Group::new(name));
                let grant =
                    Grant { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, id: 0 };
                self.tree.insert(filter, Target::Group(index), grant);
                self.groups_by_name.insert(name.into(), index);
                self.add_route(filter, None);
                index
            }
        };
        if let Some(group) = self.groups.get_mut(index) {
            group.number = Some(number);
        }
        self.groups_by_number.insert(number, index);
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

impl Assignment {
    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    fn to_queued(&self, sequence: u64) -> Queued {
        Queued {
            sequence,
            message: Arc::clone(&self.message),
            number: self.deposited,
            qos: self.qos,
            retain: self.retain,
            subscription_ids: Box::default(),
            group: Some(Arc::clone(&self.name)),
        }
    }
}

/// How much is on its way to a session.
fn load(session: &Session) -> usize {
    session.outbound.in_flight.len().saturating_add(session.outbound.queue_len())
}
