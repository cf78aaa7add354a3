//! What topics cost: to be validated, and to be matched.

#![allow(clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use mqtt_packet::{TopicFilter, TopicName};
use std::hint::black_box;

const TOPIC: &str = "factory/line7/temperature";

fn validate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("validate");
    let long = "factory/line7/".repeat(70);
    for (name, topic) in
        [("ascii-25", TOPIC), ("utf8-25", "fabrik/straße7/wärme/ö"), ("ascii-980", long.as_str())]
    {
        group.bench_function(format!("topic-{name}"), |bencher| {
            bencher.iter(|| TopicName::from_bytes(black_box(topic.as_bytes())).unwrap());
        });
    }
    for (name, filter) in [("plain", TOPIC), ("wildcards", "factory/+/temperature/#")] {
        group.bench_function(format!("filter-{name}"), |bencher| {
            bencher.iter(|| TopicFilter::from_bytes(black_box(filter.as_bytes())).unwrap());
        });
    }
}

fn matches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matches");
    let topic = TopicName::new(TOPIC).unwrap();
    for filter in [TOPIC, "factory/+/temperature", "factory/#", "#", "factory/line8/temperature"] {
        let filter = TopicFilter::new(filter).unwrap();
        group.bench_function(filter.as_str(), |bencher| {
            bencher.iter(|| black_box(filter).matches(black_box(topic)));
        });
    }
}

criterion_group!(benches, validate, matches);
criterion_main!(benches);
