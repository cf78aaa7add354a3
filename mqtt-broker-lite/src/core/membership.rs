//! Who takes part in a shared subscription: sessions of this shard and of others, told to the shard where the group is
//! at home.

use super::held::Then;
use super::link::{Letter, home};
use super::outbound::Queued;
use super::shard::Shard;
use super::shared::{Group, Member, MemberId, inner};
use super::topic_tree::{Grant, Target};
use super::{Cause, Change, SessionNumber, ShardId};
use mqtt_packet::{QoS, TopicFilter};

/// News of a member for the group's home.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    name: Box<str>,
    session: SessionNumber,
    news: News,
}

#[derive(Clone, Copy, Debug)]
enum News {
    /// It takes part, or wants its messages otherwise; who asks is told when all shards know.
    Joined {
        grant: Grant,
        known: Cause,
    },
    Left,
    /// It is here or away, and may come back or not.
    Presence {
        is_online: bool,
        is_kept: bool,
    },
    /// It is done with a message.
    Done,
}

impl Shard {
    /// A session of this shard joins a group, or changes how it wants its messages.
    pub(super) fn join(&mut self, key: usize, name: &str, grant: Grant) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let number = session.number;
        if !session.groups.iter().any(|known| **known == *name) {
            session.groups.push(name.into());
        }
        if self.is_home(name.as_bytes()) {
            self.on_joined(self.settings.shard, name, number, grant, Some(key));
        } else {
            let known = self.journal.begin_wait();
            self.unknown_routes.insert(known, 1);
            self.report(number, name, News::Joined { grant, known });
            self.reply(key, Some(known), Then::Nothing, |_, _| Ok(()));
        }
        self.announce(key);
    }

    /// A session of this shard leaves a group.
    pub(super) fn leave(&mut self, key: usize, session: SessionNumber, name: &str) {
        if let Some(session) = self.sessions.get_mut(key).filter(|known| known.number == session) {
            session.groups.retain(|known| **known != *name);
        }
        if self.is_home(name.as_bytes()) {
            self.on_left((self.settings.shard, session), name);
        } else {
            self.report(session, name, News::Left);
        }
    }

    /// Tells its groups whether a session of this shard is here.
    pub(super) fn announce(&mut self, key: usize) {
        let Some(session) = self.sessions.get(key).filter(|session| !session.groups.is_empty()) else {
            return;
        };
        let (number, names) = (session.number, session.groups.clone());
        let is_online = session.connection.is_some();
        let is_kept = session.is_kept();
        for name in names {
            if self.is_home(name.as_bytes()) {
                self.on_presence((self.settings.shard, number), &name, is_online, is_kept);
            } else {
                self.report(number, &name, News::Presence { is_online, is_kept });
            }
        }
    }

    fn report(&mut self, session: SessionNumber, name: &str, news: News) {
        let membership = Membership { name: name.into(), session, news };
        self.tell(home(name.as_bytes(), self.settings.shards), Letter::Member(membership));
    }

    /// News from another shard.
    pub(super) fn on_membership(&mut self, from: ShardId, membership: Membership) {
        let Membership { name, session, news } = membership;
        let id = (from, session);
        match news {
            News::Joined { grant, known } => match self.on_joined(from, &name, session, grant, None) {
                Some(route) if !self.journal.is_synced(route) => {
                    self.asked_for_route.entry(route).or_default().push((from, known));
                }
                _ => self.tell(from, Letter::RouteKnown(known)),
            },
            News::Left => self.on_left(id, &name),
            News::Presence { is_online, is_kept } => self.on_presence(id, &name, is_online, is_kept),
            News::Done => {
                if let Some(member) = self.member(id, &name) {
                    member.outstanding = member.outstanding.saturating_sub(1);
                }
                self.unpark_named(&name);
            }
        }
    }

    fn member(&mut self, id: MemberId, name: &str) -> Option<&mut Member> {
        let index = *self.groups_by_name.get(name)?;
        self.groups.get_mut(index)?.members.get_mut(&id)
    }

    /// A member takes part; returns what tells when all shards know the filter. `key` waits for that.
    fn on_joined(
        &mut self,
        shard: ShardId,
        name: &str,
        session: SessionNumber,
        grant: Grant,
        key: Option<usize>,
    ) -> Option<Cause> {
        let filter = TopicFilter::new(name).ok().and_then(inner)?;
        let index = match self.groups_by_name.get(name) {
            Some(&index) => {
                self.await_known_route(filter, key);
                index
            }
            None => {
                let index = self.groups.insert(Group::new(name));
                self.groups_by_name.insert(name.into(), index);
                self.tree.insert(filter, Target::Group(index), grant);
                self.add_route(filter, key);
                index
            }
        };
        let group = self.groups.get_mut(index)?;
        let member = group.members.entry((shard, session)).or_insert(Member {
            grant,
            is_online: false,
            is_kept: false,
            chosen: 0,
            outstanding: 0,
        });
        member.grant = grant;
        self.known_route(filter)
    }

    /// A member is gone; the last one takes the group with it [U5-3.10.4-1].
    fn on_left(&mut self, id: MemberId, name: &str) {
        let Some(&index) = self.groups_by_name.get(name) else {
            return;
        };
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        group.members.remove(&id);
        if !group.members.is_empty() {
            return;
        }
        self.groups_by_name.remove(name);
        if let Some(filter) = TopicFilter::new(name).ok().and_then(inner) {
            self.tree.remove(filter, Target::Group(index));
            self.remove_route(filter);
        }
        let group = self.groups.remove(index);
        for queued in &group.queue {
            self.journal.release(queued.number);
        }
        if let Some(number) = group.number {
            self.journal.record(Change::GroupGone(number));
        }
    }

    fn on_presence(&mut self, id: MemberId, name: &str, is_online: bool, is_kept: bool) {
        if let Some(member) = self.member(id, name) {
            member.is_online = is_online;
            member.is_kept = is_kept;
        }
        if is_online {
            self.unpark_named(name);
        }
    }

    fn unpark_named(&mut self, name: &str) {
        if let Some(&index) = self.groups_by_name.get(name) {
            self.unparking.push(index);
        }
    }

    /// A session is done with a message: its group's home may give it more.
    pub(super) fn done(&mut self, session: SessionNumber, queued: &Queued) {
        if let Some(name) = &queued.group
            && queued.qos > QoS::AtMostOnce
            && !self.is_home(name.as_bytes())
        {
            self.report(session, name, News::Done);
        }
    }
}
