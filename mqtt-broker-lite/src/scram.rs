//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as an extended authentication of 5.0: the password never crosses the network, and
//! what the broker keeps of it does not let anybody in who steals it.
//!
//! A [`Policy`](crate::core::Policy) answers [`mechanism`](crate::core::Policy::mechanism) with
//! [`Users::mechanism`] where the method is [`METHOD`]. Channel binding is not offered. Names and passwords are taken as
//! they come: SASLprep changes nothing in ASCII, whatever else is used must be normalised before.

use crate::core::{AuthStep, Mechanism};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mqtt_packet::ReasonCode;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the Authentication Method is called.
pub const METHOD: &str = "SCRAM-SHA-256";

/// What RFC 7677 asks for at least.
const ITERATIONS: u32 = 4096;

type Key = [u8; 32];

/// What the broker keeps of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl Credential {
    /// Of a password, a salt that no other has, and how often it is hashed: 4,096 times at least, more is better.
    #[must_use]
    pub fn of(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let iterations = iterations.max(ITERATIONS);
        let mut salted = Key::default();
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
        let stored_key = Sha256::digest(tag(&salted, &[b"Client Key"])).into();
        Self { salt: salt.to_vec(), iterations, stored_key, server_key: tag(&salted, &[b"Server Key"]) }
    }
}

/// Who may come in by SCRAM.
pub struct Users {
    /// Makes up salts for names that do not exist, the same each time: nobody learns who does.
    secret: Key,
    known: BTreeMap<Box<str>, Credential>,
}

impl Users {
    /// Nobody yet. The secret is random, and the same for as long as the users are.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret, known: BTreeMap::new() }
    }

    /// One more, or a new password for one.
    pub fn insert(&mut self, name: &str, credential: Credential) {
        self.known.insert(name.into(), credential);
    }

    /// The server's side of one authentication, with the entropy that the connection brought.
    #[must_use]
    pub fn mechanism(self: &Arc<Self>, entropy: [u8; 16]) -> Box<dyn Mechanism> {
        Box::new(Exchange { users: Arc::clone(self), entropy, count: 0, stage: Stage::First, proven: None })
    }

    /// What is kept of a user's password, or what looks like it; and whether the user exists.
    fn credential(&self, name: &str) -> (Credential, bool) {
        if let Some(credential) = self.known.get(name) {
            return (credential.clone(), true);
        }
        let iterations = self.known.values().next().map_or(ITERATIONS, |known| known.iterations);
        let salt_len = self.known.values().next().map_or(16, |known| known.salt.len().min(32));
        let mut salt = tag(&self.secret, &[b"salt", name.as_bytes()]).to_vec();
        salt.truncate(salt_len);
        let stored_key = tag(&self.secret, &[b"key", name.as_bytes()]);
        (Credential { salt, iterations, stored_key, server_key: stored_key }, false)
    }
}

/// One authentication, and those that repeat it on the same connection.
struct Exchange {
    users: Arc<Users>,
    entropy: [u8; 16],
    /// How many there were: each has a nonce of its own.
    count: u64,
    stage: Stage,
    proven: Option<Box<str>>,
}

enum Stage {
    /// Waits for the client's first message.
    First,
    /// Waits for its last, which proves that it knows the password.
    Final(Box<Challenge>),
}

struct Challenge {
    name: Box<str>,
    credential: Credential,
    is_known: bool,
    nonce: String,
    /// What the client's last message must say about channel binding: its first header again.
    binding: String,
    /// Both messages so far, which the proofs are about.
    said: String,
}

impl Mechanism for Exchange {
    fn step(&mut self, data: &[u8]) -> AuthStep {
        let text = std::str::from_utf8(data).ok();
        let next = match std::mem::replace(&mut self.stage, Stage::First) {
            Stage::First => text.and_then(|text| self.challenge(text)),
            Stage::Final(challenge) => text.and_then(|text| self.verify(&challenge, text)),
        };
        // One answer for all that is wrong, so that it says nothing.
        next.unwrap_or(AuthStep::Refuse(ReasonCode::NOT_AUTHORIZED))
    }

    fn user_name(&self) -> Option<&str> {
        self.proven.as_deref()
    }
}

impl Exchange {
    /// `n,,n=user,r=nonce`: answers with salt, iterations and the nonce made longer.
    fn challenge(&mut self, text: &str) -> Option<AuthStep> {
        let mut parts = text.splitn(3, ',');
        // No channel binding, and nobody acts for somebody else.
        let (flag @ ("n" | "y"), "") = (parts.next()?, parts.next()?) else {
            return None;
        };
        let bare = parts.next()?;
        let mut attributes = bare.split(',');
        let name = unescape(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| (0x21..=0x7E).contains(&byte)) {
            return None;
        }
        self.count = self.count.saturating_add(1);
        let own = tag(&self.entropy, &[&self.count.to_be_bytes(), nonce.as_bytes()]);
        let nonce = format!("{nonce}{}", STANDARD.encode(own.get(..18)?));
        let (credential, is_known) = self.users.credential(&name);
        let salt = STANDARD.encode(&credential.salt);
        let answer = format!("r={nonce},s={salt},i={}", credential.iterations);
        let said = format!("{bare},{answer}");
        let binding = STANDARD.encode(format!("{flag},,"));
        let challenge = Challenge { name: name.into(), credential, is_known, nonce, binding, said };
        self.stage = Stage::Final(Box::new(challenge));
        Some(AuthStep::Continue(answer.into_bytes()))
    }

    /// `c=binding,r=nonce,p=proof`: answers with the server's own proof.
    fn verify(&mut self, challenge: &Challenge, text: &str) -> Option<AuthStep> {
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        if attributes.next()?.strip_prefix("c=")? != challenge.binding
            || attributes.next()?.strip_prefix("r=")? != challenge.nonce
        {
            return None;
        }
        let said = [challenge.said.as_bytes(), b",", without_proof.as_bytes()];
        let mut client_key: Key = STANDARD.decode(proof).ok()?.try_into().ok()?;
        let signature = tag(&challenge.credential.stored_key, &said);
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        // Compared as keyed hashes, which takes the same time however much of it is right.
        let (presented, stored) = (Sha256::digest(client_key), challenge.credential.stored_key);
        keyed(&self.users.secret, &[&presented]).verify_slice(&tag(&self.users.secret, &[&stored])).ok()?;
        if !challenge.is_known {
            return None;
        }
        self.proven = Some(challenge.name.clone());
        let signature = STANDARD.encode(tag(&challenge.credential.server_key, &said));
        Some(AuthStep::Success(Some(format!("v={signature}").into_bytes())))
    }
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // A key of every length is one; the empty one never comes of it.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn tag(key: &[u8], parts: &[&[u8]]) -> Key {
    keyed(key, parts).finalize().into_bytes().into()
}

/// A user name as SCRAM writes it: `=2C` is a comma and `=3D` an equals sign.
fn unescape(name: &str) -> Option<String> {
    let plain = name.replace("=2C", ",").replace("=3D", "\0");
    (!name.is_empty() && !name.contains('\0') && !plain.contains('=')).then(|| plain.replace('\0', "="))
}

#[cfg(test)]
mod tests;
