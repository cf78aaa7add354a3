//! What only MQTT 5.0 has, for the probe's smoke test of statements.

use mqtt_client_async::{PropertyList, QoS, ReasonCode, RetainHandling, Version};
use mqtt_packet::{Packet, PacketType, Property, PropertyPlace, SubscribeOptions};

use super::peer::{Fault, Peer, text_of};
use super::rules::{finding, kept, left};
use super::{Finding, Site, text};

type Checked = Result<(), Fault>;

pub(super) async fn all(site: &Site, findings: &mut Vec<Finding>) {
    let mut tell = |statement, words, result| findings.push(finding(Version::V5, statement, words, result));
    tell("MQTT-3.2.2-16", "says which Client Identifier it chose", assigned(site).await);
    tell("MQTT-3.1.2-24", "sends no packet that is larger than the client takes", too_large(site).await);
    tell("MQTT-3.3.4-9", "sends no more messages than the client takes at once", quota(site).await);
    tell("MQTT-3.3.4-10", "answers while messages wait for that", answers_meanwhile(site).await);
    tell("MQTT-3.8.3-3", "sends no client its own message where it wants none", no_local(site).await);
    tell("MQTT-3.3.1-13", "keeps RETAIN where the subscription wants it", as_published(site).await);
    for (statement, handling, words, expected) in [
        (
            "MQTT-3.3.1-9",
            RetainHandling::SendAtSubscribe,
            "sends retained messages at each SUBSCRIBE",
            [1, 1],
        ),
        ("MQTT-3.3.1-10", RetainHandling::SendIfNew, "sends them for a new subscription alone", [1, 0]),
        ("MQTT-3.3.1-11", RetainHandling::DoNotSend, "sends none where none are wanted", [0, 0]),
    ] {
        tell(statement, words, retained(site, handling, expected).await);
    }
    tell("MQTT-3.3.2-18", "passes User Properties on, in their order", user_properties(site).await);
    tell("MQTT-3.3.2-16", "passes Response Topic and Correlation Data on", request(site).await);
    tell("MQTT-3.3.2-20", "passes Content Type and Payload Format Indicator on", content(site).await);
    tell("MQTT-3.3.2-6", "passes the rest of the Message Expiry Interval on", age(site).await);
    tell("MQTT-3.3.4-3", "says the Subscription Identifier of each subscription", identifiers(site).await);
    tell("MQTT-3.14.4-3", "keeps the will of a client that leaves with 0x04", will_is_wanted(site).await);
}

async fn assigned(site: &Site) -> Checked {
    let mut peer = Peer::dial(site, Version::V5).await?;
    let answer = peer.connect(&site.connect(Version::V5, "")?).await?;
    match answer.packet()? {
        Packet::ConnAck(connack) if connack.properties.assigned_client_identifier().is_some() => Ok(()),
        other => Err(other.to_string()),
    }
}

/// A client that says this in its CONNECT.
async fn saying(site: &Site, of: &str, property: Property<'_>) -> Result<Peer, Fault> {
    let (id, properties) = (site.id(of), PropertyList::new().with(property));
    let mut connect = site.connect(Version::V5, &id)?;
    let place = PropertyPlace::of(PacketType::Connect);
    connect.properties = properties.at(place).map_err(|fault| fault.to_string())?;
    let mut peer = Peer::dial(site, Version::V5).await?;
    peer.connect(&connect).await?;
    Ok(peer)
}

async fn too_large(site: &Site) -> Checked {
    let topic = site.topic("large");
    let mut peer = saying(site, "small", Property::MaximumPacketSize(200)).await?;
    peer.wants(&topic, QoS::AtLeastOnce).await?;
    let mut sender = site.client(Version::V5, "sender").await?;
    sender.publish(&topic, &[b'x'; 300], QoS::AtLeastOnce).await?;
    sender.publish(&topic, b"small", QoS::AtLeastOnce).await?;
    peer.gets(b"small").await.map(drop)
}

/// A client that takes one message at a time, and for which there are two; the first one came.
async fn one_at_a_time(site: &Site) -> Result<(Peer, super::peer::Bytes), Fault> {
    let topic = site.topic("quota");
    let mut peer = saying(site, "quota", Property::ReceiveMaximum(1)).await?;
    peer.wants(&topic, QoS::AtLeastOnce).await?;
    let mut sender = site.client(Version::V5, "sender").await?;
    for payload in [b"one", b"two"] {
        sender.publish(&topic, payload, QoS::AtLeastOnce).await?;
    }
    let first = peer.unacknowledged_message().await?;
    Ok((peer, first))
}

async fn quota(site: &Site) -> Checked {
    let (mut peer, first) = one_at_a_time(site).await?;
    peer.gets_nothing().await?;
    peer.acknowledge(&first).await?;
    peer.gets(b"two").await.map(drop)
}

async fn answers_meanwhile(site: &Site) -> Checked {
    let (mut peer, _) = one_at_a_time(site).await?;
    peer.wants(&site.topic("other"), QoS::AtMostOnce).await?;
    peer.ping().await
}

