//! How a server must behave: a smoke test of the standard's statements, each with its identifier.

use std::time::Duration;

use mqtt_client_async::{QoS, ReasonCode, Version};
use mqtt_packet::{
    Ack, AckKind, ConnAck, Connect, Disconnect, Packet, PacketType, PropertyPlace, SubscribeOptions,
};

use super::abilities::will_of;
use super::peer::{Fault, Peer};
use super::{Finding, Site, conformance};

/// A statement of 5.0, and of 3.1.1.
type Statements = (Option<&'static str>, Option<&'static str>);
type Checked = Result<(), Fault>;

/// Goes through statements one by one.
struct Book<'s> {
    site: &'s Site,
    version: Version,
    findings: Vec<Finding>,
}

pub(super) async fn all(site: &Site, version: Version) -> Vec<Finding> {
    let mut book = Book { site, version, findings: Vec::new() };
    sessions(&mut book).await;
    subscriptions(&mut book).await;
    deliveries(&mut book).await;
    retained(&mut book).await;
    wills(&mut book).await;
    if version == Version::V5 {
        super::rules_of_5::all(site, &mut book.findings).await;
    }
    book.findings
}

const fn both(statement: &'static str) -> Statements {
    (Some(statement), Some(statement))
}

const fn each(new: &'static str, old: &'static str) -> Statements {
    (Some(new), Some(old))
}

impl<'s> Book<'s> {
    /// Whether a statement holds; it is asked only where the version has it.
    async fn check<F: Future<Output = Checked>>(
        &mut self,
        statements: Statements,
        words: &'static str,
        check: impl FnOnce(&'s Site, Version) -> F,
    ) {
        let statement = if self.version == Version::V5 { statements.0 } else { statements.1 };
        if let Some(statement) = statement {
            let result = check(self.site, self.version).await;
            self.findings.push(finding(self.version, statement, words, result));
        }
    }
}

pub(super) fn finding(version: Version, statement: &'static str, words: &str, result: Checked) -> Finding {
    Finding { statement: Some(statement), ..Finding::of(conformance(version), words, result) }
}

async fn sessions(book: &mut Book<'_>) {
    book.check(both("MQTT-3.12.4-1"), "answers a ping", async |site, version| {
        site.client(version, "ping").await?.ping().await
    })
    .await;
    let words = "says that a new session is new";
    book.check(each("MQTT-3.2.2-2", "MQTT-3.2.2-1"), words, async |site, version| {
        let id = site.id("new");
        is_present(site, &lasting(site, version, &id, true)?, false).await
    })
    .await;
    let words = "says that a kept session is there";
    book.check(each("MQTT-3.2.2-3", "MQTT-3.2.2-2"), words, async |site, version| {
        let id = site.id("new");
        let result = is_present(site, &lasting(site, version, &id, false)?, true).await;
        is_present(site, &site.connect(version, &id)?, false).await.and(result)
    })
    .await;
    book.check(each("MQTT-3.1.4-3", "MQTT-3.1.4-2"), "ends the older of two equal clients", takes_over).await;
    book.check(each("MQTT-3.1.2-22", "MQTT-3.1.2-24"), "notices a client that is silent", keeps_alive).await;
}

/// A CONNECT of a session that outlives its connection.
pub(super) fn lasting<'c>(
    site: &'c Site,
    version: Version,
    id: &'c str,
    clean: bool,
) -> Result<Connect<'c>, Fault> {
    // What `PropertyList` would write: the Session Expiry Interval of an hour.
    const BLOCK: [u8; 5] = [0x11, 0, 0, 0x0E, 0x10];
    let mut connect = site.connect(version, id)?;
    connect.clean_start = clean && version == Version::V5;
    if version == Version::V5 {
        let place = PropertyPlace::of(PacketType::Connect);
        connect.properties =
            mqtt_packet::Properties::from_block(&BLOCK, place).map_err(|fault| fault.to_string())?;
    }
    Ok(connect)
}

