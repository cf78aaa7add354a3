//! What tells one state of a small world from others: what the parties say about themselves in `Debug`, less what makes
//! no difference. Counts that only have to differ are replaced by their ranks, and what nobody looks at any more is left
//! out.

/// Where the batch with a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Batch {
    /// It is safe.
    Safe = b'-',
    /// It is being written.
    Writing = b'W',
    /// It waits.
    Pending = b'P',
}

/// What is done with a part of the text.
#[derive(Clone, Copy)]
enum Treatment {
    /// The number behind it is left out: a count that only goes on; or where in its stream a client is, which has sent
    /// everything that it had to send; or where it looks first. No receipt of an earlier connection is ever given back,
    /// so its number is no difference either.
    Mask,
    /// The number behind it is replaced by its rank among those of this kind.
    Rank(usize),
    /// The number behind it is that of a cause.
    Cause,
    /// Everything is left out up to this: the bytes of packets that were sent, deadlines of which none comes because no
    /// time passes, and who waits for which cause, which is said by what is held.
    Skip(&'static str),
    /// Pages of counts: those that are 0 are left out.
    Counts,
    /// A ring of received messages: those in use.
    Inbox,
    /// A ring of requests: those in use. Whether the bytes of one say that it is a repeat follows from its flags.
    Requests,
}

/// What stands in front of what is treated, by its first byte.
const TREATED: [(&str, Treatment); 21] = [
    ("last_cause: ", Treatment::Mask),
    ("last_message: ", Treatment::Mask),
    ("last_sequence: ", Treatment::Mask),
    ("last_received: ", Treatment::Mask),
    ("queued: ", Treatment::Mask),
    ("written: ", Treatment::Mask),
    (", at: ", Treatment::Mask),
    ("hint: ", Treatment::Mask),
    ("connection: ", Treatment::Mask),
    ("ConnId(", Treatment::Rank(0)),
    ("MessageNumber(", Treatment::Rank(1)),
    ("sequence: ", Treatment::Rank(2)),
    ("received: Some(", Treatment::Rank(3)),
    ("received: ", Treatment::Rank(3)),
    (CAUSE, Treatment::Cause),
    ("buffer: [", Treatment::Skip("]")),
    ("timers: Timers {", Treatment::Skip("journal: ")),
    ("unsynced: {", Treatment::Skip("references: ")),
    ("References({", Treatment::Counts),
    ("Inbox { slots: Ring { slots: [", Treatment::Inbox),
    ("InFlight { slots: Ring { slots: [", Treatment::Requests),
];

/// Where the number of a cause stands.
const CAUSE: &str = "Cause { shard: ShardId(0), number: ";

/// The identity of what this text says; `batch` knows where a cause is.
pub(super) fn identity(text: &str, batch: impl Fn(u64) -> Batch) -> u128 {
    let mut essence = Essence::new(text.len(), &batch);
    essence.take(text);
    essence.hash()
}

/// What is left of a text.
struct Essence<'b> {
    batch: &'b dyn Fn(u64) -> Batch,
    kept: Vec<u8>,
    /// Numbers that only have to differ, by kind, where they stand.
    ranked: [Vec<u64>; 4],
    /// Which entries of [`TREATED`] have a byte as their first, and as their second, bit by bit.
    begin: [[u32; 128]; 2],
}

impl<'b> Essence<'b> {
    fn new(room: usize, batch: &'b dyn Fn(u64) -> Batch) -> Self {
        let mut begin = [[0; 128]; 2];
        for (index, (front, _)) in TREATED.iter().enumerate() {
            for (place, byte) in begin.iter_mut().zip(front.bytes()) {
                place[usize::from(byte)] |= 1 << index;
            }
        }
        Self { batch, kept: Vec::with_capacity(room), ranked: Default::default(), begin }
    }

