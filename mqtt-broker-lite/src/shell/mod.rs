//! The broker among sockets, clocks and threads: a thread with a poller for each shard.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // This is the shell.

mod ask;
mod budget;
mod carrier;
#[cfg(all(unix, feature = "persistence"))]
mod control;
mod disk;
mod guard;
mod inherited;
mod inside;
mod listener;
mod mailbox;
#[cfg(feature = "metrics")]
mod metrics;
mod socket;
mod stream;
mod worker;

#[cfg(feature = "access")]
use crate::access::Access as FileAccess;
use crate::core::{Access, AllowAll, Client, Credentials, Policy, Settings, Shard, ShardId, Verdict};
#[cfg(feature = "persistence")]
use crate::store::Durable;
use crate::store::{Limits, Store, StoreError, SyncMode, WINDOW_BYTES};
#[cfg(feature = "access")]
pub(crate) use ask::Answer;
pub(crate) use ask::Gate;
pub use ask::{Applicant, Authenticator, Task};
use ask::{Nobody, OnExecutor};
use budget::Budget;
#[cfg(feature = "tls")]
pub use carrier::tls::{ClientCertificates, TlsFiles};
#[cfg(all(unix, feature = "persistence"))]
use control::Control;
use disk::{Committer, OnCommit, OnFault};
use guard::Guard;
pub use inherited::Inherited;
pub use inside::Subscription;
#[cfg(feature = "cli")]
pub(crate) use listener::is_local;
use listener::{Address, Listener};
pub use listener::{Listen, ListenLimits};
use mio::Poll;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Instant;
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
    /// The certificates of a listener are not what they should be.
    #[error("{url}: {what}")]
    Certificates {
        /// The listener.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// A listener could not be opened.
    #[error("cannot listen on {url}: {source}")]
    Listen {
        /// What was asked for.
        url: String,
        /// Why not.
        source: io::Error,
    },
    /// A socket was handed over that no listener wants.
    #[error("{address} was handed over, but no listener has this address")]
    Unclaimed {
        /// Where it listens.
        address: String,
    },
    /// A listener would let everybody in from everywhere.
    #[error(
        "{url} is reachable from other machines, but nobody is asked who he is: listen on 127.0.0.1, or configure a password_file, [jwt], certificates of clients, or allow_anonymous = true"
    )]
    OpenToAll {
        /// What was asked for.
        url: String,
    },
    /// The data directory cannot be used.
    #[error("{}: {source}", .directory.display())]
    Store {
        /// Which.
        directory: PathBuf,
        /// Why not.
        source: StoreError,
    },
    /// The system refused a poller or a thread.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// How often the topics under `$SYS` are published, in milliseconds.
const SYS_INTERVAL: u64 = 10_000;

/// Messages of a stored session that wait in memory; the others wait on the disk.
const WINDOW: usize = 1000;

/// Makes the policy of a shard.
type PolicyMaker = Box<dyn Fn() -> Box<dyn Policy>>;

/// How a broker is to be.
pub struct Builder {
    listens: Vec<Listen>,
    settings: Settings,
    policy: Option<PolicyMaker>,
    gate: Option<Arc<dyn Gate>>,
    data: Option<PathBuf>,
    sync: SyncMode,
    limits: Limits,
    on_fault: Option<OnFault>,
    max_connections: usize,
    budget: Option<Budget>,
    inherited: Inherited,
    #[cfg(feature = "access")]
    access: Option<Arc<FileAccess>>,
    #[cfg(feature = "metrics")]
    metrics: Option<SocketAddr>,
    #[cfg(feature = "metrics")]
    commits: prometheus_client::metrics::histogram::Histogram,
}

impl Builder {
    /// Listens on this address, `mqtt://host:port` or another that [`Listen::on`] knows; port 0 takes a free one. May be
    /// said several times.
    #[must_use]
    pub fn listen(mut self, listen: impl Into<Listen>) -> Self {
        self.listens.push(listen.into());
        self
    }

    /// Takes sockets that listen already.
    #[must_use]
    pub fn inherit(mut self, inherited: Inherited) -> Self {
        self.inherited = inherited;
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

    /// How many connections there may be in all; more are closed at once.
    #[must_use]
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// How many bytes of memory the broker may take, and who knows how many it takes: the allocator. As it gets short,
    /// more and more is given up, see [`Pressure`](crate::core::Pressure).
    #[must_use]
    pub fn memory_budget(mut self, limit: usize, used: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.budget = Some(Budget { limit, used: Arc::new(used) });
        self
    }

    /// Tells at this address by HTTP, under `/metrics`, what the broker is like, in the text format of Prometheus. Whoever
    /// reaches the address may read it: so better one of this machine, or of a network for that.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(mut self, address: SocketAddr) -> Self {
        self.metrics = Some(address);
        self
    }