async fn is_present(site: &Site, connect: &Connect<'_>, expected: bool) -> Checked {
    let mut peer = Peer::dial(site, connect.version).await?;
    let answer = peer.connect(connect).await?;
    match answer.packet()? {
        Packet::ConnAck(ConnAck { session_present, .. }) if session_present == expected => {}
        other => return Err(other.to_string()),
    }
    peer.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS))).await?;
    peer.is_closed().await.map(drop)
}

async fn takes_over(site: &Site, version: Version) -> Checked {
    let mut old = site.client(version, "twin").await?;
    let mut new = site.client(version, "twin").await?;
    let code = old.is_closed().await?;
    if version == Version::V5 && code != Some(ReasonCode::SESSION_TAKEN_OVER) {
        return Err(format!("the older one was told {code:?}, not that it was taken over"));
    }
    new.ping().await
}

async fn keeps_alive(site: &Site, version: Version) -> Checked {
    let id = site.id("silent");
    let mut connect = site.connect(version, &id)?;
    connect.keep_alive = 1;
    let mut peer = Peer::dial(site, version).await?;
    peer.connect(&connect).await?;
    // One and a half times a second, and time for a server that looks now and then.
    peer.is_closed_within(Duration::from_secs(10)).await.map(drop)
}

async fn subscriptions(book: &mut Book<'_>) {
    let words = "answers several topic filters with as many codes";
    book.check(each("MQTT-3.8.4-6", "MQTT-3.8.4-5"), words, one_code_for_each_filter).await;
    let words = "answers an UNSUBSCRIBE from what there is not";
    book.check(both("MQTT-3.10.4-5"), words, async |site, version| {
        let code = site.client(version, "un").await?.unsubscribe(&site.topic("nothing")).await?;
        let expected = (version == Version::V5).then_some(ReasonCode::NO_SUBSCRIPTION_EXISTED);
        if code == expected { Ok(()) } else { Err(format!("with {code:?}")) }
    })
    .await;
    let words = "sends nothing more after UNSUBSCRIBE";
    book.check(each("MQTT-3.10.4-2", "MQTT-3.10.4-2"), words, async |site, version| {
        let topic = site.topic("un");
        let mut peer = site.client(version, "un").await?;
        peer.wants(&topic, QoS::AtLeastOnce).await?;
        peer.unsubscribe(&topic).await?;
        peer.publish(&topic, b"x", QoS::AtLeastOnce).await?;
        peer.gets_nothing().await
    })
    .await;
    let words = "keeps topics that begin with $ from # and +";
    book.check(both("MQTT-4.7.2-1"), words, hides_server_topics).await;
    let words = "delivers at the lower of both QoS";
    book.check(each("MQTT-3.8.4-8", "MQTT-3.8.4-6"), words, lowers_qos).await;
}

async fn one_code_for_each_filter(site: &Site, version: Version) -> Checked {
    let topics = [site.topic("a"), site.topic("b"), site.topic("c")];
    let mut peer = site.client(version, "several").await?;
    let id = peer.id();
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let mut filters = Vec::new();
    for (topic, qos) in topics.iter().zip(levels) {
        let filter = super::peer::filter_of(topic)?;
        filters.push(mqtt_packet::SubscribeFilter { filter, options: SubscribeOptions::new(qos) });
    }
    peer.send(&Packet::Subscribe(mqtt_packet::Subscribe::new(id, &filters))).await?;
    let answer = peer.answer().await?;
    let suback = super::peer::suback_of(&answer, id)?;
    if suback.reason_codes.len() == filters.len() { Ok(()) } else { Err(suback.to_string()) }
}

