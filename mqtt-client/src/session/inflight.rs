//! Requests that wait for an acknowledgement, in the order in which they were made.
//!
//! A ring of slots, and a ring of bytes that holds each PUBLISH as it is encoded, for as long as it may have to be
//! sent again. Nothing is ever moved: what is freed in the middle waits for what is in front of it. Identifiers are
//! given out in sequence and slots are freed in sequence, so an identifier is in use exactly if it lies between
//! those of the first and the last slot: the allocator has to look at the first one only.

use crate::error::RequestError;
use crate::event::{Loss, Outcome};
use crate::session::ring::{Ring, Slot};
use crate::session::{MANY, MARKS};
use mqtt_packet::{PacketId, ReasonCode};

/// What tells a repeat in the first byte of a PUBLISH.
pub(crate) const DUP: u8 = 0x08;

/// What a slot waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Nothing: it is freed as soon as it is the first.
    #[default]
    Free,
    AwaitPubAck,
    AwaitPubRec,
    AwaitPubComp,
    AwaitSubAck,
    AwaitUnsubAck,
    /// Somebody to ask for its outcome: an answer.
    Answered,
    /// The same: that there is none.
    Lost,
}

impl Stage {
    /// The request is over.
    pub(crate) const fn is_done(self) -> bool {
        matches!(self, Self::Answered | Self::Lost)
    }

    /// A PUBLISH that has to be sent, now or again.
    pub(crate) const fn is_publish(self) -> bool {
        matches!(self, Self::AwaitPubAck | Self::AwaitPubRec)
    }
}

/// What else is known of a slot; bits.
pub(crate) mod flag {
    /// A byte of the PUBLISH was transmitted, on this connection or an earlier one.
    pub(crate) const SENT: u8 = 1;
    /// It was queued for transmission on this connection.
    pub(crate) const QUEUED: u8 = 2;
    /// It is being transmitted from where it lies: its bytes stay whatever becomes of it.
    pub(crate) const PINNED: u8 = 4;
    /// The payload is the application's, only the head is here.
    pub(crate) const STREAMED: u8 = 8;
    /// The store does not know the newest state.
    pub(crate) const UNSTORED: u8 = 16;
    /// The store knows it and has not said that it is safe.
    pub(crate) const UNSYNCED: u8 = 32;
    /// The two flags that keep a slot, where there is what sets them: constants without their features.
    pub(crate) const PINNED_IF_EVER: u8 = if cfg!(feature = "streaming") { PINNED } else { 0 };
    pub(crate) const UNSTORED_IF_EVER: u8 = if cfg!(feature = "store") { UNSTORED } else { 0 };
    /// PUBREL is to be sent on this connection.
    pub(crate) const RELEASE: u8 = 64;
}

/// Memory for one PUBLISH of QoS 1 or 2, SUBSCRIBE or UNSUBSCRIBE that waits for its acknowledgement: 16 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendSlot {
    /// Where its bytes start.
    pub(crate) start: u32,
    /// How many bytes there are, of a streamed message those of its front; or how many topic filters it has.
    pub(crate) len: u32,
    /// Where in the stream of this connection it starts, or its outcome.
    pub(crate) at: u32,
    pub(crate) id: u16,
    pub(crate) stage: Stage,
    pub(crate) flags: u8,
}

impl SendSlot {
    /// A slot that holds nothing.
    pub const EMPTY: Self = Self { start: 0, len: 0, at: 0, id: 0, stage: Stage::Free, flags: 0 };

    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Ends the request: the server answered, or there is no answer.
    pub(crate) fn finish(&mut self, outcome: Result<ReasonCode, Loss>) {
        (self.stage, self.at) = match outcome {
            Ok(code) => (Stage::Answered, code.0.into()),
            Err(loss) => (Stage::Lost, loss as u32),
        };
    }

    /// What became of it.
    const fn outcome(&self) -> Outcome {
        match self.stage {
            Stage::Answered => Outcome::Answered(ReasonCode(self.at as u8)),
            _ => Outcome::Lost(Loss::from_number(self.at as u8)),
        }
    }

