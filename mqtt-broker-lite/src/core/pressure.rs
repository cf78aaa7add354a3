//! When memory runs short: what is given up, and in which order.
//!
//! | | what is given up |
//! |---|---|
//! | [`Tight`](Pressure::Tight) | QoS 0 waits for slow readers a quarter as long as publishers are left in peace; the shell has half |
//! | [`Scarce`](Pressure::Scarce) | QoS 0 waits for nobody, and what waits goes; QoS 1 and 2 wait that much |
//! | [`Exhausted`](Pressure::Exhausted) | no new sessions, subscriptions and retained messages either |
//!
//! Whoever tells how short memory is waits a little before it says that it is less short: what is given up would come and
//! go otherwise. What was acknowledged and stored stays in any case.

use super::shard::Shard;
use super::sys::Loss;
use mqtt_packet::QoS;

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    #[default]
    None,
    /// Enough, but not for slow readers.
    Tight,
    /// Most of it is taken.
    Scarce,
    /// There is none left.
    Exhausted,
}

/// What a shard keeps in memory for its sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes of messages that wait, are on their way, or are retained.
    pub bytes: usize,
    /// Messages of QoS 0 that wait.
    pub passing: usize,
    /// Sessions.
    pub sessions: usize,
}

impl Shard {
    /// What is kept in memory, for whoever looks whether it is bounded.
    pub fn load(&self) -> Load {
        let mut load = Load { bytes: self.retained.bytes(), passing: 0, sessions: self.sessions.len() };
        for (_, session) in &self.sessions {
            load.bytes = load.bytes.saturating_add(session.outbound.bytes());
            load.passing = load.passing.saturating_add(session.outbound.passing());
        }
        load
    }

    pub(super) fn on_pressure(&mut self, pressure: Pressure) {
        self.pressure = pressure;
        let shift = u32::from(pressure >= Pressure::Tight);
        self.window = self.settings.window.wrapping_shr(shift).max(1);
        self.count_places();
        if pressure < Pressure::Scarce {
            return;
        }
        let keys: Vec<_> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(session) = self.sessions.get_mut(key) {
                while session.outbound.pop_qos0().is_some() {
                    self.counts.note_loss(Loss::Memory);
                }
            }
            self.relieve(key);
        }
    }

    /// Whether nothing new may be kept.
    pub(super) fn is_exhausted(&self) -> bool {
        self.pressure == Pressure::Exhausted
    }

    /// Bytes of messages that may wait for one session, if one of this QoS comes.
    pub(super) fn queue_limit(&self, qos: QoS) -> usize {
        let most = self.settings.max_queue_bytes;
        let little = most.min(self.settings.slow_queue_bytes.wrapping_shr(2));
        match (self.pressure, qos) {
            (Pressure::None, _) => most,
            (Pressure::Tight, QoS::AtMostOnce) => little,
            (Pressure::Tight, _) => most,
            (_, QoS::AtMostOnce) => 0,
            (_, _) => little,
        }
    }
}
