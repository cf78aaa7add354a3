//! A world: its actors, and the one loop in which everything happens. Nothing in it sleeps, and everything that it does
//! follows from its plan.

use crate::broker::Broker;
use crate::client::{Client, Lent};
use crate::oracle::{Figures, Violation};
use crate::plan::{Action, ClientPlan, FILTERS, FaultKind, OPEN_TOPICS, Plan};
use crate::rng::Rng;
use crate::scene::{Chart, Event, Scene};
use mqtt_packet::{QoS, RetainHandling, Version};

/// How long after the last fault everything may take to come to rest, in milliseconds.
const PATIENCE: u64 = 600_000;

/// More events than a world can need.
const MOST_EVENTS: u64 = 3_000_000;

/// How often a look is taken whether everything is at rest, in milliseconds.
const LOOK: u64 = 250;

/// What came of a world.
#[derive(Clone, Debug)]
pub struct Report {
    /// The first broken promise, if there is one.
    pub violation: Option<Violation>,
    /// What happened.
    pub figures: Figures,
    /// The sequence chart, if it was asked for.
    pub chart: Vec<String>,
}

/// How far a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients work, and things go wrong.
    Chaos,
    /// Nothing goes wrong any more.
    Calm,
    /// Everything is at rest. Somebody new subscribes to everything, everybody publishes once more.
    Proof,
    /// It is over.
    Over,
}

struct World<'m> {
    plan: &'m Plan,
    scene: Scene,
    clients: Vec<Client<'m>>,
    broker: Broker,
    phase: Phase,
}

/// Runs a world to its end. With `charted`, what happens in it is written down.
pub fn run(plan: &Plan, charted: bool) -> Report {
    let mut plan = plan.clone();
    // The one who looks at the end what is retained, and gets what everybody publishes last.
    plan.clients.push(witness(&plan));
    let mut memory: Vec<Vec<Lent>> = plan
        .clients
        .iter()
        .enumerate()
        .map(|(number, client)| {
            let crash = |fault: &&crate::plan::Fault| {
                matches!(fault.kind, FaultKind::ClientCrash { client, .. } if client == number)
            };
            let lives = 1 + plan.faults.iter().filter(crash).count();
            (0..lives).map(|_| Lent::new(client)).collect()
        })
        .collect();
    let chart = Chart { lines: charted.then(Vec::new) };
    let mut scene = Scene::new(&plan, chart);
    let mut seed = Rng::new(plan.seed).fork();
    let broker = Broker::new(&plan, seed.draw());
    let clients = plan
        .clients
        .iter()
        .zip(&mut memory)
        .enumerate()
        .map(|(number, (client, memory))| Client::new(number, client.clone(), memory, &mut scene))
        .collect();
    for (number, fault) in plan.faults.iter().enumerate() {
        scene.after(fault.at, Event::Fault(number));
    }
    scene.after(plan.end, Event::Look);
    let mut world = World { plan: &plan, scene, clients, broker, phase: Phase::Chaos };
    world.run();
    let World { scene, .. } = world;
    Report {
        violation: scene.oracle.violation,
        figures: scene.oracle.figures,
        chart: scene.chart.lines.unwrap_or_default(),
    }
}

/// A client that comes when everything is at rest.
fn witness(plan: &Plan) -> ClientPlan {
    let everything = Action::Subscribe {
        filter: FILTERS.iter().position(|filter| *filter == "#").unwrap_or(0),
        qos: QoS::ExactlyOnce,
        retain_handling: RetainHandling::SendAtSubscribe,
        identified: false,
        no_local: false,
        as_published: false,
    };
    ClientPlan {
        version: Version::V5,
        clean_start: true,
        expiry: 0,
        keep_alive: 0,
        durable: false,
        manual: false,
        aliases: 0,
        slots: 20,
        memory: 1000,
        transmit: 1000,
        receive: 1000,
        max_packet: 0,
        will: None,
        // It is woken when its time has come.
        actions: vec![(plan.end + PATIENCE * 2, everything)],
    }
}

