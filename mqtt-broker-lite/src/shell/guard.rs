//! How many connections there may be, in all, of one listener and of one address; and how much each may send in a
//! second.

use super::listener::ListenLimits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
pub(super) struct Guard {
    most: usize,
    count: AtomicUsize,
    listeners: Vec<(ListenLimits, AtomicUsize)>,
    addresses: Mutex<HashMap<(u16, IpAddr), usize>>,
}

impl Guard {
    pub(super) fn new(most: usize, listeners: impl Iterator<Item = ListenLimits>) -> Arc<Self> {
        let listeners = listeners.map(|limits| (limits, AtomicUsize::new(0))).collect();
        Arc::new(Self { most, count: AtomicUsize::new(0), listeners, addresses: Mutex::default() })
    }

    pub(super) fn limits(&self, listener: u16) -> ListenLimits {
        self.listeners.get(usize::from(listener)).map_or_else(ListenLimits::default, |(limits, _)| *limits)
    }

    /// Connections that there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Room for one more connection, or what is exhausted.
    pub(super) fn admit(
        self: &Arc<Self>,
        listener: u16,
        address: Option<IpAddr>,
    ) -> Result<Ticket, &'static str> {
        let limits = self.limits(listener);
        let mut ticket = Ticket { guard: Arc::clone(self), listener, address: None };
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let before_here = match self.listeners.get(usize::from(listener)) {
            Some((_, count)) => count.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
        // From here on the ticket counts back.
        if before >= self.most {
            return Err("max_connections");
        }
        if limits.max_connections.is_some_and(|most| before_here >= most) {
            return Err("max_connections of the listener");
        }
        // Behind a proxy all come from one address, until it says from which.
        match address.filter(|_| !limits.proxy_protocol) {
            Some(address) => ticket.place(address).map(|()| ticket),
            None => Ok(ticket),
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        },
    }
}

/// The place of one connection. Dropping it makes room.
#[derive(Debug)]
pub(super) struct Ticket {
    guard: Arc<Guard>,
    listener: u16,
    address: Option<IpAddr>,
}

impl Ticket {
    /// Counts the connection to its address, if there is room for one more of it.
    pub(super) fn place(&mut self, address: IpAddr) -> Result<(), &'static str> {
        let Some(most) = self.guard.limits(self.listener).max_per_address else {
            return Ok(());
        };
        let address = network(address);
        let mut addresses = self.guard.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry((self.listener, address)).or_insert(0);
        if *count >= most {
            return Err("max_connections_per_address");
        }
        *count = count.saturating_add(1);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.guard.count.fetch_sub(1, Ordering::Relaxed);
        if let Some((_, count)) = self.guard.listeners.get(usize::from(self.listener)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(address) = self.address {
            let mut addresses = self.guard.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (self.listener, address);
            if let Some(count) = addresses.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    addresses.remove(&key);
                }
            }
        }
    }
}

/// What one client may still send: it fills up to what one second allows.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes: Level,
    messages: Level,
}

#[derive(Debug)]
struct Level {
    /// In a second; 0 for any.
    rate: u32,
    /// Thousandths; below zero there is a debt.
    left: i64,
    at: u64,
}

impl Level {
    fn new(rate: Option<u32>, now: u64) -> Self {
        let rate = rate.unwrap_or(0);
        Self { rate, left: i64::from(rate).saturating_mul(1000), at: now }
    }

    /// Takes, even what is not there; returns how many milliseconds it lasts until there is something again.
    fn take(&mut self, amount: usize, now: u64) -> u64 {
        if self.rate == 0 {
            return 0;
        }
        let full = i64::from(self.rate).saturating_mul(1000);
        let passed = i64::try_from(now.saturating_sub(self.at)).unwrap_or(i64::MAX);
        self.at = now;
        let filled = self.left.saturating_add(passed.saturating_mul(i64::from(self.rate))).min(full);
        let amount = i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(1000);
        self.left = filled.saturating_sub(amount);
        let debt = self.left.min(0).unsigned_abs();
        debt.div_ceil(u64::from(self.rate))
    }
}

impl Bucket {
    /// For a client of this listener, if it has limits.
    pub(super) fn new(limits: ListenLimits, now: u64) -> Option<Box<Self>> {
        (limits.message_rate.is_some() || limits.byte_rate.is_some()).then(|| {
            Box::new(Self {
                bytes: Level::new(limits.byte_rate, now),
                messages: Level::new(limits.message_rate, now),
            })
        })
    }

    /// How many milliseconds the client is not read after it sent this.
    pub(super) fn take(&mut self, bytes: usize, messages: usize, now: u64) -> u64 {
        self.bytes.take(bytes, now).max(self.messages.take(messages, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let limits =
            ListenLimits { max_connections: Some(3), max_per_address: Some(2), ..ListenLimits::default() };
        let guard = Guard::new(4, [limits, ListenLimits::default()].into_iter());
        let (one, two): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "::ffff:10.0.0.2".parse().unwrap());
        let a = guard.admit(0, Some(one)).unwrap();
        let _b = guard.admit(0, Some(one)).unwrap();
        assert_eq!(guard.admit(0, Some(one)).unwrap_err(), "max_connections_per_address");
        let c = guard.admit(0, Some(two)).unwrap();
        assert_eq!(guard.admit(0, Some(two)).unwrap_err(), "max_connections of the listener");
        let _d = guard.admit(1, Some(one)).unwrap();
        assert_eq!(guard.admit(1, None).unwrap_err(), "max_connections");
        assert_eq!(guard.count(), 4);
        drop((a, c));
        assert_eq!(guard.count(), 2);
        assert_eq!(guard.addresses.lock().unwrap().len(), 1);
        let _e = guard.admit(0, Some(one)).unwrap();
        // All of a /64 is one.
        let six = |last: &str| format!("2001:db8::{last}").parse().ok();
        let guard = Guard::new(9, [limits].into_iter());
        let _kept = [guard.admit(0, six("1")).unwrap(), guard.admit(0, six("2")).unwrap()];
        assert!(guard.admit(0, six("3")).is_err());
    }

    #[test]
    fn who_sends_too_much_waits_as_long_as_it_is_too_much() {
        let limits = ListenLimits { byte_rate: Some(1000), ..ListenLimits::default() };
        let mut bucket = Bucket::new(limits, 0).unwrap();
        assert_eq!(bucket.take(1000, 50, 0), 0);
        assert_eq!(bucket.take(500, 50, 0), 500);
        assert_eq!(bucket.take(0, 0, 500), 0);
        assert_eq!(bucket.take(10, 1, 500), 10);
        assert_eq!(bucket.take(1000, 1, 60_000), 0);
        assert!(Bucket::new(ListenLimits::default(), 0).is_none());
    }
}
