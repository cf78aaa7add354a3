//! What a server must not accept: bytes that break a rule, after which the connection must end.

use mqtt_client_async::Version;
use mqtt_packet::PacketType;

use super::peer::{Fault, Heard, Peer, raw};
use super::{Finding, Site, conformance};

/// Something that no client may send.
struct Refusal {
    /// The statement of 5.0, and of 3.1.1 where it is one there.
    statements: (&'static str, Option<&'static str>),
    words: &'static str,
    /// Whether it comes in place of the CONNECT or after it.
    is_first: bool,
    /// Whether a SUBACK with a failure will do, too.
    may_say_no: bool,
    packet_type: PacketType,
    flags: u8,
    /// Behind the fixed header; `~` stands for the properties of 5.0, of which there are none, `=` for the version.
    body: &'static [u8],
}

const fn refusal(
    statements: (&'static str, Option<&'static str>),
    words: &'static str,
    packet_type: PacketType,
    flags: u8,
    body: &'static [u8],
) -> Refusal {
    Refusal { statements, words, is_first: false, may_say_no: false, packet_type, flags, body }
}

const fn first(refusal: Refusal) -> Refusal {
    Refusal { is_first: true, ..refusal }
}

const fn or_no(refusal: Refusal) -> Refusal {
    Refusal { may_say_no: true, ..refusal }
}

use PacketType::{Auth, Connect, PingReq, PubRel, Publish, Subscribe, Unsubscribe};

const REFUSALS: &[Refusal] = &[
    first(refusal(
        ("MQTT-3.1.0-1", Some("MQTT-3.1.0-1")),
        "refuses a first packet that is no CONNECT",
        PingReq,
        0,
        b"",
    )),
    first(refusal(
        ("MQTT-3.1.2-1", Some("MQTT-3.1.2-1")),
        "refuses another protocol's name",
        Connect,
        0,
        b"\0\x04MQXX=\x02\0\x3c~\0\x05probe",
    )),
    first(refusal(
        ("MQTT-3.1.2-2", Some("MQTT-3.1.2-2")),
        "refuses a version that there is not",
        Connect,
        0,
        b"\0\x04MQTT\x63\x02\0\x3c~\0\x05probe",
    )),
    first(refusal(
        ("MQTT-3.1.2-3", Some("MQTT-3.1.2-3")),
        "refuses a reserved flag in CONNECT",
        Connect,
        0,
        b"\0\x04MQTT=\x03\0\x3c~\0\x05probe",
    )),
    refusal(
        ("MQTT-3.1.0-2", Some("MQTT-3.1.0-2")),
        "refuses a second CONNECT",
        Connect,
        0,
        b"\0\x04MQTT=\x02\0\x3c~\0\x05probe",
    ),
    refusal(
        ("MQTT-1.5.4-1", Some("MQTT-1.5.3-1")),
        "refuses a topic that is no UTF-8",
        Publish,
        0,
        b"\0\x04a\xed\xa0\x80~x",
    ),
    refusal(("MQTT-1.5.4-2", Some("MQTT-1.5.3-2")), "refuses U+0000 in a topic", Publish, 0, b"\0\x03a\0b~x"),
    refusal(("MQTT-3.3.1-4", Some("MQTT-3.3.1-4")), "refuses QoS 3", Publish, 6, b"\0\x01a\0\x01~x"),
    refusal(
        ("MQTT-3.3.2-2", Some("MQTT-3.3.2-2")),
        "refuses a wildcard in a topic name",
        Publish,
        0,
        b"\0\x03a/+~x",
    ),
    refusal(
        ("MQTT-2.2.1-3", Some("MQTT-2.3.1-1")),
        "refuses the Packet Identifier 0",
        Publish,
        2,
        b"\0\x01a\0\0~x",
    ),
    refusal(("MQTT-3.6.1-1", Some("MQTT-3.6.1-1")), "refuses wrong flags of PUBREL", PubRel, 0, b"\0\x01"),
    refusal(
        ("MQTT-3.8.1-1", Some("MQTT-3.8.1-1")),
        "refuses wrong flags of SUBSCRIBE",
        Subscribe,
        0,
        b"\0\x01~\0\x01a\0",
    ),
    refusal(
        ("MQTT-3.8.3-2", Some("MQTT-3.8.3-3")),
        "refuses a SUBSCRIBE without a topic filter",
        Subscribe,
        2,
        b"\0\x01~",
    ),
    refusal(
        ("MQTT-3.8.3-5", None),
        "refuses reserved bits of subscription options",
        Subscribe,
        2,
        b"\0\x01~\0\x01a\xc0",
    ),
    refusal(
        ("MQTT-3.8.3-4", None),
        "refuses No Local for a shared subscription",
        Subscribe,
        2,
        b"\0\x01~\0\x0a$share/g/a\x04",
    ),
    or_no(refusal(
        ("MQTT-4.7.1-1", Some("MQTT-4.7.1-2")),
        "refuses a # that is not alone in its level",
        Subscribe,
        2,
        b"\0\x01~\0\x02a#\0",
    )),
    or_no(refusal(
        ("MQTT-4.7.1-2", Some("MQTT-4.7.1-3")),
        "refuses a + that is not alone in its level",
        Subscribe,
        2,
        b"\0\x01~\0\x02a+\0",
    )),
    refusal(
        ("MQTT-3.10.1-1", Some("MQTT-3.10.1-1")),
        "refuses wrong flags of UNSUBSCRIBE",
        Unsubscribe,
        0,
        b"\0\x01~\0\x01a",
    ),
    refusal(
        ("MQTT-3.10.3-2", Some("MQTT-3.10.3-2")),
        "refuses an UNSUBSCRIBE without a topic filter",
        Unsubscribe,
        2,
        b"\0\x01~",
    ),
    refusal(("MQTT-3.3.2-8", None), "refuses the Topic Alias 0", Publish, 0, b"\0\x01a\x03\x23\0\0x"),
    refusal(
        ("MQTT-3.3.4-6", None),
        "refuses a client's message with a Subscription Identifier",
        Publish,
        0,
        b"\0\x01a\x02\x0b\x01x",
    ),
    refusal(("MQTT-4.12.0-7", None), "refuses AUTH where there is no method", Auth, 0, b"\x18~"),
];

