//! A network that is cut, falls silent or delays at any byte of any connection, drawn from a seed. Whatever it does: every
//! wait ends, a delivered message of QoS 1 has arrived at least once, one of QoS 2 exactly once, in both directions.
//!
//! 200 seeds, or as many as `CHAOS_SEEDS` says; `CHAOS_SEED` is one alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt_client_async::transport::{Carrier, Transport};
use mqtt_client_async::*;
use mqtt_packet::{Ack, AckKind, Frame, Packet, SliceSink};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::Sleep;

/// How many messages go each way.
const N: usize = 12;

/// Chance from a seed.
struct Dice(fastrand::Rng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0.usize(..n)
    }
}

/// What befalls a connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Cut,
    Silence,
    Delay,
}

/// A connection that bears a fault after so many bytes in either direction.
struct Faulty {
    stream: DuplexStream,
    fault: Fault,
    left: usize,
    delay: Option<Pin<Box<Sleep>>>,
}

impl Faulty {
    /// How many bytes may pass now.
    fn pass(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.left > 0 || matches!(self.fault, Fault::None) {
            return Poll::Ready(Ok(if matches!(self.fault, Fault::None) {
                wanted
            } else {
                wanted.min(self.left)
            }));
        }
        match self.fault {
            Fault::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Fault::Delay => {
                let pause = Duration::from_secs(3);
                let delay = self.delay.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
                std::task::ready!(delay.as_mut().poll(cx));
                self.fault = Fault::None;
                Poll::Ready(Ok(wanted))
            }
            _ => Poll::Pending,
        }
    }
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; 512];
        let n = std::task::ready!(self.pass(cx, buffer.remaining().min(chunk.len())))?;
        let mut part = ReadBuf::new(&mut chunk[..n]);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        buffer.put_slice(part.filled());
        let n = part.filled().len();
        self.left = self.left.saturating_sub(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = std::task::ready!(self.pass(cx, bytes.len()))?;
        let n = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..n]))?;
        self.left = self.left.saturating_sub(n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A server that keeps its one session, whatever happens to connections.
#[derive(Default)]
struct Session {
    exists: bool,
    /// How often each message from the client was taken over.
    arrived: BTreeMap<(QoSKey, Vec<u8>), usize>,
    /// Identifiers of QoS 2 that wait for PUBREL.
    known: BTreeSet<u16>,
    /// What goes to the client, by identifier: whether PUBREC came.
    outgoing: BTreeMap<u16, bool>,
    begun: bool,
}

type QoSKey = u8;

impl Session {
    /// What is sent when a connection begins, or the subscription is there.
    fn replay(&self, version: Version, dup: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (&id, &released) in &self.outgoing {
            if released {
                bytes.extend(ack(version, AckKind::PubRel, id));
            } else {
                let qos = if id % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
                let mut publish = peer::publish(version, "down", qos, id, &id.to_be_bytes(), &[]);
                publish[0] |= u8::from(dup) << 3;
                bytes.extend(publish);
            }
        }
        bytes
    }

    /// A packet from the client, and what is answered.
    fn handle(&mut self, packet: Packet<'_>, version: Version) -> Vec<u8> {
        match packet {
            Packet::Connect(connect) => {
                let present = self.exists && !connect.clean_start;
                self.exists = true;
                let mut answer = match version {
                    Version::V5 => vec![0x20, 3, u8::from(present), 0, 0],
                    _ => vec![0x20, 2, u8::from(present), 0],
                };
                if present && self.begun {
                    answer.extend(self.replay(version, true));
                }
                answer
            }
            Packet::Subscribe(subscribe) => {
                let [high, low] = subscribe.id.get().to_be_bytes();
                let mut answer = match version {
                    Version::V5 => vec![0x90, 4, high, low, 0, 2],
                    _ => vec![0x90, 3, high, low, 2],
                };
                if !self.begun {
                    self.begun = true;
                    self.outgoing = (1..=N as u16).map(|id| (id, false)).collect();
                    answer.extend(self.replay(version, false));
                }
                answer
            }
            Packet::Publish(publish) => {
                let id = publish.delivery.id().map_or(0, mqtt_packet::PacketId::get);
                let qos = publish.delivery.qos();
                let is_new = qos != QoS::ExactlyOnce || self.known.insert(id);
                if is_new {
                    *self.arrived.entry((qos as u8, publish.payload.to_vec())).or_default() += 1;
                }
                match qos {
                    QoS::AtMostOnce => Vec::new(),
                    QoS::AtLeastOnce => ack(version, AckKind::PubAck, id),
                    QoS::ExactlyOnce => ack(version, AckKind::PubRec, id),
                }
            }
            Packet::Ack(said) => match said.kind {
                AckKind::PubRel => {
                    self.known.remove(&said.id.get());
                    ack(version, AckKind::PubComp, said.id.get())
                }
                AckKind::PubRec => {
                    if let Some(released) = self.outgoing.get_mut(&said.id.get()) {
                        *released = true;
                    }
                    ack(version, AckKind::PubRel, said.id.get())
                }
                AckKind::PubAck | AckKind::PubComp => {
                    self.outgoing.remove(&said.id.get());
                    Vec::new()
                }
            },
            Packet::PingReq(_) => vec![0xD0, 0],
            _ => Vec::new(),
        }
    }
}

fn ack(version: Version, kind: AckKind, id: u16) -> Vec<u8> {
    let ack = Ack::new(kind, mqtt_packet::PacketId::new(id).unwrap());
    let mut bytes = vec![0; ack.encoded_len(version)];
    ack.encode(version, &mut SliceSink::new(&mut bytes)).unwrap();
    bytes
}

async fn serve(mut stream: DuplexStream, session: Arc<Mutex<Session>>, version: Version) {
    let (mut buffer, mut len) = (vec![0; 1 << 16], 0);
    while let Ok(n @ 1..) = stream.read(&mut buffer[len..]).await {
        len += n;
        let (mut answer, mut rest) = (Vec::new(), &buffer[..len]);
        while let Ok(Some((frame, behind))) = Frame::split(rest) {
            let packet = Packet::decode(frame, version).unwrap();
            answer.extend(session.lock().unwrap().handle(packet, version));
            rest = behind;
        }
        let left = rest.len();
        buffer.copy_within(len - left..len, 0);
        len = left;
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

struct Network {
    session: Arc<Mutex<Session>>,
    dice: Mutex<Dice>,
    version: Version,
    /// After so many connections the network is good.
    faults: Mutex<usize>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

#[async_trait::async_trait]
impl Transport for Network {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let (fault, left, capacity) = {
            let (mut dice, mut faults) = (self.dice.lock().unwrap(), self.faults.lock().unwrap());
            let all = [Fault::Cut, Fault::Silence, Fault::Delay];
            let fault = if *faults == 0 { Fault::None } else { all[dice.below(3)] };
            *faults = faults.saturating_sub(1);
            (fault, dice.below(900), 1 + dice.below(300))
        };
        let (ours, theirs) = tokio::io::duplex(capacity);
        tokio::spawn(serve(theirs, self.session.clone(), self.version));
        Ok(Box::new(Faulty { stream: ours, fault, left, delay: None }))
    }
}

async fn run(seed: u64) {
    let mut dice = Dice(fastrand::Rng::with_seed(seed));
    let version = [Version::V3_1_1, Version::V5][dice.below(2)];
    let faults = dice.below(8);
    let session = Arc::<Mutex<Session>>::default();
    let network =
        Network { session: session.clone(), dice: Mutex::new(dice), version, faults: Mutex::new(faults) };
    let options = Options::with_transport(Arc::new(network))
        .version(version)
        .client_id("chaos")
        .session(Duration::from_secs(100_000))
        .keep_alive(Duration::from_secs(10))
        // The CONNACK that told of the session may have been lost on the way.
        .assume_session(true)
        .connect_timeout(Duration::from_secs(20))
        .request_timeout(Duration::from_secs(10_000))
        .delivery_timeout(Some(Duration::from_secs(20_000)))
        .reconnect(Backoff::new(Duration::from_millis(100), Duration::from_secs(5)));
    let client = Client::start(options);
    let subscribing = client.clone();
    let receiving = tokio::spawn(async move {
        let mut stream = subscribing.subscribe(("down", QoS::ExactlyOnce)).await.unwrap();
        let mut received = BTreeMap::<u16, usize>::new();
        while received.len() < N {
            let message = stream.recv().await.unwrap();
            let id = u16::from_be_bytes(message.payload().try_into().unwrap());
            *received.entry(id).or_default() += 1;
        }
        (stream, received)
    });
    let mut deliveries = Vec::new();
    for n in 0..N {
        let qos = QoS::from_bits((n % 3) as u8).unwrap();
        let message = Publish::new("up", vec![n as u8; 40]).qos(qos);
        deliveries.push((qos, n, client.publish(message).await.unwrap()));
    }
    for (qos, n, delivery) in deliveries {
        let fate = delivery.await;
        let times =
            session.lock().unwrap().arrived.get(&(qos as u8, vec![n as u8; 40])).copied().unwrap_or(0);
        match qos {
            QoS::AtMostOnce => assert!(times <= 1, "{times} times at QoS 0"),
            QoS::AtLeastOnce => assert!(fate.is_ok() && times >= 1, "{fate:?}, {times} times at QoS 1"),
            QoS::ExactlyOnce => assert!(fate.is_ok() && times == 1, "{fate:?}, {times} times at QoS 2"),
        }
    }
    let (_stream, received) = receiving.await.unwrap();
    // What may come twice has time to.
    tokio::time::sleep(Duration::from_secs(60)).await;
    for (id, times) in received {
        assert!(times == 1 || id % 2 == 1, "message {id} of QoS 2 came {times} times");
    }
    let report = client.shutdown(Duration::from_secs(100)).await;
    assert_eq!(report.pending, 0);
    assert!(matches!(report.reason, ConnectionError::Shutdown), "{}", report.reason);
    assert!(session.lock().unwrap().outgoing.is_empty(), "the client did not acknowledge everything");
}

#[test]
fn a4_45_promises_hold_whatever_the_network_does() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("CHAOS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CHAOS_SEEDS").unwrap_or(200),
    };
    for seed in seeds {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let day = Duration::from_secs(86_400);
                tokio::time::timeout(day, run(seed)).await.expect("a wait without an end");
            });
        }));
        assert!(result.is_ok(), "CHAOS_SEED={seed} shows it again");
    }
}