    /// Who may connect and what he may do, by files. Replaces a policy and an authenticator.
    #[cfg(feature = "access")]
    #[must_use]
    pub fn access(mut self, access: &Arc<FileAccess>) -> Self {
        let rights = Arc::clone(access);
        self.policy = Some(Box::new(move || Box::new(rights.policy())));
        self.gate = Some(Arc::clone(access) as Arc<dyn Gate>);
        self.access = Some(Arc::clone(access));
        self
    }

    /// Who answers where the policy says [`Verdict::Ask`](crate::core::Verdict::Ask); without a policy, who decides about
    /// every client. Each question is a future for `spawn`: `|task| drop(tokio::spawn(task))`, with a handle of the
    /// runtime, or whatever runs futures.
    #[must_use]
    pub fn authenticator<A: Authenticator>(
        mut self,
        authenticator: A,
        spawn: impl Fn(Task) + Send + Sync + 'static,
    ) -> Self {
        self.gate = Some(Arc::new(OnExecutor { authenticator: Arc::new(authenticator), spawn }));
        self
    }

    /// Keeps sessions, their messages and retained messages in this directory, and makes everything safe as this mode
    /// says. Without a directory everything is in memory.
    #[cfg(feature = "persistence")]
    #[must_use]
    pub fn data(mut self, directory: impl Into<PathBuf>, sync: SyncMode) -> Self {
        self.data = Some(directory.into());
        self.sync = sync;
        self
    }

    /// How much of the disk the store may take.
    #[must_use]
    pub fn data_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What to do when the store fails. From then on nothing is acknowledged that would have to be safe, and all
    /// connections are closed; without this, an error is logged.
    #[must_use]
    pub fn on_fault(mut self, act: impl FnOnce(&StoreError) + Send + 'static) -> Self {
        self.on_fault = Some(Box::new(act));
        self
    }

    /// Opens the listeners and starts the threads.
    ///
    /// # Errors
    /// Why there is no broker. Nothing is left open then.
    pub fn start(mut self) -> Result<Broker, StartError> {
        if self.listens.is_empty() {
            self.listens.push(Listen::on("mqtt://127.0.0.1:1883"));
        }
        let addresses = self.where_to_listen()?;
        self.settings.seed = worker::entropy();
        let clock = Instant::now();
        // Nobody connects before everything is back that was stored.
        let (shards, store) = self.restore(clock)?;
        let mut listeners = Vec::new();
        for (address, listen) in addresses.into_iter().zip(&self.listens) {
            let first = self.settings.max_connect_size;
            listeners.push(Listener::open(address, listen, first, &mut self.inherited)?);
        }
        self.inherited.check_taken()?;
        let addresses = listeners.iter().filter_map(Listener::address).collect();
        let urls = listeners.iter().map(|listener| listener.url().to_owned()).collect();
        #[cfg(feature = "tls")]
        let certificates = listeners.iter().filter_map(|listener| listener.certificates.clone()).collect();
        let gate = self.gate.clone().unwrap_or_else(|| Arc::new(Nobody));
        #[cfg(feature = "access")]
        if let Some(access) = &self.access {
            access.start()?;
        }
        #[cfg(feature = "metrics")]
        let metrics = self.metrics.map(metrics::open).transpose()?;
        let (workers, mailboxes) = self.workers_for(shards, listeners, &gate, clock)?;
        let mut broker = Broker {
            addresses,
            urls,
            #[cfg(feature = "tls")]
            certificates,
            mailboxes: mailboxes.clone(),
            threads: Vec::new(),
            committer: None,
            #[cfg(all(unix, feature = "persistence"))]
            control: None,
            #[cfg(feature = "metrics")]
            exporter: None,
            observers: AtomicU64::new(0),
        };
        if let Some(store) = store {
            let on_commit = self.on_commit();
            self.start_committer(&mut broker, store, on_commit)?;
        }
        let disk = broker.committer.as_ref().map(|committer| committer.disk.clone());
        for (shard, (mut worker, poll)) in workers.into_iter().enumerate() {
            worker.shards.clone_from(&mailboxes);
            worker.disk.clone_from(&disk);
            let thread = std::thread::Builder::new().name(format!("mqtt-shard-{shard}"));
            // If this fails, dropping the broker stops those that run.
            broker.threads.push(thread.spawn(move || worker.run(poll))?);
        }
        #[cfg(feature = "metrics")]
        if let Some(listener) = metrics {
            let sources = metrics::Sources { workers: mailboxes, budget: self.budget, commits: self.commits };
            broker.exporter = Some(metrics::Exporter::start(listener, sources)?);
        }
        Ok(broker)
    }

