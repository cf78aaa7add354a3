//! The memory that an engine works in, lent by the caller: how much there is decides how much can be in flight.

use crate::session::{ReceivedSlot, SendSlot};

/// What an [`Engine`](crate::Engine) borrows. [`Storage`] owns such memory in fixed sizes; with an allocator, five
/// vectors do.
#[derive(Debug)]
pub struct Memory<'b> {
    /// Packets on their way to the network. It must hold a whole CONNECT, SUBSCRIBE or UNSUBSCRIBE, and 32 bytes more
    /// for acknowledgements; larger is faster, as all that is in it leaves in one write. What is above 65,535 bytes is not
    /// used.
    pub transmit: &'b mut [u8],
    /// Messages of QoS 1 and 2, kept whole until they are acknowledged.
    pub messages: &'b mut [u8],
    /// One for each PUBLISH of QoS 1 or 2, SUBSCRIBE or UNSUBSCRIBE that may be in flight at once, at most 16,383.
    pub send: &'b mut [SendSlot],
    /// One for each received message of QoS 2, or of QoS 1 that is not accepted, at most 65,535. This is the Receive
    /// Maximum that a 5.0 server is told; before 5.0 it must be as many as the server sends at once, commonly 20.
    pub received: &'b mut [ReceivedSlot],
    /// Names of topics that have an alias towards the server, see [`Aliases`](crate::Aliases); none is well.
    #[cfg(feature = "topic-aliases")]
    pub aliases: &'b mut [u8],
}

/// Memory of fixed sizes for an engine: `SLOTS` requests and `SLOTS` received messages in flight, `MESSAGES` bytes of
/// messages and `TRANSMIT` bytes on their way.
///
/// ```
/// use mqtt_client::{Engine, Settings, Storage};
/// let mut storage = Storage::<4, 512, 128>::new();
/// let engine = Engine::new(storage.lend(), Settings::default());
/// ```
#[derive(Debug)]
pub struct Storage<const SLOTS: usize, const MESSAGES: usize, const TRANSMIT: usize> {
    transmit: [u8; TRANSMIT],
    messages: [u8; MESSAGES],
    send: [SendSlot; SLOTS],
    received: [ReceivedSlot; SLOTS],
}

impl<const SLOTS: usize, const MESSAGES: usize, const TRANSMIT: usize> Storage<SLOTS, MESSAGES, TRANSMIT> {
    /// Empty memory; usable in a `static`.
    pub const fn new() -> Self {
        Self {
            transmit: [0; TRANSMIT],
            messages: [0; MESSAGES],
            send: [SendSlot::EMPTY; SLOTS],
            received: [ReceivedSlot::EMPTY; SLOTS],
        }
    }

    /// Lends all of it, without aliases towards the server.
    pub const fn lend(&mut self) -> Memory<'_> {
        Memory {
            transmit: &mut self.transmit,
            messages: &mut self.messages,
            send: &mut self.send,
            received: &mut self.received,
            #[cfg(feature = "topic-aliases")]
            aliases: &mut [],
        }
    }
}

impl<const SLOTS: usize, const MESSAGES: usize, const TRANSMIT: usize> Default
    for Storage<SLOTS, MESSAGES, TRANSMIT>
{
    fn default() -> Self {
        Self::new()
    }
}

/// A part of lent memory; empty where there is none.
pub(crate) fn get_mut<T>(slice: &mut [T], start: usize, end: usize) -> &mut [T] {
    slice.get_mut(start..end).unwrap_or_default()
}
