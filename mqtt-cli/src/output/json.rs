//! `%j` and `%J`: a message as JSON, laid out as mosquitto does.

use jiff::Zoned;
use mqtt_client_async::Property;
use serde_json::Value;

use super::View;
use crate::options::property_name;

/// What the payload is in the JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// A string.
    Text,
    /// JSON itself.
    Json,
}

/// Writes JSON compactly, or over several lines with tabs.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    pretty: bool,
    depth: usize,
    /// Whether something stands before in this object.
    follows: bool,
}

pub(super) fn message(
    view: &View<'_>,
    now: &Zoned,
    payload: Payload,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let json = match payload {
        Payload::Json if view.payload.is_empty() => Some(Value::Null),
        Payload::Json => {
            let invalid = |_| format!("Error: Message payload is not valid JSON on topic {}.", view.topic);
            Some(serde_json::from_slice(view.payload).map_err(invalid)?)
        }
        Payload::Text => None,
    };
    let mut writer = Writer { out, pretty, depth: 0, follows: false };
    writer.open();
    writer.text("tst", &jiff::fmt::strtime::format("%FT%T.%6f%z", now).unwrap_or_default());
    writer.text("topic", view.topic);
    writer.raw("qos", &view.qos.to_string());
    writer.raw("retain", if view.retain { "1" } else { "0" });
    writer.raw("payloadlen", &view.payload.len().to_string());
    if view.qos > 0 {
        writer.raw("mid", &view.packet_id.to_string());
    }
    properties(view, &mut writer);
    match json {
        Some(value) => {
            writer.key("payload");
            writer.value(&value);
        }
        None if view.payload.is_empty() => writer.raw("payload", "null"),
        None => writer.text("payload", &String::from_utf8_lossy(view.payload)),
    }
    writer.close();
    Ok(())
}

fn properties(view: &View<'_>, writer: &mut Writer<'_>) {
    let is_shown = |property: &Property<'_>| {
        !matches!(property, Property::SubscriptionIdentifier(_)) || view.subscription_identifier.is_some()
    };
    if !view.properties.iter().any(|property| is_shown(&property)) {
        return;
    }
    writer.key("properties");
    writer.open();
    let mut has_user_properties = false;
    for property in view.properties.iter().filter(is_shown) {
        let name = property_name(property.id());
        match property {
            Property::PayloadFormatIndicator(value) => writer.raw(name, if value { "1" } else { "0" }),
            Property::MessageExpiryInterval(number) => writer.raw(name, &number.to_string()),
            Property::TopicAlias(number) => writer.raw(name, &number.to_string()),
            Property::SubscriptionIdentifier(_) => {
                writer.raw(name, &view.subscription_identifier.unwrap_or_default().to_string());
            }
            Property::ContentType(text) => writer.text(name, text.as_str()),
            Property::ResponseTopic(topic) => writer.text(name, topic.as_str()),
            Property::CorrelationData(bytes) => writer.text(name, &String::from_utf8_lossy(bytes)),
            Property::UserProperty(..) if !has_user_properties => {
                has_user_properties = true;
                writer.key("user-properties");
                writer.open();
                for (name, value) in view.properties.user_properties() {
                    writer.text(name.as_str(), value.as_str());
                }
                writer.close();
            }
            _ => {}
        }
    }
    writer.close();
}

impl Writer<'_> {
    fn open(&mut self) {
        self.out.push(b'{');
        self.depth += 1;
        self.follows = false;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.line();
        self.out.push(b'}');
        self.follows = true;
    }

    /// A new line with as many tabs as it is deep.
    fn line(&mut self) {
        if self.pretty {
            self.out.push(b'\n');
            self.out.extend(std::iter::repeat_n(b'\t', self.depth));
        }
    }

    fn key(&mut self, name: &str) {
        if self.follows {
            self.out.push(b',');
        }
        self.line();
        self.string(name);
        self.out.extend_from_slice(if self.pretty { b":\t" } else { b":" });
        self.follows = true;
    }

    fn raw(&mut self, name: &str, value: &str) {
        self.key(name);
        self.out.extend_from_slice(value.as_bytes());
    }

    fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        self.string(value);
    }

    fn string(&mut self, text: &str) {
        self.out.extend_from_slice(Value::from(text).to_string().as_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(members) => {
                self.open();
                for (name, value) in members {
                    self.key(name);
                    self.value(value);
                }
                self.close();
            }
            Value::Array(elements) => {
                self.out.push(b'[');
                self.depth += 1;
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        self.out.extend_from_slice(if self.pretty { b", " } else { b"," });
                    }
                    self.value(element);
                }
                self.depth = self.depth.saturating_sub(1);
                self.out.push(b']');
            }
            // Whole numbers have no point, however they were written.
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => self.out.extend_from_slice(float.to_string().as_bytes()),
                None => self.out.extend_from_slice(number.to_string().as_bytes()),
            },
            other => self.out.extend_from_slice(other.to_string().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_client_async::{Properties, PropertyList};

    fn json(payload: &[u8], kind: Payload, pretty: bool, properties: Properties<'_>) -> String {
        let view = View {
            topic: "a",
            payload,
            qos: 0,
            retain: false,
            packet_id: 0,
            properties,
            subscription_identifier: None,
        };
        let mut out = Vec::new();
        let now = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
        message(&view, &now, kind, pretty, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_as_json() {
        let front =
            r#"{"tst":"1970-01-01T00:00:00.000000+0000","topic":"a","qos":0,"retain":0,"payloadlen":"#;
        let text = json(b"x\"y\n", Payload::Text, false, Properties::EMPTY);
        assert_eq!(text, format!(r#"{front}4,"payload":"x\"y\n"}}"#));
        let text = json(b" { \"a\": [1.0, 2.50, {}] }", Payload::Json, false, Properties::EMPTY);
        assert_eq!(text, format!(r#"{front}25,"payload":{{"a":[1,2.5,{{}}]}}}}"#));
        let list = PropertyList::new().with(Property::SubscriptionIdentifier(3));
        let text = json(b"", Payload::Json, false, list.of_publish().unwrap());
        assert_eq!(
            text,
            format!(r#"{front}0,"payload":null}}"#),
            "the client's own identifiers are not shown"
        );
    }

    #[test]
    fn pretty_is_laid_out_with_tabs() {
        let text = json(b"{\"a\":[1,2]}", Payload::Json, true, Properties::EMPTY);
        assert!(
            text.ends_with("\n\t\"payloadlen\":\t11,\n\t\"payload\":\t{\n\t\t\"a\":\t[1, 2]\n\t}\n}"),
            "{text}"
        );
    }
}
