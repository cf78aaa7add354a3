//! What is printed of a message.

mod format;
mod json;
mod json_lines;
mod render;

pub(crate) use format::Format;
pub(crate) use json_lines::publish_from_line;

use std::io::Write;

use mqtt_client_async::{Message, Properties};

use crate::codec::Codec;
use crate::failure::{Failure, Outcome};
use crate::options::Settings;

/// A message as it is printed.
pub(crate) struct View<'m> {
    pub(crate) topic: &'m str,
    pub(crate) payload: &'m [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) properties: Properties<'m>,
    /// The Subscription Identifier, where the command line gave one. The client's own are nobody's affair.
    pub(crate) subscription_identifier: Option<u32>,
}

/// Prints messages as the command line wants them.
pub(crate) struct Printer {
    format: Option<Format>,
    verbose: bool,
    newline: bool,
    pretty: bool,
    quiet: bool,
    codec: Codec,
    subscription_identifier: Option<u32>,
    /// Used again and again.
    buffer: Vec<u8>,
}

impl Printer {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            format: settings.format.clone(),
            verbose: settings.verbose,
            newline: settings.newline,
            pretty: settings.pretty,
            quiet: settings.quiet,
            codec: settings.codec,
            subscription_identifier: settings.properties.subscription_identifier,
            buffer: Vec::new(),
        }
    }

    /// Writes a message to standard output.
    pub(crate) fn print(&mut self, message: &Message) -> Outcome {
        self.buffer.clear();
        let decoded = match self.codec.decode(message.payload()) {
            Ok(decoded) => decoded,
            Err(words) => {
                self.complain(&format!("Error: {words} on topic {}.", message.topic()));
                message.payload().into()
            }
        };
        let identifiers = message.properties().subscription_identifiers().next();
        let view = View {
            topic: message.topic(),
            payload: &decoded,
            qos: message.qos() as u8,
            retain: message.retain(),
            packet_id: message.packet_id().unwrap_or_default(),
            properties: message.properties(),
            subscription_identifier: identifiers.and(self.subscription_identifier),
        };
        let mut buffer = core::mem::take(&mut self.buffer);
        if let Err(words) = self.render(&view, &mut buffer) {
            self.complain(&words);
        }
        let result = std::io::stdout().write_all(&buffer);
        self.buffer = buffer;
        result.map_err(Failure::from)
    }

    fn render(&self, view: &View<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        if let Some(format) = &self.format {
            let result = render::message(format, view, self.pretty, out);
            if self.newline {
                out.push(b'\n');
            }
            return result;
        }
        if self.verbose {
            out.extend_from_slice(view.topic.as_bytes());
            out.push(b' ');
            if view.payload.is_empty() {
                out.extend_from_slice(b"(null)");
            }
        }
        out.extend_from_slice(view.payload);
        if self.newline && (self.verbose || !view.payload.is_empty()) {
            out.push(b'\n');
        }
        if self.verbose && !self.newline && view.payload.is_empty() {
            out.clear();
        }
        Ok(())
    }

    fn complain(&self, words: &str) {
        if !self.quiet {
            eprintln!("{words}");
        }
    }
}
