//! The scanner finds what counts and nothing else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::collections::BTreeMap;

use conformance::{
    Coverage, Exemption, ItemKind, Layer, Mention, RustSource, Statement, StatementId, Statements, Tests,
    Version, mentions, report,
};

fn id(number: &str, version: Version) -> StatementId {
    StatementId { version, number: number.to_owned() }
}

fn row(number: &str, version: Version, layers: &[Layer]) -> Statement {
    Statement { id: id(number, version), paraphrase: "a rule".to_owned(), layers: layers.to_vec() }
}

/// MQTT-1.1.1-1 in both standards, the others in one.
fn statements(exemptions: Vec<Exemption>) -> Statements {
    let rows = vec![
        row("MQTT-1.1.1-1", Version::V3_1_1, &[Layer::Packet]),
        row("MQTT-1.1.1-2", Version::V3_1_1, &[Layer::Packet, Layer::Broker]),
        row("MQTT-1.1.1-1", Version::V5, &[Layer::Packet]),
        row("U5-2.2.2-1", Version::V5, &[Layer::Packet]),
    ];
    Statements::new(rows, exemptions)
}

fn packet_tests(files: &[(&str, bool, &str)]) -> Vec<(Layer, Tests)> {
    let lexed = files
        .iter()
        .map(|(name, is_test, text)| ((*name).to_owned(), RustSource::lex(text, *is_test).unwrap()));
    vec![(Layer::Packet, Tests { files: lexed.collect::<BTreeMap<_, _>>() })]
}

/// The statements that are missing and the tests that show the others, for one file under `tests/`.
fn shown_in(text: &str) -> Vec<String> {
    shown(&[("t.rs", true, text)])
}

fn shown(files: &[(&str, bool, &str)]) -> Vec<String> {
    let statements = statements(Vec::new());
    let tests = packet_tests(files);
    let coverage = Coverage::of(&statements, &tests);
    let mut found = Vec::new();
    for row in statements.rows() {
        found
            .extend(coverage.tests(&row.id, Layer::Packet).map(|shown| format!("{} {}", row.id, shown.test)));
    }
    found.extend(coverage.faults().iter().cloned());
    found
}

#[test]
fn comment_above_or_inside_a_test_counts() {
    let text = "
        // [MQTT-1.1.1-1 @5.0]
        #[test]
        fn first() { assert!(true); }

        #[tokio::test(flavor = \"current_thread\")]
        async fn second() {
            /* [MQTT-1.1.1-2] */
        }

        /// Shows [U5-2.2.2-1].
        #[test]
        fn third() {}
    ";
    assert_eq!(
        shown_in(text),
        ["[MQTT-1.1.1-2 @3.1.1] second", "[MQTT-1.1.1-1 @5.0] first", "[U5-2.2.2-1 @5.0] third"]
    );
}

#[test]
fn stray_comments_do_not_count() {
    let text = "
        //! [U5-2.2.2-1]
        // [U5-2.2.2-1]

        #[test]
        fn empty() {} // [U5-2.2.2-1]

        // [U5-2.2.2-1]
        fn helper_that_nobody_calls() {}

        #[test]
        #[ignore = \"slow\"]
        fn ignored() { /* [U5-2.2.2-1] */ }

        // [U5-2.2.2-1]
    ";
    assert_eq!(shown_in(text), [""; 0]);
}

