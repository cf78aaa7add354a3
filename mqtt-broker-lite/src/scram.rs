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
mod tests {
    use super::*;

    const ENTROPY: [u8; 16] = [7; 16];

    fn users() -> Arc<Users> {
        let mut users = Users::new([9; 32]);
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        users.insert("user", Credential::of(b"pencil", &salt, 4096));
        users.insert("a,b=c", Credential::of(b"x", b"another salt 16b", 4096));
        Arc::new(users)
    }

    /// The client's last message, and what the server must answer.
    fn client(password: &[u8], bare: &str, header: &str, challenge: &str) -> (String, String) {
        let mut attributes = challenge.split(',').map(|attribute| attribute.split_at(2).1);
        let (nonce, salt, count) =
            (attributes.next().unwrap(), attributes.next().unwrap(), attributes.next().unwrap());
        let mut salted = Key::default();
        let salt = STANDARD.decode(salt).unwrap();
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, count.parse().unwrap(), &mut salted);
        let last = format!("c={},r={nonce}", STANDARD.encode(header));
        let said = format!("{bare},{challenge},{last}");
        let key = tag(&salted, &[b"Client Key"]);
        let signature = tag(&Sha256::digest(key), &[said.as_bytes()]);
        let proof: Vec<u8> = key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
        let server = tag(&tag(&salted, &[b"Server Key"]), &[said.as_bytes()]);
        (format!("{last},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(server)))
    }

    fn text(step: AuthStep) -> String {
        match step {
            AuthStep::Continue(data) | AuthStep::Success(Some(data)) => String::from_utf8(data).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    const REFUSED: AuthStep = AuthStep::Refuse(ReasonCode::NOT_AUTHORIZED);

    #[test]
    fn the_exchange_of_rfc_7677_succeeds() {
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = Challenge {
            name: "user".into(),
            credential: users().known["user"].clone(),
            is_known: true,
            nonce: nonce.into(),
            binding: "biws".into(),
            said: format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
        };
        let mut exchange =
            Exchange { users: users(), entropy: ENTROPY, count: 0, stage: Stage::First, proven: None };
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let step = exchange.verify(&challenge, &last).unwrap();
        assert_eq!(text(step), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_user_comes_in_as_often_as_it_proves_itself_anew() {
        let mut mechanism = users().mechanism(ENTROPY);
        let mut nonces = Vec::new();
        for (name, escaped, password) in [("user", "user", &b"pencil"[..]), ("a,b=c", "a=2Cb=3Dc", b"x")] {
            let bare = format!("n={escaped},r=nonce");
            let challenge = text(mechanism.step(format!("y,,{bare}").as_bytes()));
            nonces.push(challenge.split(',').next().unwrap().to_owned());
            let (last, expected) = client(password, &bare, "y,,", &challenge);
            assert_eq!(text(mechanism.step(last.as_bytes())), expected);
            assert_eq!(mechanism.user_name(), Some(name));
            // The same proof again is worth nothing.
            assert_eq!(mechanism.step(last.as_bytes()), REFUSED);
        }
        assert_ne!(nonces[0], nonces[1]);
    }

    /// FAULTS 87
    #[test]
    fn a_stranger_cannot_be_told_from_a_user_with_a_wrong_password() {
        let challenge = |name: &str| {
            let mut mechanism = users().mechanism(ENTROPY);
            let bare = format!("n={name},r=nonce");
            let challenge = text(mechanism.step(format!("n,,{bare}").as_bytes()));
            let (last, _) = client(b"guess", &bare, "n,,", &challenge);
            assert_eq!(mechanism.step(last.as_bytes()), REFUSED);
            challenge
        };
        let (user, stranger) = (challenge("user"), challenge("stranger"));
        assert_eq!(stranger, challenge("stranger"), "the same salt each time");
        assert_ne!(stranger, challenge("another"));
        assert_eq!(user.len(), stranger.len());
    }

    #[test]
    fn what_is_not_scram_is_refused() {
        for first in
            ["", "p=tls-unique,,n=user,r=x", "n,a=other,n=user,r=x", "n,,n=,r=x", "n,,n=user,r=", "n,,r=x"]
        {
            assert_eq!(users().mechanism(ENTROPY).step(first.as_bytes()), REFUSED, "{first}");
        }
        for (from, to) in
            [("c=biws", "c=eSws"), (",r=", ",r=x"), (",p=", ",p=!"), (",p=", ",p=AA"), (",p=", ",")]
        {
            let mut mechanism = users().mechanism(ENTROPY);
            let challenge = text(mechanism.step(b"n,,n=user,r=nonce"));
            let (last, _) = client(b"pencil", "n=user,r=nonce", "n,,", &challenge);
            let wrong = last.replacen(from, to, 1);
            assert_ne!(wrong, last);
            assert_eq!(mechanism.step(wrong.as_bytes()), REFUSED, "{wrong}");
            assert_eq!(mechanism.user_name(), None);
        }
    }
}
