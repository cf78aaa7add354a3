//! Messages of QoS 1 and 2 that came in and are not done with: whose acknowledgement is owed, or whose identifier is
//! remembered until PUBREL.
//!
//! In the order of their arrival, which is the order in which they are acknowledged
//! [MQTT-4.6.0-2, MQTT-4.6.0-3]: one that the application has not accepted holds up those behind it.

use crate::delivery::Receiving;
use crate::session::MANY;
use crate::session::ring::{Ring, Slot};
use mqtt_packet::{AckKind, PacketId};

/// What is owed for a received message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Owed {
    /// Nothing before PUBREL comes.
    #[default]
    Nothing,
    /// QoS 1, not accepted yet.
    Accept1,
    /// QoS 2, not accepted yet.
    Accept2,
    /// PUBREC, once the store has the identifier.
    StorePubRec,
    // The numbers of the next three, and of PUBCOMP, are their packet types.
    /// PUBACK.
    PubAck = AckKind::PubAck as u8,
    /// PUBREC.
    PubRec = AckKind::PubRec as u8,
    /// PUBREC, once the store says that the identifier is safe.
    SyncPubRec,
    /// PUBCOMP.
    PubComp = AckKind::PubComp as u8,
    /// PUBCOMP, once the store has forgotten the identifier.
    StorePubComp,
    /// PUBCOMP, once the store says that it has.
    SyncPubComp,
    /// Only that the store forgets the identifier.
    StoreForget,
    /// Nothing: it goes with the next word of the store.
    Forgotten,
    /// Nothing: its place is free as soon as it is the first, or where there is no other.
    Gone,
}

/// Whether what is owed may have to wait for more than room: for the application, or for a store.
pub(crate) const HELD_UP: bool = cfg!(any(feature = "manual-acknowledgement", feature = "store"));

/// What becomes of what is owed, for each [`Owed`] in its order.
type Change = [Owed; 13];

/// The connection is gone. What was not accepted, the server sends again; so the application is asked again.
pub(crate) const CLOSED: Change = [
    Owed::Nothing,
    Owed::Gone,
    Owed::Gone,
    Owed::StorePubRec,
    Owed::Gone,
    Owed::Nothing,
    Owed::SyncPubRec,
    Owed::Gone,
    Owed::StoreForget,
    Owed::Forgotten,
    Owed::StoreForget,
    Owed::Forgotten,
    Owed::Gone,
];

/// The session is lost, and a store has to forget it.
pub(crate) const FORGOTTEN: Change = [Owed::StoreForget; 13];

/// The store says that everything is safe, on an open connection.
pub(crate) const SYNCED: Change = [
    Owed::Nothing,
    Owed::Accept1,
    Owed::Accept2,
    Owed::StorePubRec,
    Owed::PubAck,
    Owed::PubRec,
    Owed::PubRec,
    Owed::PubComp,
    Owed::StorePubComp,
    Owed::PubComp,
    Owed::StoreForget,
    Owed::Gone,
    Owed::Gone,
];

/// Memory for one received message of QoS 1 or 2 that is not done with: 4 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReceivedSlot {
    pub(crate) id: u16,
    pub(crate) owed: Owed,
    /// The reason code of the acknowledgement.
    pub(crate) reason: u8,
}

impl ReceivedSlot {
    /// A slot that holds nothing.
    pub const EMPTY: Self = Self { id: 0, owed: Owed::Nothing, reason: 0 };

    pub(crate) const fn stage(&self) -> Receiving {
        match self.owed {
            Owed::Accept1 | Owed::Accept2 | Owed::PubAck => Receiving::AwaitAccept,
            _ => Receiving::AwaitPubRel,
        }
    }

    /// Whether those behind it wait for it.
    pub(crate) const fn is_unaccepted(&self) -> bool {
        matches!(self.owed, Owed::Accept1 | Owed::Accept2)
    }
}

impl Slot for ReceivedSlot {
    const GOES_ROUND: bool = MANY;

    fn id(&self) -> u16 {
        self.id
    }

    fn is_live(&self) -> bool {
        self.owed < Owed::StoreForget
    }
}

/// The received messages.
#[derive(Debug)]
pub(crate) struct Inbox<'b> {
    slots: Ring<'b, ReceivedSlot>,
    /// How many of the slots are gone.
    gone: u16,
    /// Nothing that could be sent is owed for those in front of this one.
    due: u16,
    /// Whether the identifiers are in sequence, as servers give them out.
    in_sequence: bool,
}

impl<'b> Inbox<'b> {
    pub(crate) fn new(slots: &'b mut [ReceivedSlot]) -> Self {
        Self { slots: Ring::new(slots), gone: 0, due: 0, in_sequence: true }
    }

    pub(crate) const fn capacity(&self) -> u16 {
        self.slots.capacity()
    }

    /// How many messages there are.
    pub(crate) const fn count(&self) -> u16 {
        self.slots.len().wrapping_sub(self.gone)
    }

    /// What is owed for the message at this place, to be changed. What gets [`Owed::Gone`] is [removed](Self::remove)
    /// instead.
    pub(crate) fn slot_mut(&mut self, position: u16) -> Option<&mut ReceivedSlot> {
        self.slots.get_mut(position)
    }

