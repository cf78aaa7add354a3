//! What works, in the newest version that the server speaks.

use std::time::{Duration, Instant};

use mqtt_client_async::{PropertyList, QoS, Version};
use mqtt_packet::{Packet, PacketType, Property, PropertyPlace, SubscribeOptions, TopicName, Will};

use super::peer::{Fault, Peer, raw};
use super::{Finding, Site};

const GROUP: &str = "what works";
/// Messages of each QoS.
const COUNT: usize = 100;

pub(super) async fn all(site: &Site, version: Version, findings: &mut Vec<Finding>) {
    findings.push(empty_identifier(site, version).await);
    findings.push(round_trip(site, version).await);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        findings.push(messages(site, version, qos).await);
    }
    let mut tell = |name: &str, result: Result<(), Fault>| findings.push(Finding::of(GROUP, name, result));
    tell("retained messages", retained(site, version).await);
    tell("wildcard +", heard_by(site, version, "plus/+/x", "plus/1/x").await);
    tell("wildcard #", heard_by(site, version, "hash/#", "hash/1/x").await);
    let odd = "odd/a b!\"$%&'()*/ÄЖ語🙂";
    tell("spaces, signs and other letters in topics", heard_by(site, version, "odd/#", odd).await);
    tell("topics that begin with /", heard(site, version, &format!("/{}", site.name)).await);
    tell("shared subscriptions", shared(site, version).await);
    tell("sessions that outlive a connection", session(site, version).await.map(drop));
    let waited = session(site, version).await.and_then(|waited| waited.ok_or_else(String::new));
    tell("messages of QoS 0 wait in a session", waited);
    tell("wills", will(site, version).await);
    if version == Version::V5 {
        tell("Subscription Identifiers", subscription_identifier(site).await);
        tell("Topic Aliases", topic_alias(site).await);
        tell("Message Expiry Interval", expiry(site).await);
    }
    tell("topics of the server itself ($SYS)", server_topics(site, version).await);
}

async fn empty_identifier(site: &Site, version: Version) -> Finding {
    let result = async { Peer::dial(site, version).await?.connect(&site.connect(version, "")?).await };
    Finding::of(GROUP, "connecting without a Client Identifier", result.await)
}

