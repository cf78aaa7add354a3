//! Options about what is printed.

use super::settings::Source;
use super::{PUB, RR, Row, SUB, Tool, text};
use crate::failure::Failure;
use crate::output::Format;

pub(super) const ROWS: &[Row] = &[
    Row::new(SUB | RR, Some('v'), Some("verbose"), &[], "Print the topic before the payload", |s, _| {
        s.verbose = true;
        Ok(())
    }),
    Row::new(SUB | RR, Some('N'), None, &[], "Print no newline behind a payload", |s, _| {
        s.newline = false;
        Ok(())
    }),
    Row::new(
        SUB | RR,
        Some('F'),
        None,
        &["FORMAT"],
        "Output format: %t topic, %p payload, %q QoS, %r retain, %x hex, %j JSON, @Y-@m-@d, \\t; see the manual page",
        |s, v| {
            s.format = Some(Format::parse(&text(v)?)?);
            Ok(())
        },
    ),
    Row::new(SUB | RR, None, Some("pretty"), &[], "Print JSON over several lines", |s, _| {
        s.pretty = true;
        Ok(())
    }),
    Row::ours(
        PUB | SUB | RR,
        "json-lines",
        &[],
        "A JSON object for each message, with every property, of any payload; pub reads what sub prints",
        |s, _| match s.tool {
            Tool::Pub => super::message::set_source(s, Source::JsonLines),
            Tool::Sub | Tool::Rr => {
                s.format = Some(Format::json_lines());
                Ok(())
            }
        },
    ),
    Row::new(
        SUB,
        None,
        Some("random-filter"),
        &["PERCENT"],
        "Print a random share of the messages",
        |s, v| {
            let fault = || Failure::usage("--random-filter chance must be between 0.1-100.0");
            let percent = text(v)?.parse::<f64>().ok().filter(|percent| (0.1..=100.0).contains(percent));
            s.share = percent.ok_or_else(fault)? / 100.0;
            Ok(())
        },
    ),
    Row::new(SUB, Some('w'), Some("watch"), &[], "A live table with a line for each topic", |s, _| {
        s.watch = true;
        Ok(())
    }),
    Row::new(
        SUB,
        None,
        Some("message-rate"),
        &[],
        "Print messages per second instead of messages",
        |s, _| {
            s.message_rate = true;
            Ok(())
        },
    ),
    Row::new(RR, None, Some("latency"), &[], "Print how long the response took", |s, _| {
        s.latency = true;
        Ok(())
    }),
];
