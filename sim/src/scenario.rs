//! Scenarios: how much of what there is in a world. A scenario and a seed make a [`Plan`].

use crate::plan::{
    Action, BrokerPlan, ClientPlan, FILTERS, Fault, FaultKind, Network, OPEN_TOPICS, OWN_FILTERS, Plan,
    TOPICS, WillPlan,
};
use crate::rng::Rng;
use mqtt_packet::{QoS, RetainHandling, Version};

/// How much of what; percentages are chances, ranges are counts.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    clients: (u64, u64),
    messages: (u64, u64),
    /// How many percent of the messages are retained.
    retained: u64,
    /// How many percent expire.
    expiring: u64,
    /// How often a client changes a subscription after its first.
    changes: (u64, u64),
    /// How many percent of the clients have a session that outlives a connection for ever, and for a while.
    lasting: u64,
    brief: u64,
    wills: u64,
    disconnects: (u64, u64),
    takeovers: (u64, u64),
    cuts: (u64, u64),
    stalls: (u64, u64),
    slow: (u64, u64),
    client_crashes: (u64, u64),
    broker_crashes: (u64, u64),
    clock_jumps: (u64, u64),
    /// How many percent of the worlds have a broker with a disk.
    durable: u64,
    /// How many shards the broker has at most.
    shards: u64,
    /// The longest usual time of a sync, one of these.
    sync: [u64; 3],
    /// Whether the broker syncs from time to time only.
    lazy: bool,
    /// How many entries of the disk are damaged at each crash at most.
    damaged: u64,
    /// How many percent of the messages and subscriptions are shared ones.
    shared: u64,
    /// How many percent of the worlds have clients that may do some things only.
    restricted: u64,
    /// Whether few messages may wait for a session.
    crowded: bool,
    /// In how many percent of the worlds few of them wait in memory, and the others on the disk.
    windowed: u64,
    /// How often everybody does everything at the same moment.
    storms: (u64, u64),
    /// How many percent of the subscriptions want the retain flag as it was published.
    as_published: u64,
    /// How long payloads are: one of these.
    sizes: &'static [usize],
    /// How often the broker is short of memory, of which it has little then; 0 to 0 where it has enough.
    shortages: (u64, u64),
}

/// What most messages are like.
const SMALL: &[usize] = &[4, 4, 10, 50, 50, 200, 500];

/// Payloads that are larger than any buffer of a client.
const LARGE: &[usize] = &[50, 2000, 20_000, 70_000, 256 << 10];

/// Cuts, pieces and delays only: every QoS, sessions that last and sessions that do not.
const QOS: Scenario = Scenario {
    name: "qos",
    about: "every QoS over a network that cuts, delays and segments",
    clients: (2, 4),
    messages: (5, 40),
    retained: 0,
    expiring: 0,
    changes: (0, 0),
    lasting: 70,
    brief: 0,
    wills: 0,
    disconnects: (0, 1),
    takeovers: (0, 0),
    cuts: (0, 8),
    stalls: (0, 3),
    slow: (0, 0),
    client_crashes: (0, 0),
    broker_crashes: (0, 0),
    clock_jumps: (0, 0),
    durable: 30,
    shards: 1,
    sync: [1, 20, 200],
    lazy: false,
    damaged: 0,
    shared: 0,
    restricted: 0,
    crowded: false,
    windowed: 0,
    storms: (0, 0),
    as_published: 0,
    sizes: SMALL,
    shortages: (0, 0),
};

