//! Messages whose payload does not fit the client's memory: it goes from where it is straight into the connection.

use super::Client;
use super::application::Request;
use crate::scene::Scene;
use crate::wire::{ConnIndex, Direction};
use mqtt_client::{Message, QoS, RequestError, Ticket};

/// Smaller payloads are never worth it.
const SMALL: usize = 1000;

/// What a PUBLISH is longer than its payload, at most.
const FRONT: usize = 100;

impl Client<'_> {
    /// Whether a message has to go in parts.
    fn is_streamed(&self, number: usize, scene: &Scene) -> bool {
        let message = scene.oracle.message(number);
        let room = if message.qos == QoS::AtMostOnce { self.plan.transmit } else { self.plan.memory };
        !self.plan.durable && message.size > SMALL && message.size + FRONT > room
    }

    /// Hands a message to the engine, whole or in parts.
    pub(super) fn publish(
        &mut self,
        number: usize,
        message: &Message<'_>,
        scene: &mut Scene,
    ) -> Result<Ticket, RequestError> {
        if !self.is_streamed(number, scene) {
            return self.process.engine.publish(message);
        }
        let ticket = self.process.engine.begin_publish(message, message.payload.len() as u32)?;
        scene.oracle.figures.streamed += 1;
        self.process.streamed = Some((number, message.payload.to_vec()));
        Ok(ticket)
    }

    /// Sends a payload once more that the engine asks for.
    pub(super) fn stream_again(&mut self, scene: &Scene) {
        let wanted = self.process.engine.payload_wanted().and_then(|(ticket, _)| self.request(ticket));
        if let Some(Request::Publish(number)) = wanted
            && self.process.engine.resume_payload().is_ok()
        {
            self.process.streamed = Some((number, scene.oracle.payload(number)));
        }
    }

    /// Writes of a payload what the connection takes; true if something went.
    pub(super) fn write_payload(&mut self, index: ConnIndex, scene: &mut Scene) -> bool {
        let left = self.process.engine.payload_left() as usize;
        let Some((_, payload)) = self.process.streamed.as_ref().filter(|_| left > 0) else {
            return false;
        };
        let part = &payload[payload.len() - left..];
        let n = scene.write(index, Direction::Up, part);
        self.process.said.extend_from_slice(&part[..n]);
        let now = self.time(scene);
        self.process.engine.payload_written(now, n);
        n > 0
    }
}
