//! A connection of the probe: packets, or any bytes, one by one, and what the server says to them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use mqtt_client_async::transport::Carrier;
use mqtt_client_async::{QoS, ReasonCode, TopicFilter, TopicName, Utf8Str, Version};
use mqtt_packet::{
    Ack, AckKind, Connect, Delivery, Frame, Packet, PacketId, PacketType, PingReq, Publish, SubAck,
    Subscribe, SubscribeFilter, SubscribeOptions, UnsubAck, Unsubscribe,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Site;

/// What the server did instead of what it should have done.
pub(super) type Fault = String;

/// For how long after a PINGRESP something that should not come may still come, from a server with several threads.
const SETTLE: Duration = Duration::from_millis(60);

/// What comes from the server.
pub(super) enum Heard {
    Packet(Bytes),
    /// The connection ended.
    Closed,
    /// Nothing came in time.
    Nothing,
}

/// A packet as it came.
pub(super) struct Bytes {
    bytes: Vec<u8>,
    version: Version,
}

impl Bytes {
    pub(super) fn packet(&self) -> Result<Packet<'_>, Fault> {
        let frame = Frame::split(&self.bytes).ok().flatten();
        let (frame, _) = frame.ok_or("bytes that are no packet")?;
        Packet::decode(frame, self.version).map_err(|fault| format!("a packet that is none: {fault}"))
    }

    /// Whether it is a CONNACK of any version that does not accept.
    fn is_refusal(&self) -> bool {
        self.bytes.first() == Some(&((PacketType::ConnAck as u8) << 4)) && self.bytes.get(3) > Some(&0)
    }

    pub(super) fn publish(&self) -> Result<Publish<'_>, Fault> {
        match self.packet()? {
            Packet::Publish(publish) => Ok(publish),
            other => Err(named(&other)),
        }
    }
}

fn named(packet: &Packet<'_>) -> Fault {
    format!("{packet}")
}

pub(super) struct Peer {
    carrier: Box<dyn Carrier>,
    pub(super) version: Version,
    patience: Duration,
    input: BytesMut,
    /// Messages that came while something else was awaited.
    messages: VecDeque<Bytes>,
    next_id: u16,
}

impl Peer {
    /// An open connection on which nothing was said.
    pub(super) async fn dial(site: &Site, version: Version) -> Result<Self, Fault> {
        let carrier =
            tokio::time::timeout(site.patience.max(Duration::from_secs(5)), site.transport.connect());
        let carrier =
            carrier.await.map_err(|_| "no connection in time")?.map_err(|error| error.to_string())?;
        let (input, messages) = (BytesMut::new(), VecDeque::new());
        Ok(Self { carrier, version, patience: site.patience, input, messages, next_id: 0 })
    }

    pub(super) fn id(&mut self) -> PacketId {
        self.next_id = self.next_id.wrapping_add(1).max(1);
        PacketId::new(self.next_id).unwrap_or_else(|| unreachable!())
    }

    /// Sends bytes, whatever they are. A server that has gone is heard of later.
    pub(super) async fn say(&mut self, bytes: &[u8]) {
        let written = async {
            let _ = self.carrier.write_all(bytes).await;
            let _ = self.carrier.flush().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(30), written).await;
    }

    pub(super) async fn send(&mut self, packet: &Packet<'_>) -> Result<(), Fault> {
        let mut bytes = BytesMut::new();
        packet.encode(self.version, &mut bytes).map_err(|fault| fault.to_string())?;
        self.say(&bytes).await;
        Ok(())
    }

    /// The next packet.
    pub(super) async fn hear(&mut self) -> Heard {
        self.hear_within(self.patience).await
    }

    pub(super) async fn hear_within(&mut self, patience: Duration) -> Heard {
        let reading = async {
            loop {
                if let Ok(Some((frame, _))) = Frame::split(&self.input) {
                    let bytes = self.input.split_to(frame.len()).to_vec();
                    return Heard::Packet(Bytes { bytes, version: self.version });
                }
                match self.carrier.read_buf(&mut self.input).await {
                    Ok(read) if read > 0 => {}
                    _ => return Heard::Closed,
                }
            }
        };
        tokio::time::timeout(patience, reading).await.unwrap_or(Heard::Nothing)
    }

