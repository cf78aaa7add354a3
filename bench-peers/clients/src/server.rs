//! Servers: mosquitto with its limits opened, one that only takes, and one that only sends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mqtt_broker_lite::core::Settings;
use mqtt_packet::{Ack, AckKind, Frame, PacketId, PacketType, Publish, SliceSink, Version};

/// Our broker with its limits opened.
pub fn opened() -> Settings {
    Settings {
        max_queue_messages: usize::MAX,
        max_queue_bytes: usize::MAX,
        slow_queue_bytes: usize::MAX,
        ..Settings::default()
    }
}

pub struct Mosquitto {
    child: Child,
    pub port: u16,
}

impl Mosquitto {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = std::env::temp_dir().join(format!("bench-clients-{port}.conf"));
        let configuration = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n\
             max_connections -1\npersistence false\nset_tcp_nodelay true\n"
        );
        std::fs::write(&file, configuration).unwrap();
        let child = ["/usr/sbin/mosquitto", "mosquitto"].iter().find_map(|program| {
            Command::new(program)
                .arg("-c")
                .arg(&file)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        });
        let child = child.expect("mosquitto is installed");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }
}

impl Mosquitto {
    /// The processor time that it has used.
    pub fn cpu_time(&self) -> Duration {
        cpu_time(&std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap())
    }
}

/// What each thread of our broker, which is in this process, has used.
pub fn shard_times() -> Vec<Duration> {
    let mut times = std::collections::BTreeMap::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        // One that ends meanwhile is none of them.
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        if stat.contains("(mqtt-shard") {
            times.insert(thread.file_name(), cpu_time(&stat));
        }
    }
    times.into_values().collect()
}

/// In a line of the system about a process or a thread.
fn cpu_time(stat: &str) -> Duration {
    // Behind the name in parentheses: utime and stime, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Listens, and talks to each connection in a thread of its own.
fn listen(talk: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talk = std::sync::Arc::new(talk);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let talk = talk.clone();
            // A client that leaves ends it.
            std::thread::spawn(move || drop(talk(stream)));
        }
    });
    port
}

/// Calls `each` with every packet of a client, and writes what it appends.
fn converse(mut stream: TcpStream, mut each: impl FnMut(Frame<'_>, &mut Vec<u8>)) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 18];
    let (mut len, mut answer) = (0, Vec::new());
    loop {
        let n = stream.read(&mut buffer[len..])?;
        if n == 0 {
            return Ok(());
        }
        len += n;
        let mut rest = &buffer[..len];
        while let Ok(Some((frame, behind))) = Frame::split(rest) {
            each(frame, &mut answer);
            rest = behind;
        }
        let left = rest.len();
        buffer.copy_within(len - left..len, 0);
        len = left;
        stream.write_all(&answer)?;
        answer.clear();
    }
}

/// What CONNECT, SUBSCRIBE and PINGREQ are answered with.
fn answer(frame: Frame<'_>, out: &mut Vec<u8>) {
    match frame.packet_type() {
        PacketType::Connect => out.extend_from_slice(&[0x20, 2, 0, 0]),
        PacketType::Subscribe => {
            let id = &frame.body()[..2];
            out.extend_from_slice(&[0x90, 3, id[0], id[1], 0]);
        }
        PacketType::PingReq => out.extend_from_slice(&[0xD0, 0]),
        _ => {}
    }
}

/// A server that acknowledges everything.
pub struct Sink {
    pub port: u16,
}

impl Sink {
    pub fn start() -> Self {
        let port = listen(|stream| {
            converse(stream, |frame, out| {
                answer(frame, out);
                if let Some(id) = identifier(frame) {
                    let start = out.len();
                    out.resize(start + 4, 0);
                    let ack = Ack::new(AckKind::PubAck, id);
                    ack.encode(Version::V3_1_1, &mut SliceSink::new(&mut out[start..])).unwrap();
                }
            })
        });
        Self { port }
    }
}

/// The identifier of a PUBLISH that has one.
fn identifier(frame: Frame<'_>) -> Option<PacketId> {
    if frame.packet_type() != PacketType::Publish {
        return None;
    }
    Publish::decode(frame, Version::V3_1_1).ok()?.delivery.id()
}

/// A server that sends so many messages to whoever subscribes, at QoS 1 no more than it may before they are acknowledged.
pub struct Source {
    pub port: u16,
}

/// How many messages go at once.
const CHUNK: usize = 1000;

impl Source {
    pub fn start(qos: u8, n: usize) -> Self {
        let bytes = std::sync::Arc::new(crate::bare::messages(qos, n));
        let port = listen(move |stream| {
            let bytes = bytes.clone();
            let out_stream = stream.try_clone()?;
            let (sender, acknowledged) = std::sync::mpsc::channel();
            let mut acknowledged = Some(acknowledged);
            converse(stream, move |frame, out| {
                answer(frame, out);
                match frame.packet_type() {
                    PacketType::PubAck => drop(sender.send(())),
                    PacketType::Subscribe => {
                        let (bytes, mut out) = (bytes.clone(), out_stream.try_clone().unwrap());
                        let acknowledged = acknowledged.take().unwrap();
                        std::thread::spawn(move || {
                            // Behind SUBACK.
                            std::thread::sleep(Duration::from_millis(20));
                            for (at, chunk) in bytes.chunks(bytes.len() / n * CHUNK).enumerate() {
                                if out.write_all(chunk).is_err() {
                                    return;
                                }
                                // Two chunks are on their way at most.
                                let wanted = if qos == 0 || at == 0 { 0 } else { CHUNK };
                                if (0..wanted).any(|_| acknowledged.recv().is_err()) {
                                    return;
                                }
                            }
                        });
                    }
                    _ => {}
                }
            })
        });
        Self { port }
    }
}
