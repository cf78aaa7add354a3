//! What a crash makes legal: what was not safe is lost, and what nobody had been told may come again.

use super::Oracle;
use crate::disk::Loss;
use crate::plan::BrokerPlan;
use crate::scene::client_number;

/// What shards write under one cause they write within this time, in milliseconds.
const SLACK: u64 = 500;

impl Oracle {
    /// The broker crashed; `loss` is what its disk lost.
    pub fn broker_crashed(&mut self, at: u64, plan: BrokerPlan, loss: &Loss) {
        self.life += 1;
        self.figures.crashes += 1;
        self.figures.damaged += loss.damaged as u64;
        if !plan.durable {
            self.retained.clear();
        }
        // What counted as safe before it was: nothing may be lost of what is older than the interval.
        let undone = loss.since.filter(|_| plan.interval.is_some());
        if let (Some(since), Some(interval)) = (undone, plan.interval)
            && since + interval + plan.sync < at
        {
            self.broken(at, "never is more lost than the interval", || {
                format!("what was written at {since}")
            });
        }
        self.is_undone |= undone.is_some();
        self.sessions.broker_crashed(plan.durable, undone);
        for known in &mut self.messages {
            // An acknowledgement is given, and may be heard, some time after what it is for was written.
            let came = known.arrivals.last().map(|(at, _)| at + SLACK);
            known.is_undone |=
                undone.is_some_and(|since| known.told.max(came).is_some_and(|last| last >= since));
            // DISCONNECT came, and that it did may not be on the disk yet: the will may come.
            known.cancelled = known.cancelled.filter(|since| since + 2 * plan.sync + SLACK < at);
            // What was not acknowledged may be lost; its publisher repeats it.
            if !known.is_acknowledged() {
                known.groups.clear();
                for copies in &mut known.copies {
                    copies.owed = None;
                }
            }
        }
        for name in &loss.dropped {
            match client_number(name) {
                Some(client) => self.sessions.is_dropped(client),
                None => self.group_dropped(name),
            }
        }
        for topic in &loss.topics {
            self.retained.remove(topic.as_str());
        }
    }
}
