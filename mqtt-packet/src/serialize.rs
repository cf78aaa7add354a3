//! Packets and their parts written for tools, for example as lines of JSON.
//!
//! Strings are strings, payloads are bytes, reason codes are numbers, properties are a list of named values. Secrets
//! stay inside: `***` stands where a password or Authentication Data is.

use crate::{
    Ack, Auth, ConnAck, Connect, Disconnect, Filters, Packet, PingReq, PingResp, Properties, Publish,
    ReasonCodes, SubAck, Subscribe, SubscribeFilter, SubscribeFilters, TopicFilter, TopicName, UnsubAck,
    Unsubscribe, Utf8Str, Will,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Stands where a secret is.
pub(crate) const SECRET: &str = "***";

/// A byte string, which serde would take for a list of numbers.
pub(crate) struct Binary<'a>(pub(crate) &'a [u8]);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Every packet and part by its fields; `with` says in which form where that is not the field's own.
macro_rules! by_fields {
    ($($part:ident { $($field:ident $(with $form:expr)?,)+ })*) => {$(
        impl Serialize for $part<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let fields = [$(stringify!($field)),+].len();
                let mut out = serializer.serialize_struct(stringify!($part), fields)?;
                $(out.serialize_field(stringify!($field), &by_fields!(@form self.$field $(, $form)?))?;)+
                out.end()
            }
        }
    )*};
    (@form $value:expr) => { $value };
    (@form $value:expr, $form:expr) => { $form($value) };
}

by_fields! {
    Connect {
        version, bridge, clean_start, keep_alive, properties, client_id, will, user_name,
        password with |password: Option<_>| password.map(|_| SECRET),
    }
    Will { topic, payload with Binary, qos, retain, properties, }
    ConnAck { session_present, reason_code, properties, }
    Publish { retain, delivery, topic, properties, payload with Binary, }
    Ack { kind, id, reason_code, properties, }
    Subscribe { id, properties, filters, }
    SubscribeFilter { filter, options, }
    SubAck { id, properties, reason_codes, }
    Unsubscribe { id, properties, filters, }
    UnsubAck { id, properties, reason_codes, }
    Disconnect { reason_code, properties, }
    Auth { reason_code, properties, }
}

macro_rules! as_list {
    ($($list:ident),*) => {$(
        impl Serialize for $list<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.iter())
            }
        }
    )*};
}

as_list!(Properties, Filters, SubscribeFilters, ReasonCodes);

macro_rules! as_string {
    ($($text:ident),*) => {$(
        impl Serialize for $text<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}

as_string!(Utf8Str, TopicName, TopicFilter);

macro_rules! as_name {
    ($($packet:ident),*) => {$(
        impl Serialize for $packet {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_unit_struct(stringify!($packet))
            }
        }
    )*};
}

as_name!(PingReq, PingResp);

/// Each packet under its name.
impl Serialize for Packet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        macro_rules! by_name {
            ($($packet:ident),*) => {
                match self {
                    $(Self::$packet(packet) => serializer.serialize_newtype_variant(
                        "Packet",
                        self.packet_type() as u32,
                        stringify!($packet),
                        packet,
                    ),)*
                }
            };
        }
        by_name!(
            Connect,
            ConnAck,
            Publish,
            Ack,
            Subscribe,
            SubAck,
            Unsubscribe,
            UnsubAck,
            PingReq,
            PingResp,
            Disconnect,
            Auth
        )
    }
}
