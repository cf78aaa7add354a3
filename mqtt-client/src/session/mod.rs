//! What survives a connection: messages on their way out and identifiers of messages that came in
//! (3.1.1 and 5.0 section 4.1), in memory that the caller lends.

mod inbox;
mod inflight;
mod ring;

pub use inbox::ReceivedSlot;
pub(crate) use inbox::{CLOSED, FORGOTTEN, HELD_UP, Inbox, Owed, SYNCED};
pub use inflight::SendSlot;
pub(crate) use inflight::{DUP, InFlight, Stage, flag};

/// Whether there may be so many messages that to look at all of them takes time; small machines save the code.
pub(crate) const MANY: bool = cfg!(target_pointer_width = "64");

/// Whether it is remembered which messages were looked at. Where there are few, all are looked at each time; but whose
/// payload the application is asked for is a place among them.
pub(crate) const MARKS: bool = MANY || cfg!(feature = "streaming");
