//! The command line of `mqtt probe`.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Site;
use crate::failure::{Failure, Outcome};
use crate::options::server;

/// How it is asked.
pub(super) struct Options {
    pub(super) json: bool,
    pub(super) strict: bool,
    pub(super) no_conformance: bool,
    pub(super) max_payload: usize,
    patience: Duration,
}

pub(crate) fn command() -> Command {
    let value = |name: &'static str, value: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).default_value(default).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("probe")
        .about("Find out what a server supports, and whether it keeps the rules of the standard")
        .arg(value("broker", "URL", "mqtt://127.0.0.1:1883", "Server"))
        .arg(value("patience", "SECONDS", "1", "How long to wait for an answer"))
        .arg(value("max-payload", "BYTES", "1048576", "The largest payload that is tried"))
        .arg(flag("json", "Print JSON"))
        .arg(flag("no-conformance", "Leave out the rules of the standard"))
        .arg(flag("strict", "End with exit code 1 where a rule is broken"))
        .args(server::arguments())
}

pub(super) fn read(matches: &ArgMatches) -> Outcome<Options> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let patience =
        text("patience").parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let max_payload = text("max-payload").parse().ok();
    Ok(Options {
        json: matches.get_flag("json"),
        strict: matches.get_flag("strict"),
        no_conformance: matches.get_flag("no-conformance"),
        max_payload: max_payload.ok_or_else(|| Failure::usage("--max-payload takes a number of bytes."))?,
        patience: patience.ok_or_else(|| Failure::usage("--patience takes seconds."))?,
    })
}

/// The server, reached as `pub` would reach it.
pub(super) async fn site(matches: &ArgMatches, options: &Options) -> Outcome<Site> {
    let url = matches.get_one::<String>("broker").cloned().unwrap_or_default();
    let settings = server::settings(matches, &url, None)?;
    let chance: String = std::iter::repeat_with(fastrand::alphanumeric).take(6).collect();
    Ok(Site {
        transport: crate::connect::transport(&settings).await?,
        user_name: settings.user_name.clone(),
        password: settings.password.clone(),
        patience: options.patience,
        name: format!("probe{chance}"),
        url,
    })
}
