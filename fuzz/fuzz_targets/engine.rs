//! Any server: whatever bytes it sends, in whatever pieces, and whatever the application does meanwhile, the engine says
//! only valid packets, names what was wrong, ends every request once, and is free for the next connection.
//!
//! Input: how the engine is set up, as `Arbitrary` makes it, then what happens, one `Op` after the other.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_client::mqtt_packet::{AckKind, Frame, Packet, PacketType, Role, SliceSink};
use mqtt_client::*;

const SLOTS: usize = 4;
/// The longest payload that is streamed, so that an input stays quick.
const LONGEST: u32 = 200;

#[derive(Arbitrary, Debug)]
struct Setup {
    version: Version,
    manual: bool,
    durable: bool,
    assume_session: bool,
    strict: bool,
    transmit: u8,
    messages: u8,
    aliases: u8,
    receive: u8,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Connect {
        clean: bool,
        expiry: u32,
        keep_alive: u16,
        maximum: u8,
        aliases: u8,
        method: bool,
    },
    /// The server accepts, with nothing to say but whether it has the session.
    Accepted(bool),
    /// The server sends a valid packet, in pieces of so many bytes.
    Packet(u8),
    /// The server acknowledges, rightly or not.
    Acknowledged {
        kind: u8,
        id: u8,
        code: u8,
    },
    /// The server sends any bytes.
    Bytes(u8),
    Publish {
        qos: u8,
        retain: bool,
        len: u8,
    },
    Stream {
        qos: u8,
        len: u8,
    },
    Subscribe(u8),
    Unsubscribe,
    Accept(u8),
    Authenticate(bool),
    /// The transport takes up to so many bytes.
    Transmit(u8),
    Sleep(u16),
    Disconnect(u8),
    Cut,
}

fuzz_target!(|data: &[u8]| {
    // An input that ends too early is no finding.
    let _ = run(&mut Unstructured::new(data));
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let setup: Setup = input.arbitrary()?;
    let mut transmit = [0; 64 + 255];
    let mut messages = [0; 64 + 255];
    let (mut send, mut received) = ([SendSlot::EMPTY; SLOTS], [ReceivedSlot::EMPTY; SLOTS]);
    let (mut to_server, mut from_server) = ([0; 255], [0; 255]);
    let mut receive = [0; 16 + 255];
    let memory = Memory {
        transmit: &mut transmit[..64 + usize::from(setup.transmit)],
        messages: &mut messages[..64 + usize::from(setup.messages)],
        send: &mut send,
        received: &mut received,
        aliases: &mut to_server[..usize::from(setup.aliases)],
    };
    let settings = Settings {
        manual_acknowledgement: setup.manual,
        durable: setup.durable,
        assume_session: setup.assume_session,
        ..Settings::new(setup.version)
    };
    let receive = &mut receive[..16 + usize::from(setup.receive)];
    let mut world = World {
        engine: Engine::new(memory, settings),
        framer: Framer::new(receive, setup.version).with_strict(setup.strict),
        aliases: Aliases::new(&mut from_server, 4),
        version: setup.version,
        now: Instant::from_millis(u32::MAX - 100_000),
        open: Vec::new(),
        receipts: Vec::new(),
        said: Vec::new(),
        answers: Vec::new(),
    };
    while !input.is_empty() {
        let Ok(op) = input.arbitrary() else { break };
        if world.apply(&op, input).is_err() {
            break;
        }
        world.drain();
    }
    world.settle();
    Ok(())
}

struct World<'b> {
    engine: Engine<'b>,
    framer: Framer<'b>,
    aliases: Aliases<'b>,
    version: Version,
    now: Instant,
    /// Requests without an outcome.
    open: Vec<Ticket>,
    receipts: Vec<Receipt>,
    /// What was transmitted on this connection and is no whole packet yet.
    said: Vec<u8>,
    /// What an honest server would have answered on this connection.
    answers: Vec<u8>,
}