#[test]
fn source_comments_do_not_count_even_when_a_test_calls_the_function() {
    let text = "
        /// Refuses, see [U5-2.2.2-1].
        fn decode() { /* [MQTT-1.1.1-1 @5.0] */ }
        #[cfg(test)]
        mod tests {
            const ROWS: &[&str] = &[\"[MQTT-1.1.1-1 @3.1.1]\"];
            #[test]
            fn decodes() { super::decode(); ROWS.len(); }
        }
    ";
    assert_eq!(shown(&[("src/lib.rs", false, text)]), ["[MQTT-1.1.1-1 @3.1.1] decodes"]);
}

#[test]
fn tests_inside_macros_count() {
    let text = "
        proptest! {
            #![proptest_config(config())]
            // [MQTT-1.1.1-1 @5.0]
            #[test]
            fn property(x in 0..3u8) { prop_assert!(x < 3); }
        }
    ";
    assert_eq!(shown_in(text), ["[MQTT-1.1.1-1 @5.0] property"]);
}

#[test]
fn table_rows_count_for_the_test_that_uses_the_table() {
    let table = "
        pub const USED: &[Row] = &[
            // [MQTT-1.1.1-1 @5.0]
            Row { name: \"[MQTT-1.1.1-1 @3.1.1] first\" },
        ];
        pub const UNUSED: &[Row] = &[Row { name: \"[U5-2.2.2-1]\" }];
    ";
    let test = "
        mod rows;
        fn check(rows: &[Row]) {}
        fn all() { check(rows::USED) }
        #[test]
        fn every_row() { all(); }
    ";
    assert_eq!(
        shown(&[("tests/rows.rs", true, table), ("tests/main.rs", true, test)]),
        ["[MQTT-1.1.1-1 @3.1.1] every_row", "[MQTT-1.1.1-1 @5.0] every_row"]
    );
}

#[test]
fn a_table_of_the_same_file_comes_first() {
    let other = "const ROWS: &str = \"[U5-2.2.2-1]\";";
    let here = "const ROWS: &str = \"[MQTT-1.1.1-2]\"; #[test] fn rows() { ROWS; }";
    assert_eq!(
        shown(&[("tests/a.rs", true, other), ("tests/b.rs", true, here)]),
        ["[MQTT-1.1.1-2 @3.1.1] rows"]
    );
}

#[test]
fn a_wrong_mention_in_a_test_is_a_fault() {
    let text = "
        #[test]
        fn wrong() {
            // [MQTT-1.1.1-1] [MQTT-9.9.9-9] [U5-2.2.2-1 @3.1.1] [not a statement] [MQTT-x]
        }
    ";
    assert_eq!(
        shown_in(text),
        [
            "t.rs: wrong: [MQTT-1.1.1-1] stands in both standards, say @3.1.1 or @5.0 after the number",
            "t.rs: wrong: [MQTT-9.9.9-9] is not in the tables",
            "t.rs: wrong: [U5-2.2.2-1 @3.1.1] is not in the tables",
        ]
    );
}

#[test]
fn an_expected_error_message_is_no_fault() {
    assert_eq!(shown_in("#[test] fn message() { \"broke [MQTT-1.1.1-1]\"; }"), [""; 0]);
}

#[test]
fn mentions_resolve_their_version() {
    let statements = statements(Vec::new());
    assert_eq!(
        mentions("[MQTT-1.1.1-2] and [MQTT-1.1.1-1 @3.1.1], [MQTT-1.1.1-1]", &statements),
        [
            Mention::Of(id("MQTT-1.1.1-2", Version::V3_1_1)),
            Mention::Of(id("MQTT-1.1.1-1", Version::V3_1_1)),
            Mention::Ambiguous("MQTT-1.1.1-1".to_owned()),
        ]
    );
}

#[test]
fn missing_statements_are_those_without_test_and_exemption() {
    let exempt = |number: &str, version| Exemption {
        id: id(number, version),
        layer: Layer::Packet,
        reason: "needs a wire".to_owned(),
    };
    let statements = statements(vec![
        exempt("MQTT-1.1.1-1", Version::V3_1_1),
        exempt("MQTT-1.1.1-2", Version::V3_1_1),
        exempt("MQTT-7.7.7-7", Version::V5),
    ]);
    let tests = packet_tests(&[("t.rs", true, "#[test] fn shows() { /* [MQTT-1.1.1-2] */ }")]);
    let coverage = Coverage::of(&statements, &tests);
    let missing: Vec<String> = coverage.missing(Layer::Packet).iter().map(|row| row.id.to_string()).collect();
    assert_eq!(missing, ["[MQTT-1.1.1-1 @5.0]", "[U5-2.2.2-1 @5.0]"]);
    assert_eq!(coverage.missing(Layer::Broker).len(), 1);
    assert_eq!(
        coverage.faults().iter().collect::<Vec<_>>(),
        [
            "spec/not-testable.tsv: [MQTT-1.1.1-2 @3.1.1] packet has a test, so it can be tested",
            "spec/not-testable.tsv: [MQTT-7.7.7-7 @5.0] packet is no statement of this layer",
        ]
    );
    let page = report(&statements, &coverage);
    assert!(
        page.contains("| packet | 4 | 1 | 1 | 2 |") || page.contains("| packet | 4 | 0 | 2 | 2 |"),
        "{page}"
    );
    assert!(page.contains("| MQTT-1.1.1-1 | packet | not testable: needs a wire |"), "{page}");
    assert!(page.contains("| U5-2.2.2-1 | packet | **open** |"), "{page}");
}

#[test]
fn lengths_and_kinds_are_measured() {
    let text = "
        /// Documented.
        #[must_use]
        pub const fn two_lines() -> u8 {
            1 }

        static TABLE: [u8; 2] = [1,
            2];
        trait T { fn declared(&self); }
        fn outer() {
            fn inner() {}
            let s = \"} not a brace {\"; // } nor this {
        }
        #[cfg(test)]
        mod tests {
            #[test]
            fn a_test() {}
        }
    ";
    let source = RustSource::lex(text, false).unwrap();
    let found: Vec<_> = source.items.iter().map(|item| (item.name.as_str(), item.kind, item.lines)).collect();
    assert_eq!(
        found,
        [
            ("two_lines", ItemKind::Function, 2),
            ("TABLE", ItemKind::Table, 2),
            ("inner", ItemKind::Function, 1),
            ("outer", ItemKind::Function, 4),
            ("a_test", ItemKind::Test, 1),
        ]
    );
    assert_eq!(source.test_modules, [4]);
    assert_eq!(source.items[0].first_line, 4);
}

#[test]
fn a_flat_match_has_short_arms_and_little_around_it() {
    let function = |arm: &str, after: &str| {
        let text = format!("fn f(x: u8) -> u8 {{ match x {{\n{}_ => 0,\n }}\n{after} }}", arm.repeat(20));
        RustSource::lex(&text, false).unwrap().items[0].is_flat_match
    };
    assert!(function("1 => 2,\n", ""));
    assert!(function("1 => { 2;\n 3 }\n", ""));
    assert!(!function("1 => { 2;\n\n\n\n\n\n\n 3 }\n", ""));
    assert!(!function("1 => 2,\n", &"\n".repeat(11)));
}
