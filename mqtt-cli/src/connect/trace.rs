//! `-d`: a carrier that prints the packets which it carries, in mosquitto's words.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use mqtt_client_async::transport::{Carrier, Transport};
use mqtt_client_async::{TransportError, Version};
use mqtt_packet::{AckKind, Delivery, Frame, Packet, Publish};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::options::{Settings, Tool};

/// The same way to the server, with everything printed.
pub(super) fn traced(below: Arc<dyn Transport>, settings: &Settings, id: &str) -> Arc<dyn Transport> {
    let name = if id.is_empty() { "(null)" } else { id };
    let name = Arc::new(Mutex::new(name.to_owned()));
    let tells_granted = settings.tool == Tool::Sub && !settings.quiet;
    Arc::new(Traced { below, teller: Teller { version: settings.version(), tells_granted, name } })
}

#[derive(Debug)]
struct Traced {
    below: Arc<dyn Transport>,
    teller: Teller,
}

#[async_trait]
impl Transport for Traced {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let carrier = self.below.connect().await?;
        Ok(Box::new(Open { carrier, sent: Vec::new(), received: Vec::new(), teller: self.teller.clone() }))
    }
}

struct Open {
    carrier: Box<dyn Carrier>,
    /// What is not a whole packet yet.
    sent: Vec<u8>,
    received: Vec<u8>,
    teller: Teller,
}

impl AsyncRead for Open {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.carrier).poll_read(cx, buffer))?;
        let Self { received, teller, .. } = &mut *self;
        received.extend_from_slice(buffer.filled().get(before..).unwrap_or_default());
        teller.tell_all(received, Teller::received);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Open {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.carrier).poll_write(cx, bytes))?;
        let Self { sent, teller, .. } = &mut *self;
        sent.extend_from_slice(bytes.get(..written).unwrap_or_default());
        teller.tell_all(sent, Teller::sent);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(cx)
    }
}

/// Finds words for packets.
#[derive(Clone, Debug)]
struct Teller {
    version: Version,
    /// Whether what the server granted is told.
    tells_granted: bool,
    /// The client's name, which the server may give.
    name: Arc<Mutex<String>>,
}

impl Teller {
    fn tell_all(&self, bytes: &mut Vec<u8>, tell: fn(&Self, &Packet<'_>)) {
        let mut rest = bytes.as_slice();
        while let Ok(Some((frame, behind))) = Frame::split(rest) {
            if let Ok(packet) = Packet::decode(frame, self.version) {
                tell(self, &packet);
            }
            rest = behind;
        }
        let done = bytes.len().saturating_sub(rest.len());
        bytes.drain(..done);
    }

    fn say(&self, words: &str) {
        println!("Client {} {words}", self.name.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn sent(&self, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) => self.say(&format!("sending PUBLISH ({})", publish_words(publish))),
            Packet::Ack(ack) => {
                let name = match ack.kind {
                    AckKind::PubAck => "PUBACK",
                    AckKind::PubRec => "PUBREC",
                    AckKind::PubRel => "PUBREL",
                    AckKind::PubComp => "PUBCOMP",
                };
                self.say(&format!("sending {name} (m{}, rc{})", ack.id.get(), ack.reason_code.0));
            }
            Packet::Subscribe(subscribe) => {
                for entry in subscribe.filters.iter() {
                    let (qos, byte) = (entry.options.qos as u8, entry.options.to_byte(self.version));
                    self.say(&format!(
                        "sending SUBSCRIBE (Mid: {}, Topic: {}, QoS: {qos}, Options: 0x{:02x})",
                        subscribe.id.get(),
                        entry.filter.as_str(),
                        byte & !3,
                    ));
                }
            }
            Packet::Unsubscribe(unsubscribe) => {
                for filter in unsubscribe.filters.iter() {
                    let id = unsubscribe.id.get();
                    self.say(&format!("sending UNSUBSCRIBE (Mid: {id}, Topic: {})", filter.as_str()));
                }
            }
            Packet::Connect(_) => self.say("sending CONNECT"),
            Packet::PingReq(_) => self.say("sending PINGREQ"),
            Packet::Disconnect(_) => self.say("sending DISCONNECT"),
            Packet::Auth(_) => self.say("sending AUTH"),
            _ => {}
        }
    }

    fn received(&self, packet: &Packet<'_>) {
        match packet {
            Packet::ConnAck(connack) => {
                if let Some(id) = connack.properties.assigned_client_identifier() {
                    id.as_str().clone_into(&mut self.name.lock().unwrap_or_else(PoisonError::into_inner));
                }
                self.say(&format!("received CONNACK ({})", connack.reason_code.0));
            }
            Packet::Publish(publish) => self.say(&format!("received PUBLISH ({})", publish_words(publish))),
            Packet::Ack(ack) => {
                let (id, code) = (ack.id.get(), ack.reason_code.0);
                self.say(&match ack.kind {
                    AckKind::PubAck => format!("received PUBACK (Mid: {id}, RC:{code})"),
                    AckKind::PubRec => format!("received PUBREC (Mid: {id})"),
                    AckKind::PubRel => format!("received PUBREL (Mid: {id})"),
                    AckKind::PubComp => format!("received PUBCOMP (Mid: {id}, RC:{code})"),
                });
            }
            Packet::SubAck(suback) => {
                self.say("received SUBACK");
                if self.tells_granted {
                    let codes: Vec<String> =
                        suback.reason_codes.iter().map(|code| code.0.to_string()).collect();
                    println!("Subscribed (mid: {}): {}", suback.id.get(), codes.join(", "));
                }
            }
            Packet::UnsubAck(_) => self.say("received UNSUBACK"),
            Packet::PingResp(_) => self.say("received PINGRESP"),
            Packet::Disconnect(disconnect) => {
                self.say(&format!("received DISCONNECT ({})", disconnect.reason_code.0));
            }
            Packet::Auth(_) => self.say("received AUTH"),
            _ => {}
        }
    }
}

fn publish_words(publish: &Publish<'_>) -> String {
    let id = match publish.delivery {
        Delivery::AtMostOnce => 0,
        other => other.id().map_or(0, mqtt_packet::PacketId::get),
    };
    format!(
        "d{}, q{}, r{}, m{id}, '{}', ... ({} bytes)",
        u8::from(publish.delivery.dup()),
        publish.delivery.qos() as u8,
        u8::from(publish.retain),
        publish.topic.as_str(),
        publish.payload.len(),
    )
}
