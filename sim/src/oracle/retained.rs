//! What is retained is the last of its topic.

use super::Oracle;

/// What the broker keeps, or may keep, as the retained message of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// When it came.
    pub(super) at: u64,
    /// `None`: nothing.
    pub(super) message: Option<usize>,
    /// In which life of the broker it came.
    pub(super) life: u32,
    /// Whether the broker may have known it already, and ignored it.
    pub(super) is_repeat: bool,
}

impl Oracle {
    /// A client that subscribed to everything when nothing moved any more got the last message of each topic.
    pub fn check_retained(&mut self, at: u64, client: usize, keeps_sessions: bool) {
        let topics: Vec<_> = self.retained.iter().map(|(topic, list)| (*topic, list.clone())).collect();
        for (topic, list) in topics {
            let got: Vec<_> = (0..self.messages.len())
                .filter(|number| {
                    let known = &self.messages[*number];
                    known.message.topic == topic && known.copies[client].retained > 0
                })
                .collect();
            let mut candidates = Vec::new();
            let mut certain = None;
            for kept in list.iter().rev() {
                if certain.is_some_and(|certain| kept.at + self.disorder < certain) {
                    break;
                }
                candidates.push(kept.message);
                let is_acknowledged =
                    kept.message.is_some_and(|number| self.messages[number].is_acknowledged());
                let is_certain = !keeps_sessions || kept.life == self.life || is_acknowledged;
                if is_certain && (!kept.is_repeat || kept.message.is_none() && kept.life == self.life) {
                    certain = certain.or(Some(kept.at));
                }
            }
            let expires = |number: &usize| self.messages[*number].message.expiry.is_some();
            let may_be_none = candidates.iter().flatten().any(expires);
            let is_right = match got[..] {
                [] => {
                    candidates.contains(&None)
                        || may_be_none
                        || candidates.len() == list.len() && (self.life > 0 || self.was_exhausted)
                }
                [one] => candidates.contains(&Some(one)),
                _ => false,
            };
            if !is_right {
                self.broken(at, "what is retained is the last", || {
                    format!("{topic}: {got:?} where one of {candidates:?} belongs")
                });
            }
        }
    }
}
