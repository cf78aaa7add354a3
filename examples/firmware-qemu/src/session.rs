//! The board's application: what it says and hears in one session, over two connections.

use crate::clock::Clock;
use crate::uart::Uart;
use core::convert::Infallible;
use mqtt_client::{
    Aliases, Client, ClientError, ConnectOptions, Duration, Event, Memory, Message, Outcome, ProtocolError,
    QoS, Settings, SubscribeFilter, SubscribeOptions, Ticket, Timer, TopicFilter, TopicName, Utf8Str,
    Version,
};

/// Long enough for a server on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// In seconds: after nearly so long in silence the board asks whether the server lives.
const KEEP_ALIVE: u16 = 2;
/// How long the server may take for the answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the session outlives its connection, in seconds.
const SESSION_EXPIRY: u32 = 60;

/// What can go wrong. The result is printed as it is.
#[derive(Debug)]
#[allow(dead_code)] // What is in it is read by eye.
pub enum Fault {
    /// A call of the client failed.
    Client(ClientError<Infallible>),
    /// A request was not granted.
    Outcome(Outcome),
    /// The server resumed a session, or did not, against what was expected.
    SessionPresent(bool),
    /// Time is up, and only these messages came.
    Missing(Heard),
    /// A message of QoS 0 or 2 came twice.
    Repeated(Heard),
    /// Nothing was lost where the connection should have been.
    StillConnected,
}

impl From<ClientError<Infallible>> for Fault {
    fn from(error: ClientError<Infallible>) -> Self {
        Self::Client(error)
    }
}

/// A message of the board. Its payload is its number, so that it is known when it comes back.
struct Own {
    topic: TopicName<'static>,
    number: u8,
    qos: QoS,
}

/// Names are checked when this is compiled.
const fn topic(name: &'static str) -> TopicName<'static> {
    match TopicName::new(name) {
        Ok(topic) => topic,
        Err(_) => panic!("not a topic name"),
    }
}

const fn client_id(id: &'static str) -> Utf8Str<'static> {
    match Utf8Str::new(id) {
        Ok(id) => id,
        Err(_) => panic!("not a string of MQTT"),
    }
}

const EVERYTHING: TopicFilter<'_> = match TopicFilter::new("board/#") {
    Ok(filter) => filter,
    Err(_) => panic!("not a topic filter"),
};

/// Of these nothing is lost.
const BEFORE: [Own; 3] = [
    Own { topic: topic("board/before"), number: 0, qos: QoS::AtMostOnce },
    Own { topic: topic("board/before"), number: 1, qos: QoS::AtLeastOnce },
    Own { topic: topic("board/before"), number: 2, qos: QoS::ExactlyOnce },
];
/// Of these `scripts/firmware-test` loses the acknowledgement that the topic names, and then the connection.
const CUT: [Own; 3] = [
    Own { topic: topic("board/cut/puback"), number: 3, qos: QoS::AtLeastOnce },
    Own { topic: topic("board/cut/pubrec"), number: 4, qos: QoS::ExactlyOnce },
    Own { topic: topic("board/cut/pubcomp"), number: 5, qos: QoS::ExactlyOnce },
];
/// What may come twice.
const AT_LEAST_ONCE: u32 = 1 << 1 | 1 << 3;

/// Which of its own messages the board has heard: bit n is message n.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    once: u32,
    again: u32,
}

impl Heard {
    fn note(&mut self, number: u8) {
        let bit = 1_u32.wrapping_shl(number.into());
        self.again |= self.once & bit;
        self.once |= bit;
    }

    fn has_all_of(&self, messages: &[Own]) -> bool {
        messages.iter().all(|own| self.once & 1 << own.number != 0)
    }
}

/// How many of them the server answers. Without the feature `qos0-outcomes` nothing is told of the others.
fn answered(messages: &[Own]) -> usize {
    messages.iter().filter(|own| own.qos > QoS::AtMostOnce).count()
}

struct Device<'b> {
    client: Client<'b, &'b mut Uart, Clock>,
    clock: Clock,
    heard: Heard,
}

