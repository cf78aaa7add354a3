//! What happened in worlds, counted.

/// Counts of what happened, to see that something did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events.
    pub events: u64,
    /// Messages that applications published.
    pub published: u64,
    /// Of them, QoS 2 handshakes that came to their end.
    pub exactly_once: u64,
    /// Messages that applications got.
    pub delivered: u64,
    /// Deliveries that were owed and seen.
    pub owed: u64,
    /// Connections.
    pub connections: u64,
    /// Sessions that were resumed.
    pub resumed: u64,
    /// Connections that were cut.
    pub cuts: u64,
    /// Connections that were taken over.
    pub takeovers: u64,
    /// Crashes of the broker and of clients.
    pub crashes: u64,
    /// Entries of disks that were damaged.
    pub damaged: u64,
    /// Entries of queues that were read back from the disk.
    pub fetched: u64,
    /// Deliveries that were owed to a shared subscription, and seen.
    pub shared: u64,
    /// Wills that somebody got.
    pub wills: u64,
    /// Retained messages that somebody got.
    pub retained: u64,
    /// Messages that came with the retain flag that they were published with.
    pub as_published: u64,
    /// Messages that a client sent or got in parts.
    pub streamed: u64,
    /// How often memory became scarce.
    pub shortages: u64,
}

impl Figures {
    /// Adds those of another world.
    pub fn add(&mut self, other: &Self) {
        let all = [
            (&mut self.events, other.events),
            (&mut self.published, other.published),
            (&mut self.exactly_once, other.exactly_once),
            (&mut self.delivered, other.delivered),
            (&mut self.owed, other.owed),
            (&mut self.connections, other.connections),
            (&mut self.resumed, other.resumed),
            (&mut self.cuts, other.cuts),
            (&mut self.takeovers, other.takeovers),
            (&mut self.crashes, other.crashes),
            (&mut self.damaged, other.damaged),
            (&mut self.fetched, other.fetched),
            (&mut self.shared, other.shared),
            (&mut self.wills, other.wills),
            (&mut self.retained, other.retained),
            (&mut self.as_published, other.as_published),
            (&mut self.streamed, other.streamed),
            (&mut self.shortages, other.shortages),
        ];
        for (sum, more) in all {
            *sum += more;
        }
    }
}
