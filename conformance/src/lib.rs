//! The workspace's own inspector; nothing depends on it.
//!
//! It joins the normative statements of `spec/` with the tests that name them, and measures source files for the house
//! rules. [`Statements`] are the rows of the tables, a [`RustSource`] is one lexed file, a [`Mention`] is a statement named
//! in brackets, and [`Coverage`] says which statement is shown by which test and what is wrong. [`Evidence`] goes the other
//! way: rows of faults and needs that name their tests. How a test names a statement stands in `spec/README.md`.

#![allow(clippy::disallowed_methods)] // It reads files: that is its work.

mod coverage;
mod evidence;
mod files;
mod mention;
mod report;
mod rust_source;
mod statement;

pub use coverage::{Coverage, ReadError, Shown, Tests};
pub use evidence::{Evidence, KnownTests};
pub use files::{rust_files, workspace_root};
pub use mention::{Mention, mentions};
pub use report::report;
pub use rust_source::{Item, ItemKind, LexFailed, Note, NoteKind, RustSource};
pub use statement::{Exemption, Layer, Statement, StatementId, Statements, TableError, Version};

/// The layers of which every statement must be shown by a test.
///
/// A layer is added here once its tests exist; from then on a statement without a test fails `cargo test`.
pub const ENFORCED: &[Layer] = &[Layer::Packet, Layer::Client, Layer::Broker];

/// The report's place, from the workspace root.
pub const REPORT: &str = "docs/conformance.md";