pub(super) async fn all(site: &Site, version: Version) -> Vec<Finding> {
    let mut findings = Vec::new();
    for refusal in REFUSALS {
        let statement = match version {
            Version::V5 => Some(refusal.statements.0),
            _ => refusal.statements.1,
        };
        if let Some(statement) = statement {
            let result = is_refused(site, version, refusal).await;
            let finding = Finding::of(conformance(version), refusal.words, result);
            findings.push(Finding { statement: Some(statement), ..finding });
        }
    }
    findings
}

async fn is_refused(site: &Site, version: Version, refusal: &Refusal) -> Result<(), Fault> {
    let mut peer = match refusal.is_first {
        true => Peer::dial(site, version).await?,
        false => site.client(version, "refused").await?,
    };
    peer.say(&raw(refusal.packet_type, refusal.flags, &body(refusal.body, version))).await;
    if refusal.may_say_no {
        match peer.hear().await {
            Heard::Packet(packet) => match packet.packet()? {
                mqtt_packet::Packet::SubAck(suback)
                    if suback.reason_codes.iter().all(|code| code.is_error()) =>
                {
                    return Ok(());
                }
                mqtt_packet::Packet::Disconnect(_) => {}
                other => return Err(other.to_string()),
            },
            Heard::Closed => return Ok(()),
            Heard::Nothing => return Err("the connection stays open".to_owned()),
        }
    }
    peer.is_closed().await.map(drop)
}

/// The body in this version: `~` are the properties, `=` is the version's number.
fn body(template: &[u8], version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &byte in template {
        match byte {
            b'~' if version == Version::V5 => bytes.push(0),
            b'~' => {}
            b'=' => bytes.push(version.level()),
            other => bytes.push(other),
        }
    }
    bytes
}
