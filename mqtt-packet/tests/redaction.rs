//! What people read of packets: neither passwords nor payloads, in whatever form a log would have them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod wire;

use mqtt_packet::{
    Connect, Framer, Packet, Piece, Properties, Publish, QoS, SliceSink, TopicName, Utf8Str, Version, Will,
};

const SECRET: &[u8] = b"hunter2-is-secret";

/// The text must not show the secret: as text, as numbers, in hex, or escaped.
#[track_caller]
fn keeps(text: &str) {
    let each = |write: fn(&u8) -> String, between: &str| {
        SECRET[..6].iter().map(write).collect::<Vec<_>>().join(between)
    };
    let forms = [
        "hunter2".to_owned(),
        each(|byte| byte.to_string(), ", "),
        each(|byte| byte.to_string(), ",\n"),
        each(|byte| format!("{byte:02x}"), ""),
        each(|byte| format!("{byte:02x}"), ", "),
        each(|byte| format!("{byte:02X}"), " "),
        each(|byte| format!("\\x{byte:02x}"), ""),
    ];
    for form in forms {
        assert!(!text.contains(&form), "{text}");
        assert!(!text.split_whitespace().collect::<String>().contains(&form.replace(' ', "")), "{text}");
    }
}

/// In every way that a value is shown.
#[track_caller]
fn shown(value: &(impl std::fmt::Debug + ?Sized)) -> String {
    let (line, lines) = (format!("{value:?}"), format!("{value:#?}"));
    keeps(&line);
    keeps(&lines);
    line
}

fn connect(version: Version) -> Connect<'static> {
    let will = Will {
        topic: TopicName::new("gone").unwrap(),
        payload: SECRET,
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Properties::EMPTY,
    };
    Connect {
        will: Some(will),
        user_name: Some(Utf8Str::new("ann").unwrap()),
        password: Some(SECRET),
        ..Connect::new(version, Utf8Str::new("device-7").unwrap())
    }
}

fn publish() -> Publish<'static> {
    Publish::new(TopicName::new("plant/1").unwrap(), SECRET)
}

#[test]
fn the_test_would_see_it() {
    let text = String::from_utf8_lossy(SECRET);
    for leak in [format!("{SECRET:?}"), format!("{SECRET:#?}"), format!("{SECRET:02x?}"), format!("<{text}>")]
    {
        assert!(std::panic::catch_unwind(|| keeps(&leak)).is_err(), "{leak}");
    }
}

#[test]
fn connect_keeps_password_and_will_payload() {
    for version in wire::V3 {
        let connect = connect(version);
        keeps(&connect.to_string());
        let line = shown(&connect);
        assert_eq!(line, shown(&Packet::Connect(connect)));
        shown(&connect.will);
        // What is needed to understand a log is there.
        for part in ["CONNECT", "\"device-7\"", "\"ann\"", "***", "\"gone\"", "17 bytes"] {
            assert!(line.contains(part), "{line}");
        }
    }
    let line = Connect::new(Version::V3_1_1, Utf8Str::new("c").unwrap()).to_string();
    assert!(!line.contains("***"), "{line}");
}

#[test]
fn publish_keeps_its_payload() {
    let packet = Packet::Publish(publish());
    keeps(&packet.to_string());
    assert_eq!(shown(&packet), "PUBLISH \"plant/1\" qos 0 17 bytes");
}

#[test]
#[cfg(feature = "v5")]
fn authentication_data_is_kept() {
    use mqtt_packet::{Auth, PacketType, Property, PropertyPlace, PropertyWriter, ReasonCode};

    let mut memory = [0; 64];
    let mut writer = PropertyWriter::new(PropertyPlace::of(PacketType::Auth), &mut memory);
    writer.push(Property::AuthenticationMethod(Utf8Str::new("PLAIN").unwrap())).unwrap();
    writer.push(Property::AuthenticationData(SECRET)).unwrap();
    shown(&writer);
    let properties = writer.finish();
    assert!(shown(&properties).contains("PLAIN"));
    let auth = Auth::new(ReasonCode::CONTINUE_AUTHENTICATION, properties);
    keeps(&auth.to_string());
    shown(&Packet::Auth(auth));
    for property in properties {
        shown(&property);
    }
}

#[test]
fn frames_and_buffers_keep_what_they_hold() {
    let mut memory = [0; 256];
    for packet in [Packet::Connect(connect(Version::V3_1_1)), Packet::Publish(publish())] {
        let mut out = SliceSink::new(&mut memory);
        packet.encode(Version::V3_1_1, &mut out).unwrap();
        shown(&out);
        let bytes = out.written().to_vec();
        let line = shown(&wire::frame(&bytes));
        assert!(line.contains(&format!("{:?}", packet.packet_type())), "{line}");

        let mut framer = Framer::new(&mut memory, Version::V3_1_1);
        framer.spare()[..bytes.len()].copy_from_slice(&bytes);
        framer.filled(bytes.len());
        shown(&framer);
        shown(&framer.next());
    }
}

#[test]
fn pieces_of_a_message_keep_it() {
    let mut memory = [0; 32];
    let mut framer = Framer::new(&mut memory, Version::V3_1_1);
    let bytes = [b"\x30\x40\0\x01t", SECRET].concat();
    framer.spare()[..bytes.len()].copy_from_slice(&bytes);
    framer.filled(bytes.len());
    assert!(shown(&framer.next()).contains("61 bytes"));
    let chunk = framer.next();
    assert!(matches!(chunk, Some(Piece::Chunk { bytes: SECRET, last: false })));
    assert!(shown(&chunk).contains("17"));
}

#[test]
fn text_of_a_peer_is_escaped() {
    // A line of a log stays a line, and says nothing to a terminal.
    let evil = "a\n2026-01-01 INFO all is well\u{1b}[2J\u{202e}";
    let topic = TopicName::new(evil).unwrap();
    let name = Utf8Str::new(evil).unwrap();
    let connect = Connect { user_name: Some(name), ..Connect::new(Version::V3_1_1, name) };
    for line in [
        Packet::Publish(Publish::new(topic, b"")).to_string(),
        Packet::Connect(connect).to_string(),
        format!("{topic:?} {name:?}"),
    ] {
        assert!(!line.contains(['\n', '\u{1b}', '\u{202e}']), "{line:?}");
    }
}