    /// The next packet that is no message; messages wait.
    pub(super) async fn answer(&mut self) -> Result<Bytes, Fault> {
        loop {
            match self.hear().await {
                Heard::Packet(packet) if packet.publish().is_ok() => self.messages.push_back(packet),
                Heard::Packet(packet) => return Ok(packet),
                Heard::Closed => return Err("the connection was closed".to_owned()),
                Heard::Nothing => return Err("no answer came".to_owned()),
            }
        }
    }

    /// Connects: the CONNACK, if it accepts.
    pub(super) async fn connect(&mut self, connect: &Connect<'_>) -> Result<Bytes, Fault> {
        self.send(&Packet::Connect(*connect)).await?;
        let answer = self.answer().await?;
        match answer.packet()? {
            Packet::ConnAck(connack) if !connack.reason_code.is_error() => {}
            Packet::ConnAck(connack) => return Err(format!("refused: {}", connack.reason_code)),
            other => return Err(named(&other)),
        }
        Ok(answer)
    }

    /// Subscribes: the code of SUBACK.
    pub(super) async fn subscribe(
        &mut self,
        filter: &str,
        options: SubscribeOptions,
    ) -> Result<ReasonCode, Fault> {
        let id = self.id();
        let filters = [SubscribeFilter { filter: filter_of(filter)?, options }];
        self.send(&Packet::Subscribe(Subscribe::new(id, &filters))).await?;
        let answer = self.answer().await?;
        let suback = suback_of(&answer, id)?;
        suback.reason_codes.iter().next().ok_or_else(|| "a SUBACK without a code".to_owned())
    }

    /// Subscribes at a QoS, which must be granted.
    pub(super) async fn wants(&mut self, filter: &str, qos: QoS) -> Result<(), Fault> {
        self.wants_with(filter, SubscribeOptions::new(qos)).await
    }

    pub(super) async fn wants_with(&mut self, filter: &str, options: SubscribeOptions) -> Result<(), Fault> {
        let code = self.subscribe(filter, options).await?;
        if code.is_error() { Err(format!("no subscription to {filter}: {code}")) } else { Ok(()) }
    }

    /// Unsubscribes: the code of UNSUBACK, where there is one.
    pub(super) async fn unsubscribe(&mut self, filter: &str) -> Result<Option<ReasonCode>, Fault> {
        let id = self.id();
        let filters = [filter_of(filter)?];
        self.send(&Packet::Unsubscribe(Unsubscribe::new(id, &filters))).await?;
        let answer = self.answer().await?;
        match answer.packet()? {
            Packet::UnsubAck(UnsubAck { id: answered, reason_codes, .. }) if answered == id => {
                Ok(reason_codes.iter().next())
            }
            other => Err(named(&other)),
        }
    }

