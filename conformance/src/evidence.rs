//! Tables of what broke others and of what users need, each row with the tests that show how it is here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::coverage::ReadError;
use crate::rust_source::{ItemKind, RustSource};
use crate::statement::{TableError, table};

/// A row of `spec/faults.tsv` or `spec/needs.tsv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What it is known by.
    pub id: String,
    /// What went wrong, or what is needed, in our words.
    pub words: String,
    /// The tests that show how it is here, as `FILE::TEST`.
    pub tests: Vec<String>,
    /// Where there are none: why. Where there are some, what they leave out, if anything.
    pub remark: String,
}

impl Evidence {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or a row that has neither tests nor a reason.
    pub fn read(path: &Path) -> Result<Vec<Self>, TableError> {
        table(path, Self::row)
    }

    /// One row, taken apart.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn row(cells: &[&str]) -> Result<Self, &'static str> {
        let &[id, _, words, tests, remark] = cells else {
            return Err("a row has five columns");
        };
        if [id, words].iter().any(|cell| cell.trim().is_empty()) {
            return Err("a row needs an id and words");
        }
        let tests: Vec<_> = tests.split_whitespace().map(str::to_owned).collect();
        if tests.is_empty() && remark.trim().is_empty() {
            return Err("a row without a test needs a reason");
        }
        Ok(Self { id: id.to_owned(), words: words.to_owned(), tests, remark: remark.to_owned() })
    }
}

/// The tests of a workspace, read file by file as they are asked for.
#[derive(Debug)]
pub struct KnownTests {
    root: PathBuf,
    files: BTreeMap<String, BTreeSet<String>>,
}

impl KnownTests {
    /// Of the workspace with this root.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, files: BTreeMap::new() }
    }

    /// Whether there is such a test, `FILE::TEST` with the file from the root.
    ///
    /// # Errors
    ///
    /// A file that is not Rust.
    pub fn contains(&mut self, name: &str) -> Result<bool, ReadError> {
        let Some((file, test)) = name.split_once("::") else {
            return Ok(false);
        };
        if !self.files.contains_key(file) {
            let tests = self.tests_of(file)?;
            self.files.insert(file.to_owned(), tests);
        }
        Ok(self.files.get(file).is_some_and(|tests| tests.contains(test)))
    }

    /// A file that does not exist has none.
    fn tests_of(&self, file: &str) -> Result<BTreeSet<String>, ReadError> {
        let path = self.root.join(file);
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(BTreeSet::new());
        };
        let source = RustSource::lex(&text, false).map_err(|error| ReadError::NotRust(path, error))?;
        let tests = source.items.into_iter().filter(|item| item.kind == ItemKind::Test);
        Ok(tests.map(|item| item.name).collect())
    }
}
