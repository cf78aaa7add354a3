//! SCRAM (RFC 5802, RFC 7677) as an extended authentication of MQTT 5.0: the password does not cross the network, and the
//! server shows that it knows it, too.
//!
//! Names and passwords are taken as they come: SASLprep changes nothing in ASCII. There is no channel binding.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mqtt_client_async::{AuthenticationError, Authenticator, Exchange};
use ring::{digest, hmac, pbkdf2};

/// The header in front of a client's words: no channel binding, and nobody acts for somebody else.
const HEADER: &str = "n,,";
/// Less is no protection (RFC 7677 section 4), more is a server that wants to keep us busy.
const ITERATIONS: RangeInclusive<u32> = 4096..=10_000_000;

/// A method, and the hash that it goes with.
#[derive(Clone, Copy)]
pub(crate) struct Hash {
    method: &'static str,
    mac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    derive: pbkdf2::Algorithm,
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.method)
    }
}

impl Hash {
    /// By the name of the method.
    pub(crate) fn of_method(method: &str) -> Option<Self> {
        let (method, mac, digest, derive) = match method {
            "SCRAM-SHA-1" => (
                "SCRAM-SHA-1",
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
                pbkdf2::PBKDF2_HMAC_SHA1,
            ),
            "SCRAM-SHA-256" => {
                ("SCRAM-SHA-256", hmac::HMAC_SHA256, &digest::SHA256, pbkdf2::PBKDF2_HMAC_SHA256)
            }
            "SCRAM-SHA-512" => {
                ("SCRAM-SHA-512", hmac::HMAC_SHA512, &digest::SHA512, pbkdf2::PBKDF2_HMAC_SHA512)
            }
            _ => return None,
        };
        Some(Self { method, mac, digest, derive })
    }

    fn tag(self, key: &[u8], text: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.mac, key), text)
    }
}

/// A user who can prove that he knows the password.
pub(crate) struct Scram {
    pub(crate) hash: Hash,
    pub(crate) user_name: String,
    pub(crate) password: Vec<u8>,
}

impl Authenticator for Scram {
    fn method(&self) -> &str {
        self.hash.method
    }

    fn begin(&self) -> Box<dyn Exchange> {
        let nonce = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        Box::new(Proof::new(self, nonce))
    }
}

/// One authentication.
struct Proof {
    hash: Hash,
    password: Vec<u8>,
    nonce: String,
    /// The first words without their header.
    bare: String,
    /// What the server must prove in the end.
    expected: Option<hmac::Tag>,
}

fn fault(words: &str) -> AuthenticationError {
    AuthenticationError::new(words)
}

impl Proof {
    fn new(scram: &Scram, nonce: String) -> Self {
        let name = scram.user_name.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={name},r={nonce}");
        Self { hash: scram.hash, password: scram.password.clone(), nonce, bare, expected: None }
    }

    /// Answers `r=nonce,s=salt,i=iterations` with `c=header,r=nonce,p=proof`.
    fn prove(&mut self, challenge: &str) -> Result<String, AuthenticationError> {
        let mut attributes = challenge.split(',');
        let mut next = |name: &str| attributes.next().and_then(|attribute| attribute.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(iterations)) = (next("r="), next("s="), next("i=")) else {
            return Err(fault("the server's challenge is not SCRAM"));
        };
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(fault("the server's nonce is not ours made longer"));
        }
        let salt = STANDARD.decode(salt).map_err(|_| fault("the server's salt is no Base64"))?;
        let iterations = iterations.parse().ok().filter(|count| ITERATIONS.contains(count));
        let iterations = iterations.and_then(NonZeroU32::new);
        let iterations =
            iterations.ok_or_else(|| fault("the server wants too few or too many iterations"))?;

        let mut salted = vec![0; self.hash.digest.output_len()];
        pbkdf2::derive(self.hash.derive, iterations, &salt, &self.password, &mut salted);
        let client_key = self.hash.tag(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest, client_key.as_ref());
        let answer = format!("c={},r={nonce}", STANDARD.encode(HEADER));
        let said = format!("{},{challenge},{answer}", self.bare);
        let signature = self.hash.tag(stored_key.as_ref(), said.as_bytes());
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, mask)| key ^ mask).collect();
        let server_key = self.hash.tag(&salted, b"Server Key");
        self.expected = Some(self.hash.tag(server_key.as_ref(), said.as_bytes()));
        Ok(format!("{answer},p={}", STANDARD.encode(proof)))
    }
}

#[async_trait::async_trait]
impl Exchange for Proof {
    async fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        Ok(Some(format!("{HEADER}{}", self.bare).into()))
    }

    async fn answer(&mut self, challenge: &[u8]) -> Result<Bytes, AuthenticationError> {
        let challenge = str::from_utf8(challenge).map_err(|_| fault("the server's challenge is no text"))?;
        Ok(self.prove(challenge)?.into())
    }

    /// The server knows the password, too: `v=signature`.
    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), AuthenticationError> {
        let signature = data.and_then(|data| STANDARD.decode(data.strip_prefix(b"v=")?).ok());
        match (signature, &self.expected) {
            (Some(signature), Some(expected)) if signature == expected.as_ref() => Ok(()),
            _ => Err(fault("the server does not prove that it knows the password")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 section 3, and of RFC 5802 section 5.
    #[test]
    fn the_examples_of_the_standards() {
        for (method, nonce, challenge, answer, end) in [
            (
                "SCRAM-SHA-256",
                "rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
            (
                "SCRAM-SHA-1",
                "fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
        ] {
            let hash = Hash::of_method(method).unwrap();
            let scram = Scram { hash, user_name: "user".to_owned(), password: b"pencil".to_vec() };
            let mut proof = Proof::new(&scram, nonce.to_owned());
            assert_eq!(proof.prove(challenge).unwrap(), answer);
            assert!(proof.finish(Some(end.as_bytes())).is_ok());
            for wrong in [None, Some(&b"v=AAAA"[..]), Some(b"e=other-error"), Some(b"")] {
                assert!(proof.finish(wrong).is_err(), "{wrong:?}");
            }
        }
    }

    #[test]
    fn a_challenge_that_is_not_to_be_trusted_is_refused() {
        let hash = Hash::of_method("SCRAM-SHA-256").unwrap();
        let scram = Scram { hash, user_name: "a=b,c".to_owned(), password: b"pencil".to_vec() };
        let mut proof = Proof::new(&scram, "abc".to_owned());
        assert_eq!(proof.bare, "n=a=3Db=2Cc,r=abc");
        for challenge in [
            "",
            "r=abc,s=AAAA,i=4096",
            "r=xyzabc,s=AAAA,i=4096",
            "r=abcd,s=?,i=4096",
            "r=abcd,s=AAAA,i=4095",
            "r=abcd,s=AAAA,i=4000000000",
            "e=no",
        ] {
            assert!(proof.prove(challenge).is_err(), "{challenge}");
            assert!(proof.finish(Some(b"v=")).is_err());
        }
    }
}
