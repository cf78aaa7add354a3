//! Options about what is published, subscribed to and waited for.

use std::ffi::OsString;

use mqtt_client_async::RetainHandling;

use super::connection::qos;
use super::settings::{Settings, Source, Wanted};
use super::{PUB, RR, Row, SUB, Tool, bytes, number, seconds, text, topic_filter, topic_name};
use crate::codec::Codec;
use crate::failure::{Failure, Outcome};

pub(super) const ROWS: &[Row] = &[
    Row::new(
        PUB | SUB | RR,
        Some('t'),
        Some("topic"),
        &["TOPIC"],
        "Topic to publish to; for sub a topic filter, may be repeated",
        add_topic,
    ),
    Row::ours(SUB, "topic-qos", &["QOS"], "QoS of the topic filter before it alone", |s, v| {
        let qos = qos(v, "Invalid QoS given")?;
        match s.wanted.last_mut() {
            Some(wanted) => wanted.qos = Some(qos),
            None => return Err(Failure::usage("--topic-qos stands behind the -t that it is about.")),
        }
        Ok(())
    }),
    Row::new(RR, Some('e'), None, &["TOPIC"], "Topic of the response", |s, v| {
        s.response_topic = Some(topic_name(v, "response topic")?);
        Ok(())
    }),
    Row::new(PUB | RR, Some('m'), Some("message"), &["PAYLOAD"], "Message to send", |s, v| {
        set_source(s, Source::Argument(bytes(v)))
    }),
    Row::new(PUB | RR, Some('f'), Some("file"), &["FILE"], "Send the contents of a file", |s, v| {
        set_source(s, Source::File(v.first().cloned().unwrap_or_default().into()))
    }),
    Row::new(PUB | RR, Some('n'), Some("null-message"), &[], "Send a message without payload", |s, _| {
        set_source(s, Source::Nothing)
    }),
    Row::new(
        PUB | RR,
        Some('s'),
        Some("stdin-file"),
        &[],
        "Send all of standard input as one message",
        |s, _| set_source(s, Source::StandardInput),
    ),
    Row::new(
        PUB | RR,
        Some('l'),
        Some("stdin-line"),
        &[],
        "Send each line of standard input as a message",
        |s, _| set_source(s, Source::Lines),
    ),
    Row::new(PUB | RR, Some('r'), Some("retain"), &[], "Have the message retained", |s, _| {
        s.retain = true;
        Ok(())
    }),
    Row::new(PUB, None, Some("repeat"), &["COUNT"], "Publish -m, -f, -n or -s so many times", |s, v| {
        let count = number(v, 1..=i64::from(u32::MAX), "--repeat argument must be >0, not")?;
        s.repeat = u32::try_from(count).unwrap_or(1);
        Ok(())
    }),
    Row::new(PUB, None, Some("repeat-delay"), &["SECONDS"], "Wait between repeats [default: 0]", |s, v| {
        s.repeat_delay = seconds(v, "--repeat-delay argument must be >=0.0, not")?;
        Ok(())
    }),
    Row::ours(
        PUB | SUB | RR,
        "codec",
        &["NAME"],
        "What payloads are: text, json, hex, base64, cbor or msgpack. What is published is encoded, what comes decoded",
        |s, v| {
            let name = text(v)?;
            s.codec = Codec::by_name(&name)
                .ok_or_else(|| Failure::usage(format!("Unknown payload codec '{name}'.")))?;
            Ok(())
        },
    ),
    Row::new(SUB, Some('C'), None, &["COUNT"], "Leave after so many messages", |s, v| {
        let count = number(v, 1..=i64::MAX, "Invalid message count")?;
        s.count = u64::try_from(count).ok();
        Ok(())
    }),
    Row::new(SUB, Some('E'), None, &[], "Leave when all subscriptions are acknowledged", |s, _| {
        s.exit_after_subscribing = true;
        Ok(())
    }),
    Row::new(SUB | RR, Some('W'), None, &["SECONDS"], "Leave with exit code 27 after this time", |s, v| {
        let seconds = number(v, 1..=i64::from(u32::MAX), "Invalid timeout")?;
        s.patience = u64::try_from(seconds).ok().map(std::time::Duration::from_secs);
        Ok(())
    }),
    Row::new(SUB | RR, Some('R'), None, &[], "Do not print retained messages", |s, _| {
        s.no_retained = true;
        s.retain_handling = RetainHandling::DoNotSend;
        Ok(())
    }),
    Row::new(
        SUB,
        None,
        Some("retained-only"),
        &[],
        "Print retained messages alone, and leave at the first other one",
        |s, _| {
            s.retained_only = true;
            Ok(())
        },
    ),
    Row::new(
        SUB,
        None,
        Some("remove-retained"),
        &[],
        "Have the server forget each retained message that comes; -T spares some",
        |s, _| {
            s.remove_retained = true;
            Ok(())
        },
    ),
    Row::new(
        SUB | RR,
        None,
        Some("retain-as-published"),
        &[],
        "Keep the retain flag as published (5.0)",
        |s, _| {
            s.retain_as_published = true;
            Ok(())
        },
    ),
    Row::new(
        SUB | RR,
        None,
        Some("retain-handling"),
        &["WHEN"],
        "When retained messages are sent (5.0): always, new or never",
        |s, v| {
            s.retain_handling = match text(v)?.as_str() {
                "always" => RetainHandling::SendAtSubscribe,
                "new" => RetainHandling::SendIfNew,
                "never" => RetainHandling::DoNotSend,
                other => {
                    return Err(Failure::usage(format!("Unknown value '{other}' for --retain-handling.")));
                }
            };
            Ok(())
        },
    ),
    Row::new(
        SUB,
        Some('T'),
        Some("filter-out"),
        &["FILTER"],
        "Do not print these topics; may be repeated",
        |s, v| {
            s.filter_out.push(topic_filter(v, "filter topic")?);
            Ok(())
        },
    ),
    Row::new(
        SUB,
        Some('U'),
        Some("unsubscribe"),
        &["FILTER"],
        "Unsubscribe at start; may be repeated",
        |s, v| {
            s.unsubscribe.push(topic_filter(v, "unsubscribe topic")?);
            Ok(())
        },
    ),
];

/// `-t`, and the path of `-L`.
pub(super) fn add_topic(settings: &mut Settings, values: &[OsString]) -> Outcome {
    match settings.tool {
        Tool::Sub => {
            let filter = topic_filter(values, "subscription topic")?;
            settings.wanted.push(Wanted { filter, qos: None });
        }
        Tool::Pub | Tool::Rr => settings.topic = Some(topic_name(values, "publish topic")?),
    }
    Ok(())
}

pub(super) fn set_source(settings: &mut Settings, source: Source) -> Outcome {
    if settings.source.is_some() {
        return Err(Failure::usage("Only one type of message can be sent at once."));
    }
    settings.source = Some(source);
    Ok(())
}
