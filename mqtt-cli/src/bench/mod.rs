//! `mqtt bench`: how fast a server is, from outside.
//!
//! Connections are spread over threads. At a rate (`--rate`) a latency counts from the moment at which the message should
//! have been sent, whatever kept it: a server that stalls cannot hide it (coordinated omission). Without a rate each
//! publisher keeps a window of messages on their way.

mod command;
mod flow;
mod link;
mod plot;
mod record;
mod report;
mod worker;

pub(crate) use command::command;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use mqtt_client_async::transport::Transport;
use mqtt_client_async::{QoS, Version};

use crate::failure::{Failure, Outcome};
use record::{Nanos, SECOND, Second, Shared};
use report::{Cpu, Report};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// Connect and leave, again and again.
    Conn,
    /// Publish; the latency is that of the acknowledgement.
    Pub,
    /// A few publishers, many subscribers, each of which gets everything.
    Sub,
    /// Requests and responses.
    Rr,
    /// Publishers and subscribers in pairs.
    Pipeline,
}

/// A benchmark.
#[derive(Clone)]
struct Plan {
    scenario: Scenario,
    clients: usize,
    publishers: usize,
    qos: QoS,
    size: usize,
    window: u64,
    /// Messages per second, in all.
    rate: Option<f64>,
    /// Messages of each publisher, or connections in all.
    count: Option<u64>,
    duration: Nanos,
    warm: Nanos,
    threads: usize,
    topic: String,
    server_pid: Option<u32>,
    quiet: bool,
}

/// A server.
struct Target {
    name: String,
    transport: Arc<dyn Transport>,
    version: Version,
    user_name: Option<String>,
    password: Option<Vec<u8>>,
}

/// Runs what the command line says.
pub(crate) fn run(matches: &clap::ArgMatches) -> Outcome {
    let (plan, urls, outputs) = command::read(matches)?;
    let mut reports = Vec::new();
    for url in &urls {
        let target = Arc::new(command::target(matches, url)?);
        reports.push(measure(&plan, target)?);
    }
    if let [one, other] = reports.as_slice() {
        report::print_side_by_side(one, other);
    }
    outputs.write(&plan, &reports)
}

/// One server, from the first connection to the last message.
fn measure(plan: &Plan, target: Arc<Target>) -> Outcome<Report> {
    let shared = Shared::new(plan.warm);
    let workers: Vec<_> = (0..plan.threads)
        .map(|thread| {
            let (plan, target, shared) = (plan.clone(), target.clone(), shared.clone());
            std::thread::spawn(move || worker::run(thread, &plan, &target, &shared))
        })
        .collect();
    let mut watch = Watch::new(plan, &shared);
    while workers.iter().any(|worker| !worker.is_finished()) {
        std::thread::sleep(Duration::from_millis(50));
        watch.look(plan, &shared);
    }
    let mut totals = worker::Totals::default();
    for worker in workers {
        let result = worker.join().map_err(|_| Failure::error("a thread of the benchmark failed"))?;
        totals.add(&result?);
    }
    watch.finish(plan, &shared);
    let report = Report::new(target.name.clone(), watch.seconds, totals, watch.cpu);
    report.print(plan);
    Ok(report)
}

/// Sees the seconds go by.
struct Watch {
    seconds: BTreeMap<u64, Second>,
    cpu: Cpu,
    is_warm: bool,
    bar: indicatif::ProgressBar,
}

impl Watch {
    fn new(plan: &Plan, shared: &Shared) -> Self {
        let is_seen = std::io::stderr().is_terminal() && !plan.quiet;
        let bar = match plan.count {
            None if is_seen => indicatif::ProgressBar::new(plan.duration / 1_000_000),
            _ => indicatif::ProgressBar::hidden(),
        };
        let cpu = Cpu::start(plan.server_pid, shared.now());
        if !plan.quiet {
            report::print_head();
        }
        Self { seconds: BTreeMap::new(), cpu, is_warm: plan.warm == 0, bar }
    }

    fn look(&mut self, plan: &Plan, shared: &Shared) {
        let now = shared.now();
        self.bar.set_position(now / 1_000_000);
        if !self.is_warm && now >= plan.warm {
            self.is_warm = true;
            self.cpu = Cpu::start(plan.server_pid, now);
        }
        self.cpu.look(now);
        // A thread hands over a second once it sees the next one.
        self.take(plan, shared, (now / SECOND).saturating_sub(1));
    }

    fn take(&mut self, plan: &Plan, shared: &Shared, before: u64) {
        for (number, second) in shared.take_before(before) {
            if !plan.quiet {
                self.bar.suspend(|| report::print_second(number, &second));
            }
            self.seconds.insert(number, second);
        }
    }

    fn finish(&mut self, plan: &Plan, shared: &Shared) {
        self.take(plan, shared, u64::MAX);
        self.bar.finish_and_clear();
    }
}
