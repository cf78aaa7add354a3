//! `--json-lines`: a JSON object for each message, of any payload and with every property; what `sub` prints, `pub`
//! publishes.
//!
//! A payload that is no UTF-8 text stands in `payload_base64`, as correlation data that is none does in
//! `correlation-data_base64`. User properties are pairs in a list, so that none is lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Zoned;
use mqtt_client_async::{Property, PropertyList, Publish, QoS, TopicName, Utf8Str};
use serde_json::{Map, Value};

use super::View;
use crate::options::property_name;

pub(super) fn write(view: &View<'_>, now: &Zoned, out: &mut Vec<u8>) {
    let mut object = Map::new();
    let time = jiff::fmt::strtime::format("%FT%T.%6f%:z", now).unwrap_or_default();
    object.insert("time".into(), time.into());
    object.insert("topic".into(), view.topic.into());
    object.insert("qos".into(), view.qos.into());
    object.insert("retain".into(), view.retain.into());
    let properties = properties(view);
    if !properties.is_empty() {
        object.insert("properties".into(), properties.into());
    }
    put_bytes(&mut object, "payload", view.payload);
    out.extend_from_slice(Value::Object(object).to_string().as_bytes());
}

/// Bytes as text where they are text, else in Base64 under another name.
fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

fn properties(view: &View<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    for property in view.properties.iter() {
        let name = property_name(property.id());
        let value: Value = match property {
            Property::PayloadFormatIndicator(value) => u8::from(value).into(),
            Property::MessageExpiryInterval(number) => number.into(),
            Property::TopicAlias(number) => number.into(),
            Property::ContentType(text) => text.as_str().into(),
            Property::ResponseTopic(topic) => topic.as_str().into(),
            Property::CorrelationData(bytes) => {
                put_bytes(&mut object, name, bytes);
                continue;
            }
            Property::SubscriptionIdentifier(_) => match view.subscription_identifier {
                Some(number) => number.into(),
                None => continue,
            },
            Property::UserProperty(key, value) => {
                let pair: Value = vec![key.as_str(), value.as_str()].into();
                let pairs = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if let Some(pairs) = pairs.as_array_mut() {
                    pairs.push(pair);
                }
                continue;
            }
            _ => continue,
        };
        object.insert(name.to_owned(), value);
    }
    object
}

/// A message from a line. What the line does not say, `message` has.
///
/// # Errors
/// What is wrong with the line.
pub(crate) fn publish_from_line(
    line: &str,
    topic: Option<&str>,
    qos: QoS,
    retain: bool,
) -> Result<Publish, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let object = value.as_object().ok_or("not a JSON object")?;
    let topic = object.get("topic").and_then(Value::as_str).or(topic).ok_or("no topic")?;
    let payload = take_bytes(object, "payload")?.unwrap_or_default();
    let qos = match object.get("qos") {
        None => qos,
        Some(value) => {
            let bits = value.as_u64().and_then(|bits| u8::try_from(bits).ok());
            bits.and_then(QoS::from_bits).ok_or("a QoS that is not 0, 1 or 2")?
        }
    };
    let retain =
        object.get("retain").map_or(Some(retain), Value::as_bool).ok_or("retain is true or false")?;
    let mut publish = Publish::new(topic, payload).qos(qos).retain(retain);
    if let Some(properties) = object.get("properties") {
        let properties = properties.as_object().ok_or("properties are an object")?;
        publish = publish.properties(read_properties(properties)?);
    }
    Ok(publish)
}

fn take_bytes(object: &Map<String, Value>, name: &str) -> Result<Option<Vec<u8>>, String> {
    if let Some(text) = object.get(&format!("{name}_base64")) {
        let text = text.as_str().ok_or_else(|| format!("{name}_base64 is a string"))?;
        return STANDARD.decode(text).map(Some).map_err(|error| format!("{name}_base64: {error}"));
    }
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone().into_bytes())),
        // What is no string is published as JSON.
        Some(other) => Ok(Some(other.to_string().into_bytes())),
    }
}

fn read_properties(object: &Map<String, Value>) -> Result<PropertyList, String> {
    let number = |name: &str| match object.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| format!("{name} is a number")),
    };
    let text = |name: &str| match object.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| format!("{name} is a string")),
    };
    let string = |text: &'_ str| Utf8Str::new(text).map(drop).map_err(|fault| fault.to_string());
    let mut list = PropertyList::new();
    if let Some(number) = number("payload-format-indicator")? {
        list = list.with(Property::PayloadFormatIndicator(number == 1));
    }
    if let Some(number) = number("message-expiry-interval")? {
        list = list.with(Property::MessageExpiryInterval(number));
    }
    if let Some(text) = text("content-type")? {
        string(text)?;
        list = list.with(Property::ContentType(Utf8Str::new(text).map_err(|fault| fault.to_string())?));
    }
    if let Some(text) = text("response-topic")? {
        let topic = TopicName::new(text).map_err(|fault| format!("response-topic: {fault}"))?;
        list = list.with(Property::ResponseTopic(topic));
    }
    if let Some(bytes) = take_bytes(object, "correlation-data")? {
        list = list.with(Property::CorrelationData(&bytes));
    }
    let pairs = object.get("user-property").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for pair in pairs {
        let [Some(name), Some(value)] = [0, 1].map(|at| pair.get(at).and_then(Value::as_str)) else {
            return Err("user-property is a list of pairs".to_owned());
        };
        let [name, value] = [name, value].map(Utf8Str::new);
        let (name, value) =
            (name.map_err(|fault| fault.to_string())?, value.map_err(|fault| fault.to_string())?);
        list = list.with(Property::UserProperty(name, value));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wrong_says_why() {
        for (line, words) in [
            ("", "no JSON"),
            ("[]", "not a JSON object"),
            ("{}", "no topic"),
            (r#"{"topic":"a","qos":3}"#, "a QoS that is not 0, 1 or 2"),
            (r#"{"topic":"a","payload_base64":"!"}"#, "payload_base64: "),
            (r#"{"topic":"a","properties":{"user-property":[["a"]]}}"#, "user-property is a list of pairs"),
            (r#"{"topic":"a","properties":{"response-topic":"a/#"}}"#, "response-topic: "),
        ] {
            let error = publish_from_line(line, None, QoS::AtMostOnce, false).unwrap_err();
            assert!(error.starts_with(words), "{line}: {error}");
        }
    }
}
