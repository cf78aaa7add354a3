//! Password files: `name:hash` on each line, in the formats of mosquitto (`$6$` and `$7$`) or as argon2 writes them.
//!
//! Unknown names take the time of a known one, and get its answer.

use super::{Fault, lines, read};
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha512};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

/// Iterations that are not checked in a reasonable time are a mistake of the file.
const MOST_ITERATIONS: u32 = 10_000_000;
/// The same for argon2: KiB of memory, passes.
const MOST_MEMORY: u32 = 1 << 20;
const MOST_PASSES: u32 = 64;

enum Hash {
    /// `$6$salt$hash`: SHA-512 of password and salt.
    Sha512 { salt: Vec<u8>, hash: Vec<u8> },
    /// `$7$iterations$salt$hash`: PBKDF2 with SHA-512.
    Pbkdf2 { iterations: u32, salt: Vec<u8>, hash: Vec<u8> },
    /// `$argon2id$...`
    Argon2(String),
}

impl Hash {
    fn parse(text: &str) -> Result<Self, String> {
        let bytes = |part: &str| {
            let bytes = STANDARD.decode(part).map_err(|_| "not base64".to_owned())?;
            if bytes.is_empty() { Err("an empty salt or hash".to_owned()) } else { Ok(bytes) }
        };
        let parts: Vec<_> = text.split('$').collect();
        match parts[..] {
            ["", "6", salt, hash] => Ok(Self::Sha512 { salt: bytes(salt)?, hash: full(bytes(hash)?)? }),
            ["", "7", iterations, salt, hash] => {
                let iterations = iterations.parse().ok();
                let iterations = iterations.filter(|count| (1..=MOST_ITERATIONS).contains(count));
                let iterations = iterations.ok_or("not a number of iterations")?;
                Ok(Self::Pbkdf2 { iterations, salt: bytes(salt)?, hash: full(bytes(hash)?)? })
            }
            ["", "argon2id" | "argon2i" | "argon2d", ..] => {
                let hash = PasswordHash::new(text).map_err(|error| error.to_string())?;
                let params = Params::try_from(&hash).map_err(|error| error.to_string())?;
                if hash.hash.is_none() || hash.salt.is_none() {
                    return Err("no salt or no hash".to_owned());
                }
                if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES {
                    return Err("this costs too much memory or time".to_owned());
                }
                Ok(Self::Argon2(text.to_owned()))
            }
            _ => Err("not a hash: mqtt-broker-lite passwd makes one".to_owned()),
        }
    }

    fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Sha512 { salt, hash } => {
                is_same(&Sha512::new().chain_update(password).chain_update(salt).finalize(), hash)
            }
            Self::Pbkdf2 { iterations, salt, hash } => {
                let mut found = [0; 64];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *iterations, &mut found);
                is_same(&found, hash)
            }
            Self::Argon2(text) => PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        }
    }
}

/// A whole SHA-512, not the beginning of one.
fn full(hash: Vec<u8>) -> Result<Vec<u8>, String> {
    if hash.len() == 64 { Ok(hash) } else { Err("the hash does not have 64 bytes".to_owned()) }
}

/// Compares without telling by its time where the difference is.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// User names and hashes of their passwords.
pub struct Passwords {
    users: BTreeMap<Box<str>, Hash>,
    /// Which user's time an unknown name takes.
    choice: RandomState,
}

