//! Extended authentication: AUTH on the way to CONNACK, and again later.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use scripted::*;

const METHOD: &[u8] = &[0x15, 0, 1, b'm'];

fn method(place: PacketType) -> Properties<'static> {
    Properties::from_block(METHOD, PropertyPlace::of(place)).unwrap()
}

fn authenticating() -> Peer {
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    let options = options().with_properties(method(PacketType::Connect));
    peer.engine.connect(peer.now, &options).unwrap();
    peer.sends_types(&[0x10]);
    peer
}

/// AUTH with this reason code and the method `m`.
fn auth(code: &str) -> String {
    format!("F0 06 {code} 04 15 0001 6D")
}

fn answer(peer: &mut Peer, code: ReasonCode) -> Result<(), RequestError> {
    peer.engine.auth(peer.now, code, method(PacketType::Auth))
}

// [MQTT-3.1.2-30 @5.0] [MQTT-4.12.0-3 @5.0]
#[test]
fn steps_of_an_authentication_are_answered_before_connack() {
    let mut peer = authenticating();
    for _ in 0..3 {
        assert_eq!(peer.receives(&auth("18")), [Happened::Auth(ReasonCode::CONTINUE_AUTHENTICATION)]);
        // Nothing else is sent until then.
        peer.engine.publish(&message(b"", QoS::AtLeastOnce)).ok();
        assert!(peer.engine.publish(&message(b"", QoS::AtMostOnce)).is_err());
        peer.sends("");
        assert_eq!(answer(&mut peer, ReasonCode::RE_AUTHENTICATE), Err(RequestError::NotConnected));
        answer(&mut peer, ReasonCode::CONTINUE_AUTHENTICATION).unwrap();
        peer.sends(&auth("18"));
        // The server has its time for each answer.
        peer.sleep(Duration::from_secs(9));
        peer.engine.handle_timeout(peer.now).unwrap();
    }
    peer.accept(false, "15 0001 6D");
    peer.sends_types(&[0x32, 0x32, 0x32]);
}

// [MQTT-4.12.1-1 @5.0] [U5-4.12.1-1]
#[test]
fn an_open_connection_can_authenticate_again() {
    let mut peer = authenticating();
    peer.accept(false, "15 0001 6D");
    answer(&mut peer, ReasonCode::RE_AUTHENTICATE).unwrap();
    peer.sends(&auth("19"));
    assert_eq!(peer.receives(&auth("18")), [Happened::Auth(ReasonCode::CONTINUE_AUTHENTICATION)]);
    // Other packets keep flowing.
    peer.publish(b"", QoS::AtMostOnce);
    assert_eq!(peer.receives("30 04 0001 74 00").len(), 1);
    peer.sends_types(&[0x30]);
    answer(&mut peer, ReasonCode::CONTINUE_AUTHENTICATION).unwrap();
    peer.sends(&auth("18"));
    assert_eq!(peer.receives(&auth("00")), [Happened::Auth(ReasonCode::SUCCESS)]);
    assert!(peer.engine.is_connected());
}

// [MQTT-4.12.1-2 @5.0] [MQTT-4.13.2-1 @5.0]
#[test]
fn a_failed_authentication_ends_the_connection() {
    let mut peer = authenticating();
    peer.accept(false, "15 0001 6D");
    answer(&mut peer, ReasonCode::RE_AUTHENTICATE).unwrap();
    peer.transmitted();
    let happened = peer.receives("E0 01 87");
    assert_eq!(happened, [Happened::Disconnected(ReasonCode::NOT_AUTHORIZED, None)]);
    assert!(peer.engine.wants_close());
    // And the other way round: the application is not content with the server.
    let mut peer = authenticating();
    peer.accept(false, "15 0001 6D");
    peer.engine.disconnect(peer.now, ReasonCode::BAD_AUTHENTICATION_METHOD, Properties::EMPTY).unwrap();
    peer.sends("E0 01 8C");
    assert!(peer.engine.wants_close());
}

// [MQTT-4.12.0-5 @5.0] [MQTT-4.12.0-6 @5.0] [U5-3.15.0-1]
#[test]
fn another_method_ends_the_connection() {
    let other = "F0 06 18 04 15 0001 6E";
    assert_eq!(authenticating().fails(other), ProtocolError::AuthenticationMethod);
    assert_eq!(authenticating().fails("20 03 00 00 00"), ProtocolError::AuthenticationMethod);
    assert_eq!(authenticating().fails("20 07 00 00 04 15 0001 6E"), ProtocolError::AuthenticationMethod);
    let mut peer = Peer::new(memory(4), Settings::new(Version::V5));
    peer.engine.connect(peer.now, &options()).unwrap();
    assert_eq!(peer.fails(&auth("18")), ProtocolError::AuthenticationMethod);
    let mut peer = Peer::connected(Version::V5);
    assert_eq!(peer.fails(&auth("18")), ProtocolError::AuthenticationMethod);
    peer.sends("E0 01 82");
    // A server does not begin, and does not succeed before CONNACK.
    authenticating().fails(&auth("19"));
    authenticating().fails(&auth("00"));
}

// [MQTT-4.12.0-7 @5.0] [MQTT-4.12.0-5 @5.0]
#[test]
fn no_auth_is_sent_with_another_method_or_without_one() {
    let mut peer = Peer::connected(Version::V5);
    assert_eq!(answer(&mut peer, ReasonCode::RE_AUTHENTICATE), Err(RequestError::AuthenticationMethod));
    let mut peer = authenticating();
    peer.accept(false, "15 0001 6D");
    let other = Properties::from_block(&[0x15, 0, 1, b'n'], PropertyPlace::of(PacketType::Auth)).unwrap();
    let refused = peer.engine.auth(peer.now, ReasonCode::RE_AUTHENTICATE, other);
    assert_eq!(refused, Err(RequestError::AuthenticationMethod));
    let mut peer = Peer::connected(Version::V3_1_1);
    assert!(answer(&mut peer, ReasonCode::RE_AUTHENTICATE).is_err());
    peer.sends("");
}
