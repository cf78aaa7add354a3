//! A password that never crosses the network: extended authentication of MQTT 5.0 with SCRAM-SHA-256 (RFC 5802, RFC 7677),
//! where each side proves to the other that it knows the password. `cargo run -p examples --example async_scram`.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use mqtt_broker_lite::{Broker, core, scram};
use mqtt_client_async::{
    AuthenticationError, Authenticator, Client, Exchange, Options, Publish, QoS, ReasonCode,
};
use ring::{digest, hmac, pbkdf2, rand};
use std::{error::Error, num::NonZeroU32, sync::Arc, time::Duration};

/// The client's side: who somebody is, and how it is proven.
struct Scram {
    user: &'static str,
    password: &'static str,
}

impl Authenticator for Scram {
    fn method(&self) -> &str {
        scram::METHOD
    }

    fn begin(&self) -> Box<dyn Exchange> {
        Box::new(Proof { user: self.user, password: self.password, hello: String::new(), expected: None })
    }
}

/// One authentication.
struct Proof {
    user: &'static str,
    password: &'static str,
    /// The client's first words, which end with its nonce.
    hello: String,
    /// What a server says that knows the password.
    expected: Option<String>,
}

fn tag(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}

impl Proof {
    fn prove(&mut self, challenge: &str) -> Option<String> {
        let mut fields = challenge.splitn(3, ',');
        let nonce = fields.next()?.strip_prefix("r=")?;
        // It is the client's, made longer.
        let (_, own) = self.hello.split_once(",r=")?;
        nonce.strip_prefix(own).filter(|more| !more.is_empty())?;
        let salt = BASE64_STANDARD.decode(fields.next()?.strip_prefix("s=")?).ok()?;
        let rounds: NonZeroU32 = fields.next()?.strip_prefix("i=")?.parse().ok()?;
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, self.password.as_bytes(), &mut salted);
        let client_key = tag(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let answer = format!("c=biws,r={nonce}");
        let said = format!("{},{challenge},{answer}", self.hello);
        let signature = tag(stored_key.as_ref(), said.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
        let server = tag(tag(&salted, b"Server Key").as_ref(), said.as_bytes());
        self.expected = Some(format!("v={}", BASE64_STANDARD.encode(server)));
        Some(format!("{answer},p={}", BASE64_STANDARD.encode(proof)))
    }
}

#[async_trait::async_trait]
impl Exchange for Proof {
    async fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        let nonce = rand::generate(&rand::SystemRandom::new());
        let nonce: [u8; 16] = nonce.map_err(|_| AuthenticationError::new("no random numbers"))?.expose();
        self.hello = format!("n={},r={}", self.user, BASE64_STANDARD.encode(nonce));
        Ok(Some(format!("n,,{}", self.hello).into()))
    }

    async fn answer(&mut self, challenge: &[u8]) -> Result<Bytes, AuthenticationError> {
        let proof = str::from_utf8(challenge).ok().and_then(|challenge| self.prove(challenge));
        proof.map(Bytes::from).ok_or_else(|| AuthenticationError::new("this is no challenge"))
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), AuthenticationError> {
        match &self.expected {
            Some(expected) if data == Some(expected.as_bytes()) => Ok(()),
            _ => Err(AuthenticationError::new("the server does not know the password")),
        }
    }
}

/// The server's side: nobody comes in otherwise, and a user publishes below the own name.
struct Door(Arc<scram::Users>);

impl core::Policy for Door {
    fn authenticate(&mut self, _: &core::Credentials) -> core::Verdict {
        core::Verdict::Refuse(ReasonCode::BAD_AUTHENTICATION_METHOD)
    }

    fn authorize(&mut self, client: &core::Client, _: core::Access, topic: &str) -> bool {
        client.user_name.as_deref() == topic.split('/').next()
    }

    fn mechanism(&mut self, method: &str, _: &str, entropy: [u8; 16]) -> Option<Box<dyn core::Mechanism>> {
        (method == scram::METHOD).then(|| self.0.mechanism(entropy))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut users = scram::Users::new([7; 32]);
    // What a broker keeps lets nobody in who steals it.
    users.insert("ann", scram::Credential::of(b"pencil", b"a salt of her own", 4096));
    let users = Arc::new(users);
    let door = move || Door(users.clone());
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").policy(door).start()?;

    for password in ["crayon", "pencil"] {
        let ann = Options::new(&broker.url())?.authenticator(Scram { user: "ann", password });
        match Client::connect(ann.no_reconnect()).await {
            Err(error) => println!("{password}: {error}"),
            Ok(client) => {
                client.publish(Publish::new("ann/says", "it is me").qos(QoS::AtLeastOnce)).await?.await?;
                client.reauthenticate().await?;
                println!("{password}: in, published, and authenticated again");
                client.shutdown(Duration::from_secs(1)).await;
            }
        }
    }
    broker.shutdown();
    Ok(())
}
