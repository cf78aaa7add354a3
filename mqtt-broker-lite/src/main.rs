//! The command line.

#![allow(clippy::disallowed_methods)] // This is the shell.

use clap::Parser;
use clap::error::ErrorKind;
use mqtt_broker_lite::Broker;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// An MQTT broker for MQTT 3.1, 3.1.1 and 5.0.
///
/// Everything is kept in memory: sessions and retained messages are gone when it stops.
#[derive(Parser)]
#[command(name = "mqtt-broker-lite", version)]
struct Options {
    /// Listen here; may be given several times [default: mqtt://127.0.0.1:1883]
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,
    /// Keep everything in memory, which is all that this version can do
    #[arg(long, conflicts_with = "data_dir")]
    in_memory: bool,
    /// Keep sessions and retained messages in this directory (not possible yet)
    #[arg(long, value_name = "DIR", hide = true)]
    data_dir: Option<PathBuf>,
    /// How many threads share the work
    #[arg(long, value_name = "N", default_value = "1")]
    workers: NonZeroU16,
    /// What to log: error, warn, info, debug, trace, or a filter like mqtt_broker_lite=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
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
    if let Some(directory) = options.data_dir {
        return Err(format!(
            "--data-dir {}: this version keeps everything in memory and cannot write there",
            directory.display()
        ));
    }
    let filter =
        EnvFilter::try_new(&options.log).map_err(|error| format!("--log {}: {error}", options.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // Before the listeners are open, so that no signal finds nobody.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| format!("no signals: {error}"))?;
    let mut builder = Broker::builder().workers(options.workers);
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