    const fn holds_bytes(&self) -> bool {
        self.stage.is_publish() || self.has(flag::PINNED_IF_EVER)
    }
}

impl Slot for SendSlot {
    const GOES_ROUND: bool = true;

    fn id(&self) -> u16 {
        self.id
    }

    fn is_live(&self) -> bool {
        !matches!(self.stage, Stage::Free) && !self.stage.is_done()
    }
}

/// The two rings.
#[derive(Debug)]
pub(crate) struct InFlight<'b> {
    slots: Ring<'b, SendSlot>,
    bytes: &'b mut [u8],
    /// Behind the newest record.
    tail: u32,
    /// Which slot is looked at next for transmission on this connection; always the first without [`MARKS`].
    pending: u16,
    /// Those in front of this one hold no bytes.
    first_with_bytes: u16,
    /// How many are done.
    done: u16,
    last_id: u16,
}

impl<'b> InFlight<'b> {
    pub(crate) fn new(slots: &'b mut [SendSlot], bytes: &'b mut [u8]) -> Self {
        // What is not in use is free, whatever it was before.
        slots.fill(SendSlot::EMPTY);
        Self { slots: Ring::new(slots), bytes, tail: 0, pending: 0, first_with_bytes: 0, done: 0, last_id: 0 }
    }

    pub(crate) const fn count(&self) -> u16 {
        self.slots.len()
    }

    pub(crate) fn slot(&self, position: u16) -> Option<&SendSlot> {
        self.slots.get(position)
    }

    pub(crate) fn slot_mut(&mut self, position: u16) -> Option<&mut SendSlot> {
        self.slots.get_mut(position)
    }

    /// The identifier that the next request gets; `None` where no slot or no identifier is free.
    pub(crate) fn next_id(&mut self) -> Option<PacketId> {
        let id = PacketId::new(self.last_id.wrapping_add(1)).unwrap_or(PacketId::MIN);
        if self.count() >= self.slots.capacity()
            || self.slot_mut(0).is_some_and(|oldest| oldest.id == id.get())
        {
            return None;
        }
        Some(id)
    }

