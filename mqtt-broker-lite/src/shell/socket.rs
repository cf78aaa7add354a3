//! One connection: bytes in, cut into frames where they were read; bytes out, gathered into one write.

use super::carrier::Carrier;
use super::guard::{Bucket, Ticket};
use crate::core::{ConnId, Input, Now, Shard, ShardId, Wire, home};
use mqtt_packet::{Connect, DecodeError, FixedHeader, Frame};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::SocketAddr;

/// How many pieces go into one write.
const PIECES: usize = 64;

/// How much may stand in one WebSocket frame beside the largest packet.
const PACKED: usize = 64 << 10;

/// Whoever does not read so much of what he is told is not listened to. Messages stop far earlier, so what piles up are
/// answers to what he sends.
const UNSENT: usize = 1 << 20;

/// How large a buffer may stay with a connection that has nothing in it.
const KEPT: usize = 4096;

pub(super) struct Socket {
    pub(super) id: ConnId,
    pub(super) carrier: Carrier,
    pub(super) origin: Origin,
    /// The front of a packet whose end did not come yet.
    partial: Vec<u8>,
    out: VecDeque<Wire>,
    /// How much of the first wire is written.
    written: usize,
    /// How much is not.
    unsent: usize,
    /// Whether it is not read because of that.
    is_clogged: bool,
    /// Whether it stands in the list of those to be read.
    pub(super) is_listed: bool,
    /// Whether it stands in the list of those to be written.
    pub(super) is_dirty: bool,
    /// Whether it is not to be read for now.
    pub(super) is_paused: bool,
    /// The peer has closed its side; what it sent before is still to be read.
    pub(super) is_ending: bool,
    pub(super) phase: Phase,
    /// Where its session is at home, if that is another shard.
    pub(super) home: Option<ShardId>,
    /// Whether its first packet came: until then the limit is lower.
    has_spoken: bool,
    /// Whether the carrier has said that nothing more comes.
    has_taken_leave: bool,
    /// What it may still send in this second.
    pub(super) bucket: Option<Box<Bucket>>,
    /// Packets since this was asked last.
    pub(super) packets: usize,
    /// Whether it sent very many small ones at once.
    pub(super) is_dense: bool,
}

/// Where a connection comes from.
#[derive(Debug)]
pub(super) struct Origin {
    /// The listener, counted from 0.
    pub(super) listener: u16,
    /// Its place among the connections.
    pub(super) ticket: Ticket,
}

/// Which way a socket goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Nothing more comes from the core: what is left is written, then our side is closed.
    Flushing,
    /// Our side is closed, the peer's is not: what it still sends is thrown away, so that it gets our last words.
    Lingering,
}

/// What came of reading.
#[derive(Debug)]
pub(super) enum Progress {
    /// There may be more.
    More,
    /// Nothing more for now.
    Drained,
    /// The connection is gone.
    Gone,
    /// A proxy said where the client is; there may be more.
    Introduced,
    /// The carrier is broken: it may have something to say about that, nothing more comes of it.
    Broken,
}

/// What is taken here: the largest packets, and whose connections.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) first: u32,
    pub(super) later: u32,
    /// Where connections are that are at home here.
    pub(super) shard: ShardId,
    pub(super) shards: u16,
}

impl Socket {
    pub(super) fn new(id: ConnId, carrier: Carrier, origin: Origin, bucket: Option<Box<Bucket>>) -> Self {
        Self {
            id,
            carrier,
            origin,
            partial: Vec::new(),
            // One thing at a time is what most have to be told; by itself it would begin with four.
            out: VecDeque::with_capacity(1),
            written: 0,
            unsent: 0,
            is_clogged: false,
            is_listed: false,
            is_dirty: false,
            is_paused: false,
            is_ending: false,
            phase: Phase::Open,
            home: None,
            has_spoken: false,
            has_taken_leave: false,
            bucket,
            packets: 0,
            is_dense: false,
        }
    }

