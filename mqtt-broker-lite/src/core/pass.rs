//! A message of QoS 0 that needs nothing is passed on as it came: the bytes of its packet go to those who are known to
//! want its topic, and it is not taken apart. Most messages are like that.
//!
//! What is done here is what [`Shard::on_publish`] would do, or nothing: whatever is unusual about the message or about
//! who gets it is for that.

use super::connection::Connection;
use super::session::Session;
use super::shard::Shard;
use super::topic_tree::{Grant, Target};
use super::wire::LARGE;
use super::{Access, Policy};
use mqtt_packet::{Frame, QoS, Version};

impl Shard {
    /// Passes a PUBLISH on; false where nothing was done.
    pub(super) fn pass(&mut self, key: usize, frame: Frame<'_>) -> bool {
        // QoS 0, neither repeated nor to be retained.
        if frame.flags() != 0 {
            return false;
        }
        let Some(publisher) = self.sessions.get(key) else {
            return false;
        };
        let Some(version) = publisher.connection.as_deref().map(|connection| connection.version) else {
            return false;
        };
        let Some(known) = topic(frame, version).and_then(|topic| self.tree.known(topic)) else {
            return false;
        };
        // The broker's own topics are not for clients.
        let is_usual = !known.may_repeat
            && known.levels <= self.settings.max_topic_levels
            && !known.topic().starts_with('$')
            && may(&mut *self.policy, publisher, Access::Publish, known.topic());
        if !is_usual {
            return false;
        }
        for &(target, grant) in &known.found {
            if is_kept_away(target, grant, key) {
                continue;
            }
            let Some((_, session)) = receiver(target).and_then(|to| Some((to, self.sessions.get(to)?)))
            else {
                return false;
            };
            let goes_as_it_came = grant.id == 0
                && session.connection.as_deref().is_some_and(|to| takes_it(to, version, self.window))
                && !session.outbound.must_wait(QoS::AtMostOnce)
                && may(&mut *self.policy, session, Access::Receive, known.topic());
            if !goes_as_it_came {
                return false;
            }
        }
        let (head, head_len) = head(frame.body().len());
        let head = head.get(..head_len).unwrap_or_default();
        for &(target, grant) in &known.found {
            if !is_kept_away(target, grant, key)
                && let Some(to) = receiver(target)
                && let Some(connection) =
                    self.sessions.get_mut(to).and_then(|to| to.connection.as_deref_mut())
            {
                let out = self.outbox.open(to, connection);
                out.put(head);
                out.put(frame.body());
                self.counts.note_sent(QoS::AtMostOnce);
            }
        }
        self.counts.note_received(QoS::AtMostOnce);
        true
    }
}

/// The topic of a PUBLISH of QoS 0 without properties whose payload is copied; not validated.
fn topic(frame: Frame<'_>, version: Version) -> Option<&[u8]> {
    let body = frame.body();
    if body.len() > LARGE {
        return None;
    }
    let (len, rest) = body.split_first_chunk()?;
    let (topic, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    // A header that is longer than it needs to be is an error in some versions.
    let is_usual = frame.len().saturating_sub(body.len()) == head(body.len()).1
        && (version != Version::V5 || rest.first() == Some(&0));
    is_usual.then_some(topic)
}

/// The fixed header of such a packet with so long a body, at most [`LARGE`], and how long it is itself.
fn head(body_len: usize) -> ([u8; 3], usize) {
    const PUBLISH: u8 = 0x30;
    let low = (body_len & 0x7F) as u8;
    match (body_len >> 7) as u8 {
        0 => ([PUBLISH, low, 0], 2),
        high => ([PUBLISH, low | 0x80, high], 3),
    }
}

fn receiver(target: Target) -> Option<usize> {
    match target {
        Target::Session(key) => Some(key),
        Target::Observer(_) | Target::Shard(_) | Target::Group(_) => None,
    }
}

/// Whether No Local keeps a message away from who publishes it [MQTT-3.8.3-3].
fn is_kept_away(target: Target, grant: Grant, publisher: usize) -> bool {
    grant.no_local && target == Target::Session(publisher)
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
