//! The blocking client over a network in memory: any pieces, any faults, and bounded waits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use mqtt_client::mqtt_packet::{Ack, AckKind, ConnAck, Frame, Packet, Publish, SliceSink, SubAck};
use mqtt_client::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

const WAIT: Duration = Duration::from_secs(5);

/// Time that passes with every wait.
#[derive(Clone, Default)]
struct Clock(Rc<Cell<u32>>);

impl Timer for Clock {
    fn now(&mut self) -> Instant {
        Instant::from_millis(self.0.get())
    }
}

/// A server in memory that answers everything, and echoes messages.
#[derive(Default)]
struct Wire {
    to_client: VecDeque<u8>,
    from_client: Vec<u8>,
    /// The payloads that came.
    taken: Vec<Vec<u8>>,
    closed: bool,
    /// How often it was read from and written to.
    reads: usize,
    writes: usize,
    mute: bool,
    subscribed: bool,
    echo_id: u16,
}

impl Wire {
    fn send(&mut self, packet: &Packet<'_>) {
        let mut buffer = vec![0; 4096];
        let mut out = SliceSink::new(&mut buffer);
        packet.encode(Version::V3_1_1, &mut out).unwrap();
        self.to_client.extend(out.written());
    }

    fn serve(&mut self) {
        let bytes = std::mem::take(&mut self.from_client);
        let mut rest = &bytes[..];
        while let Some((frame, behind)) = Frame::split(rest).unwrap() {
            if !self.mute {
                self.answer(&Packet::decode(frame, Version::V3_1_1).unwrap());
            }
            rest = behind;
        }
        self.from_client = rest.to_vec();
    }

    fn answer(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(_) => self.send(&Packet::ConnAck(ConnAck::new(false, ReasonCode::SUCCESS))),
            Packet::Subscribe(subscribe) => {
                self.subscribed = true;
                self.send(&Packet::SubAck(SubAck::new(subscribe.id, &[2])));
            }
            Packet::Publish(publish) => {
                self.taken.push(publish.payload.to_vec());
                if let Some(id) = publish.delivery.id() {
                    let exactly_once = publish.delivery.qos() == QoS::ExactlyOnce;
                    let kind = if exactly_once { AckKind::PubRec } else { AckKind::PubAck };
                    self.send(&Packet::Ack(Ack::new(kind, id)));
                }
                if self.subscribed {
                    self.echo_id += 1;
                    let id = PacketId::new(self.echo_id).unwrap();
                    let delivery = Delivery::ExactlyOnce { id, dup: false };
                    self.send(&Packet::Publish(Publish { delivery, ..*publish }));
                }
            }
            Packet::Ack(ack) => match ack.kind {
                AckKind::PubRel => self.send(&Packet::Ack(Ack::new(AckKind::PubComp, ack.id))),
                AckKind::PubRec => self.send(&Packet::Ack(Ack::new(AckKind::PubRel, ack.id))),
                _ => {}
            },
            Packet::PingReq(_) => self.to_client.extend([0xD0, 0]),
            _ => {}
        }
    }
}

#[derive(Clone, Default)]
struct Memory1 {
    wire: Rc<RefCell<Wire>>,
    clock: Clock,
}

impl Network for Memory1 {
    type Error = &'static str;

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, &'static str> {
        let mut wire = self.wire.borrow_mut();
        wire.reads += 1;
        wire.serve();
        if wire.to_client.is_empty() {
            self.clock.0.set(self.clock.0.get().wrapping_add(timeout.as_millis().max(1)));
            return Ok(0);
        }
        let n = wire.to_client.len().min(buffer.len());
        for place in &mut buffer[..n] {
            *place = wire.to_client.pop_front().unwrap();
        }
        Ok(n)
    }

    fn write(&mut self, bytes: &[u8], _: Duration) -> Result<usize, &'static str> {
        let mut wire = self.wire.borrow_mut();
        if wire.closed {
            return Err("closed");
        }
        wire.writes += 1;
        wire.from_client.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn close(&mut self) {
        self.wire.borrow_mut().closed = true;
    }
}

type Blocking = Client<'static, Faulty<Memory1>, Clock>;

fn client(faults: Faults) -> (Blocking, Memory1) {
    let network = Memory1::default();
    network.clock.0.set(u32::MAX - 3_000);
    let memory = Memory {
        transmit: vec![0; 200].leak(),
        messages: vec![0; 1000].leak(),
        send: vec![SendSlot::EMPTY; 8].leak(),
        received: vec![ReceivedSlot::EMPTY; 8].leak(),
        aliases: &mut [],
    };
    let client = Client::new(
        Faulty::new(network.clone(), faults),
        network.clock.clone(),
        memory,
        vec![0; 256].leak(),
        Aliases::none(),
        Settings::new(Version::V3_1_1),
    );
    (client, network)
}

