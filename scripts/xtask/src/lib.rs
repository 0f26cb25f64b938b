//! Project chores. `tidy` checks the rules of the tree that no compiler checks:
//! which crate may use which, that every numbered requirement has a test, how
//! long files may be, and what must not stand in them.
//!
//! Every check takes values, not folders, so that its own tests can plant a
//! violation and see that it is found.

pub mod layers;
pub mod requirements;
pub mod text;
pub mod tree;

use anyhow::{Context as _, Result};
use core::fmt;
use std::path::Path;

pub use layers::{Crate, Layer};
pub use tree::Tree;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the root, or a crate's manifest.
    pub path: String,
    /// The line, counted from one; zero for the whole file.
    pub line: usize,
    /// Which rule, in a word.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}: {}", self.rule, self.message)
    }
}

/// Runs every check over the tree at `root` and returns the findings in order.
///
/// # Errors
/// When a file cannot be read or cargo does not answer.
pub fn tidy(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let crates = layers::workspace(root).context("cargo metadata")?;
    let mut findings = layers::check(&crates);
    findings.extend(layers::check_lint_files(&crates, &tree));
    findings.extend(requirements::check(&tree));
    findings.extend(text::check(&tree));
    findings.sort();
    findings.dedup();
    Ok(findings)
}
