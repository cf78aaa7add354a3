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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessFiles {
    /// User names and hashes of passwords.
    pub passwords: Option<PathBuf>,
    /// Rights; without it everybody may do everything.
    pub acl: Option<PathBuf>,
    /// How tokens are checked that clients send as their passwords.
    #[cfg(feature = "jwt")]
    pub tokens: Option<TokenFiles>,
}

impl AccessFiles {
    /// These, and where one is not named, that of the others.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            passwords: self.passwords.clone().or_else(|| others.passwords.clone()),
            acl: self.acl.clone().or_else(|| others.acl.clone()),
            #[cfg(feature = "jwt")]
            tokens: self.tokens.clone().or_else(|| others.tokens.clone()),
        }
    }

    /// Whether a client can prove by one of them who it is.
    #[cfg(feature = "cli")]
    pub(crate) fn can_prove(&self) -> bool {
        self.passwords.is_some() || self.tokens.is_some()
    }
}

/// Who may come in by a listener, and what holds for those who came by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Door {
    /// Whether clients without a user name are let in.
    pub allow_anonymous: bool,
    /// Whether the common name of a client's certificate is its user name, without a password.
    pub use_common_name: bool,
    /// Files of this listener: each that is named counts instead of the common one.
    pub files: AccessFiles,
}

/// What one set of files says.
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

    /// Reads several sets; what is wrong in a file that stands in more than one is said once.
    fn load_all(sets: &[AccessFiles]) -> Result<Arc<[Self]>, Vec<Fault>> {
        let mut all = Vec::new();
        let mut faults = Vec::new();
        for files in sets {
            match Self::load(files) {
                Ok(rules) => all.push(rules),
                Err(found) => faults.extend(found),
            }
        }
        let mut said = Vec::new();
        for fault in faults {
            if !said.contains(&fault) {
                said.push(fault);
            }
        }
        if said.is_empty() { Ok(all.into()) } else { Err(said) }
    }

    fn allows(&self, client: &Client, access: core::Access, topic: &str) -> bool {
        self.acl.as_ref().is_none_or(|acl| acl.allows(client, access, topic))
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

/// A client whose password is to be checked, and by which rules.
type Check = (Credentials, u16, Answer);

/// Access by files, for [`Builder::access`](crate::Builder::access).
pub struct Access {
    /// All different sets of files: the common one, then those of listeners.
    sets: Vec<AccessFiles>,
    /// Each listener's, with the place of its set.
    doors: Vec<(Door, u16)>,
    /// The sets that a client can have come by.
    in_use: Vec<u16>,
    /// What the sets say, all of one moment.
    rules: RwLock<Arc<[Rules]>>,
    /// How often the rules changed.
    edition: AtomicU64,
    checks: SyncSender<Check>,
    /// Lives until the threads have started.
    waiting: Mutex<Option<Receiver<Check>>>,
}

impl Access {
    /// Reads the files. The doors are those of the listeners, in their order.
    ///
    /// # Errors
    /// Everything that is wrong in any of them.
    pub fn load(files: AccessFiles, doors: Vec<Door>) -> Result<Arc<Self>, Vec<Fault>> {
        let mut sets = vec![files.clone()];
        let doors = doors.into_iter().map(|door| {
            let own = door.files.or(&files);
            let place = sets.iter().position(|set| *set == own).unwrap_or_else(|| {
                sets.push(own);
                sets.len().saturating_sub(1)
            });
            (door, u16::try_from(place).unwrap_or(u16::MAX))
        });
        let doors: Vec<_> = doors.collect();
        let mut in_use: Vec<_> = doors.iter().map(|(_, set)| *set).collect();
        if in_use.is_empty() {
            in_use.push(0);
        }
        in_use.sort_unstable();
        in_use.dedup();
        let rules = RwLock::new(Rules::load_all(&sets)?);
        let (checks, waiting) = sync_channel(WAITING);
        let waiting = Mutex::new(Some(waiting));
        Ok(Arc::new(Self { sets, doors, in_use, rules, edition: AtomicU64::new(0), checks, waiting }))
    }

    /// Reads the files again, and uses them from now on.
    ///
    /// # Errors
    /// Everything that is wrong in any of them. Then what was read before stays.
    pub fn reload(&self) -> Result<(), Vec<Fault>> {
        let rules = Rules::load_all(&self.sets)?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.edition.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn rules(&self) -> Arc<[Rules]> {
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
                    let (Ok((credentials, set, answer)), Some(access)) = (next, access.upgrade()) else {
                        return;
                    };
                    let rules = access.rules();
                    let rules = rules.get(usize::from(set));
                    let refused = Decision::Refuse(ReasonCode::NOT_AUTHORIZED);
                    answer.give(rules.map_or(refused, |rules| by(set, rules.check(&credentials))));
                }
            })?;
        }
        Ok(())
    }
}

impl Gate for Access {
    fn ask(&self, applicant: Applicant, answer: Answer) {
        // A listener that nobody configured lets nobody in without a name.
        let unknown = (Door::default(), 0);
        let (door, set) = self.doors.get(usize::from(applicant.listener)).unwrap_or(&unknown);
        if door.use_common_name
            && let Some(name) = applicant.common_name
        {
            answer.give(by(*set, Decision::AllowAs(name.into())));
            return;
        }
        let credentials = applicant.credentials;
        if credentials.user_name.is_none() && credentials.password.is_none() {
            answer.give(match door.allow_anonymous {
                true => by(*set, Decision::Allow),
                false => Decision::Refuse(ReasonCode::NOT_AUTHORIZED),
            });
            return;
        }
        match self.checks.try_send((credentials, *set, answer)) {
            Ok(()) => {}
            Err(TrySendError::Full((_, _, answer)) | TrySendError::Disconnected((_, _, answer))) => {
                answer.give(Decision::Refuse(ReasonCode::SERVER_BUSY));
            }
        }
    }
}

/// The same decision, by these rules.
fn by(rules: u16, decision: Decision) -> Decision {
    match decision {
        Decision::Allow => Decision::AllowBy { rules, user_name: None },
        Decision::AllowAs(name) => Decision::AllowBy { rules, user_name: Some(name) },
        decided => decided,
    }
}

/// The rights of one shard's clients, as of the last reload.
pub(crate) struct FilePolicy {
    access: Arc<Access>,
    rules: Arc<[Rules]>,
    edition: u64,
}

impl FilePolicy {
    fn refresh(&mut self) {
        let edition = self.access.edition.load(Ordering::SeqCst);
        if edition != self.edition {
            self.edition = edition;
            self.rules = self.access.rules();
        }
    }
}

impl Policy for FilePolicy {
    fn authenticate(&mut self, _: &Credentials) -> Verdict {
        Verdict::Ask
    }

    fn authorize(&mut self, client: &Client, access: core::Access, topic: &str) -> bool {
        self.refresh();
        let allows = |set: &u16| {
            let rules = self.rules.get(usize::from(*set));
            rules.is_some_and(|rules| rules.allows(client, access, topic))
        };
        match &client.rules {
            Some(set) => allows(set),
            // By which listener he came before a restart nobody knows.
            None => self.access.in_use.iter().any(allows),
        }
    }

    fn restricts(&self, _: core::Access) -> bool {
        self.access.sets.iter().any(|files| files.acl.is_some())
    }
}