/// Plays the whole session in one version of the protocol.
pub fn run(
    uart: &mut Uart,
    clock: Clock,
    memory: Memory<'_>,
    receive: &mut [u8],
    version: Version,
) -> Result<(), Fault> {
    let settings = Settings { response_timeout: RESPONSE_TIMEOUT, ..Settings::new(version) };
    let client = Client::new(uart, clock, memory, receive, Aliases::none(), settings);
    let mut device = Device { client, clock, heard: Heard::default() };
    let client_id = match version {
        Version::V3_1 => const { client_id("board-3.1") },
        Version::V3_1_1 => const { client_id("board-3.1.1") },
        Version::V5 => const { client_id("board-5.0") },
    };
    let options = ConnectOptions::new(client_id).with_session(SESSION_EXPIRY).with_keep_alive(KEEP_ALIVE);

    device.connect(&options, false)?;
    device.subscribe(EVERYTHING)?;
    device.publish(&BEFORE)?;
    device.hear(answered(&BEFORE), &BEFORE)?;
    device.publish(&CUT)?;
    device.lose_connection()?;
    // 3.1 has no Session Present.
    device.connect(&options, version != Version::V3_1)?;
    device.hear(answered(&CUT), &CUT)?;
    if device.heard.again & !AT_LEAST_ONCE != 0 {
        return Err(Fault::Repeated(device.heard));
    }
    device.unsubscribe(EVERYTHING)?;
    Ok(device.client.disconnect(PATIENCE)?)
}

impl Device<'_> {
    fn connect(&mut self, options: &ConnectOptions<'_>, session_present: bool) -> Result<(), Fault> {
        let connected = self.client.connect(options, PATIENCE)?;
        if connected.session_present != session_present {
            return Err(Fault::SessionPresent(connected.session_present));
        }
        Ok(())
    }

    fn subscribe(&mut self, filter: TopicFilter<'_>) -> Result<(), Fault> {
        let options = SubscribeOptions::new(QoS::ExactlyOnce);
        let ticket = self.client.subscribe(&[SubscribeFilter { filter, options }])?;
        self.wait(ticket)
    }

    /// The answer comes behind everything else that was on its way, so nothing is left on the line.
    fn unsubscribe(&mut self, filter: TopicFilter<'_>) -> Result<(), Fault> {
        let ticket = self.client.unsubscribe(&[filter])?;
        self.wait(ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), Fault> {
        match self.client.wait(ticket, PATIENCE, |_, _| {})? {
            outcome if outcome.is_success() => Ok(()),
            outcome => Err(Fault::Outcome(outcome)),
        }
    }

    /// Publishes without waiting for outcomes.
    fn publish(&mut self, messages: &[Own]) -> Result<(), Fault> {
        for own in messages {
            let payload = [own.number];
            self.client.publish(&Message::new(own.topic, &payload).with_qos(own.qos))?;
        }
        Ok(())
    }

    /// Waits until so many requests have succeeded and these messages have come.
    fn hear(&mut self, mut requests: usize, messages: &[Own]) -> Result<(), Fault> {
        let Self { client, clock, heard } = self;
        let deadline = clock.now().after(PATIENCE);
        let result = client.run_until(deadline, |event, _| {
            match event {
                Event::Completed(_, outcome) if !outcome.is_success() => {
                    return Some(Err(Fault::Outcome(outcome)));
                }
                Event::Completed(..) => requests -= 1,
                Event::Message { publish, .. } => heard.note(publish.payload.first().copied().unwrap_or(31)),
                _ => {}
            }
            (requests == 0 && heard.has_all_of(messages)).then_some(Ok(()))
        })?;
        result.unwrap_or(Err(Fault::Missing(self.heard)))
    }

    /// Waits until the silence of the line shows that nobody is there any more.
    fn lose_connection(&mut self) -> Result<(), Fault> {
        match self.hear(usize::MAX, &[]) {
            Err(Fault::Client(ClientError::Protocol(ProtocolError::KeepAlive))) => Ok(()),
            Err(Fault::Missing(_)) | Ok(()) => Err(Fault::StillConnected),
            Err(fault) => Err(fault),
        }
    }
}
