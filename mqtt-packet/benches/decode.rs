//! Bytes to packets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod items;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt_packet::{Frame, Packet};
use std::hint::black_box;

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for item in items::items() {
        group.throughput(Throughput::Elements(item.packets.len() as u64));
        group.bench_function(&item.name, |bencher| {
            bencher.iter(|| {
                let mut rest = black_box(&item.bytes[..]);
                while let Ok(Some((frame, behind))) = Frame::split(rest) {
                    black_box(Packet::decode(frame, item.version).unwrap());
                    rest = behind;
                }
            });
        });
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
