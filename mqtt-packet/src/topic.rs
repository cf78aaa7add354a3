//! Topic names, topic filters and how they match (3.1.1 and 5.0 section 4.7), shared subscriptions (5.0 section
//! 4.8.2).

use crate::utf8::{Rules, is_plain, scan};
use crate::{StringError, Utf8Str};
use core::fmt;

/// The name a message is published under: at least one character, no wildcard.
///
/// ```
/// use mqtt_packet::TopicName;
/// const TOPIC: TopicName<'static> = match TopicName::new("plant/1/temperature") {
///     Ok(topic) => topic,
///     Err(_) => panic!("not a topic name"),
/// };
/// assert_eq!(TOPIC.as_str(), "plant/1/temperature");
/// assert!(TopicName::new("plant/+").is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a [u8]);

/// What a subscription asks for: a topic name that may have the wildcards `+` (one level) and `#` (all further
/// levels).
///
/// ```
/// use mqtt_packet::{TopicFilter, TopicName};
/// let filter = TopicFilter::new("plant/+/temperature").unwrap();
/// assert!(filter.matches(TopicName::new("plant/1/temperature").unwrap()));
/// assert!(TopicFilter::new("plant/#/temperature").is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a>(&'a [u8]);

/// The two parts of `$share/<share name>/<topic filter>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedFilter<'a> {
    /// Which group of subscribers shares the messages; at least one character, no wildcard, no `/`.
    pub share_name: Utf8Str<'a>,
    /// What the group is subscribed to.
    pub filter: TopicFilter<'a>,
}

impl<'a> TopicName<'a> {
    /// The absent name of a PUBLISH whose Topic Alias says it all (5.0 section 3.3.2.1).
    pub const ALIASED: TopicName<'static> = TopicName(b"");

    /// The topic name of `text`; usable in `const`.
    ///
    /// # Errors
    /// [`StringError::Empty`], [`StringError::Wildcard`] and the errors of [`Utf8Str::new`].
    pub const fn new(text: &'a str) -> Result<Self, StringError> {
        Self::from_bytes(text.as_bytes())
    }

    /// The topic name of `bytes`; usable in `const`.
    ///
    /// # Errors
    /// [`StringError::Empty`], [`StringError::Wildcard`] and the errors of [`Utf8Str::from_bytes`].
    #[inline]
    pub const fn from_bytes(bytes: &'a [u8]) -> Result<Self, StringError> {
        if bytes.is_empty() {
            return Err(StringError::Empty); // [MQTT-4.7.3-1]
        }
        Self::check(bytes, false)
    }

    /// Any length, the empty name of an aliased PUBLISH included.
    #[inline(always)]
    pub(crate) const fn check(bytes: &'a [u8], strict: bool) -> Result<Self, StringError> {
        if bytes.len() > 0xFFFF {
            return Err(StringError::TooLong); // [MQTT-4.7.3-3]
        }
        if strict || !is_plain::<true>(bytes) {
            if let Err(error) = scan(bytes, Rules { strict, topic_name: true }) {
                return Err(error);
            }
        }
        Ok(Self(bytes))
    }

