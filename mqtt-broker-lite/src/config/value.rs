//! Values of the configuration: what may stand behind a key, and how it is read.

use std::path::PathBuf;
use toml::de::DeValue;

/// A value, wherever it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<String>),
}

impl Value {
    /// A value of a file.
    pub(super) fn of(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::Boolean(value) => Ok(Self::Bool(*value)),
            DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
                .map(Self::Integer)
                .map_err(|_| "the number is too large".to_owned()),
            DeValue::String(text) => Ok(Self::Text(text.to_string())),
            DeValue::Array(values) => {
                let texts = values.iter().map(|value| match value.get_ref() {
                    DeValue::String(text) => Ok(text.to_string()),
                    other => Err(format!("a list of strings cannot have a {}", other.type_str())),
                });
                texts.collect::<Result<_, _>>().map(Self::List)
            }
            other => Err(format!("a {} makes no sense here", other.type_str())),
        }
    }

    /// A value of the environment: as in a file, or just a string.
    pub(super) fn of_environment(text: &str) -> Self {
        let parsed = DeValue::parse(text).ok().and_then(|value| Self::of(value.get_ref()).ok());
        parsed.unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    pub(super) fn flag(&self) -> Result<bool, String> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err("true or false is expected".to_owned()),
        }
    }

    pub(super) fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) if text.is_empty() => Err("it is empty".to_owned()),
            Self::Text(text) => Ok(text.clone()),
            _ => Err("a string is expected".to_owned()),
        }
    }

    pub(super) fn path(&self) -> Result<PathBuf, String> {
        self.text().map(Into::into)
    }

    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        match self {
            Self::List(list) => Ok(list.clone()),
            Self::Text(text) => Ok(text.split(',').map(|part| part.trim().to_owned()).collect()),
            _ => Err("a list of strings is expected".to_owned()),
        }
    }

    /// A number in these bounds.
    pub(super) fn number<N: TryFrom<u64>>(&self, least: u64, most: u64) -> Result<N, String> {
        let number = match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => return Err("a number is expected".to_owned()),
        };
        in_bounds(number, least, most)
    }

    /// A number of bytes in these bounds: `65536`, `"64 KiB"`, `"1 MiB"`.
    pub(super) fn bytes<N: TryFrom<u64>>(&self, least: u64, most: u64) -> Result<N, String> {
        let Self::Text(text) = self else {
            return self.number(least, most);
        };
        let text = text.trim();
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("B", 0)];
        let found = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
        let (digits, shift) = found.unwrap_or((text, 0));
        let number = digits.trim().parse::<u64>().map_err(|_| "a size like \"64 KiB\" is expected")?;
        in_bounds(number.checked_mul(1 << shift), least, most)
    }
}

fn in_bounds<N: TryFrom<u64>>(number: Option<u64>, least: u64, most: u64) -> Result<N, String> {
    let number = number.filter(|number| (least..=most).contains(number));
    number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| match most {
        u64::MAX => format!("at least {least} is expected"),
        most => format!("{least} to {most} is expected"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_bounds() {
        let bytes = |text: &str| Value::of_environment(text).bytes::<u32>(1, 1 << 30);
        assert_eq!(bytes("7"), Ok(7));
        assert_eq!(bytes("64 KiB"), Ok(65536));
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        assert_eq!(bytes("12 B"), Ok(12));
        for wrong in ["0", "-1", "2 GiB", "99999999999 GiB", "1.5 MiB", "KiB", "true", "ten"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
