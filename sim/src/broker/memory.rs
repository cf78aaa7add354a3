//! What the process around the shards does about its memory: it looks after each turn how much is taken, and tells them how
//! short it is.

use super::Broker;
use crate::scene::{Event, Scene};
use mqtt_broker_lite::core::{Input, Load, Pressure, Shard};

/// How much is taken, and how short memory is.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What something else has, and until when.
    foreign: (usize, u64),
    pressure: Pressure,
    /// How many sessions there were when nothing was left.
    sessions: usize,
}

impl Broker {
    /// Something else takes a part of the memory for a while.
    pub fn take_memory(&mut self, millis: u64, percent: u64, scene: &mut Scene) {
        if let Some(all) = self.plan.memory {
            scene.note(|| format!("broker: {percent} % of its memory are taken"));
            self.memory.foreign = (all * percent as usize / 100, scene.now + millis);
            scene.after(millis, Event::Weigh);
            self.weigh(scene);
        }
    }

    /// The process is new.
    pub(super) fn forget_pressure(&mut self, scene: &mut Scene) {
        self.memory.pressure = Pressure::None;
        scene.oracle.pressure = Pressure::None;
    }

    /// Tells the shards how short memory is, if that has changed, and looks whether they do what they should about it.
    pub fn weigh(&mut self, scene: &mut Scene) {
        let Some(all) = self.plan.memory.filter(|_| !self.shards.is_empty()) else {
            return;
        };
        let (foreign, until) = self.memory.foreign;
        let foreign = if until > scene.now && !scene.is_calm { foreign } else { 0 };
        let taken = self.load().bytes + foreign;
        // As the program does it.
        let pressure = match () {
            () if taken >= all => Pressure::Exhausted,
            () if taken >= all / 4 * 3 => Pressure::Scarce,
            () if taken >= all / 128 => Pressure::Tight,
            () => Pressure::None,
        };
        if pressure != self.memory.pressure {
            scene.note(|| format!("broker: memory is {pressure:?}"));
            self.memory.pressure = pressure;
            self.memory.sessions = self.load().sessions;
            scene.oracle.figures.shortages += u64::from(pressure >= Pressure::Scarce);
            scene.oracle.pressure = pressure;
            scene.oracle.was_exhausted |= pressure == Pressure::Exhausted;
            for number in 0..self.plan.shards {
                self.handle(number, Input::Pressure(pressure), scene);
            }
        }
        self.check_load(all, scene);
    }

    fn load(&self) -> Load {
        self.shards.iter().map(Shard::load).fold(Load::default(), |sum, load| Load {
            bytes: sum.bytes + load.bytes,
            passing: sum.passing + load.passing,
            sessions: sum.sessions + load.sessions,
        })
    }

    fn check_load(&self, all: usize, scene: &mut Scene) {
        let load = self.load();
        // Each session may have a quarter of what is slow, and what is on its way; a message is a little more than its
        // payload.
        let message = self.plan.largest + 200;
        let each = self.plan.slow_queue / 4 + (usize::from(self.plan.max_inflight) + 2) * message;
        if load.bytes > all + load.sessions * each {
            scene.oracle.broken(scene.now, "memory is bounded", || format!("{load:?} of {all}"));
        }
        if self.memory.pressure >= Pressure::Scarce && load.passing > 0 {
            scene
                .oracle
                .broken(scene.now, "QoS 0 waits for nobody when memory is scarce", || format!("{load:?}"));
        }
        if self.memory.pressure == Pressure::Exhausted && load.sessions > self.memory.sessions {
            scene.oracle.broken(scene.now, "no new session without memory", || format!("{load:?}"));
        }
    }
}
