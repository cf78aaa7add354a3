//! A client: our engine, unmodified, in a shell that keeps its contract to the letter and an application that asks and
//! counts. The shell is the world's; what the application does is in `application`, its store in `store`.

mod application;
mod store;
mod stream;

use crate::oracle::{Delivered, Published};
use crate::plan::{ClientPlan, WillPlan};
use crate::scene::{Event, Scene, client_name, will_topic};
use crate::wire::{Arrival, ConnIndex, Direction, Unanswered};
use application::{Application, Seen};
use mqtt_client::{
    Aliases, ConnectOptions, Engine, Framer, Instant, Memory, PacketId, Piece, Properties, Property,
    PropertyPlace, PropertyWriter, ProtocolError, ReasonCode, ReceivedSlot, SendSlot, Settings, TopicName,
    Utf8Str, Version, Will,
};
use mqtt_packet::{Ack, Frame, PacketType, Publish};
use std::slice::IterMut;
use store::Store;

/// What a client lends to its engine and framer, for one of its lives.
#[derive(Debug)]
pub struct Lent {
    transmit: Vec<u8>,
    messages: Vec<u8>,
    send: Vec<SendSlot>,
    received: Vec<ReceivedSlot>,
    aliases: Vec<u8>,
    receive: Vec<u8>,
    topics: Vec<u8>,
}

impl Lent {
    /// As much as the plan says.
    pub fn new(plan: &ClientPlan) -> Self {
        let aliases = usize::from(plan.aliases);
        Self {
            transmit: vec![0; plan.transmit],
            messages: vec![0; plan.memory],
            send: vec![SendSlot::EMPTY; plan.slots],
            received: vec![ReceivedSlot::EMPTY; plan.slots],
            aliases: vec![0; aliases * 64],
            receive: vec![0; plan.receive],
            topics: vec![0; aliases * 32],
        }
    }
}

/// What ends with the life of a process.
struct Process<'m> {
    engine: Engine<'m>,
    framer: Framer<'m>,
    aliases: Aliases<'m>,
    /// Bytes that were read and do not fit the framer yet.
    unread: Vec<u8>,
    /// Bytes that were written and are no whole packet yet.
    said: Vec<u8>,
    /// The message whose payload is being written, and that.
    streamed: Option<(usize, Vec<u8>)>,
}

/// A client.
pub struct Client<'m> {
    number: usize,
    plan: ClientPlan,
    process: Process<'m>,
    application: Application,
    store: Store,
    /// Memory for the lives to come.
    spare: IterMut<'m, Lent>,
    life: u32,
    connection: Option<ConnIndex>,
    is_down: bool,
    /// It has nothing of a session, whatever the broker has.
    has_nothing: bool,
    away_until: u64,
    slow_until: u64,
    /// When the engine wants to be woken.
    wake_at: Option<u64>,
    next_action: usize,
    /// What its clock showed at the start of the world: it may wrap soon.
    clock: u32,
}

impl<'m> Client<'m> {
    /// A client that has not connected yet; `memory` is for its lives.
    pub fn new(number: usize, plan: ClientPlan, memory: &'m mut [Lent], scene: &mut Scene) -> Self {
        let mut spare = memory.iter_mut();
        let process = Process::new(&plan, spare.next().expect("there is memory for each life"));
        if let Some((at, _)) = plan.actions.first() {
            scene.after(*at, Event::Act(number));
        }
        let delay = scene.rng.delay(100);
        scene.after(delay, Event::Dial(number));
        Self {
            number,
            plan,
            process,
            application: Application::default(),
            store: Store::default(),
            spare,
            life: 0,
            connection: None,
            is_down: false,
            has_nothing: false,
            away_until: 0,
            slow_until: 0,
            wake_at: None,
            next_action: 0,
            clock: scene.rng.draw() as u32,
        }
    }

    fn time(&self, scene: &Scene) -> Instant {
        Instant::from_millis(self.clock.wrapping_add(scene.now as u32))
    }

