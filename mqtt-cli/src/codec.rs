//! Payload codecs: what is typed or printed is text, what is sent is not.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// How payloads are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As they are.
    #[default]
    None,
    /// Checked to be JSON.
    Json,
    /// Bytes, typed and printed as hexadecimal digits.
    Hex,
    /// Bytes, typed and printed as Base64.
    Base64,
    /// CBOR, typed and printed as JSON.
    Cbor,
    /// MessagePack, typed and printed as JSON.
    MessagePack,
}

impl Codec {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::None,
            "json" => Self::Json,
            "hex" => Self::Hex,
            "base64" => Self::Base64,
            "cbor" => Self::Cbor,
            "msgpack" => Self::MessagePack,
            _ => return None,
        })
    }

    /// From what was typed to what is sent.
    pub(crate) fn encode(self, typed: Vec<u8>) -> Result<Vec<u8>, String> {
        let json = |typed: &[u8]| {
            serde_json::from_slice::<Value>(typed).map_err(|error| format!("the message is no JSON: {error}"))
        };
        match self {
            Self::None => Ok(typed),
            Self::Json => json(&typed).map(|_| typed),
            Self::Hex => from_hex(&typed),
            Self::Base64 => {
                let digits = typed.trim_ascii();
                STANDARD.decode(digits).map_err(|error| format!("the message is no Base64: {error}"))
            }
            Self::Cbor => {
                let mut out = Vec::new();
                ciborium::into_writer(&json(&typed)?, &mut out).map_err(|error| error.to_string())?;
                Ok(out)
            }
            Self::MessagePack => rmp_serde::to_vec(&json(&typed)?).map_err(|error| error.to_string()),
        }
    }

    /// From what came to what is printed.
    pub(crate) fn decode(self, payload: &[u8]) -> Result<Cow<'_, [u8]>, String> {
        let printed = |value: Value| Cow::Owned(value.to_string().into_bytes());
        match self {
            Self::None => Ok(payload.into()),
            Self::Json => {
                let value = serde_json::from_slice(payload).map(printed);
                value.map_err(|error| format!("the payload is no JSON: {error}"))
            }
            Self::Hex => Ok(Cow::Owned(to_hex(payload).into_bytes())),
            Self::Base64 => Ok(Cow::Owned(STANDARD.encode(payload).into_bytes())),
            Self::Cbor => {
                let value = ciborium::from_reader(payload).map(printed);
                value.map_err(|error| format!("the payload is no CBOR: {error}"))
            }
            Self::MessagePack => {
                let value = rmp_serde::from_slice(payload).map(printed);
                value.map_err(|error| format!("the payload is no MessagePack: {error}"))
            }
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digits, with any white space and colons between the pairs.
fn from_hex(digits: &[u8]) -> Result<Vec<u8>, String> {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b':';
    let digits: Vec<u8> = digits.iter().copied().filter(|byte| !is_between(byte)).collect();
    let fault = "the message is no pairs of hexadecimal digits";
    digits
        .chunks(2)
        .map(|pair| {
            let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'));
            pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(|| fault.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let json = br#"{"a":[1,2.5,"x",null,true],"b":{}}"#;
        for codec in [Codec::Json, Codec::Cbor, Codec::MessagePack] {
            let sent = codec.encode(json.to_vec()).unwrap();
            assert_eq!(*codec.decode(&sent).unwrap(), *json, "{codec:?}");
        }
        assert_eq!(Codec::Hex.encode(b"00 ff:7F".to_vec()).unwrap(), [0, 255, 127]);
        assert_eq!(*Codec::Hex.decode(&[0, 255]).unwrap(), *b"00ff");
        assert_eq!(Codec::Base64.encode(b"AP8=\n".to_vec()).unwrap(), [0, 255]);
        assert_eq!(*Codec::Base64.decode(&[0, 255]).unwrap(), *b"AP8=");
    }

    #[test]
    fn what_is_no_such_payload_is_said() {
        for (codec, typed) in
            [(Codec::Json, "{"), (Codec::Hex, "0"), (Codec::Hex, "+1"), (Codec::Base64, "?")]
        {
            assert!(codec.encode(typed.into()).is_err(), "{codec:?}");
        }
        for codec in [Codec::Json, Codec::Cbor, Codec::MessagePack] {
            assert!(codec.decode(b"").is_err(), "{codec:?}");
        }
    }
}