/// The median of some pings.
async fn round_trip(site: &Site, version: Version) -> Finding {
    let pinging = async {
        let mut peer = site.client(version, "ping").await?;
        let mut times = Vec::new();
        for _ in 0..21 {
            let begin = Instant::now();
            peer.ping().await?;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        Ok::<_, Fault>(times.get(10).copied().unwrap_or_default())
    };
    match pinging.await {
        Ok(time) => Finding::new(GROUP, "answer to a ping, µs", time.as_micros() as u64),
        Err(fault) => Finding::new(GROUP, "answer to a ping, µs", false).saying(fault),
    }
}

/// How many of a hundred messages come back, one after the other, and in which time.
async fn messages(site: &Site, version: Version, qos: QoS) -> Finding {
    let topic = site.topic("qos");
    let mut count = 0;
    let begin = Instant::now();
    let exchange = async {
        let mut receiver = site.client(version, "qosr").await?;
        let code = receiver.subscribe(&topic, SubscribeOptions::new(qos)).await?;
        if code.0 != qos as u8 {
            return Err(format!("the server grants {code}"));
        }
        let mut sender = site.client(version, "qoss").await?;
        for number in 0..COUNT {
            let payload = number.to_string();
            sender.publish(&topic, payload.as_bytes(), qos).await?;
            receiver.gets(payload.as_bytes()).await?;
            count += 1;
        }
        Ok(())
    };
    let result = exchange.await;
    let took = begin.elapsed().as_millis();
    let mut words = format!("{count} of {COUNT} messages in {took} ms");
    if let Err(fault) = &result {
        words.push_str(": ");
        words.push_str(fault);
    }
    Finding::new(GROUP, format!("QoS {}", qos as u8), result.is_ok()).saying(words)
}

async fn retained(site: &Site, version: Version) -> Result<(), Fault> {
    let topic = site.topic("retained");
    let mut peer = site.client(version, "ret").await?;
    peer.retain(&topic, b"kept").await?;
    peer.wants(&topic, QoS::AtLeastOnce).await?;
    let found = peer.gets(b"kept").await.map(drop);
    peer.retain(&topic, b"").await?;
    found
}

/// Whether what is published to a topic below this run's name gets to who subscribed to the filter.
async fn heard_by(site: &Site, version: Version, filter: &str, topic: &str) -> Result<(), Fault> {
    let mut peer = site.client(version, "match").await?;
    peer.wants(&site.topic(filter), QoS::AtMostOnce).await?;
    peer.publish(&site.topic(topic), b"x", QoS::AtMostOnce).await?;
    peer.gets(b"x").await.map(drop)
}

async fn heard(site: &Site, version: Version, topic: &str) -> Result<(), Fault> {
    let mut peer = site.client(version, "heard").await?;
    peer.wants(topic, QoS::AtMostOnce).await?;
    peer.publish(topic, b"x", QoS::AtMostOnce).await?;
    peer.gets(b"x").await.map(drop)
}

/// Two members of a group, and eight messages, each for one of them.
async fn shared(site: &Site, version: Version) -> Result<(), Fault> {
    let (topic, filter) = (site.topic("shared"), format!("$share/{}/{}", site.name, site.topic("shared")));
    let (mut one, mut other) = (site.client(version, "one").await?, site.client(version, "two").await?);
    for member in [&mut one, &mut other] {
        member.wants(&filter, QoS::AtMostOnce).await?;
    }
    let mut sender = site.client(version, "three").await?;
    for _ in 0..8 {
        sender.publish(&topic, b"x", QoS::AtMostOnce).await?;
    }
    sender.ping().await?;
    let mut counts = [0; 2];
    for (member, count) in [&mut one, &mut other].into_iter().zip(&mut counts) {
        while member.gets_nothing().await.is_err() {
            member.message().await?;
            *count += 1;
        }
    }
    if counts.iter().sum::<u32>() == 8 {
        Ok(())
    } else {
        Err(format!("of 8 messages the two members got {counts:?}"))
    }
}

/// A message of QoS 1 waits for who is away; and whether one of QoS 0 does.
async fn session(site: &Site, version: Version) -> Result<Option<()>, Fault> {
    let (topic, id) = (site.topic("session"), site.id("session"));
    let lasting = PropertyList::new().with(Property::SessionExpiryInterval(60));
    let mut connect = site.connect(version, &id)?;
    connect.clean_start = false;
    if version == Version::V5 {
        let place = PropertyPlace::of(PacketType::Connect);
        connect.properties = lasting.at(place).map_err(|fault| fault.to_string())?;
    }
    let mut away = Peer::dial(site, version).await?;
    away.connect(&connect).await?;
    away.wants(&topic, QoS::AtLeastOnce).await?;
    drop(away);
    let mut sender = site.client(version, "sender").await?;
    sender.publish(&topic, b"zero", QoS::AtMostOnce).await?;
    sender.publish(&topic, b"one", QoS::AtLeastOnce).await?;
    let mut back = Peer::dial(site, version).await?;
    back.connect(&connect).await?;
    let mut found = Vec::new();
    while let Ok(message) = back.message().await {
        found.push(message.publish()?.payload.to_vec());
    }
    // Nothing is left behind.
    Peer::dial(site, version).await?.connect(&site.connect(version, &id)?).await?;
    if !found.iter().any(|payload| payload == b"one") {
        return Err("the message was lost".to_owned());
    }
    Ok(found.iter().any(|payload| payload == b"zero").then_some(()))
}

/// What the server says when a client is lost.
async fn will(site: &Site, version: Version) -> Result<(), Fault> {
    let (topic, id) = (site.topic("will"), site.id("lost"));
    let mut watcher = site.client(version, "watcher").await?;
    watcher.wants(&topic, QoS::AtLeastOnce).await?;
    let mut connect = site.connect(version, &id)?;
    connect.will = Some(will_of(&topic)?);
    let mut lost = Peer::dial(site, version).await?;
    lost.connect(&connect).await?;
    drop(lost);
    watcher.gets(b"gone").await.map(drop)
}

/// A will with the payload "gone".
pub(super) fn will_of(topic: &str) -> Result<Will<'_>, Fault> {
    let topic = TopicName::new(topic).map_err(|fault| fault.to_string())?;
    let properties = mqtt_packet::Properties::EMPTY;
    Ok(Will { topic, payload: b"gone", qos: QoS::AtLeastOnce, retain: false, properties })
}

