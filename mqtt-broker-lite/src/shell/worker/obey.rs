//! What the core says is done.

use super::{Answer, Applicant, LINGER, Letter, Phase, Socket, Worker, index};
use crate::core::{CloseReason, ConnId, Input, Now, Output, Question};
use crate::shell::mailbox::FEW;

impl Worker {
    /// Does what the core says until it says nothing more.
    pub(super) fn work(&mut self, now: Now) {
        loop {
            while let Some(output) = self.shard.poll() {
                self.obey(output, now);
            }
            if self.call_others(now) {
                continue;
            }
            if self.to_write.is_empty() {
                return;
            }
            // From the end: who published was listed for his answer first, but those come first for whom the message is.
            while let Some(index) = self.to_write.pop() {
                self.write(index, now);
            }
        }
    }

    fn obey(&mut self, output: Output, now: Now) {
        match output {
            Output::Send(id, wire) => {
                let index = index(id);
                if let Some(socket) = self.sockets.get_mut(index).filter(|socket| socket.id == id) {
                    socket.push(wire);
                    self.list_for_writing(index);
                }
            }
            Output::Close(id, reason) => self.close(id, reason, now),
            Output::Pause(id) => self.pause(id, true),
            Output::Resume(id) => self.pause(id, false),
            Output::Observed(id, message) => {
                let observer = self.observers.get(&id);
                if observer.is_some_and(|observer| observer.try_send(message).is_err()) {
                    tracing::warn!("a subscription inside the process is too slow");
                    self.tally.missed_inside = self.tally.missed_inside.saturating_add(1);
                    self.shard.handle(now, Input::Took(id, 1));
                }
            }
            Output::Link(to, envelope) => {
                let to = usize::from(to.0);
                if let Some(shard) = self.shards.get(to) {
                    shard.post(Letter::Link(self.own, envelope));
                    self.note_letter(to);
                }
            }
            Output::WakeAt(at) => self.wake_at = Some(at),
            Output::Fetch(session, after, limit) => {
                if let Some(disk) = &self.disk {
                    disk.fetch(self.own, session, after, limit);
                }
            }
            Output::Write(cause, part, changes) => match &self.disk {
                Some(disk) => disk.write(self.own, cause, part, changes),
                // Nothing is kept, so everything is as safe as it will ever be.
                None => self.shard.handle(now, Input::Synced(cause)),
            },
            Output::Ask(token, Question::Authenticate(credentials)) => {
                let socket = self.sockets.get(index(credentials.connection));
                let applicant = Applicant {
                    listener: socket.map_or(0, |socket| socket.origin.listener),
                    address: socket.and_then(Socket::address),
                    common_name: socket.and_then(|socket| socket.carrier.common_name()),
                    credentials,
                };
                self.gate.ask(applicant, Answer::new(token, self.mailbox()));
            }
        }
    }

    /// A letter was left for a shard; once there are many, it may as well begin.
    fn note_letter(&mut self, to: usize) {
        let count = match self.to_call.iter_mut().find(|(shard, _)| *shard == to) {
            Some((_, count)) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                self.to_call.push((to, 1));
                1
            }
        };
        if count > FEW
            && let Some(shard) = self.shards.get(to)
        {
            shard.call();
        }
    }

    /// Sees to it that the letters are read that were left for others; true if there are answers already.
    fn call_others(&mut self, now: Now) -> bool {
        if self.to_call.is_empty() {
            return false;
        }
        // Who is visited is to be done soon; who has much to write lets the others begin meanwhile.
        let may_visit = !self.is_visited && self.to_write.len() <= FEW;
        if may_visit {
            // The answers are read below.
            self.mailbox.hold_calls();
        }
        for &(to, count) in &self.to_call {
            match self.shards.get(to) {
                Some(shard) if may_visit && count <= FEW => shard.read(),
                Some(shard) => shard.call(),
                None => {}
            }
        }
        self.to_call.clear();
        may_visit && self.read_letters(now)
    }

    /// Stops or goes on reading from a connection.
    fn pause(&mut self, id: ConnId, is_paused: bool) {
        let index = index(id);
        let Some(socket) = self.sockets.get_mut(index).filter(|socket| socket.id == id) else {
            return;
        };
        socket.is_paused = is_paused;
        if !is_paused && !std::mem::replace(&mut socket.is_listed, true) {
            self.to_read.push_back(index);
        }
    }

    fn close(&mut self, id: ConnId, reason: CloseReason, now: Now) {
        let index = index(id);
        let Some(socket) = self.sockets.get_mut(index).filter(|socket| socket.id == id) else {
            return;
        };
        let peer = socket.address();
        match reason.statement() {
            Some(statement) => tracing::warn!(?peer, statement, %reason, "closed"),
            None => tracing::debug!(?peer, %reason, "closed"),
        }
        socket.phase = Phase::Flushing;
        socket.is_paused = false;
        self.closing.push_back((now.mono.saturating_add(LINGER), index, id));
        self.list_for_writing(index);
    }
}