fn options() -> ConnectOptions<'static> {
    ConnectOptions::new("blocking".try_into().unwrap())
}

fn message(payload: &[u8], qos: QoS) -> Message<'_> {
    Message::new("t".try_into().unwrap(), payload).with_qos(qos)
}

/// Connects, subscribes, publishes at every QoS and waits for the echoes.
fn everything(client: &mut Blocking) {
    client.connect(&options(), WAIT).unwrap();
    let wanted =
        SubscribeFilter { filter: "t".try_into().unwrap(), options: SubscribeOptions::new(QoS::ExactlyOnce) };
    let ticket = client.subscribe(&[wanted]).unwrap();
    let outcome = client.wait(ticket, WAIT, |_, _| ()).unwrap();
    assert_eq!(outcome, Outcome::Answered(ReasonCode::GRANTED_QOS_2));
    let mut echoes = Vec::new();
    for (payload, qos) in [(b"0", QoS::AtMostOnce), (b"1", QoS::AtLeastOnce), (b"2", QoS::ExactlyOnce)] {
        let outcome = client
            .publish_and_wait(&message(payload, qos), WAIT, |event, _| {
                if let Event::Message { publish, .. } = event {
                    echoes.push(publish.payload.to_vec());
                }
            })
            .unwrap();
        assert!(outcome.is_success());
    }
    while echoes.len() < 3 {
        let (publish, _) = client.recv_timeout(WAIT).unwrap().expect("an echo");
        echoes.push(publish.payload.to_vec());
    }
    assert_eq!(echoes, [b"0", b"1", b"2"]);
    client.disconnect(WAIT).unwrap();
}

#[test]
fn everything_works_in_any_pieces() {
    for split in [0, 1, 2, 3, 7] {
        for delay in [0, 128, 250] {
            for seed in 1..20 {
                let (mut client, network) = client(Faults { seed, split, delay, ..Faults::NONE });
                everything(&mut client);
                assert!(network.wire.borrow().closed);
                assert_eq!(network.wire.borrow().taken, [b"0", b"1", b"2"]);
            }
        }
    }
}

/// Cut at each byte of the whole conversation, the client reports it, and goes on over another network.
#[test]
fn a3_21_a_cut_at_any_byte_is_an_error_once_and_the_next_network_works() {
    let (mut whole, _) = client(Faults::NONE);
    everything(&mut whole);
    let length = whole.network().moved();
    assert!(length > 100);
    for cut in 0..length {
        let (mut client, network) = client(Faults { cut_after: Some(cut), ..Faults::NONE });
        let mut errors = 0;
        if client.connect(&options(), WAIT).is_err() {
            errors += 1;
        }
        let ticket = client.publish(&message(b"x", QoS::AtLeastOnce)).ok();
        let mut outcomes = 0;
        let mut count = |event: Event<'_>| {
            outcomes += u32::from(matches!(event, Event::Completed(done, _) if Some(done) == ticket));
        };
        while client.is_connected() && errors == 0 {
            match client.publish_and_wait(&message(b"y", QoS::ExactlyOnce), WAIT, |event, _| count(event)) {
                Ok(_) => {}
                Err(ClientError::Network(FaultError::Cut)) => errors += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!client.is_connected());
        network.wire.replace(Wire::default());
        let fresh = Faulty::new(network.clone(), Faults::NONE);
        client.reconnect(fresh, &options(), WAIT).unwrap();
        let deadline = Instant::from_millis(network.clock.0.get()).after(WAIT);
        let happened = client.run_until(deadline, |event, _| {
            count(event);
            None::<()>
        });
        assert_eq!(happened, Ok(None));
        assert_eq!(outcomes, u32::from(ticket.is_some()), "cut at {cut}");
        everything(&mut client_after(client));
    }
}

/// The same client, disconnected in good order.
fn client_after(mut client: Blocking) -> Blocking {
    client.disconnect(WAIT).unwrap();
    let network = Memory1::default();
    let clock = network.clock.clone();
    clock.0.set(7);
    let faults = Faults::NONE;
    let memory = Memory {
        transmit: vec![0; 200].leak(),
        messages: vec![0; 1000].leak(),
        send: vec![SendSlot::EMPTY; 8].leak(),
        received: vec![ReceivedSlot::EMPTY; 8].leak(),
        aliases: &mut [],
    };
    let settings = Settings::new(Version::V3_1_1);
    Client::new(Faulty::new(network, faults), clock, memory, vec![0; 256].leak(), Aliases::none(), settings)
}

