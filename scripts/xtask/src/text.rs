//! What every file must and must not contain, and how long it may be.

use crate::{Finding, Tree};

/// The most lines of a Rust file without its tests.
pub const MAX_RUST_LINES: usize = 800;
/// The most lines of a contract.
pub const MAX_CONTRACT_LINES: usize = 600;

/// Checks headers, lengths and forbidden texts.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        if !text.starts_with("//!") {
            findings.push(Finding::new(path, 1, "header", "a Rust file starts with //!"));
        }
        let lines = if is_test_file(path) { 0 } else { without_tests(text) };
        if lines >= MAX_RUST_LINES {
            let message = format!("{lines} lines without tests, fewer than {MAX_RUST_LINES} allowed");
            findings.push(Finding::new(path, 0, "length", message));
        }
        forbid(&mut findings, path, text, &in_code(), true);
    }
    for (path, text) in tree.with_extension("sol") {
        let lines = text.lines().count();
        if path.starts_with("contracts/src/") && lines >= MAX_CONTRACT_LINES {
            let message = format!("{lines} lines, fewer than {MAX_CONTRACT_LINES} allowed");
            findings.push(Finding::new(path, 0, "length", message));
        }
    }
    let (paths, hosts) = (machine_paths(), registry_hosts());
    for (path, text) in tree.files() {
        forbid(&mut findings, path, text, &paths, false);
        if !is_lock_file(path) {
            forbid(&mut findings, path, text, &hosts, false);
        }
    }
    findings
}

/// A text that must not stand anywhere, and why.
struct Needle {
    text: String,
    rule: &'static str,
    why: &'static str,
    /// Counts only where no path or word goes on before it.
    at_start: bool,
}

/// The needles are put together, so that this file does not find itself.
fn needle(parts: [&str; 2], rule: &'static str, why: &'static str) -> Needle {
    Needle { text: parts.concat(), rule, why, at_start: false }
}

fn in_code() -> Vec<Needle> {
    vec![
        needle(["#[ign", "ore"], "tests", "a test that does not run is no test"),
        needle(["#[should", "_panic"], "tests", "say which error is expected"),
        needle(["todo", "!("], "stub", "no stubs"),
        needle(["unimple", "mented!("], "stub", "no stubs"),
    ]
}

fn machine_paths() -> Vec<Needle> {
    [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["/tmp/ba", "sh_jobs"], ["/tmp/br", "ief"]]
        .into_iter()
        .map(|parts| Needle { at_start: true, ..needle(parts, "paths", "a path of one machine") })
        .collect()
}

fn registry_hosts() -> Vec<Needle> {
    [
        ["crates", ".io"],
        ["npmjs", ".org"],
        ["npmjs", ".com"],
        ["pypi", ".org"],
        ["pythonhosted", ".org"],
        ["proxy.golang", ".org"],
        ["deb.debian", ".org"],
    ]
    .into_iter()
    .map(|parts| needle(parts, "hosts", "registries are named by the tools' own configuration"))
    .collect()
}

fn forbid(findings: &mut Vec<Finding>, path: &str, text: &str, needles: &[Needle], code_only: bool) {
    for (index, line) in text.lines().enumerate() {
        if code_only && line.trim_start().starts_with("//") {
            continue;
        }
        for needle in needles {
            let stands = line.match_indices(needle.text.as_str()).any(|(at, _)| {
                let before = line.get(..at).and_then(|before| before.chars().next_back());
                !needle.at_start || !before.is_some_and(|c| c.is_alphanumeric() || "_-./}$~*".contains(c))
            });
            if stands {
                let message = format!("`{}`: {}", needle.text, needle.why);
                findings.push(Finding::new(path, index.saturating_add(1), needle.rule, message));
            }
        }
    }
}

fn is_lock_file(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("-lock.json")
}

/// Integration tests, and the modules of tests that lie in files of their own.
fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "benches")
}

/// Lines up to the first test module.
fn without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let starts = lines.iter().enumerate().position(|(index, line)| {
        let next = lines.iter().skip(index.saturating_add(1)).find(|line| !line.is_empty() && !line.starts_with("#["));
        *line == "#[cfg(test)]" && next.is_some_and(|next| next.contains("mod ") && next.ends_with('{'))
    });
    starts.unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(&Tree::of([(path, text)])).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_sound_file_has_no_finding() {
        assert_eq!(rules("a/src/lib.rs", "//! Words.\nfn f() {}\n"), [""; 0]);
    }

    #[test]
    fn canary_a_file_without_a_header_is_found() {
        assert_eq!(rules("a/src/lib.rs", "fn f() {}\n"), ["header"]);
        assert_eq!(rules("a/src/lib.rs", "\n//! Late.\n"), ["header"]);
    }

    #[test]
    fn canary_a_long_file_is_found_and_its_tests_do_not_count() {
        let long = |lines: usize| format!("//! Words.\n{}", "fn f() {}\n".repeat(lines - 1));
        assert_eq!(rules("a/src/lib.rs", &long(MAX_RUST_LINES)), ["length"]);
        assert_eq!(rules("a/src/lib.rs", &long(MAX_RUST_LINES - 1)), [""; 0]);
        assert_eq!(rules("a/tests/it.rs", &long(MAX_RUST_LINES)), [""; 0]);
        let tested = |attribute: &str| {
            format!("//! Words.\n{attribute}\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(MAX_RUST_LINES))
        };
        assert_eq!(rules("a/src/lib.rs", &tested("#[cfg(test)]")), [""; 0]);
        assert_eq!(rules("a/src/lib.rs", &tested("#[cfg(test)]\n#[allow(dead_code)]")), [""; 0]);
        assert_eq!(rules("a/src/lib.rs", &tested("#[cfg(unix)]")), ["length"]);
        let early = format!("//! Words.\n#[cfg(test)]\nuse x;\n{}", "fn f() {}\n".repeat(MAX_RUST_LINES));
        assert_eq!(rules("a/src/lib.rs", &early), ["length"]);
        let contract = "// x\n".repeat(MAX_CONTRACT_LINES);
        assert_eq!(rules("contracts/src/Vault.sol", &contract), ["length"]);
        assert_eq!(rules("contracts/test/Vault.t.sol", &contract), [""; 0]);
    }

    #[test]
    fn canary_every_forbidden_text_is_found() {
        for needle in in_code() {
            let text = format!("//! Words.\n    {}\n", needle.text);
            assert_eq!(rules("a/src/lib.rs", &text), [needle.rule], "{}", needle.text);
            let comment = format!("//! Words.\n    // {}\n", needle.text);
            assert_eq!(rules("a/src/lib.rs", &comment), [""; 0], "{}", needle.text);
        }
        for needle in machine_paths() {
            assert_eq!(rules("docs/a.md", &format!("see {}x", needle.text)), ["paths"], "{}", needle.text);
            assert_eq!(rules("scripts/a", &format!("x=\"{}x\"", needle.text)), ["paths"], "{}", needle.text);
            assert_eq!(rules("docs/a.md", &format!("see net{}x", needle.text)), [""; 0], "{}", needle.text);
        }
        for needle in registry_hosts() {
            let text = format!("https://static.{}/x", needle.text);
            assert_eq!(rules("docs/a.md", &text), ["hosts"], "{}", needle.text);
            assert_eq!(rules("Cargo.lock", &text), [""; 0]);
            assert_eq!(rules("contracts/package-lock.json", &text), [""; 0]);
        }
    }
}