    fn take(&mut self, mut text: &str) {
        let mut at = 0;
        while let Some([one, other]) = text.as_bytes().get(at..at + 2) {
            let Some((front, treatment)) = self.treated(*one, *other, &text.as_bytes()[at..]) else {
                at += 1;
                continue;
            };
            self.kept.extend_from_slice(&text.as_bytes()[..at]);
            text = self.treat(treatment, &text[at + front.len()..]);
            at = 0;
        }
        self.kept.extend_from_slice(text.as_bytes());
    }

    fn treated(&self, one: u8, other: u8, text: &[u8]) -> Option<(&'static str, Treatment)> {
        let mut candidates = self.begin[0].get(usize::from(one))? & self.begin[1].get(usize::from(other))?;
        while candidates != 0 {
            let candidate = TREATED[candidates.trailing_zeros() as usize];
            if text.starts_with(candidate.0.as_bytes()) {
                return Some(candidate);
            }
            candidates &= candidates - 1;
        }
        None
    }

    /// Takes what is treated; what is behind it.
    fn treat<'t>(&mut self, treatment: Treatment, text: &'t str) -> &'t str {
        match treatment {
            Treatment::Mask => number(text).1,
            Treatment::Rank(kind) => {
                let (number, rest) = number(text);
                self.ranked[kind].push(number);
                self.kept.push(b'#');
                rest
            }
            Treatment::Cause => self.causes(text),
            Treatment::Skip(end) => text.split_once(end).map_or("", |(_, rest)| rest),
            Treatment::Counts => {
                let (counts, rest) = text.split_once("})").unwrap_or((text, ""));
                self.kept.extend_from_slice(references(counts).as_bytes());
                rest
            }
            Treatment::Inbox => {
                let (slots, rest) = ring(text, "ReceivedSlot");
                slots.into_iter().for_each(|slot| self.take(slot));
                rest
            }
            Treatment::Requests => {
                let (slots, rest) = ring(text, "SendSlot");
                slots.into_iter().for_each(|slot| self.take(slot));
                rest.split_once("pending: ").map_or("", |(_, rest)| rest)
            }
        }
    }

    /// The batch of each cause in its place; those that are safe are one, and so are those of a set that are together.
    fn causes<'t>(&mut self, text: &'t str) -> &'t str {
        let (mut cause, mut rest) = number(text);
        let mut last = None;
        loop {
            let batch = (self.batch)(cause);
            if batch == Batch::Safe || last != Some(batch) {
                self.kept.push(batch as u8);
            }
            last = Some(batch);
            let next = rest.strip_prefix(" }, ").and_then(|rest| rest.strip_prefix(CAUSE));
            let Some(next) = next else {
                return rest;
            };
            (cause, rest) = number(next);
        }
    }

    fn hash(mut self) -> u128 {
        for numbers in &self.ranked {
            // Nothing stays nothing.
            let mut sorted = numbers.clone();
            sorted.push(0);
            sorted.sort_unstable();
            sorted.dedup();
            let rank = |number: &u64| sorted.binary_search(number).unwrap_or(0) as u8;
            self.kept.extend(numbers.iter().map(rank));
            self.kept.push(b'#');
        }
        hash(&self.kept)
    }
}

/// 128 bits of some bytes, in two lanes.
fn hash(bytes: &[u8]) -> u128 {
    const FACTORS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F];
    let mut lanes = FACTORS;
    for word in bytes.chunks(8) {
        let mut whole = [0; 8];
        whole[..word.len()].copy_from_slice(word);
        for (lane, factor) in lanes.iter_mut().zip(FACTORS) {
            let product = u128::from(*lane ^ u64::from_le_bytes(whole)) * u128::from(factor);
            *lane = (product >> 64) as u64 ^ product as u64 ^ lane.rotate_left(29);
        }
    }
    u128::from(lanes[0]) << 64 | u128::from(lanes[1] ^ bytes.len() as u64)
}

/// Of pages of counts, those that are not 0.
fn references(pages: &str) -> String {
    let counts =
        pages.split('[').skip(1).flat_map(|page| page.split(']').next().unwrap_or_default().split(", "));
    counts.filter(|count| *count != "0").collect::<Vec<_>>().join(" ")
}

