//! Topic aliases of 5.0 (section 3.3.2.3.4): a number in place of a topic name, in each direction for itself, and
//! forgotten with the connection [MQTT-3.3.2-7].

use crate::error::ProtocolError;
use mqtt_packet::{PropertyId, Publish, TopicName};

/// A length in front of each topic name.
const PREFIX: usize = 2;

/// The table of one direction, over lent memory in equal parts, one for each alias.
#[derive(Debug, Default)]
pub struct Aliases<'b> {
    #[cfg(feature = "topic-aliases")]
    memory: &'b mut [u8],
    #[cfg(feature = "topic-aliases")]
    maximum: u16,
    #[cfg(not(feature = "topic-aliases"))]
    none: core::marker::PhantomData<&'b mut [u8]>,
}

/// Whether there are aliases; a constant, so that without the feature all of it falls out at link time.
pub(crate) const ALIASES: bool = cfg!(feature = "topic-aliases");

impl<'b> Aliases<'b> {
    /// A table of `maximum` aliases, each for topics of at most `memory.len() / maximum - 2` bytes. A server that gives
    /// an alias to a longer topic is disconnected from, so this should be as long as topics get.
    #[cfg(feature = "topic-aliases")]
    pub const fn new(memory: &'b mut [u8], maximum: u16) -> Self {
        Self { memory, maximum }
    }

    /// No aliases.
    pub const fn none() -> Self {
        #[cfg(feature = "topic-aliases")]
        return Self::new(&mut [], 0);
        #[cfg(not(feature = "topic-aliases"))]
        return Self { none: core::marker::PhantomData };
    }

    /// The highest alias.
    pub const fn maximum(&self) -> u16 {
        #[cfg(feature = "topic-aliases")]
        return self.maximum;
        #[cfg(not(feature = "topic-aliases"))]
        return 0;
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        for alias in 1..=self.maximum() {
            if let Some(len) = self.cell(alias).get_mut(..PREFIX) {
                len.fill(0);
            }
        }
    }

    /// The memory of an alias; empty above the maximum.
    fn cell(&mut self, alias: u16) -> &mut [u8] {
        #[cfg(feature = "topic-aliases")]
        {
            let len = self.memory.len().checked_div(usize::from(self.maximum)).unwrap_or(0);
            let start = len.wrapping_mul(usize::from(alias).wrapping_sub(1));
            crate::memory::get_mut(self.memory, start, start.wrapping_add(len))
        }
        #[cfg(not(feature = "topic-aliases"))]
        {
            let _ = alias;
            &mut []
        }
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
        if !publish.properties.contains(PropertyId::TopicAlias) {
            return Ok(publish.topic);
        }
        if !ALIASES {
            return Err(ProtocolError::TopicAlias); // None was offered [MQTT-3.3.2-11].
        }
        let Some(alias) = publish.properties.topic_alias() else {
            return Ok(publish.topic); // Never.
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
        for alias in 1..=self.maximum().min(limit) {
            match self.topic(alias) {
                Some(known) if known == topic => return Some((alias, true)),
                Some(_) => {}
                None => return self.set(alias, topic).then_some((alias, false)),
            }
        }
        None
    }
}
