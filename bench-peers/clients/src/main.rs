//! `bench-clients [FACTOR [WORD]]`: publishes, receipts and round trips per second, and processor time per message, of ours and
//! of rumqttc, on a mosquitto that this program starts and on a server inside of it that does nothing but send.
//!
//! Each line is the median of five runs that take turns; a factor of 2 makes each run twice as long, and a
//! word picks the lines that have it.

mod ours;
mod peer;
mod server;

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

/// What a run found.
#[derive(Clone, Copy)]
pub struct Found {
    /// Messages per second, or microseconds of a round trip.
    pub figure: f64,
    /// Processor time of this process per message, in nanoseconds.
    pub cpu: f64,
}

pub const PAYLOAD: usize = 64;
pub const IN_FLIGHT: u16 = 1000;

/// Times `n` messages.
pub async fn timed(n: usize, work: impl Future<Output = ()>) -> Found {
    let (start, cpu) = (Instant::now(), cpu_time());
    work.await;
    let (time, cpu) = (start.elapsed(), cpu_time() - cpu);
    Found { figure: n as f64 / time.as_secs_f64(), cpu: cpu.as_nanos() as f64 / n as f64 }
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn median(mut runs: Vec<Found>) -> Found {
    runs.sort_by(|a, b| a.figure.total_cmp(&b.figure));
    let figure = runs[runs.len() / 2].figure;
    runs.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    Found { figure, cpu: runs[runs.len() / 2].cpu }
}

/// A runtime of its own for each run: nothing is left over.
fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

fn compare(what: &str, mut ours: impl FnMut() -> Found, mut peer: impl FnMut() -> Found) {
    if std::env::args().nth(2).is_some_and(|word| !what.contains(&word)) {
        return;
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        a.push(ours());
        b.push(peer());
    }
    let (a, b) = (median(a), median(b));
    println!(
        "{what:<28} {:>12.0} {:>12.0} {:>6.2}   {:>9.0} {:>9.0} {:>6.2}",
        a.figure,
        b.figure,
        a.figure / b.figure,
        a.cpu,
        b.cpu,
        b.cpu / a.cpu
    );
}

/// Memory of this process, in KiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("idle") {
        let n: u32 = std::env::args().nth(2).map_or(1000, |text| text.parse().expect("a number"));
        let mosquitto = server::Mosquitto::start();
        let is_small = std::env::args().nth(3).is_some();
        {
            run(async {
                let before = resident();
                let clients = ours::idle(mosquitto.port, n, is_small).await;
                let each = (resident() - before) / f64::from(n);
                println!("{n} idle clients, small buffers: {is_small}: {each:.1} KiB each");
                drop(clients);
            });
        }
        return;
    }
    let factor: f64 = std::env::args().nth(1).map_or(1.0, |text| text.parse().expect("a number"));
    let n = |count: usize| (count as f64 * factor) as usize;
    println!("open files: {:?}", getrlimit(Resource::Nofile).current);
    println!(
        "{:<28} {:>12} {:>12} {:>6}   {:>9} {:>9} {:>6}",
        "per second", "ours", "rumqttc", "ratio", "ns CPU", "ns CPU", "ratio"
    );
    let mosquitto = server::Mosquitto::start();
    let port = mosquitto.port;
    for qos in [0, 1, 2] {
        let n = n([200_000, 100_000, 50_000][usize::from(qos)]);
        let ours = || run(ours::publish(port, qos, n));
        compare(&format!("mosquitto publish QoS {qos}"), ours, || run(peer::publish(port, qos, n)));
    }
    for qos in [0, 1] {
        let n = n(100_000);
        let ours = || run(ours::receive(port, qos, n, true));
        compare(&format!("mosquitto receive QoS {qos}"), ours, || run(peer::receive(port, qos, n, true)));
    }
    let trips = n(10_000);
    let ours = || run(ours::round_trips(port, trips));
    compare("mosquitto round trips", ours, || run(peer::round_trips(port, trips)));
    for qos in [0, 1] {
        let n = n(500_000);
        let sink = server::Sink::start();
        let ours = || run(ours::publish(sink.port, qos, n));
        compare(&format!("sink publish QoS {qos}"), ours, || run(peer::publish(sink.port, qos, n)));
    }
    for qos in [0, 1] {
        let n = n(500_000);
        let source = server::Source::start(qos, n);
        let ours = || run(ours::receive(source.port, qos, n, false));
        compare(&format!("source receive QoS {qos}"), ours, || {
            run(peer::receive(source.port, qos, n, false))
        });
    }
}
