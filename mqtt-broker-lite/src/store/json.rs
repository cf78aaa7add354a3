//! Records as lines of JSON, for people and their tools.

use crate::core::{Change, Message};
use std::fmt::Write;

/// One record.
pub(super) fn line(change: &Change) -> String {
    let mut line = Object::new();
    match change {
        Change::Session(number, session) => {
            line.text("kind", "session")
                .number("session", number.0)
                .text("client_id", &session.client.client_id);
            if let Some(name) = &session.client.user_name {
                line.text("user_name", name);
            }
            line.number("expiry", u64::from(session.expiry));
            if let Some(since) = session.away_since {
                line.number("away_since", since);
            }
            if let Some(will) = &session.will {
                line.number("will_delay", u64::from(will.delay));
                message(&mut line, "will_", &will.message);
            }
        }
        Change::Group(number, name) => {
            line.text("kind", "group").number("session", number.0).text("name", name);
        }
        Change::Subscription(number, filter, record) => {
            line.text("kind", "subscription").number("session", number.0).text("filter", filter);
            line.number("qos", record.options.qos as u64).number("id", u64::from(record.id));
        }
        Change::Message(number, stored) => {
            line.text("kind", "message").number("message", number.0);
            message(&mut line, "", stored);
        }
        Change::Queued { session, sequence, message, qos, .. } => {
            line.text("kind", "queued").number("session", session.0).number("sequence", *sequence);
            line.number("message", message.0).number("qos", *qos as u64);
        }
        Change::InFlight { session, sequence, serial, received } => {
            line.text("kind", "inflight").number("session", session.0).number("sequence", *sequence);
            line.number("serial", *serial);
            if let Some(order) = received {
                line.number("received", *order);
            }
        }
        Change::Received(session, id) => {
            line.text("kind", "received")
                .number("session", session.0)
                .number("packet_id", u64::from(id.get()));
        }
        Change::Retained(stored) => {
            line.text("kind", "retained");
            message(&mut line, "", stored);
        }
        // What is gone is not stored.
        _ => {}
    }
    line.end()
}

fn message(line: &mut Object, prefix: &str, message: &Message) {
    let name = |name: &str| format!("{prefix}{name}");
    line.text(&name("topic"), &String::from_utf8_lossy(message.topic()));
    line.number(&name("qos"), message.qos as u64);
    if message.retain {
        line.number(&name("retain"), 1);
    }
    if let Some(expires) = message.expires {
        line.number(&name("expires"), expires);
    }
    line.text(&name("publisher"), &message.publisher.client_id);
    match std::str::from_utf8(message.payload()) {
        Ok(text) => line.text(&name("payload"), text),
        Err(_) => line.text(&name("payload_hex"), &hex(message.payload())),
    };
    if !message.properties().is_empty() {
        line.text(&name("properties_hex"), &hex(message.properties()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        quote(&mut self.0, name);
        self.0.push(':');
    }

    fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.name(name);
        quote(&mut self.0, text);
        self
    }

    fn number(&mut self, name: &str, number: u64) -> &mut Self {
        self.name(name);
        let _ = write!(self.0, "{number}");
        self
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            character if u32::from(character) < 0x20 || character == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out.push('"');
}
