//! What a benchmark found: a table, JSON, CSV.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::record::{Nanos, SECOND, Second, histogram};
use super::worker::Totals;
use super::{Plan, Scenario};
use crate::failure::{Failure, Outcome};

/// Percentiles that are told, and their names.
pub(super) const PERCENTILES: [(f64, &str); 5] =
    [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p99.9"), (99.99, "p99.99")];

/// CPU time of this process and of the server, from when the benchmark is warm.
pub(super) struct Cpu {
    server: Option<u32>,
    start: Nanos,
    end: Nanos,
    own: (f64, f64),
    servers: Option<(f64, f64)>,
}

impl Cpu {
    pub(super) fn start(server: Option<u32>, now: Nanos) -> Self {
        let own = seconds_of("self").unwrap_or_default();
        let servers = server.and_then(|pid| seconds_of(&pid.to_string())).map(|seconds| (seconds, seconds));
        Self { server, start: now, end: now, own: (own, own), servers }
    }

    pub(super) fn look(&mut self, now: Nanos) {
        self.end = now;
        self.own.1 = seconds_of("self").unwrap_or(self.own.1);
        let server = self.server.and_then(|pid| seconds_of(&pid.to_string()));
        if let (Some(servers), Some(seconds)) = (&mut self.servers, server) {
            servers.1 = seconds;
        }
    }
}

/// The CPU time of a process: of its threads that live, in nanoseconds where the kernel counts them, else in ticks.
fn seconds_of(pid: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may have spaces in it: user and system time, in hundredths.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// The result for one server.
pub(super) struct Report {
    pub(super) target: String,
    pub(super) seconds: BTreeMap<u64, Second>,
    pub(super) latency: Histogram<u64>,
    totals: Totals,
    sent: u64,
    received: u64,
    elapsed: f64,
    cpu: Cpu,
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

impl Report {
    pub(super) fn new(target: String, seconds: BTreeMap<u64, Second>, totals: Totals, cpu: Cpu) -> Self {
        let mut latency = histogram();
        for second in seconds.values() {
            // All have the same bounds.
            let _ = latency.add(&second.latency);
        }
        let sent = seconds.values().map(|second| second.sent).sum();
        let received = seconds.values().map(|second| second.received).sum();
        let elapsed = cpu.end.saturating_sub(cpu.start).max(1) as f64 / SECOND as f64;
        Self { target, seconds, latency, totals, sent, received, elapsed, cpu }
    }

    /// Messages, or connections, per second.
    fn rate(&self) -> f64 {
        self.received.max(if self.received == 0 { self.sent } else { 0 }) as f64 / self.elapsed
    }

    fn per_message(&self, (begin, end): (f64, f64)) -> f64 {
        let messages = if self.received == 0 { self.sent } else { self.received };
        (end - begin) * 1e6 / messages.max(1) as f64
    }

    fn lost(&self) -> u64 {
        self.totals.expected.saturating_sub(self.totals.received)
    }

    /// Name and value of everything that is compared.
    fn figures(&self) -> Vec<(String, f64)> {
        let mut figures = vec![("per second".to_owned(), self.rate())];
        if !self.latency.is_empty() {
            for (percentile, name) in PERCENTILES {
                let value = microseconds(self.latency.value_at_percentile(percentile));
                figures.push((format!("{name} µs"), value));
            }
            figures.push(("max µs".to_owned(), microseconds(self.latency.max())));
        }
        figures.push(("lost".to_owned(), self.lost() as f64));
        figures.push(("generator's CPU µs per message".to_owned(), self.per_message(self.cpu.own)));
        if let Some(servers) = self.cpu.servers {
            figures.push(("server's CPU µs per message".to_owned(), self.per_message(servers)));
        }
        figures
    }

    pub(super) fn print(&self, plan: &Plan) {
        let what = if plan.scenario == Scenario::Conn { "connections" } else { "messages" };
        println!(
            "{}: {} {what} sent, {} received in {:.1} s",
            self.target, self.sent, self.received, self.elapsed
        );
        for (name, value) in self.figures() {
            println!("  {name:<32} {value:>14.decimals$}", decimals = decimals(&name));
        }
    }

    fn json(&self) -> Value {
        let seconds: Vec<Value> = self
            .seconds
            .iter()
            .map(|(number, second)| {
                let mut row = json!({"second": number, "sent": second.sent, "received": second.received});
                if let (Some(row), false) = (row.as_object_mut(), second.latency.is_empty()) {
                    for (percentile, name) in PERCENTILES {
                        let value = microseconds(second.latency.value_at_percentile(percentile));
                        row.insert(format!("{name}_us"), value.into());
                    }
                    row.insert("max_us".to_owned(), microseconds(second.latency.max()).into());
                }
                row
            })
            .collect();
        let figures: serde_json::Map<String, Value> =
            self.figures().into_iter().map(|(name, value)| (name, value.into())).collect();
        json!({
            "target": self.target, "sent": self.sent, "received": self.received, "seconds_measured": self.elapsed,
            "figures": figures, "seconds": seconds,
        })
    }

    fn csv(&self, out: &mut String) {
        for (number, second) in &self.seconds {
            let latencies: Vec<String> = PERCENTILES
                .iter()
                .map(|(percentile, _)| {
                    microseconds(second.latency.value_at_percentile(*percentile)).to_string()
                })
                .collect();
            let Second { sent, received, .. } = second;
            out.push_str(&format!("{},{number},{sent},{received},{}\n", self.target, latencies.join(",")));
        }
    }
}

pub(super) fn print_head() {
    println!(
        "{:>6} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10}",
        "second", "sent", "received", "p50 µs", "p99 µs", "p99.9 µs", "max µs"
    );
}

pub(super) fn print_second(number: u64, second: &Second) {
    let at = |percentile| microseconds(second.latency.value_at_percentile(percentile));
    println!(
        "{number:>6} {:>12} {:>12} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
        second.sent,
        second.received,
        at(50.0),
        at(99.0),
        at(99.9),
        microseconds(second.latency.max()),
    );
}

/// How exact a figure is told: a message may cost a fraction of a microsecond.
fn decimals(name: &str) -> usize {
    if name.contains("CPU") { 3 } else { 1 }
}

/// Two servers, figure by figure.
pub(super) fn print_side_by_side(one: &Report, other: &Report) {
    println!("\n{:<34} {:>24} {:>24} {:>8}", "", one.target, other.target, "ratio");
    for ((name, left), (_, right)) in one.figures().into_iter().zip(other.figures()) {
        let ratio = if right == 0.0 { f64::NAN } else { left / right };
        let decimals = decimals(&name);
        println!("{name:<34} {left:>24.decimals$} {right:>24.decimals$} {ratio:>8.2}");
    }
}

/// Files for the result.
pub(super) struct Outputs {
    pub(super) json: Option<PathBuf>,
    pub(super) csv: Option<PathBuf>,
    pub(super) plot: Option<PathBuf>,
}

impl Outputs {
    pub(super) fn write(&self, plan: &Plan, reports: &[Report]) -> Outcome {
        if let Some(path) = &self.json {
            let results: Vec<Value> = reports.iter().map(Report::json).collect();
            let all = json!({
                "scenario": format!("{:?}", plan.scenario).to_lowercase(),
                "clients": plan.clients, "publishers": plan.publishers, "qos": plan.qos as u8, "size": plan.size,
                "window": plan.window, "rate": plan.rate, "threads": plan.threads, "results": results,
            });
            write(path, format!("{all:#}\n").as_bytes())?;
        }
        if let Some(path) = &self.csv {
            let names = PERCENTILES.map(|(_, name)| format!("{name}_us")).join(",");
            let mut text = format!("target,second,sent,received,{names}\n");
            reports.iter().for_each(|report| report.csv(&mut text));
            write(path, text.as_bytes())?;
        }
        match &self.plot {
            Some(path) => write(path, super::plot::draw(reports).map_err(Failure::error)?.as_bytes()),
            None => Ok(()),
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Outcome {
    if path == Path::new("-") {
        return Ok(std::io::stdout().write_all(bytes)?);
    }
    std::fs::write(path, bytes)
        .map_err(|error| Failure::error(format!("cannot write {}: {error}", path.display())))
}
