//! MQTT's UTF-8 Encoded String: at most 65,535 bytes of well-formed UTF-8 without U+0000
//! (3.1.1 section 1.5.3, 5.0 section 1.5.4).
//!
//! Half of the work of decoding a PUBLISH is to check its topic name, so there are two ways through this file. On
//! 64-bit machines many bytes at a time answer the usual question, "nothing but harmless ASCII?". The other way
//! goes character by character: it is complete, finds out what exactly is wrong, and is the only one on small
//! machines, where flash counts. It replaces `core::str::from_utf8` because it is a third of its size and sees the
//! characters that MQTT treats specially.

use crate::StringError;
use crate::topic::is_wildcard;
use core::fmt;

/// A string as MQTT defines it, borrowed and validated.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf8Str<'a>(&'a [u8]);

impl<'a> Utf8Str<'a> {
    /// The string of `text`; usable in `const`.
    ///
    /// # Errors
    /// [`StringError::TooLong`] above 65,535 bytes, [`StringError::NullCharacter`].
    pub const fn new(text: &'a str) -> Result<Self, StringError> {
        Self::from_bytes(text.as_bytes())
    }

    /// The string of `bytes`; usable in `const`.
    ///
    /// # Errors
    /// [`StringError::TooLong`], [`StringError::IllFormed`], [`StringError::NullCharacter`].
    pub const fn from_bytes(bytes: &'a [u8]) -> Result<Self, StringError> {
        if bytes.len() > 0xFFFF {
            return Err(StringError::TooLong);
        }
        Self::check(bytes, false)
    }

    /// As many bytes as a length prefix can say.
    #[inline]
    pub(crate) const fn check(bytes: &'a [u8], strict: bool) -> Result<Self, StringError> {
        match check_text(bytes, strict) {
            Ok(()) => Ok(Self(bytes)),
            Err(error) => Err(error),
        }
    }

    /// Bytes that were validated before.
    #[inline]
    pub(crate) const fn trusted(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether the string has only characters that every receiver takes: no control characters (U+0001 to U+001F,
    /// U+007F to U+009F) and no Unicode non-characters, which a receiver may refuse.
    ///
    /// # Errors
    /// [`StringError::DisallowedCharacter`].
    #[cfg(feature = "strict")]
    pub const fn check_strict(self) -> Result<(), StringError> {
        scan(self.0, Rules { strict: true, topic_name: false })
    }

    /// The text.
    ///
    /// This looks at every byte once more, which [`as_bytes`](Self::as_bytes) does not.
    #[inline]
    pub fn as_str(self) -> &'a str {
        // Never the default: the bytes were validated when the value was made.
        core::str::from_utf8(self.0).unwrap_or_default()
    }

    /// The bytes of the text, without its length prefix.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// How many bytes, 0 to 65,535.
    #[inline]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is no character.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq<str> for Utf8Str<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Utf8Str<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl<'a> TryFrom<&'a str> for Utf8Str<'a> {
    type Error = StringError;

    fn try_from(text: &'a str) -> Result<Self, StringError> {
        Self::new(text)
    }
}

impl fmt::Display for Utf8Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Utf8Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Utf8Str<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

/// What [`scan`] refuses beside ill-formed UTF-8 and U+0000.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Control characters and non-characters.
    pub(crate) strict: bool,
    /// The wildcards `#` and `+`.
    pub(crate) topic_name: bool,
}

/// Whether `bytes` are text.
#[inline(never)]
pub(crate) const fn check_text(bytes: &[u8], strict: bool) -> Result<(), StringError> {
    if !strict && is_plain::<false>(bytes) {
        return Ok(());
    }
    scan(bytes, Rules { strict, topic_name: false })
}

/// Whether all bytes are ASCII, none is NUL and, with `TOPIC`, none is a wildcard. `false` on small machines, which
/// leave everything to [`scan`].
#[inline(always)]
pub(crate) const fn is_plain<const TOPIC: bool>(bytes: &[u8]) -> bool {
    if cfg!(not(target_pointer_width = "64")) {
        return false;
    }
    // Two pieces of the same length, which may overlap, cover a string of up to twice their length.
    if let Some((first, last)) = ends::<16>(bytes) {
        !has_special::<TOPIC>(first, last) && (bytes.len() <= 32 || is_plain_long::<TOPIC>(bytes))
    } else if let Some((first, last)) = ends::<8>(bytes) {
        !has_special::<TOPIC>(first, last)
    } else if let Some((first, last)) = ends::<4>(bytes) {
        !has_special::<TOPIC>(first, last)
    } else if let Some((first, last)) = ends::<2>(bytes) {
        !has_special::<TOPIC>(first, last)
    } else {
        !has_special::<TOPIC>(bytes, bytes)
    }
}

/// The same for the rest of a string of more than 32 bytes, whose last 16 are known to be plain.
#[inline(never)]
const fn is_plain_long<const TOPIC: bool>(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk::<16>() {
        if has_special::<TOPIC>(block, block) {
            return false;
        }
        rest = behind;
    }
    true
}

