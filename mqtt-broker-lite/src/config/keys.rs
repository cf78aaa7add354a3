//! Every key of the configuration, as data: its name, how its value is taken, what it is for. The reader of files, the
//! environment, and the test of the example file go by these tables.

use super::value::Value;
use super::{Config, ListenerConfig};
use mqtt_packet::QoS;
use std::num::NonZeroU16;

/// A key of a table.
pub(super) struct Key<T> {
    pub(super) name: &'static str,
    pub(super) set: fn(&mut T, &Value) -> Result<(), String>,
}

/// Short for one row.
const fn key<T>(name: &'static str, set: fn(&mut T, &Value) -> Result<(), String>) -> Key<T> {
    Key { name, set }
}

/// The tables with one place in the configuration, by name; those of the file itself have none.
pub(super) const SECTIONS: &[(&str, &[Key<Config>])] =
    &[("", TOP), ("access", ACCESS), ("jwt", JWT), ("limits", LIMITS), ("metrics", METRICS)];

const TOP: &[Key<Config>] = &[
    key("workers", |config, value| {
        config.workers = NonZeroU16::new(value.number(1, 1024)?);
        Ok(())
    }),
    key("log", |config, value| value.text().map(|filter| config.log = Some(filter))),
    key("data_dir", |config, value| value.path().map(|path| config.data_dir = Some(path))),
    key("in_memory", |config, value| value.flag().map(|flag| config.in_memory = flag)),
    key("sync", |config, value| {
        config.sync = value.text()?.parse().map_err(|wanted| format!("{wanted} is expected"))?;
        Ok(())
    }),
];

const ACCESS: &[Key<Config>] = &[
    key("allow_anonymous", |config, value| value.flag().map(|flag| config.allow_anonymous = Some(flag))),
    key("password_file", |config, value| value.path().map(|path| config.access.passwords = Some(path))),
    key("acl_file", |config, value| value.path().map(|path| config.access.acl = Some(path))),
];

const JWT: &[Key<Config>] = &[
    key("key_file", |config, value| value.path().map(|path| config.tokens().key = path)),
    key("issuer", |config, value| value.text().map(|text| config.tokens().issuer = Some(text))),
    key("audience", |config, value| value.text().map(|text| config.tokens().audience = Some(text))),
    key("user_claim", |config, value| value.text().map(|text| config.tokens().user_claim = Some(text))),
];

const ANY: u64 = u64::MAX;