/// Every scenario there is.
pub const SCENARIOS: [Scenario; 22] = [
    QOS,
    Scenario {
        name: "takeover",
        about: "clients that connect again while their old connection is half open",
        takeovers: (1, 6),
        cuts: (0, 4),
        ..QOS
    },
    Scenario {
        name: "wills",
        about: "clients that are lost, leave, and come back within a will's delay or not",
        wills: 80,
        brief: 20,
        lasting: 40,
        disconnects: (0, 4),
        takeovers: (0, 2),
        messages: (0, 10),
        ..QOS
    },
    Scenario {
        name: "retained",
        about: "retained messages replaced and removed while others subscribe",
        retained: 60,
        changes: (0, 6),
        ..QOS
    },
    Scenario {
        name: "as-published",
        about: "subscriptions that want the retain flag as it was published, and a broker that crashes",
        retained: 60,
        as_published: 60,
        changes: (0, 4),
        broker_crashes: (0, 1),
        shards: 2,
        ..QOS
    },
    Scenario {
        name: "large",
        about: "payloads larger than any buffer, which clients stream in both directions",
        sizes: LARGE,
        messages: (2, 8),
        retained: 10,
        broker_crashes: (0, 1),
        client_crashes: (0, 1),
        takeovers: (0, 1),
        durable: 50,
        shards: 2,
        ..QOS
    },
    Scenario {
        name: "short-memory",
        about: "a broker that has little memory, and clients that are away or slow while more comes for them",
        sizes: &[50, 200, 500],
        messages: (60, 160),
        retained: 5,
        slow: (2, 5),
        disconnects: (1, 4),
        shortages: (1, 4),
        broker_crashes: (0, 1),
        durable: 50,
        ..QOS
    },
    Scenario {
        name: "subscriptions",
        about: "overlapping subscriptions that change under load",
        changes: (2, 12),
        retained: 10,
        ..QOS
    },
    Scenario {
        name: "slow",
        about: "clients that do not read, and connections that stand still",
        slow: (1, 4),
        stalls: (0, 4),
        messages: (30, 120),
        ..QOS
    },
    Scenario {
        name: "expiry",
        about: "messages and sessions that expire, and a wall clock that jumps",
        expiring: 50,
        brief: 60,
        lasting: 20,
        retained: 20,
        disconnects: (0, 4),
        clock_jumps: (0, 2),
        ..QOS
    },
    Scenario {
        name: "power-cut",
        about: "a broker that crashes and comes back with what its disk has",
        broker_crashes: (1, 4),
        durable: 100,
        lasting: 80,
        changes: (0, 3),
        retained: 10,
        wills: 20,
        ..QOS
    },
    Scenario {
        name: "slow-disk",
        about: "a broker that crashes while much of what it heard is not safe yet, and clients that repeat it",
        broker_crashes: (2, 6),
        takeovers: (2, 10),
        messages: (10, 60),
        durable: 100,
        lasting: 100,
        sync: [500, 3000, 10_000],
        ..QOS
    },
    Scenario {
        name: "interval",
        about: "a broker that syncs from time to time only, and crashes",
        broker_crashes: (1, 5),
        messages: (10, 60),
        durable: 100,
        lasting: 90,
        changes: (0, 3),
        retained: 10,
        shards: 2,
        sync: [1, 20, 100],
        lazy: true,
        ..QOS
    },
    Scenario {
        name: "damage",
        about: "a broker that crashes, and whose disk damages what it had synced",
        broker_crashes: (1, 4),
        durable: 100,
        lasting: 90,
        changes: (0, 3),
        retained: 20,
        shards: 2,
        damaged: 3,
        ..QOS
    },
    Scenario {
        name: "shared",
        about: "shared subscriptions whose members come, go and crash, on a broker that crashes",
        clients: (2, 5),
        shared: 70,
        lasting: 70,
        changes: (1, 6),
        disconnects: (0, 3),
        takeovers: (0, 1),
        slow: (0, 1),
        client_crashes: (0, 1),
        broker_crashes: (0, 2),
        durable: 60,
        shards: 3,
        ..QOS
    },
    Scenario {
        name: "rights",
        about: "clients that may not publish, subscribe to and receive everything",
        restricted: 100,
        changes: (0, 4),
        retained: 20,
        broker_crashes: (0, 1),
        shards: 2,
        ..QOS
    },
    Scenario {
        name: "crowded",
        about: "clients that are away or slow while more comes for them than may wait",
        crowded: true,
        messages: (30, 120),
        slow: (1, 4),
        disconnects: (0, 4),
        broker_crashes: (0, 1),
        durable: 80,
        ..QOS
    },
    Scenario {
        name: "long-queues",
        about: "clients that are away or slow while most of what comes for them waits on the disk, and is read back",
        windowed: 100,
        messages: (30, 120),
        slow: (1, 4),
        disconnects: (0, 4),
        takeovers: (0, 2),
        broker_crashes: (0, 3),
        changes: (0, 3),
        brief: 20,
        shards: 3,
        durable: 100,
        ..QOS
    },
    Scenario {
        name: "storm",
        about: "everybody publishes at the same moment, and everybody loses its connection in it",
        clients: (4, 7),
        messages: (0, 10),
        storms: (2, 6),
        broker_crashes: (1, 6),
        durable: 100,
        lasting: 90,
        shards: 4,
        ..QOS
    },
    Scenario {
        name: "client-crash",
        about: "clients that crash and come back with what their store has, or with nothing",
        client_crashes: (1, 5),
        durable: 50,
        ..QOS
    },
    Scenario {
        name: "shards",
        about: "a broker of several shards that crashes",
        shards: 4,
        broker_crashes: (0, 2),
        changes: (0, 3),
        retained: 20,
        wills: 20,
        takeovers: (0, 1),
        durable: 70,
        ..QOS
    },
    Scenario {
        name: "mixed",
        about: "everything at once",
        clients: (2, 5),
        retained: 20,
        expiring: 10,
        changes: (0, 6),
        lasting: 60,
        brief: 20,
        wills: 30,
        disconnects: (0, 2),
        takeovers: (0, 2),
        cuts: (0, 6),
        slow: (0, 2),
        client_crashes: (0, 2),
        broker_crashes: (0, 2),
        clock_jumps: (0, 1),
        durable: 60,
        shards: 4,
        shared: 15,
        windowed: 20,
        storms: (0, 1),
        ..QOS
    },
];