fn options(change: impl FnOnce(&mut SubscribeOptions)) -> SubscribeOptions {
    let mut options = SubscribeOptions::new(QoS::AtLeastOnce);
    change(&mut options);
    options
}

async fn no_local(site: &Site) -> Checked {
    let topic = site.topic("local");
    let mut peer = site.client(Version::V5, "local").await?;
    peer.wants_with(&topic, options(|options| options.no_local = true)).await?;
    peer.publish(&topic, b"own", QoS::AtLeastOnce).await?;
    peer.gets_nothing().await?;
    site.client(Version::V5, "other").await?.publish(&topic, b"other", QoS::AtLeastOnce).await?;
    peer.gets(b"other").await.map(drop)
}

async fn as_published(site: &Site) -> Checked {
    let topic = site.topic("published");
    let mut peer = site.client(Version::V5, "published").await?;
    peer.wants_with(&topic, options(|options| options.retain_as_published = true)).await?;
    peer.retain(&topic, b"kept").await?;
    let kept = peer.gets(b"kept").await?;
    peer.retain(&topic, b"").await?;
    if kept.publish()?.retain { Ok(()) } else { Err("it came without RETAIN".to_owned()) }
}

/// How many retained messages come at a first and at a second SUBSCRIBE.
async fn retained(site: &Site, handling: RetainHandling, expected: [u32; 2]) -> Checked {
    kept(site, Version::V5, |mut peer, topic| async move {
        let mut found = [0; 2];
        for count in &mut found {
            peer.wants_with(&topic, options(|options| options.retain_handling = handling)).await?;
            while peer.gets_nothing().await.is_err() {
                peer.message().await?;
                *count += 1;
            }
        }
        if found == expected { Ok(()) } else { Err(format!("{found:?} messages came, not {expected:?}")) }
    })
    .await
}

/// Publishes with these properties, and looks at what comes.
async fn passed_on(
    site: &Site,
    properties: PropertyList,
    is_well: impl FnOnce(&mqtt_packet::Properties<'_>) -> bool,
) -> Checked {
    let topic = site.topic("properties");
    let mut peer = site.client(Version::V5, "properties").await?;
    peer.wants(&topic, QoS::AtLeastOnce).await?;
    peer.publish_with_properties(&topic, b"x", QoS::AtLeastOnce, &properties).await?;
    let message = peer.gets(b"x").await?;
    let publish = message.publish()?;
    if is_well(&publish.properties) { Ok(()) } else { Err(publish.to_string()) }
}

async fn user_properties(site: &Site) -> Checked {
    let pairs = [("b", "1"), ("a", "2"), ("b", "1")];
    let mut properties = PropertyList::new();
    for (name, value) in pairs {
        properties = properties.with(Property::UserProperty(text(name), text(value)));
    }
    passed_on(site, properties, |properties| {
        properties.user_properties().map(|(name, value)| (name.as_str(), value.as_str())).eq(pairs)
    })
    .await
}

async fn request(site: &Site) -> Checked {
    let answers = site.topic("answers");
    let topic = mqtt_packet::TopicName::new(&answers).map_err(|fault| fault.to_string())?;
    let properties =
        PropertyList::new().with(Property::ResponseTopic(topic)).with(Property::CorrelationData(b"\0\xff"));
    passed_on(site, properties, |properties| {
        properties.response_topic() == Some(topic) && properties.correlation_data() == Some(b"\0\xff")
    })
    .await
}

async fn content(site: &Site) -> Checked {
    let properties = PropertyList::new()
        .with(Property::ContentType(text_of("text/plain")?))
        .with(Property::PayloadFormatIndicator(true));
    passed_on(site, properties, |properties| {
        properties.content_type().is_some_and(|kind| kind.as_str() == "text/plain")
            && properties.payload_format_indicator() == Some(true)
    })
    .await
}

async fn age(site: &Site) -> Checked {
    let properties = PropertyList::new().with(Property::MessageExpiryInterval(100));
    passed_on(site, properties, |properties| {
        properties.message_expiry_interval().is_some_and(|seconds| (90..=100).contains(&seconds))
    })
    .await
}

async fn identifiers(site: &Site) -> Checked {
    let (exact, wild) = (site.topic("two/x"), site.topic("two/+"));
    let mut peer = site.client(Version::V5, "two").await?;
    peer.wants_as(&exact, 1).await?;
    peer.wants_as(&wild, 2).await?;
    peer.publish(&exact, b"x", QoS::AtMostOnce).await?;
    // One copy with both, or a copy for each.
    let mut found = Vec::new();
    while found.len() < 2 {
        let message = peer.gets(b"x").await?;
        found.extend(message.publish()?.properties.subscription_identifiers());
    }
    found.sort_unstable();
    if found == [1, 2] { Ok(()) } else { Err(format!("the identifiers are {found:?}, not 1 and 2")) }
}

async fn will_is_wanted(site: &Site) -> Checked {
    let mut watcher = left(site, Version::V5, Some(ReasonCode::DISCONNECT_WITH_WILL_MESSAGE)).await?;
    watcher.gets(b"gone").await.map(drop)
}
