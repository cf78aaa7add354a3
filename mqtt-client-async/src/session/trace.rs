//! The packets of a connection in words, for whoever listens to the target `mqtt_client_async::packet` at level trace.
//! Payloads are not printed, and secrets are not.

use mqtt_client::Version;
use mqtt_packet::{FixedHeader, Frame, Packet, Piece};

/// Nobody needs to read the whole of a packet that is longer: its front is told then.
const LONGEST: usize = 64 << 10;

/// What was written and is not a whole packet yet.
pub(super) struct Trace {
    version: Version,
    /// Whether somebody listened when the connection began; later, packets could not be told apart.
    listens: bool,
    written: Vec<u8>,
    /// How much of a long packet is still to come.
    skip: usize,
}

impl Trace {
    pub(super) const fn new(version: Version) -> Self {
        Self { version, listens: false, written: Vec::new(), skip: 0 }
    }

    /// A connection begins.
    pub(super) fn begin(&mut self) {
        self.listens = tracing::enabled!(target: "mqtt_client_async::packet", tracing::Level::TRACE);
        self.written.clear();
        self.skip = 0;
    }

    /// A piece came in.
    pub(super) fn received(&self, piece: &Piece<'_>) {
        if !self.listens {
            return;
        }
        match piece {
            Piece::Packet(frame) => self.tell("received", *frame),
            Piece::PublishStart(head) => {
                tracing::trace!(target: "mqtt_client_async::packet", "received {head}");
            }
            Piece::Chunk { .. } => {}
        }
    }

    /// Bytes went out.
    pub(super) fn written(&mut self, mut bytes: &[u8]) {
        if !self.listens {
            return;
        }
        let skipped = self.skip.min(bytes.len());
        self.skip = self.skip.saturating_sub(skipped);
        bytes = bytes.get(skipped..).unwrap_or_default();
        self.written.extend_from_slice(bytes);
        let buffer = core::mem::take(&mut self.written);
        let mut rest = buffer.as_slice();
        while let Ok(Some((frame, behind))) = Frame::split(rest) {
            self.tell("sent", frame);
            rest = behind;
        }
        match FixedHeader::decode(rest) {
            Ok(Some(header)) if header.packet_len() as usize > LONGEST => {
                let len = header.packet_len();
                tracing::trace!(target: "mqtt_client_async::packet", "sent {:?} of {len} bytes", header.packet_type);
                self.skip = (len as usize).saturating_sub(rest.len());
            }
            _ => self.written = rest.to_vec(),
        }
    }

    fn tell(&self, direction: &str, frame: Frame<'_>) {
        match Packet::decode(frame, self.version) {
            Ok(packet) => tracing::trace!(target: "mqtt_client_async::packet", "{direction} {packet}"),
            Err(error) => {
                tracing::trace!(target: "mqtt_client_async::packet", "{direction} a packet that is none: {error}");
            }
        }
    }
}
