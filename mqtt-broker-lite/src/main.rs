//! The command line.

#![allow(clippy::disallowed_methods)] // This is the shell.

mod store_command;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use mqtt_broker_lite::{Broker, SyncMode};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// An MQTT broker for MQTT 3.1, 3.1.1 and 5.0.
///
/// Sessions, their messages and retained messages are kept in the data directory, and nothing is acknowledged before it
/// is safe there.
#[derive(Parser)]
#[command(name = "mqtt-broker-lite", version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Listen here; may be given several times [default: mqtt://127.0.0.1:1883]
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,
    /// Keep everything in memory: it is gone when the broker stops
    #[arg(long, conflicts_with_all = ["data_dir", "sync"])]
    in_memory: bool,
    /// Keep sessions and messages in this directory
    #[arg(long, value_name = "DIR", default_value = "./mqtt-broker-lite-data")]
    data_dir: PathBuf,
    /// When to make safe what is written: always (before it is acknowledged), every so many milliseconds (100ms), or off
    #[arg(long, value_name = "WHEN", default_value = "always", value_parser = sync_mode)]
    sync: SyncMode,
    /// How many threads share the work
    #[arg(long, value_name = "N", default_value = "1")]
    workers: NonZeroU16,
    /// What to log: error, warn, info, debug, trace, or a filter like mqtt_broker_lite=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Look at a data directory that no broker uses
    #[command(subcommand)]
    Store(store_command::StoreCommand),
}

fn main() -> ExitCode {
    match Options::try_parse() {
        Ok(options) => run(options).unwrap_or_else(|fault| {
            eprintln!("mqtt-broker-lite: {fault}");
            ExitCode::from(1)
        }),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            print!("{error}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let text = error.to_string();
            let fault = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            eprintln!("mqtt-broker-lite: {fault} (try --help)");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> Result<ExitCode, String> {
    // What is kept is nobody else's to read.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let filter =
        EnvFilter::try_new(&options.log).map_err(|error| format!("--log {}: {error}", options.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if let Some(Command::Store(command)) = options.command {
        return store_command::run(command);
    }
    // Before the listeners are open, so that no signal finds nobody.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| format!("no signals: {error}"))?;
    let mut builder = Broker::builder().workers(options.workers);
    if !options.in_memory {
        // What is kept is nobody else's to read.
        say_mode(options.sync);
        builder = builder.data(options.data_dir, options.sync).on_fault(|fault| {
            eprintln!("mqtt-broker-lite: {fault}; nothing was acknowledged that is not safe");
            std::process::exit(1);
        });
    }
    for url in options.listen {
        builder = builder.listen(url);
    }
    let broker = builder.start().map_err(|error| error.to_string())?;
    for url in broker.urls() {
        eprintln!("listening on {url}");
    }
    if let Some(address) = broker.addresses().first() {
        let port = match address.port() {
            1883 => String::new(),
            port => format!(" -p {port}"),
        };
        eprintln!("try: mosquitto_sub -t ELC -d{port}   and   mosquitto_pub -t ELC -m hello -d{port}");
    }
    let _ = signals.forever().next();
    broker.shutdown();
    Ok(ExitCode::SUCCESS)
}

fn sync_mode(text: &str) -> Result<SyncMode, String> {
    match text {
        "always" => Ok(SyncMode::Always),
        "off" => Ok(SyncMode::Off),
        text => text
            .strip_suffix("ms")
            .and_then(|number| number.parse().ok())
            .filter(|&every| every > 0)
            .map(|every| SyncMode::Interval(Duration::from_millis(every)))
            .ok_or_else(|| "always, off, or milliseconds such as 100ms".to_owned()),
    }
}

/// What may be lost is said before it is.
fn say_mode(sync: SyncMode) {
    match sync {
        SyncMode::Always => {}
        SyncMode::Interval(every) => tracing::warn!(
            "a power cut takes what was acknowledged in the last {} ms (--sync)",
            every.as_millis()
        ),
        SyncMode::Off => tracing::warn!("a power cut takes what the system has not written yet (--sync off)"),
    }
}
