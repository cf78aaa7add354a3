//! The oracle: it sees what applications ask and get, what the broker takes, and knows what MQTT promises. The first
//! promise that is broken ends the world.
//!
//! | promise | where |
//! |---|---|
//! | a message comes as it was published, to who may have it | [`Oracle::delivered`] |
//! | at most once, at least once, exactly once | [`Oracle::delivered`], [`Oracle::check_end`] |
//! | order for each publisher, topic and QoS | [`Oracle::came`] |
//! | every request ends once | [`Oracle::ended`], [`Oracle::check_end`] |
//! | a session is there when it must be, and not when it must not | [`Sessions`] |
//! | a will comes when it must, once, and never after an orderly end | [`Oracle::check_end`], [`Oracle::delivered`] |
//! | what is retained is the last | [`Oracle::check_retained`] |
//! | of a shared subscription one member gets a message, and one does | [`Oracle::check_end`] |
//! | who has no right publishes nothing and gets nothing | [`Oracle::delivered`] |
//! | the retain flag says what it should, and no packet is too large for its client | [`Oracle::delivered`] |

mod crash;
mod figures;
mod form;
mod groups;
mod retained;
mod sessions;

use crate::plan::{Plan, TOPICS};
use crate::rights::Rights;
pub use figures::Figures;
use form::{FRONT, largest_packet};
use groups::Owed;
use mqtt_broker_lite::core::{Access, Pressure};
use mqtt_client::{Loss, Outcome};
use mqtt_packet::{QoS, ReasonCode};
use retained::Kept;
pub use sessions::{Asked, Sessions};
use std::collections::BTreeMap;
use std::fmt;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in milliseconds.
    pub at: u64,
    /// Which promise.
    pub promise: &'static str,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ms, {}: {}", self.at, self.promise, self.detail)
    }
}

/// A message, from the moment that an application has it to publish.
#[derive(Clone, Debug)]
pub struct Published {
    /// Who publishes it.
    pub publisher: usize,
    /// Its topic.
    pub topic: &'static str,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// The length of its payload.
    pub size: usize,
    /// Its Message Expiry Interval.
    pub expiry: Option<u32>,
    /// Whether the broker publishes it for its client.
    pub is_will: bool,
}

/// What became of a message.
#[derive(Debug)]
struct Known {
    message: Published,
    /// What its publisher was told.
    outcome: Option<Outcome>,
    /// What it was told before it crashed.
    earlier: Option<Outcome>,
    /// PUBREC came: it is not published again, whatever became of it.
    is_taken: bool,
    /// Its publisher crashed and knows nothing of it any more.
    is_forgotten: bool,
    /// When it came to the broker, and to which of its lives; several times where it was repeated.
    arrivals: Vec<(u64, u32)>,
    /// In which session of its publisher it came last, and whether it came in more than one: then it is another message.
    generation: u32,
    is_split: bool,
    /// When the client that it is the will of left in order.
    cancelled: Option<u64>,
    /// By the wall clock, when it is of no use any more.
    expires: Option<u64>,
    /// When its publisher was told what became of it.
    told: Option<u64>,
    /// Its publisher was told so, and then the broker forgot it as it may.
    is_undone: bool,
    /// The shared subscriptions that must get it.
    groups: Vec<Owed>,
    /// For each client the session that must get it, if one must, and how often it came.
    copies: Vec<Copies>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    owed: Option<u32>,
    live: u32,
    /// Of them, those at QoS 2, and those at QoS 1, which may be repeated.
    exact: u32,
    repeatable: u32,
    /// Whether it came, accepted or not.
    came: bool,
    /// Whether it came in a session that the broker does not keep.
    was_passing: bool,
    retained: u32,
    /// Of them, those that may be live ones with the flag that they were published with.
    unclear: u32,
}

/// A message as an application gets it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// When.
    pub at: u64,
    /// By which client.
    pub client: usize,
    /// The topic.
    pub topic: String,
    /// The QoS.
    pub qos: QoS,
    /// Whether it is a retained message.
    pub retain: bool,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Within what order is kept: for one session, publisher, topic, and QoS on either way.
