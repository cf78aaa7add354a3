//! Tickets of QoS 0: such a message is over once it is handed to the network.

#[cfg(feature = "qos0-outcomes")]
use crate::event::Loss;
use crate::event::{Outcome, Ticket};

/// Whether the outcome of a message of QoS 0 is told.
pub(crate) const TOLD: bool = cfg!(feature = "qos0-outcomes");

/// Reported up to here, written up to here, given out up to here; the rest is lost. Without `qos0-outcomes` nothing is
/// counted, as nothing is reported.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    #[cfg(feature = "qos0-outcomes")]
    counted: Counted,
}

#[cfg(feature = "qos0-outcomes")]
#[derive(Debug, Default)]
struct Counted {
    reported: u16,
    handed_over: u16,
    given_out: u16,
    lost: bool,
}

#[cfg(feature = "qos0-outcomes")]
impl Tickets {
    /// The ticket of a message that was just appended.
    pub(super) fn give_out(&mut self) -> Ticket {
        let number = self.counted.given_out;
        self.counted.given_out = number.wrapping_add(1);
        Ticket::at_most_once(number)
    }

    /// Whether there may be another ticket: not before the lost ones were asked for.
    pub(super) const fn can_give_out(&self) -> bool {
        !self.counted.lost && self.counted.given_out.wrapping_add(1) != self.counted.reported
    }

    /// Everything that was appended is written.
    pub(super) fn all_written(&mut self) {
        if !self.counted.lost {
            self.counted.handed_over = self.counted.given_out;
        }
    }

    /// What was appended and is not written is lost.
    pub(super) fn lose(&mut self) {
        self.counted.lost = self.counted.handed_over != self.counted.given_out;
    }

    /// Whether a message is over that was not asked for yet.
    pub(super) const fn has_done(&self) -> bool {
        self.counted.lost || self.counted.reported != self.counted.handed_over
    }

    /// The next outcome.
    pub(super) fn poll_done(&mut self) -> Option<(Ticket, Outcome)> {
        let Counted { reported, handed_over, given_out, lost } = &mut self.counted;
        let outcome = if reported != handed_over {
            Outcome::Written
        } else if *lost {
            *handed_over = handed_over.wrapping_add(1);
            *lost = handed_over != given_out;
            Outcome::Lost(Loss::Closed)
        } else {
            return None;
        };
        let ticket = Ticket::at_most_once(*reported);
        *reported = reported.wrapping_add(1);
        Some((ticket, outcome))
    }
}

#[cfg(not(feature = "qos0-outcomes"))]
impl Tickets {
    pub(super) const fn give_out(&mut self) -> Ticket {
        Ticket::NONE
    }

    pub(super) const fn can_give_out(&self) -> bool {
        true
    }

    pub(super) const fn all_written(&mut self) {}

    pub(super) const fn lose(&mut self) {}

    pub(super) const fn has_done(&self) -> bool {
        false
    }

    pub(super) const fn poll_done(&mut self) -> Option<(Ticket, Outcome)> {
        None
    }
}
