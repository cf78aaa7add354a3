//! The program's configuration: a file in TOML, changed by the environment, changed by the command line. Every key is
//! checked, an unknown one is an error, and all that is wrong is said at once, each with its line.

#![allow(clippy::disallowed_methods)] // It reads a file.

mod keys;
mod value;

use crate::access::{Access, AccessFiles, Door, Fault, TokenFiles};
use crate::core::Settings;
use crate::shell::{Broker, Builder, Listen, ListenLimits, TlsFiles, is_local};
use crate::store::{Limits, SyncMode};
use keys::{Key, LISTENER, SECTIONS};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use value::Value;

/// What environment variables begin with: `MQTT_BROKER_LITE_LIMITS_MAX_PACKET_SIZE`.
const PREFIX: &str = "MQTT_BROKER_LITE_";
/// The one for listeners: URLs with commas between.
const LISTEN: &str = "LISTEN";

/// Everything that can be configured.
#[derive(Debug)]
pub struct Config {
    /// How many threads share the work; one per core unless said.
    pub workers: Option<NonZeroU16>,
    /// What to log.
    pub log: Option<String>,
    /// Where sessions and retained messages are kept.
    pub data_dir: Option<PathBuf>,
    /// Whether nothing is kept.
    pub in_memory: bool,
    /// When what is kept is made safe.
    pub sync: SyncMode,
    /// How much of the disk may be taken.
    pub data_limits: Limits,
    /// Limits and behaviour of the core.
    pub settings: Settings,
    /// Connections in all.
    pub max_connections: Option<usize>,
    /// Bytes of memory for the whole broker.
    pub memory_budget: usize,
    /// Whether clients without a user name are let in, where a listener does not say.
    pub allow_anonymous: Option<bool>,
    /// Where metrics are for whoever asks by HTTP.
    pub metrics: Option<SocketAddr>,
    access: AccessFiles,
    listeners: Vec<ListenerConfig>,
}

/// One `[[listener]]`.
#[derive(Debug, Default)]
struct ListenerConfig {
    url: String,
    tls: Option<TlsFiles>,
    use_common_name: bool,
    origins: Vec<String>,
    allow_anonymous: Option<bool>,
    access: AccessFiles,
    limits: ListenLimits,
}

impl ListenerConfig {
    fn tls(&mut self) -> &mut TlsFiles {
        self.tls.get_or_insert_default()
    }

    fn tokens(&mut self) -> &mut TokenFiles {
        self.access.tokens.get_or_insert_default()
    }

    fn is_local(&self) -> bool {
        is_local(&self.url)
    }
}

/// Collects what is wrong.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
    }

    fn fault(&mut self, at: usize, what: String) {
        let line = self.line(at);
        self.faults.push(Fault::new(self.path, line, what));
    }

    /// Takes the keys of one table.
    fn table<T>(&mut self, section: &str, keys: &[Key<T>], table: &DeTable<'_>, into: &mut T) {
        for (name, value) in table.iter() {
            let key = keys.iter().find(|key| key.name == name.get_ref());
            let Some(key) = key else {
                let place = if section.is_empty() { String::new() } else { format!(" in [{section}]") };
                let known: Vec<_> = keys.iter().map(|key| key.name).collect();
                let known = nearest(name.get_ref(), &known);
                self.fault(name.span().start, format!("there is no key {:?}{place}{known}", name.get_ref()));
                continue;
            };
            if let Err(what) = Value::of(value.get_ref()).and_then(|value| (key.set)(into, &value)) {
                self.fault(value.span().start, format!("{}: {what}", key.name));
            }
        }
    }

    fn file(&mut self, file: &DeTable<'_>, config: &mut Config) {
        let mut top = DeTable::new();
        for (name, value) in file.iter() {
            let section = SECTIONS.iter().find(|(section, _)| *section == name.get_ref());
            match (value.get_ref(), section) {
                (DeValue::Array(tables), _) if name.get_ref() == "listener" => {
                    for table in tables.iter() {
                        self.listener(table, config);
                    }
                }
                (DeValue::Table(table), Some((section, keys))) => self.table(section, keys, table, config),
                _ if name.get_ref() == "listener" => {
                    self.fault(name.span().start, "listeners are written [[listener]]".to_owned());
                }
                (DeValue::Table(_), None) => {
                    self.fault(name.span().start, format!("there is no table [{}]", name.get_ref()));
                }
                _ => {
                    top.insert(name.clone(), value.clone());
                }
            }
        }
        if let Some((section, keys)) = SECTIONS.first() {
            self.table(section, keys, &top, config);
        }
    }

    fn listener(&mut self, table: &Spanned<DeValue<'_>>, config: &mut Config) {
        let mut listener = ListenerConfig::default();
        match table.get_ref() {
            DeValue::Table(keys) => self.table("listener", LISTENER, keys, &mut listener),
            _ => self.fault(table.span().start, "listeners are written [[listener]]".to_owned()),
        }
        if listener.url.is_empty() {
            self.fault(table.span().start, "the listener has no url".to_owned());
        }
        if listener.use_common_name
            && listener.tls.as_ref().is_none_or(|tls| tls.client_certificates == Default::default())
        {
            self.fault(table.span().start, "use_common_name needs client_certificates".to_owned());
        }
        if listener.access.tokens.as_ref().is_some_and(|tokens| tokens.key.as_os_str().is_empty()) {
            self.fault(table.span().start, "the other keys of jwt need jwt_key_file".to_owned());
        }
        config.listeners.push(listener);
    }
}

