//! Every numbered requirement of the protocol has a test that names it, and no
//! test names one that is not there.

use crate::{Finding, Tree};
use std::collections::BTreeMap;

/// Where the requirements stand.
pub const PROTOCOL: &str = "docs/protocol.md";

/// Checks both directions.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(protocol) = tree.get(PROTOCOL) else {
        return vec![Finding::new(PROTOCOL, 0, "requirements", "there is no protocol")];
    };
    let mut stated: BTreeMap<String, usize> = BTreeMap::new();
    for (index, line) in protocol.lines().enumerate() {
        for id in stated_in(line) {
            stated.entry(id).or_insert(index.saturating_add(1));
        }
    }
    let mut findings = Vec::new();
    let mut tested: BTreeMap<String, usize> = BTreeMap::new();
    for (path, text) in tree.with_extension("rs").chain(tree.with_extension("sol")) {
        for (index, line) in text.lines().enumerate() {
            for id in named_by(line) {
                if !stated.contains_key(&id) {
                    let message = format!("a test names {id}, which {PROTOCOL} does not state");
                    findings.push(Finding::new(path, index.saturating_add(1), "requirements", message));
                }
                let count = tested.entry(id).or_insert(0);
                *count = count.saturating_add(1);
            }
        }
    }
    for (id, line) in &stated {
        if !tested.contains_key(id) {
            findings.push(Finding::new(PROTOCOL, *line, "requirements", format!("no test names {id}")));
        }
    }
    findings
}

/// Reads `nn` and an optional letter; answers the id and whether it ended there.
fn id_at(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let (tens, ones) = (chars.next()?, chars.next()?);
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return None;
    }
    let mut after = chars.clone();
    let ends = |next: Option<char>| !next.is_some_and(|c| c.is_ascii_alphanumeric());
    match (chars.next(), after.nth(1)) {
        (next, _) if ends(next) => Some(format!("SYM-{tens}{ones}")),
        (Some(letter), next) if letter.is_ascii_lowercase() && ends(next) => Some(format!("SYM-{tens}{ones}{letter}")),
        _ => None,
    }
}

/// The requirements that a line of prose states or refers to.
fn stated_in(line: &str) -> Vec<String> {
    line.match_indices("SYM-").filter_map(|(at, sign)| id_at(line.get(at.saturating_add(sign.len())..)?)).collect()
}

/// The requirements in the name of the function that a line of code declares:
/// `sym_08a` and `SYM_08a` both name SYM-08a.
fn named_by(line: &str) -> Vec<String> {
    let code = line.trim_start();
    if code.starts_with("//") || code.starts_with('*') {
        return Vec::new();
    }
    let mut words = code
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .skip_while(|word| *word != "fn" && *word != "function");
    let name = words.nth(1).unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    lower
        .match_indices("sym_")
        .filter(|(at, _)| *at == 0 || lower.get(..*at).is_some_and(|before| before.ends_with('_')))
        .filter_map(|(at, sign)| id_at(lower.get(at.saturating_add(sign.len())..)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test's name, put together so that this file names nothing itself.
    fn test(name: &str) -> String {
        format!("//! A file.\n#[test]\n    {} {name}_holds() {{}}\n", "fn")
    }

    fn messages(protocol: &str, rust: &str, solidity: &str) -> Vec<String> {
        let tree = Tree::of([(PROTOCOL, protocol), ("a/src/x.rs", rust), ("contracts/test/X.t.sol", solidity)]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn canary_a_requirement_without_a_test_is_found() {
        let found = messages("text\n- SYM-41 one\n- **SYM-42b** two\n", &test("sym_41"), "");
        assert_eq!(found, ["docs/protocol.md:3: requirements: no test names SYM-42b"]);
        assert_eq!(messages("SYM-41", &format!("//{}", test("sym_41").replace('\n', " ")), "").len(), 1);
        assert_eq!(messages("SYM-41", &test("sym_41b"), "").len(), 2);
        assert_eq!(messages("SYM-41", &test("xsym_41"), "").len(), 1);
    }

    #[test]
    fn canary_a_test_of_nothing_is_found() {
        let found = messages("SYM-41", &(test("sym_41") + &test("sym_43")), "");
        assert_eq!(found, ["a/src/x.rs:6: requirements: a test names SYM-43, which docs/protocol.md does not state"]);
    }

    #[test]
    fn both_languages_and_several_in_one_name_count() {
        let solidity = format!("    {} testFuzz_SYM_42b_SYM_43_pays(uint96 x) public {{", "function");
        assert_eq!(messages("SYM-41, SYM-42b and SYM-43.", &test("sym_41"), &solidity), Vec::<String>::new());
        assert!(messages("SYM-41", &test("the_rule_sym_41"), "").is_empty());
        assert_eq!(check(&Tree::default()).len(), 1);
    }
}
