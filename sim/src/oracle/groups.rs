//! Shared subscriptions: of each group one member gets a message.
//!
//! Their topics are theirs alone, so whoever gets one of these messages gets it by a group; by which one is not seen, so
//! all groups of a message are counted together.

use super::{Oracle, is_shared};
use crate::plan::{FILTERS, OWN_FILTERS};
use mqtt_packet::{QoS, TopicFilter, TopicName};

/// A group that must get a message.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    /// Its whole filter.
    filter: &'static str,
    /// Members that were certain when the message came, with their sessions and subscriptions.
    sure: Vec<(usize, u32, usize)>,
    /// Which session every client had then.
    epochs: Vec<u32>,
    /// Whether all members were certain then.
    are_certain: bool,
    /// The life of the broker then.
    life: u32,
}

/// The groups that get messages of a topic.
fn groups(topic: &str) -> impl Iterator<Item = &'static str> {
    let topic = TopicName::new(topic).ok();
    FILTERS[OWN_FILTERS..].iter().copied().filter(move |filter| {
        let filter = TopicFilter::new(filter).ok().and_then(|filter| filter.shared().ok().flatten());
        filter.zip(topic).is_some_and(|(shared, topic)| shared.filter.matches(topic))
    })
}

impl Oracle {
    /// Every group that has a member for certain must get this message.
    pub(super) fn owe_groups(&mut self, at: u64, number: usize) {
        let topic = self.messages[number].message.topic;
        if !is_shared(topic) {
            return;
        }
        let epochs: Vec<_> = (0..self.clients).map(|client| self.sessions.epoch(client)).collect();
        for filter in groups(topic) {
            let sure: Vec<_> = (0..self.clients)
                .filter_map(|client| {
                    let (epoch, subscription) = self.sessions.must_share(at, client, filter)?;
                    Some((client, epoch, subscription))
                })
                .collect();
            if !sure.is_empty() {
                let are_certain = (0..self.clients)
                    .filter(|client| self.sessions.may_share(*client, filter))
                    .all(|client| self.sessions.is_still(client, epochs[client]));
                let owed = Owed { filter, sure, epochs: epochs.clone(), are_certain, life: self.life };
                self.messages[number].groups.push(owed);
            }
        }
    }

    /// What the disk had of a group was dropped.
    pub(super) fn group_dropped(&mut self, name: &str) {
        for known in &mut self.messages {
            known.groups.retain(|owed| owed.filter != name);
        }
    }

    /// A message came by a group: not more often than there are groups, and reasons to send it again.
    pub(super) fn check_shared(&mut self, at: u64, number: usize, client: usize) {
        let known = &self.messages[number];
        let (message, arrivals) = (&known.message, known.arrivals.len().max(1) as u32);
        let (live, exact) = known
            .copies
            .iter()
            .fold((0, 0), |(live, exact), copies| (live + copies.live, exact + copies.exact));
        let since = known.arrivals.first().map_or(at, |(first, _)| *first);
        let wanting: Vec<_> =
            groups(message.topic).filter(|filter| self.sessions.may_share(client, filter)).collect();
        if wanting.is_empty() {
            self.broken(at, "who is not subscribed gets nothing", || {
                format!("message {number}: client {client}")
            });
            return;
        }
        let all = groups(message.topic)
            .filter(|filter| (0..self.clients).any(|client| self.sessions.may_share(client, filter)));
        let all = all.count() as u32;
        let members: Vec<_> = (0..self.clients)
            .filter(|client| groups(message.topic).any(|filter| self.sessions.may_share(*client, filter)))
            .collect();
        let are_kept = members.iter().all(|client| self.sessions.is_kept(*client));
        let begun: u32 = members.iter().map(|client| 1 + self.sessions.begun(*client)).sum();
        let is_exact = message.qos == QoS::ExactlyOnce && live == exact;
        let most = match message.qos {
            QoS::AtMostOnce => all,
            _ if self.is_undone || known.is_split => u32::MAX,
            _ if is_exact && (self.life == 0 || are_kept) => all,
            _ if is_exact => all * arrivals,
            _ => all * arrivals * begun,
        };
        if live > most {
            self.broken(at, "one member of a group gets a message", || {
                format!("message {number} of {since} ms came {live} times for {all} groups")
            });
        }
    }

    /// Every group that must have a message has it.
    pub(super) fn check_groups(&mut self, at: u64, number: usize) {
        let known = &self.messages[number];
        let qos = known.message.qos;
        let owed = known.groups.iter().filter(|owed| {
            let is_same = |client: usize| self.sessions.epoch(client) == owed.epochs[client];
            let is_there = |(client, epoch, subscription): &(usize, u32, usize)| {
                self.sessions.is_still(*client, *epoch)
                    && self.sessions.member(*client, owed.filter) == Some(*subscription)
            };
            // What a member has begun to receive at QoS 2 goes to nobody else, and a crash forgets who is not kept.
            let may_vanish = qos == QoS::ExactlyOnce || self.life > owed.life;
            let may_have = |client: &usize| self.sessions.may_share(*client, owed.filter);
            owed.sure.iter().any(is_there)
                && (!may_vanish || owed.are_certain && (0..self.clients).filter(may_have).all(is_same))
        });
        let owed = owed.count();
        let live: u32 = known.copies.iter().map(|copies| copies.live).sum();
        self.figures.shared += owed as u64;
        if (live as usize) < owed {
            self.broken(at, "at least once", || {
                format!("message {number} came {live} times for {owed} groups")
            });
        }
    }
}