impl Passwords {
    /// Reads a file.
    ///
    /// # Errors
    /// Every line that is not right; nobody gets in without a password because of a line that is not understood.
    pub fn read(path: &Path) -> Result<Self, Vec<Fault>> {
        let text = read(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let is_open = std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o004 != 0);
            if is_open {
                tracing::warn!(file = %path.display(), "everybody on this machine can read the password file");
            }
        }
        Self::parse(&text, path)
    }

    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Vec<Fault>> {
        let mut users = BTreeMap::new();
        let mut faults = Vec::new();
        for (number, line) in lines(text) {
            let result = match line.trim_end().split_once(':') {
                None => Err("not name:hash".to_owned()),
                Some(("", _)) => Err("no user name".to_owned()),
                Some((name, hash)) => Hash::parse(hash).map(|hash| (name, hash)),
            };
            match result {
                Ok((name, hash)) => {
                    if users.insert(name.into(), hash).is_some() {
                        faults.push(Fault::new(path, number, format!("{name:?} stands there twice")));
                    }
                }
                Err(what) => faults.push(Fault::new(path, number, what)),
            }
        }
        if faults.is_empty() { Ok(Self { users, choice: RandomState::new() }) } else { Err(faults) }
    }

    /// Whether this is the password of this user.
    pub(super) fn check(&self, name: &str, password: &[u8]) -> bool {
        if let Some(hash) = self.users.get(name) {
            return hash.is_of(password);
        }
        let count = u64::try_from(self.users.len()).unwrap_or(1).max(1);
        let index = usize::try_from(self.choice.hash_one(name).checked_rem(count).unwrap_or(0)).unwrap_or(0);
        if let Some(other) = self.users.values().nth(index) {
            std::hint::black_box(other.is_of(password));
        }
        false
    }
}

/// The hash of a password, for a line of a password file.
///
/// # Errors
/// The system has no random numbers.
pub fn hash(password: &[u8], salt: &[u8; 16]) -> Result<String, String> {
    let salt = SaltString::encode_b64(salt).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password(password, &salt).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password is "secret"; made by `mosquitto_passwd -H sha512` and `-H sha512-pbkdf2`.
    const OLD: &str = "$6$zzgabAA4k0e8YW6/$42ebj1jJLG9m+2egM5pLhB/jgHU9oD+1AfvSApwxyUdbVo6Apng0EJ9jOlhrtz4QAv8lNL1qVevM1RLWvgD8Mw==";
    const NEW: &str = "$7$101$G3p2dtEV01uz5c5O$7kqh+lyUHXvDl0VEcaZNY63zUzw42OU3aO2vm0fH9fd5R0/ZswIzjxryzyMsQa1mk18kKjmQiu8nBQm6/NxaPg==";

    #[test]
    fn hashes_of_mosquitto_and_ours_are_read() {
        let text = format!("# users\n\nold:{OLD}\nnew:{NEW}\nours:{}\n", made(b"secret"));
        let passwords = Passwords::parse(&text, Path::new("pw")).ok().unwrap();
        for name in ["old", "new", "ours"] {
            assert!(passwords.check(name, b"secret"), "{name}");
            for wrong in [&b"Secret"[..], b"secret2", b""] {
                assert!(!passwords.check(name, wrong), "{name}");
            }
        }
    }

    #[test]
    fn lines_that_are_not_right_are_named() {
        let text = "alice\n:$6$YQ==$YQ==\nbob:\ncarol:secret\ndave:$6$YQ==$YQ==\neve:$7$0$YQ==$YQ==\n\
                    frank:$7$99999999999$YQ==$YQ==\nmallory:$argon2id$v=19$m=4194304,t=2,p=1$YWFhYWFhYWE$YWFhYWFhYWFhYWE\n";
        let faults = Passwords::parse(text, Path::new("pw")).err().unwrap();
        let numbers: Vec<_> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
        let twice = format!("a:{}\na:{}\n", made(b"x"), made(b"y"));
        assert_eq!(Passwords::parse(&twice, Path::new("pw")).err().unwrap().len(), 1);
    }

    fn made(password: &[u8]) -> String {
        hash(password, b"0123456789abcdef").unwrap()
    }

    #[test]
    fn unknown_names_are_refused_like_wrong_passwords() {
        let passwords = Passwords::parse(&format!("a:{}\n", made(b"secret")), Path::new("pw")).ok().unwrap();
        assert!(passwords.check("a", b"secret"));
        for (name, password) in
            [("a", &b"Secret"[..]), ("a", b""), ("b", b"secret"), ("", b"secret"), ("A", b"secret")]
        {
            assert!(!passwords.check(name, password));
        }
        let nobody = Passwords::parse("", Path::new("pw")).ok().unwrap();
        assert!(!nobody.check("a", b"") && !nobody.check("", b""));
    }
}