async fn subscription_identifier(site: &Site) -> Result<(), Fault> {
    let topic = site.topic("identifier");
    let mut peer = site.client(Version::V5, "identifier").await?;
    peer.wants_as(&topic, 77).await?;
    peer.publish(&topic, b"x", QoS::AtMostOnce).await?;
    let message = peer.gets(b"x").await?;
    let identifiers: Vec<u32> = message.publish()?.properties.subscription_identifiers().collect();
    if identifiers == [77] {
        Ok(())
    } else {
        Err(format!("the message has the identifiers {identifiers:?}, not 77"))
    }
}

async fn topic_alias(site: &Site) -> Result<(), Fault> {
    let topic = site.topic("alias");
    let mut peer = site.client(Version::V5, "alias").await?;
    peer.wants(&topic, QoS::AtMostOnce).await?;
    let alias = PropertyList::new().with(Property::TopicAlias(1));
    peer.publish_with_properties(&topic, b"first", QoS::AtMostOnce, &alias).await?;
    peer.gets(b"first").await?;
    // No topic name, three bytes of properties, and the payload.
    peer.say(&raw(PacketType::Publish, 0, b"\0\0\x03\x23\0\x01again")).await;
    peer.gets(b"again").await.map(drop)
}

/// A message that is too old does not wait any more.
async fn expiry(site: &Site) -> Result<(), Fault> {
    let topic = site.topic("expiry");
    let mut peer = site.client(Version::V5, "expiry").await?;
    let soon = PropertyList::new().with(Property::MessageExpiryInterval(1));
    let properties = soon.of_publish().map_err(|fault| fault.to_string())?;
    peer.publish_with(&topic, b"old", QoS::AtLeastOnce, |publish| {
        publish.retain = true;
        publish.properties = properties;
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    peer.wants(&topic, QoS::AtLeastOnce).await?;
    let found = peer.gets_nothing().await;
    peer.retain(&topic, b"").await?;
    found
}

async fn server_topics(site: &Site, version: Version) -> Result<(), Fault> {
    let mut peer = site.client(version, "sys").await?;
    peer.wants("$SYS/#", QoS::AtMostOnce).await?;
    peer.message().await.map(drop)
}

impl Peer {
    /// Subscribes with a Subscription Identifier.
    pub(super) async fn wants_as(&mut self, filter: &str, identifier: u32) -> Result<(), Fault> {
        let id = self.id();
        let properties = PropertyList::new().with(Property::SubscriptionIdentifier(identifier));
        let place = PropertyPlace::of(PacketType::Subscribe);
        let options = SubscribeOptions::new(QoS::ExactlyOnce);
        let filters = [mqtt_packet::SubscribeFilter { filter: super::peer::filter_of(filter)?, options }];
        let mut subscribe = mqtt_packet::Subscribe::new(id, &filters);
        subscribe.properties = properties.at(place).map_err(|fault| fault.to_string())?;
        self.send(&Packet::Subscribe(subscribe)).await?;
        let answer = self.answer().await?;
        match super::peer::suback_of(&answer, id)?.reason_codes.iter().next() {
            Some(code) if !code.is_error() => Ok(()),
            other => Err(format!("no subscription to {filter}: {other:?}")),
        }
    }

    pub(super) async fn publish_with_properties(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        properties: &PropertyList,
    ) -> Result<(), Fault> {
        let properties = properties.of_publish().map_err(|fault| fault.to_string())?;
        self.publish_with(topic, payload, qos, |publish| publish.properties = properties).await
    }
}
