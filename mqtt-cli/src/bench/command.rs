//! The command line of `mqtt bench`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use mqtt_client_async::QoS;

use super::record::SECOND;
use super::report::Outputs;
use super::{Plan, Scenario, Target};
use crate::failure::{Failure, Outcome};
use crate::options::server;

const SCENARIOS: [(&str, Scenario); 5] = [
    ("conn", Scenario::Conn),
    ("pub", Scenario::Pub),
    ("sub", Scenario::Sub),
    ("rr", Scenario::Rr),
    ("pipeline", Scenario::Pipeline),
];

/// Name, value, default and help of what takes a value.
const VALUES: [(&str, &str, &str, &str); 15] = [
    ("broker", "URL", "mqtt://127.0.0.1:1883", "Server"),
    ("against", "URL", "", "Another server, to compare with"),
    ("clients", "COUNT", "10", "Connections; for sub the subscribers, for rr and pipeline the pairs"),
    ("publishers", "COUNT", "1", "Publishers of sub"),
    ("qos", "QOS", "0", "QoS of everything"),
    ("size", "BYTES", "64", "Payload, at least 16"),
    ("window", "COUNT", "64", "Messages on their way from each publisher, where there is no rate"),
    ("rate", "PER-SECOND", "", "Messages per second of all together, whether the server keeps up or not"),
    ("count", "COUNT", "", "End after so many messages of each publisher, or connections"),
    ("duration", "SECONDS", "10", "End after this time"),
    ("warmup", "SECONDS", "1", "What is not counted before"),
    ("threads", "COUNT", "1", "Threads"),
    ("topic", "TOPIC", "bench", "Where topics begin"),
    ("server-pid", "PID", "", "Process whose CPU time is the server's"),
    ("protocol-version", "VERSION", "5", "311 or 5"),
];

pub(crate) fn command() -> Command {
    let scenario = Arg::new("scenario").value_name("SCENARIO").required(true);
    let names = clap::builder::PossibleValuesParser::new(SCENARIOS.map(|(name, _)| name));
    let mut command = Command::new("bench").about("Measure how fast a server is").arg(
        scenario
            .value_parser(names)
            .help("What to do: connect, publish, fan out, request and respond, or pairs"),
    );
    for (name, value, default, help) in VALUES {
        let argument = Arg::new(name).long(name).value_name(value).help(help);
        command = command.arg(if default.is_empty() { argument } else { argument.default_value(default) });
    }
    command = command.args(server::arguments());
    for (name, help) in [
        ("json", "Write the result as JSON; - is standard output"),
        ("csv", "Write a line for each second"),
        ("plot", "Draw throughput and latency over time and the distribution of latencies, as SVG"),
    ] {
        command = command.arg(Arg::new(name).long(name).value_name("FILE").help(help).help_heading("Output"));
    }
    command.arg(Arg::new("quiet").long("quiet").action(ArgAction::SetTrue).help("No table of the seconds"))
}

fn value<T: std::str::FromStr>(matches: &ArgMatches, name: &str) -> Outcome<Option<T>> {
    let fault = |text: &String| Failure::usage(format!("--{name} takes a number, not '{text}'."));
    let text = matches.get_one::<String>(name);
    text.map(|text| text.parse().map_err(|_| fault(text))).transpose()
}

fn number<T: std::str::FromStr>(matches: &ArgMatches, name: &str) -> Outcome<T> {
    value(matches, name)?.ok_or_else(|| Failure::usage(format!("--{name} is missing.")))
}

fn nanoseconds(matches: &ArgMatches, name: &str) -> Outcome<u64> {
    let seconds: f64 = number(matches, name)?;
    if !(0.0..=1e6).contains(&seconds) {
        return Err(Failure::usage(format!("--{name} takes seconds.")));
    }
    Ok((seconds * SECOND as f64) as u64)
}

/// The plan, the servers, and where the result goes.
pub(super) fn read(matches: &ArgMatches) -> Outcome<(Plan, Vec<String>, Outputs)> {
    let name = matches.get_one::<String>("scenario").map(String::as_str).unwrap_or_default();
    let scenario = SCENARIOS.into_iter().find(|(known, _)| *known == name).map(|(_, scenario)| scenario);
    let qos: u8 = number(matches, "qos")?;
    let count: Option<u64> = value(matches, "count")?;
    let warm = if count.is_some() { 0 } else { nanoseconds(matches, "warmup")? };
    let plan = Plan {
        scenario: scenario.ok_or_else(|| Failure::usage("no such scenario."))?,
        clients: number::<usize>(matches, "clients")?.max(1),
        publishers: number::<usize>(matches, "publishers")?.max(1),
        qos: QoS::from_bits(qos).ok_or_else(|| Failure::usage("--qos is 0, 1 or 2."))?,
        size: number(matches, "size")?,
        window: number::<u64>(matches, "window")?.clamp(1, 60_000),
        rate: value(matches, "rate")?.filter(|rate| *rate > 0.0),
        count,
        duration: if count.is_some() { u64::MAX } else { warm + nanoseconds(matches, "duration")? },
        warm,
        threads: number::<usize>(matches, "threads")?.clamp(1, 256),
        topic: format!("{}-{}", number::<String>(matches, "topic")?, std::process::id()),
        server_pid: value(matches, "server-pid")?,
        quiet: matches.get_flag("quiet"),
    };
    let file = |name| matches.get_one::<String>(name).map(PathBuf::from);
    let outputs = Outputs { json: file("json"), csv: file("csv"), plot: file("plot") };
    let urls = ["broker", "against"].into_iter().filter_map(|name| matches.get_one::<String>(name));
    Ok((plan, urls.cloned().collect(), outputs))
}

/// A server, reached as `pub` would reach it.
pub(super) fn target(matches: &ArgMatches, url: &str) -> Outcome<Target> {
    let version = matches.get_one::<String>("protocol-version").map(String::as_str);
    let settings = server::settings(matches, url, version)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(Target {
        name: url.to_owned(),
        transport: runtime.block_on(crate::connect::transport(&settings))?,
        version: settings.version(),
        user_name: settings.user_name.clone(),
        password: settings.password.clone(),
    })
}
