//! A ring of slots in lent memory: what is oldest is first, and nothing is moved when it goes.

use crate::session::MANY;
use core::cell::Cell;
use mqtt_packet::PacketId;

/// What a ring can find.
pub(crate) trait Slot {
    /// Whether the first slot in use may be any; otherwise slots go only at the end, and the ring is a list.
    const GOES_ROUND: bool;

    /// The Packet Identifier.
    fn id(&self) -> u16;

    /// Whether anything is awaited of it still.
    fn is_live(&self) -> bool;

    /// Whether it is the live slot with this identifier.
    fn is(&self, id: PacketId) -> bool {
        self.id() == id.get() && self.is_live()
    }
}

#[derive(Debug)]
pub(crate) struct Ring<'b, T> {
    slots: &'b mut [T],
    /// Where the first slot in use is, and how many are.
    front: u16,
    len: u16,
}

impl<'b, T: Slot> Ring<'b, T> {
    /// More slots than a number of 16 bits counts are not used.
    pub(crate) fn new(slots: &'b mut [T]) -> Self {
        let len = slots.len().min(usize::from(u16::MAX));
        Self { slots: crate::memory::get_mut(slots, 0, len), front: 0, len: 0 }
    }

    pub(crate) const fn capacity(&self) -> u16 {
        self.slots.len() as u16
    }

    pub(crate) const fn len(&self) -> u16 {
        self.len
    }

    pub(crate) fn get(&self, position: u16) -> Option<&T> {
        if position >= self.len {
            return None;
        }
        self.slots.get(self.index(position))
    }

    pub(crate) fn get_mut(&mut self, position: u16) -> Option<&mut T> {
        if position >= self.len {
            return None;
        }
        let index = self.index(position);
        self.slots.get_mut(index)
    }

    fn index(&self, position: u16) -> usize {
        if !T::GOES_ROUND {
            return usize::from(position);
        }
        let index = usize::from(self.front).wrapping_add(usize::from(position));
        if index >= self.slots.len() { index.wrapping_sub(self.slots.len()) } else { index }
    }

    /// How far behind the first slot an identifier is, were they given out in sequence.
    fn distance(&self, id: u16) -> u16 {
        self.get(0).map_or(0, |first| id.wrapping_sub(first.id()))
    }

    /// Whether an identifier comes after all others, as it does where the first and the last slot are the ends of a
    /// sequence.
    pub(crate) fn is_behind(&self, id: u16) -> bool {
        let last = self.get(self.len.wrapping_sub(1));
        last.is_none_or(|last| self.distance(id) > self.distance(last.id()))
    }

    /// Whether something is true of any slot that there is, in use or not.
    pub(crate) fn any(&self, what: impl Fn(&T) -> bool) -> bool {
        self.slots.iter().any(what)
    }

    /// Every slot that there is, in use or not, in no order.
    pub(crate) fn all(&mut self) -> core::slice::IterMut<'_, T> {
        self.slots.iter_mut()
    }

    /// Does something to each slot in use; where there are few, it does not matter for the others.
    #[inline(always)]
    pub(crate) fn each_used(&mut self, mut what: impl FnMut(&mut T)) {
        if !MANY {
            return self.slots.iter_mut().for_each(what);
        }
        for position in 0..self.len {
            if let Some(slot) = self.get_mut(position) {
                what(slot);
            }
        }
    }

    /// Where the live slot with this identifier is. In a sequence that is known, give or take what was left out; so the
    /// search begins there and goes towards the front.
    pub(crate) fn find(&self, id: PacketId) -> Option<u16> {
        let last = self.len.wrapping_sub(1);
        let mut position = if MANY { self.distance(id.get()).min(last) } else { last };
        for _ in 0..self.len {
            if self.get(position).is_some_and(|slot| slot.is(id)) {
                return Some(position);
            }
            position = position.wrapping_sub(1).min(last);
        }
        None
    }

    /// Appends a slot; false where there is no memory.
    #[must_use]
    pub(crate) fn push(&mut self, slot: T) -> bool {
        if self.len >= self.capacity() {
            return false;
        }
        self.len = self.len.wrapping_add(1);
        if let Some(place) = self.get_mut(self.len.wrapping_sub(1)) {
            *place = slot;
        }
        true
    }

    /// Gives back the first slots; there must be so many.
    pub(crate) fn pop_front(&mut self, count: u16) {
        self.front = self.index(count) as u16;
        self.len = self.len.wrapping_sub(count);
    }

    /// Forgets the slots of which `is_kept` says no.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&T) -> bool)
    where
        T: Copy,
    {
        if !T::GOES_ROUND {
            let list = crate::memory::get_mut(self.slots, 0, self.len.into());
            let list = Cell::from_mut(list).as_slice_of_cells();
            let mut places = list.iter();
            for slot in list {
                let slot = slot.get();
                if is_kept(&slot) {
                    if let Some(place) = places.next() {
                        place.set(slot);
                    }
                }
            }
            self.len = self.len.wrapping_sub(places.len() as u16);
            return;
        }
        let mut kept = 0_u16;
        for position in 0..self.len {
            let Some(slot) = self.get(position).copied().filter(&is_kept) else {
                continue;
            };
            if let Some(place) = self.get_mut(kept) {
                *place = slot;
            }
            kept = kept.wrapping_add(1);
        }
        self.len = kept;
    }

    /// Forgets all slots.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}
