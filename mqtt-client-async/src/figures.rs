//! [`Figures`]: what a client has on its hands.

/// What a client has on its hands at one moment, to be shown or watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// How many messages wait in the queue.
    pub queued: usize,
    /// How many bytes of topics and payloads these have.
    pub queued_bytes: usize,
    /// Of how many messages it is not known yet what becomes of them, those in the queue included.
    pub undelivered: usize,
    /// How many more messages of QoS 1 and 2 the server takes now: its Receive Maximum less what it has not acknowledged
    /// (5.0 section 4.9). 0 without a connection.
    pub send_quota: u16,
    /// How many messages of QoS 1 and 2 came in and are not acknowledged to their end; the server sends no more than
    /// [`receive_maximum`](crate::Options::receive_maximum).
    pub unacknowledged: u16,
    /// How many messages were delivered since the client began.
    pub delivered: u64,
    /// Of how many that will never be known.
    pub lost: u64,
}