impl World<'_> {
    fn apply(&mut self, op: &Op, input: &mut Unstructured<'_>) -> Result<()> {
        match *op {
            Op::Connect { .. } => self.connect(op),
            Op::Accepted(present) => self.accepted(present),
            Op::Packet(piece) => {
                let packet = Packet::arbitrary_of(self.version, input)?;
                let mut bytes = vec![0; packet.encoded_len(self.version)];
                packet.encode(self.version, &mut SliceSink::new(&mut bytes)).expect("a valid packet");
                self.receive(&bytes, piece);
            }
            Op::Acknowledged { kind, id, code } => {
                let first = [0x40, 0x50, 0x62, 0x70][usize::from(kind) % 4];
                match self.version {
                    Version::V5 if code != 0 => self.receive(&[first, 3, 0, id % 8, code], 9),
                    _ => self.receive(&[first, 2, 0, id % 8], 9),
                }
            }
            Op::Bytes(piece) => {
                let len = usize::from(input.arbitrary::<u8>()?).min(input.len());
                self.receive(input.bytes(len)?, piece);
            }
            Op::Accept(at) => self.accept(at.into()),
            Op::Authenticate(again) => self.authenticate(again),
            Op::Transmit(n) => self.transmit(n.into()),
            Op::Sleep(millis) => self.sleep(millis),
            Op::Disconnect(code) => {
                let _ = self.engine.disconnect(self.now, ReasonCode(code), Properties::EMPTY);
            }
            Op::Cut => self.cut(),
            _ => self.request(op),
        }
        Ok(())
    }

    fn connect(&mut self, op: &Op) {
        let Op::Connect { clean, expiry, keep_alive, maximum, aliases, method } = *op else { return };
        let mut block = [0; 8];
        let mut properties = PropertyWriter::new(PropertyPlace::of(PacketType::Connect), &mut block);
        if method && self.version == Version::V5 {
            properties.push(Property::AuthenticationMethod("m".try_into().unwrap())).unwrap();
        }
        let options = ConnectOptions {
            clean_start: clean,
            session_expiry_interval: expiry,
            keep_alive,
            maximum_packet_size: maximum.into(),
            topic_alias_maximum: u16::from(aliases) % 5,
            properties: properties.finish(),
            ..ConnectOptions::new("c".try_into().unwrap())
        };
        let _ = self.engine.connect(self.now, &options);
    }

    /// What ends with an outcome.
    fn request(&mut self, op: &Op) {
        let topic = |number: u8| ["t", "a/b", "long/topic/name"][usize::from(number) % 3];
        let ticket = match *op {
            Op::Publish { qos, retain, len } => {
                let payload = [0x70; 255];
                self.engine.publish(&Message { retain, ..message(topic(len), &payload[..len.into()], qos) })
            }
            Op::Stream { qos, len } => {
                self.engine.begin_publish(&message(topic(len), b"", qos), u32::from(len) % LONGEST)
            }
            Op::Subscribe(number) => {
                let wanted = SubscribeFilter {
                    filter: topic(number).try_into().unwrap(),
                    options: SubscribeOptions::new(qos(number)),
                };
                let filters = [wanted; 3];
                self.engine.subscribe(&filters[..usize::from(number) % 3 + 1], Properties::EMPTY)
            }
            _ => self.engine.unsubscribe(&["t".try_into().unwrap()], Properties::EMPTY),
        };
        if let Ok(ticket) = ticket {
            assert!(!self.open.contains(&ticket), "{ticket:?} stands for two requests");
            self.open.push(ticket);
        }
    }

    fn authenticate(&mut self, again: bool) {
        let code = if again { ReasonCode::RE_AUTHENTICATE } else { ReasonCode::CONTINUE_AUTHENTICATION };
        let mut block = [0; 8];
        let mut properties = PropertyWriter::new(PropertyPlace::of(PacketType::Auth), &mut block);
        properties.push(Property::AuthenticationMethod("m".try_into().unwrap())).unwrap();
        let _ = self.engine.auth(self.now, code, properties.finish());
    }

    fn sleep(&mut self, millis: u16) {
        self.now = self.now.after(Duration::from_millis(millis.into()));
        let due = self.engine.next_timeout().is_some_and(|due| self.now.is_at_or_after(due));
        if let Err(error) = self.engine.handle_timeout(self.now) {
            assert!(due, "{error} before the time");
            self.failed(error);
        }
    }

    /// What every input is followed by.
    fn drain(&mut self) {
        if self.engine.wants_close() {
            self.cut();
        }
        while let Some(_change) = self.engine.poll_change() {}
        self.engine.synced();
        while let Some((ticket, _)) = self.engine.poll_completion() {
            let at = self.open.iter().position(|open| *open == ticket);
            self.open.remove(at.unwrap_or_else(|| panic!("{ticket:?} ends twice")));
        }
    }

    fn accepted(&mut self, present: bool) {
        match self.version {
            Version::V5 => self.receive(&[0x20, 3, present.into(), 0, 0], 9),
            // 3.1 has no such flag.
            Version::V3_1 => self.receive(&[0x20, 2, 0, 0], 9),
            _ => self.receive(&[0x20, 2, present.into(), 0], 9),
        }
    }

    /// Bytes of the server, so many at a time.
    fn receive(&mut self, bytes: &[u8], piece: u8) {
        for bytes in bytes.chunks(usize::from(piece) + 1) {
            let mut rest = bytes;
            while !rest.is_empty() && !self.engine.is_disconnected() {
                let spare = self.framer.spare();
                let len = spare.len().min(rest.len());
                let (now, later) = rest.split_at(len);
                spare[..len].copy_from_slice(now);
                self.framer.filled(len);
                self.engine.heard(self.now);
                rest = later;
                if !self.handle_pieces() {
                    return;
                }
                self.drain();
            }
        }
    }

    /// Hands over what is ready; false where that is the end of the connection, or nothing more can be taken.
    fn handle_pieces(&mut self) -> bool {
        loop {
            match self.framer.ready() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => {
                    let error = self.engine.handle_malformed(error);
                    self.failed(error);
                    return false;
                }
            }
            for at in 0.. {
                if self.engine.can_receive() {
                    break;
                }
                // Room for the answer, or an application that accepts what it has.
                self.transmit(usize::MAX);
                self.accept(0);
                if at > 2 * SLOTS || self.engine.is_disconnected() {
                    self.cut();
                    return false;
                }
            }
            let piece = self.framer.next().expect("something is ready");
            match self.engine.handle(self.now, piece, &mut self.aliases) {
                Ok(Some(Event::Message { receipt, .. } | Event::Chunk { receipt, .. })) => {
                    self.receipts.extend(receipt);
                }
                Ok(_) => {}
                Err(error) => {
                    self.failed(error);
                    return false;
                }
            }
            if self.engine.wants_close() {
                self.cut();
                return false;
            }
        }
    }

    /// The peer broke a rule, which has a name; the last words are written, and that is the end.
    fn failed(&mut self, error: ProtocolError) {
        assert!(!error.rule(self.version).is_empty());
        assert!(error.reason_code().is_error(), "{error}");
        self.transmit(usize::MAX);
        self.cut();
    }

    fn cut(&mut self) {
        self.framer.reset();
        self.engine.handle_closed();
        assert!(self.engine.is_disconnected() && self.engine.transmit().is_empty());
        assert_eq!(self.engine.next_timeout(), None);
        self.said.clear();
        self.answers.clear();
        while let Some((ticket, _)) = self.engine.poll_completion() {
            self.open.retain(|open| *open != ticket);
        }
        assert!(
            self.open.iter().all(|open| open.packet_id().is_some()),
            "a message of QoS 0 waits for nothing"
        );
    }

    fn accept(&mut self, at: usize) {
        if at < self.receipts.len() {
            let _ = self.engine.accept(self.receipts.remove(at), ReasonCode::SUCCESS);
        }
    }

    /// The transport takes up to `n` bytes.
    fn transmit(&mut self, n: usize) {
        let mut left = n;
        while left > 0 {
            let payload = self.engine.payload_left() as usize;
            if payload > 0 {
                let n = payload.min(left);
                self.said.resize(self.said.len() + n, 0x70);
                self.engine.payload_written(self.now, n);
                left -= n;
                continue;
            }
            if self.engine.payload_wanted().is_some() {
                let _ = self.engine.resume_payload();
            }
            let bytes = self.engine.transmit();
            if bytes.is_empty() && self.engine.payload_left() == 0 {
                break;
            }
            let bytes = self.engine.transmit();
            let n = bytes.len().min(left);
            self.said.extend_from_slice(&bytes[..n]);
            self.engine.transmitted(self.now, n);
            left -= n;
        }
        self.check_said();
    }

    /// All that was said are packets that a client may send.
    fn check_said(&mut self) {
        let said = std::mem::take(&mut self.said);
        let mut rest = &said[..];
        while let Some((frame, behind)) = Frame::split(rest).expect("a client writes frames") {
            let packet = Packet::decode(frame, self.version).expect("a client writes valid packets");
            packet.check_sender(Role::Client, self.version).expect("a client writes a client's packets");
            answer(&packet, self.version, &mut self.answers);
            rest = behind;
        }
        self.said = rest.to_vec();
    }

    /// After all that an honest server comes, which has lost the session, and everything ends.
    fn settle(&mut self) {
        self.cut();
        self.drain();
        let options = ConnectOptions { keep_alive: 0, ..ConnectOptions::new("c".try_into().unwrap()) };
        self.engine.connect(self.now, &options).expect("there is no connection, and room for CONNECT");
        self.transmit(usize::MAX);
        self.accepted(false);
        assert!(self.engine.is_connected());
        for _ in 0..8 * SLOTS {
            self.transmit_and_answer();
            self.drain();
        }
        assert!(self.open.is_empty(), "without outcome: {:?}", self.open);
        assert!(self.engine.is_idle());
        // All memory is free again.
        for _ in 0..SLOTS {
            self.engine.publish(&message("t", b"", 1)).expect("a free slot");
        }
    }

    fn transmit_and_answer(&mut self) {
        if self.engine.payload_wanted().is_some() {
            let _ = self.engine.resume_payload();
        }
        let n = self.engine.payload_left() as usize;
        self.said.resize(self.said.len() + n, 0x70);
        self.engine.payload_written(self.now, n);
        let bytes = self.engine.transmit();
        let n = bytes.len();
        self.said.extend_from_slice(bytes);
        self.engine.transmitted(self.now, n);
        self.check_said();
        // More of them may come while these are received, where room has to be made for what they want.
        let answers = std::mem::take(&mut self.answers);
        self.receive(&answers, u8::MAX);
        assert!(self.engine.is_connected(), "an honest server was left");
    }
}

fn qos(number: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(number) % 3]
}

fn message<'a>(topic: &'a str, payload: &'a [u8], number: u8) -> Message<'a> {
    Message::new(topic.try_into().unwrap(), payload).with_qos(qos(number))
}

/// What an honest server says to this packet.
fn answer(packet: &Packet<'_>, version: Version, answers: &mut Vec<u8>) {
    let mut ack = |first: u8, id: PacketId, codes: &[u8]| {
        let properties: &[u8] = if version == Version::V5 && !codes.is_empty() { &[0] } else { &[] };
        answers.extend([first, (2 + properties.len() + codes.len()) as u8]);
        answers.extend(id.get().to_be_bytes());
        answers.extend(properties);
        answers.extend(codes);
    };
    match packet {
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => ack(0x40, id, &[]),
            Delivery::ExactlyOnce { id, .. } => ack(0x50, id, &[]),
        },
        Packet::Ack(release) if release.kind == AckKind::PubRel => ack(0x70, release.id, &[]),
        _ => {}
    }
}
