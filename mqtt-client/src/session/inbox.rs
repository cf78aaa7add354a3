//! Messages of QoS 1 and 2 that came in and are not done with: whose acknowledgement is owed, or whose identifier is
//! remembered until PUBREL.
//!
//! In the order of their arrival, which is the order in which they are acknowledged
//! [MQTT-4.6.0-2, MQTT-4.6.0-3]: one that the application has not accepted holds up those behind it.

use crate::delivery::Receiving;
use crate::memory::get_mut;
use mqtt_packet::PacketId;

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
    /// PUBACK.
    PubAck,
    /// PUBREC, once the store has the identifier.
    StorePubRec,
    /// PUBREC, once the store says that the identifier is safe.
    SyncPubRec,
    /// PUBREC.
    PubRec,
    /// PUBCOMP, once the store has forgotten the identifier.
    StorePubComp,
    /// PUBCOMP, once the store says that it has.
    SyncPubComp,
    /// PUBCOMP.
    PubComp,
    /// Only that the store forgets the identifier.
    StoreForget,
    /// Nothing: it goes with the next word of the store.
    Forgotten,
    /// Nothing: its place is free with the next [`Inbox::close_ranks`].
    Gone,
}

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

/// The received messages.
#[derive(Debug)]
pub(crate) struct Inbox<'b> {
    slots: &'b mut [ReceivedSlot],
    len: u16,
}

impl<'b> Inbox<'b> {
    pub(crate) fn new(slots: &'b mut [ReceivedSlot]) -> Self {
        Self { slots, len: 0 }
    }

    pub(crate) fn capacity(&self) -> u16 {
        u16::try_from(self.slots.len()).unwrap_or(u16::MAX)
    }

    pub(crate) const fn len(&self) -> u16 {
        self.len
    }

    pub(crate) fn slots(&self) -> &[ReceivedSlot] {
        self.slots.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(crate) fn slots_mut(&mut self) -> &mut [ReceivedSlot] {
        get_mut(self.slots, 0, usize::from(self.len))
    }

    pub(crate) fn find(&self, id: PacketId) -> Option<usize> {
        self.slots().iter().position(|slot| slot.id == id.get() && slot.owed < Owed::StoreForget)
    }

    /// Appends a message; false where there is no memory.
    #[must_use]
    pub(crate) fn push(&mut self, slot: ReceivedSlot) -> bool {
        match self.slots.get_mut(usize::from(self.len)) {
            Some(place) if self.len < u16::MAX => {
                *place = slot;
                self.len = self.len.wrapping_add(1);
                true
            }
            _ => false,
        }
    }

    /// Gives back the places of those that are gone; the others stay in their order.
    pub(crate) fn close_ranks(&mut self) {
        let mut kept = 0_u16;
        for at in 0..self.len {
            let Some(&slot) = self.slots.get(usize::from(at)) else {
                break;
            };
            if slot.owed == Owed::Gone {
                continue;
            }
            if let Some(place) = self.slots.get_mut(usize::from(kept)) {
                *place = slot;
            }
            kept = kept.wrapping_add(1);
        }
        self.len = kept;
    }
}
