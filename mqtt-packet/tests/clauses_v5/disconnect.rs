//! Sections 3.14 and 3.15: DISCONNECT and AUTH.

use crate::refused;
use crate::wire::{accepted, encode, encoded, stands, wire};
use mqtt_packet::{
    Auth, DecodeError, Disconnect, EncodeError, Packet, PacketType, Properties, PropertyPlace, ReasonCode,
    Role, Version,
};

const PROTOCOL_ERROR: ReasonCode = ReasonCode::PROTOCOL_ERROR;

#[test]
fn short_forms_of_disconnect() {
    // [U5-3.14.2-2]
    let normal = Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS));
    let short = wire("E0 00");
    assert_eq!(stands(&short, Version::V5), normal);
    for long in ["E0 01 00", "E0 02 00 00"] {
        assert_eq!(accepted(&wire(long), Version::V5), normal);
        assert_eq!(encoded(&normal, Version::V5), short, "written in the shortest form");
    }
    let bytes = wire("E0 01 04");
    let Packet::Disconnect(disconnect) = stands(&bytes, Version::V5) else { panic!("not a DISCONNECT") };
    assert_eq!(disconnect, Disconnect::new(ReasonCode::DISCONNECT_WITH_WILL_MESSAGE));
    let bytes = wire("E0 .. 00 {11 0000000A}");
    let Packet::Disconnect(disconnect) = stands(&bytes, Version::V5) else { panic!("not a DISCONNECT") };
    assert_eq!(disconnect.properties.session_expiry_interval(), Some(10));
}

#[test]
fn session_expiry_comes_from_the_client_only() {
    // [MQTT-3.14.2-2]
    let bytes = wire("E0 .. 8B {11 0000000A}");
    let packet = stands(&bytes, Version::V5);
    let error = DecodeError::SessionExpiryFromServer;
    assert_eq!(packet.check_sender(Role::Server, Version::V5), Err(error));
    assert_eq!((error.rule(Version::V5), error.reason_code()), ("MQTT-3.14.2-2", PROTOCOL_ERROR));
    let bytes = wire("E0 .. 00 {11 0000000A}");
    assert_eq!(stands(&bytes, Version::V5).check_sender(Role::Client, Version::V5), Ok(()));
}

#[test]
fn server_reference_comes_from_the_server_only() {
    let bytes = wire("E0 .. 9C {1C \"other\"}");
    let packet = stands(&bytes, Version::V5);
    assert_eq!(packet.check_sender(Role::Server, Version::V5), Ok(()));
    let bytes = wire("E0 .. 00 {1C \"other\"}");
    let error = DecodeError::ServerReferenceFromClient;
    assert_eq!(stands(&bytes, Version::V5).check_sender(Role::Client, Version::V5), Err(error));
    assert_eq!((error.rule(Version::V5), error.reason_code()), ("MQTT-4.13.1-1", PROTOCOL_ERROR));
}

#[test]
fn auth_names_the_method() {
    // [U5-3.15.2-1]: decoder and encoder
    let error = DecodeError::AuthMethodMissing;
    for notation in ["F0 00", "F0 01 18", "F0 02 18 00", "F0 .. 18 {16 0001 FF}", "F0 .. 00 {1F \"done\"}"] {
        refused(notation, error, "U5-3.15.2-1", PROTOCOL_ERROR);
    }
    let nameless = Packet::Auth(Auth::new(ReasonCode::CONTINUE_AUTHENTICATION, Properties::EMPTY));
    assert_eq!(encode(&nameless, Version::V5), Err(EncodeError::Rule(error)));
    let bytes = wire("F0 .. 18 {15 \"SCRAM-SHA-1\" 16 0003 010203}");
    let Packet::Auth(auth) = stands(&bytes, Version::V5) else { panic!("not an AUTH") };
    assert_eq!(auth.properties.authentication_method().unwrap(), "SCRAM-SHA-1");
    assert_eq!(auth.properties.authentication_data(), Some(&[1, 2, 3][..]));
}

#[test]
fn auth_is_new_in_5_0() {
    let block = [0x15, 0, 1, b'm'];
    let properties = Properties::from_block(&block, PropertyPlace::of(PacketType::Auth)).unwrap();
    let auth = Packet::Auth(Auth::new(ReasonCode::CONTINUE_AUTHENTICATION, properties));
    for version in crate::wire::V3 {
        assert_eq!(encode(&auth, version), Err(EncodeError::NotInVersion));
    }
}

#[test]
fn disconnect_says_no_reason_before_5_0() {
    for version in crate::wire::V3 {
        let bytes = wire("E0 00");
        assert_eq!(stands(&bytes, version), Packet::Disconnect(Disconnect::default()));
        let with_reason = Packet::Disconnect(Disconnect::new(ReasonCode::SERVER_SHUTTING_DOWN));
        assert_eq!(encode(&with_reason, version), Err(EncodeError::NotInVersion));
    }
}
