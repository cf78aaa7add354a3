//! The format language of `-F`, taken apart when the command line is read.

use crate::failure::{Failure, Outcome};

/// A format.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    Parts(Vec<Part>),
    /// A JSON object for each message, of any payload.
    JsonLines,
}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(Vec<u8>),
    /// `%-20.20t`
    Field(char, Shape),
    /// `@Y`: the local time by a letter of strftime.
    Time(char),
}

/// How a field is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) is_left: bool,
    pub(crate) has_zeros: bool,
    pub(crate) width: usize,
    pub(crate) precision: Option<usize>,
    /// Between groups of hexadecimal digits.
    pub(crate) separator: Option<char>,
}

impl Shape {
    pub(crate) const fn padding(&self) -> u8 {
        if self.has_zeros { b'0' } else { b' ' }
    }
}

const FIELDS: &str = "%ACDEFIJPRSUXdfjlmpqrtx";
const SEPARATORS: &str = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~ ";
const LONGEST: usize = 100_000;

impl Format {
    pub(crate) fn json_lines() -> Self {
        Self::JsonLines
    }

    /// # Errors
    /// What is wrong with it, in mosquitto's words.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.next() {
            match next {
                '%' => {
                    let part = field(&mut rest)?;
                    flush(&mut literal, &mut parts);
                    parts.push(part);
                }
                '@' => match rest.next() {
                    None => return Err(incomplete()),
                    Some('@') => literal.push(b'@'),
                    Some(letter) => {
                        flush(&mut literal, &mut parts);
                        parts.push(Part::Time(letter));
                    }
                },
                '\\' => literal.push(escape(rest.next())?),
                other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        flush(&mut literal, &mut parts);
        Ok(Self::Parts(parts))
    }
}

fn flush(literal: &mut Vec<u8>, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Literal(core::mem::take(literal)));
    }
}

fn incomplete() -> Failure {
    Failure::usage("Incomplete format specifier.")
}

fn escape(letter: Option<char>) -> Outcome<u8> {
    Ok(match letter {
        Some('\\') => b'\\',
        Some('0') => 0,
        Some('a') => 7,
        Some('e') => 27,
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('v') => 11,
        Some(other) => return Err(Failure::usage(format!("Invalid escape specifier '{other}'."))),
        None => return Err(Failure::usage("Incomplete escape specifier.")),
    })
}

/// What stands behind a `%`.
fn field(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Outcome<Part> {
    let mut shape = Shape::default();
    if rest.next_if_eq(&'-').is_some() {
        shape.is_left = true;
    }
    if rest.next_if_eq(&'0').is_some() {
        shape.has_zeros = true;
    }
    shape.width = digits(rest)?.unwrap_or(0);
    if rest.next_if_eq(&'.').is_some() {
        shape.precision = Some(digits(rest)?.unwrap_or(0));
    }
    shape.separator = rest.next_if(|&next| SEPARATORS.contains(next));
    match rest.next() {
        None => Err(incomplete()),
        Some(letter) if FIELDS.contains(letter) => Ok(Part::Field(letter, shape)),
        Some(other) => Err(Failure::usage(format!("Invalid format specifier '{other}'."))),
    }
}

fn digits(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Outcome<Option<usize>> {
    let mut number = None;
    while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
        rest.next();
        let longer = number.unwrap_or(0_usize) * 10 + digit as usize;
        if longer > LONGEST {
            return Err(Failure::usage("Field width or precision too large."));
        }
        number = Some(longer);
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        for (format, words) in [
            ("%", "Incomplete format specifier."),
            ("%-", "Incomplete format specifier."),
            ("%20", "Incomplete format specifier."),
            ("%.", "Incomplete format specifier."),
            ("@", "Incomplete format specifier."),
            ("\\", "Incomplete escape specifier."),
            ("\\q", "Invalid escape specifier 'q'."),
            ("%z", "Invalid format specifier 'z'."),
            ("%9999999p", "Field width or precision too large."),
        ] {
            let failure = Format::parse(format).unwrap_err();
            assert_eq!(failure.words, format!("Error: {words}"), "{format}");
            assert_eq!(failure.code, 1);
        }
    }

    #[test]
    fn flags_width_precision_and_separator() {
        let shape =
            Shape { is_left: true, has_zeros: true, width: 20, precision: Some(2), separator: Some(':') };
        assert_eq!(Format::parse("%-020.2:x").unwrap(), Format::Parts(vec![Part::Field('x', shape)]));
        let parts = vec![Part::Literal(b"a@\n".to_vec()), Part::Time('Y')];
        assert_eq!(Format::parse("a@@\\n@Y").unwrap(), Format::Parts(parts));
    }
}
