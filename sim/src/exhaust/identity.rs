//! What tells one state of a small world from others: what the parties say about themselves in `Debug`, less what makes
//! no difference. Counts that only have to differ are replaced by their ranks, and what nobody looks at any more is left
//! out.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Where the number of a cause stands.
const CAUSE: &str = "Cause { shard: ShardId(0), number: ";

/// Counts that only go on; and where in its stream a client is, which has sent everything that it had to send; and where
/// it looks first. No receipt of an earlier connection is ever given back, so its number is no difference either.
const MASKED: [&str; 7] =
    ["last_cause: ", "last_message: ", "queued: ", "written: ", ", at: ", "hint: ", "connection: "];

/// Where the batch with a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// It is safe.
    Safe,
    /// It is being written.
    Writing,
    /// It waits.
    Pending,
}

/// The identity of what this text says; `batch` knows where a cause is.
pub(super) fn identity(text: &str, batch: impl Fn(u64) -> Batch) -> u128 {
    let mut text = without_remains(text);
    for front in MASKED {
        text = mask(&text, front);
    }
    for front in ["ConnId(", "MessageNumber("] {
        text = rank(&text, front);
    }
    text = by_batch(&text, batch);
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        text.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

/// The text with the batch of each cause in its place; those that are safe are one, too.
fn by_batch(text: &str, batch: impl Fn(u64) -> Batch) -> String {
    let (first, numbered) = split(text, CAUSE);
    let mut named = first.to_owned();
    for (number, rest) in numbered {
        named += match batch(number) {
            Batch::Writing => "W",
            Batch::Pending => "P",
            Batch::Safe => "-",
        };
        named += rest;
    }
    // Sets of causes.
    for twice in ["W }, W", "P }, P"] {
        while named.contains(twice) {
            named = named.replace(twice, &twice[..1]);
        }
    }
    named
}

/// The text without what there is still in memory and what nobody looks at any more: the bytes of packets that were
/// sent, slots that are free, deadlines of which none comes because no time passes, and who waits for which cause, which
/// is said by what is held.
fn without_remains(text: &str) -> String {
    let nothing = |_: &str, _: &str| String::new();
    let mut text = replace(text, "buffer: [", "]", nothing);
    text = replace(&text, "timers: Timers {", "journal: ", nothing);
    text = replace(&text, "unsynced: {", "references: ", nothing);
    text = replace(&text, "References({", "})", |counts, _| references(counts));
    text = replace(&text, "Inbox { slots: [", "], len: ", |slots, behind| {
        let used = slots.split("ReceivedSlot").skip(1).take(number(behind).0 as usize);
        used.collect()
    });
    replace(&text, "InFlight { slots: [", "pending: ", |ring, _| requests(ring))
}

/// The text with something else in place of what stands between `front` and `end`; `by` sees that, and what is behind it.
fn replace(text: &str, front: &str, end: &str, by: impl Fn(&str, &str) -> String) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, part)) = rest.split_once(front) {
        let (between, behind) = part.split_once(end).unwrap_or((part, ""));
        kept += before;
        kept += &by(between, behind);
        rest = behind;
    }
    kept + rest
}

/// Of pages of counts, those that are not 0.
fn references(pages: &str) -> String {
    let counts =
        pages.split('[').skip(1).flat_map(|page| page.split(']').next().unwrap_or_default().split(", "));
    counts.filter(|count| *count != "0").collect::<Vec<_>>().join(" ")
}

/// Of a ring of requests, those in use. Whether the bytes of one say that it is a repeat follows from its flags.
fn requests(ring: &str) -> String {
    let field = |name: &str| ring.split_once(name).map_or(0, |(_, behind)| number(behind).0 as usize);
    let (front, count) = (field("front: "), field("count: "));
    let slots: Vec<_> =
        ring.split_once(']').map_or(ring, |(slots, _)| slots).split("SendSlot").skip(1).collect();
    (front..front + count).filter_map(|at| slots.get(at % slots.len())).copied().collect()
}

/// The number at the front of a text, and what is behind it.
fn number(text: &str) -> (u64, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (text[..digits].parse().unwrap_or(0), &text[digits..])
}

/// The text, and the numbers in it that stand behind `front`, each with what is behind it.
fn split<'t>(text: &'t str, front: &str) -> (&'t str, Vec<(u64, &'t str)>) {
    let mut parts = text.split(front);
    let first = parts.next().unwrap_or_default();
    (first, parts.map(number).collect())
}

/// Leaves out the numbers behind `front`: a count that goes on is no difference.
fn mask(text: &str, front: &str) -> String {
    let (first, numbered) = split(text, front);
    numbered.into_iter().fold(first.to_owned(), |text, (_, rest)| text + rest)
}

/// Replaces the numbers behind `front` by their ranks.
fn rank(text: &str, front: &str) -> String {
    let (first, numbered) = split(text, front);
    let numbers: BTreeSet<_> = numbered.iter().map(|(number, _)| *number).collect();
    let ranks: Vec<_> = numbers.into_iter().collect();
    let mut ranked = first.to_owned();
    for (number, rest) in numbered {
        let _ = write!(ranked, "{front}{}{rest}", ranks.binary_search(&number).unwrap_or(0));
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_only_have_to_differ_are_ranks() {
        assert_eq!(rank("a ConnId(7), ConnId(3); ConnId(7)", "ConnId("), "a ConnId(1), ConnId(0); ConnId(1)");
        assert_eq!(mask("last_cause: 12, more", "last_cause: "), ", more");
    }

    #[test]
    fn what_nobody_looks_at_is_no_difference() {
        let text = "Outbox { buffer: [1, 2], sent: 0 } Inbox { slots: [ReceivedSlot { id: 1 }, ReceivedSlot { id: 2 }], len: 1 }";
        assert_eq!(without_remains(text), "Outbox { , sent: 0 }  { id: 1 }, 1 }");
        let text = "InFlight { slots: [SendSlot { id: 1 }, SendSlot { id: 2 }], bytes: [1, 2], tail: 3, front: 1, count: 1, pending: 0 }";
        assert_eq!(without_remains(text), " { id: 2 }0 }");
        assert_eq!(
            without_remains("references: References({0: [0, 2, 1], 3: [1, 0]}) }"),
            "references: 2 1 1 }"
        );
    }

    #[test]
    fn causes_are_where_their_batches_are() {
        let batch = |number| if number == 4 { Batch::Writing } else { Batch::Safe };
        let cause = |number: u64| format!("{CAUSE}{number} }}");
        let told = |one, other| identity(&format!("{} {}", cause(one), cause(other)), batch);
        assert_eq!(told(1, 4), told(2, 4));
        assert_ne!(told(1, 4), told(1, 2));
    }
}
