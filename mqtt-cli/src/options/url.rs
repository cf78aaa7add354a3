//! URLs on the command line.

use super::settings::{Carrier, Settings};
use crate::failure::{Failure, Outcome};

/// The parts that both kinds have.
struct Place<'u> {
    authority: &'u str,
    /// Behind the first slash.
    path: Option<&'u str>,
}

/// `-L`: the path is a topic.
pub(super) fn with_topic(settings: &mut Settings, url: &str) -> Outcome {
    let place = scheme(settings, url)?;
    let Some(topic) = place.path else {
        return Err(Failure::usage("Invalid URL for -L argument specified - topic missing."));
    };
    super::message::add_topic(settings, &[topic.into()])?;
    server(settings, place.authority)
}

/// `--broker`: the path is that of a socket.
pub(super) fn of_server(settings: &mut Settings, url: &str) -> Outcome {
    if let Some(path) = url.strip_prefix("unix://") {
        settings.unix = Some(path.into());
        return Ok(());
    }
    let place = scheme(settings, url)?;
    if let Some(path) = place.path.filter(|path| !path.is_empty()) {
        settings.ws_path = Some(format!("/{path}"));
    }
    server(settings, place.authority)
}

fn scheme<'u>(settings: &mut Settings, url: &'u str) -> Outcome<Place<'u>> {
    const SCHEMES: [(&str, u16, Carrier, bool); 4] = [
        ("mqtt://", 1883, Carrier::Tcp, false),
        ("mqtts://", 8883, Carrier::Tcp, true),
        ("ws://", 80, Carrier::WebSocket, false),
        ("wss://", 443, Carrier::WebSocket, true),
    ];
    for (scheme, port, carrier, has_tls) in SCHEMES {
        let front = url.get(..scheme.len()).unwrap_or_default();
        if front.eq_ignore_ascii_case(scheme) {
            settings.port = Some(port);
            settings.carrier = carrier;
            settings.wants_tls = has_tls;
            let rest = url.get(scheme.len()..).unwrap_or_default();
            return Ok(match rest.split_once('/') {
                Some((authority, path)) => Place { authority, path: Some(path) },
                None => Place { authority: rest, path: None },
            });
        }
    }
    Err(Failure::usage("Unsupported URL scheme."))
}

fn server(settings: &mut Settings, authority: &str) -> Outcome {
    let mut host = authority;
    if let Some((user, rest)) = authority.rsplit_once('@') {
        host = rest;
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (user, None),
        };
        settings.user_name = Some(decode(name));
        if let Some(password) = password {
            settings.password = Some(decode(password).into_bytes());
        }
    }
    // The colons of an IPv6 address stand in brackets.
    let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    if name.is_empty() {
        return Err(Failure::usage("Invalid URL - host missing."));
    }
    settings.host = Some(name.to_owned());
    if let Some(port) = port {
        let fault = || Failure::usage(format!("Invalid port given: {port}"));
        settings.port = Some(port.parse().map_err(|_| fault())?);
    }
    Ok(())
}

/// `%40` is `@`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
