//! A connection of the benchmark: the codec over a carrier, with one read and one write for many packets.
//!
//! It does less than a client: no session, no queue, no retries. So what is measured is the server.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use mqtt_client_async::transport::Carrier;
use mqtt_client_async::{QoS, TopicFilter, Utf8Str, Version};
use mqtt_packet::{
    Connect, Disconnect, Frame, Packet, PacketId, ReasonCode, Subscribe, SubscribeFilter, SubscribeOptions,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Target;
use super::record::Nanos;
use crate::failure::{Failure, Outcome};

/// How much is read at once, and how much is gathered before it is written.
const BUFFER: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// What a connection does.
pub(super) trait Role {
    /// A packet came. What it asks for is appended to `out`.
    fn frame(&mut self, frame: Frame<'_>, now: Nanos, out: &mut BytesMut) -> Result<(), String>;

    /// All that was read together has been dealt with.
    fn after_read(&mut self, _now: Nanos) {}

    /// Appends what is to be sent now, up to `room` bytes. Returns when there will be more without anything coming.
    fn fill(&mut self, now: Nanos, room: usize, out: &mut BytesMut) -> Option<Nanos>;

    /// Whom to wake when something else lets it go on.
    fn park(&mut self, _waker: &Waker) {}

    /// Whether all is done.
    fn is_done(&self) -> bool;
}

pub(super) struct Link {
    carrier: Box<dyn Carrier>,
    version: Version,
    input: Vec<u8>,
    /// Where what was read ends.
    end: usize,
    out: BytesMut,
    /// How much of `out` is written.
    written: usize,
}

fn fault(error: impl std::fmt::Display) -> Failure {
    Failure::error(error)
}

impl Link {
    /// Connects, up to CONNACK.
    pub(super) async fn open(target: &Target, client_id: &str) -> Outcome<Self> {
        let connecting = async {
            let carrier = target.transport.connect().await.map_err(fault)?;
            let (version, input) = (target.version, vec![0; BUFFER]);
            let mut link = Self { carrier, version, input, end: 0, out: BytesMut::new(), written: 0 };
            let mut connect = Connect::new(version, Utf8Str::new(client_id).map_err(fault)?);
            connect.user_name = target.user_name.as_deref().map(Utf8Str::new).transpose().map_err(fault)?;
            connect.password = target.password.as_deref();
            connect.encode(version, &mut link.out).map_err(fault)?;
            link.ask(|packet| match packet {
                Packet::ConnAck(connack) => Some(connack.reason_code),
                _ => None,
            })
            .await?;
            Ok(link)
        };
        tokio::time::timeout(PATIENCE, connecting).await.unwrap_or_else(|_| Err(Failure::timed_out()))
    }

    /// Subscribes, up to SUBACK.
    pub(super) async fn subscribe(&mut self, filter: &str, qos: QoS) -> Outcome {
        let entry = SubscribeFilter {
            filter: TopicFilter::new(filter).map_err(fault)?,
            options: SubscribeOptions::new(qos),
        };
        let id = PacketId::new(1).unwrap_or_else(|| unreachable!());
        Subscribe::new(id, &[entry]).encode(self.version, &mut self.out).map_err(fault)?;
        let answer = self.ask(|packet| match packet {
            Packet::SubAck(suback) => suback.reason_codes.iter().next(),
            _ => None,
        });
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(Failure::timed_out()))
    }

    /// Writes what is there, and waits for the answer.
    async fn ask(&mut self, answer: fn(&Packet<'_>) -> Option<ReasonCode>) -> Outcome {
        self.carrier.write_all(&self.out).await?;
        self.carrier.flush().await?;
        self.out.clear();
        loop {
            let read = self.input.get(..self.end).unwrap_or_default();
            if let Some((frame, rest)) = Frame::split(read).map_err(fault)? {
                let packet = Packet::decode(frame, self.version).map_err(fault)?;
                let code = answer(&packet);
                let rest = rest.len();
                self.input.copy_within(self.end.saturating_sub(rest)..self.end, 0);
                self.end = rest;
                match code {
                    Some(code) if code.is_error() => {
                        return Err(Failure::new(code.0, format!("Error: {code}")));
                    }
                    Some(_) => return Ok(()),
                    None => continue,
                }
            }
            let spare = self.input.get_mut(self.end..).unwrap_or_default();
            match self.carrier.read(spare).await? {
                0 => return Err(Failure::error("the server closed the connection")),
                read => self.end += read,
            }
        }
    }

    /// Takes leave.
    pub(super) async fn close(mut self) {
        self.out.clear();
        let _ = Disconnect::new(ReasonCode::SUCCESS).encode(self.version, &mut self.out);
        let _ = self.carrier.write_all(&self.out).await;
        let _ = self.carrier.shutdown().await;
    }

    /// Goes on until the role is done.
    pub(super) async fn run(mut self, role: &mut impl Role, now: impl Fn() -> Nanos) -> Outcome {
        let mut timer = Box::pin(tokio::time::sleep(Duration::MAX));
        let result = poll_fn(|cx| self.poll(cx, role, &now, timer.as_mut())).await;
        self.close().await;
        result
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        role: &mut impl Role,
        now: &impl Fn() -> Nanos,
        mut timer: Pin<&mut tokio::time::Sleep>,
    ) -> Poll<Outcome> {
        loop {
            let time = now();
            let room = BUFFER.saturating_sub(self.out.len());
            let due = role.fill(time, room, &mut self.out);
            let all_written = self.write(cx)?;
            if role.is_done() && all_written {
                return Poll::Ready(Ok(()));
            }
            if self.read(cx, role, now)? {
                continue;
            }
            role.park(cx.waker());
            let Some(due) = due.filter(|_| all_written) else {
                return Poll::Pending;
            };
            let wait = Duration::from_nanos(due.saturating_sub(now()));
            timer.as_mut().reset(tokio::time::Instant::now() + wait);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Writes what the carrier takes; true where all is written.
    fn write(&mut self, cx: &mut Context<'_>) -> Outcome<bool> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.carrier).poll_write(cx, rest)? {
                Poll::Ready(written) => self.written += written,
                Poll::Pending => return Ok(false),
            }
        }
        if self.written > 0 {
            self.out.clear();
            self.written = 0;
        }
        Ok(Pin::new(&mut self.carrier).poll_flush(cx)?.is_ready())
    }

    /// Reads once; true where something came.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        role: &mut impl Role,
        now: &impl Fn() -> Nanos,
    ) -> Outcome<bool> {
        let mut buffer = ReadBuf::new(self.input.get_mut(self.end..).unwrap_or_default());
        if Pin::new(&mut self.carrier).poll_read(cx, &mut buffer)?.is_pending() {
            return Ok(false);
        }
        let read = buffer.filled().len();
        if read == 0 {
            return Err(Failure::error("the server closed the connection"));
        }
        self.end += read;
        let time = now();
        let mut rest = self.input.get(..self.end).unwrap_or_default();
        while let Some((frame, behind)) = Frame::split(rest).map_err(fault)? {
            role.frame(frame, time, &mut self.out).map_err(fault)?;
            rest = behind;
        }
        role.after_read(time);
        let rest = rest.len();
        self.input.copy_within(self.end.saturating_sub(rest)..self.end, 0);
        self.end = rest;
        if self.end == self.input.len() {
            // A packet that is larger than this.
            self.input.resize(self.input.len().saturating_mul(2), 0);
        }
        Ok(true)
    }
}
