//! Who may connect and who may do what, from files: passwords, certificates, tokens, and an access control list.
//!
//! [`Access`] reads them all or nothing, and reads them again when it is told to: rights are looked up whenever they
//! are used, so what a file does not grant any more ends with the reload. Checking a password takes long on purpose and
//! happens on threads of its own.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // It reads files, and a reload swaps what it read.

mod acl;
#[cfg(feature = "jwt")]
mod jwt;
mod password;

pub use acl::Acl;
#[cfg(feature = "jwt")]
pub use jwt::TokenFiles;
pub use password::{Passwords, hash};

use crate::core::{self, Client, Credentials, Decision, Policy, Verdict};
use crate::shell::{Answer, Applicant, Gate};
use mqtt_packet::ReasonCode;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Threads that check passwords: as many as may use that much memory at once.
const CHECKERS: usize = 2;
/// Clients that wait for their passwords to be checked; more are told that the server is busy.
const WAITING: usize = 1024;

/// A line of a file that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Fault {
    pub(crate) fn new(file: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

/// The lines of a text file that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1_usize..).zip(text.lines());
    lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

fn read(path: &Path) -> Result<String, Vec<Fault>> {
    std::fs::read_to_string(path).map_err(|error| vec![Fault::new(path, 0, error.to_string())])
}

/// The files of an [`Access`].
#[derive(Clone, Debug, Default)]
pub struct AccessFiles {
    /// User names and hashes of passwords.
    pub passwords: Option<PathBuf>,
    /// Rights; without it everybody may do everything.
    pub acl: Option<PathBuf>,
    /// How tokens are checked that clients send as their passwords.
    #[cfg(feature = "jwt")]
    pub tokens: Option<TokenFiles>,
}

/// Who may come in by a listener, beside those who prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Door {
    /// Whether clients without a user name are let in.
    pub allow_anonymous: bool,
    /// Whether the common name of a client's certificate is its user name, without a password.
    pub use_common_name: bool,
}

/// What the files say, all of one moment.
#[derive(Default)]
struct Rules {
    passwords: Option<Passwords>,
    acl: Option<Acl>,
    #[cfg(feature = "jwt")]
    tokens: Option<jwt::Tokens>,
}

impl Rules {
    fn load(files: &AccessFiles) -> Result<Self, Vec<Fault>> {
        let mut rules = Self::default();
        let mut faults = Vec::new();
        if let Some(path) = &files.passwords {
            match Passwords::read(path) {
                Ok(passwords) => rules.passwords = Some(passwords),
                Err(found) => faults.extend(found),
            }
        }
        if let Some(path) = &files.acl {
            match Acl::read(path) {
                Ok(acl) => rules.acl = Some(acl),
                Err(found) => faults.extend(found),
            }
        }
        #[cfg(feature = "jwt")]
        if let Some(files) = &files.tokens {
            match jwt::Tokens::read(files) {
                Ok(tokens) => rules.tokens = Some(tokens),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(rules) } else { Err(faults) }
    }

    /// Whether this name and password, or token, are right.
    fn check(&self, credentials: &Credentials) -> Decision {
        let password = credentials.password.as_deref().unwrap_or_default();
        #[cfg(feature = "jwt")]
        if let Some(tokens) = &self.tokens
            && let Some(token) = jwt::Tokens::looks_like(password)
        {
            return tokens.check(token, credentials.user_name.as_deref());
        }
        let name = credentials.user_name.as_deref().unwrap_or_default();
        match &self.passwords {
            Some(passwords) if passwords.check(name, password) => Decision::Allow,
            _ => Decision::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        }
    }
}

/// Access by files, for [`Builder::access`](crate::Builder::access).
pub struct Access {
    files: AccessFiles,
    doors: Vec<Door>,
    rules: RwLock<Arc<Rules>>,
    /// How often the rules changed.
    edition: AtomicU64,
    checks: SyncSender<(Credentials, Answer)>,
    /// Lives until the threads have started.
    waiting: Mutex<Option<Receiver<(Credentials, Answer)>>>,
}

impl Access {
    /// Reads the files. The doors are those of the listeners, in their order.
    ///
    /// # Errors
    /// Everything that is wrong in any of them.
    pub fn load(files: AccessFiles, doors: Vec<Door>) -> Result<Arc<Self>, Vec<Fault>> {
        let rules = RwLock::new(Arc::new(Rules::load(&files)?));
        let (checks, waiting) = sync_channel(WAITING);
        let waiting = Mutex::new(Some(waiting));
        Ok(Arc::new(Self { files, doors, rules, edition: AtomicU64::new(0), checks, waiting }))
    }

    /// Reads the files again, and uses them from now on.
    ///
    /// # Errors
    /// Everything that is wrong in any of them. Then what was read before stays.
    pub fn reload(&self) -> Result<(), Vec<Fault>> {
        let rules = Arc::new(Rules::load(&self.files)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.edition.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn policy(self: &Arc<Self>) -> FilePolicy {
        FilePolicy { access: Arc::clone(self), rules: self.rules(), edition: 0 }
    }

    /// Starts the threads that check passwords. They end when nobody can ask them any more.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(waiting) = waiting else {
            return Ok(());
        };
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..CHECKERS {
            let (access, waiting) = (Arc::downgrade(self), Arc::clone(&waiting));
            std::thread::Builder::new().name("mqtt-passwords".to_owned()).spawn(move || {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let (Ok((credentials, answer)), Some(access)) = (next, access.upgrade()) else {
                        return;
                    };
                    answer.give(access.rules().check(&credentials));
                }
            })?;
        }
        Ok(())
    }
}

impl Gate for Access {
    fn ask(&self, applicant: Applicant, answer: Answer) {
        let door = self.doors.get(usize::from(applicant.listener)).copied().unwrap_or_default();
        if door.use_common_name
            && let Some(name) = applicant.common_name
        {
            answer.give(Decision::AllowAs(name.into()));
            return;
        }
        let credentials = applicant.credentials;
        if credentials.user_name.is_none() && credentials.password.is_none() {
            answer.give(match door.allow_anonymous {
                true => Decision::Allow,
                false => Decision::Refuse(ReasonCode::NOT_AUTHORIZED),
            });
            return;
        }
        match self.checks.try_send((credentials, answer)) {
            Ok(()) => {}
            Err(TrySendError::Full((_, answer)) | TrySendError::Disconnected((_, answer))) => {
                answer.give(Decision::Refuse(ReasonCode::SERVER_BUSY));
            }
        }
    }
}

/// The rights of one shard's clients, as of the last reload.
pub(crate) struct FilePolicy {
    access: Arc<Access>,
    rules: Arc<Rules>,
    edition: u64,
}

impl FilePolicy {
    fn rules(&mut self) -> &Rules {
        let edition = self.access.edition.load(Ordering::SeqCst);
        if edition != self.edition {
            self.edition = edition;
            self.rules = self.access.rules();
        }
        &self.rules
    }
}

impl Policy for FilePolicy {
    fn authenticate(&mut self, _: &Credentials) -> Verdict {
        Verdict::Ask
    }

    fn authorize(&mut self, client: &Client, access: core::Access, topic: &str) -> bool {
        match &self.rules().acl {
            Some(acl) => acl.allows(client, access, topic),
            None => true,
        }
    }

    fn restricts(&self, _: core::Access) -> bool {
        self.access.files.acl.is_some()
    }
}
