//! Findings as a table for people, or as JSON.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{Finding, Site};
use crate::failure::Outcome;

pub(super) fn print(site: &Site, findings: &[Finding], as_json: bool) -> Outcome {
    let text = if as_json { as_object(site, findings) } else { as_table(site, findings) };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// One object for each heading; what is about a statement is under its identifier.
fn as_object(site: &Site, findings: &[Finding]) -> String {
    let mut groups = Map::new();
    for finding in findings {
        let mut row = json!({"name": finding.name, "value": finding.value});
        if let (Some(row), Some(statement)) = (row.as_object_mut(), finding.statement) {
            row.insert("statement".to_owned(), statement.into());
        }
        if let (Some(row), false) = (row.as_object_mut(), finding.words.is_empty()) {
            row.insert("words".to_owned(), finding.words.clone().into());
        }
        let rows = groups.entry(finding.group).or_insert_with(|| Value::Array(Vec::new()));
        if let Some(rows) = rows.as_array_mut() {
            rows.push(row);
        }
    }
    format!("{:#}\n", json!({"server": site.url, "findings": groups}))
}

fn as_table(site: &Site, findings: &[Finding]) -> String {
    let mut text = format!("{}\n", site.url);
    let (mut group, mut width) = ("", 0);
    for finding in findings {
        if finding.group != group {
            group = finding.group;
            let names = findings.iter().filter(|finding| finding.group == group).map(full_name);
            width = names.map(|name| name.chars().count()).max().unwrap_or(0);
            text.push_str(&format!("\n{group}{}\n", summary(group, findings)));
        }
        let name = full_name(finding);
        let value = match (&finding.value, finding.statement) {
            (Value::Bool(true), Some(_)) => "ok".to_owned(),
            (Value::Bool(false), Some(_)) => "BROKEN".to_owned(),
            (Value::Bool(true), None) => "yes".to_owned(),
            (Value::Bool(false), None) => "no".to_owned(),
            (Value::String(text), _) => text.clone(),
            (other, _) => other.to_string(),
        };
        let line = format!("  {name:<width$}  {value:<7} {}", finding.words);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The name, behind the statement that it is about.
fn full_name(finding: &Finding) -> String {
    match finding.statement {
        Some(statement) => format!("{statement:<15} {}", finding.name),
        None => finding.name.clone(),
    }
}

/// How many of a heading's statements hold.
fn summary(group: &str, findings: &[Finding]) -> String {
    let statements =
        || findings.iter().filter(|finding| finding.group == group && finding.statement.is_some());
    let all = statements().count();
    if all == 0 {
        return String::new();
    }
    let held = statements().filter(|finding| finding.value == Value::Bool(true)).count();
    format!(": {held} of {all} statements hold")
}
