//! The sequences of this directory, as they are read.

/// One sequence.
pub struct Sequence {
    pub name: String,
    pub steps: Vec<Step>,
    /// What mosquitto says otherwise.
    pub difference: Option<Difference>,
}

/// A client sends something, possibly nothing, and gets something.
pub struct Step {
    pub client: char,
    /// Whether it speaks 5.0.
    pub is_new: bool,
    pub sends: Vec<u8>,
    pub gets: Vec<u8>,
    pub closes: bool,
}

pub struct Difference {
    pub reason: String,
    /// The step at which it shows, and the answer in words.
    pub step: usize,
    pub words: String,
}

const FILES: [&str; 8] = [
    include_str!("connect.tsv"),
    include_str!("fixed_header.tsv"),
    include_str!("length.tsv"),
    include_str!("messages.tsv"),
    include_str!("properties.tsv"),
    include_str!("reason_codes.tsv"),
    include_str!("strings.tsv"),
    concat!(include_str!("subscribe_options.tsv"), include_str!("topics.tsv")),
];

pub fn all() -> Vec<Sequence> {
    FILES.iter().flat_map(|file| file.lines()).map(Sequence::parse).collect()
}

impl Sequence {
    fn parse(line: &str) -> Self {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap_or_else(|| panic!("a column is missing: {line}"));
        let (name, script, said) = (column(), column(), column());
        let words: Vec<_> = script.split(' ').collect();
        let difference = (said != "=").then(|| {
            let parts: Vec<_> = said.splitn(3, ": ").collect();
            let step: usize = parts[1].strip_prefix("step ").unwrap().parse().unwrap();
            Difference { reason: parts[0].to_owned(), step: step - 1, words: parts[2].to_owned() }
        });
        Self { name: name.to_owned(), steps: words.chunks(2).map(Step::parse).collect(), difference }
    }
}

impl Step {
    fn parse(pair: &[&str]) -> Self {
        let gets = &pair[1][3..];
        Self {
            client: pair[0].chars().next().unwrap(),
            is_new: &pair[0][1..3] == "5>",
            sends: bytes(&pair[0][3..]),
            gets: bytes(gets.trim_end_matches('!')),
            closes: gets.ends_with('!'),
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap();
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
