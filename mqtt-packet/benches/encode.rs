//! Packets to bytes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod items;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt_packet::SliceSink;
use std::hint::black_box;

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for item in items::items() {
        let mut memory = item.bytes.clone();
        group.throughput(Throughput::Elements(item.packets.len() as u64));
        group.bench_function(&item.name, |bencher| {
            bencher.iter(|| {
                let mut out = SliceSink::new(&mut memory);
                for packet in black_box(&item.packets) {
                    packet.encode(item.version, &mut out).unwrap();
                }
                black_box(out.len())
            });
        });
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