    /// Its connection.
    pub const fn connection(&self) -> Option<ConnIndex> {
        self.connection
    }

    /// Whether it is connected, and nothing is left to be done.
    pub fn is_at_rest(&self) -> bool {
        let Process { engine, unread, .. } = &self.process;
        engine.is_connected()
            && engine.is_idle()
            && unread.is_empty()
            && self.application.is_at_rest()
            && self.store.is_at_rest()
    }

    /// What it still has to do, in words.
    pub fn state(&self) -> String {
        let Process { engine, unread, .. } = &self.process;
        format!(
            "{}: connected {}, idle {}, {} bytes unread, {}",
            client_name(self.number),
            engine.is_connected(),
            engine.is_idle(),
            unread.len(),
            self.application
        )
    }

    /// The message that is its will on its next connection.
    fn new_will(&self, scene: &mut Scene) -> Option<(usize, WillPlan)> {
        let number = self.number;
        self.plan.will.map(|will| {
            let message = Published {
                publisher: number,
                topic: will_topic(number),
                qos: will.qos,
                retain: false,
                size: 8,
                expiry: None,
                is_will: true,
            };
            (scene.oracle.publishes(message), will)
        })
    }

    /// Connects, if it is to.
    pub fn dial(&mut self, scene: &mut Scene) {
        let is_away = scene.now < self.away_until && !scene.is_calm;
        if self.connection.is_some() || self.is_down || is_away {
            return;
        }
        let number = self.number;
        let will = self.new_will(scene);
        let payload = will.map(|(message, _)| scene.oracle.payload(message)).unwrap_or_default();
        let mut room = [0; 8];
        let mut properties = PropertyWriter::new(PropertyPlace::WILL, &mut room);
        if let Some((_, will)) = will
            && will.delay > 0
        {
            properties.push(Property::WillDelayInterval(will.delay)).expect("it fits");
        }
        let clean_start = self.plan.clean_start || self.has_nothing;
        let options = ConnectOptions {
            clean_start,
            session_expiry_interval: self.plan.expiry,
            keep_alive: self.plan.keep_alive,
            topic_alias_maximum: self.plan.aliases,
            maximum_packet_size: self.plan.max_packet,
            will: will.map(|(_, will)| Will {
                topic: TopicName::new(will_topic(number)).expect("it is a topic"),
                payload: &payload,
                qos: will.qos,
                retain: false,
                properties: properties.finish(),
            }),
            ..ConnectOptions::new(Utf8Str::new(client_name(number)).expect("it is a string"))
        };
        let now = self.time(scene);
        self.process.framer.reset();
        self.process.unread.clear();
        self.process.said.clear();
        self.process.streamed = None;
        if let Err(error) = self.process.engine.connect(now, &options) {
            scene
                .oracle
                .broken(scene.now, "a request is refused for a reason", || format!("CONNECT: {error}"));
            return;
        }
        let index = scene.connect(number);
        let ends = self.plan.version != Version::V5 && clean_start;
        let expiry = if ends { 0 } else { self.plan.expiry };
        scene.oracle.sessions.dials(scene.now, number, index, clean_start, expiry);
        scene.connections[index].will =
            will.map(|(message, will)| (message, u64::from(will.delay.min(self.plan.expiry)) * 1000));
        self.connection = Some(index);
        self.turn(scene);
    }

    /// The next action of the plan.
    pub fn act(&mut self, scene: &mut Scene) {
        let Some(&(_, action)) = self.plan.actions.get(self.next_action) else {
            return;
        };
        self.next_action += 1;
        if let Some((at, _)) = self.plan.actions.get(self.next_action) {
            scene.after(at.saturating_sub(scene.now), Event::Act(self.number));
        }
        self.perform(action, scene);
        if !self.is_down {
            self.turn(scene);
        }
    }

