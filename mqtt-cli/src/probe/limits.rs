//! Which versions a server speaks, which limits it announces, and which are found by trying.

use mqtt_client_async::{PropertyList, QoS, Version};
use mqtt_packet::{ConnAck, Packet, PacketType, Property, PropertyPlace};
use serde_json::Value;

use super::peer::{Bytes, Fault, Peer};
use super::{Finding, Site, version_name};
use crate::failure::{Failure, Outcome};

const VERSIONS: &str = "versions";
const ANNOUNCED: &str = "announced in CONNACK, MQTT 5.0";
const FOUND: &str = "found by trying";

/// The versions that the server accepts, oldest first. A server that cannot be reached at all is a failure.
pub(super) async fn versions(site: &Site, findings: &mut Vec<Finding>) -> Outcome<Vec<Version>> {
    let mut accepted = Vec::new();
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        let peer = Peer::dial(site, version)
            .await
            .map_err(|fault| Failure::error(format!("{}: {fault}", site.url)))?;
        drop(peer);
        let result = site.client(version, "v").await;
        if result.is_ok() {
            accepted.push(version);
        }
        findings.push(Finding::of(VERSIONS, version_name(version), result));
    }
    if accepted.is_empty() {
        let words = findings.iter().map(|finding| format!("{}: {}", finding.name, finding.words));
        return Err(Failure::error(words.collect::<Vec<_>>().join("; ")));
    }
    Ok(accepted)
}

/// What CONNACK of 5.0 says.
pub(super) async fn announced(site: &Site, findings: &mut Vec<Finding>) -> Result<(), Fault> {
    let asked = PropertyList::new()
        .with(Property::SessionExpiryInterval(u32::MAX))
        .with(Property::RequestResponseInformation(true));
    let mut connect = site.connect(Version::V5, "")?;
    connect.keep_alive = 65_535;
    connect.properties =
        asked.at(PropertyPlace::of(PacketType::Connect)).map_err(|fault| fault.to_string())?;
    let mut peer = Peer::dial(site, Version::V5).await?;
    let answer = match peer.connect(&connect).await {
        Ok(answer) => answer,
        // It chooses no identifiers.
        Err(_) => {
            let id = site.id("limits");
            connect.client_id = super::peer::text_of(&id)?;
            peer = Peer::dial(site, Version::V5).await?;
            let answer = peer.connect(&connect).await?;
            list(&connack(&answer)?, findings);
            return forget(site, &id).await;
        }
    };
    let connack = connack(&answer)?;
    list(&connack, findings);
    match connack.properties.assigned_client_identifier() {
        Some(id) => forget(site, id.as_str()).await,
        None => Ok(()),
    }
}

/// Ends a session that was asked to last.
async fn forget(site: &Site, id: &str) -> Result<(), Fault> {
    Peer::dial(site, Version::V5).await?.connect(&site.connect(Version::V5, id)?).await.map(drop)
}

fn connack(answer: &Bytes) -> Result<ConnAck<'_>, Fault> {
    match answer.packet()? {
        Packet::ConnAck(connack) => Ok(connack),
        other => Err(other.to_string()),
    }
}

