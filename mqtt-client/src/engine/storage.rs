//! Sessions that survive a power cut: what must be kept, and what is promised only once it is safe.
//!
//! The store is a peer of the engine as the network is. The engine says what changes
//! ([`Engine::poll_change`]) and holds back what depends on it - a PUBLISH, PUBREL, PUBREC or PUBCOMP - until it is told
//! that everything it said is safe ([`Engine::synced`]).

use super::{Engine, Phase};
use crate::error::RequestError;
use crate::session::{CLOSED, Owed, ReceivedSlot, SYNCED, SendSlot, Stage, flag};
use mqtt_packet::{FixedHeader, PacketId, PacketType};

/// Names a record of the session: 1 to 65,535 are the messages on their way out, by their Packet Identifier; 65,536 and
/// above the received messages of QoS 2, likewise.
pub type Key = u32;

/// Received messages begin here.
const RECEIVED: Key = 0x1_0000;

/// What a store has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'e> {
    /// Keep these bytes under this key, in place of others if there are any. Empty bytes are kept, too.
    Put(Key, &'e [u8]),
    /// Forget this key. It may not be there.
    Remove(Key),
}

/// What to do with a slot, found before it is borrowed.
enum Step {
    Nothing,
    Put,
    Remove,
}

impl Engine<'_> {
    /// The next change of a session that is kept in a store ([`Settings::durable`](crate::Settings::durable)). To be
    /// drained after every input, in its order, and followed by [`synced`](Self::synced).
    pub fn poll_change(&mut self) -> Option<Change<'_>> {
        if !self.settings.is_durable() {
            return None;
        }
        if let Some(change) = self.poll_received() {
            return Some(change);
        }
        for position in 0..self.inflight.count() {
            match self.step(position) {
                Step::Nothing => {}
                Step::Put => return self.put(position),
                Step::Remove => {
                    let id = self.inflight.slot(position)?.id;
                    self.inflight.free_front();
                    return Some(Change::Remove(id.into()));
                }
            }
        }
        None
    }

    /// Notes that the change of this slot is asked for.
    fn step(&mut self, position: u16) -> Step {
        let Some(slot) = self.inflight.slot_mut(position) else {
            return Step::Nothing;
        };
        if !slot.has(flag::UNSTORED) {
            return Step::Nothing;
        }
        slot.flags &= !flag::UNSTORED;
        match slot.stage {
            Stage::Free | Stage::Answered | Stage::Lost => Step::Remove,
            _ => {
                slot.flags |= flag::UNSYNCED;
                Step::Put
            }
        }
    }

    fn put(&mut self, position: u16) -> Option<Change<'_>> {
        let slot = self.inflight.slot(position)?;
        let record = match slot.stage {
            Stage::AwaitPubComp => &[],
            _ => self.inflight.record(slot),
        };
        Some(Change::Put(slot.id.into(), record))
    }

    fn poll_received(&mut self) -> Option<Change<'static>> {
        let mut position = 0;
        while let Some(slot) = self.inbox.slot_mut(position) {
            position = position.wrapping_add(1);
            let key = RECEIVED.wrapping_add(slot.id.into());
            match slot.owed {
                Owed::StorePubRec => {
                    slot.owed = Owed::SyncPubRec;
                    return Some(Change::Put(key, &[]));
                }
                Owed::StorePubComp => {
                    slot.owed = Owed::SyncPubComp;
                    return Some(Change::Remove(key));
                }
                Owed::StoreForget => {
                    slot.owed = Owed::Forgotten;
                    return Some(Change::Remove(key));
                }
                _ => {}
            }
        }
        None
    }

    /// All changes that were asked for are safe: what waited for them is sent.
    pub fn synced(&mut self) {
        for position in 0..self.inflight.count() {
            if let Some(slot) = self.inflight.slot_mut(position) {
                slot.flags &= !flag::UNSYNCED;
            }
        }
        self.inbox.change(SYNCED);
        if self.phase != Phase::Connected {
            self.inbox.change(CLOSED); // There is nobody to be told.
        }
        self.pump();
    }

    /// Takes back a record that a store kept, before the first connection. The records of messages on their way out
    /// come in the order of their publication, those of received messages in any.
    ///
    /// # Errors
    /// [`RequestError::Busy`] and [`RequestError::NoRoom`] where there is less memory than there was,
    /// [`RequestError::Stale`] where it is no record of this engine's.
    pub fn restore(&mut self, key: Key, record: &[u8]) -> Result<(), RequestError> {
        let received = key >= RECEIVED;
        let id = PacketId::new(key as u16).filter(|_| key >> 17 == 0);
        let id = id.ok_or(RequestError::Stale)?;
        self.has_session = true;
        if received {
            let slot = ReceivedSlot { id: id.get(), owed: Owed::Nothing, reason: 0 };
            return if self.inbox.push(slot) { Ok(()) } else { Err(RequestError::Busy) };
        }
        let slot =
            SendSlot { id: id.get(), stage: Stage::AwaitPubComp, flags: flag::SENT, ..SendSlot::EMPTY };
        self.inflight.next_id().ok_or(RequestError::Busy)?;
        if record.is_empty() {
            self.inflight.push(slot);
            return Ok(());
        }
        let stage = match FixedHeader::decode(record) {
            Ok(Some(header))
                if header.packet_type == PacketType::Publish
                    && header.packet_len() as usize == record.len() =>
            {
                match header.flags >> 1 & 3 {
                    1 => Stage::AwaitPubAck,
                    2 => Stage::AwaitPubRec,
                    _ => return Err(RequestError::Stale),
                }
            }
            _ => return Err(RequestError::Stale),
        };
        let start = self.inflight.reserve(record.len())?;
        self.inflight.space(start, record.len()).copy_from_slice(record);
        self.inflight.push(SendSlot { start, len: record.len() as u32, stage, ..slot });
        Ok(())
    }
}