    /// Leaves in order, for a while.
    fn leave(&mut self, away: u64, scene: &mut Scene) {
        let now = self.time(scene);
        if self.process.engine.disconnect(now, ReasonCode::SUCCESS, Properties::EMPTY).is_ok() {
            self.away_until = scene.now + away;
            if let Some(index) = self.connection {
                scene.oracle.sessions.lost(scene.now, self.number, index);
            }
        }
    }

    /// Loses its connection without a word, and connects again before anybody notices.
    fn take_over(&mut self, scene: &mut Scene) {
        if let Some(index) = self.connection {
            scene.cut(index, 0, 30_000);
            self.lose(scene);
            self.dial(scene);
        }
    }

    /// A deadline of the engine has come.
    pub fn wake(&mut self, scene: &mut Scene) {
        if self.wake_at != Some(scene.now) {
            return;
        }
        self.wake_at = None;
        let now = self.time(scene);
        if let Err(error) = self.process.engine.handle_timeout(now) {
            self.fail(error, scene);
        }
        self.turn(scene);
    }

    /// Something comes out of the pipe towards it.
    pub fn arrive(&mut self, index: ConnIndex, scene: &mut Scene) {
        if self.connection != Some(index) || !self.can_read(scene) {
            // It stays in the pipe.
            scene.connections[index].down.scheduled = false;
            return;
        }
        match scene.read(index, Direction::Down) {
            Arrival::Bytes(bytes) => {
                let now = self.time(scene);
                self.process.engine.heard(now);
                self.process.unread = bytes;
                self.turn(scene);
            }
            Arrival::End => self.lost(index, scene),
            Arrival::Nothing => {}
        }
    }

    fn can_read(&self, scene: &Scene) -> bool {
        let is_slow = scene.now < self.slow_until && !scene.is_calm;
        self.process.unread.is_empty() && self.process.engine.can_receive() && !is_slow
    }

    /// The connection is gone.
    pub fn lost(&mut self, index: ConnIndex, scene: &mut Scene) {
        if self.connection == Some(index) {
            scene.note(|| format!("{}: notices that the connection is gone", client_name(self.number)));
            self.lose(scene);
        }
    }

    /// Gives its connection up, whatever is still in it, and connects again later.
    fn lose(&mut self, scene: &mut Scene) {
        let Some(index) = self.connection.take() else {
            return;
        };
        scene.close(index, Direction::Up);
        scene.oracle.sessions.lost(scene.now, self.number, index);
        self.process.engine.handle_closed();
        self.process.unread.clear();
        self.application.connection_lost();
        let longest = if scene.is_calm { 100 } else { 3000 };
        let back_off = (100 + scene.rng.delay(longest)).max(self.away_until.saturating_sub(scene.now));
        scene.after(if scene.is_calm { 200 } else { back_off }, Event::Dial(self.number));
        self.turn(scene);
    }

    /// The engine ended the connection: it says its last words, once, and goes.
    fn fail(&mut self, error: ProtocolError, scene: &mut Scene) {
        match error {
            // What a network that breaks looks like.
            ProtocolError::ConnectTimeout | ProtocolError::KeepAlive => {}
            // Its memory is full of messages that the broker has forgotten: it begins anew.
            ProtocolError::ReceiveMaximum if scene.oracle.is_undone => {
                self.has_nothing = true;
                scene.oracle.sessions.is_void(self.number);
            }
            // CONNACK of an earlier attempt did not arrive: what is known of that session is nothing.
            ProtocolError::UnknownSession => self.has_nothing = true,
            _ => scene.oracle.broken(scene.now, "the broker keeps to the protocol", || {
                format!("{}: {error} [{}]", client_name(self.number), error.rule(self.plan.version))
            }),
        }
        scene.note(|| format!("{}: {error}", client_name(self.number)));
        self.transmit(scene);
        self.lose(scene);
    }