const LIMITS: &[Key<Config>] = &[
    key("max_connections", |config, value| value.number(1, ANY).map(|n| config.max_connections = Some(n))),
    key("memory_budget", |config, value| value.bytes(16 << 20, ANY).map(|n| config.memory_budget = n)),
    key("connect_timeout_seconds", |config, value| {
        value.number::<u64>(1, 3600).map(|n| config.settings.connect_timeout = n.saturating_mul(1000))
    }),
    key("max_sessions", |config, value| value.number(1, ANY).map(|n| config.settings.max_sessions = n)),
    key("max_takeovers", |config, value| {
        value.number(1, 1_000_000).map(|n| config.settings.max_takeovers = n)
    }),
    key("max_packet_size", |config, value| {
        value.bytes(128, 268_435_460).map(|n| config.settings.max_packet_size = n)
    }),
    key("max_connect_size", |config, value| {
        value.bytes(128, 268_435_460).map(|n| config.settings.max_connect_size = n)
    }),
    key("max_topic_levels", |config, value| {
        value.number(1, 65_535).map(|n| config.settings.max_topic_levels = n)
    }),
    key("receive_maximum", |config, value| {
        value.number(1, 65_535).map(|n| config.settings.receive_maximum = n)
    }),
    key("max_inflight", |config, value| value.number(1, 65_535).map(|n| config.settings.max_inflight = n)),
    key("topic_alias_maximum", |config, value| {
        value.number(0, 65_535).map(|n| config.settings.topic_alias_maximum = n)
    }),
    key("max_queue_messages", |config, value| {
        value.number(0, ANY).map(|n| config.settings.max_queue_messages = n)
    }),
    key("max_queue_bytes", |config, value| value.bytes(0, ANY).map(|n| config.settings.max_queue_bytes = n)),
    key("max_stored_messages", |config, value| {
        value.number(0, ANY).map(|n| config.settings.max_stored_messages = n)
    }),
    key("min_free_disk", |config, value| value.bytes(0, ANY).map(|n| config.data_limits.min_free = n)),
    key("max_disk_size", |config, value| value.bytes(1, ANY).map(|n| config.data_limits.max_size = n)),
    key("slow_queue_bytes", |config, value| {
        value.bytes(4096, ANY).map(|n| config.settings.slow_queue_bytes = n)
    }),
    key("queue_qos0_offline", |config, value| {
        value.flag().map(|flag| config.settings.queue_qos0_offline = flag)
    }),
    key("max_subscriptions", |config, value| {
        value.number(1, ANY).map(|n| config.settings.max_subscriptions = n)
    }),
    key("max_retained", |config, value| value.number(0, ANY).map(|n| config.settings.max_retained = n)),
    key("max_session_expiry_seconds", |config, value| {
        value.number(0, u64::from(u32::MAX)).map(|n| config.settings.max_session_expiry = n)
    }),
    key("max_keep_alive_seconds", |config, value| {
        value.number(0, 65_535).map(|n| config.settings.max_keep_alive = n)
    }),
    key("maximum_qos", |config, value| {
        config.settings.maximum_qos = match value.number::<u8>(0, 2)? {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        Ok(())
    }),
    key("retain_available", |config, value| value.flag().map(|flag| config.settings.retain_available = flag)),
    key("wildcard_available", |config, value| {
        value.flag().map(|flag| config.settings.wildcard_available = flag)
    }),
    key("shared_available", |config, value| value.flag().map(|flag| config.settings.shared_available = flag)),
    key("sys_interval_seconds", |config, value| {
        value.number::<u64>(0, 86_400).map(|n| config.settings.sys_interval = n.saturating_mul(1000))
    }),
];

const METRICS: &[Key<Config>] = &[key("listen", |config, value| {
    let address = value.text()?.parse().map_err(|_| "an address like 127.0.0.1:9883 is expected")?;
    config.metrics = Some(address);
    Ok(())
})];

pub(super) const LISTENER: &[Key<ListenerConfig>] = &[
    key("url", |listener, value| value.text().map(|url| listener.url = url)),
    key("certificate", |listener, value| value.path().map(|path| listener.tls().certificate = path)),
    key("key", |listener, value| value.path().map(|path| listener.tls().key = path)),
    key("client_ca", |listener, value| value.path().map(|path| listener.tls().client_ca = Some(path))),
    key("client_crl", |listener, value| value.path().map(|path| listener.tls().client_crl = Some(path))),
    key("client_certificates", |listener, value| {
        use crate::ClientCertificates::{None, Optional, Required};
        listener.tls().client_certificates = match &*value.text()? {
            "none" => None,
            "optional" => Optional,
            "required" => Required,
            _ => return Err("\"none\", \"optional\" or \"required\" is expected".to_owned()),
        };
        Ok(())
    }),
    key("use_common_name", |listener, value| value.flag().map(|flag| listener.use_common_name = flag)),
    key("only_tls13", |listener, value| value.flag().map(|flag| listener.tls().only_tls13 = flag)),
    key("origins", |listener, value| value.list().map(|list| listener.origins = list)),
    key("allow_anonymous", |listener, value| value.flag().map(|flag| listener.allow_anonymous = Some(flag))),
    key("password_file", |listener, value| value.path().map(|path| listener.access.passwords = Some(path))),
    key("acl_file", |listener, value| value.path().map(|path| listener.access.acl = Some(path))),
    key("jwt_key_file", |listener, value| value.path().map(|path| listener.tokens().key = path)),
    key("jwt_issuer", |listener, value| value.text().map(|text| listener.tokens().issuer = Some(text))),
    key("jwt_audience", |listener, value| value.text().map(|text| listener.tokens().audience = Some(text))),
    key("jwt_user_claim", |listener, value| {
        value.text().map(|text| listener.tokens().user_claim = Some(text))
    }),
    key("proxy_protocol", |listener, value| value.flag().map(|flag| listener.limits.proxy_protocol = flag)),
    key("max_connections", |listener, value| {
        value.number(1, ANY).map(|n| listener.limits.max_connections = Some(n))
    }),
    key("max_connections_per_address", |listener, value| {
        value.number(1, ANY).map(|n| listener.limits.max_per_address = Some(n))
    }),
    key("message_rate", |listener, value| {
        value.number(1, u64::from(u32::MAX)).map(|n| listener.limits.message_rate = Some(n))
    }),
    key("byte_rate", |listener, value| {
        value.bytes(1024, u64::from(u32::MAX)).map(|n| listener.limits.byte_rate = Some(n))
    }),
];
