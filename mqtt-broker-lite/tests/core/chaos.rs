//! Random histories: clients that come and go, cut connections, slow disks, crashes. In the end everything that was
//! promised has been kept: QoS 1 at least once, QoS 2 exactly once, in order, and nothing is left over.

use super::world::*;
use mqtt_packet::AckKind::{PubAck, PubComp, PubRec, PubRel};
use mqtt_packet::Version::{V3_1_1, V5};
use mqtt_packet::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CLIENTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Cut(usize),
    Leave(usize),
    /// Who, QoS, and whether to the shared subscription.
    Publish(usize, u8, bool),
    /// The client reads what there is and answers it.
    Read(usize),
    Slow(bool),
    /// So many of what is written become safe.
    Sync(usize),
    Crash,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..CLIENTS;
    prop_oneof![
        3 => who.clone().prop_map(Step::Connect),
        2 => who.clone().prop_map(Step::Cut),
        1 => who.clone().prop_map(Step::Leave),
        8 => (who.clone(), 0..3_u8, any::<bool>()).prop_map(|(who, qos, shared)| Step::Publish(who, qos, shared)),
        6 => who.prop_map(Step::Read),
        1 => any::<bool>().prop_map(Step::Slow),
        2 => (0..8_usize).prop_map(Step::Sync),
        1 => Just(Step::Crash),
        1 => (0..3000_u64).prop_map(Step::Pass),
    ]
}

/// A client that keeps its session and does what the protocol says.
struct Model {
    name: String,
    version: Version,
    connection: Option<Client>,
    /// Messages on their way to the broker: identifier, topic, QoS, payload, and whether PUBREC came.
    outgoing: Vec<(u16, String, u8, String, bool)>,
    last_id: u16,
    /// QoS 2 identifiers that wait for PUBREL.
    incoming: BTreeSet<u16>,
    /// Everything that was delivered: topic and payload.
    delivered: Vec<(String, String)>,
}

struct History {
    world: World,
    clients: Vec<Model>,
    published: Vec<(usize, String, u8, String)>,
}

impl History {
    fn new(durable: bool) -> Self {
        let mut history = Self {
            world: if durable { World::durable() } else { World::new() },
            clients: (0..CLIENTS)
                .map(|index| Model {
                    name: format!("client{index}"),
                    version: if index % 2 == 0 { V5 } else { V3_1_1 },
                    connection: None,
                    outgoing: Vec::new(),
                    last_id: 0,
                    incoming: BTreeSet::new(),
                    delivered: Vec::new(),
                })
                .collect(),
            published: Vec::new(),
        };
        for index in 0..CLIENTS {
            history.connect(index);
            let client = history.clients[index].connection.unwrap();
            history.world.accepted(client);
            history.world.subscribe(client, "t/+", 2);
            if index > 0 {
                history.world.subscribe(client, "$share/g/s/#", 2);
            }
        }
        history
    }

    fn connect(&mut self, index: usize) {
        let model = &mut self.clients[index];
        let name = model.name.clone();
        let client = self.world.connect_with(kept(model.version, &name));
        for other in &mut self.clients {
            if other.connection.is_some_and(|connection| !self.world.is_open(connection)) {
                other.connection = None;
            }
        }
        let model = &mut self.clients[index];
        model.connection = Some(client);
        for (id, topic, qos, payload, received) in model.outgoing.clone() {
            if received {
                self.world.ack(client, PubRel, id);
            } else {
                let id = PacketId::new(id).unwrap();
                let delivery = match qos {
                    1 => Delivery::AtLeastOnce { id, dup: true },
                    _ => Delivery::ExactlyOnce { id, dup: true },
                };
                let publish = Publish { delivery, ..message(&topic, qos, id.get(), &payload) };
                self.world.send(client, Packet::Publish(publish));
            }
        }
    }

    fn publish(&mut self, index: usize, qos: u8, shared: bool) {
        let model = &mut self.clients[index];
        let Some(client) = model.connection else { return };
        let topic = format!("{}/{index}", if shared { "s" } else { "t" });
        let payload = format!("{}", self.published.len());
        let mut id = 0;
        if qos > 0 {
            model.last_id = model.last_id % 1000 + 1;
            id = model.last_id;
            model.outgoing.push((id, topic.clone(), qos, payload.clone(), false));
        }
        self.world.publish(client, &topic, qos, id, &payload);
        self.published.push((index, topic, qos, payload));
    }

    /// Reads and answers; true if there was anything.
    fn read(&mut self, index: usize) -> bool {
        let Some(client) = self.clients[index].connection else { return false };
        if !self.world.is_open(client) {
            self.clients[index].connection = None;
            return false;
        }
        let lines = self.world.received(client);
        for line in &lines {
            self.hear(index, client, line);
        }
        !lines.is_empty()
    }