    /// Where `len` bytes fit.
    ///
    /// # Errors
    /// [`RequestError::NoRoom`] where they never will, [`RequestError::Busy`] where they do not now.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<u32, RequestError> {
        if len > self.bytes.len() {
            return Err(RequestError::NoRoom);
        }
        let mut position = if MANY { self.first_with_bytes } else { 0 };
        while self.slot_mut(position).is_some_and(|slot| !slot.holds_bytes()) {
            position = position.wrapping_add(1);
        }
        if MANY {
            self.first_with_bytes = position;
        }
        let Some(&mut SendSlot { start: head, .. }) = self.slot_mut(position) else {
            return Ok(0);
        };
        let (head_at, tail_at) = (head as usize, self.tail as usize);
        let fits = if tail_at > head_at {
            if self.bytes.len().wrapping_sub(tail_at) >= len {
                Some(self.tail)
            } else {
                (head_at >= len).then_some(0)
            }
        } else {
            (head_at.wrapping_sub(tail_at) >= len).then_some(self.tail)
        };
        fits.ok_or(RequestError::Busy)
    }

    /// The bytes from `start` on, to encode into or to look at.
    pub(crate) fn space(&mut self, start: u32, len: usize) -> &mut [u8] {
        let behind = self.bytes.get_mut(start as usize..).unwrap_or_default();
        behind.get_mut(..len).unwrap_or_default()
    }

    /// Takes a new request with the identifier of [`next_id`](Self::next_id).
    pub(crate) fn push(&mut self, slot: SendSlot) {
        self.last_id = slot.id;
        if slot.stage.is_publish() {
            self.tail = slot.start.wrapping_add(slot.len);
        }
        // There was room when the identifier was asked for.
        let _ = self.slots.push(slot);
    }

    /// The bytes of the record in `slot`; of a streamed one the front.
    pub(crate) fn record(&self, slot: &SendSlot) -> &[u8] {
        self.bytes(slot.start, slot.len)
    }

    /// Bytes of a record that are transmitted from where they lie.
    pub(crate) fn bytes(&self, start: u32, len: u32) -> &[u8] {
        self.bytes.get(start as usize..).and_then(|bytes| bytes.get(..len as usize)).unwrap_or_default()
    }

    /// Which slot is looked at next for transmission on this connection.
    pub(crate) const fn pending(&self) -> u16 {
        if MARKS { self.pending } else { 0 }
    }

    /// Those in front of this slot need not be looked at.
    pub(crate) const fn set_pending(&mut self, position: u16) {
        if MARKS {
            self.pending = position;
        }
    }

    /// A slot to be transmitted, and its bytes.
    pub(crate) fn slot_and_record(&mut self, position: u16) -> Option<(&mut SendSlot, &mut [u8])> {
        let slot = self.slots.get_mut(position)?;
        let behind = self.bytes.get_mut(slot.start as usize..).unwrap_or_default();
        let record = behind.get_mut(..slot.len as usize).unwrap_or_default();
        Some((slot, record))
    }

    /// Marks the PUBLISH of a slot as a repeat.
    #[cfg(feature = "streaming")]
    pub(crate) fn set_dup(&mut self, start: u32) {
        if let Some(first) = self.bytes.get_mut(start as usize) {
            *first |= DUP;
        }
    }

    /// The slot that has this identifier and waits for something.
    pub(crate) fn find(&mut self, id: PacketId) -> Option<&mut SendSlot> {
        if !MANY {
            return self.slots.all().find(|slot| slot.is(id));
        }
        let position = self.slots.find(id)?;
        self.slots.get_mut(position)
    }

    /// The slot of this identifier is looked at again for transmission.
    pub(crate) fn look_again(&mut self, id: PacketId) {
        // All are where that costs less than to know which.
        let position = if MANY { self.slots.find(id).unwrap_or(0) } else { 0 };
        self.set_pending(self.pending().min(position));
    }

    /// Ends the requests for which `what` has an outcome, after it has changed them. It sees slots that are free, too,
    /// and all in no order.
    #[inline(always)]
    pub(crate) fn each(&mut self, mut what: impl FnMut(&mut SendSlot) -> Option<Loss>) {
        for slot in self.slots.all() {
            if let Some(loss) = what(slot) {
                slot.finish(Err(loss));
                if MANY {
                    self.done = self.done.wrapping_add(1);
                }
            }
        }
    }

    /// Counts a request that was [finished](SendSlot::finish).
    pub(crate) fn count_done(&mut self) {
        if MANY {
            self.done = self.done.wrapping_add(1);
        }
    }

    /// Whether a request is over that was not asked for yet.
    pub(crate) fn has_done(&self) -> bool {
        if MANY {
            return self.done > 0;
        }
        self.slots.any(|slot| slot.stage.is_done())
    }

    /// The next request that is over; asked for, its identifier is free.
    pub(crate) fn poll_done(&mut self) -> Option<(PacketId, Outcome)> {
        if MANY && self.done == 0 {
            return None;
        }
        for position in 0..self.count() {
            if let Some(slot) = self.slot_mut(position).filter(|slot| slot.stage.is_done()) {
                let (id, outcome) = (PacketId::new(slot.id)?, slot.outcome());
                slot.stage = Stage::Free;
                if MANY {
                    self.done = self.done.wrapping_sub(1);
                }
                self.free_front();
                return Some((id, outcome));
            }
        }
        None
    }

    /// Frees the first slots as far as nothing is wanted of them.
    pub(crate) fn free_front(&mut self) {
        let is_free = |slot: &mut SendSlot| {
            slot.stage == Stage::Free && !slot.has(flag::PINNED_IF_EVER | flag::UNSTORED_IF_EVER)
        };
        let mut free = 0_u16;
        while self.slot_mut(free).is_some_and(is_free) {
            free = free.wrapping_add(1);
        }
        self.slots.pop_front(free);
        self.set_pending(self.pending().saturating_sub(free));
        if MANY {
            self.first_with_bytes = self.first_with_bytes.saturating_sub(free);
        }
    }
}
