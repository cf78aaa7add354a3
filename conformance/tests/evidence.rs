//! What broke others and what users need is shown by tests that exist, or there is a reason why not.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use conformance::{Evidence, KnownTests, workspace_root};

fn tables() -> [PathBuf; 2] {
    ["faults.tsv", "needs.tsv"].map(|name| workspace_root().join("spec").join(name))
}

#[test]
fn every_test_that_is_named_exists() {
    let mut known = KnownTests::new(workspace_root());
    let mut missing = Vec::new();
    for table in tables() {
        for row in Evidence::read(&table).unwrap() {
            for test in row.tests.into_iter().filter(|test| !known.contains(test).unwrap()) {
                missing.push(format!("{}: {} names {test}", table.display(), row.id));
            }
        }
    }
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

#[test]
fn no_row_stands_twice() {
    for table in tables() {
        let rows = Evidence::read(&table).unwrap();
        let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
        assert_eq!(ids.len(), rows.len(), "{}", table.display());
        assert!(!rows.is_empty(), "{}", table.display());
    }
}

#[test]
fn a_row_has_tests_or_a_reason() {
    let row = |tests, remark| Evidence::row(&["id", "product", "words", tests, remark]);
    assert_eq!(row("a::b c::d", "").unwrap().tests, ["a::b", "c::d"]);
    assert!(row("", "it has none of that").unwrap().tests.is_empty());
    assert!(row(" ", " ").is_err());
    assert!(Evidence::row(&["id", "words", "a::b", ""]).is_err());
}

#[test]
fn a_test_is_one_in_its_file() {
    let mut known = KnownTests::new(workspace_root());
    let mut is_test = |name: &str| known.contains(name).unwrap();
    assert!(is_test("conformance/tests/evidence.rs::a_test_is_one_in_its_file"));
    assert!(!is_test("conformance/tests/evidence.rs::tables"));
    assert!(!is_test("conformance/tests/statements.rs::a_test_is_one_in_its_file"));
    assert!(!is_test("conformance/tests/nowhere.rs::a_test_is_one_in_its_file"));
    assert!(!is_test("a_test_is_one_in_its_file"));
}
