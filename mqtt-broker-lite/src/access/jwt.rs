//! Tokens as passwords: JSON Web Tokens (RFC 7519), signed by HS256, RS256 or ES256.
//!
//! Which algorithm counts is said by the key, never by the token, and a token without an end is refused.

use super::Fault;
use crate::core::Decision;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use mqtt_packet::ReasonCode;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How tokens are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFiles {
    /// A file with a secret (HS256), a public key in PEM (RS256, ES256), or a set of keys (`.json`, RFC 7517).
    pub key: PathBuf,
    /// Who must have issued them.
    pub issuer: Option<String>,
    /// Whom they must be for.
    pub audience: Option<String>,
    /// The claim that is the user name; `sub` unless told otherwise.
    pub user_claim: Option<String>,
}

struct Key {
    /// The name of it in a set of keys.
    name: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

pub(super) struct Tokens {
    keys: Vec<Key>,
    user_claim: String,
}

impl Tokens {
    pub(super) fn read(files: &TokenFiles) -> Result<Self, Vec<Fault>> {
        let path = &files.key;
        let wrong = |what: String| vec![Fault::new(path, 0, what)];
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let found = keys(path, &bytes).map_err(wrong)?;
        let keys = found.into_iter().map(|(name, algorithm, key)| {
            let mut validation = Validation::new(algorithm);
            validation.validate_nbf = true;
            validation.leeway = 5;
            let mut required = vec!["exp"];
            if let Some(issuer) = &files.issuer {
                validation.set_issuer(&[issuer]);
                required.push("iss");
            }
            match &files.audience {
                Some(audience) => {
                    validation.set_audience(&[audience]);
                    required.push("aud");
                }
                None => validation.validate_aud = false,
            }
            validation.set_required_spec_claims(&required);
            Key { name, key, validation }
        });
        let user_claim = files.user_claim.clone().unwrap_or_else(|| "sub".to_owned());
        Ok(Self { keys: keys.collect(), user_claim })
    }

    /// Three parts of base64url with dots between.
    pub(super) fn looks_like(password: &[u8]) -> Option<&str> {
        let text = std::str::from_utf8(password).ok()?;
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        (text.split('.').count() == 3 && text.split('.').all(is_part)).then_some(text)
    }

    /// The user is whom the token names; a user name beside it must be the same.
    pub(super) fn check(&self, token: &str, user_name: Option<&str>) -> Decision {
        let refused = Decision::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
        let Ok(header) = decode_header(token) else {
            return refused;
        };
        let fits = |key: &&Key| match (&header.kid, &key.name) {
            (Some(wanted), Some(name)) => wanted == name,
            _ => true,
        };
        for key in self.keys.iter().filter(fits) {
            let Ok(data) = decode::<BTreeMap<String, serde_json::Value>>(token, &key.key, &key.validation)
            else {
                continue;
            };
            let name = data.claims.get(&self.user_claim).and_then(serde_json::Value::as_str);
            return match name {
                Some(name)
                    if !name.is_empty() && user_name.is_none_or(|user| user.is_empty() || user == name) =>
                {
                    Decision::AllowAs(name.into())
                }
                _ => refused,
            };
        }
        refused
    }
}

type Found = (Option<String>, Algorithm, DecodingKey);

fn keys(path: &Path, bytes: &[u8]) -> Result<Vec<Found>, String> {
    if path.extension().is_some_and(|extension| extension == "json") {
        let set: JwkSet = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let keys = set.keys.iter().filter_map(|jwk| {
            let algorithm = match &jwk.algorithm {
                AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
                AlgorithmParameters::RSA(_) => Algorithm::RS256,
                AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                    Algorithm::ES256
                }
                _ => return None,
            };
            let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string());
            Some(key.map(|key| (jwk.common.key_id.clone(), algorithm, key)))
        });
        let keys: Vec<Found> = keys.collect::<Result<_, _>>()?;
        return if keys.is_empty() {
            Err("no key for HS256, RS256 or ES256 in it".to_owned())
        } else {
            Ok(keys)
        };
    }
    if bytes.starts_with(b"-----BEGIN ") {
        if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            return Ok(vec![(None, Algorithm::ES256, key)]);
        }
        let key =
            DecodingKey::from_rsa_pem(bytes).map_err(|_| "not a public key of RSA or P-256".to_owned())?;
        return Ok(vec![(None, Algorithm::RS256, key)]);
    }
    let secret = bytes.trim_ascii();
    if secret.len() < 32 {
        return Err("a secret for HS256 has at least 32 bytes".to_owned());
    }
    Ok(vec![(None, Algorithm::HS256, DecodingKey::from_secret(secret))])
}