    /// Publishes, up to the last acknowledgement.
    pub(super) async fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS) -> Result<(), Fault> {
        self.publish_with(topic, payload, qos, |_| {}).await
    }

    /// The same, retained.
    pub(super) async fn retain(&mut self, topic: &str, payload: &[u8]) -> Result<(), Fault> {
        self.publish_with(topic, payload, QoS::AtLeastOnce, |publish| publish.retain = true).await
    }

    pub(super) async fn publish_with<'p>(
        &mut self,
        topic: &'p str,
        payload: &'p [u8],
        qos: QoS,
        change: impl FnOnce(&mut Publish<'p>),
    ) -> Result<(), Fault> {
        let topic = TopicName::new(topic).map_err(|fault| fault.to_string())?;
        let mut publish = Publish::new(topic, payload);
        publish.delivery = Delivery::new(qos, Some(self.id())).ok_or("no such QoS")?;
        change(&mut publish);
        self.send(&Packet::Publish(publish)).await?;
        let Some(id) = publish.delivery.id() else { return Ok(()) };
        if qos == QoS::ExactlyOnce {
            self.acknowledged(AckKind::PubRec, id).await?;
            self.send(&Packet::Ack(Ack::new(AckKind::PubRel, id))).await?;
            return self.acknowledged(AckKind::PubComp, id).await;
        }
        self.acknowledged(AckKind::PubAck, id).await
    }

    /// The next answer is this acknowledgement.
    pub(super) async fn acknowledged(&mut self, kind: AckKind, id: PacketId) -> Result<(), Fault> {
        let answer = self.answer().await?;
        let packet = answer.packet()?;
        match &packet {
            Packet::Ack(ack) if (ack.kind, ack.id) == (kind, id) && !ack.reason_code.is_error() => Ok(()),
            other => Err(named(other)),
        }
    }

    /// The next message, which is acknowledged up to the last packet.
    pub(super) async fn message(&mut self) -> Result<Bytes, Fault> {
        let message = self.unacknowledged_message().await?;
        self.acknowledge(&message).await?;
        Ok(message)
    }

    pub(super) async fn acknowledge(&mut self, message: &Bytes) -> Result<(), Fault> {
        let delivery = message.publish()?.delivery;
        match (delivery.qos(), delivery.id()) {
            (QoS::AtLeastOnce, Some(id)) => self.send(&Packet::Ack(Ack::new(AckKind::PubAck, id))).await,
            (QoS::ExactlyOnce, Some(id)) => {
                self.send(&Packet::Ack(Ack::new(AckKind::PubRec, id))).await?;
                self.acknowledged(AckKind::PubRel, id).await?;
                self.send(&Packet::Ack(Ack::new(AckKind::PubComp, id))).await
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn unacknowledged_message(&mut self) -> Result<Bytes, Fault> {
        if let Some(message) = self.messages.pop_front() {
            return Ok(message);
        }
        match self.hear().await {
            Heard::Packet(packet) => packet.publish().map(drop).map(|()| packet),
            Heard::Closed => Err("the connection was closed".to_owned()),
            Heard::Nothing => Err("no message came".to_owned()),
        }
    }

    /// The next message has this payload.
    pub(super) async fn gets(&mut self, payload: &[u8]) -> Result<Bytes, Fault> {
        let message = self.message().await?;
        match message.publish()? {
            publish if publish.payload == payload => Ok(message),
            other => Err(named(&Packet::Publish(other))),
        }
    }

    /// No message is on its way: none comes before the answer to a ping, nor a moment later.
    pub(super) async fn gets_nothing(&mut self) -> Result<(), Fault> {
        self.ping().await?;
        if let Heard::Packet(packet) = self.hear_within(SETTLE).await {
            self.messages.push_back(packet);
        }
        match self.messages.front() {
            Some(packet) => Err(named(&packet.packet()?)),
            None => Ok(()),
        }
    }

    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        self.send(&Packet::PingReq(PingReq)).await?;
        let answer = self.answer().await?;
        match answer.packet()? {
            Packet::PingResp(_) => Ok(()),
            other => Err(named(&other)),
        }
    }

    /// The server ends the connection; with which code, where it says one.
    pub(super) async fn is_closed(&mut self) -> Result<Option<ReasonCode>, Fault> {
        self.is_closed_within(self.patience).await
    }

    pub(super) async fn is_closed_within(&mut self, patience: Duration) -> Result<Option<ReasonCode>, Fault> {
        let mut code = None;
        loop {
            match self.hear_within(patience).await {
                Heard::Closed => return Ok(code),
                Heard::Nothing => return Err("the connection stays open".to_owned()),
                Heard::Packet(packet) => match packet.packet() {
                    Ok(Packet::Disconnect(disconnect)) => code = Some(disconnect.reason_code),
                    Ok(Packet::ConnAck(connack)) if connack.reason_code.is_error() => {
                        code = Some(connack.reason_code);
                    }
                    Ok(other) => return Err(named(&other)),
                    // A server that does not know the version answers as its own versions do.
                    Err(_) if packet.is_refusal() => {}
                    Err(fault) => return Err(fault),
                },
            }
        }
    }
}

pub(super) fn filter_of(filter: &str) -> Result<TopicFilter<'_>, Fault> {
    TopicFilter::new(filter).map_err(|fault| fault.to_string())
}

pub(super) fn text_of(text: &str) -> Result<Utf8Str<'_>, Fault> {
    Utf8Str::new(text).map_err(|fault| fault.to_string())
}

pub(super) fn suback_of(answer: &Bytes, id: PacketId) -> Result<SubAck<'_>, Fault> {
    match answer.packet()? {
        Packet::SubAck(suback) if suback.id == id => Ok(suback),
        other => Err(named(&other)),
    }
}

/// A packet of this type with this body, right or wrong.
pub(super) fn raw(packet_type: PacketType, flags: u8, body: &[u8]) -> Vec<u8> {
    // Bodies of the probe are short.
    let mut bytes = vec![(packet_type as u8) << 4 | flags, u8::try_from(body.len()).unwrap_or(127)];
    bytes.extend_from_slice(body);
    bytes
}
