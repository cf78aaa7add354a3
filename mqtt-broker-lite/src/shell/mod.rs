//! The broker among sockets, clocks and threads: a thread with a poller for each shard.

#![allow(clippy::disallowed_methods)] // This is the shell.

mod inside;
mod listener;
mod socket;
mod worker;

use crate::core::{AllowAll, Policy, Settings, Shard, ShardId};
pub use inside::Subscription;
use listener::{Address, Listener};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use thiserror::Error;
use worker::{Letter, Mailbox, Worker};

/// Why a broker did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address of a listener is not one.
    #[error("{url}: {what}")]
    Url {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A listener could not be opened.
    #[error("cannot listen on {url}: {source}")]
    Listen {
        /// What was asked for.
        url: String,
        /// Why not.
        source: io::Error,
    },
    /// A listener would let everybody in from everywhere.
    #[error(
        "{url} is reachable from other machines, but nobody is asked who he is: listen on 127.0.0.1, or give a policy"
    )]
    OpenToAll {
        /// What was asked for.
        url: String,
    },
    /// The system refused a poller or a thread.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// How often the topics under `$SYS` are published, in milliseconds.
const SYS_INTERVAL: u64 = 10_000;

/// Makes the policy of a shard.
type PolicyMaker = Box<dyn Fn() -> Box<dyn Policy>>;

/// How a broker is to be.
pub struct Builder {
    urls: Vec<String>,
    settings: Settings,
    policy: Option<PolicyMaker>,
}

impl Builder {
    /// Listens on this address, `mqtt://host:port`; port 0 takes a free one. May be said several times.
    #[must_use]
    pub fn listen(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// How many shards there are, each with a thread of its own.
    #[must_use]
    pub fn workers(mut self, workers: NonZeroU16) -> Self {
        self.settings.shards = workers.get();
        self
    }

    /// Limits and behaviour; which shard of how many is the broker's to say.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Settings { shards: self.settings.shards, ..settings };
        self
    }

    /// Who may do what. Without a policy everybody may do everything, and all listeners must be on loopback addresses.
    #[must_use]
    pub fn policy<P: Policy + 'static>(mut self, make: impl Fn() -> P + 'static) -> Self {
        self.policy = Some(Box::new(move || Box::new(make())));
        self
    }

    /// Opens the listeners and starts the threads.
    ///
    /// # Errors
    /// Why there is no broker. Nothing is left open then.
    pub fn start(mut self) -> Result<Broker, StartError> {
        if self.urls.is_empty() {
            self.urls.push("mqtt://127.0.0.1:1883".to_owned());
        }
        let mut listeners = Vec::new();
        for url in &self.urls {
            let address = Address::parse(url)?;
            if self.policy.is_none() && !address.is_loopback() {
                return Err(StartError::OpenToAll { url: url.clone() });
            }
            listeners.push(Listener::open(&address, url)?);
        }
        let addresses = listeners.iter().map(Listener::address).collect();
        self.settings.seed = worker::entropy();
        let mut workers = Vec::new();
        let mut mailboxes = Vec::new();
        for shard in 0..self.settings.shards.max(1) {
            // The first accepts for all; a connection moves on when its CONNECT says whose it is.
            let listeners = std::mem::take(&mut listeners);
            let (worker, mailbox) = self.worker(ShardId(shard), listeners)?;
            workers.push(worker);
            mailboxes.push(mailbox);
        }
        let mut broker = Broker {
            addresses,
            mailboxes: mailboxes.clone(),
            threads: Vec::new(),
            observers: AtomicU64::new(0),
        };
        for (shard, mut worker) in workers.into_iter().enumerate() {
            worker.shards.clone_from(&mailboxes);
            let thread = std::thread::Builder::new().name(format!("mqtt-shard-{shard}"));
            // If this fails, dropping the broker stops those that run.
            broker.threads.push(thread.spawn(move || worker.run())?);
        }
        Ok(broker)
    }

    fn worker(&self, shard: ShardId, listeners: Vec<Listener>) -> Result<(Worker, Mailbox), StartError> {
        let settings = Settings { shard, ..self.settings.clone() };
        let policy = match &self.policy {
            Some(make) => make(),
            None => Box::new(AllowAll),
        };
        let shard = Shard::new(settings.clone(), policy);
        Ok(Worker::new(shard, settings, listeners)?)
    }
}

/// A running broker. Dropping it stops it as [`shutdown`](Self::shutdown) does.
pub struct Broker {
    addresses: Vec<SocketAddr>,
    mailboxes: Vec<Mailbox>,
    threads: Vec<JoinHandle<()>>,
    /// How many subscriptions inside the process there were.
    observers: AtomicU64,
}

impl Broker {
    /// A broker to be: in memory, on `mqtt://127.0.0.1:1883` unless told otherwise.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            urls: Vec::new(),
            settings: Settings { sys_interval: SYS_INTERVAL, ..Settings::default() },
            policy: None,
        }
    }

    /// Where it listens, with the real ports, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of its listeners: `mqtt://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        self.urls().next().unwrap_or_default()
    }

    /// All of them.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        self.addresses.iter().map(|address| format!("mqtt://{address}"))
    }

    /// Stops: no new connections, DISCONNECT to those who understand it, everything sent that can be. Waits for that.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        for mailbox in &self.mailboxes {
            mailbox.send(Letter::ShutDown);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard panicked");
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}
