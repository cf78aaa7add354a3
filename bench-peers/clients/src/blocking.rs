//! mqtt-client, the blocking one, with memory for as many messages in flight as the others may have.

use mqtt_client::system::{SystemTimer, Tcp};
use mqtt_client::{
    Aliases, Client, ClientError, ConnectOptions, Duration, Event, Memory, Message, QoS, ReceivedSlot,
    RequestError, SendSlot, Settings, SubscribeFilter, SubscribeOptions, Version,
};

use crate::{Found, IN_FLIGHT, PAYLOAD, Trips, timed_now};

const PATIENCE: Duration = Duration::from_secs(10);

/// What a client is lent.
struct Lent {
    transmit: Vec<u8>,
    messages: Vec<u8>,
    send: Vec<SendSlot>,
    received: Vec<ReceivedSlot>,
    receive: Vec<u8>,
}

type Blocking<'b> = Client<'b, Tcp, SystemTimer>;

impl Lent {
    fn new() -> Self {
        let in_flight = usize::from(IN_FLIGHT);
        Self {
            transmit: vec![0; 64 * 1024],
            messages: vec![0; in_flight * 2 * PAYLOAD],
            send: vec![SendSlot::EMPTY; in_flight],
            // A server with its limits opened sends whatever it has.
            received: vec![ReceivedSlot::EMPTY; usize::from(u16::MAX)],
            receive: vec![0; 64 * 1024],
        }
    }

    fn connect(&mut self, port: u16) -> Blocking<'_> {
        let network = Tcp::connect(format!("127.0.0.1:{port}"), PATIENCE).unwrap();
        let memory = Memory {
            transmit: &mut self.transmit,
            messages: &mut self.messages,
            send: &mut self.send,
            received: &mut self.received,
            aliases: &mut [],
        };
        let settings = Settings::new(Version::V3_1_1);
        let mut client =
            Client::new(network, SystemTimer::new(), memory, &mut self.receive, Aliases::none(), settings);
        client.connect(&ConnectOptions::new("blocking".try_into().unwrap()), PATIENCE).unwrap();
        client
    }
}

fn qos_of(qos: u8) -> QoS {
    QoS::from_bits(qos).unwrap()
}

fn message<'m>(topic: &'m str, payload: &'m [u8], qos: QoS) -> Message<'m> {
    Message::new(topic.try_into().unwrap(), payload).with_qos(qos)
}

pub fn publish(port: u16, qos: u8, n: usize) -> Found {
    let mut lent = Lent::new();
    let mut client = lent.connect(port);
    let payload = [7; PAYLOAD];
    let found = timed_now(n, || {
        let mut last = None;
        for i in 0..n {
            // The last one is acknowledged: all before it have arrived then.
            let qos = if i + 1 == n && qos == 0 { QoS::AtLeastOnce } else { qos_of(qos) };
            let message = message("bench/publish", &payload, qos);
            last = Some(loop {
                match client.enqueue(&message) {
                    Err(ClientError::Request(RequestError::Busy)) => {
                        client.poll(PATIENCE).unwrap();
                        // All that are over: at QoS 0 a place for one message would be one write for each.
                        while client.engine().poll_completion().is_some() {}
                    }
                    result => break result.unwrap(),
                }
            });
        }
        client.wait(last.unwrap(), PATIENCE, |_, _| {}).unwrap();
    });
    client.disconnect(PATIENCE).unwrap();
    found
}

fn subscribe(client: &mut Blocking<'_>, filter: &str, qos: u8) {
    let options = SubscribeOptions::new(qos_of(qos));
    let wanted = SubscribeFilter { filter: filter.try_into().unwrap(), options };
    let ticket = client.subscribe(&[wanted]).unwrap();
    client.wait(ticket, PATIENCE, |_, _| {}).unwrap();
}

fn take(client: &mut Blocking<'_>) {
    while !matches!(client.poll(PATIENCE).unwrap(), Some((Event::Message { .. }, _))) {}
}

pub fn receive(port: u16, qos: u8, n: usize, from_outside: bool) -> Found {
    let mut lent = Lent::new();
    let mut client = lent.connect(port);
    subscribe(&mut client, "bench/receive", qos);
    let source = from_outside.then(|| crate::bare::source(port, qos, n));
    let found = timed_now(n, || (0..n).for_each(|_| take(&mut client)));
    if let Some(source) = source {
        source.join().unwrap();
    }
    client.disconnect(PATIENCE).unwrap();
    found
}

pub fn round_trips(port: u16, qos: u8, n: usize) -> Found {
    let mut lent = Lent::new();
    let mut client = lent.connect(port);
    subscribe(&mut client, "bench/trip", qos);
    let payload = [7; PAYLOAD];
    let mut trips = Trips::new(n);
    let found = timed_now(n, || {
        for _ in 0..n {
            trips.start();
            client.publish(&message("bench/trip", &payload, qos_of(qos))).unwrap();
            take(&mut client);
            trips.end();
        }
    });
    client.disconnect(PATIENCE).unwrap();
    trips.put(found)
}
