//! The frames that every codec gets: the same bytes for all.

/// The standard that a frame is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3_1_1,
    /// MQTT 5.0.
    V5,
}

impl Version {
    /// As it is written in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5.0",
        }
    }
}

/// A thing to measure: one frame, or many that follow each other.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name in tables.
    pub name: &'static str,
    /// The standard it is written in.
    pub version: Version,
    /// The frames, whole, one packet each.
    pub frames: &'static [&'static [u8]],
}

const TOPIC: &str = "factory/line7/temperature";

/// The filters of SUBSCRIBE: plain ones and both wildcards.
const FILTERS: [&str; 8] = [
    "factory/line7/temperature",
    "factory/line7/oil-pressure",
    "factory/+/humidity/relative",
    "factory/line8/#",
    "building/2/floor/+/lamp/kitchen",
    "alerts/factory/critical/#",
    "$SYS/broker/uptime",
    "devices/0451/commands/firmware",
];

/// All items, 3.1.1 first.
///
/// The frames live as long as the program: a benchmark makes them once.
#[must_use]
pub fn items() -> Vec<Item> {
    let mut items = Vec::new();
    for version in [Version::V3_1_1, Version::V5] {
        let mut add = |name, frames: Vec<Vec<u8>>| {
            let frames: Vec<&'static [u8]> = frames.into_iter().map(|frame| &*frame.leak()).collect();
            items.push(Item { name, version, frames: frames.leak() });
        };
        add("publish", vec![publish(version, TOPIC, None, &[], 64)]);
        if version == Version::V5 {
            add("publish-properties", vec![publish(version, TOPIC, None, &five_properties(), 64)]);
        }
        add("connect", vec![connect(version)]);
        add("subscribe", vec![subscribe(version, &FILTERS)]);
        add("puback", vec![ack(0x40, 10)]);
        add("mixed", mixed(version));
    }
    items
}

/// Fixed header and body.
fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    frame.extend(varint(body.len()));
    frame.extend(body);
    frame
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A two-byte length and the bytes.
fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// The property section: absent in 3.1.1, at least a length in 5.0.
fn properties(version: Version, properties: &[u8]) -> Vec<u8> {
    match version {
        Version::V3_1_1 => Vec::new(),
        Version::V5 => [&varint(properties.len())[..], properties].concat(),
    }
}

/// Payload Format Indicator, Message Expiry Interval, Content Type, Response Topic, User Property.
fn five_properties() -> Vec<u8> {
    let mut block = vec![0x01, 1, 0x02, 0, 0, 0x0e, 0x10];
    block.extend([&[0x03][..], &field("application/vnd.reading+json")].concat());
    block.extend([&[0x08][..], &field("factory/line7/temperature/reply")].concat());
    block.extend([&[0x26][..], &field("trace-id"), &field("4bf92f3577b34da6a3ce929d0e0e4736")].concat());
    block
}

/// QoS 0 without an identifier, else QoS and identifier.
fn publish(version: Version, topic: &str, qos: Option<(u8, u16)>, block: &[u8], payload: usize) -> Vec<u8> {
    let mut body = field(topic);
    if let Some((_, id)) = qos {
        body.extend(id.to_be_bytes());
    }
    body.extend(properties(version, block));
    body.extend((0..payload).map(|at| at as u8));
    frame(0x30 | qos.map_or(0, |(qos, _)| qos << 1), &body)
}

/// With everything that CONNECT can carry in practice: will, user name, password; in 5.0 session and will properties.
fn connect(version: Version) -> Vec<u8> {
    let level = if version == Version::V5 { 5 } else { 4 };
    let mut body = [&field("MQTT")[..], &[level, 0b1110_1110, 0, 60]].concat();
    // Session Expiry Interval, Receive Maximum, Maximum Packet Size, Topic Alias Maximum.
    let session = [0x11, 0, 0, 0x0e, 0x10, 0x21, 0, 20, 0x27, 0, 1, 0, 0, 0x22, 0, 10];
    body.extend(properties(version, &session));
    body.extend(field("thermometer-0451"));
    // Will Delay Interval, Message Expiry Interval.
    body.extend(properties(version, &[0x18, 0, 0, 0, 30, 0x02, 0, 0, 0x0e, 0x10]));
    body.extend(field("devices/0451/status"));
    body.extend(field("offline"));
    body.extend(field("thermometer"));
    body.extend(field("correct horse battery"));
    frame(0x10, &body)
}

fn subscribe(version: Version, filters: &[&str]) -> Vec<u8> {
    let mut body = vec![0, 10];
    body.extend(properties(version, &[]));
    for (at, filter) in filters.iter().enumerate() {
        body.extend(field(filter));
        body.push((at % 3) as u8);
    }
    frame(0x82, &body)
}

fn ack(first: u8, id: u16) -> Vec<u8> {
    frame(first, &id.to_be_bytes())
}

/// About 64 KiB as a busy connection sees it, both directions together: mostly PUBLISH of all QoS, some of their
/// acknowledgements, now and then a subscription and a ping. In 5.0 every second PUBLISH has properties.
fn mixed(version: Version) -> Vec<Vec<u8>> {
    const TOPICS: [&str; 4] =
        [TOPIC, "plant/7", "building/2/floor/11/lamp/kitchen/left/brightness", "devices/0451/status/battery"];
    const PAYLOADS: [usize; 5] = [8, 64, 200, 24, 400];
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let mut round: u16 = 0;
    while bytes < 64 * 1024 {
        let first = frames.len();
        for at in 0..6 {
            let count = usize::from(round) * 6 + at;
            let id = (count + 1) as u16;
            let qos = [None, Some((1, id)), None, Some((2, id)), Some((1, id)), None][at];
            let block = if count % 2 > 0 { five_properties() } else { Vec::new() };
            frames.push(publish(version, TOPICS[count % 4], qos, &block, PAYLOADS[count % 5]));
        }
        frames.push(ack([0x40, 0x50, 0x62, 0x70][usize::from(round) % 4], round + 1));
        if round.is_multiple_of(8) {
            frames.push(subscribe(version, &FILTERS[..2]));
            let codes = [&[0, 10][..], &properties(version, &[]), &[0, 1]].concat();
            frames.push(frame(0x90, &codes));
            frames.push(frame(0xc0, &[]));
            frames.push(frame(0xd0, &[]));
        }
        bytes += frames[first..].iter().map(Vec::len).sum::<usize>();
        round += 1;
    }
    frames
}
