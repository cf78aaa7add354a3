//! `bench-clients [FACTOR [WORD]]`: publishes, receipts and round trips, and processor time per message, of ours, of
//! rumqttc and of Paho C, on a mosquitto that this program starts, on our broker, and on servers inside of it that do
//! nothing but take or send.
//!
//! The limits of both are opened: a message that they drop would be waited for in vain.
//!
//! Each line is the median of five runs that take turns, and of 25 shorter ones for round trips, which depend on where the
//! system's scheduler happens to put two threads; a factor of 2 makes each run twice as long, and a word picks the lines
//! that have it. Each Rust client runs in a task of a runtime of one thread, whose processor time is what counts;
//! Paho C is a program of its own, and all of that counts. It takes ten times as long or more, so it has a tenth of the
//! messages.
//!
//! Below each line stand how busy the server was, and what sockets without a client get from it: where ours get as much,
//! the server is what limits them.
//!
//! `bench-clients blocking [FACTOR [WORD]]`: the same with the blocking client as ours.
//!
//! With the variable `ONLY_OURS` set, ours run alone: to look at them with a profiler.
//!
//! `bench-clients idle N [small]`: memory of N clients that do nothing.

// A shell: it has sockets, threads and the time.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod bare;
mod blocking;
mod ours;
mod paho;
mod peer;
mod server;

use std::time::{Duration, Instant};

use mqtt_broker_lite::Broker;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What a run found.
#[derive(Clone, Copy, Default)]
pub struct Found {
    /// Messages, or round trips, per second.
    pub figure: f64,
    /// Processor time of the client per message, in nanoseconds.
    pub cpu: f64,
    /// Of round trips, in microseconds.
    pub p50: f64,
    pub p99: f64,
}

pub const PAYLOAD: usize = 64;
pub const IN_FLIGHT: u16 = 1500;

/// Times `n` messages.
pub async fn timed(n: usize, work: impl Future<Output = ()>) -> Found {
    let (start, cpu) = (Instant::now(), cpu_time());
    work.await;
    let (time, cpu) = (start.elapsed(), cpu_time() - cpu);
    Found { figure: n as f64 / time.as_secs_f64(), cpu: cpu.as_nanos() as f64 / n as f64, ..Found::default() }
}

/// The same for work that blocks its thread.
pub fn timed_now(n: usize, work: impl FnOnce()) -> Found {
    let (start, cpu) = (Instant::now(), cpu_time());
    work();
    let (time, cpu) = (start.elapsed(), cpu_time() - cpu);
    Found { figure: n as f64 / time.as_secs_f64(), cpu: cpu.as_nanos() as f64 / n as f64, ..Found::default() }
}

/// How long round trips took.
pub struct Trips {
    times: Vec<Duration>,
    started: Instant,
}

impl Trips {
    pub fn new(n: usize) -> Self {
        Self { times: Vec::with_capacity(n), started: Instant::now() }
    }

    pub fn start(&mut self) {
        self.started = Instant::now();
    }

    pub fn end(&mut self) {
        self.times.push(self.started.elapsed());
    }

    pub fn put(mut self, found: Found) -> Found {
        self.times.sort_unstable();
        let micros = |percent: usize| self.times[self.times.len() * percent / 100].as_nanos() as f64 / 1e3;
        Found { p50: micros(50), p99: micros(99), ..found }
    }
}

fn cpu_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn median(runs: &[Found]) -> Found {
    if runs.is_empty() {
        return Found::default();
    }
    let of = |what: fn(&Found) -> f64| {
        let mut figures: Vec<f64> = runs.iter().map(what).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Found { figure: of(|f| f.figure), cpu: of(|f| f.cpu), p50: of(|f| f.p50), p99: of(|f| f.p99) }
}

/// A runtime of its own for each run: nothing is left over.
fn run<F: Future<Output: Send> + Send + 'static>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // As a task, not as the runtime's first future, which every wake-up costs a system call.
    runtime.block_on(async { tokio::spawn(work).await.unwrap() })
}

fn is_alone() -> bool {
    std::env::var_os("ONLY_OURS").is_some()
}

