//! Whether each rule of `mutants.toml` can still be switched off: what is looked for stands exactly once where the list
//! says. That it is missed then is for `scripts/mutants`.

#![allow(clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // It reads what is to be changed.

use sim::exhaust;
use sim::scenario::named;
use std::path::Path;
use toml::de::{DeTable, DeValue};

fn text<'v>(entry: &'v DeValue<'_>, key: &str) -> &'v str {
    let value = entry.get(key).and_then(|value| value.get_ref().as_str());
    value.unwrap_or_else(|| panic!("{key} is missing: {entry:?}"))
}

fn entries<'v, 't>(list: Option<&'v DeValue<'t>>) -> Vec<&'v DeValue<'t>> {
    let list = list.and_then(DeValue::as_array);
    list.into_iter().flatten().map(|entry| entry.get_ref()).collect()
}

#[test]
fn every_switch_is_where_the_list_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(here.join("mutants.toml")).expect("the list is there");
    let list = DeTable::parse(&list).expect("the list is well-formed");
    let mutants = entries(list.get_ref().get("mutant").map(|list| list.get_ref()));
    assert!(mutants.len() >= 40);
    for mutant in &mutants {
        let scenario = text(mutant, "scenario");
        let is_known = match mutant.get("exhaust") {
            Some(_) => exhaust::named(scenario).is_some(),
            None => named(scenario).is_some(),
        };
        assert!(is_known, "{scenario} is no scenario");
        if mutant.get("on").is_some() {
            let on = text(mutant, "on");
            assert!(mutants.iter().any(|other| text(other, "rule") == on), "{on} is no rule");
        }
        let more = entries(mutant.get("with").map(|list| list.get_ref()));
        for edit in more.into_iter().chain([*mutant]) {
            let file = here.join("..").join(text(edit, "file"));
            let source = std::fs::read_to_string(&file).expect("the file is there");
            let times = source.matches(text(edit, "find")).count();
            assert_eq!(times, 1, "{} in {}", text(edit, "find"), text(edit, "file"));
        }
    }
}