fn list(connack: &ConnAck<'_>, findings: &mut Vec<Finding>) {
    let properties = &connack.properties;
    let mut tell = |name: &str, value: Value, words: &str| {
        findings.push(Finding::new(ANNOUNCED, name, value).saying(words));
    };
    let or = |value: Option<u32>, absent: u32| match value {
        Some(value) => (Value::from(value), ""),
        None => (Value::from(absent), "not said"),
    };
    let flag = |value: Option<bool>| match value {
        Some(value) => (Value::from(value), ""),
        None => (Value::from(true), "not said"),
    };
    for (name, (value, words)) in [
        ("Receive Maximum", or(properties.receive_maximum().map(u32::from), 65_535)),
        ("Maximum QoS", or(properties.maximum_qos().map(u32::from), 2)),
        ("Retain Available", flag(properties.retain_available())),
        ("Maximum Packet Size", or(properties.maximum_packet_size(), 268_435_460)),
        ("Topic Alias Maximum", or(properties.topic_alias_maximum().map(u32::from), 0)),
        ("Wildcard Subscription Available", flag(properties.wildcard_subscription_available())),
        ("Subscription Identifiers Available", flag(properties.subscription_identifiers_available())),
        ("Shared Subscription Available", flag(properties.shared_subscription_available())),
    ] {
        tell(name, value, words);
    }
    match properties.session_expiry_interval() {
        Some(seconds) => tell("longest session, seconds", seconds.into(), ""),
        None => tell("longest session, seconds", u32::MAX.into(), "for ever"),
    }
    match properties.server_keep_alive() {
        Some(seconds) => tell("longest Keep Alive, seconds", seconds.into(), ""),
        None => tell("longest Keep Alive, seconds", 65_535.into(), "as asked for"),
    }
    let assigned = properties.assigned_client_identifier();
    tell("chooses Client Identifiers", assigned.is_some().into(), assigned.map_or("", |id| id.as_str()));
    let information = properties.response_information();
    tell("Response Information", information.is_some().into(), information.map_or("", |text| text.as_str()));
}

/// What the server takes, and what not any more.
pub(super) async fn found(site: &Site, version: Version, max_payload: usize, findings: &mut Vec<Finding>) {
    let mut tell = |name: &str, largest: usize, limit: usize| {
        let words = if largest >= limit { "the most that was tried" } else { "" };
        findings.push(Finding::new(FOUND, name, largest).saying(words));
    };
    let result = largest(23, 65_535, async |length| identifier_works(site, version, length).await).await;
    tell("longest Client Identifier, bytes", result, 65_535);
    let result =
        largest(1, 65_535, async |length| topic_works(site, version, &filled(site, length)).await).await;
    tell("longest topic, bytes", result, 65_535);
    let deepest = async |levels: usize| topic_works(site, version, &levelled(site, levels)).await;
    tell("most topic levels", largest(1, 32_768, deepest).await, 32_768);
    let result = largest(1, max_payload, async |length| payload_works(site, version, length).await).await;
    tell("largest payload, bytes", result, max_payload);
}

/// The largest number up to `limit` that works, where larger ones do not; `least` is taken to work.
async fn largest(least: usize, limit: usize, works: impl AsyncFn(usize) -> bool) -> usize {
    if works(limit).await {
        return limit;
    }
    let (mut good, mut bad) = (least, limit);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match works(middle).await {
            true => good = middle,
            false => bad = middle,
        }
    }
    good
}

async fn identifier_works(site: &Site, version: Version, length: usize) -> bool {
    let id = filled(site, length);
    let connecting = async {
        let connect = site.connect(version, &id)?;
        Peer::dial(site, version).await?.connect(&connect).await
    };
    connecting.await.is_ok()
}

/// A text of this length, which begins with the name of this run.
fn filled(site: &Site, length: usize) -> String {
    let mut text = site.name.clone();
    text.truncate(length);
    text.extend(std::iter::repeat_n('x', length.saturating_sub(text.len())));
    text
}

/// A topic of so many levels, the first of which is the name of this run.
fn levelled(site: &Site, levels: usize) -> String {
    let mut topic = site.name.clone();
    topic.extend(std::iter::repeat_n("/x", levels.saturating_sub(1)));
    topic
}

/// Whether a message to the topic comes back.
async fn topic_works(site: &Site, version: Version, topic: &str) -> bool {
    there_and_back(site, version, topic, b"x").await.is_ok()
}

async fn payload_works(site: &Site, version: Version, length: usize) -> bool {
    there_and_back(site, version, &site.topic("payload"), &vec![b'x'; length]).await.is_ok()
}

async fn there_and_back(site: &Site, version: Version, topic: &str, payload: &[u8]) -> Result<(), Fault> {
    let mut peer = site.client(version, "limit").await?;
    peer.wants(topic, QoS::AtLeastOnce).await?;
    peer.publish(topic, payload, QoS::AtLeastOnce).await?;
    peer.gets(payload).await.map(drop)
}
