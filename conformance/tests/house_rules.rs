//! Files and functions stay short enough to be read in one go.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use conformance::{ItemKind, RustSource, rust_files, workspace_root};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 60;
/// For a function that is one `match` with short arms: a table in the form of code.
const FLAT_MATCH_LINES: usize = 100;
/// Longer tests live in `tests/`.
const TEST_MODULE_LINES: usize = 100;

/// What may be longer, as `file` or `file: function` and the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// What breaks a rule, as `file` or `file: function`, and how.
fn breaches() -> Vec<(String, String)> {
    let root = workspace_root();
    let mut breaches = Vec::new();
    for path in rust_files(&root).unwrap() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let source = RustSource::lex(&text, false).unwrap();
        let lines = text.lines().count();
        if lines > FILE_LINES {
            breaches.push((name.clone(), format!("{lines} lines, at most {FILE_LINES}")));
        }
        for item in source.items.iter().filter(|item| item.kind != ItemKind::Table) {
            let limit = if item.is_flat_match { FLAT_MATCH_LINES } else { FUNCTION_LINES };
            if item.lines > limit {
                breaches.push((
                    format!("{name}: {}", item.name),
                    format!("{} lines, at most {limit}", item.lines),
                ));
            }
        }
        for lines in source.test_modules.iter().filter(|lines| **lines > TEST_MODULE_LINES) {
            breaches
                .push((name.clone(), format!("{lines} lines of tests, at most {TEST_MODULE_LINES} in src")));
        }
    }
    breaches
}

#[test]
fn files_and_functions_are_short() {
    let excused = |place: &str| EXCEPTIONS.iter().any(|(excused, _)| *excused == place);
    let found: Vec<String> = breaches()
        .into_iter()
        .filter(|(place, _)| !excused(place))
        .map(|(place, fault)| format!("{place}: {fault}"))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn exceptions_are_needed_and_explained() {
    let breaches = breaches();
    for (place, reason) in EXCEPTIONS {
        assert!(!reason.trim().is_empty(), "{place} needs a reason");
        assert!(
            breaches.iter().any(|(breach, _)| breach == place),
            "{place} keeps the rules, take it off the list"
        );
    }
}
