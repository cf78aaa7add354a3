//! Extended authentication with SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides of it, and what goes wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod peer;

use std::num::NonZeroU32;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use mqtt_client_async::*;
use peer::{Peer, Server};
use ring::{digest, hmac, pbkdf2};

fn hash(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn salted(password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
    let mut salted = vec![0; 32];
    let iterations = NonZeroU32::new(iterations).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    salted
}

/// What both sides prove about a salted password and what was said: the client's proof, the server's signature.
fn proofs(salted: &[u8], said: &str) -> (String, String) {
    let client_key = hash(salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    let signature = hash(stored_key.as_ref(), said.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
    let server = hash(&hash(salted, b"Server Key"), said.as_bytes());
    (BASE64_STANDARD.encode(proof), BASE64_STANDARD.encode(server))
}

/// The client's side, as an application would write it.
struct Scram {
    password: &'static str,
    nonce: &'static str,
}

struct ScramExchange {
    password: &'static str,
    bare: String,
    server: String,
}

impl Authenticator for Scram {
    fn method(&self) -> &str {
        "SCRAM-SHA-256"
    }

    fn begin(&self) -> Box<dyn Exchange> {
        let bare = format!("n=user,r={}", self.nonce);
        Box::new(ScramExchange { password: self.password, bare, server: String::new() })
    }
}

#[async_trait::async_trait]
impl Exchange for ScramExchange {
    async fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        Ok(Some(format!("n,,{}", self.bare).into()))
    }

    async fn answer(&mut self, challenge: &[u8]) -> Result<Bytes, AuthenticationError> {
        let challenge = str::from_utf8(challenge).map_err(|_| AuthenticationError::new("no text"))?;
        let mut fields = challenge.split(',').map(|field| field.get(2..).unwrap_or_default());
        let mut field = || fields.next().ok_or_else(|| AuthenticationError::new("no challenge"));
        let (nonce, salt, iterations) = (field()?, field()?, field()?);
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| AuthenticationError::new("no salt"))?;
        let last = format!("c=biws,r={nonce}");
        let said = format!("{},{challenge},{last}", self.bare);
        // It may take its time.
        tokio::task::yield_now().await;
        let (proof, server) = proofs(&salted(self.password, &salt, iterations.parse().unwrap()), &said);
        self.server = format!("v={server}");
        Ok(format!("{last},p={proof}").into())
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), AuthenticationError> {
        if data == Some(self.server.as_bytes()) {
            return Ok(());
        }
        Err(AuthenticationError::new("the server does not know the password"))
    }
}

/// Method and data as a block of properties.
fn block(data: &str) -> Vec<u8> {
    let method = b"SCRAM-SHA-256";
    let mut block = vec![0x15, 0, method.len() as u8];
    block.extend_from_slice(method);
    block.extend_from_slice(&[0x16, 0, data.len() as u8]);
    block.extend_from_slice(data.as_bytes());
    block
}

async fn say_auth(peer: &mut Peer, code: u8, data: &str) {
    let block = block(data);
    assert!(block.len() < 120, "one byte of length each");
    peer.send(&[&[0xF0, block.len() as u8 + 2, code, block.len() as u8], block.as_slice()].concat()).await;
}

/// The authentication data of a packet that says nothing behind it.
fn data_of(packet: &[u8]) -> String {
    let method = block("");
    let method = &method[..method.len() - 2];
    let at = packet.windows(method.len()).position(|part| part == method).expect("the method is there");
    let len = usize::from(packet[at + method.len() + 1]);
    String::from_utf8(packet[at + method.len() + 2..][..len].to_vec()).unwrap()
}

const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

const SCRAM: Scram = Scram { password: "pencil", nonce: CLIENT_NONCE };

/// Takes CONNECT, or AUTH that asks for it again, and goes on until the client has proved itself. The server's last word.
async fn challenge(peer: &mut Peer, first: u8) -> String {
    let hello = peer.expect(first).await;
    assert_eq!(data_of(&hello), format!("n,,n=user,r={CLIENT_NONCE}"));
    say_auth(peer, 0x18, SERVER_FIRST).await;
    let answer = peer.expect(0xF0).await;
    assert_eq!(answer[2], 0x18);
    let answer = data_of(&answer);
    let last = answer.split_once(",p=").unwrap();
    let said = format!("n=user,r={CLIENT_NONCE},{SERVER_FIRST},{}", last.0);
    let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let (proof, server) = proofs(&salted("pencil", &salt, 4096), &said);
    assert_eq!(last.1, proof);
    format!("v={server}")
}

// [MQTT-4.12.0-3 @5.0] [MQTT-4.12.0-5 @5.0] [MQTT-4.12.1-1 @5.0]
#[tokio::test(start_paused = true)]
async fn scram_on_the_way_to_connack_and_again_later() {
    let (server, options) = Server::new(Version::V5);
    let options = options.authenticator(SCRAM);
    let serve = async {
        let mut peer = server.next().await;
        let last = challenge(&mut peer, 0x10).await;
        // The values of RFC 7677 section 3.
        assert_eq!(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        peer.connack(false, 0, &block(&last)).await;
        peer
    };
    let (client, mut peer) = tokio::join!(Client::connect(options), serve);
    let client = client.unwrap();
    for _ in 0..2 {
        // Two who ask at once have one exchange, and messages go on meanwhile.
        let other = client.clone();
        let serve = async {
            let last = challenge(&mut peer, 0xF0).await;
            drop(client.publish(Publish::new("a", "meanwhile")).await.unwrap());
            peer.expect(0x30).await;
            say_auth(&mut peer, 0x00, &last).await;
        };
        let (one, another, ()) = tokio::join!(client.reauthenticate(), other.reauthenticate(), serve);
        assert_eq!((one, another), (Ok(()), Ok(())));
    }
    // A server that is not content ends the connection; who waits is told, and the next one is authenticated, too.
    let serve = async {
        challenge(&mut peer, 0xF0).await;
        peer.send(&[0xE0, 1, 0x87]).await;
    };
    let (again, ()) = tokio::join!(client.reauthenticate(), serve);
    assert_eq!(again, Err(ReauthenticateError::ConnectionLost));
    // 0x87 is final.
    assert!(matches!(client.ended().await, ConnectionError::Disconnected(_)));
    assert_eq!(client.reauthenticate().await, Err(ReauthenticateError::Closed));
}

// [MQTT-4.12.0-5 @5.0]
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_prove_itself_gets_nothing() {
    let (server, options) = Server::new(Version::V5);
    let (client, driver) = Client::new(options.authenticator(SCRAM).no_reconnect());
    let secret = client.publish(Publish::new("a", "for the right server only")).await.unwrap();
    let serve = async {
        let mut peer = server.next().await;
        challenge(&mut peer, 0x10).await;
        peer.connack(false, 0, &block("v=AAAA")).await;
        // DISCONNECT, and nothing else.
        assert_eq!(peer.expect_end().await, [0xE0]);
    };
    let (end, ()) = tokio::join!(driver, serve);
    assert!(matches!(&end, ConnectionError::Authentication(_)), "{end}");
    assert!(end.to_string().contains("does not know the password"), "{end}");
    assert!(secret.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_authenticated_says_why() {
    // Before 5.0 there is no such thing.
    let (_server, options) = Server::new(Version::V3_1_1);
    let error = Client::connect(options.authenticator(SCRAM)).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Options(_)), "{error}");
    // Nobody to answer.
    let (_server, client, mut peer) =
        Server::connected_with(Version::V5, |options| options.request_timeout(Duration::from_secs(5))).await;
    assert_eq!(client.reauthenticate().await, Err(ReauthenticateError::NoAuthenticator));
    peer.expect_silence(Duration::from_secs(1)).await;
    // A server that never answers.
    let (server, options) = Server::new(Version::V5);
    let options = options.authenticator(SCRAM).request_timeout(Duration::from_secs(5));
    let options = options.keep_alive(Duration::ZERO);
    let serve = async {
        let mut peer = server.next().await;
        let last = challenge(&mut peer, 0x10).await;
        peer.connack(false, 0, &block(&last)).await;
        peer
    };
    let (client, peer) = tokio::join!(Client::connect(options), serve);
    let client = client.unwrap();
    assert_eq!(client.reauthenticate().await, Err(ReauthenticateError::Timeout));
    drop(peer);
    client.status().wait_for(|status| matches!(status, Status::Connecting)).await.unwrap();
    assert_eq!(client.reauthenticate().await, Err(ReauthenticateError::NotConnected));
}

/// Thinks for ever, or fails.
struct Broken {
    fails: bool,
}

impl Authenticator for Broken {
    fn method(&self) -> &str {
        "SCRAM-SHA-256"
    }

    fn begin(&self) -> Box<dyn Exchange> {
        Box::new(Self { ..*self })
    }
}

#[async_trait::async_trait]
impl Exchange for Broken {
    async fn answer(&mut self, _: &[u8]) -> Result<Bytes, AuthenticationError> {
        if self.fails {
            return Err(AuthenticationError::new("no ticket"));
        }
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_fails_or_never_ends_ends_the_attempt() {
    for (fails, words) in [(true, "no ticket"), (false, "in time")] {
        let (server, options) = Server::new(Version::V5);
        let connect = Client::connect(options.authenticator(Broken { fails }));
        let serve = async {
            let mut peer = server.next().await;
            peer.expect(0x10).await;
            say_auth(&mut peer, 0x18, "challenge").await;
            // At most DISCONNECT.
            assert!(peer.expect_end().await.iter().all(|&first| first == 0xE0));
        };
        let (client, ()) = tokio::join!(connect, serve);
        let error = client.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
