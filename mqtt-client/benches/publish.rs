//! Publish and acknowledge, and receive, without I/O: what the engine itself costs.

// It may fail loudly, and nobody links it.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt_client::*;
use std::hint::black_box;

const NOW: Instant = Instant::from_millis(0);
/// Messages on their way before the first is acknowledged.
const BATCH: u16 = 32;

/// An engine that is connected, and what is around it.
struct World {
    engine: Engine<'static>,
    framer: Framer<'static>,
    aliases: Aliases<'static>,
}

impl World {
    fn connected(version: Version) -> Self {
        let memory = Memory {
            transmit: vec![0; 16 * 1024].leak(),
            messages: vec![0; 64 * 1024].leak(),
            send: vec![SendSlot::EMPTY; 64].leak(),
            received: vec![ReceivedSlot::EMPTY; 64].leak(),
            aliases: &mut [],
        };
        let mut world = Self {
            engine: Engine::new(memory, Settings::new(version)),
            framer: Framer::new(vec![0; 16 * 1024].leak(), version),
            aliases: Aliases::none(),
        };
        world.engine.connect(NOW, &ConnectOptions::new("bench".try_into().unwrap())).unwrap();
        world.transmit();
        let connack: &[u8] = if version == Version::V5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        world.receive(connack);
        world
    }

    fn transmit(&mut self) {
        loop {
            let n = black_box(self.engine.transmit()).len();
            if n == 0 {
                return;
            }
            self.engine.transmitted(NOW, n);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.framer.spare()[..bytes.len()].copy_from_slice(bytes);
        self.framer.filled(bytes.len());
        while self.framer.ready().unwrap() {
            let piece = self.framer.next().unwrap();
            black_box(self.engine.handle(NOW, piece, &mut self.aliases).unwrap());
        }
    }

    /// One batch of messages, acknowledged whole.
    fn publish(&mut self, qos: QoS, payload: &[u8]) {
        let topic = TopicName::new("plant/1/temperature").unwrap();
        let message = Message::new(topic, payload).with_qos(qos);
        let mut acks = Vec::with_capacity(4 * usize::from(BATCH));
        for _ in 0..BATCH {
            let ticket = self.engine.publish(black_box(&message)).unwrap();
            if let Some(id) = ticket.packet_id() {
                let [high, low] = id.get().to_be_bytes();
                acks.extend([if qos == QoS::AtLeastOnce { 0x40 } else { 0x50 }, 2, high, low]);
            }
        }
        self.transmit();
        self.receive(&acks);
        if qos == QoS::ExactlyOnce {
            self.transmit();
            acks.chunks_mut(4).for_each(|ack| ack[0] = 0x70);
            self.receive(&acks);
        }
        while let Some(done) = self.engine.poll_completion() {
            black_box(done);
        }
    }
}

fn publishing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(BATCH.into()));
    for version in [Version::V3_1_1, Version::V5] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut world = World::connected(version);
            group.bench_function(format!("{version:?} {qos:?} 64 bytes"), |bencher| {
                bencher.iter(|| world.publish(qos, &[7; 64]));
            });
        }
    }
    group.finish();
}

fn receiving(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Elements(BATCH.into()));
    let mut message = vec![0x32, 87, 0, 19];
    message.extend(b"plant/1/temperature");
    message.extend([0, 1]);
    message.extend([7; 64]);
    let batch = message.repeat(BATCH.into());
    let mut world = World::connected(Version::V3_1_1);
    group.bench_function("V3_1_1 AtLeastOnce 64 bytes", |bencher| {
        bencher.iter(|| {
            world.receive(&batch);
            world.transmit();
        });
    });
    group.finish();
}

criterion_group!(benches, publishing, receiving);
criterion_main!(benches);
