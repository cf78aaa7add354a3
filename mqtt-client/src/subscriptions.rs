//! The subscriptions that an application wants, remembered so that they can be made again when the server has lost
//! the session. Whether that is done is the application's choice: by keeping this list, and asking for it.

use crate::engine::Engine;
use crate::error::RequestError;
use crate::memory::get_mut;
use mqtt_packet::{
    PacketType, Properties, PropertyId, PropertyPlace, SubscribeFilter, SubscribeOptions, TopicFilter,
    Version,
};

/// Length of the filter, options, Subscription Identifier.
const HEAD: usize = 7;

/// Wanted subscriptions in lent memory, 7 bytes and the filter each.
#[derive(Debug)]
pub struct Subscriptions<'b> {
    memory: &'b mut [u8],
    len: usize,
    /// What is asked for next by [`resubscribe`](Self::resubscribe).
    next: usize,
}

/// One entry: what is asked for, and where the next one is.
struct Entry<'s> {
    filter: &'s [u8],
    options: u8,
    identifier: u32,
    next: usize,
}

impl<'b> Subscriptions<'b> {
    /// An empty list in `memory`.
    pub const fn new(memory: &'b mut [u8]) -> Self {
        Self { memory, len: 0, next: 0 }
    }

    /// Remembers a subscription, in place of one with the same filter; `identifier` is its Subscription Identifier or
    /// 0 for none.
    ///
    /// # Errors
    /// [`RequestError::NoRoom`]; the list is as it was, without a subscription of this filter.
    pub fn remember(&mut self, wanted: &SubscribeFilter<'_>, identifier: u32) -> Result<(), RequestError> {
        self.forget(wanted.filter);
        let filter = wanted.filter.as_bytes();
        let end = self.len.saturating_add(HEAD).saturating_add(filter.len());
        let place = get_mut(self.memory, self.len, end);
        let (head, bytes) = place.split_at_mut_checked(HEAD).ok_or(RequestError::NoRoom)?;
        let [high, low] = (filter.len() as u16).to_be_bytes();
        let [a, b, c, d] = identifier.to_be_bytes();
        let options = wanted.options.to_byte(Version::V5);
        head.copy_from_slice(&[high, low, options, a, b, c, d]);
        bytes.copy_from_slice(filter);
        self.len = end;
        Ok(())
    }

    /// Forgets the subscription of this filter, if there is one.
    pub fn forget(&mut self, filter: TopicFilter<'_>) {
        let mut at = 0;
        while let Some(entry) = self.entry(at) {
            let next = entry.next;
            if entry.filter == filter.as_bytes() {
                self.close_gap(at, next);
                return;
            }
            at = next;
        }
    }

    /// Whether nothing is wanted.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The server has lost the session: everything is asked for again from the start, by
    /// [`resubscribe`](Self::resubscribe).
    pub const fn restart(&mut self) {
        self.next = 0;
    }

    /// Asks for as many subscriptions as the engine takes now, each with a SUBSCRIBE of its own; `true` when all are
    /// asked for. Their outcomes are those of any other request.
    ///
    /// # Errors
    /// As [`Engine::subscribe`], but for [`RequestError::Busy`]: the rest is asked for with the next call.
    pub fn resubscribe(&mut self, engine: &mut Engine<'_>) -> Result<bool, RequestError> {
        while let Some(entry) = self.entry(self.next) {
            let next = entry.next;
            match entry.subscribe(engine) {
                Ok(()) => {}
                Err(RequestError::Busy) => return Ok(false),
                Err(error) => return Err(error),
            }
            self.next = next;
        }
        Ok(true)
    }

    fn entry(&self, at: usize) -> Option<Entry<'_>> {
        let bytes = self.memory.get(at..self.len)?;
        let (&[high, low, options, a, b, c, d], behind) = bytes.split_first_chunk::<HEAD>()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        Some(Entry {
            filter: behind.get(..len)?,
            options,
            identifier: u32::from_be_bytes([a, b, c, d]),
            next: at.wrapping_add(HEAD).wrapping_add(len),
        })
    }

    /// Moves what begins at `from` to `to`, byte by byte.
    fn close_gap(&mut self, to: usize, from: usize) {
        let mut to = to;
        for at in from..self.len {
            let byte = self.memory.get(at).copied().unwrap_or_default();
            if let Some(place) = self.memory.get_mut(to) {
                *place = byte;
            }
            to = to.wrapping_add(1);
        }
        self.len = to;
        self.next = 0;
    }
}

impl Entry<'_> {
    fn subscribe(&self, engine: &mut Engine<'_>) -> Result<(), RequestError> {
        // Both were valid when they were remembered.
        let Ok(filter) = TopicFilter::from_bytes(self.filter) else {
            return Ok(());
        };
        let Ok(options) = SubscribeOptions::from_byte(self.options, Version::V5) else {
            return Ok(());
        };
        let mut block = [PropertyId::SubscriptionIdentifier as u8, 0, 0, 0, 0];
        let mut len = 0_usize;
        let mut left = self.identifier;
        for place in block.iter_mut().skip(1) {
            if left == 0 {
                break;
            }
            let low = (left & 0x7F) as u8;
            left >>= 7;
            *place = if left > 0 { low | 0x80 } else { low };
            len = len.wrapping_add(1);
        }
        let block = if len == 0 { &[] } else { block.get(..len.wrapping_add(1)).unwrap_or_default() };
        let properties = Properties::from_block(block, PropertyPlace::of(PacketType::Subscribe))
            .unwrap_or(Properties::EMPTY);
        engine.subscribe(&[SubscribeFilter { filter, options }], properties).map(|_| ())
    }
}