    /// What follows from whatever happened: the contract of a shell.
    fn turn(&mut self, scene: &mut Scene) {
        loop {
            self.drain(scene);
            self.stream_again(scene);
            self.ask(scene);
            self.drain(scene);
            let wrote = self.transmit(scene);
            self.drain(scene);
            let read = self.read(scene);
            if !wrote && !read {
                break;
            }
        }
        if self.process.engine.wants_close() {
            self.lose(scene);
            return;
        }
        if let Some(index) = self.connection
            && self.can_read(scene)
        {
            scene.carry(index, Direction::Down);
        }
        self.store.sync(self.number, self.life, scene);
        self.set_alarm(scene);
    }

    fn set_alarm(&mut self, scene: &mut Scene) {
        let now = self.time(scene);
        let next =
            self.process.engine.next_timeout().map(|next| scene.now + u64::from(next.since(now).as_millis()));
        if next != self.wake_at {
            self.wake_at = next;
            if let Some(next) = next {
                scene.after(next - scene.now, Event::ClientWake(self.number));
            }
        }
    }

    /// Writes what there is to write; true if something went.
    fn transmit(&mut self, scene: &mut Scene) -> bool {
        let now = self.time(scene);
        let Some(index) = self.connection else {
            return false;
        };
        let mut went = false;
        loop {
            let bytes = self.process.engine.transmit();
            if bytes.is_empty() {
                if !self.write_payload(index, scene) {
                    return went;
                }
                went = true;
                self.watch(index, scene);
                continue;
            }
            let n = scene.write(index, Direction::Up, bytes);
            if n == 0 {
                return went;
            }
            went = true;
            self.process.said.extend_from_slice(&bytes[..n]);
            self.process.engine.transmitted(now, n);
            self.watch(index, scene);
        }
    }

    /// Shows the oracle what it acknowledges.
    fn watch(&mut self, index: ConnIndex, scene: &mut Scene) {
        let mut rest = &self.process.said[..];
        while let Ok(Some((frame, behind))) = Frame::split(rest) {
            rest = behind;
            if matches!(frame.packet_type(), PacketType::PubAck | PacketType::PubRec | PacketType::PubComp)
                && let Ok(ack) = Ack::decode(frame, self.plan.version)
                && !scene.connections[index].unanswered.answer(&ack)
            {
                scene.oracle.broken(scene.now, Unanswered::PROMISE, || {
                    format!("{}: {ack:?}", client_name(self.number))
                });
            }
        }
        let seen = self.process.said.len() - rest.len();
        self.process.said.drain(..seen);
    }

    /// Lets the engine see what was read; true if it saw something.
    fn read(&mut self, scene: &mut Scene) -> bool {
        let mut saw = false;
        while self.connection.is_some() && self.process.engine.can_receive() {
            match self.process.framer.ready() {
                Ok(true) => {}
                Ok(false) if self.process.unread.is_empty() => break,
                Ok(false) => {
                    let Process { framer, unread, .. } = &mut self.process;
                    let spare = framer.spare();
                    let n = spare.len().min(unread.len());
                    spare[..n].copy_from_slice(&unread[..n]);
                    framer.filled(n);
                    unread.drain(..n);
                    continue;
                }
                Err(error) => {
                    let error = self.process.engine.handle_malformed(error);
                    self.fail(error, scene);
                    return true;
                }
            }
            saw = true;
            let now = self.time(scene);
            let Process { engine, framer, aliases, .. } = &mut self.process;
            let Some(piece) = framer.next() else { break };
            let delivery = match &piece {
                Piece::Packet(frame) if frame.packet_type() == PacketType::Publish => {
                    Publish::decode(*frame, self.plan.version).ok().map(|publish| publish.delivery)
                }
                Piece::PublishStart(head) => Some(head.publish.delivery),
                _ => None,
            };
            if let (Some(delivery), Some(index)) = (delivery, self.connection) {
                scene.connections[index].unanswered.publish(delivery);
            }
            if let Piece::Packet(frame) = piece {
                let way = || format!("broker -> {}", client_name(self.number));
                scene.note_packet(way, frame, self.plan.version);
                self.application.hear(frame, self.plan.version, scene);
            }
            match engine.handle(now, piece, aliases).map(Seen::from) {
                Ok(seen) => self.see(seen, scene),
                Err(error) => {
                    self.fail(error, scene);
                    return true;
                }
            }
            self.drain(scene);
        }
        saw
    }