/// The slots of a ring that are in use, the oldest first, and what is behind it.
fn ring<'t>(text: &'t str, name: &str) -> (Vec<&'t str>, &'t str) {
    let (slots, behind) = text.split_once("], front: ").expect("a ring says where it begins");
    let (front, behind) = number(behind);
    let (len, rest) = number(behind.strip_prefix(", len: ").expect("a ring says how long it is"));
    let slots: Vec<_> = slots.split(name).skip(1).map(|slot| slot.trim_end_matches(", ")).collect();
    let used = (front..front + len).map(|at| slots[at as usize % slots.len()]);
    (used.collect(), rest)
}

/// The number at the front of a text, and what is behind it.
fn number(text: &str) -> (u64, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (text[..digits].parse().unwrap_or(0), &text[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_client::{Engine, Settings, Storage, Version};

    /// Whether two texts are one.
    fn is_one(one: &str, other: &str) -> bool {
        let batch = |number| if number == 4 { Batch::Writing } else { Batch::Safe };
        identity(one, batch) == identity(other, batch)
    }

    #[test]
    fn numbers_that_only_have_to_differ_are_ranks() {
        assert!(is_one("a ConnId(7), ConnId(3); ConnId(7)", "a ConnId(2), ConnId(1); ConnId(2)"));
        assert!(!is_one("a ConnId(7), ConnId(3); ConnId(7)", "a ConnId(7), ConnId(3); ConnId(3)"));
        assert!(!is_one("ConnId(7), ConnId(3)", "ConnId(3), ConnId(7)"));
        assert!(is_one("last_cause: 12, more", "last_cause: 1, more"));
        assert!(!is_one("last: 12, more", "last: 1, more"));
    }

    #[test]
    fn what_nobody_looks_at_is_no_difference() {
        let text = |buffer: &str, second: u8, len: u8| {
            format!(
                "Outbox {{ buffer: [{buffer}], sent: 0 }} Inbox {{ slots: Ring {{ slots: [ReceivedSlot {{ id: 1 }}, \
                 ReceivedSlot {{ id: {second} }}], front: 0, len: {len} }} }}"
            )
        };
        assert!(is_one(&text("1, 2", 2, 1), &text("3", 3, 1)));
        assert!(!is_one(&text("1, 2", 2, 2), &text("1, 2", 3, 2)));
        let text = |first: u8, second: u8, front: u8, len: u8| {
            format!(
                "InFlight {{ slots: Ring {{ slots: [SendSlot {{ id: {first} }}, SendSlot {{ id: {second} }}], \
                 front: {front}, len: {len} }}, bytes: [{first}, 2], tail: 3, pending: 0 }}"
            )
        };
        assert!(is_one(&text(1, 2, 1, 1), &text(3, 2, 1, 1)));
        assert!(!is_one(&text(1, 2, 1, 1), &text(1, 3, 1, 1)));
        assert!(is_one(&text(1, 2, 0, 2), &text(2, 1, 1, 2)), "the same from another place on");
        assert!(is_one(
            "references: References({0: [0, 2, 1], 3: [1, 0]}) }",
            "references: References({5: [2, 1, 1]}) }"
        ));
    }

    /// What is treated must be what the engine says, else it is not treated and there are far more states than there need be.
    #[test]
    fn an_engine_says_what_is_treated() {
        let mut storage = Storage::<4, 512, 128>::new();
        let text = format!("{:?}", Engine::new(storage.lend(), Settings::new(Version::V3_1_1)));
        for front in ["buffer: [", "Inbox { slots: Ring { slots: [", "InFlight { slots: Ring { slots: ["] {
            assert!(text.contains(front), "{front}");
        }
    }

    #[test]
    fn causes_are_where_their_batches_are() {
        let cause = |number: u64| format!("{CAUSE}{number} }}");
        let both = |one, other| format!("{} {}", cause(one), cause(other));
        assert!(is_one(&both(1, 4), &both(2, 4)));
        assert!(!is_one(&both(1, 4), &both(1, 2)));
        assert!(is_one(&format!("{}, {}", cause(4), cause(4)), &cause(4)));
    }
}