    /// Where its client is.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.carrier.stream().peer()
    }

    /// Reads once and hands over what is whole; returns how much came, too.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        shard: &mut Shard,
        now: Now,
        limits: Limits,
    ) -> (Progress, usize) {
        let held = self.put_in_front(buffer);
        let free = buffer.get_mut(held..).unwrap_or_default();
        let size = free.len();
        let result = match self.phase {
            // What comes now is not looked at.
            Phase::Lingering => self.carrier.stream_mut().read(free),
            Phase::Open | Phase::Flushing if self.carrier.stream().awaits_proxy() => {
                match self.carrier.stream_mut().await_proxy() {
                    Ok(()) => return (Progress::Introduced, 0),
                    Err(error) => Err(error),
                }
            }
            Phase::Open | Phase::Flushing => self.carrier.read(free),
        };
        let read = match result {
            Ok(0) => return (Progress::Gone, 0),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (Progress::Drained, 0),
            Err(error) if error.kind() == ErrorKind::Interrupted => return (Progress::More, 0),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                tracing::debug!(peer = ?self.address(), %error, "the carrier is broken");
                return (Progress::Broken, 0);
            }
            Err(_) => return (Progress::Gone, 0),
        };
        if self.phase == Phase::Open {
            if held > 0 {
                self.partial.clear();
            }
            let bytes = buffer.get(..held.saturating_add(read)).unwrap_or_default();
            self.take(bytes, shard, now, limits);
        }
        // A short read has emptied the socket, unless its end is in sight.
        let is_empty = read < size && !self.is_ending && self.carrier.is_plain();
        (if is_empty { Progress::Drained } else { Progress::More }, read)
    }

    /// Puts the front of a packet where the rest of it will be read behind it; returns how long it is. A long one stays,
    /// as it would be copied with every little piece that comes.
    fn put_in_front(&self, buffer: &mut [u8]) -> usize {
        let held = self.partial.len();
        match buffer.get_mut(..held) {
            Some(front) if self.phase == Phase::Open && held <= KEPT => {
                front.copy_from_slice(&self.partial);
                held
            }
            _ => 0,
        }
    }

    /// What came and was not handed to the core, for the shard that goes on with this connection.
    pub(super) fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    pub(super) fn take(&mut self, bytes: &[u8], shard: &mut Shard, now: Now, limits: Limits) {
        if self.partial.is_empty() {
            let used = self.cut(bytes, shard, now, limits);
            self.partial.extend_from_slice(bytes.get(used..).unwrap_or_default());
            if self.partial.is_empty() && self.partial.capacity() > KEPT {
                self.partial = Vec::new();
            }
            return;
        }
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let used = self.cut(&partial, shard, now, limits);
        partial.drain(..used);
        if !partial.is_empty() || partial.capacity() <= KEPT {
            self.partial = partial;
        }
    }

    /// Hands over every whole packet; returns how many bytes that were.
    fn cut(&mut self, bytes: &[u8], shard: &mut Shard, now: Now, limits: Limits) -> usize {
        let (mut rest, mut broken) = (bytes, None);
        loop {
            let limit = if self.has_spoken { limits.later } else { limits.first };
            match split(rest, limit) {
                Ok(Some((frame, behind))) => {
                    if !std::mem::replace(&mut self.has_spoken, true) {
                        self.home = elsewhere(frame, limits);
                        self.carrier.allow((limits.later as usize).saturating_add(PACKED));
                        if self.home.is_some() {
                            return 0;
                        }
                    }
                    self.packets = self.packets.wrapping_add(1);
                    rest = behind;
                }
                Ok(None) => break,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        let whole = bytes.len().saturating_sub(rest.len());
        if let Some(packets @ [_, ..]) = bytes.get(..whole) {
            shard.handle(now, Input::Packets(self.id, packets));
        }
        match broken {
            None => whole,
            Some(error) => {
                shard.handle(now, Input::Broken(self.id, error));
                bytes.len()
            }
        }
    }

    pub(super) fn push(&mut self, wire: Wire) {
        self.unsent = self.unsent.saturating_add(wire.len());
        self.out.push_back(wire);
    }

    /// Whether it may be read now. If not, whoever made it so lists it again.
    pub(super) fn may_be_read(&mut self) -> bool {
        self.is_clogged = self.phase == Phase::Open && self.unsent > UNSENT;
        !self.is_paused && !self.is_clogged
    }

    /// Whether its peer has read enough to be listened to again.
    pub(super) fn has_recovered(&mut self) -> bool {
        self.unsent <= UNSENT / 2 && std::mem::take(&mut self.is_clogged)
    }

    /// Whether there is something for the socket to take.
    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty() || self.carrier.has_pending()
    }

    /// Forgets what was to be sent.
    pub(super) fn forget_output(&mut self) {
        self.out.clear();
        self.written = 0;
        self.unsent = 0;
    }

    /// Writes as much as the socket takes; returns how much that was. The shard gets empty wires back.
    pub(super) fn flush(&mut self, shard: &mut Shard) -> io::Result<usize> {
        let mut total = 0_usize;
        self.carrier.push()?;
        while !self.out.is_empty() {
            match self.write() {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    total = total.saturating_add(written);
                    self.advance(written, shard);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.phase == Phase::Flushing
            && self.out.is_empty()
            && !std::mem::replace(&mut self.has_taken_leave, true)
        {
            self.carrier.say_goodbye();
            self.carrier.push()?;
        }
        Ok(total)
    }

    fn write(&mut self) -> io::Result<usize> {
        let mut pieces: [IoSlice<'_>; PIECES] = std::array::from_fn(|_| IoSlice::new(&[]));
        let mut count = 0;
        let mut skip = self.written;
        for wire in &self.out {
            for (piece, place) in wire.pieces(skip).zip(pieces.iter_mut().skip(count)) {
                *place = IoSlice::new(piece);
                count = count.saturating_add(1);
            }
            skip = 0;
        }
        match pieces.get(..count) {
            Some(pieces) => self.carrier.write(pieces),
            None => Ok(0),
        }
    }

    fn advance(&mut self, mut written: usize, shard: &mut Shard) {
        self.unsent = self.unsent.saturating_sub(written);
        while let Some(first) = self.out.front() {
            let left = first.len().saturating_sub(self.written);
            if written < left {
                self.written = self.written.saturating_add(written);
                return;
            }
            written = written.saturating_sub(left);
            self.written = 0;
            if let Some(wire) = self.out.pop_front() {
                shard.reuse(wire);
            }
        }
    }
}

/// Cuts off the first packet, if it is there and not longer than `limit`.
fn split(bytes: &[u8], limit: u32) -> Result<Option<(Frame<'_>, &[u8])>, DecodeError> {
    let split = Frame::split(bytes)?;
    let len = match split {
        Some((frame, _)) => frame.len(),
        // The length is known before the packet is there: what is too large is refused, not collected.
        None => FixedHeader::decode(bytes)?.map_or(0, |header| header.packet_len() as usize),
    };
    if len > limit as usize { Err(DecodeError::PacketTooLarge) } else { Ok(split) }
}

/// The shard where the session of a CONNECT is at home, if it is not this one.
fn elsewhere(frame: Frame<'_>, limits: Limits) -> Option<ShardId> {
    if limits.shards < 2 {
        return None;
    }
    // What is wrong with it is said here; a client without a name gets one that is at home here.
    let connect = Connect::decode(frame).ok()?;
    let home = home(connect.client_id.as_bytes(), limits.shards);
    (home != limits.shard && !connect.client_id.is_empty()).then_some(home)
}