async fn hides_server_topics(site: &Site, version: Version) -> Checked {
    let (hidden, seen) = (format!("${}/x", site.name), site.topic("x"));
    let mut peer = site.client(version, "hidden").await?;
    peer.wants("+/x", QoS::AtMostOnce).await?;
    // Servers may refuse to take it; then there is nothing to hide.
    peer.publish(&hidden, b"hidden", QoS::AtMostOnce).await?;
    peer.publish(&seen, b"seen", QoS::AtMostOnce).await?;
    loop {
        let message = peer.message().await?;
        let publish = message.publish()?;
        match publish.topic.as_str() {
            topic if topic == seen => return Ok(()),
            topic if topic == hidden => return Err(publish.to_string()),
            // Somebody else's.
            _ => {}
        }
    }
}

async fn lowers_qos(site: &Site, version: Version) -> Checked {
    let topic = site.topic("lower");
    let mut peer = site.client(version, "lower").await?;
    peer.wants(&topic, QoS::AtLeastOnce).await?;
    for (sent, expected) in [(QoS::AtMostOnce, QoS::AtMostOnce), (QoS::ExactlyOnce, QoS::AtLeastOnce)] {
        peer.publish(&topic, b"x", sent).await?;
        let message = peer.message().await?;
        if message.publish()?.delivery.qos() != expected {
            return Err(message.publish()?.to_string());
        }
    }
    Ok(())
}

async fn deliveries(book: &mut Book<'_>) {
    let words = "acknowledges QoS 1 with the same identifier";
    book.check(each("MQTT-4.3.2-4", "MQTT-4.3.2-2"), words, async |site, version| {
        let topic = site.topic("ack");
        site.client(version, "ack").await?.publish(&topic, b"x", QoS::AtLeastOnce).await
    })
    .await;
    let words = "delivers a repeated message of QoS 2 once";
    book.check(each("MQTT-4.3.3-10", "MQTT-4.3.3-2"), words, once).await;
    let words = "answers PUBREL with PUBCOMP";
    book.check(each("MQTT-4.3.3-11", "MQTT-4.3.3-2"), words, async |site, version| {
        let topic = site.topic("rel");
        site.client(version, "rel").await?.publish(&topic, b"x", QoS::ExactlyOnce).await
    })
    .await;
    let words = "keeps the order of messages";
    book.check(each("MQTT-4.6.0-5", "MQTT-4.6.0-6"), words, order).await;
    let words = "sends again what was not acknowledged";
    book.check(both("MQTT-4.4.0-1"), words, again).await;
}

async fn once(site: &Site, version: Version) -> Checked {
    let topic = site.topic("once");
    let mut peer = site.client(version, "once").await?;
    peer.wants(&topic, QoS::ExactlyOnce).await?;
    let mut sender = site.client(version, "twice").await?;
    let name = mqtt_packet::TopicName::new(&topic).map_err(|fault| fault.to_string())?;
    let id = sender.id();
    let mut publish = mqtt_packet::Publish::new(name, b"once");
    for dup in [false, true] {
        publish.delivery = mqtt_packet::Delivery::ExactlyOnce { id, dup };
        sender.send(&Packet::Publish(publish)).await?;
        sender.acknowledged(AckKind::PubRec, id).await?;
    }
    sender.send(&Packet::Ack(Ack::new(AckKind::PubRel, id))).await?;
    sender.acknowledged(AckKind::PubComp, id).await?;
    peer.gets(b"once").await?;
    peer.gets_nothing().await
}

async fn order(site: &Site, version: Version) -> Checked {
    let topic = site.topic("order");
    let mut peer = site.client(version, "order").await?;
    peer.wants(&topic, QoS::AtLeastOnce).await?;
    for number in 0..20_u8 {
        peer.publish(&topic, &[number], QoS::AtLeastOnce).await?;
    }
    for number in 0..20_u8 {
        peer.gets(&[number]).await?;
    }
    Ok(())
}

