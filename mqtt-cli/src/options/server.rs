//! The server of the commands that are not mosquitto's: a URL, and what a connection needs besides, as for `pub`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches};

use super::{Parsed, Settings, Tool, parse};
use crate::failure::{Failure, Outcome};

/// What has a value.
const VALUES: [&str; 9] =
    ["username", "pw", "pw-env", "pw-file", "cafile", "cert", "key", "ws-header", "proxy"];

/// The arguments for clap.
pub(crate) fn arguments() -> impl Iterator<Item = Arg> {
    let insecure = Arg::new("insecure").long("insecure").action(ArgAction::SetTrue);
    let values = VALUES.into_iter().map(|name| Arg::new(name).long(name).value_name("VALUE"));
    values
        .chain(std::iter::once(insecure))
        .map(|argument| argument.help("As for pub").help_heading("Connection"))
}

/// The settings of a connection to `url` in this version, where one is said.
pub(crate) fn settings(matches: &ArgMatches, url: &str, version: Option<&str>) -> Outcome<Box<Settings>> {
    // What is published nobody asks for.
    let mut words: Vec<OsString> = ["--broker", url, "-t", "topic", "-n"].map(OsString::from).to_vec();
    let values =
        VALUES.into_iter().filter_map(|name| Some((name, matches.get_one::<String>(name)?.as_str())));
    for (name, value) in values.chain(version.map(|version| ("protocol-version", version))) {
        words.extend([format!("--{name}").into(), value.into()]);
    }
    if matches.get_flag("insecure") {
        words.push("--insecure".into());
    }
    match parse(Tool::Pub, &words)? {
        Parsed::Run(settings) => Ok(settings),
        Parsed::Help | Parsed::Version => Err(Failure::usage("no connection.")),
    }
}