#[test]
fn a1_3_every_wait_ends() {
    // A server that is silent from the start.
    let (mut client, network) = client(Faults::NONE);
    network.wire.borrow_mut().mute = true;
    let start = network.clock.0.get();
    assert_eq!(client.connect(&options(), WAIT).unwrap_err(), ClientError::Timeout);
    assert_eq!(network.clock.0.get().wrapping_sub(start), 5_000);
    assert!(!client.is_connected() && network.wire.borrow().closed);
    // The engine's own patience is shorter than the caller's.
    network.wire.replace(Wire { mute: true, ..Wire::default() });
    let error = client.connect(&options(), Duration::from_secs(60)).unwrap_err();
    assert_eq!(error, ClientError::Protocol(ProtocolError::ConnectTimeout));
    // A server that falls silent later.
    network.wire.replace(Wire::default());
    client.connect(&options(), WAIT).unwrap();
    network.wire.borrow_mut().mute = true;
    let ticket = client.publish(&message(b"x", QoS::AtLeastOnce)).unwrap();
    assert_eq!(client.wait(ticket, WAIT, |_, _| ()).unwrap_err(), ClientError::Timeout);
    assert!(client.is_connected(), "nothing is lost by waiting");
    assert!(client.recv_timeout(WAIT).unwrap().is_none());
    assert!(client.try_recv().unwrap().is_none());
    network.wire.borrow_mut().mute = false;
    network.wire.borrow_mut().to_client.extend([0x40, 2, 0, 1]);
    assert!(client.wait(ticket, WAIT, |_, _| ()).unwrap().is_success());
    network.wire.borrow_mut().mute = true;
    let error = client.wait(ticket, Duration::from_secs(600), |_, _| ()).unwrap_err();
    assert_eq!(error, ClientError::Protocol(ProtocolError::KeepAlive));
    assert_eq!(client.poll(WAIT).unwrap_err(), ClientError::Request(RequestError::NotConnected));
}

#[test]
fn a3_20_a_deadline_in_the_middle_of_a_packet_loses_nothing() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options(), WAIT).unwrap();
    for byte in [0x30, 5, 0, 1, b't', b'h'] {
        network.wire.borrow_mut().to_client.push_back(byte);
        assert!(client.recv_timeout(Duration::from_millis(20)).unwrap().is_none());
    }
    network.wire.borrow_mut().to_client.push_back(b'i');
    let (publish, _) = client.recv_timeout(WAIT).unwrap().unwrap();
    assert_eq!(publish.payload, b"hi");
}

/// What is there, waited for at most so long, or together with whatever else happens.
#[test]
fn a4_39_a_message_is_asked_for_waited_for_or_polled() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options(), WAIT).unwrap();
    let now = || network.clock.0.get();
    let arrive = || network.wire.borrow_mut().to_client.extend([0x30, 5, 0, 1, b't', b'h', b'i']);
    let start = now();
    assert!(client.try_recv().unwrap().is_none());
    assert!(now().wrapping_sub(start) <= 1, "nothing was waited for");
    assert!(client.recv_timeout(Duration::from_millis(500)).unwrap().is_none());
    assert!((500..=501).contains(&now().wrapping_sub(start)));
    arrive();
    let Some((Event::Message { publish, .. }, _)) = client.try_recv().unwrap() else { panic!("a message") };
    assert_eq!(publish.payload, b"hi");
    arrive();
    assert_eq!(client.recv_timeout(WAIT).unwrap().unwrap().0.payload, b"hi");
    arrive();
    let Some((Event::Message { publish, .. }, _)) = client.poll(WAIT).unwrap() else { panic!("a message") };
    assert_eq!(publish.payload, b"hi");
}

#[test]
fn a1_1_a_message_is_answered_while_it_is_held() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options(), WAIT).unwrap();
    network.wire.borrow_mut().to_client.extend([0x30, 7, 0, 1, b't', b'p', b'i', b'n', b'g']);
    if let Some((Event::Message { publish, .. }, engine)) = client.poll(WAIT).unwrap() {
        engine.publish(&Message::new(publish.topic, publish.payload)).unwrap();
    }
    assert!(client.poll(WAIT).unwrap().is_some(), "the outcome of QoS 0");
    network.wire.borrow_mut().serve();
    assert_eq!(network.wire.borrow().taken, [b"ping"]);
}

/// What handles an event may ask for more, but cannot poll: it has the engine, not the client.
#[test]
fn a3_23_a_handler_publishes_and_cannot_poll() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options(), WAIT).unwrap();
    network.wire.borrow_mut().to_client.extend([0x30, 7, 0, 1, b't', b'p', b'i', b'n', b'g']);
    let mut answer = None;
    let outcome = client.publish_and_wait(&message(b"first", QoS::AtLeastOnce), WAIT, |event, engine| {
        if let Event::Message { publish, .. } = event {
            let pong = Message::new(publish.topic, b"pong").with_qos(QoS::AtLeastOnce);
            answer = Some(engine.publish(&pong).unwrap());
        }
    });
    assert!(outcome.unwrap().is_success());
    assert!(client.wait(answer.unwrap(), WAIT, |_, _| ()).unwrap().is_success());
    assert_eq!(network.wire.borrow().taken, [&b"first"[..], b"pong"]);
}

