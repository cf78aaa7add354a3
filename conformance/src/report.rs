//! The page that says which tests show which statement.

use std::fmt::Write as _;

use crate::coverage::Coverage;
use crate::statement::{Layer, Statement, Statements, Version};

const HEAD: &str = "# Conformance

Which test shows which normative statement. The statements stand in [spec](../spec/README.md). This page is written by
`cargo run -p conformance`; a statement without a test is marked **open**.

| layer | statements | shown by a test | not testable | open |
|---|---|---|---|---|
";

/// The report in Markdown.
#[must_use]
pub fn report(statements: &Statements, coverage: &Coverage<'_>) -> String {
    let mut page = String::from(HEAD);
    for layer in Layer::ALL {
        let rows: Vec<&Statement> =
            statements.rows().iter().filter(|row| row.layers.contains(&layer)).collect();
        let open = coverage.missing(layer).len();
        let exempt = rows.iter().filter(|row| coverage.exempt(&row.id, layer).is_some()).count();
        let shown = rows.len().saturating_sub(open).saturating_sub(exempt);
        line(&mut page, format_args!("| {layer} | {} | {shown} | {exempt} | {open} |", rows.len()));
    }
    for version in [Version::V3_1_1, Version::V5] {
        line(&mut page, format_args!("\n## MQTT {version}\n\n| statement | layer | tests |\n|---|---|---|"));
        for row in statements.rows().iter().filter(|row| row.id.version == version) {
            for layer in &row.layers {
                let tests = cell(coverage, row, *layer);
                line(&mut page, format_args!("| {} | {layer} | {tests} |", row.id.number));
            }
        }
    }
    page
}

fn cell(coverage: &Coverage<'_>, row: &Statement, layer: Layer) -> String {
    let tests = coverage.tests(&row.id, layer).map(|shown| format!("`{}` {}", shown.file, shown.test));
    let tests = tests.collect::<Vec<_>>().join("<br>");
    match coverage.exempt(&row.id, layer) {
        Some(reason) => format!("not testable: {reason}"),
        None if tests.is_empty() => "**open**".to_owned(),
        None => tests,
    }
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` does not fail.
    let _ = writeln!(page, "{text}");
}
