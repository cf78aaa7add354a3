//! Messages of QoS 0 that need nothing are passed on as they came: the bytes of their packets go to those who are known
//! to want their topic, and they are not taken apart. Most messages are like that, and mostly several of a topic come at
//! once.
//!
//! What is done here is what [`Shard::on_publish`] would do, or nothing: whatever is unusual about a message or about who
//! gets it is for that.

use super::connection::Connection;
use super::known::Known;
use super::session::Session;
use super::shard::{Shard, Stage};
use super::topic_tree::{Grant, Target};
use super::wire::LARGE;
use super::{Access, ConnId, Policy};
use mqtt_packet::{QoS, Version};

/// The first byte of a PUBLISH of QoS 0, neither repeated nor to be retained.
pub(super) const PLAIN: u8 = 0x30;

impl Shard {
    /// Passes the messages at the front of `bytes` on that have the same topic; returns how many bytes that were. They
    /// are whole packets.
    pub(super) fn pass(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let Some(&Stage::Online(key)) = self.connections.get(&id) else {
            return 0;
        };
        let publisher = self.sessions.get(key).filter(|_| !self.is_behind_place(id));
        let version = publisher.and_then(|publisher| Some(publisher.connection.as_deref()?.version));
        let (Some(publisher), Some(version)) = (publisher, version) else {
            return 0;
        };
        let Some(first) = Plain::read(bytes, version) else {
            return 0;
        };
        let Some(known) = self.tree.known(first.topic) else {
            return 0;
        };
        // The broker's own topics are not for clients.
        let is_usual = !known.may_repeat
            && known.levels <= self.settings.max_topic_levels
            && !known.topic().starts_with('$')
            && may(&mut *self.policy, publisher, Access::Publish, known.topic());
        if !is_usual {
            return 0;
        }
        let mut room = usize::MAX;
        for to in receivers(known, key) {
            let session = to.and_then(|to| self.sessions.get(to));
            let Some((session, connection)) =
                session.and_then(|session| Some((session, session.connection.as_deref()?)))
            else {
                return 0;
            };
            let goes_as_it_came = takes_it(connection, version, self.window)
                && !session.outbound.must_wait(QoS::AtMostOnce)
                && may(&mut *self.policy, session, Access::Receive, known.topic());
            if !goes_as_it_came {
                return 0;
            }
            room = room.min(connection.room(self.window));
        }
        let (len, count) = first.run(bytes, room, version);
        for to in receivers(known, key).flatten() {
            if let Some(connection) = self.sessions.get_mut(to).and_then(|to| to.connection.as_deref_mut()) {
                self.outbox.open(to, connection).put(bytes.get(..len).unwrap_or_default());
                self.counts.note_sent(QoS::AtMostOnce, count);
            }
        }
        self.counts.note_received(QoS::AtMostOnce, count);
        self.counts.packets_received = self.counts.packets_received.saturating_add(count);
        let now = self.now.mono;
        if let Some(connection) = self.connection(key) {
            connection.last_heard = now;
        }
        len
    }
}

/// A PUBLISH of QoS 0 without properties whose payload is copied.
struct Plain<'a> {
    /// Of the whole packet.
    len: usize,
    /// Not validated.
    topic: &'a [u8],
}

impl<'a> Plain<'a> {
    /// The packet at the front, if it is such a one and as short as it can be.
    fn read(bytes: &'a [u8], version: Version) -> Option<Self> {
        let (body_len, rest) = match bytes {
            [PLAIN, len @ ..0x80, rest @ ..] => (usize::from(*len), rest),
            [PLAIN, low, high @ 1..0x80, rest @ ..] => {
                (usize::from(low & 0x7F) | usize::from(*high) << 7, rest)
            }
            _ => return None,
        };
        let body = rest.get(..body_len).filter(|body| body.len() <= LARGE)?;
        let (topic_len, behind) = body.split_first_chunk()?;
        let (topic, behind) = behind.split_at_checked(u16::from_be_bytes(*topic_len).into())?;
        let len = bytes.len().saturating_sub(rest.len()).saturating_add(body_len);
        (version != Version::V5 || behind.first() == Some(&0)).then_some(Self { len, topic })
    }

    /// With those behind it that have the same topic, as long as there is room: how many bytes, and how many packets.
    fn run(&self, bytes: &[u8], room: usize, version: Version) -> (usize, u64) {
        let (mut len, mut count) = (self.len, 1_u64);
        while len < room
            && let Some(next) = bytes.get(len..).and_then(|rest| Plain::read(rest, version))
            && next.topic == self.topic
        {
            len = len.saturating_add(next.len);
            count = count.saturating_add(1);
        }
        (len, count)
    }
}

/// The sessions that get a message from this publisher; `None` for who gets it in another way.
fn receivers(known: &Known, publisher: usize) -> impl Iterator<Item = Option<usize>> {
    let is_kept_away = move |target: Target, grant: Grant| {
        grant.no_local && target == Target::Session(publisher) // [MQTT-3.8.3-3]
    };
    let wanted = known.found.iter().filter(move |(target, grant)| !is_kept_away(*target, *grant));
    wanted.map(|&(target, grant)| match target {
        Target::Session(key) => (grant.id == 0).then_some(key),
        Target::Observer(_) | Target::Shard(_) | Target::Group(_) => None,
    })
}

/// Whether a packet of this version goes out on a connection at once, and as it is.
fn takes_it(connection: &Connection, version: Version, window: usize) -> bool {
    (connection.version == Version::V5) == (version == Version::V5)
        && connection.max_packet == usize::MAX
        && connection.aliases_out.is_none()
        && connection.may_send(QoS::AtMostOnce, window)
}

fn may(policy: &mut dyn Policy, session: &Session, access: Access, topic: &str) -> bool {
    !policy.restricts(access) || policy.authorize(&session.client, access, topic)
}
