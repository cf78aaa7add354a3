//! The parser: options file, command line, and what must go together.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::Arg;
use mqtt_client_async::Version;

use super::properties::is_pair;
use super::settings::Settings;
use super::{Row, Tool, rows};
use crate::failure::{Failure, Outcome};

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(Box<Settings>),
    Help,
    Version,
}

/// Reads the options file and then the command line, which wins.
pub(crate) fn parse(tool: Tool, arguments: &[OsString]) -> Outcome<Parsed> {
    let mut settings = Settings::new(tool);
    if let Some((path, must_exist)) = options_file(tool, arguments)? {
        match std::fs::read_to_string(&path) {
            Ok(text) => read_file(&mut settings, &text)?,
            Err(error) if must_exist => {
                return Err(Failure::usage(format!("cannot read {}: {error}", path.display())));
            }
            Err(_) => {}
        }
        // What is published is said on the command line, also where the file says something else.
        if arguments.iter().any(|argument| is_message_option(argument)) {
            settings.source = None;
        }
    }
    match take(&mut settings, arguments)? {
        Some(other) => Ok(other),
        None => {
            check(&mut settings)?;
            Ok(Parsed::Run(Box::new(settings)))
        }
    }
}

/// Whether the argument says what is published.
fn is_message_option(argument: &OsStr) -> bool {
    const OPTIONS: [&str; 10] = [
        "-m",
        "--message",
        "-f",
        "--file",
        "-n",
        "--null-message",
        "-s",
        "--stdin-file",
        "-l",
        "--stdin-line",
    ];
    OPTIONS.iter().any(|option| argument == *option)
}

/// The file named by `-o`, or the program's own where it exists: `$XDG_CONFIG_HOME/NAME` or `~/.config/NAME`.
fn options_file(tool: Tool, arguments: &[OsString]) -> Outcome<Option<(PathBuf, bool)>> {
    let mut named = arguments.iter().enumerate().filter(|(_, argument)| *argument == "-o");
    if let Some((at, _)) = named.next() {
        if named.next().is_some() {
            return Err(Failure::usage("Duplicate -o argument given."));
        }
        let Some(path) = arguments.get(at.saturating_add(1)) else {
            return Err(Failure::usage("-o argument given but no options file specified."));
        };
        return Ok(Some((path.into(), true)));
    }
    let directory = match std::env::var_os("XDG_CONFIG_HOME") {
        Some(directory) => Some(PathBuf::from(directory)),
        None => std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")),
    };
    Ok(directory.map(|directory| (directory.join(tool.mosquitto_name()), false)))
}

/// One option per line: the first word is the option, the rest its value. `#` begins a comment.
fn read_file(settings: &mut Settings, text: &str) -> Outcome {
    for line in text.lines().map(|line| line.trim_end_matches('\r')) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (option, value) = line.split_once(' ').unwrap_or((line, ""));
        let mut arguments = vec![OsString::from(option)];
        if ["-D", "--property"].contains(&option) {
            // Three or four values; only the last may have spaces in it.
            let pieces = if value.contains(" user-property ") { 4 } else { 3 };
            arguments.extend(value.splitn(pieces, ' ').map(OsString::from));
        } else if !value.is_empty() {
            arguments.push(value.into());
        }
        take(settings, &arguments)?;
    }
    Ok(())
}

fn take(settings: &mut Settings, arguments: &[OsString]) -> Outcome<Option<Parsed>> {
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| Failure::usage(error.to_string()))? {
        let (row, name) = match argument {
            Arg::Short('o') => {
                let _ = parser.value();
                continue;
            }
            Arg::Long("help") => return Ok(Some(Parsed::Help)),
            Arg::Long("version") => return Ok(Some(Parsed::Version)),
            Arg::Short(short) => (find(settings.tool, |row| row.short == Some(short)), format!("-{short}")),
            Arg::Long(long) => (find(settings.tool, |row| row.long == Some(long)), format!("--{long}")),
            Arg::Value(value) => (None, value.to_string_lossy().into_owned()),
        };
        let row = row.ok_or_else(|| Failure::usage(format!("Unknown option '{name}'.")))?;
        let values = values(row, &mut parser)?;
        (row.take)(settings, &values)?;
    }
    Ok(None)
}