fn is_blocking() -> bool {
    std::env::args().nth(1).as_deref() == Some("blocking")
}

/// Factor and word.
fn arguments() -> impl Iterator<Item = String> {
    std::env::args().skip(if is_blocking() { 2 } else { 1 })
}

// Our client of either kind.
fn publish(port: u16, qos: u8, n: usize) -> Found {
    if is_blocking() { blocking::publish(port, qos, n) } else { run(ours::publish(port, qos, n)) }
}

fn receive(port: u16, qos: u8, n: usize, from_outside: bool) -> Found {
    if is_blocking() {
        blocking::receive(port, qos, n, from_outside)
    } else {
        run(ours::receive(port, qos, n, from_outside))
    }
}

fn round_trips(port: u16, qos: u8, n: usize) -> Found {
    if is_blocking() { blocking::round_trips(port, qos, n) } else { run(ours::round_trips(port, qos, n)) }
}

type Run<'r> = &'r mut dyn FnMut() -> Found;

/// One line.
struct Line<'m> {
    what: String,
    runs: usize,
    server: Server<'m>,
}

/// Who may be what limits a client.
#[derive(Clone, Copy)]
enum Server<'m> {
    Mosquitto(&'m server::Mosquitto),
    Broker,
    /// A thread that takes or sends.
    Thread,
}

impl Server<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Mosquitto(_) => "mosquitto's thread",
            Self::Broker => "our broker's busier thread",
            Self::Thread => "client and server together",
        }
    }

    /// The processor time that each of its threads has used.
    fn cpu_times(self) -> Vec<Duration> {
        match self {
            Self::Mosquitto(mosquitto) => vec![mosquitto.cpu_time()],
            Self::Broker => server::shard_times(),
            Self::Thread => vec![time_of(ClockId::ProcessCPUTime)],
        }
    }

    /// How busy its busiest thread was since then.
    fn busy(self, start: Instant, before: &[Duration]) -> f64 {
        let used = self.cpu_times().iter().zip(before).map(|(now, before)| *now - *before).max();
        used.unwrap_or_default().as_secs_f64() / start.elapsed().as_secs_f64()
    }
}

impl Line<'_> {
    fn compare(&self, ours: Run<'_>, peer: Run<'_>, paho: Run<'_>, bare: Run<'_>) {
        if arguments().nth(1).is_some_and(|word| !self.what.contains(&word)) {
            return;
        }
        let mut busy = Vec::new();
        let mut all = [const { Vec::new() }; 4];
        let mut peers: [Run<'_>; 4] = [ours, peer, paho, bare];
        for _ in 0..self.runs {
            for (at, peer) in peers.iter_mut().enumerate() {
                if at > 0 && is_alone() || at == 2 && !paho::is_there() {
                    continue;
                }
                let (start, before) = (Instant::now(), self.server.cpu_times());
                all[at].push(peer());
                if at == 0 {
                    busy.push(self.server.busy(start, &before));
                }
            }
        }
        let [a, b, c, bare] = all.map(|runs| median(&runs));
        let row = |unit: &str, figure: fn(&Found) -> f64, is_better_when_less: bool| {
            let (a, b, c) = (figure(&a), figure(&b), figure(&c));
            let ratio = |other: f64| if is_better_when_less { other / a } else { a / other };
            println!(
                "{:<24} {unit:<6} {a:>10.0} {b:>10.0} {c:>10.0} {:>6.2} {:>6.2}",
                self.what,
                ratio(b),
                ratio(c)
            );
        };
        row("per s", |f| f.figure, false);
        row("ns CPU", |f| f.cpu, true);
        if a.p50 > 0.0 {
            row("us p50", |f| f.p50, true);
            row("us p99", |f| f.p99, true);
        }
        busy.sort_by(f64::total_cmp);
        println!("{:<24} {} while ours ran: {:.0} %", "", self.server.name(), busy[busy.len() / 2] * 100.0);
        if is_alone() {
            return;
        }
        print!(
            "{:<24} bare sockets: {:.0} per s, of which ours {:.0} %",
            "",
            bare.figure,
            a.figure / bare.figure * 100.0
        );
        if bare.p50 > 0.0 {
            print!("; p50 {:.0}, p99 {:.0} us", bare.p50, bare.p99);
        }
        println!();
    }
}