/// `: did you mean ..?`
fn nearest(name: &str, known: &[&str]) -> String {
    let common = |other: &str| {
        let forward = name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let backward = name.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
        forward.saturating_add(backward)
    };
    let best = known.iter().max_by_key(|other| common(other)).filter(|other| common(other) >= 4);
    best.map_or_else(String::new, |best| format!("; did you mean {best}?"))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: None,
            log: None,
            data_dir: None,
            in_memory: false,
            sync: SyncMode::Always,
            data_limits: Limits::default(),
            settings: Settings { sys_interval: 10_000, ..Settings::default() },
            max_connections: None,
            memory_budget: 1 << 30,
            allow_anonymous: None,
            metrics: None,
            access: AccessFiles::default(),
            listeners: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file and the environment.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Fault>> {
        let mut config = Self::default();
        let mut faults = Vec::new();
        if let Some(path) = path {
            let text = std::fs::read_to_string(path)
                .map_err(|error| vec![Fault::new(path, 0, error.to_string())])?;
            faults = config.read(&text, path);
        }
        for (name, text) in environment {
            let Some(name) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if let Err(what) = config.set_from_environment(name, &text) {
                faults.push(Fault::new(Path::new(&format!("{PREFIX}{name}")), 0, what));
            }
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn read(&mut self, text: &str, path: &Path) -> Vec<Fault> {
        let mut reader = Reader { path, text, faults: Vec::new() };
        let (file, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            reader.fault(at, error.message().to_owned());
        }
        reader.file(file.get_ref(), self);
        reader.faults.sort_by_key(|fault| fault.line);
        reader.faults
    }

    fn set_from_environment(&mut self, name: &str, text: &str) -> Result<(), String> {
        let value = Value::of_environment(text);
        if name == LISTEN {
            self.listen(value.list()?);
            return Ok(());
        }
        for (section, keys) in SECTIONS {
            let name = match section.is_empty() {
                true => Some(name),
                false => name.strip_prefix(&section.to_uppercase()).and_then(|rest| rest.strip_prefix('_')),
            };
            let key = keys.iter().find(|key| name.is_some_and(|name| name.eq_ignore_ascii_case(key.name)));
            if let Some(key) = key {
                return (key.set)(self, &value);
            }
        }
        Err("there is no such key".to_owned())
    }

    /// Listens at these URLs; a listener of the file with the same URL stays as it is, the others go.
    pub fn listen(&mut self, urls: impl IntoIterator<Item = String>) {
        let mut old = std::mem::take(&mut self.listeners);
        for url in urls {
            let same = old.iter().position(|listener| listener.url == url);
            let listener = same.map(|index| old.swap_remove(index));
            self.listeners.push(listener.unwrap_or_else(|| ListenerConfig { url, ..Default::default() }));
        }
    }

    fn tokens(&mut self) -> &mut TokenFiles {
        self.access.tokens.get_or_insert_default()
    }

    /// Whether clients are asked who they are, or what they may do.
    fn has_access(&self) -> bool {
        let files = &self.access;
        files.passwords.is_some()
            || files.tokens.is_some()
            || files.acl.is_some()
            || self.allow_anonymous.is_some()
            || self.listeners.iter().any(|one| {
                one.allow_anonymous.is_some() || one.use_common_name || one.access != AccessFiles::default()
            })
    }

    /// Everything for a broker; and its access, to be reloaded.
    ///
    /// # Errors
    /// Everything that is wrong in files that the configuration names.
    pub fn builder(&self) -> Result<(Builder, Option<Arc<Access>>), Vec<Fault>> {
        let mut builder = Broker::builder().settings(self.settings.clone()).data_limits(self.data_limits);
        if let Some(most) = self.max_connections {
            builder = builder.max_connections(most);
        }
        if let Some(address) = self.metrics {
            builder = builder.metrics(address);
        }
        builder = builder.workers(self.workers.unwrap_or_else(cores));
        let mut faults = Vec::new();
        for listener in &self.listeners {
            let mut listen = Listen::on(&listener.url).origins(&listener.origins).limits(listener.limits);
            if let Some(tls) = &listener.tls {
                listen = listen.tls(tls.clone());
            }
            if let Err(error) = listen.check() {
                faults.push(Fault::new(Path::new("listener"), 0, error.to_string()));
            }
            builder = builder.listen(listen);
        }
        let mut access = None;
        if self.has_access() {
            faults.extend(self.closed_doors());
            match Access::load(self.access.clone(), self.doors()) {
                Ok(loaded) => access = Some(loaded),
                Err(found) => faults.extend(found),
            }
        }
        match faults.is_empty() {
            true => Ok((if let Some(access) = &access { builder.access(access) } else { builder }, access)),
            false => Err(faults),
        }
    }

    /// Listeners that nobody can come in by.
    fn closed_doors(&self) -> Vec<Fault> {
        let doors = self.doors();
        let closed = self.listeners.iter().zip(&doors).filter(|(_, door)| {
            let can_prove = door.files.or(&self.access).can_prove();
            !can_prove && !door.allow_anonymous && !door.use_common_name
        });
        let what =
            "nobody can come in: give a password_file, [jwt], use_common_name, or allow_anonymous = true";
        closed.map(|(listener, _)| Fault::new(Path::new(&listener.url), 0, what)).collect()
    }

    /// Anonymous clients are let in where it is said, or where nobody could say who he is and all are on this machine.
    fn doors(&self) -> Vec<Door> {
        let door = |listener: &ListenerConfig| {
            let can_prove = listener.access.or(&self.access).can_prove();
            Door {
                allow_anonymous: listener
                    .allow_anonymous
                    .or(self.allow_anonymous)
                    .unwrap_or_else(|| !can_prove && !listener.use_common_name && listener.is_local()),
                use_common_name: listener.use_common_name,
                files: listener.access.clone(),
            }
        };
        match self.listeners.is_empty() {
            true => vec![door(&ListenerConfig { url: "mqtt://127.0.0.1".to_owned(), ..Default::default() })],
            false => self.listeners.iter().map(door).collect(),
        }
    }
}

/// One worker for each core.
fn cores() -> NonZeroU16 {
    let cores =
        std::thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(1));
    NonZeroU16::new(cores).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let mut config = Config::default();
        let faults = config.read(text, Path::new("x.toml"));
        if faults.is_empty() { Ok(config) } else { Err(faults.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn the_example_has_every_key_and_each_can_be_set() {
        let example = include_str!("../../mqtt-broker-lite.toml");
        assert_eq!(read(example).err(), None);
        // What is commented out is right, too.
        let full: String = example
            .lines()
            .map(|line| match line.strip_prefix("#") {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
                    format!("{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        assert_eq!(read(&full).err(), None, "{full}");
        let names = SECTIONS.iter().flat_map(|(_, keys)| keys.iter().map(|key| key.name));
        for name in names.chain(LISTENER.iter().map(|key| key.name)) {
            assert!(
                full.lines().any(|line| line.starts_with(&format!("{name} = "))),
                "{name} is not in the example"
            );
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_line() {
        let text = "workers = 0\nwrokers = 2\n[limits]\nmax_packet_size = \"big\"\nmax_inflight = 70000\n\n\
                    [limit]\n[[listener]]\ncertificate = 3\n[[listener]]\nurl = \"mqtt://127.0.0.1\"\nmax_conections = 1\n\
                    [[listener]]\nurl = \"mqtt://127.0.0.1\"\njwt_issuer = \"us\"\nacl_file = true\n";
        let faults = read(text).unwrap_err();
        let says = [
            "x.toml:1: workers: 1 to 1024",
            "x.toml:2: there is no key \"wrokers\"; did you mean workers?",
            "x.toml:4: max_packet_size: a size",
            "x.toml:5: max_inflight: 1 to 65535",
            "x.toml:7: there is no table [limit]",
            "x.toml:8: the listener has no url",
            "x.toml:9: certificate: a string",
            "x.toml:12: there is no key \"max_conections\" in [listener]; did you mean max_connections?",
            "x.toml:13: the other keys of jwt need jwt_key_file",
            "x.toml:16: acl_file: a string",
        ];
        assert_eq!(faults.len(), says.len(), "{faults:#?}");
        for (fault, says) in faults.iter().zip(says) {
            assert!(fault.starts_with(says), "{fault}");
        }
        assert!(read("workers = = 2\n[[listener]\n").unwrap_err().first().unwrap().starts_with("x.toml:1: "));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let load =
            |name: &str, value: &str| Config::load(None, [(name.to_owned(), value.to_owned())].into_iter());
        let config = load("MQTT_BROKER_LITE_LIMITS_MAX_PACKET_SIZE", "2 MiB").unwrap();
        assert_eq!(config.settings.max_packet_size, 2 << 20);
        assert_eq!(load("MQTT_BROKER_LITE_WORKERS", "3").unwrap().workers, NonZeroU16::new(3));
        let config = load("MQTT_BROKER_LITE_LISTEN", "mqtt://127.0.0.1:0, ws://127.0.0.1:0").unwrap();
        assert_eq!(config.listeners.len(), 2);
        for (name, value) in [("MQTT_BROKER_LITE_WORKERS", "many"), ("MQTT_BROKER_LITE_LIMITS_NOTHING", "1")]
        {
            let faults = load(name, value).unwrap_err();
            assert!(faults.first().unwrap().to_string().starts_with(name));
        }
        assert!(load("OTHER", "x").is_ok());
    }

    #[test]
    fn who_is_not_asked_stays_on_this_machine() {
        let anonymous = |text: &str| {
            read(text).unwrap().doors().iter().map(|door| door.allow_anonymous).collect::<Vec<_>>()
        };
        let listeners = "[[listener]]\nurl = \"mqtt://127.0.0.1:0\"\n[[listener]]\nurl = \"mqtt://0.0.0.0:0\"\n\
                         [[listener]]\nurl = \"unix:///x\"\n";
        assert_eq!(anonymous(""), [true]);
        assert_eq!(anonymous(listeners), [true, false, true]);
        assert_eq!(anonymous(&format!("[access]\npassword_file = \"p\"\n{listeners}")), [false; 3]);
        assert_eq!(anonymous(&format!("[access]\nallow_anonymous = true\n{listeners}")), [true; 3]);
        let own = "[access]\nallow_anonymous = true\n[[listener]]\nurl = \"mqtt://127.0.0.1:0\"\nallow_anonymous = false\n";
        assert_eq!(anonymous(own), [false]);
        // Who can prove who he is at one listener does not have to be asked at another.
        let own = "[[listener]]\nurl = \"mqtt://127.0.0.1:0\"\npassword_file = \"p\"\n[[listener]]\nurl = \"unix:///x\"\n";
        assert_eq!(anonymous(own), [false, true]);
    }
}