    /// It loses everything but what its store has.
    pub fn crash(&mut self, millis: u64, scene: &mut Scene) {
        let Some(lent) = self.spare.next() else {
            return;
        };
        scene.note(|| format!("{}: crashes", client_name(self.number)));
        scene.oracle.figures.crashes += 1;
        self.is_down = true;
        self.life += 1;
        self.wake_at = None;
        if let Some(index) = self.connection.take() {
            scene.cut(index, 0, 10_000);
            scene.connections[index].client_has_it = false;
        }
        self.process = Process::new(&self.plan, lent);
        let kept = self.store.crash(&mut scene.rng);
        for delivered in kept {
            scene.oracle.delivered(&delivered);
        }
        if !self.plan.durable {
            self.has_nothing = true;
            scene.oracle.sessions.is_void(self.number);
        }
        self.application.crashed(&self.store, scene);
        for (key, record) in self.store.records() {
            if let Err(error) = self.process.engine.restore(key, record) {
                scene
                    .oracle
                    .broken(scene.now, "a store gives back what it got", || format!("{key}: {error}"));
            }
        }
        scene.after(millis, Event::Restart(self.number));
    }

    /// It is back.
    pub fn restart(&mut self, scene: &mut Scene) {
        if self.is_down {
            self.is_down = false;
            self.dial(scene);
        }
    }

    /// It stops reading for a while.
    pub fn slow_down(&mut self, millis: u64, scene: &mut Scene) {
        self.slow_until = scene.now + millis;
        scene.after(millis, Event::ReadAgain(self.number));
    }

    /// It goes on: reads again, or writes again because there is room.
    pub fn go_on(&mut self, scene: &mut Scene) {
        if !self.is_down {
            self.turn(scene);
        }
    }

    /// Its store has synced.
    pub fn store_synced(&mut self, life: u32, scene: &mut Scene) {
        if life != self.life {
            return;
        }
        for delivered in self.store.synced() {
            scene.oracle.delivered(&delivered);
        }
        if self.store.is_at_rest() {
            self.process.engine.synced();
        }
        self.turn(scene);
    }

    /// Hands a message to the application, at once, or together with what the store has to keep for it.
    fn count(&mut self, delivered: Delivered, id: Option<PacketId>, scene: &mut Scene) {
        scene.note(|| {
            let number = crate::oracle::number_of(&delivered.payload).map(|number| number.to_string());
            let number = number.as_deref().unwrap_or("without a number");
            let id = id.map(|id| format!(" under id {}", id.get())).unwrap_or_default();
            format!("{}: accepts message {number}{id}", client_name(self.number))
        });
        match id.filter(|_| self.plan.durable && delivered.qos == mqtt_client::QoS::ExactlyOnce) {
            Some(id) => self.store.expect(id, delivered),
            None => scene.oracle.delivered(&delivered),
        }
    }
}

impl<'m> Process<'m> {
    fn new(plan: &ClientPlan, lent: &'m mut Lent) -> Self {
        let settings = Settings {
            manual_acknowledgement: plan.manual,
            durable: plan.durable,
            assume_session: plan.durable,
            ..Settings::new(plan.version)
        };
        let memory = Memory {
            transmit: &mut lent.transmit,
            messages: &mut lent.messages,
            send: &mut lent.send,
            received: &mut lent.received,
            aliases: &mut lent.aliases,
        };
        Self {
            engine: Engine::new(memory, settings),
            framer: Framer::new(&mut lent.receive, plan.version),
            aliases: Aliases::new(&mut lent.topics, plan.aliases),
            unread: Vec::new(),
            said: Vec::new(),
            streamed: None,
        }
    }
}
