//! A message through a format.

use jiff::Zoned;
use mqtt_client_async::Property;

use super::View;
use super::format::{Format, Part, Shape};
use super::json;

/// Appends a message to `out`. What cannot be printed is left out and said in the error, behind which the rest follows.
pub(super) fn message(
    format: &Format,
    view: &View<'_>,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let now = Zoned::now();
    let parts = match format {
        Format::Parts(parts) => parts,
        Format::JsonLines => {
            super::json_lines::write(view, &now, out);
            return Ok(());
        }
    };
    let mut result = Ok(());
    for part in parts {
        match part {
            Part::Literal(bytes) => out.extend_from_slice(bytes),
            Part::Time('N') => out.extend_from_slice(format!("{:09}", now.subsec_nanosecond()).as_bytes()),
            Part::Time(letter) => out.extend_from_slice(strftime(&format!("%{letter}"), &now).as_bytes()),
            Part::Field(letter, shape) => {
                if let Err(words) = field(*letter, *shape, view, &now, pretty, out) {
                    result = Err(words);
                }
            }
        }
    }
    result
}

/// The time in a format of strftime; nothing for a letter that it does not know.
fn strftime(format: &str, now: &Zoned) -> String {
    jiff::fmt::strtime::format(format, now).unwrap_or_default()
}

fn field(
    letter: char,
    shape: Shape,
    view: &View<'_>,
    now: &Zoned,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let properties = &view.properties;
    match letter {
        '%' => out.push(b'%'),
        'A' => integer(properties.topic_alias(), shape, out),
        'C' => match properties.content_type() {
            Some(text) => string(text.as_str(), shape, out),
            None => blank(shape, out),
        },
        'D' => out.extend_from_slice(properties.correlation_data().unwrap_or_default()),
        'E' => integer(properties.message_expiry_interval(), shape, out),
        'F' => integer(properties.payload_format_indicator().map(u8::from), shape, out),
        'I' => string(&strftime("%FT%T%z", now), shape, out),
        'j' => json::message(view, now, json::Payload::Text, pretty, out)?,
        'J' => json::message(view, now, json::Payload::Json, pretty, out)?,
        'l' => integer(Some(view.payload.len()), shape, out),
        'm' => integer(Some(view.packet_id), shape, out),
        'P' => user_properties(view, out),
        'p' => payload(view.payload, shape, out),
        'q' => integer(Some(view.qos), Shape::default(), out),
        'R' => {
            string(properties.response_topic().map(|topic| topic.as_str()).unwrap_or_default(), shape, out)
        }
        'r' => integer(Some(u8::from(view.retain)), Shape::default(), out),
        'S' => integer(view.subscription_identifier, shape, out),
        't' => string(view.topic, shape, out),
        'U' => {
            let time = now.timestamp();
            let text = format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
            out.extend_from_slice(text.as_bytes());
        }
        'x' => hexadecimal(view.payload, b"0123456789abcdef", shape, out),
        'X' => hexadecimal(view.payload, b"0123456789ABCDEF", shape, out),
        'f' => {
            float(view.payload.try_into().map(f32::from_ne_bytes).map(f64::from).ok(), "float", shape, out)?
        }
        _ => float(view.payload.try_into().map(f64::from_ne_bytes).ok(), "double", shape, out)?,
    }
    Ok(())
}

fn blank(shape: Shape, out: &mut Vec<u8>) {
    out.extend(std::iter::repeat_n(shape.padding(), shape.width));
}

/// Right or left in its width.
fn pad(bytes: &[u8], shape: Shape, padding: u8, out: &mut Vec<u8>) {
    let padding = std::iter::repeat_n(padding, shape.width.saturating_sub(bytes.len()));
    if shape.is_left {
        out.extend_from_slice(bytes);
        out.extend(padding.map(|_| b' '));
    } else {
        out.extend(padding);
        out.extend_from_slice(bytes);
    }
}

