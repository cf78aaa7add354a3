//! Options about the server, the session and the version.

use mqtt_client_async::{QoS, Version};

use super::settings::Carrier;
use super::{ALL, Row, bytes, number, seconds, text, topic_name, url};
use crate::connect::Hash;
use crate::failure::{Failure, Outcome};
use crate::secret;

/// A session that never ends.
const NEVER: u32 = u32::MAX;

pub(super) const ROWS: &[Row] = &[
    Row::new(
        ALL,
        Some('h'),
        Some("host"),
        &["HOST"],
        "Server name or address [default: localhost]",
        |s, v| {
            s.host = Some(text(v)?);
            Ok(())
        },
    ),
    Row::new(
        ALL,
        Some('p'),
        Some("port"),
        &["PORT"],
        "Server port [default: 1883, with TLS 8883]",
        |s, v| {
            s.port = Some(u16::try_from(number(v, 0..=65535, "Invalid port given")?).unwrap_or_default());
            Ok(())
        },
    ),
    Row::new(ALL, None, Some("unix"), &["PATH"], "Connect to a Unix domain socket", |s, v| {
        s.unix = Some(text(v)?.into());
        Ok(())
    }),
    Row::new(
        ALL,
        Some('L'),
        Some("url"),
        &["URL"],
        "Server and topic: mqtt(s)://[user[:password]@]host[:port]/topic, or ws(s)://",
        |s, v| url::with_topic(s, &text(v)?),
    ),
    Row::ours(
        ALL,
        "broker",
        &["URL"],
        "Server alone, by any carrier: mqtt(s)://host:port, ws(s)://host:port/path, unix:///path",
        |s, v| url::of_server(s, &text(v)?),
    ),
    Row::new(ALL, Some('S'), None, &[], "Find the server by DNS SRV records of _mqtt._tcp.HOST", |s, _| {
        s.srv = true;
        Ok(())
    }),
    Row::new(ALL, None, Some("ws"), &[], "Connect by WebSocket", |s, _| {
        s.carrier = Carrier::WebSocket;
        Ok(())
    }),
    Row::ours(
        ALL,
        "ws-header",
        &["NAME:VALUE"],
        "A header of the WebSocket request; may be repeated",
        |s, v| {
            s.ws_headers.push(text(v)?);
            Ok(())
        },
    ),
    Row::new(ALL, Some('A'), None, &["ADDRESS"], "Bind the outgoing socket to this local address", |s, v| {
        s.bind = Some(text(v)?);
        Ok(())
    }),
    Row::new(ALL, None, Some("nodelay"), &[], "TCP_NODELAY, which is always on here", |_, _| Ok(())),
    Row::new(
        ALL,
        None,
        Some("proxy"),
        &["URL"],
        "Connect through a proxy: socks5h://[user[:password]@]host[:port], or http://",
        |s, v| {
            s.proxy = Some(text(v)?);
            Ok(())
        },
    ),
    Row::new(ALL, Some('u'), Some("username"), &["NAME"], "User name", |s, v| {
        s.user_name = Some(text(v)?);
        Ok(())
    }),
    Row::new(
        ALL,
        Some('P'),
        Some("pw"),
        &["PASSWORD"],
        "Password; others on this machine may see it",
        |s, v| {
            s.password = Some(bytes(v));
            Ok(())
        },
    ),
    Row::ours(ALL, "pw-env", &["VARIABLE"], "Password from an environment variable", |s, v| {
        s.password = Some(secret::from_environment(&text(v)?)?);
        Ok(())
    }),
    Row::ours(ALL, "pw-file", &["FILE"], "Password from the first line of a file", |s, v| {
        s.password = Some(secret::from_file(&text(v)?)?);
        Ok(())
    }),
    Row::ours(ALL, "pw-prompt", &[], "Ask for the password", |s, _| {
        s.password = Some(secret::from_prompt()?);
        Ok(())
    }),
    Row::ours(
        ALL,
        "authentication-method",
        &["METHOD"],
        "Prove user and password by SCRAM-SHA-256, SCRAM-SHA-512 or SCRAM-SHA-1 (5.0)",
        |s, v| {
            let method = text(v)?;
            let fault = || Failure::usage(format!("Unknown authentication method '{method}'."));
            s.scram = Some(Hash::of_method(&method).ok_or_else(fault)?);
            s.asked_version = Some(Version::V5);
            Ok(())
        },
    ),
    Row::new(ALL, Some('i'), Some("id"), &["ID"], "Client identifier", |s, v| {
        s.id = Some(text(v)?);
        one_id(s.id_prefix.is_some())
    }),
    Row::new(
        ALL,
        Some('I'),
        Some("id-prefix"),
        &["PREFIX"],
        "Client identifier: this and the process id",
        |s, v| {
            s.id_prefix = Some(text(v)?);
            one_id(s.id.is_some())
        },
    ),
    Row::new(ALL, Some('k'), Some("keepalive"), &["SECONDS"], "Keep alive [default: 60]", |s, v| {
        let fault = "Invalid keepalive given, it must be between 5 and 65535 inclusive, not";
        s.keep_alive = u16::try_from(number(v, 5..=65535, fault)?).unwrap_or(60);
        Ok(())
    }),
    Row::new(
        ALL,
        Some('c'),
        Some("disable-clean-session"),
        &[],
        "A session that outlives the connection (in 5.0 for ever unless -x says otherwise); needs -i",
        |s, _| {
            s.clean_session = false;
            Ok(())
        },
    ),
    Row::new(
        ALL,
        Some('x'),
        None,
        &["SECONDS"],
        "For how long the session outlives the connection (5.0); -1 or ∞ for ever",
        |s, v| {
            s.asked_version = Some(Version::V5);
            s.session_expiry = Some(match text(v)?.as_str() {
                "∞" | "-1" => NEVER,
                _ => {
                    let fault = "session-expiry-interval is no number in its range:";
                    u32::try_from(number(v, 0..=i64::from(NEVER), fault)?).unwrap_or(NEVER)
                }
            });
            Ok(())
        },
    ),
    Row::new(
        ALL,
        Some('V'),
        Some("protocol-version"),
        &["VERSION"],
        "mqttv31, mqttv311 or mqttv5 [default: mqttv311, for rr mqttv5]",
        |s, v| {
            s.asked_version = Some(match text(v)?.as_str() {
                "mqttv31" | "31" => Version::V3_1,
                "mqttv311" | "311" => Version::V3_1_1,
                "mqttv5" | "5" => Version::V5,
                _ => return Err(Failure::usage("Invalid protocol version argument given.")),
            });
            Ok(())
        },
    ),
    Row::new(
        ALL,
        Some('D'),
        Some("property"),
        &["PACKET", "NAME", "VALUE"],
        "A 5.0 property of a packet; a user-property has two values: its name and its value",
        super::properties::take,
    ),
    Row::new(
        ALL,
        Some('M'),
        None,
        &["COUNT"],
        "Most messages of QoS 1 and 2 in flight [default: 20]",
        |s, v| {
            let fault = "Maximum inflight messages must be greater than 0, not";
            s.max_in_flight = u16::try_from(number(v, 1..=65535, fault)?).unwrap_or(20);
            Ok(())
        },
    ),
    Row::new(ALL, None, Some("will-topic"), &["TOPIC"], "Topic of the last will", |s, v| {
        s.will.topic = Some(topic_name(v, "will topic")?);
        Ok(())
    }),
    Row::new(ALL, None, Some("will-payload"), &["PAYLOAD"], "Payload of the last will", |s, v| {
        s.will.payload = Some(bytes(v));
        Ok(())
    }),
    Row::new(ALL, None, Some("will-qos"), &["QOS"], "QoS of the last will", |s, v| {
        s.will.qos = qos(v, "Invalid will QoS")?;
        Ok(())
    }),
    Row::new(ALL, None, Some("will-retain"), &[], "Retain the last will", |s, _| {
        s.will.retain = true;
        Ok(())
    }),
    Row::ours(ALL, "no-reconnect", &[], "End when the connection ends", |s, _| {
        s.reconnect.attempts = Some(0);
        Ok(())
    }),
    Row::ours(ALL, "max-reconnects", &["COUNT"], "Give up after so many attempts in a row", |s, v| {
        let count = number(v, 0..=i64::from(u32::MAX), "Invalid number of attempts")?;
        s.reconnect.attempts = u32::try_from(count).ok();
        Ok(())
    }),
    Row::ours(ALL, "reconnect-delay", &["SECONDS"], "First wait before a reconnect [default: 1]", |s, v| {
        s.reconnect.first = seconds(v, "Invalid delay")?;
        s.reconnect.longest = s.reconnect.longest.max(s.reconnect.first);
        Ok(())
    }),
    Row::ours(
        ALL,
        "reconnect-max-delay",
        &["SECONDS"],
        "Longest wait before a reconnect [default: 30]",
        |s, v| {
            s.reconnect.longest = seconds(v, "Invalid delay")?;
            Ok(())
        },
    ),
    Row::new(ALL, Some('q'), Some("qos"), &["QOS"], "QoS: 0, 1 or 2 [default: 0]", |s, v| {
        s.qos = qos(v, "Invalid QoS given")?;
        Ok(())
    }),
    Row::new(ALL, Some('d'), Some("debug"), &[], "Print each packet", |s, _| {
        s.debug = true;
        Ok(())
    }),
    Row::new(ALL, None, Some("quiet"), &[], "Print no errors", |s, _| {
        s.quiet = true;
        Ok(())
    }),
];

pub(super) fn qos(values: &[std::ffi::OsString], fault: &str) -> Outcome<QoS> {
    let bits = number(values, 0..=2, fault)?;
    Ok(u8::try_from(bits).ok().and_then(QoS::from_bits).unwrap_or_default())
}

fn one_id(has_other: bool) -> Outcome {
    if has_other {
        return Err(Failure::usage("-i and -I argument cannot be used together."));
    }
    Ok(())
}