type Order = ((usize, u32), usize, &'static str, QoS, QoS);

/// The oracle of one world.
#[derive(Debug)]
pub struct Oracle {
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// What happened so far.
    pub figures: Figures,
    /// The clients' sessions and subscriptions.
    pub sessions: Sessions,
    messages: Vec<Known>,
    /// The last message that came.
    orders: BTreeMap<Order, usize>,
    retained: BTreeMap<&'static str, Vec<Kept>>,
    /// How long two messages of different publishers may take to get into an order, in milliseconds: with several
    /// shards, they meet on the shard of their topic.
    disorder: u64,
    /// How often the broker was started.
    life: u32,
    /// Whether anything was lost that had counted as safe, as it may be where the broker syncs from time to time only.
    pub is_undone: bool,
    /// Whether messages may be dropped because too many wait.
    is_crowded: bool,
    /// How short the broker's memory is.
    pub pressure: Pressure,
    /// Whether there was none left at any time.
    pub was_exhausted: bool,
    /// The largest packet that each client takes.
    max_packets: Vec<usize>,
    /// Whether everybody publishes once more, to see that the world still works.
    pub is_proof: bool,
    rights: Rights,
    clients: usize,
}

impl Oracle {
    /// For a world of this plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            violation: None,
            figures: Figures::default(),
            sessions: Sessions::new(plan),
            messages: Vec::new(),
            orders: BTreeMap::new(),
            retained: BTreeMap::new(),
            disorder: if plan.broker.shards > 1 { 500 } else { 0 },
            life: 0,
            is_undone: false,
            is_crowded: plan.broker.max_queue < 1000,
            pressure: Pressure::None,
            was_exhausted: false,
            max_packets: plan.clients.iter().map(|client| largest_packet(client.max_packet)).collect(),
            is_proof: false,
            rights: Rights::new(plan),
            clients: plan.clients.len(),
        }
    }

    /// Notes a broken promise, if it is the first.
    pub fn broken(&mut self, at: u64, promise: &'static str, detail: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { at, promise, detail: detail() });
        }
    }

    /// An application has a message to publish; returns its number.
    pub fn publishes(&mut self, message: Published) -> usize {
        self.figures.published += u64::from(!message.is_will);
        self.messages.push(Known {
            message,
            outcome: None,
            earlier: None,
            is_taken: false,
            is_forgotten: false,
            arrivals: Vec::new(),
            generation: 0,
            is_split: false,
            cancelled: None,
            expires: None,
            told: None,
            is_undone: false,
            groups: Vec::new(),
            copies: vec![Copies::default(); self.clients],
        });
        self.messages.len() - 1
    }

    /// The message of this number.
    pub fn message(&self, number: usize) -> &Published {
        &self.messages[number].message
    }

    /// What this message carries: its number, then bytes that follow from it.
    pub fn payload(&self, number: usize) -> Vec<u8> {
        payload(number, self.messages[number].message.size)
    }

    /// A publisher was told what became of its message, or does not offer it any more.
    pub fn ended(&mut self, at: u64, number: usize, outcome: Outcome) {
        let known = &mut self.messages[number];
        let before = known.outcome.replace(outcome);
        if let Some(before) = before {
            self.broken(at, "a request ends once", || {
                format!("message {number}: {before:?}, then {outcome:?}")
            });
            return;
        }
        let (qos, arrived) = (known.message.qos, !known.arrivals.is_empty());
        known.told.get_or_insert(at);
        let is_forbidden = !self.rights.allow(known.message.publisher, Access::Publish, known.message.topic);
        match outcome {
            Outcome::Written if qos == QoS::AtMostOnce => {}
            Outcome::Lost(Loss::Closed) if qos == QoS::AtMostOnce => {}
            Outcome::Answered(code) if qos > QoS::AtMostOnce && !code.is_error() => {
                self.figures.exactly_once += u64::from(qos == QoS::ExactlyOnce);
                let size = known.message.size;
                if !arrived && size > 0 {
                    self.broken(at, "an acknowledged message has arrived", || format!("message {number}"));
                }
            }
            Outcome::Answered(ReasonCode::NOT_AUTHORIZED) if qos > QoS::AtMostOnce && is_forbidden => {}
            Outcome::Answered(ReasonCode::QUOTA_EXCEEDED) if self.was_exhausted && known.message.retain => {}
            Outcome::Lost(Loss::SessionLost) if qos > QoS::AtMostOnce => {}
            _ => self.broken(at, "a request ends as it can", || format!("message {number}: {outcome:?}")),
        }
    }

    /// The publisher of a message of QoS 2 got PUBREC.
    pub fn taken(&mut self, number: usize) {
        self.messages[number].is_taken = true;
    }

    /// What the publisher of a message was told is out of date: the broker that said it has crashed since.
    pub fn undone(&mut self, number: usize) {
        self.messages[number].is_undone = true;
    }

    /// The publisher of a message crashed before it was told what became of it.
    pub fn forgotten(&mut self, number: usize) {
        self.messages[number].is_forgotten = true;
    }

    /// The publisher of a message crashed, and knows of it from its store. It may have forgotten what it was told.
    pub fn restored(&mut self, number: usize) {
        let known = &mut self.messages[number];
        known.earlier = known.earlier.or(known.outcome.take());
    }

    /// A PUBLISH came to the broker.
    pub fn arrived(
        &mut self,
        (at, wall): (u64, u64),
        client: usize,
        topic: &str,
        payload: &[u8],
        retain: bool,
    ) {
        let may = self.rights.allow(client, Access::Publish, topic);
        let Some(number) = number_of(payload) else {
            if let Some(topic) = TOPICS.iter().find(|name| **name == topic && may) {
                let kept = Kept { at, message: None, life: self.life, is_repeat: true };
                self.retained.entry(topic).or_default().push(kept);
            }
            return;
        };
        let Some(known) = self.messages.get_mut(number) else {
            self.broken(at, "a message comes as it was published", || format!("{payload:?} on {topic}"));
            return;
        };
        let is_first = known.arrivals.is_empty();
        known.arrivals.push((at, self.life));
        let generation = self.sessions.generation(client);
        known.is_split |= !is_first && known.generation != generation;
        known.generation = generation;
        if !may {
            return;
        }
        let message = &known.message;
        let (topic, qos) = (message.topic, message.qos);
        // In another session it is another message. Without memory it may have been refused, and its publisher have heard
        // nothing of that.
        let is_known = known.arrivals[0].1 == self.life && !known.is_split && !self.was_exhausted;
        if retain && (is_first || !is_known || qos < QoS::ExactlyOnce) {
            // Without memory it may not be kept.
            let is_repeat = !is_first || self.pressure == Pressure::Exhausted;
            let kept = Kept { at, message: Some(number), life: self.life, is_repeat };
            self.retained.entry(topic).or_default().push(kept);
        }
        known.expires = message.expiry.map(|seconds| wall + u64::from(seconds) * 1000);
        if is_first && message.expiry.is_none() && qos > QoS::AtMostOnce {
            self.owe(at, number);
        }
    }

    /// Whoever is subscribed now for certain must get this message.
    fn owe(&mut self, at: u64, number: usize) {
        if self.is_crowded && !self.is_proof || self.pressure >= Pressure::Scarce {
            return;
        }
        let known = &mut self.messages[number];
        let topic = known.message.topic;
        for client in (0..self.clients).filter(|client| self.rights.allow(*client, Access::Receive, topic)) {
            if known.message.size + FRONT <= self.max_packets[client] {
                let epoch = self.sessions.must_get(at, client, known.message.publisher, topic);
                known.copies[client].owed = epoch;
            }
        }
        self.owe_groups(at, number);
    }

    /// The broker starts to send a message that was not sent before.
    pub fn sent(&mut self, at: u64, wall: u64, payload: &[u8]) {
        let Some(known) = number_of(payload).and_then(|number| self.messages.get(number)) else {
            return;
        };
        // Between the decision and the sending a sync may take its time, and the wall clock may jump.
        let slack = if self.sessions.is_time_uncertain { 200_000 } else { 2000 };
        if known.expires.is_some_and(|expires| wall > expires + slack) {
            let number = number_of(payload);
            self.broken(at, "an expired message is not sent [MQTT-3.3.2-5]", || {
                format!("message {number:?}")
            });
        }
    }

    /// A client changes a subscription. With several shards, messages that came a moment ago may still be on their way
    /// to where it has them.
    pub fn changes_subscription(&mut self, at: u64, client: usize) {
        if self.disorder == 0 {
            return;
        }
        for known in self.messages.iter_mut().rev() {
            if known.arrivals.last().is_some_and(|(last, _)| last + self.disorder >= at) {
                known.copies[client].owed = None;
                known.groups.clear();
            }
        }
    }

    /// Whether a client may not subscribe to this.
    pub fn refuses(&self, client: usize, filter: &str) -> bool {
        !self.rights.allow(client, Access::Subscribe, filter)
    }

    /// A client left in order, as the broker knows for certain: its will is void.
    pub fn will_cancelled(&mut self, at: u64, number: usize) {
        self.messages[number].cancelled.get_or_insert(at);
    }

    /// A client was lost: its will is due, if it has no delay.
    pub fn will_due(&mut self, at: u64, number: usize) {
        let known = &mut self.messages[number];
        if known.arrivals.is_empty() && known.cancelled.is_none() {
            known.arrivals.push((at, self.life));
            if known.message.qos > QoS::AtMostOnce {
                self.owe(at, number);
            }
        }
    }

    /// An application gets a message.
    pub fn delivered(&mut self, delivered: &Delivered) {
        let Delivered { at, client, qos, retain, .. } = *delivered;
        self.figures.delivered += 1;
        if delivered.payload.is_empty() {
            return;
        }
        let Some(number) = number_of(&delivered.payload).filter(|number| *number < self.messages.len())
        else {
            self.broken(at, "a message comes as it was published", || format!("{delivered:?}"));
            return;
        };
        let known = &self.messages[number];
        let message = known.message.clone();
        if delivered.topic != message.topic || delivered.payload != payload(number, message.size) {
            self.broken(at, "a message comes as it was published", || {
                format!("message {number}: {delivered:?}")
            });
            return;
        }
        if known.cancelled.is_some_and(|since| since < at) && known.arrivals.is_empty() {
            self.broken(at, "no will after an orderly end [MQTT-3.14.4-3]", || format!("message {number}"));
            return;
        }
        let is_forbidden =
            !message.is_will && !self.rights.allow(message.publisher, Access::Publish, message.topic);
        if is_forbidden || !self.rights.allow(client, Access::Receive, message.topic) {
            self.broken(at, "who has no right gets nothing", || format!("message {number}: client {client}"));
            return;
        }
        self.check_flag(delivered, &message);
        if self.is_replay(delivered) {
            self.figures.retained += 1;
            let copies = &mut self.messages[number].copies[client];
            copies.retained += 1;
            copies.unclear += u32::from(self.sessions.flag(client, message.topic).may_be_kept);
            if !message.retain || !self.sessions.may_get(client, None, message.topic, false) {
                self.broken(at, "who is not subscribed gets nothing", || {
                    format!("message {number}, retained: {client}")
                });
            }
            return;
        }
        self.figures.wills += u64::from(message.is_will);
        self.figures.as_published += u64::from(retain);
        let copies = &mut self.messages[number].copies[client];
        copies.live += 1;
        copies.exact += u32::from(qos == QoS::ExactlyOnce);
        copies.was_passing |= !self.sessions.is_kept(client);
        copies.repeatable += u32::from(qos == QoS::AtLeastOnce);
        if is_shared(message.topic) {
            self.check_shared(at, number, client);
            return;
        }
        self.check_permission(delivered, number, &message);
        self.check_times(at, number, client, qos);
    }

    /// A message does not come more often than it may.
    fn check_times(&mut self, at: u64, number: usize, client: usize, qos: QoS) {
        let known = &self.messages[number];
        let message = &known.message;
        let Copies { live, exact, repeatable, was_passing, .. } = known.copies[client];
        let arrivals = known.arrivals.len().max(1) as u32;
        let resumed = self.sessions.resumed(client);
        // What was not safe when the broker crashed, it forgot; its publisher repeats it.
        let has_forgotten = self.life > 0;
        let most = match (message.qos, qos) {
            (QoS::AtMostOnce, _) => 1,
            _ if self.is_undone || known.is_split => u32::MAX,
            (QoS::ExactlyOnce, QoS::AtLeastOnce) if !has_forgotten => 1 + resumed,
            (QoS::ExactlyOnce, _) if !has_forgotten => 1,
            (QoS::ExactlyOnce, QoS::ExactlyOnce) if !was_passing => live - exact + 1,
            _ if repeatable > 0 => arrivals * (1 + resumed),
            _ => arrivals,
        };
        if live > most {
            let promise = if message.qos == QoS::AtMostOnce { "at most once" } else { "exactly once" };
            self.broken(at, promise, || format!("message {number} came {live} times to client {client}"));
        }
    }

    fn check_permission(&mut self, delivered: &Delivered, number: usize, message: &Published) {
        let Delivered { at, client, qos, .. } = *delivered;
        // A message is on its way from its arrival; a will may have been published at any time.
        let since = match (self.messages[number].arrivals.first(), message.is_will) {
            (Some((first, _)), false) => Some(*first),
            _ => None,
        };
        if qos > message.qos {
            self.broken(at, "no QoS above the publisher's", || format!("message {number}: {qos:?}"));
        }
        if since.is_none() && !message.is_will {
            self.broken(at, "a message is published first", || format!("message {number}"));
        }
        let is_own = message.publisher == client && !message.is_will;
        if !self.sessions.may_get(client, since, message.topic, is_own) {
            self.broken(at, "who is not subscribed gets nothing", || {
                format!("message {number}: client {client}")
            });
        }
    }

    /// A message has come, whether its application accepts it or not [MQTT-4.6.0-6]: one that came to the broker once
    /// does not come behind one that was published later.
    pub fn came(&mut self, delivered: &Delivered) {
        let Delivered { at, client, qos, .. } = *delivered;
        let epoch = if self.life > 0 { self.sessions.epoch(client) } else { 0 };
        let Some(number) = number_of(&delivered.payload).filter(|number| *number < self.messages.len())
        else {
            return;
        };
        let is_replay = self.is_replay(delivered);
        let known = &mut self.messages[number];
        let message = &known.message;
        // What a shared subscription gets goes from one member to another if it must.
        let is_free = is_shared(message.topic) || self.is_undone || known.is_split;
        // What came once may be repeated behind what came later, if a crash or a cut was between them.
        if is_replay || message.is_will || is_free || known.copies[client].came {
            return;
        }
        known.copies[client].came = true;
        let key = ((client, epoch), message.publisher, message.topic, message.qos, qos);
        let last = self.orders.get(&key).copied();
        // What a broker forgot in a crash comes a second time, unless it had to be safe before it went on.
        let is_safe_first = qos == QoS::ExactlyOnce && self.sessions.is_kept(client);
        // Without memory what is to be retained may have been refused first.
        let is_known = (self.life == 0 || is_safe_first) && !(self.was_exhausted && message.retain);
        let came_once = known.arrivals.len() == 1 || message.qos == QoS::ExactlyOnce && is_known;
        if let Some(last) = last.filter(|last| *last > number && came_once) {
            self.broken(at, "order [MQTT-4.6.0-6]", || {
                format!("message {number} came behind message {last} to client {client}")
            });
        }
        self.orders.insert(key, last.unwrap_or(0).max(number));
    }

    /// Once faults have stopped and nothing moves any more: whatever must arrive has arrived, and every request ended.
    pub fn check_end(&mut self, at: u64) {
        for number in 0..self.messages.len() {
            let known = &self.messages[number];
            let message = &known.message;
            if !message.is_will && known.outcome.is_none() && !known.is_forgotten {
                self.broken(at, "every request ends", || format!("message {number}"));
                return;
            }
            self.check_groups(at, number);
            for client in 0..self.clients {
                let copies = self.messages[number].copies[client];
                let Some(epoch) = copies.owed else { continue };
                if !self.sessions.is_still(client, epoch) {
                    continue;
                }
                self.figures.owed += 1;
                if copies.live == 0 && copies.unclear == 0 {
                    self.broken(at, "at least once", || {
                        format!("message {number} did not come to client {client}")
                    });
                    return;
                }
            }
        }
    }
}

impl Known {
    /// Whether its publisher was told that the broker has it.
    fn is_acknowledged(&self) -> bool {
        !self.is_undone
            && (self.is_taken
                || matches!(
                    (self.outcome, self.earlier),
                    (Some(Outcome::Answered(_)), _) | (_, Some(Outcome::Answered(_)))
                ))
    }
}

/// Whether only shared subscriptions get messages of this topic.
fn is_shared(topic: &str) -> bool {
    topic.starts_with('$')
}

/// What a message carries.
fn payload(number: usize, size: usize) -> Vec<u8> {
    let name = (number as u32).to_be_bytes();
    (0..size).map(|at| name.get(at).copied().unwrap_or((number * 31 + at * 7) as u8)).collect()
}

/// The number of a message with this payload; a message that removes a retained one has none.
pub fn number_of(payload: &[u8]) -> Option<usize> {
    payload.first_chunk().map(|name| u32::from_be_bytes(*name) as usize)
}