/// The scenario of this name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// The world of this seed.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let end = rng.pick(&[2_000, 10_000, 60_000]);
        let clients = self.count(&mut rng, self.clients);
        let mut clients: Vec<_> = (0..clients).map(|_| self.client(&mut rng.fork(), end)).collect();
        let faults = self.faults(&mut rng.fork(), &clients, end);
        let mut network = Network {
            latency: rng.pick(&[1, 20, 200]),
            piece: rng.pick(&[1, 7, 100, 10_000, 10_000]),
            window: rng.pick(&[64, 1000, 16_000, 64_000]),
        };
        let largest = self.sizes.iter().copied().max().unwrap_or(0);
        if self.sizes == LARGE {
            enlarge(&mut rng, &mut clients, &mut network);
        }
        let is_short = self.shortages.1 > 0;
        let broker = BrokerPlan {
            shards: rng.between(1, self.shards) as u16,
            durable: rng.chance(self.durable),
            sync: rng.pick(&self.sync),
            interval: self.lazy.then(|| rng.pick(&[100, 1000, 5000])),
            restricts: self.restricted > 0 && rng.chance(self.restricted),
            max_queue: if self.crowded { rng.pick(&[6, 20]) } else { 100_000 },
            queue_window: if self.windowed > 0 && rng.chance(self.windowed) {
                rng.pick(&[1, 2, 5, 20])
            } else {
                usize::MAX
            },
            asks: rng.chance(20),
            receive_maximum: rng.pick(&[1, 3, 20, 1000]),
            max_inflight: if is_short { rng.pick(&[1, 2]) } else { rng.pick(&[1, 2, 10, 20]) },
            window: rng.pick(&[1, 300, 100_000]),
            outgoing_aliases: rng.pick(&[0, 2, 8]),
            slow_queue: if is_short { 1000 } else { 1 << 20 },
            memory: is_short.then(|| rng.pick(&[10_000, 30_000])),
            largest,
        };
        if !broker.durable || self.damaged > 0 || self.lazy {
            // A client of 3.1 is not told that a broker has forgotten its session.
            let untold = |client: &&mut ClientPlan| client.version == Version::V3_1;
            clients.iter_mut().filter(untold).for_each(|client| client.version = Version::V3_1_1);
        }
        let mut plan = Plan { seed: rng.draw(), end, clients, faults, network, broker };
        for _ in 0..self.count(&mut rng, self.storms) {
            self.storm(&mut rng, &mut plan);
        }
        plan
    }

    /// At one moment everybody publishes much, and soon everybody loses its connection and comes back at once.
    fn storm(&self, rng: &mut Rng, plan: &mut Plan) {
        let at = rng.below(plan.end);
        let burst = rng.between(5, 30);
        let kind = rng.below(3);
        for client in 0..plan.clients.len() {
            let actions = &mut plan.clients[client].actions;
            actions.extend((0..burst).map(|_| (at, self.message(rng))));
            if kind == 0 {
                actions.push(((at + rng.delay(100)).min(plan.end), Action::TakeOver));
            }
            actions.sort_by_key(|action| action.0);
            if kind == 1 {
                let kind = FaultKind::Cut { client, client_notices: 0, broker_notices: rng.pick(&[0, 1000]) };
                plan.faults.push(Fault { at: (at + rng.delay(100)).min(plan.end), kind });
            }
        }
        plan.faults.sort_by_key(|fault| fault.at);
    }

    fn count(&self, rng: &mut Rng, range: (u64, u64)) -> u64 {
        rng.between(range.0, range.1)
    }

    fn client(&self, rng: &mut Rng, end: u64) -> ClientPlan {
        let version = rng.pick(&[Version::V3_1_1, Version::V3_1_1, Version::V5, Version::V5, Version::V3_1]);
        let lasts = rng.below(100);
        let (clean_start, expiry) = match version {
            Version::V5 if lasts < self.lasting => (false, u32::MAX),
            Version::V5 if lasts < self.lasting + self.brief => (false, rng.pick(&[1, 5, 30])),
            Version::V5 => (rng.chance(50), 0),
            _ if lasts < self.lasting + self.brief => (false, u32::MAX),
            _ => (true, 0),
        };
        let v5 = version == Version::V5;
        let slots = rng.pick(&[20, 20, 40]);
        let will = rng
            .chance(self.wills)
            .then(|| WillPlan { qos: any_qos(rng), delay: if v5 { rng.pick(&[0, 0, 1, 20]) } else { 0 } });
        let mut actions = Vec::new();
        self.subscribe(rng, end, &mut actions);
        for _ in 0..self.count(rng, self.messages) {
            actions.push((rng.below(end), self.message(rng)));
        }
        for _ in 0..self.count(rng, self.disconnects) {
            actions.push((rng.below(end), Action::Disconnect { away: rng.delay(end) }));
        }
        for _ in 0..self.count(rng, self.takeovers) {
            actions.push((rng.below(end), Action::TakeOver));
        }
        actions.sort_by_key(|action| action.0);
        ClientPlan {
            version,
            clean_start,
            expiry,
            keep_alive: rng.pick(&[0, 2, 10, 60]),
            durable: self.client_crashes.1 > 0 && expiry == u32::MAX && rng.chance(80),
            manual: rng.chance(25),
            aliases: if v5 { rng.pick(&[0, 1, 4]) } else { 0 },
            slots,
            memory: rng.pick(&[600, 4000, 20_000]),
            transmit: rng.pick(&[160, 600, 4000]),
            receive: rng.pick(&[128, 300, 4000]),
            max_packet: 0,
            will,
            actions,
        }
    }

    fn subscribe(&self, rng: &mut Rng, end: u64, actions: &mut Vec<(u64, Action)>) {
        for _ in 0..rng.between(0, 2) {
            actions.push((0, self.subscription(rng)));
        }
        for _ in 0..self.count(rng, self.changes) {
            let action = if rng.chance(60) {
                self.subscription(rng)
            } else {
                Action::Unsubscribe { filter: self.filter(rng) }
            };
            actions.push((rng.below(end), action));
        }
    }

    /// A filter, shared or not.
    fn filter(&self, rng: &mut Rng) -> usize {
        let is_shared = self.shared > 0 && rng.chance(self.shared);
        let (first, end) = if is_shared { (OWN_FILTERS, FILTERS.len()) } else { (0, OWN_FILTERS) };
        first + rng.below((end - first) as u64) as usize
    }

    fn subscription(&self, rng: &mut Rng) -> Action {
        let filter = self.filter(rng);
        let is_shared = filter >= OWN_FILTERS;
        Action::Subscribe {
            filter,
            qos: if is_shared { rng.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]) } else { any_qos(rng) },
            retain_handling: rng.pick(&[
                RetainHandling::SendAtSubscribe,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ]),
            identified: rng.chance(30),
            // A shared subscription may not have it [MQTT-3.8.3-4].
            no_local: rng.chance(10) && !is_shared,
            as_published: self.as_published > 0 && rng.chance(self.as_published),
        }
    }

    fn message(&self, rng: &mut Rng) -> Action {
        let is_shared = self.shared > 0 && rng.chance(self.shared);
        let retain = rng.chance(self.retained) && !is_shared;
        let qos = any_qos(rng);
        // A message without payload has no name on it, so it may not be one that is to come exactly once.
        let removes = retain && qos != QoS::ExactlyOnce && rng.chance(15);
        Action::Publish {
            topic: match is_shared {
                true => OPEN_TOPICS + rng.below((TOPICS.len() - OPEN_TOPICS) as u64) as usize,
                false => rng.below(OPEN_TOPICS as u64) as usize,
            },
            qos,
            retain,
            size: if removes { 0 } else { rng.pick(self.sizes) },
            expiry: rng.chance(self.expiring).then(|| rng.pick(&[1, 3, 30])),
        }
    }

    fn faults(&self, rng: &mut Rng, clients: &[ClientPlan], end: u64) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |rng: &mut Rng, range, kind: &mut dyn FnMut(&mut Rng) -> FaultKind| {
            for _ in 0..rng.between(0, 1).max(1) * self.count(rng, range) {
                faults.push(Fault { at: rng.below(end), kind: kind(rng) });
            }
        };
        let one = |rng: &mut Rng| rng.below(clients.len() as u64) as usize;
        add(rng, self.cuts, &mut |rng| FaultKind::Cut {
            client: one(rng),
            client_notices: rng.pick(&[0, 10, 1000, 20_000]),
            broker_notices: rng.pick(&[0, 10, 1000, 20_000]),
        });
        add(rng, self.stalls, &mut |rng| FaultKind::Stall {
            client: one(rng),
            millis: rng.pick(&[100, 1000, 10_000]),
            up: rng.chance(60),
            down: rng.chance(60),
        });
        add(rng, self.slow, &mut |rng| FaultKind::Slow {
            client: one(rng),
            millis: rng.pick(&[1000, 10_000, 30_000]),
        });
        add(rng, self.client_crashes, &mut |rng| FaultKind::ClientCrash {
            client: one(rng),
            millis: rng.pick(&[10, 1000, 10_000]),
        });
        add(rng, self.broker_crashes, &mut |rng| FaultKind::BrokerCrash {
            millis: rng.pick(&[10, 1000, 10_000]),
            damaged: if self.damaged > 0 { rng.between(0, self.damaged) as u32 } else { 0 },
        });
        add(rng, self.clock_jumps, &mut |rng| FaultKind::ClockJump {
            millis: rng.pick(&[1000, 60_000, -1000, -60_000]),
        });
        add(rng, self.shortages, &mut |rng| FaultKind::ShortOfMemory {
            millis: rng.pick(&[1000, 10_000]),
            percent: rng.pick(&[1, 60, 75, 100]),
        });
        faults.sort_by_key(|fault| fault.at);
        faults
    }
}

/// Some clients take no large packets, and those that cannot stream have memory for what they publish.
fn enlarge(rng: &mut Rng, clients: &mut [ClientPlan], network: &mut Network) {
    for client in clients {
        if client.version == Version::V5 {
            client.max_packet = rng.pick(&[0, 0, 30_000]);
        }
        if client.durable || rng.chance(30) {
            client.memory = 600_000;
        }
    }
    // In smaller pieces it would take for ever.
    network.piece = network.piece.max(1000);
    network.window = network.window.max(8000);
}

fn any_qos(rng: &mut Rng) -> QoS {
    rng.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce])
}