/// The first and the last `N` bytes.
#[inline(always)]
const fn ends<const N: usize>(bytes: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => Some((first, last)),
        _ => None,
    }
}

/// Whether there is a special byte in one of two pieces of the same length.
///
/// Of pieces whose length is a constant, the compiler makes vector instructions.
#[inline(always)]
const fn has_special<const TOPIC: bool>(one: &[u8], other: &[u8]) -> bool {
    let (mut one, mut other) = (one, other);
    let mut any = false;
    while let ([a, behind_a @ ..], [b, behind_b @ ..]) = (one, other) {
        any |= is_special::<TOPIC>(*a) | is_special::<TOPIC>(*b);
        (one, other) = (behind_a, behind_b);
    }
    any
}

/// Whether a byte is not ASCII, NUL or, with `TOPIC`, a wildcard.
#[inline(always)]
const fn is_special<const TOPIC: bool>(byte: u8) -> bool {
    // Not `||`: branches would keep the compiler from looking at many bytes at once.
    !byte.is_ascii() | (byte == 0) | (TOPIC & is_wildcard(byte))
}

/// Looks at every character.
#[inline(never)]
pub(crate) const fn scan(bytes: &[u8], rules: Rules) -> Result<(), StringError> {
    let mut rest = bytes;
    while let Some((&first, mut behind)) = rest.split_first() {
        let mut more = match first {
            0x00..=0x7F => 0,
            0xC2..=0xDF => 1,
            0xE0..=0xEF => 2,
            0xF0..=0xF4 => 3,
            _ => return Err(StringError::IllFormed),
        };
        let (mut code, smallest) = match more {
            0 => (first as u32, 0),
            1 => (first as u32 & 0x1F, 0x80),
            2 => (first as u32 & 0x0F, 0x800),
            _ => (first as u32 & 0x07, 0x1_0000),
        };
        while more > 0 {
            match behind.split_first() {
                Some((&next, after)) if next & 0xC0 == 0x80 => {
                    code = code << 6 | (next as u32 & 0x3F);
                    behind = after;
                }
                _ => return Err(StringError::IllFormed),
            }
            more = u32::wrapping_sub(more, 1);
        }
        if code < smallest || code > 0x10_FFFF || matches!(code, 0xD800..=0xDFFF) {
            return Err(StringError::IllFormed);
        }
        if code == 0 {
            return Err(StringError::NullCharacter);
        }
        if rules.topic_name && (code == '#' as u32 || code == '+' as u32) {
            return Err(StringError::Wildcard);
        }
        if cfg!(feature = "strict") && rules.strict && is_disallowed(code) {
            return Err(StringError::DisallowedCharacter);
        }
        rest = behind;
    }
    Ok(())
}

/// Control characters and non-characters, which "should not" be sent.
const fn is_disallowed(code: u32) -> bool {
    matches!(code, 0x01..=0x1F | 0x7F..=0x9F | 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agrees(bytes: &[u8]) {
        let expected = core::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'));
        assert_eq!(Utf8Str::from_bytes(bytes).is_ok(), expected, "{bytes:?}");
        let topic = expected && !bytes.contains(&b'#') && !bytes.contains(&b'+');
        let plain = topic && bytes.is_ascii();
        assert_eq!(scan(bytes, Rules { strict: false, topic_name: true }).is_ok(), topic, "{bytes:?}");
        assert_eq!(is_plain::<true>(bytes), plain && cfg!(target_pointer_width = "64"), "{bytes:?}");
    }

    #[test]
    fn every_character_is_judged_as_the_standard_library_does() {
        let mut buffer = [0; 4];
        for code in 0..=0x10_FFFF {
            if let Some(character) = char::from_u32(code) {
                agrees(character.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }

    #[test]
    fn every_two_bytes_at_every_place_of_a_word() {
        for position in 0..19 {
            for byte in 0..=255 {
                for next in [0, b'#', b'+', b'/', 0x7F, 0x80, 0xBF, 0xC2, 0xE0, 0xED, 0xF4, 0xFF] {
                    let mut bytes = [b'x'; 20];
                    bytes[position] = byte;
                    bytes[position + 1] = next;
                    agrees(&bytes);
                    agrees(&bytes[position..]);
                    agrees(&bytes[..position + 2]);
                }
            }
        }
    }

    #[test]
    fn every_three_bytes_behind_a_long_lead() {
        for lead in [0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5] {
            for second in 0..=255 {
                for third in [0x00, 0x7F, 0x80, 0xBF, 0xC0] {
                    for fourth in [0x80, 0xBF, 0x41] {
                        agrees(&[lead, second, third, fourth]);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_judged_as_the_standard_library_does(bytes: std::vec::Vec<u8>) {
            agrees(&bytes);
        }
    }
}