fn find(tool: Tool, is_it: impl Fn(&Row) -> bool) -> Option<&'static Row> {
    rows(tool).find(|row| is_it(row))
}

fn values(row: &Row, parser: &mut lexopt::Parser) -> Outcome<Vec<OsString>> {
    let mut values = Vec::new();
    let mut wanted = row.values.len();
    while values.len() < wanted {
        let value = parser.value().map_err(|_| {
            let (name, value) = (row.name(), row.values.first().copied().unwrap_or_default());
            Failure::usage(format!("{name} argument given but no {} specified.", value.to_lowercase()))
        })?;
        values.push(value);
        if values.len() == 2 && wanted == 3 && values.last().is_some_and(is_pair) {
            wanted = 4;
        }
    }
    Ok(values)
}

/// What must go together, and what must not.
fn check(settings: &mut Settings) -> Outcome {
    let faults: [(bool, &str); 8] = [
        (
            settings.will.payload.is_some() && settings.will.topic.is_none(),
            "Will payload given, but no will topic given.",
        ),
        (
            settings.will.retain && settings.will.topic.is_none(),
            "Will retain given, but no will topic given.",
        ),
        (
            settings.tls.certificate.is_some() != settings.tls.key.is_some(),
            "Both certfile and keyfile must be provided if one of them is set.",
        ),
        (
            settings.tls.key_form.is_some() && settings.tls.key.is_none(),
            "If keyform is set, keyfile must be also specified.",
        ),
        (
            settings.tls.psk.is_some() && settings.tls.psk_identity.is_none(),
            "--psk-identity required if --psk used.",
        ),
        (
            settings.scram.is_some() && (settings.user_name.is_none() || settings.password.is_none()),
            "--authentication-method needs a user name and a password.",
        ),
        (
            settings.no_retained && settings.retained_only,
            "Combining '-R' and '--retained-only' makes no sense.",
        ),
        (settings.patience.is_some_and(|patience| patience.is_zero()), "Invalid timeout \"0\"."),
    ];
    if let Some((_, words)) = faults.into_iter().find(|(is_wrong, _)| *is_wrong) {
        return Err(Failure::usage(words));
    }
    session(settings)?;
    match settings.tool {
        Tool::Sub if settings.wanted.is_empty() && settings.unsubscribe.is_empty() => {
            Err(Failure::usage("You must specify a topic to subscribe to (-t) or unsubscribe from (-U)."))
        }
        Tool::Pub => {
            let has_topic = settings.topic.is_some() || settings.source == Some(super::Source::JsonLines);
            if has_topic && settings.source.is_some() {
                return Ok(());
            }
            Err(Failure::usage("Both topic and message must be supplied."))
        }
        Tool::Rr
            if settings.topic.is_none() || settings.source.is_none() || settings.response_topic.is_none() =>
        {
            Err(Failure::usage("All of topic, message, and response topic must be supplied."))
        }
        _ => Ok(()),
    }
}

/// A session that outlives its connection needs a name.
fn session(settings: &mut Settings) -> Outcome {
    if settings.version() == Version::V5 && !settings.clean_session && settings.session_expiry.is_none() {
        settings.session_expiry = Some(u32::MAX);
    }
    let has_id = settings.id.as_deref().is_some_and(|id| !id.is_empty());
    if settings.version() == Version::V5 && settings.session_expiry == Some(u32::MAX) && !has_id {
        return Err(Failure::usage(
            "You must provide a client id if you are using an infinite session expiry interval.",
        ));
    }
    if settings.version() != Version::V5 && !settings.clean_session && !has_id {
        return Err(Failure::usage("You must provide a client id if you are using the -c option."));
    }
    Ok(())
}