    /// Where the message with this identifier is, and what is known of it.
    pub(crate) fn find(&mut self, id: PacketId) -> Option<(u16, &ReceivedSlot)> {
        if MANY && self.in_sequence && self.slots.is_behind(id.get()) {
            return None;
        }
        if !MANY {
            // One function gets slots to be changed and to be looked at.
            let mut position = 0_u16;
            while !self.slots.get_mut(position)?.is(id) {
                position = position.wrapping_add(1);
            }
            return Some((position, self.slots.get_mut(position)?));
        }
        let position = self.slots.find(id)?;
        Some((position, self.slots.get(position)?))
    }

    /// Nothing that could be sent is owed for those in front of this place. Where there are few, all are looked at.
    pub(crate) const fn due(&self) -> u16 {
        if MANY { self.due } else { 0 }
    }

    /// Nothing that could be sent is owed for those in front of this place.
    pub(crate) const fn set_due(&mut self, position: u16) {
        if MANY {
            self.due = position;
        }
    }

    /// Those of which something may be owed.
    pub(crate) fn owed(&self) -> impl Iterator<Item = &ReceivedSlot> {
        (self.due()..self.slots.len()).filter_map(|position| self.slots.get(position))
    }

    /// Appends a message; false where there is no memory.
    #[must_use]
    pub(crate) fn push(&mut self, slot: ReceivedSlot) -> bool {
        if MANY && self.slots.len() >= self.capacity() {
            self.close_gaps();
        }
        if MANY {
            self.in_sequence = self.slots.len() == 0 || self.in_sequence && self.slots.is_behind(slot.id);
        }
        self.slots.push(slot)
    }

    /// Takes out the message at this place.
    pub(crate) fn remove(&mut self, position: u16) {
        let Some(slot) = self.slots.get_mut(position) else {
            return;
        };
        slot.owed = Owed::Gone;
        if !MANY {
            return self.close_gaps();
        }
        self.gone = self.gone.wrapping_add(1);
        while self.slots.get(0).is_some_and(|slot| slot.owed == Owed::Gone) {
            self.slots.pop_front(1);
            self.gone = self.gone.wrapping_sub(1);
            self.due = self.due.saturating_sub(1);
        }
    }

    /// Changes what is owed for all of them, to be looked at again.
    #[inline(always)]
    pub(crate) fn change(&mut self, change: Change) {
        self.slots.each_used(|slot| {
            slot.owed = change.get(slot.owed as usize).copied().unwrap_or(Owed::Gone);
        });
        self.close_gaps();
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        if MANY {
            self.gone = 0;
        }
        self.set_due(0);
    }

    /// Gives back the places of those that are gone; all others are looked at again.
    fn close_gaps(&mut self) {
        self.slots.retain(|slot| slot.owed != Owed::Gone);
        if MANY {
            self.gone = 0;
        }
        self.set_due(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]

    use super::*;
    use proptest::prelude::*;

    /// Nothing changes but that one kind goes.
    const FORGET_ACCEPT_2: Change = {
        let mut change = SYNCED;
        change[Owed::Accept2 as usize] = Owed::Gone;
        change
    };

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// The next identifier, so many left out.
        Next(u16),
        /// Any identifier.
        Push(u16),
        /// The message at this place, of as many as there are.
        Remove(usize),
        Forget(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_u16).prop_map(Step::Next),
            1 => any::<u16>().prop_map(Step::Push),
            3 => Just(0).prop_map(Step::Remove),
            2 => any::<usize>().prop_map(Step::Remove),
            1 => any::<usize>().prop_map(Step::Forget),
        ]
    }

    proptest! {
        /// Whatever order identifiers come and go in, what is there is found, in its order, and nothing else.
        #[test]
        fn the_inbox_is_a_list(steps in prop::collection::vec(step(), 0..300), first in any::<u16>()) {
            let mut memory = [ReceivedSlot::EMPTY; 8];
            let mut inbox = Inbox::new(&mut memory);
            let mut list: Vec<u16> = Vec::new();
            let mut last = first;
            for step in steps {
                match step {
                    Step::Next(_) | Step::Push(_) => {
                        let id = match step {
                            Step::Push(id) => id,
                            Step::Next(left_out) => last.wrapping_add(1 + left_out),
                            _ => unreachable!(),
                        };
                        let Some(new) = PacketId::new(id).filter(|_| !list.contains(&id)) else { continue };
                        prop_assert!(inbox.find(new).is_none());
                        last = id;
                        let slot = ReceivedSlot { id, owed: Owed::Accept1, reason: 0 };
                        prop_assert_eq!(inbox.push(slot), list.len() < 8);
                        if list.len() < 8 {
                            list.push(id);
                        }
                    }
                    Step::Remove(at) | Step::Forget(at) if !list.is_empty() => {
                        let id = PacketId::new(list.remove(at % list.len())).unwrap();
                        let Some((found, _)) = inbox.find(id) else { panic!("{id} is there") };
                        if matches!(step, Step::Remove(_)) {
                            inbox.remove(found);
                        } else {
                            inbox.slot_mut(found).unwrap().owed = Owed::Accept2;
                            inbox.change(FORGET_ACCEPT_2);
                        }
                        prop_assert!(inbox.find(id).is_none());
                    }
                    _ => {}
                }
                prop_assert_eq!(usize::from(inbox.count()), list.len());
                let positions: Option<Vec<u16>> =
                    list.iter().map(|&id| Some(inbox.find(PacketId::new(id)?)?.0)).collect();
                prop_assert!(positions.is_some_and(|positions| positions.is_sorted()));
            }
        }
    }
}
