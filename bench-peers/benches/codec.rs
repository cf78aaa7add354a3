//! Wall time per item, all codecs in the same run.

#![allow(clippy::disallowed_methods)] // It measures time.

use std::time::{Duration, Instant};

use bench_peers::cases;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Inputs are made for this many repetitions at a time, so that they stay in the cache.
const BATCH: u64 = 256;

fn codecs(criterion: &mut Criterion) {
    for case in cases() {
        let mut group = criterion.benchmark_group(case.group());
        group.throughput(Throughput::Elements(case.item.frames.len() as u64));
        group.bench_function(case.peer, |bencher| {
            bencher.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                let mut left = count;
                while left > 0 {
                    let batch = left.min(BATCH);
                    let prepared = (case.prepare)(batch as usize);
                    let begin = Instant::now();
                    prepared();
                    spent += begin.elapsed();
                    left -= batch;
                }
                spent
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = codecs
}
criterion_main!(benches);