    fn hear(&mut self, index: usize, client: Client, line: &str) {
        let model = &mut self.clients[index];
        let words: Vec<_> = line.split(' ').collect();
        let id = words.iter().position(|word| *word == "id").map(|at| words[at + 1].parse::<u16>().unwrap());
        match (words[0], id) {
            ("PUBLISH", id) => {
                let parts: Vec<_> = line.split('"').collect();
                let message = (parts[1].to_owned(), parts[3].to_owned());
                let is_qos_2 = words[3] == "2";
                if !is_qos_2 || model.incoming.insert(id.unwrap()) {
                    model.delivered.push(message);
                }
                if let Some(id) = id {
                    self.world.ack(client, if is_qos_2 { PubRec } else { PubAck }, id);
                }
            }
            ("PUBREL", Some(id)) => {
                model.incoming.remove(&id);
                self.world.ack(client, PubComp, id);
            }
            ("PUBREC", Some(id)) => {
                for outgoing in model.outgoing.iter_mut().filter(|outgoing| outgoing.0 == id) {
                    outgoing.4 = true;
                }
                self.world.ack(client, PubRel, id);
            }
            ("PUBACK" | "PUBCOMP", Some(id)) => model.outgoing.retain(|outgoing| outgoing.0 != id),
            ("CONNACK", _) => {
                assert!(line.contains("session present") || self.published.is_empty(), "{line}")
            }
            _ => panic!("what is {line}?"),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect(index) => self.connect(index),
            Step::Cut(index) => {
                if let Some(client) = self.clients[index].connection.take() {
                    self.world.cut(client);
                }
            }
            Step::Leave(index) => {
                if let Some(client) = self.clients[index].connection.take() {
                    self.world.disconnect(client);
                }
            }
            Step::Publish(index, qos, shared) => self.publish(index, qos, shared),
            Step::Read(index) => drop(self.read(index)),
            Step::Slow(slow) => self.world.disk_is_slow = slow,
            Step::Sync(count) => self.world.sync_some(count),
            Step::Crash => {
                self.world.crash();
                self.clients.iter_mut().for_each(|model| model.connection = None);
            }
            Step::Pass(milliseconds) => self.world.pass(milliseconds),
        }
    }

    /// Everybody comes back and finishes.
    fn settle(&mut self) {
        self.world.disk_is_slow = false;
        self.world.sync();
        for index in 0..CLIENTS {
            self.connect(index);
        }
        let mut rounds = 0;
        while (0..CLIENTS).any(|index| self.read(index)) {
            rounds += 1;
            assert!(rounds < 1000, "it never ends");
        }
    }

    fn check(&self) {
        for model in &self.clients {
            assert!(model.outgoing.is_empty(), "{} waits for {:?}", model.name, model.outgoing);
            assert!(model.incoming.is_empty(), "{} holds {:?}", model.name, model.incoming);
        }
        let mut counts: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        for (index, model) in self.clients.iter().enumerate() {
            for (_, payload) in &model.delivered {
                *counts.entry((index, payload)).or_default() += 1;
            }
        }
        let count = |index: usize, payload: &str| counts.get(&(index, payload)).copied().unwrap_or(0);
        for (_, topic, qos, payload) in &self.published {
            let total: usize = (0..CLIENTS).map(|index| count(index, payload)).sum();
            let each = (0..CLIENTS).map(|index| count(index, payload));
            match (qos, topic.starts_with('t')) {
                (0, true) => assert!(each.max().unwrap() <= 1, "QoS 0 {payload} twice"),
                (0, false) => assert!(total <= 1, "QoS 0 {payload} to several members"),
                (1, true) => assert!(each.min().unwrap() >= 1, "QoS 1 {payload} is lost"),
                (1, false) => assert!(total >= 1, "QoS 1 {payload} is lost in the group"),
                (_, true) => assert!(
                    each.clone().all(|count| count == 1),
                    "QoS 2 {payload}: {:?}",
                    each.collect::<Vec<_>>()
                ),
                (_, false) => assert_eq!(total, 1, "QoS 2 {payload} in the group"),
            }
        }
        self.check_order();
    }

    /// First deliveries of one publisher, topic and QoS keep their order.
    fn check_order(&self) {
        for model in &self.clients {
            let mut last: BTreeMap<(usize, u8), usize> = BTreeMap::new();
            let mut seen = BTreeSet::new();
            for (topic, payload) in &model.delivered {
                let number: usize = payload.parse().unwrap();
                let (publisher, _, qos, _) = &self.published[number];
                if topic.starts_with('t') && seen.insert(number) {
                    let before = last.insert((*publisher, *qos), number);
                    assert!(
                        before.is_none_or(|before| before < number),
                        "{} got {payload} too late",
                        model.name
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_are_kept_through_cuts_and_crashes(steps in prop::collection::vec(step(), 0..80)) {
        let mut history = History::new(true);
        for step in steps {
            history.step(step);
        }
        history.settle();
        history.check();
        // Sessions, and their subscriptions.
        prop_assert_eq!(history.world.disk.stored().filter(|change| !is_group(change)).count(), 4 + 4 + 3);
    }

    #[test]
    fn promises_are_kept_in_memory(steps in prop::collection::vec(step(), 0..80)) {
        let mut history = History::new(false);
        for step in steps {
            if !matches!(step, Step::Crash) {
                history.step(step);
            }
        }
        history.settle();
        history.check();
    }
}

fn is_group(change: &mqtt_broker_lite::core::Change) -> bool {
    matches!(change, mqtt_broker_lite::core::Change::Group(..))
}
