//! `mqtt-broker-lite import-mosquitto mosquitto.conf`: a configuration of mosquitto in words of this broker. What it does
//! not know, it names: nothing is left out silently.

use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The configuration of mosquitto
    file: PathBuf,
}

/// Where a setting of mosquitto goes.
enum Goes {
    /// A key of a table.
    Key(&'static str, &'static str, Form),
    /// A key of the listener that it stands below.
    Listener(&'static str, Form),
    /// Something of its own.
    Own(fn(&mut Import, &str) -> Result<(), String>),
    /// It is so in any case.
    Always,
    /// There is nothing like it.
    No(&'static str),
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Flag,
    Number,
    /// mosquitto's 0 stands for this.
    Zero(&'static str),
}

use Form::{Flag, Number, Text, Zero};
use Goes::{Always, Key, Listener, No, Own};

const BRIDGE: &str = "there are no bridges";
const LOG: &str = "logs go to standard error; what is logged is the key log";
const PLUGIN: &str = "there are no plugins; a program of yours can embed the broker with an Authenticator";
const PSK: &str = "there are no pre-shared keys";

const ROWS: &[(&str, Goes)] = &[
    ("listener", Own(Import::listener)),
    ("port", Own(Import::port)),
    ("bind_address", Own(Import::bind_address)),
    ("protocol", Own(Import::protocol)),
    ("include_dir", No("give each file of it to import-mosquitto")),
    ("allow_anonymous", Own(|import, value| import.access("allow_anonymous", value, Flag))),
    ("password_file", Own(|import, value| import.access("password_file", value, Text))),
    ("acl_file", Own(|import, value| import.access("acl_file", value, Text))),
    ("per_listener_settings", Own(|import, value| flag(value).map(|flag| import.is_per_listener = flag))),
    ("persistence", Own(|import, value| flag(value).map(|flag| import.is_persistent = flag))),
    ("persistence_location", Key("", "data_dir", Text)),
    ("persistent_client_expiration", Own(Import::expiration)),
    ("max_packet_size", Key("limits", "max_packet_size", Number)),
    ("message_size_limit", Key("limits", "max_packet_size", Zero("268435460"))),
    ("max_inflight_messages", Key("limits", "max_inflight", Zero("65535"))),
    ("max_queued_messages", Key("limits", "max_queue_messages", Zero("100000000"))),
    ("max_queued_bytes", Key("limits", "max_queue_bytes", Zero("1099511627776"))),
    ("queue_qos0_messages", Key("limits", "queue_qos0_offline", Flag)),
    ("max_keepalive", Key("limits", "max_keep_alive_seconds", Number)),
    ("retain_available", Key("limits", "retain_available", Flag)),
    ("max_qos", Key("limits", "maximum_qos", Number)),
    ("max_topic_alias", Key("limits", "topic_alias_maximum", Number)),
    ("sys_interval", Key("limits", "sys_interval_seconds", Number)),
    (
        "max_connections",
        Own(|import, value| match value {
            "-1" => Ok(()),
            value => import.set_listener("max_connections", value, Number),
        }),
    ),
    ("certfile", Listener("certificate", Text)),
    ("keyfile", Listener("key", Text)),
    ("cafile", Listener("client_ca", Text)),
    ("crlfile", Listener("client_crl", Text)),
    (
        "require_certificate",
        Own(|import, value| {
            let wanted = if flag(value)? { "required" } else { "none" };
            import.set_listener("client_certificates", wanted, Text)
        }),
    ),
    ("use_identity_as_username", Listener("use_common_name", Flag)),
    (
        "tls_version",
        Own(|import, value| match value {
            "tlsv1.3" => import.set_listener("only_tls13", "true", Flag),
            "tlsv1.2" => Ok(()),
            _ => Err("only TLS 1.2 and 1.3 are spoken".to_owned()),
        }),
    ),
    (
        "websockets_origin",
        Own(|import, value| {
            import.current().origins.push(value.to_owned());
            Ok(())
        }),
    ),
    ("set_tcp_nodelay", Always),
    ("persistence_file", No("the store is a directory: data_dir")),
    ("autosave_interval", No("everything is safe before it is acknowledged: see --sync")),
    ("autosave_on_changes", No("everything is safe before it is acknowledged: see --sync")),
    ("memory_limit", Key("limits", "memory_budget", Zero("1099511627776"))),
    ("log_dest", No(LOG)),
    ("log_type", No(LOG)),
    ("log_timestamp", No(LOG)),
    ("log_timestamp_format", No(LOG)),
    ("log_facility", No(LOG)),
    ("connection_messages", No(LOG)),
    ("websockets_log_level", No(LOG)),
    ("pid_file", No("the service manager knows it")),
    ("user", No("start it as the user that it is to be")),
    ("capath", No("put the certificates into one file: client_ca")),
    ("ciphers", No("there are only good ones")),
    ("ciphers_tls1.3", No("there are only good ones")),
    ("dhparamfile", No("there are no such key exchanges")),
    ("use_subject_as_username", No("only use_common_name")),
    ("clientid_prefixes", No("give rights by client identifier in the ACL: pattern .. %c")),
    ("http_dir", No("no files are served")),
    ("mount_point", No("topics are the same at all listeners")),
    ("bind_interface", No("name the address of the interface in the url")),
    ("socket_domain", No("the address in the url says it")),
    ("allow_zero_length_clientid", No("the standard says when they are allowed")),
    ("auto_id_prefix", No("names that the broker gives begin with auto-")),
    ("allow_duplicate_messages", No("overlapping subscriptions are one message")),
    ("retain_expiry_interval", No("retained messages expire as their publisher says")),
    ("upgrade_outgoing_qos", No("there is no such option")),
    ("check_retain_source", Always),
    ("max_inflight_bytes", No("there is max_inflight, a number of messages")),
    ("psk_file", No(PSK)),
    ("psk_hint", No(PSK)),
    ("plugin", No(PLUGIN)),
    ("auth_plugin", No(PLUGIN)),
    ("plugin_opt_config_file", No(PLUGIN)),
];

/// One listener, as far as it was read.
#[derive(Default)]
struct Door {
    host: Option<String>,
    port: Option<u16>,
    path: Option<String>,
    is_web: bool,
    keys: Vec<(&'static str, String)>,
    origins: Vec<String>,
}

/// What was understood.
struct Import {
    top: Vec<(&'static str, &'static str, String)>,
    /// The one without a `listener`.
    first: Door,
    doors: Vec<Door>,
    is_per_listener: bool,
    is_persistent: bool,
    is_bridge: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let path = &options.file;
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (toml, notes) = import(&text, path);
    print!("{toml}");
    for note in notes {
        eprintln!("mqtt-broker-lite: {note}");
    }
    Ok(())
}

/// The configuration, and what is not in it.
fn import(text: &str, path: &Path) -> (String, Vec<String>) {
    let mut import = Import {
        top: Vec::new(),
        first: Door::default(),
        doors: Vec::new(),
        is_per_listener: false,
        is_persistent: false,
        is_bridge: false,
    };
    let mut notes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if let Err(what) = import.line(name, value.trim()) {
            notes.push(format!("{}:{number}: {name}: {what}", path.display()));
        }
    }
    (import.toml(path, &notes), notes)
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{value:?} is neither true nor false")),
    }
}

fn written(value: &str, form: Form) -> Result<String, String> {
    let number = || value.parse::<u64>().map_err(|_| format!("{value:?} is no number"));
    match form {
        Text if value.is_empty() => Err("it is empty".to_owned()),
        Text => Ok(toml_string(value)),
        Flag => flag(value).map(|flag| flag.to_string()),
        Number => number().map(|number| number.to_string()),
        Zero(instead) => {
            number().map(|number| if number == 0 { instead.to_owned() } else { number.to_string() })
        }
    }
}

fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl Import {
    fn line(&mut self, name: &str, value: &str) -> Result<(), String> {
        if name == "connection" {
            self.is_bridge = true;
        }
        if self.is_bridge {
            // Everything below it belongs to it, up to the next listener.
            match name {
                "listener" => self.is_bridge = false,
                _ => return Err(BRIDGE.to_owned()),
            }
        }
        let row = ROWS.iter().find(|(known, _)| *known == name);
        match row.map(|(_, into)| into) {
            Some(Key(table, key, form)) => {
                let value = written(value, *form)?;
                self.top.retain(|(other, name, _)| (other, name) != (table, key));
                self.top.push((table, key, value));
                Ok(())
            }
            Some(Listener(key, form)) => self.set_listener(key, value, *form),
            Some(Own(act)) => act(self, value),
            Some(Always) => Ok(()),
            Some(No(why)) => Err((*why).to_owned()),
            None => Err("it is not known".to_owned()),
        }
    }

    /// The listener that is being described; before the first `listener`, the one of `port`.
    fn current(&mut self) -> &mut Door {
        self.doors.last_mut().unwrap_or(&mut self.first)
    }

    fn set_listener(&mut self, key: &'static str, value: &str, form: Form) -> Result<(), String> {
        let value = written(value, form)?;
        let keys = &mut self.current().keys;
        keys.retain(|(other, _)| *other != key);
        keys.push((key, value));
        Ok(())
    }

    /// Of all listeners, or with `per_listener_settings` of the one that it stands below.
    fn access(&mut self, key: &'static str, value: &str, form: Form) -> Result<(), String> {
        if self.is_per_listener {
            return self.set_listener(key, value, form);
        }
        let value = written(value, form)?;
        self.top.retain(|(_, other, _)| *other != key);
        self.top.push(("access", key, value));
        Ok(())
    }

    fn listener(&mut self, value: &str) -> Result<(), String> {
        let (port, place) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        let port: u16 = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        let place = place.trim();
        let door = match (port, place) {
            (0, "") => return Err("a socket without a path".to_owned()),
            (0, path) => Door { path: Some(path.to_owned()), ..Door::default() },
            (port, place) => Door {
                port: Some(port),
                host: (!place.is_empty()).then(|| place.to_owned()),
                ..Door::default()
            },
        };
        self.doors.push(door);
        Ok(())
    }

    fn port(&mut self, value: &str) -> Result<(), String> {
        let port = value.parse().map_err(|_| format!("{value:?} is no port"))?;
        self.first.port = Some(port);
        Ok(())
    }

    fn bind_address(&mut self, value: &str) -> Result<(), String> {
        let (address, port) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        self.first.host = Some(address.to_owned());
        if !port.is_empty() {
            self.first.port = Some(port.trim().parse().map_err(|_| format!("{port:?} is no port"))?);
        }
        Ok(())
    }

    fn protocol(&mut self, value: &str) -> Result<(), String> {
        match value {
            "mqtt" => Ok(()),
            "websockets" => {
                self.current().is_web = true;
                Ok(())
            }
            _ => Err(format!("{value:?} is neither mqtt nor websockets")),
        }
    }

    /// `14d`, `3w`, `2m`, `1y`, `12h`.
    fn expiration(&mut self, value: &str) -> Result<(), String> {
        let wrong = || format!("{value:?} is no time like 14d");
        let unit = value.chars().next_back().ok_or_else(wrong)?;
        let seconds: u64 = match unit {
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            'm' => 2_592_000,
            'y' => 31_536_000,
            _ => return Err(wrong()),
        };
        let count: u64 = value.trim_end_matches(unit).parse().map_err(|_| wrong())?;
        let seconds = count.saturating_mul(seconds).min(u64::from(u32::MAX));
        self.top.push(("limits", "max_session_expiry_seconds", seconds.to_string()));
        Ok(())
    }

    fn toml(&self, path: &Path, notes: &[String]) -> String {
        let mut text = format!("# From {}.\n", path.display());
        for note in notes {
            text.push_str(&format!("# NOT TRANSLATED: {note}\n"));
        }
        if !self.is_persistent {
            text.push_str("in_memory = true\n");
        }
        for table in ["", "access", "limits"] {
            let keys: Vec<_> = self.top.iter().filter(|(one, ..)| *one == table).collect();
            if !keys.is_empty() && !table.is_empty() {
                text.push_str(&format!("\n[{table}]\n"));
            }
            for (_, key, value) in keys {
                if *key != "data_dir" || self.is_persistent {
                    text.push_str(&format!("{key} = {value}\n"));
                }
            }
        }
        // Without any listener mosquitto is on loopback, with one only where it says.
        if self.doors.is_empty() || self.first.port.is_some() {
            self.first.write(&mut text);
        }
        for door in &self.doors {
            door.write(&mut text);
        }
        text
    }
}

impl Door {
    fn write(&self, text: &mut String) {
        let has_tls = self.keys.iter().any(|(key, _)| *key == "certificate");
        let scheme = match (self.is_web, has_tls) {
            (false, false) => "mqtt",
            (false, true) => "mqtts",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        let url = match (&self.path, self.port) {
            (Some(path), _) => format!("unix://{path}"),
            (None, port) => {
                // Without a word on listeners mosquitto is on loopback only.
                let all = if port.is_some() { "0.0.0.0" } else { "127.0.0.1" };
                let host = self.host.as_deref().unwrap_or(all);
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                format!("{scheme}://{host}:{}", port.unwrap_or(1883))
            }
        };
        text.push_str(&format!("\n[[listener]]\nurl = {}\n", toml_string(&url)));
        let wants_certificates =
            self.keys.iter().any(|(key, value)| *key == "client_certificates" && value == "\"required\"");
        for (key, value) in &self.keys {
            // A CA is there for clients only; where none is asked, it says nothing.
            let is_idle =
                matches!(*key, "client_ca" | "client_crl" | "client_certificates" | "use_common_name");
            if !is_idle || wants_certificates {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        if !self.origins.is_empty() {
            let origins: Vec<_> = self.origins.iter().map(|origin| toml_string(origin)).collect();
            text.push_str(&format!("origins = [{}]\n", origins.join(", ")));
        }
    }
}
