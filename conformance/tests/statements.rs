//! Every statement of an enforced layer has a test, and the report is fresh.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use conformance::{Coverage, ENFORCED, Layer, REPORT, Statements, Version, report, workspace_root};

fn statements() -> Statements {
    Statements::read(&workspace_root().join("spec")).unwrap()
}

#[test]
fn the_tables_are_whole() {
    let statements = statements();
    let count = |prefix: &str, version| {
        let rows = statements.rows().iter();
        rows.filter(|row| row.id.number.starts_with(prefix) && row.id.version == version).count()
    };
    assert_eq!([count("MQTT-", Version::V3_1_1), count("MQTT-", Version::V5)], [141, 251]);
    assert_eq!([count("U311-", Version::V3_1_1), count("U5-", Version::V5)], [16, 50]);
    let mut ids: Vec<_> = statements.rows().iter().map(|row| &row.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), statements.rows().len(), "a number stands twice");
}

#[test]
fn every_statement_of_an_enforced_layer_is_shown_by_a_test() {
    let statements = statements();
    let coverage = Coverage::read(&workspace_root(), &statements).unwrap();
    let missing: Vec<String> = ENFORCED
        .iter()
        .flat_map(|layer| coverage.missing(*layer).into_iter().map(move |row| (layer, row)))
        .map(|(layer, row)| format!("{layer} {}: {}", row.id, row.paraphrase))
        .collect();
    assert!(missing.is_empty(), "{} statements without a test:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn tests_name_statements_that_exist() {
    let statements = statements();
    let coverage = Coverage::read(&workspace_root(), &statements).unwrap();
    let faults: Vec<_> = coverage.faults().iter().cloned().collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_layer_has_statements() {
    for layer in Layer::ALL {
        assert!(statements().rows().iter().any(|row| row.layers.contains(&layer)), "{layer}");
    }
}

#[test]
fn the_report_is_fresh() {
    let root = workspace_root();
    let statements = statements();
    let coverage = Coverage::read(&root, &statements).unwrap();
    let written = std::fs::read_to_string(root.join(REPORT)).unwrap_or_default();
    assert!(written == report(&statements, &coverage), "{REPORT} is stale: cargo run -p conformance");
}
