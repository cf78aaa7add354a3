//! Which test shows which statement, what is missing, and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::files::rust_files;
use crate::mention::{Mention, mentions};
use crate::rust_source::{Item, ItemKind, LexFailed, NoteKind, RustSource};
use crate::statement::{Layer, Statement, StatementId, Statements};

/// The Rust files of one crate that may hold tests.
#[derive(Clone, Debug, Default)]
pub struct Tests {
    /// Lexed files by their path from the workspace root.
    pub files: BTreeMap<String, RustSource>,
}

/// A crate whose tests cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A directory or file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// A file is not Rust.
    #[error("{0} {1}")]
    NotRust(PathBuf, LexFailed),
}

impl Tests {
    /// Reads `src/` and `tests/` of the crate in `directory`, a path from the workspace root.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or lexed.
    pub fn read(root: &Path, directory: &str) -> Result<Self, ReadError> {
        let mut files = BTreeMap::new();
        for part in ["src", "tests"] {
            let place = root.join(directory).join(part);
            let found = rust_files(&place).map_err(|error| ReadError::Unreadable(place, error))?;
            for path in found {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| ReadError::Unreadable(path.clone(), error))?;
                let source = RustSource::lex(&text, part == "tests")
                    .map_err(|error| ReadError::NotRust(path.clone(), error))?;
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                files.insert(name, source);
            }
        }
        Ok(Self { files })
    }

    /// The tables and functions of the test code, by name.
    fn by_name(&self) -> ByName<'_> {
        let mut by_name = ByName::new();
        for (file, source) in &self.files {
            for item in source.items.iter().filter(|item| item.in_test_code) {
                if matches!(item.kind, ItemKind::Table | ItemKind::Function) {
                    by_name.entry(&item.name).or_default().push((file, item));
                }
            }
        }
        by_name
    }
}

type ByName<'t> = BTreeMap<&'t str, Vec<(&'t str, &'t Item)>>;

/// The test code that `item` of `file` uses, itself included: tables and functions by name, of the same file if it has
/// one of that name.
fn used_by<'t>(by_name: &ByName<'t>, file: &'t str, item: &'t Item) -> Vec<(&'t str, &'t Item)> {
    let mut used = vec![(file, item)];
    let mut at = 0;
    while let Some(&(file, item)) = used.get(at) {
        for named in item.idents.iter().filter_map(|name| by_name.get(name.as_str())) {
            let stands_here = named.iter().any(|(place, _)| *place == file);
            for &(place, found) in named.iter().filter(|(place, _)| *place == file || !stands_here) {
                if !used.iter().any(|(_, known)| std::ptr::eq(*known, found)) {
                    used.push((place, found));
                }
            }
        }
        at = at.saturating_add(1);
    }
    used
}

/// A test that shows a statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    /// Its file, from the workspace root.
    pub file: String,
    /// The test function.
    pub test: String,
}

/// Statements joined with the tests that show them.
#[derive(Debug)]
pub struct Coverage<'s> {
    statements: &'s Statements,
    shown: BTreeMap<(Layer, StatementId), BTreeSet<Shown>>,
    faults: BTreeSet<String>,
}

impl<'s> Coverage<'s> {
    /// Reads the tests of every layer.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or lexed.
    pub fn read(root: &Path, statements: &'s Statements) -> Result<Self, ReadError> {
        let mut layers = Vec::new();
        for layer in Layer::ALL {
            for directory in layer.crates() {
                layers.push((layer, Tests::read(root, directory)?));
            }
        }
        Ok(Self::of(statements, &layers))
    }

    /// Joins the statements with the tests of each layer.
    #[must_use]
    pub fn of(statements: &'s Statements, tests: &[(Layer, Tests)]) -> Self {
        let mut coverage = Self { statements, shown: BTreeMap::new(), faults: BTreeSet::new() };
        for (layer, tests) in tests {
            let by_name = tests.by_name();
            for (file, source) in &tests.files {
                for test in source.items.iter().filter(|item| item.kind == ItemKind::Test) {
                    coverage.add(*layer, &by_name, file, test);
                }
            }
        }
        coverage.check_exemptions();
        coverage
    }

    fn add<'t>(&mut self, layer: Layer, by_name: &ByName<'t>, file: &'t str, test: &'t Item) {
        for (place, item) in used_by(by_name, file, test) {
            for note in &item.notes {
                for mention in mentions(&note.text, self.statements) {
                    let (fault, inside) = match mention {
                        Mention::Of(id) => {
                            let shown = Shown { file: file.to_owned(), test: test.name.clone() };
                            self.shown.entry((layer, id)).or_default().insert(shown);
                            continue;
                        }
                        // A string may be an error message, which names a statement of the version at hand.
                        _ if note.kind == NoteKind::String => continue,
                        Mention::Ambiguous(inside) => {
                            ("stands in both standards, say @3.1.1 or @5.0 after the number", inside)
                        }
                        Mention::Unknown(inside) => ("is not in the tables", inside),
                    };
                    self.faults.insert(format!("{place}: {}: [{inside}] {fault}", item.name));
                }
            }
        }
    }

    fn check_exemptions(&mut self) {
        for exemption in self.statements.exemptions() {
            let (id, layer) = (&exemption.id, exemption.layer);
            let is_known =
                self.statements.rows().iter().any(|row| row.id == *id && row.layers.contains(&layer));
            let fault = if !is_known {
                "is no statement of this layer"
            } else if self.tests(id, layer).next().is_some() {
                "has a test, so it can be tested"
            } else {
                continue;
            };
            self.faults.insert(format!("spec/not-testable.tsv: {id} {layer} {fault}"));
        }
    }

    /// The tests of a layer that show a statement.
    pub fn tests(&self, id: &StatementId, layer: Layer) -> impl Iterator<Item = &Shown> {
        self.shown.get(&(layer, id.clone())).into_iter().flatten()
    }

    /// Why no test of a layer can show a statement.
    #[must_use]
    pub fn exempt(&self, id: &StatementId, layer: Layer) -> Option<&'s str> {
        let mut exemptions = self.statements.exemptions().iter();
        exemptions.find(|known| known.id == *id && known.layer == layer).map(|known| known.reason.as_str())
    }

    /// The statements of a layer that neither a test shows nor an exemption excuses.
    #[must_use]
    pub fn missing(&self, layer: Layer) -> Vec<&'s Statement> {
        let of_layer = self.statements.rows().iter().filter(|row| row.layers.contains(&layer));
        of_layer
            .filter(|row| {
                self.tests(&row.id, layer).next().is_none() && self.exempt(&row.id, layer).is_none()
            })
            .collect()
    }

    /// What is wrong: mentions of statements that do not exist or that are ambiguous, exemptions that are not needed.
    #[must_use]
    pub fn faults(&self) -> &BTreeSet<String> {
        &self.faults
    }
}
