//! A transport with faults, to test an application, or a board, with what networks do.

use crate::network::Network;
use crate::time::Duration;
use thiserror::Error;

/// A [`Network`] that does to another one what its settings say. The same seed makes the same faults.
#[derive(Clone, Debug)]
pub struct Faulty<N> {
    network: N,
    faults: Faults,
    random: u32,
    moved: u32,
}

/// Which faults.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Where the random numbers begin.
    pub seed: u32,
    /// How many bytes one call moves at most; 1 splits everything to single bytes, and 0 is no limit.
    pub split: usize,
    /// How many calls of 256 move nothing, as if time was up.
    pub delay: u8,
    /// After how many bytes of both directions the connection breaks.
    pub cut_after: Option<u32>,
    /// After how many bytes of both directions nothing arrives any more and what is written is lost, while the
    /// connection looks open.
    pub drop_after: Option<u32>,
}

impl Faults {
    /// No fault at all.
    pub const NONE: Self = Self { seed: 1, split: 0, delay: 0, cut_after: None, drop_after: None };
}

/// What a [`Faulty`] network fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum FaultError<E> {
    /// The fault that was ordered.
    #[error("the connection was cut on purpose")]
    Cut,
    /// The network inside failed by itself.
    #[error("{0}")]
    Network(E),
}

impl<N> Faulty<N> {
    /// `network` with faults.
    pub const fn new(network: N, faults: Faults) -> Self {
        Self { network, faults, random: faults.seed, moved: 0 }
    }

    /// How many bytes went through, in both directions.
    pub const fn moved(&self) -> u32 {
        self.moved
    }

    /// Other faults from now on.
    pub const fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.random = faults.seed;
    }

    /// The network inside.
    pub fn into_inner(self) -> N {
        self.network
    }

    /// xorshift: what is wanted is variety, not secrecy.
    fn random(&mut self) -> u32 {
        let mut x = self.random.max(1);
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random = x;
        x
    }

    /// How many of `len` bytes this call may move; `None` where the connection is cut.
    fn allowance(&mut self, len: usize) -> Option<usize> {
        let random = self.random();
        if random & 0xFF < u32::from(self.faults.delay) {
            return Some(0);
        }
        let mut len = len;
        if let Some(parts) = (random >> 8).checked_rem(u32::try_from(self.faults.split).unwrap_or(u32::MAX)) {
            len = len.min((parts as usize).wrapping_add(1));
        }
        match self.faults.cut_after {
            Some(end) if self.moved >= end => None,
            Some(end) => Some(len.min(end.wrapping_sub(self.moved) as usize)),
            None => Some(len),
        }
    }

    fn is_dropping(&self) -> bool {
        self.faults.drop_after.is_some_and(|end| self.moved >= end)
    }

    fn count(&mut self, n: usize) -> usize {
        self.moved = self.moved.wrapping_add(n as u32);
        n
    }
}

impl<N: Network> Network for Faulty<N> {
    type Error = FaultError<N::Error>;

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, Self::Error> {
        let len = self.allowance(buffer.len()).ok_or(FaultError::Cut)?;
        let Some(buffer) = buffer.get_mut(..len).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let n = self.network.read(buffer, timeout).map_err(FaultError::Network)?;
        Ok(if self.is_dropping() { 0 } else { self.count(n) })
    }

    fn write(&mut self, bytes: &[u8], timeout: Duration) -> Result<usize, Self::Error> {
        let len = self.allowance(bytes.len()).ok_or(FaultError::Cut)?;
        let Some(bytes) = bytes.get(..len).filter(|bytes| !bytes.is_empty()) else {
            return Ok(0);
        };
        if self.is_dropping() {
            return Ok(bytes.len());
        }
        let n = self.network.write(bytes, timeout).map_err(FaultError::Network)?;
        Ok(self.count(n))
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        self.network.flush().map_err(FaultError::Network)
    }

    fn close(&mut self) {
        self.network.close();
    }
}
