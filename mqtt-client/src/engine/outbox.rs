//! What is on its way to the network: a flat buffer of whole packets, and at most one long part that is transmitted
//! from where it lies, in the middle of them.
//!
//! Everything in the buffer leaves in one write. It is reset whenever it is empty, so nothing is ever moved in it.

use super::tickets::Tickets;
use crate::memory::get_mut;
use mqtt_packet::{EncodeError, SliceSink};

/// Whether a message may be larger than the memory for transmission; a constant, so that without the feature all of it
/// falls out at link time.
pub(crate) const STREAMS: bool = cfg!(feature = "streaming");
/// Room that requests leave for acknowledgements, PINGREQ and DISCONNECT.
pub(crate) const RESERVE: usize = 16;
/// The longest acknowledgement: fixed header, identifier and reason code.
pub(crate) const ACK_LEN: usize = 5;

/// Where the long part comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The bytes of a message in flight, from here on.
    Messages(u32),
    /// The application writes it itself.
    Application,
}

/// The long part: where in the buffer it belongs, how much of it is left, and where it is.
#[derive(Clone, Copy, Debug)]
struct Long {
    at: u16,
    left: u32,
    source: Source,
}

impl Long {
    const NONE: Self = Self { at: 0, left: 0, source: Source::Application };
}

#[derive(Debug)]
pub(crate) struct Outbox<'b> {
    /// At most 65,535 bytes.
    buffer: &'b mut [u8],
    sent: u16,
    len: u16,
    #[cfg(feature = "streaming")]
    long: Long,
    /// How many bytes were transmitted, on all connections. It wraps.
    written: u32,
    pub(super) tickets: Tickets,
}

impl<'b> Outbox<'b> {
    pub(crate) fn new(buffer: &'b mut [u8]) -> Self {
        let len = buffer.len().min(usize::from(u16::MAX));
        Self {
            buffer: get_mut(buffer, 0, len),
            sent: 0,
            len: 0,
            #[cfg(feature = "streaming")]
            long: Long::NONE,
            written: 0,
            tickets: Tickets::default(),
        }
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.buffer.len()
    }

    const fn long(&self) -> Long {
        #[cfg(feature = "streaming")]
        return self.long;
        #[cfg(not(feature = "streaming"))]
        return Long::NONE;
    }

    const fn set_long(&mut self, long: Long) {
        #[cfg(feature = "streaming")]
        {
            self.long = long;
        }
        let _ = long;
    }

    /// How much of the long part is the application's turn.
    #[cfg(feature = "streaming")]
    pub(crate) const fn application_left(&self) -> u32 {
        match self.long.source {
            Source::Application if self.sent == self.long.at => self.long.left,
            _ => 0,
        }
    }

    /// How many bytes fit.
    pub(crate) const fn room(&self) -> usize {
        self.buffer.len().wrapping_sub(self.len as usize)
    }

    /// Whether everything was transmitted.
    pub(crate) const fn is_empty(&self) -> bool {
        self.sent == self.len && self.long().left == 0
    }

    /// Whether a long part is under way.
    pub(crate) const fn has_long(&self) -> bool {
        self.long().left > 0
    }

    /// Where in the stream the next packet starts.
    pub(crate) const fn position(&self) -> u32 {
        self.written.wrapping_add(self.unwritten())
    }

    /// How many bytes are not transmitted yet.
    const fn unwritten(&self) -> u32 {
        (self.len as u32).wrapping_sub(self.sent as u32).wrapping_add(self.long().left)
    }

    /// How far the stream was transmitted.
    pub(crate) const fn written(&self) -> u32 {
        self.written
    }

    /// Whether no byte at or behind `position` was transmitted.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) const fn is_unsent(&self, position: u32) -> bool {
        position.wrapping_sub(self.written) <= self.unwritten()
    }

    /// Appends what `encode` writes, and leaves `reserve` bytes free.
    pub(crate) fn append(
        &mut self,
        reserve: usize,
        encode: impl FnOnce(&mut SliceSink<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let end = self.buffer.len().saturating_sub(reserve);
        let mut out = SliceSink::new(get_mut(self.buffer, self.len as usize, end));
        encode(&mut out)?;
        let n = out.len();
        self.len = self.len.wrapping_add(n as u16);
        Ok(())
    }

    /// Appends bytes; false where they do not fit.
    #[must_use]
    pub(crate) fn append_bytes(&mut self, reserve: usize, bytes: &[u8]) -> bool {
        let end = (self.len as usize).wrapping_add(bytes.len());
        if end.saturating_add(reserve) > self.buffer.len() {
            return false;
        }
        mqtt_packet::copy(get_mut(self.buffer, self.len as usize, end), bytes);
        self.len = end as u16;
        true
    }

    /// Puts a long part behind everything that is in the buffer now. There may not be one already.
    pub(crate) fn put_long(&mut self, source: Source, len: u32) {
        self.set_long(Long { at: self.len, left: len, source });
    }

    /// What is next; `Err` with where it lies and how long it is for the long part.
    #[inline(always)]
    pub(crate) fn next(&self) -> Result<&[u8], (Source, u32)> {
        let long = self.long();
        if !STREAMS || long.left == 0 {
            return Ok(self.part(self.len));
        }
        if self.sent < long.at {
            return Ok(self.part(long.at));
        }
        Err((long.source, long.left))
    }

    #[inline(always)]
    fn part(&self, end: u16) -> &[u8] {
        self.buffer.get(usize::from(self.sent)..usize::from(end)).unwrap_or_default()
    }

    /// Takes `n` bytes of [`next`](Self::next) as transmitted; true where the long part has ended.
    pub(crate) fn advance(&mut self, n: usize) -> bool {
        let mut long_ended = false;
        let n = match self.next() {
            Ok(part) => {
                let n = n.min(part.len());
                self.sent = self.sent.wrapping_add(n as u16);
                n as u32
            }
            Err((source, left)) => {
                let n = u32::try_from(n).unwrap_or(u32::MAX).min(left);
                let source = match source {
                    Source::Messages(start) => Source::Messages(start.wrapping_add(n)),
                    Source::Application => source,
                };
                self.set_long(Long { left: left.wrapping_sub(n), source, ..self.long() });
                long_ended = n == left;
                n
            }
        };
        self.written = self.written.wrapping_add(n);
        if self.is_empty() {
            self.rewind();
            self.tickets.all_written();
        }
        long_ended
    }

    fn rewind(&mut self) {
        self.sent = 0;
        self.len = 0;
        self.set_long(Long::NONE);
    }

    /// The connection is gone, and all that was not transmitted with it.
    pub(crate) fn close(&mut self) {
        self.written = self.position();
        self.rewind();
        self.tickets.lose();
    }
}