fn integer(number: Option<impl std::fmt::Display>, shape: Shape, out: &mut Vec<u8>) {
    match number {
        Some(number) => pad(number.to_string().as_bytes(), shape, shape.padding(), out),
        None => blank(shape, out),
    }
}

fn string(text: &str, shape: Shape, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let len = shape.precision.unwrap_or(bytes.len()).min(bytes.len());
    pad(bytes.get(..len).unwrap_or_default(), shape, b' ', out);
}

fn payload(bytes: &[u8], shape: Shape, out: &mut Vec<u8>) {
    let len = if shape.width > 0 { bytes.len().min(shape.width) } else { bytes.len() };
    pad(bytes.get(..len).unwrap_or_default(), shape, shape.padding(), out);
}

/// Digits in groups of `precision` with the separator between them.
fn hexadecimal(bytes: &[u8], digits: &[u8; 16], shape: Shape, out: &mut Vec<u8>) {
    let len = if shape.width > 0 { bytes.len().min(shape.width) } else { bytes.len() };
    let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or(b'?');
    let nibbles: Vec<u8> =
        bytes.iter().take(len).flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    let mut padded = Vec::new();
    pad(&nibbles, shape, shape.padding(), &mut padded);
    let group = shape.precision.filter(|&group| group > 0);
    let separator = shape.separator.unwrap_or(' ');
    for (at, &byte) in padded.iter().enumerate() {
        if group.is_some_and(|group| at > 0 && at.is_multiple_of(group)) {
            out.extend_from_slice(separator.encode_utf8(&mut [0; 4]).as_bytes());
        }
        out.push(byte);
    }
}

fn user_properties(view: &View<'_>, out: &mut Vec<u8>) {
    let mut first = true;
    for property in view.properties.iter() {
        if let Property::UserProperty(name, value) = property {
            if !first {
                out.push(b' ');
            }
            first = false;
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
    }
}

fn float(value: Option<f64>, what: &str, shape: Shape, out: &mut Vec<u8>) -> Result<(), String> {
    let value = value.ok_or_else(|| format!("requested {what} printing, but non-{what} data received"))?;
    let precision = shape.precision.unwrap_or(6);
    let text = format!("{value:.precision$}");
    match text.strip_prefix('-').filter(|_| shape.has_zeros && !shape.is_left) {
        Some(digits) => {
            out.push(b'-');
            let shape = Shape { width: shape.width.saturating_sub(1), ..shape };
            pad(digits.as_bytes(), shape, b'0', out);
        }
        None => pad(text.as_bytes(), shape, shape.padding(), out),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_client_async::PropertyList;

    fn rendered(format: &str, payload: &[u8]) -> String {
        let list = PropertyList::new().with(Property::MessageExpiryInterval(60));
        let view = View {
            topic: "plant/1",
            payload,
            qos: 1,
            retain: true,
            packet_id: 7,
            properties: list.of_publish().unwrap(),
            subscription_identifier: None,
        };
        let mut out = Vec::new();
        message(&Format::parse(format).unwrap(), &view, false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_laid_out_as_printf_does() {
        for (format, expected) in [
            ("%t %p %q %r %l %m %E", "plant/1 hello 1 1 5 7 60"),
            ("[%10t] [%-10t] [%.5t] [%-7.2t]", "[   plant/1] [plant/1   ] [plant] [pl     ]"),
            ("[%08E] [%-8E] [%3A] [%S]", "[00000060] [60      ] [   ] []"),
            ("%x %X %.2x %.4:X %12x", "68656c6c6f 68656C6C6F 68 65 6c 6c 6f 6865:6C6C:6F   68656c6c6f"),
            ("[%3p] [%8p] [%-8p]", "[hel] [   hello] [hello   ]"),
            ("100%% @@\\t", "100% @\t"),
        ] {
            assert_eq!(rendered(format, b"hello"), expected, "{format}");
        }
        assert_eq!(rendered("%f %.1f", &1.5_f32.to_ne_bytes()), "1.500000 1.5");
        assert_eq!(rendered("%08.2d", &(-2.25_f64).to_ne_bytes()), "-0002.25");
    }
}