async fn again(site: &Site, version: Version) -> Checked {
    let (topic, id) = (site.topic("again"), site.id("again"));
    let connect = lasting(site, version, &id, false)?;
    let mut peer = Peer::dial(site, version).await?;
    peer.connect(&connect).await?;
    peer.wants(&topic, QoS::AtLeastOnce).await?;
    peer.publish(&topic, b"again", QoS::AtLeastOnce).await?;
    peer.unacknowledged_message().await?;
    drop(peer);
    let mut peer = Peer::dial(site, version).await?;
    peer.connect(&connect).await?;
    let message = peer.gets(b"again").await?;
    let was_repeated = message.publish()?.delivery.dup();
    is_present_and_forgotten(site, version, &id).await?;
    if was_repeated { Ok(()) } else { Err("the message came without DUP".to_owned()) }
}

/// Ends a session that was kept.
async fn is_present_and_forgotten(site: &Site, version: Version, id: &str) -> Checked {
    Peer::dial(site, version).await?.connect(&site.connect(version, id)?).await.map(drop)
}

async fn retained(book: &mut Book<'_>) {
    let words = "keeps a retained message for later subscribers";
    book.check(both("MQTT-3.3.1-5"), words, async |site, version| {
        kept(site, version, |mut peer, topic| async move {
            peer.wants(&topic, QoS::AtLeastOnce).await?;
            let message = peer.gets(b"kept").await?;
            if message.publish()?.retain { Ok(()) } else { Err("it came without RETAIN".to_owned()) }
        })
        .await
    })
    .await;
    let words = "passes it on without RETAIN to who was there before";
    book.check(each("MQTT-3.3.1-12", "MQTT-3.3.1-9"), words, async |site, version| {
        let topic = site.topic("live");
        let mut peer = site.client(version, "live").await?;
        peer.wants(&topic, QoS::AtLeastOnce).await?;
        peer.retain(&topic, b"live").await?;
        let message = peer.gets(b"live").await?;
        peer.retain(&topic, b"").await?;
        if message.publish()?.retain { Err("it came with RETAIN".to_owned()) } else { Ok(()) }
    })
    .await;
    let words = "forgets a retained message when told so";
    book.check(each("MQTT-3.3.1-6", "MQTT-3.3.1-10"), words, async |site, version| {
        kept(site, version, |mut peer, topic| async move {
            peer.retain(&topic, b"").await?;
            peer.wants(&topic, QoS::AtLeastOnce).await?;
            peer.gets_nothing().await
        })
        .await
    })
    .await;
}

/// With a retained message on a topic, which is taken away afterwards.
pub(super) async fn kept<F: Future<Output = Checked>>(
    site: &Site,
    version: Version,
    check: impl FnOnce(Peer, String) -> F,
) -> Checked {
    let topic = site.topic("kept");
    let mut peer = site.client(version, "keeper").await?;
    peer.retain(&topic, b"kept").await?;
    let result = check(site.client(version, "kept").await?, topic.clone()).await;
    peer.retain(&topic, b"").await?;
    result
}

async fn wills(book: &mut Book<'_>) {
    let words = "publishes the will of a client that is lost";
    book.check(both("MQTT-3.1.2-8"), words, async |site, version| {
        let mut watcher = left(site, version, None).await?;
        watcher.gets(b"gone").await.map(drop)
    })
    .await;
    let words = "forgets the will of a client that says goodbye";
    book.check(both("MQTT-3.14.4-3"), words, async |site, version| {
        left(site, version, Some(ReasonCode::SUCCESS)).await?.gets_nothing().await
    })
    .await;
}

/// A client with a will has left, with or without a goodbye: who watches it.
pub(super) async fn left(site: &Site, version: Version, goodbye: Option<ReasonCode>) -> Result<Peer, Fault> {
    let (topic, id) = (site.topic("will"), site.id("left"));
    let mut watcher = site.client(version, "watcher").await?;
    watcher.wants(&topic, QoS::AtLeastOnce).await?;
    let mut connect = site.connect(version, &id)?;
    connect.will = Some(will_of(&topic)?);
    let mut peer = Peer::dial(site, version).await?;
    peer.connect(&connect).await?;
    if let Some(code) = goodbye {
        peer.send(&Packet::Disconnect(Disconnect::new(code))).await?;
        peer.is_closed().await?;
    }
    Ok(watcher)
}