impl World<'_> {
    fn run(&mut self) {
        while self.phase != Phase::Over && self.scene.oracle.violation.is_none() {
            let Some(event) = self.scene.next_event() else {
                break;
            };
            self.happen(event);
            if self.scene.oracle.figures.events > MOST_EVENTS {
                self.scene.oracle.broken(self.scene.now, "quiet at the end", || "too many events".into());
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let scene = &mut self.scene;
        match event {
            Event::Fault(number) => self.go_wrong(self.plan.faults[number].kind),
            Event::Act(client) => self.clients[client].act(scene),
            // The witness does not come before everything is at rest.
            Event::Dial(client) if client + 1 == self.clients.len() && self.phase != Phase::Proof => {}
            Event::Dial(client) => self.clients[client].dial(scene),
            Event::ClientWake(client) => self.clients[client].wake(scene),
            Event::Accept(client) => self.clients[client].accept(scene),
            Event::ReadAgain(client) => self.clients[client].go_on(scene),
            Event::StoreSynced(client, life) => self.clients[client].store_synced(life, scene),
            Event::Restart(client) => self.clients[client].restart(scene),
            Event::Opened(index) => self.broker.open(index, scene),
            Event::Up(index) => {
                self.broker.arrive(index, scene);
                // There is room again.
                let client = scene.connections[index].client;
                if self.clients[client].connection() == Some(index) {
                    self.clients[client].go_on(scene);
                }
            }
            Event::Down(index) => {
                let client = scene.connections[index].client;
                self.clients[client].arrive(index, scene);
                self.broker.flush(index, scene);
            }
            Event::ClientLost(index) => {
                let client = scene.connections[index].client;
                self.clients[client].lost(index, scene);
            }
            Event::BrokerLost(index) => self.broker.lost(index, scene),
            Event::BrokerWake(shard, life) => self.broker.wake(shard, life, scene),
            Event::Link(from, to, life) => self.broker.link(from, to, life, scene),
            Event::DiskWritten(life) => self.broker.disk_written(life, scene),
            Event::DiskDue(life) => self.broker.disk_due(life, scene),
            Event::DiskSynced(life) => self.broker.disk_synced(life, scene),
            Event::Answer(shard, token, life) => self.broker.answer(shard, token, life, scene),
            Event::BrokerRestart => self.broker.restart(scene),
            Event::Weigh => self.broker.weigh(scene),
            Event::Look => self.look(),
        }
    }

    fn go_wrong(&mut self, fault: FaultKind) {
        let scene = &mut self.scene;
        match fault {
            FaultKind::Cut { client, client_notices, broker_notices } => {
                if let Some(index) = self.clients[client].connection() {
                    scene.cut(index, client_notices, broker_notices);
                }
            }
            FaultKind::Stall { client, millis, up, down } => {
                if let Some(index) = self.clients[client].connection() {
                    let until = scene.now + millis;
                    let connection = &mut scene.connections[index];
                    connection.up.held_until = if up { until } else { 0 };
                    connection.down.held_until = if down { until } else { 0 };
                }
            }
            FaultKind::Slow { client, millis } => self.clients[client].slow_down(millis, scene),
            FaultKind::ClientCrash { client, millis } => self.clients[client].crash(millis, scene),
            FaultKind::BrokerCrash { millis, damaged } => self.broker.crash(millis, damaged, scene),
            FaultKind::ShortOfMemory { millis, percent } => self.broker.take_memory(millis, percent, scene),
            FaultKind::ClockJump { millis } => {
                scene.wall_ahead = scene.wall_ahead.saturating_add_signed(millis);
                scene.oracle.sessions.is_time_uncertain = true;
                scene.oracle.sessions.has_gone_back |= millis < 0;
            }
        }
    }

    /// Goes on to the next phase, if everything is at rest.
    fn look(&mut self) {
        let scene = &mut self.scene;
        if self.phase == Phase::Chaos {
            self.phase = Phase::Calm;
            scene.is_calm = true;
            scene.note(|| "nothing goes wrong any more".into());
            for client in 0..self.clients.len() - 1 {
                scene.after(0, Event::Dial(client));
                scene.after(0, Event::ReadAgain(client));
            }
        } else if self.is_at_rest() {
            match self.phase {
                Phase::Calm => self.prove(),
                _ => {
                    self.finish();
                    return;
                }
            }
        } else if self.scene.now > self.plan.end + PATIENCE {
            let states: Vec<_> = self.clients.iter().map(Client::state).collect();
            let (peers, remains) = (self.broker.state(&self.scene), self.broker.remains());
            self.scene
                .oracle
                .broken(self.scene.now, "quiet at the end", || format!("{states:#?} {peers:#?} {remains:?}"));
        }
        self.scene.after(LOOK, Event::Look);
    }

    fn is_at_rest(&mut self) -> bool {
        let there = if self.phase == Phase::Proof { self.clients.len() } else { self.clients.len() - 1 };
        self.broker.is_at_rest()
            && self.clients[..there].iter().all(Client::is_at_rest)
            && self.scene.connections.iter_mut().all(|connection| {
                let is_over = !connection.client_has_it || !connection.broker_has_it;
                is_over || !connection.up.has_news() && !connection.down.has_news()
            })
    }

    /// The world still works: somebody new comes, and a message of everybody gets through.
    fn prove(&mut self) {
        self.phase = Phase::Proof;
        let scene = &mut self.scene;
        scene.oracle.is_proof = true;
        scene.note(|| "everything is at rest".into());
        let witness = self.clients.len() - 1;
        scene.after(0, Event::Dial(witness));
        scene.after(0, Event::Act(witness));
        for client in 0..witness {
            let last = Action::Publish {
                topic: client % OPEN_TOPICS,
                qos: QoS::ExactlyOnce,
                retain: false,
                size: 20,
                expiry: None,
            };
            self.clients[client].perform(last, scene);
            scene.after(1000, Event::ReadAgain(client));
        }
    }

    fn finish(&mut self) {
        self.phase = Phase::Over;
        let at = self.scene.now;
        let oracle = &mut self.scene.oracle;
        oracle.check_end(at);
        oracle.check_retained(at, self.clients.len() - 1, self.plan.broker.durable);
        let mut remains = self.broker.remains();
        if oracle.is_undone {
            // The end of an exchange that was lost with an interval is not said again.
            remains.retain(|entry| !entry.starts_with("Received"));
        }
        if !remains.is_empty() {
            oracle.broken(at, "nothing is left on the disk", || format!("{remains:?}"));
        }
    }
}
