//! The tables of `spec/`: normative statements, and those that no test can show.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// The standard that a statement belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// MQTT 3.1.1.
    V3_1_1,
    /// MQTT 5.0.
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "3.1.1" => Ok(Self::V3_1_1),
            "5.0" => Ok(Self::V5),
            _ => Err(()),
        }
    }
}

/// The layer whose tests must show a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Bytes and packets: `mqtt-packet`.
    Packet,
    /// The client: `mqtt-client` and `mqtt-client-async`.
    Client,
    /// The broker: `mqtt-broker-lite`.
    Broker,
}

impl Layer {
    /// All layers, lowest first.
    pub const ALL: [Self; 3] = [Self::Packet, Self::Client, Self::Broker];

    /// The directories, from the workspace root, of the crates whose tests count for this layer.
    #[must_use]
    pub const fn crates(self) -> &'static [&'static str] {
        match self {
            Self::Packet => &["mqtt-packet"],
            Self::Client => &["mqtt-client", "mqtt-client-async"],
            Self::Broker => &["mqtt-broker-lite"],
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packet => "packet",
            Self::Client => "client",
            Self::Broker => "broker",
        })
    }
}

impl FromStr for Layer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|layer| layer.to_string() == text).ok_or(())
    }
}

/// A statement's number together with its standard: the number alone is not unique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementId {
    /// The standard; first, so that statements sort by it.
    pub version: Version,
    /// For example `MQTT-3.3.1-5` or `U5-2.2.2-1`.
    pub number: String,
}

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} @{}]", self.number, self.version)
    }
}

/// One row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its number and standard.
    pub id: StatementId,
    /// What it demands, in our words.
    pub paraphrase: String,
    /// Where tests must show it; never empty.
    pub layers: Vec<Layer>,
}

/// A statement that no test of a layer can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// The statement.
    pub id: StatementId,
    /// The layer that is exempt.
    pub layer: Layer,
    /// Why.
    pub reason: String,
}

/// A table that cannot be read.
#[derive(Debug, Error)]
pub enum TableError {
    /// The file cannot be opened.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// A row does not have the table's columns, or a cell has a value outside of its range.
    #[error("{0}:{1}: {2}")]
    Row(PathBuf, usize, &'static str),
}

/// All statements, in the order of the tables, and the exemptions.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    rows: Vec<Statement>,
    exemptions: Vec<Exemption>,
    by_number: BTreeMap<String, Vec<Version>>,
}

impl Statements {
    /// Puts rows and exemptions together.
    #[must_use]
    pub fn new(rows: Vec<Statement>, exemptions: Vec<Exemption>) -> Self {
        let mut by_number = BTreeMap::<String, Vec<Version>>::new();
        for row in &rows {
            by_number.entry(row.id.number.clone()).or_default().push(row.id.version);
        }
        Self { rows, exemptions, by_number }
    }

    /// Reads the four tables of the directory `spec`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or a malformed row.
    pub fn read(spec: &Path) -> Result<Self, TableError> {
        let mut rows = Vec::new();
        for (file, version) in [
            ("mqtt-3.1.1.tsv", Some(Version::V3_1_1)),
            ("mqtt-5.0.tsv", Some(Version::V5)),
            ("untagged.tsv", None),
        ] {
            rows.extend(table(&spec.join(file), |cells| statement(cells, version))?);
        }
        let exemptions = table(&spec.join("not-testable.tsv"), exemption)?;
        Ok(Self::new(rows, exemptions))
    }

    /// The statements, in the order of the tables.
    #[must_use]
    pub fn rows(&self) -> &[Statement] {
        &self.rows
    }

    /// The statements that no test can show.
    #[must_use]
    pub fn exemptions(&self) -> &[Exemption] {
        &self.exemptions
    }

    /// The standards that have a statement with this number, none if it does not exist.
    #[must_use]
    pub fn versions(&self, number: &str) -> &[Version] {
        self.by_number.get(number).map_or(&[], Vec::as_slice)
    }
}

pub(crate) fn table<T>(
    path: &Path,
    row: impl Fn(&[&str]) -> Result<T, &'static str>,
) -> Result<Vec<T>, TableError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| TableError::Unreadable(path.to_path_buf(), error))?;
    let lines = text.lines().enumerate().skip(1);
    lines
        .map(|(at, line)| {
            let cells: Vec<&str> = line.split('\t').collect();
            row(&cells).map_err(|fault| TableError::Row(path.to_path_buf(), at.saturating_add(1), fault))
        })
        .collect()
}

fn statement(cells: &[&str], version: Option<Version>) -> Result<Statement, &'static str> {
    let &[number, _, paraphrase, layers, _] = cells else {
        return Err("a row has five columns");
    };
    // Numbers of our own carry their standard.
    let version = match version {
        Some(version) => version,
        None if number.starts_with("U311-") => Version::V3_1_1,
        None if number.starts_with("U5-") => Version::V5,
        None => return Err("a number of our own starts with U311- or U5-"),
    };
    let layers: Result<Vec<Layer>, ()> = layers.split('+').map(str::parse).collect();
    Ok(Statement {
        id: StatementId { version, number: number.to_owned() },
        paraphrase: paraphrase.to_owned(),
        layers: layers.map_err(|()| "a layer is packet, client or broker")?,
    })
}

fn exemption(cells: &[&str]) -> Result<Exemption, &'static str> {
    let &[number, version, layer, reason] = cells else {
        return Err("a row has four columns");
    };
    if reason.trim().is_empty() {
        return Err("a statement without a test needs a reason");
    }
    Ok(Exemption {
        id: StatementId {
            version: version.parse().map_err(|()| "a version is 3.1.1 or 5.0")?,
            number: number.to_owned(),
        },
        layer: layer.parse().map_err(|()| "a layer is packet, client or broker")?,
        reason: reason.to_owned(),
    })
}
