//! `mqtt probe`: what a server supports, and how it behaves.
//!
//! Connections are made packet by packet with the codec, because what is asked for is often what a client would never say.
//! All topics and client identifiers begin with a name of their own, and what is retained is taken away again.

mod abilities;
mod command;
mod limits;
mod peer;
mod refusals;
mod report;
mod rules;
mod rules_of_5;

pub(crate) use command::command;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use mqtt_client_async::transport::Transport;
use mqtt_client_async::{Utf8Str, Version};
use mqtt_packet::Connect;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use peer::{Fault, Peer};

/// The server, and how it is asked.
struct Site {
    url: String,
    transport: Arc<dyn Transport>,
    user_name: Option<String>,
    password: Option<Vec<u8>>,
    /// For how long an answer is waited for.
    patience: Duration,
    /// What topics and client identifiers begin with.
    name: String,
}

impl Site {
    /// A CONNECT as it may be; the identifier is `id` behind the name of this run.
    fn connect<'c>(&'c self, version: Version, id: &'c str) -> Result<Connect<'c>, Fault> {
        let mut connect = Connect::new(version, peer::text_of(id)?);
        connect.user_name = self.user_name.as_deref().map(peer::text_of).transpose()?;
        connect.password = self.password.as_deref();
        Ok(connect)
    }

    /// A client identifier of this run. Of letters and digits, and short enough for every server.
    fn id(&self, of: &str) -> String {
        format!("{}{of}", self.name)
    }

    /// A topic of this run.
    fn topic(&self, of: &str) -> String {
        format!("{}/{of}", self.name)
    }

    /// A connection of a session that ends with it.
    async fn client(&self, version: Version, of: &str) -> Result<Peer, Fault> {
        let id = self.id(of);
        let mut peer = Peer::dial(self, version).await?;
        peer.connect(&self.connect(version, &id)?).await?;
        Ok(peer)
    }
}

/// What was found out.
struct Finding {
    /// Under which heading.
    group: &'static str,
    name: String,
    /// The normative statement, where it is about one.
    statement: Option<&'static str>,
    value: Value,
    /// What there is to say besides.
    words: String,
}

impl Finding {
    fn new(group: &'static str, name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { group, name: name.into(), statement: None, value: value.into(), words: String::new() }
    }

    fn saying(self, words: impl Into<String>) -> Self {
        Self { words: words.into(), ..self }
    }

    /// Yes, or no and what came instead.
    fn of<T>(group: &'static str, name: impl Into<String>, result: Result<T, Fault>) -> Self {
        match result {
            Ok(_) => Self::new(group, name, true),
            Err(fault) => Self::new(group, name, false).saying(fault),
        }
    }
}

/// Runs what the command line says.
pub(crate) fn run(matches: &clap::ArgMatches) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = command::read(matches)?;
    let site = runtime.block_on(command::site(matches, &options))?;
    let progress = match std::io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    progress.enable_steady_tick(Duration::from_millis(100));
    let result = runtime.block_on(probe(&site, &options, &progress));
    progress.finish_and_clear();
    let (report, broken) = result?;
    report::print(&site, &report, options.json)?;
    if options.strict && broken > 0 {
        return Err(Failure::new(1, format!("Error: {broken} statements do not hold")));
    }
    Ok(())
}

/// All that is found out, and how many statements do not hold.
async fn probe(
    site: &Site,
    options: &command::Options,
    progress: &ProgressBar,
) -> Outcome<(Vec<Finding>, usize)> {
    let mut findings = Vec::new();
    progress.set_message("versions");
    let versions = limits::versions(site, &mut findings).await?;
    if versions.contains(&Version::V5) {
        limits::announced(site, &mut findings).await.map_err(Failure::error)?;
    }
    // What works is asked in the newest version.
    if let Some(&version) = versions.last() {
        progress.set_message("limits, by trying");
        limits::found(site, version, options.max_payload, &mut findings).await;
        progress.set_message("what works");
        abilities::all(site, version, &mut findings).await;
    }
    let mut broken = 0;
    for &version in versions.iter().filter(|version| !options.no_conformance && **version != Version::V3_1) {
        progress.set_message(conformance(version));
        for result in
            [refusals::all(site, version).await, rules::all(site, version).await].into_iter().flatten()
        {
            broken += usize::from(result.value == Value::Bool(false));
            findings.push(result);
        }
    }
    Ok((findings, broken))
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::V3_1 => "MQTT 3.1",
        Version::V3_1_1 => "MQTT 3.1.1",
        Version::V5 => "MQTT 5.0",
    }
}

/// The heading of a version's statements.
fn conformance(version: Version) -> &'static str {
    match version {
        Version::V5 => "conformance, MQTT 5.0",
        _ => "conformance, MQTT 3.1.1",
    }
}

/// Text that is one for sure.
fn text(text: &'static str) -> Utf8Str<'static> {
    Utf8Str::new(text).unwrap_or_else(|_| unreachable!())
}
