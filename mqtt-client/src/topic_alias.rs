//! Topic aliases of 5.0 (section 3.3.2.3.4): a number in place of a topic name, in each direction for itself, and
//! forgotten with the connection [MQTT-3.3.2-7].

use crate::error::ProtocolError;
use crate::memory::get_mut;
use mqtt_packet::{Publish, TopicName};

/// A length in front of each topic name.
const PREFIX: usize = 2;

/// The table of one direction, over lent memory in equal parts, one for each alias.
#[derive(Debug, Default)]
pub struct Aliases<'b> {
    memory: &'b mut [u8],
    maximum: u16,
}

impl<'b> Aliases<'b> {
    /// A table of `maximum` aliases, each for topics of at most `memory.len() / maximum - 2` bytes. A server that gives
    /// an alias to a longer topic is disconnected from, so this should be as long as topics get.
    pub const fn new(memory: &'b mut [u8], maximum: u16) -> Self {
        Self { memory, maximum }
    }

    /// No aliases.
    pub const fn none() -> Self {
        Self { memory: &mut [], maximum: 0 }
    }

    /// The highest alias.
    pub const fn maximum(&self) -> u16 {
        self.maximum
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        for alias in 1..=self.maximum {
            if let Some(len) = self.cell(alias).get_mut(..PREFIX) {
                len.fill(0);
            }
        }
    }

    /// The memory of an alias; empty above the maximum.
    fn cell(&mut self, alias: u16) -> &mut [u8] {
        let len = self.memory.len().checked_div(usize::from(self.maximum)).unwrap_or(0);
        let start = len.wrapping_mul(usize::from(alias).wrapping_sub(1));
        get_mut(self.memory, start, start.wrapping_add(len))
    }

    /// The topic of an alias.
    fn topic(&mut self, alias: u16) -> Option<&[u8]> {
        let (len, topic) = self.cell(alias).split_first_chunk::<PREFIX>()?;
        let len = usize::from(u16::from_be_bytes(*len));
        topic.get(..len).filter(|topic| !topic.is_empty())
    }

    /// Keeps the topic of an alias; false where it does not fit.
    #[must_use]
    fn set(&mut self, alias: u16, topic: &[u8]) -> bool {
        let Some((prefix, place)) = self.cell(alias).split_first_chunk_mut::<PREFIX>() else {
            return false;
        };
        let Some(place) = place.get_mut(..topic.len()) else {
            return false;
        };
        mqtt_packet::copy(place, topic);
        *prefix = (topic.len() as u16).to_be_bytes();
        true
    }

    /// The topic of a received message, by its name or by its alias.
    pub(crate) fn resolve<'rx>(
        &'rx mut self,
        publish: &Publish<'rx>,
        offered: u16,
    ) -> Result<TopicName<'rx>, ProtocolError> {
        let Some(alias) = publish.properties.topic_alias() else {
            return Ok(publish.topic);
        };
        if alias > offered {
            return Err(ProtocolError::TopicAlias); // [MQTT-3.3.2-11]
        }
        if !publish.topic.is_empty() {
            let kept = self.set(alias, publish.topic.as_bytes());
            return if kept { Ok(publish.topic) } else { Err(ProtocolError::TopicAlias) };
        }
        let topic = self.topic(alias).ok_or(ProtocolError::UnknownTopicAlias)?;
        TopicName::from_bytes(topic).map_err(|_| ProtocolError::UnknownTopicAlias)
    }

    /// The alias for a message to be sent, and whether the server knows it already; `None` where all are taken.
    pub(crate) fn assign(&mut self, topic: &[u8], limit: u16) -> Option<(u16, bool)> {
        for alias in 1..=self.maximum.min(limit) {
            match self.topic(alias) {
                Some(known) if known == topic => return Some((alias, true)),
                Some(_) => {}
                None => return self.set(alias, topic).then_some((alias, false)),
            }
        }
        None
    }
}