    /// The workers, not yet running, and the ways to them.
    fn workers_for(
        &self,
        shards: Vec<(Shard, Option<u64>)>,
        mut listeners: Vec<Listener>,
        gate: &Arc<dyn Gate>,
        clock: Instant,
    ) -> io::Result<(Vec<Idle>, Vec<Mailbox>)> {
        let guard = Guard::new(self.max_connections, self.listens.iter().map(|listen| listen.limits));
        let mut workers = Vec::new();
        let mut mailboxes = Vec::new();
        for (number, (shard, wake_at)) in (0..).zip(shards) {
            // The first accepts for all; a connection moves on when its CONNECT says whose it is.
            let listeners = std::mem::take(&mut listeners);
            let settings = Settings { shard: ShardId(number), ..self.settings.clone() };
            let (mut worker, poll) =
                Worker::new(shard, settings, listeners, Arc::clone(gate), Arc::clone(&guard))?;
            worker.begin(clock, wake_at, self.budget.clone());
            mailboxes.push(worker.mailbox());
            workers.push((worker, poll));
        }
        Ok((workers, mailboxes))
    }

    /// Who is told how long commits take.
    #[cfg(feature = "metrics")]
    fn on_commit(&self) -> OnCommit {
        let commits = self.commits.clone();
        Box::new(move |time| commits.observe(time.as_secs_f64()))
    }

    #[cfg(not(feature = "metrics"))]
    #[allow(clippy::unused_self)] // As where somebody wants to know.
    fn on_commit(&self) -> OnCommit {
        Box::new(|_| {})
    }

    /// Starts the thread that makes safe what the shards write, and the one that is asked for copies.
    fn start_committer(
        &mut self,
        broker: &mut Broker,
        store: Box<dyn Store>,
        on_commit: OnCommit,
    ) -> io::Result<()> {
        let on_fault = self.on_fault.take().unwrap_or_else(|| Box::new(|fault| tracing::error!("{fault}")));
        let committer = Committer::start(store, self.sync, broker.mailboxes.clone(), on_commit, on_fault)?;
        #[cfg(all(unix, feature = "persistence"))]
        if let Some(directory) = &self.data {
            broker.control = Control::start(directory, committer.disk.clone());
        }
        broker.committer = Some(committer);
        Ok(())
    }

    /// Where the listeners are to be; in the open only with something that decides who may come in.
    fn where_to_listen(&self) -> Result<Vec<Address>, StartError> {
        let is_guarded = self.policy.is_some() || self.gate.is_some();
        let check = |listen: &Listen| {
            let address = Address::parse(&listen.url)?;
            match is_guarded || address.is_local() {
                true => Ok(address),
                false => Err(StartError::OpenToAll { url: listen.url.clone() }),
            }
        };
        self.listens.iter().map(check).collect()
    }

    /// The shards, each with the time when it wants to be woken, and the store from which they are.
    fn restore(&self, clock: Instant) -> Result<Restored, StartError> {
        let mut store = self.open_store()?;
        let may_forget = self.sync != SyncMode::Always;
        let durable = store.is_some();
        let (queue_window, queue_window_bytes) = match durable {
            true => {
                (self.settings.queue_window.min(WINDOW), self.settings.queue_window_bytes.min(WINDOW_BYTES))
            }
            false => (usize::MAX, usize::MAX),
        };
        let settings =
            Settings { durable, may_forget, queue_window, queue_window_bytes, ..self.settings.clone() };
        let policy = || match &self.policy {
            Some(make) => make(),
            None if self.gate.is_some() => Box::new(AskAll),
            None => Box::new(AllowAll),
        };
        let shards = (0..settings.shards).map(ShardId);
        let mut shards: Vec<_> =
            shards.map(|shard| Shard::new(Settings { shard, ..settings.clone() }, policy())).collect();
        let wake_at = match &mut store {
            Some(store) => {
                disk::recover(&mut shards, &mut **store, queue_window, worker::now(clock)).map_err(
                    |source| StartError::Store { directory: self.data.clone().unwrap_or_default(), source },
                )?
            }
            None => vec![None; shards.len()],
        };
        Ok((shards.into_iter().zip(wake_at).collect(), store))
    }

    #[cfg(feature = "persistence")]
    fn open_store(&self) -> Result<Option<Box<dyn Store>>, StartError> {
        let Some(directory) = &self.data else {
            return Ok(None);
        };
        let store = Durable::open(directory, self.sync)
            .map_err(|source| StartError::Store { directory: directory.clone(), source })?;
        Ok(Some(Box::new(store.with_limits(self.limits))))
    }