/// What is asked for together leaves together, and no packet in two parts.
#[test]
fn a3_25_whole_packets_leave_in_one_write() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options(), WAIT).unwrap();
    let writes = || network.wire.borrow().writes;
    let before = writes();
    client.publish(&message(&[7; 100], QoS::AtLeastOnce)).unwrap();
    assert_eq!(writes(), before + 1);
    for _ in 0..3 {
        client.enqueue(&message(&[7; 20], QoS::AtMostOnce)).unwrap();
    }
    assert!(client.flush(WAIT).unwrap());
    assert_eq!(writes(), before + 2);
}

/// However rarely the application asks what became of them: as many tickets as there can be are given out here.
#[test]
fn many_messages_leave_in_few_writes_where_one_outcome_is_asked_for_at_a_time() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options(), WAIT).unwrap();
    let n = 100_000;
    for _ in 0..n {
        while let Err(error) = client.enqueue(&message(&[7; 5], QoS::AtMostOnce)) {
            assert_eq!(error, ClientError::Request(RequestError::Busy));
            client.poll(WAIT).unwrap();
        }
    }
    client.flush(WAIT).unwrap();
    network.wire.borrow_mut().serve();
    assert_eq!(network.wire.borrow().taken.len(), n);
    // Ten bytes each, in a buffer of 200.
    let writes = network.wire.borrow().writes;
    assert!(writes < n / 10, "{writes}");
}

/// A quiet hour costs the pings that keep the connection alive, and no look at the network in between.
#[test]
fn a3_26_nothing_happens_between_deadlines() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options().with_keep_alive(60), WAIT).unwrap();
    let (start, reads, writes) =
        (network.clock.0.get(), network.wire.borrow().reads, network.wire.borrow().writes);
    let next = client.next_timeout().unwrap();
    assert!((30_000..60_000).contains(&next.since(Instant::from_millis(start)).as_millis()));
    let hour = Instant::from_millis(start).after(Duration::from_secs(3600));
    assert!(client.run_until(hour, |_, _| None::<()>).unwrap().is_none());
    let pings = network.wire.borrow().writes - writes;
    assert!((60..=120).contains(&pings), "{pings}");
    // One wait for each ping, and one for each answer.
    let reads = network.wire.borrow().reads - reads;
    assert!(reads <= 2 * pings + 2, "{reads}");
}

/// What one message in flight takes of a device.
#[test]
fn a3_29_slots_are_as_small_as_they_are_said_to_be() {
    assert_eq!((size_of::<SendSlot>(), size_of::<ReceivedSlot>()), (16, 4));
}

#[test]
fn a1_9_a_malformed_packet_ends_the_connection_with_its_rule() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options(), WAIT).unwrap();
    network.wire.borrow_mut().to_client.extend([0x36, 5, 0, 1, b't', 0, 1]);
    let Err(ClientError::Protocol(error)) = client.poll(WAIT) else { panic!("no error") };
    assert_eq!(error.rule(Version::V3_1_1), "MQTT-3.3.1-4");
    assert!(network.wire.borrow().closed && !client.is_connected());
}

#[test]
fn a_connection_that_looks_open_is_noticed() {
    let (mut client, network) = client(Faults::NONE);
    client.connect(&options().with_keep_alive(8), WAIT).unwrap();
    client.network().set_faults(Faults { drop_after: Some(0), ..Faults::NONE });
    let start = network.clock.0.get();
    let error = loop {
        let deadline = Instant::from_millis(network.clock.0.get()).after(Duration::from_secs(1));
        if let Err(error) = client.run_until(deadline, |_, _| None::<()>) {
            break error;
        }
        let _ = client.publish(&message(b"lost", QoS::AtMostOnce));
    };
    assert_eq!(error, ClientError::Protocol(ProtocolError::KeepAlive));
    let after = network.clock.0.get().wrapping_sub(start);
    assert!((17_000..18_500).contains(&after), "{after}");
}

#[test]
fn a_large_message_needs_no_memory() {
    let (mut client, network) = client(Faults { split: 50, delay: 20, ..Faults::NONE });
    client.connect(&options(), WAIT).unwrap();
    let payload: Vec<u8> = (0..3_000_u32).map(|i| i as u8).collect();
    assert_eq!(
        client.publish(&message(&payload, QoS::AtMostOnce)).unwrap_err(),
        ClientError::Request(RequestError::NoRoom)
    );
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let ticket = client.publish_in_place(&message(&payload, qos)).unwrap();
        assert!(client.wait(ticket, WAIT, |_, _| ()).unwrap().is_success());
    }
    assert_eq!(network.wire.borrow().taken, [&payload[..]; 3]);
}
