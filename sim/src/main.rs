//! Runs worlds: many seeds of a scenario over all cores, or one of them with its sequence chart.

#![allow(clippy::arithmetic_side_effects, clippy::expect_used)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A shell: it measures how long the worlds take.

use clap::Parser;
use sim::exhaust::{self, Found};
use sim::oracle::{Figures, Violation};
use sim::scenario::{SCENARIOS, Scenario, named};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs simulated worlds of clients and a broker, and reports the seeds in which a promise of MQTT was broken.
#[derive(Parser)]
struct Arguments {
    /// Which scenario; all of them without.
    #[arg(long)]
    scenario: Option<String>,
    /// How many seeds of each.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed, or with `--trace` or `--shrink` the only one.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the sequence chart of this one seed.
    #[arg(long)]
    trace: bool,
    /// Take from the world of this one seed what it does not need to fail, and print what is left.
    #[arg(long)]
    shrink: bool,
    /// Go through every state of a small world: qos1, qos2 or takeover.
    #[arg(long)]
    exhaust: Option<String>,
    /// How many cuts there are in it at most.
    #[arg(long)]
    cuts: Option<usize>,
    /// How many crashes of the broker.
    #[arg(long)]
    crashes: Option<usize>,
    /// How many states are enough.
    #[arg(long, default_value_t = u64::MAX)]
    states: u64,
    /// List the scenarios.
    #[arg(long)]
    list: bool,
    /// How many threads; all cores without.
    #[arg(long)]
    threads: Option<usize>,
    /// Stop at the first seed that fails.
    #[arg(long)]
    first: bool,
}

impl Arguments {
    fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or(cores)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for scenario in &SCENARIOS {
            println!("{:15} {}", scenario.name, scenario.about);
        }
        for case in &exhaust::CASES {
            println!("--exhaust {:15} {}", case.name, case.about);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(name) = &arguments.exhaust {
        return search(name, &arguments);
    }
    let scenarios: Vec<&Scenario> = match &arguments.scenario {
        None => SCENARIOS.iter().collect(),
        Some(name) => match named(name) {
            Some(scenario) => vec![scenario],
            None => {
                eprintln!("there is no scenario {name}; --list lists them");
                return ExitCode::FAILURE;
            }
        },
    };
    let mut is_well = true;
    for scenario in scenarios {
        is_well &= if arguments.trace || arguments.shrink {
            replay(scenario, &arguments)
        } else {
            run_many(scenario, &arguments)
        };
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every state of a small world.
fn search(name: &str, arguments: &Arguments) -> ExitCode {
    let Some(mut case) = exhaust::named(name) else {
        eprintln!("there is no small world {name}; --list lists them");
        return ExitCode::FAILURE;
    };
    case.cuts = arguments.cuts.unwrap_or(case.cuts);
    case.crashes = arguments.crashes.unwrap_or(case.crashes);
    let begin = Instant::now();
    let tell = |found: &Found| eprintln!("{name}: {} states, {} steps", found.states, found.steps);
    let found = exhaust::explore(case, arguments.threads(), arguments.states, &tell);
    let Found { states, steps, ends, part_states, part_steps, .. } = found;
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{name}: {} cuts, {} crashes: {states} states, {steps} steps, {ends} ends, {seconds:.1} s; \
         {part_steps} steps of parts between {part_states} states; {}",
        case.cuts,
        case.crashes,
        if found.is_whole { "that is all" } else { "not all" }
    );
    match found.broken {
        Some((way, what)) => {
            println!("every state: {what}: {way:?}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// One world, as a chart.
fn replay(scenario: &Scenario, arguments: &Arguments) -> bool {
    let mut plan = scenario.plan(arguments.seed);
    if arguments.shrink {
        plan = sim::shrink::shrink(&plan, 2000);
        println!("{plan:#?}");
    }
    let report = sim::run(&plan, true);
    for line in &report.chart {
        println!("{line}");
    }
    match report.violation {
        Some(violation) => println!("BROKEN {violation}"),
        None => println!("no promise was broken"),
    }
    println!("{:?}", report.figures);
    true
}

/// Many worlds; true if all is well.
fn run_many(scenario: &Scenario, arguments: &Arguments) -> bool {
    let threads = arguments.threads();
    let end = arguments.seed + arguments.seeds;
    let next = AtomicU64::new(arguments.seed);
    let sum = Mutex::new((Figures::default(), Vec::<(u64, Violation)>::new()));
    let begin = Instant::now();
    let told = Mutex::new(begin);
    // A panic in a world is reported with its seed, not printed where it happens.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let report = one(scenario, seed);
                    let mut sum = sum.lock().expect("no thread panics");
                    sum.0.add(&report.0);
                    if let Some(violation) = report.1 {
                        println!("seed {seed}: {violation}");
                        sum.1.push((seed, violation));
                        if arguments.first {
                            next.store(end, Ordering::Relaxed);
                        }
                    }
                    let mut told = told.lock().expect("no thread panics");
                    if told.elapsed() > Duration::from_secs(10) {
                        *told = Instant::now();
                        eprintln!("{}: seed {seed} of {end}, {} failed", scenario.name, sum.1.len());
                    }
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let (figures, mut failed) = sum.into_inner().expect("no thread panics");
    failed.sort_by_key(|(seed, _)| *seed);
    let seconds = begin.elapsed().as_secs_f64();
    let worlds = arguments.seeds;
    println!(
        "{}: {worlds} worlds in {seconds:.1} s, {:.0} a second: {figures:?}",
        scenario.name,
        worlds as f64 / seconds
    );
    if !failed.is_empty() {
        let seeds: Vec<_> = failed.iter().map(|(seed, _)| seed).collect();
        println!("{}: {} FAILED: {seeds:?}", scenario.name, failed.len());
    }
    failed.is_empty()
}

/// One world.
fn one(scenario: &Scenario, seed: u64) -> (Figures, Option<Violation>) {
    match catch_unwind(AssertUnwindSafe(|| sim::run(&scenario.plan(seed), false))) {
        Ok(report) => (report.figures, report.violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let detail = text.unwrap_or_default();
            (Figures::default(), Some(Violation { at: 0, promise: "no panic", detail }))
        }
    }
}