/// Memory of this process, in KiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn idle() {
    let n: u32 = std::env::args().nth(2).map_or(1000, |text| text.parse().expect("a number"));
    let mosquitto = server::Mosquitto::start();
    let (port, is_small) = (mosquitto.port, std::env::args().nth(3).is_some());
    run(async move {
        let before = resident();
        let clients = ours::idle(port, n, is_small).await;
        let each = (resident() - before) / f64::from(n);
        println!("{n} idle clients, small buffers: {is_small}: {each:.1} KiB each");
        drop(clients);
    });
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("idle") {
        return idle();
    }
    let factor: f64 = arguments().next().map_or(1.0, |text| text.parse().expect("a number"));
    let n = |count: usize| (count as f64 * factor) as usize;
    println!("open files: {:?}", getrlimit(Resource::Nofile).current);
    println!("{:<31} {:>10} {:>10} {:>10} {:>13}", "", "ours", "rumqttc", "Paho C", "ours ahead");
    let mosquitto = server::Mosquitto::start();
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").settings(server::opened()).start().unwrap();
    let broker_port = broker.addresses()[0].port();
    for (name, port) in [("mosquitto", mosquitto.port), ("our broker", broker_port)] {
        let line = |what: String| Line {
            runs: if what.starts_with("trips") { 25 } else { 5 },
            what: format!("{name} {what}"),
            server: if port == broker_port { Server::Broker } else { Server::Mosquitto(&mosquitto) },
        };
        for qos in [0, 1, 2] {
            let n = n([200_000, 100_000, 50_000][usize::from(qos)]);
            line(format!("publish QoS {qos}")).compare(
                &mut || publish(port, qos, n),
                &mut || run(peer::publish(port, qos, n)),
                &mut || paho::run(port, "publish", qos, n / 10, false),
                &mut || bare::publish(port, qos, n),
            );
        }
        for qos in [0, 1, 2] {
            // Long enough to be more than the start: our broker does millions a second.
            let n = n([100_000, 1_000_000][usize::from(port == broker_port)] >> qos);
            line(format!("receive QoS {qos}")).compare(
                &mut || receive(port, qos, n, true),
                &mut || run(peer::receive(port, qos, n, true)),
                &mut || paho::run(port, "receive", qos, if port == broker_port { n / 10 } else { n }, true),
                &mut || bare::receive(port, qos, n, true),
            );
        }
        for qos in [0, 1] {
            let n = n(2_000);
            // Paho C waits 40 ms for each at QoS 1: it has no option against Nagle's algorithm.
            let few = if qos == 0 { n } else { (n / 100).max(1) };
            line(format!("trips QoS {qos}")).compare(
                &mut || round_trips(port, qos, n),
                &mut || run(peer::round_trips(port, qos, n)),
                &mut || paho::run(port, "trips", qos, few, false),
                &mut || bare::round_trips(port, qos, n),
            );
        }
    }
    alone(n(2_000_000));
}

/// Beside a peer that costs next to nothing.
fn alone(n: usize) {
    for qos in [0, 1] {
        let port = server::Sink::start().port;
        let line = Line { runs: 5, what: format!("sink publish QoS {qos}"), server: Server::Thread };
        line.compare(
            &mut || publish(port, qos, n),
            &mut || run(peer::publish(port, qos, n)),
            &mut || paho::run(port, "publish", qos, n / 40, false),
            &mut || bare::publish(port, qos, n),
        );
    }
    for qos in [0, 1] {
        let port = server::Source::start(qos, n).port;
        let line = Line { runs: 5, what: format!("source receive QoS {qos}"), server: Server::Thread };
        line.compare(
            &mut || receive(port, qos, n, false),
            &mut || run(peer::receive(port, qos, n, false)),
            &mut || paho::run(port, "receive", qos, n / 40, false),
            &mut || bare::receive(port, qos, n, false),
        );
    }
}
