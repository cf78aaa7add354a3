//! The command line.

#![allow(clippy::disallowed_methods)] // This is the shell.

mod import;
mod passwd;
mod service_manager;
mod store_command;

use cap::Cap;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use mqtt_broker_lite::access::{Access, Fault};
use mqtt_broker_lite::config::Config;
use mqtt_broker_lite::{Broker, SyncMode};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::alloc::System;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// An MQTT broker for MQTT 3.1, 3.1.1 and 5.0.
///
/// Sessions, their messages and retained messages are kept in the data directory, and nothing is acknowledged before it
/// is safe there.
#[derive(Parser)]
#[command(name = "mqtt-broker-lite", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Sets or deletes a password in a password file
    Passwd(passwd::Options),
    /// Say a configuration of mosquitto in words of this broker, and name what it does not know
    ImportMosquitto(import::Options),
    /// Look at a data directory that no broker uses
    #[command(subcommand)]
    Store(store_command::StoreCommand),
}

#[derive(clap::Args)]
struct Options {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Listen here (mqtt, mqtts, ws, wss, unix); may be given several times [default: mqtt://127.0.0.1:1883]
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,
    /// Keep sessions and messages in this directory [default: ./mqtt-broker-lite-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// When to make safe what is written: always (before it is acknowledged), every so many milliseconds (100ms), or off
    /// [default: always]
    #[arg(long, value_name = "WHEN")]
    sync: Option<SyncMode>,
    /// Keep everything in memory: it is gone when the broker stops
    #[arg(long, conflicts_with_all = ["data_dir", "sync"])]
    in_memory: bool,
    /// How many threads share the work [default: one per core]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroU16>,
    /// What to log: error, warn, info, debug, trace, or a filter like mqtt_broker_lite=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Say everything that is wrong with the configuration, and end
    #[arg(long)]
    check_config: bool,
}

/// Counts what the broker takes, for its budget of memory.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fn main() -> ExitCode {
    let result = match Arguments::try_parse() {
        Ok(Arguments { command: Some(Command::Passwd(options)), .. }) => passwd::run(&options),
        Ok(Arguments { command: Some(Command::ImportMosquitto(options)), .. }) => import::run(&options),
        Ok(Arguments { command: Some(Command::Store(command)), .. }) => match store_command::run(command) {
            Ok(code) => return code,
            Err(fault) => Err(fault),
        },
        Ok(Arguments { options, .. }) => run(options),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            print!("{error}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let text = error.to_string();
            let fault = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            eprintln!("mqtt-broker-lite: {fault} (try --help)");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults.lines() {
                eprintln!("mqtt-broker-lite: {fault}");
            }
            ExitCode::from(1)
        }
    }
}

fn all(faults: Vec<Fault>) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The configuration: what the command line says wins.
fn configure(options: &Options) -> Result<Config, String> {
    let mut config = Config::load(options.config.as_deref(), std::env::vars()).map_err(all)?;
    if !options.listen.is_empty() {
        config.listen(options.listen.iter().cloned());
    }
    config.workers = options.workers.or(config.workers);
    if let Some(directory) = &options.data_dir {
        config.data_dir = Some(directory.clone());
        config.in_memory = false;
    }
    config.in_memory |= options.in_memory;
    config.sync = options.sync.unwrap_or(config.sync);
    Ok(config)
}

fn run(options: Options) -> Result<(), String> {
    // What is kept is nobody else's to read.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let config = configure(&options)?;
    let log = options.log.as_deref().or(config.log.as_deref()).unwrap_or("info");
    let filter = EnvFilter::try_new(log).map_err(|error| format!("--log {log}: {error}"))?;
    let (mut builder, access) = config.builder().map_err(all)?;
    if options.check_config {
        println!("the configuration is right");
        return Ok(());
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are a feature that is not built in.
        .with_ansi(false)
        .init();
    // Before the listeners are open, so that no signal finds nobody.
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| format!("no signals: {error}"))?;
    if !config.in_memory {
        say_mode(config.sync);
        let directory = config.data_dir.unwrap_or_else(|| PathBuf::from("./mqtt-broker-lite-data"));
        builder = builder.data(directory, config.sync).on_fault(|fault| {
            eprintln!("mqtt-broker-lite: {fault}; nothing was acknowledged that is not safe");
            std::process::exit(1);
        });
    }
    builder = builder
        .inherit(service_manager::sockets()?)
        .memory_budget(config.memory_budget, || ALLOCATOR.allocated());
    let broker = builder.start().map_err(|error| error.to_string())?;
    for url in broker.urls() {
        eprintln!("listening on {url}");
    }
    if let Some(url) = broker.metrics_url() {
        eprintln!("metrics at {url}");
    }
    say_what_to_try(&broker);
    service_manager::ready();
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        service_manager::reloading();
        reload(&broker, access.as_ref());
        // Also where everything stays as it was.
        service_manager::ready();
    }
    service_manager::stopping();
    broker.shutdown();
    Ok(())
}

/// For whoever starts it for the first time.
fn say_what_to_try(broker: &Broker) {
    let plain = broker.urls().position(|url| url.starts_with("mqtt://"));
    if let Some(address) = plain.and_then(|index| broker.addresses().get(index)) {
        let port = match address.port() {
            1883 => String::new(),
            port => format!(" -p {port}"),
        };
        eprintln!("try: mosquitto_sub -t ELC -d{port}   and   mosquitto_pub -t ELC -m hello -d{port}");
    }
}

/// Reads passwords, rights and certificates again: what is right is used from now on, and where something is wrong, all
/// of it stays as it was.
fn reload(broker: &Broker, access: Option<&Arc<Access>>) {
    let certificates = match broker.read_certificates() {
        Ok(certificates) => certificates,
        Err(error) => {
            tracing::error!(%error, "not reloaded, everything stays as it was");
            return;
        }
    };
    if let Some(access) = access
        && let Err(faults) = access.reload()
    {
        for fault in faults {
            tracing::error!(%fault, "not reloaded, everything stays as it was");
        }
        return;
    }
    broker.use_certificates(certificates);
    tracing::info!("reloaded passwords, rights and certificates");
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
