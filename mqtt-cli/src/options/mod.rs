//! The command line of `pub`, `sub` and `rr`: mosquitto's options, and ours beside them, as tables.
//!
//! An option is a row of a table: its names, which programs have it, what its values are called, what it is for, and what
//! it does to the [`Settings`]. The parser, the help, the completions and the manual pages are made from the same rows.

mod connection;
mod message;
mod output;
mod parse;
mod properties;
pub(crate) mod server;
mod settings;
mod tls;
mod url;

pub(crate) use parse::{Parsed, parse};
pub(crate) use properties::property_name;
pub(crate) use settings::{Carrier, Settings, Source, TlsSettings};

use std::ffi::OsString;

use crate::failure::{Failure, Outcome};

/// One of the three programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tool {
    #[default]
    Pub = 1,
    Sub = 2,
    Rr = 4,
}

impl Tool {
    pub(crate) const ALL: [Self; 3] = [Self::Pub, Self::Sub, Self::Rr];

    /// The name of mosquitto's program, by which ours may be called too.
    pub(crate) const fn mosquitto_name(self) -> &'static str {
        match self {
            Self::Pub => "mosquitto_pub",
            Self::Sub => "mosquitto_sub",
            Self::Rr => "mosquitto_rr",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pub => "pub",
            Self::Sub => "sub",
            Self::Rr => "rr",
        }
    }

    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Pub => "Publish messages and wait until the server has them",
            Self::Sub => "Subscribe to topics and print what comes",
            Self::Rr => "Publish a request and print the response",
        }
    }
}

/// Which programs have an option.
const PUB: u8 = Tool::Pub as u8;
const SUB: u8 = Tool::Sub as u8;
const RR: u8 = Tool::Rr as u8;
const ALL: u8 = PUB | SUB | RR;

/// An option.
pub(crate) struct Row {
    /// `-h`, or nothing.
    pub(crate) short: Option<char>,
    /// `--host`, or nothing.
    pub(crate) long: Option<&'static str>,
    tools: u8,
    /// What its values are called: as many as it takes.
    pub(crate) values: &'static [&'static str],
    pub(crate) help: &'static str,
    /// Ours, not mosquitto's.
    pub(crate) is_ours: bool,
    /// Does what the option says. The values are as many as `values`.
    take: fn(&mut Settings, &[OsString]) -> Outcome,
}

impl Row {
    const fn new(
        tools: u8,
        short: Option<char>,
        long: Option<&'static str>,
        values: &'static [&'static str],
        help: &'static str,
        take: fn(&mut Settings, &[OsString]) -> Outcome,
    ) -> Self {
        Self { short, long, tools, values, help, is_ours: false, take }
    }

    /// An option that mosquitto does not have.
    const fn ours(
        tools: u8,
        long: &'static str,
        values: &'static [&'static str],
        help: &'static str,
        take: fn(&mut Settings, &[OsString]) -> Outcome,
    ) -> Self {
        Self { short: None, long: Some(long), tools, values, help, is_ours: true, take }
    }

    /// As it stands in messages.
    fn name(&self) -> String {
        match (self.short, self.long) {
            (Some(short), _) => format!("-{short}"),
            (None, Some(long)) => format!("--{long}"),
            (None, None) => String::new(),
        }
    }
}

/// The options of a program, in the order in which they are told.
pub(crate) fn rows(tool: Tool) -> impl Iterator<Item = &'static Row> {
    [connection::ROWS, message::ROWS, output::ROWS, tls::ROWS]
        .into_iter()
        .flatten()
        .filter(move |row| row.tools & tool as u8 != 0)
}

/// A value as text.
fn text(values: &[OsString]) -> Outcome<String> {
    let value = values.first().map(OsString::as_os_str).unwrap_or_default();
    value.to_str().map(str::to_owned).ok_or_else(|| Failure::usage(format!("Malformed UTF-8 in {value:?}.")))
}

/// A value as any bytes.
fn bytes(values: &[OsString]) -> Vec<u8> {
    values.first().map(|value| value.as_encoded_bytes().to_vec()).unwrap_or_default()
}

/// A value as a number in a range.
fn number(values: &[OsString], range: std::ops::RangeInclusive<i64>, fault: &str) -> Outcome<i64> {
    let value = text(values)?;
    let number = value.trim().parse::<i64>().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| Failure::usage(format!("{fault} \"{value}\".")))
}

/// A value as seconds, which may have a fraction.
fn seconds(values: &[OsString], fault: &str) -> Outcome<std::time::Duration> {
    let value = text(values)?;
    let seconds = value.trim().parse::<f64>().ok();
    let duration = seconds.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| Failure::usage(format!("{fault} \"{value}\".")))
}

/// A topic to publish to.
fn topic_name(values: &[OsString], what: &str) -> Outcome<String> {
    let topic = text(values)?;
    match mqtt_packet::TopicName::new(&topic) {
        Ok(_) => Ok(topic),
        Err(_) => Err(Failure::usage(format!("Invalid {what} '{topic}', does it contain '+' or '#'?"))),
    }
}

/// A topic filter.
fn topic_filter(values: &[OsString], what: &str) -> Outcome<String> {
    let filter = text(values)?;
    let is_well = mqtt_packet::TopicFilter::new(&filter).and_then(mqtt_packet::TopicFilter::shared).is_ok();
    if is_well {
        return Ok(filter);
    }
    Err(Failure::usage(format!("Invalid {what} '{filter}', are all '+' and '#' wildcards correct?")))
}
