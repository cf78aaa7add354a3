//! Connections that wait to be accepted.

use super::{Input, Now, Origin, Worker};
use std::io::ErrorKind;
use std::net::SocketAddr;

const ACCEPTS_PER_TURN: usize = 256;
/// How long no connection is accepted after the system ran out of descriptors, in milliseconds.
const ACCEPT_PAUSE: u64 = 100;

impl Worker {
    pub(super) fn accept(&mut self, now: Now) {
        if self.accept_after > now.mono {
            return;
        }
        for index in std::mem::take(&mut self.to_accept) {
            if self.accept_from(index, now) {
                self.to_accept.push(index);
            }
        }
    }

    /// A proxy said where a client is: now it can be counted there.
    pub(super) fn introduce(&mut self, index: usize, now: Now) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        let (id, address) = (socket.id, socket.address());
        let placed = address.map_or(Ok(()), |address| socket.origin.ticket.place(address.ip()));
        match placed {
            // It is still listed.
            Ok(()) => self.to_read.push_back(index),
            Err(limit) => {
                self.turn_away(address, limit);
                self.shard.handle(now, Input::Closed(id));
                self.remove(index);
            }
        }
    }

    fn turn_away(&mut self, address: Option<SocketAddr>, limit: &'static str) {
        self.tally.turned_away = self.tally.turned_away.saturating_add(1);
        tracing::warn!(?address, limit, "no room for a connection");
    }

    /// Accepts connections of one listener, not too many at once; true if there may be more.
    fn accept_from(&mut self, index: usize, now: Now) -> bool {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(index) else {
                return false;
            };
            match listener.accept() {
                Ok(carrier) => {
                    let listener = u16::try_from(index).unwrap_or(u16::MAX);
                    let address = carrier.stream().peer();
                    match self.guard.admit(listener, address.map(|address| address.ip())) {
                        Ok(ticket) => {
                            self.tally.accepted = self.tally.accepted.saturating_add(1);
                            self.open(carrier, Origin { listener, ticket }, now);
                        }
                        Err(limit) => self.turn_away(address, limit),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted for a moment");
                    self.accept_after = now.mono.saturating_add(ACCEPT_PAUSE);
                    return true;
                }
            }
        }
        true
    }
}
