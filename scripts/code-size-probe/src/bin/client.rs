//! A device with the blocking client: connects, subscribes, publishes at QoS 1 when it has something to say, receives,
//! and keeps the connection alive. With the feature `v5` it learns its version, QoS and session from its settings and
//! can speak all three.
//!
//! `black_box` keeps the compiler from working out at build time what only a running device knows.

#![no_std]
#![no_main]

use core::convert::Infallible;
use core::hint::black_box;

use code_size_probe as _;
use mqtt_client::{
    Aliases, Client, ConnectOptions, Duration, Event, Instant, Message, Network, QoS, ReceivedSlot, SendSlot,
    Settings, Storage, SubscribeFilter, SubscribeOptions, Timer, TopicFilter, TopicName, Utf8Str, Version,
};

const MESSAGES_IN_FLIGHT: usize = 4;
const CLIENT_ID: Utf8Str<'_> = match Utf8Str::new("thermometer") {
    Ok(client_id) => client_id,
    Err(_) => panic!("not a string of MQTT"),
};
const TOPIC: TopicName<'_> = match TopicName::new("plant/1/temperature") {
    Ok(topic) => topic,
    Err(_) => panic!("not a topic name"),
};
const COMMANDS: TopicFilter<'_> = match TopicFilter::new("plant/1/command/#") {
    Ok(filter) => filter,
    Err(_) => panic!("not a topic filter"),
};

/// A driver that is not there: what it would do is not what is weighed.
struct Driver;

impl Network for Driver {
    type Error = Infallible;

    fn read(&mut self, buffer: &mut [u8], _: Duration) -> Result<usize, Infallible> {
        Ok(black_box(black_box(buffer).len()))
    }

    fn write(&mut self, bytes: &[u8], _: Duration) -> Result<usize, Infallible> {
        Ok(black_box(black_box(bytes).len()))
    }

    fn close(&mut self) {}
}

impl Timer for Driver {
    fn now(&mut self) -> Instant {
        Instant::from_millis(black_box(0))
    }
}

/// The RAM of a client and of the slots for the messages in flight: `scripts/code-size` reads the length of this symbol.
#[used]
static mut RAM_OF_A_CLIENT: [u8; RAM] = [0; RAM];
const RAM: usize = size_of::<Client<'_, Driver, Driver>>()
    + MESSAGES_IN_FLIGHT * (size_of::<SendSlot>() + size_of::<ReceivedSlot>());

/// What the application lends.
static mut STORAGE: Storage<MESSAGES_IN_FLIGHT, 512, 128> = Storage::new();
static mut RECEIVE: [u8; 128] = [0; 128];

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    // SAFETY: nothing else runs, and this runs once.
    let (storage, receive) = unsafe { (&mut *(&raw mut STORAGE), &mut *(&raw mut RECEIVE)) };
    let settings = Settings::new(version());
    let mut client = Client::new(Driver, Driver, storage.lend(), receive, Aliases::none(), settings);
    loop {
        run(&mut client);
    }
}

/// Which versions are linked: all, or 3.1.1 alone.
fn version() -> Version {
    if cfg!(feature = "v5") { black_box(Version::V5) } else { Version::V3_1_1 }
}

/// Runs one connection to its end; whatever ended it, the next one is tried.
fn run(client: &mut Client<'_, Driver, Driver>) -> Option<Infallible> {
    let options = ConnectOptions::new(CLIENT_ID).with_session(u32::MAX);
    client.connect(&options, Duration::from_secs(10)).ok()?;
    let filter = SubscribeFilter { filter: COMMANDS, options: SubscribeOptions::new(QoS::ExactlyOnce) };
    client.subscribe(&[filter]).ok()?;
    loop {
        if let Some((Event::Message { publish, .. }, _)) = client.poll(Duration::from_secs(60)).ok()? {
            black_box((publish.topic, publish.payload));
        }
        let message = Message::new(TOPIC, black_box(&[]));
        client.publish(&message.with_qos(QoS::AtLeastOnce)).ok()?;
    }
}
