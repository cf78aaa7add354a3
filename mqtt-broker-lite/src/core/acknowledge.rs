//! The client acknowledges what it was sent: PUBACK, PUBREC, PUBCOMP (3.1.1 and 5.0 section 4.3).

use super::held::Then;
use super::shard::Shard;
use super::{Change, CloseReason};
use mqtt_client::delivery::{Acknowledged, Sending};
use mqtt_packet::{Ack, AckKind, Frame, PacketId, ReasonCode, Version};

impl Shard {
    pub(super) fn on_acknowledgement(&mut self, key: usize, frame: Frame<'_>) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let Some(connection) = session.connection.as_deref_mut() else {
            return Ok(());
        };
        let version = connection.version;
        let ack = Ack::decode(frame, version).map_err(|error| CloseReason::Packet(error, version))?;
        let index = session.outbound.find(ack.id);
        let stage = index.and_then(|index| session.outbound.in_flight.get(index)).map(|known| known.stage);
        match Sending::acknowledged(stage, ack.kind, ack.reason_code) {
            Acknowledged::Done => {
                connection.give_quota();
                if let Some(index) = index {
                    self.finish(key, index);
                }
                self.drain(key);
            }
            Acknowledged::Release(reason_code) => {
                if let (Some(index), Some(Sending::AwaitPubRec)) = (index, stage) {
                    self.received(key, index);
                }
                self.send_pubrel(key, ack.id, reason_code);
            }
            Acknowledged::Ignore => {}
            Acknowledged::Violation => {
                return Err(CloseReason::rule(
                    if version == Version::V5 { "MQTT-4.13.1-1" } else { "MQTT-4.8.0-1" },
                    ReasonCode::PROTOCOL_ERROR,
                    "an acknowledgement that does not belong to its message",
                ));
            }
        }
        Ok(())
    }

    /// PUBREL, once it is safe that PUBREC came.
    pub(super) fn send_pubrel(&mut self, key: usize, id: PacketId, reason_code: ReasonCode) {
        let cause = self.journal.cause();
        self.reply(key, cause, Then::Nothing, |version, out| {
            let reason_code = match version {
                Version::V5 => reason_code,
                _ => ReasonCode::SUCCESS,
            };
            Ack { reason_code, ..Ack::new(AckKind::PubRel, id) }.encode(version, out)
        });
    }

    /// PUBREC: the message is never sent again, only its identifier is kept [MQTT-4.3.3-6].
    pub(super) fn received(&mut self, key: usize, index: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let order = session.outbound.next_received();
        let Some(in_flight) = session.outbound.in_flight.get_mut(index) else {
            return;
        };
        in_flight.stage = Sending::AwaitPubComp;
        in_flight.received = order;
        let (number, serial, is_stored) = (session.number, in_flight.serial, session.is_stored);
        let Some(queued) = session.outbound.take_queued(index) else {
            return;
        };
        self.done(number, &queued);
        if !is_stored {
            self.journal.release(queued.number);
        } else if let Some(message) = queued.number {
            self.journal.record(Change::InFlight {
                session: number,
                sequence: queued.sequence,
                serial,
                received: Some(order),
            });
            self.journal.record(Change::QueuedGone(number, queued.sequence));
            self.journal.release(Some(message));
        }
    }

    /// An exchange is over.
    pub(super) fn finish(&mut self, key: usize, index: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(in_flight) = session.outbound.remove_in_flight(index) else {
            return;
        };
        let (number, is_stored) = (session.number, session.is_stored);
        if let Some(queued) = &in_flight.queued {
            self.done(number, queued);
        }
        if is_stored {
            self.journal.record(Change::InFlightGone(number, in_flight.serial));
        }
        if let Some(queued) = in_flight.queued
            && let Some(message) = queued.number
        {
            // Of a session that is not kept any more only the message is left.
            if is_stored {
                self.journal.record(Change::QueuedGone(number, queued.sequence));
            }
            self.journal.release(Some(message));
        }
    }

    /// Starts repeating what a resumed session has in flight: first every PUBREL, in the order of their PUBRECs
    /// [MQTT-4.6.0-4].
    pub(super) fn begin_repeating(&mut self, key: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(connection) = session.connection.as_deref_mut() else {
            return;
        };
        if connection.replay != Some(0) || !connection.is_open(self.window) {
            return;
        }
        connection.replay = Some(1);
        let mut releases: Vec<_> = session
            .outbound
            .in_flight
            .iter()
            .filter(|in_flight| !in_flight.stage.repeats_publish())
            .map(|in_flight| (in_flight.received, super::outbound::packet_id(in_flight.serial)))
            .collect();
        for _ in &releases {
            connection.take_quota();
        }
        releases.sort_unstable();
        for (_, id) in releases {
            self.send_pubrel(key, id, ReasonCode::SUCCESS);
        }
    }
}