    #[cfg(not(feature = "persistence"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // As where there is one.
    fn open_store(&self) -> Result<Option<Box<dyn Store>>, StartError> {
        Ok(None)
    }
}

/// A worker that does not run yet, and what it will wait for.
type Idle = (Worker, Poll);

/// Shards, each with the time when it wants to be woken, and the store that they are from.
type Restored = (Vec<(Shard, Option<u64>)>, Option<Box<dyn Store>>);

/// A running broker. Dropping it stops it as [`shutdown`](Self::shutdown) does.
pub struct Broker {
    addresses: Vec<SocketAddr>,
    urls: Vec<String>,
    #[cfg(feature = "tls")]
    certificates: Vec<Arc<listener::Certificates>>,
    mailboxes: Vec<Mailbox>,
    threads: Vec<JoinHandle<()>>,
    /// Makes safe what the shards write, if there is a store.
    committer: Option<Committer>,
    /// Where copies of the store are asked for.
    #[cfg(all(unix, feature = "persistence"))]
    control: Option<Control>,
    /// Where metrics are.
    #[cfg(feature = "metrics")]
    exporter: Option<metrics::Exporter>,
    /// How many subscriptions inside the process there were.
    observers: AtomicU64,
}

impl Broker {
    /// A broker to be: in memory, on `mqtt://127.0.0.1:1883` unless told otherwise.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            listens: Vec::new(),
            settings: Settings { sys_interval: SYS_INTERVAL, ..Settings::default() },
            policy: None,
            gate: None,
            data: None,
            sync: SyncMode::Always,
            limits: Limits::default(),
            on_fault: None,
            max_connections: usize::MAX,
            budget: None,
            inherited: Inherited::default(),
            #[cfg(feature = "access")]
            access: None,
            #[cfg(feature = "metrics")]
            metrics: None,
            #[cfg(feature = "metrics")]
            commits: metrics::histogram(),
        }
    }

    /// Where it listens on TCP, with the real ports, in the order of the listeners.
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
        self.urls.iter().cloned()
    }

    /// Where the metrics are, with the real port: `http://127.0.0.1:9883/metrics`.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        self.exporter.as_ref().map(|exporter| metrics::url(exporter.address))
    }

    /// Reads the certificates again. Connections that are open keep what they have.
    ///
    /// # Errors
    /// Which file is not what it should be. Then everything stays as it was.
    #[cfg(feature = "tls")]
    pub fn reload_certificates(&self) -> Result<(), String> {
        self.use_certificates(self.read_certificates()?);
        Ok(())
    }

    /// Reads the certificates again, for [`use_certificates`](Self::use_certificates).
    ///
    /// # Errors
    /// Which file is not what it should be.
    #[cfg(feature = "tls")]
    pub fn read_certificates(&self) -> Result<ReadCertificates, String> {
        let read: Result<_, _> = self.certificates.iter().map(|one| one.load()).collect();
        read.map(ReadCertificates)
    }

    /// New connections are made with these.
    #[cfg(feature = "tls")]
    pub fn use_certificates(&self, read: ReadCertificates) {
        for (certificates, config) in self.certificates.iter().zip(read.0) {
            certificates.swap(config);
        }
    }

    /// Copies everything that is stored now into a directory that is missing or empty, while work goes on. The copy is a
    /// data directory.
    ///
    /// # Errors
    /// There is no store, or it cannot be copied there.
    pub fn backup(&self, target: impl Into<PathBuf>) -> Result<(), StoreError> {
        match &self.committer {
            Some(committer) => committer.disk.backup(target.into()),
            None => Err(StoreError::Io(io::Error::other("everything is in memory"))),
        }
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
        #[cfg(all(unix, feature = "persistence"))]
        drop(self.control.take());
        #[cfg(feature = "metrics")]
        drop(self.exporter.take());
        if let Some(committer) = self.committer.take() {
            committer.close();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Everybody is asked who he is, and may do everything then.
struct AskAll;

impl Policy for AskAll {
    fn authenticate(&mut self, _: &Credentials) -> Verdict {
        Verdict::Ask
    }

    fn authorize(&mut self, _: &Client, _: Access, _: &str) -> bool {
        true
    }

    fn restricts(&self, _: Access) -> bool {
        false
    }
}

/// Certificates of all listeners that were read and are right.
#[cfg(feature = "tls")]
pub struct ReadCertificates(Vec<Arc<rustls::ServerConfig>>);