    /// Bytes that were validated before.
    pub(crate) const fn trusted(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether the name is absent, as in a PUBLISH that only has a Topic Alias.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> TopicFilter<'a> {
    /// The topic filter of `text`; usable in `const`.
    ///
    /// A filter that starts with `$share/` is taken as it is; [`shared`](Self::shared) looks inside.
    ///
    /// # Errors
    /// [`StringError::EmptyFilter`], [`StringError::MultiLevelWildcard`], [`StringError::SingleLevelWildcard`] and the
    /// errors of [`Utf8Str::new`].
    pub const fn new(text: &'a str) -> Result<Self, StringError> {
        Self::from_bytes(text.as_bytes())
    }

    /// The topic filter of `bytes`; usable in `const`.
    ///
    /// # Errors
    /// [`StringError::EmptyFilter`], [`StringError::MultiLevelWildcard`], [`StringError::SingleLevelWildcard`] and the
    /// errors of [`Utf8Str::from_bytes`].
    pub const fn from_bytes(bytes: &'a [u8]) -> Result<Self, StringError> {
        Self::check(bytes, false)
    }

    #[inline(always)]
    pub(crate) const fn check(bytes: &'a [u8], strict: bool) -> Result<Self, StringError> {
        if bytes.is_empty() {
            return Err(StringError::EmptyFilter); // [MQTT-4.7.3-1]
        }
        if bytes.len() > 0xFFFF {
            return Err(StringError::TooLong); // [MQTT-4.7.3-3]
        }
        if strict || !is_plain_filter(bytes) {
            if let Err(error) = check_filter(bytes, strict) {
                return Err(error);
            }
        }
        Ok(Self(bytes))
    }

    /// Bytes that were validated before.
    pub(crate) const fn trusted(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether the filter has a `+` or a `#`.
    pub fn has_wildcard(self) -> bool {
        self.0.iter().any(|&byte| is_wildcard(byte))
    }

    /// Whether the filter says that it is of a shared subscription; [`shared`](Self::shared) tells whether it can be one.
    pub fn is_shared(self) -> bool {
        self.behind_share().is_some()
    }

    /// What follows `$share/`. A pattern: on small machines it is shorter than the comparison of memory that a prefix would
    /// link.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    const fn behind_share(self) -> Option<&'a [u8]> {
        match self.0 {
            [b'$', b's', b'h', b'a', b'r', b'e', b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    /// Share name and filter of a shared subscription; `None` for an ordinary one.
    ///
    /// # Errors
    /// [`StringError::ShareName`], [`StringError::ShareNameWildcard`] and [`StringError::ShareFilter`] where the
    /// filter starts with `$share/` and does not go on as a shared subscription must [MQTT-4.8.2-1, MQTT-4.8.2-2].
    pub fn shared(self) -> Result<Option<SharedFilter<'a>>, StringError> {
        let Some(rest) = self.behind_share() else {
            return Ok(None);
        };
        let (share_name, filter) = split_level(rest);
        if share_name.is_empty() {
            return Err(StringError::ShareName);
        }
        if share_name.iter().any(|&byte| is_wildcard(byte)) {
            return Err(StringError::ShareNameWildcard);
        }
        match filter {
            Some(filter) if !filter.is_empty() => {
                Ok(Some(SharedFilter { share_name: Utf8Str::trusted(share_name), filter: Self(filter) }))
            }
            _ => Err(StringError::ShareFilter),
        }
    }

    /// Whether a message of this topic is one that the filter asks for.
    ///
    /// Levels are compared byte by byte [MQTT-4.7.3-4]; a filter that starts with a wildcard does not match a topic
    /// that starts with `$` [MQTT-4.7.2-1]. Of a shared subscription, ask the filter inside.
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        let (mut filter, mut topic) = (self.0, topic.0);
        if topic.first() == Some(&b'$') && filter.first().is_some_and(|&byte| is_wildcard(byte)) {
            return false;
        }
        loop {
            let (wanted, more_wanted) = split_level(filter);
            if wanted == b"#" {
                return true;
            }
            let (level, more_levels) = split_level(topic);
            if wanted != b"+" && wanted != level {
                return false;
            }
            match (more_wanted, more_levels) {
                (Some(next_filter), Some(next_topic)) => (filter, topic) = (next_filter, next_topic),
                (None, None) => return true,
                // `a/#` asks for `a` too.
                (Some(more), None) => return more == b"#",
                (None, Some(_)) => return false,
            }
        }
    }
}

/// `#` is 0x23 and `+` is 0x2B: without bit 3 they are one.
#[inline(always)]
pub(crate) const fn is_wildcard(byte: u8) -> bool {
    byte & !0x08 == b'#'
}

/// The first level, and what is behind its `/`.
fn split_level(levels: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = levels.iter().position(|&byte| byte == b'/').unwrap_or(levels.len());
    match levels.split_at_checked(end) {
        Some((level, rest)) => (level, rest.split_first().map(|(_, behind)| behind)),
        None => (levels, None),
    }
}

/// Everything about a filter's characters and wildcards, character by character.
#[inline(never)]
const fn check_filter(filter: &[u8], strict: bool) -> Result<(), StringError> {
    if let Err(error) = scan(filter, Rules { strict, topic_name: false }) {
        return Err(error);
    }
    let mut rest = filter;
    let mut before = b'/';
    while let Some((&byte, behind)) = rest.split_first() {
        if is_wildcard(byte) {
            if let Err(error) = check_wildcard(before, byte, behind) {
                return Err(error);
            }
        }
        before = byte;
        rest = behind;
    }
    Ok(())
}

/// `#` only as the whole last level, `+` only as a whole level.
#[inline]
const fn check_wildcard(before: u8, wildcard: u8, behind: &[u8]) -> Result<(), StringError> {
    let is_level = before == b'/' && matches!(behind, [] | [b'/', ..]);
    if wildcard == b'+' {
        if is_level { Ok(()) } else { Err(StringError::SingleLevelWildcard) }
    } else if is_level && behind.is_empty() {
        Ok(())
    } else {
        Err(StringError::MultiLevelWildcard)
    }
}

/// Whether a filter is ASCII without NUL and its wildcards stand where they may: the usual filter, many bytes at a time.
/// `false` also for some that are rare, and for all on small machines.
#[inline(always)]
const fn is_plain_filter(filter: &[u8]) -> bool {
    if cfg!(not(target_pointer_width = "64")) {
        return false;
    }
    let levels = match filter {
        [levels @ .., b'/', b'#'] => levels,
        _ => filter,
    };
    is_plain::<true>(levels) || has_plus_levels(levels)
}

/// The same for at least eight bytes of levels of which some are `+`.
#[inline(never)]
const fn has_plus_levels(levels: &[u8]) -> bool {
    let (true, Some(last)) = (is_plain::<false>(levels), levels.last_chunk::<8>()) else {
        return false;
    };
    let mut offset = 0;
    let mut rest = levels;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        if !are_plus_levels(levels, offset, *word) {
            return false;
        }
        rest = behind;
        offset = usize::wrapping_add(offset, 8);
    }
    // The last word overlaps the one before; what is seen twice is judged the same twice.
    rest.is_empty() || are_plus_levels(levels, levels.len().wrapping_sub(8), *last)
}

/// Whether each wildcard in eight ASCII bytes is a `+` that is a whole level.
#[inline(always)]
const fn are_plus_levels(levels: &[u8], offset: usize, word: [u8; 8]) -> bool {
    const fn each(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    let differs = (u64::from_le_bytes(word) & each(!0x08)) ^ each(b'#');
    // The top bit of each byte that is a wildcard: only 0 does not carry into it.
    let mut wildcards = !differs.wrapping_add(each(0x7F)) & each(0x80);
    while wildcards != 0 {
        let at = offset.wrapping_add(wildcards.trailing_zeros() as usize / 8);
        wildcards &= wildcards.wrapping_sub(1);
        if !matches!(levels.split_at_checked(at), Some(([] | [.., b'/'], [b'+'] | [b'+', b'/', ..]))) {
            return false;
        }
    }
    true
}

macro_rules! as_string {
    ($($type:ident),*) => {$(
        impl<'a> $type<'a> {
            /// The text.
            ///
            /// This looks at every byte once more, which [`as_bytes`](Self::as_bytes) does not.
            #[inline]
            pub fn as_str(self) -> &'a str {
                self.as_utf8().as_str()
            }

            /// The bytes of the text, without its length prefix.
            #[inline]
            pub const fn as_bytes(self) -> &'a [u8] {
                self.0
            }

            /// The same as a plain MQTT string.
            #[inline]
            pub const fn as_utf8(self) -> Utf8Str<'a> {
                Utf8Str::trusted(self.0)
            }
        }

        impl PartialEq<str> for $type<'_> {
            fn eq(&self, other: &str) -> bool {
                self.0 == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $type<'_> {
            fn eq(&self, other: &&str) -> bool {
                self.0 == other.as_bytes()
            }
        }

        impl<'a> TryFrom<&'a str> for $type<'a> {
            type Error = StringError;

            fn try_from(text: &'a str) -> Result<Self, StringError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $type<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.as_utf8(), f)
            }
        }

        impl fmt::Debug for $type<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.as_utf8(), f)
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $type<'_> {
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::Format::format(&self.as_utf8(), f);
            }
        }
    )*};
}

as_string!(TopicName, TopicFilter);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_judged_alike_at_once_and_character_by_character() {
        const TRIED: [u8; 6] = [b'/', b'+', b'#', 0, 0x80, b'x'];
        for len in 2..40 {
            for position in 0..len - 1 {
                for (one, other) in TRIED.iter().flat_map(|one| TRIED.map(|other| (*one, other))) {
                    for background in [b'x', b'/'] {
                        let mut bytes = [background; 40];
                        bytes[position] = one;
                        bytes[position + 1] = other;
                        let filter = &bytes[..len];
                        let judgement = check_filter(filter, false);
                        assert_eq!(TopicFilter::from_bytes(filter).map(drop), judgement, "{filter:?}");
                    }
                }
            }
        }
    }
}
